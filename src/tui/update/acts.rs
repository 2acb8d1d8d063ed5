//! What the keys of the tree and of the views do.

use gcluster_types::kinds::agent::RunPolicy;

use super::{commands, inputs, tickets};
use crate::tui::conversation::Scroll;
use crate::tui::fleet::{Key, Sort};
use crate::tui::keys::{Act, Place};
use crate::tui::layout::Pane;
use crate::tui::line_edit::LineEdit;
use crate::tui::model::{CommandLine, Confirm, Input, Model, Overlay};
use crate::tui::msg::{Action, Effect, Fetch};
use crate::tui::tickets::Panel;
use crate::tui::tree::{Move, RowId};

/// Columns that one key scrolls lines which are not wrapped.
const COLUMNS: i64 = 8;

/// Does it.
pub(super) fn act(model: &mut Model, act: Act) -> Vec<Effect> {
    if model.panel == Panel::Tickets
        && let Some(effects) = tickets::act(model, act)
    {
        return effects;
    }
    if model.pane == Pane::Tree {
        // Whoever is in the tree has left the ticket.
        model.return_to = None;
    }
    match act {
        Act::Quit => return vec![Effect::Quit],
        Act::Suspend => return vec![Effect::Suspend],
        Act::Back if model.pane == Pane::Tree => return vec![Effect::Quit],
        Act::Back if tickets::go_back(model) => {}
        Act::Back => model.pane = Pane::Tree,
        Act::Escape => escape(model),
        Act::Enter => enter(model),
        Act::Pane => model.pane = if model.pane == Pane::Tree { Pane::Detail } else { Pane::Tree },
        Act::Up | Act::Down | Act::PageUp | Act::PageDown | Act::First | Act::Last => go(model, act),
        Act::Left if model.pane == Pane::Detail => {
            // Lines that are not wrapped are scrolled back first.
            if !model.talk_mut().is_some_and(|talk| talk.conversation.scroll_sideways(-COLUMNS)) {
                model.pane = Pane::Tree;
            }
        }
        Act::Left => model.in_tree(|tree, source, height| tree.open(source, false, height)),
        Act::Right if model.pane == Pane::Detail => {
            if let Some(talk) = model.talk_mut() {
                talk.conversation.scroll_sideways(COLUMNS);
            }
        }
        Act::Right => model.in_tree(|tree, source, height| tree.open(source, true, height)),
        Act::Fold => model.in_tree(|tree, source, height| {
            let open = tree.opened().next().is_none();
            tree.open_all(source, open, height);
        }),
        Act::Search if model.place() == Place::Iteration => {
            let before = model.talk().map(|talk| talk.searched.clone()).unwrap_or_default();
            model.input = Some(Input::Find(LineEdit::new(&before)));
        }
        Act::Search => {
            model.pane = Pane::Tree;
            model.input = Some(Input::Search(LineEdit::new(model.fleet.filter().text())));
        }
        Act::NextHit
        | Act::PreviousHit
        | Act::Unfold
        | Act::UnfoldAll
        | Act::Times
        | Act::Wrap
        | Act::Thinking
        | Act::RecordUp
        | Act::RecordDown => in_conversation(model, act),
        Act::Command => model.input = Some(Input::Command(CommandLine::default())),
        Act::Help => model.show_help(),
        Act::Message => return inputs::write(model),
        Act::Edit => inputs::edit(model),
        Act::Pause => return pause(model),
        Act::Stop => return on_agent(model, |key| Effect::Act(Action::Run(key, RunPolicy::Stopped))),
        Act::Restart => return on_agent(model, |key| Effect::Act(Action::Restart(key))),
        Act::Delete => ask_to_delete(model),
        Act::Rollback => ask_to_roll_back(model),
        Act::Older | Act::Newer => choose_revision(model, act == Act::Older),
        Act::Yaml => return yaml(model),
        Act::Describe => return describe(model),
        Act::Messages => commands::messages(model),
        Act::Events => commands::events(model),
        Act::Copy => return copy(model),
        Act::Mouse => {
            model.mouse = !model.mouse;
            let text = if model.mouse {
                "the mouse scrolls and selects"
            } else {
                "the mouse is yours: select text; m takes it back"
            };
            model.say(text, false);
            return vec![Effect::Mouse(model.mouse)];
        }
        Act::Bell => {
            model.bell = !model.bell;
            model.say(if model.bell { "rings when an agent needs you" } else { "stays silent" }, false);
        }
        Act::Redraw => return vec![Effect::Redraw],
        Act::Sort(sort) => sort_by(model, sort, true),
        Act::Panel => {
            let other = if model.panel == Panel::Agents { Panel::Tickets } else { Panel::Agents };
            return tickets::show(model, other);
        }
        Act::ToAgents => return tickets::show(model, Panel::Agents),
        Act::ToTickets => return tickets::show(model, Panel::Tickets),
        Act::Approve | Act::SendBack | Act::Cancel | Act::Changes | Act::Output => {}
    }
    Vec::new()
}

fn in_conversation(model: &mut Model, act: Act) {
    let Some(talk) = model.talk_mut() else { return };
    let conversation = &mut talk.conversation;
    match act {
        Act::NextHit => drop(conversation.next_hit()),
        Act::PreviousHit => drop(conversation.prev_hit()),
        Act::Unfold => drop(conversation.toggle_fold()),
        Act::UnfoldAll => conversation.toggle_fold_all(),
        Act::Times => conversation.toggle_times(),
        Act::Wrap => conversation.toggle_wrap(),
        Act::Thinking => conversation.toggle_thinking(),
        Act::RecordUp => conversation.scroll(Scroll::Records(-1)),
        _ => conversation.scroll(Scroll::Records(1)),
    }
}

fn escape(model: &mut Model) {
    if model.pane == Pane::Detail {
        if let Some(talk) = model.talk_mut().filter(|talk| !talk.searched.is_empty()) {
            talk.searched.clear();
            talk.conversation.search("");
            return;
        }
        if !tickets::go_back(model) {
            model.pane = Pane::Tree;
        }
    } else if !model.fleet.filter().is_empty() {
        inputs::filter_by(model, Default::default());
    } else {
        model.notice = None;
    }
}

fn enter(model: &mut Model) {
    match model.tree.selected() {
        Some(RowId::More(..)) => model.in_tree(|tree, source, height| tree.open(source, true, height)),
        Some(RowId::Agent(_) | RowId::Step(..) | RowId::Iteration(..)) => model.pane = Pane::Detail,
        None => {}
    }
}

fn go(model: &mut Model, act: Act) {
    if model.pane == Pane::Detail {
        return scroll_detail(model, act, 1);
    }
    let to = movement(act, model.rows().saturating_sub(1));
    model.in_tree(|tree, source, height| tree.go(source, to, height));
}

/// Scrolls what is selected.
pub(super) fn scroll_detail(model: &mut Model, act: Act, lines: usize) {
    let page = usize::from(model.areas().inner.height.saturating_sub(1)).max(1);
    if act == Act::Last {
        chase(model);
    }
    if let Some(talk) = model.talk_mut() {
        let lines = i64::try_from(lines).unwrap_or(1);
        let scroll = match act {
            Act::Up => Scroll::Lines(-lines),
            Act::Down => Scroll::Lines(lines),
            Act::PageUp => Scroll::Pages(-1),
            Act::PageDown => Scroll::Pages(1),
            Act::First => Scroll::Top,
            _ => Scroll::Bottom,
        };
        talk.conversation.scroll(scroll);
        return;
    }
    let most = crate::tui::view::detail_rows(model).saturating_sub(page + 1);
    model.subject.scroll = scrolled(model.subject.scroll, act, lines, page, most);
}

/// How a key moves a selection, by pages of so many rows.
pub(super) fn movement(act: Act, page: usize) -> Move {
    let page = page.max(1) as isize;
    match act {
        Act::Up => Move::By(-1),
        Act::Down => Move::By(1),
        Act::PageUp => Move::By(-page),
        Act::PageDown => Move::By(page),
        Act::First => Move::First,
        _ => Move::Last,
    }
}

/// The first line in view after a key that scrolls so many lines or a page; `most` is the last there is.
pub(super) fn scrolled(top: usize, act: Act, lines: usize, page: usize, most: usize) -> usize {
    let top = match act {
        Act::Up => top.saturating_sub(lines),
        Act::Down => top + lines,
        Act::PageUp => top.saturating_sub(page),
        Act::PageDown => top + page,
        Act::First => 0,
        _ => most,
    };
    top.min(most)
}

/// From now on each iteration of the agent is shown when it begins, until the selection is moved.
fn chase(model: &mut Model) {
    if model.place() == Place::Iteration {
        model.chase = true;
        model.chase_on();
    }
}

fn on_agent(model: &mut Model, make: impl FnOnce(Key) -> Effect) -> Vec<Effect> {
    match model.tree.selected() {
        Some(row) => vec![make(row.agent().clone())],
        None => {
            model.say("there is no agent to do this to", true);
            Vec::new()
        }
    }
}

fn pause(model: &mut Model) -> Vec<Effect> {
    let run = match model.agent() {
        Some(row) if row.wanted => RunPolicy::Paused,
        _ => RunPolicy::Running,
    };
    on_agent(model, |key| Effect::Act(Action::Run(key, run)))
}

/// Asks before an agent is deleted.
pub(super) fn ask_to_delete(model: &mut Model) {
    let Some(row) = model.agent() else { return model.say("there is no agent to delete", true) };
    let mut lines = Vec::new();
    match row.active {
        0 => {}
        1 => lines.push("The iteration that runs is ended.".to_owned()),
        n => lines.push(format!("The {n} iterations that run are ended.")),
    }
    lines.push(format!(
        "Gone for good: its {} ended iterations with their transcripts, its revisions.",
        row.iterations
    ));
    lines.push(
        "Kept: every file that it wrote, its working directory, the .p file that it came from.".to_owned(),
    );
    lines.push("Applying that file again makes a new agent of this name.".to_owned());
    let key = row.key.clone();
    model.overlay = Some(Overlay::Confirm(Confirm {
        title: format!("Delete {}?", key.name()),
        lines,
        action: Action::Delete(key),
    }));
}

fn ask_to_roll_back(model: &mut Model) {
    let current = model.agent().map_or(0, |row| row.revision);
    let Some(chosen) = model.subject.chosen.filter(|chosen| *chosen != current) else {
        return model.say("choose an older revision with [ first", true);
    };
    let revision = model.subject.revisions.iter().find(|(_, revision)| revision.spec.revision == chosen);
    let Some((name, _)) = revision else { return };
    let key = model.subject.key.clone();
    model.overlay = Some(Overlay::Confirm(Confirm {
        title: format!("Take {} back to revision {chosen}?", key.name()),
        lines: vec![
            format!("The text of revision {chosen} becomes the newest revision; new iterations use it."),
            "The iteration that runs goes on with the text it began with.".to_owned(),
            format!("Kept: revision {current}, to come back to."),
        ],
        action: Action::Rollback(key, name.clone()),
    }));
}

fn choose_revision(model: &mut Model, older: bool) {
    let mut numbers: Vec<i64> = model.subject.revisions.values().map(|r| r.spec.revision).collect();
    numbers.sort_unstable();
    let Some(newest) = numbers.last().copied() else { return };
    let now = model.subject.chosen.unwrap_or(newest);
    let next = match older {
        true => numbers.iter().rev().find(|number| **number < now),
        false => numbers.iter().find(|number| **number > now),
    };
    match next {
        Some(next) => model.subject.chosen = Some(*next),
        None => {
            model.say(if older { "there is no older revision" } else { "there is no newer revision" }, false)
        }
    }
}

/// Sorts; the same key again turns the order round.
pub(super) fn sort_by(model: &mut Model, sort: Sort, toggle: bool) {
    let (now, reverse) = model.fleet.sorting();
    let reverse = toggle && now == sort && sort != Sort::Need && !reverse;
    model.fleet.sort_by(sort, reverse);
    model.in_tree(|tree, source, height| tree.settle(source, height));
    let turned = if reverse { ", the other way round" } else { "" };
    model.say(format!("sorted by {}{turned}", sort.name()), false);
}

/// The selected object as YAML.
pub(super) fn yaml(model: &mut Model) -> Vec<Effect> {
    match model.tree.selected() {
        Some(RowId::Iteration(key, _, name)) => {
            vec![Effect::Fetch(Fetch::Yaml("iterations", Key::new(key.namespace(), name)))]
        }
        Some(row) => vec![Effect::Fetch(Fetch::Yaml("agents", row.agent().clone()))],
        None => Vec::new(),
    }
}

/// The selected object in words.
pub(super) fn describe(model: &mut Model) -> Vec<Effect> {
    match model.tree.selected() {
        Some(RowId::Iteration(key, _, name)) => {
            vec![Effect::Fetch(Fetch::Describe("iterations", Key::new(key.namespace(), name)))]
        }
        Some(row) => vec![Effect::Fetch(Fetch::Describe("agents", row.agent().clone()))],
        None => Vec::new(),
    }
}

fn copy(model: &mut Model) -> Vec<Effect> {
    let (what, text) = match (model.place(), model.tree.selected()) {
        (Place::Iteration, _) => match model.talk().map(|talk| talk.conversation.selected_text()) {
            Some(text) if !text.is_empty() => ("the record", text),
            _ => return Vec::new(),
        },
        (Place::Step, _) => match model.prompt() {
            Some((_, _, prompt)) => ("the prompt", prompt),
            None => return Vec::new(),
        },
        (_, Some(RowId::Iteration(_, _, name))) => ("the name", name.clone()),
        (_, Some(row)) => ("the name", row.agent().name().to_owned()),
        (_, None) => return Vec::new(),
    };
    model.say(format!("copied {what}"), false);
    vec![Effect::Copy(text)]
}
