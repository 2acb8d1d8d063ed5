//! Structural schemas: defaults, pruning and validation of objects.
//!
//! A schema is compiled once into a tree of [`node::Node`]s; each of the three passes walks object and
//! tree together, so that its depth is bounded by the schema and not by what a client sends.
//!
//! ```text
//! object ─▶ prune (unknown fields) ─▶ default ─▶ validate ─▶ all errors at once
//! ```

mod compile;
mod default;
mod expression;
mod format;
mod meta;
pub(crate) mod node;
mod prune;
pub(crate) mod rules;
mod validate;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::JSONSchemaProps;
use serde_json::{Value, json};

use node::Node;

/// Deepest nesting of an object that is accepted, as in serde_json's parser.
pub const MAX_DEPTH: usize = 128;

/// The shape of a kind's objects, compiled once.
#[derive(Clone, Debug)]
pub struct Schema {
    root: Node,
    source: Value,
}

impl Schema {
    /// Any object with apiVersion, kind and metadata.
    pub fn any() -> Schema {
        Schema::from_json(&json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true}))
    }

    /// From the schema of a CustomResourceDefinition.
    pub fn from_props(props: &JSONSchemaProps) -> Schema {
        Schema::from_json(&serde_json::to_value(props).unwrap_or_default())
    }

    /// From a structural schema as JSON.
    pub fn from_json(schema: &Value) -> Schema {
        let source = compile::annotated(schema.clone());
        let mut root = Node::compile(&source, false);
        root.add_object_fields();
        Schema { root, source }
    }

    /// From the generated schema of a built-in kind: references are resolved, and null means absent.
    pub fn from_builtin(schema: &Value) -> Schema {
        let source = compile::annotated(compile::resolved(schema));
        let mut root = Node::compile(&source, true);
        root.add_object_fields();
        Schema { root, source }
    }

    /// Fills in defaults of absent fields.
    pub fn default(&self, object: &mut Value) {
        default::fill(&self.root, object);
    }

    /// Removes unknown fields and answers their paths in order, such as `spec.foo`.
    ///
    /// Null in a field of a built-in kind or of `metadata` means absent and goes without a word.
    pub fn prune(&self, object: &mut Value) -> Vec<String> {
        prune::prune(&self.root, object)
    }

    /// All that is wrong with an object; empty when it is valid.
    pub fn validate(&self, object: &Value) -> Vec<FieldError> {
        validate::validate(&self.root, object, None)
    }

    /// All that is wrong with an update of an object that `old` did not have already.
    pub fn validate_update(&self, object: &Value, old: Option<&Value>) -> Vec<FieldError> {
        validate::validate(&self.root, object, old)
    }

    /// The rules (`x-kubernetes-validations`) that an object breaks; `old` is what it was before an update.
    pub fn check_rules(&self, object: &Value, old: Option<&Value>) -> Vec<FieldError> {
        rules::check(&self.root, object, old)
    }

    /// The schema as OpenAPI v3, without apiVersion, kind and metadata unless it names them.
    pub fn to_openapi(&self) -> Value {
        self.source.clone()
    }

    /// The compiled tree, for walks beside an object.
    pub(crate) fn root(&self) -> &Node {
        &self.root
    }
}

/// All that is wrong with a value by a schema that is none of a whole object: unknown fields, types, limits.
pub(crate) fn check_value(schema: &Value, value: &Value) -> Vec<FieldError> {
    let node = Node::compile(schema, false);
    let mut pruned = value.clone();
    let unknown = prune::prune(&node, &mut pruned).into_iter().map(|field| FieldError {
        field,
        reason: FieldReason::Invalid,
        message: "Invalid value: must not have unknown fields".into(),
    });
    let mut errors: Vec<FieldError> = unknown.collect();
    default::fill(&node, &mut pruned);
    errors.extend(validate::validate(&node, &pruned, None));
    errors
}

/// True when a value nests deeper than [`MAX_DEPTH`]; never recurses itself.
pub fn too_deep(value: &Value) -> bool {
    depth_exceeds(value, MAX_DEPTH)
}

pub(crate) fn depth_exceeds(value: &Value, limit: usize) -> bool {
    let mut stack = vec![(value, 1)];
    while let Some((value, depth)) = stack.pop() {
        let inner: &mut dyn Iterator<Item = &Value> = match value {
            Value::Array(items) => &mut items.iter(),
            Value::Object(map) => &mut map.values(),
            _ => continue,
        };
        if depth > limit {
            return true;
        }
        stack.extend(inner.filter(|v| v.is_array() || v.is_object()).map(|v| (v, depth + 1)));
    }
    false
}

/// One thing that is wrong with one field.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {message}")]
pub struct FieldError {
    /// Path, such as `spec.backend.env[0].name`.
    pub field: String,
    /// Why, for `details.causes[].reason` of a Status.
    pub reason: FieldReason,
    /// What, such as `Required value`; without the path.
    pub message: String,
}

/// Why a field is refused, in Kubernetes' words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldReason {
    /// A field that must be there is not.
    Required,
    /// The value is outside of what is allowed.
    Invalid,
    /// The value is none of those supported.
    NotSupported,
    /// The value has another type.
    TypeInvalid,
    /// The text has too many bytes.
    TooLong,
    /// The list has too many items, the map too many entries.
    TooMany,
    /// The value was there before in a set.
    Duplicate,
    /// A rule of the schema does not allow the value.
    Forbidden,
}

impl FieldReason {
    /// The reason of a Status cause, such as `FieldValueRequired`.
    pub fn as_str(self) -> &'static str {
        match self {
            FieldReason::Required => "FieldValueRequired",
            FieldReason::Invalid => "FieldValueInvalid",
            FieldReason::NotSupported => "FieldValueNotSupported",
            FieldReason::TypeInvalid => "FieldValueTypeInvalid",
            FieldReason::TooLong => "FieldValueTooLong",
            FieldReason::TooMany => "FieldValueTooMany",
            FieldReason::Duplicate => "FieldValueDuplicate",
            FieldReason::Forbidden => "FieldValueForbidden",
        }
    }
}

#[cfg(test)]
mod tests;
