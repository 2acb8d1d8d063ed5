//! Stored objects and what happened to them.
//!
//! An [`Entry`] is one version of one object, an [`Event`] the step from one version to the next. Both are
//! made once, when a transaction is proposed, and shared by the journal, the readers and every watcher. The
//! watch line and the object are one allocation: the object is a slice of the line.

use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};

use crate::Key;

/// One version of one object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Which object.
    pub key: Key,
    /// The transaction that wrote this version.
    pub revision: u64,
    /// The whole object as JSON, `metadata.resourceVersion` inside.
    pub value: Bytes,
}

/// What happened to an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventKind {
    /// It was not there before.
    Added,
    /// It was there, and is another version now.
    Modified,
    /// It is gone.
    Deleted,
}

impl EventKind {
    /// The `type` of a watch event, as `ADDED`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Added => "ADDED",
            Self::Modified => "MODIFIED",
            Self::Deleted => "DELETED",
        }
    }
}

/// One change of one object. All events of a transaction share its revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// What happened.
    pub kind: EventKind,
    /// The transaction that did it.
    pub revision: u64,
    /// The object after the change; for [`EventKind::Deleted`] the object as it was deleted.
    pub entry: Arc<Entry>,
    /// The object before the change; none for [`EventKind::Added`].
    pub previous: Option<Arc<Entry>>,
    line: Bytes,
}

impl Event {
    pub(crate) fn new(
        kind: EventKind,
        revision: u64,
        key: Key,
        value: &[u8],
        previous: Option<Arc<Entry>>,
    ) -> Self {
        let head = match kind {
            EventKind::Added => r#"{"type":"ADDED","object":"#,
            EventKind::Modified => r#"{"type":"MODIFIED","object":"#,
            EventKind::Deleted => r#"{"type":"DELETED","object":"#,
        };
        let mut line = BytesMut::with_capacity(head.len() + value.len() + 2);
        line.put_slice(head.as_bytes());
        line.put_slice(value);
        line.put_slice(b"}\n");
        let line = line.freeze();
        let value = line.slice(head.len()..head.len() + value.len());
        Self { kind, revision, entry: Arc::new(Entry { key, revision, value }), previous, line }
    }

    /// The watch line `{"type":"ADDED","object":…}` with its newline: made once, shared by every watcher.
    pub fn line(&self) -> Bytes {
        self.line.clone()
    }

    /// The object that stands after the change; none when it was deleted.
    pub fn current(&self) -> Option<&Arc<Entry>> {
        match self.kind {
            EventKind::Added | EventKind::Modified => Some(&self.entry),
            EventKind::Deleted => None,
        }
    }

    /// Memory that only this event keeps alive once the object moved on, roughly.
    pub(crate) fn weight(&self) -> usize {
        self.line.len() + 200
    }
}

/// Everything that one transaction changed, in the order of keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// The revision of the transaction.
    pub revision: u64,
    /// Its changes, at most one per object.
    pub events: Vec<Arc<Event>>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_object_is_a_slice_of_its_watch_line() {
        let key = Key::new("r", "n", "a");
        for kind in [EventKind::Added, EventKind::Modified, EventKind::Deleted] {
            let event = Event::new(kind, 7, key.clone(), br#"{"a":1}"#, None);
            assert_eq!(event.line(), format!("{{\"type\":\"{}\",\"object\":{{\"a\":1}}}}\n", kind.as_str()));
            assert_eq!(event.entry.value, r#"{"a":1}"#);
            let line = event.line();
            assert!(line.as_ptr_range().contains(&event.entry.value.as_ptr()));
        }
    }
}
