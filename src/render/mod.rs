//! Objects and transcripts as text: what the command line prints and the terminal interface draws.
//!
//! Nothing here knows a terminal. A [`Line`] is made of pieces with a [`Tone`]; whoever shows it chooses
//! the colours.

pub mod age;
pub mod agent;
pub mod check;
pub mod config;
pub mod definition;
pub mod event;
pub mod fields;
pub mod iteration;
pub mod manager;
pub mod merge;
pub mod message;
pub mod patch;
pub mod report;
pub mod review;
pub mod revision;
pub mod rollout;
pub mod ticket;
pub mod transcript;
pub mod workspace;

use std::borrow::Cow;

/// What a piece of text means, for colouring.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tone {
    /// Ordinary text.
    #[default]
    Plain,
    /// Less important: notices, thinking, results of tools.
    Dim,
    /// Headings and names of tools.
    Strong,
    /// It went well.
    Good,
    /// It went wrong.
    Bad,
}

/// One line of text in pieces; holds no newline and no control character.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Line(pub Vec<(Tone, String)>);

impl Line {
    /// A line of one tone. Control characters are made visible.
    pub fn new(tone: Tone, text: impl AsRef<str>) -> Self {
        Self::default().with(tone, text)
    }

    /// Adds a piece.
    #[must_use]
    pub fn with(mut self, tone: Tone, text: impl AsRef<str>) -> Self {
        self.0.push((tone, visible(text.as_ref()).replace('\n', " ")));
        self
    }

    /// The text without tones.
    pub fn text(&self) -> String {
        self.0.iter().map(|(_, text)| text.as_str()).collect()
    }

    /// The text with terminal colours.
    pub fn colored(&self) -> String {
        let mut out = String::new();
        for (tone, text) in &self.0 {
            let code = match tone {
                Tone::Plain => None,
                Tone::Dim => Some("2"),
                Tone::Strong => Some("1"),
                Tone::Good => Some("32"),
                Tone::Bad => Some("31"),
            };
            match code {
                Some(code) if !text.is_empty() => {
                    out.push_str("\x1b[");
                    out.push_str(code);
                    out.push('m');
                    out.push_str(text);
                    out.push_str("\x1b[0m");
                }
                _ => out.push_str(text),
            }
        }
        out
    }
}

/// Text that cannot steer a terminal: control characters other than newline and tab become their visible
/// pictures, and the marks that reorder or hide text are dropped.
pub fn visible(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_unsafe) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\r' if chars.peek() == Some(&'\n') => {}
            c if !is_unsafe(c) => out.push(c),
            '\u{7f}' => out.push('␡'),
            c if u32::from(c) < 0x20 => out.push(char::from_u32(0x2400 + u32::from(c)).unwrap_or('?')),
            c if u32::from(c) < 0xa0 => out.push('\u{fffd}'),
            _ => {}
        }
    }
    Cow::Owned(out)
}

fn is_unsafe(c: char) -> bool {
    (c.is_control() && c != '\n' && c != '\t')
        || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200e}' | '\u{200f}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn escape_sequences_become_visible_and_line_ends_stay() {
        assert_eq!(visible("a\x1b]0;evil\x07b\r\nc\td\u{9b}\u{202e}"), "a␛]0;evil␇b\nc\td\u{fffd}");
        assert!(matches!(visible("größe → 1\n"), Cow::Borrowed(_)));
    }

    #[test]
    fn colours_wrap_only_toned_pieces() {
        let line = Line::new(Tone::Plain, "a").with(Tone::Bad, "b").with(Tone::Dim, "");
        assert_eq!(line.text(), "ab");
        assert_eq!(line.colored(), "a\x1b[31mb\x1b[0m");
    }

    proptest! {
        #[test]
        fn no_text_keeps_a_control_character(text in any::<String>()) {
            let shown = visible(&text);
            prop_assert!(!shown.chars().any(is_unsafe));
            prop_assert_eq!(visible(&shown), shown.clone());
        }
    }
}
