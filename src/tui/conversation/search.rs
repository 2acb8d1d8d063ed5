//! Searching the conversation: the source text of every record, and then the row that shows it.

use std::ops::Range;

use super::Conversation;
use super::view::Place;
use crate::tui::text::line_text;

/// Bytes of text that one layout searches: a millisecond or two.
const SLICE: usize = 1 << 20;
/// Bytes of text that a key searches at once for the nearest hit; what is left is left to layouts.
const AT_ONCE: usize = 4 << 20;

/// How far a search has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hits {
    /// Which of the matching records is looked at, from 1; 0 for none.
    pub current: usize,
    /// How many match.
    pub total: usize,
    /// False while the rest of the records is still being searched.
    pub complete: bool,
}

#[derive(Debug)]
pub(super) struct Search {
    pub(super) needle: Needle,
    /// Indexes of the parts that match, as far as they are searched.
    found: Vec<usize>,
    searched: usize,
    pub(super) current: Option<Place>,
    /// The way to the nearest hit, as long as it is not found.
    seek: Option<Seek>,
}

/// Looking for the nearest hit before or after a place, around the ends if need be.
#[derive(Clone, Copy, Debug)]
struct Seek {
    from: Place,
    forward: bool,
    /// The place itself is a hit as well.
    here_too: bool,
    /// Parts that were searched.
    step: usize,
}

/// What is searched for. Small letters find both, capitals only capitals.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Needle {
    chars: Vec<char>,
    exact: bool,
}

impl Needle {
    pub(super) fn new(query: &str) -> Self {
        Self { chars: query.chars().collect(), exact: query.chars().any(char::is_uppercase) }
    }

    /// The first match at or after an offset.
    pub(super) fn find(&self, text: &str, from: usize) -> Option<Range<usize>> {
        let first = *self.chars.first()?;
        let mut at = from;
        loop {
            let rest = text.get(at..)?;
            let step = if first.is_ascii() {
                let (small, large) =
                    (first as u8, if self.exact { first as u8 } else { first.to_ascii_uppercase() as u8 });
                rest.as_bytes().iter().position(|byte| *byte == small || *byte == large)?
            } else {
                rest.char_indices().find(|(_, c)| self.same(*c, first)).map(|(at, _)| at)?
            };
            at += step;
            match self.matches(&text[at..]) {
                Some(length) => return Some(at..at + length),
                None => at += text[at..].chars().next().map_or(1, char::len_utf8),
            }
        }
    }

    fn matches(&self, text: &str) -> Option<usize> {
        let mut chars = text.chars();
        let mut length = 0;
        for wanted in &self.chars {
            let c = chars.next()?;
            if !self.same(c, *wanted) {
                return None;
            }
            length += c.len_utf8();
        }
        Some(length)
    }

    fn same(&self, c: char, wanted: char) -> bool {
        c == wanted || (!self.exact && c.to_lowercase().eq(std::iter::once(wanted)))
    }
}

impl Conversation {
    /// Searches for a text and goes to the first hit from the top of the view on. An empty text ends the search.
    /// False when nothing matches, or when a long transcript is still being searched.
    pub fn search(&mut self, query: &str) -> bool {
        if query.is_empty() {
            self.search = None;
            return false;
        }
        let needle = Needle::new(query);
        if self.search.as_ref().is_some_and(|search| search.needle == needle) {
            return self.search.as_ref().is_some_and(|search| search.current.is_some());
        }
        self.search = Some(Search { needle, found: Vec::new(), searched: 0, current: None, seek: None });
        let top = self.top();
        let found = self.go(top, true, true);
        self.count_hits();
        found
    }

    /// Goes to the next hit, from the last one on to the first.
    pub fn next_hit(&mut self) -> bool {
        let from = self.search.as_ref().and_then(|search| search.current);
        match from {
            Some(place) => self.go(place, true, false),
            None => {
                let top = self.top();
                self.go(top, true, true)
            }
        }
    }

    /// Goes to the hit before, from the first one on to the last.
    pub fn prev_hit(&mut self) -> bool {
        let from = self.search.as_ref().and_then(|search| search.current);
        let from = from.unwrap_or_else(|| self.top());
        self.go(from, false, false)
    }

    /// What the search has found; none when nothing is searched for.
    pub fn hits(&self) -> Option<Hits> {
        let search = self.search.as_ref()?;
        let current = search.current.map_or(0, |place| search.found.partition_point(|at| *at <= place.item));
        Some(Hits { current, total: search.found.len(), complete: search.searched >= self.items.len() })
    }

    /// Whether the next layout goes on searching.
    pub fn is_searching(&self) -> bool {
        self.search.as_ref().is_some_and(|search| search.seek.is_some() || search.searched < self.items.len())
    }

    /// Goes on searching and counting for a while.
    pub(super) fn count_hits(&mut self) {
        if self.search.as_ref().is_some_and(|search| search.seek.is_some()) {
            self.seek(SLICE);
            return;
        }
        let Some(search) = &mut self.search else { return };
        let mut budget = SLICE;
        while let Some(item) = self.items.get(search.searched) {
            if search.needle.find(&item.text, 0).is_some() {
                search.found.push(search.searched);
            }
            search.searched += 1;
            match budget.checked_sub(item.text.len() + 1) {
                Some(left) => budget = left,
                None => break,
            }
        }
    }

    /// Goes to the nearest hit before or after a place.
    fn go(&mut self, from: Place, forward: bool, here_too: bool) -> bool {
        let Some(search) = &mut self.search else { return false };
        search.seek = Some(Seek { from, forward, here_too, step: 0 });
        self.seek(AT_ONCE)
    }

    /// Searches so many bytes on the way to the nearest hit.
    fn seek(&mut self, bytes: usize) -> bool {
        let Some((mut seek, needle)) =
            self.search.as_mut().and_then(|search| Some((search.seek.take()?, search.needle.clone())))
        else {
            return false;
        };
        let mut budget = bytes;
        let count = self.items.len();
        // The part where it begins twice: first what is beyond the place, in the end what is not.
        while count > 0 && seek.step <= count {
            let start = seek.from.item.min(count - 1);
            let by = seek.step % count;
            let at = if seek.forward { (start + by) % count } else { (start + count - by) % count };
            if needle.find(&self.items[at].text, 0).is_some()
                && let Some(row) = self.shown_hit(at, &needle, seek)
            {
                let place = Place { item: at, row };
                if let Some(search) = &mut self.search {
                    search.current = Some(place);
                }
                self.focus = None;
                self.reveal(place);
                self.settle_view();
                return true;
            }
            seek.step += 1;
            match budget.checked_sub(self.items[at].text.len() + 1) {
                Some(left) => budget = left,
                None => {
                    if let Some(search) = &mut self.search {
                        search.seek = Some(seek);
                    }
                    return false;
                }
            }
        }
        false
    }

    /// The nearest row of a part that shows what is searched; its record is opened for that.
    fn shown_hit(&mut self, at: usize, needle: &Needle, seek: Seek) -> Option<usize> {
        let first = self.items[at].first;
        if self.is_folded(at) && self.folds_at(first) {
            self.items[first].open = Some(true);
            for item in self.items[first..].iter_mut().take_while(|item| item.first == first) {
                item.height = None;
                item.rows = None;
            }
        }
        self.prepare(at);
        let rows = self.items[at].rows.as_deref().unwrap_or_default();
        let holds = |line: &ratatui::text::Line<'_>| needle.find(&line_text(line), 0).is_some();
        let mut shown: Vec<usize> =
            rows.iter().enumerate().filter(|(_, line)| holds(line)).map(|(row, _)| row).collect();
        if shown.is_empty() {
            // It is wrapped or marked up in the middle: the record is shown.
            shown.push(0);
        }
        let beyond = |row: &usize| match (seek.step, seek.forward) {
            (0, true) => *row > seek.from.row || (seek.here_too && *row == seek.from.row),
            (0, false) => *row < seek.from.row,
            _ => true,
        };
        if seek.forward { shown.into_iter().find(beyond) } else { shown.into_iter().rev().find(beyond) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_letters_find_both_and_capitals_only_capitals() {
        let find = |needle: &str, text: &str| Needle::new(needle).find(text, 0);
        assert_eq!(find("error", "An ERROR here"), Some(3..8));
        assert_eq!(find("Error", "An ERROR here"), None);
        assert_eq!(find("größe", "die GRÖSSE, die GRÖßE"), Some(17..24));
        assert_eq!(find("aab", "aaab"), Some(1..4));
        assert_eq!(find("x", ""), None);
        assert_eq!(Needle::new("a").find("banana", 2), Some(3..4));
    }
}
