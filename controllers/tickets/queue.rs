//! Tickets that nobody has: what each waits for, and who takes the next one.

use std::collections::{BTreeMap, BTreeSet};

use gcluster_types::kinds::ticket::{TicketPhase, TicketState};
use gcluster_types::names::is_dns_label;
use gcluster_types::tickets::cycle;
use gcluster_types::{Ticket, TicketStatus, WorkerPool};
use kube::ResourceExt;

use super::advance::{Scene, begin};
use super::branch::branch;
use super::draft::Draft;
use super::locks::Holders;
use super::pools::{Offer, Slots, offer};
use super::snapshot::{Place, Snapshot, is_of, phase};

/// What keeps a ticket: reason and sentence.
pub(super) type Kept = (&'static str, String);

/// Nobody has taken it. A ticket that was cancelled is free again once it is opened.
pub(super) fn is_free(ticket: &Ticket, status: &TicketStatus) -> bool {
    match status.phase {
        TicketPhase::Waiting | TicketPhase::Ready => true,
        TicketPhase::Cancelled => {
            ticket.spec.state != TicketState::Cancelled && ticket.metadata.deletion_timestamp.is_none()
        }
        _ => false,
    }
}

/// Work on it began before: it goes on before new tickets.
fn is_begun(status: &TicketStatus) -> bool {
    status.round > 0
}

/// Puts free tickets into the order in which they are taken.
pub(super) fn sort(free: &mut [(&Ticket, bool)]) {
    free.sort_by(|(one, one_begun), (two, two_begun)| {
        (!one_begun, one.order()).cmp(&(!two_begun, two.order()))
    });
}

/// With what a ticket is put into order.
pub(super) fn rank<'a>(ticket: &'a Ticket, status: &TicketStatus) -> (&'a Ticket, bool) {
    (ticket, is_begun(status))
}

/// Decides about a free ticket: it waits, it may be taken, or a worker takes it now. True: then its locks have to be
/// taken before the status is written.
pub(super) fn decide(
    seen: &Snapshot,
    ticket: &Ticket,
    draft: &mut Draft,
    kept: Option<Kept>,
    slots: &Slots,
    holders: &Holders,
) -> bool {
    if let Some((reason, message)) = kept {
        draft.stand(TicketPhase::Waiting, reason, message);
        return false;
    }
    if let Some(message) = holders.in_the_way(ticket) {
        draft.stand(TicketPhase::Waiting, "Locked", message);
        return false;
    }
    let workspace =
        seen.workspaces.get(&ticket.name_any()).filter(|workspace| is_of(&workspace.metadata, ticket));
    let worker = workspace.and_then(|workspace| workspace.spec.worker);
    match offer(seen, slots, ticket, (draft.status.pool.as_deref(), worker)) {
        Offer::Waits(reason, message) => draft.stand(TicketPhase::Waiting, reason, message),
        Offer::Queued(message) => ready(draft, message),
        Offer::Taken(pool, worker) => match seen.place(ticket) {
            // What an earlier ticket of the name left, or what could not be made, goes first.
            Place::Leaving => ready(draft, "the workspace that it had before is being removed".to_owned()),
            Place::Broken(_) => {
                ready(draft, "the workspace that could not be made is removed first".to_owned())
            }
            _ => match seen.busy_workers(&ticket.name_any()).next() {
                Some(busy) => {
                    ready(draft, format!("the worker before, {}, comes to its end first", busy.name_any()))
                }
                None => {
                    dispatch(seen, ticket, draft, pool, worker);
                    return true;
                }
            },
        },
    }
    false
}

/// It may be taken. Why it is there again, if it is, stays its reason.
fn ready(draft: &mut Draft, message: String) {
    let reason = match (draft.status.phase, draft.status.reason.as_deref()) {
        (TicketPhase::Ready, Some(reason)) if is_begun(&draft.status) => reason.to_owned(),
        _ => "Ready".to_owned(),
    };
    draft.stand(TicketPhase::Ready, &reason, message);
}

fn dispatch(seen: &Snapshot, ticket: &Ticket, draft: &mut Draft, pool: &WorkerPool, worker: i32) {
    let (name, pool_name) = (ticket.name_any(), pool.name_any());
    let there = seen.workspaces.get(&name).filter(|workspace| is_of(&workspace.metadata, ticket));
    let chosen = match (there, draft.status.branch.take()) {
        // Earlier work goes on.
        (Some(workspace), _) => workspace.spec.branch.clone(),
        (None, Some(branch)) => branch,
        (None, None) => branch((&pool_name, &pool.spec), worker, ticket, &taken(seen, &name)),
    };
    let begun = is_begun(&draft.status);
    draft.status.branch = Some(chosen);
    draft.status.workspace = Some(name.clone());
    draft.status.pool = Some(pool_name.clone());
    draft.status.worker = Some(worker);
    let scene = Scene::new(seen, ticket, &draft.status);
    let how = if begun { "goes on with it" } else { "takes it" };
    begin(&scene, draft, "Taken", &format!("worker {worker} of {pool_name} {how}"));
}

/// Branches that another ticket has, or that a repository is built on.
fn taken(seen: &Snapshot, ticket: &str) -> BTreeSet<String> {
    let others = seen.tickets.values().filter(|other| other.name_any() != ticket);
    let of_tickets = others.filter_map(|other| other.status.as_ref()?.branch.clone());
    let workspaces = seen.workspaces.values().filter(|workspace| workspace.name_any() != ticket);
    let of_workspaces = workspaces.map(|workspace| workspace.spec.branch.clone());
    let bases = seen.repositories.values().map(|repository| repository.spec.base.clone());
    of_tickets.chain(of_workspaces).chain(bases).collect()
}

/// Writes down which dependencies are merged: their tickets may be cleared away before this one is taken.
pub(super) fn remember_merged(
    ticket: &Ticket,
    status: &mut TicketStatus,
    phases: &BTreeMap<&str, TicketPhase>,
) {
    let was_merged = |name: &&String| match phases.get(name.as_str()) {
        Some(phase) => *phase == TicketPhase::Merged,
        None => status.merged_dependencies.contains(*name),
    };
    status.merged_dependencies = ticket.spec.depends_on.iter().filter(was_merged).cloned().collect();
}

/// What keeps a ticket beside locks and workers; none when nothing does. `phases` are those of all tickets.
pub(super) fn kept(
    ticket: &Ticket,
    status: &TicketStatus,
    phases: &BTreeMap<&str, TicketPhase>,
    cycle: Option<&String>,
) -> Option<Kept> {
    if ticket.spec.state == TicketState::Held {
        return Some(("Held", "spec.state is Held; Open lets it go on".to_owned()));
    }
    if !is_dns_label(&ticket.name_any()) {
        let message = "its name is no DNS label, of which those of its workers could be made: make it again under a shorter \
                       name without dots";
        return Some(("NameUnusable", message.to_owned()));
    }
    if let Some(cycle) = cycle {
        return Some(("DependencyCycle", format!("it waits for itself: {cycle}; take one dependency away")));
    }
    let mut wanted: Vec<String> = Vec::new();
    for name in &ticket.spec.depends_on {
        let stands = |phase: TicketPhase| format!("{phase:?}").to_lowercase();
        match phases.get(name.as_str()) {
            None if status.merged_dependencies.contains(name) => {}
            None => {
                let message = format!("it depends on {name}, and there is no such ticket");
                return Some(("DependencyMissing", message));
            }
            Some(TicketPhase::Merged) => {}
            Some(over @ (TicketPhase::Failed | TicketPhase::Cancelled)) => {
                let message = format!(
                    "it depends on {name}, which is {}; open that one again or take the dependency away",
                    stands(*over)
                );
                return Some(("DependencyFailed", message));
            }
            Some(open) => wanted.push(format!("{name} ({})", stands(*open))),
        }
    }
    (!wanted.is_empty()).then(|| ("Dependencies", format!("it waits for {}", wanted.join(", "))))
}

/// For every ticket that is part of a cycle, the cycle in words. Whoever somebody has is past waiting.
pub(super) fn cycles(seen: &Snapshot) -> BTreeMap<String, String> {
    let mut edges: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (name, ticket) in &seen.tickets {
        if !ticket.spec.depends_on.is_empty() || phase(ticket) == TicketPhase::Waiting {
            edges.insert(name.clone(), ticket.spec.depends_on.clone());
        }
    }
    let mut found = BTreeMap::new();
    while let Some(one) = cycle(&edges) {
        let members: BTreeSet<&String> = one.0.iter().collect();
        for (name, waits_for) in &mut edges {
            if members.contains(name) {
                found.insert(name.clone(), one.to_string());
                waits_for.clear();
            }
        }
    }
    found
}
