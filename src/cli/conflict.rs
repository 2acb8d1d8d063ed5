//! When an apply of a file meets an edit of somebody else: who it was, what differs, and the ways out.

use std::collections::BTreeMap;

use gcluster_types::labels::MANAGER_APPLY;
use k8s_openapi::jiff::Timestamp;
use serde_json::Value;

use super::manifest::Desired;
use super::objects::text;
use crate::client::{Connection, JSON, escape};
use crate::exit::{Failure, Kind, Result};
use crate::render::definition::{self, Change};
use crate::render::{age, manager};

/// Most agents that are asked for one by one.
const FEW: usize = 20;
/// Lines of a difference that an error shows.
const LINES: usize = 12;

/// One text of an agent that somebody else has set, and that the file would change.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Conflict {
    /// The text as it is, and as the file says it.
    pub(crate) change: Change,
    /// Field manager of the other one.
    pub(crate) manager: String,
    /// When the other one wrote last.
    pub(crate) at: Option<Timestamp>,
    /// When the file was applied last, if it ever was.
    pub(crate) applied: Option<Timestamp>,
}

impl Conflict {
    /// `method "build": edited in steer by ada 5m ago; by the file, applied 2h ago, it differs`.
    pub(crate) fn sentence(&self, now: Timestamp) -> String {
        let ago =
            |at: Option<Timestamp>| at.map_or_else(String::new, |at| format!(" {} ago", age::since(at, now)));
        let file = match self.applied {
            Some(_) => format!("the file was applied{} (gcluster apply)", ago(self.applied)),
            None => "the file was never applied to it".to_owned(),
        };
        let what = match (&self.change.before, &self.change.after) {
            (_, None) => "and the file does not have it",
            _ => "and the file says something else",
        };
        format!(
            "{}: changed {}{}, {what}; {file}",
            self.change.part,
            manager::changed(&self.manager),
            ago(self.at)
        )
    }
}

/// The texts of an agent that others have set since the file set them and that the file would change.
pub(crate) fn of(live: &Value, desired: &Value) -> Vec<Conflict> {
    let entries = live.pointer("/metadata/managedFields").and_then(Value::as_array);
    let entries = entries.map(Vec::as_slice).unwrap_or_default();
    let is_file = |entry: &&Value| entry["manager"] == MANAGER_APPLY && entry["operation"] == "Apply";
    let time = |entry: &Value| text(entry, "/time").parse::<Timestamp>().ok();
    let applied = entries.iter().find(is_file).and_then(time);
    let mut conflicts = Vec::new();
    for (part, path, is_form) in parts(live, desired) {
        let value = |object: &Value| {
            let found = path.iter().try_fold(&object["spec"], |value, key| value.get(key));
            found.and_then(Value::as_str).map(str::to_owned)
        };
        let (before, after) = (value(live), value(desired));
        let owns = |entry: &&Value| {
            let mut fields = Some(&entry["fieldsV1"]["f:spec"]);
            for key in &path {
                fields = fields.and_then(|fields| fields.get(format!("f:{key}")));
            }
            fields.is_some()
        };
        if before == after || before.is_none() || entries.iter().filter(is_file).any(|entry| owns(&entry)) {
            continue;
        }
        let newest = entries.iter().filter(owns).max_by_key(|entry| time(entry));
        if let Some(other) = newest {
            let said =
                |form: Option<String>| form.map(|form| if is_form { definition::text(&form) } else { form });
            let change = Change { part, before: said(before), after: said(after) };
            let manager = text(other, "/manager").to_owned();
            conflicts.push(Conflict { change, manager, at: time(other), applied });
        }
    }
    conflicts
}

/// Every text of both: what it is called, where it is below `spec`, and whether it is a form.
fn parts(live: &Value, desired: &Value) -> Vec<(String, Vec<String>, bool)> {
    let mut parts = vec![(definition::agent_part(), vec!["definition".to_owned()], true)];
    for (map, is_form) in [("methods", true), ("arguments", false)] {
        let keys = |object: &Value| -> BTreeMap<String, ()> {
            let all = object["spec"][map].as_object().into_iter().flatten();
            all.map(|(key, _)| (key.clone(), ())).collect()
        };
        let mut all = keys(live);
        all.extend(keys(desired));
        parts.extend(all.into_keys().map(|key| {
            let part = if is_form { definition::method_part(&key) } else { definition::argument_part(&key) };
            (part, vec![map.to_owned(), key], is_form)
        }));
    }
    parts
}

/// Says of a refused apply who has changed what. Any other failure stays what it is.
pub(crate) async fn explain(connection: &Connection, failure: Failure, desired: &[&Desired]) -> Failure {
    if failure.kind != Kind::Conflict {
        return failure;
    }
    let found = match live(connection, desired).await {
        Ok(live) => desired
            .iter()
            .zip(live)
            .filter_map(|(desired, live)| Some((*desired, of(&live?, &desired.object))))
            .filter(|(_, conflicts)| !conflicts.is_empty())
            .collect::<Vec<_>>(),
        // What the master refused is known; that it cannot be explained is no second error.
        Err(_) => return failure,
    };
    if found.is_empty() { failure } else { told(&found, Timestamp::now()) }
}

/// The error: every agent with every text in conflict.
fn told(found: &[(&Desired, Vec<Conflict>)], now: Timestamp) -> Failure {
    let names: Vec<&str> = found.iter().map(|(desired, _)| text(&desired.object, "/metadata/name")).collect();
    let subject = match &names[..] {
        [one] => format!("agent {one} was"),
        [some @ .., last] if names.len() <= 5 => format!("agents {} and {last} were", some.join(", ")),
        _ => format!("{} agents were", names.len()),
    };
    let message =
        format!("{subject} changed by somebody else since the file was applied, so nothing was applied");
    let mut failure = Failure::new(Kind::Conflict, message);
    for (desired, conflicts) in found {
        for conflict in conflicts {
            let name = text(&desired.object, "/metadata/name");
            failure.causes.push(format!("{name}, {}", conflict.sentence(now)));
            failure
                .causes
                .extend(conflict.change.short(1, LINES).into_iter().map(|line| format!("    {line}")));
        }
    }
    let shown = match &names[..] {
        [one] => format!("agent {one}"),
        _ => format!("agent {}", names.iter().take(5).copied().collect::<Vec<_>>().join(" ")),
    };
    failure
        .hint(format!(
            "`gcluster get {shown} -o p` prints what is there (lines with -), to take it over into the file"
        ))
        .hint("--force-conflicts makes the file's text (lines with +) the desired one")
}

/// The agents as they are; nothing for what is no agent or does not exist.
async fn live(connection: &Connection, desired: &[&Desired]) -> Result<Vec<Option<Value>>> {
    let is_agent = |one: &Desired| text(&one.object, "/kind") == "Agent";
    let path =
        |namespace: &str| format!("/apis/gcluster.dev/v1alpha1/namespaces/{}/agents", escape(namespace));
    let mut known: BTreeMap<(String, String), Value> = BTreeMap::new();
    let key = |object: &Value| {
        (text(object, "/metadata/namespace").to_owned(), text(object, "/metadata/name").to_owned())
    };
    let agents: Vec<&Desired> = desired.iter().copied().filter(|one| is_agent(one)).collect();
    if agents.len() > FEW {
        let mut namespaces: Vec<&str> =
            agents.iter().map(|one| text(&one.object, "/metadata/namespace")).collect();
        namespaces.sort_unstable();
        namespaces.dedup();
        for namespace in namespaces {
            for object in super::objects::items(connection.get(&path(namespace), JSON).await?) {
                known.insert(key(&object), object);
            }
        }
    } else {
        for one in agents {
            let (namespace, name) = key(&one.object);
            match connection.get(&format!("{}/{}", path(&namespace), escape(&name)), JSON).await {
                Ok(object) => drop(known.insert((namespace, name), object)),
                Err(failure) if failure.kind == Kind::NotFound => {}
                Err(failure) => return Err(failure),
            }
        }
    }
    Ok(desired
        .iter()
        .map(|one| if is_agent(one) { known.get(&key(&one.object)).cloned() } else { None })
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn form(prompt: &str) -> String {
        format!("(defmethod build ()\n  \"{prompt}\")")
    }

    fn live(edited: bool) -> Value {
        let file = json!({"manager": "gcluster", "operation": "Apply", "time": "2026-01-02T02:00:00Z", "fieldsV1":
            {"f:spec": if edited { json!({"f:definition": {}}) } else { json!({"f:definition": {}, "f:methods": {"f:build": {}}}) }}});
        let steer = json!({"manager": "gcluster-steer:ada", "operation": "Update", "time": "2026-01-02T03:55:00Z",
            "fieldsV1": {"f:spec": {"f:methods": {"f:build": {}}}}});
        json!({"metadata": {"name": "builder", "namespace": "default", "managedFields": [file, steer]},
            "spec": {"definition": "d", "methods": {"build": form("One.\\nEdited.\\nThree.")}}})
    }

    fn desired(prompt: &str) -> Desired {
        let object = json!({"kind": "Agent", "metadata": {"name": "builder", "namespace": "default"},
            "spec": {"definition": "d", "methods": {"build": form(prompt)}}});
        Desired { object, agent: Some("builder".into()) }
    }

    #[test]
    fn a_conflict_names_agent_method_both_managers_the_difference_and_the_ways_out() {
        let desired = desired("One.\\nTwo.\\nThree.");
        let conflicts = of(&live(true), &desired.object);
        let failure = told(&[(&desired, conflicts)], "2026-01-02T04:00:00Z".parse().unwrap());
        assert_eq!(failure.kind, Kind::Conflict);
        crate::testing::snapshot("apply-conflict", &failure.render());
    }

    #[test]
    fn the_same_text_and_a_text_that_the_file_had_last_are_no_conflict() {
        assert_eq!(of(&live(true), &desired("One.\\nEdited.\\nThree.").object), []);
        assert_eq!(of(&live(false), &desired("Other.").object), []);
    }

    #[test]
    fn a_method_that_somebody_added_and_the_file_does_not_have_is_a_conflict() {
        let mut without = desired("x");
        without.object["spec"]["methods"] = json!({});
        let conflicts = of(&live(true), &without.object);
        assert_eq!(conflicts.len(), 1);
        assert!(conflicts[0].sentence(Timestamp::UNIX_EPOCH).contains("the file does not have it"));
    }
}
