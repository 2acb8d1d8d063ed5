//! A revision in words, and any other object.

use gcluster_types::AgentRevision;
use k8s_openapi::jiff::Timestamp;
use serde_json::Value;

use super::fields::Fields;
use super::{age, event};

/// The text of `describe revision`: its ids and the whole text that it stands for.
pub fn describe(revision: &AgentRevision, now: Timestamp) -> String {
    let spec = &revision.spec;
    let mut fields = Fields::new();
    fields.add("Name", revision.metadata.name.as_deref().unwrap_or_default());
    fields.add("Namespace", revision.metadata.namespace.as_deref().unwrap_or_default());
    fields.add("Agent", spec.agent.as_str()).add("Revision", spec.revision.to_string());
    fields.maybe("Age", revision.metadata.creation_timestamp.as_ref().map(|at| age::since(at.0, now)));
    fields.add("Stable ID", spec.stable_id.as_str()).add("Digest", spec.digest.as_str());
    if !spec.arguments.is_empty() {
        fields.map("Arguments", spec.arguments.iter());
    }
    let mut out = fields.render(0) + "Definition:\n";
    for form in std::iter::once(&spec.definition).chain(spec.methods.values()) {
        for line in super::visible(form).lines() {
            out.push_str(format!("  {line}").trim_end());
            out.push('\n');
        }
        out.push('\n');
    }
    out.trim_end().to_owned() + "\n"
}

/// Any object: its metadata, then its fields as indented YAML-like lines, then its events.
pub fn describe_any(object: &Value, events: &[Value], now: Timestamp) -> String {
    let text = |path: &str| object.pointer(path).and_then(Value::as_str);
    let mut fields = Fields::new();
    fields.add("Name", text("/metadata/name").unwrap_or_default());
    fields.maybe("Namespace", text("/metadata/namespace"));
    fields.add("Kind", text("/kind").unwrap_or_default());
    fields.add("API Version", text("/apiVersion").unwrap_or_default());
    let created = text("/metadata/creationTimestamp").and_then(|text| text.parse().ok());
    fields.maybe("Age", created.map(|at| age::since(at, now)));
    let mut out = fields.render(0);
    for (key, value) in object.as_object().into_iter().flatten() {
        if !matches!(key.as_str(), "apiVersion" | "kind" | "metadata") {
            tree(&title(key), value, 0, &mut out);
        }
    }
    out + &event::section(events, now, 12)
}

fn tree(label: &str, value: &Value, depth: usize, out: &mut String) {
    let pad = "  ".repeat(depth);
    match value {
        Value::Object(map) => {
            out.push_str(&format!("{pad}{label}:\n"));
            for (key, inner) in map {
                tree(&title(key), inner, depth + 1, out);
            }
        }
        Value::Array(items) => {
            out.push_str(&format!("{pad}{label}:\n"));
            for item in items {
                tree("-", item, depth + 1, out);
            }
        }
        Value::String(text) => {
            let shown = super::visible(text);
            let indented = shown.replace('\n', &format!("\n{pad}  "));
            out.push_str(&format!("{pad}{label}: {indented}\n"));
        }
        other => out.push_str(&format!("{pad}{label}: {other}\n")),
    }
}

/// `leaseDurationSeconds` as `Lease Duration Seconds`, as kubectl titles fields.
fn title(key: &str) -> String {
    let mut out = String::new();
    for (at, c) in key.chars().enumerate() {
        if at == 0 {
            out.extend(c.to_uppercase());
        } else {
            if c.is_uppercase() && !out.ends_with(|last: char| last.is_uppercase()) {
                out.push(' ');
            }
            out.push(c);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_revision_shows_the_whole_text() {
        let revision: AgentRevision = serde_json::from_value(json!({
            "apiVersion": "gcluster.dev/v1alpha1", "kind": "AgentRevision",
            "metadata": {"name": "a-0123456789", "namespace": "default", "creationTimestamp": "2026-01-02T03:00:00Z"},
            "spec": {"agent": "a", "revision": 2, "stableID": "01ab", "digest": "0123", "arguments": {"topic": "tests"},
                "definition": "(defagent \"a\"\n  (pipeline\n    (step \"w\" (loop w))))", "methods": {"w": "(defmethod w ()\n  \"W.\")"}},
        }))
        .unwrap();
        let text = describe(&revision, "2026-01-02T04:00:00Z".parse().unwrap());
        crate::testing::snapshot("describe-revision", &text);
    }

    #[test]
    fn any_object_is_shown_with_titled_fields() {
        let lease = json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "l"},
            "spec": {"leaseDurationSeconds": 15, "holderIdentity": "x", "list": ["a", {"b": true}]}});
        let text = describe_any(&lease, &[], Timestamp::UNIX_EPOCH);
        crate::testing::snapshot("describe-any", &text);
        assert_eq!((title("stableID"), title("costUSD")), ("Stable ID".into(), "Cost USD".into()));
    }
}
