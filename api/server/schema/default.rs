//! Defaults.

use serde_json::Value;

use super::node::Node;

/// Sets every field that has a default and is absent, or null where null is not allowed.
pub(super) fn fill(node: &Node, value: &mut Value) {
    match value {
        Value::Object(map) => {
            // Null where null is not allowed is as good as nothing.
            map.retain(|key, value| {
                !value.is_null()
                    || node.field(key).is_none_or(|field| field.nullable || field.default.is_some())
            });
            for (name, field) in &node.properties {
                let Some(default) = &field.default else { continue };
                match map.get(name) {
                    None => drop(map.insert(name.clone(), default.clone())),
                    Some(Value::Null) if !field.nullable => drop(map.insert(name.clone(), default.clone())),
                    Some(_) => {}
                }
            }
            for (key, value) in map {
                if let Some(field) = node.field(key) {
                    fill(field, value);
                }
            }
        }
        Value::Array(items) => {
            let Some(node) = &node.items else { return };
            for item in items {
                fill(node, item);
            }
        }
        _ => {}
    }
}
