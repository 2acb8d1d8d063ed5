//! What is to be told, of what was seen. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use gcluster_types::kinds::ticket::TicketPhase;
use gcluster_types::kinds::worker_pool::{NotifyPolicy, NotifyReason};
use gcluster_types::{Ticket, WorkerPool, labels};
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;

use crate::mirror::{Key, key_of};

/// Condition of a ticket that nothing goes on with before a person decides.
const NEEDS_HUMAN: &str = "NeedsHuman";
/// What happened longer ago is no news: a pool that is given a command later does not tell its whole past.
const NEWS: SignedDuration = SignedDuration::from_mins(10);
/// Longest time of a command where the pool does not say.
const TIMEOUT: Duration = Duration::from_secs(30);

/// What was seen.
pub(crate) struct Seen<'a> {
    pub(crate) tickets: &'a BTreeMap<Key, std::sync::Arc<Ticket>>,
    pub(crate) pools: &'a BTreeMap<Key, std::sync::Arc<WorkerPool>>,
    /// Uids of tickets of which somebody is being told.
    pub(crate) live: &'a BTreeSet<String>,
    pub(crate) now: Timestamp,
}

/// One thing to tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct News {
    /// Namespace and name of the ticket.
    pub(crate) ticket: Key,
    /// Of which transition: what the annotation says afterwards.
    pub(crate) transition: String,
    /// What happened.
    pub(crate) reason: NotifyReason,
    /// The program and its arguments.
    pub(crate) command: Vec<String>,
    pub(crate) timeout: Duration,
}

/// What to tell now.
pub(crate) fn plan(seen: &Seen<'_>) -> Vec<News> {
    let all = seen.tickets.values();
    let idle = all.filter(|ticket| ticket.uid().is_none_or(|uid| !seen.live.contains(&uid)));
    idle.filter_map(|ticket| {
        let pool = ticket.status.as_ref()?.pool.clone()?;
        let pool = seen.pools.get(&(ticket.namespace().unwrap_or_default(), pool))?;
        news(ticket, pool.spec.notify.as_ref()?, seen.now)
    })
    .collect()
}

fn news(ticket: &Ticket, policy: &NotifyPolicy, now: Timestamp) -> Option<News> {
    let (reason, at) = transition(ticket)?;
    let is_wanted = policy.on.is_empty() || policy.on.contains(&reason);
    let transition = format!("{reason:?}@{at}");
    let is_told = ticket.annotations().get(labels::NOTIFIED) == Some(&transition);
    let is_news = now.duration_since(at) <= NEWS;
    if !is_wanted || is_told || !is_news || policy.command.is_empty() {
        return None;
    }
    let timeout = policy.timeout.as_deref().and_then(gcluster_types::duration::parse).unwrap_or(TIMEOUT);
    Some(News { ticket: key_of(ticket), transition, reason, command: policy.command.clone(), timeout })
}

/// What happened to a ticket last that somebody may want to know of, and when.
fn transition(ticket: &Ticket) -> Option<(NotifyReason, Timestamp)> {
    let status = ticket.status.as_ref()?;
    let ended = status.finished_at.as_ref().map(|at| at.0);
    match status.phase {
        TicketPhase::Merged => Some((NotifyReason::Merged, ended?)),
        TicketPhase::Failed => Some((NotifyReason::Failed, ended?)),
        TicketPhase::Cancelled => None,
        _ => {
            let asks =
                status.conditions.iter().find(|one| one.type_ == NEEDS_HUMAN && one.status == "True")?;
            Some((NotifyReason::NeedsHuman, asks.last_transition_time.0))
        }
    }
}
