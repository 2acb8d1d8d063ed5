//! `gcluster completion`: a script that completes verbs and options in a shell.

use clap::Args;
use clap_complete::Shell;

use super::output::print;
use crate::exit::Result;

/// Print a completion script: `source <(gcluster completion bash)`
#[derive(Args, Debug)]
pub(crate) struct CompletionArgs {
    /// The shell
    #[arg(value_enum, value_name = "SHELL")]
    shell: Shell,
}

/// Does `gcluster completion`.
pub(crate) fn run(args: &CompletionArgs, command: &mut clap::Command) -> Result {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, command, "gcluster", &mut script);
    print(&String::from_utf8_lossy(&script))
}
