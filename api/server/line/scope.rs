//! What a subscriber is shown: which objects, and which parts of them.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use serde::Deserialize;
use serde_json::{Value, json};

use crate::status::{ApiError, ApiResult};

/// Finished iterations shown per agent, and finished messages.
pub(super) const LATEST: usize = 8;

/// Payload of `steer_subscribe`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Scope {
    /// Default: `default`. `*` means all.
    namespace: Option<String>,
    /// Names of agents; default: all.
    agents: Option<HashSet<String>>,
    /// Records of running iterations as they come?
    #[serde(default)]
    pub(super) transcript: bool,
    /// Definitions and methods of agents too?
    #[serde(default)]
    definitions: bool,
}

/// A kind that is followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Kind {
    Agent,
    Iteration,
    Message,
}

impl Kind {
    pub(super) const ALL: [Self; 3] = [Self::Agent, Self::Iteration, Self::Message];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Agent => "Agent",
            Self::Iteration => "Iteration",
            Self::Message => "Message",
        }
    }

    pub(super) fn plural(self) -> &'static str {
        match self {
            Self::Agent => "agents",
            Self::Iteration => "iterations",
            Self::Message => "messages",
        }
    }
}

impl Scope {
    pub(super) fn check(&self) -> ApiResult<()> {
        match self.namespace.as_deref() {
            Some("") => Err(ApiError::bad_request("namespace: must not be empty; \"*\" means all")),
            _ => Ok(()),
        }
    }

    /// The namespace that is followed; none means all.
    pub(super) fn namespace(&self) -> Option<&str> {
        match self.namespace.as_deref() {
            None => Some("default"),
            Some("*") => None,
            named => named,
        }
    }

    /// Is an object of the agent shown?
    pub(super) fn shows(&self, agent: &str) -> bool {
        self.agents.as_ref().is_none_or(|agents| agents.contains(agent))
    }

    /// An object as it is shown: as in the API, without what the server keeps books with.
    pub(super) fn shown(&self, kind: Kind, mut object: Value) -> Value {
        const METADATA: [&str; 8] = [
            "name",
            "namespace",
            "uid",
            "resourceVersion",
            "generation",
            "creationTimestamp",
            "deletionTimestamp",
            "labels",
        ];
        let mut metadata = object["metadata"].take();
        if let Some(fields) = metadata.as_object_mut() {
            fields.retain(|name, _| METADATA.contains(&name.as_str()));
        }
        let mut spec = object["spec"].take();
        if let (Kind::Agent, false, Some(fields)) = (kind, self.definitions, spec.as_object_mut()) {
            fields.remove("definition");
            fields.remove("methods");
        }
        json!({"kind": kind.name(), "metadata": metadata, "spec": spec, "status": object["status"].take()})
    }
}

/// The agent that an object belongs to.
pub(super) fn agent_of(kind: Kind, object: &Value) -> &str {
    let agent = match kind {
        Kind::Agent => &object["metadata"]["name"],
        Kind::Iteration | Kind::Message => &object["spec"]["agent"],
    };
    agent.as_str().unwrap_or_default()
}

/// Will nothing more become of an iteration or a message?
fn is_finished(object: &Value) -> bool {
    let phase = object["status"]["phase"].as_str().unwrap_or_default();
    !matches!(phase, "" | "Pending" | "Running")
}

/// Place in time: objects of the same second are told apart by their number and name.
type Rank = (String, i64, String);

/// Which iterations or messages of each agent are shown: those under way, and the newest of the others.
#[derive(Debug, Default)]
pub(super) struct Latest {
    agents: HashMap<(String, String), BTreeMap<Rank, bool>>,
}

/// What became of the objects that are shown.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Turned {
    /// Is the object itself shown?
    pub(super) shown: bool,
    /// Names of objects that are shown no longer.
    pub(super) gone: BTreeSet<String>,
}

impl Latest {
    /// Takes an object as it is now.
    pub(super) fn put(&mut self, namespace: &str, name: &str, object: &Value, agent: &str) -> Turned {
        let created = object["metadata"]["creationTimestamp"].as_str().unwrap_or_default();
        let number = object["spec"]["number"].as_i64().unwrap_or_default();
        let agent = self.agents.entry((namespace.to_owned(), agent.to_owned())).or_default();
        agent.insert((created.to_owned(), number, name.to_owned()), is_finished(object));
        let mut gone = BTreeSet::new();
        while agent.values().filter(|finished| **finished).count() > LATEST {
            let oldest = agent.iter().find(|(_, finished)| **finished).map(|(rank, _)| rank.clone());
            let Some(oldest) = oldest else { break };
            agent.remove(&oldest);
            gone.insert(oldest.2);
        }
        Turned { shown: !gone.remove(name), gone }
    }

    /// Forgets an object that was deleted.
    pub(super) fn remove(&mut self, namespace: &str, name: &str, agent: &str) {
        let key = (namespace.to_owned(), agent.to_owned());
        if let Some(objects) = self.agents.get_mut(&key) {
            objects.retain(|rank, _| rank.2 != name);
            if objects.is_empty() {
                self.agents.remove(&key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn iteration(number: i64, phase: &str) -> (String, Value) {
        let name = format!("a.work.{number}");
        let object = json!({"metadata": {"name": name, "creationTimestamp": "2026-01-01T00:00:00Z"},
            "spec": {"agent": "a", "number": number}, "status": {"phase": phase}});
        (name, object)
    }

    fn put(latest: &mut Latest, number: i64, phase: &str) -> Turned {
        let (name, object) = iteration(number, phase);
        latest.put("n", &name, &object, "a")
    }

    #[test]
    fn what_is_under_way_stays_and_of_the_rest_the_newest() {
        let mut latest = Latest::default();
        assert!(put(&mut latest, 0, "Running").shown);
        for number in 1..=8 {
            assert_eq!(put(&mut latest, number, "Succeeded"), Turned { shown: true, gone: [].into() });
        }
        let gone = |name: &str| BTreeSet::from([name.to_owned()]);
        assert_eq!(put(&mut latest, 10, "Failed"), Turned { shown: true, gone: gone("a.work.1") });
        assert_eq!(put(&mut latest, 0, "Succeeded"), Turned { shown: false, gone: [].into() });
        assert!(!put(&mut latest, 1, "Succeeded").shown, "an old one does not come back");
        latest.remove("n", "a.work.10", "a");
        assert_eq!(put(&mut latest, 9, "Succeeded"), Turned { shown: true, gone: [].into() });
    }

    #[test]
    fn definitions_and_bookkeeping_are_left_out_unless_asked_for() {
        let agent = || {
            json!({"metadata": {"name": "a", "managedFields": [], "annotations": {}},
            "spec": {"definition": "d", "methods": {}, "run": "Running"}, "status": {"runState": "running"}})
        };
        let shown = Scope::default().shown(Kind::Agent, agent());
        assert_eq!(
            shown,
            json!({"kind": "Agent", "metadata": {"name": "a"}, "spec": {"run": "Running"}, "status": {"runState": "running"}})
        );
        let scope = Scope { definitions: true, ..Scope::default() };
        assert_eq!(scope.shown(Kind::Agent, agent())["spec"]["definition"], "d");
    }
}
