//! Message: guidance for an agent, by a person or by another agent.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Guidance for an agent. Messages of one agent are delivered in the order in which they arrived, each once.
#[derive(CustomResource, Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[kube(
    group = "gcluster.dev",
    version = "v1alpha1",
    kind = "Message",
    plural = "messages",
    singular = "message",
    shortname = "msg",
    category = "gcluster",
    namespaced,
    status = "MessageStatus",
    derive = "PartialEq",
    selectable = ".spec.agent",
    selectable = ".spec.iteration",
    selectable = ".status.phase",
    doc = "Guidance for an agent, by a person or by another agent.",
    printcolumn = r#"{"name":"Agent","type":"string","jsonPath":".spec.agent"}"#,
    printcolumn = r#"{"name":"Delivery","type":"string","jsonPath":".spec.delivery"}"#,
    printcolumn = r#"{"name":"Phase","type":"string","jsonPath":".status.phase"}"#,
    printcolumn = r#"{"name":"Iteration","type":"string","jsonPath":".status.iteration","description":"iteration that it was delivered to"}"#,
    printcolumn = r#"{"name":"From","type":"string","jsonPath":".spec.from"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#,
    printcolumn = r#"{"name":"Text","type":"string","jsonPath":".spec.text","priority":1}"#,
    printcolumn = r#"{"name":"How","type":"string","jsonPath":".status.how","priority":1}"#
)]
#[serde(rename_all = "camelCase")]
pub struct MessageSpec {
    /// Name of the Agent object.
    #[schemars(length(min = 1))]
    pub agent: String,
    /// Name of the Iteration object that it is meant for alone. Default: whichever iteration it reaches first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub iteration: Option<String>,
    /// What the agent is told.
    #[schemars(length(min = 1))]
    pub text: String,
    /// How it reaches the agent.
    #[serde(default)]
    pub delivery: Delivery,
    /// Who sent it, for people to read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
}

/// How a message reaches its agent.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, JsonSchema)]
pub enum Delivery {
    /// Into the running turn, at its next tool boundary; queued where nothing runs or the backend cannot.
    #[default]
    Steer,
    /// In front of the prompt of the next iteration.
    Queue,
    /// The running turn ends and the iteration goes on with the text; queued where nothing runs or the backend cannot.
    Interrupt,
}

/// What became of a message. Written by the executor alone.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MessageStatus {
    /// Where it stands.
    #[serde(default)]
    pub phase: MessagePhase,
    /// Its place in the order of arrival: the resource version under which the executor first saw it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arrival: Option<i64>,
    /// The way that it takes. Set, with the iteration, before it is handed over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub via: Option<Via>,
    /// The iteration that it is, or was, handed to. Of a pending message: the one that it is just being handed to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub iteration: Option<String>,
    /// When it was handed to the agent's program.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delivered_at: Option<MicroTime>,
    /// When the agent's program confirmed that the model was given it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acknowledged_at: Option<MicroTime>,
    /// How it was delivered, or why it was not, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub how: Option<String>,
}

/// The way that a message takes.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, JsonSchema)]
pub enum Via {
    /// In front of the iteration's prompt.
    Prompt,
    /// Into the running turn.
    Turn,
    /// The running turn is ended for it.
    Interruption,
}

/// Where a message stands.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, JsonSchema)]
pub enum MessagePhase {
    /// It waits to be delivered.
    #[default]
    Pending,
    /// The agent's program has it.
    Delivered,
    /// The agent's program confirmed that the model was given it.
    Acknowledged,
    /// It can never be delivered: its agent does not exist, or refused it.
    Failed,
    /// The iteration that it was meant for ended before it was delivered.
    Expired,
}

impl MessagePhase {
    /// True when it will not change any more.
    pub fn is_terminal(self) -> bool {
        matches!(self, MessagePhase::Acknowledged | MessagePhase::Failed | MessagePhase::Expired)
    }
}
