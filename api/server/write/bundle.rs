//! Bundles: many objects applied as one transaction, all of them or none.

use serde_json::{Value, json};

use super::early::Early;
use super::patch::applied;
use super::{Change, Write, text, transact};
use crate::Api;
use crate::status::{ApiError, ApiResult};

/// Most objects of one bundle.
const MAX_ITEMS: usize = 100_000;

/// Applies every item under the field manager of the write. Answers the Bundle with a result per item.
pub(crate) async fn bundle(
    api: &Api,
    mut write: Write,
    body: Value,
    force: bool,
) -> ApiResult<(Value, Vec<String>)> {
    let twice = std::mem::take(&mut write.duplicates);
    let mut warnings =
        write.remark(twice.iter().map(|path| format!("duplicate field {path:?}")).collect())?;
    let Value::Object(mut body) = body else {
        return Err(ApiError::bad_request("the body must be a Bundle"));
    };
    for (field, expected) in [("apiVersion", "gcluster.dev/v1alpha1"), ("kind", "Bundle")] {
        if body.get(field).and_then(Value::as_str).is_some_and(|found| found != expected) {
            return Err(ApiError::bad_request(format!("{field}: must be {expected:?}")));
        }
    }
    let Some(Value::Array(items)) = body.remove("items") else {
        return Err(ApiError::bad_request("items: Required value: a list of objects"));
    };
    if items.len() > MAX_ITEMS {
        return Err(ApiError::bad_request(format!("items: at most {MAX_ITEMS} objects are allowed")));
    }
    let items: Vec<(Write, Value)> = items
        .into_iter()
        .enumerate()
        .map(|(index, item)| item_write(api, &write, index, item))
        .collect::<ApiResult<_>>()?;
    let dry_run = write.dry_run;
    let items: Vec<(Write, Value, Early)> = items
        .into_iter()
        .map(|(item, object)| {
            let early = Early::prepare(api, &item, |live| applied(&item, live, &object, force));
            (item, object, early)
        })
        .collect();
    let (revision, results) = transact(api, dry_run, |tx| {
        let mut results = Vec::with_capacity(items.len());
        for (index, (item, object, early)) in items.into_iter().enumerate() {
            let written = early
                .settle(tx, &item, |live| applied(&item, live, &object, force))
                .map_err(|error| error.of_item(index, &item.kind.kind, &item.namespace, &item.name))?;
            results.push((item, written));
        }
        let changed = results.iter().any(|(_, written)| written.change != Change::Unchanged);
        Ok((changed.then(|| tx.revision()), results))
    })
    .await?;
    let mut shown = Vec::with_capacity(results.len());
    for (index, (item, written)) in results.into_iter().enumerate() {
        super::after(api, &item.kind, &written, dry_run).await;
        warnings.extend(written.warnings.iter().map(|text| format!("items[{index}]: {text}")));
        let result = match written.change {
            Change::Created => "created",
            Change::Updated | Change::Deleted => "updated",
            Change::Unchanged => "unchanged",
        };
        shown.push(json!({
            "apiVersion": item.api_version, "kind": item.kind.kind, "namespace": item.namespace,
            "name": item.name, "result": result, "object": written.object,
        }));
    }
    let revision = match revision {
        Some(revision) if !dry_run => revision,
        _ => api.store().revision(),
    };
    let answer = json!({
        "apiVersion": "gcluster.dev/v1alpha1", "kind": "Bundle", "metadata": {"namespace": write.namespace},
        "resourceVersion": revision.to_string(), "results": shown,
    });
    Ok((answer, warnings))
}

fn item_write(api: &Api, write: &Write, index: usize, item: Value) -> ApiResult<(Write, Value)> {
    let (api_version, kind_name) = (text(&item, "/apiVersion"), text(&item, "/kind"));
    let namespace = match text(&item, "/metadata/namespace") {
        "" => write.namespace.as_str(),
        namespace => namespace,
    };
    let name = text(&item, "/metadata/name");
    let refuse = |why: String| ApiError::bad_request(why).of_item(index, kind_name, namespace, name);
    let Some(kind) =
        api.registry().by_kind(api_version, kind_name).filter(|kind| kind.allows("patch")).cloned()
    else {
        return Err(refuse(format!("no matches for kind {kind_name:?} in version {api_version:?}")));
    };
    if name.is_empty() {
        return Err(refuse("metadata.name: Required value".into()));
    }
    if kind.namespaced && namespace != write.namespace {
        return Err(refuse(format!(
            "the namespace of the provided object ({namespace}) does not match the namespace on the URL ({})",
            write.namespace
        )));
    }
    let item_write = Write {
        namespace: if kind.namespaced { write.namespace.clone() } else { String::new() },
        name: name.to_owned(),
        api_version: kind.api_version(),
        kind,
        ..write.clone()
    };
    // What was exported applies again, whatever version it was of.
    let mut item = item;
    if let Some(metadata) = item.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove("resourceVersion");
    }
    Ok((item_write, item))
}
