//! `gcluster down`: stops the master of a data directory as Ctrl-C would.

use std::time::Duration;

use clap::Args;

use super::Globals;
use super::objects::parse_timeout;
use super::output::print;
use super::pidfile::PidFile;
use crate::config::Surroundings;
use crate::exit::{Failure, Result};

/// Stop the master that `up` has started: agents end with grace, all state is kept
#[derive(Args, Debug)]
pub(crate) struct DownArgs {
    /// Longest time to wait
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = parse_timeout)]
    timeout: Duration,
}

/// Does `gcluster down`. That none runs is no failure.
pub(crate) async fn run(globals: &Globals, args: DownArgs) -> Result {
    let around = Surroundings::read();
    if let (Some(agent), None, None) = (&around.agent, &globals.data_dir, &around.data_dir) {
        return Err(Failure::failed(format!(
            "this is the agent {agent:?}: it may not stop the master that runs it"
        ))
        .hint("a master of your own is named by its directory: `gcluster down --data-dir DIR`"));
    }
    let data_dir = globals.data_dir()?;
    let Some(master) = PidFile::running(&data_dir) else {
        return print(&format!("no master is running on {}\n", data_dir.display()));
    };
    master.interrupt(args.timeout).await?;
    print(&format!("master at {} stopped\n", master.address))
}
