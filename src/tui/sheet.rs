//! A text that lies over the rest: YAML, a description, events, a diff.

use crossterm::event::{KeyCode, KeyEvent};

use super::text::{breaks, sanitize, width};
use crate::render::patch;

/// Widest label below whose value a line goes on.
const LABEL: usize = 24;
/// Columns that one key scrolls to the side.
const COLUMNS: usize = 8;

/// A text with a title and a place in it.
#[derive(Clone, Debug, Default)]
pub struct Sheet {
    /// What it is.
    pub title: String,
    /// Its lines as they came, harmless ones.
    whole: Vec<String>,
    /// The same as they are shown: wrapped, but for those of a diff.
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
        let whole: Vec<String> = sanitize(text).lines().map(str::to_owned).collect();
        Self { title: title.into(), lines: whole.clone(), whole, ..Self::default() }
    }

    /// The text as it came.
    pub fn text(&self) -> String {
        self.whole.join("\n")
    }

    /// Wraps the lines to so many columns. A diff stays as it is: it is scrolled to the side.
    pub fn fit(&mut self, columns: usize) {
        if !self.diff {
            self.lines = self.whole.iter().flat_map(|line| wrapped(line, columns)).collect();
            self.top = self.top.min(self.lines.len().saturating_sub(1));
        }
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

/// A line on as many rows as it takes; what goes on stands below the value of `Label:  value`, else a little to the
/// right.
fn wrapped(line: &str, columns: usize) -> Vec<String> {
    let blank = line.len() - line.trim_start_matches(' ').len();
    let label = line.find(": ").filter(|at| line.get(blank..*at).is_some_and(|label| !label.contains("  ")));
    let value = label.and_then(|at| line.get(at + 1..)).map(|rest| line.len() - rest.trim_start().len());
    let indent = value.and_then(|value| line.get(..value)).map_or(blank + 2, width);
    let indent = if indent <= LABEL { indent } else { blank + 2 }.min(columns / 2);
    let rows = breaks(line, columns, columns.saturating_sub(indent)).into_iter().enumerate();
    rows.map(|(number, range)| match (number, line.get(range).unwrap_or_default()) {
        (0, part) => part.to_owned(),
        (_, part) => format!("{}{part}", " ".repeat(indent)),
    })
    .collect()
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
    fn long_lines_are_wrapped_below_their_values_and_those_of_a_diff_are_not() {
        let text = "Name:   t-1\nWhy:    it waits for a person and for another one\n  high   a.rs:1   it leaks badly";
        let mut sheet = Sheet::new("x", text);
        sheet.fit(24);
        let wanted = [
            "Name:   t-1",
            "Why:    it waits for a",
            "        person and for",
            "        another one",
            "  high   a.rs:1   it",
            "    leaks badly",
        ];
        assert_eq!(sheet.lines, wanted);
        assert_eq!(sheet.text(), text);
        sheet.fit(200);
        assert_eq!(sheet.lines.len(), 3);
        let mut diff = Sheet::new("x", "+one two three\n").as_diff(true);
        diff.fit(5);
        assert_eq!(diff.lines, ["+one two three"]);
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
