//! Server-side apply by several managers, with updates in between.

use std::sync::LazyLock;

use gcluster_server::patch::apply::{ApplyError, apply};
use gcluster_server::patch::managed::{ManagerCtx, track_update};
use gcluster_server::schema::Schema;
use serde_json::{Value, json};

use super::source::Source;

static SCHEMA: LazyLock<Schema> = LazyLock::new(|| {
    let text = json!({"type": "string"});
    Schema::from_json(&json!({"type": "object", "properties": {
        "spec": {"type": "object", "properties": {
            "a": text, "b": {"type": "integer"},
            "map": {"type": "object", "additionalProperties": text},
            "atom": {"type": "object", "x-kubernetes-map-type": "atomic", "properties": {"a": text, "b": text}},
            "list": {"type": "array", "items": text},
            "set": {"type": "array", "x-kubernetes-list-type": "set", "items": text},
            "ports": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"],
                "items": {"type": "object", "required": ["name"], "properties": {
                    "name": text, "port": {"type": "integer"}, "tags": {"type": "array", "x-kubernetes-list-type": "set", "items": text}}}},
        }},
        "status": {"type": "object", "properties": {"phase": text}},
    }}))
});

fn context<'a>(manager: &'a str, subresource: Option<&'a str>) -> ManagerCtx<'a> {
    ManagerCtx { manager, subresource, now: "2026-01-01T00:00:00Z", api_version: "t/v1", has_status: true }
}

fn document(source: &mut Source<'_>) -> Value {
    const TEXTS: [&str; 4] = ["x", "y", "", "z"];
    let mut spec = json!({});
    for _ in 0..source.below(6) {
        let text = json!(source.pick(&TEXTS));
        match source.below(9) {
            0 => spec["a"] = text,
            1 => spec["b"] = json!(source.below(3)),
            2 => {
                let name = *source.pick(&["k", "l", "a.b/c"]);
                *entry(&mut spec, "map", name) = text;
            }
            3 => {
                let name = *source.pick(&["a", "b"]);
                *entry(&mut spec, "atom", name) = text;
            }
            4 => spec["list"] = (0..source.below(3)).map(|_| json!(source.pick(&TEXTS))).collect(),
            5 => {
                let mut set: Vec<&str> = (0..source.below(3)).map(|_| *source.pick(&TEXTS)).collect();
                set.sort_unstable();
                set.dedup();
                spec["set"] = json!(set);
            }
            6 => {
                let mut ports = Vec::new();
                for name in &TEXTS[..source.below(4)] {
                    let mut port = json!({"name": name});
                    if source.below(2) == 0 {
                        port["port"] = json!(source.below(3));
                    }
                    if source.below(3) == 0 {
                        port["tags"] = json!([source.pick(&TEXTS)]);
                    }
                    ports.push(port);
                }
                spec["ports"] = ports.into();
            }
            7 => spec[*source.pick(&["a", "map", "set", "ports", "unknown"])] = Value::Null,
            // What no schema allows: a client can send it all the same.
            _ => spec[*source.pick(&["a", "map", "set", "ports", "list"])] = source.json(2),
        }
    }
    json!({"apiVersion": "t/v1", "kind": "T", "metadata": {"name": "t"}, "spec": spec})
}

/// A field of a field, which becomes an object if it was something else.
fn entry<'a>(spec: &'a mut Value, field: &str, name: &str) -> &'a mut Value {
    if !spec[field].is_object() {
        spec[field] = json!({});
    }
    &mut spec[field][name]
}

/// What was applied is there, applying it again changes nothing, an apply that is refused names its conflicts, and one that
/// is not forced changes no field of another manager.
pub(crate) fn run(data: &[u8]) {
    let mut source = Source::new(data);
    let mut live: Option<Value> = None;
    for _ in 0..6 {
        if source.is_empty() {
            break;
        }
        let manager = *source.pick(&["cli", "controller", "person"]);
        let subresource = [None, None, None, Some("status")][source.below(4)];
        let ctx = context(manager, subresource);
        let sent = document(&mut source);
        match source.below(4) {
            0 => {
                let mut new = sent;
                if let Some(live) = &live {
                    new["metadata"] = live["metadata"].clone();
                }
                track_update(live.as_ref(), &mut new, &ctx, &SCHEMA);
                keep(&mut live, new);
            }
            how => {
                let force = how == 1;
                match apply(live.as_ref(), &sent, &ctx, force, &SCHEMA) {
                    Ok(object) => {
                        if subresource.is_none() {
                            contains(&object["spec"], &sent["spec"], "spec");
                        }
                        let again = apply(Some(&object), &sent, &ctx, false, &SCHEMA);
                        assert_eq!(again.as_ref(), Ok(&object), "applying {sent} again as {manager}");
                        keep(&mut live, object);
                    }
                    Err(ApplyError::Conflicts(conflicts)) => {
                        assert!(!force && !conflicts.is_empty());
                        assert!(
                            conflicts.iter().all(|c| c.manager != manager
                                || subresource.is_some()
                                || c.message.contains("Update")
                                || c.message.contains("using")),
                            "{conflicts:?}"
                        );
                    }
                    Err(ApplyError::Invalid(message)) => assert!(!message.is_empty()),
                }
            }
        }
    }
}

/// Only what the schema allows is ever stored.
fn keep(live: &mut Option<Value>, object: Value) {
    if SCHEMA.validate(&object).is_empty() {
        *live = Some(object);
    }
}

/// Panics when a plain field of what was applied is not in the object with its value.
fn contains(object: &Value, applied: &Value, path: &str) {
    match applied {
        Value::Object(fields) if object.is_object() => {
            for (name, value) in fields {
                let Some(there) = object.get(name) else {
                    panic!("{path}.{name} = {value} was applied and is absent")
                };
                contains(there, value, &format!("{path}.{name}"));
            }
        }
        // Lists are merged by their items; what is applied is among them.
        Value::Array(items) if object.is_array() => {
            let there = object.as_array().expect("a list");
            for item in items.iter().filter(|item| !item.is_object() && !item.is_array()) {
                assert!(there.contains(item), "{path}: item {item} was applied and is absent");
            }
        }
        _ => assert_eq!(object, applied, "{path}"),
    }
}
