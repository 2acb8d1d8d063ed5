//! Styled text on lines: runs of one style each, wrapped as one text.

use std::ops::Range;

use ratatui::style::Style;
use ratatui::text::{Line, Span};

use super::wrap::{breaks, hard_breaks, indentation};
use super::{clusters, width};

/// A piece of text of one style.
pub type Run = (Style, String);

/// Wraps runs by words. `first` stands before the first row and `rest` before every further one; both count
/// towards `columns`. Line breaks within the runs are kept.
pub fn flow(runs: &[Run], columns: usize, first: &[Run], rest: &[Run]) -> Vec<Line<'static>> {
    layout(runs, columns, first, rest, true, breaks)
}

/// Puts runs on rows that are as full as they can be, regardless of words, as code must be.
pub fn chop(runs: &[Run], columns: usize, first: &[Run], rest: &[Run]) -> Vec<Line<'static>> {
    layout(runs, columns, first, rest, false, hard_breaks)
}

/// The text of a line without its styles.
pub fn line_text(line: &Line<'_>) -> String {
    line.spans.iter().map(|span| span.content.as_ref()).collect()
}

fn layout(
    runs: &[Run],
    columns: usize,
    first: &[Run],
    rest: &[Run],
    hanging: bool,
    cut: impl Fn(&str, usize, usize) -> Vec<Range<usize>>,
) -> Vec<Line<'static>> {
    let room = |prefix: &[Run]| columns.saturating_sub(prefix.iter().map(|(_, text)| width(text)).sum());
    let (head_room, more_room) = (room(first), room(rest));
    let text: String = runs.iter().map(|(_, text)| text.as_str()).collect();
    let mut styles = Styles::new(runs);
    let mut out = Vec::new();
    let mut offset = 0;
    for line in text.split('\n') {
        let here = if out.is_empty() { head_room } else { more_room };
        let indent = if hanging { indentation(line, more_room) } else { 0 };
        for (number, row) in cut(line, here, more_room.saturating_sub(indent)).into_iter().enumerate() {
            let prefix = if out.is_empty() { first } else { rest };
            let mut spans: Vec<Span<'static>> = prefix
                .iter()
                .filter(|(_, text)| !text.is_empty())
                .map(|(style, text)| Span::styled(text.clone(), *style))
                .collect();
            if number > 0 && indent > 0 {
                spans.push(Span::raw(" ".repeat(indent)));
            }
            styles.cut(&text, offset + row.start..offset + row.end, &mut spans);
            out.push(Line::from(spans));
        }
        offset += line.len() + 1;
    }
    out
}

/// Finds the style of each part of the joined text; goes forward only.
struct Styles<'a> {
    runs: &'a [Run],
    at: usize,
    end: usize,
}

impl<'a> Styles<'a> {
    fn new(runs: &'a [Run]) -> Self {
        Self { runs, at: 0, end: runs.first().map_or(0, |(_, text)| text.len()) }
    }

    /// The style at an offset that is not before the last one asked for.
    fn of(&mut self, offset: usize) -> Style {
        while offset >= self.end && self.at + 1 < self.runs.len() {
            self.at += 1;
            self.end += self.runs[self.at].1.len();
        }
        self.runs.get(self.at).map_or_else(Style::new, |(style, _)| *style)
    }

    /// Appends the spans of a part. A cluster has the style of its beginning and is never divided.
    fn cut(&mut self, text: &str, range: Range<usize>, spans: &mut Vec<Span<'static>>) {
        let part = &text[range.clone()];
        let mut from = 0;
        let mut style = self.of(range.start);
        while from < part.len() {
            let style_end = self.end.saturating_sub(range.start);
            if style_end >= part.len() || self.at + 1 >= self.runs.len() {
                spans.push(Span::styled(part[from..].to_owned(), style));
                return;
            }
            // The first cluster that begins in the next run.
            let next = clusters(&part[from..]).map(|(at, _, _)| from + at).find(|at| *at >= style_end);
            let to = next.unwrap_or(part.len());
            if to > from {
                spans.push(Span::styled(part[from..to].to_owned(), style));
            }
            from = to;
            style = self.of(range.start + from);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use ratatui::style::Modifier;

    fn shown(lines: &[Line<'_>]) -> Vec<String> {
        lines.iter().map(line_text).collect()
    }

    fn run(text: &str) -> Run {
        (Style::new(), text.to_owned())
    }

    #[test]
    fn prefixes_and_styles_go_with_the_words() {
        let bold = Style::new().add_modifier(Modifier::BOLD);
        let runs = [run("one "), (bold, "two three".into()), run(" four")];
        let lines = flow(&runs, 9, &[run("● ")], &[run("  ")]);
        assert_eq!(shown(&lines), ["● one two", "  three", "  four"]);
        assert_eq!(lines[0].spans[2].style, bold);
        assert_eq!(lines[1].spans[1].style, bold);
        assert_eq!(lines[2].spans[1].style, Style::new());
    }

    #[test]
    fn code_is_cut_where_the_row_ends() {
        let lines = chop(&[run("let x = 1;\nab")], 6, &[run("│")], &[run("│")]);
        assert_eq!(shown(&lines), ["│let x", "│ = 1;", "│ab"]);
    }

    proptest! {
        #[test]
        fn nothing_is_lost_between_styles(
            parts in proptest::collection::vec("[ a-c日👩\u{200d}\u{301}\n]{0,12}", 0..6),
            columns in 3_usize..20,
        ) {
            let runs: Vec<Run> = parts.iter().enumerate().map(|(at, text)| {
                let style = if at % 2 == 0 { Style::new() } else { Style::new().add_modifier(Modifier::BOLD) };
                (style, text.clone())
            }).collect();
            let solid = |text: &str| text.chars().filter(|c| !c.is_whitespace()).collect::<String>();
            for lines in [flow(&runs, columns, &[], &[]), chop(&runs, columns, &[], &[])] {
                prop_assert_eq!(solid(&shown(&lines).concat()), solid(&parts.concat()));
                for line in &lines {
                    prop_assert!(crate::tui::text::wrap::fits(&line_text(line), columns), "{:?}", line);
                }
            }
        }
    }
}
