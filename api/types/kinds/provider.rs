//! What the provider of a model refuses: to everybody on one credential, and by no fault of the agent's work.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A refusal that an agent met or shares.
///
/// Every agent that is held by it keeps a copy, so that it is known for as long as one of them is there.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ProviderFault {
    /// What was refused.
    pub kind: FaultKind,
    /// Why, in one CamelCase word: that of the iteration which met it.
    pub reason: String,
    /// What the provider said, shortened.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// The iteration that met it, as `namespace/name`.
    pub met_by: String,
    /// When it was met.
    pub at: MicroTime,
    /// Nothing begins on the credential before this time; then agents try again, one after the other.
    pub opens_at: MicroTime,
    /// Whether `opensAt` is what the provider said; else it was chosen here.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub announced: bool,
    /// How often in a row it was met, from 1; what a pause that is chosen here grows with.
    #[serde(default)]
    pub in_a_row: i64,
}

/// What a provider refuses.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, JsonSchema)]
pub enum FaultKind {
    /// Anything beyond a usage limit, until a reset time.
    #[default]
    UsageLimit,
    /// Everything: it is overloaded, broken, or cannot be reached.
    Outage,
    /// The credential: it is not valid, not allowed, or nobody pays for it.
    Credential,
}
