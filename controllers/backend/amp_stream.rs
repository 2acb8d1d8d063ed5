//! What the lines of `amp -x --stream-json` mean, as a pure machine.
//!
//! ```text
//! system/init ─▶ user (the prompt) ─▶ assistant · user (tool results) · … ─▶ result
//! ```
//!
//! The shape is that of Claude Code: <https://ampcode.com/news/streaming-json>, <https://ampcode.com/manual/appendix> and
//! `dist/types.d.ts` of the npm package `@sourcegraph/amp-sdk`. Each `assistant` line is a whole message with its usage.

use std::collections::HashSet;
use std::time::Duration;

use gcluster_types::kinds::agent::TokenTotals;
use gcluster_types::transcript::Entry;
use serde_json::{Value, json};

use super::acp_ending::judge;
use super::claude_entry::{string, text_of, tool_result, tool_use};
use super::claude_usage::totals;
use super::drive::{Dialect, Exit, Step};
use super::json_lines::JsonLines;
use super::spool::Line;
use super::{BackendEvent, Finished, Outcome, RetryClass, describe_exit};

/// How a program begins that has no key and waits for somebody to sign in.
const NO_KEY: &[u8] = b"No API key found";
/// How long the program may take to exit behind its result.
const LINGER: Duration = Duration::from_secs(30);

/// The state of one run.
pub(crate) struct AmpStream {
    lines: JsonLines,
    session: Option<String>,
    model: Option<String>,
    tools: HashSet<String>,
    /// Messages whose usage was reported.
    counted: HashSet<String>,
    used: bool,
    turns: i64,
    result: Option<Value>,
    signing_in: bool,
}

impl Default for AmpStream {
    fn default() -> AmpStream {
        AmpStream {
            lines: JsonLines::of("amp"),
            session: None,
            model: None,
            tools: HashSet::new(),
            counted: HashSet::new(),
            used: false,
            turns: 0,
            result: None,
            signing_in: false,
        }
    }
}

/// Whether a line shows that the model was given the prompt.
pub(crate) fn is_answer(event: &Value) -> bool {
    event["type"] == "assistant" || event["type"] == "result" && event["is_error"] == false
}

impl AmpStream {
    fn event(&mut self, event: &Value, step: &mut Step) {
        match (event["type"].as_str().unwrap_or_default(), event["subtype"].as_str()) {
            ("system", Some("init")) => {
                let session_id = string(&event["session_id"]);
                if self.session.as_ref() != Some(&session_id) {
                    self.session = Some(session_id.clone());
                    step.events.push(BackendEvent::Session { session_id, model: None });
                }
            }
            ("system", Some(other)) => {
                self.lines.skip(&format!("system/{other}"), step);
                step.events.push(BackendEvent::Heartbeat);
            }
            ("assistant", _) => self.assistant(event, step),
            ("user", _) => {
                // Texts are the prompt, or what a sub-agent is told, which its call shows.
                for block in event["message"]["content"].as_array().into_iter().flatten() {
                    if block["type"] == "tool_result" {
                        step.record(tool_result(block));
                    }
                }
                step.events.push(BackendEvent::Heartbeat);
            }
            ("result", _) => self.result(event, step),
            (other, _) => {
                self.lines.skip(other, step);
                step.events.push(BackendEvent::Heartbeat);
            }
        }
    }

    fn assistant(&mut self, event: &Value, step: &mut Step) {
        let message = &event["message"];
        let own = event["parent_tool_use_id"].is_null();
        if let Some(model) = message["model"].as_str().filter(|_| own) {
            self.model = Some(model.to_owned());
        }
        if let Some(text) = message["content"].as_str().filter(|text| !text.trim().is_empty()) {
            step.record(Entry::Text { text: text.to_owned() });
        }
        for block in message["content"].as_array().into_iter().flatten() {
            match block["type"].as_str().unwrap_or_default() {
                "text" => {
                    let text = string(&block["text"]);
                    if !text.trim().is_empty() {
                        step.record(Entry::Text { text });
                    }
                }
                "thinking" => {
                    let text = string(&block["thinking"]);
                    if !text.trim().is_empty() {
                        step.record(Entry::Thinking { text });
                    }
                }
                "redacted_thinking" => step.events.push(BackendEvent::Activity),
                "tool_use" => {
                    if self.tools.insert(string(&block["id"])) {
                        step.record(tool_use(block));
                    }
                }
                other => {
                    self.lines.skip(&format!("assistant/{other}"), step);
                    step.events.push(BackendEvent::Activity);
                }
            }
        }
        let id = string(&message["id"]);
        // A message that comes again is the same message.
        if id.is_empty() || self.counted.insert(id) {
            self.usage(&message["usage"], step);
        }
    }

    fn usage(&mut self, usage: &Value, step: &mut Step) {
        if let Some(tokens) = tokens(usage) {
            self.used = true;
            step.events.push(BackendEvent::Usage { tokens, cost_usd: None });
        }
    }

    fn result(&mut self, event: &Value, step: &mut Step) {
        self.turns = self.turns.saturating_add(event["num_turns"].as_i64().unwrap_or_default().max(0));
        if !self.used {
            self.usage(&event["usage"], step);
        }
        for denial in event["permission_denials"].as_array().into_iter().flatten() {
            let what = denial.as_str().map_or_else(|| denial.to_string(), str::to_owned);
            step.notice(format!("Permission had been denied: {what}"));
        }
        self.result = Some(event.clone());
    }

    fn outcome(&mut self, exit: &Exit) -> Outcome {
        let failed =
            |reason: &str, error: String, retry| Outcome::Failed { reason: reason.to_owned(), error, retry };
        let judged = |text: &str| judge(&json!({"message": text}), "", |_| None);
        match self.result.take() {
            Some(result) if result["is_error"] != true => {
                Outcome::Succeeded { output: text_of(&result["result"]) }
            }
            _ if exit.stopped => Outcome::Interrupted { reason: "it was stopped".to_owned() },
            Some(result) if result["subtype"] == "error_max_turns" => {
                failed("MaxTurns", string(&result["error"]), RetryClass::NotRetryable)
            }
            Some(result) => {
                let text = result["error"].as_str().or(result["result"].as_str());
                judged(text.unwrap_or("amp reported an error without a message"))
            }
            None if self.signing_in => failed(
                "AuthenticationFailed",
                "amp has no key and asked somebody to sign in; run `amp login`, or set AMP_API_KEY"
                    .to_owned(),
                RetryClass::Credential,
            ),
            None if exit.status.is_none() => {
                let reason = "the program ended while no master watched it, and left no result".to_owned();
                Outcome::Interrupted { reason }
            }
            None if exit.stderr.contains("unknown option") || exit.stderr.contains("unknown command") => {
                failed("InvalidArguments", describe_exit("amp", exit), RetryClass::Fatal)
            }
            None if exit.stderr.to_lowercase().contains("couldn't connect") => {
                failed("ConnectionFailed", describe_exit("amp", exit), RetryClass::Outage)
            }
            None => match judged(&exit.stderr) {
                Outcome::Failed { reason, retry, .. } if reason != "ExecutionError" => {
                    failed(&reason, describe_exit("amp", exit), retry)
                }
                throttled @ Outcome::Throttled { .. } => throttled,
                _ => failed("BackendExited", describe_exit("amp", exit), RetryClass::Transient),
            },
        }
    }
}

impl Dialect for AmpStream {
    fn line(&mut self, line: Line, step: &mut Step) {
        if let Line::Whole(bytes) = &line
            && bytes.starts_with(NO_KEY)
        {
            // Nobody will ever sign in to an unattended run.
            self.signing_in = true;
        }
        // What follows is an address that signs somebody in, which is nothing for a transcript.
        if self.signing_in && !matches!(&line, Line::Whole(bytes) if bytes.starts_with(b"{")) {
            return;
        }
        if let Some(event) = self.lines.object(line, step) {
            self.event(&event, step);
        }
    }

    fn is_idle(&self) -> bool {
        self.signing_in || self.result.is_some()
    }

    fn linger(&self) -> Duration {
        if self.signing_in { Duration::ZERO } else { LINGER }
    }

    fn finish(&mut self, exit: &Exit, step: &mut Step) -> Finished {
        self.lines.summary(step);
        Finished {
            outcome: self.outcome(exit),
            turns: self.turns,
            tool_uses: i64::try_from(self.tools.len()).unwrap_or(i64::MAX),
            model: self.model.take(),
        }
    }
}

/// The usage of one message. In every published example its `input_tokens` are all input tokens, caches included;
/// where they are fewer than the caches they can only be those beside them, as in Anthropic's API.
fn tokens(usage: &Value) -> Option<TokenTotals> {
    usage.as_object()?;
    let count = |key: &str| usage[key].as_i64().unwrap_or_default().max(0);
    let (read, written) = (count("cache_read_input_tokens"), count("cache_creation_input_tokens"));
    let (input, cached) = (count("input_tokens"), read.saturating_add(written));
    let beside = if input >= cached { input - cached } else { input };
    Some(totals(beside, count("output_tokens"), read, written))
}

#[cfg(test)]
#[path = "amp_stream_tests.rs"]
mod tests;
