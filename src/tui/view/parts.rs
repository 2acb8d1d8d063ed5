//! Pieces that several views are made of.

use ratatui::layout::{Alignment, Rect};
use ratatui::style::{Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::Block;

use crate::tui::text;
use crate::tui::theme::Theme;

/// A bordered pane with a title, and a word at the right of its upper border; the one with the keys has another
/// colour and a mark.
pub fn panel(theme: &Theme, title: &str, right: &str, focused: bool) -> Block<'static> {
    let border = if focused { theme.accent } else { theme.border };
    let style = if focused { theme.accent.patch(theme.strong) } else { theme.dim };
    let title = text::one_line(title).into_owned();
    let mut block =
        Block::bordered().border_set(theme.glyphs.border()).border_style(border).style(theme.text);
    if !title.is_empty() {
        block = block.title(Line::styled(format!(" {title} "), style));
    }
    if !right.is_empty() {
        block = block.title(Line::styled(format!(" {right} "), theme.dim).alignment(Alignment::Right));
    }
    block
}

/// One line: the left part is cut where the right part needs the room.
pub fn between(
    left: Vec<Span<'static>>,
    right: Vec<Span<'static>>,
    width: usize,
    ellipsis: &str,
) -> Line<'static> {
    let wanted: usize = right.iter().map(|span| text::width(&span.content)).sum();
    let room = width.saturating_sub(wanted);
    let mut used = 0;
    let mut spans = Vec::new();
    for span in left {
        let own = text::width(&span.content);
        if used + own <= room {
            used += own;
            spans.push(span);
            continue;
        }
        let cut = text::truncate(&span.content, room - used, ellipsis).into_owned();
        used += text::width(&cut);
        spans.push(Span::styled(cut, span.style));
        break;
    }
    spans.push(Span::raw(" ".repeat(room - used)));
    spans.extend(right);
    Line::from(spans)
}

/// Cells of a table, right-aligned in their columns, with a blank before each.
pub fn cells(cells: impl IntoIterator<Item = (String, usize, Style)>, ellipsis: &str) -> Vec<Span<'static>> {
    let cell = |(words, columns, style): (String, usize, Style)| {
        let words = text::truncate(&words, columns.saturating_sub(1), ellipsis).into_owned();
        let blank = columns.saturating_sub(text::width(&words));
        Span::styled(format!("{}{words}", " ".repeat(blank)), style)
    };
    cells.into_iter().filter(|(_, columns, _)| *columns > 0).map(cell).collect()
}

/// The heading of a group: its name, how many there are, a rule to the edge.
pub fn group(title: &str, count: usize, style: Style, width: usize, theme: &Theme) -> Line<'static> {
    let title = format!(" {} ", title.to_uppercase());
    let count = format!("{count} ");
    let rule = width.saturating_sub(text::width(&title) + text::width(&count) + 1);
    Line::from(vec![
        Span::styled(title, style.add_modifier(Modifier::BOLD)),
        Span::styled(count, theme.dim),
        Span::styled(theme.glyphs.rule.repeat(rule), theme.border),
    ])
}

/// A box in the middle, no larger than there is room.
pub fn centered(area: Rect, width: u16, height: u16) -> Rect {
    let width = width.min(area.width);
    let height = height.min(area.height);
    Rect::new(area.x + (area.width - width) / 2, area.y + (area.height - height) / 2, width, height)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_line_is_exactly_as_wide_as_its_place(left in "\\PC{0,30}", right in "[a-z]{0,8}", width in 10usize..60) {
            let left = text::one_line(&left).into_owned();
            let line = between(vec![Span::raw(left)], vec![Span::raw(right)], width, "…");
            prop_assert_eq!(text::width(&text::line_text(&line)), width);
        }
    }
}
