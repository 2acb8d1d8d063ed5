//! The mouse: the wheel scrolls what is under it, a click selects.

use crossterm::event::{MouseButton, MouseEvent, MouseEventKind};
use ratatui::layout::Position;

use crate::tui::keys::Act;
use crate::tui::layout::Pane;
use crate::tui::model::{Input, Model, Overlay};
use crate::tui::msg::Effect;
use crate::tui::tickets::{Panel, board};
use crate::tui::tree::{Move, RowId};

/// Rows that one notch of the wheel moves.
const NOTCH: usize = 3;

/// Takes in what the mouse did.
pub(super) fn moved(model: &mut Model, event: MouseEvent) -> Vec<Effect> {
    let up = match event.kind {
        MouseEventKind::ScrollUp => true,
        MouseEventKind::ScrollDown => false,
        MouseEventKind::Down(MouseButton::Left) => {
            return clicked(model, Position::new(event.column, event.row));
        }
        _ => return Vec::new(),
    };
    let shown = crate::tui::view::sheet_rows(model);
    if let Some(overlay) = &mut model.overlay {
        if let Overlay::Sheet(sheet) = overlay {
            let by = NOTCH as isize;
            sheet.scroll(if up { -by } else { by }, shown);
        }
        return Vec::new();
    }
    let areas = model.areas();
    if model.panel == Panel::Tickets {
        match areas.tree.contains(Position::new(event.column, event.row)) {
            true => {
                let delta = if up { -1 } else { 1 };
                model.on_desk(|desk, backlog, view| desk.go(backlog, Move::By(delta), view));
            }
            false => super::tickets::scroll(model, if up { Act::Up } else { Act::Down }, NOTCH),
        }
        return Vec::new();
    }
    if areas.tree.contains(Position::new(event.column, event.row)) {
        let delta = if up { -(NOTCH as isize) } else { NOTCH as isize };
        model.in_tree(|tree, source, height| tree.go(source, Move::By(delta), height));
        return Vec::new();
    }
    super::acts::scroll_detail(model, if up { Act::Up } else { Act::Down }, NOTCH);
    Vec::new()
}

fn clicked(model: &mut Model, at: Position) -> Vec<Effect> {
    if model.overlay.is_some() {
        return Vec::new();
    }
    let areas = model.areas();
    if areas.message.contains(at) && !matches!(model.input, Some(Input::Message(_))) {
        model.pane = Pane::Detail;
        return super::inputs::write(model);
    }
    // A click beside a text that is written must not lose it.
    if model.input.is_some() {
        return Vec::new();
    }
    if model.panel == Panel::Tickets {
        return clicked_ticket(model, at);
    }
    if areas.detail.contains(at) {
        // The first click takes the keys there; the next one opens or closes the record under it.
        let there = std::mem::replace(&mut model.pane, Pane::Detail) == Pane::Detail;
        let area = super::conversation_in(model);
        if let Some(talk) = model.talk_mut().filter(|_| there && area.contains(at)) {
            talk.conversation.toggle_fold_at(at.y - area.y);
        }
        return Vec::new();
    }
    if areas.rows.contains(at) {
        model.pane = Pane::Tree;
        let line = usize::from(at.y - areas.rows.y);
        if let Some(row) = model.tree.at_line(model.source(), line) {
            let again = model.tree.selected() == Some(&row);
            let more = matches!(row, RowId::More(..));
            model.in_tree(|tree, source, height| tree.select(source, row, height));
            // A second click opens, as enter does.
            if again || more {
                return super::acts::act(model, Act::Enter);
            }
        }
    }
    Vec::new()
}

fn clicked_ticket(model: &mut Model, at: Position) -> Vec<Effect> {
    let areas = model.areas();
    if areas.detail.contains(at) {
        model.pane = Pane::Detail;
        return Vec::new();
    }
    if let Some(key) = board::at(model, at.x, at.y).filter(|_| areas.rows.contains(at)) {
        let again = model.desk.selected() == Some(&key);
        model.on_desk(|desk, backlog, view| desk.select(backlog, key, view));
        model.pane = if again { Pane::Detail } else { Pane::Tree };
    }
    Vec::new()
}
