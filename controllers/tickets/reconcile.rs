//! The loop: after any change, all tickets of the namespace are looked at together.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures::channel::mpsc;
use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt};
use gcluster_types::{WorkerPool, labels};
use kube::{Api, ResourceExt};
use tokio::time::Instant;

use super::act::Hands;
use super::plan::{Plan, plan};
use super::watch::Caches;
use crate::Context;
use crate::control_loop::jittered;
use crate::error::Result;
use crate::report::{Events, write_status};

/// The status fields of a pool.
const POOL_FIELDS: &[&str] =
    &["observedGeneration", "replicas", "busy", "ready", "merged", "failed", "message", "conditions"];
/// Changes that come in one breath are looked at once.
const SETTLE: Duration = Duration::from_millis(20);
/// How soon what failed is tried again.
const RETRY: Duration = Duration::from_millis(500);
/// Tickets that are written at once.
const CONCURRENCY: usize = 16;

/// Runs until it is dropped.
pub async fn run(ctx: Context) {
    let caches = Caches::default();
    let (sender, changes) = mpsc::unbounded();
    tokio::join!(caches.follow(&ctx.client, sender).boxed(), work(&ctx, &caches, changes).boxed());
}

async fn work(ctx: &Context, caches: &Caches, mut changes: mpsc::UnboundedReceiver<String>) {
    caches.ready().await;
    let events = Events::new(ctx.client.clone(), labels::MANAGER_TICKETS);
    let mut answers = Answers::default();
    // When to look at each namespace.
    let mut due: BTreeMap<String, Instant> = BTreeMap::new();
    loop {
        let next = due.values().min().copied();
        tokio::select! {
            changed = changes.next() => {
                let Some(namespace) = changed else { return };
                let soon = Instant::now() + SETTLE;
                due.entry(namespace).and_modify(|at| *at = soon.min(*at)).or_insert(soon);
            }
            () = tokio::time::sleep_until(next.unwrap_or_else(Instant::now)), if next.is_some() => {
                let _beat = ctx.pulse.begin("tickets");
                let now = Instant::now();
                let ready: Vec<String> =
                    due.iter().filter(|(_, at)| **at <= now).map(|(namespace, _)| namespace.clone()).collect();
                for namespace in ready {
                    due.remove(&namespace);
                    let hands = Hands { ctx, events: &events, caches, namespace: &namespace };
                    let again = match reconcile(&hands, &mut answers).await {
                        Ok(again) => again,
                        Err(error) => {
                            if !error.is_race() {
                                tracing::warn!(%namespace, %error, "tickets could not be looked at");
                            }
                            Some(jittered(RETRY))
                        }
                    };
                    if let Some(again) = again {
                        let at = Instant::now() + again;
                        due.entry(namespace).and_modify(|old| *old = at.min(*old)).or_insert(at);
                    }
                }
            }
        }
    }
}

/// Last answers of agents that were read, by namespace and agent.
type Answers = BTreeMap<(String, String), String>;

/// Plans and acts. Answers when to look again. What one ticket fails at keeps no other.
async fn reconcile(hands: &Hands<'_>, answers: &mut Answers) -> Result<Option<Duration>> {
    let plan = planned(hands, answers).await;
    let mut first: Result<()> = Ok(());
    let mut turns: Vec<BoxFuture<'_, Result<()>>> = Vec::with_capacity(plan.tickets.len());
    for (name, turn) in &plan.tickets {
        turns.push(hands.turn(name, turn).boxed());
    }
    let mut turns = futures::stream::iter(turns).buffer_unordered(CONCURRENCY);
    while let Some(done) = turns.next().await {
        keep_worst(&mut first, done);
    }
    drop(turns);
    for action in &plan.locks {
        keep_worst(&mut first, hands.act(None, action).await);
    }
    for (name, status) in &plan.pools {
        let api = Api::<WorkerPool>::namespaced(hands.ctx.client.clone(), hands.namespace);
        let Some(pool) = hands.caches.pools.get(hands.namespace, name) else { continue };
        let old = serde_json::json!(pool.status.clone().unwrap_or_default());
        let old = if pool.status.is_some() { old } else { serde_json::json!({}) };
        let new = serde_json::json!(status);
        match write_status(&api, &*pool, labels::MANAGER_TICKETS, POOL_FIELDS, &old, &new).await {
            Ok(written) => written.into_iter().for_each(|written| hands.caches.pools.observe(written)),
            Err(error) if error.code() == Some(404) => hands.caches.pools.forget(&pool),
            Err(error) => keep_worst(&mut first, Err(error)),
        }
    }
    first.map(|()| plan.look_again)
}

/// Of two errors the one that is no race: that one has to be told.
fn keep_worst(first: &mut Result<()>, done: Result<()>) {
    match (&first, &done) {
        (Ok(()), _) => *first = done,
        (Err(old), Err(new)) if old.is_race() && !new.is_race() => *first = done,
        _ => {}
    }
}

/// Plans; reads what is needed for it.
async fn planned(hands: &Hands<'_>, answers: &mut Answers) -> Plan {
    let mut unread: BTreeSet<String> = BTreeSet::new();
    loop {
        let mut seen = hands.caches.snapshot(hands.namespace, hands.ctx.now());
        let own = answers.iter().filter(|((namespace, _), _)| namespace == hands.namespace);
        seen.answers = own.map(|((_, agent), text)| (agent.clone(), text.clone())).collect();
        let mut plan = plan(&seen);
        let is_missing = |agent: &&String| !seen.answers.contains_key(*agent) && !unread.contains(*agent);
        let missing: Vec<String> = plan.answers.iter().filter(is_missing).cloned().collect();
        if missing.is_empty() {
            // Those of the present round may be asked for once more, when a write is refused.
            let current = |agent: &str| {
                seen.tickets.values().any(|ticket| {
                    ticket.status.as_ref().is_some_and(|status| status.agent.as_deref() == Some(agent))
                })
            };
            answers.retain(|(namespace, agent), _| namespace != hands.namespace || current(agent));
            if !unread.is_empty() {
                let soon = jittered(RETRY);
                plan.look_again = Some(plan.look_again.map_or(soon, |again| again.min(soon)));
            }
            return plan;
        }
        for agent in missing {
            match hands.answer(&agent).await {
                Ok(text) => drop(answers.insert((hands.namespace.to_owned(), agent), text)),
                // Its ticket waits for it; the others do not.
                Err(error) => {
                    tracing::warn!(%agent, %error, "what a worker said cannot be read yet");
                    unread.insert(agent);
                }
            }
        }
    }
}

/// Name of a namespaced object, for messages.
pub(super) fn named<K: kube::Resource<DynamicType = ()>>(object: &K) -> String {
    format!("{} {}", K::kind(&()), object.name_any())
}
