//! `gcluster kubeconfig`: how other tools reach the master.

use clap::Args;

use super::Globals;
use super::output::print;
use crate::exit::{Failure, Result};

/// Print the path of the kubeconfig in use, for kubectl and other Kubernetes tools
#[derive(Args, Debug)]
pub(crate) struct KubeconfigArgs {
    /// Print its content, which holds a secret token, instead of its path
    #[arg(long)]
    raw: bool,
}

/// Does `gcluster kubeconfig`.
pub(crate) fn run(globals: &Globals, args: &KubeconfigArgs) -> Result {
    let target = globals.target()?;
    if target.given.is_some() {
        return Err(Failure::failed("no kubeconfig is in use: GCLUSTER_SERVER names the master")
            .hint("an agent's programs are given GCLUSTER_SERVER, GCLUSTER_TOKEN and GCLUSTER_CA for it"));
    }
    let path = target.kubeconfig;
    let content = std::fs::read_to_string(&path).map_err(|error| {
        Failure::failed(format!("cannot read the kubeconfig {}: {error}", path.display()))
            .hint("a master writes it when it starts: run `gcluster master`")
    })?;
    if args.raw { print(&content) } else { print(&format!("{}\n", path.display())) }
}
