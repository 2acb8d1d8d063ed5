//! The way from the executor to a run: stop it, end its turn, tell it something.
//!
//! ```text
//! Control (many clones) ──Command──▶ Commands (the run's task) ──drop──▶ every `stop` returns
//! ```

use std::time::Duration;

use gcluster_types::kinds::iteration::LiveProcesses;
use gcluster_types::transcript::Entry;
use thiserror::Error;
use tokio::sync::{mpsc, watch};

/// A handle on a run. Clones act on the same run.
#[derive(Debug, Clone)]
pub struct Control {
    commands: mpsc::UnboundedSender<Command>,
    ended: watch::Receiver<bool>,
    processes: watch::Receiver<Option<LiveProcesses>>,
    hears: bool,
}

/// What a run is asked for.
#[derive(Debug, Clone, PartialEq)]
pub enum Command {
    /// End everything: asked politely at first, killed when `grace` is over.
    Stop {
        /// Time until processes are killed.
        grace: Duration,
    },
    /// End the turn and keep its result.
    Interrupt,
    /// Give the agent a message.
    Steer(SteerMessage),
}

/// Guidance for a run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SteerMessage {
    /// A UUID; comes back in [`super::BackendEvent::Steered`].
    pub id: String,
    /// Name of the Message object, for its record.
    pub name: Option<String>,
    /// Who sends it; `None` is the user.
    pub from: Option<String>,
    /// The text.
    pub text: String,
    /// The running turn is ended first, and the run goes on with the text.
    pub interrupt: bool,
}

impl SteerMessage {
    /// What the agent is told: the text, and who says it unless it is the user.
    pub fn words(&self) -> String {
        match &self.from {
            Some(from) => format!("Message from {from}:\n\n{}", self.text),
            None => self.text.clone(),
        }
    }

    /// The record that says that the agent was given it.
    pub fn record(self) -> Entry {
        Entry::Message {
            from: self.from.unwrap_or_else(|| USER.to_owned()),
            text: self.text,
            name: self.name,
        }
    }
}

/// The sender of a message that names none.
pub const USER: &str = "user";

/// Why a message could not be handed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum SteerError {
    /// The run is over.
    #[error("the run has ended")]
    Ended,
}

/// The run's end of a [`Control`]. Dropping it says that the run is over and nothing of it is left.
#[derive(Debug)]
pub struct Commands {
    commands: mpsc::UnboundedReceiver<Command>,
    ended: watch::Sender<bool>,
}

impl Control {
    /// A control and the end that obeys it.
    pub fn channel() -> (Control, Commands) {
        let (sender, receiver) = mpsc::unbounded_channel();
        let (ended_sender, ended) = watch::channel(false);
        let processes = watch::channel(None).1;
        let control = Control { commands: sender, ended, processes, hears: true };
        (control, Commands { commands: receiver, ended: ended_sender })
    }

    /// The same of a run that has processes, and whose input is open if it `hears`.
    pub(crate) fn of_process(
        self,
        processes: watch::Receiver<Option<LiveProcesses>>,
        hears: bool,
    ) -> Control {
        Control { processes, hears, ..self }
    }

    /// The living processes of the run, looked at every few seconds; nothing where it has none.
    pub fn processes(&self) -> watch::Receiver<Option<LiveProcesses>> {
        self.processes.clone()
    }

    /// Whether its input is open, for a backend that can be told something while it works.
    pub fn hears(&self) -> bool {
        self.hears
    }

    /// Ends the run: interrupt (which keeps the result), SIGINT, SIGTERM, and after `grace` SIGKILL to every
    /// process of it, also those that called setsid. Returns when none is left; at once when it was over.
    /// The run's events go on until [`super::BackendEvent::Done`].
    pub async fn stop(&self, grace: Duration) {
        if self.commands.send(Command::Stop { grace }).is_err() {
            return;
        }
        self.ended().await;
    }

    /// Ends the turn that is running and keeps what it has said. Does nothing when the run is over.
    pub fn interrupt(&self) {
        // A closed channel means that there is nothing left to interrupt.
        let _ = self.commands.send(Command::Interrupt);
    }

    /// Hands a message to the run. What becomes of it comes as [`super::BackendEvent::Steered`]; a message that
    /// is not told of before [`super::BackendEvent::Done`] was not given to the agent.
    pub fn steer(&self, message: SteerMessage) -> Result<(), SteerError> {
        self.commands.send(Command::Steer(message)).map_err(|_| SteerError::Ended)
    }

    /// Returns when the run is over and no process of it is left.
    pub async fn ended(&self) {
        // An error means that the sender is gone, which is the end too.
        let _ = self.ended.clone().wait_for(|ended| *ended).await;
    }
}

impl Commands {
    /// The next command; `None` when every control was dropped.
    pub async fn next(&mut self) -> Option<Command> {
        self.commands.recv().await
    }

    /// Says that nothing of the run is left, before its last events were read.
    pub fn set_ended(&self) {
        self.ended.send_replace(true);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn stop_returns_when_the_run_is_over_and_at_once_afterwards() {
        let (control, mut commands) = Control::channel();
        let run = tokio::spawn(async move {
            assert_eq!(commands.next().await, Some(Command::Interrupt));
            assert_eq!(commands.next().await, Some(Command::Stop { grace: Duration::from_secs(1) }));
        });
        control.interrupt();
        control.stop(Duration::from_secs(1)).await;
        run.await.unwrap();
        control.stop(Duration::from_secs(1)).await;
        let message = SteerMessage { id: "1".into(), text: "hello".into(), ..SteerMessage::default() };
        assert_eq!(control.steer(message), Err(SteerError::Ended));
    }
}
