//! Merge: bringing a ticket's branch into the base branch of its repositories.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Bringing a ticket's branch into the base branch of its repositories, all or none: rebase, quick checks,
/// fast-forward. One at a time for each base branch. Named `TICKET-merge-ATTEMPT`.
#[derive(CustomResource, Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[kube(
    group = "gcluster.dev",
    version = "v1alpha1",
    kind = "Merge",
    plural = "merges",
    singular = "merge",
    shortname = "mg",
    category = "gcluster",
    namespaced,
    status = "MergeStatus",
    derive = "PartialEq",
    selectable = ".spec.ticket",
    selectable = ".status.phase",
    doc = "Bringing a ticket's branch into the base branch.",
    printcolumn = r#"{"name":"Ticket","type":"string","jsonPath":".spec.ticket"}"#,
    printcolumn = r#"{"name":"Phase","type":"string","jsonPath":".status.phase"}"#,
    printcolumn = r#"{"name":"Reason","type":"string","jsonPath":".status.reason"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#,
    printcolumn = r#"{"name":"Why","type":"string","jsonPath":".status.message","priority":1}"#
)]
#[serde(rename_all = "camelCase")]
pub struct MergeSpec {
    /// Name of the Ticket.
    #[schemars(length(min = 1))]
    pub ticket: String,
    /// What is merged; repositories without a commit of their own are left out.
    #[schemars(length(min = 1))]
    pub repositories: Vec<MergedRepository>,
    /// Which merge comes first: 1 before 2, then first come.
    #[serde(default)]
    pub priority: i32,
}

/// What is merged in one repository.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MergedRepository {
    /// Name of the Repository object.
    pub name: String,
    /// Branch that is merged.
    pub branch: String,
    /// Its tip, as it was checked and reviewed. A branch that moved since is not merged.
    pub commit: String,
    /// Branch that it is merged into.
    pub base: String,
}

/// What was observed of a merge. Written by the merge controller alone.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MergeStatus {
    /// Where it stands.
    #[serde(default)]
    pub phase: MergePhase,
    /// Why, in one CamelCase word: `Queued`, `Merged`, `AlreadyMerged`, `Conflict`, `CheckFailed`, `BranchMoved`,
    /// `NotReady`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Why, in one sentence; for a queued one, who is before it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// How far each repository is. Written before anything is done, so that a killed master can finish or undo it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub repositories: Vec<MergeStep>,
    /// What a worker has to know who resolves the conflict or the red check, as Markdown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub brief: Option<String>,
    /// How often the base moved while it was being tested, and it was rebased again.
    #[serde(default)]
    pub retries: i32,
    /// When it began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<MicroTime>,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<MicroTime>,
}

/// How far the merge into one base branch is.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MergeStep {
    /// Name of the Repository object.
    pub name: String,
    /// Tip of the base onto which it was rebased.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub onto: Option<String>,
    /// The rebased tip.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rebased: Option<String>,
    /// Name of the Check of the rebased tip.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub check: Option<String>,
    /// Files in conflict.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conflicts: Vec<String>,
    /// True once the base points to the rebased tip.
    #[serde(default)]
    pub landed: bool,
}

/// Where a merge stands.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, Hash, JsonSchema)]
pub enum MergePhase {
    /// Others are before it.
    #[default]
    Queued,
    /// The branch is put on top of the base.
    Rebasing,
    /// The result is tested.
    Checking,
    /// The base branches are moved.
    Landing,
    /// It is in the base branch of all repositories.
    Merged,
    /// It is in none of them: a conflict, a red check, or a branch that moved.
    Rejected,
}

impl MergePhase {
    /// True when it will not change any more.
    pub fn is_terminal(self) -> bool {
        matches!(self, MergePhase::Merged | MergePhase::Rejected)
    }
}
