//! CustomResourceDefinitions of users: a definition is an object like any other, and its kind is served as soon as
//! the definition is answered.
//!
//! ```text
//! write of a definition ─▶ check (structural schema, names, versions) ─▶ store
//!                                                                         │
//!    status (NamesAccepted, Established) ◀─ settle: names ─▶ next Registry ◀┘   (also at start)
//! deletion ─▶ finalizer ─▶ clean up: instances, then the definition, then the kind
//! ```

mod check;
mod cleanup;
mod names;
mod own;
mod settle;
mod structural;

use gcluster_store::{Key, Transaction};
use gcluster_types::kinds;
use serde_json::{Value, json};

pub(crate) use check::check;
pub(crate) use cleanup::follow;
pub(crate) use own::install;
pub(crate) use settle::{now as settle_soon, settle, settled};

use crate::kinds::Kind;
use crate::status::ApiError;

/// API group of definitions.
pub(crate) const GROUP: &str = "apiextensions.k8s.io";
/// Kind of a definition.
pub(crate) const KIND: &str = "CustomResourceDefinition";
/// Resource name of definitions.
pub(crate) const PLURAL: &str = "customresourcedefinitions";
/// Resource name of definitions in the store.
pub(crate) const STORED: &str = "apiextensions.k8s.io/customresourcedefinitions";
/// Finalizer that keeps a definition until its instances are gone.
pub(crate) const CLEANUP: &str = "customresourcecleanup.apiextensions.k8s.io";

/// Refuses changes of the definitions that come with gcluster.
///
/// # Errors
/// 403 for them.
pub(crate) fn permit(kind: &Kind, name: &str) -> Result<(), ApiError> {
    let own = name.split_once('.').is_some_and(|(_, group)| group == kinds::GROUP);
    if !kind.is_definition() || !own {
        return Ok(());
    }
    let why = format!(
        "definitions in the group {:?} come with gcluster and cannot be created, changed or deleted; use a group of your own",
        kinds::GROUP
    );
    Err(ApiError::forbidden_object(kind, name, &why))
}

/// Fills in what Kubernetes fills in: the names that follow from others, and the conversion.
pub(crate) fn default(kind: &Kind, object: &mut Value) {
    if kind.is_definition() {
        default_spec(object);
    }
}

fn default_spec(object: &mut Value) {
    let Some(spec) = object.get_mut("spec").and_then(Value::as_object_mut) else { return };
    let conversion = spec.entry("conversion").or_insert_with(|| json!({}));
    if let Some(conversion) = conversion.as_object_mut() {
        conversion.entry("strategy").or_insert_with(|| json!("None"));
    }
    let Some(names) = spec.get_mut("names").and_then(Value::as_object_mut) else { return };
    let Some(own) = names.get("kind").and_then(Value::as_str).map(str::to_owned) else { return };
    let mut fill = |field: &str, value: String| {
        if names.get(field).and_then(Value::as_str).is_none_or(str::is_empty) {
            names.insert(field.into(), value.into());
        }
    };
    fill("singular", own.to_lowercase());
    fill("listKind", format!("{own}List"));
}

/// Refuses to create an instance of a definition that is gone or going.
///
/// # Errors
/// 404 when it is gone, 405 while its instances are deleted.
pub(crate) fn check_alive(tx: &Transaction<'_>, kind: &Kind, name: &str) -> Result<(), ApiError> {
    if kind.custom.definition.is_empty() {
        return Ok(());
    }
    let Some(entry) = tx.get(&Key::new(STORED, "", &kind.custom.definition)) else {
        return Err(ApiError::no_such_path());
    };
    // The word is rare in a definition; where it stands, the parser decides.
    let finder = memchr::memmem::find(&entry.value, b"\"deletionTimestamp\"");
    let deleted = finder.is_some()
        && serde_json::from_slice::<Value>(&entry.value)
            .is_ok_and(|object| !object["metadata"]["deletionTimestamp"].is_null());
    if kind.custom.terminating || deleted {
        let why = format!(
            "create not allowed while custom resource definition {:?} is terminating",
            kind.custom.definition
        );
        return Err(ApiError::not_allowed(kind, name, &why));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
