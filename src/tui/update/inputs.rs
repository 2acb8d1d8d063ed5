//! Typing: the search lines, the command line, the message box, the prompt editor. Here single keys are text; escape
//! always leaves, and what was written is kept.

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use gcluster_types::kinds::iteration::Phase;
use gcluster_types::kinds::message::Delivery;

use super::{commands, sending};
use crate::tui::command;
use crate::tui::editor::Editor;
use crate::tui::filter::Filter;
use crate::tui::keys;
use crate::tui::layout::Pane;
use crate::tui::line_edit::LineEdit;
use crate::tui::model::{Input, MessageBox, Model, PromptEdit};
use crate::tui::msg::{Action, Effect};
use crate::tui::tickets::Panel;

/// Offers of the command line that are shown.
const OFFERS: usize = 200;

/// A key while something is typed.
pub(super) fn key(model: &mut Model, key: KeyEvent) -> Vec<Effect> {
    match model.input {
        Some(Input::Search(_)) => search_key(model, key),
        Some(Input::Find(_)) => find_key(model, key),
        Some(Input::Command(_)) => return command_key(model, key),
        Some(Input::Message(_)) => return message_key(model, key),
        Some(Input::Prompt(_)) => return prompt_key(model, key),
        Some(Input::SendBack(_)) => return send_back_key(model, key),
        None => {}
    }
    Vec::new()
}

/// Pasted text goes where typed text goes; it is never a key.
pub(super) fn pasted(model: &mut Model, text: &str) -> Vec<Effect> {
    match &mut model.input {
        Some(Input::Search(line)) => {
            line.insert(text);
            let filter = Filter::parse(line.text());
            filter_by(model, filter);
        }
        Some(Input::Find(line)) => line.insert(text),
        Some(Input::Command(command)) => command.line.insert(text),
        Some(Input::Message(message)) => message.editor.insert(text),
        Some(Input::Prompt(edit)) => edit.editor.insert(text),
        Some(Input::SendBack(back)) => back.editor.insert(text),
        None => model.say("pasted text goes into the message box: press i first", false),
    }
    Vec::new()
}

/// Filters the tree. When the filter goes, what it hid is selected again, unless somebody has selected since.
pub(super) fn filter_by(model: &mut Model, filter: Filter) {
    if model.panel == Panel::Tickets {
        return super::tickets::filter_by(model, filter);
    }
    let before = model.tree.selected().cloned();
    let known = model.hidden.take().filter(|(_, instead)| *instead == before).map(|(hidden, _)| hidden);
    let wanted = known.or(before);
    model.fleet.filter_by(filter);
    model.in_tree(|tree, source, height| match &wanted {
        Some(id) if source.fleet.is_shown(id.agent()) && tree.selected() != Some(id) => {
            tree.select(source, id.clone(), height);
        }
        _ => tree.settle(source, height),
    });
    if let Some(id) = wanted.filter(|id| model.tree.selected() != Some(id)) {
        model.hidden = Some((id, model.tree.selected().cloned()));
    }
}

fn search_key(model: &mut Model, key: KeyEvent) {
    match key.code {
        KeyCode::Esc => {
            model.input = None;
            filter_by(model, Filter::default());
        }
        KeyCode::Enter => model.input = None,
        // The list can be walked while it is searched.
        KeyCode::Up | KeyCode::Down | KeyCode::PageUp | KeyCode::PageDown => {
            let act = keys::lookup(keys::Place::Tree, &key).map(|binding| binding.act);
            model.pane = Pane::Tree;
            if let Some(act) = act {
                super::act(model, act);
            }
        }
        _ => {
            let Some(Input::Search(line)) = &mut model.input else { return };
            if line.handle(&key) {
                let filter = Filter::parse(line.text());
                filter_by(model, filter);
            }
        }
    }
}

fn find_key(model: &mut Model, key: KeyEvent) {
    let Some(Input::Find(line)) = &mut model.input else { return };
    match key.code {
        KeyCode::Esc => {
            model.input = None;
            search(model, "");
        }
        KeyCode::Enter => model.input = None,
        _ => {
            if line.handle(&key) {
                let text = line.text().to_owned();
                search(model, &text);
            }
        }
    }
}

fn search(model: &mut Model, text: &str) {
    if let Some(talk) = model.talk_mut() {
        talk.searched = text.to_owned();
        talk.conversation.search(text);
    }
}

fn command_key(model: &mut Model, key: KeyEvent) -> Vec<Effect> {
    let Some(Input::Command(mut command)) = model.close_input() else { return Vec::new() };
    match key.code {
        KeyCode::Esc => return Vec::new(),
        KeyCode::Backspace if command.line.text().is_empty() => return Vec::new(),
        KeyCode::Enter => return commands::run(model, command.line.text()),
        KeyCode::Tab | KeyCode::BackTab => {
            if command.offers.is_empty() {
                command.offers = offers(model, command.line.text());
                command.taken = None;
            }
            let count = command.offers.len();
            if count > 0 {
                let next = match (command.taken, key.code) {
                    (None, KeyCode::Tab) => 0,
                    (None, _) => count - 1,
                    (Some(at), KeyCode::Tab) => (at + 1) % count,
                    (Some(at), _) => (at + count - 1) % count,
                };
                if let Some(offer) = command.offers.get(next) {
                    command.line = LineEdit::new(offer);
                }
                command.taken = Some(next);
                // One offer alone is taken, and tab goes on with what follows it.
                if count == 1 {
                    command.offers.clear();
                    command.taken = None;
                }
            }
        }
        KeyCode::Up | KeyCode::Down => {
            let back = match key.code {
                KeyCode::Up => (command.back + 1).min(model.history.len()),
                _ => command.back.saturating_sub(1),
            };
            command.back = back;
            let line = back.checked_sub(1).and_then(|at| model.history.get(at));
            command.line = LineEdit::new(line.map_or("", String::as_str));
        }
        _ => {
            if command.line.handle(&key) {
                command.offers.clear();
                command.taken = None;
            }
        }
    }
    model.input = Some(Input::Command(command));
    Vec::new()
}

/// What tab offers after a text.
fn offers(model: &Model, line: &str) -> Vec<String> {
    let agents = |word: &str| -> Vec<String> {
        let fitting = model.fleet.in_order().map(|row| row.key.name()).filter(|name| name.starts_with(word));
        fitting.take(OFFERS).map(str::to_owned).collect()
    };
    let mut namespaces: Vec<String> = Vec::new();
    namespaces.extend(model.setting.namespace.clone());
    namespaces.extend(model.fleet.all().map(|row| row.key.namespace().to_owned()));
    namespaces.sort();
    namespaces.dedup();
    let tickets = |word: &str| -> Vec<String> {
        let fitting =
            model.backlog.in_order().map(|(_, row)| row.key.name()).filter(|name| name.starts_with(word));
        fitting.take(OFFERS).map(str::to_owned).collect()
    };
    command::complete(line, agents, tickets, &namespaces)
}

/// Opens the message box for the selected agent.
pub(super) fn write(model: &mut Model) -> Vec<Effect> {
    if model.setting.readonly {
        model.say("this is --readonly: nothing can be changed from here", true);
        return Vec::new();
    }
    let Some(agent) = model.tree.selected().map(|row| row.agent().clone()) else {
        model.say("there is no agent to write to", true);
        return Vec::new();
    };
    // An item of a map is meant alone: its siblings run beside it.
    let item = model.iteration().filter(|row| row.item.is_some() && row.phase == Phase::Running);
    let iteration = item.map(|row| row.name.clone());
    let text = model.drafts.remove(&sending::draft_key(&agent)).unwrap_or_default();
    let editor = Editor::new(&text).with_placeholder("What should it know?");
    model.outbox.retain(|out| out.failed.is_none() || out.draft.agent != agent);
    model.input = Some(Input::Message(MessageBox { agent, iteration, editor }));
    model.show_pending();
    Vec::new()
}

fn message_key(model: &mut Model, key: KeyEvent) -> Vec<Effect> {
    let plain = !key.modifiers.intersects(KeyModifiers::ALT | KeyModifiers::CONTROL | KeyModifiers::SHIFT);
    if key.code == KeyCode::Enter && plain {
        return sending::send(model, Delivery::Steer);
    }
    if keys::is("ctrl-q", &key) || keys::is("alt-q", &key) {
        return sending::send(model, Delivery::Queue);
    }
    if keys::is("ctrl-x", &key) || keys::is("alt-x", &key) {
        return sending::send(model, Delivery::Interrupt);
    }
    if key.code == KeyCode::Esc {
        if let Some(Input::Message(message)) = model.close_input() {
            keep(model, sending::draft_key(&message.agent), message.editor.text());
        }
        return Vec::new();
    }
    if let Some(Input::Message(message)) = &mut model.input {
        message.editor.handle(key);
    }
    Vec::new()
}

fn send_back_key(model: &mut Model, key: KeyEvent) -> Vec<Effect> {
    let plain = !key.modifiers.intersects(KeyModifiers::ALT | KeyModifiers::CONTROL | KeyModifiers::SHIFT);
    if key.code == KeyCode::Enter && plain {
        return super::tickets::send(model);
    }
    if key.code == KeyCode::Esc {
        if let Some(Input::SendBack(back)) = model.close_input() {
            keep(model, super::tickets::draft_key(&back.ticket), back.editor.text());
        }
        return Vec::new();
    }
    if let Some(Input::SendBack(back)) = &mut model.input {
        back.editor.handle(key);
    }
    Vec::new()
}

fn keep(model: &mut Model, key: String, text: String) {
    if text.trim().is_empty() {
        model.drafts.remove(&key);
    } else {
        model.drafts.insert(key, text);
        model.say("your text is kept: the same key brings it back", false);
    }
}

/// Opens the prompt of what is selected.
pub(super) fn edit(model: &mut Model) {
    if model.subject.agent.is_none() {
        return model.say("the agent is not read yet: try again", true);
    }
    let Some((method, before, prompt)) = model.prompt() else {
        return model
            .say("select a step with a prompt first: this one runs a pipeline, or there are several", true);
    };
    let agent = model.subject.key.clone();
    let kept = model.drafts.get(&sending::prompt_key(&agent, method.as_deref())).cloned();
    if kept.is_some() {
        model.say("your unsaved text is back", false);
    }
    let mut editor = Editor::new(&kept.unwrap_or(prompt));
    editor.home();
    let edit = PromptEdit { agent, method, before, editor, saving: false, theirs: None };
    model.input = Some(Input::Prompt(Box::new(edit)));
}

fn prompt_key(model: &mut Model, key: KeyEvent) -> Vec<Effect> {
    let Some(Input::Prompt(edit)) = &mut model.input else { return Vec::new() };
    if key.code == KeyCode::Esc {
        return close_prompt(model);
    }
    if keys::is("ctrl-s", &key) {
        return save(model);
    }
    if keys::is("ctrl-t", &key)
        && let Some(theirs) = edit.theirs.take()
    {
        // Theirs is taken, ours is not lost: it is what undo would bring back.
        let text = prompt_of(&theirs).unwrap_or_default();
        let ours = std::mem::replace(&mut edit.editor, Editor::new(&text)).text();
        edit.before = theirs;
        model.say("theirs is in the editor; yours is in the clipboard", false);
        return vec![Effect::Copy(ours)];
    }
    if !edit.saving {
        edit.editor.handle(key);
    }
    Vec::new()
}

fn close_prompt(model: &mut Model) -> Vec<Effect> {
    if let Some(Input::Prompt(edit)) = model.close_input() {
        let key = sending::prompt_key(&edit.agent, edit.method.as_deref());
        let text = edit.editor.text();
        if prompt_of(&edit.before).is_some_and(|before| before == text) {
            model.drafts.remove(&key);
        } else {
            keep(model, key, text);
        }
    }
    Vec::new()
}

fn save(model: &mut Model) -> Vec<Effect> {
    let Some(Input::Prompt(edit)) = &mut model.input else { return Vec::new() };
    if edit.saving {
        return Vec::new();
    }
    let prompt = edit.editor.text();
    if prompt.trim().is_empty() {
        model.say("an empty prompt is not saved: stop or delete the agent instead", true);
        return Vec::new();
    }
    // After a conflict, saving again means: mine, over theirs that I have seen.
    let before = edit.theirs.clone().unwrap_or_else(|| edit.before.clone());
    if prompt_of(&before).is_some_and(|before| before == prompt) {
        model.input = None;
        model.say("nothing was changed", false);
        return Vec::new();
    }
    edit.saving = true;
    vec![Effect::Act(Action::Edit { agent: edit.agent.clone(), method: edit.method.clone(), before, prompt })]
}

/// The prompt in a canonical form.
pub(crate) fn prompt_of(form: &str) -> Option<String> {
    use gcluster_types::sexpr::program::{Body, parse_definition};
    match parse_definition(form).ok()?.body {
        Body::Prompt(text) => Some(text),
        Body::Pipeline(_) => None,
    }
}
