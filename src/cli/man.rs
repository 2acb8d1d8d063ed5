//! `gcluster man`: manual pages of every verb, for packages.

use std::path::PathBuf;

use clap::{Args, CommandFactory as _};

use super::output::print;
use crate::exit::{Failure, Result};

/// Write manual pages into a directory: gcluster.1 and one of each verb
#[derive(Args, Debug)]
pub(crate) struct ManArgs {
    /// The directory; it is made if it is not there
    #[arg(value_name = "DIR", value_hint = clap::ValueHint::DirPath)]
    directory: PathBuf,
}

/// Does `gcluster man`. The same program writes the same bytes.
pub(crate) fn run(args: &ManArgs) -> Result {
    let cannot = |error: std::io::Error| {
        Failure::failed(format!("cannot write manual pages into {}: {error}", args.directory.display()))
    };
    std::fs::create_dir_all(&args.directory).map_err(cannot)?;
    clap_mangen::generate_to(super::Cli::command(), &args.directory).map_err(cannot)?;
    let pages = std::fs::read_dir(&args.directory).map_err(cannot)?.count();
    print(&format!("{pages} manual pages in {}\n", args.directory.display()))
}
