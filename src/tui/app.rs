//! The loop: what happened, what it means, what to do, what to draw.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossterm::event::{Event, EventStream, KeyEventKind};
use futures::StreamExt as _;
use k8s_openapi::jiff::Timestamp;
use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use super::actions;
use super::hub::Hub;
use super::informer::Informer;
use super::model::Model;
use super::msg::{BUDGET, Effect, Fetch, Msg, Refusal, Wanted};
use super::record::{Recorder, Replay};
use super::terminal::{self, LateAnswer};
use super::update::update;
use super::view;
use crate::client::Connection;
use crate::exit::{Failure, Kind, Result};

/// Least time between two frames that data cause: 30 a second.
const FRAME: Duration = Duration::from_millis(33);
/// Least time between two frames that a person causes: whoever types sees it at once.
const TYPED: Duration = Duration::from_millis(8);
/// How often what runs turns.
const SPIN: Duration = Duration::from_millis(125);
/// Pause after which a new selection is followed, when it changes quickly.
const SETTLE: Duration = Duration::from_millis(60);

/// Where messages come from.
pub(crate) enum Source {
    /// A master.
    Live(Connection),
    /// A recording, and how many times faster than it was.
    Replay(Replay, f64),
}

/// How the program was left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Left {
    /// By the user.
    Quit,
    /// By a signal.
    Signal,
}

type Screen = Terminal<CrosstermBackend<std::io::Stdout>>;

/// Everything that the loop holds.
struct App {
    model: Model,
    screen: Screen,
    recorder: Option<Recorder>,
    connection: Option<Connection>,
    informer: Option<Informer>,
    hub: Arc<Hub>,
    results: mpsc::Sender<Msg>,
    /// Taken from the hub, not yet taken in.
    pending: VecDeque<Msg>,
    followed: Instant,
    left: Option<Left>,
}

/// Runs until the user leaves. The terminal is taken already.
pub(crate) async fn run(model: Model, source: Source, recorder: Option<Recorder>) -> Result<Left> {
    let hub = Arc::new(Hub::default());
    // Records wait in the connection rather than here when the screen cannot follow.
    let (results, mut done) = mpsc::channel(16);
    let screen = Terminal::new(CrosstermBackend::new(std::io::stdout())).map_err(cannot_draw)?;
    let (connection, replay) = match source {
        Source::Live(connection) => (Some(connection), None),
        Source::Replay(replay, speed) => (None, Some((replay, speed))),
    };
    let informer =
        connection.clone().map(|connection| Informer::new(connection, hub.clone(), results.clone()));
    if let Some((replay, speed)) = replay {
        tokio::spawn(play(replay, speed, results.clone()));
    }
    let mut app = App {
        model,
        screen,
        recorder,
        connection,
        informer,
        hub,
        results,
        pending: VecDeque::new(),
        followed: Instant::now(),
        left: None,
    };
    let ended = app.turn(&mut done).await;
    if let Some(recorder) = &mut app.recorder {
        recorder.flush();
    }
    ended
}

impl App {
    async fn turn(&mut self, done: &mut mpsc::Receiver<Msg>) -> Result<Left> {
        let mut keys = EventStream::new();
        let mut signals = Signals::new()?;
        let mut late = LateAnswer::default();
        let mut drawn = Instant::now();
        let mut typed = false;
        let mut tick = Instant::now();
        self.draw()?;
        self.follow();
        loop {
            let due = drawn + if typed { TYPED } else { FRAME };
            tokio::select! {
                biased;
                signal = signals.next() => match signal {
                    Signal::End => return Ok(Left::Signal),
                    Signal::Stop => self.suspend()?,
                    Signal::Continue => {
                        terminal::enter(self.model.mouse).map_err(cannot_draw)?;
                        self.redraw();
                    }
                },
                event = keys.next() => {
                    let msg = match event {
                        Some(Ok(Event::Key(key))) if key.kind == KeyEventKind::Release => continue,
                        Some(Ok(Event::Key(key))) if late.swallows(&key, Instant::now()) => continue,
                        Some(Ok(Event::Key(key))) => Msg::Key(key),
                        Some(Ok(Event::Mouse(event))) => Msg::Mouse(event),
                        Some(Ok(Event::Paste(text))) => Msg::Paste(text),
                        Some(Ok(Event::Resize(width, height))) => Msg::Resize(width, height),
                        Some(Ok(Event::FocusGained | Event::FocusLost)) => continue,
                        // The terminal is gone.
                        Some(Err(_)) | None => return Ok(Left::Signal),
                    };
                    typed = true;
                    self.take(msg)?;
                }
                () = tokio::time::sleep_until(due.into()), if self.model.changed => {
                    self.draw()?;
                    (drawn, typed) = (Instant::now(), false);
                }
                // Ready when everything above has been looked at once: no key waits for more than one budget.
                () = tokio::task::yield_now(), if !self.pending.is_empty() => self.take_pending()?,
                () = self.hub.arrived(), if !self.model.changed || drawn.elapsed() >= FRAME => {
                    self.pending.extend(self.hub.take());
                    self.take_pending()?;
                }
                // A flood of records keeps nobody else waiting: frames and objects come before it.
                Some(msg) = done.recv() => self.take(msg)?,
                // A replay brings the ticks of its own time.
                () = tokio::time::sleep_until(tick.into()), if self.connection.is_some() => {
                    self.take(Msg::Tick(Timestamp::now()))?;
                    tick = Instant::now() + if self.model.moving() { SPIN } else { Duration::from_secs(1) };
                }
                () = tokio::time::sleep_until((self.followed + SETTLE).into()), if self.behind() => self.follow(),
            }
            if let Some(left) = self.left {
                return Ok(left);
            }
            if !self.behind() || self.followed.elapsed() > SETTLE {
                self.follow();
            }
        }
    }

    /// Takes in as much of what waits as the budget allows.
    fn take_pending(&mut self) -> Result {
        let begin = Instant::now();
        while let Some(msg) = self.pending.pop_front() {
            self.take(msg)?;
            if begin.elapsed() >= BUDGET {
                break;
            }
        }
        Ok(())
    }

    /// Takes in one message and does what follows from it.
    fn take(&mut self, msg: Msg) -> Result {
        if let Some(recorder) = &mut self.recorder {
            recorder.take(&msg);
        }
        if !matches!(msg, Msg::Tick(_)) {
            self.model.now = if self.connection.is_some() { Timestamp::now() } else { self.model.now };
        }
        for effect in update(&mut self.model, msg) {
            self.perform(effect)?;
        }
        Ok(())
    }

    fn perform(&mut self, effect: Effect) -> Result {
        match effect {
            Effect::Quit => self.left = Some(Left::Quit),
            Effect::Suspend => self.suspend()?,
            Effect::Copy(text) => terminal::copy(&text),
            Effect::Mouse(take) => terminal::mouse(take),
            Effect::Bell => terminal::bell(),
            Effect::Redraw => self.redraw(),
            Effect::Remember(panel) if self.connection.is_some() => {
                super::start::remember(&self.model.setting, panel)
            }
            Effect::Remember(_) => {}
            Effect::Act(action) => {
                let (connection, results) = (self.connection.clone(), self.results.clone());
                tokio::spawn(async move {
                    let outcome = match connection {
                        Some(connection) => actions::perform(&connection, &action).await,
                        None => {
                            Err(Refusal { text: "this is a replay: there is no master".into(), theirs: None })
                        }
                    };
                    // Nobody waits any more when the program ends.
                    let _ = results.send(Msg::Done { action, outcome }).await;
                });
            }
            Effect::Fetch(fetch) => {
                let (Some(connection), results) = (self.connection.clone(), self.results.clone()) else {
                    return Ok(());
                };
                tokio::spawn(async move {
                    let (title, text, diff) = match actions::fetch(&connection, &fetch).await {
                        Ok((title, text)) => (title, text, matches!(fetch, Fetch::Changes(_))),
                        Err(failure) => ("It could not be read".into(), failure.render(), false),
                    };
                    let _ = results.send(Msg::Page { title, text, diff }).await;
                });
            }
        }
        Ok(())
    }

    /// True when something else is looked at than is followed.
    fn behind(&self) -> bool {
        self.informer.as_ref().is_some_and(|informer| informer.followed() != Some(&self.model.wanted()))
    }

    fn follow(&mut self) {
        let wanted: Wanted = self.model.wanted();
        let known = self.model.talk().map_or(0, |talk| talk.next);
        if let Some(informer) = &mut self.informer {
            if informer.followed() != Some(&wanted) {
                self.followed = Instant::now();
            }
            informer.follow(&wanted, known);
        }
    }

    fn draw(&mut self) -> Result {
        // The window may be another by now than the last message about it said, or than it was when recorded.
        self.screen.autoresize().map_err(cannot_draw)?;
        let area = self.screen.get_frame().area();
        if self.model.size != (area.width, area.height) {
            self.take(Msg::Resize(area.width, area.height))?;
        }
        self.model.changed = false;
        let model = &self.model;
        self.screen.draw(|frame| view::draw(model, frame)).map(|_| ()).map_err(cannot_draw)
    }

    fn redraw(&mut self) {
        // What is on the screen is not known any more.
        let _ = self.screen.clear();
        if let Ok((width, height)) = crossterm::terminal::size() {
            self.model.size = (width, height);
        }
        self.model.changed = true;
    }

    fn suspend(&mut self) -> Result {
        terminal::suspend(self.model.mouse).map_err(cannot_draw)?;
        self.redraw();
        Ok(())
    }
}

/// Sends the messages of a recording at their times.
async fn play(replay: Replay, speed: f64, to: mpsc::Sender<Msg>) {
    let begin = tokio::time::Instant::now();
    for (at, msg) in replay.messages {
        tokio::time::sleep_until(begin + at.div_f64(speed)).await;
        // Keys that left the recorded program must not leave this one, and this terminal has its own size.
        let skipped = matches!(&msg, Msg::Key(key) if leaves(key)) || matches!(msg, Msg::Resize(..));
        if !skipped && to.send(msg).await.is_err() {
            return;
        }
    }
}

fn leaves(key: &crossterm::event::KeyEvent) -> bool {
    super::keys::is("ctrl-c", key) || super::keys::is("ctrl-z", key) || super::keys::is("q", key)
}

fn cannot_draw(error: std::io::Error) -> Failure {
    match error.kind() {
        std::io::ErrorKind::BrokenPipe => Failure::new(Kind::BrokenPipe, ""),
        _ => Failure::failed(format!("cannot draw on this terminal: {error}")),
    }
}

enum Signal {
    End,
    Stop,
    Continue,
}

/// The signals that concern a terminal.
struct Signals {
    terminate: tokio::signal::unix::Signal,
    hangup: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
    stop: tokio::signal::unix::Signal,
    go_on: tokio::signal::unix::Signal,
}

impl Signals {
    fn new() -> Result<Self> {
        let catch =
            |kind| signal(kind).map_err(|error| Failure::failed(format!("cannot catch signals: {error}")));
        let raw = |signal: rustix::process::Signal| SignalKind::from_raw(signal.as_raw());
        Ok(Self {
            terminate: catch(SignalKind::terminate())?,
            hangup: catch(SignalKind::hangup())?,
            interrupt: catch(SignalKind::interrupt())?,
            stop: catch(raw(rustix::process::Signal::TSTP))?,
            go_on: catch(raw(rustix::process::Signal::CONT))?,
        })
    }

    async fn next(&mut self) -> Signal {
        tokio::select! {
            _ = self.terminate.recv() => Signal::End,
            _ = self.hangup.recv() => Signal::End,
            _ = self.interrupt.recv() => Signal::End,
            _ = self.stop.recv() => Signal::Stop,
            _ = self.go_on.recv() => Signal::Continue,
        }
    }
}
