//! Lines and what can be told of one by itself.

use crate::source::Span;

/// Lines of a text without their ends (LF or CRLF).
pub(crate) struct Lines<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Lines<'a> {
    pub(crate) fn new(text: &'a str) -> Self {
        Self { text, at: 0 }
    }
}

impl<'a> Iterator for Lines<'a> {
    type Item = (Span, &'a str);

    fn next(&mut self) -> Option<Self::Item> {
        let rest = self.text.get(self.at..).filter(|rest| !rest.is_empty())?;
        let start = self.at;
        let (line, length) = match memchr::memchr(b'\n', rest.as_bytes()) {
            Some(end) => (rest[..end].strip_suffix('\r').unwrap_or(&rest[..end]), end + 1),
            None => (rest, rest.len()),
        };
        self.at += length;
        Some((Span::new(start, start + line.len()), line))
    }
}

/// What a line is before anything is known of the lines around it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    /// Only white space.
    Blank,
    /// The first character that is not blank is `;`.
    Comment,
    /// Something else, indented so.
    Content { indent: Indent, hash: bool },
}

/// How a line begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Indent {
    None,
    Tab,
    /// White space other than a tab.
    Other,
}

pub(crate) fn shape(line: &str) -> Shape {
    if let [b'\t', second, ..] = line.as_bytes()
        && second.is_ascii_alphanumeric()
    {
        return Shape::Content { indent: Indent::Tab, hash: false };
    }
    let content = line.trim_start();
    let indent = match line.chars().next() {
        Some('\t') => Indent::Tab,
        Some(first) if first.is_whitespace() => Indent::Other,
        _ => Indent::None,
    };
    match content.as_bytes().first() {
        None => Shape::Blank,
        Some(b';') => Shape::Comment,
        Some(first) => Shape::Content { indent, hash: *first == b'#' },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_end_with_lf_or_crlf() {
        let lines: Vec<&str> = Lines::new("a\r\nb\n\nc\rd\ne").map(|(_, line)| line).collect();
        assert_eq!(lines, ["a", "b", "", "c\rd", "e"]);
        assert_eq!(Lines::new("").count(), 0);
        assert_eq!(Lines::new("\n").count(), 1);
    }

    #[test]
    fn a_line_is_told_by_its_first_characters() {
        let content = |indent, hash| Shape::Content { indent, hash };
        let table = [
            ("", Shape::Blank),
            (" \t\u{a0}", Shape::Blank),
            ("; x", Shape::Comment),
            ("\t ; x", Shape::Comment),
            ("x", content(Indent::None, false)),
            ("\tx", content(Indent::Tab, false)),
            ("\t\tx", content(Indent::Tab, false)),
            ("\t# x", content(Indent::Tab, true)),
            (" # x", content(Indent::Other, true)),
            ("\u{a0}x", content(Indent::Other, false)),
            (" \tx", content(Indent::Other, false)),
            ("é", content(Indent::None, false)),
        ];
        for (line, expected) in table {
            assert_eq!(shape(line), expected, "{line:?}");
        }
    }
}
