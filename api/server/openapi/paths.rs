//! Paths: which operations each resource has.

use serde_json::{Map, Value, json};

use super::definitions::META;
use super::{Dialect, definition_name, group_version_kind};
use crate::kinds::Kind;

/// Query parameters of every write.
const WRITE: [(&str, &str, &str); 3] = [
    ("dryRun", "string", "All: check everything and store nothing."),
    ("fieldManager", "string", "Name under which the changed fields are owned."),
    ("fieldValidation", "string", "What to do about unknown fields: Ignore, Warn or Strict."),
];

/// Query parameters of a list.
const LIST: [(&str, &str, &str); 10] = [
    ("allowWatchBookmarks", "boolean", "Send bookmarks in a watch."),
    ("continue", "string", "Token of the page before."),
    ("fieldSelector", "string", "Restricts the list by fields."),
    ("labelSelector", "string", "Restricts the list by labels."),
    ("limit", "integer", "Most objects of one page."),
    ("resourceVersion", "string", "State that the answer may or must have."),
    ("resourceVersionMatch", "string", "How resourceVersion is meant: Exact or NotOlderThan."),
    ("sendInitialEvents", "boolean", "Begin a watch with the present objects."),
    ("timeoutSeconds", "integer", "Longest time of a watch."),
    ("watch", "boolean", "Stream changes instead of a list."),
];

/// The paths of some kinds.
pub(super) fn of(kinds: &[&Kind], dialect: Dialect) -> Value {
    let mut paths = Map::new();
    for kind in kinds {
        let root = if kind.group.is_empty() { "/api".to_owned() } else { format!("/apis/{}", kind.group) };
        let root = format!("{root}/{}", kind.version);
        let builder = Builder { kind, dialect };
        let scope = if kind.namespaced { "/namespaces/{namespace}" } else { "" };
        let collection = format!("{root}{scope}/{}", kind.plural);
        paths.insert(collection.clone(), builder.collection());
        if kind.namespaced && kind.allows("list") {
            let all = builder.item(&[], vec![("get", builder.operation("get", "list", "ForAllNamespaces"))]);
            paths.insert(format!("{root}/{}", kind.plural), all);
        }
        if kind.allows("get") {
            paths.insert(format!("{collection}/{{name}}"), builder.object("", &kind.verbs));
        }
        for subresource in &kind.subresources {
            let path = format!("{collection}/{{name}}/{}", subresource.name);
            paths.insert(path, builder.object(subresource.name, subresource.verbs));
        }
    }
    Value::Object(paths)
}

struct Builder<'a> {
    kind: &'a Kind,
    dialect: Dialect,
}

impl Builder<'_> {
    fn collection(&self) -> Value {
        let mut operations = Vec::new();
        for (verb, method, action) in [
            ("list", "get", "list"),
            ("create", "post", "post"),
            ("deletecollection", "delete", "deletecollection"),
        ] {
            if self.kind.allows(verb) {
                operations.push((method, self.operation(method, action, "")));
            }
        }
        self.item(self.scope(), operations)
    }

    fn object(&self, suffix: &str, verbs: &[&str]) -> Value {
        let mut parameters = vec!["name"];
        parameters.extend(self.scope());
        let methods =
            [("get", "get"), ("create", "post"), ("update", "put"), ("patch", "patch"), ("delete", "delete")];
        let operations = methods
            .into_iter()
            .filter(|(verb, _)| verbs.contains(verb) && (*verb != "create" || !suffix.is_empty()))
            .map(|(_, method)| (method, self.operation(method, method, suffix)))
            .collect();
        self.item(&parameters, operations)
    }

    fn scope(&self) -> &'static [&'static str] {
        if self.kind.namespaced { &["namespace"] } else { &[] }
    }

    fn item(&self, parameters: &[&str], operations: Vec<(&str, Value)>) -> Value {
        let mut item: Map<String, Value> =
            operations.into_iter().map(|(method, operation)| (method.to_owned(), operation)).collect();
        let parameters: Vec<Value> = parameters
            .iter()
            .map(|name| {
                self.parameter(
                    name,
                    "path",
                    "string",
                    if *name == "name" { "name of the object" } else { "object name and auth scope" },
                )
            })
            .collect();
        if !parameters.is_empty() {
            item.insert("parameters".into(), parameters.into());
        }
        Value::Object(item)
    }

    fn parameter(&self, name: &str, place: &str, kind: &str, description: &str) -> Value {
        let mut parameter =
            json!({"name": name, "in": place, "description": description, "uniqueItems": true});
        if place == "path" {
            parameter["required"] = json!(true);
        }
        match self.dialect {
            Dialect::V2 => parameter["type"] = json!(kind),
            Dialect::V3 => parameter["schema"] = json!({"type": kind, "uniqueItems": true}),
        }
        parameter
    }

    fn operation(&self, method: &str, action: &str, suffix: &str) -> Value {
        let kind = self.kind;
        let mut parameters: Vec<Value> = match (method, action) {
            ("get", "list") | (_, "deletecollection") => self.query(&LIST),
            ("post" | "put" | "patch", _) => self.query(&WRITE),
            ("delete", _) => self.query(&[WRITE[0]]),
            _ => Vec::new(),
        };
        if method == "patch" {
            let force = "Take fields over from other managers; for server-side apply.";
            parameters.push(self.parameter("force", "query", "boolean", force));
        }
        let body = match method {
            "post" | "put" => Some((definition_name(kind), vec!["application/json", "application/yaml"])),
            "patch" => Some((format!("{META}.Patch"), PATCH_TYPES.to_vec())),
            "delete" => Some((format!("{META}.DeleteOptions"), vec!["application/json"])),
            _ => None,
        };
        let answer = match action {
            "list" => format!("{}List", definition_name(kind)),
            "delete" | "deletecollection" => format!("{META}.Status"),
            _ => definition_name(kind),
        };
        let mut operation = json!({
            "operationId": self.operation_id(action, suffix),
            "tags": [kind.api_version().replace(['/', '.'], "_")],
            "responses": self.responses(&answer),
            "x-kubernetes-action": action,
            "x-kubernetes-group-version-kind": group_version_kind(kind, &kind.kind),
        });
        match (self.dialect, body) {
            (Dialect::V2, Some((name, types))) => {
                let schema = self.dialect.reference(&name);
                parameters.push(
                    json!({"name": "body", "in": "body", "required": method != "delete", "schema": schema}),
                );
                operation["consumes"] = json!(types);
            }
            (Dialect::V3, Some((name, types))) => {
                let content = |t: &str| (t.to_owned(), json!({"schema": self.dialect.reference(&name)}));
                let content: Map<String, Value> = types.into_iter().map(content).collect();
                operation["requestBody"] = json!({"required": method != "delete", "content": content});
            }
            (_, None) => {}
        }
        if self.dialect == Dialect::V2 {
            operation["produces"] = json!(["application/json"]);
        }
        operation["parameters"] = parameters.into();
        operation
    }

    /// Unique in the document, such as `readGclusterDevV1alpha1NamespacedAgentStatus`.
    fn operation_id(&self, action: &str, suffix: &str) -> String {
        let verb = match action {
            "get" => "read",
            "post" => "create",
            "put" => "replace",
            "deletecollection" => "deleteCollection",
            other => other,
        };
        let group = if self.kind.group.is_empty() { "core" } else { &self.kind.group };
        let words: String =
            group.split(['.', '-']).chain([self.kind.version.as_str()]).map(capitalized).collect();
        let scope = if self.kind.namespaced && suffix != "ForAllNamespaces" { "Namespaced" } else { "" };
        format!("{verb}{words}{scope}{}{}", self.kind.kind, capitalized(suffix))
    }

    fn query(&self, parameters: &[(&str, &str, &str)]) -> Vec<Value> {
        parameters.iter().map(|(name, kind, text)| self.parameter(name, "query", kind, text)).collect()
    }

    fn responses(&self, answer: &str) -> Value {
        let schema = self.dialect.reference(answer);
        let ok = match self.dialect {
            Dialect::V2 => json!({"description": "OK", "schema": schema}),
            Dialect::V3 => json!({"description": "OK", "content": {"application/json": {"schema": schema}}}),
        };
        json!({"200": ok, "401": {"description": "Unauthorized"}})
    }
}

const PATCH_TYPES: [&str; 3] =
    ["application/apply-patch+yaml", "application/json-patch+json", "application/merge-patch+json"];

fn capitalized(word: &str) -> String {
    let mut chars = word.chars();
    chars.next().map(|first| first.to_uppercase().chain(chars).collect()).unwrap_or_default()
}
