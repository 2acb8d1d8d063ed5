//! What the files of a run say, after its master was killed, about what the agent was given.
//!
//! ```text
//! stdout of `claude` ── {"type":"user","isReplay":true,"uuid":…} ──▶ echoed
//!                    └─ {"type":"assistant",…}                   ──▶ answered
//! ```

use std::collections::HashSet;
use std::io;
use std::path::Path;

use serde_json::Value;

use super::spool::{Line, Spool};

/// What can be told from the files of a run that is over.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Evidence {
    /// The agent answered its prompt: it was given it.
    pub answered: bool,
    /// Ids of the messages that the program confirmed.
    pub echoed: HashSet<String>,
}

/// Of a program that writes plain text: any output is an answer. Without any it cannot be told whether a program
/// that was started had read its prompt.
pub(crate) fn of_text(run_dir: &Path) -> Option<Evidence> {
    match std::fs::metadata(run_dir.join("stdout")) {
        Ok(meta) => (meta.len() > 0).then(|| Evidence { answered: true, ..Evidence::default() }),
        Err(error) => (error.kind() == io::ErrorKind::NotFound).then(Evidence::default),
    }
}

/// Of `claude`, which confirms each message at the moment at which the model is given it.
pub(crate) fn of_claude(run_dir: &Path) -> Option<Evidence> {
    let mut evidence = Evidence::default();
    each_object(run_dir, |event| evidence.take(event))?;
    Some(evidence)
}

/// Of a program that writes JSON lines, some of which show that the model was given the prompt.
pub(crate) fn of_json_lines(run_dir: &Path, is_answer: fn(&Value) -> bool) -> Option<Evidence> {
    let mut evidence = Evidence::default();
    each_object(run_dir, |event| evidence.answered |= is_answer(event))?;
    Some(evidence)
}

/// Reads the JSON lines of a run; nothing when it was never started, `None` when they cannot be read.
fn each_object(run_dir: &Path, mut take: impl FnMut(&Value)) -> Option<()> {
    let mut spool = match Spool::open(&run_dir.join("stdout")) {
        Ok(spool) => spool,
        // The file is made before the program is started.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Some(()),
        Err(_) => return None,
    };
    let mut line = |line: &Line| {
        let Line::Whole(bytes) = line else { return };
        if let Ok(event) = serde_json::from_slice::<Value>(bytes) {
            take(&event);
        }
    };
    while let Some(whole) = spool.next_line().ok()? {
        line(&whole);
    }
    if let Some(last) = spool.last_line() {
        line(&last);
    }
    Some(())
}

impl Evidence {
    fn take(&mut self, event: &Value) {
        match event["type"].as_str() {
            Some("user") if event["isReplay"] == true => {
                self.echoed.extend(event["uuid"].as_str().map(str::to_owned));
            }
            // An error of the API stands in a message of its own making.
            Some("assistant") => {
                self.answered |= event["message"]["model"] != "<synthetic>";
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_output_of_claude_tells_what_the_model_was_given() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(of_claude(dir.path()), Some(Evidence::default()), "it was never started");
        let recording = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../tests/data/backend/claude/stdin_steer_during_tool.ndjson"
        );
        let lines = std::fs::read_to_string(recording).unwrap();
        let until = |what: &str| {
            let cut = lines.find(what).unwrap();
            std::fs::write(dir.path().join("stdout"), &lines[..cut]).unwrap();
            of_claude(dir.path()).unwrap()
        };
        let message = "aaaa0000-0000-4000-8000-000000000001";
        let before = until("Steering message");
        assert!(before.answered && !before.echoed.contains(message), "{before:?}");
        let after = until("Answer two.");
        assert!(after.echoed.contains(message), "{after:?}");
        assert!(!until("Working.").answered, "the prompt was echoed, and nothing was answered");
    }

    #[test]
    fn plain_output_is_an_answer_and_silence_proves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(of_text(dir.path()), Some(Evidence::default()), "it was never started");
        std::fs::write(dir.path().join("stdout"), "").unwrap();
        assert_eq!(of_text(dir.path()), None);
        std::fs::write(dir.path().join("stdout"), "x").unwrap();
        assert!(of_text(dir.path()).unwrap().answered);
    }
}
