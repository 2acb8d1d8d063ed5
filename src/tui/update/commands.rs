//! What the command line does.

use gcluster_types::names::object_name;
use k8s_openapi::jiff::Timestamp;

use super::{acts, inputs, tickets};
use crate::render::{age, event::EventRow};
use crate::tui::command::{self, Command};
use crate::tui::fleet::{Fleet, Key};
use crate::tui::keys::Act;
use crate::tui::layout::Pane;
use crate::tui::model::{Model, Subject};
use crate::tui::msg::{Action, Effect};
use crate::tui::sheet::Sheet;
use crate::tui::theme::Theme;
use crate::tui::tickets::{Backlog, Desk, Panel, Story};
use crate::tui::tree::RowId;

/// Commands that are remembered.
const HISTORY: usize = 100;

/// Does what a line says.
pub(super) fn run(model: &mut Model, line: &str) -> Vec<Effect> {
    let line = line.trim();
    if line.is_empty() {
        return Vec::new();
    }
    model.history.retain(|known| known != line);
    model.history.push_front(line.to_owned());
    model.history.truncate(HISTORY);
    let command = match command::parse(line) {
        Ok(command) => command,
        Err(error) => {
            model.say(error, true);
            return Vec::new();
        }
    };
    if model.setting.readonly && changes(&command) {
        model.say("this is --readonly: nothing can be changed from here", true);
        return Vec::new();
    }
    if model.panel == Panel::Tickets
        && let Some(effects) = on_ticket(model, &command)
    {
        return effects;
    }
    match command {
        Command::Quit => return vec![Effect::Quit],
        Command::Agents => {
            model.fleet.filter_by(Default::default());
            let effects = tickets::show(model, Panel::Agents);
            model.pane = Pane::Tree;
            model.in_tree(|tree, source, height| tree.settle(source, height));
            return effects;
        }
        Command::Tickets => {
            tickets::filter_by(model, Default::default());
            let effects = tickets::show(model, Panel::Tickets);
            model.pane = Pane::Tree;
            return effects;
        }
        Command::Ticket(name) => return go_to_ticket(model, &name),
        Command::Namespace(namespace) => change_namespace(model, namespace),
        Command::Run(run, name) => {
            if let Some(key) = agent(model, name) {
                return vec![Effect::Act(Action::Run(key, run))];
            }
        }
        Command::Restart(name) => {
            if let Some(key) = agent(model, name) {
                return vec![Effect::Act(Action::Restart(key))];
            }
        }
        Command::Delete(name) => {
            if select(model, name) {
                acts::ask_to_delete(model);
            }
        }
        Command::Message(name) => {
            if select(model, name) {
                return inputs::write(model);
            }
        }
        Command::Go(name) => {
            select(model, Some(name));
        }
        Command::Edit => inputs::edit(model),
        Command::Messages => messages(model),
        Command::Events => events(model),
        Command::Yaml => return acts::yaml(model),
        Command::Describe => return acts::describe(model),
        Command::Help => model.show_help(),
        Command::Theme(mode) => {
            model.theme = Theme::new(mode, model.setting.ascii);
            model.setting.theme_chosen = true;
        }
        Command::Sort(sort) => acts::sort_by(model, sort, false),
        Command::Bell => return acts::act(model, Act::Bell),
        Command::Mouse => return acts::act(model, Act::Mouse),
    }
    Vec::new()
}

fn changes(command: &Command) -> bool {
    matches!(
        command,
        Command::Run(..) | Command::Restart(_) | Command::Delete(_) | Command::Message(_) | Command::Edit
    )
}

/// The agent of a name, or the selected one.
fn agent(model: &mut Model, name: Option<String>) -> Option<Key> {
    let Some(name) = name else {
        let selected = model.tree.selected().map(|row| row.agent().clone());
        if selected.is_none() {
            model.say("no agent is selected: name one", true);
        }
        return selected;
    };
    let name = object_name(&name).unwrap_or(name);
    // In a view of all namespaces the one of the selected agent is meant first.
    let near = model.tree.selected().map(|row| row.agent().namespace().to_owned());
    let near = near.or_else(|| model.setting.namespace.clone()).unwrap_or_default();
    let exact = Key::new(&near, &name);
    let found = match model.fleet.get(&exact) {
        Some(_) => Some(exact),
        None => model.fleet.all().find(|row| row.key.name() == name).map(|row| row.key.clone()),
    };
    if found.is_none() {
        model.say(format!("no agent {name:?} here"), true);
    }
    found
}

fn select(model: &mut Model, name: Option<String>) -> bool {
    let named = name.is_some();
    let Some(key) = agent(model, name) else { return false };
    if named {
        if !model.fleet.is_shown(&key) {
            model.fleet.filter_by(Default::default());
        }
        model.in_tree(|tree, source, height| tree.select(source, RowId::Agent(key), height));
    }
    true
}

fn change_namespace(model: &mut Model, namespace: Option<String>) {
    if model.setting.namespace == namespace {
        return;
    }
    let (sort, reverse) = model.fleet.sorting();
    model.setting.namespace = namespace;
    model.fleet = Fleet::default();
    model.fleet.sort_by(sort, reverse);
    model.runs.clear();
    model.tree = Default::default();
    model.subject = Subject::default();
    model.talks.clear();
    model.listed = false;
    model.pane = Pane::Tree;
    model.backlog = Backlog::default();
    model.backlog_listed = false;
    (model.desk, model.story) = (Desk::default(), Story::default());
    model.pools.clear();
    (model.other_pane, model.return_to, model.opening) = (Pane::Tree, None, None);
}

/// A command that, without a name, concerns the ticket in view; nothing when it means the same everywhere.
fn on_ticket(model: &mut Model, command: &Command) -> Option<Vec<Effect>> {
    let act = match command {
        Command::Delete(None) => Act::Delete,
        Command::Message(None) => Act::Message,
        Command::Events => Act::Events,
        Command::Yaml => Act::Yaml,
        Command::Describe => Act::Describe,
        Command::Run(_, None) | Command::Restart(None) | Command::Edit | Command::Messages => {
            model.say("tickets are shown, and this concerns an agent: name one, or go to it", true);
            return Some(Vec::new());
        }
        // What comes to an agent is seen where agents are.
        Command::Go(_) | Command::Delete(_) | Command::Message(_) => {
            model.show_panel(Panel::Agents);
            return None;
        }
        _ => return None,
    };
    tickets::act(model, act)
}

fn go_to_ticket(model: &mut Model, name: &str) -> Vec<Effect> {
    let near = model.desk.selected().map(|key| key.namespace().to_owned());
    let near = near.or_else(|| model.setting.namespace.clone()).unwrap_or_default();
    let Some(key) = model.backlog.find(&near, name).map(|row| row.key.clone()) else {
        model.say(format!("no ticket {name:?} here"), true);
        return Vec::new();
    };
    if !model.backlog.is_shown(&key) {
        tickets::filter_by(model, Default::default());
    }
    let effects = tickets::show(model, Panel::Tickets);
    model.on_desk(|desk, backlog, view| desk.select(backlog, key, view));
    effects
}

/// The messages of the selected agent, the newest first.
pub(super) fn messages(model: &mut Model) {
    let mut all: Vec<_> = model.subject.messages.values().collect();
    all.sort_by_key(|message| std::cmp::Reverse(message.metadata.creation_timestamp.clone()));
    let mut lines = Vec::new();
    for message in &all {
        let status = message.status.clone().unwrap_or_default();
        let age = message
            .metadata
            .creation_timestamp
            .as_ref()
            .map_or_else(String::new, |at| age::since(at.0, model.now));
        let from = message.spec.from.as_deref().unwrap_or("somebody");
        let to = status.iteration.as_deref().map(|to| format!(" in {to}")).unwrap_or_default();
        lines.push(format!("{age} ago, {from}: {:?}, {:?}{to}", message.spec.delivery, status.phase));
        lines
            .extend(crate::tui::text::sanitize(&message.spec.text).lines().map(|line| format!("    {line}")));
        lines.extend(status.how.map(|how| format!("    ({how})")));
    }
    if lines.is_empty() {
        lines.push("No messages. i writes one.".into());
    }
    page(model, "Messages", lines);
}

/// The events of the selected agent, the newest first.
pub(super) fn events(model: &mut Model) {
    let values: Vec<_> = model.subject.events.values().cloned().collect();
    let lines = event_lines(&values, model.now);
    page(model, "Events", lines);
}

/// Events as lines, the newest first.
pub(super) fn event_lines(values: &[serde_json::Value], now: Timestamp) -> Vec<String> {
    let mut rows: Vec<EventRow> = crate::render::event::sorted(values);
    rows.reverse();
    let mut lines: Vec<String> = rows
        .iter()
        .map(|row| format!("{:<10} {:<8} {:<20} {}", row.age(now), row.kind, row.reason, row.message))
        .map(|line| crate::tui::text::one_line(&line).into_owned())
        .collect();
    if lines.is_empty() {
        lines.push("No events.".into());
    }
    lines
}

fn page(model: &mut Model, what: &str, lines: Vec<String>) {
    let title = match model.tree.selected() {
        Some(row) => format!("{what} of {}", row.agent().name()),
        None => return,
    };
    model.show_sheet(Sheet::new(title, &lines.join("\n")));
}
