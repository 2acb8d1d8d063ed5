//! The `command` backend: any program. The prompt on its standard input, its standard output is the answer.
//!
//! `spec.backend.args` is the program and its arguments: `["./agent.sh", "--fast"]`. Exit status 0 is success.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::path::Path;

use futures::FutureExt;
use futures::future::BoxFuture;
use gcluster_types::transcript::Entry;

use super::drive::{Dialect, Exit, Step, drive, take_over};
use super::evidence::{Evidence, of_text};
use super::process::{Input, Program, find_program, spawn};
use super::recorded::Recorded;
use super::spool::Line;
use super::{
    Adoption, Backend, Capabilities, Finished, Launch, Outcome, RetryClass, Running, StartError, Unavailable,
    describe_exit,
};

/// Longest output that is kept as a whole.
const OUTPUT_LIMIT: usize = 64 << 20;
/// Text records are cut at the first line end behind this many bytes.
const RECORD_SIZE: usize = 16 << 10;

/// Runs any program.
#[derive(Debug, Default)]
pub struct CommandBackend;

impl Backend for CommandBackend {
    fn name(&self) -> &'static str {
        "command"
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities { process: true, ..Capabilities::default() }
    }

    fn check(&self) -> Result<(), Unavailable> {
        // Which program it is only the launch knows.
        Ok(())
    }

    fn evidence(&self, run_dir: &Path) -> Option<Evidence> {
        of_text(run_dir)
    }

    fn adopt(&self, adoption: Adoption) -> Option<Result<Running, StartError>> {
        let name = adoption.args.first().cloned().unwrap_or_else(|| "the program".to_owned());
        let (texts, rest): (Vec<Entry>, Vec<Entry>) =
            adoption.recorded.iter().cloned().partition(|entry| matches!(entry, Entry::Text { .. }));
        let dialect = Plain { recorded: texts.into(), ..Plain::new(name) };
        Some(take_over(&adoption, Box::new(dialect), Recorded::new(rest)))
    }

    fn start(&self, launch: Launch) -> BoxFuture<'static, Result<Running, StartError>> {
        async move {
            let Some((name, args)) = launch.args.split_first() else {
                return Err(StartError::Invalid(
                    "the backend `command` needs the program in spec.backend.args, such as [\"./agent.sh\"]"
                        .to_owned(),
                ));
            };
            let path =
                find_program(OsStr::new(name), Some(&launch.working_directory)).ok_or_else(|| Unavailable {
                    reason: "ProgramNotFound",
                    message: format!("there is no program {name:?}"),
                    hint: "install it or correct the first of spec.backend.args".to_owned(),
                });
            // A missing directory explains a missing program, and is the better thing to say.
            let missing = !launch.working_directory.is_dir();
            let path = if missing { path.unwrap_or_default() } else { path? };
            let model = launch.model.iter().map(|model| ("GCLUSTER_MODEL".to_owned(), model.clone()));
            let program = Program {
                path,
                args: args.iter().map(OsString::from).collect(),
                env: model.collect(),
                input: Input::Text(launch.prompt.clone()),
            };
            let process = spawn(&launch, program).await?;
            drive(&launch, process, Box::new(Plain::new(name.clone())))
        }
        .boxed()
    }
}

/// Plain text.
struct Plain {
    name: String,
    output: String,
    record: String,
    dropped: bool,
    /// Texts that are on record and were not read again yet. Where a text was cut depended on time.
    recorded: VecDeque<Entry>,
}

impl Plain {
    fn new(name: String) -> Plain {
        Plain {
            name,
            output: String::new(),
            record: String::new(),
            dropped: false,
            recorded: VecDeque::new(),
        }
    }

    fn flush(&mut self, step: &mut Step) {
        if !self.recorded.is_empty() {
            // The rest of a text that is on record follows.
            return;
        }
        let text = std::mem::take(&mut self.record);
        let text = text.trim_end_matches('\n');
        if !text.trim().is_empty() {
            step.record(Entry::Text { text: text.to_owned() });
        }
    }
}

impl Dialect for Plain {
    fn line(&mut self, line: Line, step: &mut Step) {
        let bytes = match line {
            Line::Whole(bytes) => bytes,
            Line::TooLong(length) => {
                step.notice(format!("a line of {length} bytes is too long and was skipped"));
                return;
            }
        };
        let text = String::from_utf8_lossy(&bytes);
        if self.output.len() + text.len() <= OUTPUT_LIMIT {
            self.output.push_str(&text);
            self.output.push('\n');
        } else if !self.dropped {
            self.dropped = true;
            step.notice(format!(
                "the output is longer than {} MiB; the rest is dropped from it",
                OUTPUT_LIMIT >> 20
            ));
        }
        self.record.push_str(&text);
        self.record.push('\n');
        if let Some(Entry::Text { text }) = self.recorded.front() {
            if self.record.trim() == text.trim() {
                self.recorded.pop_front();
                self.record.clear();
            }
        } else if self.record.len() >= RECORD_SIZE {
            self.flush(step);
        }
    }

    fn pause(&mut self, step: &mut Step) {
        self.flush(step);
    }

    fn finish(&mut self, exit: &Exit, step: &mut Step) -> Finished {
        self.flush(step);
        let outcome = if exit.status.is_some_and(|status| status.success()) {
            self.output.truncate(self.output.trim_end_matches('\n').len());
            Outcome::Succeeded { output: std::mem::take(&mut self.output) }
        } else if exit.stopped {
            Outcome::Interrupted { reason: "it was stopped".to_owned() }
        } else if exit.status.is_none() {
            Outcome::Interrupted {
                reason: "the program ended while no master watched it, and left no exit status".to_owned(),
            }
        } else {
            Outcome::Failed {
                reason: "CommandFailed".to_owned(),
                error: describe_exit(&self.name, exit),
                retry: RetryClass::Transient,
            }
        };
        Finished { outcome, turns: 0, tool_uses: 0, model: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn texts(events: Vec<crate::backend::BackendEvent>) -> Vec<Entry> {
        let entries = events.into_iter().map(|event| match event {
            crate::backend::BackendEvent::Record(entry) => entry,
            other => panic!("{other:?}"),
        });
        entries.collect()
    }

    fn feed(plain: &mut Plain, lines: &[(String, bool)], step: &mut Step) {
        for (line, pause) in lines {
            plain.line(Line::Whole(line.clone().into_bytes()), step);
            if *pause {
                plain.pause(step);
            }
        }
    }

    proptest! {
        #[test]
        fn output_that_is_read_again_goes_on_behind_what_is_on_record(
            lines in proptest::collection::vec(("[ab ]{0,2}", any::<bool>()), 0..20),
            pauses in proptest::collection::vec(any::<bool>(), 20),
            cut in 0..21_usize,
        ) {
            let exit = Exit { status: recorded(0), stderr: String::new(), stopped: false };
            let (mut first, mut step) = (Plain::new("x".into()), Step::default());
            feed(&mut first, &lines, &mut step);
            let finished = first.finish(&exit, &mut step);
            let whole = texts(step.events);
            let cut = cut.min(whole.len());
            // The second one sees the output in other pieces.
            let again: Vec<_> = lines.iter().zip(pauses).map(|((line, _), pause)| (line.clone(), pause)).collect();
            let (mut second, mut step) = (Plain::new("x".into()), Step::default());
            second.recorded = whole[..cut].iter().cloned().collect();
            feed(&mut second, &again, &mut step);
            prop_assert_eq!(second.finish(&exit, &mut step), finished);
            let words = |entries: &[Entry]| -> Vec<String> {
                let texts = entries.iter().filter_map(|entry| match entry {
                    Entry::Text { text } => Some(text.clone()),
                    _ => None,
                });
                texts.collect::<Vec<_>>().join("\n").lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned).collect()
            };
            let both: Vec<Entry> = whole[..cut].iter().cloned().chain(texts(step.events)).collect();
            prop_assert_eq!(words(&both), words(&whole));
        }
    }

    fn recorded(code: i32) -> Option<std::process::ExitStatus> {
        use std::os::unix::process::ExitStatusExt;
        Some(std::process::ExitStatus::from_raw(code << 8))
    }
}
