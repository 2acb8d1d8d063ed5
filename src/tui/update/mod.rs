//! What happens changes the model, and says what is to be done. Synchronous, without clock or network.

mod acts;
mod commands;
mod data;
mod inputs;
mod mouse;
mod sending;
mod tickets;

use crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use gcluster_types::kinds::iteration::Phase;

pub(crate) use self::inputs::prompt_of;
use super::detail::conversation_area;
use super::keys::{self, Act};
use super::model::{Input, Model, Overlay};
use super::msg::{Effect, Msg};
use super::sheet::Sheet;
use super::tickets::Panel;
use super::tree::RowId;

/// Takes in what happened.
pub fn update(model: &mut Model, msg: Msg) -> Vec<Effect> {
    let effects = match msg {
        Msg::Key(key) if key.kind == KeyEventKind::Release => return Vec::new(),
        Msg::Key(key) => key_pressed(model, key),
        Msg::Mouse(event) => mouse::moved(model, event),
        Msg::Paste(text) => inputs::pasted(model, &text),
        Msg::Resize(width, height) => {
            model.size = (width, height);
            if let Some(Overlay::Sheet(sheet)) = &mut model.overlay {
                sheet.fit(sheet_columns((width, height)));
            }
            Vec::new()
        }
        Msg::Tick(now) => return tick(model, now),
        Msg::Done { action, outcome } => sending::done(model, action, outcome),
        Msg::Page { title, text, diff } => {
            model.show_sheet(Sheet::new(title, &text).as_diff(diff));
            Vec::new()
        }
        Msg::Background { light } => {
            if !model.setting.theme_chosen && light {
                model.theme = super::theme::Theme::new(super::theme::Mode::Light, model.setting.ascii);
            }
            Vec::new()
        }
        other => return data::arrived(model, other),
    };
    model.changed = true;
    layout(model);
    effects
}

/// Brings what depends on the size of its place in step with it.
fn layout(model: &mut Model) {
    // A banner or another size takes rows away: what is selected stays in view.
    let rows = model.rows();
    if model.panel == Panel::Tickets {
        model.on_desk(|desk, backlog, view| desk.settle(backlog, view));
        return;
    }
    if rows > 0 && rows != model.tree.height() {
        model.in_tree(|tree, source, height| tree.settle(source, height));
    }
    let inner = conversation_in(model);
    let theme = model.theme;
    if let Some(talk) = model.talk_mut() {
        talk.conversation.layout(inner.width, inner.height, &theme);
    }
}

/// Where the conversation of the selected iteration stands.
fn conversation_in(model: &Model) -> ratatui::layout::Rect {
    let inner = model.areas().inner;
    match model.facts() {
        Some(facts) => conversation_area(&facts, model.now, inner, &model.theme),
        None => inner,
    }
}

fn tick(model: &mut Model, now: k8s_openapi::jiff::Timestamp) -> Vec<Effect> {
    let second = now.as_second() != model.now.as_second();
    model.now = now;
    if model.notice.as_ref().is_some_and(|notice| notice.until <= now) {
        model.notice = None;
        model.changed = true;
    }
    // Ages count in seconds; what runs turns faster.
    model.changed |= model.moving() || (second && !(model.fleet.is_empty() && model.backlog.is_empty()));
    // A long transcript is searched piece by piece.
    if model.talk().is_some_and(|talk| talk.conversation.is_searching()) {
        layout(model);
        model.changed = true;
    }
    Vec::new()
}

fn key_pressed(model: &mut Model, key: KeyEvent) -> Vec<Effect> {
    // Whatever is in front, this leaves.
    if keys::is("ctrl-c", &key) {
        return vec![Effect::Quit];
    }
    if keys::is("ctrl-z", &key) {
        return vec![Effect::Suspend];
    }
    if super::layout::too_small(model.size) {
        return if keys::is("q", &key) { vec![Effect::Quit] } else { Vec::new() };
    }
    if model.overlay.is_some() {
        return overlay_key(model, key);
    }
    if model.input.is_some() {
        return inputs::key(model, key);
    }
    match keys::lookup(model.place(), &key) {
        Some(binding) if binding.writes && model.setting.readonly => {
            model.say("this is --readonly: nothing can be changed from here", true);
            Vec::new()
        }
        Some(binding) => acts::act(model, binding.act),
        None => Vec::new(),
    }
}

fn overlay_key(model: &mut Model, key: KeyEvent) -> Vec<Effect> {
    let page = usize::from(model.size.1.saturating_sub(6)).max(1);
    let shown = super::view::sheet_rows(model);
    let control = key.modifiers.contains(KeyModifiers::CONTROL);
    let half = isize::try_from(page).unwrap_or(1);
    let Some(overlay) = &mut model.overlay else { return Vec::new() };
    match overlay {
        Overlay::Confirm(confirm) => match key.code {
            KeyCode::Char('y' | 'Y') => {
                let action = confirm.action.clone();
                model.overlay = None;
                return vec![Effect::Act(action)];
            }
            // Enter is pressed by accident too easily to lose something by it.
            KeyCode::Esc | KeyCode::Char('n' | 'N' | 'q') => model.overlay = None,
            _ => {}
        },
        Overlay::Help(search, scroll) => match key.code {
            KeyCode::Esc if !search.text().is_empty() => (*search, *scroll) = (Default::default(), 0),
            KeyCode::Esc | KeyCode::Enter => model.overlay = None,
            KeyCode::Char('?' | 'q') if search.text().is_empty() => model.overlay = None,
            _ => {
                if !scrolled(scroll, &key, page, usize::MAX / 2) && search.handle(&key) {
                    *scroll = 0;
                }
                let most = super::view::help_rows(model).saturating_sub(page);
                if let Some(Overlay::Help(_, scroll)) = &mut model.overlay {
                    *scroll = (*scroll).min(most);
                }
            }
        },
        Overlay::Sheet(sheet) => match key.code {
            KeyCode::Esc | KeyCode::Enter | KeyCode::Char('q' | 'y' | 'd' | 'D' | 'L' | 'M' | 'E') => {
                model.overlay = None
            }
            KeyCode::Char('c') => {
                let text = sheet.text();
                model.say("copied", false);
                return vec![Effect::Copy(text)];
            }
            // Those with control move by pages, as they do elsewhere.
            KeyCode::Char('b' | 'u') if control => sheet.scroll(-half, shown),
            KeyCode::Char('f') if control => sheet.scroll(half, shown),
            _ => sheet.key(&key, shown),
        },
    }
    Vec::new()
}

/// Columns of a text that lies over the rest, within its border.
fn sheet_columns((width, _): (u16, u16)) -> usize {
    usize::from(width.saturating_sub(2))
}

/// Scrolls by a key; answers whether it was one.
fn scrolled(scroll: &mut usize, key: &KeyEvent, page: usize, most: usize) -> bool {
    *scroll = match key.code {
        KeyCode::Up => scroll.saturating_sub(1),
        KeyCode::Down => (*scroll + 1).min(most),
        KeyCode::PageUp => scroll.saturating_sub(page),
        KeyCode::PageDown => (*scroll + page).min(most),
        KeyCode::Home => 0,
        KeyCode::End => most,
        _ => return false,
    };
    true
}

impl Model {
    /// Rows of the tree that are on screen.
    pub(crate) fn rows(&self) -> usize {
        usize::from(self.areas().rows.height)
    }

    /// True while something on screen moves by itself.
    pub fn moving(&self) -> bool {
        let searching = self.talk().is_some_and(|talk| talk.conversation.is_searching());
        searching || (self.fleet.totals().0 > 0 && matches!(self.link, super::msg::Link::Up))
    }

    /// Moves in the tree, and what hangs on it.
    pub(crate) fn in_tree(
        &mut self,
        change: impl FnOnce(&mut super::tree::Tree, super::tree::Source<'_>, usize),
    ) {
        let height = self.rows();
        let before = self.tree.selected().cloned();
        let mut tree = std::mem::take(&mut self.tree);
        change(&mut tree, self.source(), height);
        self.tree = tree;
        if self.tree.selected() != before.as_ref() {
            self.chase = false;
            self.subject.scroll = 0;
        }
        self.follow_selection();
    }

    /// Shows the iteration that runs, when the one in view has ended and the user wants to follow.
    pub(crate) fn chase_on(&mut self) {
        let Some(row) = self.iteration().filter(|row| self.chase && row.phase.is_terminal()) else { return };
        let key = row.agent.clone();
        let running = self.runs.get(&key).and_then(|runs| runs.all().find(|row| row.phase == Phase::Running));
        if let Some(next) = running {
            let id = RowId::Iteration(key, next.step.clone(), next.name.clone());
            self.in_tree(|tree, source, height| tree.select(source, id, height));
            self.chase = true;
        }
    }

    /// Shows a text over the rest.
    pub(crate) fn show_sheet(&mut self, mut sheet: Sheet) {
        sheet.fit(sheet_columns(self.size));
        self.overlay = Some(Overlay::Sheet(sheet));
    }

    /// Where a question or a key table lies over the rest, keys go there.
    pub(crate) fn show_help(&mut self) {
        self.overlay = Some(Overlay::Help(Default::default(), 0));
    }

    /// Leaves the input line or box.
    pub(crate) fn close_input(&mut self) -> Option<Input> {
        self.input.take()
    }
}

/// The acts that a mouse wheel or an arrow key cause.
pub(crate) fn act(model: &mut Model, act: Act) -> Vec<Effect> {
    acts::act(model, act)
}

#[cfg(test)]
mod tests;
