//! `gcluster send`: tell an agent something, and say what became of it.

use std::io::Read as _;
use std::time::Duration;

use clap::Args;
use gcluster_types::Message;
use gcluster_types::kinds::message::MessagePhase;
use gcluster_types::labels::MANAGER_SEND;
use http::Method;
use serde_json::{Value, json};

use super::objects::{parse_timeout, poll, text};
use super::output::{note, print};
use super::run_state::Agent;
use super::{Globals, complete};
use crate::client::{Connection, JSON, escape, query};
use crate::config::person;
use crate::exit::{Failure, Result};
use crate::render;

/// How long the answer to "what became of it" is waited for when nobody asked to wait.
const AT_ONCE: Duration = Duration::from_millis(400);

/// Tell an agent something: into its running turn, or in front of its next prompt
#[derive(Args, Debug)]
pub(crate) struct SendArgs {
    /// The agent
    #[arg(add = complete::agents())]
    agent: String,
    /// What it is told; `-` reads standard input
    #[arg(required = true)]
    text: Vec<String>,
    /// In front of the next prompt, even when an iteration runs
    #[arg(long)]
    queue: bool,
    /// End the running turn; the iteration goes on with the text
    #[arg(long, conflicts_with = "queue")]
    interrupt: bool,
    /// For this iteration alone
    #[arg(long, value_name = "NAME")]
    iteration: Option<String>,
    /// Who says it [default: the agent that runs this, else the user]
    #[arg(long, value_name = "NAME", env = "GCLUSTER_AGENT", hide_env_values = true)]
    from: Option<String>,
    /// Wait until the agent's program has it (delivered) or the model was given it (acknowledged)
    #[arg(long, value_name = "WHAT", num_args = 0..=1, require_equals = true, default_missing_value = "acknowledged")]
    wait: Option<Until>,
    /// Longest time to wait
    #[arg(long, value_name = "TIME", default_value = "5m", value_parser = parse_timeout)]
    timeout: Duration,
}

/// What is waited for.
#[derive(clap::ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
enum Until {
    Delivered,
    Acknowledged,
}

/// Does `gcluster send`.
pub(crate) async fn run(globals: &Globals, args: SendArgs) -> Result {
    let said = said(&args.text)?;
    let connection = globals.connect().await?;
    let agent = Agent::find(&connection, &args.agent).await?.name;
    let namespace = escape(&connection.namespace);
    let path = format!("/apis/gcluster.dev/v1alpha1/namespaces/{namespace}/messages");
    let message = message(&args, &agent, &said);
    let create = format!("{path}{}", query(&[("fieldManager", MANAGER_SEND)]));
    let created = connection.send(Method::POST, &create, JSON, &message).await?;
    let path = format!("{path}/{}", escape(text(&created, "/metadata/name")));
    let Some(until) = args.wait else {
        let seen = at_once(&connection, &path, created).await?;
        print(&render::message::line(&seen))?;
        if !phase(&seen).is_terminal() {
            note(&format!(
                "`gcluster get message {}` shows what becomes of it",
                seen.metadata.name.as_deref().unwrap_or_default()
            ));
        }
        return failed(&seen);
    };
    let what = format!("the message {} to be {until:?}", text(&created, "/metadata/name")).to_lowercase();
    let seen = poll(args.timeout, &what, async || {
        let seen = read(&connection, &path).await?;
        let phase = phase(&seen);
        let met = phase.is_terminal() || until == Until::Delivered && phase == MessagePhase::Delivered;
        Ok(met.then_some(seen))
    })
    .await?;
    print(&render::message::line(&seen))?;
    failed(&seen)
}

/// The text, or standard input for `-`.
fn said(words: &[String]) -> Result<String> {
    let mut said = words.join(" ");
    if words.len() == 1 && said == "-" {
        said.clear();
        std::io::stdin()
            .read_to_string(&mut said)
            .map_err(|error| Failure::failed(format!("cannot read the text from standard input: {error}")))?;
    }
    if said.trim().is_empty() { Err(Failure::usage("the text is empty")) } else { Ok(said) }
}

fn message(args: &SendArgs, agent: &str, said: &str) -> Value {
    let delivery = match (args.queue, args.interrupt) {
        (true, _) => "Queue",
        (_, true) => "Interrupt",
        _ => "Steer",
    };
    let mut spec = json!({"agent": agent, "text": said, "delivery": delivery});
    if let Some(iteration) = &args.iteration {
        spec["iteration"] = json!(iteration);
    }
    let from = args.from.clone().filter(|from| !from.trim().is_empty());
    spec["from"] = json!(from.unwrap_or_else(person));
    json!({
        "apiVersion": "gcluster.dev/v1alpha1",
        "kind": "Message",
        "metadata": {"generateName": format!("{agent}-")},
        "spec": spec,
    })
}

/// The message as soon as somebody looked at it.
async fn at_once(connection: &Connection, path: &str, created: Value) -> Result<Message> {
    let looked_at = |message: &Message| {
        let status = message.status.clone().unwrap_or_default();
        status.phase != MessagePhase::Pending || status.how.is_some() && status.iteration.is_none()
    };
    let end = tokio::time::Instant::now() + AT_ONCE;
    let mut seen = typed(created)?;
    while !looked_at(&seen) && tokio::time::Instant::now() < end {
        tokio::time::sleep(Duration::from_millis(10)).await;
        seen = read(connection, path).await?;
    }
    Ok(seen)
}

async fn read(connection: &Connection, path: &str) -> Result<Message> {
    typed(connection.get(path, JSON).await?)
}

fn typed(object: Value) -> Result<Message> {
    serde_json::from_value(object).map_err(|error| {
        Failure::failed(format!("the master answered with a message of an unknown shape: {error}"))
    })
}

fn phase(message: &Message) -> MessagePhase {
    message.status.as_ref().map_or(MessagePhase::Pending, |status| status.phase)
}

/// One that will never reach anybody is a failure, which was told already.
fn failed(message: &Message) -> Result {
    match phase(message) {
        MessagePhase::Failed | MessagePhase::Expired => Err(Failure::reported()),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser as _;

    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        args: SendArgs,
    }

    fn parsed(line: &str) -> SendArgs {
        Line::try_parse_from(line.split(' ')).unwrap().args
    }

    #[test]
    fn options_become_the_spec() {
        let args = parsed("send builder use tabs --interrupt --iteration builder.work.3 --from ann");
        let message = message(&args, "builder", &said(&args.text).unwrap());
        let spec = json!({"agent": "builder", "text": "use tabs", "delivery": "Interrupt",
            "iteration": "builder.work.3", "from": "ann"});
        assert_eq!((&message["spec"], &message["metadata"]["generateName"]), (&spec, &json!("builder-")));
        let unnamed = parsed("send a x --from= --queue");
        assert_eq!(super::message(&unnamed, "a", "x")["spec"]["from"], json!(person()));
        assert!(!person().trim().is_empty());
        assert_eq!(parsed("send a x --wait").wait, Some(Until::Acknowledged));
        assert_eq!(parsed("send a x --wait=delivered").wait, Some(Until::Delivered));
        assert_eq!(parsed("send a --wait x").text, ["x"], "what is waited for needs an equals sign");
        assert!(Line::try_parse_from(["send", "a"]).is_err());
        assert!(Line::try_parse_from(["send", "a", "x", "--queue", "--interrupt"]).is_err());
        assert!(said(&[" ".to_owned()]).is_err());
    }
}
