//! Agent: the desired state of one agent, and what was observed of it.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, MicroTime};
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::budget::DayTotals;
use super::provider::ProviderFault;

/// What one agent should do, how, and within which limits.
///
/// The definition is text in canonical form and complete: an agent can run from its object alone,
/// without the file it came from.
#[derive(CustomResource, Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[kube(
    group = "gcluster.dev",
    version = "v1alpha1",
    kind = "Agent",
    plural = "agents",
    singular = "agent",
    shortname = "ag",
    category = "gcluster",
    category = "all",
    namespaced,
    status = "AgentStatus",
    derive = "PartialEq",
    selectable = ".spec.run",
    selectable = ".status.runState",
    doc = "One autonomous agent: its prompts, how they run, and what was observed.",
    printcolumn = r#"{"name":"State","type":"string","jsonPath":".status.runState","description":"pending, running or stopped"}"#,
    printcolumn = r#"{"name":"Revision","type":"integer","jsonPath":".status.currentRevision","description":"revision that new iterations use"}"#,
    printcolumn = r#"{"name":"Iterations","type":"integer","jsonPath":".status.iterations.total","description":"iterations that ended"}"#,
    printcolumn = r#"{"name":"Last","type":"date","jsonPath":".status.lastIterationTime","description":"time since the newest iteration began or ended"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#,
    printcolumn = r#"{"name":"Tokens","type":"integer","jsonPath":".status.tokens.total","priority":1,"description":"tokens of all iterations, all four kinds"}"#,
    printcolumn = r#"{"name":"Cost","type":"string","jsonPath":".status.cost","priority":1,"description":"cost of all iterations in US dollars, as the backend reports it"}"#,
    printcolumn = r#"{"name":"Backend","type":"string","jsonPath":".status.backend","priority":1,"description":"program that executes the prompts"}"#,
    printcolumn = r#"{"name":"Priority","type":"integer","jsonPath":".spec.priority","priority":1,"description":"who runs first when not all can; higher is first"}"#,
    printcolumn = r#"{"name":"Reason","type":"string","jsonPath":".status.reason","priority":1,"description":"why it is in its state, in one word"}"#,
    printcolumn = r#"{"name":"Directory","type":"string","jsonPath":".spec.workingDirectory","priority":1}"#
)]
#[serde(rename_all = "camelCase")]
pub struct AgentSpec {
    /// The agent's own `defagent` form in canonical text.
    #[schemars(length(min = 1))]
    pub definition: String,
    /// Canonical form of every method that the definition reaches, by method name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub methods: BTreeMap<String, String>,
    /// Values bound to the agent's parameters, by parameter name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub arguments: BTreeMap<String, String>,
    /// The agent's name as its author wrote it; the object's name is derived from it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent_name: Option<String>,
    /// Whether the agent should be at work.
    #[serde(default)]
    pub run: RunPolicy,
    /// A new value starts the definition again from its first step (RFC 3339 time).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restarted_at: Option<String>,
    /// A new value ends running iterations of other revisions than the newest, which otherwise finish (RFC 3339 time).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replaced_at: Option<String>,
    /// Absolute directory in which the agent's programs run. Default: the directory of the `.p` file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub working_directory: Option<String>,
    /// Which agent program executes the prompts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backend: Option<Backend>,
    /// Who runs first when not all can: higher is first, as in a PriorityClass. Agents of one priority take turns.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub priority: i32,
    /// What the agent may use up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<Limits>,
    /// Whether an iteration of a loop is given the output of the one before it.
    #[serde(default)]
    pub loop_context: LoopContext,
    /// How many revisions that are no longer in use are kept.
    #[serde(default = "default_revision_history")]
    #[schemars(range(min = 0))]
    pub revision_history_limit: i32,
    /// How many finished iterations are kept per step.
    #[serde(default = "default_iteration_history")]
    #[schemars(range(min = 1))]
    pub iteration_history_limit: i32,
}

fn is_zero(priority: &i32) -> bool {
    *priority == 0
}

fn default_revision_history() -> i32 {
    10
}

fn default_iteration_history() -> i32 {
    100
}

/// Whether the agent should be at work.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, JsonSchema)]
pub enum RunPolicy {
    /// Iterations are started as the definition says.
    #[default]
    Running,
    /// The running iteration may end; no new one begins.
    Paused,
    /// The running iteration is ended; no new one begins.
    Stopped,
}

/// What an iteration of a loop is told about the one before.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, JsonSchema)]
pub enum LoopContext {
    /// The previous iteration's output precedes the prompt.
    #[default]
    Previous,
    /// Every iteration begins with the prompt alone.
    None,
}

/// The program that executes prompts.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Backend {
    /// `claude`, `command` or `rehearsal`. Default: what the master was started with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Model to ask for, in the backend's own words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Further arguments of the program; for `command` the program itself and its arguments.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub args: Vec<String>,
    /// Further environment variables of the program.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<EnvVar>,
    /// The backend's permission mode. Default for `claude`: `bypassPermissions`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub permission_mode: Option<String>,
}

/// One environment variable.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct EnvVar {
    /// Name, for example `RUST_LOG`.
    #[schemars(length(min = 1))]
    pub name: String,
    /// Value; nothing in it is expanded.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub value: String,
    /// Where the value comes from instead: a key of a Secret or ConfigMap of the agent's namespace, read anew for
    /// each iteration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value_from: Option<EnvVarSource>,
}

/// Where a value comes from; exactly one of them.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct EnvVarSource {
    /// A key of a Secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_key_ref: Option<KeySelector>,
    /// A key of a ConfigMap.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_map_key_ref: Option<KeySelector>,
}

/// One key of an object of the agent's namespace.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, JsonSchema)]
pub struct KeySelector {
    /// Name of the object.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// The key in its `data`.
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[-._a-zA-Z0-9]+$"))]
    pub key: String,
    /// True: without the object or the key the variable is not set, and the agent runs. Default: it waits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub optional: Option<bool>,
}

/// What an agent may use up. Checked before each iteration, the timeouts during it.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Limits {
    /// Iterations that may end before the agent pauses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub max_iterations: Option<i64>,
    /// US dollars that may be spent before the agent pauses.
    #[serde(default, rename = "maxBudgetUSD", skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.0))]
    pub max_budget_usd: Option<f64>,
    /// US dollars that may be spent in one UTC day.
    #[serde(default, rename = "maxBudgetUSDPerDay", skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.0))]
    pub max_budget_usd_per_day: Option<f64>,
    /// Iterations that may end in one UTC day.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub max_iterations_per_day: Option<i64>,
    /// Longest time of one iteration, such as `45m`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$"))]
    pub iteration_timeout: Option<String>,
    /// Longest time without text or tool activity, such as `10m`; `none` or `0s`: any. A running tool is activity.
    /// Default `15m`; of a backend that does not tell which tools run, what `toolTimeout` is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^(none|([0-9]+(\.[0-9]+)?(ms|s|m|h))+)$"))]
    pub stall_timeout: Option<String>,
    /// Longest time of one tool, such as `45m`; `none` or `0s`: any. Default `2h`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^(none|([0-9]+(\.[0-9]+)?(ms|s|m|h))+)$"))]
    pub tool_timeout: Option<String>,
    /// Items of a `map` step that run at once. Default 4.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub max_concurrent_map_items: Option<i32>,
}

/// What was observed of an agent.
///
/// The revision controller writes `stableID`, `digest`, `currentRevision`, `revisions` and the
/// condition `Ready`; the executor writes the rest.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AgentStatus {
    /// Newest `metadata.generation` that the revision controller has acted on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// SHA-256 of the agent's own form, 64 hex digits.
    #[serde(default, rename = "stableID", skip_serializing_if = "Option::is_none")]
    pub stable_id: Option<String>,
    /// SHA-256 of the agent's form with everything it reaches, 64 hex digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// Number of the revision that new iterations use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub current_revision: Option<i64>,
    /// The revisions that are kept, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub revisions: Vec<RevisionSummary>,
    /// Whether the agent is at work.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_state: Option<RunState>,
    /// How often the definition was begun from its first step, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub execution: Option<i64>,
    /// Digest of the revision that the present execution began with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub execution_digest: Option<String>,
    /// The `spec.restartedAt` that the present execution answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_restart: Option<String>,
    /// The `spec.replacedAt` that was carried out: no iteration of an older revision ran any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_replacement: Option<String>,
    /// How many iterations ended, and how.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub iterations: Option<IterationCounts>,
    /// Iterations in a row that failed, or that ended at once and did nothing. What the backoff grows with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fruitless_iterations: Option<i64>,
    /// No iteration begins before this time, because of `fruitlessIterations`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backoff_until: Option<MicroTime>,
    /// No iteration begins before this time, because the provider's usage limit is reached.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub throttled_until: Option<MicroTime>,
    /// What the agent's programs authenticate with, as a name that reveals nothing: the backend and a digest. Agents
    /// with the same name share the provider's limits. Absent where the backend has no such thing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credential: Option<String>,
    /// Where the credential comes from, such as `ANTHROPIC_API_KEY from the key api-key of the Secret default/token`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credential_source: Option<String>,
    /// What the provider refuses to everybody on the credential, while it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider_fault: Option<ProviderFault>,
    /// Why the agent is in its state, in one CamelCase word: the first reason that applies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The same as one sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Since when `reason` applies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason_since: Option<MicroTime>,
    /// When the newest iteration began or ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_iteration_time: Option<MicroTime>,
    /// Names of the iterations that are running now.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub active_iterations: Vec<String>,
    /// Tokens of all iterations that ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens: Option<TokenTotals>,
    /// Cost of all iterations that ended in US dollars, as the backends report it.
    #[serde(default, rename = "costUSD", skip_serializing_if = "Option::is_none")]
    pub cost_usd: Option<f64>,
    /// Tokens of all iterations that ended whose price is not known: they are not in `costUSD`, and not free.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unpriced_tokens: Option<i64>,
    /// What the newest UTC day on which an iteration ended has used up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub today: Option<DayTotals>,
    /// `costUSD` as people read it, such as `$1.20`, `unpriced` where no price is known, or `$1.20 + unpriced`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost: Option<String>,
    /// The backend in use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backend: Option<String>,
    /// Statistics of each step.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stats: Vec<StepStats>,
    /// Why the agent is in the state it is in.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
}

/// Whether an agent is at work.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum RunState {
    /// It should run and nothing has started yet.
    #[default]
    Pending,
    /// Its definition is being executed; between two iterations too.
    Running,
    /// It is paused, stopped, or its definition has come to its end.
    Stopped,
}

/// One revision, in an agent's list.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RevisionSummary {
    /// Its number, from 1, growing.
    pub revision: i64,
    /// Name of its AgentRevision object.
    pub name: String,
    /// SHA-256 of the agent's own form.
    #[serde(rename = "stableID")]
    pub stable_id: String,
    /// SHA-256 of the form with everything it reaches.
    pub digest: String,
    /// When it was recorded first.
    pub created_at: Option<MicroTime>,
}

/// How many iterations ended, and how.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, JsonSchema)]
pub struct IterationCounts {
    /// All that ended.
    pub total: i64,
    /// Ended with an output.
    pub succeeded: i64,
    /// Ended with an error of the backend.
    pub failed: i64,
    /// Ended by a stop, a delete or the end of the master.
    #[serde(default)]
    pub interrupted: i64,
}

/// Tokens by kind, as providers bill them.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TokenTotals {
    /// Input that was neither read from nor written to a cache.
    #[serde(default)]
    pub input: i64,
    /// Output, thinking included.
    #[serde(default)]
    pub output: i64,
    /// Input read from a cache.
    #[serde(default)]
    pub cache_read: i64,
    /// Input written to a cache.
    #[serde(default)]
    pub cache_creation: i64,
    /// The sum of the four.
    #[serde(default)]
    pub total: i64,
}

impl TokenTotals {
    /// Adds another count to this one and keeps `total` their sum.
    pub fn add(&mut self, other: &TokenTotals) {
        self.input = self.input.saturating_add(other.input);
        self.output = self.output.saturating_add(other.output);
        self.cache_read = self.cache_read.saturating_add(other.cache_read);
        self.cache_creation = self.cache_creation.saturating_add(other.cache_creation);
        self.total = self
            .input
            .saturating_add(self.output)
            .saturating_add(self.cache_read)
            .saturating_add(self.cache_creation);
    }
}

/// Statistics of one step over all its iterations that ended.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StepStats {
    /// Label of the step.
    pub step: String,
    /// The number that the step's next iteration gets; all below it are counted here. Never reused.
    pub next_number: i64,
    /// Iterations that ended; each item of a map counts.
    pub iterations: i64,
    /// Of these, how many succeeded.
    #[serde(default)]
    pub succeeded: i64,
    /// Of these, how many failed.
    #[serde(default)]
    pub failed: i64,
    /// Mean duration of those that succeeded or failed, in seconds.
    #[serde(default)]
    pub mean_duration_seconds: f64,
    /// Its sample standard deviation, in seconds.
    #[serde(default)]
    pub stddev_duration_seconds: f64,
    /// Mean of all tokens.
    #[serde(default)]
    pub mean_tokens: f64,
    /// Its sample standard deviation.
    #[serde(default)]
    pub stddev_tokens: f64,
    /// Cost in US dollars.
    #[serde(default, rename = "costUSD")]
    pub cost_usd: f64,
    /// Tokens whose price is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unpriced_tokens: Option<i64>,
}
