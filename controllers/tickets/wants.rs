//! What has to be made, started, stopped and taken away for a status to be true.

use gcluster_types::kinds::agent::RunPolicy;
use gcluster_types::kinds::review::ReviewPhase;
use gcluster_types::kinds::ticket::{TicketPhase, TicketState};
use gcluster_types::{Agent, Check, Merge, Review, TicketStatus, Workspace, labels};
use k8s_openapi::api::coordination::v1::Lease;
use kube::ResourceExt;

use super::advance::Scene;
use super::make;
use super::snapshot::{Place, Standing, annotation, is_of, is_worker, standing};
use super::wishes::to_withdraw;

/// One thing to do. Each may be done again: what is there already is not made anew, what is gone stays so.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Put the finalizer on the ticket, so that nothing of it is lost when it is deleted.
    Finalize,
    /// Make the workspace.
    MakeWorkspace(Box<Workspace>),
    /// Make the agent of the round.
    MakeAgent(Box<Agent>),
    /// Ask for a check.
    MakeCheck(Box<Check>),
    /// Ask for a reading.
    MakeReview(Box<Review>),
    /// Ask for the merge.
    MakeMerge(Box<Merge>),
    /// Ask for an exact look at the workspace.
    Observe {
        /// Name of the Workspace.
        workspace: String,
        /// The new value of the annotation.
        value: String,
    },
    /// Change whether an agent should be at work.
    SetRun {
        /// Name of the Agent.
        agent: String,
        /// How.
        run: RunPolicy,
        /// True: because the ticket is held or has no worker, so that the agent goes on when that is over.
        held: bool,
    },
    /// Remove a workspace that could not be made, so that it is made again.
    RemoveWorkspace(Box<Workspace>),
    /// Remove a review that nobody waits for any more; its reviewer ends.
    RemoveReview(Box<Review>),
    /// Take a merge out of the queue, unless it was begun.
    WithdrawMerge(Box<Merge>),
    /// Take a lock again that the ticket should have.
    TakeLock(Box<Lease>),
    /// Say that a lock is still held.
    RenewLock(Box<Lease>),
    /// Let a lock go.
    ReleaseLock(Box<Lease>),
    /// Take a lock away from a holder that stopped renewing it.
    ExpireLock(Box<Lease>),
}

/// What has to be done for a ticket whose status will be this one.
pub(super) fn wants(scene: &Scene<'_>, status: &TicketStatus) -> Vec<Action> {
    let mut actions = agents(scene, status);
    actions.extend(unwanted_reviews(scene, status));
    actions.extend(to_withdraw(scene, status).map(|merge| Action::WithdrawMerge(Box::new(merge.clone()))));
    if scene.ticket.metadata.deletion_timestamp.is_some() {
        return actions;
    }
    let held = scene.ticket.spec.state == TicketState::Held;
    match status.phase {
        TicketPhase::Ready => {
            if let Place::Broken(workspace) = scene.seen.place(scene.ticket) {
                actions.push(Action::RemoveWorkspace(Box::new(workspace.clone())));
            }
        }
        TicketPhase::Working => actions.extend(working(scene, status, held)),
        TicketPhase::Checking if !held => {
            for change in super::changes::with_commits(&status.changes) {
                let check = make::check(&scene.name, status.branch.as_deref().unwrap_or_default(), change);
                if !scene.seen.checks.contains_key(&check.name_any()) {
                    actions.push(Action::MakeCheck(Box::new(check)));
                }
            }
        }
        TicketPhase::Reviewing if !held && !make::is_approved(status) => {
            // A reader needs the checkout that somebody has removed; its branch has all that was made.
            if status.review.is_some() && matches!(scene.seen.place(scene.ticket), Place::Absent) {
                actions.push(Action::MakeWorkspace(Box::new(make::workspace(scene, status))));
            }
            if let Some(name) =
                status.review.as_deref().filter(|name| !scene.seen.reviews.contains_key(*name))
            {
                actions.push(Action::MakeReview(Box::new(make::review(scene, status, name))));
            }
        }
        TicketPhase::Merging => {
            let absent = |name: &&str| !scene.seen.merges.contains_key(*name);
            if let Some(name) = status.merge.as_deref().filter(absent) {
                actions.push(Action::MakeMerge(Box::new(make::merge(scene, status, name))));
            }
        }
        _ => {}
    }
    actions
}

fn working(scene: &Scene<'_>, status: &TicketStatus, held: bool) -> Option<Action> {
    let has_finalizer = scene.ticket.finalizers().iter().any(|name| name == labels::TICKET_FINALIZER);
    let agent = status.agent.as_deref()?;
    match scene.seen.place(scene.ticket) {
        Place::Absent if held || status.worker.is_none() => None,
        Place::Absent if !has_finalizer => Some(Action::Finalize),
        Place::Absent => Some(Action::MakeWorkspace(Box::new(make::workspace(scene, status)))),
        Place::Ready(workspace) => match scene.seen.agents.get(agent) {
            Some(there) if !is_of(&there.metadata, scene.ticket) => None,
            Some(there) => {
                let asked = annotation(&workspace.metadata, labels::OBSERVE) == Some(agent);
                let look = standing(there) == Standing::Done && !asked;
                look.then(|| Action::Observe { workspace: workspace.name_any(), value: agent.to_owned() })
            }
            None if held
                || status.worker.is_none()
                || scene.seen.busy_workers(&scene.name).next().is_some() =>
            {
                None
            }
            None => Some(Action::MakeAgent(Box::new(make::agent(scene, status, workspace)))),
        },
        _ => None,
    }
}

/// One worker at a time: that of the present round while there is work. All others are stopped, so that nothing
/// changes what is tested, reviewed or given to the next one.
fn agents(scene: &Scene<'_>, status: &TicketStatus) -> Vec<Action> {
    let wanted = (status.phase == TicketPhase::Working && scene.ticket.metadata.deletion_timestamp.is_none())
        .then_some(status.agent.as_deref())
        .flatten();
    let has_place = matches!(scene.seen.place(scene.ticket), Place::Ready(_) | Place::Making(_));
    let rests = scene.ticket.spec.state == TicketState::Held || status.worker.is_none();
    let set = |agent: &Agent, run, held| Action::SetRun { agent: agent.name_any(), run, held };
    let mut actions = Vec::new();
    for agent in scene.seen.agents_of(&scene.name).filter(|agent| is_worker(agent)) {
        if agent.metadata.deletion_timestamp.is_some() || standing(agent) == Standing::Done {
            continue;
        }
        let run = agent.spec.run;
        let was_held = annotation(&agent.metadata, labels::HELD).is_some();
        if wanted != Some(agent.name_any().as_str()) || !has_place || !is_of(&agent.metadata, scene.ticket) {
            if run != RunPolicy::Stopped {
                actions.push(set(agent, RunPolicy::Stopped, false));
            }
        } else if rests && run == RunPolicy::Running {
            actions.push(set(agent, RunPolicy::Paused, true));
        } else if !rests && was_held {
            // Whoever stopped it meanwhile by hand wants it to stay stopped.
            let run = if run == RunPolicy::Paused { RunPolicy::Running } else { run };
            actions.push(set(agent, run, false));
        }
    }
    actions
}

/// Readings that are not awaited any more, and would go on to cost.
fn unwanted_reviews(scene: &Scene<'_>, status: &TicketStatus) -> Vec<Action> {
    let awaited = (status.phase == TicketPhase::Reviewing && !make::is_approved(status))
        .then_some(status.review.as_deref())
        .flatten();
    let is_going = |review: &Review| {
        let phase = review.status.as_ref().map(|status| status.phase).unwrap_or_default();
        matches!(phase, ReviewPhase::Pending | ReviewPhase::Running)
            && review.metadata.deletion_timestamp.is_none()
    };
    let reviews = scene.seen.reviews_of(&scene.name);
    let unwanted = reviews.filter(|review| is_of(&review.metadata, scene.ticket) && is_going(review));
    unwanted
        .filter(|review| awaited != Some(review.name_any().as_str()))
        .map(|review| Action::RemoveReview(Box::new((**review).clone())))
        .collect()
}
