//! Secrets and ConfigMaps that change wake the agents whose programs are given their values.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::{Stream, StreamExt};
use gcluster_types::Agent;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::runtime::WatchStreamExt;
use kube::runtime::reflector::ObjectRef;
use kube::runtime::watcher::{self, Event};
use kube::{Api, Client, Resource, ResourceExt};
use serde::de::DeserializeOwned;

use super::standings::key;
use crate::informer::AgentKey;

/// Kind, namespace and name.
type Source = (&'static str, String, String);

/// Which agent takes values from which object. Clones share it.
#[derive(Clone, Default)]
pub(super) struct Rotation {
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    sources: HashMap<AgentKey, BTreeSet<Source>>,
    users: HashMap<Source, BTreeSet<AgentKey>>,
}

impl Rotation {
    /// Notes what an agent takes values from now.
    pub(super) fn note(&self, agent: &Agent) {
        let (key, now) = (key(agent), sources(agent));
        let mut state = self.state();
        let before = state.sources.get(&key).cloned().unwrap_or_default();
        if before == now {
            return;
        }
        for source in before.difference(&now) {
            if let Some(users) = state.users.get_mut(source) {
                users.remove(&key);
                if users.is_empty() {
                    state.users.remove(source);
                }
            }
        }
        for source in now.difference(&before) {
            state.users.entry(source.clone()).or_default().insert(key.clone());
        }
        if now.is_empty() {
            state.sources.remove(&key);
        } else {
            state.sources.insert(key, now);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Agents to look at because a value of theirs may have changed, for as long as the stream is polled.
    pub(super) fn woken(&self, client: Client) -> impl Stream<Item = ObjectRef<Agent>> + Send + 'static {
        let secrets = self.follow::<Secret>("Secret", client.clone());
        let maps = self.follow::<ConfigMap>("ConfigMap", client);
        futures::stream::select(secrets.boxed(), maps.boxed())
    }

    fn follow<K>(
        &self,
        kind: &'static str,
        client: Client,
    ) -> impl Stream<Item = ObjectRef<Agent>> + Send + 'static
    where
        K: Resource<DynamicType = ()> + Clone + std::fmt::Debug + DeserializeOwned + Send + Sync + 'static,
    {
        let rotation = self.clone();
        let events = watcher::watcher(Api::<K>::all(client), watcher::Config::default()).default_backoff();
        events.flat_map(move |event| {
            let users = match event {
                Ok(Event::Apply(object) | Event::InitApply(object) | Event::Delete(object)) => {
                    rotation.users((kind, object.namespace().unwrap_or_default(), object.name_any()))
                }
                Ok(Event::Init | Event::InitDone) => Vec::new(),
                Err(error) => {
                    tracing::debug!(%error, kind, "a watch was interrupted");
                    Vec::new()
                }
            };
            futures::stream::iter(users)
        })
    }

    fn users(&self, source: Source) -> Vec<ObjectRef<Agent>> {
        let state = self.state();
        let users = state.users.get(&source).into_iter().flatten();
        users.map(|(namespace, name)| ObjectRef::new(name).within(namespace)).collect()
    }
}

fn sources(agent: &Agent) -> BTreeSet<Source> {
    let namespace = agent.namespace().unwrap_or_default();
    let variables = agent.spec.backend.iter().flat_map(|backend| &backend.env);
    let keys = variables.filter_map(|variable| variable.value_from.as_ref()).flat_map(|from| {
        let secret = from.secret_key_ref.as_ref().map(|key| ("Secret", key));
        let map = from.config_map_key_ref.as_ref().map(|key| ("ConfigMap", key));
        secret.into_iter().chain(map)
    });
    keys.map(|(kind, key)| (kind, namespace.clone(), key.name.clone())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_agent_is_woken_by_what_it_uses_now() {
        let agent = |secret: &str| -> Agent {
            let from = json!({"secretKeyRef": {"name": secret, "key": "k"}});
            serde_json::from_value(json!({"apiVersion": "gcluster.dev/v1alpha1", "kind": "Agent",
                "metadata": {"name": "a", "namespace": "n"},
                "spec": {"definition": "", "backend": {"env": [{"name": "KEY", "valueFrom": from}]}}}))
            .unwrap()
        };
        let rotation = Rotation::default();
        let woken = |kind, name: &str| rotation.users((kind, "n".into(), name.into())).len();
        rotation.note(&agent("old"));
        assert_eq!((woken("Secret", "old"), woken("ConfigMap", "old")), (1, 0));
        rotation.note(&agent("new"));
        assert_eq!((woken("Secret", "old"), woken("Secret", "new")), (0, 1));
    }
}
