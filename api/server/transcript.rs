//! The transcript subresource of an iteration.
//!
//! ```text
//! GET  …/iterations/NAME/transcript?since=N&follow=true   NDJSON, to its end or until it is sealed
//! POST …/iterations/NAME/transcript?expect=N[&seal=true]  appends whole lines; {"records":N,"bytes":N}
//! ```

use std::borrow::Cow;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures::stream;
use gcluster_store::{AppendError, Key};
use http::{HeaderValue, StatusCode, header};
use serde::Deserialize;
use serde_json::json;

use crate::Api;
use crate::kinds::Kind;
use crate::query::Query;
use crate::read::raw_json;
use crate::status::{ApiError, ApiResult};

/// Most bytes of one append.
pub(crate) const MAX_APPEND: usize = 64 << 20;

/// Streams records. A reader that stops reading holds one chunk and nobody else.
pub(crate) fn read(
    api: &Api,
    kind: &Kind,
    namespace: &str,
    name: &str,
    query: &Query,
) -> ApiResult<Response> {
    let id = uid(api, kind, namespace, name)?;
    let since = query.number("since")?.unwrap_or(0);
    let transcripts = api.transcripts();
    let reader =
        if query.flag("follow") { transcripts.follow(&id, since) } else { transcripts.read(&id, since) };
    let reader = reader.map_err(|error| refused(kind, name, error))?;
    let closing = api.closing();
    let body = stream::unfold((reader, closing), |(mut reader, mut closing)| async move {
        let chunk = tokio::select! {
            biased;
            chunk = reader.next() => chunk?,
            () = closing.wait() => return None,
        };
        Some((chunk, (reader, closing)))
    });
    let mut response = Body::from_stream(body).into_response();
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-ndjson"));
    Ok(response)
}

/// Appends lines, and seals when asked.
pub(crate) async fn append(
    api: &Api,
    kind: &Kind,
    namespace: &str,
    name: &str,
    query: &Query,
    lines: Bytes,
) -> ApiResult<Response> {
    let id = uid(api, kind, namespace, name)?;
    let expect = query.number("expect")?;
    let transcripts = api.transcripts();
    let refuse = |error| refused(kind, name, error);
    if query.dry_run()? {
        let size = transcripts.size(&id).await.map_err(refuse)?;
        return Ok(sized(size.records, size.bytes));
    }
    let size = if lines.is_empty() {
        let have = transcripts.size(&id).await.map_err(refuse)?;
        if let Some(expected) = expect.filter(|expected| *expected != have.records) {
            return Err(refuse(AppendError::Offset { have, expected }));
        }
        have
    } else {
        transcripts.append(&id, expect, lines).await.map_err(refuse)?
    };
    let size = if query.flag("seal") { transcripts.seal(&id).await.map_err(refuse)? } else { size };
    if api.store().get(&Key::new(&kind.store_resource, namespace, name)).is_none() {
        // The iteration went while its records came: nothing must be left of either.
        let _ = transcripts.remove(&id).await;
        return Err(ApiError::not_found(kind, name));
    }
    Ok(sized(size.records, size.bytes))
}

fn sized(records: u64, bytes: u64) -> Response {
    raw_json(StatusCode::OK, json!({"records": records, "bytes": bytes}).to_string().into())
}

/// A transcript belongs to one life of an iteration: its id is the object's uid.
fn uid(api: &Api, kind: &Kind, namespace: &str, name: &str) -> ApiResult<String> {
    let entry = api.store().get(&Key::new(&kind.store_resource, namespace, name));
    let entry = entry.ok_or_else(|| ApiError::not_found(kind, name))?;
    let object: Named<'_> =
        serde_json::from_slice(&entry.value).map_err(|error| ApiError::internal(error.to_string()))?;
    match object.metadata.uid {
        Some(uid) => Ok(uid.into_owned()),
        None => Err(ApiError::internal(format!("the iteration {name:?} has no uid"))),
    }
}

/// All of an object that matters here. The rest is passed over without being taken apart.
#[derive(Deserialize)]
struct Named<'a> {
    #[serde(borrow)]
    metadata: Uid<'a>,
}

#[derive(Deserialize)]
struct Uid<'a> {
    #[serde(borrow)]
    uid: Option<Cow<'a, str>>,
}

fn refused(kind: &Kind, name: &str, error: AppendError) -> ApiError {
    let text = error.to_string();
    match error {
        AppendError::Offset { have, .. } | AppendError::Sealed { have } => {
            ApiError::offset(kind, name, text, have.records, have.bytes)
        }
        AppendError::NotLines | AppendError::InvalidId(_) => ApiError::bad_request(text),
        AppendError::Io { .. } => ApiError::unavailable(text),
    }
}
