//! Label and field selectors.
//!
//! ```text
//! labels  team=blue,tier!=db,env in (prod,test),zone notin (a),owner,!draft
//! fields  metadata.name=builder,status.phase!=Failed
//! ```

use std::borrow::Cow;
use std::collections::HashMap;

use gcluster_store::{Entry, Key};
use serde::Deserialize;
use serde_json::Value;

use crate::kinds::Kind;
use crate::status::{ApiError, ApiResult};
use crate::table::JsonPath;
use crate::write::served;

/// What objects a list or a watch is about.
#[derive(Clone, Debug, Default)]
pub(crate) struct Selector {
    labels: Vec<LabelTerm>,
    fields: Vec<FieldTerm>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum LabelTerm {
    In(String, Vec<String>),
    NotIn(String, Vec<String>),
    Exists(String),
    Absent(String),
}

#[derive(Clone, Debug)]
struct FieldTerm {
    field: Field,
    value: String,
    equal: bool,
}

#[derive(Clone, Debug)]
enum Field {
    Name,
    Namespace,
    Path(JsonPath),
}

#[derive(Deserialize)]
struct Labelled<'a> {
    #[serde(borrow)]
    metadata: Option<Labels<'a>>,
}

#[derive(Deserialize)]
struct Labels<'a> {
    #[serde(borrow)]
    labels: Option<HashMap<Cow<'a, str>, Cow<'a, str>>>,
}

impl Selector {
    /// Reads both selectors of a request; an empty text selects everything.
    pub(crate) fn parse(kind: &Kind, labels: &str, fields: &str) -> ApiResult<Self> {
        Ok(Self { labels: label_terms(labels)?, fields: field_terms(kind, fields)? })
    }

    /// True when it selects everything.
    pub(crate) fn is_empty(&self) -> bool {
        self.labels.is_empty() && self.fields.is_empty()
    }

    /// Does it select the stored object?
    pub(crate) fn matches(&self, kind: &Kind, entry: &Entry) -> bool {
        self.matches_key(&entry.key)
            && self.matches_labels(&entry.value)
            && self.matches_paths(kind, &entry.value)
    }

    fn matches_key(&self, key: &Key) -> bool {
        self.fields.iter().all(|term| {
            let actual = match term.field {
                Field::Name => &key.name,
                Field::Namespace => &key.namespace,
                Field::Path(_) => return true,
            };
            (**actual == *term.value) == term.equal
        })
    }

    fn matches_labels(&self, value: &[u8]) -> bool {
        if self.labels.is_empty() {
            return true;
        }
        let labelled: Option<Labelled<'_>> = serde_json::from_slice(value).ok();
        let labels = labelled.and_then(|l| l.metadata).and_then(|m| m.labels).unwrap_or_default();
        let get = |name: &str| labels.get(name).map(AsRef::as_ref);
        self.labels.iter().all(|term| match term {
            LabelTerm::In(name, values) => get(name).is_some_and(|v| values.iter().any(|w| w == v)),
            LabelTerm::NotIn(name, values) => get(name).is_none_or(|v| values.iter().all(|w| w != v)),
            LabelTerm::Exists(name) => get(name).is_some(),
            LabelTerm::Absent(name) => get(name).is_none(),
        })
    }

    fn matches_paths(&self, kind: &Kind, value: &[u8]) -> bool {
        if !self.fields.iter().any(|term| matches!(term.field, Field::Path(_))) {
            return true;
        }
        let Ok(object) = served(kind, value) else { return false };
        self.fields.iter().all(|term| match &term.field {
            Field::Path(path) => (text(path.get(&object)) == term.value) == term.equal,
            Field::Name | Field::Namespace => true,
        })
    }
}

fn text(value: Option<&Value>) -> Cow<'_, str> {
    match value {
        Some(Value::String(text)) => Cow::Borrowed(text),
        None | Some(Value::Null) => Cow::Borrowed(""),
        Some(other) => Cow::Owned(other.to_string()),
    }
}

fn label_terms(text: &str) -> ApiResult<Vec<LabelTerm>> {
    let bad = |why: String| ApiError::bad_request(format!("unable to parse requirement: {why}"));
    let mut terms = Vec::new();
    for part in split_outside_parentheses(text) {
        let part = part.trim();
        if part.is_empty() {
            if text.trim().is_empty() {
                continue;
            }
            return Err(bad(format!("found an empty requirement in {text:?}")));
        }
        let term = if let Some(name) = part.strip_prefix('!').filter(|rest| !rest.contains(['=', '('])) {
            LabelTerm::Absent(name.trim().into())
        } else if let Some((name, value)) = part.split_once("!=") {
            LabelTerm::NotIn(name.trim().into(), vec![value.trim().into()])
        } else if let Some((name, value)) = part.split_once("==").or_else(|| part.split_once('=')) {
            LabelTerm::In(name.trim().into(), vec![value.trim().into()])
        } else if let Some((head, values)) = part.split_once('(') {
            let values = values.strip_suffix(')').ok_or_else(|| bad(format!("{part:?} lacks a `)`")))?;
            let values = values.split(',').map(|v| v.trim().to_owned()).collect();
            match head.trim().split_once(char::is_whitespace) {
                Some((name, operator)) if operator.trim() == "in" => LabelTerm::In(name.into(), values),
                Some((name, operator)) if operator.trim() == "notin" => LabelTerm::NotIn(name.into(), values),
                _ => return Err(bad(format!("{part:?}: expected `in` or `notin`"))),
            }
        } else {
            LabelTerm::Exists(part.into())
        };
        let (LabelTerm::In(name, _)
        | LabelTerm::NotIn(name, _)
        | LabelTerm::Exists(name)
        | LabelTerm::Absent(name)) = &term;
        if !is_label_key(name) {
            return Err(bad(format!("{name:?} is no label key")));
        }
        if let LabelTerm::In(_, values) | LabelTerm::NotIn(_, values) = &term
            && let Some(value) = values.iter().find(|value| !is_label_value(value))
        {
            return Err(bad(format!("{value:?} is no label value")));
        }
        terms.push(term);
    }
    Ok(terms)
}

fn split_outside_parentheses(text: &str) -> Vec<&str> {
    let (mut depth, mut from, mut parts) = (0_usize, 0, Vec::new());
    for (at, character) in text.char_indices() {
        match character {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            ',' if depth == 0 => {
                parts.push(text.get(from..at).unwrap_or_default());
                from = at + 1;
            }
            _ => {}
        }
    }
    parts.push(text.get(from..).unwrap_or_default());
    parts
}

fn field_terms(kind: &Kind, text: &str) -> ApiResult<Vec<FieldTerm>> {
    let mut terms = Vec::new();
    for part in split_escaped(text).iter().filter(|part| !part.is_empty()) {
        let split = |by: &str| part.split_once(by).map(|(name, value)| (name.to_owned(), value.to_owned()));
        let (name, value, equal) = if let Some((name, value)) = split("!=") {
            (name, value, false)
        } else if let Some((name, value)) = split("==").or_else(|| split("=")) {
            (name, value, true)
        } else {
            return Err(ApiError::bad_request(format!(
                "invalid selector: {text:?}; can't understand {part:?}"
            )));
        };
        let field = match name.trim() {
            "metadata.name" => Field::Name,
            "metadata.namespace" => Field::Namespace,
            name => match kind.selectable.iter().find(|field| field.name == name) {
                Some(field) => Field::Path(field.path.clone()),
                None => {
                    return Err(ApiError::bad_request(format!("field label not supported: {name}")));
                }
            },
        };
        terms.push(FieldTerm { field, value: unescape(&value), equal });
    }
    Ok(terms)
}

fn split_escaped(text: &str) -> Vec<String> {
    let (mut parts, mut part, mut escaped) = (Vec::new(), String::new(), false);
    for character in text.chars() {
        if character == ',' && !escaped {
            parts.push(std::mem::take(&mut part));
            continue;
        }
        escaped = character == '\\' && !escaped;
        part.push(character);
    }
    parts.push(part);
    parts
}

fn unescape(value: &str) -> String {
    let (mut out, mut escaped) = (String::new(), false);
    for character in value.chars() {
        if character == '\\' && !escaped {
            escaped = true;
        } else {
            out.push(character);
            escaped = false;
        }
    }
    out
}

/// True for a label key: an optional DNS subdomain and `/`, and a name of at most 63 characters.
pub(crate) fn is_label_key(key: &str) -> bool {
    let (prefix, name) = key.split_once('/').map_or((None, key), |(prefix, name)| (Some(prefix), name));
    prefix.is_none_or(gcluster_types::names::is_dns_subdomain) && !name.is_empty() && is_label_value(name)
}

/// True for a label value: at most 63 letters, digits, `-`, `_`, `.`, alphanumeric at both ends; or empty.
pub(crate) fn is_label_value(value: &str) -> bool {
    let alphanumeric = |byte: Option<&u8>| byte.is_none_or(u8::is_ascii_alphanumeric);
    let bytes = value.as_bytes();
    bytes.len() <= 63
        && alphanumeric(bytes.first())
        && alphanumeric(bytes.last())
        && bytes.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn selects(labels: &str, object: &str) -> bool {
        let selector = Selector { labels: label_terms(labels).unwrap(), fields: Vec::new() };
        selector.matches_labels(object.as_bytes())
    }

    #[test]
    fn label_terms_select_as_kubectl_users_expect() {
        let object = r#"{"metadata":{"labels":{"team":"blue","a.b/c":"x"}}}"#;
        for yes in [
            "",
            "team=blue",
            "team==blue",
            "team!=red",
            "team in (red, blue)",
            "team notin (red)",
            "team",
            "!zone",
            "zone!=1",
            "a.b/c=x,team",
            "zone notin (a,b)",
        ] {
            assert!(selects(yes, object), "{yes}");
        }
        for no in ["team=red", "team!=blue", "team in (red)", "!team", "zone", "team,zone", "team="] {
            assert!(!selects(no, object), "{no}");
        }
        for bad in ["team in blue", "team in (blue", "=x", "a,,b", "te am", "team=b lue", "!", "(a)"] {
            assert!(label_terms(bad).is_err(), "{bad}");
        }
    }
}
