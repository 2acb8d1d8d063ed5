//! What the lines of an ACP agent mean, as a pure machine: JSON-RPC 2.0 in, records and answers out.
//!
//! ```text
//! initialize 0 · session/new 1 · session/set_mode 2 · session/set_config_option 3 · session/prompt 4, "message:UID,…"
//! ```
//!
//! What was asked is told by the id of the answer, so an output that is read again by a later master says all.
//! A turn ends with the answer to its prompt; messages that came meanwhile are the next prompt of the same session
//! (<https://agentclientprotocol.com/protocol/v1/prompt-turn>).

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::jiff::tz::TimeZone;
use serde_json::{Value, json};

use super::acp_ending::{judge, stopped, without_result};
use super::acp_sent::Sent;
use super::acp_update::Conversation;
use super::acp_usage::Meter;
use super::claude_entry::{one_line, string};
use super::codex_ending::limit_lifted;
use super::drive::{Dialect, Exit, Step};
use super::json_lines::JsonLines;
use super::spool::Line;
use super::{BackendEvent, Finished, Outcome, RetryClass, SteerMessage, SteerState};

/// The version of the protocol.
const VERSION: u64 = 1;
/// How long an agent may take to exit once its input has ended behind its last turn. Most do not look at that, and wait
/// for the signal that comes then.
const LINGER: Duration = Duration::from_millis(500);
/// Where the first request says how to answer what the agent asks, for a later master.
const PERMISSION: &str = "gcluster.dev/permissionMode";

const INITIALIZE: u64 = 0;
const NEW_SESSION: u64 = 1;
const SET_MODE: u64 = 2;
const SET_MODEL: u64 = 3;
const PROMPT: u64 = 4;
/// Begins the id of a prompt that is made of messages; their ids follow.
pub(crate) const MESSAGES: &str = "message:";

/// What a run is to be.
#[derive(Default)]
pub(crate) struct Wishes {
    /// The working directory, absolute.
    pub(crate) directory: String,
    pub(crate) prompt: String,
    pub(crate) model: Option<String>,
    /// `allow` or `reject` for what the agent asks; any other is a mode of the agent.
    pub(crate) permission_mode: Option<String>,
}

/// The state of one run.
pub(crate) struct AcpStream {
    lines: JsonLines,
    wishes: Wishes,
    /// What an earlier master sent.
    sent: Sent,
    /// In which agents write times.
    zone: TimeZone,
    /// How the agent wants people to sign in.
    sign_in: String,
    /// The answer to `session/new`.
    offers: Value,
    session: Option<String>,
    conversation: Conversation,
    meter: Meter,
    /// Messages that wait for the end of the turn.
    waiting: Vec<SteerMessage>,
    /// Messages of the running turn's prompt, until the agent reacts to it.
    given: Vec<SteerMessage>,
    /// Messages that an earlier master may have handed over.
    earlier: BTreeMap<String, SteerMessage>,
    prompting: bool,
    cancelling: bool,
    turns: i64,
    ending: Option<Outcome>,
}

/// Whether a line shows that the model was given the prompt.
pub(crate) fn is_answer(event: &Value) -> bool {
    let update = event["params"]["update"]["sessionUpdate"].as_str().unwrap_or_default();
    matches!(
        update,
        "agent_message_chunk" | "agent_thought_chunk" | "tool_call" | "tool_call_update" | "plan"
    ) || event["method"] == "session/request_permission"
        || event["result"]["stopReason"].is_string()
}

impl AcpStream {
    /// A run, and the line that begins it.
    pub(crate) fn begin(wishes: Wishes, zone: TimeZone) -> (AcpStream, String) {
        let meta = json!({PERMISSION: wishes.permission_mode});
        let mut stream = AcpStream::resume(Sent::default(), Vec::new(), zone);
        stream.wishes = wishes;
        let capabilities = json!({"fs": {"readTextFile": false, "writeTextFile": false}, "terminal": false});
        let client = json!({"name": "gcluster", "title": "gcluster", "version": env!("CARGO_PKG_VERSION")});
        let first = request(
            &INITIALIZE.into(),
            "initialize",
            json!({"protocolVersion": VERSION, "clientCapabilities": capabilities, "clientInfo": client, "_meta": meta}),
        );
        (stream, first.to_string())
    }

    /// A run that an earlier master began, with what it sent, and the messages that it handed over.
    pub(crate) fn resume(sent: Sent, messages: Vec<SteerMessage>, zone: TimeZone) -> AcpStream {
        let mode = sent.first()["params"]["_meta"][PERMISSION].as_str().map(str::to_owned);
        AcpStream {
            lines: JsonLines::of("the agent"),
            // The prompt was sent, so only the answers to the agent's questions are still wished.
            wishes: Wishes { permission_mode: mode.filter(|mode| mode == "reject"), ..Wishes::default() },
            sent,
            zone,
            sign_in: String::new(),
            offers: Value::Null,
            session: None,
            conversation: Conversation::default(),
            meter: Meter::default(),
            waiting: Vec::new(),
            given: Vec::new(),
            earlier: messages.into_iter().map(|message| (message.id.clone(), message)).collect(),
            prompting: false,
            cancelling: false,
            turns: 0,
            ending: None,
        }
    }

    fn message(&mut self, message: &Value, step: &mut Step) {
        match (message["method"].as_str(), &message["id"]) {
            (Some("session/update"), Value::Null) => self.update(&message["params"], step),
            (Some("session/request_permission"), id) if !id.is_null() => self.permission(message, step),
            (Some(method), id) if !id.is_null() => {
                step.notice(format!(
                    "the agent asked for {method}, which gcluster does not offer; it was told so"
                ));
                let error = json!({"code": -32601, "message": format!("gcluster has no method {method}")});
                self.send(json!({"jsonrpc": "2.0", "id": id, "error": error}), step);
            }
            (Some(method), _) => {
                // Methods of an agent's own begin with an underscore and may be ignored.
                if !method.starts_with('_') {
                    self.lines.skip(method, step);
                }
                step.events.push(BackendEvent::Heartbeat);
            }
            (None, id) => self.answer(id, message, step),
        }
    }

    fn update(&mut self, params: &Value, step: &mut Step) {
        if self.session.as_deref().is_some_and(|session| params["sessionId"] != *session) {
            // Of a session that is not ours, such as that of a sub-agent.
            step.events.push(BackendEvent::Heartbeat);
            return;
        }
        let update = &params["update"];
        if update["sessionUpdate"] == "usage_update" {
            self.meter.update(update);
            step.events.push(BackendEvent::Heartbeat);
            return;
        }
        if is_answer(&json!({"params": {"update": {"sessionUpdate": update["sessionUpdate"]}}})) {
            self.taken(step);
        }
        if let Err(unknown) = self.conversation.update(update, step) {
            self.lines.skip(&format!("session/update/{unknown}"), step);
            step.events.push(BackendEvent::Heartbeat);
        }
    }

    /// The agent reacts to its prompt: it was given the messages in it.
    fn taken(&mut self, step: &mut Step) {
        for message in std::mem::take(&mut self.given) {
            let id = message.id.clone();
            step.record(message.record());
            step.events.push(BackendEvent::Steered { id, state: SteerState::Delivered });
        }
    }

    fn permission(&mut self, message: &Value, step: &mut Step) {
        let params = &message["params"];
        self.taken(step);
        self.conversation.flush(step);
        let wanted: &[&str] = match self.wishes.permission_mode.as_deref() {
            Some("reject") => &["reject_once", "reject_always"],
            _ => &["allow_once", "allow_always"],
        };
        let options = || params["options"].as_array().into_iter().flatten();
        let given =
            self.sent.answer_to(&message["id"]).map(|answer| &answer["result"]["outcome"]["optionId"]);
        let option = match given {
            // An earlier master answered: what is said is what it said.
            Some(id) => options().find(|option| option["optionId"] == *id),
            None => wanted
                .iter()
                .find_map(|kind| options().find(|option| option["kind"] == **kind))
                .filter(|_| !self.cancelling),
        };
        let title = one_line(params["toolCall"]["title"].as_str().unwrap_or("use a tool"), 200);
        let outcome = match option {
            Some(option) => {
                step.notice(format!(
                    "the agent asked for permission: {title}; answered as spec.backend.permissionMode says: {}",
                    option["name"].as_str().unwrap_or_default()
                ));
                json!({"outcome": "selected", "optionId": option["optionId"]})
            }
            None => {
                let why =
                    if self.cancelling { "the turn is being ended" } else { "it offers no such answer" };
                step.notice(format!("the agent asked for permission: {title}; not given, {why}"));
                json!({"outcome": "cancelled"})
            }
        };
        self.send(json!({"jsonrpc": "2.0", "id": message["id"], "result": {"outcome": outcome}}), step);
    }

    fn answer(&mut self, id: &Value, message: &Value, step: &mut Step) {
        let error = &message["error"];
        let prompt = id.as_u64() == Some(PROMPT) || id.as_str().is_some_and(|id| id.starts_with(MESSAGES));
        if prompt {
            return self.turn_over(message, step);
        }
        if error.is_object() {
            self.ending = Some(self.judge(error));
            return;
        }
        let result = &message["result"];
        match id.as_u64() {
            Some(INITIALIZE) => self.initialized(result, step),
            Some(NEW_SESSION) => {
                let session_id = string(&result["sessionId"]);
                self.session = Some(session_id.clone());
                step.events.push(BackendEvent::Session { session_id, model: None });
                self.offers = result.clone();
                self.set_mode(step);
            }
            Some(SET_MODE) => self.set_model(step),
            Some(SET_MODEL) => self.prompt(step),
            _ => self.lines.skip("an answer to what was not asked", step),
        }
    }

    fn initialized(&mut self, result: &Value, step: &mut Step) {
        let methods = result["authMethods"].as_array().into_iter().flatten();
        let methods: Vec<&str> = methods.filter_map(|method| method["name"].as_str()).collect();
        self.sign_in = methods.join(", ");
        let version = &result["protocolVersion"];
        if version.as_u64() != Some(VERSION) {
            let why = format!(
                "the agent speaks version {version} of the Agent Client Protocol, gcluster {VERSION}"
            );
            return self.give_up("ProtocolMismatch", why);
        }
        let params = json!({"cwd": self.wishes.directory, "mcpServers": []});
        self.send(request(&NEW_SESSION.into(), "session/new", params), step);
    }

    fn set_mode(&mut self, step: &mut Step) {
        let mode = match self.wishes.permission_mode.as_deref() {
            None | Some("allow" | "reject" | "bypassPermissions") => return self.set_model(step),
            Some(mode) => mode.to_owned(),
        };
        let offered = self.offers["modes"]["availableModes"].as_array().into_iter().flatten();
        let offered: Vec<&str> = offered.filter_map(|mode| mode["id"].as_str()).collect();
        if !offered.contains(&mode.as_str()) {
            let known = if offered.is_empty() { "none".to_owned() } else { offered.join(", ") };
            let why = format!(
                "the agent has no mode {mode:?}; set spec.backend.permissionMode to allow, reject or one of its modes ({known})"
            );
            return self.give_up("InvalidPermissionMode", why);
        }
        let params = json!({"sessionId": self.session, "modeId": mode});
        self.send(request(&SET_MODE.into(), "session/set_mode", params), step);
    }

    fn set_model(&mut self, step: &mut Step) {
        let Some(model) = self.wishes.model.clone() else { return self.prompt(step) };
        let options = self.offers["configOptions"].as_array().into_iter().flatten();
        let mut models = options.filter(|option| option["category"] == "model" || option["id"] == "model");
        let Some(option) = models.next() else {
            let why = "the agent lets nobody choose a model; leave spec.backend.model out and name the model where the \
                       agent reads it (its arguments or its environment)";
            return self.give_up("ModelNotFound", why.to_owned());
        };
        let params = json!({"sessionId": self.session, "configId": option["id"], "value": model});
        self.send(request(&SET_MODEL.into(), "session/set_config_option", params), step);
    }

    fn prompt(&mut self, step: &mut Step) {
        self.prompting = true;
        let prompt = json!([{"type": "text", "text": self.wishes.prompt}]);
        let params = json!({"sessionId": self.session, "prompt": prompt});
        self.send(request(&PROMPT.into(), "session/prompt", params), step);
    }

    /// The line that makes the waiting messages the next prompt.
    fn next_prompt(&mut self) -> Value {
        self.prompting = true;
        self.given = std::mem::take(&mut self.waiting);
        let ids: Vec<&str> = self.given.iter().map(|message| message.id.as_str()).collect();
        let id = format!("{MESSAGES}{}", ids.join(","));
        let blocks = self.given.iter().map(|message| json!({"type": "text", "text": message.words()}));
        let params = json!({"sessionId": self.session, "prompt": blocks.collect::<Vec<Value>>()});
        request(&id.into(), "session/prompt", params)
    }

    fn turn_over(&mut self, message: &Value, step: &mut Step) {
        let failed = message["error"].is_object();
        if failed {
            self.given.clear();
        }
        self.taken(step);
        self.conversation.end(step);
        self.prompting = false;
        self.cancelling = false;
        self.turns += 1;
        if let Some((tokens, cost_usd)) = self.meter.turn(&message["result"]["usage"]) {
            step.events.push(BackendEvent::Usage { tokens, cost_usd });
        }
        let outcome = if failed {
            self.judge(&message["error"])
        } else {
            stopped(message["result"]["stopReason"].as_str(), self.conversation.take_answer())
        };
        self.ending = Some(outcome);
        if !failed && !self.waiting.is_empty() {
            for message in &self.waiting {
                let (id, state) = (message.id.clone(), SteerState::Queued);
                step.events.push(BackendEvent::Steered { id, state });
            }
            let line = self.next_prompt();
            self.send(line, step);
        } else if let Some(ids) = self.sent.next_prompt() {
            self.prompting = true;
            self.given = ids.iter().filter_map(|id| self.earlier.remove(id)).collect();
        }
    }

    /// Sends what an earlier master has not sent.
    fn send(&self, line: Value, step: &mut Step) {
        if !self.sent.has(&line) {
            step.input.push(line.to_string());
        }
    }

    fn judge(&self, error: &Value) -> Outcome {
        judge(error, &self.sign_in, |text| limit_lifted(text, self.session.as_deref(), &self.zone))
    }

    fn give_up(&mut self, reason: &str, error: String) {
        self.ending = Some(Outcome::Failed { reason: reason.to_owned(), error, retry: RetryClass::Fatal });
    }

    fn cancel(&mut self) -> Option<String> {
        let session = self.session.as_ref().filter(|_| self.prompting)?;
        self.cancelling = true;
        let notification =
            json!({"jsonrpc": "2.0", "method": "session/cancel", "params": {"sessionId": session}});
        Some(notification.to_string())
    }
}

impl Dialect for AcpStream {
    fn line(&mut self, line: Line, step: &mut Step) {
        if let Some(message) = self.lines.object(line, step) {
            self.message(&message, step);
        }
    }

    fn is_idle(&self) -> bool {
        self.ending.is_some() && !self.prompting
    }

    fn linger(&self) -> Duration {
        LINGER
    }

    fn interrupt(&mut self) -> Option<String> {
        self.cancel()
    }

    fn holds(&mut self, message: &SteerMessage) -> bool {
        let begun = self.prompting || self.ending.is_none();
        let ends_the_turn = message.interrupt && self.prompting && !self.cancelling;
        if begun && !ends_the_turn {
            self.waiting.push(message.clone());
        }
        begun && !ends_the_turn
    }

    fn steer(&mut self, message: &SteerMessage) -> Option<String> {
        if self.prompting {
            self.waiting.push(message.clone());
            return self.cancel();
        }
        // After a failure there is no session to go on with.
        let failed = matches!(self.ending, Some(Outcome::Failed { .. } | Outcome::Throttled { .. }));
        if failed || self.session.is_none() {
            return None;
        }
        self.waiting.push(message.clone());
        Some(self.next_prompt().to_string())
    }

    fn finish(&mut self, exit: &Exit, step: &mut Step) -> Finished {
        self.conversation.flush(step);
        if let Some((tokens, cost_usd)) = self.meter.turn(&Value::Null) {
            step.events.push(BackendEvent::Usage { tokens, cost_usd });
        }
        self.lines.summary(step);
        let outcome = match self.ending.take() {
            // A turn that began after the last one that ended was cut off.
            Some(outcome) if !self.prompting => outcome,
            _ => without_result(exit, self.session.is_some()),
        };
        let outcome = match outcome {
            Outcome::Succeeded { output } => Outcome::Succeeded { output },
            _ if exit.stopped => Outcome::Interrupted { reason: "it was stopped".to_owned() },
            outcome => outcome,
        };
        let tool_uses = self.conversation.tool_uses();
        Finished { outcome, turns: self.turns, tool_uses, model: None }
    }
}

fn request(id: &Value, method: &str, params: Value) -> Value {
    json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params})
}

#[cfg(test)]
#[path = "acp_stream_tests.rs"]
mod tests;
