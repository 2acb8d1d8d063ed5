//! One task per live iteration: what the backend reports becomes records and status.
//!
//! ```text
//! turn ─▶ prompt recorded ─▶ Running, with its session ─▶ program ─▶ events ─▶ output, end, sealed ─▶ final status
//! ```
//!
//! The transcript is sealed before the final status is written, so that whoever sees the status finds the output.

use std::sync::Arc;
use std::time::Duration;

use gcluster_types::kinds::iteration::{IterationStatus, Phase, TranscriptSize};
use gcluster_types::kinds::provider::FaultKind;
use gcluster_types::transcript::Entry;
use gcluster_types::{Agent, Iteration, labels};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::{Api, ResourceExt};
use tokio::time::{Instant, sleep_until};

use super::credential::{self, Credential};
use super::live::Claim;
use super::messages::{Inbox, Post, prefaced};
use super::pace::Pace;
use super::plan::StopReason;
use super::queue::Ticket;
use super::record::{Ending, StatusWriter};
use super::standings::{Standings, group_of, key};
use super::transcript::{Reader, Writer};
use super::watch::{Overdue, Watch};
use crate::Context;
use crate::backend::{Backend, BackendEvent, Finished, Launch, Outcome, RetryClass, Running, StartError};
use crate::control_loop::jittered;
use crate::environment;
use crate::error::Result;
use crate::informer::Index;
use crate::report::{Events, excerpt};

/// Least time between two writes of records, and so the longest that one waits.
const FLUSH: Duration = Duration::from_millis(200);
/// How long a record waits for those that come with it.
const GATHER: Duration = Duration::from_millis(25);
/// Least time between two writes of the counters: each is a durable write, and half of what a busy agent costs.
const COUNTERS: Duration = Duration::from_secs(2);
/// Pause after an iteration that could not be recorded.
const RETRY: Duration = Duration::from_secs(2);

/// Everything that one run needs.
pub(super) struct Run {
    pub(super) ctx: Context,
    pub(super) pace: Pace,
    pub(super) standings: Standings,
    pub(super) agent: Arc<Agent>,
    pub(super) iteration: Iteration,
    /// This process has just recorded it, so nothing was begun in its name.
    pub(super) is_new: bool,
    pub(super) prompt: String,
    pub(super) backend: Arc<dyn Backend>,
    /// Told of the end before the claim is given back, so that nobody takes the iteration for a leftover.
    pub(super) iterations: Index<Iteration>,
    pub(super) post: Post,
    pub(super) claim: Claim,
}

/// Runs one iteration to its end. Everything that people should know is in its objects afterwards.
pub(super) async fn drive(mut run: Run) {
    let result = run.drive().await;
    report(&mut run, result).await;
}

/// Says what went wrong with a run, and lets some time pass before it is tried again.
pub(super) async fn report(run: &mut Run, result: Result<()>) {
    let name = run.iteration.name_any();
    if let Err(error) = result {
        match error.code() {
            Some(404) => tracing::info!(iteration = %name, "an iteration was deleted while it ran"),
            _ => {
                tracing::warn!(iteration = %name, %error, "an iteration could not be recorded to its end");
                // Giving the claim back lets it be tried again: not at once, or a full disk would keep us busy.
                let asked = run.claim.stop.wait_for(Option::is_some);
                // Whether it was asked for or the time is over, the claim goes back.
                let _ = tokio::time::timeout(jittered(RETRY), asked).await;
            }
        }
    }
}

impl Run {
    async fn drive(&mut self) -> Result<()> {
        let stopped = |claim: &mut Claim| {
            let mut stop = claim.stop.clone();
            async move { stop.wait_for(Option::is_some).await.ok().and_then(|reason| *reason) }
        };
        let turn = self.pace.turn(self.ticket());
        let permit = tokio::select! {
            permit = turn => permit,
            reason = stopped(&mut self.claim) => match reason {
                // It stays recorded, and begins when the agent goes on.
                Some(StopReason::Paused) => return Ok(()),
                reason => return self.unwanted(reason).await,
            },
        };
        let api: Api<Iteration> =
            Api::namespaced(self.ctx.client.clone(), &self.iteration.namespace().unwrap_or_default());
        let fresh = match self.is_new {
            // Nobody else writes it; whether it was deleted meanwhile the append of the prompt tells.
            true => self.iterations.of(&self.agent).into_iter().find(|it| it.uid() == self.iteration.uid()),
            // What was read may be old: the object decides.
            false => super::record::read(&api, &self.iteration).await?.map(Arc::new),
        };
        let Some(fresh) = fresh else { return Ok(()) };
        let status = fresh.status.clone().unwrap_or_default();
        if status.phase != Phase::Pending || status.session_id.is_some() || self.claim.stop.borrow().is_some()
        {
            let reason = *self.claim.stop.borrow();
            if reason == Some(StopReason::Paused) && status.session_id.is_none() {
                return Ok(());
            }
            return if status.phase.is_terminal() { Ok(()) } else { self.unwanted(reason).await };
        }
        // What it needs was there a moment ago. Now it is not: it stays recorded, and the agent says what it waits for.
        let Ok(environment) = environment::resolve(&self.ctx.client, &self.agent).await? else {
            return Ok(());
        };
        let credential = self.credential(&environment);
        if self.is_refused(credential.as_ref()) {
            // It stays recorded, and begins when the provider serves again.
            return Ok(());
        }
        let reader = Reader::new(self.ctx.client.clone(), &fresh);
        let mut writer = Writer::at(reader.clone(), &TranscriptSize::default());
        // A master that ended between this record and the next step left it behind: it stands for this run too.
        let (there, reopened) = match self.is_new {
            true => (Vec::new(), Writer::at(reader.clone(), &TranscriptSize::default())),
            false => reader.reopen().await?,
        };
        let recorded = there.into_iter().find_map(|record| match record.entry {
            Entry::Prompt { text } => Some(text),
            _ => None,
        });
        let messages = tokio::select! {
            messages = self.post.for_prompt(&fresh, recorded.is_some()) => messages?,
            // The next one to begin is given them.
            _ = stopped(&mut self.claim) => return Ok(()),
        };
        let excerpt = excerpt(&self.prompt);
        match recorded {
            Some(recorded) => (self.prompt, writer) = (recorded, reopened),
            None => {
                self.prompt = prefaced(&messages, &self.prompt);
                writer.push(self.ctx.now(), Entry::Prompt { text: self.prompt.clone() });
            }
        }
        writer.flush().await?;
        let mut inbox = Inbox::new(self.post.clone(), &fresh, messages);
        let mut status = StatusWriter::new(api, &fresh);
        status.now.phase = Phase::Running;
        status.now.reason = Some("Started".to_owned());
        status.now.started_at = Some(MicroTime(self.ctx.now()));
        status.now.session_id = Some(uuid::Uuid::new_v4().to_string());
        status.now.backend = Some(self.backend.name().to_owned());
        status.now.credential = credential.map(|credential| credential.name);
        status.now.prompt_excerpt = excerpt;
        status.write().await?;
        tracing::info!(iteration = %self.iteration.name_any(), backend = self.backend.name(), "started");
        let launch = self.launch(status.now.session_id.clone().unwrap_or_default(), environment);
        let ended = match self.backend.start(launch).await {
            Err(error) => Ok((not_started(&error), true)),
            Ok(running) => self.follow(running, self.watch(), &mut inbox, &mut writer, &mut status).await,
        };
        drop(permit);
        let (ending, told) = ended?;
        self.conclude(ending, told, &mut inbox, &mut writer, &mut status).await
    }

    /// Records the end of a program that is gone: of its messages, of the transcript, of the iteration.
    pub(super) async fn conclude(
        &self,
        ending: Ending,
        told: bool,
        inbox: &mut Inbox,
        writer: &mut Writer,
        status: &mut StatusWriter,
    ) -> Result<()> {
        let succeeded = ending.phase == Phase::Succeeded;
        inbox.settle(succeeded, told, self.ctx.now(), writer).await?;
        let ended = super::record::finish(status, writer, ending, self.ctx.now()).await?;
        tracing::info!(
            iteration = %self.iteration.name_any(),
            phase = ?status.now.phase,
            reason = status.now.reason.as_deref().unwrap_or_default(),
            "ended"
        );
        ended.into_iter().for_each(|ended| self.iterations.observe(ended));
        remove(self.ctx.config.runs_dir.join(self.iteration.uid().unwrap_or_default())).await;
        Ok(())
    }

    fn credential(&self, environment: &[(String, String)]) -> Option<Credential> {
        credential::of(&*self.backend, &self.agent, environment, &credential::ambient, &self.ctx.config.salt)
    }

    /// How it asks for its turn.
    pub(super) fn ticket(&self) -> Ticket {
        let status = self.agent.status.as_ref();
        Ticket {
            agent: key(&self.agent),
            iteration: self.iteration.name_any(),
            backend: self.backend.name().to_owned(),
            priority: self.agent.spec.priority,
            last_started: status.and_then(|status| status.last_iteration_time.as_ref()).map(|at| at.0),
        }
    }

    /// Whether the provider refused something to the credential since it was decided that this one begins.
    fn is_refused(&self, credential: Option<&Credential>) -> bool {
        let key = key(&self.agent);
        let group = group_of(credential.map(|credential| credential.name.as_str()), &key);
        let restarted = self.agent.spec.restarted_at.as_deref();
        self.standings.holds(&group, &key, self.agent.spec.priority, restarted, self.ctx.now())
    }

    /// Ends an iteration that never ran.
    async fn unwanted(&self, reason: Option<StopReason>) -> Result<()> {
        let reason = reason.unwrap_or(StopReason::Stopped).reason();
        let ended = super::record::close(&self.ctx, &self.iteration, reason).await?;
        ended.into_iter().for_each(|ended| self.iterations.observe(ended));
        Ok(())
    }

    fn launch(&self, session_id: String, environment: Vec<(String, String)>) -> Launch {
        let spec = &self.agent.spec;
        let backend = spec.backend.clone().unwrap_or_default();
        let uid = self.iteration.uid().unwrap_or_default();
        let directory = spec.working_directory.as_ref().map(std::path::PathBuf::from);
        Launch {
            run_dir: self.ctx.config.runs_dir.join(&uid),
            iteration_uid: uid,
            iteration_name: self.iteration.name_any(),
            agent: self.agent.name_any(),
            namespace: self.agent.namespace().unwrap_or_default(),
            working_directory: directory.unwrap_or_else(|| self.ctx.config.default_directory.clone()),
            prompt: self.prompt.clone(),
            model: backend.model,
            args: backend.args,
            access: environment::access(&self.ctx, &self.agent),
            env: environment,
            permission_mode: backend.permission_mode,
            session_id,
            presence: self.ctx.presence.clone(),
        }
    }

    /// Follows a program to its end. Answers whether it told everything, too. An error means that it could not be
    /// recorded; the program is ended then.
    pub(super) async fn follow(
        &mut self,
        mut running: Running,
        mut watch: Watch,
        inbox: &mut Inbox,
        writer: &mut Writer,
        status: &mut StatusWriter,
    ) -> Result<(Ending, bool)> {
        status.now.process = running.process.clone();
        inbox.open(self.backend.capabilities(), running.control.hears(), self.ctx.now(), writer);
        let mut processes = running.control.processes();
        let mut ending: Option<Ending> = None;
        let mut stop = self.claim.stop.clone();
        // Which process it is is recorded at once, so that it can be taken over.
        let first = if running.process.is_some() { Duration::ZERO } else { COUNTERS };
        let (mut flush_at, mut counters_at) = (None::<Instant>, Instant::now() + first);
        let mut flushed_at = Instant::now() - FLUSH;
        let soon = |flushed_at: Instant| (Instant::now() + GATHER).max(flushed_at + FLUSH);
        let result = loop {
            let due = [watch.deadline(), flush_at].into_iter().flatten().min();
            let due = due.into_iter().chain(status.is_due().then_some(counters_at)).min();
            tokio::select! {
                event = running.events.recv() => match event {
                    Some(BackendEvent::Done(finished)) => break Ok(Some(finished)),
                    None => break Ok(None),
                    Some(event) => {
                        watch.saw(&event, Instant::now());
                        inbox.saw(&event, self.ctx.now(), writer);
                        take(event, self.ctx.now(), writer, status);
                        if !writer.is_empty() {
                            flush_at.get_or_insert_with(|| soon(flushed_at));
                        }
                    }
                },
                Some(message) = inbox.next(), if ending.is_none() => inbox.hand(message, &running.control),
                // A pause lets what has begun come to its end.
                _ = stop.wait_for(|asked| asked.is_some_and(|reason| reason != StopReason::Paused)), if ending.is_none() => {
                    let reason = (*self.claim.stop.borrow()).unwrap_or(StopReason::MasterShutdown);
                    ending = Some(Ending::interrupted(reason.reason()));
                    watch.disarm();
                    self.end(&running, reason == StopReason::MasterShutdown);
                }
                Ok(()) = processes.changed() => status.now.processes.clone_from(&processes.borrow_and_update()),
                () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {}
            }
            if let Some(overdue) = watch.check(Instant::now()) {
                let notice = match &overdue {
                    Overdue::Turn(_) => {
                        running.control.interrupt();
                        "the turn is interrupted, and the program ended if that does not help"
                    }
                    Overdue::Run(_) => {
                        self.end(&running, false);
                        "the program is ended"
                    }
                };
                let (Overdue::Turn(over) | Overdue::Run(over)) = overdue;
                let text = format!("{}: {notice}", over.error.as_deref().unwrap_or_default());
                self.tell(&over.reason, &text);
                writer.push(self.ctx.now(), Entry::Notice { text });
                flush_at.get_or_insert_with(|| soon(flushed_at));
                ending = Some(over);
            }
            if writer.is_full() || inbox.is_due() || flush_at.is_some_and(|at| at <= Instant::now()) {
                (flush_at, flushed_at) = (None, Instant::now());
                if let Err(error) = writer.flush().await {
                    break Err(error);
                }
                if let Err(error) = inbox.report().await {
                    break Err(error);
                }
            }
            if status.is_due() && counters_at <= Instant::now() {
                counters_at = Instant::now() + COUNTERS;
                status.now.transcript = Some(writer.size());
                if let Err(error) = status.write().await
                    && error.code() == Some(404)
                {
                    break Err(error);
                }
            }
        };
        match result {
            Ok(finished) => {
                let told = finished.is_some();
                Ok((ended(finished, ending, &mut status.now), told))
            }
            Err(error) => {
                running.control.stop(self.ctx.config.stop_grace).await;
                Err(error)
            }
        }
    }

    /// The clocks of a run that begins now.
    pub(super) fn watch(&self) -> Watch {
        Watch::new(&self.agent, self.backend.capabilities(), self.ctx.config.stall_grace, Instant::now())
    }

    /// An Event about the iteration, without waiting.
    fn tell(&self, reason: &str, text: &str) {
        let events = Events::new(self.ctx.client.clone(), labels::MANAGER_EXECUTOR);
        let (iteration, reason, text) = (self.iteration.clone(), reason.to_owned(), text.to_owned());
        tokio::spawn(async move { events.warning(&iteration, &reason, &text, &text).await });
    }

    /// Asks the program to end, without waiting: its events are still read.
    fn end(&self, running: &Running, shutdown: bool) {
        let config = &self.ctx.config;
        let grace = if shutdown { config.shutdown_grace } else { config.stop_grace };
        let control = running.control.clone();
        tokio::spawn(async move { control.stop(grace).await });
    }
}

/// Takes one report of the backend into the transcript and the status.
fn take(
    event: BackendEvent,
    now: k8s_openapi::jiff::Timestamp,
    writer: &mut Writer,
    status: &mut StatusWriter,
) {
    match event {
        BackendEvent::Session { session_id, model } => {
            status.now.session_id = Some(session_id);
            status.now.model = model.or(status.now.model.take());
        }
        BackendEvent::Record(entry) => {
            if matches!(entry, Entry::ToolUse { .. }) {
                status.now.tool_uses += 1;
            }
            writer.push(now, entry);
        }
        BackendEvent::Usage { tokens, cost_usd } => {
            super::record::add_usage(&mut status.now, &tokens, cost_usd);
            writer.push(now, Entry::Usage { tokens, cost_usd });
        }
        BackendEvent::Activity
        | BackendEvent::Heartbeat
        | BackendEvent::Tasks { .. }
        | BackendEvent::Steered { .. }
        | BackendEvent::Done(_) => {}
    }
}

/// How a run ended, from what the backend says and from what was asked of it.
fn ended(finished: Option<Finished>, asked: Option<Ending>, status: &mut IterationStatus) -> Ending {
    let Some(finished) = finished else {
        let message = "the backend went away without saying how the run ended".to_owned();
        return asked.unwrap_or_else(|| Ending::failed("BackendVanished", message));
    };
    status.turns = finished.turns;
    status.tool_uses = status.tool_uses.max(finished.tool_uses);
    status.model = finished.model.or(status.model.take());
    if let Some(asked) = asked {
        return asked;
    }
    match finished.outcome {
        Outcome::Succeeded { output } => Ending::succeeded(output),
        Outcome::Failed { reason, error, retry: RetryClass::Outage } => {
            Ending::refused(FaultKind::Outage, &reason, error)
        }
        Outcome::Failed { reason, error, retry: RetryClass::Credential } => {
            Ending { fatal: true, ..Ending::refused(FaultKind::Credential, &reason, error) }
        }
        Outcome::Failed { reason, error, retry } => {
            Ending { fatal: retry == RetryClass::Fatal, ..Ending::failed(&reason, error) }
        }
        Outcome::Throttled { until, message } => Ending::throttled(until, message),
        Outcome::Interrupted { reason } => {
            Ending { error: Some(reason), ..Ending::interrupted("Interrupted") }
        }
    }
}

fn not_started(error: &StartError) -> Ending {
    Ending { fatal: error.retry() == RetryClass::Fatal, ..Ending::failed(error.reason(), error.to_string()) }
}

/// Removes the files of a run. They were read; what is left of them is a nuisance, not an error.
pub(super) async fn remove(run_dir: std::path::PathBuf) {
    if let Err(error) = tokio::fs::remove_dir_all(&run_dir).await
        && error.kind() != std::io::ErrorKind::NotFound
    {
        tracing::debug!(%error, path = %run_dir.display(), "cannot remove the files of a run");
    }
}
