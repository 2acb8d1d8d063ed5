//! An older revision's text as the new desired state: what `gcluster rollout undo` and steer do.

use std::collections::BTreeMap;

use gcluster_types::sexpr::digest::digest;
use gcluster_types::sexpr::program::parse_definition;
use gcluster_types::{Agent, AgentRevision};
use http::Method;
use kube::ResourceExt as _;
use serde_json::{Value, json};

use crate::client::{Connection, JSON, MERGE, escape, query};
use crate::exit::{Failure, Kind, Result};

/// How often a write that status changes of the agent got in the way of is tried.
const TRIES: usize = 20;

/// Which revision is meant.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Goal<'a> {
    /// The one before the newest.
    Previous,
    /// By its number.
    Number(i64),
    /// By the name of its object.
    Name(&'a str),
}

/// What was done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RolledBack {
    /// Number that the revision had.
    pub(crate) revision: i64,
    /// False when the agent has had this text already, so that nothing was written.
    pub(crate) written: bool,
}

/// How it is written.
#[derive(Clone, Copy, Debug)]
pub(crate) struct How<'a> {
    /// Field manager.
    pub(crate) manager: &'a str,
    /// For `--now`: the value of `spec.replacedAt`.
    pub(crate) replaced_at: Option<&'a str>,
}

/// Makes the text of an older revision the desired one, if nobody changes the definition meanwhile.
///
/// # Errors
/// [`Kind::NotFound`] without such an agent or revision, [`Kind::Conflict`] when the definition changes under it.
pub(crate) async fn roll_back(
    connection: &Connection,
    namespace: &str,
    name: &str,
    goal: Goal<'_>,
    how: How<'_>,
) -> Result<RolledBack> {
    let root = format!("/apis/gcluster.dev/v1alpha1/namespaces/{}", escape(namespace));
    let path = format!("{root}/agents/{}", escape(name));
    let mut agent: Agent = read(connection.get(&path, JSON).await?, name)?;
    let revisions = revisions(connection, namespace, name).await?;
    let now = digest(&agent.spec.definition, &agent.spec.methods, &agent.spec.arguments);
    let target = choose(&revisions, &now, goal)?;
    let done = |written| RolledBack { revision: target.spec.revision, written };
    if target.spec.digest == now && how.replaced_at.is_none() {
        return Ok(done(false));
    }
    for _ in 0..TRIES {
        let url = format!("{path}{}", query(&[("fieldManager", how.manager)]));
        match connection.send(Method::PATCH, &url, MERGE, &patch(&agent, target, how)).await {
            Ok(_) => return Ok(done(target.spec.digest != now)),
            Err(failure) if failure.kind != Kind::Conflict => return Err(failure),
            // The status changes all the time; only another text is a reason to stop.
            Err(_) => agent = read(connection.get(&path, JSON).await?, name)?,
        }
        if digest(&agent.spec.definition, &agent.spec.methods, &agent.spec.arguments) != now {
            break;
        }
    }
    Err(Failure::new(Kind::Conflict, format!("somebody changed the definition of {name} meanwhile"))
        .hint(format!("look at `gcluster rollout history agent/{name}` and decide again")))
}

/// An agent's revisions, oldest first.
pub(crate) async fn revisions(
    connection: &Connection,
    namespace: &str,
    name: &str,
) -> Result<Vec<AgentRevision>> {
    let path = format!(
        "/apis/gcluster.dev/v1alpha1/namespaces/{}/agentrevisions{}",
        escape(namespace),
        query(&[("fieldSelector", &format!("spec.agent={name}"))])
    );
    let mut list = connection.get(&path, JSON).await?;
    let items = list["items"].as_array_mut().map(std::mem::take).unwrap_or_default();
    let mut revisions =
        items.into_iter().map(|item| read(item, name)).collect::<Result<Vec<AgentRevision>>>()?;
    revisions.sort_by_key(|revision| revision.spec.revision);
    Ok(revisions)
}

fn read<T: serde::de::DeserializeOwned>(value: Value, name: &str) -> Result<T> {
    serde_json::from_value(value)
        .map_err(|error| Failure::failed(format!("what the master says of {name} cannot be read: {error}")))
}

/// The revision that is meant. `now` is the digest of the desired text.
fn choose<'a>(revisions: &'a [AgentRevision], now: &str, goal: Goal<'_>) -> Result<&'a AgentRevision> {
    let current = revisions.iter().find(|revision| revision.spec.digest == now).map(|r| r.spec.revision);
    let found = match goal {
        Goal::Number(number) => revisions.iter().find(|revision| revision.spec.revision == number),
        Goal::Name(name) => revisions.iter().find(|revision| revision.name_any() == name),
        // A text that is not recorded yet comes after all of them.
        Goal::Previous => {
            revisions.iter().rfind(|revision| current.is_none_or(|c| revision.spec.revision < c))
        }
    };
    found.ok_or_else(|| {
        let known: Vec<String> =
            revisions.iter().map(|revision| revision.spec.revision.to_string()).collect();
        let failure = match goal {
            Goal::Previous => Failure::failed("there is no earlier revision to go back to"),
            Goal::Number(number) => Failure::new(Kind::NotFound, format!("there is no revision {number}")),
            Goal::Name(name) => Failure::new(Kind::NotFound, format!("there is no revision {name}")),
        };
        match known.is_empty() {
            true => failure.hint("no revision is recorded yet"),
            false => failure.hint(format!("revisions that are kept: {}", known.join(", "))),
        }
    })
}

/// A merge patch that replaces the whole definition, for exactly the version of the agent that was read.
fn patch(agent: &Agent, target: &AgentRevision, how: How<'_>) -> Value {
    let replaced = |old: &BTreeMap<String, String>, new: &BTreeMap<String, String>| {
        let gone = old.keys().filter(|key| !new.contains_key(*key)).map(|key| (key.clone(), Value::Null));
        let there = new.iter().map(|(key, text)| (key.clone(), Value::from(text.clone())));
        Value::Object(gone.chain(there).collect())
    };
    let mut spec = json!({"definition": target.spec.definition});
    for (map, old, new) in [
        ("methods", &agent.spec.methods, &target.spec.methods),
        ("arguments", &agent.spec.arguments, &target.spec.arguments),
    ] {
        if !old.is_empty() || !new.is_empty() {
            spec[map] = replaced(old, new);
        }
    }
    let written = parse_definition(&target.spec.definition).ok().and_then(|definition| definition.agent_name);
    if agent.spec.agent_name.is_some() && agent.spec.agent_name != written {
        spec["agentName"] = json!(written);
    }
    if let Some(time) = how.replaced_at {
        spec["replacedAt"] = json!(time);
    }
    json!({"metadata": {"resourceVersion": agent.metadata.resource_version}, "spec": spec})
}

#[cfg(test)]
mod tests {
    use super::*;

    fn revision(number: i64, prompt: &str) -> AgentRevision {
        let definition = format!("(defagent \"a\"\n  \"{prompt}\")");
        serde_json::from_value(json!({"metadata": {"name": format!("a-{number}")}, "spec": {
            "agent": "a", "revision": number, "stableID": "", "definition": definition,
            "digest": digest(&definition, &BTreeMap::new(), &BTreeMap::new())}}))
        .unwrap()
    }

    #[test]
    fn the_revision_that_is_meant_is_found_or_the_known_ones_are_told() {
        let all = [revision(2, "Two."), revision(3, "Three."), revision(5, "Five.")];
        let chosen =
            |now: &AgentRevision, goal| choose(&all, &now.spec.digest, goal).map(|r| r.spec.revision);
        assert_eq!(chosen(&all[2], Goal::Previous), Ok(3));
        assert_eq!(chosen(&revision(9, "Not recorded yet."), Goal::Previous), Ok(5));
        assert_eq!(chosen(&all[2], Goal::Number(2)), Ok(2));
        assert_eq!(chosen(&all[2], Goal::Name("a-3")), Ok(3));
        assert_eq!(chosen(&all[0], Goal::Previous).unwrap_err().kind, Kind::Failed);
        let unknown = chosen(&all[2], Goal::Number(4)).unwrap_err();
        assert_eq!(
            (unknown.kind, &unknown.hints[0][..]),
            (Kind::NotFound, "revisions that are kept: 2, 3, 5")
        );
    }

    #[test]
    fn the_patch_replaces_all_of_the_definition_and_nothing_else() {
        let agent: Agent = serde_json::from_value(json!({"metadata": {"name": "a", "resourceVersion": "7"},
            "spec": {"definition": "d", "methods": {"old": "x", "both": "y"}, "limits": {"maxIterations": 1}}}))
        .unwrap();
        let mut target = revision(1, "One.");
        target.spec.methods = [("both".to_owned(), "z".to_owned())].into();
        let how = How { manager: "m", replaced_at: Some("t") };
        assert_eq!(
            patch(&agent, &target, how),
            json!({"metadata": {"resourceVersion": "7"}, "spec": {"definition": "(defagent \"a\"\n  \"One.\")",
                "methods": {"old": null, "both": "z"}, "replacedAt": "t"}})
        );
    }
}
