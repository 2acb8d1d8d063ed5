//! `gcluster validate`: says what is wrong with files, without a master.

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::Args;
use serde_json::Value;

use super::objects::text;
use super::output::{note, print};
use super::{Globals, manifest, plain_tickets};
use crate::exit::{Failure, Result};

/// Check .p files, manifests and tickets; needs no master and sends nothing
///
/// Every problem is printed with its file, line and field. Exit code 1 when there is one.
#[derive(Args, Debug)]
pub(crate) struct ValidateArgs {
    /// File, directory (its .p, .yaml, .yml and .json files) or - for standard input; may be repeated
    #[arg(short, long = "filename", value_name = "FILE", value_hint = clap::ValueHint::AnyPath)]
    files: Vec<PathBuf>,
    /// The same, without -f
    #[arg(value_name = "FILE", value_hint = clap::ValueHint::AnyPath)]
    paths: Vec<PathBuf>,
}

/// Does `gcluster validate`.
pub(crate) fn run(_: &Globals, args: &ValidateArgs) -> Result {
    let inputs: Vec<PathBuf> = args.files.iter().chain(&args.paths).cloned().collect();
    if inputs.is_empty() {
        return Err(Failure::usage("name what to check, as in `gcluster validate team.p backlog/`"));
    }
    let desired = manifest::load(&inputs)?;
    plain_tickets::check_cycles(&desired, &[])?;
    let names: Vec<&str> = desired.iter().map(|desired| text(&desired.object, "/metadata/name")).collect();
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for desired in &desired {
        *counts.entry(text(&desired.object, "/kind")).or_default() += 1;
        if !plain_tickets::is_ticket(&desired.object) {
            continue;
        }
        for on in
            desired.object["spec"]["dependsOn"].as_array().into_iter().flatten().filter_map(Value::as_str)
        {
            if !names.contains(&on) {
                let name = text(&desired.object, "/metadata/name");
                note(&format!("note: ticket {name} depends on {on}, which is not in these files"));
            }
        }
    }
    let counts: Vec<String> = counts.iter().map(|(kind, count)| format!("{count} {kind}")).collect();
    match counts.is_empty() {
        true => print("nothing in these files\n"),
        false => print(&format!("{}: no problem found\n", counts.join(", "))),
    }
}
