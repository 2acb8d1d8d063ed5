//! What is known of the thing that is selected: an agent, a step, an iteration.
//!
//! ```text
//! objects of the API, the time, a width ─▶ Page (lines) ─▶ draw(scroll)
//! ```
//!
//! Nothing is kept between two frames and nothing is asked: the same objects give the same lines. Words about
//! objects come from [`crate::render`].

mod agent;
mod conditions;
mod diff;
mod events;
mod iteration;
mod step;
#[cfg(test)]
mod tests;

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};

use super::text::{Run, flow, one_line, pad, sanitize, truncate, width};
use super::theme::Theme;

pub use agent::{AgentData, agent};
pub use diff::{form_text, revision_diff};
pub(crate) use events::events;
pub use iteration::{Facts, conversation_area, iteration, iteration_header};
pub use step::{Prompt, StepData, loop_step, prompt_rows};

/// Columns of the names of values.
const LABEL: usize = 12;

/// Lines to be read, with a place in them.
#[derive(Clone, Debug, Default)]
pub struct Page {
    /// The lines, each no wider than the page was made for.
    pub lines: Vec<Line<'static>>,
}

impl Page {
    /// How many rows there are.
    pub fn rows(&self) -> usize {
        self.lines.len()
    }

    /// The first row that can be scrolled to without leaving the view half empty.
    pub fn last_top(&self, height: u16) -> usize {
        self.lines.len().saturating_sub(usize::from(height))
    }

    /// Draws the rows from `scroll` on, and at the right edge which part they are.
    pub fn draw(&self, scroll: usize, area: Rect, buffer: &mut Buffer, theme: &Theme) {
        let area = area.intersection(buffer.area);
        if area.is_empty() {
            return;
        }
        buffer.set_style(area, theme.text);
        let top = scroll.min(self.last_top(area.height));
        for (y, line) in (area.top()..area.bottom()).zip(self.lines.iter().skip(top)) {
            put_line(buffer, area.x, y, area.width, line);
        }
        scroll_bar(buffer, area, top, self.lines.len(), theme);
    }
}

/// Said where there is nothing to show, in the middle.
pub fn empty(words: &str, area: Rect, buffer: &mut Buffer, theme: &Theme) {
    let area = area.intersection(buffer.area);
    if area.is_empty() {
        return;
    }
    buffer.set_style(area, theme.text);
    let columns = usize::from(area.width.saturating_sub(4)).clamp(1, 60);
    let lines = flow(&[(theme.dim, sanitize(words).into_owned())], columns, &[], &[]);
    let rows = u16::try_from(lines.len()).unwrap_or(u16::MAX).min(area.height);
    let top = area.y + (area.height - rows) / 3;
    for (y, line) in (top..area.bottom()).zip(&lines) {
        let size = u16::try_from(line.width()).unwrap_or(u16::MAX).min(area.width);
        put_line(buffer, area.x + (area.width - size) / 2, y, size, line);
    }
}

/// Puts a line into a row. `Buffer::set_line` would count columns by spans; here they are those of `text::width`.
fn put_line(buffer: &mut Buffer, x: u16, y: u16, columns: u16, line: &Line<'_>) {
    let mut used = 0;
    for span in &line.spans {
        let left = usize::from(columns).saturating_sub(used);
        if left == 0 {
            return;
        }
        buffer.set_stringn(
            x + u16::try_from(used).unwrap_or(0),
            y,
            &span.content,
            left,
            line.style.patch(span.style),
        );
        used += width(&span.content);
    }
}

fn scroll_bar(buffer: &mut Buffer, area: Rect, top: usize, rows: usize, theme: &Theme) {
    let height = usize::from(area.height);
    if rows <= height || height < 3 || area.width < 8 {
        return;
    }
    let size = (height * height / rows).clamp(1, height);
    let start = top * (height - size) / (rows - height).max(1);
    for row in 0..height {
        let thumb = (start..start + size).contains(&row);
        let (sign, style) =
            if thumb { (theme.glyphs.thumb, theme.dim) } else { (theme.glyphs.track, theme.border) };
        buffer.set_string(area.right() - 1, area.y + u16::try_from(row).unwrap_or(0), sign, style);
    }
}

/// Facts in one text; each stays on one row where there is room for it. [`apart`] makes their blanks blanks again.
fn together(facts: impl Iterator<Item = String>, theme: &Theme) -> String {
    let facts: Vec<String> = facts.map(|fact| one_line(&fact).replace(' ', "\u{a0}")).collect();
    facts.join(&format!(" {} ", theme.glyphs.dot))
}

fn apart(mut lines: Vec<Line<'static>>) -> Vec<Line<'static>> {
    for span in lines.iter_mut().flat_map(|line| &mut line.spans) {
        if span.content.contains('\u{a0}') {
            span.content = span.content.replace('\u{a0}', " ").into();
        }
    }
    lines
}

/// A line that names what follows.
pub(crate) fn heading(text: &str, columns: usize, theme: &Theme) -> Line<'static> {
    let text = truncate(text, columns.saturating_sub(1), theme.glyphs.ellipsis).into_owned();
    let rule = theme.glyphs.rule.repeat(columns.saturating_sub(width(&text) + 1));
    Line::from(vec![Span::styled(text, theme.strong), Span::raw(" "), Span::styled(rule, theme.border)])
}

/// `Name        value`, the value wrapped under itself.
pub(crate) fn field(
    label: &str,
    value: &str,
    style: Style,
    columns: usize,
    theme: &Theme,
) -> Vec<Line<'static>> {
    let narrow = columns < LABEL + 12;
    let room = if narrow { columns.min(2) } else { LABEL };
    let value: Vec<Run> = vec![(style, sanitize(value).into_owned())];
    if narrow {
        let mut lines = flow(&[(theme.dim, label.to_owned())], columns, &[], &[]);
        let indent = [(theme.text, " ".repeat(room))];
        lines.extend(flow(&value, columns, &indent, &indent));
        return lines;
    }
    let first = [(theme.dim, pad(label, LABEL, theme.glyphs.ellipsis))];
    flow(&value, columns, &first, &[(theme.text, " ".repeat(room))])
}

/// A table that was made as text: its first line is the heading. What does not fit is cut.
fn table(text: &str, columns: usize, theme: &Theme) -> Vec<Line<'static>> {
    text.lines()
        .enumerate()
        .map(|(number, line)| {
            let style = if number == 0 { theme.dim } else { theme.text };
            let line = one_line_kept(line);
            Line::from(Span::styled(truncate(&line, columns, theme.glyphs.ellipsis).into_owned(), style))
        })
        .collect()
}

/// A line made harmless with the blanks at its beginning.
fn one_line_kept(line: &str) -> String {
    let blank = line.len() - line.trim_start().len();
    format!("{}{}", " ".repeat(blank), one_line(line.trim_start()))
}
