//! What lies over the rest: keys, texts, questions.

use ratatui::Frame;
use ratatui::layout::{Position, Rect};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Clear, Paragraph};

use super::parts::{between, centered, panel};
use crate::render::{Tone, patch};
use crate::tui::command;
use crate::tui::keys::{self, Place};
use crate::tui::line_edit::LineEdit;
use crate::tui::model::{Confirm, Model, Overlay};
use crate::tui::sheet::Sheet;
use crate::tui::text;

/// Draws it.
pub(super) fn draw(model: &Model, frame: &mut Frame<'_>) {
    match &model.overlay {
        Some(Overlay::Help(search, scroll)) => help(model, search, *scroll, frame),
        Some(Overlay::Sheet(sheet)) => whole(model, sheet, frame),
        Some(Overlay::Confirm(confirm)) => question(model, confirm, frame),
        None => {}
    }
}

/// Rows of a text that are in view.
pub(crate) fn sheet_rows(model: &Model) -> usize {
    usize::from(model.size.1.saturating_sub(4)).max(1)
}

fn whole(model: &Model, sheet: &Sheet, frame: &mut Frame<'_>) {
    let area = model.areas();
    let whole = Rect { y: area.header.height, height: model.size.1.saturating_sub(2), ..frame.area() };
    let theme = &model.theme;
    let (shown, top) = (sheet_rows(model), sheet.top);
    let place = match sheet.lines.len() {
        n if n <= shown => String::new(),
        n => format!("{}-{} of {n}", top + 1, (top + shown).min(n)),
    };
    let files = if sheet.diff { "   { } files" } else { "" };
    let keys = format!(" esc back   c copy   arrows, pgup, pgdn scroll{files} ");
    let block = panel(theme, &sheet.title, &place, true).title_bottom(Line::styled(keys, theme.dim));
    let inner = block.inner(whole);
    frame.render_widget(Clear, whole);
    frame.render_widget(block, whole);
    let width = usize::from(inner.width);
    let rows: Vec<Line<'_>> = sheet
        .lines
        .iter()
        .skip(top)
        .take(usize::from(inner.height))
        .map(|line| {
            let style = match patch::tone(line) {
                _ if !sheet.diff => theme.text,
                Tone::Plain => theme.text,
                Tone::Dim => theme.dim,
                Tone::Strong => theme.strong,
                Tone::Good => theme.good,
                Tone::Bad => theme.bad,
            };
            let (hidden, _) = text::cut(line, sheet.left);
            let rest = line.get(hidden.len()..).unwrap_or_default();
            Line::styled(text::truncate(rest, width, theme.glyphs.ellipsis), style)
        })
        .collect();
    frame.render_widget(Paragraph::new(rows).style(theme.text), inner);
}

fn question(model: &Model, confirm: &Confirm, frame: &mut Frame<'_>) {
    let theme = &model.theme;
    let width = frame.area().width.saturating_sub(6).min(72);
    let inside = usize::from(width.saturating_sub(4));
    let mut lines: Vec<Line<'_>> = vec![Line::raw("")];
    for line in &confirm.lines {
        lines.extend(
            text::wrap(&text::sanitize(line), inside).into_iter().map(|row| Line::raw(format!(" {row}"))),
        );
    }
    lines.push(Line::raw(""));
    lines.push(Line::from(vec![
        Span::styled(" y ", theme.bad.patch(theme.strong)),
        Span::styled("yes   ", theme.text),
        Span::styled(" n ", theme.accent.patch(theme.strong)),
        Span::styled("no, esc too", theme.text),
    ]));
    let height = u16::try_from(lines.len()).unwrap_or(u16::MAX).saturating_add(2);
    let area = centered(frame.area(), width, height);
    let block = panel(theme, &confirm.title, "", true).border_style(theme.bad);
    frame.render_widget(Clear, area);
    frame.render_widget(Paragraph::new(lines).style(theme.text).block(block), area);
}

/// Widest table of keys, with its border.
const HELP: u16 = 108;

/// One row of the help: keys, what they do, the same on the command line.
type HelpRow = (String, String, &'static str);

/// Columns of the table of keys.
fn help_width(model: &Model) -> usize {
    usize::from(model.size.0.min(HELP).saturating_sub(2))
}

/// Columns of the names of keys in a table.
fn keys_width(rows: &[HelpRow]) -> usize {
    rows.iter().map(|(keys, ..)| text::width(keys)).max().unwrap_or(0).min(24) + 2
}

/// The rows as they are drawn: a command line that does not fit beside what the keys do stands below it.
fn help_rows_in(rows: Vec<HelpRow>, width: usize) -> Vec<HelpRow> {
    let keys_width = keys_width(&rows);
    let split = |(keys, help, twin): HelpRow| {
        let needed = keys_width + text::width(&help) + text::width(twin) + 3;
        match needed <= width || twin.is_empty() {
            true => vec![(keys, help, twin)],
            false => vec![(keys, help, ""), (String::new(), String::new(), twin)],
        }
    };
    rows.into_iter().flat_map(split).collect()
}

fn help_table(model: &Model, search: &str) -> Vec<HelpRow> {
    let tickets = model.has_tickets();
    let mut rows: Vec<HelpRow> = keys::of(model.place())
        .filter(|binding| tickets || !keys::of_tickets(binding))
        .map(|binding| (binding.keys.join(" "), binding.help.to_owned(), binding.twin))
        .collect();
    rows.push((
        "enter".into(),
        "in the message box: steer, into what runs".into(),
        "gcluster send AGENT TEXT",
    ));
    rows.push((
        "ctrl-q".into(),
        "in the message box: queue, for the next iteration".into(),
        "gcluster send AGENT TEXT --queue",
    ));
    rows.push((
        "ctrl-x".into(),
        "in the message box: interrupt what runs".into(),
        "gcluster send AGENT TEXT --interrupt",
    ));
    // A master without tickets has nothing to say of them.
    let commands = command::all().filter(|(name, _)| tickets || !name.starts_with(":ticket"));
    rows.extend(commands.map(|(name, help)| (name, help.to_owned(), "")));
    let wanted = search.to_lowercase();
    rows.retain(|(keys, help, twin)| {
        wanted.is_empty()
            || [keys.as_str(), help, twin].iter().any(|text| text.to_lowercase().contains(&wanted))
    });
    rows
}

/// How many rows the help has now.
pub(crate) fn help_rows(model: &Model) -> usize {
    match &model.overlay {
        Some(Overlay::Help(search, _)) => {
            help_rows_in(help_table(model, search.text()), help_width(model)).len()
        }
        _ => 0,
    }
}

fn help(model: &Model, search: &LineEdit, scroll: usize, frame: &mut Frame<'_>) {
    let theme = &model.theme;
    let whole = frame.area();
    let area = centered(whole, HELP, whole.height.saturating_sub(2));
    let of = match model.place() {
        Place::Tree => "the tree",
        Place::Agent => "an agent",
        Place::Step => "a step",
        Place::Iteration => "an iteration",
        Place::Board => "the tickets",
        Place::Ticket => "a ticket",
    };
    let block = panel(theme, &format!("Keys of {of}"), "the same on the command line", true)
        .title_bottom(Line::styled(" type to search   esc back ", theme.dim));
    let inner = block.inner(area);
    frame.render_widget(Clear, area);
    frame.render_widget(block, area);
    let typed = Line::from(vec![
        Span::styled(" /", theme.accent),
        Span::styled(search.text().to_owned(), theme.text),
    ]);
    frame.render_widget(typed, Rect { height: inner.height.min(1), ..inner });
    let column = u16::try_from(search.column()).unwrap_or(0).min(inner.width.saturating_sub(3));
    frame.set_cursor_position(Position::new(inner.x + 2 + column, inner.y));
    let width = usize::from(inner.width);
    let rows = help_rows_in(help_table(model, search.text()), width);
    let keys_width = keys_width(&rows);
    let room = usize::from(inner.height.saturating_sub(1));
    for ((keys, help, twin), y) in rows.iter().skip(scroll).take(room).zip(inner.y + 1..) {
        let left = vec![
            Span::styled(format!(" {}", text::pad(keys, keys_width, theme.glyphs.ellipsis)), theme.accent),
            Span::styled(help.clone(), theme.text),
        ];
        let needed = keys_width + text::width(help) + 3;
        let twin = text::truncate(twin, width.saturating_sub(needed), theme.glyphs.ellipsis).into_owned();
        let right = vec![Span::styled(format!(" {twin} "), theme.dim)];
        frame.render_widget(
            between(left, right, width, theme.glyphs.ellipsis),
            Rect { y, height: 1, ..inner },
        );
    }
    if rows.is_empty() {
        let none = Line::styled(" nothing does that", theme.dim);
        frame.render_widget(none, Rect { y: inner.y + 1, height: inner.height.min(1), ..inner });
    }
}
