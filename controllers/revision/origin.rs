//! Who brought a text: what `rollout history` says of a revision, taken from the agent's field managers.

use std::collections::BTreeMap;

use gcluster_types::{Agent, AgentRevisionSpec, labels};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ManagedFieldsEntry;
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use serde_json::Value;

/// Annotations for the revision that the agent's present text is: who set it, when, and why if somebody said so.
///
/// Of several managers the one who wrote last and owns a text that differs from `before`.
pub(super) fn origin(
    agent: &Agent,
    before: Option<&AgentRevisionSpec>,
    now: Timestamp,
) -> BTreeMap<String, String> {
    let managers = agent.metadata.managed_fields.as_deref().unwrap_or_default();
    let changed = changed(agent, before);
    let time = |entry: &&ManagedFieldsEntry| entry.time.as_ref().map(|time| time.0);
    let owner = |paths: &[(&str, &str)]| {
        managers
            .iter()
            .filter(|entry| entry.subresource.as_deref().unwrap_or_default().is_empty())
            .filter(|entry| paths.iter().any(|path| owns(entry, *path)))
            .max_by_key(time)
    };
    // A text that only went away has no owner any more: then whoever wrote any text last.
    let last = owner(&changed).or_else(|| owner(&[("definition", ""), ("methods", ""), ("arguments", "")]));
    let mut notes = BTreeMap::new();
    if let Some(manager) = last.and_then(|entry| entry.manager.clone()) {
        notes.insert(labels::CHANGED_BY.to_owned(), manager);
    }
    // Managers' times are whole seconds and may be those of another field: never later than now.
    let at = last.as_ref().and_then(time).map_or(now, |at| at.min(now));
    notes.insert(labels::CHANGED_AT.to_owned(), at.to_string());
    if let Some(cause) = agent.annotations().get(labels::CHANGE_CAUSE) {
        notes.insert(labels::CHANGE_CAUSE.to_owned(), cause.clone());
    }
    notes
}

/// The texts of the agent that the revision before did not have: field of `spec`, and key in it.
fn changed<'a>(agent: &'a Agent, before: Option<&AgentRevisionSpec>) -> Vec<(&'static str, &'a str)> {
    let mut changed = Vec::new();
    if before.is_none_or(|before| before.definition != agent.spec.definition) {
        changed.push(("definition", ""));
    }
    let spec = &agent.spec;
    let old_methods = before.map(|before| &before.methods);
    let old_arguments = before.map(|before| &before.arguments);
    for (field, new, old) in
        [("methods", &spec.methods, old_methods), ("arguments", &spec.arguments, old_arguments)]
    {
        let other = new.iter().filter(|(key, text)| old.and_then(|old| old.get(*key)) != Some(*text));
        changed.extend(other.map(|(key, _)| (field, key.as_str())));
    }
    changed
}

fn owns(entry: &ManagedFieldsEntry, (field, key): (&str, &str)) -> bool {
    let fields = entry.fields_v1.as_ref().map_or(&Value::Null, |fields| &fields.0);
    let Some(below) = fields.get("f:spec").and_then(|spec| spec.get(format!("f:{field}"))) else {
        return false;
    };
    key.is_empty() || below.get(format!("f:{key}")).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn agent() -> Agent {
        let entry = |manager: &str, second: u32, spec: Value| {
            json!({"manager": manager, "operation": "Update", "time": format!("2026-01-02T03:00:{second:02}Z"),
                "fieldsType": "FieldsV1", "fieldsV1": {"f:spec": spec}})
        };
        serde_json::from_value(json!({"metadata": {"name": "a", "managedFields": [
                entry("gcluster", 10, json!({"f:definition": {}, "f:methods": {"f:n": {}}})),
                entry("gcluster-steer:ada", 20, json!({"f:methods": {"f:m": {}}})),
                entry("gcluster-run", 30, json!({"f:run": {}})),
            ]}, "spec": {"definition": "d", "methods": {"m": "new", "n": "x"}}}))
        .unwrap()
    }

    #[test]
    fn who_set_the_text_that_differs_is_named_with_the_time() {
        let now = "2026-01-02T03:01:00Z".parse().unwrap();
        let by = |before: Option<&AgentRevisionSpec>| {
            let notes = origin(&agent(), before, now);
            (notes[labels::CHANGED_BY].clone(), notes[labels::CHANGED_AT].clone())
        };
        let before = |m: &str, n: &str| AgentRevisionSpec {
            definition: "d".into(),
            methods: [("m".to_owned(), m.to_owned()), ("n".to_owned(), n.to_owned())].into(),
            ..AgentRevisionSpec::default()
        };
        let steer = ("gcluster-steer:ada".to_owned(), "2026-01-02T03:00:20Z".to_owned());
        assert_eq!(by(Some(&before("old", "x"))), steer);
        assert_eq!(by(Some(&before("new", "y"))), ("gcluster".into(), "2026-01-02T03:00:10Z".into()));
        assert_eq!(by(None), steer);
        let mut explained = agent();
        explained.metadata.annotations =
            Some([(labels::CHANGE_CAUSE.to_owned(), "because".to_owned())].into());
        assert_eq!(origin(&explained, None, now)[labels::CHANGE_CAUSE], "because");
        let unknown = origin(&Agent::new("a", gcluster_types::AgentSpec::default()), None, now);
        assert_eq!(unknown.get(labels::CHANGED_BY), None);
    }
}
