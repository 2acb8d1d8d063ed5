//! An agent as a client: its programs may look at what goes on in its namespace and send messages there.
//!
//! ```text
//! system:serviceaccount:NAMESPACE:AGENT    get, list, watch  everything in NAMESPACE but Secrets, transcripts too
//!                                          create            messages in NAMESPACE, under its own name
//!                                          get               the Namespace itself
//! ```
//! The name is that of a service account, so that Kubernetes' tools know what they look at. It lives as long as the
//! agent: one of the same name that is made later has another uid, and tokens of its own.

use std::sync::Arc;

use gcluster_store::{Entry, Key, ListAt};
use memchr::memmem;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Value;

use super::Asked;
use crate::Api;
use crate::kinds::Kind;
use crate::status::{ApiError, ApiResult, Cause};

/// Messages of one agent that wait to be delivered, at most.
const WAITING: usize = 100;

/// One life of one agent.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct AgentIdentity {
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) uid: String,
    user: String,
    group: String,
}

/// The part of an object that says which life of it this is.
#[derive(Deserialize)]
struct Life {
    metadata: Metadata,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    uid: String,
    deletion_timestamp: Option<IgnoredAny>,
}

impl AgentIdentity {
    pub(crate) fn new(namespace: &str, name: &str, uid: &str) -> Self {
        Self {
            namespace: namespace.into(),
            name: name.into(),
            uid: uid.into(),
            user: format!("system:serviceaccount:{namespace}:{name}"),
            group: format!("system:serviceaccounts:{namespace}"),
        }
    }

    pub(super) fn user(&self) -> &str {
        &self.user
    }

    pub(super) fn groups(&self) -> Vec<&str> {
        vec!["gcluster:agents", "system:serviceaccounts", &self.group, "system:authenticated"]
    }

    /// Is the agent there, and not being deleted?
    pub(crate) fn lives(&self, api: &Api) -> bool {
        let key = Key::new("gcluster.dev/agents", &self.namespace, &self.name);
        let entry = api.store().get(&key);
        let life = entry.and_then(|entry| serde_json::from_slice::<Life>(&entry.value).ok());
        life.is_some_and(|life| life.metadata.uid == self.uid && life.metadata.deletion_timestamp.is_none())
    }

    pub(crate) fn may(&self, asked: &Asked<'_>) -> bool {
        let own = asked.namespace == Some(self.namespace.as_str());
        match (asked.group, asked.resource, asked.subresource) {
            ("", "namespaces", "") => asked.verb == "get" && asked.name == self.namespace,
            ("", "secrets", _) => false,
            ("gcluster.dev", "messages", "") if asked.verb == "create" => own,
            _ => own && matches!(asked.verb, "get" | "list" | "watch"),
        }
    }

    pub(super) fn rights(&self) -> String {
        format!(
            "the agent {:?} may get, list and watch everything but Secrets in its own namespace {:?}, and send messages there",
            self.name, self.namespace
        )
    }

    /// Refuses a sender whose messages nobody was given yet, when they are many: a program that went wild fills neither
    /// the disk nor the prompts of others. Some that are sent at the same moment may come beyond it.
    ///
    /// # Errors
    /// When [`WAITING`] of its messages wait.
    pub(crate) fn may_speak(&self, api: &Api) -> ApiResult<()> {
        let namespace = Some(self.namespace.as_str());
        let listed = api.store().list("gcluster.dev/messages", namespace, &ListAt::default());
        let Ok(listing) = listed else { return Ok(()) };
        let own = format!("\"from\":{:?}", self.name);
        let waits = |entry: &&Arc<Entry>| {
            memmem::find(&entry.value, own.as_bytes()).is_some()
                && serde_json::from_slice::<Value>(&entry.value).is_ok_and(|message| {
                    let phase = message.pointer("/status/phase").and_then(Value::as_str);
                    message["spec"]["from"] == self.name.as_str()
                        && phase.is_none_or(|phase| phase == "Pending")
                })
        };
        match listing.entries.iter().filter(waits).count() {
            waiting if waiting < WAITING => Ok(()),
            waiting => Err(ApiError::too_many(format!(
                "{waiting} messages of the agent {:?} wait to be delivered: send more when they were",
                self.name
            ))),
        }
    }

    /// Makes what it creates speak for nobody else, and hold nothing up. Answers what its program is warned of.
    ///
    /// # Errors
    /// When the object would outlive what it belongs to.
    pub(crate) fn admit(&self, kind: &Kind, object: &mut Value) -> ApiResult<Vec<String>> {
        let listed = |field: &str| object["metadata"][field].as_array().is_some_and(|list| !list.is_empty());
        let causes: Vec<Cause> = ["finalizers", "ownerReferences"]
            .into_iter()
            .filter(|field| listed(field))
            .map(|field| Cause::forbidden(format!("metadata.{field}"), "an agent may not set it"))
            .collect();
        if !causes.is_empty() {
            let name = object.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default();
            return Err(ApiError::invalid(kind, name, &causes));
        }
        let mut warnings = Vec::new();
        if let Some(spec) = object.get_mut("spec").and_then(Value::as_object_mut) {
            let said = spec.insert("from".into(), self.name.as_str().into());
            if said.as_ref().is_some_and(|said| !said.is_null() && *said != self.name.as_str()) {
                warnings.push(format!(
                    "spec.from: an agent speaks under its own name, so this message is from {:?}",
                    self.name
                ));
            }
        }
        Ok(warnings)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_it_says_is_said_under_its_own_name() {
        let agent = AgentIdentity::new("default", "builder", "1");
        let registry = crate::kinds::Registry::new(gcluster_types::kinds::crds());
        let kind = registry.by_resource("gcluster.dev", "v1alpha1", "messages").unwrap();
        for (from, warned) in
            [(json!("ann"), true), (json!(7), true), (json!("builder"), false), (json!(null), false)]
        {
            let mut object = json!({"spec": {"text": "x", "from": from}});
            let warnings = agent.admit(kind, &mut object).unwrap();
            assert_eq!(
                (&object["spec"]["from"], !warnings.is_empty()),
                (&json!("builder"), warned),
                "{from}"
            );
        }
        let mut none = json!({"spec": {"text": "x"}});
        assert!(agent.admit(kind, &mut none).unwrap().is_empty() && none["spec"]["from"] == "builder");
        for field in ["finalizers", "ownerReferences"] {
            let error = agent.admit(kind, &mut json!({"metadata": {field: ["x/y"]}})).unwrap_err();
            assert!(error.code() == 422 && error.to_string().contains(field), "{error}");
        }
    }
}
