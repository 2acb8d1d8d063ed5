//! Everything that can happen, and everything that can be asked for.

use crossterm::event::{KeyEvent, MouseEvent};
use gcluster_types::kinds::agent::RunPolicy;
use gcluster_types::kinds::check::Check;
use gcluster_types::kinds::message::{Delivery, Message};
use gcluster_types::kinds::ticket::{HumanVerdict, TicketState};
use gcluster_types::transcript::Record;
use gcluster_types::{Agent, AgentRevision};
use k8s_openapi::jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::fleet::{AgentRow, IterationRow, Key};
use super::tickets::{News, PoolRow, TicketRow};

/// Something happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Msg {
    /// A key was pressed.
    Key(KeyEvent),
    /// The mouse did something.
    Mouse(MouseEvent),
    /// Text was pasted.
    Paste(String),
    /// The terminal has another size: columns, rows.
    Resize(u16, u16),
    /// Time has passed.
    Tick(Timestamp),
    /// Agents changed.
    Agents(Changes<AgentRow>),
    /// Running iterations changed.
    Running(Changes<IterationRow>),
    /// Iterations of one agent changed.
    History(Key, Changes<IterationRow>),
    /// The agent that is looked at changed; `None` when it is gone.
    Agent(Key, Option<Box<Agent>>),
    /// Its messages changed.
    Messages(Key, Changes<Message>),
    /// Its revisions changed.
    Revisions(Key, Changes<AgentRevision>),
    /// Its events changed.
    Events(Key, Changes<Value>),
    /// Tickets changed.
    Tickets(Changes<TicketRow>),
    /// Worker pools changed.
    Pools(Changes<PoolRow>),
    /// Something about the ticket that is looked at changed.
    Story(Key, News),
    /// A check that is looked at changed; `None` when it is gone.
    Check(Key, Option<Box<Check>>),
    /// The transcript that is read went on: iteration, records with their numbers.
    Records(Key, String, Vec<(u64, Record)>),
    /// The connection to the master.
    Link(Link),
    /// A text that was asked for.
    Page {
        /// Its title.
        title: String,
        /// Its lines.
        text: String,
        /// True for a diff.
        #[serde(default)]
        diff: bool,
    },
    /// What was asked for is done, or is not.
    Done {
        /// What was asked for.
        action: Action,
        /// What to say, or why not.
        outcome: Result<String, Refusal>,
    },
    /// The theme that the terminal's background asks for, found after the first frame.
    Background {
        /// True for dark text on a light ground.
        light: bool,
    },
}

/// Changes of objects of one kind, at most one for each.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Changes<T> {
    /// True when `put` is everything that there is.
    pub all: bool,
    /// New or changed, by name; `namespace/name` where several namespaces are meant.
    pub put: Vec<(String, T)>,
    /// Gone.
    pub gone: Vec<String>,
}

impl<T> Default for Changes<T> {
    fn default() -> Self {
        Self { all: false, put: Vec::new(), gone: Vec::new() }
    }
}

/// How long changes may be taken in before keys and frames get their turn. One piece may go on beyond it.
pub const BUDGET: std::time::Duration = std::time::Duration::from_millis(3);
/// Objects of one piece.
const PIECE: usize = 64;

impl<T> Changes<T> {
    /// The same changes in pieces that are taken in one after the other, so that no key waits for all of them. A whole
    /// listing stays whole: it replaces what was known in one step.
    pub fn pieces(mut self) -> Vec<Self> {
        if self.all || self.put.len() + self.gone.len() <= PIECE {
            return vec![self];
        }
        let mut pieces = Vec::with_capacity((self.put.len() + self.gone.len()) / PIECE + 2);
        while !self.put.is_empty() {
            let put = self.put.split_off(self.put.len().saturating_sub(PIECE));
            pieces.push(Self { all: false, put, gone: Vec::new() });
        }
        while !self.gone.is_empty() {
            let gone = self.gone.split_off(self.gone.len().saturating_sub(PIECE));
            pieces.push(Self { all: false, put: Vec::new(), gone });
        }
        pieces
    }
}

/// The connection to the master.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Link {
    /// Not all is listed yet.
    #[default]
    Connecting,
    /// What is on screen is true.
    Up,
    /// What is on screen is old.
    Down(Lost),
}

/// Why and since when there is no connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lost {
    /// What happened.
    pub cause: Cause,
    /// The error in the words of the connection; may be empty.
    pub detail: String,
    /// Since when.
    pub since: Timestamp,
    /// Attempts so far.
    pub attempts: u32,
    /// When the next attempt begins.
    pub next: Timestamp,
}

/// How a connection was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Cause {
    /// The master ended its answers: somebody stopped it.
    Stopped,
    /// The answers were cut in the middle: the master crashed, or the network did.
    Cut,
    /// The master answers and refuses.
    Refused,
}

/// Why something was not done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// One sentence.
    pub text: String,
    /// What the object holds now, where somebody else has changed it meanwhile.
    pub theirs: Option<String>,
}

/// Something that is asked of the master. Each has a twin on the command line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Action {
    /// Whether an agent should be at work.
    Run(Key, RunPolicy),
    /// Begin the definition again.
    Restart(Key),
    /// Delete the agent.
    Delete(Key),
    /// Tell the agent something.
    Send(Draft),
    /// Give a method of the agent another prompt.
    Edit {
        /// The agent.
        agent: Key,
        /// The method; `None` for an agent that is one prompt.
        method: Option<String>,
        /// The canonical form that was edited. If the master holds another one, nothing is changed.
        before: String,
        /// The prompt as it should be.
        prompt: String,
    },
    /// Take an older revision back.
    Rollback(Key, String),
    /// Decide about a ticket.
    Decide {
        /// The ticket.
        ticket: Key,
        /// What.
        verdict: HumanVerdict,
        /// What the worker is told with it.
        text: String,
    },
    /// Whether a ticket should be worked on.
    Want(Key, TicketState),
    /// Delete a ticket.
    DeleteTicket(Key),
}

/// A message on its way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Draft {
    /// The agent.
    pub agent: Key,
    /// Name of the Message object; chosen here, so that it is known when it comes back.
    pub name: String,
    /// The iteration that it is meant for alone.
    pub iteration: Option<String>,
    /// What the agent is told.
    pub text: String,
    /// How it reaches the agent.
    pub delivery: Delivery,
    /// When it was sent.
    pub at: Timestamp,
}

/// Something to do outside of the model.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Leave.
    Quit,
    /// Give the terminal back to the shell until `fg`.
    Suspend,
    /// Ask the master.
    Act(Action),
    /// Read an object as YAML or described, and show it.
    Fetch(Fetch),
    /// Copy to the clipboard.
    Copy(String),
    /// Take or release the mouse.
    Mouse(bool),
    /// Ring.
    Bell,
    /// Forget what is on the screen and draw everything.
    Redraw,
    /// Keep for the next time which panel is shown.
    Remember(super::tickets::Panel),
}

/// A text to read from the master.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fetch {
    /// An object as YAML: kind in the plural, key.
    Yaml(&'static str, Key),
    /// An object in words, as `describe` tells it: kind in the plural, key.
    Describe(&'static str, Key),
    /// A check with everything that its script printed.
    Check(Key),
    /// What was made for a ticket, as a diff.
    Changes(Key),
}

/// What should be followed. It is a function of the model; the informer makes it so.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// The namespace; `None` for all.
    pub namespace: Option<String>,
    /// The agent whose particulars are shown.
    pub agent: Option<Key>,
    /// Agents whose iterations are shown.
    pub history: Vec<Key>,
    /// The iteration whose transcript is shown: agent, iteration, the first record that is not known yet.
    pub transcript: Option<(Key, String)>,
    /// The ticket whose particulars are shown.
    pub ticket: Option<Key>,
    /// The checks that are shown.
    pub checks: Vec<Key>,
    /// True while worker pools are shown.
    pub pools: bool,
}
