//! Drawing: reads the model and changes nothing.

mod bars;
mod boxes;
mod detail;
mod overlay;
pub mod parts;

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::widgets::{Block, Paragraph};

use super::layout;
use super::model::Model;
use super::text;
use super::tickets::{Panel, board};
use super::tree;

/// Draws everything.
pub fn draw(model: &Model, frame: &mut Frame<'_>) {
    let whole = frame.area();
    frame.render_widget(Block::new().style(model.theme.text), whole);
    if layout::too_small(model.size) {
        return too_small(model, frame, whole);
    }
    bars::header(model, frame);
    bars::banner(model, frame);
    match model.panel {
        Panel::Agents => tree::draw::draw(model, frame),
        Panel::Tickets => board::draw(model, frame),
    }
    detail::draw(model, frame);
    boxes::draw(model, frame);
    bars::footer(model, frame);
    overlay::draw(model, frame);
}

fn too_small(model: &Model, frame: &mut Frame<'_>, area: Rect) {
    let (columns, rows) = layout::SMALLEST;
    let sentence = format!("gcluster steer needs {columns}x{rows}: this is {}x{}.", area.width, area.height);
    let lines = text::wrap(&sentence, usize::from(area.width.max(1)));
    let height = u16::try_from(lines.len()).unwrap_or(u16::MAX).min(area.height);
    let at = parts::centered(area, area.width, height);
    frame.render_widget(Paragraph::new(lines.join("\n")).centered().style(model.theme.text), at);
}

pub(crate) use detail::rows as detail_rows;
pub(crate) use overlay::{help_rows, sheet_rows};

#[cfg(test)]
mod tests;
