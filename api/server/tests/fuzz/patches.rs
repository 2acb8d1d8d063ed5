//! Merge and JSON patches of arbitrary documents.

use gcluster_server::patch::{json, merge};
use serde_json::Value;

use super::source::Source;

/// A merge patch changes nothing the second time and leaves none of its nulls; a JSON patch that is refused changes nothing,
/// and its own answer can be read back.
pub(crate) fn run(data: &[u8]) {
    let mut source = Source::new(data);
    let mut object = Value::Object(source.object(3));
    let patch = source.json(3);
    let mut once = object.clone();
    merge::apply(&mut once, &patch);
    let mut twice = once.clone();
    merge::apply(&mut twice, &patch);
    assert_eq!(once, twice, "merging {patch} into {object} twice");
    if let (Value::Object(patch), Value::Object(merged)) = (&patch, &once) {
        for (name, value) in patch {
            assert_eq!(merged.contains_key(name), !value.is_null(), "field {name:?} of {patch:?}");
        }
    }

    const OPERATIONS: [&str; 7] = ["add", "remove", "replace", "move", "copy", "test", "nonsense"];
    const PATHS: [&str; 14] =
        ["", "/", "/a", "/b", "/a/0", "/a/-", "/a/b", "/name", "/~01", "/a~1b", "/~", "a", "/a/99", "/a/01"];
    let operations: Vec<Value> = (0..source.below(8))
        .map(|_| {
            let operation = *source.pick(&OPERATIONS);
            let mut entry = serde_json::json!({"op": operation, "path": source.pick(&PATHS)});
            if source.below(4) > 0 {
                entry["from"] = (*source.pick(&PATHS)).into();
            }
            if source.below(4) > 0 {
                entry["value"] = source.json(2);
            }
            entry
        })
        .collect();
    let before = object.clone();
    match json::apply(&mut object, &operations.into()) {
        Err(message) => {
            assert_eq!(object, before, "a refused patch changed the object: {message}");
            assert!(!message.is_empty());
        }
        Ok(()) => {
            let text = object.to_string();
            let read: Value = serde_json::from_str(&text).expect("a patched object reads back");
            assert_eq!(read, object);
        }
    }

    // And whatever bytes a client sends.
    if let Ok(patch) = serde_json::from_str::<Value>(&source.rest()) {
        merge::apply(&mut object.clone(), &patch);
        let _ = json::apply(&mut object, &patch);
    }
}
