//! Which kinds the API serves: those of gcluster, those that come with it, and those that users define.

use std::collections::HashSet;
use std::time::Duration;

use futures::{Stream, StreamExt};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::APIResourceList;
use kube::core::{ApiResource, GroupVersionKind, PartialObjectMeta};
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event};
use kube::{Api, Client};

use super::owned_kinds;

/// How soon a discovery that failed is tried again.
const RETRY: Duration = Duration::from_secs(2);
/// Definitions that come in one breath are one change.
const SETTLE: Duration = Duration::from_millis(50);

/// A kind whose objects can be listed, watched and deleted.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Kind {
    pub(super) resource: ApiResource,
    pub(super) namespaced: bool,
}

impl Kind {
    /// The objects of a namespace, or all objects when the kind has none.
    pub(super) fn api(&self, client: &Client, namespace: &str) -> Api<kube::core::DynamicObject> {
        match self.namespaced {
            true => Api::namespaced_with(client.clone(), namespace, &self.resource),
            false => Api::all_with(client.clone(), &self.resource),
        }
    }

    pub(super) fn is(&self, group: &str, kind: &str) -> bool {
        self.resource.group == group && self.resource.kind == kind
    }
}

/// The kinds that every gcluster has.
pub(super) fn own() -> Vec<Kind> {
    owned_kinds().into_iter().map(|resource| Kind { resource, namespaced: true }).collect()
}

/// All kinds of the server, each in one version.
pub(super) async fn discover(client: &Client) -> kube::Result<Vec<Kind>> {
    let mut kinds = Vec::new();
    let mut seen = HashSet::new();
    let mut take = |group: &str, version: &str, list: APIResourceList| {
        for found in list.resources {
            let usable = ["delete", "list", "watch"].iter().all(|verb| found.verbs.iter().any(|v| v == verb));
            let whole = !found.name.contains('/');
            if usable && whole && seen.insert((group.to_owned(), found.name.clone())) {
                let of = GroupVersionKind::gvk(group, version, &found.kind);
                kinds.push(Kind {
                    resource: ApiResource::from_gvk_with_plural(&of, &found.name),
                    namespaced: found.namespaced,
                });
            }
        }
    };
    for version in client.list_core_api_versions().await?.versions {
        take("", &version, client.list_core_api_resources(&version).await?);
    }
    for group in client.list_api_groups().await?.groups {
        // The preferred version comes first; a kind that it lacks is in another one.
        for version in group.versions {
            match client.list_api_group_resources(&version.group_version).await {
                // A definition that is deleted at this moment.
                Err(error) if crate::error::api_code(&error) == Some(404) => {}
                list => take(&group.name, &version.version, list?),
            }
        }
    }
    // One store of events is seen through two groups.
    kinds.retain(|kind| !kind.is("", "Event"));
    Ok(kinds)
}

/// The kinds now, and again whenever they change.
pub(super) fn follow(client: Client) -> impl Stream<Item = Vec<Kind>> + Send + 'static {
    let definitions = Api::<PartialObjectMeta<CustomResourceDefinition>>::all(client.clone());
    let events = watcher::watcher(definitions, watcher::Config::default()).default_backoff();
    let changes = events.filter_map(|event| async move {
        // What is there at the start is seen by one discovery.
        (!matches!(event, Ok(Event::Init | Event::InitApply(_)))).then_some(())
    });
    let state = (Box::pin(changes), client, None::<Vec<Kind>>);
    futures::stream::unfold(state, |(mut changes, client, before)| async move {
        let mut wait = before.is_some();
        loop {
            if wait {
                changes.next().await?;
                tokio::time::sleep(SETTLE).await;
            }
            wait = true;
            let kinds = match discover(&client).await {
                Ok(kinds) => kinds,
                // A server without discovery has gcluster's kinds at least.
                Err(error) if crate::error::api_code(&error) == Some(404) => own(),
                Err(error) => {
                    tracing::debug!(%error, "the kinds of the API cannot be discovered yet");
                    tokio::time::sleep(RETRY).await;
                    wait = false;
                    continue;
                }
            };
            if before.as_ref() != Some(&kinds) {
                return Some((kinds.clone(), (changes, client, Some(kinds))));
            }
        }
    })
}
