//! `gcluster report`: what came out of the tickets, how long they took and what they cost.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use gcluster_types::tickets::record::{HEADER, Record, read};
use k8s_openapi::jiff::{SignedDuration, Timestamp};

use super::Globals;
use super::objects::parse_timeout;
use super::output::{Format, note, print, unsupported};
use crate::exit::{Failure, Result};
use crate::render::report::Report;

/// The notebook that plots the same rows.
const NOTEBOOK: &str = include_str!("../../metrics/analysis.ipynb");

/// Report on the tickets that came to their end: throughput, time in each state, cost, failures
#[derive(Args, Debug)]
pub(crate) struct ReportArgs {
    /// Only of this time, such as 24h; without it all of them
    #[arg(long, value_name = "TIME", value_parser = parse_timeout)]
    since: Option<Duration>,
    /// Of all namespaces
    #[arg(short = 'A', long)]
    all_namespaces: bool,
    /// Form of the output: json
    #[arg(short, long, value_name = "FORM")]
    output: Option<Format>,
    /// Read this copy of metrics/tickets.csv instead of asking the master
    #[arg(long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    file: Option<PathBuf>,
    /// Write the rows and a notebook that plots them into this directory: tickets.csv, analysis.ipynb
    #[arg(long, value_name = "DIR", value_hint = clap::ValueHint::DirPath)]
    notebook: Option<PathBuf>,
}

/// Does `gcluster report`.
pub(crate) async fn run(globals: &Globals, args: ReportArgs) -> Result {
    let (text, namespace) = match &args.file {
        Some(file) => {
            let text = std::fs::read_to_string(file)
                .map_err(|error| Failure::failed(format!("cannot read {}: {error}", file.display())))?;
            (text, globals.namespace.clone())
        }
        None => {
            let connection = globals.connect().await?;
            (fetch(&connection).await?, Some(connection.namespace.clone()))
        }
    };
    let whose = args.file.as_ref().map_or("the master's rows".to_owned(), |file| file.display().to_string());
    let mut records: Vec<Record> = match text.is_empty() {
        true => Vec::new(),
        false => read(&text)
            .map_err(|why| Failure::failed(format!("{whose} is no file of metrics of tickets: {why}")))?,
    };
    if let Some(directory) = &args.notebook {
        return notebook(directory, &records);
    }
    if let Some(namespace) = namespace.filter(|_| !args.all_namespaces) {
        records.retain(|record| record.namespace == namespace);
    }
    let now = Timestamp::now();
    let since = args.since.and_then(|since| SignedDuration::try_from(since).ok());
    let report = Report::of(&records, since.and_then(|since| now.checked_sub(since).ok()), now);
    match args.output {
        Some(Format::Json) => {
            let json = serde_json::to_string_pretty(&report)
                .map_err(|error| Failure::failed(format!("cannot write the report: {error}")))?;
            print(&format!("{json}\n"))
        }
        Some(_) => Err(unsupported("report", "json")),
        None if report.results.is_empty() => {
            note("No ticket came to its end in that time; `gcluster ticket list` shows those that are open.");
            Ok(())
        }
        None => print(&report.text()),
    }
}

async fn fetch(connection: &crate::client::Connection) -> Result<String> {
    let cut =
        |error: std::io::Error| Failure::failed(format!("the rows of tickets came only in part: {error}"));
    let mut lines = connection.lines("/metrics/tickets.csv", "text/csv").await?;
    let mut text = String::new();
    while let Some(line) = lines.next().await.map_err(cut)? {
        text.push_str(&line);
        text.push('\n');
    }
    Ok(text)
}

fn notebook(directory: &std::path::Path, records: &[Record]) -> Result {
    let failed = |what: &std::path::Path, error: std::io::Error| {
        Failure::failed(format!("cannot write {}: {error}", what.display()))
    };
    std::fs::create_dir_all(directory).map_err(|error| failed(directory, error))?;
    let rows: String = records.iter().map(Record::line).collect();
    for (name, text) in
        [("tickets.csv", format!("{HEADER}\r\n{rows}")), ("analysis.ipynb", NOTEBOOK.to_owned())]
    {
        let path = directory.join(name);
        std::fs::write(&path, text).map_err(|error| failed(&path, error))?;
    }
    print(&format!("{} tickets written to {}\n", records.len(), directory.join("tickets.csv").display()))?;
    note(&format!("`jupyter lab {}` plots them", directory.join("analysis.ipynb").display()));
    Ok(())
}
