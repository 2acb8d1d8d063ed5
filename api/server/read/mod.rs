//! Reads: get, list, watch. Stored bytes go out as they are unless another form is asked for.

mod list;
mod watch;

use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use gcluster_store::Key;
use http::{HeaderValue, StatusCode, header};
use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};

pub(crate) use list::list;
pub(crate) use watch::watch;

use crate::Api;
use crate::kinds::{Kind, View};
use crate::negotiate::{Accepted, Form};
use crate::status::{ApiError, ApiResult};
use crate::table::{self, IncludeObject};
use crate::write::served;

/// One object.
pub(crate) fn get(
    api: &Api,
    kind: &Kind,
    namespace: &str,
    name: &str,
    accepted: Accepted,
) -> ApiResult<Response> {
    let entry = api
        .store()
        .get(&Key::new(&kind.store_resource, namespace, name))
        .ok_or_else(|| ApiError::not_found(kind, name))?;
    if plain(kind, accepted) {
        return Ok(raw_json(StatusCode::OK, entry.value.clone()));
    }
    answer(kind, StatusCode::OK, &served(kind, &entry.value)?, accepted)
}

/// True when stored bytes can be sent as they are.
pub(crate) fn plain(kind: &Kind, accepted: Accepted) -> bool {
    accepted.form == Form::Object && !accepted.yaml && kind.view == View::Stored
}

/// An object in the form that the client wants.
pub(crate) fn answer(
    kind: &Kind,
    code: StatusCode,
    object: &Value,
    accepted: Accepted,
) -> ApiResult<Response> {
    let shaped = match accepted.form {
        Form::Object => return encoded(code, object, accepted.yaml),
        Form::Metadata => partial(object),
        Form::Table(include) => {
            let meta = json!({"resourceVersion": object["metadata"]["resourceVersion"]});
            table::render(kind, &[object], meta, include, true, Timestamp::now())
        }
    };
    encoded(code, &shaped, accepted.yaml)
}

/// `PartialObjectMetadata` of an object.
fn partial(object: &Value) -> Value {
    table::partial_metadata(object)
}

/// A document as JSON or YAML.
pub(crate) fn encoded(code: StatusCode, document: &Value, yaml: bool) -> ApiResult<Response> {
    if yaml {
        let text = serde_yaml::to_string(document).map_err(|error| ApiError::internal(error.to_string()))?;
        let mut response = (code, text).into_response();
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/yaml"));
        return Ok(response);
    }
    let bytes = serde_json::to_vec(document).map_err(|error| ApiError::internal(error.to_string()))?;
    Ok(raw_json(code, bytes.into()))
}

/// Bytes that are JSON already.
pub(crate) fn raw_json(code: StatusCode, bytes: Bytes) -> Response {
    let mut response = (code, bytes).into_response();
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// The form of one object on a watch or in a table.
fn shaped(kind: &Kind, bytes: &[u8], form: Form, definitions: bool) -> ApiResult<Value> {
    let object = served(kind, bytes)?;
    Ok(match form {
        Form::Object => object,
        Form::Metadata => partial(&object),
        Form::Table(include) => {
            let meta = json!({"resourceVersion": object["metadata"]["resourceVersion"]});
            table::render(kind, &[&object], meta, include, definitions, Timestamp::now())
        }
    })
}

/// A table of nothing, for bookmarks.
fn empty_table(kind: &Kind, meta: Value) -> Value {
    table::render(kind, &[], meta, IncludeObject::None, false, Timestamp::now())
}
