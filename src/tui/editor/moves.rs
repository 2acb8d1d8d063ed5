//! Where the cursor can go. It never stands within a character.

use unicode_segmentation::{GraphemeCursor, UnicodeSegmentation as _};

use super::Editor;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    Blank,
    Word,
    Sign,
}

fn class(c: char) -> Class {
    match c {
        c if c.is_whitespace() => Class::Blank,
        c if c.is_alphanumeric() || c == '_' => Class::Word,
        _ => Class::Sign,
    }
}

impl Editor {
    /// The character's beginning that is nearest before or at an offset.
    pub(super) fn settle(&self, at: usize) -> usize {
        let at = (0..=at.min(self.text.len())).rev().find(|at| self.text.is_char_boundary(*at)).unwrap_or(0);
        let mut cursor = GraphemeCursor::new(at, self.text.len(), true);
        match cursor.is_boundary(&self.text, 0) {
            Ok(false) => self.before(at),
            _ => at,
        }
    }

    pub(super) fn before(&self, at: usize) -> usize {
        let mut cursor = GraphemeCursor::new(at, self.text.len(), true);
        cursor.prev_boundary(&self.text, 0).ok().flatten().unwrap_or(0)
    }

    pub(super) fn after(&self, at: usize) -> usize {
        let mut cursor = GraphemeCursor::new(at, self.text.len(), true);
        cursor.next_boundary(&self.text, 0).ok().flatten().unwrap_or(self.text.len())
    }

    pub(super) fn word_before(&self, at: usize) -> usize {
        let mut seen = None;
        for (from, cluster) in self.text[..at].grapheme_indices(true).rev() {
            let here = cluster.chars().next().map_or(Class::Blank, class);
            match seen {
                None if here != Class::Blank => seen = Some(here),
                Some(kind) if here != kind => return from + cluster.len(),
                _ => {}
            }
        }
        0
    }

    pub(super) fn word_after(&self, at: usize) -> usize {
        let mut seen = None;
        for (from, cluster) in self.text[at..].grapheme_indices(true) {
            let here = cluster.chars().next().map_or(Class::Blank, class);
            match seen {
                None if here != Class::Blank => seen = Some(here),
                Some(kind) if here != kind => return at + from,
                _ => {}
            }
        }
        self.text.len()
    }

    pub(super) fn line_start(&self) -> usize {
        self.text[..self.cursor].rfind('\n').map_or(0, |at| at + 1)
    }

    pub(super) fn line_end(&self) -> usize {
        self.text[self.cursor..].find('\n').map_or(self.text.len(), |at| self.cursor + at)
    }

    pub(super) fn go(&mut self, to: usize, selecting: bool) {
        self.mark = if selecting { self.mark.or(Some(self.cursor)) } else { None };
        self.cursor = self.settle(to);
        self.goal = None;
    }

    pub(super) fn sideways(&mut self, right: bool, selecting: bool) {
        // Leaving a selection goes to its end on that side.
        match self.selection().filter(|_| !selecting) {
            Some(range) => self.go(if right { range.end } else { range.start }, false),
            None => {
                self.go(if right { self.after(self.cursor) } else { self.before(self.cursor) }, selecting)
            }
        }
    }

    pub(super) fn page(&self) -> isize {
        isize::try_from(self.view.get().1.saturating_sub(1).max(1)).unwrap_or(1)
    }

    /// Up or down by rows of the view, keeping to the column where it began.
    pub(super) fn vertical(&mut self, by: isize, selecting: bool) {
        let rows = self.rows(self.view.get().0);
        let (row, column) = self.place(&rows);
        let goal = self.goal.unwrap_or(column);
        let target = row.saturating_add_signed(by).min(rows.len().saturating_sub(1));
        let to = match (row == target, by < 0) {
            // At the first and the last row it goes to the very end.
            (true, true) => 0,
            (true, false) => self.text.len(),
            (false, _) => self.offset(&rows[target], goal),
        };
        self.go(to, selecting);
        self.goal = Some(goal);
    }
}
