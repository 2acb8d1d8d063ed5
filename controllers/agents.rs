//! One watch of all agents, shared by the loops: whom to look at, and the newest state that is known here.
//!
//! ```text
//! watch ──▶ store ──▶ triggers of each loop
//! own writes ──▶ newest (until the watch has caught up)
//! ```
//!
//! What is read here may be old. That is harmless: whoever acts writes with the resourceVersion of what he read, a
//! write that others came before is refused, and a change that was not seen yet triggers when it is.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::channel::mpsc::{self, UnboundedSender};
use futures::{Stream, StreamExt};
use gcluster_types::Agent;
use kube::runtime::WatchStreamExt;
use kube::runtime::reflector::store::Writer;
use kube::runtime::reflector::{self, ObjectRef, Store};
use kube::runtime::watcher::{self, Event};
use kube::{Api, Client, ResourceExt};

use crate::error::{Error, Result};

/// All agents. Clones share them.
#[derive(Clone)]
pub(crate) struct Agents {
    shared: Arc<Shared>,
}

struct Shared {
    client: Client,
    store: Store<Agent>,
    writer: Mutex<Option<Writer<Agent>>>,
    listeners: Mutex<Vec<UnboundedSender<Change>>>,
    /// Newer than the store, by uid.
    written: Mutex<HashMap<String, Arc<Agent>>>,
}

/// What a watch says of an agent.
#[derive(Clone, Debug)]
pub(crate) enum Change {
    /// It is there, perhaps as before.
    Seen(Arc<Agent>),
    /// It is not there any more.
    Gone(Arc<Agent>),
}

impl Agents {
    /// None yet; [`Agents::follow`] brings them.
    pub(crate) fn new(client: Client) -> Self {
        let (store, writer) = reflector::store();
        let writer = Mutex::new(Some(writer));
        let (listeners, written) = (Mutex::default(), Mutex::default());
        Self { shared: Arc::new(Shared { client, store, writer, listeners, written }) }
    }

    /// Watches until it is dropped. The second call returns at once.
    pub(crate) async fn follow(&self) {
        let writer = self.shared.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(mut writer) = writer else { return };
        let api = Api::<Agent>::all(self.shared.client.clone());
        let events = watcher::watcher(api, watcher::Config::default()).default_backoff();
        let mut events = std::pin::pin!(events);
        while let Some(event) = events.next().await {
            match event {
                Ok(event) => self.take(event, &mut writer),
                Err(error) => tracing::debug!(%error, kind = "Agent", "a watch was interrupted"),
            }
        }
    }

    /// Agents to look at: all that are there, and each that changes, unless `key` is what it was before. `gone` is
    /// told of those that went away.
    pub(crate) fn triggers<T: PartialEq + Send + 'static>(
        &self,
        key: impl Fn(&Agent) -> T + Send + 'static,
        gone: impl Fn(&Agent) + Send + 'static,
    ) -> impl Stream<Item = ObjectRef<Agent>> + Send + 'static {
        let mut known: HashMap<String, T> = HashMap::new();
        self.changes().filter_map(move |change| {
            let trigger = match change {
                Change::Seen(agent) => {
                    let now = key(&agent);
                    let uid = agent.uid().unwrap_or_default();
                    let is_new = known.get(&uid) != Some(&now);
                    known.insert(uid, now);
                    is_new.then(|| ObjectRef::from_obj(&*agent))
                }
                Change::Gone(agent) => {
                    known.remove(&agent.uid().unwrap_or_default());
                    gone(&agent);
                    None
                }
            };
            std::future::ready(trigger)
        })
    }

    /// What is watched, for the queue of a loop.
    pub(crate) fn store(&self) -> Store<Agent> {
        self.shared.store.clone()
    }

    /// The newest state of an agent that is known here.
    pub(crate) fn newest(&self, seen: &Arc<Agent>) -> Arc<Agent> {
        let mut written = self.written();
        let uid = seen.uid().unwrap_or_default();
        match written.get(&uid) {
            Some(own) if version(own) > version(seen) => own.clone(),
            // The watch has caught up.
            Some(_) => {
                written.remove(&uid);
                seen.clone()
            }
            None => seen.clone(),
        }
    }

    /// Takes in what the API answered to a read or a write, so that it is known before the watch tells.
    pub(crate) fn observe(&self, agent: Agent) {
        let Some(uid) = agent.uid() else { return };
        let mut written = self.written();
        if written.get(&uid).is_none_or(|old| version(old) < version(&agent)) {
            written.insert(uid, Arc::new(agent));
        }
    }

    /// Asks the API. `None` when it is gone or another one of that name.
    ///
    /// # Errors
    /// When the API cannot be asked.
    pub(crate) async fn read(&self, agent: &Agent) -> Result<Option<Arc<Agent>>> {
        let name = agent.name_any();
        let api: Api<Agent> =
            Api::namespaced(self.shared.client.clone(), &agent.namespace().unwrap_or_default());
        let read = api.get_opt(&name).await.map_err(Error::api(format!("read Agent {name}")))?;
        let read = read.filter(|read| read.uid() == agent.uid());
        read.iter().for_each(|read| self.observe(read.clone()));
        Ok(read.map(Arc::new))
    }

    fn take(&self, event: Event<Agent>, writer: &mut Writer<Agent>) {
        let store = &self.shared.store;
        let before = matches!(event, Event::InitDone).then(|| store.state());
        writer.apply_watcher_event(&event);
        let mut listeners = self.listeners();
        let mut tell = |change: Change| listeners.retain(|to| to.unbounded_send(change.clone()).is_ok());
        match event {
            Event::Init | Event::InitApply(_) => {}
            Event::InitDone => {
                let now = store.state();
                let is_there = |uid| now.iter().any(|agent| agent.metadata.uid == uid);
                for gone in before.unwrap_or_default() {
                    if !is_there(gone.uid()) {
                        self.written().remove(&gone.uid().unwrap_or_default());
                        tell(Change::Gone(gone));
                    }
                }
                now.into_iter().map(Change::Seen).for_each(tell);
            }
            Event::Apply(agent) => {
                store.get(&ObjectRef::from_obj(&agent)).map(Change::Seen).into_iter().for_each(tell);
            }
            Event::Delete(agent) => {
                self.written().remove(&agent.uid().unwrap_or_default());
                tell(Change::Gone(Arc::new(agent)));
            }
        }
    }

    /// All that are there, then every change.
    fn changes(&self) -> impl Stream<Item = Change> + Send + 'static {
        let (sender, changes) = mpsc::unbounded();
        let mut listeners = self.listeners();
        for agent in self.shared.store.state() {
            // The receiver is still here.
            let _ = sender.unbounded_send(Change::Seen(agent));
        }
        listeners.push(sender);
        changes
    }

    fn listeners(&self) -> MutexGuard<'_, Vec<UnboundedSender<Change>>> {
        self.shared.listeners.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn written(&self) -> MutexGuard<'_, HashMap<String, Arc<Agent>>> {
        self.shared.written.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where a state stands among the states of its object. None for an API whose versions are no numbers: nothing is
/// newer than the watch then.
fn version(agent: &Agent) -> Option<u64> {
    agent.resource_version().and_then(|version| version.parse().ok())
}
