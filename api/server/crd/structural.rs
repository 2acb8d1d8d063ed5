//! Structural schemas: the rules of Kubernetes for what may stand in the schema of a definition.
//!
//! Every place has one type; what `allOf`, `anyOf`, `oneOf` and `not` hold restricts values and says nothing of its
//! own about their shape.

use regex::Regex;
use serde_json::{Map, Value};

use crate::schema;
use crate::status::Cause;

/// More causes than this help nobody.
const MAX_CAUSES: usize = 50;
const TYPES: [&str; 6] = ["array", "boolean", "integer", "number", "object", "string"];
/// Keywords of JSON Schema that have no place in a definition.
const FORBIDDEN: [&str; 13] = [
    "$ref",
    "$schema",
    "id",
    "definitions",
    "dependencies",
    "patternProperties",
    "additionalItems",
    "deprecated",
    "discriminator",
    "readOnly",
    "writeOnly",
    "xml",
    "const",
];
/// Keywords that say what a place is, and so cannot stand beneath `allOf` and the like.
const SHAPE: [&str; 10] = [
    "description",
    "type",
    "default",
    "additionalProperties",
    "nullable",
    "title",
    "x-kubernetes-preserve-unknown-fields",
    "x-kubernetes-embedded-resource",
    "x-kubernetes-list-type",
    "x-kubernetes-map-type",
];

/// Checks the schema of one version, found at a path of the definition.
pub(super) fn check(root: &Value, at: &str, causes: &mut Vec<Cause>) {
    let mut walk = Walk { causes };
    let Value::Object(map) = root else {
        return walk.refuse(at, "", "must be a schema");
    };
    match map.get("type").and_then(Value::as_str) {
        Some("object") => {}
        Some(other) => walk.refuse(&format!("{at}.type"), other, "must be object at the root"),
        None => walk.required(&format!("{at}.type"), "must not be empty at the root"),
    }
    if map.get("nullable") == Some(&Value::Bool(true)) {
        walk.forbid(&format!("{at}.nullable"), "nullable cannot be true at the root");
    }
    if let Some(metadata) = map.get("properties").and_then(|all| all.get("metadata")) {
        walk.metadata(metadata, &format!("{at}.properties[metadata]"));
    }
    walk.node(map, at, "specified", true);
    let rules = schema::rules::check_source(root, at);
    walk.causes.extend(rules);
}

struct Walk<'c> {
    causes: &'c mut Vec<Cause>,
}

impl Walk<'_> {
    fn push(&mut self, cause: Cause) {
        if self.causes.len() < MAX_CAUSES {
            self.causes.push(cause);
        }
    }

    fn refuse(&mut self, at: &str, shown: &str, why: &str) {
        self.push(Cause::invalid(at, shown, why));
    }

    fn forbid(&mut self, at: &str, why: &str) {
        self.push(Cause::forbidden(at, why));
    }

    fn required(&mut self, at: &str, why: &str) {
        self.push(Cause::new(at, "FieldValueRequired", format!("Required value: {why}")));
    }

    fn metadata(&mut self, metadata: &Value, at: &str) {
        let others = metadata["properties"].as_object().into_iter().flatten();
        let others = others.filter(|(name, _)| !matches!(name.as_str(), "name" | "generateName")).count();
        if others > 0 || metadata.get("additionalProperties").is_some() {
            self.forbid(
                at,
                "must not specify anything other than name and generateName, but metadata is implicitly specified",
            );
        }
    }

    /// One place of the shape. `what`: how errors name places of this sort.
    fn node(&mut self, map: &Map<String, Value>, at: &str, what: &str, root: bool) {
        self.keywords(map, at);
        self.shape(map, at, what);
        self.extensions(map, at);
        if let Some(default) = map.get("default") {
            self.default(map, default, at);
        }
        let at_metadata = |name: &str| root && matches!(name, "metadata" | "apiVersion" | "kind");
        if let Some(properties) = map.get("properties").and_then(Value::as_object) {
            for (name, schema) in properties {
                let at = format!("{at}.properties[{name}]");
                match schema {
                    Value::Object(schema) if at_metadata(name) => {
                        if schema.contains_key("default") {
                            self.forbid(&format!("{at}.default"), "must not be set in metadata");
                        }
                    }
                    Value::Object(schema) => self.node(schema, &at, "specified object fields", false),
                    _ => self.refuse(&at, "", "must be a schema"),
                }
            }
        }
        for (keyword, what) in
            [("items", "specified array items"), ("additionalProperties", "specified map values")]
        {
            match map.get(keyword) {
                None | Some(Value::Bool(true)) => {}
                Some(Value::Object(schema)) => self.node(schema, &format!("{at}.{keyword}"), what, false),
                Some(Value::Bool(false)) if keyword == "additionalProperties" => {
                    self.forbid(&format!("{at}.{keyword}"), "additionalProperties cannot be set to false");
                }
                Some(Value::Array(_)) => {
                    self.forbid(&format!("{at}.{keyword}"), "items must be a schema object and not an array");
                }
                Some(_) => self.refuse(&format!("{at}.{keyword}"), "", "must be a schema"),
            }
        }
        let typed = map.get("x-kubernetes-int-or-string") == Some(&Value::Bool(true));
        self.junctors(map, map, at, typed);
    }

    fn keywords(&mut self, map: &Map<String, Value>, at: &str) {
        for keyword in FORBIDDEN.iter().filter(|keyword| map.contains_key(**keyword)) {
            self.forbid(&format!("{at}.{keyword}"), &format!("{keyword} is not supported"));
        }
        if map.get("uniqueItems") == Some(&Value::Bool(true)) {
            self.forbid(
                &format!("{at}.uniqueItems"),
                "uniqueItems cannot be set to true since the runtime complexity becomes quadratic",
            );
        }
        if map.contains_key("properties") && map.contains_key("additionalProperties") {
            self.forbid(
                &format!("{at}.additionalProperties"),
                "additionalProperties and properties are mutual exclusive",
            );
        }
        if let Some(pattern) = map.get("pattern").and_then(Value::as_str)
            && let Err(error) = Regex::new(pattern)
        {
            let why = format!("must be a valid regular expression, but isn't: {error}");
            self.refuse(&format!("{at}.pattern"), pattern, &why);
        }
    }

    fn shape(&mut self, map: &Map<String, Value>, at: &str, what: &str) {
        let at_type = format!("{at}.type");
        let flag = |name: &str| map.get(name) == Some(&Value::Bool(true));
        let free = flag("x-kubernetes-int-or-string") || flag("x-kubernetes-preserve-unknown-fields");
        match map.get("type").and_then(Value::as_str).unwrap_or_default() {
            "" if free => {}
            "" => self.required(&at_type, &format!("must not be empty for {what}")),
            name if !TYPES.contains(&name) => {
                let message = format!(
                    "Unsupported value: {name:?}: supported values: \"array\", \"boolean\", \"integer\", \"number\", \"object\", \"string\""
                );
                self.push(Cause::new(at_type, "FieldValueNotSupported", message));
            }
            name if flag("x-kubernetes-int-or-string") => {
                self.refuse(&at_type, name, "must be empty if x-kubernetes-int-or-string is true");
            }
            "array" if !map.contains_key("items") => {
                self.required(&format!("{at}.items"), "must be specified");
            }
            _ => {}
        }
    }

    fn extensions(&mut self, map: &Map<String, Value>, at: &str) {
        let kind = map.get("type").and_then(Value::as_str).unwrap_or_default();
        if map.get("x-kubernetes-preserve-unknown-fields") == Some(&Value::Bool(false)) {
            let at = format!("{at}.x-kubernetes-preserve-unknown-fields");
            self.refuse(&at, "false", "must be true or undefined");
        }
        if map.get("x-kubernetes-embedded-resource") == Some(&Value::Bool(true)) {
            if kind != "object" {
                self.refuse(
                    &format!("{at}.type"),
                    kind,
                    "must be object if x-kubernetes-embedded-resource is true",
                );
            }
            let open = map.get("x-kubernetes-preserve-unknown-fields") == Some(&Value::Bool(true));
            if !open && !map.contains_key("properties") {
                self.required(
                    &format!("{at}.properties"),
                    "must not be empty if x-kubernetes-embedded-resource is true without x-kubernetes-preserve-unknown-fields",
                );
            }
        }
        if let Some(map_type) = map.get("x-kubernetes-map-type").and_then(Value::as_str) {
            let at_map = format!("{at}.x-kubernetes-map-type");
            if !matches!(map_type, "atomic" | "granular") {
                self.refuse(&at_map, map_type, "must be either atomic or granular");
            }
            if kind != "object" {
                self.refuse(
                    &format!("{at}.type"),
                    kind,
                    "must be object if x-kubernetes-map-type is specified",
                );
            }
        }
        self.list(map, kind, at);
    }

    fn list(&mut self, map: &Map<String, Value>, kind: &str, at: &str) {
        let at_list = format!("{at}.x-kubernetes-list-type");
        let at_keys = format!("{at}.x-kubernetes-list-map-keys");
        let list = map.get("x-kubernetes-list-type").and_then(Value::as_str);
        let keys = map.get("x-kubernetes-list-map-keys").and_then(Value::as_array);
        let items = map.get("items").unwrap_or(&Value::Null);
        let scalar = |schema: &Value| {
            schema["x-kubernetes-int-or-string"] == true
                || matches!(schema["type"].as_str(), Some("boolean" | "integer" | "number" | "string"))
        };
        if list.is_some() && kind != "array" {
            self.refuse(&format!("{at}.type"), kind, "must be array if x-kubernetes-list-type is specified");
        }
        match list {
            Some("map") => {}
            _ if keys.is_some_and(|keys| !keys.is_empty()) => {
                self.refuse(
                    &at_list,
                    list.unwrap_or_default(),
                    "must be map if x-kubernetes-list-map-keys is non-empty",
                );
            }
            None | Some("atomic") => {}
            Some("set") => {
                let atomic = items["x-kubernetes-map-type"] == "atomic"
                    || items["type"] == "array"
                        && items["x-kubernetes-list-type"].as_str().is_none_or(|t| t == "atomic");
                if !scalar(items) && !atomic {
                    self.refuse(&format!("{at}.items"), "", "items of a set must be scalars or atomic");
                }
            }
            Some(other) => self.refuse(&at_list, other, "must be one of atomic, set or map"),
        }
        if list != Some("map") {
            return;
        }
        let keys: Vec<&str> = keys.into_iter().flatten().filter_map(Value::as_str).collect();
        if keys.is_empty() {
            self.required(&at_keys, "must not be empty if x-kubernetes-list-type is map");
        }
        if items["type"] != "object" {
            self.refuse(
                &format!("{at}.items.type"),
                "",
                "must be object if parent array's x-kubernetes-list-type is map",
            );
        }
        for (index, key) in keys.iter().enumerate() {
            let at = format!("{at_keys}[{index}]");
            let Some(field) = items["properties"].get(key) else {
                self.refuse(&at, key, "must be an element of items.properties");
                continue;
            };
            if !scalar(field) {
                self.refuse(&at, key, "the key's field must be a scalar");
            }
            let required = items["required"].as_array().is_some_and(|all| all.iter().any(|name| name == key));
            if !required && field.get("default").is_none() {
                self.required(&at, &format!("{key:?} must either be required or have a default"));
            }
            if keys.iter().take(index).any(|other| other == key) {
                self.push(Cause::new(at, "FieldValueDuplicate", format!("Duplicate value: {key:?}")));
            }
        }
    }

    fn default(&mut self, map: &Map<String, Value>, default: &Value, at: &str) {
        let mut schema = map.clone();
        schema.remove("default");
        for error in schema::check_value(&Value::Object(schema), default) {
            let field = if error.field.is_empty() { String::new() } else { format!(".{}", error.field) };
            self.push(Cause::new(format!("{at}.default{field}"), error.reason.as_str(), error.message));
        }
    }

    /// `allOf`, `anyOf`, `oneOf`, `not`: they restrict values of the shape beside them. `typed`: the shape is an
    /// integer or a string, which its branches may say once more.
    fn junctors(&mut self, map: &Map<String, Value>, shape: &Map<String, Value>, at: &str, typed: bool) {
        for keyword in ["allOf", "anyOf", "oneOf"] {
            let branches = map.get(keyword).and_then(Value::as_array);
            for (index, branch) in branches.into_iter().flatten().enumerate() {
                self.branch(branch, shape, &format!("{at}.{keyword}[{index}]"), typed);
            }
        }
        if let Some(branch) = map.get("not") {
            self.branch(branch, shape, &format!("{at}.not"), false);
        }
    }

    fn branch(&mut self, branch: &Value, shape: &Map<String, Value>, at: &str, typed: bool) {
        let Value::Object(branch) = branch else { return self.refuse(at, "", "must be a schema") };
        self.keywords(branch, at);
        for keyword in SHAPE.iter().filter(|keyword| branch.contains_key(**keyword)) {
            if !(typed && *keyword == "type") {
                self.forbid(&format!("{at}.{keyword}"), "must be empty to be structural");
            }
        }
        if branch.contains_key("x-kubernetes-validations") {
            self.forbid(&format!("{at}.x-kubernetes-validations"), "must be empty to be structural");
        }
        let empty = Map::new();
        for (name, schema) in branch.get("properties").and_then(Value::as_object).into_iter().flatten() {
            let at = format!("{at}.properties[{name}]");
            let declared = shape.get("properties").and_then(|all| all.get(name));
            let declared = declared.or(shape.get("additionalProperties")).and_then(Value::as_object);
            let open = shape.get("x-kubernetes-preserve-unknown-fields") == Some(&Value::Bool(true));
            if declared.is_none() && !open {
                self.required(
                    &at,
                    "because it is defined in a branch, it must be in the schema beside it too",
                );
            }
            self.branch(schema, declared.unwrap_or(&empty), &at, false);
        }
        if let Some(items) = branch.get("items") {
            let declared = shape.get("items").and_then(Value::as_object).unwrap_or(&empty);
            self.branch(items, declared, &format!("{at}.items"), false);
        }
        self.junctors(branch, shape, at, typed);
    }
}
