//! Everything that steer knows, in one place. Only [`update`](super::update::update) changes it; drawing reads it.

mod input;

use std::collections::{BTreeMap, HashMap, VecDeque};

use gcluster_types::kinds::message::Message;
use gcluster_types::sexpr::program::{Body, parse_definition};
use gcluster_types::{Agent, AgentRevision};
use k8s_openapi::jiff::Timestamp;
use serde_json::Value;

use super::conversation::Conversation;
use super::editor::Editor;
use super::fleet::{AgentRow, Fleet, IterationRow, Key, Runs};
use super::keys::Place;
use super::layout::{self, Areas, Pane, Shape};
use super::msg::{Link, Wanted};
use super::theme::{Mode, Theme};
use super::tickets::{Backlog, Desk, Panel, PoolRow, Story};
use super::tree::{RowId, Source, Tree};
use crate::render::agent::outline;

pub use input::{
    CommandLine, Confirm, Input, MessageBox, Notice, Outgoing, Overlay, PromptEdit, SendBackBox,
};

/// Agents whose iterations are followed at once: each is a request of its own.
const MOST_OPEN: usize = 24;
/// Transcripts that are kept for going back to.
const MOST_TALKS: usize = 4;

/// What does not change while steer runs, but for the namespace.
#[derive(Clone, Debug, Default)]
pub struct Setting {
    /// `host:port` of the master.
    pub address: String,
    /// The namespace; `None` for all.
    pub namespace: Option<String>,
    /// The file that was named.
    pub file: Option<String>,
    /// Nothing may be changed.
    pub readonly: bool,
    /// Only signs of ASCII.
    pub ascii: bool,
    /// The theme was chosen by the user: the terminal's background does not matter.
    pub theme_chosen: bool,
    /// The panel that was shown last, and is shown again when there are tickets.
    pub panel: Panel,
    /// The file in which that is kept.
    pub memory: Option<std::path::PathBuf>,
}

/// Particulars of one agent.
#[derive(Clone, Debug, Default)]
pub struct Subject {
    /// Who.
    pub key: Key,
    /// The whole object.
    pub agent: Option<Box<Agent>>,
    /// Its messages by name.
    pub messages: BTreeMap<String, Message>,
    /// Its revisions by name.
    pub revisions: BTreeMap<String, AgentRevision>,
    /// Its events by name.
    pub events: BTreeMap<String, Value>,
    /// The number of the revision that was chosen; else the newest.
    pub chosen: Option<i64>,
    /// First line in view.
    pub scroll: usize,
}

/// The conversation of one iteration.
#[derive(Debug)]
pub struct Talk {
    /// Its agent.
    pub agent: Key,
    /// Its name.
    pub iteration: String,
    /// What is drawn.
    pub conversation: Conversation,
    /// The number that the next record has.
    pub next: u64,
    /// The last record is there.
    pub ended: bool,
    /// What was searched.
    pub searched: String,
}

/// The state of steer.
#[derive(Debug)]
pub struct Model {
    /// Columns and rows.
    pub size: (u16, u16),
    /// The time.
    pub now: Timestamp,
    /// What does not change.
    pub setting: Setting,
    /// Colours and signs.
    pub theme: Theme,
    /// The connection.
    pub link: Link,
    /// Agents.
    pub fleet: Fleet,
    /// Known iterations by agent.
    pub runs: HashMap<Key, Runs>,
    /// Selection and folds.
    pub tree: Tree,
    /// Which pane has the keys.
    pub pane: Pane,
    /// The selected agent.
    pub subject: Subject,
    /// Conversations, the one in view last.
    pub talks: Vec<Talk>,
    /// Where typed text goes, if not to the keys.
    pub input: Option<Input>,
    /// What lies over the rest.
    pub overlay: Option<Overlay>,
    /// One line to the user.
    pub notice: Option<Notice>,
    /// Messages on their way.
    pub outbox: Vec<Outgoing>,
    /// Texts that were not sent or saved, by what they belong to.
    pub drafts: HashMap<String, String>,
    /// Commands that were given, the newest first.
    pub history: VecDeque<String>,
    /// Ring when an agent newly needs somebody.
    pub bell: bool,
    /// The mouse is ours.
    pub mouse: bool,
    /// When the iteration in view ends, the next one of its agent is shown.
    pub chase: bool,
    /// What was selected before a filter hid it, and what the filter selected instead.
    pub(crate) hidden: Option<(RowId, Option<RowId>)>,
    /// The first listing has come.
    pub listed: bool,
    /// What fills the screen.
    pub panel: Panel,
    /// Which pane has the keys in the panel that is not shown.
    pub(crate) other_pane: Pane,
    /// Tickets.
    pub backlog: Backlog,
    /// The first listing of tickets has come.
    pub backlog_listed: bool,
    /// Which ticket is selected, and what of the board is in view.
    pub desk: Desk,
    /// The selected ticket.
    pub story: Story,
    /// Worker pools by name.
    pub pools: BTreeMap<String, PoolRow>,
    /// The agent whose newest conversation is to be shown as soon as it is known.
    pub(crate) opening: Option<Key>,
    /// The panel from which a conversation was opened: going back leads there.
    pub(crate) return_to: Option<Panel>,
    /// When it was last rung.
    pub(crate) rang: Option<Timestamp>,
    /// Something is on screen that is not drawn yet.
    pub changed: bool,
}

impl Model {
    /// Nothing is known yet.
    pub fn new(setting: Setting, mode: Mode, size: (u16, u16), now: Timestamp) -> Self {
        Self {
            size,
            now,
            theme: Theme::new(mode, setting.ascii),
            setting,
            link: Link::default(),
            fleet: Fleet::default(),
            runs: HashMap::new(),
            tree: Tree::default(),
            pane: Pane::default(),
            subject: Subject::default(),
            talks: Vec::new(),
            input: None,
            overlay: None,
            notice: None,
            outbox: Vec::new(),
            drafts: HashMap::new(),
            history: VecDeque::new(),
            bell: true,
            mouse: true,
            chase: false,
            hidden: None,
            listed: false,
            panel: Panel::default(),
            other_pane: Pane::default(),
            backlog: Backlog::default(),
            backlog_listed: false,
            desk: Desk::default(),
            story: Story::default(),
            pools: BTreeMap::new(),
            opening: None,
            return_to: None,
            rang: None,
            changed: true,
        }
    }

    /// What the tree is made from.
    pub fn source(&self) -> Source<'_> {
        Source { fleet: &self.fleet, runs: &self.runs }
    }

    /// The parts of the screen.
    pub fn areas(&self) -> Areas {
        layout::areas(self.shape())
    }

    fn shape(&self) -> Shape {
        // Whoever writes sees what is written, on a narrow screen too.
        let typing = matches!(self.input, Some(Input::Message(_) | Input::Prompt(_) | Input::SendBack(_)));
        let pane = if typing { Pane::Detail } else { self.pane };
        let (banner, wide) = (matches!(self.link, Link::Down(_)), self.board());
        let bare = Shape { size: self.size, pane, banner, message: 0, wide };
        let tall = |editor: &Editor| {
            // The sign before the text takes three columns, the rule above it a row.
            let columns = layout::areas(bare).inner.width.saturating_sub(3);
            u16::try_from(editor.height(columns)).unwrap_or(u16::MAX).clamp(2, 8) + 1
        };
        let message = match &self.input {
            Some(Input::Message(message)) => tall(&message.editor),
            Some(Input::SendBack(back)) => tall(&back.editor),
            Some(Input::Prompt(_)) => 0,
            _ if self.panel == Panel::Tickets => 0,
            _ if matches!(self.tree.selected(), Some(RowId::Iteration(..))) => 2,
            _ => 0,
        };
        Shape { message, ..bare }
    }

    /// Where keys go.
    pub fn place(&self) -> Place {
        if self.panel == Panel::Tickets {
            return if self.pane == Pane::Tree { Place::Board } else { Place::Ticket };
        }
        match (self.pane, self.tree.selected()) {
            (Pane::Tree, _) | (_, None) => Place::Tree,
            (Pane::Detail, Some(RowId::Agent(_))) => Place::Agent,
            (Pane::Detail, Some(RowId::Step(..) | RowId::More(..))) => Place::Step,
            (Pane::Detail, Some(RowId::Iteration(..))) => Place::Iteration,
        }
    }

    /// The selected agent.
    pub fn agent(&self) -> Option<&AgentRow> {
        self.fleet.get(self.tree.selected()?.agent())
    }

    /// The selected iteration.
    pub fn iteration(&self) -> Option<&IterationRow> {
        let RowId::Iteration(key, step, name) = self.tree.selected()? else { return None };
        self.runs.get(key)?.get(step, name)
    }

    /// Label of the selected step, or of the step of the selected iteration.
    pub fn step(&self) -> Option<&str> {
        match self.tree.selected()? {
            RowId::Agent(_) => None,
            RowId::Step(_, step) | RowId::Iteration(_, step, _) | RowId::More(_, step) => Some(step),
        }
    }

    /// The conversation in view.
    pub fn talk(&self) -> Option<&Talk> {
        let RowId::Iteration(key, _, name) = self.tree.selected()? else { return None };
        self.talks.iter().find(|talk| talk.agent == *key && talk.iteration == *name)
    }

    /// The same, to change it.
    pub fn talk_mut(&mut self) -> Option<&mut Talk> {
        let RowId::Iteration(key, _, name) = self.tree.selected()? else { return None };
        let (key, name) = (key.clone(), name.clone());
        self.talks.iter_mut().find(|talk| talk.agent == key && talk.iteration == name)
    }

    /// What should be followed.
    pub fn wanted(&self) -> Wanted {
        let agent = self.tree.selected().map(|row| row.agent().clone());
        let mut history: Vec<Key> = agent.iter().cloned().collect();
        for key in self.tree.opened() {
            if history.len() >= MOST_OPEN {
                break;
            }
            if !history.contains(key) && self.fleet.get(key).is_some() {
                history.push(key.clone());
            }
        }
        history.sort();
        let talk = self.talk().filter(|_| self.panel == Panel::Agents);
        let transcript = talk.filter(|talk| !talk.ended);
        Wanted {
            namespace: self.setting.namespace.clone(),
            agent,
            history,
            transcript: transcript.map(|talk| (talk.agent.clone(), talk.iteration.clone())),
            ticket: self.ticket().map(|row| row.key.clone()).filter(|_| self.panel == Panel::Tickets),
            checks: if self.panel == Panel::Tickets { self.wanted_checks() } else { Vec::new() },
            pools: self.panel == Panel::Tickets,
        }
    }

    /// Brings what hangs on the selection in step with it.
    pub(crate) fn follow_selection(&mut self) {
        let Some(row) = self.tree.selected().cloned() else { return };
        if self.subject.key != *row.agent() {
            self.subject = Subject { key: row.agent().clone(), ..Subject::default() };
        }
        if let RowId::Iteration(agent, _, iteration) = row {
            let at = self.talks.iter().position(|talk| talk.agent == agent && talk.iteration == iteration);
            let talk = match at {
                Some(at) => self.talks.remove(at),
                None => Talk {
                    agent,
                    iteration,
                    conversation: Conversation::new(),
                    next: 0,
                    ended: false,
                    searched: String::new(),
                },
            };
            self.talks.push(talk);
            if self.talks.len() > MOST_TALKS {
                self.talks.remove(0);
            }
            self.show_pending();
        }
    }

    /// The prompt that is selected: its method, its canonical form, its text.
    pub fn prompt(&self) -> Option<(Option<String>, String, String)> {
        let agent = self.subject.agent.as_deref()?;
        let text = |form: &str| match parse_definition(form).ok()?.body {
            Body::Prompt(text) => Some(text),
            Body::Pipeline(_) => None,
        };
        if let Some(prompt) = text(&agent.spec.definition) {
            return Some((None, agent.spec.definition.clone(), prompt));
        }
        let steps = outline(agent);
        let chosen = self.step();
        let (_, does) = match chosen {
            Some(label) => steps.iter().find(|(known, _)| known == label)?,
            None if steps.len() == 1 => steps.first()?,
            None => return None,
        };
        let method = does.split(' ').next_back()?;
        let form = agent.spec.methods.get(method)?;
        Some((Some(method.to_owned()), form.clone(), text(form)?))
    }

    /// Says something to the user for a while.
    pub(crate) fn say(&mut self, text: impl Into<String>, bad: bool) {
        let seconds = if bad { 12 } else { 5 };
        let until = self.now.as_millisecond() + seconds * 1000;
        let until = Timestamp::from_millisecond(until).unwrap_or(self.now);
        self.notice = Some(Notice { text: text.into(), bad, until });
    }
}
