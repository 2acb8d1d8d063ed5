//! Programs that write one JSON object per line: reading a line, and keeping count of what was not understood.

use std::collections::BTreeMap;

use serde_json::Value;

use super::claude_entry::one_line;
use super::drive::Step;
use super::spool::Line;

/// How many broken lines are quoted; more are only counted.
const QUOTED: u64 = 3;

/// What became of the lines of one run.
pub(crate) struct JsonLines {
    program: &'static str,
    /// Lines that held something.
    pub(crate) read: u64,
    broken: u64,
    unknown: BTreeMap<String, u64>,
}

impl Default for JsonLines {
    fn default() -> Self {
        JsonLines::of("the program")
    }
}

impl JsonLines {
    /// Of a program with this name.
    pub(crate) fn of(program: &'static str) -> JsonLines {
        JsonLines { program, read: 0, broken: 0, unknown: BTreeMap::new() }
    }

    /// The object in a line. What is none is quoted in a notice.
    pub(crate) fn object(&mut self, line: Line, step: &mut Step) -> Option<Value> {
        let bytes = match line {
            Line::Whole(bytes) => bytes,
            Line::TooLong(length) => {
                self.note(format!("a line of {length} bytes is too long and was skipped"), step);
                return None;
            }
        };
        if bytes.iter().all(u8::is_ascii_whitespace) {
            return None;
        }
        self.read += 1;
        let text = String::from_utf8_lossy(&bytes);
        match serde_json::from_str::<Value>(&text) {
            Ok(value) if value.is_object() => Some(value),
            _ => {
                let quoted: String = text.chars().take(2000).collect();
                let quoted = one_line(&quoted, 200);
                self.note(format!("{} wrote a line that is no JSON object: {quoted}", self.program), step);
                None
            }
        }
    }

    /// Counts what is not known and says so once.
    pub(crate) fn skip(&mut self, kind: &str, step: &mut Step) {
        let count = self.unknown.entry(kind.to_owned()).or_default();
        *count += 1;
        if *count == 1 {
            step.notice(format!(
                "{} sent {kind:?}, which this version of gcluster does not know; it is skipped",
                self.program
            ));
        }
    }

    /// Says at the end how much was skipped, where once was not all.
    pub(crate) fn summary(&self, step: &mut Step) {
        let repeated: Vec<String> = self
            .unknown
            .iter()
            .filter(|(_, count)| **count > 1)
            .map(|(kind, count)| format!("{kind:?} {count} times"))
            .collect();
        if !repeated.is_empty() {
            step.notice(format!("skipped: {}", repeated.join(", ")));
        }
        if self.broken > QUOTED {
            step.notice(format!("{} lines of {} could not be read", self.broken, self.program));
        }
    }

    fn note(&mut self, what: String, step: &mut Step) {
        self.broken += 1;
        if self.broken <= QUOTED {
            step.notice(what);
        }
    }
}
