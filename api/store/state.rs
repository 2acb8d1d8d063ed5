//! The published state: what readers and watchers see, and nothing of what is not yet durable.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use tokio::sync::watch;

use crate::engine::Loaded;
use crate::key::Place;
use crate::window::Window;
use crate::{Batch, Entry, Gone, Key, ListAt, Listing, StoreConfig};

/// Objects and recent events of every resource.
///
/// Lock order: `tables` before a channel's `window`. Neither is held across an await or while waiting for
/// anything but the other.
#[derive(Debug)]
pub(crate) struct State {
    tables: RwLock<HashMap<Arc<str>, Table>>,
    /// Written under the write lock of `tables`, after the windows: whoever reads revision R finds every
    /// event up to R in the windows.
    revision: AtomicU64,
    opened_at: u64,
    config: StoreConfig,
}

#[derive(Debug)]
struct Table {
    objects: BTreeMap<Place, Arc<Entry>>,
    channel: Arc<Channel>,
}

/// What the watchers of one resource share.
#[derive(Debug)]
pub(crate) struct Channel {
    pub(crate) window: RwLock<Window>,
    /// Counts publications; watchers sleep on it.
    pub(crate) changed: watch::Sender<u64>,
}

impl Channel {
    pub(crate) fn window(&self) -> RwLockReadGuard<'_, Window> {
        self.window.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    pub(crate) fn new(config: StoreConfig, loaded: Loaded) -> Self {
        let state = Self {
            tables: RwLock::default(),
            revision: AtomicU64::new(loaded.revision),
            opened_at: loaded.revision,
            config,
        };
        let mut sorted: HashMap<Arc<str>, Vec<(Place, Arc<Entry>)>> = HashMap::new();
        for entry in loaded.entries {
            sorted.entry(Arc::clone(&entry.key.resource)).or_default().push((entry.key.place(), entry));
        }
        let tables = sorted.into_iter().map(|(resource, objects)| {
            (resource, Table { objects: objects.into_iter().collect(), channel: state.channel_at_open() })
        });
        let tables = tables.collect();
        Self { tables: RwLock::new(tables), ..state }
    }

    pub(crate) fn revision(&self) -> u64 {
        self.revision.load(Ordering::Acquire)
    }

    /// The newest revision that anybody can know of: a watcher may be given an event a moment before [`State::revision`]
    /// says so, while the transaction is being published.
    pub(crate) fn known(&self) -> u64 {
        let _published = self.tables();
        self.revision()
    }

    pub(crate) fn get(&self, key: &Key) -> Option<Arc<Entry>> {
        self.tables().get(&key.resource)?.objects.get(&key.place()).cloned()
    }

    /// Current objects of a resource, in the order of keys.
    pub(crate) fn all(&self, resource: &str, namespace: Option<&str>) -> Vec<Arc<Entry>> {
        let tables = self.tables();
        tables.get(resource).map_or_else(Vec::new, |table| table.range(namespace, None).cloned().collect())
    }

    pub(crate) fn list(&self, resource: &str, namespace: Option<&str>, at: &ListAt) -> Result<Listing, Gone> {
        let after = at.after.as_ref().map(|(namespace, name)| Place::new(namespace, name));
        let limit = at.limit.unwrap_or(usize::MAX);
        let tables = self.tables();
        let current = self.revision();
        let revision = at.revision.unwrap_or(current).min(current);
        let Some(table) = tables.get(resource) else {
            return match revision < self.opened_at {
                true => Err(Gone { asked: revision, floor: self.opened_at }),
                false => Ok(Listing { revision, entries: Vec::new(), remaining: 0 }),
            };
        };
        if revision == current {
            let mut range = table.range(namespace, after.as_ref());
            let entries = range.by_ref().take(limit).cloned().collect();
            return Ok(Listing { revision, entries, remaining: range.count() });
        }
        let window = table.channel.window();
        let Some(undo) = window.undo(revision) else {
            return Err(Gone { asked: revision, floor: window.floor() });
        };
        drop(window);
        let mut then: BTreeMap<Place, Arc<Entry>> = table
            .range(namespace, after.as_ref())
            .filter(|entry| entry.revision <= revision)
            .map(|entry| (entry.key.place(), Arc::clone(entry)))
            .collect();
        drop(tables);
        for (place, entry) in undo {
            let inside = namespace.is_none_or(|namespace| *place.namespace == *namespace);
            if let (true, Some(entry)) = (inside && after.as_ref().is_none_or(|after| place > *after), entry)
            {
                then.insert(place, entry);
            }
        }
        let remaining = then.len().saturating_sub(limit);
        Ok(Listing { revision, entries: then.into_values().take(limit).collect(), remaining })
    }

    /// Makes transactions visible, in order, each as a whole.
    pub(crate) fn publish(&self, batches: &[Arc<Batch>]) {
        let Some(newest) = batches.last().map(|batch| batch.revision) else { return };
        let mut touched: HashMap<Arc<str>, Arc<Channel>> = HashMap::new();
        let mut tables = self.tables.write().unwrap_or_else(PoisonError::into_inner);
        for batch in batches {
            // Events are in the order of keys, so those of one resource are neighbours.
            for events in batch.events.chunk_by(|a, b| a.entry.key.resource == b.entry.key.resource) {
                let Some(resource) = events.first().map(|event| &event.entry.key.resource) else { continue };
                let table = tables.entry(Arc::clone(resource)).or_insert_with(|| self.new_table());
                let mut window = table.channel.window.write().unwrap_or_else(PoisonError::into_inner);
                for event in events {
                    match event.current() {
                        Some(entry) => table.objects.insert(entry.key.place(), Arc::clone(entry)),
                        None => table.objects.remove(&event.entry.key.place()),
                    };
                    window.push(Arc::clone(event));
                }
                window.trim();
                touched.entry(Arc::clone(resource)).or_insert_with(|| Arc::clone(&table.channel));
            }
        }
        self.revision.store(newest, Ordering::Release);
        drop(tables);
        for channel in touched.values() {
            channel.changed.send_replace(newest);
        }
    }

    /// The channel of a resource, made when nothing was ever stored there.
    pub(crate) fn channel(&self, resource: &str) -> Arc<Channel> {
        if let Some(table) = self.tables().get(resource) {
            return Arc::clone(&table.channel);
        }
        let mut tables = self.tables.write().unwrap_or_else(PoisonError::into_inner);
        let table = tables.entry(resource.into()).or_insert_with(|| self.new_table());
        Arc::clone(&table.channel)
    }

    /// Wakes every watcher, for them to see that the store is closed.
    pub(crate) fn wake_all(&self) {
        for table in self.tables().values() {
            table.channel.changed.send_modify(|_| ());
        }
    }

    fn tables(&self) -> RwLockReadGuard<'_, HashMap<Arc<str>, Table>> {
        self.tables.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn new_table(&self) -> Table {
        Table { objects: BTreeMap::new(), channel: self.channel_at_open() }
    }

    /// Events are known since the store was opened.
    fn channel_at_open(&self) -> Arc<Channel> {
        let window = Window::new(self.opened_at, self.config.window_events, self.config.window_bytes);
        Arc::new(Channel { window: RwLock::new(window), changed: watch::Sender::new(0) })
    }
}

impl Table {
    /// Objects of a namespace, or of all, after a place.
    fn range(&self, namespace: Option<&str>, after: Option<&Place>) -> impl Iterator<Item = &Arc<Entry>> {
        use std::ops::Bound::{Excluded, Included};
        let start = Place::new(namespace.unwrap_or_default(), "");
        let from = match after {
            Some(after) if *after >= start => Excluded(after.clone()),
            Some(_) | None => Included(start),
        };
        let inside = namespace.map(Arc::<str>::from);
        self.objects
            .range((from, std::ops::Bound::Unbounded))
            .take_while(move |(place, _)| {
                inside.as_ref().is_none_or(|namespace| place.namespace == *namespace)
            })
            .map(|(_, entry)| entry)
    }
}
