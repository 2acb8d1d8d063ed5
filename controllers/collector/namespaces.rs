//! A namespace that is deleted is emptied, then let go.

use std::time::Duration;

use futures::StreamExt;
use k8s_openapi::api::core::v1::Namespace;
use kube::api::{DeleteParams, ListParams, PostParams};
use kube::runtime::controller::{Action, Controller};
use kube::runtime::watcher;
use kube::{Api, ResourceExt};
use std::sync::Arc;

use super::kinds;
use crate::Context;
use crate::error::{Error, Result};

/// How soon a namespace that is not empty yet is looked at again.
const SOON: Duration = Duration::from_millis(200);
/// The finalizer of namespaces.
const KUBERNETES: &str = "kubernetes";

/// Runs until it is dropped.
pub(super) async fn run(ctx: Context) {
    let namespaces = Api::<Namespace>::all(ctx.client.clone());
    Controller::new(namespaces, watcher::Config::default())
        .run(reconcile, |_, error: &Error, _| Action::requeue(error.retry_after(1)), Arc::new(ctx))
        .for_each(|_| async {})
        .await;
}

async fn reconcile(namespace: Arc<Namespace>, ctx: Arc<Context>) -> Result<Action> {
    if namespace.metadata.deletion_timestamp.is_none() {
        return Ok(Action::await_change());
    }
    let name = namespace.name_any();
    if !empty(&ctx, &name).await? {
        return Ok(Action::requeue(SOON));
    }
    let api = Api::<Namespace>::all(ctx.client.clone());
    let Some(mut fresh) = api.get_opt(&name).await.map_err(Error::api(format!("read Namespace {name}")))?
    else {
        return Ok(Action::await_change());
    };
    let finalizers = fresh.spec.get_or_insert_default().finalizers.get_or_insert_default();
    finalizers.retain(|finalizer| finalizer != KUBERNETES);
    match api.replace_subresource("finalize", &name, &PostParams::default(), &fresh).await {
        Err(error) if crate::error::api_code(&error) == Some(404) => {}
        other => {
            other.map_err(Error::api(format!("finalize Namespace {name}")))?;
        }
    }
    Ok(Action::requeue(SOON))
}

/// Asks everything in a namespace to go. True when nothing is left.
async fn empty(ctx: &Context, namespace: &str) -> Result<bool> {
    let mut left = 0;
    let kinds = match kinds::discover(&ctx.client).await {
        Err(error) if crate::error::api_code(&error) == Some(404) => kinds::own(),
        kinds => kinds.map_err(Error::api("discover the kinds of the API"))?,
    };
    for kind in kinds.into_iter().filter(|kind| kind.namespaced) {
        let api = kind.api(&ctx.client, namespace);
        let resource = &kind.resource;
        let listed = api.list(&ListParams::default()).await;
        let objects = match listed.map_err(Error::api(format!("list {} in {namespace}", resource.plural))) {
            // A server without the kind holds none of them.
            Err(error) if error.code() == Some(404) => continue,
            other => other?,
        };
        for object in objects {
            left += 1;
            if object.metadata.deletion_timestamp.is_some() {
                continue;
            }
            let name = object.name_any();
            match api.delete(&name, &DeleteParams::background()).await {
                Err(error) if crate::error::api_code(&error) == Some(404) => {}
                other => {
                    other.map_err(Error::api(format!("delete {} {name}", resource.kind)))?;
                }
            }
        }
    }
    Ok(left == 0)
}
