//! One transaction: reads of the newest proposed state, and changes that become visible together.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;

use crate::key::Place;
use crate::state::State;
use crate::{Batch, Entry, Event, EventKind, Key};

/// What was proposed and is not published yet: the newest proposal for each object (`None`: deleted).
pub(crate) type Overlay = BTreeMap<Key, (u64, Option<Arc<Entry>>)>;

/// Handed to the closure of [`Store::transact`](crate::Store::transact): reads see everything proposed
/// before, durable or not, and this transaction's own changes.
#[derive(Debug)]
pub struct Transaction<'a> {
    state: &'a State,
    overlay: &'a Overlay,
    revision: u64,
    changes: BTreeMap<Key, Change>,
}

#[derive(Debug)]
struct Change {
    /// The object as it is after this transaction, with its bytes; `None`: deleted.
    entry: Option<Arc<Entry>>,
    /// Bytes of the last version of a deleted object.
    last: Bytes,
}

impl<'a> Transaction<'a> {
    pub(crate) fn new(state: &'a State, overlay: &'a Overlay, revision: u64) -> Self {
        Self { state, overlay, revision, changes: BTreeMap::new() }
    }

    /// The revision that every change of this transaction gets.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// The newest version of an object.
    pub fn get(&self, key: &Key) -> Option<Arc<Entry>> {
        match self.changes.get(key) {
            Some(change) => change.entry.clone(),
            None => self.before(key),
        }
    }

    /// The newest versions of all objects of a resource, or of one namespace of it, in the order of keys.
    pub fn list(&self, resource: &str, namespace: Option<&str>) -> Vec<Arc<Entry>> {
        let published = self.state.all(resource, namespace);
        let start = Key::new(resource, namespace.unwrap_or_default(), "");
        let inside = |key: &Key| {
            *key.resource == *resource && namespace.is_none_or(|namespace| *key.namespace == *namespace)
        };
        let proposed = self.overlay.range(&start..).take_while(|(key, _)| inside(key));
        let own = self.changes.range(&start..).take_while(|(key, _)| inside(key));
        let newer: BTreeMap<Place, Option<Arc<Entry>>> = proposed
            .map(|(key, (_, entry))| (key.place(), entry.clone()))
            .chain(own.map(|(key, change)| (key.place(), change.entry.clone())))
            .collect();
        if newer.is_empty() {
            return published;
        }
        let mut merged: BTreeMap<Place, Arc<Entry>> =
            published.into_iter().map(|entry| (entry.key.place(), entry)).collect();
        for (place, entry) in newer {
            match entry {
                Some(entry) => merged.insert(place, entry),
                None => merged.remove(&place),
            };
        }
        merged.into_values().collect()
    }

    /// Writes an object: `value` is the whole object as JSON, with this transaction's revision inside.
    pub fn put(&mut self, key: Key, value: Bytes) {
        let entry = Entry { key: key.clone(), revision: self.revision, value };
        self.changes.insert(key, Change { entry: Some(Arc::new(entry)), last: Bytes::new() });
    }

    /// Deletes an object; `last` is the object with its final resourceVersion, for the `DELETED` event.
    /// Deleting what does not exist changes nothing.
    pub fn delete(&mut self, key: &Key, last: Bytes) {
        self.changes.insert(key.clone(), Change { entry: None, last });
    }

    /// The net effect: one event per object that differs from before, none when nothing does.
    pub(crate) fn into_batch(self) -> Option<Batch> {
        let mut events = Vec::with_capacity(self.changes.len());
        for (key, change) in &self.changes {
            let previous = self.before(key);
            let (kind, value) = match (&change.entry, &previous) {
                (Some(entry), None) => (EventKind::Added, &entry.value),
                (Some(entry), Some(_)) => (EventKind::Modified, &entry.value),
                (None, Some(_)) => (EventKind::Deleted, &change.last),
                (None, None) => continue,
            };
            events.push(Arc::new(Event::new(kind, self.revision, key.clone(), value, previous)));
        }
        (!events.is_empty()).then_some(Batch { revision: self.revision, events })
    }

    fn before(&self, key: &Key) -> Option<Arc<Entry>> {
        match self.overlay.get(key) {
            Some((_, entry)) => entry.clone(),
            None => self.state.get(key),
        }
    }
}
