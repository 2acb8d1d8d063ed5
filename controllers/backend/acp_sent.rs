//! What an ACP agent was sent, as its run has it on record.
//!
//! ```text
//! output, read again ──▶ AcpStream ──▶ the same lines as before ──▶ Sent leaves out those that were sent
//! ```

use std::collections::{HashMap, VecDeque};
use std::path::Path;

use serde_json::Value;

use super::input::sent_lines;

/// The requests and answers that were sent, by what tells them apart.
#[derive(Default)]
pub(crate) struct Sent {
    lines: HashMap<String, Value>,
    /// Ids of the messages in each further prompt, in the order in which these were sent.
    prompts: VecDeque<Vec<String>>,
}

impl Sent {
    /// Of a run.
    pub(crate) fn read(run_dir: &Path) -> Sent {
        Sent::of(&sent_lines(run_dir).into_values().collect::<String>())
    }

    /// Of the text of the record.
    pub(crate) fn of(text: &str) -> Sent {
        let mut sent = Sent::default();
        for line in text.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n')) {
            let Ok(value) = serde_json::from_str::<Value>(line) else { continue };
            if let Some(ids) =
                value["id"].as_str().and_then(|id| id.strip_prefix(super::acp_stream::MESSAGES))
            {
                sent.prompts.push_back(ids.split(',').map(str::to_owned).collect());
            }
            sent.lines.insert(key(&value), value);
        }
        sent
    }

    /// Whether the prompt was sent.
    pub(crate) fn has_prompt(&self) -> bool {
        self.lines.values().any(|line| line["method"] == "session/prompt")
    }

    /// Whether a line was sent.
    pub(crate) fn has(&self, line: &Value) -> bool {
        self.lines.contains_key(&key(line))
    }

    /// The answer that a request of the agent got.
    pub(crate) fn answer_to(&self, id: &Value) -> Option<&Value> {
        self.lines.get(&format!("answer {id}"))
    }

    /// What the run was begun with.
    pub(crate) fn first(&self) -> &Value {
        self.lines.values().find(|line| line["method"] == "initialize").unwrap_or(&Value::Null)
    }

    /// The messages of the next prompt that was sent, when the turn before it has ended.
    pub(crate) fn next_prompt(&mut self) -> Option<Vec<String>> {
        self.prompts.pop_front()
    }
}

/// A request and an answer may have the same id: each side counts its own.
fn key(line: &Value) -> String {
    let kind = if line["method"].is_string() { "request" } else { "answer" };
    format!("{kind} {}", line["id"])
}
