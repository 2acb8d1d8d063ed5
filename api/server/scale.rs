//! The subresource `scale` of a custom kind: a view on a number of its spec, one of its status and a selector.
//!
//! ```text
//! autoscaling/v1 Scale   spec.replicas ◀─▶ specReplicasPath
//!                        status.replicas ◀─ statusReplicasPath    status.selector ◀─ labelSelectorPath
//! ```

use std::sync::Arc;

use axum::body::Body;
use axum::response::Response;
use gcluster_store::Key;
use http::{HeaderMap, StatusCode};
use serde_json::{Value, json};

use crate::Api;
use crate::kinds::{Kind, ScalePaths};
use crate::negotiate::{self, Accepted};
use crate::patch;
use crate::query::Query;
use crate::read;
use crate::status::{ApiError, ApiResult, Cause};
use crate::write::{self, MAX_OBJECT, Patch, Write};

/// API version of the view.
pub(crate) const API_VERSION: &str = "autoscaling/v1";
/// Kind of the view.
pub(crate) const KIND: &str = "Scale";

/// A request to the scale of one object.
pub(crate) struct Request<'r> {
    pub(crate) kind: &'r Arc<Kind>,
    pub(crate) verb: &'r str,
    pub(crate) namespace: &'r str,
    pub(crate) name: &'r str,
    pub(crate) query: &'r Query,
    pub(crate) headers: &'r HeaderMap,
    pub(crate) accepted: Accepted,
}

/// Answers it.
pub(crate) async fn answer(api: &Api, request: Request<'_>, body: Body) -> ApiResult<Response> {
    let Request { kind, verb, namespace, name, query, headers, accepted } = request;
    let paths = kind.custom.scale.as_deref().ok_or_else(ApiError::no_such_path)?;
    let entry = api.store().get(&Key::new(&kind.store_resource, namespace, name));
    let entry = entry.ok_or_else(|| ApiError::not_found(kind, name))?;
    let object = write::served(kind, &entry.value)?;
    let scale = of(paths, &object)?;
    if verb == "get" {
        return read::encoded(StatusCode::OK, &scale, accepted.yaml);
    }
    let bytes = negotiate::read(body, MAX_OBJECT).await?;
    let media = negotiate::content_type(headers);
    let mut write = Write::new(kind, namespace, name, None, query, headers)?;
    let wanted = match verb {
        "update" => negotiate::parse(&media, &bytes)?,
        _ => patched(&mut write, scale, &media, &bytes, query)?,
    };
    let change = change(kind, name, paths, &wanted)?;
    let done = write::patch(api, write, Patch::Merge(change)).await?;
    read::encoded(StatusCode::OK, &of(paths, &done.object)?, accepted.yaml)
}

fn patched(write: &mut Write, mut scale: Value, media: &str, body: &[u8], query: &Query) -> ApiResult<Value> {
    // What a patch does not name is no precondition.
    if let Some(metadata) = scale["metadata"].as_object_mut() {
        metadata.remove("resourceVersion");
    }
    let media = if media.starts_with("application/strategic-merge-patch") {
        "application/merge-patch+json"
    } else {
        media
    };
    match Patch::parse(write, media, body, query.flag("force"), query.has("fieldManager"))? {
        Patch::Json(patch) => patch::json::apply(&mut scale, &patch)
            .map_err(|error| ApiError::invalid_patch(&write.kind, &write.name, error))?,
        Patch::Merge(patch) | Patch::Apply { object: patch, .. } => patch::merge::apply(&mut scale, &patch),
        _ => return Err(ApiError::unsupported_media_type(format!("a scale cannot be patched by {media}"))),
    }
    Ok(scale)
}

/// The merge patch of the object that a wanted scale amounts to.
fn change(kind: &Kind, name: &str, paths: &ScalePaths, wanted: &Value) -> ApiResult<Value> {
    for (field, expected) in [("apiVersion", API_VERSION), ("kind", KIND)] {
        let found = wanted[field].as_str().unwrap_or(expected);
        if found != expected {
            return Err(ApiError::bad_request(format!(
                "the {field} in the data ({found}) does not match the expected {field} ({expected})"
            )));
        }
    }
    let sent = wanted.pointer("/metadata/name").and_then(Value::as_str).unwrap_or(name);
    if sent != name {
        return Err(ApiError::bad_request(format!(
            "the name of the object ({sent}) does not match the name on the URL ({name})"
        )));
    }
    let replicas = wanted.pointer("/spec/replicas").unwrap_or(&Value::Null);
    let number = match replicas {
        Value::Null => Some(0),
        other => other.as_i64().and_then(|number| i32::try_from(number).ok()),
    };
    let Some(number) = number.filter(|number| *number >= 0) else {
        let cause =
            Cause::invalid("spec.replicas", &replicas.to_string(), "should be a non-negative integer");
        return Err(ApiError::invalid(kind, name, &[cause]));
    };
    let mut change = paths.spec.iter().rev().fold(json!(number), |below, field| json!({field: below}));
    for field in ["resourceVersion", "uid"] {
        if let Some(value) = wanted["metadata"][field].as_str().filter(|value| !value.is_empty()) {
            change["metadata"][field] = value.into();
        }
    }
    Ok(change)
}

/// The scale of an object.
fn of(paths: &ScalePaths, object: &Value) -> ApiResult<Value> {
    let at = |path: &[String]| path.iter().try_fold(object, |value, field| value.get(field));
    let Some(wanted) = at(&paths.spec).and_then(Value::as_i64) else {
        return Err(ApiError::internal(format!(
            "the spec replicas field \".{}\" does not exist",
            paths.spec.join(".")
        )));
    };
    let meta = &object["metadata"];
    let mut metadata = json!({});
    for field in ["name", "namespace", "uid", "resourceVersion", "creationTimestamp"] {
        if let Some(value) = meta.get(field) {
            metadata[field] = value.clone();
        }
    }
    let mut status = json!({"replicas": at(&paths.status).and_then(Value::as_i64).unwrap_or(0)});
    if let Some(selector) = paths.selector.as_deref().and_then(at).and_then(Value::as_str) {
        status["selector"] = selector.into();
    }
    Ok(json!({
        "kind": KIND, "apiVersion": API_VERSION, "metadata": metadata,
        "spec": {"replicas": wanted}, "status": status,
    }))
}
