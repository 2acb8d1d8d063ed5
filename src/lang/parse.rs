//! From lines to the syntax tree of one file; every problem of the file is reported.
//!
//! ```text
//! header ──▶ open method ──tab──▶ body line
//!                │ line at column 0
//!                ▼
//!          no method open ──▶ execution lines
//! ```

use std::borrow::Cow;
use std::collections::HashSet;
use std::path::PathBuf;

use gcluster_types::sexpr::unicode::is_word;

use crate::ast::{Body, File, Item, Method};
use crate::diagnostic::{Code, Diagnostic, Sink};
use crate::execution;
use crate::lines::{Indent, Lines, Shape, shape};
use crate::pipeline::{self, Reading, Why};
use crate::source::{Source, Span};

/// Reads one file. Bytes that are no UTF-8 are reported and read as U+FFFD.
pub(crate) fn parse<'t>(path: PathBuf, bytes: Cow<'t, [u8]>, sink: &mut Sink) -> File<'t> {
    let source = decode(path, bytes, sink);
    let mut parser = Parser {
        source: &source,
        sink,
        items: Vec::new(),
        state: State::Top,
        awaiting_body: None,
        blanks: 0,
    };
    for (span, line) in Lines::new(&source.text) {
        parser.line(span, line);
    }
    parser.close();
    let items = parser.items;
    File { source, items }
}

fn decode<'t>(path: PathBuf, bytes: Cow<'t, [u8]>, sink: &mut Sink) -> Source<'t> {
    let bytes = match bytes {
        Cow::Borrowed(bytes) => Cow::Borrowed(bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes)),
        Cow::Owned(bytes) if bytes.starts_with(b"\xef\xbb\xbf") => Cow::Owned(bytes[3..].to_vec()),
        owned => owned,
    };
    let (text, valid) = match bytes {
        Cow::Borrowed(bytes) => match std::str::from_utf8(bytes) {
            Ok(text) => (Cow::Borrowed(text), true),
            Err(_) => (String::from_utf8_lossy(bytes), false),
        },
        Cow::Owned(bytes) => match String::from_utf8(bytes) {
            Ok(text) => (Cow::Owned(text), true),
            Err(error) => (Cow::Owned(String::from_utf8_lossy(error.as_bytes()).into_owned()), false),
        },
    };
    let source = Source::new(path, text);
    if !valid {
        for (span, line) in Lines::new(&source.text) {
            if let Some(at) = line.find('\u{fffd}') {
                sink.push(|| {
                    Diagnostic::at(
                        &source,
                        span.start + at,
                        Code::Encoding,
                        "the file is not valid UTF-8 here",
                    )
                    .help("save the file as UTF-8")
                });
            }
        }
    }
    source
}

/// What an indented line would belong to.
enum State {
    /// Nothing.
    Top,
    /// The method of a header.
    Open { name: Span, params: Vec<Span>, lines: Vec<Span> },
    /// Lines that were reported already.
    Reported,
}

struct Parser<'p> {
    source: &'p Source<'p>,
    sink: &'p mut Sink,
    items: Vec<Item>,
    state: State,
    /// An execution line that ends in a colon, until the next line shows whether it was meant as a header.
    awaiting_body: Option<Span>,
    /// Blank lines since the last body line.
    blanks: usize,
}

impl Parser<'_> {
    fn error(&mut self, at: usize, code: Code, message: impl Into<String>, help: impl Into<String>) {
        let source = self.source;
        self.sink.push(|| Diagnostic::at(source, at, code, message).help(help));
    }

    fn line(&mut self, span: Span, line: &str) {
        let (indent, hash) = match shape(line) {
            Shape::Comment => return,
            Shape::Blank => {
                self.blanks += 1;
                return;
            }
            Shape::Content { indent, hash } => (indent, hash),
        };
        match (indent, &mut self.state) {
            (Indent::Tab, State::Open { lines, .. }) => {
                lines.extend(std::iter::repeat_n(Span::new(0, 0), self.blanks));
                lines.push(Span::new(span.start + 1, span.end));
            }
            (Indent::Other, State::Open { lines, .. }) => {
                let content = span.end - line.trim_start().len();
                lines.push(Span::new(content, span.end));
                self.error(
                    span.start,
                    Code::Indentation,
                    "the lines of a body start with a tab, and this one starts with another blank",
                    "indent it with one tab to make it part of the method above, or start it in the first column",
                );
            }
            (Indent::None, State::Open { .. }) if hash => {}
            (Indent::Tab | Indent::Other, State::Reported) => {}
            (Indent::Tab, State::Top) => self.stray(span, hash),
            (Indent::Other, State::Top) if !hash => match self.awaiting_body.take() {
                Some(header) => self.no_header(header),
                None => self.execution(span, line),
            },
            (Indent::Other | Indent::None, _) if hash => {}
            _ => self.column_zero(span, line),
        }
        self.blanks = 0;
    }

    fn column_zero(&mut self, span: Span, line: &str) {
        self.close();
        match header(line, span.start) {
            Some((name, params)) => {
                self.awaiting_body = None;
                let mut seen = HashSet::new();
                for param in &params {
                    let text = self.source.get(*param);
                    if !seen.insert(text) {
                        let source = self.source;
                        self.sink.push(|| {
                            let message = format!("the parameter `{text}` is listed twice");
                            Diagnostic::at(source, param.start, Code::Parameter, message)
                                .help("remove one of them or rename it")
                                .warning()
                        });
                    }
                }
                self.state = State::Open { name, params, lines: Vec::new() };
            }
            None => self.execution(span, line),
        }
    }

    fn execution(&mut self, span: Span, line: &str) {
        self.awaiting_body = line.trim_end().ends_with(':').then_some(span);
        if let Err(open) = execution::read(line, span.start, &mut self.items) {
            self.error(
                open,
                Code::Invocation,
                "the parenthesis is not closed on this line",
                "write `@name(arguments)` on one line, or `@name` and a blank before the text",
            );
        }
    }

    /// A tab-indented line with no method above it.
    fn stray(&mut self, span: Span, hash: bool) {
        if let Some(header) = self.awaiting_body.take() {
            return self.no_header(header);
        }
        if hash {
            return;
        }
        self.error(
            span.start,
            Code::Indentation,
            "this line is indented but belongs to no method",
            "a body stands right below its header, a line like `name:` or `name(p1, p2):` in the first column",
        );
        self.state = State::Reported;
    }

    /// A line that ends in a colon, has an indented line below it, and is no header.
    fn no_header(&mut self, span: Span) {
        let line = self.source.get(span);
        let word = line.find(|c| !is_word(c)).unwrap_or(0);
        let at = if word > 0 && line[word..].starts_with('(') {
            let open = word + 1;
            line[open..]
                .find(|c: char| !(is_word(c) || matches!(c, ',' | ' ' | '\t')))
                .map_or(word, |n| open + n)
        } else {
            word
        };
        self.error(
            span.start + at,
            Code::Header,
            "an indented line follows, but this is no header of a method",
            "a header is `name:` or `name(p1, p2):` in the first column; names hold letters, digits, `-` and `_`",
        );
        // The line is no text after all, so nothing more is to be said about it.
        while matches!(self.items.last(), Some(Item::Text(text)) if text.start >= span.start) {
            self.items.pop();
        }
        self.state = State::Reported;
    }

    /// Ends the open method.
    fn close(&mut self) {
        let State::Open { name, params, lines } = std::mem::replace(&mut self.state, State::Top) else {
            return;
        };
        if lines.is_empty() {
            let message = format!("the method `{}` has no body", self.source.get(name));
            self.error(
                name.start,
                Code::Header,
                message,
                "write its prompt or pipeline below, each line indented with one tab; if this is text, let it not end in a colon",
            );
            return;
        }
        let body = self.body(lines);
        self.items.push(Item::Method(Method { name, params, body }));
    }

    fn body(&mut self, lines: Vec<Span>) -> Body {
        let mut content = lines.iter().filter(|span| span.start < span.end);
        let (Some(first), second) = (content.next(), content.next()) else { return Body::Prompt(lines) };
        let text = self.source.get(*first);
        let offset = first.end - text.trim_start().len();
        let text = text.trim();
        if second.is_some() {
            if pipeline::must_be_pipeline(text) {
                let at = second.map_or(offset, |second| second.start);
                self.broken(at, Why::Malformed);
            } else if is_split_pipeline(self.source, &lines) {
                let source = self.source;
                self.sink.push(|| {
                    Diagnostic::at(
                        source,
                        offset,
                        Code::Prose,
                        "a pipeline stands on one line; this body is read as prose",
                    )
                    .help("join its lines into one")
                    .warning()
                });
            }
            return Body::Prompt(lines);
        }
        match pipeline::read(text, offset) {
            Reading::Pipeline(pipeline) => {
                if let Some(pair) =
                    pipeline.steps.windows(2).find(|pair| pair[0].kind == crate::ast::StepKind::Loop)
                {
                    self.broken(pair[1].label.start, Why::AfterLoop);
                }
                return Body::Pipeline(pipeline);
            }
            Reading::Prose => {}
            Reading::NearlyPipeline(at) => {
                let source = self.source;
                self.sink.push(|| {
                    let message = "this body is no pipeline from here on, so all of it is read as prose";
                    Diagnostic::at(source, at, Code::Prose, message).help(STEPS).warning()
                });
            }
            Reading::Broken(at, why) => self.broken(at, why),
        }
        Body::Prompt(lines)
    }

    fn broken(&mut self, at: usize, why: Why) {
        let (message, help) = match why {
            Why::Malformed => ("this body begins like a pipeline but is none from here on", STEPS),
            Why::AfterLoop => (
                "a step follows a loop, which never ends",
                "let the loop be the last step, or call the method once instead of in a loop",
            ),
            Why::NoInput => (
                "a pipeline of several steps begins with its input",
                "put the name of the input in front: `input -> map(…) -> …`",
            ),
        };
        self.error(at, Code::Pipeline, message, help);
    }
}

const STEPS: &str =
    "steps are `method`, `label (method)`, `map(items, method)` or `loop(method)`, with ` -> ` between them";

/// True when the lines, joined by blanks, are a pipeline although none of them is the whole of it.
fn is_split_pipeline(source: &Source<'_>, lines: &[Span]) -> bool {
    let texts = || lines.iter().map(|span| source.get(*span).trim()).filter(|text| !text.is_empty());
    lines.len() <= 100
        && texts().all(|text| text.starts_with("-> ") || text.ends_with(" ->") || !text.contains(' '))
        && {
            let joined = texts().collect::<Vec<_>>().join(" ");
            matches!(pipeline::read(&joined, 0), Reading::Pipeline(_))
        }
}

/// `name:` or `name(p1, p2):` and then only white space.
fn header(line: &str, offset: usize) -> Option<(Span, Vec<Span>)> {
    let line = line.trim_end().strip_suffix(':')?;
    let end = line.find(|c| !is_word(c)).unwrap_or(line.len());
    let name = Span::new(offset, offset + end);
    if end == 0 {
        return None;
    }
    if end == line.len() {
        return Some((name, Vec::new()));
    }
    let inside = line[end..].strip_prefix('(')?.strip_suffix(')')?;
    if inside.trim().is_empty() {
        return Some((name, Vec::new()));
    }
    let mut params = Vec::new();
    let mut at = end + 1;
    for part in inside.split(',') {
        let word = part.trim();
        if word.is_empty() || !word.chars().all(is_word) {
            return None;
        }
        let start = offset + at + part.len() - part.trim_start().len();
        params.push(Span::new(start, start + word.len()));
        at += part.len() + 1;
    }
    Some((name, params))
}
