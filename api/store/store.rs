//! The handle: read, list, watch, write.

use std::sync::Arc;

use crate::engine::Loaded;
use crate::state::State;
use crate::writer::Shared;
use crate::{Entry, Gone, Journal, Key, TransactError, Transaction, Watcher};

/// How much history the store keeps in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoreConfig {
    /// Recent events kept per resource.
    pub window_events: usize,
    /// Bytes of recent events kept per resource.
    pub window_bytes: usize,
}

impl Default for StoreConfig {
    fn default() -> Self {
        Self { window_events: 16_384, window_bytes: 16 << 20 }
    }
}

/// Which objects of a resource a list returns. The default is all of them, as they are now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListAt {
    /// The state to list; none, or one that is not reached yet: the newest published.
    pub revision: Option<u64>,
    /// Namespace and name of the last object of the page before.
    pub after: Option<(String, String)>,
    /// At most so many objects.
    pub limit: Option<usize>,
}

/// A list, or a page of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listing {
    /// The state that was listed; a watch after it misses nothing and repeats nothing.
    pub revision: u64,
    /// Objects in the order of namespace and name.
    pub entries: Vec<Arc<Entry>>,
    /// How many more objects follow this page.
    pub remaining: usize,
}

/// The object store. Clones are handles to the same store; when the last one is dropped it closes.
#[derive(Clone, Debug)]
pub struct Store {
    handle: Arc<Handle>,
}

#[derive(Debug)]
struct Handle {
    shared: Arc<Shared>,
}

impl Store {
    /// A store that continues from what was loaded, and the journal that somebody has to follow for writes
    /// to be answered.
    pub fn open(config: StoreConfig, loaded: Loaded) -> (Self, Journal) {
        let shared = Arc::new(Shared::new(State::new(config, loaded)));
        (Self { handle: Arc::new(Handle { shared: Arc::clone(&shared) }) }, Journal { shared })
    }

    /// An empty store that keeps nothing beyond this process, for tests and trials. Must be called within a
    /// tokio runtime.
    pub fn in_memory(config: StoreConfig) -> Self {
        let (store, journal) = Self::open(config, Loaded::default());
        tokio::spawn(async move {
            while journal.next().await.is_some() {
                journal.durable();
            }
        });
        store
    }

    /// The newest version of an object that is durable.
    pub fn get(&self, key: &Key) -> Option<Arc<Entry>> {
        self.shared().state.get(key)
    }

    /// Objects of a resource, or of one namespace of it.
    ///
    /// # Errors
    /// [`Gone`] when the events that lead back to the asked revision are no longer kept.
    pub fn list(&self, resource: &str, namespace: Option<&str>, at: &ListAt) -> Result<Listing, Gone> {
        self.shared().state.list(resource, namespace, at)
    }

    /// The newest published revision: everything up to it is durable and visible.
    pub fn revision(&self) -> u64 {
        self.shared().state.revision()
    }

    /// The newest revision that anybody can have been told, by a watch too. Waits for a transaction that is just being
    /// published.
    pub fn known_revision(&self) -> u64 {
        self.shared().state.known()
    }

    /// Runs `work` against the newest proposed state, alone among all transactions, and answers when what
    /// it changed, or what it could have read, is durable. `work` must not block or use the store itself
    /// for writing. When the returned future is dropped the transaction still takes its course.
    ///
    /// # Errors
    /// [`TransactError::Rejected`] carries the error of `work`, which rolls back;
    /// [`TransactError::Storage`] when the disk refused, nothing changed;
    /// [`TransactError::Closed`] after [`Store::close`].
    pub async fn transact<R, E>(
        &self,
        work: impl FnOnce(&mut Transaction<'_>) -> Result<R, E>,
    ) -> Result<R, TransactError<E>> {
        let (result, answer) = self.shared().propose(work)?;
        if let Some(answer) = answer {
            match answer.await {
                Ok(Ok(())) => (),
                Ok(Err(reason)) => return Err(TransactError::Storage(reason.to_string())),
                Err(_) => return Err(TransactError::Closed),
            }
        }
        result.map_err(TransactError::Rejected)
    }

    /// Follows a resource, or one namespace of it, from the first event after a revision.
    ///
    /// # Errors
    /// [`Gone`] when some of the events after that revision are no longer kept.
    pub fn watch(&self, resource: &str, namespace: Option<&str>, after: u64) -> Result<Watcher, Gone> {
        Watcher::new(Arc::clone(self.shared()), resource, namespace, after)
    }

    /// Everything there is now, and a watch of everything that follows, without a gap between them.
    pub fn list_and_watch(&self, resource: &str, namespace: Option<&str>) -> (Listing, Watcher) {
        loop {
            let listing = self.list(resource, namespace, &ListAt::default());
            let both = listing.and_then(|list| Ok((self.watch(resource, namespace, list.revision)?, list)));
            // Only a window that turned over between the two lines brings another round.
            if let Ok((watcher, listing)) = both {
                return (listing, watcher);
            }
        }
    }

    /// Ends the store: writers are answered `Closed`, watchers end with `Closed` after what they were owed.
    /// What was queued before is still written. Reads go on.
    pub fn close(&self) {
        self.shared().close();
    }

    /// Does the disk take writes?
    ///
    /// # Errors
    /// Why it does not.
    pub fn healthy(&self) -> Result<(), String> {
        self.shared().failing().map_or(Ok(()), |reason| Err(reason.to_string()))
    }

    fn shared(&self) -> &Arc<Shared> {
        &self.handle.shared
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.shared.close();
    }
}
