//! Delete, of one object or of many.

use gcluster_store::Transaction;
use serde_json::{Value, json};

use super::options::{DeleteOptions, Propagation};
use super::{Change, Live, Write, Written, after, live, set_revision, stored, text, transact};
use crate::selector::Selector;
use crate::status::{ApiError, ApiResult};
use crate::{Api, crd};

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

/// Deletes every selected object of a resource in one transaction; answers them as they were at last.
pub(crate) async fn delete_collection(
    api: &Api,
    mut write: Write,
    namespace: Option<&str>,
    selector: &Selector,
    options: DeleteOptions,
) -> ApiResult<Vec<Value>> {
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
    Ok(all.into_iter().map(|written| written.object).collect())
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
        // A controller that compares generations sees that something was asked for.
        if let Some(generation) = object["metadata"]["generation"].as_i64() {
            object["metadata"]["generation"] = generation.saturating_add(1).into();
        }
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
