//! `steer_inject`: guidance for an agent, as a Message object.

use gcluster_types::names::object_name;
use http::Method;
use serde::Deserialize;
use serde_json::{Value, json};

use super::caller::{Caller, JSON, Refused, objects, segment};
use super::envelope::Envelope;
use crate::status::ApiError;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Inject {
    agent: String,
    text: String,
    iteration: Option<String>,
    delivery: Option<String>,
    from: Option<String>,
    namespace: Option<String>,
}

/// Creates the message. What becomes of it is seen by who subscribes.
pub(super) async fn inject(caller: Caller, envelope: Envelope) -> Result<Value, Refused> {
    let inject: Inject = envelope.payload()?;
    let namespace = inject.namespace.as_deref().unwrap_or("default");
    let delivery = match inject.delivery.as_deref().unwrap_or("steer").to_ascii_lowercase().as_str() {
        "steer" => "Steer",
        "queue" => "Queue",
        "interrupt" => "Interrupt",
        other => {
            let why = format!("delivery: {other:?} is none of steer, queue, interrupt");
            return Err(ApiError::bad_request(why).into());
        }
    };
    if inject.text.trim().is_empty() {
        return Err(ApiError::bad_request("text: must not be empty").into());
    }
    let agent = agent(&caller, namespace, &inject.agent).await?;
    let name = agent["metadata"]["name"].as_str().unwrap_or_default();
    let from = match inject.from {
        Some(from) => from,
        None => caller.who().await?,
    };
    let mut spec = json!({"agent": name, "text": inject.text, "delivery": delivery, "from": from});
    if let Some(iteration) = inject.iteration {
        spec["iteration"] = iteration.into();
    }
    let message = json!({
        "apiVersion": "gcluster.dev/v1alpha1", "kind": "Message",
        "metadata": {"generateName": format!("{name}-")}, "spec": spec,
    });
    let path = format!("{}?fieldManager=gcluster-line", objects(namespace, "messages"));
    let made = caller.call(Method::POST, &path, JSON, message.to_string()).await?.json()?;
    Ok(json!({"message": made["metadata"]["name"], "resourceVersion": made["metadata"]["resourceVersion"]}))
}

/// An agent by the name of its object, or as its author wrote it.
pub(super) async fn agent(caller: &Caller, namespace: &str, name: &str) -> Result<Value, Refused> {
    if namespace.is_empty() || name.is_empty() {
        return Err(ApiError::bad_request("agent and namespace: must not be empty").into());
    }
    let name = object_name(name).unwrap_or_else(|_| name.to_owned());
    caller.get(&format!("{}/{}", objects(namespace, "agents"), segment(&name))).await
}
