//! `gcluster version`: of this program and of the master.

use clap::Args;

use super::Globals;
use super::objects::text;
use super::output::{note, print};
use crate::client::JSON;
use crate::exit::{Kind, Result};

/// Print the version of this program and, if it can be reached, of the master
#[derive(Args, Debug)]
pub(crate) struct VersionArgs {
    /// Ask no master
    #[arg(long)]
    client: bool,
}

/// Version of this build, with the commit where the build knew it.
pub(crate) fn own() -> String {
    match option_env!("GCLUSTER_BUILD_COMMIT") {
        Some(commit) => format!("{} ({commit})", env!("CARGO_PKG_VERSION")),
        None => env!("CARGO_PKG_VERSION").to_owned(),
    }
}

/// Does `gcluster version`. A master that is not there is no failure.
pub(crate) async fn run(globals: &Globals, args: VersionArgs) -> Result {
    print(&format!("gcluster {}\n", own()))?;
    if args.client {
        return Ok(());
    }
    let answer = match globals.connect().await {
        Ok(connection) => connection.get("/version", JSON).await.map(|v| (connection.address.clone(), v)),
        Err(failure) => Err(failure),
    };
    match answer {
        Ok((address, version)) => {
            // The API names the Kubernetes version that it keeps to first: `v1.33.0+gcluster-0.1.0`.
            let full = text(&version, "/gitVersion");
            let own = full.split_once("+gcluster-").map_or(full, |(_, own)| own);
            print(&format!("master {own} at {address}\n"))
        }
        Err(failure) if failure.kind == Kind::Unreachable => {
            note("master not running");
            Ok(())
        }
        Err(failure) => Err(failure),
    }
}
