//! What nobody owns or needs any more goes.
//!
//! - owned objects whose owners are gone (background), `foregroundDeletion` and `orphan` finalizers: [`graph`], [`garbage`]
//! - all that for every kind that the API serves, users' kinds too: [`kinds`]
//! - namespaces that are deleted: emptied, then finalized: [`namespaces`]
//! - iterations and messages beyond their limits: [`retention`]

pub mod graph;

mod garbage;
mod kinds;
mod namespaces;
mod related;
mod retention;
#[cfg(test)]
mod tests;

use std::time::Duration;

use gcluster_types::kinds::{GROUP, VERSION};
use gcluster_types::{Iteration, Message};
use kube::Client;
use kube::core::{ApiResource, GroupVersionKind};

use crate::agents::Agents;
use crate::informer::Index;
use crate::{Context, error};

/// How soon a server that does not answer is asked again.
const RETRY: Duration = Duration::from_secs(1);

/// Runs until it is dropped. `iterations` and `messages` are only read: the executor keeps them up to date.
pub(crate) async fn run(
    ctx: Context,
    agents: &Agents,
    iterations: Index<Iteration>,
    messages: Index<Message>,
) {
    let collecting = async {
        if !is_kubernetes(&ctx.client).await {
            let (garbage, namespaces) = (garbage::run(ctx.clone()), namespaces::run(ctx.clone()));
            tokio::join!(ctx.pulse.keep("garbage", || garbage), ctx.pulse.keep("namespaces", || namespaces));
        }
    };
    tokio::join!(collecting, retention::run(ctx.clone(), agents, iterations, messages));
}

/// A Kubernetes cluster has a garbage collector and a namespace controller of its own.
async fn is_kubernetes(client: &Client) -> bool {
    loop {
        match client.apiserver_version().await {
            Ok(version) => return !version.git_version.contains("gcluster"),
            Err(error) if error::api_code(&error) == Some(404) => return false,
            Err(error) => {
                tracing::debug!(%error, "the version of the API cannot be read yet");
                tokio::time::sleep(RETRY).await;
            }
        }
    }
}

/// gcluster's own kinds, all of which own or are owned.
fn owned_kinds() -> Vec<ApiResource> {
    let ours = |kind, plural| {
        ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(GROUP, VERSION, kind), plural)
    };
    vec![
        ours("Agent", "agents"),
        ours("AgentRevision", "agentrevisions"),
        ours("Iteration", "iterations"),
        ours("Message", "messages"),
        ours("Ticket", "tickets"),
    ]
}
