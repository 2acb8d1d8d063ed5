//! Lists, whole or in pages that all show one state.

use axum::response::Response;
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use bytes::{BufMut, BytesMut};
use gcluster_store::ListAt;
use http::StatusCode;
use k8s_openapi::jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{encoded, plain, raw_json};
use crate::kinds::Kind;
use crate::negotiate::{Accepted, Form};
use crate::query::Query;
use crate::selector::Selector;
use crate::status::{ApiError, ApiResult, Cause};
use crate::write::served;
use crate::{Api, table};

/// Where the next page begins.
#[derive(Serialize, Deserialize)]
struct Continue {
    /// The state that all pages show.
    rv: u64,
    /// Namespace and name of the last object of the page before.
    after: (String, String),
}

impl Continue {
    fn encode(&self) -> ApiResult<String> {
        let text = serde_json::to_vec(self).map_err(|error| ApiError::internal(error.to_string()))?;
        Ok(BASE64_URL_SAFE_NO_PAD.encode(text))
    }

    fn decode(text: &str) -> ApiResult<Self> {
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(text).ok();
        bytes
            .and_then(|bytes| serde_json::from_slice(&bytes).ok())
            .ok_or_else(|| ApiError::bad_request("continue key is not valid"))
    }
}

/// Which state is listed, and from where on.
fn state(api: &Api, query: &Query, limit: Option<usize>) -> ApiResult<ListAt> {
    let version = query.number("resourceVersion")?;
    let how = query.get("resourceVersionMatch");
    if !query.get("continue").is_empty() {
        if !how.is_empty() {
            return Err(forbidden("resourceVersionMatch is forbidden when continue is provided"));
        }
        if version.is_some_and(|version| version != 0) {
            return Err(ApiError::bad_request(
                "specifying resource version is not allowed when using continue",
            ));
        }
        let from = Continue::decode(query.get("continue"))?;
        return Ok(ListAt { revision: Some(from.rv), after: Some(from.after), limit: None });
    }
    let newest = ListAt::default();
    let current = api.store().known_revision();
    match (version, how) {
        (None, "") | (Some(0), "" | "NotOlderThan") => Ok(newest),
        (None, _) => Err(forbidden("resourceVersionMatch is forbidden unless resourceVersion is provided")),
        (Some(0), "Exact") => {
            Err(forbidden("resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\""))
        }
        (Some(asked), "" | "NotOlderThan" | "Exact") if asked > current => {
            Err(ApiError::too_new(asked, current))
        }
        (Some(asked), "Exact") => Ok(ListAt { revision: Some(asked), ..newest }),
        // Without a match rule a page shows exactly the state that was asked for, a whole list one no older.
        (Some(asked), "") if limit.is_some() => Ok(ListAt { revision: Some(asked), ..newest }),
        (Some(_), "" | "NotOlderThan") => Ok(newest),
        (Some(_), other) => {
            let supported = r#""Exact", "NotOlderThan", """#;
            let cause = Cause::unsupported("resourceVersionMatch", other, supported);
            Err(ApiError::invalid_options("ListOptions", cause))
        }
    }
}

fn forbidden(why: &str) -> ApiError {
    ApiError::invalid_options("ListOptions", Cause::forbidden("resourceVersionMatch", why))
}

/// Lists a resource, or one namespace of it.
pub(crate) fn list(
    api: &Api,
    kind: &Kind,
    namespace: Option<&str>,
    query: &Query,
    accepted: Accepted,
) -> ApiResult<Response> {
    if query.has("sendInitialEvents") {
        let cause = Cause::forbidden("sendInitialEvents", "sendInitialEvents is forbidden for list");
        return Err(ApiError::invalid_options("ListOptions", cause));
    }
    let selector = Selector::parse(kind, query.get("labelSelector"), query.get("fieldSelector"))?;
    let limit = query.number("limit")?.filter(|limit| *limit > 0);
    let limit = limit.map(|limit| usize::try_from(limit).unwrap_or(usize::MAX));
    let mut at = state(api, query, limit)?;
    if selector.is_empty() {
        at.limit = limit;
    }
    let listing = api.store().list(&kind.store_resource, namespace, &at).map_err(|gone| {
        ApiError::expired(format!(
            "The provided continue parameter or resource version is too old ({}, oldest {}): list again without it",
            gone.asked, gone.floor
        ))
    })?;
    let mut entries = listing.entries;
    let mut remaining = Some(listing.remaining);
    let mut more = listing.remaining > 0;
    if !selector.is_empty() {
        entries.retain(|entry| selector.matches(kind, entry));
        more = limit.is_some_and(|limit| entries.len() > limit);
        entries.truncate(limit.unwrap_or(usize::MAX));
        remaining = None;
    }
    let mut meta = json!({"resourceVersion": listing.revision.to_string()});
    if let Some(last) = entries.last().filter(|_| more) {
        let after = (last.key.namespace.to_string(), last.key.name.to_string());
        meta["continue"] = Continue { rv: listing.revision, after }.encode()?.into();
        if let Some(remaining) = remaining {
            meta["remainingItemCount"] = remaining.into();
        }
    }
    if plain(kind, accepted) {
        let head = format!(
            r#"{{"apiVersion":"{}","kind":"{}","metadata":{meta},"items":["#,
            kind.api_version(),
            kind.list_kind
        );
        let size = head.len() + 4 + entries.iter().map(|entry| entry.value.len() + 1).sum::<usize>();
        let mut out = BytesMut::with_capacity(size);
        out.put_slice(head.as_bytes());
        for (index, entry) in entries.iter().enumerate() {
            if index > 0 {
                out.put_u8(b',');
            }
            out.put_slice(&entry.value);
        }
        out.put_slice(b"]}\n");
        return Ok(raw_json(StatusCode::OK, out.freeze()));
    }
    let objects =
        entries.iter().map(|entry| served(kind, &entry.value)).collect::<ApiResult<Vec<Value>>>()?;
    let document = match accepted.form {
        Form::Object => json!({
            "apiVersion": kind.api_version(), "kind": kind.list_kind, "metadata": meta, "items": objects,
        }),
        Form::Metadata => json!({
            "apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadataList", "metadata": meta,
            "items": objects.iter().map(super::partial).collect::<Vec<Value>>(),
        }),
        Form::Table(include) => {
            let rows: Vec<&Value> = objects.iter().collect();
            table::render(kind, &rows, meta, include, true, Timestamp::now())
        }
    };
    encoded(StatusCode::OK, &document, accepted.yaml)
}
