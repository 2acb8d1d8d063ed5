//! What is planned from: all objects of a namespace that have to do with tickets, and the time.

use std::collections::BTreeMap;
use std::sync::Arc;

use gcluster_types::conditions::BACKING_OFF;
use gcluster_types::kinds::agent::RunState;
use gcluster_types::kinds::ticket::TicketPhase;
use gcluster_types::kinds::workspace::WorkspacePhase;
use gcluster_types::{Agent, Check, Merge, Repository, Review, Ticket, WorkerPool, Workspace, labels};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;

/// Objects of one kind by their name.
pub type All<K> = BTreeMap<String, Arc<K>>;

/// What was seen of a namespace.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// The time now.
    pub now: Timestamp,
    /// All tickets.
    pub tickets: All<Ticket>,
    /// All pools.
    pub pools: All<WorkerPool>,
    /// All repositories.
    pub repositories: All<Repository>,
    /// All workspaces.
    pub workspaces: All<Workspace>,
    /// The agents that serve a ticket.
    pub agents: All<Agent>,
    /// All checks.
    pub checks: All<Check>,
    /// All reviews.
    pub reviews: All<Review>,
    /// All merges.
    pub merges: All<Merge>,
    /// The leases that are locks.
    pub leases: All<Lease>,
    /// Last answers of agents that came to their end, or why they failed, by the agent's name.
    pub answers: BTreeMap<String, String>,
    /// What serves which ticket; see [`Snapshot::indexed`].
    pub(super) index: Index,
}

/// What serves a ticket, by its name: looked up often, among all that ever served one.
#[derive(Clone, Debug, Default)]
pub(super) struct Index {
    agents: BTreeMap<String, Vec<Arc<Agent>>>,
    reviews: BTreeMap<String, Vec<Arc<Review>>>,
}

/// How the workspace of a ticket stands.
#[derive(Clone, Copy, Debug)]
pub(super) enum Place<'a> {
    /// There is none.
    Absent,
    /// There is one of that name which belongs to another ticket, or it is being removed.
    Leaving,
    /// It could not be made or set up.
    Broken(&'a Workspace),
    /// It is being made.
    Making(&'a Workspace),
    /// A worker may be in it.
    Ready(&'a Workspace),
}

/// How an agent stands that should do its work once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// It is at it, or about to be.
    AtWork(String),
    /// It waits for something that is no failure of its work: what its executor says.
    Waits(String),
    /// Its definition has come to its end.
    Done,
    /// It failed: why.
    Failed(String),
}

impl Snapshot {
    /// The same with an index of what it holds.
    pub(super) fn indexed(&self) -> Self {
        let mut index = Index::default();
        for agent in self.agents.values() {
            if let Some(ticket) = label(&agent.metadata, labels::TICKET) {
                index.agents.entry(ticket.to_owned()).or_default().push(agent.clone());
            }
        }
        for review in self.reviews.values() {
            index.reviews.entry(review.spec.ticket.clone()).or_default().push(review.clone());
        }
        Self { index, ..self.clone() }
    }

    /// How the workspace of a ticket stands.
    pub(super) fn place(&self, ticket: &Ticket) -> Place<'_> {
        let Some(workspace) = self.workspaces.get(&ticket.name_any()) else { return Place::Absent };
        if !is_of(&workspace.metadata, ticket) || workspace.metadata.deletion_timestamp.is_some() {
            return Place::Leaving;
        }
        match workspace.status.as_ref().map(|status| status.phase).unwrap_or_default() {
            WorkspacePhase::Failed => Place::Broken(workspace),
            WorkspacePhase::Terminating => Place::Leaving,
            WorkspacePhase::Ready => Place::Ready(workspace),
            WorkspacePhase::Pending | WorkspacePhase::Preparing => Place::Making(workspace),
        }
    }

    /// All agents that serve a ticket of this name, whichever of that name it was.
    pub(super) fn agents_of(&self, ticket: &str) -> impl Iterator<Item = &Arc<Agent>> {
        self.index.agents.get(ticket).into_iter().flatten()
    }

    /// All reviews of a ticket of this name.
    pub(super) fn reviews_of(&self, ticket: &str) -> impl Iterator<Item = &Arc<Review>> {
        self.index.reviews.get(ticket).into_iter().flatten()
    }

    /// The workers among them that have not come to rest: each of them may still change the workspace.
    pub(super) fn busy_workers(&self, ticket: &str) -> impl Iterator<Item = &Arc<Agent>> {
        self.agents_of(ticket).filter(|agent| is_worker(agent) && !is_at_rest(agent))
    }
}

/// Where a ticket stands, as far as it was written.
pub(super) fn phase(ticket: &Ticket) -> TicketPhase {
    ticket.status.as_ref().map(|status| status.phase).unwrap_or_default()
}

/// The value of a label.
pub(super) fn label<'a>(meta: &'a ObjectMeta, key: &str) -> Option<&'a str> {
    meta.labels.as_ref()?.get(key).map(String::as_str)
}

/// The value of an annotation.
pub(super) fn annotation<'a>(meta: &'a ObjectMeta, key: &str) -> Option<&'a str> {
    meta.annotations.as_ref()?.get(key).map(String::as_str)
}

/// True when an object belongs to this very ticket. What has no ticket as its owner belongs to whoever has its name.
pub(super) fn is_of(meta: &ObjectMeta, ticket: &Ticket) -> bool {
    let mut owners = meta.owner_references.iter().flatten().filter(|owner| owner.kind == "Ticket").peekable();
    owners.peek().is_none() || owners.any(|owner| Some(&owner.uid) == ticket.metadata.uid.as_ref())
}

/// True for the agents that work, false for those that review.
pub(super) fn is_worker(agent: &Agent) -> bool {
    label(&agent.metadata, labels::ROLE) != Some("reviewer")
}

/// Nothing of it runs, and nothing will before somebody writes its desired state.
pub(super) fn is_at_rest(agent: &Agent) -> bool {
    let Some(status) = &agent.status else { return false };
    status.run_state == Some(RunState::Stopped) && status.active_iterations.is_empty()
}

/// How an agent stands that should do its work once.
pub(super) fn standing(agent: &Agent) -> Standing {
    let name = agent.name_any();
    let Some(status) = &agent.status else { return Standing::AtWork(format!("its worker {name} begins")) };
    let reason = status.reason.as_deref().unwrap_or_default();
    let message = status.message.clone().unwrap_or_default();
    if is_at_rest(agent) && reason == "Completed" {
        return Standing::Done;
    }
    let counts = status.iterations.clone().unwrap_or_default();
    let backing_off = status.conditions.iter().find(|c| c.type_ == BACKING_OFF && c.status == "True");
    if counts.failed > 0 && counts.succeeded == 0 && status.active_iterations.is_empty() {
        match backing_off {
            // No further try can help before a person puts something right: no attempt is spent on it.
            Some(held) if held.reason == "NeedsAttention" => {
                return Standing::Waits(format!("its worker {name} waits: {}", held.message));
            }
            Some(_) => return Standing::Failed(message),
            None => {}
        }
    }
    match reason {
        "Executing" => Standing::AtWork(format!("its worker {name} is at work")),
        "" | "Starting" | "RevisionPending" | "NoRevision" => {
            Standing::AtWork(format!("its worker {name} begins"))
        }
        _ => Standing::Waits(format!("its worker {name} waits: {message}")),
    }
}
