//! Writes: every verb that changes an object ends in one transaction here.
//!
//! ```text
//! body ─▶ the verb makes the new object of the newest one ─▶ prepare (prune, default, validate, admit,
//!         generation, owners of fields) ─▶ put or delete ─▶ answer when durable
//! ```

mod bundle;
mod create;
mod delete;
mod early;
mod options;
mod patch;
mod prepare;
mod update;

use std::sync::Arc;

use bytes::Bytes;
use gcluster_store::{Entry, Key, TransactError, Transaction};
use k8s_openapi::jiff::Timestamp;
use serde_json::{Map, Value, json};

pub(crate) use bundle::bundle;
pub(crate) use create::create;
pub(crate) use delete::{delete, delete_collection};
pub(crate) use options::DeleteOptions;
pub(crate) use patch::{Patch, patch};
pub(crate) use update::update;

use crate::events_view;
use crate::kinds::{Kind, View};
use crate::query::{FieldValidation, Query};
use crate::status::{ApiError, ApiResult};
use crate::{Api, crd, identity};

/// Largest object that a client may send.
pub(crate) const MAX_OBJECT: usize = 3 << 20;
/// Largest bundle that a client may send.
pub(crate) const MAX_BUNDLE: usize = 64 << 20;

/// One write: to what, by whom, and how.
#[derive(Clone, Debug)]
pub(crate) struct Write {
    pub(crate) kind: Arc<Kind>,
    pub(crate) namespace: String,
    /// Empty for a create.
    pub(crate) name: String,
    /// `status`, `finalize`, or the object itself.
    pub(crate) subresource: Option<String>,
    pub(crate) manager: String,
    pub(crate) api_version: String,
    pub(crate) dry_run: bool,
    pub(crate) validation: FieldValidation,
    /// Paths of the keys that the body gives twice.
    pub(crate) duplicates: Vec<String>,
    pub(crate) now: String,
}

/// What a write did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    Created,
    Updated,
    Unchanged,
    /// It is gone: the last finalizer went, or nothing held it.
    Deleted,
}

/// The object after a write, as served, and what happened.
#[derive(Clone, Debug)]
pub(crate) struct Written {
    pub(crate) object: Value,
    /// The same as JSON, when that is what is stored.
    pub(crate) bytes: Option<Bytes>,
    pub(crate) change: Change,
    /// Texts for `Warning` headers.
    pub(crate) warnings: Vec<String>,
}

/// The newest version of an object, as its kind serves it.
#[derive(Clone, Debug)]
struct Live {
    object: Value,
}

impl Write {
    pub(crate) fn new(
        kind: &Arc<Kind>,
        namespace: &str,
        name: &str,
        subresource: Option<&str>,
        query: &Query,
        headers: &http::HeaderMap,
    ) -> ApiResult<Self> {
        let manager = match query.get("fieldManager") {
            "" => identity::manager_of(headers),
            manager => manager.to_owned(),
        };
        if manager.chars().count() > 128 || manager.chars().any(char::is_control) {
            return Err(ApiError::bad_request("fieldManager: must be at most 128 printable characters"));
        }
        Ok(Self {
            kind: Arc::clone(kind),
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            subresource: subresource.map(str::to_owned),
            manager,
            api_version: kind.api_version(),
            dry_run: query.dry_run()?,
            validation: query.field_validation()?,
            duplicates: Vec::new(),
            now: seconds(Timestamp::now()),
        })
    }

    fn key(&self) -> Key {
        Key::new(&self.kind.store_resource, &self.namespace, &self.name)
    }

    fn live(&self, tx: &Transaction<'_>) -> ApiResult<Option<Live>> {
        tx.get(&self.key()).map(|entry| live(&self.kind, &entry)).transpose()
    }

    fn not_found(&self) -> ApiError {
        ApiError::not_found(&self.kind, &self.name)
    }

    /// Stores a prepared object, or removes it when it is being deleted and nothing holds it any more.
    fn store(
        &self,
        tx: &mut Transaction<'_>,
        before: Option<&Live>,
        mut object: Value,
        warnings: Vec<String>,
    ) -> ApiResult<Written> {
        if let Some(before) = before
            && same(&before.object, &object, &["resourceVersion"])
        {
            return Ok(Written {
                object: before.object.clone(),
                bytes: None,
                change: Change::Unchanged,
                warnings,
            });
        }
        let gone = !object["metadata"]["deletionTimestamp"].is_null() && !held(&self.kind, &object);
        set_revision(&mut object, tx.revision());
        let bytes = stored(&self.kind, &object)?;
        let plain = self.kind.view == View::Stored && !self.dry_run;
        let shown = plain.then(|| bytes.clone());
        let change = if gone {
            tx.delete(&self.key(), bytes);
            Change::Deleted
        } else {
            tx.put(self.key(), bytes);
            match before {
                // Another owner of the same values is recorded, but nothing that anybody asked for has changed.
                Some(before) if same(&before.object, &object, &["resourceVersion", "managedFields"]) => {
                    Change::Unchanged
                }
                Some(_) => Change::Updated,
                None => Change::Created,
            }
        };
        if self.dry_run {
            // Nothing was stored, so the object keeps the version that it has.
            match before {
                Some(before) => {
                    object["metadata"]["resourceVersion"] =
                        before.object["metadata"]["resourceVersion"].clone();
                }
                None => {
                    if let Some(metadata) = object["metadata"].as_object_mut() {
                        metadata.remove("resourceVersion");
                    }
                }
            }
        }
        Ok(Written { object, bytes: shown, change, warnings })
    }
}

/// Why a transaction was rolled back.
enum Rollback<R> {
    Refused(ApiError),
    /// A dry run: this is what would have been.
    DryRun(R),
}

/// Runs a write in one transaction; a dry run is rolled back at its end.
async fn transact<R>(
    api: &Api,
    dry_run: bool,
    work: impl FnOnce(&mut Transaction<'_>) -> ApiResult<R>,
) -> ApiResult<R> {
    let outcome = api.store().transact(|tx| match work(tx) {
        Ok(result) if dry_run => Err(Rollback::DryRun(result)),
        Ok(result) => Ok(result),
        Err(error) => Err(Rollback::Refused(error)),
    });
    match outcome.await {
        Ok(result) | Err(TransactError::Rejected(Rollback::DryRun(result))) => Ok(result),
        Err(TransactError::Rejected(Rollback::Refused(error))) => Err(error),
        Err(TransactError::Storage(reason)) => Err(ApiError::unavailable(format!(
            "the state could not be written: {reason}; nothing was changed, try again once the cause is removed"
        ))),
        Err(TransactError::Closed) => Err(ApiError::unavailable("the master is stopping")),
    }
}

/// What follows a durable change: an iteration's transcript goes with it.
async fn after(api: &Api, kind: &Kind, written: &Written, dry_run: bool) {
    if dry_run || written.change != Change::Deleted || kind.store_resource != "gcluster.dev/iterations" {
        return;
    }
    let uid = written.object["metadata"]["uid"].as_str().unwrap_or_default();
    if let Err(error) = api.transcripts().remove(uid).await {
        tracing::warn!(iteration.uid = uid, %error, "the transcript of a deleted iteration could not be removed");
    }
}

fn live(kind: &Kind, entry: &Entry) -> ApiResult<Live> {
    Ok(Live { object: viewed(kind, &entry.value)? })
}

/// The object as the kind serves it to readers.
pub(crate) fn served(kind: &Kind, bytes: &[u8]) -> ApiResult<Value> {
    let mut object = viewed(kind, bytes)?;
    if kind.view == View::CoreEvent {
        events_view::add_times(&mut object);
    }
    Ok(object)
}

/// The object in the view of the kind.
fn viewed(kind: &Kind, bytes: &[u8]) -> ApiResult<Value> {
    let object: Value = serde_json::from_slice(bytes)
        .map_err(|error| ApiError::internal(format!("a stored {} cannot be read: {error}", kind.kind)))?;
    Ok(match kind.view {
        View::Stored => object,
        View::CoreEvent => events_view::to_core(&object),
        View::Custom => kind.converted(object),
    })
}

/// The bytes to store.
fn stored(kind: &Kind, object: &Value) -> ApiResult<Bytes> {
    let bytes = match kind.view {
        View::Stored => serde_json::to_vec(object),
        View::CoreEvent => serde_json::to_vec(&events_view::to_events(object)),
        View::Custom => serde_json::to_vec(&kind.to_storage(object)),
    };
    let bytes = bytes.map_err(|error| ApiError::internal(error.to_string()))?;
    if bytes.len() > MAX_OBJECT {
        return Err(ApiError::too_large(MAX_OBJECT));
    }
    Ok(bytes.into())
}

fn set_revision(object: &mut Value, revision: u64) {
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.insert("resourceVersion".into(), revision.to_string().into());
    }
}

/// Equal, apart from these fields of the metadata?
fn same(before: &Value, after: &Value, apart_from: &[&str]) -> bool {
    let (Some(a), Some(b)) = (before.as_object(), after.as_object()) else { return before == after };
    let equal = |a: &Map<String, Value>, b: &Map<String, Value>, skip: &[&str]| {
        let counts =
            |map: &Map<String, Value>| map.keys().filter(|key| !skip.contains(&key.as_str())).count();
        counts(a) == counts(b)
            && a.iter().all(|(key, value)| skip.contains(&key.as_str()) || b.get(key) == Some(value))
    };
    equal(a, b, &["metadata"])
        && match (a.get("metadata").and_then(Value::as_object), b.get("metadata").and_then(Value::as_object))
        {
            (Some(a), Some(b)) => equal(a, b, apart_from),
            (a, b) => a == b,
        }
}

/// Does something keep the object although it is to be deleted?
fn held(kind: &Kind, object: &Value) -> bool {
    let some =
        |path: &str| object.pointer(path).and_then(Value::as_array).is_some_and(|list| !list.is_empty());
    some("/metadata/finalizers") || (kind.kind == "Namespace" && kind.builtin && some("/spec/finalizers"))
}

/// Refuses to create in a namespace that is not there or is going away.
fn check_namespace(tx: &Transaction<'_>, kind: &Kind, namespace: &str, name: &str) -> ApiResult<()> {
    crd::check_alive(tx, kind, name)?;
    if !kind.namespaced {
        return Ok(());
    }
    let Some(entry) = tx.get(&Key::new("/namespaces", "", namespace)) else {
        return Err(ApiError::namespace_not_found(namespace));
    };
    // An Active namespace holds the word nowhere but in a label or annotation; then the parser decides.
    if memchr::memmem::find(&entry.value, b"Terminating").is_some() {
        let object: Value = serde_json::from_slice(&entry.value).unwrap_or_else(|_| json!({}));
        if object.pointer("/status/phase").and_then(Value::as_str) == Some("Terminating") {
            return Err(ApiError::namespace_terminating(kind, name, namespace));
        }
    }
    Ok(())
}

/// RFC 3339 in UTC, to the second, as `metadata` holds times.
pub(crate) fn seconds(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// Text at a path, empty when there is none.
fn text<'v>(object: &'v Value, path: &str) -> &'v str {
    object.pointer(path).and_then(Value::as_str).unwrap_or_default()
}
