//! `steer_edit_prompt`: another text for one prompt of an agent.

use gcluster_types::sexpr::digest::digest;
use gcluster_types::sexpr::edit::{prompt, replace_prompt};
use http::Method;
use serde::Deserialize;
use serde_json::{Value, json};

use super::caller::{Caller, Refused, objects, segment};
use super::envelope::Envelope;
use super::inject::agent;
use crate::status::ApiError;

/// How often a write is tried while others write the same agent's status.
const TRIES: usize = 10;

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Edit {
    agent: String,
    method: Option<String>,
    text: String,
    resource_version: Option<String>,
    digest: Option<String>,
    namespace: Option<String>,
}

/// The texts that an agent runs.
#[derive(Deserialize)]
struct Spec {
    definition: String,
    #[serde(default)]
    methods: std::collections::BTreeMap<String, String>,
    #[serde(default)]
    arguments: std::collections::BTreeMap<String, String>,
}

/// Replaces the prompt, unless the agent is no longer what the edit was made of.
pub(super) async fn edit(caller: Caller, envelope: Envelope) -> Result<Value, Refused> {
    let edit: Edit = envelope.payload()?;
    let namespace = edit.namespace.as_deref().unwrap_or("default");
    let mut tries = 0;
    loop {
        let object = agent(&caller, namespace, &edit.agent).await?;
        let spec: Spec = serde_json::from_value(object["spec"].clone())
            .map_err(|error| ApiError::internal(format!("the agent cannot be read: {error}")))?;
        let version = object["metadata"]["resourceVersion"].as_str().unwrap_or_default();
        let own = digest(&spec.definition, &spec.methods, &spec.arguments);
        let moved = edit.resource_version.as_deref().is_some_and(|base| base != version)
            || edit.digest.as_deref().is_some_and(|base| base != own);
        if moved {
            return Err(conflict(&edit, &spec, version, &own));
        }
        let unfit = |error: gcluster_types::sexpr::edit::EditError| ApiError::bad_request(error.to_string());
        let new = replace_prompt(&spec.definition, &spec.methods, edit.method.as_deref(), &edit.text)
            .map_err(unfit)?;
        let name = object["metadata"]["name"].as_str().unwrap_or_default();
        let mut change =
            json!({"metadata": {"resourceVersion": version}, "spec": {"definition": new.definition}});
        if let Some(method) = &new.method {
            change["spec"]["methods"] = json!({method: new.methods.get(method)});
        }
        let path = format!("{}/{}?fieldManager=gcluster-line", objects(namespace, "agents"), segment(name));
        let written = caller.call(Method::PATCH, &path, "application/merge-patch+json", change.to_string());
        match written.await {
            Ok(answer) => {
                let new_digest = digest(&new.definition, &new.methods, &spec.arguments);
                return Ok(json!({
                    "agent": name, "method": new.method, "changed": new_digest != own, "digest": new_digest,
                    "resourceVersion": answer.json()?["metadata"]["resourceVersion"],
                }));
            }
            // Somebody wrote in between, as the executor does all the time. Read again: only what the edit is
            // based on counts.
            Err(status) if status["reason"] == "Conflict" && tries < TRIES => tries += 1,
            Err(status) => return Err(status),
        }
    }
}

/// What the agent says now goes along, so that the editor can show it.
fn conflict(edit: &Edit, spec: &Spec, version: &str, digest: &str) -> Refused {
    let now = prompt(&spec.definition, &spec.methods, edit.method.as_deref()).ok();
    let message = format!(
        "the agent {:?} has changed since it was read: look at the newest text and edit again",
        edit.agent
    );
    Box::new(json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "reason": "Conflict",
        "code": 409, "message": message,
        "details": {"name": edit.agent, "group": "gcluster.dev", "kind": "agents"},
        "newest": {"text": now.map(|prompt| prompt.text), "resourceVersion": version, "digest": digest},
    }))
}
