//! `gcluster master`: serves the API and runs the controllers in the foreground.

use std::io::IsTerminal as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use tokio::signal::unix::{SignalKind, signal};

use super::Globals;
use super::output::print;
use super::pidfile::PidFile;
use crate::config::DEFAULT_ADDR;
use crate::exit::{Failure, Kind, Result};
use crate::notify::Manager;
use crate::serve::{self, StartError};
use crate::telemetry::{self, LogFormat};

/// Run the master: serve the API, keep agents at work
///
/// Logs go to standard error. Ctrl-C stops agents with grace and keeps all state; a second one ends at once.
#[derive(Args, Debug)]
pub(crate) struct MasterArgs {
    /// Address to listen on; port 0 takes any free one, and the ready line names it
    #[arg(long, value_name = "ADDR", default_value = DEFAULT_ADDR)]
    addr: SocketAddr,
    /// What executes the prompts of agents that do not say
    #[arg(long, value_enum, value_name = "NAME", default_value = "claude")]
    backend: Backend,
    /// Form of the log
    #[arg(long, value_enum, value_name = "FORM", default_value = "text")]
    log_format: LogFormat,
    /// Most iterations that run at once, over all agents
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    max_running: Option<u32>,
    /// Let every program of this machine use the line protocol without a token; on a loopback address only
    #[arg(long)]
    insecure_line_protocol: bool,
    /// A certificate chain of your own, in PEM form, for clients that name one of its names
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// The key of --tls-cert, in PEM form
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// A further name or address under which clients reach this master; may be repeated
    #[arg(long, value_name = "NAME")]
    hostname: Vec<String>,
    /// Where writes are recorded, or `off` [default: audit.log in the data directory]
    #[arg(long, value_name = "FILE")]
    audit_log: Option<PathBuf>,
    /// Record the writes of the master's own controllers, too
    #[arg(long)]
    audit_controllers: bool,
    /// Do not end with the terminal
    #[arg(long, hide = true)]
    background: bool,
}

/// A backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Backend {
    /// The program that each agent names, which speaks the Agent Client Protocol.
    Acp,
    /// The amp CLI.
    Amp,
    /// The claude CLI.
    Claude,
    /// The codex CLI.
    Codex,
    /// The program that each agent names.
    Command,
    /// Built in; executes nothing, for trying gcluster out.
    Rehearsal,
}

impl Backend {
    /// Its name in objects.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Backend::Acp => "acp",
            Backend::Amp => "amp",
            Backend::Claude => "claude",
            Backend::Codex => "codex",
            Backend::Command => "command",
            Backend::Rehearsal => "rehearsal",
        }
    }
}

/// A thousand agents with their files and watches need more descriptors than a shell gives.
fn raise_open_files() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        tracing::debug!(%error, "the limit of open files stays as it is");
    }
}

/// Does `gcluster master`.
pub(crate) async fn run(globals: &Globals, args: MasterArgs) -> Result {
    let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    telemetry::init(args.log_format, std::io::stderr().is_terminal() && !no_color);
    if args.insecure_line_protocol && !args.addr.ip().is_loopback() {
        return Err(Failure::usage(format!(
            "--insecure-line-protocol is for loopback addresses only, and {} is none",
            args.addr.ip()
        )));
    }
    raise_open_files();
    serve::offer_keeper();
    let manager = Manager::of_environment();
    let data_dir = globals.data_dir()?;
    // Signals are caught before anything is written, so that a start is never cut in half.
    let mut signals = Signals::new(args.background)?;
    let config = serve::Config {
        addr: args.addr,
        data_dir: data_dir.clone(),
        backend: args.backend.name().to_owned(),
        max_running: args.max_running.map(|n| n as usize),
        insecure_line_protocol: args.insecure_line_protocol,
        tls: serve::TlsOptions { certificate: args.tls_cert.zip(args.tls_key), hostnames: args.hostname },
        audit_log: match args.audit_log {
            Some(path) if path.as_os_str() == "off" => None,
            Some(path) => Some(path),
            None => Some(data_dir.join("audit.log")),
        },
        audit_controllers: args.audit_controllers,
        version: super::version::own(),
    };
    let mut starting = Box::pin(serve::start(config));
    let mut master = tokio::select! {
        started = &mut starting => started.map_err(|error| explain(error, args.addr, &data_dir))?,
        () = signals.next() => {
            let Ok(master) = starting.await else { return Ok(()) };
            return end(master, &mut signals, &data_dir, &manager).await;
        }
    };
    PidFile::write(&data_dir, &master.address().to_string())?;
    // Whoever started the master may have closed its standard output; that is no reason to end.
    let _ = print(&format!(
        "gcluster master ready at https://{} (data {}, kubeconfig {})\n",
        master.address(),
        data_dir.display(),
        master.kubeconfig().display()
    ));
    tracing::info!(address = %master.address(), backend = args.backend.name(), "ready");
    manager.ready(&format!("serving at https://{}", master.address()));
    let alive = master.alive();
    let looked = |limit| {
        let alive = alive.clone();
        async move { alive.look(limit).await }
    };
    let broken = tokio::select! {
        () = signals.next() => None,
        part = master.broken() => Some(part),
        never = manager.watch(looked) => match never {},
    };
    end(master, &mut signals, &data_dir, &manager).await?;
    match broken {
        None => Ok(()),
        Some(part) => {
            Err(Failure::failed(format!("the {part} of the master ended unexpectedly; the log says why"))
                .hint("the state is kept: start the master again, and please report this"))
        }
    }
}

/// Stops everything; a further signal ends the process at once.
async fn end(master: serve::Handle, signals: &mut Signals, data_dir: &Path, manager: &Manager) -> Result {
    manager.stopping();
    tracing::info!("stopping: agents are given time to end");
    let killer = master.killer();
    tokio::select! {
        () = master.stop() => {
            PidFile::remove(data_dir);
            tracing::info!("stopped");
            Ok(())
        }
        () = signals.next() => {
            tracing::warn!("second signal: ending at once");
            killer.kill();
            PidFile::remove(data_dir);
            Err(Failure::new(Kind::Interrupted, ""))
        }
    }
}

fn explain(error: StartError, addr: SocketAddr, data_dir: &Path) -> Failure {
    let failure = Failure::failed(error.to_string());
    match error {
        StartError::PortTaken { .. } => failure
            .cause(format!("port {} is used by another gcluster master, or by another program", addr.port()))
            .hint("a master that runs already can be used as it is; `gcluster down` stops it")
            .hint("to run one more, give it a free port and a directory: `gcluster master --addr 127.0.0.1:0 --data-dir DIR`"),
        StartError::DataDirInUse { .. } => match PidFile::running(data_dir) {
            Some(other) => failure
                .cause(format!("it listens on {} (process {})", other.address, other.pid))
                .hint("stop it with `gcluster down`, or choose another directory with --data-dir"),
            None => failure.hint("choose another directory with --data-dir"),
        },
        _ => failure,
    }
}

/// The signals that end a master.
struct Signals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
    hangup: tokio::signal::unix::Signal,
    ignore_hangup: bool,
}

impl Signals {
    fn new(ignore_hangup: bool) -> Result<Self> {
        let catch =
            |kind| signal(kind).map_err(|error| Failure::failed(format!("cannot catch signals: {error}")));
        Ok(Self {
            interrupt: catch(SignalKind::interrupt())?,
            terminate: catch(SignalKind::terminate())?,
            hangup: catch(SignalKind::hangup())?,
            ignore_hangup,
        })
    }

    /// Returns at the next one.
    async fn next(&mut self) {
        loop {
            tokio::select! {
                _ = self.interrupt.recv() => return,
                _ = self.terminate.recv() => return,
                _ = self.hangup.recv() => if !self.ignore_hangup { return },
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_taken_port_names_both_causes_and_a_way_out() {
        let addr: SocketAddr = "127.0.0.1:43252".parse().unwrap();
        let text = explain(StartError::PortTaken { addr }, addr, Path::new("/nonexistent")).render();
        crate::testing::snapshot("master-port-taken", &text);
    }

    #[test]
    fn a_directory_in_use_is_named_with_a_way_out() {
        let path = Path::new("/nonexistent/data").to_path_buf();
        let failure =
            explain(StartError::DataDirInUse { path: path.clone() }, ([127, 0, 0, 1], 1).into(), &path);
        assert!(failure.message.contains("/nonexistent/data") && failure.hints[0].contains("--data-dir"));
    }
}
