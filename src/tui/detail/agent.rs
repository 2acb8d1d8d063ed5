//! An agent: what it does and why, what it may use, what it was and what happened.

use gcluster_types::AgentRevision;
use gcluster_types::conditions::PROGRESSING;
use gcluster_types::kinds::agent::{Agent, AgentStatus, RunPolicy, RunState};
use k8s_openapi::jiff::Timestamp;
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use serde_json::Value;

use super::{Page, conditions, diff, events, field, heading, table};
use crate::render::{age, agent as words};
use crate::tui::text::{flow, one_line, pad, truncate};
use crate::tui::theme::Theme;

/// What the view of an agent is made from.
#[derive(Clone, Copy, Debug)]
pub struct AgentData<'a> {
    /// The agent.
    pub agent: &'a Agent,
    /// Its revisions as far as they are read, in any order.
    pub revisions: &'a [&'a AgentRevision],
    /// Events about it, of either view, in any order.
    pub events: &'a [&'a Value],
    /// Its iterations that are under way, by name and revision.
    pub running: &'a [(&'a str, &'a str)],
    /// Number of the revision whose change is shown; the current one if none.
    pub chosen: Option<i64>,
    /// The time to count ages from.
    pub now: Timestamp,
}

/// The view of an agent: first of all, in one sentence, what it does or why it does not.
pub fn agent(data: AgentData<'_>, width: u16, theme: &Theme) -> Page {
    let columns = usize::from(width).saturating_sub(1).max(1);
    let empty = AgentStatus::default();
    let agent = data.agent;
    let status = agent.status.as_ref().unwrap_or(&empty);
    let mut lines = sentence(agent, status, data.now, columns, theme);
    lines.push(Line::default());
    if let Some(next) = crate::render::rollout::upcoming(agent, data.running) {
        lines.extend(field("Rollout", &next, theme.warn, columns, theme));
    }
    lines.extend(facts(agent, status, columns, theme));
    section(&mut lines, "Conditions", columns, theme, conditions_of(status, data.now, columns, theme));
    let steps = table(&words::steps(agent, status), columns, theme);
    section(&mut lines, "Steps", columns, theme, steps);
    section(&mut lines, "Revisions", columns, theme, revisions(data, status, columns, theme));
    section(
        &mut lines,
        "Events",
        columns,
        theme,
        events(data.events.iter().copied(), data.now, columns, theme),
    );
    Page { lines }
}

fn section(
    lines: &mut Vec<Line<'static>>,
    title: &str,
    columns: usize,
    theme: &Theme,
    body: Vec<Line<'static>>,
) {
    lines.push(Line::default());
    lines.push(heading(title, columns, theme));
    if body.is_empty() {
        lines.push(Line::from(Span::styled("none", theme.dim)));
    }
    lines.extend(body);
}

/// `▸ running for 12m: 2 iterations running`.
fn sentence(
    agent: &Agent,
    status: &AgentStatus,
    now: Timestamp,
    columns: usize,
    theme: &Theme,
) -> Vec<Line<'static>> {
    let glyphs = theme.glyphs;
    let state = status.run_state.unwrap_or_default();
    let working = state == RunState::Running && !status.active_iterations.is_empty();
    let trouble = status
        .conditions
        .iter()
        .any(|condition| condition.type_ != PROGRESSING && conditions::in_words(condition).0 == Some(false));
    let (sign, style) = match (state, agent.spec.run) {
        _ if trouble && !working => (glyphs.attention, theme.bad),
        (RunState::Running, _) if working => (glyphs.running, theme.good),
        (RunState::Running, _) => (glyphs.idle, theme.warn),
        (RunState::Pending, _) => (glyphs.pending, theme.warn),
        (RunState::Stopped, RunPolicy::Paused) => (glyphs.paused, theme.warn),
        (RunState::Stopped, RunPolicy::Stopped) => (glyphs.interrupted, theme.warn),
        (RunState::Stopped, RunPolicy::Running) => (glyphs.done, theme.good),
    };
    let word = match state {
        RunState::Pending => "pending",
        RunState::Running => "running",
        RunState::Stopped => "stopped",
    };
    let since = status.conditions.iter().find(|condition| condition.type_ == PROGRESSING);
    let since =
        since.map(|c| format!(" for {}", age::since(c.last_transition_time.0, now))).unwrap_or_default();
    let mut runs = vec![(style.patch(theme.strong), format!("{word}{since}"))];
    if agent.metadata.deletion_timestamp.is_some() {
        let waits = agent.metadata.finalizers.iter().flatten().cloned().collect::<Vec<_>>().join(", ");
        let waits =
            if waits.is_empty() { String::new() } else { format!(", waits for {}", one_line(&waits)) };
        runs.push((theme.warn, format!(": it is being deleted{waits}")));
    } else if let Some(why) = words::why(agent, status) {
        let prefix = if working || !trouble { ": " } else { ": nothing runs: " };
        runs.push((theme.text, format!("{prefix}{}", one_line(&why))));
    }
    flow(&runs, columns, &[(style, format!("{sign} "))], &[(theme.text, "  ".to_owned())])
}

fn facts(agent: &Agent, status: &AgentStatus, columns: usize, theme: &Theme) -> Vec<Line<'static>> {
    let mut lines = Vec::new();
    let mut add =
        |label: &str, value: &str, style: Style| lines.extend(field(label, value, style, columns, theme));
    add("Desired", words::desired(agent.spec.run), theme.text);
    add("Backend", &words::backend(agent, status), theme.text);
    if let Some(directory) = &agent.spec.working_directory {
        add("Directory", directory, theme.text);
    }
    add("Iterations", &words::iterations(status), theme.text);
    add("Tokens", &words::tokens(status), theme.text);
    let (cost, near) = cost(agent, status);
    add("Cost", &cost, if near { theme.warn } else { theme.text });
    add("Limits", &words::limits(agent), theme.text);
    lines
}

/// The cost, with the budget it counts against; and whether nine tenths of that are used.
fn cost(agent: &Agent, status: &AgentStatus) -> (String, bool) {
    let spent = status.cost.clone().or(status.cost_usd.map(age::cost)).unwrap_or_else(|| "-".into());
    let budget = agent.spec.limits.as_ref().and_then(|limits| limits.max_budget_usd);
    match (budget, status.cost_usd) {
        (Some(budget), Some(dollars)) if budget > 0.0 => {
            let part = dollars / budget * 100.0;
            (format!("{spent} of {} ({part:.0} %)", age::cost(budget)), part >= 90.0)
        }
        _ => (spent, false),
    }
}

fn conditions_of(status: &AgentStatus, now: Timestamp, columns: usize, theme: &Theme) -> Vec<Line<'static>> {
    let glyphs = theme.glyphs;
    status
        .conditions
        .iter()
        .flat_map(|condition| {
            let (well, words) = conditions::in_words(condition);
            let (sign, style) = match well {
                Some(true) => (glyphs.done, theme.good),
                Some(false) => (glyphs.attention, theme.bad),
                None => (glyphs.pending, theme.dim),
            };
            let since = age::since(condition.last_transition_time.0, now);
            let mut runs =
                vec![(theme.text, one_line(&words).into_owned()), (theme.dim, format!(" for {since}"))];
            if well != Some(true) || condition.reason != condition.type_ {
                let message = one_line(&condition.message);
                let message = if message.is_empty() { String::new() } else { format!(": {message}") };
                runs.push((theme.dim, format!(" {} {}{message}", glyphs.dot, one_line(&condition.reason))));
            }
            flow(&runs, columns, &[(style, format!("{sign} "))], &[(theme.text, "  ".to_owned())])
        })
        .collect()
}

fn revisions(data: AgentData<'_>, status: &AgentStatus, columns: usize, theme: &Theme) -> Vec<Line<'static>> {
    let glyphs = theme.glyphs;
    let chosen = data.chosen.or(status.current_revision);
    let mut lines: Vec<Line<'static>> = status
        .revisions
        .iter()
        .rev()
        .map(|revision| {
            let here = Some(revision.revision) == chosen;
            let sign = if here { glyphs.selector } else { " " };
            let since =
                revision.created_at.as_ref().map_or_else(|| "-".into(), |at| age::since(at.0, data.now));
            let current = if Some(revision.revision) == status.current_revision { "  current" } else { "" };
            let id: String = revision.stable_id.chars().take(8).collect();
            let text = format!(
                "{} {}  {}{current}",
                pad(&revision.revision.to_string(), 4, "+"),
                pad(&id, 8, ""),
                since
            );
            let style = if here { theme.strong } else { theme.text };
            Line::from(vec![
                Span::styled(format!("{sign} "), theme.accent),
                Span::styled(
                    truncate(&one_line(&text), columns.saturating_sub(2), glyphs.ellipsis).into_owned(),
                    style,
                ),
            ])
        })
        .collect();
    let find = |number: i64| data.revisions.iter().find(|revision| revision.spec.revision == number).copied();
    let Some(new) = chosen.and_then(find) else { return lines };
    let before =
        status.revisions.iter().map(|revision| revision.revision).filter(|n| *n < new.spec.revision).max();
    let old = before.and_then(find);
    let title = match before {
        Some(before) => format!("What changed from {before} to {}", new.spec.revision),
        None => format!("Revision {}", new.spec.revision),
    };
    lines.push(Line::default());
    lines.push(Line::from(Span::styled(truncate(&title, columns, glyphs.ellipsis).into_owned(), theme.dim)));
    if before.is_some() && old.is_none() {
        lines.push(Line::from(Span::styled("the revision before is not read yet", theme.dim)));
        return lines;
    }
    lines.extend(diff::revision_diff(old, new, columns, theme));
    lines
}
