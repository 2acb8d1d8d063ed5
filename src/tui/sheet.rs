//! A text that lies over the rest: YAML, a description, events, a diff.

use crossterm::event::{KeyCode, KeyEvent};

use super::text::{sanitize, width};
use crate::render::patch;

/// Columns that one key scrolls to the side.
const COLUMNS: usize = 8;

/// A text with a title and a place in it.
#[derive(Clone, Debug, Default)]
pub struct Sheet {
    /// What it is.
    pub title: String,
    /// Its lines, harmless ones.
    pub lines: Vec<String>,
    /// First line in view.
    pub top: usize,
    /// First column in view.
    pub left: usize,
    /// True for a diff, which has colours.
    pub diff: bool,
}

impl Sheet {
    /// A text as it came.
    pub fn new(title: impl Into<String>, text: &str) -> Self {
        let text = sanitize(text);
        Self { title: title.into(), lines: text.lines().map(str::to_owned).collect(), ..Self::default() }
    }

    /// The same as a diff.
    #[must_use]
    pub fn as_diff(self, diff: bool) -> Self {
        Self { diff, ..self }
    }

    /// Scrolls so many lines, down or up, where `shown` rows are in view.
    pub fn scroll(&mut self, by: isize, shown: usize) {
        let most = self.lines.len().saturating_sub(shown);
        self.top = self.top.saturating_add_signed(by).min(most);
    }

    /// Scrolls by a key, where `shown` rows are in view.
    pub fn key(&mut self, key: &KeyEvent, shown: usize) {
        let page = isize::try_from(shown.saturating_sub(1).max(1)).unwrap_or(1);
        let by = match key.code {
            KeyCode::Up | KeyCode::Char('k') => -1,
            KeyCode::Down | KeyCode::Char('j') => 1,
            KeyCode::PageUp => -page,
            KeyCode::PageDown | KeyCode::Char(' ') => page,
            KeyCode::Home | KeyCode::Char('g') => isize::MIN,
            KeyCode::End | KeyCode::Char('G') => isize::MAX,
            KeyCode::Left | KeyCode::Char('h') => {
                self.left = self.left.saturating_sub(COLUMNS);
                return;
            }
            KeyCode::Right | KeyCode::Char('l') => {
                let widest = self.lines.iter().map(|line| width(line)).max().unwrap_or(0);
                self.left = (self.left + COLUMNS).min(widest.saturating_sub(COLUMNS));
                return;
            }
            KeyCode::Char('}' | 'J') => self.to_part(true),
            KeyCode::Char('{' | 'K') => self.to_part(false),
            _ => return,
        };
        self.scroll(by, shown);
    }

    /// How far the next file of a diff is, or the one before.
    fn to_part(&self, next: bool) -> isize {
        let begins = |line: &&(usize, &String)| self.diff && patch::begins_part(line.1);
        let numbered = || self.lines.iter().enumerate();
        let found = match next {
            true => numbered().skip(self.top + 1).find(|line| begins(&line)),
            false => numbered().take(self.top).rfind(|line| begins(&line)),
        };
        let distance = |at: usize| isize::try_from(at).unwrap_or(0) - isize::try_from(self.top).unwrap_or(0);
        found.map_or(0, |(at, _)| distance(at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crossterm::event::KeyModifiers;

    fn press(sheet: &mut Sheet, letters: &str) {
        for letter in letters.chars() {
            sheet.key(&KeyEvent::new(KeyCode::Char(letter), KeyModifiers::NONE), 4);
        }
    }

    #[test]
    fn a_sheet_is_scrolled_by_lines_pages_and_columns_and_never_past_its_ends() {
        let text: String = (0..10).map(|n| format!("line {n} is quite long\x1b[31m\n")).collect();
        let mut sheet = Sheet::new("x", &text);
        assert!(sheet.lines.len() == 10 && !sheet.lines[0].contains('\x1b'));
        press(&mut sheet, "jj");
        assert_eq!(sheet.top, 2);
        press(&mut sheet, "  G");
        assert_eq!(sheet.top, 6);
        press(&mut sheet, "kg");
        assert_eq!(sheet.top, 0);
        press(&mut sheet, "lllllllll");
        assert!((8..24).contains(&sheet.left), "{}", sheet.left);
        press(&mut sheet, "hhhhhhhhh");
        assert_eq!(sheet.left, 0);
        Sheet::default().key(&KeyEvent::new(KeyCode::End, KeyModifiers::NONE), 4);
    }

    #[test]
    fn a_diff_is_walked_by_files() {
        let text = "# app\ndiff --git a/x b/x\n-1\n+2\n x\n x\n x\ndiff --git a/y b/y\n+3\n x\n x\n x\n x\n";
        let mut sheet = Sheet::new("x", text).as_diff(true);
        let mut tops = Vec::new();
        for letter in ["}", "}", "}", "{", "{", "{"] {
            press(&mut sheet, letter);
            tops.push(sheet.top);
        }
        assert_eq!(tops, [1, 7, 7, 1, 0, 0]);
        let mut plain = Sheet::new("x", text);
        press(&mut plain, "}");
        assert_eq!(plain.top, 0);
    }
}
