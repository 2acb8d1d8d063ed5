//! Structural schemas: defaults, pruning and validation of objects.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::JSONSchemaProps;
use serde_json::Value;

/// The shape of a kind's objects, compiled once.
#[derive(Clone, Debug)]
pub struct Schema {}

impl Schema {
    /// Any object with apiVersion, kind and metadata.
    pub fn any() -> Schema {
        Schema {}
    }

    /// From the schema of a CustomResourceDefinition.
    pub fn from_props(props: &JSONSchemaProps) -> Schema {
        let _ = props;
        Schema {}
    }

    /// From a structural schema as JSON.
    pub fn from_json(schema: &Value) -> Schema {
        let _ = schema;
        Schema {}
    }

    /// From the schema of a built-in kind: null means absent.
    pub fn from_builtin(schema: &Value) -> Schema {
        let _ = schema;
        Schema {}
    }

    /// Fills in defaults.
    pub fn default(&self, object: &mut Value) {
        let _ = object;
    }

    /// Removes unknown fields and answers their paths, such as `spec.foo`.
    pub fn prune(&self, object: &mut Value) -> Vec<String> {
        let _ = object;
        Vec::new()
    }

    /// All that is wrong with an object.
    pub fn validate(&self, object: &Value) -> Vec<FieldError> {
        let _ = object;
        Vec::new()
    }
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
        }
    }
}
