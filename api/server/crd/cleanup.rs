//! The end of a definition: its instances are deleted first, then it goes itself.
//!
//! ```text
//! deletion ─▶ Terminating ─▶ delete all instances ─▶ none left ─▶ finalizer off ─▶ kind is served no more
//!                                    ▲──── an instance changed ────┘ some are held by their finalizers
//! ```
//! All of it follows from what is stored, so that a restart goes on where it was.

use std::sync::Arc;
use std::time::Duration;

use futures::future::select_all;
use gcluster_store::{WatchEnd, Watcher};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use serde_json::json;

use super::settle::{definitions, settle, write_of};
use super::{CLEANUP, STORED};
use crate::Api;
use crate::kinds::custom::Established;
use crate::selector::Selector;
use crate::status::ApiResult;
use crate::write::{self, DeleteOptions, Patch, Write};

/// How soon a round that failed is tried again.
const RETRY: Duration = Duration::from_secs(1);

/// Follows the definitions until the store closes.
pub(crate) fn follow(api: &Api) {
    let weak = Arc::downgrade(&api.inner);
    let (_, mut watcher) = api.store().list_and_watch(STORED, None);
    tokio::spawn(async move {
        loop {
            let Some(inner) = weak.upgrade() else { return };
            let api = Api { inner };
            let (mut waiting, failed) = round(&api).await;
            // Nothing is held while there is nothing to do: a store that nobody uses closes.
            drop(api);
            tokio::select! {
                events = watcher.next() => match events {
                    Ok(_) => {}
                    Err(WatchEnd::Closed) => return,
                    Err(WatchEnd::Gone(_)) => {
                        let Some(inner) = weak.upgrade() else { return };
                        watcher = inner.store.list_and_watch(STORED, None).1;
                    }
                },
                () = changed(&mut waiting), if !waiting.is_empty() => {}
                () = tokio::time::sleep(RETRY), if failed => {}
            }
        }
    });
}

/// Waits for a change of any of the resources.
async fn changed(waiting: &mut [Watcher]) {
    // Whatever came of it, the next round looks at what there is.
    let _ = select_all(waiting.iter_mut().map(|watcher| Box::pin(watcher.next()))).await;
}

/// Does what can be done now. Answers watches of what has to go first, and whether something failed.
async fn round(api: &Api) -> (Vec<Watcher>, bool) {
    let mut failed = false;
    let mut warn = |error: &dyn std::fmt::Display, name: &str| {
        tracing::warn!(definition = name, %error, "a definition cannot be brought up to date yet");
        failed = true;
    };
    if let Err(error) = settle(api).await {
        warn(&error, "");
    }
    let mut waiting = Vec::new();
    for crd in definitions(api).into_iter().filter(waits_for_cleanup) {
        match clean(api, &crd).await {
            Ok(watcher) => waiting.extend(watcher),
            Err(error) if matches!(error.code().as_u16(), 404 | 409) => {}
            Err(error) => warn(&error, crd.metadata.name.as_deref().unwrap_or_default()),
        }
    }
    (waiting, failed)
}

fn waits_for_cleanup(crd: &CustomResourceDefinition) -> bool {
    let finalizers = crd.metadata.finalizers.as_deref().unwrap_or_default();
    crd.metadata.deletion_timestamp.is_some() && finalizers.iter().any(|name| name == CLEANUP)
}

/// Deletes all instances, and lets the definition go when there are none. A watch of the instances otherwise.
async fn clean(api: &Api, crd: &CustomResourceDefinition) -> ApiResult<Option<Watcher>> {
    let resource = format!("{}/{}", crd.spec.group, crd.spec.names.plural);
    let (before, watcher) = api.store().list_and_watch(&resource, None);
    if !before.entries.is_empty() {
        let established = Established { definition: crd.clone(), names: crd.spec.names.clone() };
        if let Some(kind) = established.kinds(true).into_iter().next() {
            let definition = write_of(api, "", None)?;
            let instances = Write { api_version: kind.api_version(), kind: Arc::new(kind), ..definition };
            let (all, options) = (Selector::default(), DeleteOptions::default());
            write::delete_collection(api, instances, None, &all, options).await?;
        }
        let left = api.store().list_and_watch(&resource, None).0.entries;
        if !left.is_empty() {
            return Ok(Some(watcher));
        }
    }
    let name = crd.metadata.name.as_deref().unwrap_or_default();
    let finalizers: Vec<&String> =
        crd.metadata.finalizers.iter().flatten().filter(|name| *name != CLEANUP).collect();
    let change = json!({"metadata": {
        "finalizers": finalizers, "uid": crd.metadata.uid, "resourceVersion": crd.metadata.resource_version,
    }});
    write::patch(api, write_of(api, name, None)?, Patch::Merge(change)).await?;
    settle(api).await?;
    Ok(None)
}
