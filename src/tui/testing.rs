//! Helpers of the tests of what is drawn.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::{Modifier, Style};
use ratatui::text::Line;

use super::theme::Theme;

/// Compares `text` with the reviewed file `snapshots/tui/NAME.snap`.
pub(crate) fn snapshot(name: &str, text: &str) {
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path(concat!(env!("CARGO_MANIFEST_DIR"), "/snapshots/tui"));
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| insta::assert_snapshot!(name, text));
}

/// What `draw` leaves on an empty screen of a size.
pub(crate) fn screen(width: u16, height: u16, draw: impl FnOnce(Rect, &mut Buffer)) -> Buffer {
    let area = Rect::new(0, 0, width, height);
    let mut buffer = Buffer::empty(area);
    draw(area, &mut buffer);
    buffer
}

/// The rows of a screen between bars, so that blanks at their ends are seen.
pub(crate) fn rows(buffer: &Buffer) -> String {
    rows_of(buffer).iter().map(|(text, _)| format!("│{text}│\n")).collect()
}

/// The same with a second row under each that has styles: one letter per cell, as [`letter`] gives them.
pub(crate) fn styled_rows(buffer: &Buffer, theme: &Theme) -> String {
    let mut out = String::new();
    for (text, styles) in rows_of(buffer) {
        let track: String = styles.iter().map(|style| letter(*style, theme)).collect();
        out.push_str(&format!("│{text}│\n"));
        if !track.trim().is_empty() {
            out.push_str(&format!(" {}\n", track.trim_end()));
        }
    }
    out
}

/// Lines with a track of styles under each that has any.
pub(crate) fn styled_lines(lines: &[Line<'_>], width: u16, theme: &Theme) -> String {
    let height = u16::try_from(lines.len()).unwrap_or(u16::MAX);
    let buffer = screen(width, height, |_, buffer| {
        for (y, line) in (0..).zip(lines) {
            buffer.set_line(0, y, line, width);
        }
    });
    styled_rows(&buffer, theme)
}

fn rows_of(buffer: &Buffer) -> Vec<(String, Vec<Style>)> {
    let area = buffer.area;
    (area.top()..area.bottom())
        .map(|y| {
            let mut text = String::new();
            let mut styles = Vec::new();
            let mut covered = 0;
            for x in area.left()..area.right() {
                let cell = &buffer[(x, y)];
                styles.push(cell.style());
                if covered > 0 {
                    covered -= 1;
                    continue;
                }
                text.push_str(cell.symbol());
                covered = super::text::width(cell.symbol()).saturating_sub(1);
            }
            (text, styles)
        })
        .collect()
}

/// `s`trong, `a`ccent, `g`ood, `w`arn, `b`ad, `c`ode, `p`erson, `d`im, `o` border, `#` selected, `!` hit; with
/// modifiers alone `i`talic, `u`nderlined; blank for ordinary text.
pub(crate) fn letter(style: Style, theme: &Theme) -> char {
    let table = [
        (theme.good, 'g'),
        (theme.warn, 'w'),
        (theme.bad, 'b'),
        (theme.accent, 'a'),
        (theme.code, 'c'),
        (theme.person, 'p'),
        (theme.dim, 'd'),
        (theme.border, 'o'),
    ];
    let has = |modifier: Modifier| style.add_modifier.contains(modifier);
    if style.bg.is_some() && style.bg == theme.hit.bg && theme.hit.bg.is_some() {
        return '!';
    }
    if style.bg.is_some() && style.bg == theme.selected.bg && theme.selected.bg.is_some() {
        return '#';
    }
    let plain = style.fg.is_none_or(|color| color == ratatui::style::Color::Reset);
    if let Some((_, letter)) = table.iter().find(|(known, _)| !plain && known.fg == style.fg) {
        return *letter;
    }
    match style {
        _ if has(Modifier::REVERSED) => '#',
        _ if has(Modifier::UNDERLINED) => 'u',
        _ if has(Modifier::BOLD) => 's',
        _ if has(Modifier::ITALIC) => 'i',
        _ if has(Modifier::CROSSED_OUT) => 'x',
        _ => ' ',
    }
}
