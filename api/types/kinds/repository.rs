//! Repository: a git repository that workers deliver into, and its hub.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, MicroTime};
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::agent::EnvVar;

/// A git repository that workers deliver into. gcluster keeps a bare copy of it, the hub: workspaces are worktrees of
/// the hub, merges land in the hub, and `gcluster sync` moves commits between the hub and the user's own checkout.
#[derive(CustomResource, Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[kube(
    group = "gcluster.dev",
    version = "v1alpha1",
    kind = "Repository",
    plural = "repositories",
    singular = "repository",
    shortname = "repo",
    category = "gcluster",
    namespaced,
    status = "RepositoryStatus",
    derive = "PartialEq",
    doc = "A git repository that workers deliver into.",
    printcolumn = r#"{"name":"Ready","type":"string","jsonPath":".status.conditions[?(@.type==\"Ready\")].status"}"#,
    printcolumn = r#"{"name":"Base","type":"string","jsonPath":".spec.base"}"#,
    printcolumn = r#"{"name":"Ahead","type":"integer","jsonPath":".status.ahead","description":"commits of the hub's base that the checkout does not have"}"#,
    printcolumn = r#"{"name":"Behind","type":"integer","jsonPath":".status.behind","description":"commits of the checkout's base that the hub does not have"}"#,
    printcolumn = r#"{"name":"Size","type":"string","jsonPath":".status.size","description":"hub and workspaces on disk"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#,
    printcolumn = r#"{"name":"Path","type":"string","jsonPath":".spec.path","priority":1}"#,
    printcolumn = r#"{"name":"Hub","type":"string","jsonPath":".status.hub","priority":1}"#,
    printcolumn = r#"{"name":"Reason","type":"string","jsonPath":".status.conditions[?(@.type==\"Ready\")].reason","priority":1}"#
)]
#[serde(rename_all = "camelCase")]
pub struct RepositorySpec {
    /// The user's own checkout, as an absolute path, or the address of a remote repository.
    #[schemars(length(min = 1))]
    pub path: String,
    /// The branch that tickets are merged into.
    #[serde(default = "main_branch")]
    #[schemars(length(min = 1))]
    pub base: String,
    /// Address or remote name of the checkout to which the base is pushed after each merge. Default: nowhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upstream: Option<String>,
    /// What a ticket becomes in the base.
    #[serde(default)]
    pub history: History,
    /// How a commit is tested.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checks: Option<CheckPolicy>,
    /// How long things are kept that nobody needs any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retention: Option<Retention>,
    /// Free space of the disk, in MiB, below which no new workspace is made. Default 2048.
    #[serde(default, rename = "minFreeMiB", skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub min_free_mib: Option<i64>,
    /// Folder whose files become tickets, absolute or relative to `path`. Default `.gcluster/backlog`, where that exists.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1))]
    pub backlog: Option<String>,
    /// Worker pool of those tickets of the folder that name none. Default: any pool with this repository.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backlog_pool: Option<String>,
    /// Size of all workspaces of the repository together, in MiB, above which no new one is made. Default: any.
    #[serde(default, rename = "maxWorkspacesMiB", skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub max_workspaces_mib: Option<i64>,
}

fn main_branch() -> String {
    "main".to_owned()
}

/// What a ticket becomes in the base branch.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, JsonSchema)]
pub enum History {
    /// One commit, which has passed its check: so every commit of the base has.
    #[default]
    One,
    /// The worker's own commits; only the last of them is tested.
    Each,
}

/// How a commit is tested: one program in a clean checkout.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CheckPolicy {
    /// Program and arguments, run in the root of the checkout. Default `./ci.sh`. A commit without that file passes
    /// with the reason `NoScript`; one that takes it away fails.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub command: Vec<String>,
    /// Further arguments of a quick check. Default `--quick`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quick_arguments: Option<Vec<String>>,
    /// Longest time of one check, such as `30m`, the default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$"))]
    pub timeout: Option<String>,
    /// Checks of the repository that run at once. Default 2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub concurrency: Option<i32>,
    /// Further environment variables.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<EnvVar>,
}

/// How long things are kept that nobody needs any more, such as `24h`.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Retention {
    /// The workspace of a merged ticket. Default `10m`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$"))]
    pub merged: Option<String>,
    /// The workspace of a ticket that failed or was cancelled. Default `24h`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$"))]
    pub failed: Option<String>,
    /// The snapshot that is taken of a workspace before it is removed. Default `720h`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$"))]
    pub salvaged: Option<String>,
    /// Results of checks. Default `168h`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$"))]
    pub checks: Option<String>,
}

/// What was observed of a repository. Written by the repository controller alone.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RepositoryStatus {
    /// Newest `metadata.generation` that was acted on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Absolute path of the bare repository.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hub: Option<String>,
    /// Absolute path of the folder with a `COMMIT.json` for every commit that was checked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ci_status: Option<String>,
    /// Tip of the base branch in the hub.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base_commit: Option<String>,
    /// Tip of the base branch in the user's checkout.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_commit: Option<String>,
    /// Commits of the hub's base that the checkout's does not have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ahead: Option<i64>,
    /// Commits of the checkout's base that the hub's does not have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub behind: Option<i64>,
    /// Hub and workspaces on disk, in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<i64>,
    /// The same as people read it, such as `12 MiB`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<String>,
    /// When the hub was last tidied.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub maintained_at: Option<MicroTime>,
    /// `Ready` (hub there, hooks as they should be, git new enough), `DiskSpace`, `UpstreamPushed`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
}
