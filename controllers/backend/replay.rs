//! Plays what a program wrote through its dialect, whole and in pieces, and tells it as text.

use std::fmt::Write as _;
use std::io::Write as _;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;

use gcluster_types::kinds::agent::TokenTotals;
use serde_json::Value;

use super::drive::{Dialect, Exit, Step};
use super::spool::{Line, Spool};
use super::{BackendEvent, Finished, Outcome};

/// What one run of a program wrote, and how it ended.
pub(super) struct Case {
    pub(super) name: String,
    pub(super) args: Vec<String>,
    pub(super) model: Option<String>,
    pub(super) stdout: Vec<u8>,
    pub(super) exit: Exit,
}

/// The recordings of a program, by name.
pub(super) fn cases(program: &str) -> Vec<Case> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/data/backend").join(program);
    let index: Value = serde_json::from_slice(&std::fs::read(dir.join("index.json")).unwrap()).unwrap();
    let mut cases: Vec<Case> = Vec::new();
    for (name, about) in index.as_object().unwrap() {
        let mut exit = exited(i32::try_from(about["exit_code"].as_i64().unwrap()).unwrap());
        exit.stderr = about["stderr"].as_str().unwrap_or_default().to_owned();
        exit.stopped = about["stopped"] == true;
        let args = about["args"].as_array().into_iter().flatten().map(|arg| arg.as_str().unwrap().to_owned());
        let stdout = std::fs::read(dir.join(format!("{name}.ndjson"))).unwrap();
        let model = about["model"].as_str().map(str::to_owned);
        cases.push(Case { name: name.clone(), args: args.collect(), model, stdout, exit });
    }
    assert!(cases.len() > 3, "{program} has recordings");
    cases
}

/// The end of a program by itself.
pub(super) fn exited(code: i32) -> Exit {
    Exit { status: Some(ExitStatus::from_raw(code << 8)), stderr: String::new(), stopped: false }
}

/// Everything that a dialect makes of an output.
pub(super) fn replay(mut dialect: impl Dialect, stdout: &[u8], exit: &Exit) -> (Step, Finished) {
    let mut step = Step::default();
    for line in stdout.split(|byte| *byte == b'\n') {
        dialect.line(Line::Whole(line.to_vec()), &mut step);
    }
    let finished = dialect.finish(exit, &mut step);
    (step, finished)
}

/// The same, of an output that comes in pieces of these sizes, read by the reader of real runs.
pub(super) fn replay_pieces(
    mut dialect: impl Dialect,
    stdout: &[u8],
    sizes: &[usize],
    exit: &Exit,
) -> (Step, Finished) {
    let dir = tempfile::tempdir().unwrap();
    let path: PathBuf = dir.path().join("stdout");
    let mut file = std::fs::File::create(&path).unwrap();
    let mut spool = Spool::open(&path).unwrap();
    let mut step = Step::default();
    let (mut rest, mut sizes) = (stdout, sizes.iter().cycle());
    while !rest.is_empty() {
        let size = sizes.next().copied().unwrap_or(rest.len()).clamp(1, rest.len());
        let (piece, left) = rest.split_at(size);
        file.write_all(piece).unwrap();
        while let Some(line) = spool.next_line().unwrap() {
            dialect.line(line, &mut step);
        }
        dialect.pause(&mut step);
        rest = left;
    }
    if let Some(line) = spool.last_line() {
        dialect.line(line, &mut step);
    }
    let finished = dialect.finish(exit, &mut step);
    (step, finished)
}

/// How a run ended, in one line.
pub(super) fn verdict(finished: &Finished) -> String {
    match &finished.outcome {
        Outcome::Succeeded { output } => format!("ok {output}"),
        Outcome::Failed { reason, retry, error } => format!("{reason} {retry:?}: {error}"),
        Outcome::Throttled { until, message } => {
            format!("throttled until {}: {message}", until.map_or("?".to_owned(), |until| until.to_string()))
        }
        Outcome::Interrupted { reason } => format!("interrupted: {reason}"),
    }
}

/// A run as text: one line for each event, each answer to the program, and the end.
pub(super) fn story(step: &Step, finished: &Finished) -> String {
    let mut text = String::new();
    for event in &step.events {
        match event {
            BackendEvent::Record(entry) => writeln!(text, "{}", serde_json::to_string(entry).unwrap()),
            other => writeln!(text, "{other:?}"),
        }
        .unwrap();
    }
    for line in &step.input {
        writeln!(text, "input {line}").unwrap();
    }
    let Finished { turns, tool_uses, model, .. } = finished;
    writeln!(text, "{}", verdict(finished)).unwrap();
    writeln!(text, "turns {turns}, tools {tool_uses}, model {}", model.as_deref().unwrap_or("?")).unwrap();
    text
}

/// The sum of what was used, and of what it cost where all has a price.
pub(super) fn usage(step: &Step) -> (TokenTotals, Option<f64>) {
    let mut sum = (TokenTotals::default(), Some(0.0));
    for event in &step.events {
        if let BackendEvent::Usage { tokens, cost_usd } = event {
            sum.0.add(tokens);
            sum.1 = sum.1.zip(*cost_usd).map(|(a, b)| a + b);
        }
    }
    sum
}

/// Compares the stories of all cases with the reviewed file `snapshots/backend/NAME.snap`.
pub(super) fn snapshot(name: &str, stories: &[(String, String)]) {
    let mut text = String::new();
    for (case, story) in stories {
        writeln!(text, "== {case}\n{story}").unwrap();
    }
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path(concat!(env!("CARGO_MANIFEST_DIR"), "/../snapshots/backend"));
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| insta::assert_snapshot!(name, text));
}
