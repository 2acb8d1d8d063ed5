//! The `rehearsal` backend: built in, no network, no process. It plays an iteration and says that it does.
//!
//! Arguments: `--pace=0.1` (waits take a tenth), `--script=FILE`, and directives, one per argument, as
//! `rehearsal_script` describes them: `["say Hello.", "wait 1s", "output done"]`.

use std::path::Path;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use gcluster_types::kinds::agent::TokenTotals;
use gcluster_types::transcript::Entry;
use k8s_openapi::jiff::Timestamp;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::rehearsal_script::{Directive, Limit, made_up, parse};
use super::{
    Authentication, Backend, BackendEvent, Capabilities, Command, Commands, Control, Finished, Launch,
    Outcome, Running, StartError, SteerState, Unavailable,
};

const DISCLAIMER: &str = "This is a rehearsal: no model is asked and nothing is executed. Use the backend claude or command for real work.";
/// Environment variable that makes rehearsals with the same value share a made-up account, and so its limits.
const ACCOUNT: &str = "GCLUSTER_REHEARSAL_ACCOUNT";
/// Environment variable of the launch with the same meaning as `--pace`.
const PACE: &str = "GCLUSTER_REHEARSAL_PACE";

/// Plays iterations.
#[derive(Debug, Default)]
pub struct RehearsalBackend;

impl Backend for RehearsalBackend {
    fn name(&self) -> &'static str {
        "rehearsal"
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities { live_steering: true, cost: true, tools: true, ..Capabilities::default() }
    }

    fn check(&self) -> Result<(), Unavailable> {
        Ok(())
    }

    fn authentication(&self) -> Authentication {
        Authentication { keys: &[ACCOUNT], remedy: "another account", ..Authentication::default() }
    }

    fn start(&self, launch: Launch) -> BoxFuture<'static, Result<Running, StartError>> {
        async move {
            let (script, pace) = script(&launch).map_err(StartError::Invalid)?;
            let (sender, events) = mpsc::channel(64);
            let (control, commands) = Control::channel();
            let stage = Stage {
                launch,
                pace,
                events: sender,
                commands,
                controlled: true,
                stopped: false,
                interrupted: false,
                tools: 0,
                open_tool: None,
                output: None,
                said: String::new(),
            };
            tokio::spawn(stage.play(script));
            Ok(Running { process: None, events, control })
        }
        .boxed()
    }
}

fn script(launch: &Launch) -> Result<(Vec<Directive>, f64), String> {
    let mut pace = launch.env.iter().find(|(name, _)| name == PACE).map(|(_, value)| value.clone());
    let mut text = String::new();
    for arg in &launch.args {
        if let Some(value) = arg.strip_prefix("--pace=") {
            pace = Some(value.to_owned());
        } else if let Some(file) = arg.strip_prefix("--script=") {
            let path = launch.working_directory.join(Path::new(file));
            let read = std::fs::read_to_string(&path);
            text += &read
                .map_err(|error| format!("cannot read the rehearsal's script {}: {error}", path.display()))?;
            text.push('\n');
        } else {
            text += arg;
            text.push('\n');
        }
    }
    let pace = match pace {
        None => 1.0,
        Some(pace) => pace
            .parse::<f64>()
            .ok()
            .filter(|pace| (0.0..=1000.0).contains(pace))
            .ok_or_else(|| format!("the rehearsal's pace {pace:?} is no number from 0 to 1000"))?,
    };
    let script = parse(&text)?;
    Ok((if script.is_empty() { made_up(&launch.prompt) } else { script }, pace))
}

/// One rehearsal.
struct Stage {
    launch: Launch,
    pace: f64,
    events: mpsc::Sender<BackendEvent>,
    commands: Commands,
    controlled: bool,
    stopped: bool,
    /// The present wait was ended by a message.
    interrupted: bool,
    tools: i64,
    /// Id of the call that was not answered yet.
    open_tool: Option<String>,
    output: Option<String>,
    said: String,
}

impl Stage {
    async fn play(mut self, script: Vec<Directive>) {
        let session_id = self.launch.session_id.clone();
        self.send(BackendEvent::Session { session_id, model: None }).await;
        self.notice(DISCLAIMER.to_owned()).await;
        let mut outcome = None;
        for directive in script {
            outcome = self.act(directive).await;
            if self.stopped {
                outcome = Some(Outcome::Interrupted { reason: "it was stopped".to_owned() });
            }
            if outcome.is_some() {
                break;
            }
        }
        let usage = BackendEvent::Usage { tokens: TokenTotals::default(), cost_usd: Some(0.0) };
        self.send(usage).await;
        let output = self.output.take().unwrap_or_else(|| std::mem::take(&mut self.said));
        let outcome = outcome.unwrap_or(Outcome::Succeeded { output });
        let finished = Finished { outcome, turns: 1, tool_uses: self.tools, model: None };
        self.send(BackendEvent::Done(finished)).await;
    }

    /// Does one thing. `Some` ends the rehearsal.
    async fn act(&mut self, directive: Directive) -> Option<Outcome> {
        match directive {
            Directive::Say(text) => self.say(text).await,
            Directive::Think(text) => self.send(BackendEvent::Record(Entry::Thinking { text })).await,
            Directive::Notice(text) => self.notice(text).await,
            Directive::Tool { name, detail } => {
                self.tools += 1;
                let id = format!("tool-{}", self.tools);
                self.open_tool = Some(id.clone());
                self.send(BackendEvent::Record(Entry::ToolUse { id, name, detail })).await;
            }
            Directive::Result { text, is_error } => {
                let id = self.open_tool.take().unwrap_or_else(|| format!("tool-{}", self.tools));
                self.send(BackendEvent::Record(Entry::ToolResult { id, text, is_error })).await;
            }
            Directive::Cost(cost_usd) => {
                let mut tokens = TokenTotals::default();
                tokens.add(&TokenTotals { output: 1_000, ..TokenTotals::default() });
                self.send(BackendEvent::Usage { tokens, cost_usd }).await;
            }
            Directive::Wait(time) => self.wait(Some(time.mul_f64(self.pace))).await,
            Directive::Hang => self.wait(None).await,
            Directive::Echo => {
                let prompt = self.launch.prompt.clone();
                self.output = Some(prompt.clone());
                self.say(prompt).await;
            }
            Directive::Output(text) => {
                self.output = Some(text.clone());
                self.say(text).await;
            }
            Directive::Fail { error, class } => {
                return Some(Outcome::Failed { reason: "Rehearsed".to_owned(), error, retry: class });
            }
            Directive::ThrottleUntil(limit) => {
                let until = match limit {
                    Limit::Unknown => None,
                    Limit::At(at) => Some(at),
                    Limit::In(time) => Timestamp::now().checked_add(time).ok(),
                };
                return Some(Outcome::Throttled {
                    until,
                    message: "A usage limit, as the script says.".to_owned(),
                });
            }
        }
        None
    }

    async fn say(&mut self, text: String) {
        self.said.clone_from(&text);
        self.send(BackendEvent::Record(Entry::Text { text })).await;
    }

    async fn notice(&mut self, text: String) {
        self.send(BackendEvent::Record(Entry::Notice { text })).await;
    }

    /// Waits, for ever without a time, and obeys meanwhile.
    async fn wait(&mut self, time: Option<Duration>) {
        let deadline = time.map(|time| Instant::now() + time);
        self.interrupted = false;
        while !self.stopped && !self.interrupted {
            tokio::select! {
                () = tokio::time::sleep_until(deadline.unwrap_or_else(Instant::now)), if deadline.is_some() => return,
                () = self.events.closed() => self.stopped = true,
                command = self.commands.next(), if self.controlled => self.obey(command).await,
            }
        }
    }

    async fn obey(&mut self, command: Option<Command>) {
        match command {
            None => self.controlled = false,
            Some(Command::Stop { .. } | Command::Interrupt) => self.stopped = true,
            Some(Command::Steer(message)) => {
                let (id, interrupt) = (message.id.clone(), message.interrupt);
                self.interrupted |= interrupt;
                self.send(BackendEvent::Record(message.record())).await;
                self.send(BackendEvent::Steered { id: id.clone(), state: SteerState::Delivered }).await;
                self.send(BackendEvent::Steered { id, state: SteerState::Completed }).await;
            }
        }
    }

    async fn send(&mut self, event: BackendEvent) {
        if self.events.send(event).await.is_err() {
            self.stopped = true;
        }
    }
}
