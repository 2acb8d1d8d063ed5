//! AgentRevision: one text that an agent has had. Immutable.

use std::collections::BTreeMap;

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One definition of an agent, complete with all that it reaches. Owned by its Agent and named
/// `<agent>-<first 10 hex digits of the digest>`.
#[derive(CustomResource, Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[kube(
    group = "gcluster.dev",
    version = "v1alpha1",
    kind = "AgentRevision",
    plural = "agentrevisions",
    singular = "agentrevision",
    shortname = "rev",
    shortname = "revisions",
    shortname = "revision",
    category = "gcluster",
    namespaced,
    status = "AgentRevisionStatus",
    derive = "PartialEq",
    selectable = ".spec.agent",
    doc = "One definition that an agent has had, with all that it reaches.",
    printcolumn = r#"{"name":"Agent","type":"string","jsonPath":".spec.agent"}"#,
    printcolumn = r#"{"name":"Revision","type":"integer","jsonPath":".spec.revision"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#,
    printcolumn = r#"{"name":"Digest","type":"string","jsonPath":".spec.digest","priority":1}"#
)]
#[serde(rename_all = "camelCase")]
pub struct AgentRevisionSpec {
    /// Name of the Agent object.
    pub agent: String,
    /// Number of the revision. It grows when an older definition is applied again; the rest never changes.
    pub revision: i64,
    /// SHA-256 of the agent's own form, 64 hex digits.
    #[serde(rename = "stableID")]
    pub stable_id: String,
    /// SHA-256 of the form with everything it reaches, 64 hex digits.
    pub digest: String,
    /// The agent's own `defagent` form in canonical text.
    pub definition: String,
    /// Canonical form of every method that the definition reaches, by method name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub methods: BTreeMap<String, String>,
    /// Values bound to the agent's parameters, by parameter name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub arguments: BTreeMap<String, String>,
}

/// Nothing is observed of a revision.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, JsonSchema)]
pub struct AgentRevisionStatus {}
