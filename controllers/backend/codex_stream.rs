//! What the lines of `codex exec --json` mean, as a pure machine.
//!
//! ```text
//! thread.started ─▶ turn.started ─▶ item.started · item.updated · item.completed … ─▶ turn.completed | turn.failed
//! ```
//!
//! From `codex-rs/exec/src/exec_events.rs` and `event_processor_with_jsonl_output.rs` of github.com/openai/codex, and
//! from recordings of 0.169.0. An item comes whole when it is completed; nothing is streamed, so while the model
//! writes, nothing comes at all. The `usage` of `turn.completed` is the total of the whole thread, also of what a
//! resumed thread used before.

use std::collections::HashSet;

use gcluster_types::kinds::agent::TokenTotals;
use gcluster_types::transcript::Entry;
use k8s_openapi::jiff::tz::TimeZone;
use serde_json::Value;

use super::claude_entry::{one_line, string, text_of};
use super::claude_usage::totals;
use super::codex_ending::{judge, without_result};
use super::drive::{Dialect, Exit, Step};
use super::json_lines::JsonLines;
use super::spool::Line;
use super::{BackendEvent, Finished, Outcome};

/// Longest detail of a tool call, in characters.
const DETAIL: usize = 100;

/// The state of one run.
pub(crate) struct CodexStream {
    lines: JsonLines,
    /// The model that was asked for; the program does not say which one answers.
    model: Option<String>,
    /// The thread has a past, so its totals are not those of this run.
    goes_on: bool,
    /// In which the program writes times.
    zone: TimeZone,
    thread: Option<String>,
    /// Tools that were reported.
    tools: HashSet<String>,
    turns: i64,
    answer: String,
    /// What was used before the present turn.
    used: TokenTotals,
    /// Of the turn that ended last.
    ending: Option<Ending>,
    /// The last message that was told, so that a repeated one is told once.
    told: String,
}

enum Ending {
    Completed,
    Failed(String),
}

/// Whether a line shows that the model was given the prompt.
pub(crate) fn is_answer(event: &Value) -> bool {
    let item = event["type"].as_str().is_some_and(|kind| kind.starts_with("item."));
    event["type"] == "turn.completed" || item && event["item"]["type"] != "error"
}

impl CodexStream {
    /// A run that asks for a model; whether it goes on with an older thread; and the zone of its times.
    pub(crate) fn begin(model: Option<String>, goes_on: bool, zone: TimeZone) -> CodexStream {
        CodexStream {
            lines: JsonLines::of("codex"),
            model,
            goes_on,
            zone,
            thread: None,
            tools: HashSet::new(),
            turns: 0,
            answer: String::new(),
            used: TokenTotals::default(),
            ending: None,
            told: String::new(),
        }
    }

    fn event(&mut self, event: &Value, step: &mut Step) {
        match event["type"].as_str().unwrap_or_default() {
            "thread.started" => {
                let session_id = string(&event["thread_id"]);
                if self.thread.as_ref() != Some(&session_id) {
                    self.thread = Some(session_id.clone());
                    step.events.push(BackendEvent::Session { session_id, model: self.model.clone() });
                }
            }
            "turn.started" => {
                self.turns += 1;
                self.ending = None;
                step.events.push(BackendEvent::Heartbeat);
            }
            "item.started" => self.item(&event["item"], false, step),
            "item.updated" => match event["item"]["type"].as_str() {
                Some("todo_list") => self.item(&event["item"], false, step),
                _ => step.events.push(BackendEvent::Activity),
            },
            "item.completed" => self.item(&event["item"], true, step),
            "item.plan.delta" => step.events.push(BackendEvent::Activity),
            "turn.completed" => {
                self.usage(&event["usage"], step);
                self.ending = Some(Ending::Completed);
            }
            "turn.failed" => self.ending = Some(Ending::Failed(string(&event["error"]["message"]))),
            // It stands before `turn.failed` with the same words, and alone while the program tries again.
            "error" => {
                step.events.push(BackendEvent::Heartbeat);
                self.tell(&string(&event["message"]), step);
            }
            "request_user_input" => {
                step.notice("codex asked a question; nobody is there to answer, and it goes on without");
            }
            other => {
                self.lines.skip(other, step);
                // An event of an item is work that goes on, of whatever kind.
                let progress = other.starts_with("item.");
                step.events.push(if progress { BackendEvent::Activity } else { BackendEvent::Heartbeat });
            }
        }
    }

    fn item(&mut self, item: &Value, completed: bool, step: &mut Step) {
        let text = || string(&item["text"]);
        match item["type"].as_str().unwrap_or_default() {
            "agent_message" | "plan" if completed => {
                self.answer = text();
                if !self.answer.trim().is_empty() {
                    step.record(Entry::Text { text: self.answer.clone() });
                }
            }
            "reasoning" if completed => {
                if !text().trim().is_empty() {
                    step.record(Entry::Thinking { text: text() });
                }
            }
            "agent_message" | "plan" | "reasoning" => step.events.push(BackendEvent::Activity),
            "error" => self.tell(&string(&item["message"]), step),
            "todo_list" => {
                step.events.push(BackendEvent::Activity);
                self.tell(&todo_list(&item["items"]), step);
            }
            "command_execution" | "file_change" | "mcp_tool_call" | "collab_tool_call" | "web_search" => {
                self.tool(item, completed, step);
            }
            other => {
                self.lines.skip(&format!("item/{other}"), step);
                step.events.push(BackendEvent::Activity);
            }
        }
    }

    fn tool(&mut self, item: &Value, completed: bool, step: &mut Step) {
        let id = string(&item["id"]);
        if self.tools.insert(id.clone()) {
            let (name, detail) = tool_use(item);
            step.record(Entry::ToolUse { id: id.clone(), name, detail: one_line(&detail, DETAIL) });
        }
        if completed {
            let is_error =
                matches!(item["status"].as_str(), Some("failed" | "declined")) || item["error"].is_object();
            step.record(Entry::ToolResult { id, text: tool_result(item), is_error });
        }
    }

    fn usage(&mut self, usage: &Value, step: &mut Step) {
        if self.goes_on {
            step.notice(
                "codex tells only what the whole thread has used, which began before this run: its tokens are not \
                 counted here",
            );
            return;
        }
        if !usage.is_object() {
            return;
        }
        let count = |key: &str| usage[key].as_i64().unwrap_or_default().max(0);
        let (cached, written) = (count("cached_input_tokens"), count("cache_write_input_tokens"));
        // Both kinds of cache are parts of the input; thinking is a part of the output.
        let input = count("input_tokens").saturating_sub(cached).saturating_sub(written).max(0);
        let total = totals(input, count("output_tokens"), cached, written);
        let since = |now: i64, before: i64| now.saturating_sub(before).max(0);
        let tokens = totals(
            since(total.input, self.used.input),
            since(total.output, self.used.output),
            since(total.cache_read, self.used.cache_read),
            since(total.cache_creation, self.used.cache_creation),
        );
        self.used = total;
        step.events.push(BackendEvent::Usage { tokens, cost_usd: None });
    }

    fn tell(&mut self, text: &str, step: &mut Step) {
        if !text.is_empty() && self.told != text {
            self.told = text.to_owned();
            step.notice(text);
        }
    }
}

impl Dialect for CodexStream {
    fn line(&mut self, line: Line, step: &mut Step) {
        if let Some(event) = self.lines.object(line, step) {
            self.event(&event, step);
        }
    }

    fn finish(&mut self, exit: &Exit, step: &mut Step) -> Finished {
        self.lines.summary(step);
        let outcome = match self.ending.take() {
            Some(Ending::Completed) => Outcome::Succeeded { output: std::mem::take(&mut self.answer) },
            _ if exit.stopped => Outcome::Interrupted { reason: "it was stopped".to_owned() },
            Some(Ending::Failed(message)) => judge(&message, self.thread.as_deref(), &self.zone),
            None => without_result(exit, self.lines.read, &self.told),
        };
        Finished {
            outcome,
            turns: self.turns,
            tool_uses: i64::try_from(self.tools.len()).unwrap_or(i64::MAX),
            model: self.model.clone(),
        }
    }
}

/// Name and telling detail of a tool, by the kind of its item.
fn tool_use(item: &Value) -> (String, String) {
    let kind = string(&item["type"]);
    match kind.as_str() {
        "command_execution" => (kind, unwrapped(&string(&item["command"]))),
        "file_change" => {
            let changes = item["changes"].as_array().into_iter().flatten();
            let changes =
                changes.map(|change| format!("{} {}", string(&change["kind"]), string(&change["path"])));
            (kind, changes.collect::<Vec<_>>().join(", "))
        }
        "mcp_tool_call" => {
            let first =
                item["arguments"].as_object().and_then(|input| input.values().find_map(Value::as_str));
            let name = format!("mcp__{}__{}", string(&item["server"]), string(&item["tool"]));
            (name, first.unwrap_or_default().to_owned())
        }
        "collab_tool_call" => (string(&item["tool"]), string(&item["prompt"])),
        _ => (kind, string(&item["query"])),
    }
}

fn tool_result(item: &Value) -> String {
    if let Some(message) = item["error"]["message"].as_str() {
        return message.to_owned();
    }
    match item["type"].as_str().unwrap_or_default() {
        "command_execution" => {
            let mut text = string(&item["aggregated_output"]);
            if let Some(code) = item["exit_code"].as_i64().filter(|code| *code != 0) {
                if !text.is_empty() && !text.ends_with('\n') {
                    text.push('\n');
                }
                text.push_str(&format!("exit code {code}"));
            }
            text
        }
        "mcp_tool_call" => text_of(&item["result"]["content"]),
        _ => string(&item["status"]),
    }
}

/// The command behind the shell that every command is run with: `/bin/bash -lc 'ls -l'`.
fn unwrapped(command: &str) -> String {
    let inner = command.split_once(" -lc ").filter(|(shell, _)| !shell.contains(' ')).map(|(_, inner)| inner);
    match inner {
        None => command.to_owned(),
        Some(inner) => {
            let bare = inner.strip_prefix('\'').and_then(|inner| inner.strip_suffix('\''));
            bare.filter(|bare| !bare.contains('\'')).unwrap_or(inner).to_owned()
        }
    }
}

fn todo_list(items: &Value) -> String {
    let items = items.as_array().into_iter().flatten().map(|item| {
        let mark = if item["completed"] == true { "x" } else { " " };
        format!("[{mark}] {}", string(&item["text"]))
    });
    let items: Vec<String> = items.collect();
    if items.is_empty() { String::new() } else { format!("Plan: {}", items.join(" · ")) }
}

#[cfg(test)]
#[path = "codex_stream_tests.rs"]
mod tests;
