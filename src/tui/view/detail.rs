//! The right pane: what is selected, drawn by its view.

use gcluster_types::{Agent, AgentRevision};
use ratatui::Frame;
use serde_json::Value;

use super::parts::panel;
use crate::render::agent::outline;
use crate::tui::detail::{self, AgentData, Facts, Page, Prompt, StepData};
use crate::tui::layout::Pane;
use crate::tui::model::{Input, Model, PromptEdit};
use crate::tui::msg::Link;
use crate::tui::tickets::{Panel, page};
use crate::tui::tree::RowId;
use crate::tui::update::prompt_of;

/// Draws the pane.
pub(super) fn draw(model: &Model, frame: &mut Frame<'_>) {
    let areas = model.areas();
    if areas.detail.is_empty() {
        return;
    }
    let theme = &model.theme;
    let typing = matches!(model.input, Some(Input::Prompt(_) | Input::Message(_) | Input::SendBack(_)));
    let focused = model.pane == Pane::Detail || typing;
    frame.render_widget(panel(theme, &crumbs(model), &chased(model), focused), areas.detail);
    let inner = areas.inner;
    if let Some(Input::Prompt(edit)) = &model.input {
        return editing(model, edit, frame);
    }
    if model.panel == Panel::Tickets {
        return match page::page(model) {
            Some(it) => it.page.draw(model.story.scroll, inner, frame.buffer_mut(), theme),
            None => detail::empty("Nothing is selected.", inner, frame.buffer_mut(), theme),
        };
    }
    match model.tree.selected() {
        None => detail::empty("Nothing is selected.", inner, frame.buffer_mut(), theme),
        Some(RowId::Iteration(..)) => {
            let Some(talk) = model.talk() else { return };
            match model.facts() {
                Some(facts) => {
                    detail::iteration(
                        &facts,
                        model.now,
                        &talk.conversation,
                        inner,
                        frame.buffer_mut(),
                        theme,
                    );
                }
                // Its object is gone; what it said is not.
                None => talk.conversation.draw(inner, frame.buffer_mut(), theme),
            }
        }
        Some(RowId::Agent(_)) => match agent_page(model) {
            Some(page) => page.draw(model.subject.scroll, inner, frame.buffer_mut(), theme),
            None => waiting(model, frame),
        },
        Some(RowId::Step(..) | RowId::More(..)) => match model.subject.agent.as_deref() {
            Some(agent) => step(model, agent, frame),
            None => waiting(model, frame),
        },
    }
}

fn waiting(model: &Model, frame: &mut Frame<'_>) {
    let words = match model.link {
        Link::Down(_) => "This was not read before the connection was lost.",
        Link::Connecting | Link::Up => "Reading…",
    };
    detail::empty(words, model.areas().inner, frame.buffer_mut(), &model.theme);
}

/// `builder › loop(build) › #12`.
fn crumbs(model: &Model) -> String {
    if model.panel == Panel::Tickets {
        return model.ticket().map(|row| row.id.clone()).unwrap_or_default();
    }
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

fn chased(model: &Model) -> String {
    if model.chase && model.panel == Panel::Agents {
        "follows each iteration".to_owned()
    } else {
        String::new()
    }
}

fn agent_page(model: &Model) -> Option<Page> {
    let subject = &model.subject;
    let agent = subject.agent.as_deref()?;
    let revisions: Vec<&AgentRevision> = subject.revisions.values().collect();
    let events: Vec<&Value> = subject.events.values().collect();
    let under_way = |row: &&crate::tui::fleet::IterationRow| row.finished.is_none() && row.started.is_some();
    let running: Vec<(&str, &str)> = model.runs.get(&subject.key).map_or_else(Vec::new, |runs| {
        runs.all().filter(under_way).map(|row| (row.name.as_str(), row.revision.as_str())).collect()
    });
    let (chosen, now) = (subject.chosen, model.now);
    let data = AgentData { agent, revisions: &revisions, events: &events, running: &running, chosen, now };
    Some(detail::agent(data, model.areas().inner.width, &model.theme))
}

/// What is known of a step of the selected agent.
fn step_data<'a>(model: &Model, agent: &'a Agent, label: &str, does: &'a str) -> StepData<'a> {
    let status = agent.status.as_ref();
    let running = model.runs.get(&model.subject.key).map_or(0, |runs| {
        let running =
            |row: &&crate::tui::fleet::IterationRow| row.finished.is_none() && row.started.is_some();
        runs.of_step(label).filter(running).count()
    });
    StepData {
        does,
        stats: status.and_then(|status| status.stats.iter().find(|stats| stats.step == label)),
        active: running,
        revision: status.and_then(|status| status.current_revision),
    }
}

fn step(model: &Model, agent: &Agent, frame: &mut Frame<'_>) {
    let label = model.step().unwrap_or_default();
    let steps = outline(agent);
    let does = steps.iter().find(|(known, _)| known == label).map_or("", |(_, does)| does);
    let text = model.prompt().map(|(_, _, text)| text);
    let prompt = match &text {
        Some(text) => Prompt::Read { text, scroll: model.subject.scroll },
        None if does.is_empty() => Prompt::None("The definition has no such step any more."),
        None => Prompt::None("This step runs no prompt of its own."),
    };
    let inner = model.areas().inner;
    detail::loop_step(step_data(model, agent, label, does), prompt, inner, frame.buffer_mut(), &model.theme);
}

fn editing(model: &Model, edit: &PromptEdit, frame: &mut Frame<'_>) {
    let Some(agent) = model.subject.agent.as_deref().filter(|_| model.subject.key == edit.agent) else {
        return edit.editor.draw(frame, model.areas().inner, &model.theme);
    };
    let steps = outline(agent);
    let of =
        |does: &str| edit.method.as_deref().is_none_or(|method| does.split(' ').next_back() == Some(method));
    let (label, does) =
        steps.iter().find(|(_, does)| of(does)).map_or(("", ""), |(label, does)| (label, does));
    let theirs = edit.theirs.as_deref().map(|form| prompt_of(form).unwrap_or_else(|| form.to_owned()));
    let prompt = match &theirs {
        Some(theirs) => {
            Prompt::Conflict { editor: &edit.editor, theirs, note: "ctrl-s keeps yours, ctrl-t takes theirs" }
        }
        None if edit.saving => Prompt::Edit { editor: &edit.editor, note: "saving…" },
        None => Prompt::Edit { editor: &edit.editor, note: "The next iteration uses it, not this one" },
    };
    let data = step_data(model, agent, label, does);
    let cursor = detail::loop_step(data, prompt, model.areas().inner, frame.buffer_mut(), &model.theme);
    if let Some(cursor) = cursor {
        frame.set_cursor_position(cursor);
    }
}

/// How many lines the view has, for scrolling.
pub(crate) fn rows(model: &Model) -> usize {
    if model.panel == Panel::Tickets {
        return page::page(model).map_or(0, |it| it.page.rows());
    }
    match model.tree.selected() {
        Some(RowId::Agent(_)) => agent_page(model).map_or(0, |page| page.rows()),
        Some(RowId::Step(..) | RowId::More(..)) => {
            model.prompt().map_or(0, |(_, _, text)| detail::prompt_rows(&text, model.areas().inner))
        }
        _ => 0,
    }
}

impl Model {
    /// The facts of the selected iteration.
    pub fn facts(&self) -> Option<Facts> {
        self.iteration().map(|row| Facts {
            phase: row.phase,
            reason: row.reason.clone(),
            error: row.error.clone(),
            label: row.label(),
            step: row.step.clone(),
            revision: row.revision.clone(),
            model: row.model.clone(),
            session: row.session.clone(),
            started: row.started,
            finished: row.finished,
            tools: row.tools,
            processes: row.processes,
            tokens: row.tokens.clone(),
            cost: row.cost.clone(),
        })
    }
}
