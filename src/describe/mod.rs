//! Objects in words, with whatever belongs to them read from the master: for the command line and for the screen.

mod log;
mod ticket;

pub(crate) use log::with_log;

use gcluster_types::kinds::GROUP;
use gcluster_types::{Agent, AgentRevision, Iteration, Message};
use k8s_openapi::jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::client::{Connection, JSON, escape, query};
use crate::exit::{Failure, Kind, Result};
use crate::render;

/// The text of `describe` for an object that was read.
///
/// # Errors
/// When what belongs to it cannot be read, or when it has a shape that this version does not know.
pub(crate) async fn describe(connection: &Connection, object: &Value) -> Result<String> {
    let now = Timestamp::now();
    let (group, kind) = (group(object), text(object, "/kind"));
    match (group, kind) {
        (GROUP, "AgentRevision") => {
            return Ok(render::revision::describe(&typed::<AgentRevision>(object)?, now));
        }
        ("", "Secret") => return Ok(render::config::describe_secret(object)),
        _ => {}
    }
    let events = events_of(connection, object).await?;
    Ok(match (group, kind) {
        ("", "ConfigMap") => render::config::describe_map(object, &events, now),
        (GROUP, "Agent") => {
            let agent: Agent = typed(object)?;
            let active = active(connection, object, &agent).await?;
            let around = render::agent::Around { active: &active, events: &events, now };
            let messages = messages(connection, &agent).await?;
            render::agent::describe(&agent, around) + &render::message::section(&messages, now)
        }
        (GROUP, "Ticket") => ticket::describe(connection, object, &events, now).await?,
        (GROUP, "Iteration") => render::iteration::describe(&typed::<Iteration>(object)?, &events, now),
        (GROUP, "Message") => render::message::describe(&typed::<Message>(object)?, &events, now),
        (GROUP, "Review") => render::review::describe(&typed(object)?, &events, now),
        (GROUP, "Check") => render::check::describe(&typed(object)?, &events, now),
        (GROUP, "Workspace") => render::workspace::describe(&typed(object)?, &events, now),
        (GROUP, "Merge") => render::merge::describe(&typed(object)?, &events, now),
        _ => render::revision::describe_any(object, &events, now),
    })
}

fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

fn group(object: &Value) -> &str {
    text(object, "/apiVersion").split_once('/').map_or("", |(group, _)| group)
}

/// The events about one object, in the core view, as kubectl asks for them.
async fn events_of(connection: &Connection, object: &Value) -> Result<Vec<Value>> {
    let namespace = match text(object, "/metadata/namespace") {
        "" => "default",
        namespace => namespace,
    };
    let fields = format!(
        "involvedObject.name={},involvedObject.kind={}",
        text(object, "/metadata/name"),
        text(object, "/kind")
    );
    let path =
        format!("/api/v1/namespaces/{}/events{}", escape(namespace), query(&[("fieldSelector", &fields)]));
    list(connection, &path).await
}

/// The iterations that the agent's status names as running. One that ended meanwhile is left out.
async fn active(connection: &Connection, object: &Value, agent: &Agent) -> Result<Vec<Iteration>> {
    let names = agent.status.as_ref().map(|status| status.active_iterations.clone()).unwrap_or_default();
    let base = format!("{}/iterations", base(text(object, "/metadata/namespace")));
    let mut found = Vec::new();
    // A map may run many at once; a page of them is enough to read.
    for name in names.iter().take(20) {
        found.extend(one(connection, &format!("{base}/{}", escape(name))).await?);
    }
    Ok(found)
}

/// The messages to an agent. A master that does not serve them has none.
async fn messages(connection: &Connection, agent: &Agent) -> Result<Vec<Message>> {
    let base = base(agent.metadata.namespace.as_deref().unwrap_or_default());
    let name = agent.metadata.name.as_deref().unwrap_or_default();
    let selector = query(&[("fieldSelector", &format!("spec.agent={name}"))]);
    list(connection, &format!("{base}/messages{selector}")).await
}

/// Where the objects of a namespace are.
fn base(namespace: &str) -> String {
    format!("/apis/{GROUP}/v1alpha1/namespaces/{}", escape(namespace))
}

/// All objects at a path; none when there is no such place.
async fn list<T: DeserializeOwned>(connection: &Connection, path: &str) -> Result<Vec<T>> {
    match connection.get(path, JSON).await {
        Ok(found) => found["items"].as_array().into_iter().flatten().map(typed).collect(),
        Err(failure) if failure.kind == Kind::NotFound => Ok(Vec::new()),
        Err(failure) => Err(failure),
    }
}

/// One object, if it is there.
async fn one<T: DeserializeOwned>(connection: &Connection, path: &str) -> Result<Option<T>> {
    match connection.get(path, JSON).await {
        Ok(found) => typed(&found).map(Some),
        Err(failure) if failure.kind == Kind::NotFound => Ok(None),
        Err(failure) => Err(failure),
    }
}

fn typed<T: DeserializeOwned>(object: &Value) -> Result<T> {
    serde_json::from_value(object.clone()).map_err(|error| {
        let (kind, name) = (text(object, "/kind").to_lowercase(), text(object, "/metadata/name"));
        Failure::failed(format!("{kind} {name} has a shape that this version does not know: {error}"))
            .hint("`gcluster get … -o yaml` shows it as it is")
    })
}
