//! The newest events of an object.

use k8s_openapi::jiff::Timestamp;
use ratatui::text::Line;
use serde_json::Value;

use crate::render::event::EventRow;
use crate::tui::text::{flow, one_line, pad, sanitize};
use crate::tui::theme::Theme;

/// Events that are shown, the newest first.
const EVENTS: usize = 20;

/// The newest of them, one or more lines each.
pub(crate) fn events<'a>(
    all: impl Iterator<Item = &'a Value>,
    now: Timestamp,
    columns: usize,
    theme: &Theme,
) -> Vec<Line<'static>> {
    let mut rows: Vec<EventRow> = all.map(EventRow::read).collect();
    rows.sort_by_key(|row| std::cmp::Reverse(row.last));
    rows.truncate(EVENTS);
    rows.iter()
        .flat_map(|row| {
            let warning = row.kind == "Warning";
            let sign = if warning { theme.glyphs.attention } else { theme.glyphs.notice };
            let style = if warning { theme.warn } else { theme.dim };
            let runs = [
                (theme.dim, pad(&row.age(now), 12, "")),
                (style.patch(theme.strong), one_line(&row.reason).into_owned()),
                (theme.text, format!("  {}", sanitize(&row.message))),
            ];
            flow(&runs, columns, &[(style, format!("{sign} "))], &[(theme.text, "    ".to_owned())])
        })
        .collect()
}
