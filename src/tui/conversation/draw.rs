//! The conversation on the screen. Nothing changes here: rows that are not laid out are made for this once.

use std::borrow::Cow;

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::Line;

use super::Conversation;
use super::view::Place;
use crate::tui::text::{clusters, columns, line_text, truncate, width};
use crate::tui::theme::Theme;

impl Conversation {
    /// Draws what [`Conversation::layout`] has put into view.
    pub fn draw(&self, area: Rect, buffer: &mut Buffer, theme: &Theme) {
        let area = area.intersection(buffer.area);
        if area.is_empty() {
            return;
        }
        buffer.set_style(area, theme.text);
        let top = self.first_row(usize::from(area.height));
        let mut y = area.top();
        let mut at = top.item;
        let mut skip = top.row;
        while y < area.bottom() && at < self.count() {
            let Some(item) = self.item(at) else { break };
            let rows = match (&item.rows, item.height) {
                (Some(rows), Some((generation, _))) if generation == self.generation => Cow::Borrowed(rows),
                _ => Cow::Owned(self.rows_of(at)),
            };
            for (row, line) in rows.iter().enumerate().skip(skip) {
                if y >= area.bottom() {
                    break;
                }
                let place = Place { item: at, row };
                self.row(
                    line,
                    place,
                    Rect { y, height: 1, width: area.width.saturating_sub(1), ..area },
                    buffer,
                    theme,
                );
                y += 1;
            }
            skip = 0;
            at += 1;
        }
        self.scroll_bar(area, top, buffer, theme);
        self.unseen_note(area, buffer, theme);
    }

    /// The first row in view. A view that follows ends with the last row even if the area has another height than
    /// the last layout had.
    fn first_row(&self, height: usize) -> Place {
        if let Some(place) = self.anchor {
            return place;
        }
        let mut left = height;
        let mut at = self.count();
        while let Some(before) = at.checked_sub(1) {
            let rows = match self.item(before).and_then(|item| item.height) {
                Some((generation, rows)) if generation == self.generation => rows,
                _ => self.rows_of(before).len(),
            };
            if rows >= left {
                return Place { item: before, row: rows - left };
            }
            left -= rows;
            at = before;
        }
        Place { item: 0, row: 0 }
    }

    fn row(&self, line: &Line<'_>, place: Place, area: Rect, buffer: &mut Buffer, theme: &Theme) {
        put(line, self.shift, area, buffer);
        let item = self.item(place.item);
        if self.focus.is_some()
            && item.is_some_and(|item| Some(item.first) == self.focus && (place.row > 0 || !item.gap))
        {
            buffer.set_style(area, theme.selected);
        }
        if let Some(search) = &self.search {
            let text = line_text(line);
            let mut from = 0;
            while let Some(hit) = search.needle.find(&text, from) {
                let before = width(&text[..hit.start]).saturating_sub(self.shift);
                let x = area.x.saturating_add(u16::try_from(before).unwrap_or(u16::MAX));
                let size = u16::try_from(width(&text[hit.clone()])).unwrap_or(u16::MAX);
                let current = search.current == Some(place);
                let style = if current { theme.hit.patch(theme.strong) } else { theme.hit };
                buffer.set_style(Rect { x, width: size, ..area }.intersection(area), style);
                from = hit.end;
            }
        }
    }

    fn scroll_bar(&self, area: Rect, top: Place, buffer: &mut Buffer, theme: &Theme) {
        let total = self.bytes.last().copied().unwrap_or(0);
        let fits = self.anchor.is_none() && top == (Place { item: 0, row: 0 });
        if total == 0 || fits || area.width < 8 || area.height < 3 {
            return;
        }
        let offset = |at: usize| self.bytes.get(at).copied().unwrap_or(total);
        let within = |place: Place| {
            let rows =
                self.item(place.item).and_then(|item| item.height).map_or(1, |(_, rows)| rows.max(1)) as u64;
            let (from, to) = (offset(place.item), offset(place.item + 1));
            from + (to - from) * place.row as u64 / rows
        };
        let height = u64::from(area.height);
        let end = if self.anchor.is_none() { total } else { offset(self.bottom).max(within(top)) };
        let size = ((end - within(top)) * height / total).clamp(1, height);
        let start = if self.anchor.is_none() {
            height - size
        } else {
            (within(top) * height / total).min(height - size)
        };
        let x = area.right() - 1;
        for row in 0..height {
            let thumb = (start..start + size).contains(&row);
            let (sign, style) =
                if thumb { (theme.glyphs.thumb, theme.dim) } else { (theme.glyphs.track, theme.border) };
            let y = area.y + u16::try_from(row).unwrap_or(0);
            buffer.set_string(x, y, sign, style);
        }
    }

    fn unseen_note(&self, area: Rect, buffer: &mut Buffer, theme: &Theme) {
        let unseen = self.unseen();
        if self.anchor.is_none() || area.width < 12 {
            return;
        }
        let glyphs = theme.glyphs;
        let text = match unseen {
            0 => format!(" {} end ", glyphs.down),
            n => format!(" {} {n} more ", glyphs.down),
        };
        let text = truncate(&text, usize::from(area.width.saturating_sub(2)), glyphs.ellipsis);
        let size = u16::try_from(width(&text)).unwrap_or(0);
        let x = area.right().saturating_sub(size + 2);
        buffer.set_string(x, area.bottom() - 1, text.as_ref(), theme.selected.patch(theme.accent));
    }
}

/// Puts a line into one row, `shift` columns of it skipped. A wide character that is cut leaves blanks.
fn put(line: &Line<'_>, shift: usize, area: Rect, buffer: &mut Buffer) {
    let room = usize::from(area.width);
    let mut column = 0;
    for span in &line.spans {
        let style: Style = line.style.patch(span.style);
        for (_, cluster, size) in clusters(&span.content) {
            if column >= shift + room {
                return;
            }
            let end = column + size;
            if size > 0 && column >= shift && end <= shift + room {
                let x = area.x + u16::try_from(column - shift).unwrap_or(0);
                buffer.set_stringn(x, area.y, cluster, columns(cluster), style);
            }
            column = end;
        }
    }
}
