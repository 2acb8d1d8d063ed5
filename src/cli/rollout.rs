//! `gcluster rollout`: the revisions of an agent, with kubectl's words.

use std::io::Write as _;
use std::time::Duration;

use clap::{Args, Subcommand};
use gcluster_types::labels::MANAGER_ROLLOUT;
use gcluster_types::{Agent, AgentRevision, Iteration};
use k8s_openapi::jiff::Timestamp;
use serde_json::Value;

use super::objects::{items, parse_timeout};
use super::output::print;
use super::{Globals, complete, run_state};
use crate::client::{Connection, JSON, escape, query};
use crate::config;
use crate::exit::{Failure, Kind, Result};
use crate::render::rollout::{Progress, history, one, progress};
use crate::rollback::{self, Goal, How};

/// Look at the revisions of agents, take one back, wait for the newest one
#[derive(Args, Debug)]
pub(crate) struct RolloutArgs {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// List the revisions of an agent: when, by whom, what changed
    History {
        /// agent NAME or agent/NAME
        #[arg(required = true, value_name = "AGENT")]
        #[arg(add = complete::rollouts())]
        words: Vec<String>,
        /// Show one revision with its differences and its source
        #[arg(long, value_name = "N")]
        revision: Option<i64>,
    },
    /// Make the text of an earlier revision the desired one; it becomes a new revision
    Undo {
        /// agent NAME or agent/NAME
        #[arg(required = true, value_name = "AGENT")]
        #[arg(add = complete::rollouts())]
        words: Vec<String>,
        /// Number of the revision [default: the one before]
        #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
        to_revision: i64,
        /// End running iterations of other revisions instead of letting them finish
        #[arg(long)]
        now: bool,
    },
    /// Wait until the newest revision is recorded and in use
    Status {
        /// agent NAME or agent/NAME
        #[arg(required = true, value_name = "AGENT")]
        #[arg(add = complete::rollouts())]
        words: Vec<String>,
        /// Wait; with `--watch=false` only say how far it is
        #[arg(short, long, num_args = 0..=1, require_equals = true, default_value_t = true)]
        #[arg(default_missing_value = "true", action = clap::ArgAction::Set, value_name = "BOOL")]
        watch: bool,
        /// Longest time to wait; 0 waits for ever
        #[arg(long, value_name = "TIME", default_value = "0s", value_parser = parse_timeout)]
        timeout: Duration,
    },
    /// End what agents are doing and begin their definition again, as `gcluster restart`
    Restart {
        /// agent NAME or agent/NAME
        #[arg(required = true, value_name = "AGENT")]
        #[arg(add = complete::rollouts())]
        words: Vec<String>,
    },
    /// Begin no new iterations, as `gcluster pause`
    Pause {
        /// agent NAME or agent/NAME
        #[arg(required = true, value_name = "AGENT")]
        #[arg(add = complete::rollouts())]
        words: Vec<String>,
    },
    /// Let paused agents go on, as `gcluster start`
    Resume {
        /// agent NAME or agent/NAME
        #[arg(required = true, value_name = "AGENT")]
        #[arg(add = complete::rollouts())]
        words: Vec<String>,
    },
}

/// Does `gcluster rollout`.
pub(crate) async fn run(globals: &Globals, args: RolloutArgs) -> Result {
    match args.verb {
        Verb::History { words, revision } => {
            let connection = globals.connect().await?;
            for name in agents(&words)? {
                show_history(&connection, &name, revision).await?;
            }
            Ok(())
        }
        Verb::Undo { words, to_revision, now } => undo(globals, &agents(&words)?, to_revision, now).await,
        Verb::Status { words, watch, timeout } => {
            let connection = globals.connect().await?;
            let limit = (watch && !timeout.is_zero()).then_some(timeout);
            for name in agents(&words)? {
                status(&connection, &name, watch, limit).await?;
            }
            Ok(())
        }
        Verb::Restart { words } => run_state::restart_all(globals, &agents(&words)?).await,
        Verb::Pause { words } => run_state::set_run(globals, &agents(&words)?, "Paused", "paused").await,
        Verb::Resume { words } => run_state::set_run(globals, &agents(&words)?, "Running", "resumed").await,
    }
}

/// Object names from `agent NAME…`, `agent/NAME…` or a name alone.
fn agents(words: &[String]) -> Result<Vec<String>> {
    const KINDS: [&str; 6] = ["agent", "agents", "ag", "Agent", "agents.gcluster.dev", "agent.gcluster.dev"];
    let other = |kind: &str| {
        Failure::usage(format!("only agents have revisions, {kind:?} has none: `rollout history agent/NAME`"))
    };
    let names: Vec<&str> = match words {
        [kind, names @ ..] if KINDS.contains(&kind.as_str()) && !names.is_empty() => {
            names.iter().map(String::as_str).collect()
        }
        [kind] if KINDS.contains(&kind.as_str()) => {
            return Err(Failure::usage("name the agent, as in `agent/NAME`"));
        }
        words => words
            .iter()
            .map(|word| match word.split_once('/') {
                Some((kind, name)) if KINDS.contains(&kind) => Ok(name),
                Some((kind, _)) => Err(other(kind)),
                None if words.len() > 1 => Err(other(word)),
                None => Ok(word.as_str()),
            })
            .collect::<Result<_>>()?,
    };
    let object = |name: &str| gcluster_types::names::object_name(name).unwrap_or_else(|_| name.to_owned());
    Ok(names.into_iter().map(object).collect())
}

fn path(connection: &Connection, rest: &str) -> String {
    format!("/apis/gcluster.dev/v1alpha1/namespaces/{}/{rest}", escape(&connection.namespace))
}

async fn agent(connection: &Connection, name: &str) -> Result<Agent> {
    let object = connection.get(&path(connection, &format!("agents/{}", escape(name))), JSON).await;
    let object = object.map_err(|failure| match failure.kind {
        Kind::NotFound => failure.hint("`gcluster get agents` lists the agents of this namespace"),
        _ => failure,
    })?;
    read(object, name)
}

fn read<T: serde::de::DeserializeOwned>(value: Value, name: &str) -> Result<T> {
    serde_json::from_value(value)
        .map_err(|error| Failure::failed(format!("what the master says of {name} cannot be read: {error}")))
}

async fn show_history(connection: &Connection, name: &str, number: Option<i64>) -> Result {
    let agent = agent(connection, name).await?;
    let revisions = rollback::revisions(connection, &connection.namespace, name).await?;
    let current = agent.status.as_ref().and_then(|status| status.current_revision);
    let now = Timestamp::now();
    let Some(number) = number else {
        return match revisions.is_empty() {
            true => print(&format!("agent.gcluster.dev/{name}: no revision is recorded yet\n")),
            false => print(&format!("agent.gcluster.dev/{name}\n{}", history(&revisions, current, now))),
        };
    };
    let before = |revision: &&AgentRevision| revision.spec.revision < number;
    match revisions.iter().find(|revision| revision.spec.revision == number) {
        Some(revision) => print(&format!(
            "agent.gcluster.dev/{name} with revision {number}\n{}",
            one(revision, revisions.iter().rfind(before), now)
        )),
        None => Err(Failure::new(Kind::NotFound, format!("{name} has no revision {number}"))
            .hint(format!("`gcluster rollout history agent/{name}` lists those that are kept"))),
    }
}

async fn undo(globals: &Globals, names: &[String], number: i64, now: bool) -> Result {
    let connection = globals.connect().await?;
    let goal = if number == 0 { Goal::Previous } else { Goal::Number(number) };
    let manager = config::manager(MANAGER_ROLLOUT);
    let at = now.then(|| Timestamp::now().to_string());
    let how = How { manager: &manager, replaced_at: at.as_deref() };
    for name in names {
        let done = rollback::roll_back(&connection, &connection.namespace, name, goal, how).await?;
        let line = match (done.written, now) {
            (true, false) => format!(
                "rolled back to the text of revision {}; running iterations finish on theirs",
                done.revision
            ),
            (true, true) => format!(
                "rolled back to the text of revision {}; iterations of other revisions are ended",
                done.revision
            ),
            (false, _) => format!("skipped rollback (it has the text of revision {} already)", done.revision),
        };
        print(&format!("agent.gcluster.dev/{name} {line}\n"))?;
    }
    Ok(())
}

/// Says how far the newest revision is, each time that it changes, until it is in use.
async fn status(connection: &Connection, name: &str, watch: bool, limit: Option<Duration>) -> Result {
    let end = limit.map(|limit| tokio::time::Instant::now() + limit);
    let mut told = String::new();
    let mut pause = Duration::from_millis(50);
    loop {
        let agent = agent(connection, name).await?;
        let fields = format!("spec.agent={name}");
        let list = path(connection, &format!("iterations{}", query(&[("fieldSelector", &fields)])));
        let iterations = items(connection.get(&list, JSON).await?);
        let iterations =
            iterations.into_iter().map(|item| read(item, name)).collect::<Result<Vec<Iteration>>>()?;
        let waits = match progress(&agent, &iterations) {
            Progress::Done(text) => return print(&format!("agent {name:?} rolled out: {text}\n")),
            Progress::Failed(text) => {
                return Err(Failure::failed(format!("agent {name:?} cannot be rolled out: {text}")));
            }
            Progress::Under(text) => text,
        };
        if waits != told {
            print(&format!("waiting for agent {name:?}: {waits}\n"))?;
            std::io::stdout().flush()?;
            told = waits;
        }
        if !watch {
            return Ok(());
        }
        if end.is_some_and(|end| tokio::time::Instant::now() + pause > end) {
            let limit = limit.unwrap_or_default().as_secs();
            return Err(Failure::failed(format!(
                "timed out after {limit}s waiting for agent {name:?}: {told}"
            ))
            .hint("`--now` on apply or undo ends iterations of older revisions"));
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(Duration::from_millis(500));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agents_are_named_in_both_forms_of_kubectl() {
        let named = |text: &str| {
            agents(&text.split_whitespace().map(str::to_owned).collect::<Vec<_>>()).map_err(|f| f.kind)
        };
        assert_eq!(named("agent a Big_One"), Ok(vec!["a".to_owned(), "big-one".to_owned()]));
        assert_eq!(named("agents/a ag/b"), Ok(vec!["a".to_owned(), "b".to_owned()]));
        assert_eq!(named("builder"), Ok(vec!["builder".to_owned()]));
        for wrong in ["agent", "deployment/x", "deployment x", "a b"] {
            assert_eq!(named(wrong), Err(Kind::Usage), "{wrong}");
        }
    }
}
