//! Which rows of the conversation are in view: scrolling, following, laying out what is seen.

use super::rows;
use super::{Conversation, KEPT_BYTES, KEPT_PARTS, Kind};
use crate::tui::theme::Theme;

/// Rows that one scroll goes over at most before it goes by records instead.
const FAR: i64 = 20_000;

/// How to scroll.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scroll {
    /// By rows, down if positive.
    Lines(i64),
    /// By views less one row, down if positive.
    Pages(i64),
    /// By columns to the right, while lines are not wrapped.
    Columns(i64),
    /// To the record after (positive) or before the one with the focus; the focus goes there.
    Records(i64),
    /// To the first row.
    Top,
    /// To the end, which is followed from then on.
    Bottom,
}

/// A row of a part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub(super) item: usize,
    pub(super) row: usize,
}

impl Conversation {
    /// Brings the view to a size and a theme and lays out what is in it. Call it before `draw`, after any change.
    pub fn layout(&mut self, width: u16, height: u16, theme: &Theme) {
        // The last column holds the scroll bar.
        let columns = usize::from(width).saturating_sub(1).max(1);
        if columns != self.options.width || *theme != self.options.theme {
            let before = self.anchor.map(|place| (place, self.height_of(place.item)));
            self.options.width = columns;
            self.options.theme = *theme;
            self.invalidate();
            // The same part of the text stays at the top, wherever it wraps now.
            if let Some((place, rows)) = before {
                let now = self.height_of(place.item);
                let row = (place.row * now).checked_div(rows).unwrap_or(0);
                self.anchor = Some(Place { item: place.item, row: row.min(now.saturating_sub(1)) });
            }
        }
        self.height = usize::from(height);
        self.settle_view();
        self.count_hits();
    }

    /// Scrolls. Going up pauses following; coming to the end resumes it.
    pub fn scroll(&mut self, scroll: Scroll) {
        match scroll {
            Scroll::Top => {
                self.anchor = Some(Place { item: 0, row: 0 });
                self.focus = None;
            }
            Scroll::Bottom => {
                self.anchor = None;
                self.focus = None;
            }
            Scroll::Pages(pages) => {
                let page = i64::try_from(self.height.saturating_sub(1).max(1)).unwrap_or(1);
                return self.scroll(Scroll::Lines(pages.saturating_mul(page)));
            }
            Scroll::Lines(lines) if lines <= -FAR => return self.scroll(Scroll::Top),
            Scroll::Lines(lines) if lines >= FAR => return self.scroll(Scroll::Bottom),
            Scroll::Lines(lines) => {
                let top = self.top();
                let by = usize::try_from(lines.unsigned_abs()).unwrap_or(0);
                if lines < 0 {
                    self.anchor = Some(self.up(top, by));
                } else if self.anchor.is_some() {
                    self.anchor = Some(self.down(top, by));
                }
            }
            Scroll::Columns(by) => {
                self.scroll_sideways(by);
            }
            Scroll::Records(by) => self.move_focus(by),
        }
        self.settle_view();
    }

    /// Scrolls by columns to the right while lines are not wrapped. False when that changes nothing.
    pub fn scroll_sideways(&mut self, by: i64) -> bool {
        if self.options.wrap {
            return false;
        }
        let before = self.shift;
        self.shift = before.saturating_add_signed(isize::try_from(by).unwrap_or(0)).min(100_000);
        self.shift != before
    }

    /// Whether the view stays at the end as records arrive.
    pub fn is_following(&self) -> bool {
        self.anchor.is_none()
    }

    /// Records below the view.
    pub fn unseen(&self) -> usize {
        let last = self.items.last().map_or(0, |item| item.ordinal + 1);
        let seen = match self.bottom.checked_sub(1) {
            Some(at) => self.items.get(at).map_or(last, |item| item.ordinal + 1),
            None => 0,
        };
        last.saturating_sub(seen) + if self.bottom < self.count() { self.pending_below() } else { 0 }
    }

    fn pending_below(&self) -> usize {
        let from = self.bottom.max(self.items.len());
        (from..self.count()).filter(|at| self.item(*at).is_some_and(|item| item.first == *at)).count()
    }

    /// Parts of records and of pending messages.
    pub(super) fn count(&self) -> usize {
        self.items.len() + self.tail.len()
    }

    /// Keeps what is in view where it is, should the view follow: something in it is about to change its height.
    pub(super) fn hold(&mut self) {
        if self.anchor.is_none() && self.items.len() > 1 {
            let top = self.top();
            if top > (Place { item: 0, row: 0 }) {
                self.anchor = Some(top);
            }
        }
    }

    /// Makes the anchor valid, resumes following at the end, and lays out the view.
    pub(super) fn settle_view(&mut self) {
        if let Some(place) = self.anchor {
            let item = place.item.min(self.count().saturating_sub(1));
            let row = if item == place.item { place.row } else { 0 };
            let rows = self.height_of(item);
            let place = Place { item, row: row.min(rows.saturating_sub(1)) };
            let end = self.end_top();
            self.anchor = (place < end).then_some(place);
        }
        let mut left = self.height;
        let top = self.top();
        let mut at = top.item;
        let mut skip = top.row;
        while left > 0 && at < self.count() {
            self.prepare(at);
            let rows = self.height_of(at).saturating_sub(skip);
            skip = 0;
            left = left.saturating_sub(rows);
            at += 1;
        }
        self.bottom = at;
    }

    /// The first row in view.
    pub(super) fn top(&mut self) -> Place {
        match self.anchor {
            Some(place) => place,
            None => self.end_top(),
        }
    }

    /// The first row of the last view.
    fn end_top(&mut self) -> Place {
        self.up(Place { item: self.count(), row: 0 }, self.height)
    }

    fn up(&mut self, from: Place, rows: usize) -> Place {
        let mut place = from;
        let mut left = rows;
        loop {
            if place.row >= left {
                return Place { item: place.item, row: place.row - left };
            }
            left -= place.row;
            let Some(item) = place.item.checked_sub(1) else { return Place { item: 0, row: 0 } };
            place = Place { item, row: self.height_of(item) };
        }
    }

    fn down(&mut self, from: Place, rows: usize) -> Place {
        let mut place = from;
        let mut left = rows;
        while place.item < self.count() {
            let here = self.height_of(place.item);
            if place.row + left < here {
                return Place { item: place.item, row: place.row + left };
            }
            left -= here - place.row.min(here);
            place = Place { item: place.item + 1, row: 0 };
        }
        place
    }

    /// Rows of a part.
    pub(super) fn height_of(&mut self, at: usize) -> usize {
        match self.item(at).map(|item| item.height) {
            None => 0,
            Some(Some((generation, rows))) if generation == self.generation => rows,
            Some(_) => self.prepare(at),
        }
    }

    /// Lays a part out unless it is; its rows are kept for a while. Returns how many there are.
    pub(super) fn prepare(&mut self, at: usize) -> usize {
        if let Some(item) = self.item(at)
            && let (Some(rows), Some((generation, _))) = (&item.rows, item.height)
            && generation == self.generation
        {
            return rows.len();
        }
        let made = self.rows_of(at);
        let count = made.len();
        let generation = self.generation;
        let records = self.items.len();
        let item = match at.checked_sub(records) {
            None => self.items.get_mut(at),
            Some(tail) => self.tail.get_mut(tail),
        };
        let Some(item) = item else { return 0 };
        item.height = Some((generation, count));
        item.rows = Some(made);
        if at < records {
            self.kept_bytes += item.text.len();
            self.kept.push_back(at);
        }
        self.forget();
        count
    }

    /// The rows of a part, made anew.
    pub(super) fn rows_of(&self, at: usize) -> Vec<ratatui::text::Line<'static>> {
        match self.item(at) {
            Some(item) => rows::rows(item, self.is_folded(at), at - item.first, &self.options),
            None => Vec::new(),
        }
    }

    fn forget(&mut self) {
        while self.kept.len() > KEPT_PARTS || (self.kept_bytes > KEPT_BYTES && self.kept.len() > 64) {
            let Some(old) = self.kept.pop_front() else { return };
            if let Some(item) = self.items.get_mut(old) {
                self.kept_bytes = self.kept_bytes.saturating_sub(item.text.len());
                item.rows = None;
            }
        }
    }

    /// The part that is drawn at a row of the view.
    pub(super) fn at_row(&mut self, row: usize) -> Option<usize> {
        let top = self.top();
        let place = self.down(top, row);
        (place.item < self.count()).then_some(place.item)
    }

    fn move_focus(&mut self, by: i64) {
        let is_stop = |conversation: &Self, at: usize| {
            conversation
                .items
                .get(at)
                .is_some_and(|item| item.first == at && !matches!(item.kind, Kind::End { .. }))
        };
        let top = self.top().item;
        let mut at = match self.focus {
            Some(at) => at,
            // The first step takes a record that is in view.
            None if by > 0 => top.checked_sub(1).unwrap_or(usize::MAX),
            None => self.bottom.min(self.items.len()),
        };
        for _ in 0..by.unsigned_abs().min(100_000) {
            let next = if by > 0 {
                let from = at.wrapping_add(1);
                (from..self.items.len()).find(|at| is_stop(self, *at))
            } else {
                (0..at).rev().find(|at| is_stop(self, *at))
            };
            match next {
                Some(next) => at = next,
                None => break,
            }
        }
        if is_stop(self, at) {
            self.focus = Some(at);
            self.reveal(Place { item: at, row: 0 });
        }
    }

    /// Scrolls as little as shows a row.
    pub(super) fn reveal(&mut self, place: Place) {
        let top = self.top();
        let last = self.down(top, self.height.saturating_sub(1));
        if place < top || place > last {
            let third = self.height / 3;
            self.anchor = Some(self.up(place, third));
        } else {
            self.anchor = Some(top);
        }
    }
}
