//! The schema of ObjectMeta, one for all kinds.

use std::sync::LazyLock;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::{Value, json};

use super::compile;
use super::node::Node;

/// ObjectMeta as a compiled node.
pub(super) fn object_meta() -> Node {
    static NODE: LazyLock<Node> = LazyLock::new(|| Node::compile(&source(), true));
    NODE.clone()
}

/// ObjectMeta as a schema, with the keys by which several managers share its lists.
fn source() -> Value {
    let mut schema = compile::resolved(schemars::schema_for!(ObjectMeta).as_value());
    for (field, list_type, keys) in
        [("finalizers", "set", json!(null)), ("ownerReferences", "map", json!(["uid"]))]
    {
        let Some(Value::Object(list)) = schema.pointer_mut(&format!("/properties/{field}")) else { continue };
        list.insert("x-kubernetes-list-type".into(), json!(list_type));
        if !keys.is_null() {
            list.insert("x-kubernetes-list-map-keys".into(), keys);
        }
    }
    schema
}
