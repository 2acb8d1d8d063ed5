//! From a schema as JSON to compiled nodes.

use regex::Regex;
use serde_json::{Map, Value, json};

use super::format::Format;
use super::node::{Bounds, ListType, Node, Pattern, Type};
use super::rules::Rule;

/// Nesting beyond which a schema is taken as "anything".
const MAX_SCHEMA_DEPTH: usize = 48;

impl Node {
    /// Compiles a schema. `builtin` makes null mean absent everywhere in it.
    pub(super) fn compile(schema: &Value, builtin: bool) -> Node {
        compile(schema, builtin, 0)
    }
}

fn compile(schema: &Value, builtin: bool, depth: usize) -> Node {
    let anything = || Node { preserve_unknown: true, null_is_absent: builtin, ..Node::default() };
    let Value::Object(map) = schema else { return anything() };
    if depth > MAX_SCHEMA_DEPTH {
        return anything();
    }
    let below = |value: &Value| compile(value, builtin, depth + 1);
    let list = |key: &str| -> Vec<Node> {
        map.get(key).and_then(Value::as_array).map(|all| all.iter().map(below).collect()).unwrap_or_default()
    };
    let flag = |key: &str| map.get(key).and_then(Value::as_bool).unwrap_or(false);
    let (kind, null_type) = type_of(map);
    let mut node = Node {
        kind,
        nullable: null_type || flag("nullable"),
        null_is_absent: builtin,
        preserve_unknown: flag("x-kubernetes-preserve-unknown-fields"),
        required: strings(map.get("required")),
        default: map.get("default").cloned(),
        list: list_type(map),
        atomic_map: map.get("x-kubernetes-map-type").and_then(Value::as_str) == Some("atomic"),
        bounds: bounds(map),
        enumeration: map.get("enum").and_then(Value::as_array).cloned().unwrap_or_default(),
        pattern: map
            .get("pattern")
            .and_then(Value::as_str)
            .map(|source| Pattern { source: source.into(), regex: Regex::new(source).ok() }),
        format: map.get("format").and_then(Value::as_str).and_then(Format::parse),
        all_of: list("allOf"),
        any_of: list("anyOf"),
        one_of: list("oneOf"),
        not: map.get("not").map(|schema| Box::new(below(schema))),
        items: map.get("items").map(|schema| Box::new(below(schema))),
        rules: Rule::all_of(map),
        ..Node::default()
    };
    if let Some(properties) = map.get("properties").and_then(Value::as_object) {
        node.properties = properties.iter().map(|(name, schema)| (name.clone(), below(schema))).collect();
    }
    match map.get("additionalProperties") {
        Some(Value::Bool(false)) | None => {}
        Some(Value::Bool(true)) => node.additional = Some(Box::new(anything())),
        Some(schema) => node.additional = Some(Box::new(below(schema))),
    }
    node.has_rules = !node.rules.is_empty()
        || node.properties.values().any(|field| field.has_rules)
        || node.additional.as_ref().is_some_and(|values| values.has_rules)
        || node.items.as_ref().is_some_and(|items| items.has_rules);
    if flag("x-kubernetes-embedded-resource") {
        node.add_object_fields();
    }
    let bare = node.properties.is_empty() && node.additional.is_none();
    if bare && (kind == Type::Any || builtin && kind == Type::Object) {
        node.preserve_unknown = true;
    }
    node
}

/// The type, and whether null is one of the types.
fn type_of(map: &Map<String, Value>) -> (Type, bool) {
    if map.get("x-kubernetes-int-or-string").and_then(Value::as_bool) == Some(true) {
        return (Type::IntOrString, false);
    }
    let named = |name: &str| match name {
        "object" => Type::Object,
        "array" => Type::Array,
        "string" => Type::String,
        "integer" => Type::Integer,
        "number" => Type::Number,
        "boolean" => Type::Boolean,
        _ => Type::Any,
    };
    match map.get("type") {
        Some(Value::String(name)) => (named(name), false),
        Some(Value::Array(names)) => {
            let mut types = names.iter().filter_map(Value::as_str).filter(|name| *name != "null");
            let null = names.iter().any(|name| name == "null");
            match (types.next(), types.next()) {
                (Some(name), None) => (named(name), null),
                _ => (Type::Any, null),
            }
        }
        _ => (Type::Any, false),
    }
}

fn list_type(map: &Map<String, Value>) -> ListType {
    match map.get("x-kubernetes-list-type").and_then(Value::as_str) {
        Some("set") => ListType::Set,
        Some("map") => ListType::Map(strings(map.get("x-kubernetes-list-map-keys"))),
        _ => ListType::Atomic,
    }
}

fn bounds(map: &Map<String, Value>) -> Bounds {
    let number = |key: &str| map.get(key).and_then(Value::as_f64);
    let count = |key: &str| map.get(key).and_then(Value::as_u64);
    // OpenAPI has flags beside `minimum`; JSON Schema 2020 has numbers of their own.
    let exclusive = |key: &str| map.get(key).is_some_and(|v| v.as_bool() == Some(true) || v.is_number());
    Bounds {
        minimum: number("exclusiveMinimum").or_else(|| number("minimum")),
        maximum: number("exclusiveMaximum").or_else(|| number("maximum")),
        exclusive_minimum: exclusive("exclusiveMinimum"),
        exclusive_maximum: exclusive("exclusiveMaximum"),
        multiple_of: number("multipleOf"),
        min_length: count("minLength"),
        max_length: count("maxLength"),
        min_items: count("minItems"),
        max_items: count("maxItems"),
        min_properties: count("minProperties"),
        max_properties: count("maxProperties"),
    }
}

fn strings(value: Option<&Value>) -> Vec<String> {
    let all = value.and_then(Value::as_array).into_iter().flatten();
    all.filter_map(Value::as_str).map(str::to_owned).collect()
}

/// The schema with `status.conditions` marked as a map by `type`, as Kubernetes' own kinds have it.
///
/// Schemas derived from Rust types cannot carry the mark themselves.
pub(super) fn annotated(mut schema: Value) -> Value {
    let path = "/properties/status/properties/conditions";
    if let Some(Value::Object(list)) = schema.pointer_mut(path) {
        let item =
            |name: &str| list.get("items").and_then(|i| i.pointer(&format!("/properties/{name}"))).is_some();
        if item("type") && item("status") && !list.contains_key("x-kubernetes-list-type") {
            list.insert("x-kubernetes-list-type".into(), json!("map"));
            list.insert("x-kubernetes-list-map-keys".into(), json!(["type"]));
        }
    }
    schema
}

/// A generated schema with every `$ref` replaced by what it names; a circle becomes "anything".
pub(super) fn resolved(schema: &Value) -> Value {
    let empty = Map::new();
    let definitions = schema.get("$defs").and_then(Value::as_object).unwrap_or(&empty);
    let mut resolved = resolve(schema, definitions, &mut Vec::new());
    if let Value::Object(map) = &mut resolved {
        for key in ["$defs", "$schema", "title"] {
            map.remove(key);
        }
    }
    resolved
}

fn resolve<'s>(schema: &'s Value, definitions: &'s Map<String, Value>, open: &mut Vec<&'s str>) -> Value {
    match schema {
        Value::Array(items) => items.iter().map(|item| resolve(item, definitions, open)).collect(),
        Value::Object(map) => {
            let mut out = Map::new();
            if let Some(name) =
                map.get("$ref").and_then(Value::as_str).and_then(|r| r.strip_prefix("#/$defs/"))
            {
                match definitions.get(name) {
                    Some(target) if !open.contains(&name) => {
                        open.push(name);
                        if let Value::Object(target) = resolve(target, definitions, open) {
                            out = target;
                        }
                        open.pop();
                    }
                    _ => drop(out.insert("x-kubernetes-preserve-unknown-fields".into(), json!(true))),
                }
            }
            for (key, value) in map.iter().filter(|(key, _)| !matches!(key.as_str(), "$ref" | "$defs")) {
                out.insert(key.clone(), resolve(value, definitions, open));
            }
            Value::Object(out)
        }
        other => other.clone(),
    }
}
