//! A step: its prompt beside what was measured of it.
//!
//! ```text
//! prompt text, or the editor in its place        80 %  │  statistics 20 %
//! ```

use gcluster_types::kinds::agent::StepStats;
use ratatui::buffer::Buffer;
use ratatui::layout::{Position, Rect};
use ratatui::text::{Line, Span};

use super::{Page, apart, field, put_line, together};
use crate::render::age;
use crate::tui::editor::Editor;
use crate::tui::text::{flow, one_line, sanitize, truncate};
use crate::tui::theme::Theme;

/// Narrower views put the statistics above the prompt.
const BESIDE: u16 = 72;

/// What the view of a step says beside its prompt.
#[derive(Clone, Copy, Debug, Default)]
pub struct StepData<'a> {
    /// What it does: `loop build`.
    pub does: &'a str,
    /// What was measured; none before its first iteration ended.
    pub stats: Option<&'a StepStats>,
    /// Iterations that are running.
    pub active: usize,
    /// Revision that its next iteration uses.
    pub revision: Option<i64>,
}

/// The prompt, read or edited.
#[derive(Clone, Copy, Debug)]
pub enum Prompt<'a> {
    /// There is none, and why.
    None(&'a str),
    /// It is read, from a row on.
    Read {
        /// The text.
        text: &'a str,
        /// First row in view.
        scroll: usize,
    },
    /// It is edited.
    Edit {
        /// The editor.
        editor: &'a Editor,
        /// What is said above it.
        note: &'a str,
    },
    /// It is edited, and somebody else has changed it meanwhile.
    Conflict {
        /// The editor with one's own text.
        editor: &'a Editor,
        /// The text that the master has now.
        theirs: &'a str,
        /// How to go on.
        note: &'a str,
    },
}

/// Draws a step; where the terminal's cursor is while the prompt is edited.
pub fn loop_step(
    data: StepData<'_>,
    prompt: Prompt<'_>,
    area: Rect,
    buffer: &mut Buffer,
    theme: &Theme,
) -> Option<Position> {
    let area = area.intersection(buffer.area);
    if area.is_empty() {
        return None;
    }
    buffer.set_style(area, theme.text);
    let (left, right) = split(area);
    if right.width > 0 {
        let x = right.x - 1;
        for y in area.top()..area.bottom() {
            buffer.set_string(x, y, theme.glyphs.vertical, theme.border);
        }
        let inner = Rect { x: right.x + 1, width: right.width.saturating_sub(1), ..right };
        let columns = usize::from(inner.width);
        let lines = statistics(data)
            .into_iter()
            .flat_map(|(label, value)| field(label, &ascii(&value, theme), theme.text, columns, theme));
        put(lines, inner, buffer);
        return draw_prompt(prompt, left, buffer, theme);
    }
    let facts =
        statistics(data).into_iter().map(|(label, value)| format!("{} {value}", label.to_lowercase()));
    let summary = ascii(&together(facts, theme), theme);
    let lines = apart(flow(&[(theme.dim, summary)], usize::from(area.width), &[], &[]));
    // The prompt is what one came for.
    let rows = u16::try_from(lines.len()).unwrap_or(u16::MAX).min(area.height / 3);
    put(lines.into_iter(), Rect { height: rows, ..area }, buffer);
    let rule = u16::from(rows > 0);
    if rule > 0 {
        buffer.set_string(
            area.x,
            area.y + rows,
            theme.glyphs.rule.repeat(usize::from(area.width)),
            theme.border,
        );
    }
    let below = Rect { y: area.y + rows + rule, height: area.height - rows - rule, ..area };
    draw_prompt(prompt, below, buffer, theme)
}

/// Rows that a prompt takes in the view of a step, for scrolling.
pub fn prompt_rows(text: &str, area: Rect) -> usize {
    let (left, _) = split(area);
    page(text, left.width, &Theme::default()).rows()
}

/// Prompt and statistics; these have no width where they stand above.
fn split(area: Rect) -> (Rect, Rect) {
    if area.width < BESIDE {
        return (area, Rect { width: 0, ..area });
    }
    let right = (area.width / 5).clamp(26, 40);
    let left = area.width - right - 2;
    (Rect { width: left, ..area }, Rect { x: area.x + left + 2, width: right, ..area })
}

fn statistics(data: StepData<'_>) -> Vec<(&'static str, String)> {
    let mut rows = Vec::new();
    if !data.does.is_empty() {
        rows.push(("Step", one_line(data.does).into_owned()));
    }
    if let Some(revision) = data.revision {
        rows.push(("Revision", revision.to_string()));
    }
    rows.push(("Running", data.active.to_string()));
    let Some(stats) = data.stats else {
        rows.push(("Ended", "none yet".to_owned()));
        return rows;
    };
    let spread = |mean: String, deviation: String| match stats.iterations {
        0 => "-".to_owned(),
        1 => mean,
        _ => format!("{mean} ± {deviation}"),
    };
    let duration =
        spread(age::seconds(stats.mean_duration_seconds), age::seconds(stats.stddev_duration_seconds));
    let tokens = spread(age::count(stats.mean_tokens as i64), age::count(stats.stddev_tokens as i64));
    rows.extend([
        ("Ended", stats.iterations.to_string()),
        ("Succeeded", stats.succeeded.to_string()),
        ("Failed", stats.failed.to_string()),
        ("Duration", duration),
        ("Tokens", tokens),
        ("Cost", age::price(Some(stats.cost_usd), stats.unpriced_tokens.unwrap_or(0)).unwrap_or_default()),
        ("Next", format!("#{}", stats.next_number)),
    ]);
    rows
}

fn ascii(text: &str, theme: &Theme) -> String {
    text.replace('±', theme.glyphs.plus_minus)
}

fn page(text: &str, width: u16, theme: &Theme) -> Page {
    let columns = usize::from(width).saturating_sub(1).max(1);
    Page { lines: flow(&[(theme.text, sanitize(text).into_owned())], columns, &[], &[]) }
}

fn put(lines: impl Iterator<Item = Line<'static>>, area: Rect, buffer: &mut Buffer) {
    for (y, line) in (area.top()..area.bottom()).zip(lines) {
        put_line(buffer, area.x, y, area.width, &line);
    }
}

/// One line above something.
fn note(text: &str, style: ratatui::style::Style, area: Rect, buffer: &mut Buffer, theme: &Theme) -> Rect {
    if area.height < 2 {
        return area;
    }
    let text = truncate(&one_line(text), usize::from(area.width), theme.glyphs.ellipsis).into_owned();
    put_line(buffer, area.x, area.y, area.width, &Line::from(Span::styled(text, style)));
    Rect { y: area.y + 1, height: area.height - 1, ..area }
}

fn draw_prompt(prompt: Prompt<'_>, area: Rect, buffer: &mut Buffer, theme: &Theme) -> Option<Position> {
    match prompt {
        Prompt::None(why) => {
            super::empty(why, area, buffer, theme);
            None
        }
        Prompt::Read { text, scroll } => {
            page(text, area.width, theme).draw(scroll, area, buffer, theme);
            None
        }
        Prompt::Edit { editor, note: words } => {
            let rest = if words.is_empty() { area } else { note(words, theme.dim, area, buffer, theme) };
            editor.render(rest, buffer, theme)
        }
        Prompt::Conflict { editor, theirs, note: words } => {
            let rest = note(words, theme.warn, area, buffer, theme);
            let (mine, other) = if rest.width >= 50 {
                let half = rest.width / 2;
                for y in rest.top()..rest.bottom() {
                    buffer.set_string(rest.x + half, y, theme.glyphs.vertical, theme.border);
                }
                let x = rest.x + half + 2;
                (Rect { width: half, ..rest }, Rect { x, width: rest.right().saturating_sub(x), ..rest })
            } else {
                let half = rest.height / 2;
                (Rect { height: half, ..rest }, Rect { y: rest.y + half, height: rest.height - half, ..rest })
            };
            let other =
                note("Theirs, on the master now", theme.warn.patch(theme.strong), other, buffer, theme);
            page(theirs, other.width, theme).draw(0, other, buffer, theme);
            let mine = note("Yours, not saved", theme.person.patch(theme.strong), mine, buffer, theme);
            editor.render(mine, buffer, theme)
        }
    }
}
