//! Delete, of one object or of many.

use gcluster_store::Transaction;
use serde_json::{Value, json};

use super::{Change, Live, Write, Written, after, live, set_revision, stored, text, transact};
use crate::{Api, crd};
use crate::selector::Selector;
use crate::status::{ApiError, ApiResult};

/// What happens to the objects that the deleted one owns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Propagation {
    /// They are collected afterwards.
    #[default]
    Background,
    /// They are collected first.
    Foreground,
    /// They stay, without an owner.
    Orphan,
}

/// The body of a DELETE with what the query says.
#[derive(Clone, Debug, Default)]
pub(crate) struct DeleteOptions {
    uid: Option<String>,
    resource_version: Option<String>,
    propagation: Propagation,
    dry_run: bool,
}

impl DeleteOptions {
    /// Reads a body that may be absent.
    pub(crate) fn parse(body: &Value, propagation: &str) -> ApiResult<Self> {
        let named = |path: &str| body.pointer(path).and_then(Value::as_str).map(str::to_owned);
        let propagation = match (
            body["propagationPolicy"].as_str().unwrap_or(propagation),
            &body["orphanDependents"],
        ) {
            ("Orphan", _) | ("", Value::Bool(true)) => Propagation::Orphan,
            ("Foreground", _) => Propagation::Foreground,
            ("" | "Background", _) => Propagation::Background,
            (other, _) => {
                return Err(ApiError::bad_request(format!(
                    "propagationPolicy: Unsupported value: {other:?}: supported values: \"Background\", \"Foreground\", \"Orphan\""
                )));
            }
        };
        let dry_run = match body["dryRun"].as_array().map(Vec::as_slice) {
            None | Some([]) => false,
            Some([Value::String(all)]) if all == "All" => true,
            Some(_) => return Err(ApiError::bad_request("dryRun: supported values: \"All\"")),
        };
        Ok(Self {
            uid: named("/preconditions/uid"),
            resource_version: named("/preconditions/resourceVersion"),
            propagation,
            dry_run,
        })
    }
}

/// Deletes an object, or marks it when something holds it.
pub(crate) async fn delete(api: &Api, mut write: Write, options: DeleteOptions) -> ApiResult<Written> {
    write.dry_run |= options.dry_run;
    let written = transact(api, write.dry_run, |tx| {
        let live = write.live(tx)?.ok_or_else(|| write.not_found())?;
        delete_in(tx, &write, live, &options)
    })
    .await?;
    after(api, &write.kind, &written, write.dry_run).await;
    Ok(written)
}

/// Deletes every selected object of a resource in one transaction.
pub(crate) async fn delete_collection(
    api: &Api,
    mut write: Write,
    namespace: Option<&str>,
    selector: &Selector,
    options: DeleteOptions,
) -> ApiResult<usize> {
    write.dry_run |= options.dry_run;
    let all = transact(api, write.dry_run, |tx| {
        let mut all = Vec::new();
        for entry in tx.list(&write.kind.store_resource, namespace) {
            if selector.matches(&write.kind, &entry) {
                let one = Write {
                    namespace: entry.key.namespace.to_string(),
                    name: entry.key.name.to_string(),
                    ..write.clone()
                };
                all.push(delete_in(tx, &one, live(&write.kind, &entry)?, &options)?);
            }
        }
        Ok(all)
    })
    .await?;
    for written in &all {
        after(api, &write.kind, written, write.dry_run).await;
    }
    Ok(all.len())
}

fn delete_in(
    tx: &mut Transaction<'_>,
    write: &Write,
    before: Live,
    options: &DeleteOptions,
) -> ApiResult<Written> {
    let kind = &write.kind;
    let metadata = |field: &str| text(&before.object, &format!("/metadata/{field}"));
    for (what, wanted, found) in [
        ("UID", &options.uid, metadata("uid")),
        ("ResourceVersion", &options.resource_version, metadata("resourceVersion")),
    ] {
        if let Some(wanted) = wanted.as_deref().filter(|wanted| *wanted != found) {
            let why = format!(
                "Precondition failed: {what} in precondition: {wanted}, {what} in object meta: {found}"
            );
            return Err(ApiError::conflict(kind, &write.name, &why));
        }
    }
    crd::permit(kind, &write.name)?;
    let namespace = kind.builtin && kind.kind == "Namespace";
    if namespace && write.name == "default" {
        return Err(ApiError::forbidden_object(kind, &write.name, "this namespace may not be deleted"));
    }
    let mut object = before.object.clone();
    let mut finalizers: Vec<String> = object["metadata"]["finalizers"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|f| f.as_str().map(str::to_owned))
        .collect();
    let marked = !object["metadata"]["deletionTimestamp"].is_null();
    for (propagation, name) in
        [(Propagation::Orphan, "orphan"), (Propagation::Foreground, "foregroundDeletion")]
    {
        let there = finalizers.iter().any(|f| f == name);
        if options.propagation == propagation && !there && !namespace {
            finalizers.push(name.into());
        } else if options.propagation != propagation && there && !marked {
            finalizers.retain(|f| f != name);
        }
    }
    if kind.is_definition() && !marked && !finalizers.iter().any(|f| f == crd::CLEANUP) {
        finalizers.push(crd::CLEANUP.into());
    }
    if finalizers.is_empty() {
        if let Some(metadata) = object["metadata"].as_object_mut() {
            metadata.remove("finalizers");
        }
    } else {
        object["metadata"]["finalizers"] = json!(finalizers);
    }
    if !marked {
        object["metadata"]["deletionTimestamp"] = write.now.as_str().into();
        object["metadata"]["deletionGracePeriodSeconds"] = 0.into();
        if namespace {
            object["status"]["phase"] = "Terminating".into();
        }
    }
    if super::held(kind, &object) {
        return write.store(tx, Some(&before), object, Vec::new());
    }
    // What nothing holds goes as it was: its last state carries no mark.
    let mut last = before.object;
    set_revision(&mut last, tx.revision());
    tx.delete(&write.key(), stored(kind, &last)?);
    Ok(Written { object: last, bytes: None, change: Change::Deleted, warnings: Vec::new() })
}
