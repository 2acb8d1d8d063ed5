//! The `session/update` notifications of an ACP agent as transcript entries.
//!
//! Chunks are joined until something else comes, whatever time passes between them, so that the same output always
//! gives the same entries. Tool calls: <https://agentclientprotocol.com/protocol/v1/tool-calls>, plans:
//! <https://agentclientprotocol.com/protocol/v1/agent-plan>.

use std::collections::{BTreeMap, HashSet};

use gcluster_types::transcript::Entry;
use serde_json::Value;

use super::BackendEvent;
use super::claude_entry::{one_line, string};
use super::drive::Step;

/// Longest detail of a tool call, in characters.
const DETAIL: usize = 100;

/// What an agent says and does.
#[derive(Default)]
pub(crate) struct Conversation {
    chunks: String,
    /// The chunks are thinking.
    thinking: bool,
    /// The message that the chunks belong to, where it is named.
    chunk_of: Value,
    /// The last text of the turn.
    answer: String,
    /// Tools that ran at any time.
    tools: HashSet<String>,
    /// Tools that run, with what they have shown so far.
    open: BTreeMap<String, Value>,
    plan: String,
}

impl Conversation {
    /// Takes one update. An error is the kind of one that is not known.
    pub(crate) fn update(&mut self, update: &Value, step: &mut Step) -> Result<(), String> {
        match update["sessionUpdate"].as_str().unwrap_or_default() {
            "agent_message_chunk" => self.chunk(update, false, step),
            "agent_thought_chunk" => self.chunk(update, true, step),
            "tool_call" | "tool_call_update" => self.tool(update, step),
            "plan" => {
                step.events.push(BackendEvent::Activity);
                let plan = plan(&update["entries"]);
                if plan != self.plan && !plan.is_empty() {
                    self.flush(step);
                    step.notice(plan.clone());
                }
                self.plan = plan;
            }
            "compaction_summary_chunk" => step.events.push(BackendEvent::Activity),
            "notice" => step.notice(string(&update["title"])),
            "user_message_chunk"
            | "available_commands_update"
            | "current_mode_update"
            | "config_option_update"
            | "session_info_update"
            | "compaction_update" => step.events.push(BackendEvent::Heartbeat),
            other => return Err(other.to_owned()),
        }
        Ok(())
    }

    /// What was said so far becomes an entry.
    pub(crate) fn flush(&mut self, step: &mut Step) {
        let text = std::mem::take(&mut self.chunks);
        if text.trim().is_empty() {
            return;
        }
        if self.thinking {
            step.record(Entry::Thinking { text });
        } else {
            self.answer.clone_from(&text);
            step.record(Entry::Text { text });
        }
    }

    /// The turn is over: nothing runs any more.
    pub(crate) fn end(&mut self, step: &mut Step) {
        self.flush(step);
        for id in std::mem::take(&mut self.open).into_keys() {
            let text = "the turn ended before the agent told of a result".to_owned();
            step.record(Entry::ToolResult { id, text, is_error: true });
        }
    }

    /// The last text of the turn that ended.
    pub(crate) fn take_answer(&mut self) -> String {
        std::mem::take(&mut self.answer)
    }

    /// How many tools ran.
    pub(crate) fn tool_uses(&self) -> i64 {
        i64::try_from(self.tools.len()).unwrap_or(i64::MAX)
    }

    fn chunk(&mut self, update: &Value, thinking: bool, step: &mut Step) {
        if self.thinking != thinking || self.chunk_of != update["messageId"] {
            self.flush(step);
            self.thinking = thinking;
            self.chunk_of = update["messageId"].clone();
        }
        self.chunks.push_str(&block(&update["content"]));
        step.events.push(BackendEvent::Activity);
    }

    fn tool(&mut self, update: &Value, step: &mut Step) {
        self.flush(step);
        let id = string(&update["toolCallId"]);
        if self.tools.insert(id.clone()) {
            let named = update["name"].as_str().or(update["kind"].as_str());
            let name = named.unwrap_or("tool").to_owned();
            let input = || update["rawInput"].as_object()?.values().find_map(Value::as_str);
            let detail = one_line(update["title"].as_str().or_else(input).unwrap_or_default(), DETAIL);
            step.record(Entry::ToolUse { id: id.clone(), name, detail });
            self.open.insert(id.clone(), Value::Null);
        } else {
            step.events.push(BackendEvent::Activity);
        }
        let shown = if update["content"].is_array() { &update["content"] } else { &update["rawOutput"] };
        if let Some(so_far) = self.open.get_mut(&id)
            && !shown.is_null()
        {
            *so_far = shown.clone();
        }
        let is_error = match update["status"].as_str() {
            Some("completed") => false,
            Some("failed") => true,
            _ => return,
        };
        if let Some(shown) = self.open.remove(&id) {
            step.record(Entry::ToolResult { id, text: result(&shown), is_error });
        }
    }
}

/// A content block as text.
fn block(content: &Value) -> String {
    match (content["text"].as_str(), content["resource"]["text"].as_str(), content["type"].as_str()) {
        (Some(text), ..) | (None, Some(text), _) => text.to_owned(),
        (None, None, Some("resource_link")) => format!("[{}]", string(&content["uri"])),
        (None, None, kind) => format!("[{}]", kind.unwrap_or("unknown")),
    }
}

/// What a tool has shown, as text.
fn result(shown: &Value) -> String {
    match shown {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Array(parts) => {
            let parts = parts.iter().map(|part| match part["type"].as_str() {
                Some("content") => block(&part["content"]),
                Some("diff") => format!("changed {}", string(&part["path"])),
                other => format!("[{}]", other.unwrap_or("unknown")),
            });
            parts.collect::<Vec<_>>().join("\n")
        }
        other => other.to_string(),
    }
}

fn plan(entries: &Value) -> String {
    let entries = entries.as_array().into_iter().flatten().map(|entry| {
        let mark = match entry["status"].as_str() {
            Some("completed") => "x",
            Some("in_progress") => ">",
            _ => " ",
        };
        format!("[{mark}] {}", string(&entry["content"]))
    });
    let entries: Vec<String> = entries.collect();
    if entries.is_empty() { String::new() } else { format!("Plan: {}", entries.join(" · ")) }
}
