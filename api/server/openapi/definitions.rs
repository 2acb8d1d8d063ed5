//! Definitions: the kinds, their lists, and the types of `meta/v1` that they refer to.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{DeleteOptions, ListMeta, ObjectMeta, Status};
use schemars::JsonSchema;
use serde_json::{Map, Value, json};

use super::{Dialect, definition_name, group_version_kind};
use crate::kinds::Kind;

/// Prefix of the types of `meta/v1`.
pub(super) const META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1";

const API_VERSION: &str = "APIVersion defines the versioned schema of this representation of an object. Servers should convert recognized schemas to the latest internal value, and may reject unrecognized values. More info: https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#resources";
const KIND: &str = "Kind is a string value representing the REST resource this object represents. Servers may infer this from the endpoint the client submits requests to. Cannot be updated. In CamelCase. More info: https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#types-kinds";

/// The definitions of some kinds.
pub(super) fn of(kinds: &[&Kind], dialect: Dialect) -> Value {
    let mut all = Map::new();
    add::<ObjectMeta>("ObjectMeta", dialect, &mut all);
    add::<ListMeta>("ListMeta", dialect, &mut all);
    add::<Status>("Status", dialect, &mut all);
    add::<DeleteOptions>("DeleteOptions", dialect, &mut all);
    let patch = json!({
        "type": "object",
        "description": "Patch is provided to give a concrete name and type to the Kubernetes PATCH request body.",
    });
    all.insert(format!("{META}.Patch"), patch);
    for kind in kinds {
        all.insert(definition_name(kind), object(kind, dialect));
        if kind.allows("list") {
            all.insert(format!("{}List", definition_name(kind)), list(kind, dialect));
        }
    }
    Value::Object(all)
}

/// Adds a type of `meta/v1` with all that it refers to.
fn add<T: JsonSchema>(name: &str, dialect: Dialect, all: &mut Map<String, Value>) {
    let mut schema = schemars::schema_for!(T).to_value();
    let Value::Object(map) = &mut schema else { return };
    let definitions = map.remove("$defs");
    map.retain(|key, _| key != "$schema" && key != "title");
    if let Some(Value::Object(definitions)) = definitions {
        for (name, definition) in definitions {
            all.insert(name, adapted(definition, dialect));
        }
    }
    all.insert(format!("{META}.{name}"), adapted(schema, dialect));
}

fn object(kind: &Kind, dialect: Dialect) -> Value {
    let mut schema = adapted(kind.schema.to_openapi(), dialect);
    let metadata = described(
        dialect.reference(&format!("{META}.ObjectMeta")),
        "Standard object's metadata. More info: https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#metadata",
    );
    if let Value::Object(map) = &mut schema {
        map.remove("title");
        map.insert("type".into(), json!("object"));
        map.insert("x-kubernetes-group-version-kind".into(), json!([group_version_kind(kind, &kind.kind)]));
        let properties = map.entry("properties").or_insert_with(|| json!({}));
        properties["apiVersion"] = json!({"type": "string", "description": API_VERSION});
        properties["kind"] = json!({"type": "string", "description": KIND});
        properties["metadata"] = metadata;
        if let Some(Value::Array(required)) = map.get_mut("required") {
            required.retain(|name| name != "metadata");
        }
        if map.get("required") == Some(&json!([])) {
            map.remove("required");
        }
    }
    schema
}

fn list(kind: &Kind, dialect: Dialect) -> Value {
    json!({
        "type": "object",
        "description": format!("{} is a list of {}", kind.list_kind, kind.kind),
        "required": ["items"],
        "properties": {
            "apiVersion": {"type": "string", "description": API_VERSION},
            "kind": {"type": "string", "description": KIND},
            "metadata": described(dialect.reference(&format!("{META}.ListMeta")), "Standard list metadata."),
            "items": {
                "type": "array",
                "description": format!("List of {}.", kind.plural),
                "items": dialect.reference(&definition_name(kind)),
            },
        },
        "x-kubernetes-group-version-kind": [group_version_kind(kind, &kind.list_kind)],
    })
}

/// A reference with a text of its own; OpenAPI ignores what stands beside a `$ref`.
fn described(reference: Value, description: &str) -> Value {
    json!({"description": description, "allOf": [reference]})
}

/// A schema in the words of the dialect.
fn adapted(schema: Value, dialect: Dialect) -> Value {
    match schema {
        Value::Array(items) => items.into_iter().map(|item| adapted(item, dialect)).collect(),
        Value::Object(mut map) => {
            if dialect == Dialect::V2 && !map.contains_key("properties") {
                map.remove("nullable");
            }
            let description = map.get("description").cloned();
            if let Some(Value::String(target)) = map.get("$ref") {
                let reference = dialect.reference(target.trim_start_matches("#/$defs/"));
                return match description {
                    Some(Value::String(text)) => described(reference, &text),
                    _ => reference,
                };
            }
            map.into_iter().map(|(key, value)| (key, adapted(value, dialect))).collect()
        }
        other => other,
    }
}
