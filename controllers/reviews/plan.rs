//! What becomes of a review: a pure function of what was seen and the time.
//!
//! ```text
//! Pending ─ workspace as it was checked? ─▶ Running ─ reviewer ended, its answer read, nothing changed? ─▶ Done | Failed
//!                                             └──── no list of findings: asked once more ────┘
//! ```
//!
//! An attempt is on record before its agent is made, and the next one begins only after the end of the one before: so
//! no two reviewers of one review ever run.

use gcluster_types::kinds::agent::{RunPolicy, RunState};
use gcluster_types::kinds::review::{Finding, ReviewPhase, Verdict};
use gcluster_types::kinds::ticket::TicketPhase;
use gcluster_types::kinds::workspace::WorkspacePhase;
use gcluster_types::{Agent, Review, ReviewStatus, Ticket, Workspace};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::ResourceExt;

use super::answer;
use super::judge::{Files, judge};
use super::reviewer::{self, is_ours};
use crate::report::shortened;

/// How often a reviewer is asked.
const ATTEMPTS: i32 = 2;
/// Longest text of others in a message, in characters.
const QUOTED: usize = 500;

/// What was seen.
pub(super) struct Observed<'a> {
    pub(super) review: &'a Review,
    pub(super) ticket: Option<&'a Ticket>,
    pub(super) workspace: Option<&'a Workspace>,
    /// The agent of the present attempt.
    pub(super) agent: Option<&'a Agent>,
    /// The checkouts, once they were looked at.
    pub(super) tree: Option<Tree>,
    /// What the agent said, once it was read.
    pub(super) answer: Option<Answer>,
    pub(super) now: MicroTime,
}

/// The checkouts of the change.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Tree {
    /// As they were checked; the files that the change touches.
    AsChecked(Files),
    /// They are not, and why.
    Differs(String),
}

/// How the newest iteration of the reviewer ended.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Answer {
    /// With this output.
    Said(String),
    /// With this error.
    Failed(String),
    /// Nobody knows any more.
    Lost,
}

/// What to do.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Act {
    /// Nothing.
    Rest,
    /// Look at the checkouts, then plan again.
    Look,
    /// Read the agent's answer, then plan again.
    Read,
    /// Make the agent of the attempt, once the status is written. With why the answer before could not be read.
    Ask(Option<String>),
    /// Stop the agent, before the status is written.
    Stop,
}

/// The plan.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Plan {
    pub(super) status: ReviewStatus,
    pub(super) act: Act,
    /// An Event: whether it needs attention, and its reason. It says what the status says.
    pub(super) note: Option<(bool, &'static str)>,
}

/// Plans for one review.
pub(super) fn plan(seen: &Observed<'_>) -> Plan {
    let status = seen.review.status.clone().unwrap_or_default();
    let is_open = matches!(status.phase, ReviewPhase::Pending | ReviewPhase::Running);
    let plan = Plan { status, act: Act::Rest, note: None };
    if !is_open || seen.review.metadata.deletion_timestamp.is_some() {
        return plan;
    }
    if let Some(phase) = seen.ticket.and_then(|ticket| moved_on(seen.review, ticket)) {
        let runs = seen
            .agent
            .is_some_and(|agent| is_ours(agent, seen.review) && agent.spec.run != RunPolicy::Stopped);
        let why =
            format!("the ticket is {} and waits for no review any more", format!("{phase:?}").to_lowercase());
        let plan = plan.failed(seen, "Withdrawn", why);
        return Plan { act: if runs { Act::Stop } else { Act::Rest }, note: None, ..plan };
    }
    match plan.status.phase {
        ReviewPhase::Pending => begin(seen, plan),
        _ => follow(seen, plan),
    }
}

/// The phase of a ticket that does not wait for this review: a person decided, or it was given up. What it was before
/// the review is no news of that sort.
fn moved_on(review: &Review, ticket: &Ticket) -> Option<TicketPhase> {
    let status = ticket.status.as_ref()?;
    let ended = match status.phase {
        TicketPhase::Failed | TicketPhase::Cancelled | TicketPhase::Merged | TicketPhase::Merging => true,
        TicketPhase::Approved => true,
        TicketPhase::Working => {
            let created = review.creation_timestamp().map(|at| at.0);
            // The second of the creation is over.
            let later = |since: &MicroTime| created.is_some_and(|at| since.0.as_second() > at.as_second());
            status.since.as_ref().is_some_and(later)
        }
        _ => false,
    };
    ended.then_some(status.phase)
}

fn begin(seen: &Observed<'_>, plan: Plan) -> Plan {
    let name = &seen.review.spec.workspace;
    let Some(workspace) = seen.workspace else {
        return plan
            .waits("WorkspaceMissing", format!("it waits for the workspace {name}, which is not there"));
    };
    let workspace = workspace.status.clone().unwrap_or_default();
    match workspace.phase {
        WorkspacePhase::Ready => {}
        WorkspacePhase::Failed => {
            let why = workspace.message.unwrap_or_default();
            return plan.failed(seen, "WorkspaceFailed", format!("the workspace {name} failed: {why}"));
        }
        phase => {
            let phase = format!("{phase:?}").to_lowercase();
            return plan
                .waits("WorkspaceNotReady", format!("it waits for the workspace {name}, which is {phase}"));
        }
    }
    match &seen.tree {
        None => Plan { act: Act::Look, ..plan },
        Some(Tree::Differs(why)) => plan.failed(seen, "WorkspaceChanged", why.clone()),
        Some(Tree::AsChecked(files)) if files.values().all(|of_it| of_it.is_empty()) => {
            done(seen, plan, Vec::new(), files)
        }
        Some(Tree::AsChecked(_)) => {
            let mut plan = plan.asks(seen, 1);
            plan.status.started_at = Some(seen.now.clone());
            plan.act = Act::Ask(None);
            plan.note = Some((false, "ReviewStarted"));
            plan
        }
    }
}

fn follow(seen: &Observed<'_>, plan: Plan) -> Plan {
    let attempt = plan.status.attempts.max(1);
    let name = reviewer::name(&seen.review.name_any(), attempt);
    let Some(agent) = seen.agent else {
        let error = (attempt > 1).then(|| plan.status.message.clone().unwrap_or_default());
        return Plan { act: Act::Ask(error), ..plan };
    };
    if !is_ours(agent, seen.review) || agent.metadata.deletion_timestamp.is_some() {
        return plan.reads("ReviewerLeaves", format!("it waits for an earlier agent {name} to be gone"));
    }
    let status = agent.status.clone().unwrap_or_default();
    let reason = status.reason.as_deref().unwrap_or_default();
    let said = status.message.clone().unwrap_or_default();
    if status.run_state != Some(RunState::Stopped) {
        return match reason {
            "" | "Executing" | "Starting" | "RevisionPending" => {
                // Why the answer before could not be read stays until there is a better one to tell.
                let told = attempt > 1 && plan.status.reason.as_deref() == Some("AskedAgain");
                if told { plan } else { plan.reads("Reading", format!("the reviewer {name} reads")) }
            }
            _ => plan.reads(reason, format!("the reviewer {name} waits: {said}")),
        };
    }
    match reason {
        "Completed" => {}
        "Paused" | "Stopped" => {
            return plan.reads(reason, format!("the reviewer {name} was {}: {said}", reason.to_lowercase()));
        }
        _ => {}
    }
    let failed = status.iterations.as_ref().map_or(0, |counts| counts.failed);
    if reason != "Completed" && failed < reviewer::TRIES {
        return plan.reads(reason, format!("the reviewer {name} does not go on: {said}"));
    }
    let Some(answer) = &seen.answer else { return Plan { act: Act::Read, ..plan } };
    let tree = match &seen.tree {
        None => return Plan { act: Act::Look, ..plan },
        Some(tree) => tree,
    };
    let files = match tree {
        Tree::Differs(why) => {
            let why = format!("{why}; a reviewer may change nothing, so its verdict does not count");
            return plan.failed(seen, "WorkspaceChanged", why);
        }
        Tree::AsChecked(files) => files,
    };
    let why = match answer {
        Answer::Said(text) => match answer::findings(text) {
            Ok(found) => return done(seen, plan, found, files),
            Err(why) => why.to_string(),
        },
        Answer::Failed(error) => {
            let error = shortened(error, QUOTED);
            return plan.failed(
                seen,
                "ReviewerFailed",
                format!("the reviewer {name} failed {failed} times: {error}"),
            );
        }
        Answer::Lost => "the answer is not there any more".to_owned(),
    };
    if attempt < ATTEMPTS {
        let mut plan = plan.asks(seen, attempt + 1);
        plan.status.reason = Some("AskedAgain".to_owned());
        plan.status.message = Some(why.clone());
        plan.act = Act::Ask(Some(why));
        plan.note = Some((false, "AskedAgain"));
        return plan;
    }
    plan.failed(
        seen,
        "NoFindingsList",
        format!("{ATTEMPTS} answers could not be read: {why}; a person has to decide"),
    )
}

fn done(seen: &Observed<'_>, mut plan: Plan, found: Vec<Finding>, files: &Files) -> Plan {
    let spec = &seen.review.spec;
    let judged = judge(found, files, &spec.earlier, spec.floor);
    let number = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
    let below = judged.findings.len() - judged.count;
    let mut told = match (judged.count, files.values().all(|of_it| of_it.is_empty())) {
        (0, true) => "the change touches no file".to_owned(),
        (0, false) => "nothing keeps the change back".to_owned(),
        (1, _) => "1 finding goes back to the worker".to_owned(),
        (more, _) => format!("{more} findings go back to the worker"),
    };
    if below > 0 {
        told.push_str(&format!("; {below} below {}", spec.floor.word()));
    }
    if judged.dropped > 0 {
        told.push_str(&format!("; {} left out: of no file of the change, or told before", judged.dropped));
    }
    let is_approved = judged.verdict == Verdict::Approved;
    let reason = if is_approved { "Approved" } else { "ChangesRequested" };
    plan.status = ReviewStatus {
        phase: ReviewPhase::Done,
        verdict: Some(judged.verdict),
        reason: Some(reason.to_owned()),
        message: Some(told),
        count: number(judged.count),
        dropped: number(judged.dropped),
        findings: judged.findings,
        finished_at: Some(seen.now.clone()),
        ..plan.status
    };
    plan.note = Some((false, reason));
    plan
}

impl Plan {
    /// It has not begun, and why.
    fn waits(mut self, reason: &str, message: String) -> Self {
        self.status.reason = Some(reason.to_owned());
        self.status.message = Some(shortened(&message, QUOTED * 2));
        self
    }

    /// It is under way, and how.
    fn reads(self, reason: &str, message: String) -> Self {
        self.waits(reason, message)
    }

    /// An attempt is on record.
    fn asks(mut self, seen: &Observed<'_>, attempt: i32) -> Self {
        let name = reviewer::name(&seen.review.name_any(), attempt);
        self.status.phase = ReviewPhase::Running;
        self.status.attempts = attempt;
        self.status.agent = Some(name.clone());
        self.reads("Reading", format!("the reviewer {name} reads"))
    }

    /// There is no verdict, and why: a person has to decide.
    fn failed(self, seen: &Observed<'_>, reason: &'static str, message: String) -> Self {
        let mut plan = self.waits(reason, message);
        plan.status.phase = ReviewPhase::Failed;
        plan.status.finished_at = Some(seen.now.clone());
        Plan { act: Act::Rest, note: Some((true, "ReviewFailed")), ..plan }
    }
}
