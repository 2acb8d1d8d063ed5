//! `gcluster up`: one command from a file to agents at work.

use std::io::IsTerminal as _;
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use clap::Args;
use futures::StreamExt as _;
use futures::stream::FuturesUnordered;

use super::apply::{self, Applied, Options};
use super::master::Backend;
use super::objects::text;
use super::output::table::{Printer, Show, sort_naturally};
use super::output::{color, note, print, print_lines};
use super::transcript::{self, Part, Sink};
use super::{Globals, manifest};
use crate::client::{Connection, TABLE, escape};
use crate::config::{DEFAULT_ADDR, find_program};
use crate::exit::{Failure, Kind, Result};
use crate::render::Line;

/// Longest time that a master may take to answer.
const READY: Duration = Duration::from_secs(20);

/// Why there will be no real work, and how to get it.
const REHEARSAL: &str = "the claude CLI is not installed, so agents run on the built-in rehearsal backend, \
which executes nothing. For real work: npm install -g @anthropic-ai/claude-code, log in with `claude`, \
then `gcluster down` and `gcluster up` again";

/// `claude` where it can be found, else `rehearsal`.
fn chosen(asked: Option<Backend>) -> Backend {
    asked.unwrap_or_else(
        || if find_program("claude").is_some() { Backend::Claude } else { Backend::Rehearsal },
    )
}

/// Start a master if none runs, apply files, and watch the agents at work
///
/// Ends in `gcluster steer` on a terminal, else it follows what the agents say. Ctrl-C ends only the watching: the
/// master goes on in the background until `gcluster down`.
#[derive(Args, Debug)]
pub(crate) struct UpArgs {
    /// File, directory or - for standard input; may be repeated
    #[arg(short, long = "filename", value_name = "FILE", value_hint = clap::ValueHint::AnyPath)]
    files: Vec<PathBuf>,
    /// The same, without -f
    #[arg(value_name = "FILE", value_hint = clap::ValueHint::AnyPath)]
    paths: Vec<PathBuf>,
    /// Address for a master that is started
    #[arg(long, value_name = "ADDR", default_value = DEFAULT_ADDR)]
    addr: SocketAddr,
    /// Backend of a master that is started [default: claude if it is installed, else rehearsal]
    #[arg(long, value_enum, value_name = "NAME")]
    backend: Option<Backend>,
    /// Go on with a repository whose hub lacks commits of your checkout
    #[arg(long)]
    force: bool,
    /// Return after applying; watch nothing
    #[arg(short, long)]
    detach: bool,
}

/// Does `gcluster up`.
pub(crate) async fn run(globals: &Globals, args: UpArgs) -> Result {
    let inputs: Vec<PathBuf> = args.files.iter().chain(&args.paths).cloned().collect();
    if inputs.is_empty() {
        return Err(Failure::usage("name a file, as in `gcluster up -f examples/team.p`"));
    }
    let desired = manifest::load(&inputs)?;
    let connection = ensure_master(globals, &args).await?;
    if desired.is_empty() {
        return print("no agents found, nothing to apply\n");
    }
    let applied = apply::apply(&connection, desired, Options::default()).await?;
    print(&apply::summary(&applied, false))?;
    super::sync::refuse_stale(&applied, args.force).await?;
    apply::wait_ready(&connection, &applied, READY).await?;
    let is_team = is_team(&applied);
    show_table(&connection, if is_team { "tickets" } else { "agents" }).await?;
    if args.detach {
        return print(&format!("\n{}", advice(globals, is_team)));
    }
    if std::io::stdout().is_terminal() && std::io::stdin().is_terminal() {
        return super::steer::after_up(globals, inputs.into_iter().next()).await;
    }
    if is_team {
        return print(&format!("\n{}", advice(globals, is_team)));
    }
    print("\nFollowing the agents; Ctrl-C ends this, the master goes on.\n\n")?;
    tokio::select! {
        followed = follow(&connection, &applied) => followed,
        caught = tokio::signal::ctrl_c() => {
            caught.map_err(|error| Failure::failed(format!("cannot catch Ctrl-C: {error}")))?;
            print(&format!("\n{}", advice(globals, is_team)))
        }
    }
}

/// Whether the files are about workers and their tickets, and name no agent.
fn is_team(applied: &[Applied]) -> bool {
    let any = |kinds: &[&str]| applied.iter().any(|one| kinds.contains(&text(&one.object, "/kind")));
    any(&["Repository", "WorkerPool", "Ticket"]) && !any(&["Agent"])
}

/// What to do next, with the options that this command was given.
fn advice(globals: &Globals, is_team: bool) -> String {
    let mut with = String::new();
    if let Some(dir) = &globals.data_dir {
        with = format!(" --data-dir {}", dir.display());
    }
    let rows = match is_team {
        true => [
            ("get tickets -w", "where each stands"),
            ("steer", "all of it on one screen"),
            ("ticket add TITLE", "one more"),
            ("down", "stop the master and all agents; the state is kept"),
        ],
        false => [
            ("get agents", "what they are doing"),
            ("logs AGENT -f", "the conversation of one"),
            ("stop AGENT", "stop one"),
            ("down", "stop the master and all agents; the state is kept"),
        ],
    };
    let mut out = "The master goes on in the background.\n".to_owned();
    for (verb, what) in rows {
        out.push_str(&format!("  {:<28} {what}\n", format!("gcluster{with} {verb}")));
    }
    out
}

async fn ensure_master(globals: &Globals, args: &UpArgs) -> Result<Connection> {
    let failure = match globals.connect().await {
        Ok(connection) if connection.answers().await => {
            note(&format!("using the master at {}", connection.address));
            if args.backend.is_some() {
                note("it runs already: --backend is not used");
            }
            return Ok(connection);
        }
        Ok(connection) => Failure::unreachable(&connection.address),
        Err(failure) => failure,
    };
    // A master that the user names is somebody else's to start.
    if failure.kind != Kind::Unreachable || globals.target()?.is_named() {
        return Err(failure);
    }
    start_master(globals, args).await
}

async fn start_master(globals: &Globals, args: &UpArgs) -> Result<Connection> {
    let data_dir = globals.data_dir()?;
    let backend = chosen(args.backend);
    if backend == Backend::Rehearsal && args.backend.is_none() {
        note(&format!("note: {REHEARSAL}"));
    } else if backend == Backend::Rehearsal {
        note("note: the rehearsal backend executes nothing; it shows how agents run");
    }
    let log = data_dir.join("master.log");
    let mut child = spawn(&data_dir, &log, args.addr, backend)?;
    let end = tokio::time::Instant::now() + READY;
    loop {
        let status = child
            .try_wait()
            .map_err(|error| Failure::failed(format!("cannot await the master that was started: {error}")))?;
        if let Some(status) = status {
            let mut failure =
                Failure::failed(format!("the master that was started ended at once ({status})"));
            failure.causes = tail(&log, 12);
            return Err(failure.hint(format!("its whole log is in {}", log.display())));
        }
        // Its record tells it from an earlier master whose kubeconfig still lies there.
        let pid = i32::try_from(child.id()).ok();
        let own = super::pidfile::PidFile::running(&data_dir).is_some_and(|file| Some(file.pid) == pid);
        if own {
            let connection = globals.connect().await?;
            if connection.answers().await {
                note(&format!(
                    "started a master at {} (backend {}, log {})",
                    connection.address,
                    backend.name(),
                    log.display()
                ));
                return Ok(connection);
            }
        }
        if tokio::time::Instant::now() > end {
            return Err(Failure::failed(format!("the master did not answer within {}s", READY.as_secs()))
                .hint(format!("its log is in {}", log.display())));
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
}

fn spawn(data_dir: &Path, log: &Path, addr: SocketAddr, backend: Backend) -> Result<std::process::Child> {
    let cannot = |what: &str, error: std::io::Error| Failure::failed(format!("cannot {what}: {error}"));
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(data_dir)
        .map_err(|error| cannot(&format!("create the data directory {}", data_dir.display()), error))?;
    let file = std::fs::OpenOptions::new()
        .create(true)
        .append(true)
        .mode(0o600)
        .open(log)
        .map_err(|error| cannot(&format!("open {}", log.display()), error))?;
    let program = std::env::current_exe().map_err(|error| cannot("find this program", error))?;
    let errors = file.try_clone().map_err(|error| cannot("start a master", error))?;
    Command::new(program)
        .arg("master")
        .args(["--addr", &addr.to_string(), "--backend", backend.name(), "--background"])
        .arg("--data-dir")
        .arg(data_dir)
        .env_remove("GCLUSTER_KUBECONFIG")
        .env_remove("GCLUSTER_SERVER")
        .env_remove("GCLUSTER_TOKEN")
        .stdin(Stdio::null())
        .stdout(file)
        .stderr(errors)
        // Ctrl-C in this terminal is for this command, not for the master.
        .process_group(0)
        .spawn()
        .map_err(|error| cannot("start a master", error))
}

fn tail(log: &Path, lines: usize) -> Vec<String> {
    let text = std::fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let all: Vec<&str> = text.lines().collect();
    all[all.len().saturating_sub(lines)..].iter().map(|line| (*line).to_owned()).collect()
}

async fn show_table(connection: &Connection, kinds: &str) -> Result {
    let path = format!("/apis/gcluster.dev/v1alpha1/namespaces/{}/{kinds}", escape(&connection.namespace));
    let mut table = connection.get(&path, TABLE).await?;
    sort_naturally(&mut table);
    match Printer::new(Show::default()).render(&table) {
        text if text.is_empty() => Ok(()),
        text => print(&format!("\n{text}")),
    }
}

/// Follows every applied agent at once, without end.
async fn follow(connection: &Connection, applied: &[Applied]) -> Result {
    let agents: Vec<&Applied> = applied.iter().filter(|one| text(&one.object, "/kind") == "Agent").collect();
    let width =
        agents.iter().map(|one| text(&one.object, "/metadata/name").chars().count()).max().unwrap_or(0);
    let color = color();
    let mut running: FuturesUnordered<_> = agents
        .into_iter()
        .map(|one| async move {
            let name = text(&one.object, "/metadata/name");
            let mut sink = Prefixed { prefix: format!("{name:<width$} │ "), color };
            let namespace = text(&one.object, "/metadata/namespace");
            transcript::follow_agent(connection, namespace, name, Part::default(), &mut sink).await
        })
        .collect();
    while let Some(ended) = running.next().await {
        match ended {
            // A deleted agent has nothing more to say; the others have.
            Err(failure) if failure.kind == Kind::NotFound => {}
            other => other?,
        }
    }
    Ok(())
}

/// Writes an agent's lines after its name.
struct Prefixed {
    prefix: String,
    color: bool,
}

impl Sink for Prefixed {
    fn raw(&mut self, line: &str) -> Result {
        print(&format!("{line}\n"))
    }

    fn lines(&mut self, lines: &[Line]) -> Result {
        print_lines(lines, &self.prefix, self.color)
    }

    fn wants_raw(&self) -> bool {
        false
    }
}
