//! `gcluster start`, `pause`, `stop` and `restart`: whether an agent should be at work.

use clap::Args;
use gcluster_types::labels::MANAGER_RUN;
use http::Method;
use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};

use super::objects::text;
use super::output::print;
use super::{Globals, complete};
use crate::client::{Connection, JSON, MERGE, escape, query};
use crate::exit::{Kind, Result};

/// Let agents work again after `pause` or `stop`
#[derive(Args, Debug)]
pub(crate) struct StartArgs {
    /// Agents
    #[arg(required = true, value_name = "AGENT")]
    #[arg(add = complete::agents())]
    agents: Vec<String>,
}

/// Let the running iteration of agents end and begin no new one
#[derive(Args, Debug)]
pub(crate) struct PauseArgs {
    /// Agents
    #[arg(required = true, value_name = "AGENT")]
    #[arg(add = complete::agents())]
    agents: Vec<String>,
}

/// End the running iteration of agents and begin no new one
#[derive(Args, Debug)]
pub(crate) struct StopArgs {
    /// Agents
    #[arg(required = true, value_name = "AGENT")]
    #[arg(add = complete::agents())]
    agents: Vec<String>,
}

/// End what agents are doing and begin their definition again from its first step
#[derive(Args, Debug)]
pub(crate) struct RestartArgs {
    /// Agents
    #[arg(required = true, value_name = "AGENT")]
    #[arg(add = complete::agents())]
    agents: Vec<String>,
}

/// Does `gcluster start`.
pub(crate) async fn start(globals: &Globals, args: StartArgs) -> Result {
    set_run(globals, &args.agents, "Running", "started").await
}

/// Does `gcluster pause`.
pub(crate) async fn pause(globals: &Globals, args: PauseArgs) -> Result {
    set_run(globals, &args.agents, "Paused", "paused").await
}

/// Does `gcluster stop`.
pub(crate) async fn stop(globals: &Globals, args: StopArgs) -> Result {
    set_run(globals, &args.agents, "Stopped", "stopped").await
}

/// Does `gcluster restart`. A paused or stopped agent is started.
pub(crate) async fn restart(globals: &Globals, args: RestartArgs) -> Result {
    restart_all(globals, &args.agents).await
}

/// Begins the definition of these agents again.
pub(super) async fn restart_all(globals: &Globals, agents: &[String]) -> Result {
    let connection = globals.connect().await?;
    for typed in agents {
        let agent = Agent::find(&connection, typed).await?;
        let now = Timestamp::now().to_string();
        agent.patch(&json!({"spec": {"restartedAt": now, "run": "Running"}})).await?;
        print(&format!("{} restarted\n", agent.name))?;
    }
    Ok(())
}

/// Writes the desired run state of these agents; `done` is the word for what was done.
pub(super) async fn set_run(globals: &Globals, agents: &[String], run: &str, done: &str) -> Result {
    let connection = globals.connect().await?;
    for typed in agents {
        let agent = Agent::find(&connection, typed).await?;
        if agent.run() == run {
            print(&format!("{} already {done}{}\n", agent.name, agent.note(run)))?;
            continue;
        }
        agent.patch(&json!({"spec": {"run": run}})).await?;
        print(&format!("{} {done}\n", agent.name))?;
    }
    Ok(())
}

/// An agent that was found.
pub(super) struct Agent<'a> {
    connection: &'a Connection,
    path: String,
    /// Name of the object.
    pub(super) name: String,
    object: Value,
}

impl<'a> Agent<'a> {
    /// Finds it under the name of the object or the one that its author wrote.
    pub(super) async fn find(connection: &'a Connection, typed: &str) -> Result<Self> {
        let typed =
            ["agent/", "agents/", "ag/"].iter().find_map(|kind| typed.strip_prefix(kind)).unwrap_or(typed);
        let name = gcluster_types::names::object_name(typed).unwrap_or_else(|_| typed.to_owned());
        let namespace = escape(&connection.namespace);
        let path = format!("/apis/gcluster.dev/v1alpha1/namespaces/{namespace}/agents/{}", escape(&name));
        let object = connection.get(&path, JSON).await.map_err(|failure| match failure.kind {
            Kind::NotFound => failure.hint("`gcluster get agents` lists the agents of this namespace"),
            _ => failure,
        })?;
        Ok(Self { connection, path, name, object })
    }

    fn run(&self) -> &str {
        match text(&self.object, "/spec/run") {
            "" => "Running",
            run => run,
        }
    }

    /// Why a start changes nothing for an agent whose definition has come to its end.
    fn note(&self, run: &str) -> &'static str {
        let ended = run == "Running" && text(&self.object, "/status/runState") == "stopped";
        if ended { "; its definition has come to its end: `gcluster restart` begins it again" } else { "" }
    }

    async fn patch(&self, patch: &Value) -> Result<Value> {
        let path = format!("{}{}", self.path, query(&[("fieldManager", MANAGER_RUN)]));
        self.connection.send(Method::PATCH, &path, MERGE, patch).await
    }
}
