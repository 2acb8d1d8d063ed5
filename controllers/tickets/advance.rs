//! A ticket that somebody has: from the worker to the base branch, one step for each look.
//!
//! ```text
//! Working ─▶ Checking ─▶ Reviewing ─▶ Approved ─▶ Merging ─▶ Merged
//!    ▲──────────┴────────────┘                       │ rejected
//!    └───────────────────── Ready ◀──────────────────┘           attempts used up ─▶ Failed
//! ```

use std::collections::BTreeSet;

use gcluster_types::kinds::check::CheckPhase;
use gcluster_types::kinds::merge::MergePhase;
use gcluster_types::kinds::review::{ReviewPhase, Verdict};
use gcluster_types::kinds::ticket::{TicketPhase, TicketState};
use gcluster_types::kinds::worker_pool::{ReviewPolicy, Reviewer};
use gcluster_types::{Check, Merge, Ticket, TicketStatus, WorkerPoolSpec};
use kube::ResourceExt;

use super::brief;
use super::changes::{self, count};
use super::draft::{APPROVED, Draft, NEEDS_HUMAN};
use super::names;
use super::snapshot::{Place, Snapshot, Standing, is_of, standing};
use super::worker::needs_worker;

/// How often work may begin again where the pool does not say.
const MAX_ATTEMPTS: i32 = 3;
/// How often findings go back where the pool does not say.
const MAX_REVIEW_ROUNDS: i32 = 3;

/// A ticket and what surrounds it.
pub(super) struct Scene<'a> {
    pub(super) seen: &'a Snapshot,
    pub(super) ticket: &'a Ticket,
    pub(super) name: String,
    /// Its pool; what is left of it when it was deleted meanwhile.
    pub(super) pool: WorkerPoolSpec,
    /// It had a pool, and that was deleted.
    is_orphan: bool,
}

impl<'a> Scene<'a> {
    pub(super) fn new(seen: &'a Snapshot, ticket: &'a Ticket, status: &TicketStatus) -> Self {
        let name = ticket.name_any();
        let known = status.pool.as_ref().and_then(|pool| seen.pools.get(pool));
        let pool = known.map(|pool| pool.spec.clone()).unwrap_or_else(|| remembered(seen, status, &name));
        let is_orphan = status.pool.is_some() && known.is_none();
        Self { seen, ticket, name, pool, is_orphan }
    }

    fn is_held(&self) -> bool {
        self.ticket.spec.state == TicketState::Held
    }

    /// Who reviews. Nobody knows what a pool asked for that is gone: a person decides, rather than fewer than it wanted.
    pub(super) fn review_policy(&self) -> ReviewPolicy {
        let policy = self.pool.review.clone().unwrap_or_default();
        if self.is_orphan { ReviewPolicy { by: Reviewer::Human, ..policy } } else { policy }
    }

    pub(super) fn merge(&self, name: Option<&str>) -> Option<&'a Merge> {
        let merge = self.seen.merges.get(name?)?;
        is_of(&merge.metadata, self.ticket).then_some(&**merge)
    }
}

/// Whoever has a ticket finishes it as he began, also when his pool is gone.
fn remembered(seen: &Snapshot, status: &TicketStatus, name: &str) -> WorkerPoolSpec {
    let agent = status.agent.as_ref().and_then(|agent| seen.agents.get(agent));
    let repositories = seen.workspaces.get(name).map(|workspace| {
        workspace.spec.repositories.iter().map(|repository| repository.name.clone()).collect()
    });
    WorkerPoolSpec {
        replicas: 0,
        repositories: repositories.unwrap_or_default(),
        backend: agent.and_then(|agent| agent.spec.backend.clone()),
        limits: agent.and_then(|agent| agent.spec.limits.clone()),
        agent_priority: agent.map(|agent| agent.spec.priority),
        ..WorkerPoolSpec::default()
    }
}

/// Takes the step that what was seen allows. `answers` gets the agents whose last answer is needed for it.
pub(super) fn advance(scene: &Scene<'_>, draft: &mut Draft, answers: &mut BTreeSet<String>) {
    match draft.status.phase {
        TicketPhase::Working => working(scene, draft, answers),
        TicketPhase::Checking => checking(scene, draft),
        TicketPhase::Reviewing => reviewing(scene, draft),
        TicketPhase::Approved => approved(scene, draft),
        TicketPhase::Merging => merging(scene, draft),
        _ => {}
    }
}

fn held(scene: &Scene<'_>, draft: &mut Draft) -> bool {
    if scene.is_held() {
        let worker = match scene.seen.busy_workers(&scene.name).next() {
            Some(busy) => format!("its worker {} comes to rest", busy.name_any()),
            None => "its worker takes other tickets, its workspace and locks stay".to_owned(),
        };
        draft.say("Held", format!("spec.state is Held: {worker}; Open lets it go on where it is"));
    }
    scene.is_held()
}

fn working(scene: &Scene<'_>, draft: &mut Draft, answers: &mut BTreeSet<String>) {
    let agent = draft.status.agent.clone().unwrap_or_default();
    let present = scene.seen.agents.get(&agent).filter(|agent| is_of(&agent.metadata, scene.ticket));
    let parked = needs_worker(scene.seen, scene.ticket, &draft.status);
    let workspace = match scene.seen.place(scene.ticket) {
        Place::Ready(workspace) if !parked => workspace,
        _ if held(scene, draft) => return,
        Place::Broken(workspace) => {
            let why = workspace.status.as_ref().and_then(|status| status.message.clone()).unwrap_or_default();
            return requeue(
                scene,
                draft,
                "WorkspaceFailed",
                &format!("its workspace could not be made: {why}"),
                None,
            );
        }
        Place::Absent | Place::Leaving if present.is_some() => {
            return requeue(
                scene,
                draft,
                "WorkspaceGone",
                "its workspace was removed while it was at work",
                None,
            );
        }
        // The queue tells what it waits for.
        _ if parked => return,
        Place::Ready(workspace) => workspace,
        Place::Leaving => {
            return draft.say("Preparing", "the workspace of an earlier ticket of this name goes first");
        }
        Place::Absent => return draft.say("Preparing", "its workspace is about to be made"),
        Place::Making(workspace) => {
            let status = workspace.status.clone().unwrap_or_default();
            let why = status.message.unwrap_or_else(|| "its worktrees and set-up".to_owned());
            return draft.say("Preparing", format!("its workspace is being made: {why}"));
        }
    };
    draft.status.changes = changes::of(workspace);
    if held(scene, draft) {
        return;
    }
    let Some(present) = present else {
        let other = scene.seen.busy_workers(&scene.name).find(|other| other.name_any() != agent);
        return match other {
            Some(other) => draft
                .say("Starting", format!("the worker before, {}, comes to its end first", other.name_any())),
            None => draft.say(
                "Starting",
                format!("round {}: its worker {agent} is about to begin", draft.status.round),
            ),
        };
    };
    match standing(present) {
        Standing::AtWork(message) => draft.say("AtWork", message),
        Standing::Waits(message) => draft.say("WorkerWaits", message),
        Standing::Failed(waits) => {
            // What its agent says is when it would try again, which it will not.
            let Some(error) = scene.seen.answers.get(&agent) else {
                answers.insert(agent);
                return draft.say("Looking", "why its worker failed is read");
            };
            let why = if error.is_empty() { waits } else { error.clone() };
            let feedback = brief::failed(&why);
            again(
                scene,
                draft,
                "WorkerFailed",
                &format!("its worker {agent} failed: {why}"),
                Some(&feedback),
            );
        }
        Standing::Done => {
            let status = workspace.status.clone().unwrap_or_default();
            if status.observed_request.as_deref() != Some(agent.as_str()) {
                return draft
                    .say("Looking", format!("its worker {agent} is done; what it made is looked at"));
            }
            let Some(answer) = scene.seen.answers.get(&agent) else {
                answers.insert(agent);
                return draft.say("Looking", "what its worker says of its work is read");
            };
            draft.status.summary = brief::summary(answer);
            if let Some((reason, message, feedback)) = changes::unfinished(workspace) {
                return again(scene, draft, reason, &message, Some(&feedback));
            }
            let made = changes::told(&draft.status.changes);
            draft.enter(TicketPhase::Checking, "Checking", format!("{made} to be tested"));
        }
    }
}

fn checking(scene: &Scene<'_>, draft: &mut Draft) {
    if held(scene, draft) {
        return;
    }
    let mut waits: Option<String> = None;
    let made = draft.status.changes.clone();
    for change in changes::with_commits(&made) {
        let name = Check::name_of(&change.repository, &change.commit, false);
        let status = scene.seen.checks.get(&name).map(|check| check.status.clone().unwrap_or_default());
        match status {
            Some(status) if status.phase == CheckPhase::Passed => {}
            Some(status) if status.phase == CheckPhase::Failed => {
                let why = status.message.clone().unwrap_or_else(|| status.reason.clone().unwrap_or_default());
                if matches!(status.reason.as_deref(), Some("CannotStart" | "NoCommit")) {
                    let message = format!(
                        "the check {name} could not be run: {why}; put that right and `gcluster delete check {name}` runs it again"
                    );
                    return draft.say(NEEDS_HUMAN, message);
                }
                let feedback = brief::red_check(&name, change, &status);
                return again(
                    scene,
                    draft,
                    "CheckFailed",
                    &format!("the check {name} is red: {why}"),
                    Some(&feedback),
                );
            }
            Some(status) => {
                let message = status.message.map(|message| format!(": {message}")).unwrap_or_default();
                let stands = if status.phase == CheckPhase::Running { "runs" } else { "waits for its turn" };
                waits.get_or_insert(format!("the check {name} {stands}{message}"));
            }
            None => {
                waits.get_or_insert(format!("the check {name} is asked for"));
            }
        }
    }
    match waits {
        Some(message) => draft.say("Checking", message),
        None => tested(scene, draft),
    }
}

/// All checks are green: whose turn it is.
fn tested(scene: &Scene<'_>, draft: &mut Draft) {
    if draft.is_flagged(APPROVED) {
        return draft.enter(TicketPhase::Approved, "Approved", "its checks passed, and a person approved it");
    }
    match scene.review_policy().by {
        Reviewer::Nobody => {
            draft.enter(
                TicketPhase::Approved,
                "Checked",
                "its checks passed, and its pool asks for no review",
            );
        }
        Reviewer::Human => {
            draft.status.review = None;
            draft.enter(TicketPhase::Reviewing, NEEDS_HUMAN, asks_human(scene, passed(scene)));
        }
        Reviewer::Agent | Reviewer::Both => {
            draft.status.review_rounds += 1;
            let reading = draft.status.review_rounds;
            draft.status.review = Some(names::review(&scene.name, reading));
            draft.enter(
                TicketPhase::Reviewing,
                "Reviewing",
                format!("its checks passed; reading {reading} of it begins"),
            );
        }
    }
}

/// Why a person decides where no reader is asked.
fn passed(scene: &Scene<'_>) -> &'static str {
    match scene.is_orphan {
        true => "its checks passed, and its pool, which said who reviews, is gone",
        false => "its checks passed",
    }
}

/// Words that ask a person to decide.
fn asks_human(scene: &Scene<'_>, why: &str) -> String {
    let name = &scene.name;
    format!(
        "{why}; it waits for a person: `gcluster approve {name}`, or `gcluster ticket send-back {name} \"text\"`"
    )
}

fn reviewing(scene: &Scene<'_>, draft: &mut Draft) {
    if held(scene, draft) {
        return;
    }
    if draft.is_flagged(APPROVED) {
        return draft.enter(TicketPhase::Approved, "Approved", "a person approved it");
    }
    let Some(name) = draft.status.review.clone() else {
        return draft.say(NEEDS_HUMAN, asks_human(scene, passed(scene)));
    };
    let review = scene.seen.reviews.get(&name).filter(|review| is_of(&review.metadata, scene.ticket));
    let Some(review) = review else {
        return draft.say("Reviewing", format!("the review {name} is asked for"));
    };
    let status = review.status.clone().unwrap_or_default();
    let reading = draft.status.review_rounds;
    match (status.phase, status.verdict) {
        (ReviewPhase::Pending | ReviewPhase::Running, _) => {
            let told = status.message.unwrap_or_else(|| "a reviewer reads it".to_owned());
            draft.say("Reviewing", format!("reading {reading}: {told}"));
        }
        (ReviewPhase::Done, Some(Verdict::Approved))
            if matches!(scene.review_policy().by, Reviewer::Both | Reviewer::Human) =>
        {
            draft.say(
                NEEDS_HUMAN,
                asks_human(scene, &format!("its reviewer has nothing against it ({name})")),
            );
        }
        (ReviewPhase::Done, Some(Verdict::Approved)) => {
            let rounds =
                if reading == 1 { "the first reading".to_owned() } else { format!("reading {reading}") };
            draft.enter(
                TicketPhase::Approved,
                "Reviewed",
                format!("{rounds} found nothing that keeps it back"),
            );
        }
        (ReviewPhase::Done, Some(Verdict::ChangesRequested)) => {
            let most = scene.review_policy().max_review_rounds.unwrap_or(MAX_REVIEW_ROUNDS);
            if reading > most {
                let (found, verb) =
                    (count(status.count, "finding"), if status.count == 1 { "is" } else { "are" });
                let times = if most == 1 { "once".to_owned() } else { format!("{most} times") };
                let why = format!("{found} of {name} {verb} left, and findings went back {times}");
                return draft.say(NEEDS_HUMAN, asks_human(scene, &why));
            }
            let feedback = brief::findings(review.spec.floor, &status.findings);
            draft.set_feedback(&feedback);
            let message = match status.count {
                1 => format!("a finding of {name} goes back to the worker"),
                count => format!("{count} findings of {name} go back to the worker"),
            };
            begin(scene, draft, "Findings", &message);
        }
        (ReviewPhase::Done, None) | (ReviewPhase::Failed, _) => {
            let why = status.message.unwrap_or_else(|| "there is no verdict".to_owned());
            draft.say(NEEDS_HUMAN, asks_human(scene, &format!("the review {name} came to no end: {why}")));
        }
    }
}

fn approved(scene: &Scene<'_>, draft: &mut Draft) {
    if held(scene, draft) {
        return;
    }
    draft.status.merge = Some(names::merge(&scene.name, draft.status.conflicts + 1));
    draft.enter(TicketPhase::Merging, "Queued", "its merge is asked for");
}

fn merging(scene: &Scene<'_>, draft: &mut Draft) {
    let Some(merge) = scene.merge(draft.status.merge.as_deref()) else {
        return draft.say("Queued", "its merge is asked for");
    };
    let name = merge.name_any();
    let status = merge.status.clone().unwrap_or_default();
    let told = status.message.clone();
    match status.phase {
        MergePhase::Merged => {
            for step in &status.repositories {
                let own = draft.status.changes.iter_mut().find(|change| change.repository == step.name);
                if let (Some(change), Some(landed)) = (own, &step.rebased) {
                    change.commit.clone_from(landed);
                }
            }
            let reason =
                if status.reason.as_deref() == Some("AlreadyMerged") { "AlreadyMerged" } else { "Merged" };
            let message = told.unwrap_or_else(|| "it is in the base branch".to_owned());
            draft.status.feedback = None;
            // Whose work it is, also when he had other tickets while it waited for a person.
            let made = scene.seen.workspaces.get(&scene.name).and_then(|workspace| workspace.spec.worker);
            draft.status.worker = draft.status.worker.or(made);
            draft.enter(TicketPhase::Merged, reason, message);
        }
        MergePhase::Rejected => {
            draft.status.conflicts += 1;
            let why = told.unwrap_or_else(|| "it was rejected".to_owned());
            let reason = match status.reason.as_deref() {
                Some("Conflict") => "Conflict",
                Some("CheckFailed") => "MergeCheckFailed",
                Some("BranchMoved") => "BranchMoved",
                _ => "MergeRejected",
            };
            let feedback = brief::rejected(reason, &why, status.brief.as_deref());
            requeue(scene, draft, reason, &format!("{name}: {why}"), Some(&feedback));
        }
        MergePhase::Queued => {
            draft.say("Queued", told.unwrap_or_else(|| format!("{name} waits for its turn")))
        }
        MergePhase::Rebasing => {
            draft.say("Rebasing", told.unwrap_or_else(|| format!("{name}: it is put on top of the base")))
        }
        MergePhase::Checking => {
            draft.say("MergeChecking", told.unwrap_or_else(|| format!("{name}: the result is tested")))
        }
        MergePhase::Landing => {
            draft.say("Landing", told.unwrap_or_else(|| format!("{name}: the base is moved")))
        }
    }
}

/// Counts an attempt; without one left the ticket fails and the answer is false.
fn attempt(
    scene: &Scene<'_>,
    draft: &mut Draft,
    reason: &str,
    message: &str,
    feedback: Option<&str>,
) -> bool {
    if let Some(feedback) = feedback {
        draft.set_feedback(feedback);
    }
    let most = scene.pool.max_attempts.unwrap_or(MAX_ATTEMPTS);
    if draft.status.attempts >= most {
        let name = &scene.name;
        let again = format!("`gcluster ticket send-back {name} \"text\"` begins again");
        let message = format!(
            "{message}; work began again {} times, and that is all it may; {again}",
            draft.status.attempts
        );
        draft.enter(TicketPhase::Failed, reason, message);
        return false;
    }
    draft.status.attempts += 1;
    true
}

/// The same worker begins again, at once.
fn again(scene: &Scene<'_>, draft: &mut Draft, reason: &str, message: &str, feedback: Option<&str>) {
    if attempt(scene, draft, reason, message, feedback) {
        begin(scene, draft, reason, message);
    }
}

/// A worker begins again when there is a free one, before new tickets.
fn requeue(scene: &Scene<'_>, draft: &mut Draft, reason: &str, message: &str, feedback: Option<&str>) {
    if attempt(scene, draft, reason, message, feedback) {
        to_queue(draft, reason, message);
    }
}

/// Gives the worker back and waits for the next one.
pub(super) fn to_queue(draft: &mut Draft, reason: &str, message: &str) {
    draft.status.worker = None;
    draft.flag(APPROVED, None);
    draft.enter(TicketPhase::Ready, reason, format!("{message}; it goes on with the next free worker"));
}

/// The next round of the worker that has it.
pub(super) fn begin(scene: &Scene<'_>, draft: &mut Draft, reason: &str, message: &str) {
    draft.status.round += 1;
    draft.status.agent = Some(names::worker(&scene.name, draft.status.round));
    draft.flag(APPROVED, None);
    let round = draft.status.round;
    draft.enter(TicketPhase::Working, reason, format!("round {round} begins: {message}"));
}
