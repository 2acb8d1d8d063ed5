//! What is known of all kinds that have to do with tickets: one watch each, and what this process wrote itself.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::StreamExt;
use futures::channel::mpsc::UnboundedSender;
use gcluster_types::{Agent, Check, Merge, Repository, Review, Ticket, WorkerPool, Workspace, labels};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::jiff::Timestamp;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event};
use kube::{Api, Client, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use tokio::sync::watch;

use super::snapshot::{All, Snapshot, label};

/// Objects of one kind by namespace.
type Spaces<K> = BTreeMap<String, All<K>>;

/// All objects of one kind. Clones share them.
pub(super) struct Cache<K> {
    objects: Arc<Mutex<Spaces<K>>>,
    listed: Arc<watch::Sender<bool>>,
}

impl<K> Clone for Cache<K> {
    fn clone(&self) -> Self {
        Self { objects: self.objects.clone(), listed: self.listed.clone() }
    }
}

impl<K> Default for Cache<K> {
    fn default() -> Self {
        Self { objects: Arc::default(), listed: Arc::new(watch::Sender::new(false)) }
    }
}

impl<K> Cache<K>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
{
    /// Watches until it is dropped; every namespace in which something changed goes into `dirty`. Only objects with
    /// this label are kept, where there is one.
    async fn follow(&self, client: &Client, only: Option<&'static str>, dirty: UnboundedSender<String>) {
        let mut config = watcher::Config::default();
        if let Some(key) = only {
            config = config.labels(key);
        }
        let events = watcher::watcher(Api::<K>::all(client.clone()), config).default_backoff();
        let mut events = std::pin::pin!(events);
        let mut listing: Spaces<K> = BTreeMap::new();
        let is_ours = |object: &K| only.is_none_or(|key| label(object.meta(), key).is_some());
        while let Some(event) = events.next().await {
            let touched = match event {
                Err(error) => {
                    tracing::debug!(%error, kind = %K::kind(&()), "a watch was interrupted");
                    Vec::new()
                }
                Ok(Event::Init) => {
                    listing.clear();
                    Vec::new()
                }
                Ok(Event::InitApply(object)) => {
                    if is_ours(&object) {
                        let of = listing.entry(object.namespace().unwrap_or_default()).or_default();
                        of.insert(object.name_any(), Arc::new(object));
                    }
                    Vec::new()
                }
                Ok(Event::InitDone) => {
                    let touched = self.replace(std::mem::take(&mut listing));
                    self.listed.send_replace(true);
                    touched
                }
                Ok(Event::Apply(object)) if is_ours(&object) => {
                    let namespace = object.namespace().unwrap_or_default();
                    self.observe(object);
                    vec![namespace]
                }
                Ok(Event::Apply(object) | Event::Delete(object)) => {
                    self.forget(&object);
                    vec![object.namespace().unwrap_or_default()]
                }
            };
            for namespace in touched {
                // Nobody listens any more when the controller ends.
                let _ = dirty.unbounded_send(namespace);
            }
        }
    }

    /// Takes over a listing, but for what this process knows to be newer. Answers all namespaces that it concerns.
    fn replace(&self, listed: Spaces<K>) -> Vec<String> {
        let mut objects = self.objects();
        let before = std::mem::replace(&mut *objects, listed);
        for (namespace, old) in &before {
            for (name, old) in old {
                let newer = objects.get_mut(namespace).and_then(|of| of.get_mut(name));
                if let Some(listed) = newer.filter(|listed| is_newer(&**old, &**listed)) {
                    *listed = old.clone();
                }
            }
        }
        before.keys().chain(objects.keys()).cloned().collect()
    }

    /// Takes in an object unless a newer state of it is known.
    pub(super) fn observe(&self, object: K) {
        let mut objects = self.objects();
        let of = objects.entry(object.namespace().unwrap_or_default()).or_default();
        match of.get_mut(&object.name_any()) {
            Some(known) if is_newer(&**known, &object) => {}
            Some(known) => *known = Arc::new(object),
            None => {
                of.insert(object.name_any(), Arc::new(object));
            }
        }
    }

    /// Forgets an object that is gone; not another one of its name.
    pub(super) fn forget(&self, object: &K) {
        let mut objects = self.objects();
        if let Some(of) = objects.get_mut(&object.namespace().unwrap_or_default()) {
            let name = object.name_any();
            if of.get(&name).is_some_and(|known| known.uid() == object.uid()) {
                of.remove(&name);
            }
        }
    }

    /// An object, as it is known.
    pub(super) fn get(&self, namespace: &str, name: &str) -> Option<Arc<K>> {
        self.objects().get(namespace)?.get(name).cloned()
    }

    fn in_namespace(&self, namespace: &str) -> All<K> {
        self.objects().get(namespace).cloned().unwrap_or_default()
    }

    async fn ready(&self) {
        // The sender lives as long as the cache.
        let _ = self.listed.subscribe().wait_for(|listed| *listed).await;
    }

    fn objects(&self) -> MutexGuard<'_, Spaces<K>> {
        self.objects.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// True when `known` is a later state than `other`, of the same object.
fn is_newer<K: Resource>(known: &K, other: &K) -> bool {
    let version = |object: &K| object.resource_version().and_then(|version| version.parse::<u64>().ok());
    match (version(known), version(other)) {
        (Some(known_version), Some(version)) => known.uid() == other.uid() && known_version > version,
        _ => false,
    }
}

/// All kinds that matter.
#[derive(Clone, Default)]
pub(super) struct Caches {
    pub(super) tickets: Cache<Ticket>,
    pub(super) pools: Cache<WorkerPool>,
    pub(super) repositories: Cache<Repository>,
    pub(super) workspaces: Cache<Workspace>,
    pub(super) agents: Cache<Agent>,
    pub(super) checks: Cache<Check>,
    pub(super) reviews: Cache<Review>,
    pub(super) merges: Cache<Merge>,
    pub(super) leases: Cache<Lease>,
}

impl Caches {
    /// Follows all kinds until it is dropped.
    pub(super) async fn follow(&self, client: &Client, dirty: UnboundedSender<String>) {
        tokio::join!(
            self.tickets.follow(client, None, dirty.clone()),
            self.pools.follow(client, None, dirty.clone()),
            self.repositories.follow(client, None, dirty.clone()),
            self.workspaces.follow(client, None, dirty.clone()),
            self.agents.follow(client, Some(labels::TICKET), dirty.clone()),
            self.checks.follow(client, None, dirty.clone()),
            self.reviews.follow(client, None, dirty.clone()),
            self.merges.follow(client, None, dirty.clone()),
            self.leases.follow(client, Some(labels::LOCK), dirty),
        );
    }

    /// Waits until all kinds were listed: nothing is decided on half of the picture.
    pub(super) async fn ready(&self) {
        self.tickets.ready().await;
        self.pools.ready().await;
        self.repositories.ready().await;
        self.workspaces.ready().await;
        self.agents.ready().await;
        self.checks.ready().await;
        self.reviews.ready().await;
        self.merges.ready().await;
        self.leases.ready().await;
    }

    /// What is known of a namespace.
    pub(super) fn snapshot(&self, namespace: &str, now: Timestamp) -> Snapshot {
        Snapshot {
            now,
            tickets: self.tickets.in_namespace(namespace),
            pools: self.pools.in_namespace(namespace),
            repositories: self.repositories.in_namespace(namespace),
            workspaces: self.workspaces.in_namespace(namespace),
            agents: self.agents.in_namespace(namespace),
            checks: self.checks.in_namespace(namespace),
            reviews: self.reviews.in_namespace(namespace),
            merges: self.merges.in_namespace(namespace),
            leases: self.leases.in_namespace(namespace),
            ..Snapshot::default()
        }
    }
}
