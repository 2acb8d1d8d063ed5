//! The loop: after any change of any ticket, all tickets of its namespace are looked at together.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use gcluster_types::kinds::ticket::{TicketPhase, TicketStatus};
use gcluster_types::{Ticket, labels};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event};
use kube::{Api, ResourceExt};
use tokio::time::Instant;

use super::plan::{Decision, plan};
use crate::Context;
use crate::control_loop::jittered;
use crate::error::Result;
use crate::report::{Events, write_status};

/// The status fields that are decided here.
const FIELDS: &[&str] = &["observedGeneration", "phase", "reason", "message", "since"];
/// Changes that come in one breath are looked at once.
const SETTLE: Duration = Duration::from_millis(20);
/// How soon what failed is tried again.
const RETRY: Duration = Duration::from_millis(500);

type Tickets = BTreeMap<String, Arc<Ticket>>;

/// Runs until it is dropped.
pub async fn run(ctx: Context) {
    let events = Events::new(ctx.client.clone(), labels::MANAGER_TICKETS);
    let watched = watcher::watcher(Api::<Ticket>::all(ctx.client.clone()), watcher::Config::default());
    let mut watched = std::pin::pin!(watched.default_backoff());
    let mut namespaces: BTreeMap<String, Tickets> = BTreeMap::new();
    let mut listing: BTreeMap<String, Tickets> = BTreeMap::new();
    let mut dirty: BTreeSet<String> = BTreeSet::new();
    let mut due = Instant::now();
    loop {
        tokio::select! {
            event = watched.next() => match event {
                None => return,
                Some(Err(error)) => tracing::debug!(%error, "the watch of tickets was interrupted"),
                Some(Ok(event)) => {
                    if dirty.is_empty() {
                        due = Instant::now() + SETTLE;
                    }
                    take(event, &mut namespaces, &mut listing, &mut dirty);
                }
            },
            () = tokio::time::sleep_until(due), if !dirty.is_empty() => {
                for namespace in std::mem::take(&mut dirty) {
                    let tickets = namespaces.entry(namespace.clone()).or_default();
                    if let Err(error) = reconcile(&ctx, &events, &namespace, tickets).await {
                        if !error.is_race() {
                            tracing::warn!(%namespace, %error, "tickets could not be looked at");
                        }
                        dirty.insert(namespace);
                        due = Instant::now() + jittered(RETRY);
                    }
                }
                namespaces.retain(|_, tickets| !tickets.is_empty());
            }
        }
    }
}

fn take(
    event: Event<Ticket>,
    namespaces: &mut BTreeMap<String, Tickets>,
    listing: &mut BTreeMap<String, Tickets>,
    dirty: &mut BTreeSet<String>,
) {
    let put = |into: &mut BTreeMap<String, Tickets>, ticket: Ticket| {
        let namespace = ticket.namespace().unwrap_or_default();
        into.entry(namespace.clone()).or_default().insert(ticket.name_any(), Arc::new(ticket));
        namespace
    };
    match event {
        Event::Init => listing.clear(),
        Event::InitApply(ticket) => drop(put(listing, ticket)),
        Event::InitDone => {
            dirty.extend(namespaces.keys().cloned());
            *namespaces = std::mem::take(listing);
            dirty.extend(namespaces.keys().cloned());
        }
        Event::Apply(ticket) => {
            let namespace = put(namespaces, ticket);
            dirty.insert(namespace);
        }
        Event::Delete(ticket) => {
            let namespace = ticket.namespace().unwrap_or_default();
            namespaces.entry(namespace.clone()).or_default().remove(&ticket.name_any());
            dirty.insert(namespace);
        }
    }
}

/// Writes what has changed. What was seen may be old: a write against an older version is refused, and the change
/// that made it old comes by itself.
async fn reconcile(ctx: &Context, events: &Events, namespace: &str, tickets: &mut Tickets) -> Result<()> {
    let api = Api::<Ticket>::namespaced(ctx.client.clone(), namespace);
    for (name, decision) in plan(tickets.values().map(|ticket| &**ticket)) {
        let Some(ticket) = tickets.get(&name).cloned() else { continue };
        let old = ticket.status.clone().unwrap_or_default();
        let new = decided(&old, &ticket, &decision, MicroTime(ctx.now()));
        // A phase that was never written has to be, even if it is the default.
        let known = ticket.status.is_some();
        let before = if known { serde_json::to_value(&old) } else { Ok(serde_json::json!({})) };
        let before = before.unwrap_or_default();
        match write_status(&api, &*ticket, labels::MANAGER_TICKETS, FIELDS, &before, &to_value(&new)).await {
            Ok(Some(written)) => {
                tickets.insert(name, Arc::new(written));
                if (known && old.reason == new.reason) || decision.phase == TicketPhase::Ready && !known {
                    continue;
                }
                let is_warning =
                    matches!(decision.reason, "DependencyCycle" | "DependencyMissing" | "DependencyFailed");
                match is_warning {
                    true => {
                        events.warning(&*ticket, decision.reason, decision.reason, decision.message).await
                    }
                    false => {
                        events.normal(&*ticket, decision.reason, decision.reason, decision.message).await
                    }
                }
            }
            Ok(None) => {}
            Err(error) if error.code() == Some(404) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn to_value(status: &TicketStatus) -> serde_json::Value {
    serde_json::to_value(status).unwrap_or_default()
}

fn decided(old: &TicketStatus, ticket: &Ticket, decision: &Decision, now: MicroTime) -> TicketStatus {
    let mut new = old.clone();
    new.observed_generation = ticket.metadata.generation;
    if new.phase != decision.phase || new.since.is_none() {
        new.since = Some(now);
    }
    new.phase = decision.phase;
    new.reason = Some(decision.reason.to_owned());
    new.message = Some(decision.message.clone());
    new
}
