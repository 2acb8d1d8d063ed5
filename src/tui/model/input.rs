//! What is being typed, asked and said: where keys go, what lies over the rest, what waits for an answer.

use k8s_openapi::jiff::Timestamp;

use crate::tui::editor::Editor;
use crate::tui::fleet::Key;
use crate::tui::line_edit::LineEdit;
use crate::tui::msg::{Action, Draft};
use crate::tui::sheet::Sheet;

/// Where typed text goes.
#[derive(Debug)]
pub enum Input {
    /// Filters the tree.
    Search(LineEdit),
    /// Searches the conversation.
    Find(LineEdit),
    /// The command line.
    Command(CommandLine),
    /// A message to an agent.
    Message(MessageBox),
    /// A prompt that is edited.
    Prompt(Box<PromptEdit>),
    /// What the worker is told when a ticket is sent back.
    SendBack(SendBackBox),
}

/// The command line with its completions.
#[derive(Clone, Debug, Default)]
pub struct CommandLine {
    /// What is typed.
    pub line: LineEdit,
    /// What tab offers, and which of it is taken.
    pub offers: Vec<String>,
    /// The offer in the line.
    pub taken: Option<usize>,
    /// How far back in the history.
    pub back: usize,
}

/// A message that is written.
#[derive(Debug)]
pub struct MessageBox {
    /// To whom.
    pub agent: Key,
    /// The iteration that it is meant for alone: an item of a map.
    pub iteration: Option<String>,
    /// The text.
    pub editor: Editor,
}

/// A ticket that is sent back.
#[derive(Debug)]
pub struct SendBackBox {
    /// Which.
    pub ticket: Key,
    /// What its worker is told.
    pub editor: Editor,
}

/// A prompt that is edited.
#[derive(Debug)]
pub struct PromptEdit {
    /// Whose.
    pub agent: Key,
    /// The method; `None` for an agent that is one prompt.
    pub method: Option<String>,
    /// The canonical form that was edited.
    pub before: String,
    /// The text.
    pub editor: Editor,
    /// True while the master has not answered yet.
    pub saving: bool,
    /// What somebody else made of it meanwhile: canonical form.
    pub theirs: Option<String>,
}

/// What lies over the rest.
#[derive(Clone, Debug)]
pub enum Overlay {
    /// Keys of the view; searchable.
    Help(LineEdit, usize),
    /// A text.
    Sheet(Sheet),
    /// A question, what is kept, and what happens on yes.
    Confirm(Confirm),
}

/// A question before something is lost.
#[derive(Clone, Debug)]
pub struct Confirm {
    /// The question.
    pub title: String,
    /// What happens and what is kept, one line each.
    pub lines: Vec<String>,
    /// What yes does.
    pub action: Action,
}

/// One line to the user.
#[derive(Clone, Debug)]
pub struct Notice {
    /// The text.
    pub text: String,
    /// It went wrong.
    pub bad: bool,
    /// When it goes away.
    pub until: Timestamp,
}

/// A message that was sent and that the API has not shown yet.
#[derive(Clone, Debug)]
pub struct Outgoing {
    /// What was sent.
    pub draft: Draft,
    /// Why it did not arrive.
    pub failed: Option<String>,
}
