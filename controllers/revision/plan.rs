//! What the revision controller does about an agent: a pure function of what it saw and the time.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use gcluster_types::conditions::{self, READY};
use gcluster_types::kinds::agent::RevisionSummary;
use gcluster_types::names::revision_name;
use gcluster_types::sexpr::{digest, program};
use gcluster_types::{Agent, AgentRevision, AgentRevisionSpec, AgentStatus, labels};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, OwnerReference, Time};
use k8s_openapi::jiff::Timestamp;
use kube::{Resource, ResourceExt};

use super::origin::origin;

/// What was seen of one agent.
pub struct Observed<'a> {
    /// The agent, read afresh.
    pub agent: &'a Agent,
    /// Its revisions.
    pub revisions: &'a [Arc<AgentRevision>],
    /// Names of the revisions that iterations name.
    pub in_use: &'a BTreeSet<String>,
    /// The time now.
    pub now: Timestamp,
}

/// What to do. Everything is idempotent; an empty plan is the normal case.
#[derive(Debug, Default, PartialEq)]
pub struct Plan {
    /// A revision to record.
    pub create: Option<AgentRevision>,
    /// A revision that is applied again.
    pub renumber: Option<Renumber>,
    /// Names of revisions that nobody needs any more.
    pub remove: Vec<String>,
    /// The status as it should be. Only the fields of this controller differ from what was seen.
    pub status: AgentStatus,
    /// Reason and note of a refusal to tell.
    pub refused: Option<(&'static str, String)>,
}

/// A revision whose text is the desired one again.
#[derive(Debug, PartialEq)]
pub struct Renumber {
    /// Its name.
    pub name: String,
    /// Its next number.
    pub number: i64,
    /// Annotations that say who brought it back, and when.
    pub annotations: BTreeMap<String, String>,
}

/// Plans for one agent.
pub fn plan(seen: &Observed<'_>) -> Plan {
    let spec = &seen.agent.spec;
    let status = seen.agent.status.clone().unwrap_or_default();
    if let Err(error) = program::check_agent(&spec.definition, &spec.methods) {
        return refuse(seen, status, "InvalidDefinition", format!("the definition cannot be run: {error}"));
    }
    let (stable_id, digest) = digest::ids(&spec.definition, &spec.methods, &spec.arguments);
    let name = revision_name(&seen.agent.name_any(), &digest);
    let existing = seen.revisions.iter().find(|revision| revision.name_any() == name);
    if let Some(other) = existing.filter(|revision| !same_text(revision, seen.agent, &digest)) {
        let message = format!(
            "the revision {name} holds another text under the digest {}; delete it to record this one",
            other.spec.digest
        );
        return refuse(seen, status, "DigestConflict", message);
    }
    let newest = seen.revisions.iter().map(|revision| revision.spec.revision).max().unwrap_or(0);
    let before = seen.revisions.iter().max_by_key(|revision| revision.spec.revision).map(|r| &r.spec);
    let mut plan = Plan { status, ..Plan::default() };
    let number = match existing {
        Some(revision) if revision.spec.revision == newest => newest,
        Some(revision) => {
            let annotations = origin(seen.agent, before, seen.now);
            plan.renumber = Some(Renumber { name: revision.name_any(), number: newest + 1, annotations });
            newest + 1
        }
        None => {
            let known = plan.status.current_revision.unwrap_or(0);
            // Somebody removed the object of the revision in use: it comes back under its number.
            let again = known > newest && plan.status.digest.as_deref() == Some(&digest);
            let number = if again { known } else { newest.max(known) + 1 };
            let mut revision = new_revision(seen.agent, &name, &stable_id, &digest, number);
            revision.annotations_mut().extend(origin(seen.agent, before, seen.now));
            plan.create = Some(revision);
            number
        }
    };
    let mut kept: Vec<RevisionSummary> = seen
        .revisions
        .iter()
        .filter(|revision| revision.name_any() != name && revision.metadata.deletion_timestamp.is_none())
        .map(|revision| summary(revision))
        .collect();
    plan.remove = superfluous(&kept, seen, plan.status.execution_digest.as_deref());
    kept.retain(|revision| !plan.remove.contains(&revision.name));
    let recorded = existing.map_or(Some(MicroTime(seen.now)), |revision| created_at(revision));
    let known = plan.status.revisions.iter().find(|revision| revision.name == name);
    kept.push(RevisionSummary {
        revision: number,
        name,
        stable_id: stable_id.clone(),
        digest: digest.clone(),
        created_at: known.and_then(|revision| revision.created_at.clone()).or(recorded),
    });
    kept.sort_by_key(|revision| revision.revision);
    plan.status.revisions = kept;
    plan.status.stable_id = Some(stable_id);
    plan.status.digest = Some(digest);
    plan.status.current_revision = Some(number);
    let message = format!("revision {number} is recorded");
    ready(&mut plan.status, seen, true, "RevisionRecorded", message);
    plan
}

/// True when nobody owns the revision any more: it was orphaned, or its owner was an earlier agent of this name.
pub fn is_orphan_of(revision: &AgentRevision, agent: &Agent) -> bool {
    let earlier = |owner: &OwnerReference| {
        owner.kind == Agent::kind(&())
            && owner.name == agent.name_any()
            && Some(&owner.uid) != agent.uid().as_ref()
    };
    revision.spec.agent == agent.name_any() && revision.owner_references().iter().all(earlier)
}

fn refuse(seen: &Observed<'_>, mut status: AgentStatus, reason: &'static str, message: String) -> Plan {
    ready(&mut status, seen, false, reason, message.clone());
    Plan { status, refused: Some((reason, message)), ..Plan::default() }
}

fn ready(status: &mut AgentStatus, seen: &Observed<'_>, is: bool, reason: &str, message: String) {
    let generation = seen.agent.metadata.generation;
    status.observed_generation = generation;
    let observed = conditions::Observed { kind: READY, status: Some(is), reason, message, generation };
    conditions::set(&mut status.conditions, observed, &Time(seen.now));
}

fn same_text(revision: &AgentRevision, agent: &Agent, digest: &str) -> bool {
    let (old, new) = (&revision.spec, &agent.spec);
    old.digest == digest
        && old.definition == new.definition
        && old.methods == new.methods
        && old.arguments == new.arguments
}

fn new_revision(agent: &Agent, name: &str, stable_id: &str, digest: &str, number: i64) -> AgentRevision {
    let spec = AgentRevisionSpec {
        agent: agent.name_any(),
        revision: number,
        stable_id: stable_id.to_owned(),
        digest: digest.to_owned(),
        definition: agent.spec.definition.clone(),
        methods: agent.spec.methods.clone(),
        arguments: agent.spec.arguments.clone(),
    };
    let mut revision = AgentRevision::new(name, spec);
    revision.metadata.namespace = agent.namespace();
    revision.metadata.owner_references = agent.controller_owner_ref(&()).map(|owner| vec![owner]);
    revision.labels_mut().insert(labels::AGENT.to_owned(), agent.name_any());
    revision
}

fn summary(revision: &AgentRevision) -> RevisionSummary {
    RevisionSummary {
        revision: revision.spec.revision,
        name: revision.name_any(),
        stable_id: revision.spec.stable_id.clone(),
        digest: revision.spec.digest.clone(),
        created_at: created_at(revision),
    }
}

fn created_at(revision: &AgentRevision) -> Option<MicroTime> {
    revision.metadata.creation_timestamp.as_ref().map(|time| MicroTime(time.0))
}

/// The oldest beyond the history limit that no iteration names and the present execution did not begin with.
fn superfluous(old: &[RevisionSummary], seen: &Observed<'_>, execution_digest: Option<&str>) -> Vec<String> {
    let mut idle: Vec<&RevisionSummary> = old
        .iter()
        .filter(|revision| !seen.in_use.contains(&revision.name))
        .filter(|revision| execution_digest != Some(&revision.digest))
        .collect();
    idle.sort_by_key(|revision| revision.revision);
    let limit = usize::try_from(seen.agent.spec.revision_history_limit).unwrap_or(0);
    let surplus = idle.len().saturating_sub(limit);
    idle.into_iter().take(surplus).map(|revision| revision.name.clone()).collect()
}
