//! Validation: all errors of an object at once, in the words of kube-apiserver.

use serde_json::Value;

use super::node::{ListType, Node, Type};
use super::{FieldError, FieldReason};
use crate::path::Path;

/// More errors than this help nobody and cost memory that a client could demand.
const MAX_ERRORS: usize = 100;

/// All that is wrong with an object. What is as it was in `old` is let be: a rule that came later holds back no
/// change of something else.
pub(super) fn validate(root: &Node, object: &Value, old: Option<&Value>) -> Vec<FieldError> {
    let mut errors = Vec::new();
    check(root, object, old, &Path::Root, &mut errors);
    errors
}

fn check(node: &Node, value: &Value, old: Option<&Value>, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    if errors.len() >= MAX_ERRORS || value.is_null() && (node.nullable || node.null_is_absent) {
        return;
    }
    if old == Some(value) {
        return;
    }
    if !has_type(node.kind, value) {
        let message = format!("in body must be of type {}: \"{}\"", node.kind.name(), type_name(value));
        let shown = format!("{:?}", type_name(value));
        return invalid(errors, path, FieldReason::TypeInvalid, &shown, &message);
    }
    match value {
        Value::Object(map) => object(node, map, old, path, errors),
        Value::Array(items) => array(node, items, old, path, errors),
        Value::String(text) => string(node, text, path, errors),
        Value::Number(number) => bounds(node, value, number.as_f64().unwrap_or_default(), path, errors),
        Value::Null | Value::Bool(_) => {}
    }
    if let Some(format) = node.format.filter(|format| !format.allows(value)) {
        let plain = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let message = format!("in body must be of type {}: {plain:?}", format.name());
        invalid(errors, path, FieldReason::Invalid, &show(value), &message);
    }
    if !node.enumeration.is_empty() && !node.enumeration.contains(value) {
        let supported: Vec<String> = node.enumeration.iter().map(show).collect();
        let message =
            format!("Unsupported value: {}: supported values: {}", show(value), supported.join(", "));
        errors.push(FieldError { field: path.to_string(), reason: FieldReason::NotSupported, message });
    }
    combined(node, value, path, errors);
}

fn has_type(kind: Type, value: &Value) -> bool {
    match kind {
        Type::Any => true,
        Type::Object => value.is_object(),
        Type::Array => value.is_array(),
        Type::String => value.is_string(),
        Type::Integer => value.is_i64() || value.is_u64(),
        Type::Number => value.is_number(),
        Type::Boolean => value.is_boolean(),
        Type::IntOrString => value.is_i64() || value.is_u64() || value.is_string(),
    }
}

fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

fn object(
    node: &Node,
    map: &serde_json::Map<String, Value>,
    old: Option<&Value>,
    path: &Path<'_>,
    errors: &mut Vec<FieldError>,
) {
    for name in node.required.iter().filter(|name| !map.contains_key(*name)) {
        let field = Path::Key(path, name).to_string();
        errors.push(FieldError { field, reason: FieldReason::Required, message: "Required value".into() });
    }
    for (key, value) in map {
        if let Some(field) = node.field(key) {
            check(field, value, old.and_then(|old| old.get(key)), &Path::Key(path, key), errors);
        }
    }
    let count = map.len() as u64;
    if let Some(least) = node.bounds.min_properties.filter(|least| count < *least) {
        let message = format!("in body should have at least {least} properties");
        invalid(errors, path, FieldReason::Invalid, &count.to_string(), &message);
    }
    if let Some(most) = node.bounds.max_properties.filter(|most| count > *most) {
        let message = format!("Too many: {count}: must have at most {most} items");
        errors.push(FieldError { field: path.to_string(), reason: FieldReason::TooMany, message });
    }
}

fn array(node: &Node, items: &[Value], old: Option<&Value>, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    let count = items.len() as u64;
    if let Some(least) = node.bounds.min_items.filter(|least| count < *least) {
        let message = format!("in body should have at least {least} items");
        invalid(errors, path, FieldReason::Invalid, &count.to_string(), &message);
    }
    if let Some(most) = node.bounds.max_items.filter(|most| count > *most) {
        let message = format!("Too many: {count}: must have at most {most} items");
        errors.push(FieldError { field: path.to_string(), reason: FieldReason::TooMany, message });
    }
    let list = &node.list;
    if let Some(node) = &node.items {
        for (index, item) in items.iter().enumerate() {
            let old = old.and_then(|old| same_item(list, item, old));
            check(node, item, old, &Path::Index(path, index), errors);
        }
    }
    duplicates(node, items, path, errors);
}

/// The item of the list before that has the same keys; none where items have no identity.
pub(super) fn same_item<'v>(list: &ListType, item: &Value, old: &'v Value) -> Option<&'v Value> {
    let ListType::Map(keys) = list else { return None };
    old.as_array()?.iter().find(|old| keys.iter().all(|key| old.get(key) == item.get(key)))
}

/// Items of a set, and keys of a map list, must differ.
fn duplicates(node: &Node, items: &[Value], path: &Path<'_>, errors: &mut Vec<FieldError>) {
    let identity = |item: &Value| match &node.list {
        ListType::Atomic => None,
        ListType::Set => Some(item.to_string()),
        ListType::Map(keys) => {
            let key: serde_json::Map<_, _> =
                keys.iter().filter_map(|key| Some((key.clone(), item.get(key)?.clone()))).collect();
            Some(Value::Object(key).to_string())
        }
    };
    let mut seen = std::collections::HashSet::new();
    for (index, item) in items.iter().enumerate() {
        let Some(identity) = identity(item) else { return };
        if errors.len() < MAX_ERRORS && seen.contains(&identity) {
            let field = Path::Index(path, index).to_string();
            let message = format!("Duplicate value: {identity}");
            errors.push(FieldError { field, reason: FieldReason::Duplicate, message });
        }
        seen.insert(identity);
    }
}

fn string(node: &Node, text: &str, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    let bounds = &node.bounds;
    if bounds.min_length.is_some() || bounds.max_length.is_some() {
        let length = text.chars().count() as u64;
        if let Some(least) = bounds.min_length.filter(|least| length < *least) {
            let message = format!("in body should be at least {least} chars long");
            invalid(errors, path, FieldReason::Invalid, &shown_text(text), &message);
        }
        if let Some(most) = bounds.max_length.filter(|most| length > *most) {
            let message = format!("Too long: may not be more than {most} bytes");
            errors.push(FieldError { field: path.to_string(), reason: FieldReason::TooLong, message });
        }
    }
    let Some(pattern) = &node.pattern else { return };
    if pattern.regex.as_ref().is_some_and(|regex| !regex.is_match(text)) {
        let message = format!("in body should match '{}'", pattern.source);
        invalid(errors, path, FieldReason::Invalid, &shown_text(text), &message);
    }
}

fn bounds(node: &Node, value: &Value, number: f64, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    let bounds = &node.bounds;
    let mut refuse = |message: String| invalid(errors, path, FieldReason::Invalid, &show(value), &message);
    if let Some(least) = bounds.minimum {
        if bounds.exclusive_minimum && number <= least {
            refuse(format!("in body should be greater than {least}"));
        } else if number < least {
            refuse(format!("in body should be greater than or equal to {least}"));
        }
    }
    if let Some(most) = bounds.maximum {
        if bounds.exclusive_maximum && number >= most {
            refuse(format!("in body should be less than {most}"));
        } else if number > most {
            refuse(format!("in body should be less than or equal to {most}"));
        }
    }
    if let Some(step) = bounds.multiple_of.filter(|step| *step > 0.0 && (number / step).fract() != 0.0) {
        refuse(format!("in body should be a multiple of {step}"));
    }
}

fn combined(node: &Node, value: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    for branch in &node.all_of {
        check(branch, value, None, path, errors);
    }
    let passes = |branch: &Node| {
        let mut inner = Vec::new();
        check(branch, value, None, path, &mut inner);
        inner.is_empty()
    };
    let mut refuse = |rule: &str| {
        let message = format!("Invalid value: {}: \"{path}\" must {rule}", show(value));
        errors.push(FieldError { field: path.to_string(), reason: FieldReason::Invalid, message });
    };
    if !node.any_of.is_empty() && !node.any_of.iter().any(passes) {
        refuse("validate at least one schema (anyOf)");
    }
    if !node.one_of.is_empty() && node.one_of.iter().filter(|branch| passes(branch)).count() != 1 {
        refuse("validate one and only one schema (oneOf)");
    }
    if node.not.as_deref().is_some_and(passes) {
        refuse("not validate the schema (not)");
    }
}

fn invalid(errors: &mut Vec<FieldError>, path: &Path<'_>, reason: FieldReason, shown: &str, rule: &str) {
    let field = path.to_string();
    let message = format!("Invalid value: {shown}: {field} {rule}");
    errors.push(FieldError { field, reason, message });
}

/// A value as an error shows it, cut where it would fill the screen.
fn show(value: &Value) -> String {
    match value {
        Value::String(text) => shown_text(text),
        other => cut(&other.to_string()),
    }
}

fn shown_text(text: &str) -> String {
    format!("{:?}", cut(text))
}

fn cut(text: &str) -> String {
    match text.char_indices().nth(200) {
        Some((end, _)) => format!("{}...", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}
