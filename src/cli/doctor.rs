//! `gcluster doctor`: has this machine what agents need?
//!
//! ```text
//! ok    master     https://127.0.0.1:43252 answers: 0.1.0, as this program
//! warn  disk       1.2 GiB are free in …
//!                  make room: a full disk refuses all writes
//! ```

mod checks;

use clap::Args;

use super::Globals;
use super::output::{color, print_lines};
use crate::exit::{Failure, Result};
use crate::render::{Line, Tone};

/// Check that this machine has what agents need, and say what to do about what it lacks
#[derive(Args, Debug)]
pub(crate) struct DoctorArgs {}

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Grade {
    /// As it should be, or not needed.
    Good,
    /// It works, with something missing.
    Warn,
    /// Agents cannot work like this.
    Bad,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Finding {
    grade: Grade,
    /// What was looked at, in one word.
    what: &'static str,
    /// What was found.
    found: String,
    /// What to do about it.
    advice: Option<String>,
}

impl Finding {
    fn good(what: &'static str, found: impl Into<String>) -> Self {
        Self { grade: Grade::Good, what, found: found.into(), advice: None }
    }

    fn warn(what: &'static str, found: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { grade: Grade::Warn, what, found: found.into(), advice: Some(advice.into()) }
    }

    fn bad(what: &'static str, found: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { grade: Grade::Bad, ..Self::warn(what, found, advice) }
    }

    fn lines(&self) -> Vec<Line> {
        let (tone, word) = match self.grade {
            Grade::Good => (Tone::Good, "ok"),
            Grade::Warn => (Tone::Strong, "warn"),
            Grade::Bad => (Tone::Bad, "fail"),
        };
        let mut lines = vec![
            Line::default()
                .with(tone, format!("{word:<5} "))
                .with(Tone::Plain, format!("{:<10} ", self.what))
                .with(Tone::Plain, &self.found),
        ];
        if let Some(advice) = &self.advice {
            lines.push(Line::new(Tone::Dim, format!("{:17}{advice}", "")));
        }
        lines
    }
}

/// Does `gcluster doctor`. Only what keeps agents from working is a failure.
pub(crate) async fn run(globals: &Globals, _args: DoctorArgs) -> Result {
    let findings = checks::all(globals).await;
    let lines: Vec<Line> = findings.iter().flat_map(Finding::lines).collect();
    print_lines(&lines, "", color())?;
    match findings.iter().filter(|finding| finding.grade == Grade::Bad).count() {
        0 => Ok(()),
        1 => Err(Failure::failed("one check failed")),
        n => Err(Failure::failed(format!("{n} checks failed"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_finding_is_one_line_with_what_to_do_below_it() {
        let findings = [
            Finding::good("master", "https://127.0.0.1:43252 answers: 0.1.0, as this program"),
            Finding::warn("kubectl", "not in PATH", "it is not needed"),
            Finding::bad("disk", "12 MiB are free", "make room"),
        ];
        let text: Vec<String> = findings.iter().flat_map(Finding::lines).map(|line| line.text()).collect();
        assert_eq!(
            text,
            [
                "ok    master     https://127.0.0.1:43252 answers: 0.1.0, as this program",
                "warn  kubectl    not in PATH",
                "                 it is not needed",
                "fail  disk       12 MiB are free",
                "                 make room",
            ]
        );
    }
}
