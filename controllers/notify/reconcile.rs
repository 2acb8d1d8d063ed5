//! The loop: after any change of a ticket or a pool, all tickets are looked at together.

use std::collections::BTreeSet;
use std::time::Duration;

use gcluster_types::{Ticket, WorkerPool, labels};
use kube::api::{Patch, PatchParams};
use kube::{Api, ResourceExt};
use serde_json::json;
use tokio::sync::mpsc;

use super::plan::{News, Seen, plan};
use super::run::{clear, tell};
use crate::Context;
use crate::control_loop::jittered;
use crate::due::Due;
use crate::error::{Error, Result};
use crate::mirror::{Key, Mirror};
use crate::report::Events;

/// Changes that come in one breath are looked at once.
const SETTLE: Duration = Duration::from_millis(50);
/// How soon what could not be written down is tried again.
const RETRY: Duration = Duration::from_secs(1);
/// Commands that run at once.
const AT_ONCE: usize = 4;

/// Runs until it is dropped; then commands that run go on to their end, and what they left the next master ends.
pub async fn run(ctx: Context) {
    let (mut tickets, mut watched_tickets) = Mirror::<Ticket>::new(ctx.client.clone());
    let (mut pools, mut watched_pools) = Mirror::<WorkerPool>::new(ctx.client.clone());
    let events = Events::new(ctx.client.clone(), labels::MANAGER_NOTIFY);
    let (done, mut dones) = mpsc::unbounded_channel::<(String, Option<Ticket>)>();
    let data_dir = ctx.config.data_dir.clone();
    if let Err(error) = tokio::task::spawn_blocking(move || clear(&data_dir)).await {
        tracing::warn!(%error, "what an earlier master left could not be cleared away");
    }
    let mut live: BTreeSet<String> = BTreeSet::new();
    let mut tasks = tokio::task::JoinSet::new();
    let mut due = Due::default();
    loop {
        tokio::select! {
            event = watched_tickets.next() => {
                tickets.take(event);
            }
            event = watched_pools.next() => {
                pools.take(event);
            }
            Some((uid, written)) = dones.recv() => {
                live.remove(&uid);
                written.into_iter().for_each(|ticket| tickets.observe(ticket));
            }
            () = due.come() => {
                let _beat = ctx.pulse.begin("notify");
                while tasks.try_join_next().is_some() {}
                if !(tickets.is_ready() && pools.is_ready()) {
                    continue;
                }
                let now = ctx.now();
                let seen = Seen { tickets: tickets.objects(), pools: pools.objects(), live: &live, now };
                // The others when one of these has ended.
                for news in plan(&seen).into_iter().take(AT_ONCE.saturating_sub(live.len())).collect::<Vec<_>>() {
                    let Some(ticket) = tickets.get(&news.ticket).cloned() else { continue };
                    let uid = ticket.uid().unwrap_or_default();
                    live.insert(uid.clone());
                    let (ctx, events, done) = (ctx.clone(), events.clone(), done.clone());
                    tasks.spawn(async move {
                        if let Err(why) = tell(&ctx, &ticket, &news).await {
                            let note = format!("nobody may have been told that it is {:?}: {why}", news.reason);
                            events.warning(&*ticket, "NotifyFailed", &news.transition, note).await;
                        }
                        let written = written_down(&ctx, &ticket, &news).await;
                        // Nobody listens any more when the master ends.
                        let _ = done.send((uid, written));
                    });
                }
                continue;
            }
        }
        due.within(SETTLE);
    }
}

/// Writes down what was told, until it is written or the ticket is gone.
async fn written_down(ctx: &Context, ticket: &Ticket, news: &News) -> Option<Ticket> {
    loop {
        match write(ctx, &news.ticket, ticket.uid(), &news.transition).await {
            Ok(written) => return Some(written),
            Err(error) if error.is_race() => return None,
            Err(error) => {
                tracing::warn!(ticket = news.ticket.1, %error, "it cannot be written down what was told yet");
                tokio::time::sleep(jittered(RETRY)).await;
            }
        }
    }
}

async fn write(ctx: &Context, ticket: &Key, uid: Option<String>, transition: &str) -> Result<Ticket> {
    let patch = json!({"metadata": {"uid": uid, "annotations": {labels::NOTIFIED: transition}}});
    let params =
        PatchParams { field_manager: Some(labels::MANAGER_NOTIFY.to_owned()), ..PatchParams::default() };
    let api = Api::<Ticket>::namespaced(ctx.client.clone(), &ticket.0);
    let written = api.patch(&ticket.1, &params, &Patch::Merge(patch)).await;
    written.map_err(Error::api(format!("write what was told of Ticket {}", ticket.1)))
}
