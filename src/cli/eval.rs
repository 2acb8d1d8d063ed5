//! `gcluster eval`: what a `.p` file means, as canonical S-expressions with ids.

use std::path::PathBuf;

use clap::Args;

use super::output::{note, print};
use super::{Globals, compile, manifest};
use crate::exit::{Failure, Kind, Result};

/// Print the canonical S-expressions of a .p file with their ids; needs no master
#[derive(Args, Debug)]
pub(crate) struct EvalArgs {
    /// A .p file, or - for standard input
    #[arg(value_name = "FILE", value_hint = clap::ValueHint::AnyPath)]
    file: PathBuf,
    /// Only this method or agent
    #[arg(value_name = "NAME")]
    name: Option<String>,
}

/// Does `gcluster eval`.
pub(crate) fn run(_: &Globals, args: &EvalArgs) -> Result {
    let source = manifest::read_bytes(&args.file)?;
    let compiled = compile::compile(&args.file, &source);
    let (errors, warnings) = compiled.problems_for_eval();
    for diagnostic in warnings.iter().chain(&errors) {
        note(&diagnostic.to_string());
    }
    // The forms are printed all the same: a look at them helps to mend the file.
    let text = match &args.name {
        None => gcluster_lang::eval_program(&compiled),
        Some(name) => gcluster_lang::eval_one(&compiled, name).ok_or_else(|| {
            Failure::new(
                Kind::NotFound,
                format!("{} defines no method or agent {name:?}", args.file.display()),
            )
            .hint(format!("`gcluster eval {}` prints all that it defines", args.file.display()))
        })?,
    };
    print(&format!("{}\n", text.trim_end_matches('\n')))?;
    if errors.is_empty() { Ok(()) } else { Err(Failure::reported()) }
}
