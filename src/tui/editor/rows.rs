//! The text on rows of a width, and on the screen.

use std::borrow::Cow;
use std::ops::Range;

use ratatui::Frame;
use ratatui::buffer::Buffer;
use ratatui::layout::{Position, Rect};
use unicode_segmentation::UnicodeSegmentation as _;

use super::Editor;
use crate::tui::text::{TAB, sanitize, truncate, width};
use crate::tui::theme::Theme;

/// How one character is shown at a column, and how many columns it takes. What has no width of its own is shown as
/// a mark, so that whoever edits can see and delete it.
fn shown(cluster: &str, column: usize) -> (Cow<'_, str>, usize) {
    if cluster == "\t" {
        let blanks = TAB - column % TAB;
        return (Cow::Borrowed(&"    "[..blanks.min(4)]), blanks);
    }
    if cluster.len() == 1 && cluster.as_bytes()[0].is_ascii_graphic() || cluster == " " {
        return (Cow::Borrowed(cluster), 1);
    }
    let text = sanitize(cluster);
    match width(&text) {
        0 => (Cow::Borrowed("\u{fffd}"), 1),
        columns => (text, columns),
    }
}

impl Editor {
    /// The parts of the text that stand on a row each. A line end belongs to no row; blanks at a break stay at the
    /// end of their row.
    pub(super) fn rows(&self, columns: usize) -> Vec<Range<usize>> {
        let columns = columns.max(1);
        let mut rows = Vec::new();
        let mut offset = 0;
        for line in self.text.split('\n') {
            let mut start = 0;
            let mut used = 0;
            // Where the next row could begin, and the columns before that.
            let mut chance: Option<(usize, usize)> = None;
            for (at, cluster) in line.grapheme_indices(true) {
                let (_, size) = shown(cluster, used);
                let blank = cluster == " " || cluster == "\t";
                if !blank && used + size > columns && at > start {
                    match chance.take().filter(|(next, _)| *next > start) {
                        Some((next, before)) => {
                            rows.push(offset + start..offset + next);
                            start = next;
                            used -= before;
                        }
                        None => {
                            rows.push(offset + start..offset + at);
                            start = at;
                            used = 0;
                        }
                    }
                    // A word that is as long as the row on its own.
                    if used + size > columns && at > start {
                        rows.push(offset + start..offset + at);
                        start = at;
                        used = 0;
                    }
                }
                used += size;
                if blank || size >= 2 {
                    chance = Some((at + cluster.len(), used));
                }
            }
            rows.push(offset + start..offset + line.len());
            offset += line.len() + 1;
        }
        rows
    }

    /// Row and column of the cursor.
    pub(super) fn place(&self, rows: &[Range<usize>]) -> (usize, usize) {
        // At a soft break the cursor stands at the beginning of the next row.
        let row = rows.iter().rposition(|row| row.start <= self.cursor).unwrap_or(0);
        let column = rows.get(row).map_or(0, |row| {
            let mut column = 0;
            for (_, cluster) in
                self.text[row.start..self.cursor.clamp(row.start, row.end)].grapheme_indices(true)
            {
                column += shown(cluster, column).1;
            }
            column
        });
        (row, column)
    }

    /// The offset of the character at a column of a row.
    pub(super) fn offset(&self, row: &Range<usize>, goal: usize) -> usize {
        let mut column = 0;
        let mut last = row.start;
        for (at, cluster) in self.text[row.clone()].grapheme_indices(true) {
            let size = shown(cluster, column).1;
            if column + size > goal {
                return row.start + at;
            }
            column += size;
            last = row.start + at;
        }
        // The end of a row that is broken softly is the beginning of the next one.
        let soft = row.end < self.text.len() && self.text.as_bytes()[row.end] != b'\n';
        if soft { last } else { row.end }
    }

    /// Rows that the text takes at a width.
    pub fn height(&self, columns: u16) -> usize {
        self.rows(usize::from(columns).saturating_sub(1)).len()
    }

    /// Draws the text, and puts the terminal's cursor where it is edited.
    pub fn draw(&self, frame: &mut Frame<'_>, area: Rect, theme: &Theme) {
        if let Some(position) = self.render(area, frame.buffer_mut(), theme) {
            frame.set_cursor_position(position);
        }
    }

    /// Puts the cursor on the character at a place of the view that was drawn last.
    pub fn click(&mut self, column: u16, row: u16) {
        let (columns, _, scroll) = self.view.get();
        let rows = self.rows(columns);
        let at = (scroll + usize::from(row)).min(rows.len().saturating_sub(1));
        self.go(self.offset(&rows[at], usize::from(column)), false);
    }

    /// Draws the text; where the cursor is, unless there is no room.
    pub fn render(&self, area: Rect, buffer: &mut Buffer, theme: &Theme) -> Option<Position> {
        let area = area.intersection(buffer.area);
        if area.is_empty() {
            return None;
        }
        buffer.set_style(area, theme.text);
        // The cursor needs a column after the longest row.
        let columns = usize::from(area.width).saturating_sub(1).max(1);
        let height = usize::from(area.height);
        let rows = self.rows(columns);
        let (row, column) = self.place(&rows);
        let before = self.view.get().2.min(rows.len().saturating_sub(height));
        let scroll = before.clamp(row.saturating_sub(height - 1), row);
        self.view.set((columns, height, scroll));
        if self.text.is_empty() {
            let text = truncate(&self.placeholder, columns, theme.glyphs.ellipsis);
            buffer.set_stringn(area.x, area.y, text.as_ref(), columns, theme.dim);
        }
        let selection = self.selection().unwrap_or(0..0);
        for (y, row) in (area.top()..area.bottom()).zip(rows.iter().skip(scroll)) {
            let mut column = 0;
            for (at, cluster) in self.text[row.clone()].grapheme_indices(true) {
                let (text, size) = shown(cluster, column);
                if column + size > usize::from(area.width) {
                    break;
                }
                let selected = selection.contains(&(row.start + at));
                let style = if selected { theme.text.patch(theme.selected) } else { theme.text };
                let x = area.x + u16::try_from(column).unwrap_or(0);
                buffer.set_stringn(x, y, text.as_ref(), size, style);
                column += size;
            }
        }
        // What is out of view is announced at the right edge.
        let edge = area.right() - 1;
        if scroll > 0 {
            buffer.set_string(edge, area.y, theme.glyphs.up, theme.dim);
        }
        if scroll + height < rows.len() {
            buffer.set_string(edge, area.bottom() - 1, theme.glyphs.down, theme.dim);
        }
        let x = area.x + u16::try_from(column).unwrap_or(u16::MAX).min(area.width - 1);
        let y = area.y + u16::try_from(row - scroll).unwrap_or(0);
        Some(Position { x, y })
    }
}
