//! Objects as YAML, JSON and names, as kubectl prints them.

use serde::Serialize as _;
use serde_json::{Value, json};

use crate::exit::{Failure, Result};

/// YAML text; several documents are not separated here.
pub(crate) fn yaml(value: &Value) -> Result<String> {
    serde_yaml::to_string(value).map_err(|error| Failure::failed(format!("cannot print as YAML: {error}")))
}

/// JSON with four blanks of indentation and a final newline.
pub(crate) fn json(value: &Value) -> Result<String> {
    let mut bytes = Vec::new();
    let formatter = serde_json::ser::PrettyFormatter::with_indent(b"    ");
    value
        .serialize(&mut serde_json::Serializer::with_formatter(&mut bytes, formatter))
        .map_err(|error| Failure::failed(format!("cannot print as JSON: {error}")))?;
    bytes.push(b'\n');
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Several objects as one List, as kubectl wraps them.
pub(crate) fn list(items: Vec<Value>) -> Value {
    json!({"apiVersion": "v1", "items": items, "kind": "List", "metadata": {"resourceVersion": ""}})
}

/// Removes who set which field: long, and of use to few.
pub(crate) fn hide_managed_fields(object: &mut Value) {
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove("managedFields");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn structured_forms_look_as_kubectl_prints_them() {
        let mut object = json!({"kind": "Agent", "apiVersion": "v1",
            "metadata": {"name": "a", "managedFields": [1]}, "spec": {"text": "one\ntwo", "list": ["x"]}});
        hide_managed_fields(&mut object);
        let text = format!("{}---\n{}", yaml(&object).unwrap(), json(&list(vec![json!({"a": 1})])).unwrap());
        crate::testing::snapshot("structured", &text);
    }

    #[test]
    fn yaml_reads_back_as_the_same_value() {
        let value = json!({"s": "yes", "n": "1", "e": "", "m": "a: b\n\ttab # no comment\n", "d": "2026-01-02", "t": " x "});
        assert_eq!(serde_yaml::from_str::<Value>(&yaml(&value).unwrap()).unwrap(), value);
    }
}
