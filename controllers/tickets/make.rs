//! The objects that a ticket needs, under names that follow from its status: making one twice makes it once.

use std::collections::BTreeSet;
use std::sync::Arc;

use gcluster_types::kinds::agent::EnvVar;
use gcluster_types::kinds::merge::MergedRepository;
use gcluster_types::kinds::review::{Finding, ReviewedChange, Severity};
use gcluster_types::kinds::ticket::TicketChange;
use gcluster_types::kinds::workspace::WorkspaceRepository;
use gcluster_types::sexpr::print::print;
use gcluster_types::sexpr::program::{AGENT_PREFIX, Body, Definition};
use gcluster_types::{
    Agent, AgentSpec, Check, CheckSpec, Merge, MergeSpec, Repository, Review, ReviewSpec, Ticket,
    TicketStatus, WorkerPoolSpec, Workspace, WorkspaceSpec, labels,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::{Resource, ResourceExt};

use super::advance::Scene;
use super::brief;
use super::changes::with_commits;
use super::draft::APPROVED;
use super::snapshot::{Snapshot, is_of, phase};
use crate::report::shortened;

/// Ports of each worker where the pool does not say.
const PORTS: i32 = 10;
/// Findings of earlier readings that a reviewer is told, and the longest text of one, in characters: however often a
/// person sends a ticket back, its Review stays an object that can be written.
const EARLIER: usize = 100;
const EARLIER_TEXT: usize = 1_000;
/// Readings whose findings all go back; those of later ones only from `high` on.
const FULL_READINGS: i32 = 2;

/// What belongs to a ticket goes with it.
fn owned_by(ticket: &Ticket) -> Option<Vec<OwnerReference>> {
    ticket.controller_owner_ref(&()).map(|owner| vec![OwnerReference { block_owner_deletion: None, ..owner }])
}

fn labelled(meta: &mut ObjectMeta, pairs: &[(&str, &str)]) {
    let labels = meta.labels.get_or_insert_default();
    labels.extend(pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())));
}

/// The repositories of a pool that a ticket changes, in the pool's order.
pub(super) fn repositories(pool: &WorkerPoolSpec, ticket: &Ticket) -> Vec<String> {
    let wanted = &ticket.spec.repositories;
    pool.repositories.iter().filter(|name| wanted.is_empty() || wanted.contains(name)).cloned().collect()
}

/// The workspace of a ticket that a worker has.
pub(super) fn workspace(scene: &Scene<'_>, status: &TicketStatus) -> Workspace {
    let pool = &scene.pool;
    let worker = status.worker.unwrap_or(1);
    let start = |name: String| WorkspaceRepository { name, start: None };
    let pool_name = status.pool.clone().unwrap_or_default();
    let per_worker = pool.ports.as_ref().map(|ports| ports.per_worker.unwrap_or(PORTS).max(1));
    let first_port = pool.ports.as_ref().zip(per_worker).and_then(|(ports, per_worker)| {
        first_port(scene.seen, &scene.name, &pool_name, worker, ports.first, per_worker)
    });
    let spec = WorkspaceSpec {
        ticket: Some(scene.name.clone()),
        pool: Some(pool_name.clone()),
        worker: Some(worker),
        branch: status.branch.clone().unwrap_or_default(),
        repositories: repositories(pool, scene.ticket).into_iter().map(start).collect(),
        setup: pool.setup.clone(),
        teardown: pool.teardown.clone(),
        setup_timeout: pool.setup_timeout.clone(),
        copy: pool.copy.clone(),
        first_port,
        ports: first_port.and(per_worker),
        env: pool.env.clone(),
        restore_from: None,
    };
    let mut workspace = Workspace::new(&scene.name, spec);
    workspace.metadata.owner_references = owned_by(scene.ticket);
    labelled(&mut workspace.metadata, &[(labels::TICKET, &scene.name), (labels::POOL, &pool_name)]);
    workspace
}

/// The worker's own slice of the pool's ports; the next one that nobody has when a ticket that is still open was given
/// that one before.
fn first_port(
    seen: &Snapshot,
    ticket: &str,
    pool: &str,
    worker: i32,
    first: i32,
    per_worker: i32,
) -> Option<i32> {
    let open = |workspace: &&Arc<Workspace>| {
        let name = workspace.name_any();
        let of = seen.tickets.get(&name);
        name != ticket
            && workspace.spec.pool.as_deref() == Some(pool)
            && of.is_some_and(|of| !phase(of).is_terminal())
    };
    let taken: BTreeSet<i32> =
        seen.workspaces.values().filter(open).filter_map(|workspace| workspace.spec.first_port).collect();
    let slice = |number: i32| number.checked_mul(per_worker)?.checked_add(first);
    let own = worker.saturating_sub(1);
    let mut free = (own..).map_while(slice).take_while(|port| *port <= 65_535);
    free.find(|port| !taken.contains(port))
}

/// The worker of the present round.
pub(super) fn agent(scene: &Scene<'_>, status: &TicketStatus, workspace: &Workspace) -> Agent {
    let name = status.agent.clone().unwrap_or_default();
    let pool = &scene.pool;
    let prompt = brief::prompt(scene, workspace, status.feedback.as_deref());
    let place = workspace.status.clone().unwrap_or_default();
    let first =
        place.repositories.first().map(|checkout| checkout.path.clone()).filter(|path| !path.is_empty());
    let mut backend = pool.backend.clone().unwrap_or_default();
    let mut env: Vec<EnvVar> = Vec::new();
    let worker = status.worker.unwrap_or_default().to_string();
    let own = [
        ("GCLUSTER_WORKSPACE", workspace.name_any()),
        ("GCLUSTER_TICKET", scene.name.clone()),
        ("GCLUSTER_BRANCH", workspace.spec.branch.clone()),
        ("GCLUSTER_WORKER", worker),
    ];
    let own = own.map(|(name, value)| (name.to_owned(), value));
    let plain = own.into_iter().chain(place.environment.clone());
    let plain = plain.map(|(name, value)| EnvVar { name, value, value_from: None });
    // Later ones win: what the pool says for its agent program is the most special.
    for variable in plain.chain(pool.env.iter().cloned()).chain(backend.env.drain(..)) {
        env.retain(|other| other.name != variable.name);
        env.push(variable);
    }
    backend.env = env;
    let spec = AgentSpec {
        definition: definition(&name, prompt),
        agent_name: Some(name.clone()),
        working_directory: first.or(place.path),
        backend: Some(backend),
        priority: pool.agent_priority.unwrap_or(0),
        limits: pool.limits.clone(),
        revision_history_limit: 10,
        iteration_history_limit: 100,
        ..AgentSpec::default()
    };
    let mut agent = Agent::new(&name, spec);
    agent.metadata.owner_references = owned_by(scene.ticket);
    let pool = status.pool.clone().unwrap_or_default();
    let pairs = [(labels::TICKET, scene.name.as_str()), (labels::ROLE, "worker"), (labels::POOL, &pool)];
    labelled(&mut agent.metadata, &pairs);
    agent
}

/// An agent that says one prompt, word for word: nothing in it is filled in, as nothing is bound.
fn definition(agent: &str, prompt: String) -> String {
    let name = format!("{AGENT_PREFIX}{agent}");
    let definition = Definition {
        agent_name: Some(agent.to_owned()),
        name,
        params: Vec::new(),
        body: Body::Prompt(prompt),
    };
    print(&definition.form())
}

/// The whole check of what was made in one repository. It stays when the ticket goes.
pub(super) fn check(ticket: &str, branch: &str, change: &TicketChange) -> Check {
    let spec = CheckSpec {
        repository: change.repository.clone(),
        commit: change.commit.clone(),
        reference: format!("refs/heads/{branch}"),
        quick: false,
        requested_by: format!("ticket/{ticket}"),
    };
    let mut check = Check::new(&Check::name_of(&change.repository, &change.commit, false), spec);
    labelled(&mut check.metadata, &[(labels::TICKET, ticket)]);
    check
}

/// The present reading.
pub(super) fn review(scene: &Scene<'_>, status: &TicketStatus, name: &str) -> Review {
    let policy = scene.review_policy();
    let round = status.review_rounds.max(1);
    // Behind a rebase the branch begins at a newer commit of the base than it was made from.
    let base = |change: &TicketChange| {
        let tip = scene.seen.repositories.get(&change.repository);
        let tip = tip.and_then(|repository| repository.status.as_ref()?.base_commit.clone());
        tip.unwrap_or_else(|| change.start.clone())
    };
    let changes = with_commits(&status.changes).map(|change| ReviewedChange {
        repository: change.repository.clone(),
        base: base(change),
        commit: change.commit.clone(),
    });
    let spec = ReviewSpec {
        ticket: scene.name.clone(),
        round,
        workspace: scene.name.clone(),
        changes: changes.collect(),
        backend: policy.backend.or_else(|| scene.pool.backend.clone()),
        prompt: policy.prompt,
        floor: if round > FULL_READINGS { Severity::High } else { Severity::default() },
        earlier: earlier(scene, name),
    };
    let mut review = Review::new(name, spec);
    review.metadata.owner_references = owned_by(scene.ticket);
    labelled(&mut review.metadata, &[(labels::TICKET, &scene.name)]);
    review
}

/// What the readings before have found, the newest of it.
fn earlier(scene: &Scene<'_>, name: &str) -> Vec<Finding> {
    let own = |review: &&Arc<Review>| review.name_any() != name && is_of(&review.metadata, scene.ticket);
    let mut before: Vec<_> = scene.seen.reviews_of(&scene.name).filter(own).collect();
    before.sort_by_key(|review| review.spec.round);
    let mut findings: Vec<Finding> = Vec::new();
    for finding in
        before.iter().filter_map(|review| review.status.as_ref()).flat_map(|status| &status.findings)
    {
        let finding = Finding { text: shortened(&finding.text, EARLIER_TEXT), ..finding.clone() };
        if !findings.contains(&finding) {
            findings.push(finding);
        }
    }
    findings.split_off(findings.len().saturating_sub(EARLIER))
}

/// The present merge.
pub(super) fn merge(scene: &Scene<'_>, status: &TicketStatus, name: &str) -> Merge {
    let base = |repository: &str| {
        let known = scene
            .seen
            .repositories
            .get(repository)
            .map(|repository: &Arc<Repository>| repository.spec.base.clone());
        let checkout = scene.seen.workspaces.get(&scene.name).and_then(|workspace| {
            let checkouts = &workspace.status.as_ref()?.repositories;
            checkouts
                .iter()
                .find(|checkout| checkout.name == repository)
                .map(|checkout| checkout.base.clone())
        });
        checkout.filter(|base| !base.is_empty()).or(known).unwrap_or_else(|| "main".to_owned())
    };
    let merged = |change: &TicketChange| MergedRepository {
        name: change.repository.clone(),
        branch: status.branch.clone().unwrap_or_default(),
        commit: change.commit.clone(),
        base: base(&change.repository),
    };
    let spec = MergeSpec {
        ticket: scene.name.clone(),
        repositories: with_commits(&status.changes).map(merged).collect(),
        priority: scene.ticket.spec.priority,
    };
    let mut merge = Merge::new(name, spec);
    merge.metadata.owner_references = owned_by(scene.ticket);
    labelled(&mut merge.metadata, &[(labels::TICKET, &scene.name)]);
    merge
}

/// True when a person approved what the present round makes.
pub(super) fn is_approved(status: &TicketStatus) -> bool {
    gcluster_types::conditions::is_true(&status.conditions, APPROVED)
}

#[cfg(test)]
mod tests {
    use super::*;
    use gcluster_types::sexpr::program::check_agent;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    proptest! {
        #[test]
        fn any_prompt_makes_a_definition_that_says_it_word_for_word(prompt in any::<String>()) {
            let text = definition("t-7-work-1", prompt.clone());
            let read = check_agent(&text, &BTreeMap::new()).unwrap();
            prop_assert_eq!(read.body, Body::Prompt(prompt));
            prop_assert_eq!(read.agent_name.as_deref(), Some("t-7-work-1"));
        }
    }
}
