//! Drawing the tree: what is urgent is first and has a colour, a sign and a word.

use gcluster_types::kinds::iteration::Phase;
use k8s_openapi::jiff::Timestamp;
use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::{Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::Paragraph;

use super::Row;
use crate::render::age;
use crate::tui::fleet::{AgentRow, IterationRow, StepRow};
use crate::tui::layout::Pane;
use crate::tui::model::Model;
use crate::tui::msg::Link;
use crate::tui::need::Need;
use crate::tui::text;
use crate::tui::theme::Theme;
use crate::tui::view::parts::{between, cells, group, panel};

/// Columns that a name keeps before any other column is shown.
const NAME: usize = 14;

/// Draws the tree into its pane.
pub fn draw(model: &Model, frame: &mut Frame<'_>) {
    let areas = model.areas();
    if areas.tree.is_empty() {
        return;
    }
    let theme = &model.theme;
    let count = model.fleet.len();
    let title = match (model.fleet.filter().is_empty(), count) {
        (true, _) => format!("Agents {count}"),
        (false, _) => format!("Agents {} of {count}", model.fleet.shown()),
    };
    let (sort, reverse) = model.fleet.sorting();
    let order = match (sort.name(), reverse) {
        ("state", _) => String::new(),
        (name, false) => format!("by {name}"),
        (name, true) => format!("by {name} {}", theme.glyphs.up),
    };
    frame.render_widget(panel(theme, &title, &order, model.pane == Pane::Tree), areas.tree);
    if model.fleet.shown() == 0 {
        return empty(model, frame, areas.rows);
    }
    let rows = model.tree.window(model.source(), model.tree.offset(), usize::from(areas.rows.height));
    let width = usize::from(areas.rows.width);
    for (row, y) in rows.iter().zip(areas.rows.y..) {
        let selected = row.id().is_some_and(|id| Some(&id) == model.tree.selected());
        let mut line = line(row, model, width, selected);
        if selected {
            line = line.patch_style(theme.selected);
        }
        frame.render_widget(line, Rect { y, height: 1, ..areas.rows });
    }
}

/// What to do when there is nothing to see.
fn empty(model: &Model, frame: &mut Frame<'_>, area: Rect) {
    let theme = &model.theme;
    let say = |lines: &[(&str, Style)]| -> Vec<Line<'static>> {
        let rows = lines.iter().flat_map(|(text, style)| {
            let wrapped = text::wrap(text, usize::from(area.width).saturating_sub(2));
            wrapped.into_iter().map(|row| Line::styled(format!(" {row}"), *style)).collect::<Vec<_>>()
        });
        rows.collect()
    };
    let all = model
        .setting
        .namespace
        .as_deref()
        .map_or("any namespace".to_owned(), |name| format!("namespace {name}"));
    let lines = if !model.fleet.filter().is_empty() {
        say(&[("", theme.text), ("Nothing matches.", theme.strong), ("esc shows all again.", theme.dim)])
    } else if !model.listed && !matches!(model.link, Link::Down(_)) {
        say(&[("", theme.text), ("Reading the agents…", theme.dim)])
    } else {
        let file = model.setting.file.as_deref().unwrap_or("examples/team.p");
        say(&[
            ("", theme.text),
            (&format!("No agents in {all} yet."), theme.strong),
            ("", theme.text),
            ("In another terminal:", theme.dim),
            (&format!("gcluster apply -f {file}"), theme.accent),
            ("", theme.text),
            ("They appear here by themselves.", theme.dim),
        ])
    };
    frame.render_widget(Paragraph::new(lines), area);
}

fn line(row: &Row<'_>, model: &Model, width: usize, selected: bool) -> Line<'static> {
    let theme = &model.theme;
    let mark = if selected && model.pane == Pane::Tree { theme.glyphs.selector } else { " " };
    let mark = Span::styled(mark, theme.accent);
    match row {
        Row::Group(need) => group(need.title(), model.fleet.count(*need), sign(*need, theme).0, width, theme),
        Row::Agent(agent, open) => agent_line(mark, agent, *open, model, width),
        Row::Step(agent, step, open) => step_line(mark, agent, step, *open, model, width),
        Row::Iteration(_, iteration) => iteration_line(mark, iteration, model, width),
        Row::More(_, _, hidden) => Line::from(vec![
            mark,
            Span::styled(format!("      {} {hidden} more", theme.glyphs.ellipsis), theme.dim),
        ]),
    }
}

/// Colour and sign of a group.
pub fn sign(need: Need, theme: &Theme) -> (Style, &'static str) {
    let glyphs = &theme.glyphs;
    match need {
        Need::You => (theme.bad, glyphs.attention),
        Need::Failing => (theme.bad, glyphs.failed),
        Need::Limited => (theme.warn, glyphs.throttled),
        Need::Working => (theme.good, glyphs.running),
        Need::Idle => (theme.dim, glyphs.idle),
        Need::Done => (theme.dim, glyphs.done),
    }
}

fn spinner(model: &Model) -> &'static str {
    let millis = u64::try_from(model.now.as_millisecond()).unwrap_or(0);
    // What is known of a master that is gone does not move.
    if model.moving() { model.theme.glyphs.spin(millis) } else { model.theme.glyphs.running }
}

fn agent_line(
    mark: Span<'static>,
    agent: &AgentRow,
    open: bool,
    model: &Model,
    width: usize,
) -> Line<'static> {
    let theme = &model.theme;
    let glyphs = &theme.glyphs;
    let standing = &agent.standing;
    let (style, glyph) = match standing.word.as_str() {
        "paused" | "stopped" | "pausing" => (theme.dim, glyphs.paused),
        _ if agent.active > 0 && standing.need == Need::Working => (theme.good, spinner(model)),
        _ => sign(standing.need, theme),
    };
    let fold = match (agent.steps.is_empty(), open) {
        (true, _) => " ",
        (false, true) => glyphs.expanded,
        (false, false) => glyphs.collapsed,
    };
    let name = match model.setting.namespace {
        Some(_) => agent.key.name().to_owned(),
        None => format!("{}/{}", agent.key.namespace(), agent.key.name()),
    };
    let left = vec![
        mark,
        Span::styled(fold, theme.dim),
        Span::raw(" "),
        Span::styled(glyph, style),
        Span::raw(" "),
        Span::styled(name, theme.strong),
    ];
    let since = |at: Option<Timestamp>| at.map_or_else(|| "-".to_owned(), |at| age::since(at, model.now));
    // The first is the last to go.
    let columns = [
        (standing.word.clone(), 11, style),
        (since(agent.last), 6, theme.dim),
        (age::count(agent.iterations), 6, theme.text),
        (money(agent.cost, agent.unpriced), 9, theme.text),
        (age::count(agent.tokens), 7, theme.dim),
        (format!("r{}", agent.revision), 5, theme.dim),
    ];
    let mut room = width.saturating_sub(5 + NAME);
    let fit = columns.into_iter().take_while(|(_, columns, _)| {
        let fits = room >= *columns;
        room = room.saturating_sub(*columns);
        fits
    });
    let right = cells(fit, glyphs.ellipsis);
    between(left, right, width, glyphs.ellipsis)
}

fn step_line(
    mark: Span<'static>,
    agent: &AgentRow,
    step: &StepRow,
    open: bool,
    model: &Model,
    width: usize,
) -> Line<'static> {
    let theme = &model.theme;
    let glyphs = &theme.glyphs;
    let known = model.runs.get(&agent.key).map_or(0, |runs| runs.count(&step.label));
    let fold = match (known, open) {
        (0, _) => " ",
        (_, true) => glyphs.expanded,
        (_, false) => glyphs.collapsed,
    };
    let left = vec![
        mark,
        Span::raw("   "),
        Span::styled(fold, theme.dim),
        Span::raw(" "),
        Span::styled(step.shown.clone(), theme.accent),
    ];
    let mut right = Vec::new();
    if step.failed > 0 {
        right.push(Span::styled(format!(" {}{}", glyphs.failed, step.failed), theme.bad));
    }
    let runs = match step.runs {
        0 => String::new(),
        1 => " 1 run".to_owned(),
        n => format!(" {} runs", age::count(n)),
    };
    right.push(Span::styled(runs, theme.dim));
    between(left, right, width, glyphs.ellipsis)
}

fn iteration_line(mark: Span<'static>, row: &IterationRow, model: &Model, width: usize) -> Line<'static> {
    let theme = &model.theme;
    let glyphs = &theme.glyphs;
    let (style, glyph) = match row.phase {
        Phase::Pending => (theme.dim, glyphs.pending),
        Phase::Running => (theme.good, spinner(model)),
        Phase::Succeeded => (theme.good, glyphs.done),
        Phase::Failed => (theme.bad, glyphs.failed),
        Phase::Interrupted => (theme.warn, glyphs.interrupted),
    };
    let running = row.phase == Phase::Running;
    let label = if running { theme.strong } else { theme.text };
    let left = vec![
        mark,
        Span::raw("      "),
        Span::styled(glyph, style),
        Span::raw(" "),
        Span::styled(row.label(), label),
        match row.phase {
            Phase::Running => Span::styled(" running", theme.good.add_modifier(Modifier::BOLD)),
            Phase::Pending => Span::styled(" waiting", theme.dim),
            Phase::Failed => Span::styled(format!(" {}", words(&row.reason, "failed")), theme.bad),
            Phase::Interrupted => Span::styled(format!(" {}", words(&row.reason, "interrupted")), theme.warn),
            Phase::Succeeded => Span::raw(""),
        },
    ];
    let took = match (row.started, row.finished) {
        (Some(started), Some(finished)) => age::seconds(finished.duration_since(started).as_secs_f64()),
        (Some(started), None) => age::since(started, model.now),
        (None, _) => String::new(),
    };
    let mut right = Vec::new();
    if row.tokens.total > 0 && width > 38 {
        right.push(Span::styled(format!(" {}", age::count(row.tokens.total)), theme.dim));
    }
    let took = format!("{took:>7}");
    right.push(if running { Span::styled(took, theme.strong) } else { Span::styled(took, theme.dim) });
    between(left, right, width, glyphs.ellipsis)
}

/// `BackendFailed` as `backend failed`.
fn words(reason: &str, otherwise: &str) -> String {
    let mut out = String::new();
    for c in reason.chars() {
        if c.is_uppercase() && !out.is_empty() {
            out.push(' ');
        }
        out.extend(c.to_lowercase());
    }
    if out.is_empty() { otherwise.to_owned() } else { text::one_line(&out).into_owned() }
}

/// A cost for a narrow column: `?` stands for what has no known price.
fn money(cost: f64, unpriced: bool) -> String {
    match (cost > 0.0, unpriced) {
        (true, true) => format!("{}+?", age::cost(cost)),
        (true, false) => age::cost(cost),
        (false, true) => "unpriced".to_owned(),
        (false, false) => String::new(),
    }
}
