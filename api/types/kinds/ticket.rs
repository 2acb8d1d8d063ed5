//! Ticket: a unit of work that waits for a worker.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, MicroTime};
use k8s_openapi::jiff::Timestamp;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::natural::Natural;

/// Priority of a ticket that names none.
pub const NORMAL_PRIORITY: i32 = 3;

/// One unit of work: what should be there afterwards, and what it has to wait for. The one with the smallest
/// priority comes first, of equals the one that was there first.
#[derive(CustomResource, Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[kube(
    group = "gcluster.dev",
    version = "v1alpha1",
    kind = "Ticket",
    plural = "tickets",
    singular = "ticket",
    shortname = "tk",
    category = "gcluster",
    namespaced,
    status = "TicketStatus",
    derive = "PartialEq",
    selectable = ".spec.pool",
    selectable = ".status.phase",
    selectable = ".status.pool",
    doc = "One unit of work that waits for a worker.",
    printcolumn = r#"{"name":"Priority","type":"integer","jsonPath":".spec.priority","description":"1 is the highest"}"#,
    printcolumn = r#"{"name":"Phase","type":"string","jsonPath":".status.phase"}"#,
    printcolumn = r#"{"name":"Reviews","type":"integer","jsonPath":".status.reviewRounds","description":"rounds of review"}"#,
    printcolumn = r#"{"name":"Reason","type":"string","jsonPath":".status.reason"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#,
    printcolumn = r#"{"name":"Title","type":"string","jsonPath":".spec.title"}"#,
    printcolumn = r#"{"name":"Why","type":"string","jsonPath":".status.message","priority":1}"#,
    printcolumn = r#"{"name":"Branch","type":"string","jsonPath":".status.branch","priority":1}"#,
    printcolumn = r#"{"name":"Locks","type":"string","jsonPath":".spec.locks","priority":1}"#,
    printcolumn = r#"{"name":"Depends on","type":"string","jsonPath":".spec.dependsOn","priority":1}"#
)]
#[serde(rename_all = "camelCase")]
pub struct TicketSpec {
    /// What it is about, in one line.
    #[schemars(length(min = 1, max = 500))]
    pub title: String,
    /// What is wanted, in as many words as it takes. Markdown.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// Which ticket is taken first: 1 before 2.
    #[serde(default = "normal_priority")]
    #[schemars(range(min = 1))]
    pub priority: i32,
    /// Names of what no two tickets may work on at once.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub locks: Vec<String>,
    /// Names of the Ticket objects that have to be merged before.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub depends_on: Vec<String>,
    /// How long it is thought to take, in minutes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.0))]
    pub estimate_minutes: Option<f64>,
    /// Words to find it by.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// Name of the worker pool that may take it. Default: any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pool: Option<String>,
    /// The ticket's id as its author wrote it; the object's name is derived from it.
    #[serde(default, rename = "ticketID", skip_serializing_if = "Option::is_none")]
    pub ticket_id: Option<String>,
    /// Whether it should be worked on.
    #[serde(default)]
    pub state: TicketState,
    /// Names of the repositories that it changes, of those of its pool. Default: all of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub repositories: Vec<String>,
    /// What a person decided about it last. A new value of `at` is a new decision.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decision: Option<Decision>,
}

fn normal_priority() -> i32 {
    NORMAL_PRIORITY
}

/// Whether a ticket should be worked on.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, JsonSchema)]
pub enum TicketState {
    /// As soon as nothing keeps it.
    #[default]
    Open,
    /// Not at present.
    Held,
    /// Never.
    Cancelled,
}

/// What a person decided about a ticket.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Decision {
    /// What.
    pub verdict: HumanVerdict,
    /// What the worker is told with it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub text: String,
    /// Who.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// When (RFC 3339).
    pub at: String,
}

/// What a person can decide about a ticket.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, JsonSchema)]
pub enum HumanVerdict {
    /// What was made is good: no further review. Checks and merge still have to pass.
    #[default]
    Approve,
    /// Work goes on, with the text; a ticket that failed begins again where it was.
    SendBack,
    /// It is ended now and fails; what was made stays.
    Stop,
}

/// What was observed of a ticket. Written by the ticket controller alone, but for the condition `ConflictPredicted`,
/// which is the forecast's.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TicketStatus {
    /// Newest `metadata.generation` that was acted on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Where it stands.
    #[serde(default)]
    pub phase: TicketPhase,
    /// Why, in one CamelCase word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Why, in one sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Since when it stands there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<MicroTime>,
    /// The worker pool that has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pool: Option<String>,
    /// The worker that has it: its number in the pool, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worker: Option<i32>,
    /// Name of its Workspace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workspace: Option<String>,
    /// Name of its branch, the same in all repositories.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub branch: Option<String>,
    /// Name of the Agent that works on it now, or did last. One for each round: `TICKET-work-ROUND`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<String>,
    /// How often a worker began: from 1, with every failure, send-back, review and conflict one more.
    #[serde(default)]
    pub round: i32,
    /// How often it began again for another reason than a review.
    #[serde(default)]
    pub attempts: i32,
    /// Readings by a reviewer.
    #[serde(default)]
    pub review_rounds: i32,
    /// Merges that were rejected.
    #[serde(default)]
    pub conflicts: i32,
    /// Why work began again, as the worker is told: findings, a red check, a conflict, a person's words. Markdown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub feedback: Option<String>,
    /// What was made, by repository; while the worker is at it, as far as it was looked at.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<TicketChange>,
    /// What the worker says of it: the end of its last answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub summary: Option<String>,
    /// Dependencies that were seen merged, so that their objects may go.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub merged_dependencies: Vec<String>,
    /// Name of the newest Review.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub review: Option<String>,
    /// Name of the newest Merge.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub merge: Option<String>,
    /// The `spec.decision.at` that was carried out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_decision: Option<String>,
    /// When it came into which phase, oldest first; the newest 64.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub transitions: Vec<Transition>,
    /// Seconds that it has spent in each phase, by the phase's name; the present one counts when it is left.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub seconds: BTreeMap<String, f64>,
    /// What its workers and reviewers have used up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage: Option<TicketUsage>,
    /// When it came to its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<MicroTime>,
    /// The same as facts of their own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
}

/// What was made in one repository.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TicketChange {
    /// Name of the Repository object.
    pub repository: String,
    /// Commit from which the branch began.
    #[serde(default)]
    pub start: String,
    /// Tip of the branch; after the merge, its commit in the base branch.
    #[serde(default)]
    pub commit: String,
    /// Commits of it.
    #[serde(default)]
    pub commits: i64,
    /// Files that it changes.
    #[serde(default)]
    pub files: i64,
    /// Lines that it adds.
    #[serde(default)]
    pub insertions: i64,
    /// Lines that it takes away.
    #[serde(default)]
    pub deletions: i64,
}

/// When a ticket came into a phase.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Transition {
    /// Which.
    pub phase: TicketPhase,
    /// Why, in one CamelCase word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// When.
    pub at: MicroTime,
}

/// What the agents of a ticket have used up.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TicketUsage {
    /// Iterations that ended.
    #[serde(default)]
    pub iterations: i64,
    /// Tokens of all four kinds.
    #[serde(default)]
    pub tokens: i64,
    /// US dollars, as the backends report them.
    #[serde(default, rename = "costUSD")]
    pub cost_usd: f64,
    /// Tokens whose price is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unpriced_tokens: Option<i64>,
    /// The same of each agent, by its name; those that are gone included.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub agents: BTreeMap<String, AgentUsage>,
}

/// What one agent of a ticket has used up.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AgentUsage {
    /// Iterations that ended.
    #[serde(default)]
    pub iterations: i64,
    /// Tokens of all four kinds.
    #[serde(default)]
    pub tokens: i64,
    /// US dollars, as its backend reports them.
    #[serde(default, rename = "costUSD")]
    pub cost_usd: f64,
    /// Tokens whose price is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unpriced_tokens: Option<i64>,
}

/// Where a ticket stands.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, Hash, JsonSchema)]
pub enum TicketPhase {
    /// Something has to happen before: a dependency, a lock, a hold.
    #[default]
    Waiting,
    /// A worker may take it.
    Ready,
    /// A worker has it.
    Working,
    /// What was made is being tested.
    Checking,
    /// What was made is being reviewed.
    Reviewing,
    /// It may be merged.
    Approved,
    /// It is being merged.
    Merging,
    /// It is in the base branch.
    Merged,
    /// It was given up.
    Failed,
    /// Nobody wants it any more.
    Cancelled,
}

impl Ticket {
    /// Which of two tickets is taken first: the smaller priority, then the one that was there first. Of those that came
    /// in the same second, as those of one file do, `t-2` is before `t-10`.
    pub fn order(&self) -> (i32, Timestamp, Natural<'_>) {
        let created = self.metadata.creation_timestamp.as_ref().map_or(Timestamp::MAX, |at| at.0);
        (self.spec.priority, created, Natural(self.metadata.name.as_deref().unwrap_or_default()))
    }
}

impl TicketPhase {
    /// True while a worker, its checks, a review or a merge has it.
    pub fn is_in_flight(self) -> bool {
        matches!(
            self,
            TicketPhase::Working
                | TicketPhase::Checking
                | TicketPhase::Reviewing
                | TicketPhase::Approved
                | TicketPhase::Merging
        )
    }

    /// True when it will not change any more by itself.
    pub fn is_terminal(self) -> bool {
        matches!(self, TicketPhase::Merged | TicketPhase::Failed | TicketPhase::Cancelled)
    }
}
