//! One watch of a kind, kept in memory by owner.
//!
//! ```text
//! watch ──▶ Index (agent → its objects) ──then──▶ trigger (which Agent to look at)
//! ```
//!
//! The index is brought up to date before the trigger is sent, so that a reconcile never looks at less than
//! what woke it. What it holds may still be old; whoever acts on it in a way that cannot be taken back reads
//! the object first.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Debug;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::channel::mpsc::{self, UnboundedSender};
use futures::{Stream, StreamExt};
use gcluster_types::{Agent, labels};
use kube::runtime::WatchStreamExt;
use kube::runtime::reflector::ObjectRef;
use kube::runtime::watcher::{self, Event};
use kube::{Api, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use tokio::sync::watch;

/// Namespace and name of an Agent.
pub type AgentKey = (String, String);

/// Objects of one kind, by the agent that they belong to: the one in their label, unless it is made otherwise.
/// Clones share them.
#[derive(Debug)]
pub struct Index<K> {
    shared: Arc<Shared<K>>,
}

#[derive(Debug)]
struct Shared<K> {
    key: fn(&K) -> Option<AgentKey>,
    /// What of an object is worth a look when it changes; everything when there is none.
    print: Option<fn(&K) -> u64>,
    /// The prints that triggered last, by agent and name.
    told: Mutex<HashMap<(AgentKey, String), u64>>,
    objects: Mutex<HashMap<AgentKey, BTreeMap<String, Arc<K>>>>,
    ready: watch::Sender<bool>,
}

impl<K> Clone for Index<K> {
    fn clone(&self) -> Self {
        Self { shared: self.shared.clone() }
    }
}

impl<K: Resource> Default for Index<K> {
    fn default() -> Self {
        Self::keyed(agent_of)
    }
}

impl<K> Index<K> {
    /// An index of objects that say in another way than by their label which agent they belong to.
    pub fn keyed(key: fn(&K) -> Option<AgentKey>) -> Self {
        Self::printed(key, None)
    }

    /// An index that triggers only for a change of what `print` tells apart. It holds every change all the same.
    pub fn printed(key: fn(&K) -> Option<AgentKey>, print: Option<fn(&K) -> u64>) -> Self {
        let ready = watch::Sender::new(false);
        let (told, objects) = (Mutex::default(), Mutex::default());
        Self { shared: Arc::new(Shared { key, print, told, objects, ready }) }
    }
}

impl<K> Index<K>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
{
    /// Follows the kind for as long as the stream is polled. Each item is an Agent to look at; `deleted` is
    /// told of every object that went away.
    pub fn follow(
        &self,
        api: Api<K>,
        deleted: impl Fn(&K) + Send + 'static,
    ) -> impl Stream<Item = ObjectRef<Agent>> + Send + 'static {
        let index = self.clone();
        let (triggers, stream) = mpsc::unbounded();
        let watching = async move {
            let mut events =
                std::pin::pin!(watcher::watcher(api, watcher::Config::default()).default_backoff());
            let mut initial = Vec::new();
            while let Some(event) = events.next().await {
                match event {
                    Ok(event) => index.take(event, &mut initial, &triggers, &deleted),
                    Err(error) => tracing::debug!(%error, kind = %K::kind(&()), "a watch was interrupted"),
                }
            }
        };
        // The watch lives as long as the stream of its triggers.
        futures::stream::select(stream, futures::stream::once(watching).filter_map(|()| async { None }))
    }

    fn take(
        &self,
        event: Event<K>,
        initial: &mut Vec<K>,
        triggers: &UnboundedSender<ObjectRef<Agent>>,
        deleted: &impl Fn(&K),
    ) {
        let wake = |key: &AgentKey| {
            // Nobody listens any more when the controller ends.
            let _ = triggers.unbounded_send(ObjectRef::new(&key.1).within(&key.0));
        };
        match event {
            Event::Init => initial.clear(),
            Event::InitApply(object) => initial.push(object),
            Event::InitDone => {
                for object in self.replace(std::mem::take(initial)) {
                    deleted(&object);
                }
                self.told().clear();
                let keys: Vec<AgentKey> = self.objects().keys().cloned().collect();
                keys.iter().for_each(wake);
                self.shared.ready.send_replace(true);
            }
            Event::Apply(object) => {
                if let Some(key) = (self.shared.key)(&object) {
                    let is_news = self.is_news(&key, &object);
                    self.observe(object);
                    if is_news {
                        wake(&key);
                    }
                }
            }
            Event::Delete(object) => {
                if let Some(key) = (self.shared.key)(&object) {
                    self.told().remove(&(key.clone(), object.name_any()));
                    self.remove(&key, &object.name_any());
                    wake(&key);
                }
                deleted(&object);
            }
        }
    }

    /// Takes over a whole listing. Answers what is not in it any more.
    fn replace(&self, listed: Vec<K>) -> Vec<Arc<K>> {
        let mut next: HashMap<AgentKey, BTreeMap<String, Arc<K>>> = HashMap::new();
        for object in listed {
            if let Some(key) = (self.shared.key)(&object) {
                next.entry(key).or_default().insert(object.name_any(), Arc::new(object));
            }
        }
        let mut objects = self.objects();
        let mut gone = Vec::new();
        for (key, children) in objects.iter() {
            let kept = next.get(key);
            gone.extend(
                children
                    .iter()
                    .filter(|(name, _)| kept.is_none_or(|k| !k.contains_key(*name)))
                    .map(|(_, o)| o.clone()),
            );
        }
        *objects = next;
        gone
    }

    /// Takes in an object unless a newer state of it is there already. Called with what this process wrote
    /// too, so that it does not have to wait for the watch to learn of its own deeds.
    pub fn observe(&self, object: K) {
        let Some(key) = (self.shared.key)(&object) else { return };
        let version = |object: &K| object.resource_version().and_then(|v| v.parse::<u64>().ok());
        let mut objects = self.objects();
        let children = objects.entry(key).or_default();
        let newer =
            children.get(&object.name_any()).is_none_or(|old| match (version(old), version(&object)) {
                (Some(old), Some(new)) => new >= old,
                _ => true,
            });
        if newer {
            children.insert(object.name_any(), Arc::new(object));
        }
    }

    /// Forgets an object.
    pub fn remove(&self, key: &AgentKey, name: &str) {
        let mut objects = self.objects();
        if let Some(children) = objects.get_mut(key) {
            children.remove(name);
            if children.is_empty() {
                objects.remove(key);
            }
        }
    }

    /// All objects of an agent, by name. Those of an earlier agent of the same name are left out.
    pub fn of(&self, agent: &Agent) -> Vec<Arc<K>> {
        let key = (agent.namespace().unwrap_or_default(), agent.name_any());
        let uid = agent.uid().unwrap_or_default();
        let owned = |object: &&Arc<K>| object.owner_references().iter().any(|owner| owner.uid == uid);
        self.objects().get(&key).map(|c| c.values().filter(owned).cloned().collect()).unwrap_or_default()
    }

    /// All objects under a name, whichever agent of that name they belong to.
    pub fn under(&self, key: &AgentKey) -> Vec<Arc<K>> {
        self.objects().get(key).map(|children| children.values().cloned().collect()).unwrap_or_default()
    }

    /// All objects, of whatever agent.
    pub fn all(&self) -> Vec<Arc<K>> {
        self.objects().values().flat_map(BTreeMap::values).cloned().collect()
    }

    /// Waits until the first listing is in.
    pub async fn ready(&self) {
        // The sender lives as long as the index.
        let _ = self.shared.ready.subscribe().wait_for(|ready| *ready).await;
    }

    /// Whether a change has to be told: it differs from what was told last, not from what is held, which may be news
    /// that this process wrote itself.
    fn is_news(&self, key: &AgentKey, object: &K) -> bool {
        let Some(print) = self.shared.print else { return true };
        let print = print(object);
        self.told().insert((key.clone(), object.name_any()), print) != Some(print)
    }

    fn told(&self) -> MutexGuard<'_, HashMap<(AgentKey, String), u64>> {
        self.shared.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn objects(&self) -> MutexGuard<'_, HashMap<AgentKey, BTreeMap<String, Arc<K>>>> {
        self.shared.objects.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The agent that an object belongs to, by its label.
pub fn agent_of<K: Resource>(object: &K) -> Option<AgentKey> {
    let agent = object.labels().get(labels::AGENT)?.clone();
    Some((object.namespace().unwrap_or_default(), agent))
}

#[cfg(test)]
mod tests {
    use super::*;
    use gcluster_types::Iteration;
    use serde_json::json;

    fn iteration(name: &str, version: &str, owner: &str) -> Iteration {
        serde_json::from_value(json!({
            "apiVersion": "gcluster.dev/v1alpha1", "kind": "Iteration",
            "metadata": {"name": name, "namespace": "default", "resourceVersion": version,
                "labels": {"gcluster.dev/agent": "a"},
                "ownerReferences": [{"apiVersion": "gcluster.dev/v1alpha1", "kind": "Agent", "name": "a", "uid": owner}]},
            "spec": {"agent": "a", "revision": "r", "step": "s", "kind": "Loop", "number": 0},
        }))
        .unwrap()
    }

    fn agent(uid: &str) -> Agent {
        let mut agent = Agent::new("a", Default::default());
        agent.metadata.namespace = Some("default".into());
        agent.metadata.uid = Some(uid.into());
        agent
    }

    #[test]
    fn an_index_keeps_the_newest_state_and_tells_what_a_new_listing_lacks() {
        let index = Index::<Iteration>::default();
        index.observe(iteration("a.s.0", "5", "u1"));
        index.observe(iteration("a.s.0", "3", "u1"));
        let seen = index.of(&agent("u1"));
        assert_eq!(seen[0].resource_version().as_deref(), Some("5"));
        assert!(index.of(&agent("u2")).is_empty(), "another agent of that name");
        let gone = index.replace(vec![iteration("a.s.1", "7", "u1")]);
        assert_eq!(gone.iter().map(|o| o.name_any()).collect::<Vec<_>>(), ["a.s.0"]);
        index.remove(&("default".into(), "a".into()), "a.s.1");
        assert!(index.of(&agent("u1")).is_empty());
    }

    #[test]
    fn what_the_print_does_not_tell_apart_is_held_and_triggers_nothing() {
        let index = Index::<Iteration>::printed(agent_of, Some(crate::executor::print));
        let (sender, mut triggers) = mpsc::unbounded();
        let take = |event| index.take(event, &mut Vec::new(), &sender, &|_| {});
        let with = |version: &str, status: serde_json::Value| {
            let mut object = serde_json::to_value(iteration("a.s.0", version, "u1")).unwrap();
            object["status"] = status;
            Event::Apply(serde_json::from_value::<Iteration>(object).unwrap())
        };
        let mut woken = || std::iter::from_fn(|| triggers.try_recv().ok()).count();
        take(with("2", json!({"phase": "Running"})));
        assert_eq!(woken(), 1);
        take(with("3", json!({"phase": "Running", "toolUses": 1, "costUSD": 0.51})));
        assert_eq!(woken(), 1, "the model answered, and the cost made a step");
        take(with("3", json!({"phase": "Running", "toolUses": 5, "costUSD": 0.54})));
        assert_eq!(woken(), 0);
        assert_eq!(index.of(&agent("u1"))[0].status.as_ref().unwrap().tool_uses, 5);
        // What this process wrote itself and knows already triggers once, too.
        let Event::Apply(ended) = with("4", json!({"phase": "Succeeded"})) else { unreachable!() };
        index.observe(ended.clone());
        take(Event::Apply(ended.clone()));
        assert_eq!(woken(), 1);
        take(Event::Delete(ended));
        assert_eq!(woken(), 1);
    }
}
