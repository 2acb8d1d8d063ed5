//! The command line: one file per verb, each with its arguments first and then the function that does it.

mod apply;
pub(crate) mod compile;
mod completion;
mod crds;
mod delete;
mod describe;
mod diff;
mod down;
mod edit;
mod eval;
mod events;
mod get;
mod kinds;
mod kubeconfig;
mod logs;
mod manifest;
mod master;
mod objects;
mod output;
mod pidfile;
mod run_state;
mod send;
mod steer;
mod transcript;
mod up;
mod version;
mod wait;

use std::ffi::OsString;
use std::io::Write as _;
use std::path::PathBuf;

use clap::{Args, CommandFactory as _, Parser, Subcommand};

use crate::client::{Connection, Target};
use crate::config;
use crate::exit::{Failure, Kind, Result};

/// A control plane for teams of coding agents.
///
/// Agents are written in .p files and applied to a master, which keeps them at work. Begin with
/// `gcluster up -f examples/team.p`.
#[derive(Debug, Parser)]
#[command(name = "gcluster", version, max_term_width = 100, propagate_version = false)]
struct Cli {
    #[command(flatten)]
    globals: Globals,
    #[command(subcommand)]
    command: Command,
}

/// Options that every verb takes, before or after it.
#[derive(Args, Clone, Debug)]
pub(crate) struct Globals {
    /// Address of the master, such as https://127.0.0.1:43252
    #[arg(long, global = true, value_name = "URL", help_heading = "Connection")]
    pub(crate) server: Option<String>,
    /// Kubeconfig to use [default: the one in the data directory]
    #[arg(long, global = true, value_name = "FILE", env = "GCLUSTER_KUBECONFIG", hide_env_values = true)]
    #[arg(help_heading = "Connection", value_hint = clap::ValueHint::FilePath)]
    pub(crate) kubeconfig: Option<PathBuf>,
    /// Bearer token instead of the kubeconfig's
    #[arg(long, global = true, value_name = "TOKEN", help_heading = "Connection")]
    pub(crate) token: Option<String>,
    /// Directory of the master's state [default: $XDG_STATE_HOME/gcluster or ~/.local/state/gcluster]
    #[arg(long, global = true, value_name = "DIR", env = "GCLUSTER_DATA_DIR", hide_env_values = true)]
    #[arg(help_heading = "Connection", value_hint = clap::ValueHint::DirPath)]
    pub(crate) data_dir: Option<PathBuf>,
    /// Namespace to work in [default: the kubeconfig's, else `default`]
    #[arg(short, long, global = true, value_name = "NAMESPACE", help_heading = "Connection")]
    pub(crate) namespace: Option<String>,
}

impl Globals {
    /// The data directory, absolute.
    pub(crate) fn data_dir(&self) -> Result<PathBuf> {
        config::data_dir(self.data_dir.as_deref())
    }

    /// The kubeconfig in use.
    pub(crate) fn kubeconfig(&self) -> Result<PathBuf> {
        match &self.kubeconfig {
            Some(path) => Ok(path.clone()),
            None => Ok(config::kubeconfig_in(&self.data_dir()?)),
        }
    }

    /// Which master is meant.
    pub(crate) fn target(&self) -> Result<Target> {
        Ok(Target {
            server: self.server.clone(),
            kubeconfig: self.kubeconfig()?,
            kubeconfig_named: self.kubeconfig.is_some(),
            token: self.token.clone(),
        })
    }

    /// A connection to it.
    pub(crate) async fn connect(&self) -> Result<Connection> {
        let mut connection = Connection::open(&self.target()?).await?;
        if let Some(namespace) = &self.namespace {
            connection.namespace.clone_from(namespace);
        }
        Ok(connection)
    }
}

#[derive(Debug, Subcommand)]
enum Command {
    Up(up::UpArgs),
    Steer(steer::SteerArgs),
    Down(down::DownArgs),
    Master(master::MasterArgs),
    Apply(apply::ApplyArgs),
    Diff(diff::DiffArgs),
    Get(get::GetArgs),
    Describe(describe::DescribeArgs),
    Logs(logs::LogsArgs),
    Events(events::EventsArgs),
    Send(send::SendArgs),
    Wait(wait::WaitArgs),
    Edit(edit::EditArgs),
    Delete(delete::DeleteArgs),
    Start(run_state::StartArgs),
    Pause(run_state::PauseArgs),
    Stop(run_state::StopArgs),
    Restart(run_state::RestartArgs),
    Eval(eval::EvalArgs),
    Kubeconfig(kubeconfig::KubeconfigArgs),
    Crds(crds::CrdsArgs),
    Completion(completion::CompletionArgs),
    Version(version::VersionArgs),
}

/// Parses the command line and does what it says. Help and version texts count as done.
pub fn main(args: impl IntoIterator<Item = OsString>) -> Result {
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(error) => return refuse(&error),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::failed(format!("cannot start the asynchronous runtime: {error}")))?;
    let done = runtime.block_on(run(cli.globals, cli.command));
    // A reader of standard input or a file that is still blocked must not hold the end back.
    runtime.shutdown_background();
    done
}

/// Prints what clap has to say, in its colours on a terminal. A usage error exits with 2.
fn refuse(error: &clap::Error) -> Result {
    let _ = error.print();
    if error.use_stderr() { Err(Failure::new(Kind::Usage, "")) } else { Ok(std::io::stdout().flush()?) }
}

async fn run(globals: Globals, command: Command) -> Result {
    match command {
        Command::Up(args) => up::run(&globals, args).await,
        Command::Steer(args) => steer::run(&globals, args).await,
        Command::Down(args) => down::run(&globals, args).await,
        Command::Master(args) => master::run(&globals, args).await,
        Command::Apply(args) => apply::run(&globals, args).await,
        Command::Diff(args) => diff::run(&globals, args).await,
        Command::Get(args) => get::run(&globals, args).await,
        Command::Describe(args) => describe::run(&globals, args).await,
        Command::Logs(args) => logs::run(&globals, args).await,
        Command::Events(args) => events::run(&globals, args).await,
        Command::Send(args) => send::run(&globals, args).await,
        Command::Wait(args) => wait::run(&globals, args).await,
        Command::Edit(args) => edit::run(&globals, args).await,
        Command::Delete(args) => delete::run(&globals, args).await,
        Command::Start(args) => run_state::start(&globals, args).await,
        Command::Pause(args) => run_state::pause(&globals, args).await,
        Command::Stop(args) => run_state::stop(&globals, args).await,
        Command::Restart(args) => run_state::restart(&globals, args).await,
        Command::Eval(args) => eval::run(&globals, &args),
        Command::Kubeconfig(args) => kubeconfig::run(&globals, &args),
        Command::Crds(args) => crds::run(&args),
        Command::Completion(args) => completion::run(&args, &mut Cli::command()),
        Command::Version(args) => version::run(&globals, args).await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_tree_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_overview_lists_every_verb_with_one_line() {
        let help = Cli::command().term_width(100).render_help().to_string();
        crate::testing::snapshot("help", &help);
    }

    #[test]
    fn every_verb_explains_each_of_its_arguments() {
        for verb in Cli::command().get_subcommands() {
            assert!(verb.get_about().is_some(), "{}", verb.get_name());
            for argument in verb.get_arguments() {
                assert!(argument.get_help().is_some(), "{} {}", verb.get_name(), argument.get_id());
            }
        }
    }

    #[test]
    fn global_options_stand_before_or_after_the_verb() {
        for line in [["gcluster", "-n", "x", "get", "ag"], ["gcluster", "get", "ag", "-n", "x"]] {
            assert_eq!(Cli::try_parse_from(line).unwrap().globals.namespace.as_deref(), Some("x"));
        }
    }
}
