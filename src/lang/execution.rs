//! Execution lines: text, invocations and imports.
//!
//! ```text
//! @lib/review.p                      an import
//! @plan(a todo list, depth=2) now    an invocation, then text
//! @plan a todo list                  an invocation with trailing text
//! write to bob@example.org           text: that @ stands inside a word
//! ```

use gcluster_types::sexpr::unicode::{is_identifier, is_word};

use crate::ast::{Arg, Invoke, Item};
use crate::source::Span;

/// Appends the forms of one line, which starts at `offset` of its file.
///
/// # Errors
/// The offset of a parenthesis that is not closed on the line.
pub(crate) fn read(line: &str, offset: usize, items: &mut Vec<Item>) -> Result<(), usize> {
    let mut reader = Reader { line, offset, at: 0, text_from: 0, word: None };
    while let Some(found) = memchr::memchr(b'@', &line.as_bytes()[reader.at..]) {
        let at = reader.at + found;
        reader.at = at + 1;
        if reader.inside_word(at) {
            continue;
        }
        if let Some(end) = reader.import_end(at + 1) {
            reader.flush_text(at, items);
            items.push(Item::Import(reader.span(at + 1, end)));
            reader.resume(end);
        } else if !reader.invocation(at, items)? {
            continue;
        }
    }
    reader.flush_text(line.len(), items);
    Ok(())
}

struct Reader<'a> {
    line: &'a str,
    offset: usize,
    at: usize,
    /// Where the text begins that no form has taken yet.
    text_from: usize,
    /// End of the word around the cursor and its last parenthesis, so that each word is looked through once.
    word: Option<(usize, Option<usize>)>,
}

impl Reader<'_> {
    fn span(&self, start: usize, end: usize) -> Span {
        Span::new(self.offset + start, self.offset + end)
    }

    fn trimmed(&self, start: usize, end: usize) -> Span {
        let text = &self.line[start..end];
        let from = end - text.trim_start().len();
        self.span(from, from + text.trim().len())
    }

    fn resume(&mut self, at: usize) {
        self.at = at;
        self.text_from = at;
    }

    fn flush_text(&mut self, end: usize, items: &mut Vec<Item>) {
        let text = self.trimmed(self.text_from, end);
        if text.start < text.end {
            items.push(Item::Text(text));
        }
        self.text_from = end;
    }

    /// An address or the like: the `@` follows a letter, a digit, `-`, `_` or a dot.
    fn inside_word(&self, at: usize) -> bool {
        at > self.text_from && self.line[..at].chars().next_back().is_some_and(|c| is_word(c) || c == '.')
    }

    /// Where the word ends that starts here, if it is the path of an import.
    fn import_end(&mut self, start: usize) -> Option<usize> {
        let (end, paren) = match self.word {
            Some(known) if known.0 >= start => known,
            _ => {
                let rest = &self.line[start..];
                let word = &rest[..rest.find(char::is_whitespace).unwrap_or(rest.len())];
                let known = (start + word.len(), word.rfind(['(', ')']).map(|n| start + n));
                self.word = Some(known);
                known
            }
        };
        let is_import = self.line[start..end].ends_with(".p") && paren.is_none_or(|paren| paren < start);
        is_import.then_some(end)
    }

    /// Reads `@name…` at `at`; false when it is none.
    fn invocation(&mut self, at: usize, items: &mut Vec<Item>) -> Result<bool, usize> {
        let rest = &self.line[at + 1..];
        let length = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
        let name = self.span(at + 1, at + 1 + length);
        let after = at + 1 + length;
        match self.line[after..].chars().next() {
            _ if length == 0 => Ok(false),
            Some('(') => {
                let (args, end) = self.arguments(after)?;
                self.flush_text(at, items);
                items.push(Item::Invoke(Invoke { name, args, trailing: None }));
                self.resume(end);
                Ok(true)
            }
            next if next.is_none_or(char::is_whitespace) => {
                self.flush_text(at, items);
                let trailing = self.trimmed(after, self.line.len());
                let trailing = (trailing.start < trailing.end).then_some(trailing);
                items.push(Item::Invoke(Invoke { name, args: Vec::new(), trailing }));
                self.resume(self.line.len());
                Ok(true)
            }
            _ => Ok(false),
        }
    }

    /// Arguments from the opening parenthesis on, and where reading goes on. Parentheses inside nest, and
    /// a comma inside them separates nothing.
    fn arguments(&self, open: usize) -> Result<(Vec<Arg>, usize), usize> {
        let mut args = Vec::new();
        let mut depth = 0usize;
        let mut from = open + 1;
        for (n, byte) in self.line.bytes().enumerate().skip(open) {
            match byte {
                b'(' => depth += 1,
                b',' if depth == 1 => {
                    args.push(self.argument(from, n));
                    from = n + 1;
                }
                b')' => {
                    depth -= 1;
                    if depth == 0 {
                        if !args.is_empty() || !self.line[from..n].trim().is_empty() {
                            args.push(self.argument(from, n));
                        }
                        return Ok((args, n + 1));
                    }
                }
                _ => {}
            }
        }
        Err(self.offset + open)
    }

    fn argument(&self, start: usize, end: usize) -> Arg {
        let text = &self.line[start..end];
        match text.split_once('=') {
            Some((key, _)) if is_identifier(key.trim()) => Arg {
                key: Some(self.trimmed(start, start + key.len())),
                value: self.trimmed(start + key.len() + 1, end),
            },
            _ => Arg { key: None, value: self.trimmed(start, end) },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(line: &str) -> String {
        let mut items = Vec::new();
        if let Err(at) = read(line, 0, &mut items) {
            return format!("unclosed at {at}");
        }
        let at = |span: Span| &line[span.start..span.end];
        let show = |item: &Item| match item {
            Item::Text(span) => format!("text<{}>", at(*span)),
            Item::Import(span) => format!("import<{}>", at(*span)),
            Item::Invoke(invoke) => {
                let mut out = format!("invoke<{}>", at(invoke.name));
                for arg in &invoke.args {
                    let key = arg.key.map_or(String::new(), |key| format!("{}=", at(key)));
                    out.push_str(&format!("[{key}{}]", at(arg.value)));
                }
                out + &invoke.trailing.map_or(String::new(), |span| format!("...{}", at(span)))
            }
            Item::Method(_) => "method".to_owned(),
        };
        items.iter().map(show).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn a_line_is_read_into_its_forms() {
        let table = [
            ("just text  ", "text<just text>"),
            ("@plan", "invoke<plan>"),
            ("@plan()", "invoke<plan>"),
            ("@plan(a, k=v , ) more", "invoke<plan>[a][k=v][] text<more>"),
            ("@plan(a)@b(c) @d rest @e(f)", "invoke<plan>[a] invoke<b>[c] invoke<d>...rest @e(f)"),
            ("say @plan  two words ", "text<say> invoke<plan>...two words"),
            ("@plan(f(x, y) z, w)", "invoke<plan>[f(x, y) z][w]"),
            ("@plan(x y=1, == , =)", "invoke<plan>[x y=1][==][=]"),
            ("@plan(k = a = b)", "invoke<plan>[k=a = b]"),
            ("@lib/a.p @../b.p text", "import<lib/a.p> import<../b.p> text<text>"),
            ("@a(x).p", "invoke<a>[x] text<.p>"),
            ("@a.p,", "text<@a.p,>"),
            ("@AGENTS.md rules", "text<@AGENTS.md rules>"),
            ("bob@example.org and a.@b", "text<bob@example.org and a.@b>"),
            ("@ alone, @@x", "text<@ alone, @> invoke<x>"),
            ("(@a(b))", "text<(> invoke<a>[b] text<)>"),
            ("@größe(é)", "invoke<größe>[é]"),
            ("@a(b", "unclosed at 2"),
            ("@a(b(c)", "unclosed at 2"),
            ("a ) b ( c", "text<a ) b ( c>"),
        ];
        for (line, expected) in table {
            assert_eq!(shown(line), expected, "{line}");
        }
    }
}
