//! Strategic merge patch, which Kubernetes takes for its built-in kinds: lists that have a key merge item by item.
//!
//! | in the patch | means |
//! | --- | --- |
//! | `$patch: replace` in a map, or as an item of a list | take what else is there instead of merging |
//! | `$patch: delete` in a map; in an item with its key | empty the map; remove the item |
//! | `$deleteFromPrimitiveList/F: […]` | remove these values from the list F |
//! | `$setElementOrder/F: […]` | order of the list F; what is not named keeps its place |
//! | `$retainKeys: […]` | remove every other field |

mod order;

use serde_json::{Map, Value};

use order::{ordered, validate};

const DIRECTIVE: &str = "$patch";
const RETAIN: &str = "$retainKeys";
const DELETE_FROM: &str = "$deleteFromPrimitiveList/";
const SET_ORDER: &str = "$setElementOrder/";

/// Why a patch cannot be applied.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StrategicError {
    /// A directive that is none, or in a wrong form: the request is at fault.
    #[error("{0}")]
    Malformed(String),
    /// The patch does not fit the object.
    #[error("{0}")]
    Unfit(String),
}

/// How a list is merged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Strategy {
    /// The list of the patch takes its place.
    Replace,
    /// A set of plain values.
    Values,
    /// Items are told apart by this field.
    Key(&'static str),
}

/// The lists of the built-in kinds that are served here and merge, as their Go types are tagged.
fn strategy(kind: &str, path: &str) -> Strategy {
    match (kind, path) {
        (_, "metadata.ownerReferences") => Strategy::Key("uid"),
        (_, "metadata.finalizers") => Strategy::Values,
        ("Namespace", "status.conditions") => Strategy::Key("type"),
        _ => Strategy::Replace,
    }
}

/// Merges the patch into an object of the kind. The object is as good as lost after an error.
///
/// # Errors
/// [`StrategicError`], which never repeats a value of a field.
pub fn apply(kind: &str, object: &mut Value, patch: &Value) -> Result<(), StrategicError> {
    let (Value::Object(map), Value::Object(patch)) = (object, patch) else {
        return Err(StrategicError::Malformed("a strategic merge patch must be an object".into()));
    };
    merge_map(kind, "", map, patch.clone())
}

fn below(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

fn list(field: &str, value: Value) -> Result<Vec<Value>, StrategicError> {
    match value {
        Value::Array(items) => Ok(items),
        _ => Err(StrategicError::Malformed(format!("{field}: expected a list"))),
    }
}

fn merge_map(
    kind: &str,
    path: &str,
    map: &mut Map<String, Value>,
    mut patch: Map<String, Value>,
) -> Result<(), StrategicError> {
    match patch.remove(DIRECTIVE) {
        None => {}
        Some(Value::String(word)) if word == "replace" => {
            *map = patch.into_iter().filter_map(|(key, value)| Some((key, plain(value)?))).collect();
            return Ok(());
        }
        Some(Value::String(word)) if word == "delete" => {
            map.clear();
            return Ok(());
        }
        Some(_) => return Err(StrategicError::Malformed(format!("unknown patch type in map {path:?}"))),
    }
    if let Some(keys) = patch.remove(RETAIN) {
        retain(map, &patch, &list(RETAIN, keys)?)?;
    }
    let orders: Vec<String> = patch.keys().filter(|key| key.starts_with(SET_ORDER)).cloned().collect();
    for directive in orders {
        let order = list(&directive, patch.remove(&directive).unwrap_or_default())?;
        let field = directive.trim_start_matches(SET_ORDER);
        let strategy = strategy(kind, &below(path, field));
        let items = patch.remove(field).map(|items| list(field, items)).transpose()?;
        validate(strategy, field, items.as_deref().unwrap_or_default(), &order)?;
        let removed = patch.remove(&format!("{DELETE_FROM}{field}"));
        let before = match map.get(field) {
            Some(Value::Array(live)) => Some(live.clone()),
            _ => None,
        };
        let merged = match (&before, items) {
            (Some(live), Some(items)) => merge_list(kind, &below(path, field), live.clone(), items)?,
            (Some(live), None) => live.clone(),
            (None, Some(items)) => items.into_iter().filter_map(plain).collect(),
            (None, None) => continue,
        };
        let merged = match removed {
            Some(values) => without(merged, &list(DELETE_FROM, values)?),
            None => merged,
        };
        map.insert(field.into(), ordered(strategy, merged, &order, &before.unwrap_or_default()).into());
    }
    for (key, value) in patch {
        if let Some(field) = key.strip_prefix(DELETE_FROM) {
            let values = list(&key, value)?;
            if let Some(Value::Array(live)) = map.get_mut(field) {
                *live = without(std::mem::take(live), &values);
            }
            continue;
        }
        match (map.get_mut(&key), value) {
            (_, Value::Null) => drop(map.remove(&key)),
            (Some(Value::Object(live)), Value::Object(patch)) => {
                merge_map(kind, &below(path, &key), live, patch)?;
            }
            (Some(Value::Array(live)), Value::Array(items)) => {
                *live = merge_list(kind, &below(path, &key), std::mem::take(live), items)?;
            }
            (_, value) => {
                if let Some(value) = plain(value) {
                    map.insert(key, value);
                }
            }
        }
    }
    Ok(())
}

/// Removes the fields that are not named; the patch may set no other.
fn retain(
    map: &mut Map<String, Value>,
    patch: &Map<String, Value>,
    keys: &[Value],
) -> Result<(), StrategicError> {
    let named = |key: &str| keys.iter().any(|name| name == key);
    let is_directive = |key: &str| key.starts_with(DELETE_FROM) || key.starts_with(SET_ORDER);
    if patch.iter().any(|(key, value)| !value.is_null() && !is_directive(key) && !named(key)) {
        return Err(StrategicError::Malformed("invalid patch format of retainKeys".into()));
    }
    map.retain(|key, _| named(key));
    Ok(())
}

fn without(mut live: Vec<Value>, values: &[Value]) -> Vec<Value> {
    live.retain(|value| !values.contains(value));
    live
}

fn merge_list(
    kind: &str,
    path: &str,
    live: Vec<Value>,
    patch: Vec<Value>,
) -> Result<Vec<Value>, StrategicError> {
    let strategy = strategy(kind, path);
    let mut merged = live.clone();
    let order = patch.clone();
    match strategy {
        Strategy::Replace => return Ok(patch.into_iter().filter_map(plain).collect()),
        Strategy::Values => {
            for value in patch {
                if value.is_object() || value.is_array() {
                    return Err(StrategicError::Unfit(format!("{path}: expected plain values")));
                }
                if !merged.contains(&value) {
                    merged.push(value);
                }
            }
        }
        Strategy::Key(key) => {
            let mut replace = false;
            let mut rest = Vec::new();
            for item in patch {
                let Value::Object(mut item) = item else {
                    return Err(StrategicError::Unfit(format!("{path}: expected a list of maps")));
                };
                match item.remove(DIRECTIVE) {
                    None => rest.push(item),
                    Some(Value::String(word)) if word == "replace" => replace = true,
                    Some(Value::String(word)) if word == "delete" => {
                        let name = item.get(key).ok_or_else(|| keyless(path, key))?;
                        merged.retain(|live| live.get(key) != Some(name));
                    }
                    Some(Value::String(word)) if word == "merge" => {
                        let why = "merging lists cannot yet be specified in the patch";
                        return Err(StrategicError::Malformed(why.into()));
                    }
                    Some(_) => {
                        let why = format!("unknown patch type in an item of {path}");
                        return Err(StrategicError::Malformed(why));
                    }
                }
            }
            if replace {
                return Ok(rest.into_iter().filter_map(|item| plain(Value::Object(item))).collect());
            }
            for item in rest {
                let name = item.get(key).ok_or_else(|| keyless(path, key))?.clone();
                match merged.iter_mut().find(|live| live.get(key) == Some(&name)) {
                    Some(Value::Object(live)) => merge_map(kind, path, live, item)?,
                    _ => merged.extend(plain(Value::Object(item))),
                }
            }
        }
    }
    Ok(ordered(strategy, merged, &order, &live))
}

fn keyless(path: &str, key: &str) -> StrategicError {
    StrategicError::Unfit(format!("an item of {path} does not contain the declared merge key: {key}"))
}

/// A value of the patch that meets nothing: without directives and nulls; none for what was to be deleted.
fn plain(value: Value) -> Option<Value> {
    Some(match value {
        Value::Object(map) => {
            if map.get(DIRECTIVE).is_some_and(|word| word == "delete") {
                return None;
            }
            let keep = |key: &str| {
                key != DIRECTIVE
                    && key != RETAIN
                    && !key.starts_with(DELETE_FROM)
                    && !key.starts_with(SET_ORDER)
            };
            let fields = map.into_iter().filter(|(key, value)| keep(key) && !value.is_null());
            Value::Object(fields.filter_map(|(key, value)| Some((key, plain(value)?))).collect())
        }
        Value::Array(items) => items.into_iter().filter_map(plain).collect(),
        other => other,
    })
}

#[cfg(test)]
mod tests;
