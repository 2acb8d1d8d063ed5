//! Workspace: the checkouts in which one ticket is worked on. Salvage: what was in one that is gone.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, MicroTime};
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::agent::EnvVar;

/// The checkouts in which one ticket is worked on: a git worktree of the hub of each repository, on a branch of its
/// own. Before it is removed, everything in it is kept in a Salvage.
#[derive(CustomResource, Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[kube(
    group = "gcluster.dev",
    version = "v1alpha1",
    kind = "Workspace",
    plural = "workspaces",
    singular = "workspace",
    shortname = "ws",
    category = "gcluster",
    namespaced,
    status = "WorkspaceStatus",
    derive = "PartialEq",
    selectable = ".spec.ticket",
    selectable = ".status.phase",
    doc = "The checkouts in which one ticket is worked on.",
    printcolumn = r#"{"name":"Ticket","type":"string","jsonPath":".spec.ticket"}"#,
    printcolumn = r#"{"name":"Phase","type":"string","jsonPath":".status.phase"}"#,
    printcolumn = r#"{"name":"Branch","type":"string","jsonPath":".spec.branch"}"#,
    printcolumn = r#"{"name":"Size","type":"string","jsonPath":".status.size"}"#,
    printcolumn = r#"{"name":"Kept","type":"string","jsonPath":".status.kept","description":"why it is still there"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#,
    printcolumn = r#"{"name":"Path","type":"string","jsonPath":".status.path","priority":1}"#
)]
#[serde(rename_all = "camelCase")]
pub struct WorkspaceSpec {
    /// Name of the Ticket that is worked on here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ticket: Option<String>,
    /// Name of the pool of the worker.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pool: Option<String>,
    /// Number of the worker in its pool, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worker: Option<i32>,
    /// Name of the branch, the same in all repositories.
    #[schemars(length(min = 1))]
    pub branch: String,
    /// The repositories; the first is where the worker begins.
    #[schemars(length(min = 1))]
    pub repositories: Vec<WorkspaceRepository>,
    /// Shell commands that are run once before it is ready.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub setup: Vec<String>,
    /// Shell commands that are run before it is removed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub teardown: Vec<String>,
    /// Longest time of all set-up commands together, and of all teardown commands. Default `10m`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$"))]
    pub setup_timeout: Option<String>,
    /// Files and folders, relative to the user's checkout of the first repository, that are copied into it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub copy: Vec<String>,
    /// First of its ports.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_port: Option<i32>,
    /// How many ports it has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ports: Option<i32>,
    /// Further environment variables of set-up and teardown.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<EnvVar>,
    /// Name of the Salvage from which it is made, instead of the base branch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restore_from: Option<String>,
}

/// A repository of a workspace.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct WorkspaceRepository {
    /// Name of the Repository object.
    pub name: String,
    /// The branch or commit from which the new branch begins. Default: the base of the repository.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start: Option<String>,
}

impl Workspace {
    /// Name of the Salvage that it leaves when it goes: one for each workspace that ever was.
    pub fn salvage_name(&self) -> String {
        let uid: String = self.metadata.uid.iter().flat_map(|uid| uid.chars()).take(8).collect();
        let name: String = self.metadata.name.iter().flat_map(|name| name.chars()).take(200).collect();
        format!("{}-{}", name.trim_end_matches(['-', '.']), uid.trim_end_matches('-'))
    }
}

/// What was observed of a workspace. Written by the workspace controller alone.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct WorkspaceStatus {
    /// Where it stands.
    #[serde(default)]
    pub phase: WorkspacePhase,
    /// Why, in one CamelCase word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Why, in one sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Absolute path of its folder: the worktree itself, or the folder of the worktrees where there are several
    /// repositories.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Its repositories, in the order of the specification.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub repositories: Vec<Checkout>,
    /// Its environment variables: names of its ticket, branch and ports.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub environment: BTreeMap<String, String>,
    /// Size on disk in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<i64>,
    /// The same as people read it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<String>,
    /// Why it is still there, such as `ticket is at work` or `merged; removed after 10m`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kept: Option<String>,
    /// When it is removed by itself, as far as that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kept_until: Option<MicroTime>,
    /// Name of the Salvage from which it is made again, while it is, after somebody deleted its folder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restoring: Option<String>,
    /// When it was ready.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ready_at: Option<MicroTime>,
    /// When its files were last looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_at: Option<MicroTime>,
    /// The value of the annotation `gcluster.dev/observe` that was last answered with an exact look at its files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_request: Option<String>,
    /// `Salvaged` (what is in it is kept; false says why it cannot be removed), `OnBranch` (false while HEAD is not its
    /// branch).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
}

/// Where a workspace stands.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, Hash, JsonSchema)]
pub enum WorkspacePhase {
    /// It is being made.
    #[default]
    Pending,
    /// Its worktrees are there, set-up commands run.
    Preparing,
    /// A worker may begin.
    Ready,
    /// It could not be made or set up.
    Failed,
    /// It is being removed.
    Terminating,
}

/// The worktree of one repository.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Checkout {
    /// Name of the Repository object.
    pub name: String,
    /// Absolute path of the worktree.
    #[serde(default)]
    pub path: String,
    /// Branch that it is merged into.
    #[serde(default)]
    pub base: String,
    /// Commit from which its branch began.
    #[serde(default)]
    pub start: String,
    /// Tip of its branch.
    #[serde(default)]
    pub commit: String,
    /// Commits of the branch that the base does not have.
    #[serde(default)]
    pub ahead: i64,
    /// Commits of the base that the branch does not have.
    #[serde(default)]
    pub behind: i64,
    /// Files that differ from the tip: changed, staged or new. Ignored ones are not counted.
    #[serde(default)]
    pub dirty: i64,
    /// When what is not committed was last saved in the hub, from where it comes back if somebody deletes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub saved_at: Option<MicroTime>,
    /// True when the base has everything that the branch changed, by content.
    #[serde(default)]
    pub merged: bool,
    /// Lines that the branch adds to where it began.
    #[serde(default)]
    pub insertions: i64,
    /// Lines that it takes away.
    #[serde(default)]
    pub deletions: i64,
    /// Files that it changes.
    #[serde(default)]
    pub files: i64,
}

/// What was in a workspace, or in a ticket, that is gone: kept for the retention period, for `gcluster undelete`.
/// Deleting it gives the disk back.
#[derive(CustomResource, Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[kube(
    group = "gcluster.dev",
    version = "v1alpha1",
    kind = "Salvage",
    plural = "salvages",
    singular = "salvage",
    category = "gcluster",
    namespaced,
    derive = "PartialEq",
    doc = "What was in a workspace or ticket that is gone.",
    printcolumn = r#"{"name":"Kind","type":"string","jsonPath":".spec.kind"}"#,
    printcolumn = r#"{"name":"Of","type":"string","jsonPath":".spec.name"}"#,
    printcolumn = r#"{"name":"Ticket","type":"string","jsonPath":".spec.ticket"}"#,
    printcolumn = r#"{"name":"Holds","type":"string","jsonPath":".spec.holds","description":"what would be lost without it"}"#,
    printcolumn = r#"{"name":"Expires","type":"string","jsonPath":".spec.expiresAt"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase")]
pub struct SalvageSpec {
    /// Kind of the object that is gone: `Workspace` or `Ticket`.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// Its uid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<String>,
    /// Name of the ticket that it belonged to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ticket: Option<String>,
    /// The object, as JSON.
    pub manifest: String,
    /// What is kept of each repository.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub snapshots: Vec<Snapshot>,
    /// What it holds that is nowhere else, such as `2 commits, 3 files`, or `nothing that is not merged`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub holds: Option<String>,
    /// When it is removed by itself (RFC 3339).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<String>,
}

/// What is kept of one worktree, as hidden refs of the hub.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Snapshot {
    /// Name of the Repository object.
    pub repository: String,
    /// The hidden ref, `refs/gcluster/salvage/NAMESPACE/NAME`: a commit of the whole tree with untracked files, whose
    /// first parent is the tip of the branch and whose second is a commit of the index.
    pub reference: String,
    /// That commit.
    pub commit: String,
    /// Branch that was checked out.
    pub branch: String,
    /// Its tip.
    pub tip: String,
    /// Commit from which the branch began.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub start: String,
    /// Paths that git cannot hold, such as repositories inside the worktree: they are kept as files below `folder`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub aside: Vec<String>,
    /// Absolute path of the folder in which they are kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub folder: Option<String>,
    /// Ignored files and folders that were there and are not kept.
    #[serde(default)]
    pub ignored: i64,
}
