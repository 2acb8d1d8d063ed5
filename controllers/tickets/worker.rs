//! Workers: a ticket keeps one while it is worked on, tested and reviewed; while it waits for a person, others have it.
//!
//! ```text
//! Working … Approved, with a worker ── held, or NeedsHuman, and nothing of it runs ──▶ without one
//!                                   ◀── work goes on: best ticket first ──────────────
//! ```
//!
//! Its workspace stays, and so do its locks: what it made is not in the base yet. Tests, readings and merges need no
//! worker, so a ticket that a person approves does not wait for one.

use gcluster_types::kinds::ticket::{TicketPhase, TicketState};
use gcluster_types::{Ticket, TicketStatus};
use kube::ResourceExt;

use super::advance::Scene;
use super::draft::{Draft, NEEDS_HUMAN};
use super::pools::{Offer, Slots, offer};
use super::snapshot::{Snapshot, Standing, is_of, standing};

/// True while a worker is kept for a ticket.
pub(super) fn has_worker(status: &TicketStatus) -> bool {
    use TicketPhase::{Approved, Checking, Reviewing, Working};
    matches!(status.phase, Working | Checking | Reviewing | Approved) && status.worker.is_some()
}

/// Gives the worker back while nobody can say when work goes on; not before all that runs for it has come to rest.
pub(super) fn give_back(scene: &Scene<'_>, draft: &mut Draft) {
    let waits = scene.ticket.spec.state == TicketState::Held || draft.is_flagged(NEEDS_HUMAN);
    if waits && has_worker(&draft.status) && scene.seen.busy_workers(&scene.name).next().is_none() {
        draft.status.worker = None;
    }
}

/// True when work would go on if there was a worker for it.
pub(super) fn needs_worker(seen: &Snapshot, ticket: &Ticket, status: &TicketStatus) -> bool {
    let is_wanted = ticket.spec.state == TicketState::Open && ticket.metadata.deletion_timestamp.is_none();
    status.phase == TicketPhase::Working && status.worker.is_none() && is_wanted && {
        let agent = status.agent.as_ref().and_then(|agent| seen.agents.get(agent));
        // What it made is only looked at.
        !agent.is_some_and(|agent| is_of(&agent.metadata, ticket) && standing(agent) == Standing::Done)
    }
}

/// Takes a worker again, where there is a free one. Its locks it has already.
pub(super) fn resume(seen: &Snapshot, ticket: &Ticket, draft: &mut Draft, slots: &Slots) -> bool {
    let workspace = seen.workspaces.get(&ticket.name_any());
    let workspace = workspace.filter(|workspace| is_of(&workspace.metadata, ticket));
    let worker = workspace.and_then(|workspace| workspace.spec.worker);
    match offer(seen, slots, ticket, (draft.status.pool.as_deref(), worker)) {
        Offer::Waits(_, message) | Offer::Queued(message) => {
            draft.say("WaitsForWorker", message);
            false
        }
        Offer::Taken(pool, worker) => {
            let pool = pool.name_any();
            draft.say("Resumed", format!("worker {worker} of {pool} goes on with it"));
            draft.status.pool = Some(pool);
            draft.status.worker = Some(worker);
            true
        }
    }
}
