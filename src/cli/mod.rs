//! The command line: one file per verb, each with its arguments first and then the function that does it.

mod apply;
mod check_log;
pub(crate) mod compile;
mod complete;
mod completion;
mod conflict;
mod crds;
mod decide;
mod delete;
mod describe;
mod diff;
mod doctor;
mod down;
mod edit;
mod eval;
mod events;
mod get;
mod init;
mod install_service;
mod kinds;
mod kubeconfig;
mod locks;
mod logs;
mod man;
mod manifest;
mod master;
mod objects;
mod output;
mod pidfile;
mod plain_tickets;
mod replace;
mod report;
mod repository_path;
mod rollout;
mod run_state;
mod saves;
mod send;
mod steer;
mod sync;
mod ticket;
mod ticket_diff;
mod top;
mod transcript;
mod undelete;
mod up;
mod validate;
mod version;
mod wait;

use std::ffi::OsString;
use std::io::Write as _;
use std::path::PathBuf;

use clap::{Args, CommandFactory as _, Parser, Subcommand};

use crate::client::{Connection, Given, Target};
use crate::config::{self, Surroundings};
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
    /// Address of the master, such as https://127.0.0.1:43252 [env: GCLUSTER_SERVER]
    #[arg(long, global = true, value_name = "URL", help_heading = "Connection")]
    pub(crate) server: Option<String>,
    /// Kubeconfig to use [default: the one in the data directory] [env: GCLUSTER_KUBECONFIG]
    #[arg(long, global = true, value_name = "FILE", help_heading = "Connection")]
    #[arg(value_hint = clap::ValueHint::FilePath)]
    pub(crate) kubeconfig: Option<PathBuf>,
    /// Bearer token instead of the kubeconfig's [env: GCLUSTER_TOKEN, with GCLUSTER_SERVER]
    #[arg(long, global = true, value_name = "TOKEN", help_heading = "Connection")]
    pub(crate) token: Option<String>,
    /// Directory of the master's state [default: $XDG_STATE_HOME/gcluster or ~/.local/state/gcluster] [env: GCLUSTER_DATA_DIR]
    #[arg(long, global = true, value_name = "DIR", help_heading = "Connection")]
    #[arg(value_hint = clap::ValueHint::DirPath)]
    pub(crate) data_dir: Option<PathBuf>,
    /// Namespace to work in [default: the kubeconfig's, else `default`] [env: GCLUSTER_NAMESPACE]
    #[arg(short, long, global = true, value_name = "NAMESPACE", help_heading = "Connection")]
    #[arg(add = complete::namespaces())]
    pub(crate) namespace: Option<String>,
}

impl Globals {
    /// The data directory, absolute.
    pub(crate) fn data_dir(&self) -> Result<PathBuf> {
        self.data_dir_in(&Surroundings::read())
    }

    fn data_dir_in(&self, around: &Surroundings) -> Result<PathBuf> {
        config::data_dir(self.data_dir.as_deref().or(around.data_dir.as_deref()))
    }

    /// Which master is meant.
    pub(crate) fn target(&self) -> Result<Target> {
        self.target_in(&Surroundings::read())
    }

    /// The command line decides; then a server that the environment names, with its token and its authority; then
    /// the kubeconfigs.
    fn target_in(&self, around: &Surroundings) -> Result<Target> {
        let by_option = self.kubeconfig.is_some() || self.data_dir.is_some();
        let server = around.server.clone().filter(|_| !by_option);
        let given = server.map(|server| Given { server, token: around.token.clone(), ca: around.ca.clone() });
        let in_environment = around.kubeconfig.clone().filter(|_| !by_option);
        let named = self.kubeconfig.clone().or(in_environment);
        Ok(Target {
            server: self.server.clone(),
            kubeconfig_named: named.is_some(),
            kubeconfig: match (named, &given) {
                (Some(path), _) => path,
                // Not looked at, so that no home is needed.
                (None, Some(_)) => PathBuf::new(),
                (None, None) => config::kubeconfig_in(&self.data_dir_in(around)?),
            },
            token: self.token.clone(),
            given,
        })
    }

    /// A connection to it.
    pub(crate) async fn connect(&self) -> Result<Connection> {
        let mut connection = Connection::open(&self.target()?).await?;
        if let Some(namespace) = self.namespace.clone().or(Surroundings::read().namespace) {
            connection.namespace = namespace;
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
    Top(top::TopArgs),
    Report(report::ReportArgs),
    Events(events::EventsArgs),
    Send(send::SendArgs),
    Wait(wait::WaitArgs),
    Edit(edit::EditArgs),
    Delete(delete::DeleteArgs),
    Start(run_state::StartArgs),
    Pause(run_state::PauseArgs),
    Stop(run_state::StopArgs),
    Restart(run_state::RestartArgs),
    Rollout(rollout::RolloutArgs),
    Init(init::InitArgs),
    Sync(sync::SyncArgs),
    Ticket(ticket::TicketArgs),
    Approve(decide::ApproveArgs),
    Locks(locks::LocksArgs),
    Undelete(undelete::UndeleteArgs),
    Validate(validate::ValidateArgs),
    Eval(eval::EvalArgs),
    Doctor(doctor::DoctorArgs),
    Kubeconfig(kubeconfig::KubeconfigArgs),
    Crds(crds::CrdsArgs),
    Completion(completion::CompletionArgs),
    InstallService(install_service::InstallServiceArgs),
    #[command(hide = true)]
    Man(man::ManArgs),
    Version(version::VersionArgs),
}

/// Parses the command line and does what it says. Help and version texts count as done.
pub fn main(args: impl IntoIterator<Item = OsString>) -> Result {
    let args: Vec<OsString> = args.into_iter().collect();
    // The shell asks what may come next; the words are not a command then.
    let completes = clap_complete::CompleteEnv::with_factory(Cli::command);
    match completes.try_complete(args.clone(), std::env::current_dir().ok().as_deref()) {
        Ok(false) => {}
        Ok(true) => return Ok(()),
        Err(error) => return refuse(&error),
    }
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
        Command::Top(args) => top::run(&globals, args).await,
        Command::Report(args) => report::run(&globals, args).await,
        Command::Events(args) => events::run(&globals, args).await,
        Command::Send(args) => send::run(&globals, args).await,
        Command::Wait(args) => wait::run(&globals, args).await,
        Command::Edit(args) => edit::run(&globals, args).await,
        Command::Delete(args) => delete::run(&globals, args).await,
        Command::Start(args) => run_state::start(&globals, args).await,
        Command::Pause(args) => run_state::pause(&globals, args).await,
        Command::Stop(args) => run_state::stop(&globals, args).await,
        Command::Restart(args) => run_state::restart(&globals, args).await,
        Command::Rollout(args) => rollout::run(&globals, args).await,
        Command::Init(args) => init::run(&globals, args).await,
        Command::Sync(args) => sync::run(&globals, args).await,
        Command::Ticket(args) => ticket::run(&globals, args).await,
        Command::Approve(args) => decide::approve(&globals, args).await,
        Command::Locks(args) => locks::run(&globals, args).await,
        Command::Undelete(args) => undelete::run(&globals, args).await,
        Command::Validate(args) => validate::run(&globals, &args),
        Command::Eval(args) => eval::run(&globals, &args),
        Command::Doctor(args) => doctor::run(&globals, args).await,
        Command::Kubeconfig(args) => kubeconfig::run(&globals, &args),
        Command::Crds(args) => crds::run(&args),
        Command::Completion(args) => completion::run(&args),
        Command::InstallService(args) => install_service::run(&globals, &args),
        Command::Man(args) => man::run(&args),
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

    /// Server or kubeconfig, and token, that a command line means in an environment.
    fn meant(line: &str, environment: &[(&str, &str)]) -> (String, Option<String>) {
        let cli = Cli::try_parse_from(line.split(' ')).unwrap();
        let around = Surroundings::of(|name| {
            environment.iter().find(|(key, _)| *key == name).map(|(_, value)| OsString::from(value))
        });
        let target = cli.globals.target_in(&around).unwrap();
        match target.given {
            Some(given) => (target.server.unwrap_or(given.server), target.token.or(given.token)),
            None => (target.kubeconfig.display().to_string(), target.token),
        }
    }

    #[test]
    fn options_come_before_the_server_of_the_environment_and_that_before_kubeconfigs() {
        let mut all = vec![
            ("GCLUSTER_SERVER", "https://s"),
            ("GCLUSTER_TOKEN", "t"),
            ("GCLUSTER_KUBECONFIG", "/k"),
            ("GCLUSTER_DATA_DIR", "/d"),
        ];
        let of = |place: &str, token: Option<&str>| (place.to_owned(), token.map(str::to_owned));
        assert_eq!(meant("gcluster get ag", &all), of("https://s", Some("t")));
        assert_eq!(meant("gcluster get ag --token u", &all), of("https://s", Some("u")));
        assert_eq!(meant("gcluster get ag --server https://x", &all), of("https://x", Some("t")));
        assert_eq!(meant("gcluster get ag --kubeconfig /own", &all), of("/own", None), "not with its token");
        assert_eq!(meant("gcluster get ag --data-dir /e", &all), of("/e/kubeconfig", None));
        // A token without its server opens nothing else; what is empty is not there.
        all[0].1 = "";
        assert_eq!(meant("gcluster get ag", &all), of("/k", None));
        all[2].1 = "";
        assert_eq!(meant("gcluster get ag", &all), of("/d/kubeconfig", None));
    }

    #[test]
    fn global_options_stand_before_or_after_the_verb() {
        for line in [["gcluster", "-n", "x", "get", "ag"], ["gcluster", "get", "ag", "-n", "x"]] {
            assert_eq!(Cli::try_parse_from(line).unwrap().globals.namespace.as_deref(), Some("x"));
        }
    }
}
