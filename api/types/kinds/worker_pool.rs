//! WorkerPool: agents of one sort that take tickets.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::agent::{Backend, EnvVar, Limits};

/// Branch of a ticket where the pool names no pattern.
pub const BRANCH_PATTERN: &str = "agent-{worker}/feat-{id}";

/// Agents of one sort that take tickets, one each, in a workspace of their own.
#[derive(CustomResource, Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[kube(
    group = "gcluster.dev",
    version = "v1alpha1",
    kind = "WorkerPool",
    plural = "workerpools",
    singular = "workerpool",
    shortname = "pool",
    shortname = "pools",
    category = "gcluster",
    namespaced,
    status = "WorkerPoolStatus",
    scale(spec_replicas_path = ".spec.replicas", status_replicas_path = ".status.replicas"),
    derive = "PartialEq",
    doc = "Agents of one sort that take tickets.",
    printcolumn = r#"{"name":"Replicas","type":"integer","jsonPath":".spec.replicas"}"#,
    printcolumn = r#"{"name":"Busy","type":"integer","jsonPath":".status.busy","description":"workers that have a ticket"}"#,
    printcolumn = r#"{"name":"Ready","type":"integer","jsonPath":".status.ready","description":"tickets that a worker may take"}"#,
    printcolumn = r#"{"name":"Merged","type":"integer","jsonPath":".status.merged"}"#,
    printcolumn = r#"{"name":"Failed","type":"integer","jsonPath":".status.failed"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#,
    printcolumn = r#"{"name":"Repositories","type":"string","jsonPath":".spec.repositories","priority":1}"#,
    printcolumn = r#"{"name":"Why","type":"string","jsonPath":".status.message","priority":1}"#
)]
#[serde(rename_all = "camelCase")]
pub struct WorkerPoolSpec {
    /// Tickets that are worked on at once. Fewer than before: whoever has a ticket finishes it.
    #[serde(default = "one")]
    #[schemars(range(min = 0))]
    pub replicas: i32,
    /// Names of the Repository objects that a ticket of this pool changes; the first is the main one. A change of
    /// several repositories has one branch name, and is merged into all or none.
    #[schemars(length(min = 1))]
    pub repositories: Vec<String>,
    /// Which agent program works. Default: that of the master.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backend: Option<Backend>,
    /// What every worker is told beside its ticket.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub prompt: String,
    /// Name of a ticket's branch: `{worker}`, `{id}`, `{ticket}` and `{pool}` are replaced. Default
    /// `agent-{worker}/feat-{id}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1))]
    pub branch: Option<String>,
    /// Shell commands that are run in a new workspace before the worker begins.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub setup: Vec<String>,
    /// Shell commands that are run before a workspace is removed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub teardown: Vec<String>,
    /// Longest time of all set-up commands together, and of all teardown commands, such as `10m`, the default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$"))]
    pub setup_timeout: Option<String>,
    /// Files and folders, relative to the user's checkout, that are copied into a new workspace because git does not
    /// have them, such as `.env`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub copy: Vec<String>,
    /// Ports of each workspace, in the environment as `PORT` (the first) and `GCLUSTER_PORTS` (`first-last`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ports: Option<PortRange>,
    /// Further environment variables of set-up, workers and teardown.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<EnvVar>,
    /// What each ticket's worker may use up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<Limits>,
    /// How often work on one ticket may begin again after a failure, an empty result, a red check or a conflict.
    /// Rounds of review are not counted. Default 3.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub max_attempts: Option<i32>,
    /// How what was made is reviewed. Default: by a reviewer on the pool's backend.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub review: Option<ReviewPolicy>,
    /// Who runs first when not all agents can: higher is first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent_priority: Option<i32>,
    /// Tickets that may wait for a person before no new one is begun; those that were begun go on. Default: twice the
    /// replicas.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub max_waiting: Option<i32>,
    /// A command that tells somebody when a ticket needs a person or has come to its end. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub notify: Option<NotifyPolicy>,
}

/// A command that is run once for each transition of a ticket of the pool.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NotifyPolicy {
    /// The program and its arguments, run by the master. What happened is in the environment: `GCLUSTER_EVENT`
    /// (`NeedsHuman`, `Failed`, `Merged`), `GCLUSTER_NAMESPACE`, `GCLUSTER_TICKET`, `GCLUSTER_TITLE`, `GCLUSTER_REASON`,
    /// `GCLUSTER_MESSAGE`.
    #[schemars(length(min = 1))]
    pub command: Vec<String>,
    /// Of what it tells. Default: of everything.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub on: Vec<NotifyReason>,
    /// Longest time of it, such as `30s`, the default; then it is ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$"))]
    pub timeout: Option<String>,
}

/// Of what a pool tells.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, JsonSchema)]
pub enum NotifyReason {
    /// Nothing goes on before a person decides.
    NeedsHuman,
    /// It was given up.
    Failed,
    /// It is in the base branch.
    Merged,
}

fn one() -> i32 {
    1
}

/// Ports that workspaces of a pool are given, one slice each.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PortRange {
    /// First port of the first worker.
    #[schemars(range(min = 1024, max = 65535))]
    pub first: i32,
    /// Ports of each worker. Default 10.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub per_worker: Option<i32>,
}

/// How what was made is reviewed.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReviewPolicy {
    /// By whom.
    #[serde(default)]
    pub by: Reviewer,
    /// Which agent program reviews. Default: that of the pool.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backend: Option<Backend>,
    /// What a reviewer is told beside ticket and diff.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub prompt: String,
    /// How often findings may go back to the worker; then a person decides. After the second round only findings of
    /// severity `high` and above go back. Default 3.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub max_review_rounds: Option<i32>,
}

/// Who reviews.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, JsonSchema)]
pub enum Reviewer {
    /// An agent; a person where it comes to no end.
    #[default]
    Agent,
    /// A person: every ticket waits for `gcluster approve`.
    Human,
    /// An agent first, then a person.
    Both,
    /// Nobody: what passes its checks is approved.
    Nobody,
}

/// What was observed of a pool. Written by the ticket controller alone.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct WorkerPoolStatus {
    /// Newest `metadata.generation` that was acted on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Workers that are there: those with a ticket, and those that could take one.
    #[serde(default)]
    pub replicas: i32,
    /// Workers that have a ticket.
    #[serde(default)]
    pub busy: i32,
    /// Tickets that one of the workers may take.
    #[serde(default)]
    pub ready: i32,
    /// Tickets that were merged, of those that are still there.
    #[serde(default)]
    pub merged: i32,
    /// Tickets that failed, of those that are still there.
    #[serde(default)]
    pub failed: i32,
    /// Why no further ticket is taken, in one sentence; absent while there is none to take or one is taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// `Available` (its repositories are ready and have space).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
}
