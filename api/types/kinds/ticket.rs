//! Ticket: a unit of work that waits for a worker.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, MicroTime};
use k8s_openapi::jiff::Timestamp;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

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
    doc = "One unit of work that waits for a worker.",
    printcolumn = r#"{"name":"Priority","type":"integer","jsonPath":".spec.priority","description":"1 is the highest"}"#,
    printcolumn = r#"{"name":"Phase","type":"string","jsonPath":".status.phase"}"#,
    printcolumn = r#"{"name":"Title","type":"string","jsonPath":".spec.title"}"#,
    printcolumn = r#"{"name":"Reason","type":"string","jsonPath":".status.reason"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#,
    printcolumn = r#"{"name":"Why","type":"string","jsonPath":".status.message","priority":1}"#,
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

/// What was observed of a ticket. Written by the ticket controller alone.
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
    /// The same as facts of their own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
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
    /// Which of two tickets is taken first: the smaller priority, then the one that was there first.
    pub fn order(&self) -> (i32, Timestamp, &str) {
        let created = self.metadata.creation_timestamp.as_ref().map_or(Timestamp::MAX, |at| at.0);
        (self.spec.priority, created, self.metadata.name.as_deref().unwrap_or_default())
    }
}

impl TicketPhase {
    /// True when it will not change any more by itself.
    pub fn is_terminal(self) -> bool {
        matches!(self, TicketPhase::Merged | TicketPhase::Failed | TicketPhase::Cancelled)
    }
}
