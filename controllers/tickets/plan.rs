//! What follows for all tickets, pools and locks of a namespace: a pure function of what was seen.
//!
//! ```text
//! seen ─▶ wishes, steps of those in flight ─▶ slots and locks ─▶ queue, best first ─▶ what has to be made ─▶ Plan
//! ```
//!
//! A worker, or a lock, is free only when that is written: what is about to be given back is not given out in the
//! same breath, because the write may fail.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use gcluster_types::conditions;
use gcluster_types::kinds::ticket::TicketPhase;
use gcluster_types::{Ticket, TicketStatus, WorkerPoolStatus};
use k8s_openapi::api::coordination::v1::Lease;

use super::advance::{Scene, advance};
use super::draft::{Draft, NEEDS_HUMAN, Note};
use super::locks::{self, Holders};
use super::pools::{self, Slots};
use super::queue;
use super::snapshot::{Snapshot, phase};
use super::usage;
use super::wants::{Action, wants};
use super::wishes::{carry_out, wish};
use super::worker::{give_back, has_worker, needs_worker, resume};

/// What to do about one ticket.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Turn {
    /// Its status as it should be.
    pub status: TicketStatus,
    /// What to tell once the status is written.
    pub notes: Vec<Note>,
    /// Locks that have to be taken before the status may be written, all of them or none.
    pub take: Vec<Lease>,
    /// What to do once it is written.
    pub actions: Vec<Action>,
}

/// What to do.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// Every ticket.
    pub tickets: BTreeMap<String, Turn>,
    /// The status of every pool.
    pub pools: BTreeMap<String, WorkerPoolStatus>,
    /// What to do about locks.
    pub locks: Vec<Action>,
    /// Agents whose last answer, or why they have none, is needed to go on.
    pub answers: BTreeSet<String>,
    /// When to look again if nothing changes.
    pub look_again: Option<Duration>,
}

/// Plans for a namespace.
pub fn plan(seen: &Snapshot) -> Plan {
    let seen = &seen.indexed();
    let mut plan = Plan::default();
    let mut drafts: BTreeMap<&str, Draft> = BTreeMap::new();
    for (name, ticket) in &seen.tickets {
        let mut draft = Draft::new(ticket.status.as_ref(), seen.now);
        draft.status.observed_generation = ticket.metadata.generation;
        let scene = Scene::new(seen, ticket, &draft.status);
        usage::count(seen, name, &mut draft.status);
        if !carry_out(&scene, &mut draft) {
            advance(&scene, &mut draft, &mut plan.answers);
        }
        give_back(&scene, &mut draft);
        keep_locks(seen, ticket, &mut draft);
        drafts.insert(name, draft);
    }
    let (mut slots, mut holders) = (Slots::default(), Holders::default());
    occupy(seen, &drafts, &mut slots, &mut holders);
    let mut takes = queue_up(seen, &mut drafts, &mut slots, &mut holders);
    for (name, draft) in &drafts {
        let Some(ticket) = seen.tickets.get(*name) else { continue };
        let actions = wants(&Scene::new(seen, ticket, &draft.status), &draft.status);
        let take = takes.remove(*name).unwrap_or_default();
        let (status, notes) = (draft.status.clone(), draft.notes.clone());
        plan.tickets.insert((*name).to_owned(), Turn { status, notes, take, actions });
    }
    let standing: Vec<(&Ticket, &TicketStatus)> = drafts
        .iter()
        .filter_map(|(name, draft)| Some((&**seen.tickets.get(*name)?, &draft.status)))
        .collect();
    for (name, pool) in &seen.pools {
        plan.pools.insert(name.clone(), pools::status(seen, &slots, pool, &standing));
    }
    plan.locks = locks::upkeep(seen, &holders, |ticket| seen.busy_workers(ticket).next().is_some());
    plan.locks.extend(retaken(seen, &drafts));
    plan.look_again = locks::next_look(seen);
    plan
}

/// Who has which worker and which lock: by what is written, by what is about to be, and by what still runs.
fn occupy(seen: &Snapshot, drafts: &BTreeMap<&str, Draft>, slots: &mut Slots, holders: &mut Holders) {
    for (name, ticket) in &seen.tickets {
        let written = ticket.status.clone().unwrap_or_default();
        let next = drafts.get(name.as_str()).map(|draft| draft.status.clone()).unwrap_or_default();
        let runs = seen.busy_workers(name).next().is_some();
        if conditions::is_true(&next.conditions, NEEDS_HUMAN) {
            slots.ask(&next);
        }
        for status in [&written, &next] {
            if has_worker(status) || runs {
                slots.take(status, name);
            }
        }
        if written.phase.is_in_flight() || next.phase.is_in_flight() || runs {
            let words = if next.phase.is_in_flight() { next.phase } else { written.phase };
            holders.hold(ticket, &format!("{words:?}").to_lowercase());
        }
    }
    holders.foreign(seen);
}

/// Gives work to free workers, the best ticket first. Answers the locks that have to be taken for it.
fn queue_up<'a>(
    seen: &'a Snapshot,
    drafts: &mut BTreeMap<&'a str, Draft>,
    slots: &mut Slots,
    holders: &mut Holders,
) -> BTreeMap<&'a str, Vec<Lease>> {
    let phases: BTreeMap<&str, TicketPhase> =
        drafts.iter().map(|(name, draft)| (*name, draft.status.phase)).collect();
    let cycles = queue::cycles(seen);
    let mut free: Vec<(&Ticket, bool)> = Vec::new();
    for (name, draft) in drafts.iter() {
        let Some(ticket) = seen.tickets.get(*name) else { continue };
        // What is wanted of it comes first; and what was let go in this breath is taken in the next.
        let is_new = draft.status.phase != phase(ticket) && draft.status.phase == TicketPhase::Ready;
        let wants_one =
            queue::is_free(ticket, &draft.status) && !is_new || needs_worker(seen, ticket, &draft.status);
        if wants_one && wish(ticket, &draft.status).is_none() {
            free.push(queue::rank(ticket, &draft.status));
        }
    }
    queue::sort(&mut free);
    let mut takes = BTreeMap::new();
    for (ticket, _) in free {
        let name = ticket.metadata.name.as_deref().unwrap_or_default();
        let (Some((name, _)), Some(draft)) = (phases.get_key_value(name), drafts.get_mut(name)) else {
            continue;
        };
        if draft.status.phase == TicketPhase::Working {
            if resume(seen, ticket, draft, slots) {
                slots.take(&draft.status, name);
            }
            continue;
        }
        queue::remember_merged(ticket, &mut draft.status, &phases);
        let kept = queue::kept(ticket, &draft.status, &phases, cycles.get(*name));
        if queue::decide(seen, ticket, draft, kept, slots, holders) {
            slots.take(&draft.status, name);
            holders.hold(ticket, "working");
            takes.insert(*name, locks::missing(seen, ticket));
        }
    }
    takes
}

/// Says when somebody has a lock that the ticket needs while it is at work.
fn keep_locks(seen: &Snapshot, ticket: &Ticket, draft: &mut Draft) {
    let lost = if phase(ticket).is_in_flight() && draft.status.phase.is_in_flight() {
        locks::lost(seen, ticket)
    } else {
        None
    };
    if let (Some(message), false) = (&lost, draft.is_flagged("LockLost")) {
        draft.note(true, "LockLost", message.clone());
    }
    draft.flag("LockLost", lost);
}

/// Locks of tickets in flight whose leases somebody removed.
fn retaken(seen: &Snapshot, drafts: &BTreeMap<&str, Draft>) -> Vec<Action> {
    let in_flight = seen.tickets.values().filter(|ticket| {
        let next = ticket.metadata.name.as_deref().and_then(|name| drafts.get(name));
        phase(ticket).is_in_flight() && next.is_some_and(|draft| draft.status.phase.is_in_flight())
    });
    let missing = in_flight.flat_map(|ticket| locks::missing(seen, ticket));
    missing.map(|lease| Action::TakeLock(Box::new(lease))).collect()
}
