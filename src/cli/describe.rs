//! `gcluster describe`: an object in words, with what belongs to it.

use clap::Args;
use gcluster_types::{Agent, AgentRevision, Iteration, Message};
use k8s_openapi::jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::kinds::{Catalog, Resource};
use super::objects::{self, Named, Selection, Selectors, text};
use super::output::{note, print};
use super::{Globals, complete, transcript};
use crate::client::{Connection, JSON};
use crate::exit::{Failure, Kind, Result};
use crate::render;

/// Explain objects in words: state and why, steps, revisions, conditions, events
#[derive(Args, Debug)]
pub(crate) struct DescribeArgs {
    /// KIND [NAME…] or KIND/NAME…, such as `agent builder` or `iteration builder.build.3`
    #[arg(required = true, value_name = "KIND")]
    #[arg(add = complete::objects())]
    words: Vec<String>,
    /// Only objects with these labels
    #[arg(short = 'l', long, value_name = "LABELS")]
    selector: Option<String>,
}

/// Does `gcluster describe`.
pub(crate) async fn run(globals: &Globals, args: DescribeArgs) -> Result {
    let connection = globals.connect().await?;
    let catalog = Catalog::fetch(&connection).await?;
    let mut found: Vec<(&Resource, Value)> = Vec::new();
    match objects::select(&catalog, &args.words)? {
        Selection::Objects(named) => {
            for one in named {
                found.push((one.resource, get(&connection, &one).await?));
            }
        }
        Selection::Kinds(kinds) => {
            for resource in kinds {
                let namespace = resource.namespaced.then_some(connection.namespace.as_str());
                let selectors = Selectors { labels: args.selector.as_deref(), fields: None };
                let list = objects::list(&connection, resource, namespace, selectors).await?;
                found.extend(objects::items(list).into_iter().map(|object| (resource, object)));
            }
        }
    }
    if found.is_empty() {
        note(&format!("No resources found in {} namespace.", connection.namespace));
    }
    let mut parts = Vec::new();
    for (resource, object) in &found {
        parts.push(describe(&connection, resource, object).await?);
    }
    print(&parts.join("\n\n"))
}

async fn get(connection: &Connection, named: &Named<'_>) -> Result<Value> {
    connection
        .get(&named.path(&connection.namespace), JSON)
        .await
        .map_err(|failure| objects::not_found_hint(failure, named.resource))
}

async fn describe(connection: &Connection, resource: &Resource, object: &Value) -> Result<String> {
    let now = Timestamp::now();
    if resource.is("AgentRevision") {
        return Ok(render::revision::describe(&typed::<AgentRevision>(object)?, now));
    }
    if resource.is_core("Secret") {
        return Ok(render::config::describe_secret(object));
    }
    let events = objects::events_of(connection, object).await?;
    if resource.is_core("ConfigMap") {
        return Ok(render::config::describe_map(object, &events, now));
    }
    if resource.is("Agent") {
        let agent: Agent = typed(object)?;
        let active = active(connection, object, &agent).await?;
        let around = render::agent::Around { active: &active, events: &events, now };
        let messages = messages(connection, &agent).await?;
        return Ok(render::agent::describe(&agent, around) + &render::message::section(&messages, now));
    }
    if resource.is("Ticket") {
        return super::describe_ticket::describe(connection, object, &events, now).await;
    }
    if resource.is("Iteration") {
        return Ok(render::iteration::describe(&typed::<Iteration>(object)?, &events, now));
    }
    if resource.is("Message") {
        return Ok(render::message::describe(&typed::<Message>(object)?, &events, now));
    }
    if resource.is("Review") {
        return Ok(render::review::describe(&typed(object)?, &events, now));
    }
    if resource.is("Check") {
        return Ok(render::check::describe(&typed(object)?, &events, now));
    }
    if resource.is("Merge") {
        return Ok(render::merge::describe(&typed(object)?, &events, now));
    }
    Ok(render::revision::describe_any(object, &events, now))
}

/// The iterations that the agent's status names as running. One that ended meanwhile is left out.
async fn active(connection: &Connection, object: &Value, agent: &Agent) -> Result<Vec<Iteration>> {
    let names = agent.status.as_ref().map(|status| status.active_iterations.clone()).unwrap_or_default();
    let base = transcript::iterations_path(text(object, "/metadata/namespace"));
    let mut found = Vec::new();
    // A map may run many at once; a page of them is enough to read.
    for name in names.iter().take(20) {
        match connection.get(&format!("{base}/{}", crate::client::escape(name)), JSON).await {
            Ok(iteration) => found.push(typed(&iteration)?),
            Err(failure) if failure.kind == Kind::NotFound => {}
            Err(failure) => return Err(failure),
        }
    }
    Ok(found)
}

/// The messages to an agent. A master that does not serve them has none.
async fn messages(connection: &Connection, agent: &Agent) -> Result<Vec<Message>> {
    let namespace = crate::client::escape(agent.metadata.namespace.as_deref().unwrap_or_default());
    let name = agent.metadata.name.as_deref().unwrap_or_default();
    let selector = crate::client::query(&[("fieldSelector", &format!("spec.agent={name}"))]);
    let path = format!("/apis/gcluster.dev/v1alpha1/namespaces/{namespace}/messages{selector}");
    match connection.get(&path, JSON).await {
        Ok(list) => objects::items(list).iter().map(typed).collect(),
        Err(failure) if failure.kind == Kind::NotFound => Ok(Vec::new()),
        Err(failure) => Err(failure),
    }
}

pub(super) fn typed<T: DeserializeOwned>(object: &Value) -> Result<T> {
    serde_json::from_value(object.clone()).map_err(|error| {
        Failure::failed(format!(
            "{} has a shape that this version does not know: {error}",
            super::get::name(object)
        ))
        .hint("`gcluster get … -o yaml` shows it as it is")
    })
}
