//! What the keys of the board and of a ticket's view do, and what the API says of tickets.

use gcluster_types::Check;
use gcluster_types::kinds::check::CheckPhase;
use gcluster_types::kinds::ticket::{HumanVerdict, TicketPhase, TicketState};

use super::{acts, sending};
use crate::tui::editor::Editor;
use crate::tui::fleet::Key;
use crate::tui::keys::Act;
use crate::tui::layout::Pane;
use crate::tui::line_edit::LineEdit;
use crate::tui::model::{Confirm, Input, MessageBox, Model, Overlay, SendBackBox};
use crate::tui::msg::{Action, Changes, Effect, Fetch};
use crate::tui::sheet::Sheet;
use crate::tui::tickets::{Mark, Panel, TicketRow, View, page};
use crate::tui::tree::RowId;

/// Seconds in which the bell is rung once, however many tickets need somebody.
const QUIET: i64 = 3;

/// Takes in tickets.
pub(super) fn arrived(model: &mut Model, changes: Changes<TicketRow>) -> Vec<Effect> {
    let first = !model.backlog_listed;
    let mut ring = false;
    if changes.all {
        let before = |row: &TicketRow| model.backlog.get(&row.key).is_some_and(TicketRow::needs);
        ring = !first && changes.put.iter().any(|(_, row)| row.needs() && !before(row));
        model.backlog.replace(changes.put.into_iter().map(|(_, row)| row).collect());
        model.backlog_listed = true;
        // Whoever looked at tickets last looks at them again, unless something was opened meanwhile.
        let resting = model.pane == Pane::Tree && model.input.is_none() && model.overlay.is_none();
        if first && resting && model.setting.panel == Panel::Tickets && !model.backlog.is_empty() {
            model.show_panel(Panel::Tickets);
        }
    } else {
        for (_, row) in changes.put {
            let needs = row.needs();
            ring |= model.backlog.put(row) != Some(true) && needs;
        }
        for name in &changes.gone {
            if let Some((namespace, name)) = name.split_once('/') {
                model.backlog.remove(&Key::new(namespace, name));
            }
        }
    }
    model.on_desk(|desk, backlog, view| desk.settle(backlog, view));
    let rang = model.rang.is_some_and(|at| model.now.as_second() - at.as_second() < QUIET);
    if !ring || !model.bell || rang {
        return Vec::new();
    }
    model.rang = Some(model.now);
    vec![Effect::Bell]
}

/// Shows a panel and keeps that for the next time.
pub(super) fn show(model: &mut Model, panel: Panel) -> Vec<Effect> {
    if model.panel == panel {
        return Vec::new();
    }
    model.show_panel(panel);
    vec![Effect::Remember(panel)]
}

/// Back to the ticket from which a conversation was opened.
pub(super) fn go_back(model: &mut Model) -> bool {
    let Some(panel) = model.return_to.filter(|_| model.pane == Pane::Detail) else { return false };
    // The tree has the keys when somebody comes to the agents again.
    model.pane = Pane::Tree;
    model.show_panel(panel);
    true
}

/// Does it; nothing when the key means the same everywhere.
pub(super) fn act(model: &mut Model, act: Act) -> Option<Vec<Effect>> {
    match act {
        Act::Back if model.pane == Pane::Tree => return Some(vec![Effect::Quit]),
        Act::Back => model.pane = Pane::Tree,
        Act::Escape if model.pane == Pane::Detail => model.pane = Pane::Tree,
        Act::Escape if !model.backlog.filter().is_empty() => filter_by(model, Default::default()),
        Act::Escape => model.notice = None,
        Act::Pane => model.pane = if model.pane == Pane::Tree { Pane::Detail } else { Pane::Tree },
        Act::Enter if model.pane == Pane::Tree => {
            if model.ticket().is_some() {
                model.pane = Pane::Detail;
            }
        }
        Act::Enter => return Some(open(model)),
        Act::Up | Act::Down | Act::PageUp | Act::PageDown | Act::First | Act::Last => go(model, act),
        Act::Left if model.pane == Pane::Detail => model.pane = Pane::Tree,
        Act::Right if model.pane == Pane::Detail => {}
        Act::Left | Act::Right => match model.ticket_view() {
            View::Board(_) => {
                model.on_desk(|desk, backlog, view| desk.sideways(backlog, act == Act::Right, view));
            }
            View::List(_) if act == Act::Right && model.ticket().is_some() => model.pane = Pane::Detail,
            View::List(_) => {}
        },
        Act::Search => {
            model.pane = Pane::Tree;
            model.input = Some(Input::Search(LineEdit::new(model.backlog.filter().text())));
        }
        Act::Older | Act::Newer => mark(model, act == Act::Newer),
        Act::Changes => return Some(fetch(model, Fetch::Changes)),
        Act::Output => return Some(output(model)),
        Act::Approve => return Some(approve(model)),
        Act::SendBack => send_back(model),
        Act::Stop => ask_to_stop(model),
        Act::Pause => return Some(hold(model)),
        Act::Cancel => ask_to_cancel(model),
        Act::Delete => ask_to_delete(model),
        Act::Message => write(model),
        Act::Yaml => return Some(fetch(model, |key| Fetch::Yaml("tickets", key))),
        Act::Describe => return Some(fetch(model, |key| Fetch::Describe("tickets", key))),
        Act::Events => events(model),
        Act::Copy => return Some(copy(model)),
        Act::Edit | Act::Restart | Act::Rollback | Act::Messages | Act::Fold | Act::Sort(_) => {}
        _ => return None,
    }
    Some(Vec::new())
}

fn go(model: &mut Model, act: Act) {
    if model.pane == Pane::Detail {
        return scroll(model, act, 1);
    }
    let page = match model.ticket_view() {
        View::Board(cards) => cards,
        View::List(rows) => rows.saturating_sub(1),
    };
    let to = acts::movement(act, page);
    model.on_desk(|desk, backlog, view| desk.go(backlog, to, view));
}

/// Scrolls the view of the ticket.
pub(super) fn scroll(model: &mut Model, act: Act, lines: usize) {
    let page = usize::from(model.areas().inner.height.saturating_sub(1)).max(1);
    let most = crate::tui::view::detail_rows(model).saturating_sub(page + 1);
    model.story.scroll = acts::scrolled(model.story.scroll, act, lines, page, most);
}

/// Filters the tickets.
pub(super) fn filter_by(model: &mut Model, filter: crate::tui::filter::Filter) {
    model.backlog.filter_by(filter);
    model.on_desk(|desk, backlog, view| desk.settle(backlog, view));
}

/// Marks the next thing of the ticket that can be opened, or the one before, and brings it into view.
fn mark(model: &mut Model, next: bool) {
    if !model.story.mark(&model.fleet, next) {
        return model.say(if next { "that is the last one" } else { "that is the first one" }, false);
    }
    let Some(line) = page::page(model).and_then(|page| page.marked) else { return };
    let height = usize::from(model.areas().inner.height);
    let scroll = &mut model.story.scroll;
    // With the heading above it, and what stands below it as far as there is room.
    *scroll = (*scroll).min(line.saturating_sub(1)).max((line + height / 2).saturating_sub(height));
}

/// Opens what is marked.
fn open(model: &mut Model) -> Vec<Effect> {
    let namespace = model.story.key.namespace().to_owned();
    let named = |name: String| Key::new(&namespace, &name);
    vec![Effect::Fetch(match model.story.marked(&model.fleet) {
        None => {
            model.say("nothing was made for it yet", false);
            return Vec::new();
        }
        Some(Mark::Agent(key)) => {
            open_agent(model, key);
            return Vec::new();
        }
        Some(Mark::Changes) => Fetch::Changes(model.story.key.clone()),
        Some(Mark::Check(name)) => Fetch::Check(named(name)),
        Some(Mark::Review(name)) => Fetch::Describe("reviews", named(name)),
        Some(Mark::Merge(name)) => Fetch::Describe("merges", named(name)),
        Some(Mark::Workspace(name)) => Fetch::Describe("workspaces", named(name)),
    })]
}

/// Everything that the newest red check printed; without one the newest.
fn output(model: &mut Model) -> Vec<Effect> {
    let is_red = |check: &&Check| check.status.as_ref().is_some_and(|s| s.phase == CheckPhase::Failed);
    let red = model.story.checks_in_order().find(is_red);
    let check = red.or_else(|| model.story.checks_in_order().next());
    let Some(name) = check.and_then(|check| check.metadata.name.clone()) else {
        model.say("no check of it is known", false);
        return Vec::new();
    };
    vec![Effect::Fetch(Fetch::Check(Key::new(model.story.key.namespace(), &name)))]
}

/// Shows the newest conversation of an agent; going back leads to the ticket.
fn open_agent(model: &mut Model, key: Key) {
    if !model.fleet.is_shown(&key) {
        model.fleet.filter_by(Default::default());
    }
    model.show_panel(Panel::Agents);
    model.pane = Pane::Detail;
    model.return_to = Some(Panel::Tickets);
    let id = RowId::Agent(key.clone());
    model.in_tree(|tree, source, height| tree.select(source, id, height));
    model.opening = Some(key);
    model.open_conversation();
}

/// The selected ticket, or the words that there is none.
fn selected(model: &mut Model) -> Option<TicketRow> {
    let row = model.ticket().cloned();
    if row.is_none() {
        model.say("there is no ticket to do this to", true);
    }
    row
}

fn decide(row: &TicketRow, verdict: HumanVerdict, text: &str) -> Action {
    Action::Decide { ticket: row.key.clone(), verdict, text: text.to_owned() }
}

/// Approves, or lets go on what a person has held, or what failed.
fn approve(model: &mut Model) -> Vec<Effect> {
    let Some(row) = selected(model) else { return Vec::new() };
    if row.state != TicketState::Open {
        return vec![Effect::Act(Action::Want(row.key, TicketState::Open))];
    }
    match row.phase {
        TicketPhase::Failed => vec![Effect::Act(decide(&row, HumanVerdict::SendBack, ""))],
        TicketPhase::Reviewing if row.needs() => {
            vec![Effect::Act(decide(&row, HumanVerdict::Approve, ""))]
        }
        TicketPhase::Working | TicketPhase::Checking | TicketPhase::Reviewing => {
            model.overlay = Some(Overlay::Confirm(Confirm {
                title: format!("Approve {} now?", row.id),
                lines: vec![
                    match row.phase {
                        TicketPhase::Reviewing => "Its review is not over: it is left out.".to_owned(),
                        _ => "It was not reviewed yet: no review will take place.".to_owned(),
                    },
                    "Its checks and the merge still have to pass.".to_owned(),
                ],
                action: decide(&row, HumanVerdict::Approve, ""),
            }));
            Vec::new()
        }
        phase => {
            let word = format!("{phase:?}").to_lowercase();
            model.say(format!("{} is {word}: there is nothing to approve", row.id), false);
            Vec::new()
        }
    }
}

fn ask_to_stop(model: &mut Model) {
    let Some(row) = selected(model) else { return };
    if row.phase.is_terminal() {
        return model.say(format!("{} has come to its end already", row.id), false);
    }
    model.overlay = Some(Overlay::Confirm(Confirm {
        title: format!("Stop {}?", row.id),
        lines: vec![
            "What works on it is ended now, and the ticket counts as failed.".to_owned(),
            "Kept: its branch, its workspace for a while, its conversations. c lets it go on.".to_owned(),
        ],
        action: decide(&row, HumanVerdict::Stop, ""),
    }));
}

fn hold(model: &mut Model) -> Vec<Effect> {
    let Some(row) = selected(model) else { return Vec::new() };
    if row.phase.is_terminal() && row.state == TicketState::Open {
        model.say(format!("{} has come to its end already", row.id), false);
        return Vec::new();
    }
    let state = if row.state == TicketState::Open { TicketState::Held } else { TicketState::Open };
    vec![Effect::Act(Action::Want(row.key, state))]
}

fn ask_to_cancel(model: &mut Model) {
    let Some(row) = selected(model) else { return };
    if row.phase.is_terminal() || row.state == TicketState::Cancelled {
        return model.say(format!("{} has come to its end already", row.id), false);
    }
    model.overlay = Some(Overlay::Confirm(Confirm {
        title: format!("Cancel {}?", row.id),
        lines: vec![
            "What works on it is ended. Tickets that depend on it go on waiting.".to_owned(),
            "Kept: the ticket, its branch, its workspace for a while. z opens it again.".to_owned(),
        ],
        action: Action::Want(row.key, TicketState::Cancelled),
    }));
}

/// Asks before a ticket is deleted.
pub(super) fn ask_to_delete(model: &mut Model) {
    let Some(row) = selected(model) else { return };
    model.overlay = Some(Overlay::Confirm(Confirm {
        title: format!("Delete {}?", row.id),
        lines: vec![
            "Gone for good: its agents with their conversations, its reviews and merges.".to_owned(),
            "Kept: what its workspace holds, and the ticket's text:".to_owned(),
            format!("gcluster undelete ticket {} brings them back.", row.key.name()),
        ],
        action: Action::DeleteTicket(row.key),
    }));
}

/// Under what an unsent text is kept.
pub(super) fn draft_key(ticket: &Key) -> String {
    format!("send-back {}/{}", ticket.namespace(), ticket.name())
}

/// Opens the box for what the worker is told.
fn send_back(model: &mut Model) {
    let Some(row) = selected(model) else { return };
    match row.phase {
        TicketPhase::Merged => {
            return model.say(format!("{} is merged: write a new ticket", row.id), false);
        }
        TicketPhase::Cancelled => {
            return model.say(format!("{} is cancelled: z opens it again", row.id), false);
        }
        // What nobody works on yet is told to whoever will.
        _ => {}
    }
    let text = model.drafts.remove(&draft_key(&row.key)).unwrap_or_default();
    let editor = Editor::new(&text).with_placeholder("What should be different?");
    model.input = Some(Input::SendBack(SendBackBox { ticket: row.key, editor }));
}

/// Sends the ticket back with what is in the box.
pub(super) fn send(model: &mut Model) -> Vec<Effect> {
    let Some(Input::SendBack(back)) = &model.input else { return Vec::new() };
    let text = back.editor.text().trim().to_owned();
    if text.is_empty() {
        model.say("say what should be different", true);
        return Vec::new();
    }
    let action = Action::Decide { ticket: back.ticket.clone(), verdict: HumanVerdict::SendBack, text };
    model.input = None;
    vec![Effect::Act(action)]
}

/// Opens the message box for the marked agent.
pub(super) fn write(model: &mut Model) {
    let Some(agent) = model.story.agent(&model.fleet).map(|row| row.key.clone()) else {
        return model.say("no agent has worked on it yet: there is nobody to write to", true);
    };
    let text = model.drafts.remove(&sending::draft_key(&agent)).unwrap_or_default();
    let editor = Editor::new(&text).with_placeholder("What should it know?");
    model.outbox.retain(|out| out.failed.is_none() || out.draft.agent != agent);
    model.input = Some(Input::Message(MessageBox { agent, iteration: None, editor }));
}

fn fetch(model: &mut Model, make: impl FnOnce(Key) -> Fetch) -> Vec<Effect> {
    selected(model).map(|row| Effect::Fetch(make(row.key))).into_iter().collect()
}

/// The events of the ticket, the newest first.
pub(super) fn events(model: &mut Model) {
    let Some(row) = selected(model) else { return };
    let values: Vec<_> = model.story.events.values().cloned().collect();
    let lines = super::commands::event_lines(&values, model.now);
    model.show_sheet(Sheet::new(format!("Events of {}", row.id), &lines.join("\n")));
}

fn copy(model: &mut Model) -> Vec<Effect> {
    let Some(row) = selected(model) else { return Vec::new() };
    let statuses = model.story.workspaces.values().filter_map(|workspace| workspace.status.as_ref());
    let path = statuses.filter_map(|status| status.path.clone()).next();
    let (what, text) = match path.filter(|_| model.pane == Pane::Detail) {
        Some(path) => ("the path of the workspace", path),
        None => ("the name", row.key.name().to_owned()),
    };
    model.say(format!("copied {what}"), false);
    vec![Effect::Copy(text)]
}
