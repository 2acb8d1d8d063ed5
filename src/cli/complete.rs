//! What the shell asks while somebody types: kinds, and the names of agents, iterations and namespaces as they are.
//!
//! The shell runs this program again with `COMPLETE=SHELL` and the words so far. Without a master, or when it does not
//! answer at once, nothing is offered and nothing is said.

use std::ffi::OsStr;
use std::path::PathBuf;
use std::time::Duration;

use clap::CommandFactory as _;
use clap_complete::engine::{ArgValueCompleter, CompletionCandidate};
use serde_json::Value;

use super::kinds::{Catalog, Resource};
use super::objects::text;
use super::output::table::rows;
use super::{Cli, Globals};
use crate::client::{Connection, TABLE, query};
use crate::exit::Result;

/// Longest time that a key may take.
const PATIENCE: Duration = Duration::from_millis(500);
/// Most names that are asked for.
const MOST: &str = "500";

/// Completes `KIND`, `KIND,KIND`, `KIND/NAME` and the names behind a kind.
pub(crate) fn objects() -> ArgValueCompleter {
    ArgValueCompleter::new(|current: &OsStr| {
        offer(current, |master, typed, word| Box::pin(objects_of(master, typed, word)))
    })
}

/// Completes names of agents.
pub(crate) fn agents() -> ArgValueCompleter {
    ArgValueCompleter::new(|current: &OsStr| offer(current, |master, _, _| Box::pin(names(master, "agents"))))
}

/// Completes names of agents and, behind a dot, of iterations.
pub(crate) fn agents_and_iterations() -> ArgValueCompleter {
    ArgValueCompleter::new(|current: &OsStr| {
        offer(current, |master, _, word| {
            let plural = if word.contains('.') { "iterations" } else { "agents" };
            Box::pin(names(master, plural))
        })
    })
}

/// Completes agents as `rollout` takes them: a kind and a name, `agent/NAME`, or a name alone.
pub(crate) fn rollouts() -> ArgValueCompleter {
    ArgValueCompleter::new(|current: &OsStr| {
        offer(current, |master, _, word| {
            Box::pin(async move {
                let prefix = word.split_once('/').map(|(kind, _)| format!("{kind}/")).unwrap_or_default();
                let names = names(master, "agents").await?;
                Ok(names.into_iter().map(|name| format!("{prefix}{name}")).collect())
            })
        })
    })
}

/// Completes names of namespaces.
pub(crate) fn namespaces() -> ArgValueCompleter {
    ArgValueCompleter::new(|current: &OsStr| {
        offer(current, |master, _, _| {
            Box::pin(async move { listed(&master, &format!("/api/v1/namespaces{}", limited())).await })
        })
    })
}

type Answer = futures::future::BoxFuture<'static, Result<Vec<String>>>;

/// Asks the master that the words so far mean, and keeps what begins as what is typed.
fn offer(current: &OsStr, ask: impl FnOnce(Connection, Typed, String) -> Answer) -> Vec<CompletionCandidate> {
    let (Some(word), typed) = (current.to_str(), Typed::here()) else { return Vec::new() };
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else {
        return Vec::new();
    };
    let word = word.to_owned();
    let asked = {
        let word = word.clone();
        runtime.block_on(async {
            let answer = async { ask(typed.globals.connect().await?, typed, word).await };
            tokio::time::timeout(PATIENCE, answer).await
        })
    };
    runtime.shutdown_background();
    let Ok(Ok(names)) = asked else { return Vec::new() };
    names.into_iter().filter(|name| name.starts_with(&word)).map(CompletionCandidate::new).collect()
}

/// What stands on the command line before the word that is completed.
struct Typed {
    globals: Globals,
    /// Words that are no options, from the verb on.
    words: Vec<String>,
}

impl Typed {
    /// The words that the shell hands over behind `--`.
    fn here() -> Self {
        let words = std::env::args().skip_while(|word| word != "--").skip(2);
        let mut words: Vec<String> = words.collect();
        // Counts the program's name, too.
        let index = std::env::var("_CLAP_COMPLETE_INDEX").ok().and_then(|index| index.parse::<usize>().ok());
        // A shell that does not count hands over the word under the cursor as the last one.
        words.truncate(index.map_or(words.len(), |index| index).saturating_sub(1));
        let mut typed = Self::of(&words);
        let variable = |name: &str| std::env::var_os(name).map(PathBuf::from);
        typed.globals.kubeconfig = typed.globals.kubeconfig.or_else(|| variable("GCLUSTER_KUBECONFIG"));
        typed.globals.data_dir = typed.globals.data_dir.or_else(|| variable("GCLUSTER_DATA_DIR"));
        typed
    }

    fn of(words: &[String]) -> Self {
        let mut command = Cli::command();
        command.build();
        let mut typed = Self {
            globals: Globals { server: None, kubeconfig: None, token: None, data_dir: None, namespace: None },
            words: Vec::new(),
        };
        let mut here = &command;
        let mut rest = words.iter();
        while let Some(word) = rest.next() {
            let Some(option) = word.strip_prefix('-').filter(|option| !option.is_empty()) else {
                here = here.find_subcommand(word).unwrap_or(here);
                typed.words.push(word.clone());
                continue;
            };
            let (name, mut value) = match (option.strip_prefix('-'), option.split_at_checked(1)) {
                (Some(long), _) => match long.split_once('=') {
                    Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
                    None => (long.to_owned(), None),
                },
                (None, Some((short, value))) => (
                    short.to_owned(),
                    Some(value.trim_start_matches('=').to_owned()).filter(|v| !v.is_empty()),
                ),
                (None, None) => continue,
            };
            let known = here.get_arguments().find(|argument| {
                argument.get_long() == Some(&name)
                    || argument.get_short().is_some_and(|c| name == c.to_string())
            });
            let Some(known) = known.filter(|argument| argument.get_action().takes_values()) else { continue };
            if value.is_none() && !known.is_require_equals_set() {
                value = rest.next().cloned();
            }
            let globals = &mut typed.globals;
            match known.get_id().as_str() {
                "server" => globals.server = value,
                "kubeconfig" => globals.kubeconfig = value.map(PathBuf::from),
                "token" => globals.token = value,
                "data_dir" => globals.data_dir = value.map(PathBuf::from),
                "namespace" => globals.namespace = value,
                _ => {}
            }
        }
        typed
    }
}

/// Kinds first; behind a kind its names.
async fn objects_of(master: Connection, typed: Typed, word: String) -> Result<Vec<String>> {
    let catalog = Catalog::fetch(&master).await?;
    if let Some((kind, _)) = word.split_once('/') {
        let names = of_kind(&master, catalog.find(kind)?).await?;
        return Ok(names.into_iter().map(|name| format!("{kind}/{name}")).collect());
    }
    // The first of the words is the verb.
    if let Some(kind) = typed.words.get(1).filter(|kind| !kind.contains('/')) {
        let resources = catalog.find_all(kind)?;
        let mut names = Vec::new();
        for resource in resources {
            names.extend(of_kind(&master, resource).await?);
        }
        names.retain(|name| !typed.words.contains(name));
        return Ok(names);
    }
    let before = word.rsplit_once(',').map(|(before, _)| format!("{before},")).unwrap_or_default();
    let listable = catalog.0.iter().filter(|resource| resource.verbs.iter().any(|verb| verb == "list"));
    let words = listable.flat_map(|resource| [&resource.plural, &resource.singular]);
    Ok(words.map(|kind| format!("{before}{kind}")).collect())
}

async fn of_kind(master: &Connection, resource: &Resource) -> Result<Vec<String>> {
    listed(master, &format!("{}{}", resource.collection(Some(&master.namespace)), limited())).await
}

async fn names(master: Connection, plural: &str) -> Result<Vec<String>> {
    let namespace = crate::client::escape(&master.namespace).to_string();
    listed(&master, &format!("/apis/gcluster.dev/v1alpha1/namespaces/{namespace}/{plural}{}", limited()))
        .await
}

fn limited() -> String {
    query(&[("limit", MOST)])
}

/// Names of what is in a collection. A table carries the metadata alone.
async fn listed(master: &Connection, path: &str) -> Result<Vec<String>> {
    let table: Value = master.get(path, TABLE).await?;
    Ok(rows(&table).iter().map(|row| text(row, "/object/metadata/name").to_owned()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_and_their_values_are_told_from_words() {
        let typed = |line: &str| Typed::of(&line.split_whitespace().map(str::to_owned).collect::<Vec<_>>());
        let one = typed("-n team get --server=http://x -o yaml agents -A builder");
        assert_eq!(one.words, ["get", "agents", "builder"]);
        assert_eq!(one.globals.namespace.as_deref(), Some("team"));
        assert_eq!(one.globals.server.as_deref(), Some("http://x"));
        let two = typed("rollout undo --to-revision 2 --now --data-dir /d agent -nx");
        assert_eq!(two.words, ["rollout", "undo", "agent"]);
        assert_eq!((two.globals.namespace.as_deref(), two.globals.data_dir), (Some("x"), Some("/d".into())));
        assert_eq!(typed("- --nonsense get -").words, ["-", "get", "-"]);
    }
}
