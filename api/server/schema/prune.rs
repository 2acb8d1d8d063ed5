//! Removal of what the schema does not know.

use serde_json::Value;

use super::node::Node;

/// Removes unknown fields and answers their paths, such as `spec.items[0].foo`.
pub(super) fn prune(root: &Node, object: &mut Value) -> Vec<String> {
    let mut unknown = Vec::new();
    walk(root, object, &mut String::new(), &mut unknown);
    unknown
}

fn walk(node: &Node, value: &mut Value, path: &mut String, unknown: &mut Vec<String>) {
    let length = path.len();
    match value {
        Value::Object(map) => {
            map.retain(|key, value| {
                match node.field(key) {
                    Some(field) if value.is_null() => return !field.null_is_absent,
                    Some(field) => {
                        if value.is_object() || value.is_array() {
                            push_key(path, key);
                            walk(field, value, path, unknown);
                            path.truncate(length);
                        }
                    }
                    None if node.preserve_unknown => {}
                    None => {
                        push_key(path, key);
                        unknown.push(path.clone());
                        path.truncate(length);
                        return false;
                    }
                }
                true
            });
        }
        Value::Array(items) => {
            let Some(node) = &node.items else { return };
            for (index, item) in items.iter_mut().enumerate() {
                path.push_str(&format!("[{index}]"));
                walk(node, item, path, unknown);
                path.truncate(length);
            }
        }
        _ => {}
    }
}

fn push_key(path: &mut String, key: &str) {
    if !path.is_empty() {
        path.push('.');
    }
    path.push_str(key);
}
