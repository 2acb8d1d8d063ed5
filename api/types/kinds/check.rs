//! Check: one run of a repository's test script on one commit.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One run of a repository's test script on one commit, in a clean checkout. Named
/// `REPOSITORY-FIRST_12_OF_THE_COMMIT`, with `-quick` behind it for a quick one, so that a commit is tested once;
/// deleting it and asking again tests again.
#[derive(CustomResource, Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[kube(
    group = "gcluster.dev",
    version = "v1alpha1",
    kind = "Check",
    plural = "checks",
    singular = "check",
    shortname = "chk",
    category = "gcluster",
    namespaced,
    status = "CheckStatus",
    derive = "PartialEq",
    selectable = ".spec.repository",
    selectable = ".spec.commit",
    selectable = ".status.phase",
    doc = "One run of a repository's test script on one commit.",
    printcolumn = r#"{"name":"Repository","type":"string","jsonPath":".spec.repository"}"#,
    printcolumn = r#"{"name":"Ref","type":"string","jsonPath":".spec.ref"}"#,
    printcolumn = r#"{"name":"Phase","type":"string","jsonPath":".status.phase"}"#,
    printcolumn = r#"{"name":"Reason","type":"string","jsonPath":".status.reason"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#,
    printcolumn = r#"{"name":"Commit","type":"string","jsonPath":".spec.commit","priority":1}"#,
    printcolumn = r#"{"name":"Asked by","type":"string","jsonPath":".spec.requestedBy","priority":1}"#
)]
#[serde(rename_all = "camelCase")]
pub struct CheckSpec {
    /// Name of the Repository object.
    #[schemars(length(min = 1))]
    pub repository: String,
    /// The commit, 40 (or 64) hex digits.
    #[schemars(length(min = 40, max = 64), regex(pattern = r"^[0-9a-f]+$"))]
    pub commit: String,
    /// The branch on which it was seen, such as `refs/heads/agent-1/feat-7`.
    #[serde(default, rename = "ref", skip_serializing_if = "String::is_empty")]
    pub reference: String,
    /// True: with the arguments of a quick check.
    #[serde(default)]
    pub quick: bool,
    /// Who asked for it: `push`, `ticket/NAME` or `merge/NAME`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub requested_by: String,
}

/// What was observed of a check. Written by the check controller alone.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CheckStatus {
    /// Where it stands.
    #[serde(default)]
    pub phase: CheckPhase,
    /// Why, in one CamelCase word: `Passed`, `NoScript`, `ExitCode`, `Signal`, `TimedOut`,
    /// `ScriptRemoved`, `NoCommit`, `CannotStart`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Why, in one sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// When the script began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<MicroTime>,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<MicroTime>,
    /// Its exit code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// The end of what it printed, at most 8 KiB.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub output: String,
    /// Absolute path of the file with all that it printed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log: Option<String>,
    /// How often it was begun: a killed master begins it again.
    #[serde(default)]
    pub starts: i32,
}

/// Where a check stands.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, Hash, JsonSchema)]
pub enum CheckPhase {
    /// Others are before it.
    #[default]
    Pending,
    /// The script runs.
    Running,
    /// The script ended with 0.
    Passed,
    /// It did not.
    Failed,
}

impl Check {
    /// Name of the check of a commit.
    pub fn name_of(repository: &str, commit: &str, quick: bool) -> String {
        let short: String = commit.chars().take(12).collect();
        let quick = if quick { "-quick" } else { "" };
        format!("{repository}-{short}{quick}")
    }
}
