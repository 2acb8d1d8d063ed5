//! One node of a compiled schema.

use std::collections::BTreeMap;

use regex::Regex;
use serde_json::Value;

use super::format::Format;
use super::meta;
use super::rules::Rule;

/// What a value at one place may be.
#[derive(Clone, Debug, Default)]
pub(crate) struct Node {
    pub(crate) kind: Type,
    pub(crate) nullable: bool,
    /// Null means absent, as for the typed fields of built-in kinds.
    pub(crate) null_is_absent: bool,
    pub(crate) preserve_unknown: bool,
    pub(crate) properties: BTreeMap<String, Node>,
    /// Shape of the values of a map.
    pub(crate) additional: Option<Box<Node>>,
    pub(crate) items: Option<Box<Node>>,
    pub(crate) required: Vec<String>,
    pub(crate) default: Option<Value>,
    pub(crate) list: ListType,
    /// The map is owned as a whole.
    pub(crate) atomic_map: bool,
    pub(crate) bounds: Bounds,
    pub(crate) enumeration: Vec<Value>,
    pub(crate) pattern: Option<Pattern>,
    pub(crate) format: Option<Format>,
    pub(crate) all_of: Vec<Node>,
    pub(crate) any_of: Vec<Node>,
    pub(crate) one_of: Vec<Node>,
    pub(crate) not: Option<Box<Node>>,
    /// Rules in an expression language.
    pub(crate) rules: Vec<Rule>,
    /// There are rules here or beneath.
    pub(crate) has_rules: bool,
}

/// Type of a value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Type {
    #[default]
    Any,
    Object,
    Array,
    String,
    Integer,
    Number,
    Boolean,
    IntOrString,
}

impl Type {
    /// As the schema calls it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Type::Any => "any",
            Type::Object => "object",
            Type::Array => "array",
            Type::String => "string",
            Type::Integer => "integer",
            Type::Number => "number",
            Type::Boolean => "boolean",
            Type::IntOrString => "integer or string",
        }
    }
}

/// How the items of a list are told apart when several managers write it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum ListType {
    /// They are not: the list is one value.
    #[default]
    Atomic,
    /// By their value.
    Set,
    /// By these fields.
    Map(Vec<String>),
}

/// Limits of numbers, lengths and counts.
#[derive(Clone, Debug, Default)]
pub(crate) struct Bounds {
    pub(crate) minimum: Option<f64>,
    pub(crate) maximum: Option<f64>,
    pub(crate) exclusive_minimum: bool,
    pub(crate) exclusive_maximum: bool,
    pub(crate) multiple_of: Option<f64>,
    pub(crate) min_length: Option<u64>,
    pub(crate) max_length: Option<u64>,
    pub(crate) min_items: Option<u64>,
    pub(crate) max_items: Option<u64>,
    pub(crate) min_properties: Option<u64>,
    pub(crate) max_properties: Option<u64>,
}

/// A pattern; one that does not compile matches everything.
#[derive(Clone, Debug)]
pub(crate) struct Pattern {
    pub(crate) source: String,
    pub(crate) regex: Option<Regex>,
}

impl Node {
    /// The fields that every object has. `metadata` is always the whole ObjectMeta.
    pub(super) fn add_object_fields(&mut self) {
        for name in ["apiVersion", "kind"] {
            self.properties
                .entry(name.into())
                .or_insert_with(|| Node { kind: Type::String, ..Node::default() });
        }
        let own = self.properties.remove("metadata");
        let mut metadata = meta::object_meta();
        // A schema may restrict names beyond what all names keep to.
        for (name, restricted) in own.map(|own| own.properties).unwrap_or_default() {
            if let Some(field) = metadata.properties.get_mut(&name) {
                field.all_of.push(restricted);
            }
        }
        self.properties.insert("metadata".into(), metadata);
        self.required.retain(|name| name != "metadata");
        if self.kind == Type::Any {
            self.kind = Type::Object;
        }
    }

    /// Shape of the value under a key; none when the schema does not know it.
    pub(crate) fn field(&self, key: &str) -> Option<&Node> {
        self.properties.get(key).or(self.additional.as_deref())
    }

    /// True when the key is a declared field, not an entry of a map.
    pub(crate) fn declares(&self, key: &str) -> bool {
        self.properties.contains_key(key)
    }
}
