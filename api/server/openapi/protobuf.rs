//! The definitions of the v2 document in protobuf: what kubectl asks for before it validates a `List`.
//!
//! The messages are those of `openapi.v2` (gnostic), which has no paths here: clients that look for paths
//! read OpenAPI v3.

use serde_json::{Map, Value};

use crate::protobuf::wire::Writer;

/// Media type of the encoded document.
pub(crate) const MEDIA_TYPE: &str = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";
/// What kubectl asks for; it is no media type by the standard, so it is never answered.
const ASKED: &str = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf";

/// Does an `Accept` header take the document in protobuf?
pub(crate) fn accepted(accept: &str) -> bool {
    accept.contains(MEDIA_TYPE) || accept.contains(ASKED)
}

/// Encodes a v2 document: its version, title and definitions.
pub(super) fn encode(document: &Value) -> Vec<u8> {
    let text = |path: &str| document.pointer(path).and_then(Value::as_str).unwrap_or_default();
    let (mut whole, mut info) = (Writer::default(), Writer::default());
    info.text(1, text("/info/title"));
    info.text(2, text("/info/version"));
    whole.text(1, text("/swagger"));
    whole.message(2, &info);
    whole.message(8, &Writer::default());
    if let Some(definitions) = document["definitions"].as_object() {
        whole.message(9, &schemas(definitions));
    }
    whole.finish()
}

/// Named schemas: definitions, or the properties of an object.
fn schemas(named: &Map<String, Value>) -> Writer {
    let mut all = Writer::default();
    for (name, value) in named {
        let mut entry = Writer::default();
        entry.text(1, name);
        entry.message(2, &schema(value));
        all.message(1, &entry);
    }
    all
}

fn schema(value: &Value) -> Writer {
    let mut out = Writer::default();
    let Some(map) = value.as_object() else { return out };
    let text = |key: &str| map.get(key).and_then(Value::as_str);
    for (number, key) in [(1, "$ref"), (2, "format"), (3, "title"), (4, "description"), (13, "pattern")] {
        if let Some(text) = text(key) {
            out.text(number, text);
        }
    }
    for required in map.get("required").and_then(Value::as_array).into_iter().flatten() {
        out.text(19, required.as_str().unwrap_or_default());
    }
    match map.get("additionalProperties") {
        Some(Value::Bool(allowed)) => {
            let mut item = Writer::default();
            item.flag(2, *allowed);
            out.message(21, &item);
        }
        Some(value) => {
            let mut item = Writer::default();
            item.message(1, &schema(value));
            out.message(21, &item);
        }
        None => {}
    }
    if let Some(kind) = text("type") {
        let mut item = Writer::default();
        item.text(1, kind);
        out.message(22, &item);
    }
    if let Some(items) = map.get("items") {
        let mut item = Writer::default();
        item.message(1, &schema(items));
        out.message(23, &item);
    }
    for part in map.get("allOf").and_then(Value::as_array).into_iter().flatten() {
        out.message(24, &schema(part));
    }
    if let Some(properties) = map.get("properties").and_then(Value::as_object) {
        out.message(25, &schemas(properties));
    }
    for (name, value) in map.iter().filter(|(name, _)| name.starts_with("x-")) {
        let (mut any, mut entry) = (Writer::default(), Writer::default());
        // JSON is YAML.
        any.text(2, &value.to_string());
        entry.text(1, name);
        entry.message(2, &any);
        out.message(31, &entry);
    }
    out
}
