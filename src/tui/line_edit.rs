//! One line of text that is typed: the search line and the command line.

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use unicode_segmentation::UnicodeSegmentation as _;

use super::text;

/// A text and where the cursor stands in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LineEdit {
    text: String,
    /// Offset in bytes, always between two grapheme clusters.
    at: usize,
}

impl LineEdit {
    /// A line that holds a text, with the cursor at its end.
    pub fn new(text: &str) -> Self {
        Self { text: text.to_owned(), at: text.len() }
    }

    /// The text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Columns before the cursor.
    pub fn column(&self) -> usize {
        text::width(self.before())
    }

    /// Puts text in at the cursor, as one line.
    pub fn insert(&mut self, text: &str) {
        // Blanks at the ends stay: the next word is not typed yet.
        let text = text::sanitize(text).replace('\n', " ");
        self.text.insert_str(self.at, &text);
        self.at += text.len();
    }

    /// Takes a key. Answers whether it was one of a line's keys.
    pub fn handle(&mut self, key: &KeyEvent) -> bool {
        let control = key.modifiers.contains(KeyModifiers::CONTROL);
        let alt = key.modifiers.contains(KeyModifiers::ALT);
        match key.code {
            KeyCode::Char('a') if control => self.at = 0,
            KeyCode::Char('e') if control => self.at = self.text.len(),
            KeyCode::Char('u') if control => {
                self.text.drain(..self.at);
                self.at = 0;
            }
            KeyCode::Char('k') if control => self.text.truncate(self.at),
            KeyCode::Char('w') if control => self.delete_to(self.word_before()),
            KeyCode::Backspace if alt || control => self.delete_to(self.word_before()),
            KeyCode::Char(c) if !control && !alt => self.insert(c.encode_utf8(&mut [0; 4])),
            KeyCode::Backspace => self.delete_to(self.cluster_before()),
            KeyCode::Delete => {
                let end = self.cluster_after();
                self.text.drain(self.at..end);
            }
            KeyCode::Left => self.at = self.cluster_before(),
            KeyCode::Right => self.at = self.cluster_after(),
            KeyCode::Home => self.at = 0,
            KeyCode::End => self.at = self.text.len(),
            _ => return false,
        }
        true
    }

    fn before(&self) -> &str {
        self.text.get(..self.at).unwrap_or_default()
    }

    fn cluster_before(&self) -> usize {
        self.before().grapheme_indices(true).next_back().map_or(0, |(at, _)| at)
    }

    fn cluster_after(&self) -> usize {
        let after = self.text.get(self.at..).unwrap_or_default();
        self.at + after.graphemes(true).next().map_or(0, str::len)
    }

    fn word_before(&self) -> usize {
        let trimmed = self.before().trim_end();
        trimmed.char_indices().rev().find(|(_, c)| c.is_whitespace()).map_or(0, |(at, c)| at + c.len_utf8())
    }

    fn delete_to(&mut self, start: usize) {
        self.text.drain(start..self.at);
        self.at = start;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn press(line: &mut LineEdit, code: KeyCode, modifiers: KeyModifiers) {
        line.handle(&KeyEvent::new(code, modifiers));
    }

    #[test]
    fn clusters_and_words_are_deleted_whole() {
        let mut line = LineEdit::new("one two ä👩‍👩‍👧");
        assert_eq!(line.column(), 11);
        press(&mut line, KeyCode::Backspace, KeyModifiers::NONE);
        assert_eq!(line.text(), "one two ä");
        press(&mut line, KeyCode::Char('w'), KeyModifiers::CONTROL);
        assert_eq!(line.text(), "one two ");
        press(&mut line, KeyCode::Char('w'), KeyModifiers::CONTROL);
        press(&mut line, KeyCode::Home, KeyModifiers::NONE);
        line.insert("zero\nhalf ");
        assert_eq!((line.text(), line.column()), ("zero half one ", 10));
    }

    proptest! {
        #[test]
        fn no_sequence_of_keys_splits_a_cluster(text in "\\PC{0,12}", keys in proptest::collection::vec(0..9u8, 0..40)) {
            let mut line = LineEdit::new("");
            line.insert(&text);
            for key in keys {
                let (code, modifiers) = match key {
                    0 => (KeyCode::Left, KeyModifiers::NONE),
                    1 => (KeyCode::Right, KeyModifiers::NONE),
                    2 => (KeyCode::Backspace, KeyModifiers::NONE),
                    3 => (KeyCode::Delete, KeyModifiers::NONE),
                    4 => (KeyCode::Char('w'), KeyModifiers::CONTROL),
                    5 => (KeyCode::Char('é'), KeyModifiers::NONE),
                    6 => (KeyCode::Home, KeyModifiers::NONE),
                    7 => (KeyCode::Char('k'), KeyModifiers::CONTROL),
                    _ => (KeyCode::Char('\u{301}'), KeyModifiers::NONE),
                };
                press(&mut line, code, modifiers);
                prop_assert!(line.text().is_char_boundary(line.at));
                prop_assert!(line.at <= line.text().len());
            }
        }
    }
}
