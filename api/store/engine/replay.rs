//! What the rows on disk mean, and how it is known that they are all there.
//!
//! ```text
//! position  revision  object  value
//!        1         1  a       {…}     superseded by 3
//!        2         1  b       {…}
//!        3         2  a       {…}
//!        4         3  b       –       deleted: supersedes 2, and itself once 2 is removed
//! ```
//! leaves `a` as row 3. Each row has a checksum; the head counts the rows and sums their checksums, so that a
//! row that is missing or doubled is noticed too.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;

use super::Loaded;
use crate::{Entry, Event, Key};

/// What is said about all rows together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Head {
    /// The newest revision, also when its rows are gone.
    pub(super) revision: u64,
    pub(super) rows: u64,
    pub(super) sum: u64,
    /// The highest position in use; not stored.
    pub(super) position: i64,
}

impl Head {
    pub(super) fn crc(&self) -> u32 {
        let mut hasher = crc32fast::Hasher::new();
        [self.revision, self.rows, self.sum].iter().for_each(|n| hasher.update(&n.to_le_bytes()));
        hasher.finalize()
    }

    pub(super) fn with(&self, revision: u64, rows: &[Row]) -> Self {
        Self {
            revision,
            rows: self.rows + rows.len() as u64,
            sum: rows.iter().fold(self.sum, |sum, row| sum.wrapping_add(row.crc.into())),
            position: rows.last().map_or(self.position, |row| row.position),
        }
    }

    pub(super) fn without(&self, removed: &[(i64, u32)]) -> Self {
        Self {
            rows: self.rows.saturating_sub(removed.len() as u64),
            sum: removed.iter().fold(self.sum, |sum, (_, crc)| sum.wrapping_sub((*crc).into())),
            ..self.clone()
        }
    }
}

/// One change, as it is written.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) position: i64,
    pub(super) revision: u64,
    pub(super) key: Key,
    /// `None`: deleted.
    pub(super) value: Option<Bytes>,
    pub(super) crc: u32,
}

impl Row {
    pub(super) fn new(position: i64, event: &Event) -> Self {
        let key = event.entry.key.clone();
        let value = event.current().map(|entry| entry.value.clone());
        let parts = [&*key.resource, &*key.namespace, &*key.name];
        let crc = row_crc(position, event.revision, parts, value.as_deref());
        Self { position, revision: event.revision, key, value, crc }
    }
}

fn row_crc(position: i64, revision: u64, key: [&str; 3], value: Option<&[u8]>) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&position.to_le_bytes());
    hasher.update(&revision.to_le_bytes());
    for part in key {
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part.as_bytes());
    }
    hasher.update(&[u8::from(value.is_some())]);
    hasher.update(value.unwrap_or_default());
    hasher.finalize()
}

/// Which rows stand for objects and which are superseded.
#[derive(Debug, Default)]
pub(super) struct Replay {
    pub(super) head: Head,
    newest: HashMap<Key, (i64, u32)>,
    /// Superseded rows with their checksums, in the order in which they may be removed: a deletion after
    /// everything that it deletes.
    pub(super) stale: VecDeque<(i64, u32)>,
    entries: HashMap<Key, Arc<Entry>>,
}

impl Replay {
    /// Takes note of a row that was written after all others.
    pub(super) fn place(&mut self, row: &Row) {
        self.supersede(&row.key, row.value.is_some(), (row.position, row.crc));
    }

    fn supersede(&mut self, key: &Key, exists: bool, row: (i64, u32)) {
        let before = match exists {
            true => self.newest.insert(key.clone(), row),
            false => self.newest.remove(key),
        };
        self.stale.extend(before);
        if !exists {
            self.stale.push_back(row);
        }
    }

    /// How many objects exist.
    pub(super) fn objects(&self) -> usize {
        self.newest.len()
    }

    pub(super) fn into_loaded(mut self) -> (Loaded, Self) {
        let entries = std::mem::take(&mut self.entries).into_values().collect();
        (Loaded { revision: self.head.revision, entries }, self)
    }

    pub(super) fn without_entries(mut self) -> Self {
        self.entries = HashMap::new();
        self
    }
}

/// Reads rows in order and checks them.
#[derive(Debug)]
pub(super) struct Reading {
    replay: Replay,
    said: Head,
    names: HashMap<Box<str>, Arc<str>>,
    newest: u64,
}

impl Reading {
    pub(super) fn new(revision: u64, rows: u64, sum: u64, crc: i64) -> Result<Self, String> {
        let said = Head { revision, rows, sum, position: 0 };
        match i64::from(said.crc()) == crc {
            true => Ok(Self { replay: Replay::default(), said, names: HashMap::new(), newest: 0 }),
            false => Err("the checksum of its head is wrong".to_owned()),
        }
    }

    pub(super) fn row(
        &mut self,
        position: i64,
        revision: u64,
        key: [&str; 3],
        value: Option<&[u8]>,
        crc: i64,
    ) -> Result<(), String> {
        let found = row_crc(position, revision, key, value);
        if i64::from(found) != crc {
            return Err(format!("the checksum of change {position} is wrong"));
        }
        if revision < self.newest || revision > self.said.revision {
            return Err(format!("change {position} is out of order"));
        }
        self.newest = revision;
        let [resource, namespace, name] = key;
        let key =
            Key { resource: self.shared(resource), namespace: self.shared(namespace), name: name.into() };
        self.replay.supersede(&key, value.is_some(), (position, found));
        match value {
            Some(value) => {
                let entry = Entry { key: key.clone(), revision, value: Bytes::copy_from_slice(value) };
                self.replay.entries.insert(key, Arc::new(entry));
            }
            None => drop(self.replay.entries.remove(&key)),
        }
        let head = &mut self.replay.head;
        (head.rows, head.sum, head.position) = (head.rows + 1, head.sum.wrapping_add(found.into()), position);
        Ok(())
    }

    pub(super) fn finish(mut self) -> Result<Replay, String> {
        let found = &self.replay.head;
        if (found.rows, found.sum) != (self.said.rows, self.said.sum) {
            return Err(format!("it has {} changes where {} were written", found.rows, self.said.rows));
        }
        self.replay.head.revision = self.said.revision;
        Ok(self.replay)
    }

    /// Names that many objects share, once.
    fn shared(&mut self, name: &str) -> Arc<str> {
        if let Some(shared) = self.names.get(name) {
            return Arc::clone(shared);
        }
        let shared: Arc<str> = name.into();
        self.names.insert(name.into(), Arc::clone(&shared));
        shared
    }
}
