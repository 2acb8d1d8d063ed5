//! `gcluster completion`: a script that lets a shell ask this program what may come next.

use clap::Args;
use clap_complete::Shell;
use clap_complete::env::{Bash, Elvish, EnvCompleter, Fish, Powershell, Zsh};

use super::output::print;
use crate::exit::{Failure, Result};

/// Print a completion script: `source <(gcluster completion bash)`
#[derive(Args, Debug)]
pub(crate) struct CompletionArgs {
    /// The shell
    #[arg(value_enum, value_name = "SHELL")]
    shell: Shell,
}

/// Does `gcluster completion`. The program that the script asks is the one in `PATH`.
pub(crate) fn run(args: &CompletionArgs) -> Result {
    let shell: &dyn EnvCompleter = match args.shell {
        Shell::Bash => &Bash,
        Shell::Elvish => &Elvish,
        Shell::Fish => &Fish,
        Shell::PowerShell => &Powershell,
        Shell::Zsh => &Zsh,
        _ => return Err(Failure::usage("there is no completion for this shell")),
    };
    let mut script = Vec::new();
    shell.write_registration("COMPLETE", "gcluster", "gcluster", "gcluster", &mut script)?;
    print(&String::from_utf8_lossy(&script))
}
