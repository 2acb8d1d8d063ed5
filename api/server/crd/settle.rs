//! From the stored definitions to the kinds that are served, and to the status of the definitions.

use std::collections::HashMap;
use std::sync::Arc;

use gcluster_store::{Key, ListAt, Listing};
use gcluster_types::kinds;
use http::HeaderMap;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use k8s_openapi::jiff::Timestamp;
use serde_json::Value;

use super::{GROUP, PLURAL, STORED, names};
use crate::Api;
use crate::kinds::Kind;
use crate::query::Query;
use crate::status::{ApiError, ApiResult};
use crate::write::{self, Change, Write, Written};

/// Rounds until all statuses are written while others write the same definitions.
const ROUNDS: usize = 16;

/// Serves the kinds of all stored definitions, then says so in their status. A definition whose status says that
/// it is established is served already.
///
/// # Errors
/// When a status cannot be written.
pub(crate) async fn settle(api: &Api) -> ApiResult<()> {
    let mut settled = api.settling().lock().await;
    for _ in 0..ROUNDS {
        let Ok(listing) = api.store().list(STORED, None, &ListAt::default()) else { return Ok(()) };
        let stored: HashMap<String, u64> =
            listing.entries.iter().map(|entry| (entry.key.name.to_string(), entry.revision)).collect();
        if *settled == stored {
            return Ok(());
        }
        let before = read_all(&listing);
        // Whole seconds, as the API writes them.
        let now = Timestamp::from_second(Timestamp::now().as_second()).unwrap_or_default();
        let mut after = before.clone();
        let established = names::accept(&mut after, api.base_registry(), now);
        let served = api.registry();
        let next = Arc::new(api.base_registry().next(&served, established));
        api.replace_registry(Arc::clone(&next));
        served.end_streams(&next);
        let changed: Vec<&CustomResourceDefinition> =
            after.iter().filter(|crd| !before.contains(crd)).collect();
        let mut again = false;
        *settled = stored;
        for crd in changed {
            match write_status(api, crd).await {
                // It was written on top of what was looked at, so there is nothing new in it.
                Ok((name, revision)) => drop(settled.insert(name, revision)),
                Err(error) if matches!(error.code().as_u16(), 404 | 409) => again = true,
                Err(error) => {
                    settled.clear();
                    return Err(error);
                }
            }
        }
        if !again {
            return Ok(());
        }
    }
    Ok(())
}

/// What a client is answered about a definition that it wrote: the definition as it is once its kind is served.
/// Goes on when the client is gone.
pub(crate) async fn settled(
    api: &Api,
    kind: &Kind,
    dry_run: bool,
    mut written: Written,
) -> ApiResult<Written> {
    if !kind.is_definition() || dry_run {
        return Ok(written);
    }
    now(api).await?;
    let name = written.object["metadata"]["name"].as_str().unwrap_or_default();
    if written.change != Change::Deleted
        && let Some(entry) = api.store().get(&Key::new(STORED, "", name))
    {
        let newest = write::served(kind, &entry.value)?;
        if newest["metadata"]["uid"] == written.object["metadata"]["uid"] {
            (written.object, written.bytes) = (newest, Some(entry.value.clone()));
        }
    }
    Ok(written)
}

/// [`settle`] as a task of its own, waited for.
pub(crate) async fn now(api: &Api) -> ApiResult<()> {
    let api = api.clone();
    let task = tokio::spawn(async move { settle(&api).await });
    task.await.unwrap_or_else(|error| Err(ApiError::internal(error.to_string())))
}

/// The stored definitions of users.
pub(super) fn definitions(api: &Api) -> Vec<CustomResourceDefinition> {
    let listing = api.store().list(STORED, None, &ListAt::default());
    listing.map(|listing| read_all(&listing)).unwrap_or_default()
}

fn read_all(listing: &Listing) -> Vec<CustomResourceDefinition> {
    let read = |entry: &Arc<gcluster_store::Entry>| match serde_json::from_slice(&entry.value) {
        Ok(crd) => Some(crd),
        Err(error) => {
            tracing::warn!(name = %entry.key.name, %error, "a stored definition cannot be read");
            None
        }
    };
    let all = listing.entries.iter().filter_map(read);
    all.filter(|crd: &CustomResourceDefinition| crd.spec.group != kinds::GROUP).collect()
}

/// The kind of definitions, and a write of one by the server itself.
pub(super) fn write_of(api: &Api, name: &str, subresource: Option<&str>) -> ApiResult<Write> {
    let kind = api.registry().by_resource(GROUP, "v1", PLURAL).cloned();
    let kind = kind.ok_or_else(|| ApiError::internal("definitions are no known kind"))?;
    let query = Query::parse("fieldManager=gcluster");
    Write::new(&kind, "", name, subresource, &query, &HeaderMap::new())
}

/// Answers the name and the revision that the definition has now.
async fn write_status(api: &Api, crd: &CustomResourceDefinition) -> ApiResult<(String, u64)> {
    let name = crd.metadata.name.as_deref().unwrap_or_default();
    let mut object: Value = match api.store().get(&Key::new(STORED, "", name)) {
        Some(entry) => {
            serde_json::from_slice(&entry.value).map_err(|error| ApiError::internal(error.to_string()))?
        }
        None => return Ok((name.to_owned(), 0)),
    };
    // What is there must still be what was looked at: the write is refused otherwise.
    object["metadata"]["resourceVersion"] = crd.metadata.resource_version.clone().into();
    object["status"] =
        serde_json::to_value(&crd.status).map_err(|error| ApiError::internal(error.to_string()))?;
    let written = write::update(api, write_of(api, name, Some("status"))?, object).await?;
    let revision = written.object.pointer("/metadata/resourceVersion").and_then(Value::as_str);
    Ok((name.to_owned(), revision.and_then(|revision| revision.parse().ok()).unwrap_or_default()))
}
