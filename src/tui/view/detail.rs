//! The right pane: what is selected, drawn by its view.

use ratatui::Frame;

use super::boxes;
use super::parts::panel;
use crate::tui::layout::Pane;
use crate::tui::model::{Input, Model};
use crate::tui::tree::RowId;

/// Draws the pane.
pub(super) fn draw(model: &Model, frame: &mut Frame<'_>) {
    let areas = model.areas();
    if areas.detail.is_empty() {
        return;
    }
    let focused =
        model.pane == Pane::Detail || matches!(model.input, Some(Input::Prompt(_) | Input::Message(_)));
    frame.render_widget(panel(&model.theme, &crumbs(model), "", focused), areas.detail);
    if let Some(Input::Prompt(edit)) = &model.input {
        return boxes::prompt(model, edit, frame, areas.inner);
    }
    if let Some(talk) = model.talk() {
        talk.conversation.draw(areas.inner, frame.buffer_mut(), &model.theme);
    }
}

/// `builder › loop(build) › #12`.
fn crumbs(model: &Model) -> String {
    let arrow = format!(" {} ", if model.theme.glyphs.ascii { ">" } else { "›" });
    let Some(row) = model.tree.selected() else { return String::new() };
    let mut crumbs = vec![row.agent().name().to_owned()];
    if let (Some(label), Some(agent)) = (model.step(), model.agent()) {
        let step = agent.steps.iter().find(|step| step.label == label);
        crumbs.push(step.map_or_else(|| label.to_owned(), |step| step.shown.clone()));
    }
    if let RowId::Iteration(_, _, name) = row {
        crumbs.push(model.iteration().map_or_else(|| name.clone(), |row| row.label()));
    }
    crumbs.join(&arrow)
}

/// How many lines the view has, for scrolling.
pub(crate) fn rows(_model: &Model) -> usize {
    0
}
