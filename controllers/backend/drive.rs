//! One task per run: reads the program's lines, lets a [`Dialect`] say what they mean, obeys the control,
//! and leaves no process behind.
//!
//! ```text
//! spool ──line──▶ Dialect ──events──▶ queue ──▶ receiver      the receiver may be slow: reading waits,
//!                    └──input lines──▶ stdin                  stopping does not
//! ```

use std::collections::VecDeque;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::Duration;

use gcluster_types::transcript::Entry;
use rustix::process::Signal;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use super::hunted::{Ended, Hunted, wait};
use super::input::InputLines;
use super::keeper;
use super::mask::Mask;
use super::process::{Process, tail};
use super::recorded::Recorded;
use super::spool::{Line, Spool};
use super::{
    Adoption, BackendEvent, Command, Commands, Control, Finished, Launch, Running, StartError, SteerMessage,
    SteerState, sweep,
};

/// Events that wait for the receiver before reading waits too.
const EVENTS: usize = 256;
/// How long a program may take to exit once its input was closed.
const LINGER: Duration = Duration::from_secs(30);
/// Grace of a run that nobody listens to any more.
const ABANDONED_GRACE: Duration = Duration::from_secs(5);
/// Signs of progress within this time are told once.
const ACTIVITY_INTERVAL: Duration = Duration::from_millis(500);

/// What the lines of a program mean. No IO: a dialect is tested with recorded lines.
pub(crate) trait Dialect: Send {
    /// Takes one line.
    fn line(&mut self, line: Line, step: &mut Step);
    /// Everything that was written so far has been taken; more may come.
    fn pause(&mut self, _step: &mut Step) {}
    /// True when the program has nothing left to do, so that its input can be closed.
    fn is_idle(&self) -> bool {
        false
    }
    /// How long the program may take to exit once its input was closed.
    fn linger(&self) -> Duration {
        LINGER
    }
    /// The line that ends the running turn, where there is one.
    fn interrupt(&mut self) -> Option<String> {
        None
    }
    /// Keeps a message for later, when the program cannot take it now but will; it tells then.
    fn holds(&mut self, _message: &SteerMessage) -> bool {
        false
    }
    /// The line that begins to hand over a message; `None` when the program cannot take any.
    fn steer(&mut self, _message: &SteerMessage) -> Option<String> {
        None
    }
    /// The program is gone: the last events, and how it all ended.
    fn finish(&mut self, exit: &Exit, step: &mut Step) -> Finished;
}

/// What a dialect makes of a line.
#[derive(Default)]
pub(crate) struct Step {
    pub(crate) events: Vec<BackendEvent>,
    /// Lines to send to the program.
    pub(crate) input: Vec<String>,
}

impl Step {
    pub(crate) fn record(&mut self, entry: Entry) {
        self.events.push(BackendEvent::Record(entry));
    }

    pub(crate) fn notice(&mut self, text: impl Into<String>) {
        self.record(Entry::Notice { text: text.into() });
    }
}

/// How the program ended.
pub(crate) struct Exit {
    /// `None` when the operating system did not say: the program ended while no master watched it.
    pub(crate) status: Option<ExitStatus>,
    /// The end of its stderr.
    pub(crate) stderr: String,
    /// Somebody asked for it.
    pub(crate) stopped: bool,
}

/// Takes over a program that was started.
pub(crate) fn drive(
    launch: &Launch,
    process: Process,
    dialect: Box<dyn Dialect>,
) -> Result<Running, StartError> {
    let spool = Spool::open(&process.stdout).map_err(|source| {
        let (uid, run_dir) = (launch.iteration_uid.clone(), launch.run_dir.clone());
        tokio::task::spawn_blocking(move || sweep::sweep_run(&uid, &run_dir));
        StartError::Io { step: format!("read {}", process.stdout.display()), source }
    })?;
    let (mut child, reference) = (process.child, process.reference);
    let mask = Mask::of(&launch.access);
    let files = Files { spool: spool.masked(mask.clone()), stderr: process.stderr, mask };
    let exit = async move { child.wait().await.ok().map(keeper::status) };
    let hunted = Hunted::new(&launch.iteration_uid, launch.run_dir.clone(), reference);
    Ok(begin(hunted, files, process.input, dialect, Earlier::default(), exit))
}

/// Takes over a program that an earlier master started. Its output is read from the beginning, so that the dialect
/// knows all that it knew; what is on record is not reported again.
pub(crate) fn take_over(
    adoption: &Adoption,
    dialect: Box<dyn Dialect>,
    recorded: Recorded,
) -> Result<Running, StartError> {
    let stdout = adoption.run_dir.join("stdout");
    let spool = Spool::open(&stdout)
        .map_err(|source| StartError::Io { step: format!("read {}", stdout.display()), source })?;
    let mask = adoption.mask.clone();
    let files = Files { spool: spool.masked(mask.clone()), stderr: adoption.run_dir.join("stderr"), mask };
    let reference = adoption.process.clone().unwrap_or_default();
    let (leader, run_dir) = (reference.clone(), adoption.run_dir.clone());
    let exit = async move {
        sweep::gone(&leader).await;
        keeper::recorded_exit(&run_dir)
    };
    let input = adoption.open_input();
    let messages = adoption.unhanded(input.as_ref());
    let hunted = Hunted::new(&adoption.iteration_uid, adoption.run_dir.clone(), reference);
    Ok(begin(hunted, files, input, dialect, Earlier { recorded, again: true, messages }, exit))
}

impl Adoption {
    /// The input of the program, where it was left open.
    fn open_input(&self) -> Option<InputLines> {
        let alive = self.process.as_ref().is_some_and(sweep::is_alive);
        alive.then(|| InputLines::reopen(&self.run_dir)).flatten()
    }

    /// Messages that were meant for the program and never handed to it, for it can still be given them.
    fn unhanded(&self, input: Option<&InputLines>) -> Vec<SteerMessage> {
        let Some(input) = input else { return Vec::new() };
        self.messages.iter().filter(|message| !input.was_handed(&message.id)).cloned().collect()
    }
}

/// What an earlier master did with a run.
#[derive(Default)]
struct Earlier {
    recorded: Recorded,
    /// The output is being read a second time, up to where it ended when this began.
    again: bool,
    /// To be handed over once that is done.
    messages: Vec<SteerMessage>,
}

/// What a program writes.
struct Files {
    spool: Spool,
    stderr: PathBuf,
    mask: Mask,
}

fn begin(
    hunted: Arc<Hunted>,
    files: Files,
    input: Option<InputLines>,
    dialect: Box<dyn Dialect>,
    earlier: Earlier,
    exit: impl Future<Output = Option<ExitStatus>> + Send + 'static,
) -> Running {
    let (sender, events) = mpsc::channel(EVENTS);
    let (control, commands) = Control::channel();
    let control = control.of_process(hunted.shown(), input.is_some());
    let (exit_sender, exited) = watch::channel(None);
    let (stop_sender, stopping) = watch::channel(false);
    tokio::spawn(wait(exit, hunted.clone(), stopping, exit_sender));
    let leader = hunted.leader().clone();
    let driver = Driver {
        spool: files.spool,
        dialect,
        input,
        stderr: files.stderr,
        mask: files.mask,
        events: sender,
        queue: VecDeque::new(),
        earlier,
        last_activity: None,
        hunted,
        exit: exited,
        stopping: stop_sender,
        abandoned: false,
    };
    tokio::spawn(driver.run(commands));
    Running { process: (leader.pid > 0).then_some(leader), events, control }
}

struct Driver {
    spool: Spool,
    dialect: Box<dyn Dialect>,
    input: Option<InputLines>,
    stderr: PathBuf,
    mask: Mask,
    events: mpsc::Sender<BackendEvent>,
    queue: VecDeque<BackendEvent>,
    earlier: Earlier,
    last_activity: Option<Instant>,
    hunted: Arc<Hunted>,
    exit: watch::Receiver<Option<Ended>>,
    stopping: watch::Sender<bool>,
    /// Nobody receives the events any more.
    abandoned: bool,
}

impl Driver {
    async fn run(mut self, mut commands: Commands) {
        let mut linger: Option<Instant> = None;
        let mut overdue = false;
        let mut controlled = true;
        let ended = loop {
            if self.queue.is_empty() {
                let more = self.read();
                if more {
                    tokio::task::yield_now().await;
                }
                // Another turn may begin after the input was closed: then there is something to do again.
                linger = self
                    .dialect
                    .is_idle()
                    .then(|| linger.unwrap_or_else(|| Instant::now() + self.dialect.linger()));
                if let Some(input) = self.input.take_if(|_| linger.is_some()) {
                    input.close();
                }
                let ended = self.exit.borrow_and_update().clone();
                if let Some(ended) = ended.filter(|_| !more && self.queue.is_empty()) {
                    break ended;
                }
                if more {
                    continue;
                }
            }
            let waiting = !self.queue.is_empty();
            let sender = self.events.clone();
            tokio::select! {
                permit = sender.reserve(), if waiting && !self.abandoned => match (permit, self.queue.pop_front()) {
                    (Ok(permit), Some(event)) => permit.send(event),
                    _ => self.queue.clear(),
                },
                () = sender.closed(), if !self.abandoned => {
                    self.abandoned = true;
                    self.queue.clear();
                    self.stop(ABANDONED_GRACE);
                }
                command = commands.next(), if controlled => match command {
                    Some(command) => self.obey(command),
                    None => controlled = false,
                },
                () = self.spool.changed(), if !waiting => self.input.iter().for_each(InputLines::retry),
                _ = self.exit.changed(), if self.exit.borrow().is_none() => commands.set_ended(),
                () = tokio::time::sleep_until(linger.unwrap_or_else(Instant::now)), if linger.is_some() && !overdue => {
                    overdue = true;
                    self.escalate(ABANDONED_GRACE, false, false);
                }
            }
        };
        commands.set_ended();
        self.finish(&ended, overdue).await;
    }

    /// Lets the dialect take a few of the lines that are there. True when there may be more of them.
    fn read(&mut self) -> bool {
        let mut step = Step::default();
        let mut more = false;
        for _ in 0..64 {
            match self.spool.next_line() {
                Ok(Some(line)) => {
                    self.dialect.line(line, &mut step);
                    more = true;
                }
                Ok(None) => {
                    self.dialect.pause(&mut step);
                    more = false;
                    break;
                }
                Err(error) => {
                    step.notice(format!("gcluster cannot read the program's output: {error}"));
                    self.stop(ABANDONED_GRACE);
                    more = false;
                    break;
                }
            }
            if !step.events.is_empty() {
                break;
            }
        }
        self.take(step);
        if !more && std::mem::take(&mut self.earlier.again) {
            // All that was there is known now: what was never handed over comes behind it, in its order.
            for message in std::mem::take(&mut self.earlier.messages) {
                self.obey(Command::Steer(message));
            }
        }
        more
    }

    fn take(&mut self, step: Step) {
        if let Some(input) = &self.input {
            for line in step.input {
                // Of output that is read again the answers come again, too.
                if self.earlier.again { input.send_again(line) } else { input.send(line) }
            }
        }
        for event in step.events {
            if matches!(event, BackendEvent::Activity | BackendEvent::Heartbeat) {
                let now = Instant::now();
                if self.last_activity.is_some_and(|last| now - last < ACTIVITY_INTERVAL) {
                    continue;
                }
                self.last_activity = Some(now);
            }
            let entry = match &event {
                BackendEvent::Record(entry) => Some(entry.clone()),
                BackendEvent::Usage { tokens, cost_usd } => {
                    Some(Entry::Usage { tokens: tokens.clone(), cost_usd: *cost_usd })
                }
                _ => None,
            };
            if entry.is_some_and(|entry| self.earlier.recorded.takes(&entry)) {
                continue;
            }
            if !self.abandoned {
                self.queue.push_back(event);
            }
        }
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::Stop { grace } => self.stop(grace),
            Command::Interrupt => match (self.dialect.interrupt(), &self.input) {
                (Some(line), Some(input)) => input.send(line),
                _ => self.hunted.signal_group(Signal::INT),
            },
            // Those that were sent before and not handed over come first.
            Command::Steer(message) if self.earlier.again => self.earlier.messages.push(message),
            Command::Steer(message) => {
                if self.input.is_some() && self.dialect.holds(&message) {
                    return;
                }
                // Whoever writes to an input that is closed must learn that nobody will read it.
                let line = self.input.as_ref().and_then(|_| self.dialect.steer(&message));
                let state = if line.is_some() { SteerState::Queued } else { SteerState::Refused };
                if let (Some(input), Some(line)) = (&self.input, line) {
                    input.send(line);
                }
                self.queue.push_back(BackendEvent::Steered { id: message.id, state });
            }
        }
    }

    fn stop(&mut self, grace: Duration) {
        self.stopping.send_replace(true);
        let asked = match (self.dialect.interrupt(), self.input.take()) {
            // Closing the input afterwards lets it exit by itself once the turn has ended.
            (Some(line), Some(input)) => {
                input.send(line);
                input.close();
                true
            }
            (None, Some(input)) => {
                input.close();
                false
            }
            _ => false,
        };
        self.escalate(grace, true, asked);
    }

    /// Ends the processes in steps, the last one at the end of the grace.
    fn escalate(&self, grace: Duration, interrupt: bool, asked: bool) {
        let (hunted, mut exit) = (self.hunted.clone(), self.exit.clone());
        let mut steps = Vec::new();
        if interrupt {
            steps.push((if asked { grace.mul_f64(0.35) } else { Duration::ZERO }, Signal::INT));
        }
        steps.push((if interrupt { grace.mul_f64(0.6) } else { Duration::ZERO }, Signal::TERM));
        steps.push((grace, Signal::KILL));
        tokio::spawn(async move {
            let started = Instant::now();
            hunted.clone().look().await;
            for (at, signal) in steps {
                let gone = exit.wait_for(Option::is_some);
                if tokio::time::timeout_at(started + at, gone).await.is_ok() {
                    return;
                }
                hunted.clone().look().await;
                match signal {
                    Signal::INT => hunted.signal_group(signal),
                    Signal::TERM => hunted.clone().signal_family(signal).await,
                    _ => {
                        hunted.clone().kill().await;
                    }
                }
            }
        });
    }

    /// The program is gone; and whether it had to be told to go, because it had nothing left to do.
    async fn finish(mut self, ended: &Ended, overdue: bool) {
        let mut step = Step::default();
        if let Some(line) = self.spool.last_line() {
            self.dialect.line(line, &mut step);
            self.dialect.pause(&mut step);
        }
        let stopped = *self.stopping.borrow();
        if ended.ended_leftovers > 0 && !stopped && !overdue {
            step.notice(format!(
                "{} process(es) that the program had left running were ended",
                ended.ended_leftovers
            ));
        }
        if !ended.left.is_empty() {
            step.notice(format!("processes {:?} could not be killed within 5 s", ended.left));
        }
        let exit = Exit { status: ended.status, stderr: self.mask.hide_text(tail(&self.stderr)), stopped };
        let finished = self.dialect.finish(&exit, &mut step);
        step.events.push(BackendEvent::Done(finished));
        self.take(step);
        while let Some(event) = self.queue.pop_front() {
            if self.events.send(event).await.is_err() {
                return;
            }
        }
    }
}
