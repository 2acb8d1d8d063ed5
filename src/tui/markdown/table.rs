//! Tables, fitted to the view: columns give way in the order of their width, cells wrap, and where there is no
//! room for columns at all each row becomes a list of `heading: value`.

use pulldown_cmark::Alignment;
use ratatui::style::Modifier;
use ratatui::text::{Line, Span};

use super::super::text::{Run, flow, line_text, width};
use super::super::theme::Theme;

/// Columns between two columns: a blank, a rule, a blank.
const BETWEEN: usize = 3;
/// A column narrower than this is no column.
const NARROWEST: usize = 4;

/// A table as it comes together.
pub(super) struct Table {
    alignments: Vec<Alignment>,
    rows: Vec<Vec<Vec<Run>>>,
}

impl Table {
    pub(super) fn new(alignments: Vec<Alignment>) -> Self {
        Self { alignments, rows: Vec::new() }
    }

    pub(super) fn begin_row(&mut self) {
        self.rows.push(Vec::new());
    }

    pub(super) fn cell(&mut self, runs: Vec<Run>) {
        if let Some(row) = self.rows.last_mut() {
            row.push(runs);
        }
    }

    /// The table's lines; the first row is the heading.
    pub(super) fn lines(mut self, columns: usize, theme: &Theme) -> Vec<Line<'static>> {
        let count = self.alignments.len();
        if count == 0 || self.rows.is_empty() {
            return Vec::new();
        }
        for (style, _) in self.rows[0].iter_mut().flatten() {
            *style = style.add_modifier(Modifier::BOLD);
        }
        match self.widths(columns.saturating_sub((count - 1) * BETWEEN)) {
            Some(widths) => self.grid(&widths, theme),
            None => self.list(columns, theme),
        }
    }

    /// The width of each column so that together they take no more than `room`; none when that cannot be.
    fn widths(&self, room: usize) -> Option<Vec<usize>> {
        let mut natural: Vec<usize> = vec![1; self.alignments.len()];
        for row in &self.rows {
            for (column, cell) in row.iter().enumerate().take(natural.len()) {
                let text: String = cell.iter().map(|(_, text)| text.as_str()).collect();
                natural[column] = natural[column].max(text.split('\n').map(width).max().unwrap_or(0));
            }
        }
        if natural.iter().sum::<usize>() <= room {
            return Some(natural);
        }
        // The largest width at which all fit when no column is wider.
        let taken = |cap: usize| natural.iter().map(|width| (*width).min(cap)).sum::<usize>();
        let (mut low, mut high) = (0, room);
        while low < high {
            let cap = (low + high).div_ceil(2);
            if taken(cap) <= room { low = cap } else { high = cap - 1 }
        }
        let cap = low;
        if cap < NARROWEST {
            return None;
        }
        let mut widths: Vec<usize> = natural.iter().map(|width| (*width).min(cap)).collect();
        let mut left = room - widths.iter().sum::<usize>();
        for (width, natural) in widths.iter_mut().zip(&natural) {
            if left > 0 && *width < *natural {
                *width += 1;
                left -= 1;
            }
        }
        Some(widths)
    }

    fn grid(&self, widths: &[usize], theme: &Theme) -> Vec<Line<'static>> {
        let glyphs = theme.glyphs;
        let mut out = Vec::new();
        for (number, row) in self.rows.iter().enumerate() {
            let cells: Vec<Vec<Line<'static>>> = widths
                .iter()
                .enumerate()
                .map(|(column, width)| {
                    row.get(column).map(|cell| flow(cell, *width, &[], &[])).unwrap_or_default()
                })
                .collect();
            let height = cells.iter().map(Vec::len).max().unwrap_or(0).max(1);
            for line in 0..height {
                let mut spans = Vec::new();
                for (column, (cell, columns)) in cells.iter().zip(widths).enumerate() {
                    if column > 0 {
                        spans.push(Span::styled(format!(" {} ", glyphs.vertical), theme.border));
                    }
                    let part = cell.get(line).cloned().unwrap_or_default();
                    let missing = columns.saturating_sub(width(&line_text(&part)));
                    let before = match self.alignments[column] {
                        Alignment::Right => missing,
                        Alignment::Center => missing / 2,
                        Alignment::Left | Alignment::None => 0,
                    };
                    spans.push(Span::raw(" ".repeat(before)));
                    spans.extend(part.spans);
                    if column + 1 < widths.len() {
                        spans.push(Span::raw(" ".repeat(missing - before)));
                    }
                }
                spans.retain(|span| !span.content.is_empty());
                out.push(Line::from(spans));
            }
            if number == 0 {
                let between = format!("{r}{}{r}", glyphs.cross, r = glyphs.rule);
                let rule =
                    widths.iter().map(|width| glyphs.rule.repeat(*width)).collect::<Vec<_>>().join(&between);
                out.push(Line::from(Span::styled(rule, theme.border)));
            }
        }
        out
    }

    fn list(&self, columns: usize, theme: &Theme) -> Vec<Line<'static>> {
        let mut out = Vec::new();
        let indent = [(theme.text, "  ".to_owned())];
        let heads = &self.rows[0];
        for row in self.rows.iter().skip(1) {
            if !out.is_empty() {
                out.push(Line::from(Span::styled(theme.glyphs.rule.repeat(columns.min(8)), theme.border)));
            }
            for (column, cell) in row.iter().enumerate() {
                let mut runs = heads.get(column).cloned().unwrap_or_default();
                runs.push((theme.text, ": ".to_owned()));
                runs.extend(cell.iter().cloned());
                out.extend(flow(&runs, columns, &[], if columns > 8 { &indent } else { &[] }));
            }
        }
        if out.is_empty() {
            out.extend(heads.iter().flat_map(|head| flow(head, columns, &[], &[])));
        }
        out
    }
}
