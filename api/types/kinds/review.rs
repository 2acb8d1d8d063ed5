//! Review: one reading of what a ticket's worker made.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::agent::Backend;

/// One reading of what a ticket's worker made, by an agent that answers with a list of findings. Named
/// `TICKET-review-ROUND`.
#[derive(CustomResource, Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[kube(
    group = "gcluster.dev",
    version = "v1alpha1",
    kind = "Review",
    plural = "reviews",
    singular = "review",
    shortname = "rv",
    category = "gcluster",
    namespaced,
    status = "ReviewStatus",
    derive = "PartialEq",
    selectable = ".spec.ticket",
    doc = "One reading of what a ticket's worker made.",
    printcolumn = r#"{"name":"Ticket","type":"string","jsonPath":".spec.ticket"}"#,
    printcolumn = r#"{"name":"Round","type":"integer","jsonPath":".spec.round"}"#,
    printcolumn = r#"{"name":"Phase","type":"string","jsonPath":".status.phase"}"#,
    printcolumn = r#"{"name":"Verdict","type":"string","jsonPath":".status.verdict"}"#,
    printcolumn = r#"{"name":"Findings","type":"integer","jsonPath":".status.count"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#,
    printcolumn = r#"{"name":"Why","type":"string","jsonPath":".status.message","priority":1}"#
)]
#[serde(rename_all = "camelCase")]
pub struct ReviewSpec {
    /// Name of the Ticket.
    #[schemars(length(min = 1))]
    pub ticket: String,
    /// Which reading of the ticket it is, from 1.
    #[schemars(range(min = 1))]
    pub round: i32,
    /// Name of the Workspace in which the reviewer reads.
    #[schemars(length(min = 1))]
    pub workspace: String,
    /// What is read.
    #[schemars(length(min = 1))]
    pub changes: Vec<ReviewedChange>,
    /// Which agent program reads. Default: that of the master.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backend: Option<Backend>,
    /// What the reviewer is told beside ticket and diff.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub prompt: String,
    /// Findings below it do not keep the change back.
    #[serde(default)]
    pub floor: Severity,
    /// Findings of the rounds before, so that they are not told again.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub earlier: Vec<Finding>,
}

/// The change of one repository.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReviewedChange {
    /// Name of the Repository object.
    pub repository: String,
    /// From which commit.
    pub base: String,
    /// To which commit.
    pub commit: String,
}

/// How bad a finding is.
#[derive(
    Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, JsonSchema,
)]
#[serde(rename_all = "camelCase")]
pub enum Severity {
    /// A matter of taste.
    #[default]
    Low,
    /// Should be better.
    Medium,
    /// Wrong in a case that occurs.
    High,
    /// Loses data, opens a hole, or does not do what the ticket asks.
    Critical,
}

impl Severity {
    /// As it is written: `low`, `medium`, `high`, `critical`.
    pub fn word(self) -> &'static str {
        match self {
            Severity::Low => "low",
            Severity::Medium => "medium",
            Severity::High => "high",
            Severity::Critical => "critical",
        }
    }
}

/// One thing that a reviewer found.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Finding {
    /// Name of the Repository object, where there are several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repository: Option<String>,
    /// Path in the repository.
    #[schemars(length(min = 1))]
    pub file: String,
    /// Line in the new text, from 1; absent for the whole file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub line: Option<i64>,
    /// How bad it is.
    pub severity: Severity,
    /// What is wrong, and what would be right.
    #[schemars(length(min = 1))]
    pub text: String,
}

/// What was observed of a review. Written by the review controller alone.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReviewStatus {
    /// Where it stands.
    #[serde(default)]
    pub phase: ReviewPhase,
    /// What came out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verdict: Option<Verdict>,
    /// Why, in one CamelCase word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Why, in one sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Name of the Agent that reads.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<String>,
    /// What it found and what concerns the change.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub findings: Vec<Finding>,
    /// How many findings there are at or above the floor.
    #[serde(default)]
    pub count: i64,
    /// Findings that were left out because they cite no file of the change, or were told before.
    #[serde(default)]
    pub dropped: i64,
    /// How often a reviewer was asked: an answer that is no list of findings is asked for once more.
    #[serde(default)]
    pub attempts: i32,
    /// When it began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<MicroTime>,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<MicroTime>,
}

/// Where a review stands.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, Hash, JsonSchema)]
pub enum ReviewPhase {
    /// It has not begun.
    #[default]
    Pending,
    /// The reviewer reads.
    Running,
    /// There is a verdict.
    Done,
    /// The reviewer came to none: a person has to decide.
    Failed,
}

/// What came out of a review.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, Hash, JsonSchema)]
pub enum Verdict {
    /// Nothing at or above the floor.
    Approved,
    /// Findings go back to the worker.
    ChangesRequested,
}
