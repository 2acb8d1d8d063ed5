//! What an agent or its tools wrote, made harmless for a terminal.
//!
//! | what | becomes |
//! |---|---|
//! | complete colour, cursor and title sequences (CSI, OSC and their kin) | nothing |
//! | other control characters | their pictures, `␛`; of the second set `�` |
//! | tab | blanks up to the next multiple of four columns |
//! | line ends of any convention | `\n` |
//! | marks that reorder, hide or smuggle text | nothing |
//! | joiners between letters or emoji, marks on letters | themselves, up to eight in a row |

use std::borrow::Cow;

use unicode_width::UnicodeWidthChar as _;

/// Columns between tab stops.
pub const TAB: usize = 4;
/// Characters without a width that one letter may carry.
const MARKS: usize = 8;

/// Text that cannot steer a terminal: `\n` is the only control character left in it. Linear in the text's length.
pub fn sanitize(text: &str) -> Cow<'_, str> {
    if text.bytes().all(|byte| matches!(byte, b'\n' | 0x20..0x7f)) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    let mut column = 0;
    let mut marks = 0;
    let mut at = 0;
    while let Some(c) = text[at..].chars().next() {
        let rest = &text[at + c.len_utf8()..];
        at += c.len_utf8();
        match c {
            '\r' if rest.starts_with('\n') => {}
            // Also a lone carriage return: what a progress bar overwrites is shown, not hidden.
            '\n' | '\r' | '\u{85}' | '\u{2028}' | '\u{2029}' => {
                out.push('\n');
                column = 0;
                marks = 0;
            }
            '\t' => {
                let blanks = TAB - column % TAB;
                out.extend(std::iter::repeat_n(' ', blanks));
                column += blanks;
                marks = 0;
            }
            '\u{1b}' | '\u{9b}' => match sequence(c, rest) {
                Some(length) => at += length,
                None => {
                    out.push(picture(c));
                    column += 1;
                }
            },
            c if c.is_control() => {
                out.push(picture(c));
                column += 1;
                marks = 0;
            }
            '\u{200c}' | '\u{200d}' => {
                let joins =
                    |c: Option<char>| c.is_some_and(|c| !c.is_ascii() && !is_hidden(c) && !c.is_whitespace());
                if marks < MARKS && joins(out.chars().next_back()) && joins(rest.chars().next()) {
                    out.push(c);
                    marks += 1;
                }
            }
            c if is_hidden(c) => {}
            c => match c.width().unwrap_or(0) {
                0 if marks < MARKS => {
                    out.push(c);
                    marks += 1;
                }
                0 => {}
                columns => {
                    out.push(c);
                    column += columns;
                    marks = 0;
                }
            },
        }
    }
    Cow::Owned(out)
}

/// The same in one line: line breaks become single blanks.
pub fn one_line(text: &str) -> Cow<'_, str> {
    match sanitize(text) {
        clean if !clean.contains('\n') => clean,
        clean => Cow::Owned(
            clean.split('\n').map(str::trim).filter(|l| !l.is_empty()).collect::<Vec<_>>().join(" "),
        ),
    }
}

/// Length in bytes of what follows the character that introduces a control sequence, when the sequence is
/// complete. One that is not hides nothing.
fn sequence(introducer: char, rest: &str) -> Option<usize> {
    let bytes = rest.as_bytes();
    let (kind, skip) = if introducer == '\u{9b}' { (b'[', 0) } else { (*bytes.first()?, 1) };
    match kind {
        b'[' => {
            let body = bytes.get(skip..)?;
            let length = body.iter().position(|byte| !(0x20..0x40).contains(byte))?;
            (0x40..0x7f).contains(body.get(length)?).then_some(skip + length + 1)
        }
        // A string up to BEL or ESC \. It stops at the first control character: the search stays linear.
        b']' | b'P' | b'X' | b'^' | b'_' => {
            let body = rest.get(1..)?;
            let (length, end) = body.char_indices().find(|(_, c)| c.is_control())?;
            match end {
                '\u{7}' | '\u{9c}' => Some(1 + length + end.len_utf8()),
                '\u{1b}' if body.get(length + 1..)?.starts_with('\\') => Some(1 + length + 2),
                _ => None,
            }
        }
        // Selections of character sets, then single functions.
        b'(' | b')' | b'*' | b'+' | b'#' | b'%' => bytes.get(1).filter(|b| b.is_ascii_graphic()).map(|_| 2),
        b'7' | b'8' | b'=' | b'>' | b'c' | b'D' | b'E' | b'H' | b'M' | b'N' | b'O' | b'Z' => Some(1),
        _ => None,
    }
}

/// The picture of a control character.
fn picture(c: char) -> char {
    match u32::from(c) {
        code @ 0..0x20 => char::from_u32(0x2400 + code).unwrap_or('\u{fffd}'),
        0x7f => '\u{2421}',
        _ => '\u{fffd}',
    }
}

/// Marks that reorder text, have no width and no business between letters, or carry text that nobody sees.
fn is_hidden(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
        | '\u{180b}'..='\u{180f}' | '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0d}' | '\u{feff}' | '\u{ffa0}'
        | '\u{fff0}'..='\u{fffb}' | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn complete_sequences_go_and_torn_ones_hide_nothing() {
        let rows = [
            ("\x1b[31mred\x1b[0m", "red"),
            ("\x1b]0;evil title\x07text", "text"),
            ("\x1b]8;;https://x\x1b\\link\x1b]8;;\x1b\\", "link"),
            ("\u{9b}2Jx", "x"),
            ("\x1b[31", "␛[31"),
            ("\x1b]0;never ended", "␛]0;never ended"),
            ("\x1b]0;one\x1b]0;two", "␛]0;one␛]0;two"),
            ("\x1b(Bx\x1b7", "x"),
            ("bell\x07 del\x7f c1\u{90}", "bell␇ del␡ c1\u{fffd}"),
            ("\x1b", "␛"),
            ("\x1b[é", "␛[é"),
        ];
        for (text, expected) in rows {
            assert_eq!(sanitize(text), expected, "{text:?}");
        }
    }

    #[test]
    fn line_ends_and_tabs_become_plain() {
        assert_eq!(sanitize("a\r\nb\rc\u{2028}d\n"), "a\nb\nc\nd\n");
        assert_eq!(sanitize("a\tb\n\tc\n日\tx"), "a   b\n    c\n日  x");
        assert!(matches!(sanitize("plain\ntext"), Cow::Borrowed(_)));
        assert_eq!(one_line(" a\n\n b\tc "), "a b  c");
    }

    #[test]
    fn marks_that_hide_or_reorder_go_and_joined_emoji_stay() {
        assert_eq!(sanitize("a\u{202e}b\u{200b}c\u{feff}\u{e0041}"), "abc");
        assert_eq!(sanitize("👩\u{200d}👩\u{200d}👧 x\u{200d}y"), "👩\u{200d}👩\u{200d}👧 xy");
        assert_eq!(sanitize("می\u{200c}خواهم"), "می\u{200c}خواهم");
        let zalgo = format!("x{}", "\u{301}".repeat(100));
        assert_eq!(sanitize(&zalgo).chars().count(), 9);
    }

    proptest! {
        #[test]
        fn nothing_that_steers_a_terminal_survives(text in any::<String>(), torn in "(\\x1b[\\[\\]P(]?[0-9;]{0,3}|\u{9b}|\r|\t|[a-z\u{202e}\u{200b}]){0,20}") {
            for text in [text, torn] {
                let clean = sanitize(&text).into_owned();
                prop_assert!(!clean.chars().any(|c| (c.is_control() && c != '\n') || is_hidden(c)), "{:?}", clean);
                prop_assert_eq!(sanitize(&clean), clean.clone());
                prop_assert!(!one_line(&text).contains('\n'));
            }
        }
    }
}
