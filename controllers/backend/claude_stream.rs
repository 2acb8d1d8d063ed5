//! What the lines of `claude` mean, as a pure machine: lines in, events and answers out.
//!
//! ```text
//! prompt ─▶ init · user(replay) · stream_event… · assistant · user(tool_result) · … · result ─▶ idle
//!           └──────────────── again, when messages or tasks are left ───────────────────┘
//! ```
//!
//! The first `result` is not always the end: with queued messages or open tasks another turn follows. Nothing in
//! a line makes this fail; what it does not know it counts and skips.

use std::collections::{BTreeMap, HashSet};

use gcluster_types::transcript::Entry;
use serde_json::{Value, json};
use uuid::Uuid;

use super::claude_ending::{Hints, judge, rate_limit_reset, without_result};
use super::claude_entry::{one_line, string, text_of, tool_result, tool_use};
use super::claude_usage::UsageMeter;
use super::drive::{Dialect, Exit, Step};
use super::json_lines::JsonLines;
use super::spool::Line;
use super::{BackendEvent, Finished, Outcome, SteerMessage, SteerState};

/// What it is called in what people read.
const CLAUDE: &str = "claude";

/// The state of one run.
#[derive(Default)]
pub(crate) struct ClaudeStream {
    prompt_id: String,
    prompt_seen: bool,
    /// Messages that were sent and not delivered yet, by id.
    steering: BTreeMap<String, SteerMessage>,
    /// Messages that an earlier master may have handed over.
    earlier: BTreeMap<String, SteerMessage>,
    /// Messages that wait for the end of the turn that was interrupted for them.
    redirects: Vec<SteerMessage>,
    lines: JsonLines,
    session: Option<(String, Option<String>)>,
    model: Option<String>,
    tools: HashSet<String>,
    turns: i64,
    open_tasks: usize,
    turn_over: bool,
    interrupts: u64,
    last_result: Option<Value>,
    hints: Hints,
    usage: UsageMeter,
}

impl ClaudeStream {
    /// A run, and the line that gives it its prompt.
    pub(crate) fn begin(prompt: &str) -> (ClaudeStream, String) {
        let prompt_id = Uuid::new_v4().to_string();
        let line = user_line(&prompt_id, &guarded(prompt));
        (ClaudeStream { prompt_id, lines: JsonLines::of(CLAUDE), ..ClaudeStream::default() }, line)
    }

    /// A run that an earlier master began and handed messages to: which of them it has the output tells.
    pub(crate) fn resume(messages: Vec<SteerMessage>) -> ClaudeStream {
        let earlier = messages.into_iter().map(|message| (message.id.clone(), message)).collect();
        ClaudeStream { earlier, lines: JsonLines::of(CLAUDE), ..ClaudeStream::default() }
    }

    fn event(&mut self, event: &Value, step: &mut Step) {
        let kind = event["type"].as_str().unwrap_or_default();
        match kind {
            "system" => self.system(event, step),
            "stream_event" => self.partial(event, step),
            "assistant" => self.assistant(event, step),
            "user" => self.user(event, step),
            "result" => self.result(event, step),
            "command_lifecycle" => self.lifecycle(event, step),
            "control_request" => refuse(event, step),
            "rate_limit_event" => self.rate_limit(event, step),
            "tool_progress"
            | "control_response"
            | "keep_alive"
            | "auth_status"
            | "tool_use_summary"
            | "prompt_suggestion"
            | "control_cancel_request" => step.events.push(BackendEvent::Heartbeat),
            other => self.lines.skip(other, step),
        }
    }

    fn system(&mut self, event: &Value, step: &mut Step) {
        let subtype = event["subtype"].as_str().unwrap_or_default();
        match subtype {
            "init" => {
                self.turn_over = false;
                let model = event["model"].as_str().map(str::to_owned);
                self.model = self.model.take().or_else(|| model.clone());
                let session = (string(&event["session_id"]), model.clone());
                if self.session.as_ref() != Some(&session) {
                    step.events.push(BackendEvent::Session { session_id: session.0.clone(), model });
                    self.session = Some(session);
                }
            }
            "api_retry" => {
                self.usage.discard_open();
                let status =
                    event["error_status"].as_u64().map_or("no answer".to_owned(), |s| format!("status {s}"));
                step.notice(format!(
                    "The model's API failed ({}, {status}); attempt {} of {} follows in {:.1} s",
                    event["error"].as_str().unwrap_or("unknown"),
                    event["attempt"],
                    event["max_retries"],
                    event["retry_delay_ms"].as_f64().unwrap_or_default() / 1000.0,
                ));
                step.events.push(BackendEvent::Heartbeat);
            }
            "model_fallback" => {
                self.model = event["fallback_model"].as_str().map(str::to_owned).or(self.model.take());
                step.notice(format!(
                    "The model changed from {} to {}: {}",
                    string(&event["original_model"]),
                    string(&event["fallback_model"]),
                    string(&event["trigger"]),
                ));
            }
            "compact_boundary" => step.notice(format!(
                "The conversation was compacted from {} tokens",
                event["compact_metadata"]["pre_tokens"],
            )),
            "permission_denied" => step.notice(format!(
                "The tool {} was denied: {}",
                string(&event["tool_name"]),
                one_line(&string(&event["message"]), 500),
            )),
            "informational" | "notification" => step.notice(text_or(&event["content"], &event["message"])),
            "background_tasks_changed" => {
                self.open_tasks = event["tasks"].as_array().map_or(0, Vec::len);
                step.events.push(BackendEvent::Tasks { open: self.open_tasks });
            }
            "status"
            | "thinking_tokens"
            | "task_started"
            | "task_progress"
            | "task_updated"
            | "task_notification"
            | "hook_started"
            | "hook_progress"
            | "hook_response"
            | "files_persisted"
            | "memory_recall"
            | "session_state_changed" => step.events.push(BackendEvent::Heartbeat),
            other => self.lines.skip(&format!("system/{other}"), step),
        }
    }

    fn partial(&mut self, event: &Value, step: &mut Step) {
        let inner = &event["event"];
        match inner["type"].as_str() {
            Some("message_start") => {
                self.usage.message(&inner["message"]["id"], &inner["message"]["usage"]);
                step.events.push(BackendEvent::Heartbeat);
            }
            Some("message_delta") => self.usage.message(&event["api_message_id"], &inner["usage"]),
            Some("content_block_delta") => step.events.push(BackendEvent::Activity),
            _ => step.events.push(BackendEvent::Heartbeat),
        }
    }

    fn assistant(&mut self, event: &Value, step: &mut Step) {
        let message = &event["message"];
        let synthetic = message["model"] == "<synthetic>" || event["is_api_error_message"] == true;
        if let Some(error) = event["error"].as_str() {
            self.hints.error = Some(error.to_owned());
        }
        if synthetic {
            let text = text_of(&message["content"]);
            if !text.trim().is_empty() {
                self.hints.synthetic = Some(text.clone());
                step.notice(text);
            }
            return;
        }
        if let Some(model) = message["model"].as_str().filter(|_| event["parent_tool_use_id"].is_null()) {
            self.model = Some(model.to_owned());
        }
        self.usage.preliminary(&message["id"], &message["usage"]);
        if let Some(text) = message["content"].as_str() {
            text_entry(text, step);
        }
        for block in message["content"].as_array().into_iter().flatten() {
            match block["type"].as_str() {
                Some("text") => text_entry(block["text"].as_str().unwrap_or_default(), step),
                Some("thinking") => {
                    let text = string(&block["thinking"]);
                    if !text.trim().is_empty() {
                        step.record(Entry::Thinking { text });
                    }
                }
                Some("redacted_thinking") => step.events.push(BackendEvent::Activity),
                Some("tool_use" | "server_tool_use" | "mcp_tool_use") => {
                    if self.tools.insert(string(&block["id"])) {
                        step.record(tool_use(block));
                    }
                }
                Some(kind) if kind.ends_with("tool_result") => step.record(tool_result(block)),
                other => self.lines.skip(&format!("assistant/{}", other.unwrap_or_default()), step),
            }
        }
    }

    fn user(&mut self, event: &Value, step: &mut Step) {
        let content = &event["message"]["content"];
        if event["isReplay"] == true {
            return self.delivered(&string(&event["uuid"]), text_of(content), step);
        }
        let mut texts = Vec::new();
        match content {
            Value::Array(blocks) => {
                for block in blocks {
                    match block["type"].as_str() {
                        Some("tool_result") => step.record(tool_result(block)),
                        _ => texts.push(text_of(&json!([block]))),
                    }
                }
            }
            other => texts.push(text_of(other)),
        }
        // What a sub-agent is told is in the detail of the call that started it.
        if event["parent_tool_use_id"].is_null() {
            texts.into_iter().filter(|text| !text.trim().is_empty()).for_each(|text| step.notice(text));
        }
    }

    fn delivered(&mut self, id: &str, text: String, step: &mut Step) {
        if let Some(message) = self.steering.remove(id).or_else(|| self.earlier.remove(id)) {
            step.record(message.record());
            step.events.push(BackendEvent::Steered { id: id.to_owned(), state: SteerState::Delivered });
        } else if id == self.prompt_id || !self.prompt_seen {
            self.prompt_seen = true;
        } else {
            step.record(Entry::Message { from: "unknown".to_owned(), text, name: None });
        }
    }

    fn lifecycle(&mut self, event: &Value, step: &mut Step) {
        let id = string(&event["command_uuid"]);
        let state = match event["state"].as_str() {
            Some("queued") => SteerState::Queued,
            Some("completed") => SteerState::Completed,
            // "started" is said right after the echo, which was reported as delivered.
            _ => return,
        };
        if id != self.prompt_id {
            step.events.push(BackendEvent::Steered { id, state });
        }
    }

    fn rate_limit(&mut self, event: &Value, step: &mut Step) {
        let Some(until) = rate_limit_reset(event) else {
            step.events.push(BackendEvent::Heartbeat);
            return;
        };
        if self.hints.resets_at != Some(until) {
            step.notice(format!("The provider's usage limit is reached; it is lifted at {until}"));
        }
        self.hints.resets_at = Some(until);
    }

    fn result(&mut self, event: &Value, step: &mut Step) {
        self.turns += event["num_turns"].as_i64().unwrap_or_default().max(0);
        for (tokens, cost_usd) in self.usage.result(event) {
            step.events.push(BackendEvent::Usage { tokens, cost_usd });
        }
        for denial in event["permission_denials"].as_array().into_iter().flatten() {
            step.notice(format!("A call of {} had been denied", string(&denial["tool_name"])));
        }
        self.turn_over = event["queued_turn_count"].as_u64().unwrap_or_default() == 0;
        for message in std::mem::take(&mut self.redirects) {
            step.input.push(self.hand_over(message));
        }
        self.last_result = Some(event.clone());
    }

    fn hand_over(&mut self, message: SteerMessage) -> String {
        let line = user_line(&message.id, &guarded(&message.words()));
        self.steering.insert(message.id.clone(), message);
        line
    }
}

impl Dialect for ClaudeStream {
    fn line(&mut self, line: Line, step: &mut Step) {
        if let Some(event) = self.lines.object(line, step) {
            self.event(&event, step);
        }
    }

    fn is_idle(&self) -> bool {
        self.turn_over && self.open_tasks == 0 && self.steering.is_empty() && self.redirects.is_empty()
    }

    fn interrupt(&mut self) -> Option<String> {
        self.interrupts += 1;
        let id = format!("interrupt-{}", self.interrupts);
        Some(
            json!({"type": "control_request", "request_id": id, "request": {"subtype": "interrupt"}})
                .to_string(),
        )
    }

    fn steer(&mut self, message: &SteerMessage) -> Option<String> {
        if !message.interrupt || self.turn_over {
            return Some(self.hand_over(message.clone()));
        }
        // Sent now it would be held for the tool that is being ended; behind the turn's result it begins the next.
        self.redirects.push(message.clone());
        self.interrupt()
    }

    fn finish(&mut self, exit: &Exit, step: &mut Step) -> Finished {
        if let Some(tokens) = self.usage.unreported() {
            step.events.push(BackendEvent::Usage { tokens, cost_usd: None });
        }
        self.lines.summary(step);
        let outcome = match self.last_result.take() {
            Some(result) => judge(&result, &self.hints),
            None => without_result(exit, self.lines.read),
        };
        let outcome = match outcome {
            Outcome::Interrupted { .. } if exit.stopped => {
                Outcome::Interrupted { reason: "it was stopped".to_owned() }
            }
            // A turn that began after the last result was cut off: that result does not speak for it.
            Outcome::Succeeded { .. }
                if !self.turn_over && !exit.status.is_some_and(|status| status.success()) =>
            {
                without_result(exit, self.lines.read)
            }
            outcome => outcome,
        };
        Finished {
            outcome,
            turns: self.turns,
            tool_uses: i64::try_from(self.tools.len()).unwrap_or(i64::MAX),
            model: self.model.clone(),
        }
    }
}

/// Denies what the CLI asks of a person: nobody sits in front of it, and an unanswered question would hang it.
fn refuse(event: &Value, step: &mut Step) {
    let request = &event["request"];
    let tool = string(&request["tool_name"]);
    let response = if request["subtype"] == "can_use_tool" {
        step.notice(format!(
            "claude asked whether it may use {tool}; nobody is there to ask, so it was denied"
        ));
        let message = "Nobody can be asked: this run is unattended. Go on without it.";
        json!({"subtype": "success", "request_id": event["request_id"],
               "response": {"behavior": "deny", "message": message}})
    } else {
        json!({"subtype": "error", "request_id": event["request_id"], "error": "not supported"})
    };
    step.input.push(json!({"type": "control_response", "response": response}).to_string());
}

fn user_line(id: &str, text: &str) -> String {
    json!({"type": "user", "message": {"role": "user", "content": text}, "uuid": id}).to_string()
}

/// A text that begins like a command of the CLI gets a first line that does not, so that it reaches the model.
/// File references such as `@notes.md` are left to the CLI, which inserts the file wherever they stand.
fn guarded(text: &str) -> String {
    if text.trim_start().starts_with('/') { format!("Your task:\n{text}") } else { text.to_owned() }
}

fn text_entry(text: &str, step: &mut Step) {
    if !text.trim().is_empty() {
        step.record(Entry::Text { text: text.to_owned() });
    }
}

fn text_or(first: &Value, second: &Value) -> String {
    first.as_str().or(second.as_str()).unwrap_or("claude has a notice without a text").to_owned()
}

#[cfg(test)]
#[path = "claude_stream_tests.rs"]
mod tests;
