//! Telling people why: Events, and statuses that are written only when they say something new.

use kube::api::{Patch, PatchParams};
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use kube::{Api, Client, Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};
use std::fmt::Debug;

use crate::error::{Error, Result};

/// Writes Events in the name of one controller. The same event again raises a count instead of adding one:
/// the same is what has the same object, reason and action, whatever its text, which stays the first one.
#[derive(Clone)]
pub struct Events {
    recorder: Recorder,
}

impl Events {
    /// Events of the controller `controller`.
    pub fn new(client: Client, controller: &str) -> Self {
        Self {
            recorder: Recorder::new(client, Reporter { controller: controller.to_owned(), instance: None }),
        }
    }

    /// Something went as it should.
    pub async fn normal<K: Resource<DynamicType = ()>>(
        &self,
        about: &K,
        reason: &str,
        action: &str,
        note: impl Into<String>,
    ) {
        self.publish(about, EventType::Normal, (reason, action), note.into()).await;
    }

    /// Something needs attention.
    pub async fn warning<K: Resource<DynamicType = ()>>(
        &self,
        about: &K,
        reason: &str,
        action: &str,
        note: impl Into<String>,
    ) {
        self.publish(about, EventType::Warning, (reason, action), note.into()).await;
    }

    /// An event that cannot be written holds nothing up: it is logged instead.
    async fn publish<K: Resource<DynamicType = ()>>(
        &self,
        about: &K,
        type_: EventType,
        (reason, action): (&str, &str),
        note: String,
    ) {
        let note = shortened(&note, 1_000);
        let object = about.object_ref(&());
        let name = object.name.as_deref().unwrap_or_default();
        match type_ {
            EventType::Normal => tracing::info!(object = name, reason, "{note}"),
            EventType::Warning => tracing::warn!(object = name, reason, "{note}"),
        }
        let event = Event {
            type_,
            reason: reason.to_owned(),
            note: Some(note),
            action: action.to_owned(),
            secondary: None,
        };
        if let Err(error) = self.recorder.publish(&event, &object).await {
            tracing::debug!(%error, reason, "cannot write an event");
        }
    }
}

/// Writes those of `fields` of the status that differ, provided that nobody wrote the object since it was read.
///
/// `old` is the status as it was read. Answers the object as written, or `None` when there was nothing to
/// write. A 409 means: read again.
pub async fn write_status<K, S>(
    api: &Api<K>,
    object: &K,
    manager: &str,
    fields: &[&str],
    old: &S,
    new: &S,
) -> Result<Option<K>>
where
    K: Resource + Clone + Debug + DeserializeOwned,
    S: Serialize,
{
    let Some(status) = status_patch(fields, old, new) else { return Ok(None) };
    let patch = json!({
        "metadata": {"resourceVersion": object.resource_version()},
        "status": status,
    });
    let name = object.name_any();
    let params = PatchParams { field_manager: Some(manager.to_owned()), ..PatchParams::default() };
    let written = api.patch_status(&name, &params, &Patch::Merge(patch)).await;
    written.map(Some).map_err(Error::api(format!("write the status of {name}")))
}

/// The merge patch that turns the fields of `old` into those of `new`; `None` when there is nothing to do.
pub fn status_patch<S: Serialize>(fields: &[&str], old: &S, new: &S) -> Option<Value> {
    let (old, new) = (object(old), object(new));
    let mut patch = Map::new();
    for field in fields {
        let (before, after) =
            (old.get(*field).unwrap_or(&Value::Null), new.get(*field).unwrap_or(&Value::Null));
        if let Some(change) = merge_diff(before, after) {
            patch.insert((*field).to_owned(), change);
        }
    }
    (!patch.is_empty()).then_some(Value::Object(patch))
}

fn object<S: Serialize>(value: &S) -> Map<String, Value> {
    match serde_json::to_value(value) {
        Ok(Value::Object(map)) => map,
        _ => Map::new(),
    }
}

/// RFC 7386 backwards: what to send so that `old` becomes `new`.
fn merge_diff(old: &Value, new: &Value) -> Option<Value> {
    match (old, new) {
        (Value::Object(old), Value::Object(new)) => {
            let mut patch = Map::new();
            for key in old.keys().filter(|key| !new.contains_key(*key)) {
                patch.insert(key.clone(), Value::Null);
            }
            for (key, value) in new {
                if let Some(change) = merge_diff(old.get(key).unwrap_or(&Value::Null), value) {
                    patch.insert(key.clone(), change);
                }
            }
            (!patch.is_empty()).then_some(Value::Object(patch))
        }
        (old, new) => (old != new).then(|| new.clone()),
    }
}

/// The first line of a text without control characters, at most 200 characters.
pub fn excerpt(text: &str) -> Option<String> {
    let line = text.lines().map(str::trim).find(|line| !line.is_empty())?;
    let clean: String = line.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let clean = shortened(clean.trim(), 200);
    (!clean.is_empty()).then_some(clean)
}

/// At most `limit` characters, with `…` for what is left out.
pub fn shortened(text: &str, limit: usize) -> String {
    match text.char_indices().nth(limit) {
        None => text.to_owned(),
        Some(_) => text.chars().take(limit.saturating_sub(1)).chain(['…']).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_own_fields_that_differ_are_written() {
        let old = json!({"a": 1, "b": {"x": 1, "y": 2}, "c": [1], "other": 1});
        let new = json!({"a": 1, "b": {"x": 1, "z": 3}, "d": 4, "other": 2});
        let patch = status_patch(&["a", "b", "c", "d"], &old, &new).unwrap();
        assert_eq!(patch, json!({"b": {"y": null, "z": 3}, "c": null, "d": 4}));
        assert_eq!(status_patch(&["a"], &old, &new), None);
    }

    #[test]
    fn an_excerpt_is_one_clean_short_line() {
        assert_eq!(excerpt("\n  \n  one\ttwo\u{1b}[31m \nthree").as_deref(), Some("one two [31m"));
        assert_eq!(excerpt(" \n\u{7}\n"), None);
        let long = excerpt(&"é".repeat(500)).unwrap();
        assert_eq!((long.chars().count(), long.ends_with('…')), (200, true));
    }
}
