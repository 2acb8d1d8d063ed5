//! All objects of one kind in memory, of all namespaces, as a watch tells of them.
//!
//! For loops that decide about many objects together. What a mirror holds may be old: whoever writes says which
//! version it had seen, and is refused when that is not the newest.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::Arc;

use futures::StreamExt;
use futures::stream::BoxStream;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event};
use kube::{Api, Client, Resource, ResourceExt};
use serde::de::DeserializeOwned;

/// Namespace and name of an object.
pub(crate) type Key = (String, String);

/// All objects of one kind.
pub(crate) struct Mirror<K> {
    objects: BTreeMap<Key, Arc<K>>,
    listing: BTreeMap<Key, Arc<K>>,
    ready: bool,
}

/// The watch that a mirror is filled from.
pub(crate) struct Watched<K> {
    events: BoxStream<'static, Result<Event<K>, watcher::Error>>,
}

impl<K> Watched<K>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + 'static,
{
    /// What the watch tells next. Nothing is lost when it is dropped before it is ready.
    pub(crate) async fn next(&mut self) -> Event<K> {
        loop {
            match self.events.next().await {
                Some(Ok(event)) => return event,
                Some(Err(error)) => tracing::debug!(%error, kind = %K::kind(&()), "a watch was interrupted"),
                // The watch goes on for ever; an end of it is nothing to act on.
                None => futures::future::pending().await,
            }
        }
    }
}

/// Namespace and name.
pub(crate) fn key_of<K: Resource>(object: &K) -> Key {
    (object.namespace().unwrap_or_default(), object.name_any())
}

impl<K> Mirror<K>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
{
    /// An empty one, and what [`Mirror::take`] is to be fed with.
    pub(crate) fn new(client: Client) -> (Mirror<K>, Watched<K>) {
        let events = watcher::watcher(Api::<K>::all(client), watcher::Config::default()).default_backoff();
        let mirror = Mirror { objects: BTreeMap::new(), listing: BTreeMap::new(), ready: false };
        (mirror, Watched { events: events.boxed() })
    }

    /// Takes in what the watch tells. Answers which objects are gone; nothing while a listing is under way.
    pub(crate) fn take(&mut self, event: Event<K>) -> Option<Vec<Arc<K>>> {
        match event {
            Event::Init => self.listing.clear(),
            Event::InitApply(object) => {
                self.listing.insert(key_of(&object), Arc::new(object));
            }
            Event::InitDone => {
                self.ready = true;
                let before = std::mem::replace(&mut self.objects, std::mem::take(&mut self.listing));
                let is_gone =
                    |key: &Key, old: &Arc<K>| self.objects.get(key).is_none_or(|new| new.uid() != old.uid());
                let (gone, kept): (Vec<_>, Vec<_>) =
                    before.into_iter().partition(|(key, old)| is_gone(key, old));
                // What this process wrote while the list was made is newer than the list.
                kept.into_iter().for_each(|(_, old)| self.observe_shared(old));
                return Some(gone.into_iter().map(|(_, old)| old).collect());
            }
            Event::Apply(object) => {
                self.observe(object);
                return Some(Vec::new());
            }
            Event::Delete(object) => {
                let key = key_of(&object);
                if self.objects.get(&key).is_some_and(|held| held.uid() == object.uid()) {
                    self.objects.remove(&key);
                }
                return Some(vec![Arc::new(object)]);
            }
        }
        None
    }

    /// Whether everything that there is was listed.
    pub(crate) fn is_ready(&self) -> bool {
        self.ready
    }

    /// Takes in an object unless a newer state of it is there already. Called with what this process wrote, too, so
    /// that it does not have to wait for the watch to learn of its own deeds.
    pub(crate) fn observe(&mut self, object: K) {
        self.observe_shared(Arc::new(object));
    }

    fn observe_shared(&mut self, object: Arc<K>) {
        let key = key_of(&*object);
        let version = |object: &K| object.resource_version().and_then(|version| version.parse::<u64>().ok());
        let is_older = |held: &Arc<K>| held.uid() == object.uid() && version(held) > version(&object);
        if !self.objects.get(&key).is_some_and(is_older) {
            self.objects.insert(key, object);
        }
    }

    /// One of them.
    pub(crate) fn get(&self, key: &Key) -> Option<&Arc<K>> {
        self.objects.get(key)
    }

    /// All of them, by namespace and name.
    pub(crate) fn objects(&self) -> &BTreeMap<Key, Arc<K>> {
        &self.objects
    }
}
