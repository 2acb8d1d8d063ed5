//! What nobody owns or needs any more goes.
//!
//! - owned objects whose owners are gone (background), `foregroundDeletion` and `orphan` finalizers: [`graph`], [`garbage`]
//! - namespaces that are deleted: emptied, then finalized: [`namespaces`]
//! - iterations and messages beyond their limits: [`retention`]

pub mod graph;

mod garbage;
mod namespaces;
mod retention;
#[cfg(test)]
mod tests;

use gcluster_types::{Iteration, Message};
use gcluster_types::kinds::{GROUP, VERSION};
use kube::core::{ApiResource, GroupVersionKind};

use crate::Context;
use crate::informer::Index;

/// Runs until it is dropped. `iterations` and `messages` are only read: the executor keeps them up to date.
pub async fn run(ctx: Context, iterations: Index<Iteration>, messages: Index<Message>) {
    tokio::join!(
        garbage::run(ctx.clone()),
        namespaces::run(ctx.clone()),
        retention::run(ctx, iterations, messages)
    );
}

/// Kinds that own or are owned.
fn owned_kinds() -> Vec<ApiResource> {
    let ours = |kind, plural| {
        ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(GROUP, VERSION, kind), plural)
    };
    vec![
        ours("Agent", "agents"),
        ours("AgentRevision", "agentrevisions"),
        ours("Iteration", "iterations"),
        ours("Message", "messages"),
    ]
}

/// Kinds that a namespace holds.
fn namespaced_kinds() -> Vec<ApiResource> {
    let mut all = owned_kinds();
    let built_in = |group, version, kind, plural| {
        ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, version, kind), plural)
    };
    all.push(built_in("coordination.k8s.io", "v1", "Lease", "leases"));
    all.push(built_in("events.k8s.io", "v1", "Event", "events"));
    all
}
