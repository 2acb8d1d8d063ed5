//! Iteration: one execution of one step of an agent.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::agent::TokenTotals;
use super::provider::FaultKind;

/// One execution of one step. Owned by its Agent, named `<agent>.<step>.<number>`, items of a map
/// `<agent>.<step>.<number>.<item>`.
#[derive(CustomResource, Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[kube(
    group = "gcluster.dev",
    version = "v1alpha1",
    kind = "Iteration",
    plural = "iterations",
    singular = "iteration",
    shortname = "it",
    category = "gcluster",
    category = "all",
    namespaced,
    status = "IterationStatus",
    derive = "PartialEq",
    selectable = ".spec.agent",
    selectable = ".spec.step",
    selectable = ".status.phase",
    doc = "One execution of one step of an agent.",
    printcolumn = r#"{"name":"Phase","type":"string","jsonPath":".status.phase"}"#,
    printcolumn = r#"{"name":"Started","type":"date","jsonPath":".status.startedAt"}"#,
    printcolumn = r#"{"name":"Tools","type":"integer","jsonPath":".status.toolUses"}"#,
    printcolumn = r#"{"name":"Tokens","type":"integer","jsonPath":".status.tokens.total"}"#,
    printcolumn = r#"{"name":"Output","type":"string","jsonPath":".status.outputExcerpt","priority":1}"#,
    printcolumn = r#"{"name":"Reason","type":"string","jsonPath":".status.reason","priority":1}"#,
    printcolumn = r#"{"name":"Revision","type":"string","jsonPath":".spec.revision","priority":1}"#
)]
#[serde(rename_all = "camelCase")]
pub struct IterationSpec {
    /// Name of the Agent object.
    pub agent: String,
    /// Name of the AgentRevision object whose text it executes.
    pub revision: String,
    /// Label of the step; of a nested pipeline, the labels on the way joined by `-`.
    pub step: String,
    /// How the step runs its method.
    pub kind: StepKind,
    /// Counts the step's iterations from 0 and is never reused.
    pub number: i64,
    /// Which item of a map, from 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub item: Option<i64>,
    /// Which round of the loop over a pipeline that it is part of, from 0; absent outside of such a loop.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub round: Option<i64>,
    /// The execution of the definition that it belongs to (`status.execution` of the Agent).
    #[serde(default)]
    pub execution: i64,
}

/// How a step runs its method.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, JsonSchema)]
pub enum StepKind {
    /// Once.
    #[default]
    Call,
    /// Once per item of the previous output, in parallel.
    Map,
    /// Again and again.
    Loop,
}

/// What was observed of an iteration. Written by the executor alone.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct IterationStatus {
    /// Where it stands.
    #[serde(default)]
    pub phase: Phase,
    /// Why, in one CamelCase word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// When its program was started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<MicroTime>,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<MicroTime>,
    /// The backend that executes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backend: Option<String>,
    /// The model that answered, as the backend reports it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// The backend's session, chosen before the start.
    #[serde(default, rename = "sessionID", skip_serializing_if = "Option::is_none")]
    pub session_id: Option<String>,
    /// The program, while it lives.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub process: Option<ProcessRef>,
    /// What lives of the program and of what it started, looked at every few seconds while it runs. What has lived
    /// for less than a second is not among them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub processes: Option<LiveProcesses>,
    /// Turns of the model, as the backend reports them.
    #[serde(default)]
    pub turns: i64,
    /// Tools that were used.
    #[serde(default)]
    pub tool_uses: i64,
    /// Tokens that were used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens: Option<TokenTotals>,
    /// Cost in US dollars as the backend reports it; absent where it knows no price.
    #[serde(default, rename = "costUSD", skip_serializing_if = "Option::is_none")]
    pub cost_usd: Option<f64>,
    /// Of the tokens, those whose price is not known: they are not in `costUSD`, and not free.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub unpriced_tokens: i64,
    /// First line of the prompt, shortened. The whole is in the transcript.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prompt_excerpt: Option<String>,
    /// First line of the output, shortened. The whole is in the transcript.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output_excerpt: Option<String>,
    /// What went wrong, in the backend's words, shortened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// True when trying again cannot help before a person changes something: credentials, billing, the model.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub fatal: bool,
    /// When the provider's usage limit is lifted; only with the reason `Throttled`, and only if it says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resets_at: Option<MicroTime>,
    /// What its program authenticates with; see `status.credential` of the Agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credential: Option<String>,
    /// What the provider refused, when that ended it: no failure of the agent's work.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider_fault: Option<FaultKind>,
    /// How far the transcript has come.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transcript: Option<TranscriptSize>,
}

fn is_zero(number: &i64) -> bool {
    *number == 0
}

/// Where an iteration stands.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, JsonSchema)]
pub enum Phase {
    /// It is recorded and not started.
    #[default]
    Pending,
    /// Its program runs.
    Running,
    /// It ended with an output.
    Succeeded,
    /// The backend reported an error or went away.
    Failed,
    /// It was ended from outside: a stop, a delete, the end of the master, a refusal of the provider.
    Interrupted,
}

impl Phase {
    /// True when it will not change any more.
    pub fn is_terminal(self) -> bool {
        matches!(self, Phase::Succeeded | Phase::Failed | Phase::Interrupted)
    }
}

/// A process, told apart from later ones with the same id by its start time.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ProcessRef {
    /// Process id, and process group id.
    pub pid: i64,
    /// Start time in clock ticks since boot, from `/proc/PID/stat`; 0 where there is none.
    #[serde(default)]
    pub start_time: i64,
    /// Boot that the process belongs to, from `/proc/sys/kernel/random/boot_id`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub boot_id: Option<String>,
}

/// The living processes of an iteration.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LiveProcesses {
    /// How many there are.
    #[serde(default)]
    pub count: i64,
    /// The oldest of them, at most twenty.
    #[serde(default)]
    pub items: Vec<LiveProcess>,
}

/// A living process.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LiveProcess {
    /// Process id.
    #[serde(default)]
    pub pid: i64,
    /// Its command line, shortened, with what looks like a secret left out.
    #[serde(default)]
    pub command: String,
    /// When it was started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<MicroTime>,
}

/// How far a transcript has come.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, JsonSchema)]
pub struct TranscriptSize {
    /// Records.
    pub records: i64,
    /// Bytes.
    pub bytes: i64,
}
