//! What each key does, where, and which command line does the same. The help and the bottom bar are made of this
//! table, so they cannot say anything else.

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::fleet::Sort;

/// Where a key is pressed: what is in front of the user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// The tree.
    Tree,
    /// The view of an agent.
    Agent,
    /// The view of a step.
    Step,
    /// The view of an iteration.
    Iteration,
    /// The tickets.
    Board,
    /// The view of a ticket.
    Ticket,
}

/// What a key asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// Leave at once.
    Quit,
    /// One step back; at the top, leave.
    Back,
    /// One step back; at the top, nothing.
    Escape,
    /// Go in.
    Enter,
    /// The other pane.
    Pane,
    /// Up one line.
    Up,
    /// Down one line.
    Down,
    /// Up one page.
    PageUp,
    /// Down one page.
    PageDown,
    /// To the beginning.
    First,
    /// To the end, which follows what is written.
    Last,
    /// Close, or to the parent.
    Left,
    /// Open, or to the first child.
    Right,
    /// Open every agent, or close all.
    Fold,
    /// Search line.
    Search,
    /// Open or close the long record.
    Unfold,
    /// Open or close every long record.
    UnfoldAll,
    /// Times and tokens at the edge.
    Times,
    /// Long lines wrapped, or not.
    Wrap,
    /// Thinking in full, or its first line.
    Thinking,
    /// To the record before.
    RecordUp,
    /// To the record after.
    RecordDown,
    /// Next hit.
    NextHit,
    /// Previous hit.
    PreviousHit,
    /// Command line.
    Command,
    /// Keys of this view.
    Help,
    /// Message box.
    Message,
    /// Pause, or let go on.
    Pause,
    /// Stop.
    Stop,
    /// Begin again.
    Restart,
    /// Delete.
    Delete,
    /// Take an older revision back.
    Rollback,
    /// Next older revision.
    Older,
    /// Next newer revision.
    Newer,
    /// Edit the prompt.
    Edit,
    /// As YAML.
    Yaml,
    /// In words.
    Describe,
    /// Messages of the agent.
    Messages,
    /// Events of the agent.
    Events,
    /// Copy.
    Copy,
    /// Take or release the mouse.
    Mouse,
    /// Ring when an agent needs somebody, or do not.
    Bell,
    /// Back to the shell until `fg`.
    Suspend,
    /// Draw everything anew.
    Redraw,
    /// Sort.
    Sort(Sort),
    /// The other panel.
    Panel,
    /// The agents.
    ToAgents,
    /// The tickets.
    ToTickets,
    /// Approve a ticket, or let it go on.
    Approve,
    /// Send a ticket back with a text.
    SendBack,
    /// Give a ticket up.
    Cancel,
    /// The diff of a ticket.
    Changes,
    /// What the newest check of a ticket printed.
    Output,
}

/// One row of the table.
#[derive(Clone, Copy, Debug)]
pub struct Binding {
    /// Keys, as people write them.
    pub keys: &'static [&'static str],
    /// What they do.
    pub act: Act,
    /// Where; everywhere if empty.
    pub places: &'static [Place],
    /// What they do, in words.
    pub help: &'static str,
    /// Short name in the bottom bar; empty for none.
    pub hint: &'static str,
    /// The same on the command line; empty where only the screen is meant.
    pub twin: &'static str,
    /// True when it changes something on the master.
    pub writes: bool,
}

const VIEWS: &[Place] = &[Place::Agent, Place::Step, Place::Iteration];
/// Where agents are shown.
const AGENTS: &[Place] = &[Place::Tree, Place::Agent, Place::Step, Place::Iteration];
/// Where tickets are shown.
const TICKETS: &[Place] = &[Place::Board, Place::Ticket];

const fn key(keys: &'static [&'static str], act: Act, help: &'static str) -> Binding {
    Binding { keys, act, places: &[], help, hint: "", twin: "", writes: false }
}

impl Binding {
    const fn at(self, places: &'static [Place]) -> Self {
        Self { places, ..self }
    }

    const fn hint(self, hint: &'static str) -> Self {
        Self { hint, ..self }
    }

    const fn twin(self, twin: &'static str) -> Self {
        Self { twin, ..self }
    }

    const fn writes(self) -> Self {
        Self { writes: true, ..self }
    }

    fn holds(&self, place: Place) -> bool {
        self.places.is_empty() || self.places.contains(&place)
    }
}

/// Every key, the more important first.
pub const KEYS: &[Binding] = &[
    key(&["enter"], Act::Enter, "go in: agent, step, conversation").at(&[Place::Tree]).hint("open"),
    key(&["i", "space"], Act::Message, "write to the agent")
        .at(AGENTS)
        .hint("message")
        .twin("gcluster send AGENT TEXT")
        .writes(),
    key(&["e"], Act::Edit, "edit the prompt; the next iteration uses it")
        .at(AGENTS)
        .hint("edit")
        .twin("gcluster edit agent AGENT")
        .writes(),
    key(&["z"], Act::Pause, "pause, or let go on")
        .at(AGENTS)
        .hint("pause")
        .twin("gcluster pause|start AGENT")
        .writes(),
    key(&["/"], Act::Search, "search; text, !text, -l label=value")
        .at(AGENTS)
        .hint("search")
        .twin("gcluster get agents -l LABELS"),
    key(&["f", "G", "end"], Act::Last, "to the end; a conversation is followed again")
        .at(&[Place::Iteration])
        .hint("follow")
        .twin("gcluster logs ITERATION -f"),
    key(&["["], Act::Older, "an older revision")
        .at(&[Place::Agent])
        .hint("older")
        .twin("gcluster get revisions"),
    key(&["]"], Act::Newer, "a newer revision").at(&[Place::Agent]),
    key(&["b"], Act::Rollback, "take the chosen revision back")
        .at(&[Place::Agent])
        .hint("roll back")
        .twin("gcluster apply -f FILE")
        .writes(),
    key(&["enter"], Act::Enter, "go in: to the ticket").at(&[Place::Board]).hint("open"),
    key(&["enter"], Act::Enter, "open what is marked: conversation, diff, check, review, merge, workspace")
        .at(&[Place::Ticket])
        .hint("open")
        .twin("gcluster logs AGENT -f"),
    key(&["]"], Act::Newer, "mark the next thing that can be opened").at(&[Place::Ticket]).hint("next"),
    key(&["["], Act::Older, "mark the one before").at(&[Place::Ticket]),
    key(&["c"], Act::Approve, "approve what was made; a held or failed ticket goes on")
        .at(TICKETS)
        .hint("approve")
        .twin("gcluster approve TICKET")
        .writes(),
    key(&["b"], Act::SendBack, "send it back to its worker with a text")
        .at(TICKETS)
        .hint("send back")
        .twin("gcluster ticket send-back TICKET TEXT")
        .writes(),
    key(&["s"], Act::Stop, "stop: it is ended and fails, after a question")
        .at(TICKETS)
        .hint("stop")
        .twin("gcluster ticket stop TICKET")
        .writes(),
    key(&["z"], Act::Pause, "hold, or open again")
        .at(TICKETS)
        .hint("hold")
        .twin("gcluster ticket hold|open TICKET")
        .writes(),
    key(&["i", "space"], Act::Message, "write to the marked agent, else the newest")
        .at(&[Place::Ticket])
        .hint("message")
        .twin("gcluster send AGENT TEXT")
        .writes(),
    key(&["D"], Act::Changes, "the diff: what was made, and what is not committed yet")
        .at(TICKETS)
        .hint("diff")
        .twin("gcluster ticket diff TICKET"),
    key(&["L"], Act::Output, "what the newest check printed, a red one first")
        .at(TICKETS)
        .twin("gcluster logs check/CHECK"),
    key(&["/"], Act::Search, "search; text, !text, -l label=value")
        .at(TICKETS)
        .hint("search")
        .twin("gcluster get tickets -l LABELS"),
    key(&["p"], Act::Panel, "the other panel: agents, tickets").hint("panel"),
    key(&["1"], Act::ToAgents, "the agents").twin("gcluster get agents"),
    key(&["2"], Act::ToTickets, "the tickets").twin("gcluster get tickets"),
    key(&["X"], Act::Cancel, "cancel: nobody wants it any more, after a question")
        .at(TICKETS)
        .twin("gcluster ticket cancel TICKET")
        .writes(),
    key(&["ctrl-d"], Act::Delete, "delete, after a question")
        .at(TICKETS)
        .twin("gcluster delete ticket TICKET")
        .writes(),
    key(&["h", "left"], Act::Left, "to the column at the left; back").at(TICKETS),
    key(&["l", "right"], Act::Right, "to the column at the right").at(TICKETS),
    key(&["d"], Act::Describe, "describe").at(TICKETS).twin("gcluster describe ticket TICKET"),
    key(&["y"], Act::Yaml, "as YAML").at(TICKETS).twin("gcluster get ticket TICKET -o yaml"),
    key(&["E"], Act::Events, "events of the ticket").at(TICKETS).twin("gcluster events --for ticket/TICKET"),
    key(&["C"], Act::Copy, "copy the name, in a ticket the path of its workspace").at(TICKETS),
    key(&["?"], Act::Help, "keys of this view").hint("keys"),
    key(&["q"], Act::Back, "back; at the top, leave: agents keep running").hint("quit"),
    key(&["esc"], Act::Escape, "back; never leaves"),
    key(&["ctrl-c"], Act::Quit, "leave at once: agents keep running"),
    key(&["tab", "shift-tab"], Act::Pane, "the other pane"),
    key(&["k", "up"], Act::Up, "up"),
    key(&["j", "down"], Act::Down, "down"),
    key(&["pgup", "ctrl-b", "ctrl-u"], Act::PageUp, "one page up"),
    key(&["pgdn", "ctrl-f"], Act::PageDown, "one page down"),
    key(&["g", "home"], Act::First, "to the beginning"),
    key(&["G", "end"], Act::Last, "to the end").at(&[
        Place::Tree,
        Place::Agent,
        Place::Step,
        Place::Board,
        Place::Ticket,
    ]),
    key(&["h", "left"], Act::Left, "close; then to the parent").at(AGENTS),
    key(&["l", "right"], Act::Right, "open; then to the first child").at(AGENTS),
    key(&["o"], Act::Fold, "open or close all agents").at(&[Place::Tree]),
    key(&["o"], Act::Unfold, "open or close a long record").at(&[Place::Iteration]).hint("unfold"),
    key(&["O"], Act::UnfoldAll, "open or close every long record").at(&[Place::Iteration]),
    key(&["{", "K"], Act::RecordUp, "to the record before").at(&[Place::Iteration]),
    key(&["}", "J"], Act::RecordDown, "to the record after").at(&[Place::Iteration]),
    key(&["t"], Act::Times, "times and tokens").at(&[Place::Iteration]),
    key(&["w"], Act::Wrap, "wrap long lines of tools, or do not").at(&[Place::Iteration]),
    key(&["v"], Act::Thinking, "thinking in full, or its first line").at(&[Place::Iteration]),
    key(&["n"], Act::NextHit, "next hit").at(VIEWS),
    key(&["N"], Act::PreviousHit, "previous hit").at(VIEWS),
    key(&["s"], Act::Stop, "stop: the running iteration is ended")
        .at(AGENTS)
        .twin("gcluster stop AGENT")
        .writes(),
    key(&["r"], Act::Restart, "restart from the first step")
        .at(AGENTS)
        .twin("gcluster restart AGENT")
        .writes(),
    key(&["ctrl-d"], Act::Delete, "delete, after a question")
        .at(AGENTS)
        .twin("gcluster delete agent AGENT")
        .writes(),
    key(&["d"], Act::Describe, "describe").at(AGENTS).twin("gcluster describe agent AGENT"),
    key(&["y"], Act::Yaml, "as YAML").at(AGENTS).twin("gcluster get agent AGENT -o yaml"),
    key(&["M"], Act::Messages, "messages of the agent").at(AGENTS).twin("gcluster get messages"),
    key(&["E"], Act::Events, "events of the agent").at(AGENTS).twin("gcluster events --for agent/AGENT"),
    key(&["c"], Act::Copy, "copy the name, the prompt or the last answer").at(AGENTS),
    key(&[":"], Act::Command, "command line; tab completes"),
    key(&["S"], Act::Sort(Sort::Need), "group by state").at(&[Place::Tree]).twin("gcluster get agents"),
    key(&["N"], Act::Sort(Sort::Name), "sort by name; again: the other way round")
        .at(&[Place::Tree])
        .twin("gcluster get agents --sort-by .metadata.name"),
    key(&["A"], Act::Sort(Sort::Age), "sort by age")
        .at(&[Place::Tree])
        .twin("gcluster get agents --sort-by .metadata.creationTimestamp"),
    key(&["C"], Act::Sort(Sort::Cost), "sort by cost")
        .at(&[Place::Tree])
        .twin("gcluster get agents --sort-by .status.costUSD"),
    key(&["T"], Act::Sort(Sort::Tokens), "sort by tokens")
        .at(&[Place::Tree])
        .twin("gcluster get agents --sort-by .status.tokens.total"),
    key(&["m"], Act::Mouse, "release or take the mouse, so that text can be selected"),
    key(&["B"], Act::Bell, "ring when an agent needs you, or do not"),
    key(&["ctrl-l"], Act::Redraw, "draw everything anew"),
    key(&["ctrl-z"], Act::Suspend, "to the shell; fg comes back"),
];

/// What a key does at a place.
pub fn lookup(place: Place, event: &KeyEvent) -> Option<&'static Binding> {
    KEYS.iter().find(|binding| binding.holds(place) && binding.keys.iter().any(|name| is(name, event)))
}

/// The keys of a place, in the order of the table.
pub fn of(place: Place) -> impl Iterator<Item = &'static Binding> {
    KEYS.iter().filter(move |binding| binding.holds(place))
}

/// True when a key speaks of tickets where agents are shown: without any ticket it is not told of.
pub fn of_tickets(binding: &Binding) -> bool {
    matches!(binding.act, Act::Panel | Act::ToAgents | Act::ToTickets)
}

/// True when an event is the key of that name.
pub fn is(name: &str, event: &KeyEvent) -> bool {
    let control = event.modifiers.contains(KeyModifiers::CONTROL);
    let alt = event.modifiers.contains(KeyModifiers::ALT);
    if let Some(letter) = name.strip_prefix("ctrl-") {
        let mut letters = letter.chars();
        return control && event.code == KeyCode::Char(letters.next().unwrap_or_default());
    }
    if let Some(letter) = name.strip_prefix("alt-") {
        return alt && !control && event.code == KeyCode::Char(letter.chars().next().unwrap_or_default());
    }
    if control || alt {
        return false;
    }
    match name {
        "enter" => event.code == KeyCode::Enter,
        "esc" => event.code == KeyCode::Esc,
        "space" => event.code == KeyCode::Char(' '),
        "tab" => event.code == KeyCode::Tab,
        "shift-tab" => event.code == KeyCode::BackTab,
        "up" => event.code == KeyCode::Up,
        "down" => event.code == KeyCode::Down,
        "left" => event.code == KeyCode::Left,
        "right" => event.code == KeyCode::Right,
        "pgup" => event.code == KeyCode::PageUp,
        "pgdn" => event.code == KeyCode::PageDown,
        "home" => event.code == KeyCode::Home,
        "end" => event.code == KeyCode::End,
        letter => {
            let mut letters = letter.chars();
            event.code == KeyCode::Char(letters.next().unwrap_or_default())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_key_means_two_things_in_one_place() {
        for place in AGENTS.iter().chain(TICKETS).copied() {
            let mut seen: Vec<&str> = Vec::new();
            for name in of(place).flat_map(|binding| binding.keys) {
                assert!(!seen.contains(name), "{name} in {place:?}");
                seen.push(name);
            }
        }
    }

    #[test]
    fn every_key_that_changes_the_master_has_a_twin_on_the_command_line() {
        for binding in KEYS.iter().filter(|binding| binding.writes) {
            assert!(binding.twin.starts_with("gcluster "), "{:?}", binding.act);
        }
    }

    #[test]
    fn keys_are_told_apart_by_case_and_modifier() {
        let press = |code, modifiers| KeyEvent::new(code, modifiers);
        let act = |event| lookup(Place::Tree, &event).map(|binding| binding.act);
        let n = KeyCode::Char('n');
        assert_eq!(act(press(KeyCode::Char('N'), KeyModifiers::SHIFT)), Some(Act::Sort(Sort::Name)));
        assert_eq!(act(press(n, KeyModifiers::NONE)), None);
        assert_eq!(act(press(KeyCode::Char('d'), KeyModifiers::CONTROL)), Some(Act::Delete));
        assert_eq!(act(press(KeyCode::Char('d'), KeyModifiers::NONE)), Some(Act::Describe));
        assert_eq!(act(press(KeyCode::Char(' '), KeyModifiers::NONE)), Some(Act::Message));
        assert_eq!(act(press(KeyCode::Char('d'), KeyModifiers::ALT)), None);
    }
}
