//! Budget and ClusterBudget: what several agents together may use up.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, LabelSelector};
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What agents of one namespace may use up together. At a limit none of them begins another iteration.
#[derive(CustomResource, Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[kube(
    group = "gcluster.dev",
    version = "v1alpha1",
    kind = "Budget",
    plural = "budgets",
    singular = "budget",
    category = "gcluster",
    namespaced,
    status = "BudgetStatus",
    derive = "PartialEq",
    doc = "What agents of one namespace may use up together.",
    printcolumn = r#"{"name":"Spent","type":"string","jsonPath":".status.spent","description":"US dollars since the budget was made, and the limit"}"#,
    printcolumn = r#"{"name":"Today","type":"string","jsonPath":".status.today","description":"US dollars and iterations of this UTC day, and their limits"}"#,
    printcolumn = r#"{"name":"Within","type":"string","jsonPath":".status.conditions[?(@.type==\"WithinLimits\")].status","description":"False: no iteration begins"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#,
    printcolumn = r#"{"name":"Reserved","type":"number","jsonPath":".status.reservedUSD","priority":1,"description":"US dollars that running iterations are expected to cost"}"#
)]
#[serde(rename_all = "camelCase")]
pub struct BudgetSpec {
    /// Which agents of the namespace. Default: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<LabelSelector>,
    /// US dollars that may be spent.
    #[serde(default, rename = "maxBudgetUSD", skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.0))]
    pub max_budget_usd: Option<f64>,
    /// US dollars that may be spent in one UTC day.
    #[serde(default, rename = "maxBudgetUSDPerDay", skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.0))]
    pub max_budget_usd_per_day: Option<f64>,
    /// Iterations that may end. Those that are interrupted do not count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub max_iterations: Option<i64>,
    /// Iterations that may end in one UTC day.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub max_iterations_per_day: Option<i64>,
}

/// What all agents of the master may use up together. At a limit none of them begins another iteration.
#[derive(CustomResource, Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[kube(
    group = "gcluster.dev",
    version = "v1alpha1",
    kind = "ClusterBudget",
    plural = "clusterbudgets",
    singular = "clusterbudget",
    category = "gcluster",
    status = "BudgetStatus",
    derive = "PartialEq",
    doc = "What all agents of the master may use up together.",
    printcolumn = r#"{"name":"Spent","type":"string","jsonPath":".status.spent","description":"US dollars since the budget was made, and the limit"}"#,
    printcolumn = r#"{"name":"Today","type":"string","jsonPath":".status.today","description":"US dollars and iterations of this UTC day, and their limits"}"#,
    printcolumn = r#"{"name":"Within","type":"string","jsonPath":".status.conditions[?(@.type==\"WithinLimits\")].status","description":"False: no iteration begins"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#,
    printcolumn = r#"{"name":"Reserved","type":"number","jsonPath":".status.reservedUSD","priority":1,"description":"US dollars that running iterations are expected to cost"}"#
)]
#[serde(rename_all = "camelCase")]
pub struct ClusterBudgetSpec {
    /// US dollars that may be spent.
    #[serde(default, rename = "maxBudgetUSD", skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.0))]
    pub max_budget_usd: Option<f64>,
    /// US dollars that may be spent in one UTC day.
    #[serde(default, rename = "maxBudgetUSDPerDay", skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.0))]
    pub max_budget_usd_per_day: Option<f64>,
    /// Iterations that may end. Those that are interrupted do not count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub max_iterations: Option<i64>,
    /// Iterations that may end in one UTC day.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub max_iterations_per_day: Option<i64>,
}

/// What the agents of a budget have used up. Written by the executor alone.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BudgetStatus {
    /// US dollars since the budget was made.
    #[serde(default, rename = "spentUSD")]
    pub spent_usd: f64,
    /// Iterations that ended since the budget was made, those that were interrupted left out.
    #[serde(default)]
    pub iterations: i64,
    /// The UTC day of the next two fields, such as `2026-01-02`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub day: Option<String>,
    /// US dollars of iterations that ended on `day`.
    #[serde(default, rename = "spentTodayUSD")]
    pub spent_today_usd: f64,
    /// Iterations that ended on `day`, those that were interrupted left out.
    #[serde(default)]
    pub iterations_today: i64,
    /// US dollars that running iterations are expected to cost.
    #[serde(default, rename = "reservedUSD")]
    pub reserved_usd: f64,
    /// `spentUSD` and its limit as people read them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spent: Option<String>,
    /// What was used on `day`, and its limits, as people read them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub today: Option<String>,
    /// How much of each agent is counted, by the uid of the Agent. It changes in one write with the sums.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub ledger: BTreeMap<String, LedgerEntry>,
    /// Whether a limit is reached.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
}

/// How much of one agent is counted.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LedgerEntry {
    /// Namespace and name of the agent, for people.
    pub agent: String,
    /// The agent's `status.costUSD` up to which its spending is counted, in US dollars.
    #[serde(default, rename = "costUSD")]
    pub cost_usd: f64,
    /// The agent's iterations up to which they are counted. Absent: none of those before are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub iterations: Option<i64>,
    /// The agent's `status.today` up to which its day is counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub today: Option<DayTotals>,
}

/// What was used on one UTC day.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DayTotals {
    /// The day, such as `2026-01-02`.
    pub day: String,
    /// Iterations that succeeded or failed on it.
    #[serde(default)]
    pub iterations: i64,
    /// US dollars of all iterations that ended on it.
    #[serde(default, rename = "costUSD")]
    pub cost_usd: f64,
}
