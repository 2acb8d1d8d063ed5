//! `gcluster logs`: the conversation of an agent's iterations.

use clap::{Args, ValueEnum};
use serde_json::Value;

use super::objects::text;
use super::output::{color, note, print, print_lines};
use super::transcript::{self, Part, Sink};
use super::{Globals, complete};
use crate::client::{Connection, JSON, escape};
use crate::exit::{Failure, Kind, Result};
use crate::render::Line;

/// Show what an agent says and does: its newest iteration, or one that you name
#[derive(Args, Debug)]
pub(crate) struct LogsArgs {
    /// An agent (builder) or an iteration (builder.build.3); agent/NAME, iteration/NAME and check/NAME work too
    #[arg(value_name = "AGENT|ITERATION", add = complete::agents_and_iterations())]
    target: String,
    /// Go on as text arrives; for an agent, with each following iteration too
    #[arg(short, long)]
    follow: bool,
    /// Begin at this record, counted from 0
    #[arg(long, value_name = "N", conflicts_with = "tail")]
    since: Option<u64>,
    /// Only the last N records of what is there
    #[arg(long, value_name = "N")]
    tail: Option<usize>,
    /// Form: text, or json for the records as they are stored, one per line
    #[arg(short, long, value_enum, default_value = "text", value_name = "FORM")]
    output: Form,
}

/// Form of the output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Form {
    /// A conversation.
    Text,
    /// Records.
    Json,
}

/// Writes to standard output.
struct Stdout {
    raw: bool,
    color: bool,
}

impl Sink for Stdout {
    fn raw(&mut self, line: &str) -> Result {
        // JSON holds control characters escaped already.
        print(&format!("{line}\n"))
    }

    fn lines(&mut self, lines: &[Line]) -> Result {
        print_lines(lines, "", self.color)
    }

    fn wants_raw(&self) -> bool {
        self.raw
    }
}

/// What the user named.
#[derive(Debug, PartialEq, Eq)]
enum Target<'a> {
    Agent(&'a str),
    Iteration(&'a str),
    Check(&'a str),
}

/// Agents have DNS labels for names, iterations have dots in theirs.
fn target(word: &str) -> Result<Target<'_>> {
    match word.split_once('/') {
        Some(("agent" | "agents" | "ag", name)) => Ok(Target::Agent(name)),
        Some(("iteration" | "iterations" | "it", name)) => Ok(Target::Iteration(name)),
        Some(("check" | "checks" | "chk", name)) => Ok(Target::Check(name)),
        Some(_) => Err(Failure::usage(format!("{word:?} names neither an agent, an iteration nor a check"))),
        None if word.contains('.') => Ok(Target::Iteration(word)),
        None => Ok(Target::Agent(word)),
    }
}

/// Does `gcluster logs`.
pub(crate) async fn run(globals: &Globals, args: LogsArgs) -> Result {
    let target = target(&args.target)?;
    let connection = globals.connect().await?;
    let namespace = connection.namespace.clone();
    let part = Part { since: args.since.unwrap_or(0), tail: args.tail, follow: args.follow };
    let mut sink = Stdout { raw: args.output == Form::Json, color: color() };
    match target {
        Target::Check(name) => super::check_log::show(&connection, name, args.follow).await,
        Target::Iteration(name) => transcript::show(&connection, &namespace, name, part, &mut sink)
            .await
            .map_err(|failure| hint(failure, "gcluster get iterations")),
        Target::Agent(typed) => {
            let name = gcluster_types::names::object_name(typed).unwrap_or_else(|_| typed.to_owned());
            let agent = agent(&connection, &namespace, &name).await?;
            if args.follow {
                return transcript::follow_agent(&connection, &namespace, &name, part, &mut sink).await;
            }
            let (iterations, _) = transcript::iterations_of(&connection, &namespace, &name).await?;
            match newest(&iterations) {
                Some(newest) => {
                    if !sink.raw {
                        sink.lines(&[transcript::heading_of(newest)])?;
                    }
                    transcript::show(&connection, &namespace, text(newest, "/metadata/name"), part, &mut sink)
                        .await
                }
                None => {
                    let state = text(&agent, "/status/runState");
                    let state = if state.is_empty() { "pending" } else { state };
                    note(&format!("{typed} has no iteration yet (state: {state})"));
                    Ok(())
                }
            }
        }
    }
}

/// The one that began last; of those that began together the first that still runs.
fn newest(iterations: &[Value]) -> Option<&Value> {
    iterations
        .iter()
        .rev()
        .find(|iteration| text(iteration, "/status/phase") == "Running")
        .or_else(|| iterations.last())
}

async fn agent(connection: &Connection, namespace: &str, name: &str) -> Result<Value> {
    let path =
        format!("/apis/gcluster.dev/v1alpha1/namespaces/{}/agents/{}", escape(namespace), escape(name));
    connection.get(&path, JSON).await.map_err(|failure| hint(failure, "gcluster get agents"))
}

fn hint(failure: Failure, list: &str) -> Failure {
    match failure.kind {
        Kind::NotFound => failure.hint(format!("`{list}` lists what there is; -n chooses another namespace")),
        _ => failure,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_dot_tells_an_iteration_from_an_agent() {
        assert_eq!(target("builder").unwrap(), Target::Agent("builder"));
        assert_eq!(target("builder.build.3").unwrap(), Target::Iteration("builder.build.3"));
        assert_eq!(target("it/x").unwrap(), Target::Iteration("x"));
        assert_eq!(target("ag/x").unwrap(), Target::Agent("x"));
        assert!(target("ns/x").is_err());
    }

    #[test]
    fn the_running_iteration_is_preferred_to_a_later_one_that_waits() {
        let it = |name: &str, phase: &str| json!({"metadata": {"name": name}, "status": {"phase": phase}});
        let all = [it("a", "Running"), it("b", "Pending")];
        assert_eq!(newest(&all).map(|i| text(i, "/metadata/name")), Some("a"));
        assert_eq!(newest(&all[1..]).map(|i| text(i, "/metadata/name")), Some("b"));
        assert_eq!(newest(&[]), None);
    }
}
