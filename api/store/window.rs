//! The recent events of one resource: what watches resume from and old lists are rebuilt from.
//!
//! ```text
//!   dropped        kept                      newest
//!  ─────────┬────────────────────────────────────┤
//!        floor   events, oldest first, each with the object before it
//! ```
//!
//! Every event above `floor` is there. A transaction is dropped whole or not at all, and the newest one is
//! never dropped, so that even a transaction larger than the window reaches the watchers that keep up.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use crate::key::Place;
use crate::{Entry, Event};

/// At most this many events are handed to a watcher at once, apart from the rest of a transaction.
const BATCH: usize = 512;

#[derive(Debug)]
pub(crate) struct Window {
    events: VecDeque<Arc<Event>>,
    floor: u64,
    weight: usize,
    max_events: usize,
    max_bytes: usize,
}

impl Window {
    pub(crate) fn new(floor: u64, max_events: usize, max_bytes: usize) -> Self {
        Self { events: VecDeque::new(), floor, weight: 0, max_events, max_bytes }
    }

    /// The revision at and below which events may be missing.
    pub(crate) fn floor(&self) -> u64 {
        self.floor
    }

    pub(crate) fn push(&mut self, event: Arc<Event>) {
        self.weight += event.weight();
        self.events.push_back(event);
    }

    /// Drops the oldest transactions until the window is within its bounds; called after a whole transaction.
    pub(crate) fn trim(&mut self) {
        let newest = self.events.back().map_or(0, |event| event.revision);
        while self.events.len() > self.max_events || self.weight > self.max_bytes {
            let Some(oldest) = self.events.front().map(|event| event.revision) else { return };
            if oldest == newest {
                return;
            }
            while self.events.front().is_some_and(|event| event.revision == oldest) {
                if let Some(event) = self.events.pop_front() {
                    self.weight -= event.weight();
                }
            }
            self.floor = oldest;
        }
    }

    /// Whole transactions after `after`, oldest first, and the revision up to which they were looked at.
    /// `None` when some of them are gone.
    pub(crate) fn since(&self, after: u64, namespace: Option<&str>) -> Option<(Vec<Arc<Event>>, u64)> {
        if after < self.floor {
            return None;
        }
        let start = self.events.partition_point(|event| event.revision <= after);
        let mut seen = after;
        let mut found = Vec::new();
        for event in self.events.range(start..) {
            if found.len() >= BATCH && event.revision != seen {
                break;
            }
            seen = event.revision;
            if namespace.is_none_or(|namespace| *event.entry.key.namespace == *namespace) {
                found.push(Arc::clone(event));
            }
        }
        Some((found, seen))
    }

    /// For every object changed after `revision`: how it stood at `revision` (`None`: it did not exist).
    /// `None` when the events to tell are gone.
    pub(crate) fn undo(&self, revision: u64) -> Option<HashMap<Place, Option<Arc<Entry>>>> {
        if revision < self.floor {
            return None;
        }
        let newer = self.events.iter().rev().take_while(|event| event.revision > revision);
        Some(newer.map(|event| (event.entry.key.place(), event.previous.clone())).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{EventKind, Key};

    fn window(max_events: usize, revisions: &[u64]) -> Window {
        let mut window = Window::new(0, max_events, usize::MAX);
        for (n, revision) in revisions.iter().enumerate() {
            let key = Key::new("r", if n % 2 == 0 { "even" } else { "odd" }, &n.to_string());
            window.push(Arc::new(Event::new(EventKind::Added, *revision, key, b"{}", None)));
        }
        window
    }

    #[test]
    fn a_transaction_is_dropped_whole_and_the_newest_never() {
        let mut one = window(2, &[1, 1, 1, 2, 3]);
        one.trim();
        assert_eq!((one.floor(), one.events.len()), (1, 2));
        let mut two = window(2, &[1, 2, 2, 2, 2]);
        two.trim();
        assert_eq!((two.floor(), two.events.len()), (1, 4));
        assert!(two.since(0, None).is_none());
        assert_eq!(two.since(1, None).unwrap().0.len(), 4);
    }

    #[test]
    fn a_large_transaction_is_handed_over_in_one_piece() {
        let many: Vec<u64> = std::iter::once(1).chain(vec![2; BATCH + 50]).chain([3]).collect();
        let window = window(usize::MAX, &many);
        let (events, seen) = window.since(0, None).unwrap();
        assert_eq!((events.len(), seen), (BATCH + 51, 2));
        assert_eq!(window.since(seen, None).unwrap().0.len(), 1);
    }

    #[test]
    fn a_namespace_sees_its_own_events_and_moves_on_past_others() {
        let window = window(9, &[1, 2, 3, 4]);
        let (events, seen) = window.since(0, Some("odd")).unwrap();
        assert_eq!((events.iter().map(|event| event.revision).collect::<Vec<_>>(), seen), (vec![2, 4], 4));
    }
}
