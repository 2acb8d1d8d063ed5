//! Pipelines: is a body one, and if it nearly is, what is wrong with it.
//!
//! ```text
//! task -> plan -> review (critic) -> items (map(item, work)) -> loop(build)
//! input   step    label and method   label and map              must be last
//! ```

use gcluster_types::sexpr::unicode::is_word;

use crate::ast::{Pipeline, Step, StepKind};
use crate::source::Span;

/// What a one-line body turned out to be. Spans and offsets count from the start of the file.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Reading {
    Pipeline(Pipeline),
    Prose,
    /// Prose that its author may have meant as a pipeline; where it stops being one.
    NearlyPipeline(usize),
    /// It begins with `loop(` or `map(`, so it must be a pipeline, and is none from here on.
    Broken(usize, Why),
}

/// Why a body that must be a pipeline is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Why {
    /// Something else is expected here.
    Malformed,
    /// Steps follow a loop.
    AfterLoop,
    /// Several steps, but the first one is a map and not the input.
    NoInput,
}

/// Reads a body of one line, whose trimmed text starts at `offset` of its file.
pub(crate) fn read(text: &str, offset: usize) -> Reading {
    let mut cursor = Cursor { text, at: 0, offset };
    match cursor.pipeline() {
        Ok(pipeline) => Reading::Pipeline(pipeline),
        Err((at, why)) if must_be_pipeline(text) => Reading::Broken(offset + at, why),
        Err((at, _)) if looks_like_pipeline(text) => Reading::NearlyPipeline(offset + at),
        Err(_) => Reading::Prose,
    }
}

/// A body that starts so is never prose.
pub(crate) fn must_be_pipeline(text: &str) -> bool {
    text.starts_with("loop(") || text.starts_with("map(")
}

/// A name, an arrow, and later a name with a parenthesis right behind it.
fn looks_like_pipeline(text: &str) -> bool {
    let mut parts = text.split(" -> ").map(str::trim);
    let named =
        |part: &str| part.find(|c| !is_word(c)).is_some_and(|end| end > 0 && part[end..].starts_with('('));
    parts.next().is_some_and(|first| !first.is_empty() && first.chars().all(is_word)) && parts.any(named)
}

type Failure = (usize, Why);

/// A step, or the input: a word alone.
struct Element {
    step: Step,
    word_only: bool,
    has_label: bool,
}

struct Cursor<'a> {
    text: &'a str,
    at: usize,
    offset: usize,
}

impl<'a> Cursor<'a> {
    fn pipeline(&mut self) -> Result<Pipeline, Failure> {
        let first = self.element()?;
        if self.rest().is_empty() {
            return match first.step.kind {
                StepKind::Call => Err((0, Why::Malformed)),
                _ => Ok(Pipeline { input: None, steps: vec![first.step] }),
            };
        }
        if !first.word_only {
            self.arrow()?;
            let why = match first.step.kind {
                StepKind::Loop if !first.has_label => Why::AfterLoop,
                _ => Why::NoInput,
            };
            return Err((self.at, why));
        }
        let mut steps = Vec::new();
        while !self.rest().is_empty() {
            self.arrow()?;
            steps.push(self.element()?.step);
        }
        Ok(Pipeline { input: Some(first.step.method), steps })
    }

    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn malformed<T>(&self) -> Result<T, Failure> {
        Err((self.at, Why::Malformed))
    }

    fn blanks(&mut self) -> bool {
        let rest = self.rest();
        let length = rest.len() - rest.trim_start_matches([' ', '\t']).len();
        self.at += length;
        length > 0
    }

    fn eat(&mut self, token: &str) -> bool {
        let found = self.rest().starts_with(token);
        if found {
            self.at += token.len();
        }
        found
    }

    /// A token with blanks allowed around it.
    fn expect(&mut self, token: &str) -> Result<(), Failure> {
        self.blanks();
        if !self.eat(token) {
            return self.malformed();
        }
        self.blanks();
        Ok(())
    }

    fn arrow(&mut self) -> Result<(), Failure> {
        if self.blanks() && self.eat("->") && self.blanks() { Ok(()) } else { self.malformed() }
    }

    fn word(&mut self) -> Result<Span, Failure> {
        let rest = self.rest();
        let end = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
        if end == 0 {
            return self.malformed();
        }
        let start = self.offset + self.at;
        self.at += end;
        Ok(Span::new(start, start + end))
    }

    fn element(&mut self) -> Result<Element, Failure> {
        if let Some(step) = self.special()? {
            return Ok(Element { step, word_only: false, has_label: false });
        }
        let label = self.word()?;
        let after = self.at;
        if !(self.blanks() && self.eat("(")) {
            self.at = after;
            let step = Step { label, kind: StepKind::Call, method: label };
            return Ok(Element { step, word_only: true, has_label: false });
        }
        self.blanks();
        let mut step = match self.special()? {
            Some(step) => step,
            None => {
                let method = self.word()?;
                Step { label, kind: StepKind::Call, method }
            }
        };
        step.label = label;
        self.blanks();
        if !self.eat(")") {
            return self.malformed();
        }
        Ok(Element { step, word_only: false, has_label: true })
    }

    /// `loop(method)` or `map(reference, method)`.
    fn special(&mut self) -> Result<Option<Step>, Failure> {
        if self.eat("loop(") {
            self.blanks();
            let method = self.word()?;
            self.blanks();
            if !self.eat(")") {
                return self.malformed();
            }
            return Ok(Some(Step { label: method, kind: StepKind::Loop, method }));
        }
        if self.eat("map(") {
            self.blanks();
            let reference = self.word()?;
            self.expect(",")?;
            let method = self.word()?;
            self.blanks();
            if !self.eat(")") {
                return self.malformed();
            }
            return Ok(Some(Step { label: reference, kind: StepKind::Map(reference), method }));
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The steps as `label=kind method`, the input in front.
    fn shown(text: &str) -> Option<String> {
        let Reading::Pipeline(pipeline) = read(text, 0) else { return None };
        let at = |span: Span| text[span.start..span.end].to_owned();
        let steps = pipeline.steps.iter().map(|step| {
            let kind = match step.kind {
                StepKind::Call => "call".to_owned(),
                StepKind::Map(reference) => format!("map {}", at(reference)),
                StepKind::Loop => "loop".to_owned(),
            };
            format!("{}={kind} {}", at(step.label), at(step.method))
        });
        Some(pipeline.input.map(at).into_iter().chain(steps).collect::<Vec<_>>().join(" | "))
    }

    #[test]
    fn pipelines_are_read_in_full() {
        let table = [
            ("task -> plan", "task | plan=call plan"),
            ("a -> b -> c", "a | b=call b | c=call c"),
            ("a -> draft (write) -> loop(b)", "a | draft=call write | b=loop b"),
            ("a -> map(items, work) -> done", "a | items=map items work | done=call done"),
            ("a -> all (map(items, work)) -> on (loop(x))", "a | all=map items work | on=loop x"),
            ("loop(build)", "build=loop build"),
            ("work (loop(build))", "work=loop build"),
            ("map(items,work)", "items=map items work"),
            ("a  ->\tloop( b )", "a | b=loop b"),
            ("a -> loop", "a | loop=call loop"),
            ("größe -> 漢", "größe | 漢=call 漢"),
            ("a -> loop(b) -> c", "a | b=loop b | c=call c"),
        ];
        for (text, expected) in table {
            assert_eq!(shown(text).as_deref(), Some(expected), "{text}");
        }
    }

    #[test]
    fn prose_stays_prose() {
        let prose = [
            "Convert x -> y and stop.",
            "before the change -> after",
            "a->b",
            "a -> b.",
            "-> b",
            "a -> ",
            "a ->",
            "word",
            "label (method)",
            "Use a loop(x) here",
            "a -> b (c",
            "",
        ];
        for text in prose {
            assert_eq!(read(text, 0), Reading::Prose, "{text}");
        }
        assert_eq!(read("a -> b(c)", 0), Reading::NearlyPipeline(6));
        assert_eq!(read("a -> loop(c", 0), Reading::NearlyPipeline(11));
    }

    #[test]
    fn what_begins_with_loop_or_map_is_never_prose() {
        let table = [
            ("loop(", 5, Why::Malformed),
            ("loop(a", 6, Why::Malformed),
            ("loop(a b)", 7, Why::Malformed),
            ("loop(a) and more", 8, Why::Malformed),
            ("loop(a) -> b", 11, Why::AfterLoop),
            ("map(a)", 5, Why::Malformed),
            ("map(a, b) -> loop(c)", 13, Why::NoInput),
            ("map()", 4, Why::Malformed),
            ("loop((a))", 5, Why::Malformed),
        ];
        for (text, at, why) in table {
            assert_eq!(read(text, 100), Reading::Broken(100 + at, why), "{text}");
        }
    }
}
