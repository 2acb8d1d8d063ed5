//! The rows of one part of a record.
//!
//! ```text
//! ● Bash(cargo test)                                  1.2k · +1m5s
//!   ⎿  running 41 tests
//!      … +38 lines (enter)
//! ```

use gcluster_types::kinds::message::Delivery;
use k8s_openapi::jiff::Timestamp;
use ratatui::style::{Modifier, Style};
use ratatui::text::{Line, Span};

use super::item::{Item, Kind, PendingState};
use crate::render::{Tone, age};
use crate::tui::markdown;
use crate::tui::text::{Run, chop, flow, line_text, one_line, sanitize, width};
use crate::tui::theme::Theme;

/// Columns of times and tokens at the right edge.
const GUTTER: usize = 17;
/// Narrower views have no room for it.
const GUTTER_FROM: usize = 72;
/// Source lines of a tool's answer that a fold shows.
const ANSWER_LINES: usize = 4;
/// Source lines of a diff that a fold shows.
const DIFF_LINES: usize = 12;
/// Source lines of a prompt that a fold shows.
const PROMPT_LINES: usize = 10;

/// How a conversation is shown.
#[derive(Clone, Debug)]
pub(super) struct Options {
    pub(super) width: usize,
    pub(super) theme: Theme,
    pub(super) thinking: bool,
    pub(super) times: bool,
    pub(super) wrap: bool,
    /// The key that unfolds, as people write it.
    pub(super) fold_key: &'static str,
    /// When the first record was received.
    pub(super) started: Option<Timestamp>,
}

impl Options {
    fn gutter(&self) -> bool {
        self.times && self.width >= GUTTER_FROM
    }

    fn columns(&self) -> usize {
        if self.gutter() { self.width - GUTTER } else { self.width }
    }
}

/// The rows of a part. `folded` is what its record is.
pub(super) fn rows(
    item: &Item,
    folded: bool,
    number_in_record: usize,
    options: &Options,
) -> Vec<Line<'static>> {
    if folded && number_in_record > 0 {
        return Vec::new();
    }
    let theme = &options.theme;
    let glyphs = theme.glyphs;
    let columns = options.columns();
    let head = number_in_record == 0;
    let plain = |text: &str| vec![(theme.text, text.to_owned())];
    let mark = |style: Style, sign: &str| if head { vec![(style, format!("{sign} "))] } else { plain("  ") };
    let mut out = match &item.kind {
        Kind::Prompt => prompt(item, folded, head, columns, options),
        Kind::Text => {
            let text = match &item.fence {
                Some(fence) => format!("{fence}\n{}", item.text),
                None => item.text.clone(),
            };
            let inner = u16::try_from(columns.saturating_sub(2)).unwrap_or(u16::MAX);
            let mut lines = markdown::render(&text, inner, theme);
            for (number, line) in lines.iter_mut().enumerate() {
                let sign = match number == 0 && head {
                    true => Span::styled(format!("{} ", glyphs.bullet), theme.strong),
                    false => Span::raw("  "),
                };
                line.spans.insert(0, sign);
            }
            if lines.is_empty() && head {
                vec![Line::from(Span::styled(glyphs.bullet, theme.strong))]
            } else {
                lines
            }
        }
        Kind::Thinking => {
            let style = theme.dim.add_modifier(Modifier::ITALIC);
            if folded {
                let first = one_line(item.text.trim_start().lines().next().unwrap_or_default()).into_owned();
                let more = if item.source_lines > 1 {
                    fold_note(item.source_lines - 1, options)
                } else {
                    String::new()
                };
                let room = columns.saturating_sub(2 + width(&more) + 1);
                let mut line = format!(
                    "{} {}",
                    glyphs.thinking,
                    crate::tui::text::truncate(&first, room, glyphs.ellipsis)
                );
                if !more.is_empty() {
                    line.push(' ');
                }
                vec![Line::from(vec![Span::styled(line, style), Span::styled(more, theme.dim)])]
            } else {
                flow(
                    &[(style, sanitize(&item.text).into_owned())],
                    columns,
                    &mark(theme.dim, glyphs.thinking),
                    &plain("  "),
                )
            }
        }
        Kind::Tool { name, failed } => {
            let (sign, style) = match failed {
                None => (glyphs.pending, theme.warn),
                Some(false) => (glyphs.bullet, theme.good),
                Some(true) => (glyphs.bullet, theme.bad),
            };
            let mut runs = vec![(theme.strong, one_line(name).into_owned())];
            if !item.text.is_empty() {
                runs.push((theme.text, format!("({})", one_line(&item.text))));
            }
            flow(&runs, columns, &mark(style, sign), &plain("    "))
        }
        Kind::Answer { of, failed, diff, .. } => {
            answer(item, of.as_deref(), *failed, *diff, folded, head, columns, options)
        }
        Kind::Message { from, state, delivery, .. } => {
            let mut lines = Vec::new();
            if head {
                let (sign, style, words) = receipt(state, *delivery, theme);
                let runs = [
                    (theme.person.add_modifier(Modifier::BOLD), one_line(from).into_owned()),
                    (style, format!("  {sign} {words}")),
                ];
                lines = flow(&runs, columns, &mark(theme.person, glyphs.message), &plain("  "));
            }
            lines.extend(flow(
                &[(theme.person, sanitize(&item.text).into_owned())],
                columns,
                &plain("  "),
                &plain("  "),
            ));
            lines
        }
        Kind::Notice => flow(
            &[(theme.dim, sanitize(&item.text).into_owned())],
            columns,
            &mark(theme.dim, glyphs.notice),
            &plain("  "),
        ),
        Kind::End { lines } => lines
            .iter()
            .flat_map(|line| {
                let runs: Vec<Run> =
                    line.0.iter().map(|(tone, text)| (toned(*tone, theme), ascii(text, theme))).collect();
                flow(&runs, columns, &[], &plain("  "))
            })
            .collect(),
    };
    if head
        && options.gutter()
        && let Some(line) = out.first_mut()
    {
        let note = gutter(item, options);
        if !note.is_empty() {
            let missing = columns.saturating_sub(width(&line_text(line)));
            let blank = " ".repeat(missing + GUTTER.saturating_sub(width(&note)));
            line.spans.push(Span::raw(blank));
            line.spans.push(Span::styled(note, theme.dim));
        }
    }
    if item.gap {
        out.insert(0, Line::default());
    }
    out
}

/// Whether folding the record hides anything.
pub(super) fn foldable(item: &Item) -> bool {
    match item.kind {
        Kind::Prompt => item.source_lines > PROMPT_LINES + 1 || item.text.len() > 1200,
        Kind::Answer { diff: true, .. } => item.source_lines > DIFF_LINES + 1 || item.text.len() > 1200,
        Kind::Answer { .. } => item.source_lines > ANSWER_LINES + 1 || item.text.len() > 480,
        Kind::Thinking => item.source_lines > 1 || item.text.len() > 60,
        _ => false,
    }
}

fn fold_note(lines: usize, options: &Options) -> String {
    let plural = if lines == 1 { "" } else { "s" };
    format!("{} +{lines} line{plural} ({})", options.theme.glyphs.ellipsis, options.fold_key)
}

fn prompt(item: &Item, folded: bool, head: bool, columns: usize, options: &Options) -> Vec<Line<'static>> {
    let theme = &options.theme;
    let glyphs = theme.glyphs;
    let folded = folded && foldable(item);
    let boxed = columns >= 12;
    let text = sanitize(&item.text);
    let shown = if folded { first_lines(&text, PROMPT_LINES) } else { &text };
    let runs = [(theme.person, shown.to_owned())];
    let inner = if boxed { columns - 4 } else { columns.saturating_sub(2) };
    let mut body =
        if options.wrap { flow(&runs, inner, &[], &[]) } else { lay(&runs, inner, &[], &[], options) };
    let kept = if folded { body.len().min(PROMPT_LINES + 4) } else { body.len() };
    body.truncate(kept);
    let hidden = item.source_lines.saturating_sub(PROMPT_LINES);
    let note = match () {
        () if !folded => String::new(),
        () if hidden > 0 => fold_note(hidden, options),
        () => format!("{} ({})", glyphs.ellipsis, options.fold_key),
    };
    let set = glyphs.border();
    let mut out = Vec::new();
    let edge = |left: &str, text: &str, right: &str| {
        let room = columns.saturating_sub(4);
        let text = crate::tui::text::truncate(text, room.saturating_sub(2), glyphs.ellipsis).into_owned();
        let text = if text.is_empty() { text } else { format!(" {text} ") };
        let rest = set.horizontal_top.repeat(columns.saturating_sub(3 + width(&text)));
        Line::from(Span::styled(format!("{left}{}{text}{rest}{right}", set.horizontal_top), theme.border))
    };
    if head && boxed {
        out.push(edge(set.top_left, "prompt", set.top_right));
    }
    for (number, line) in body.into_iter().enumerate() {
        let mut spans = Vec::new();
        if boxed {
            let missing = inner.saturating_sub(width(&line_text(&line)));
            spans.push(Span::styled(format!("{} ", set.vertical_left), theme.border));
            spans.extend(line.spans);
            spans.push(Span::styled(format!("{} {}", " ".repeat(missing), set.vertical_right), theme.border));
        } else {
            let sign = if number == 0 && head { glyphs.prompt } else { " " };
            spans.push(Span::styled(format!("{sign} "), theme.person));
            spans.extend(line.spans);
        }
        out.push(Line::from(spans));
    }
    if boxed && (item.last || folded) {
        out.push(edge(set.bottom_left, &note, set.bottom_right));
    } else if !note.is_empty() {
        out.push(Line::from(Span::styled(format!("  {note}"), theme.dim)));
    }
    out
}

#[allow(clippy::too_many_arguments, reason = "the fields of one variant and how it is shown")]
fn answer(
    item: &Item,
    of: Option<&str>,
    failed: bool,
    diff: bool,
    folded: bool,
    head: bool,
    columns: usize,
    options: &Options,
) -> Vec<Line<'static>> {
    let theme = &options.theme;
    let glyphs = theme.glyphs;
    let folded = folded && foldable(item);
    let text = sanitize(&item.text);
    let limit = if diff { DIFF_LINES } else { ANSWER_LINES };
    let shown = if folded { first_lines(&text, limit) } else { &text };
    let blank = (theme.text, "     ".to_owned());
    let base = if failed { theme.bad } else { theme.dim };
    let mut runs: Vec<Run> = Vec::new();
    if head {
        if let Some(of) = of {
            runs.push((theme.strong, format!("{}: ", one_line(of))));
        }
        if failed {
            runs.push((theme.bad, format!("{} ", glyphs.failed)));
        }
    }
    match (text.trim().is_empty(), diff) {
        (true, _) => runs.push((base, "(no output)".to_owned())),
        (false, true) => {
            for (number, line) in shown.split('\n').enumerate() {
                let line_end = if number == 0 { "" } else { "\n" };
                runs.push((markdown::diff_style(line, theme).unwrap_or(base), format!("{line_end}{line}")));
            }
        }
        (false, false) => runs.push((base, shown.to_owned())),
    }
    let first = if head { (theme.dim, format!("  {}  ", glyphs.result)) } else { blank.clone() };
    let mut lines = lay(&runs, columns, &[first], &[blank], options);
    if folded {
        let hidden = item.source_lines.saturating_sub(limit);
        let cut = lines.len() > limit + 2;
        lines.truncate(limit + 2);
        if hidden > 0 || cut {
            let note = if hidden > 0 {
                fold_note(hidden, options)
            } else {
                format!("{} ({})", glyphs.ellipsis, options.fold_key)
            };
            lines.push(Line::from(Span::styled(format!("     {note}"), theme.dim)));
        }
    }
    lines
}

/// Text that is not prose: cut where the row ends, or not at all.
fn lay(runs: &[Run], columns: usize, first: &[Run], rest: &[Run], options: &Options) -> Vec<Line<'static>> {
    chop(runs, if options.wrap { columns } else { usize::MAX / 2 }, first, rest)
}

fn first_lines(text: &str, count: usize) -> &str {
    match text.match_indices('\n').nth(count.saturating_sub(1)) {
        Some((end, _)) => &text[..end],
        None => text,
    }
}

fn gutter(item: &Item, options: &Options) -> String {
    let dot = options.theme.glyphs.dot;
    let elapsed = |at: Timestamp| {
        let started = options.started.unwrap_or(at);
        format!("+{}", age::seconds(at.duration_since(started).as_secs_f64()))
    };
    match &item.kind {
        Kind::Prompt | Kind::End { .. } => String::new(),
        Kind::Answer { took: Some(took), .. } => age::seconds(*took),
        Kind::Message { state, .. }
            if !matches!(state, PendingState::Delivered | PendingState::Acknowledged) =>
        {
            String::new()
        }
        _ if item.tokens > 0 => format!("{} {dot} {}", age::count(item.tokens), elapsed(item.at)),
        _ => elapsed(item.at),
    }
}

/// What became of a message: sign, look and words.
pub(super) fn receipt(
    state: &PendingState,
    delivery: Option<Delivery>,
    theme: &Theme,
) -> (&'static str, Style, String) {
    let glyphs = theme.glyphs;
    let words = |text: &str| text.to_owned();
    match state {
        PendingState::Sending => (glyphs.pending, theme.dim, words("sending")),
        PendingState::Pending => {
            let text = match delivery {
                Some(Delivery::Queue) => "queued for the next iteration",
                Some(Delivery::Interrupt) => "pending, interrupts the turn",
                Some(Delivery::Steer) | None => "pending",
            };
            (glyphs.pending, theme.warn, words(text))
        }
        PendingState::Delivered => (glyphs.delivered, theme.accent, words("delivered")),
        PendingState::Acknowledged => (glyphs.done, theme.good, words("acknowledged")),
        PendingState::Failed(why) if why.is_empty() => (glyphs.failed, theme.bad, words("not delivered")),
        PendingState::Failed(why) => (glyphs.failed, theme.bad, format!("not delivered: {}", one_line(why))),
        PendingState::Expired => (glyphs.failed, theme.bad, words("expired: the iteration ended before")),
    }
}

fn toned(tone: Tone, theme: &Theme) -> Style {
    match tone {
        Tone::Plain => theme.text,
        Tone::Dim => theme.dim,
        Tone::Strong => theme.strong,
        Tone::Good => theme.good,
        Tone::Bad => theme.bad,
    }
}

/// The signs in words that come from elsewhere, in the theme's set.
fn ascii(text: &str, theme: &Theme) -> String {
    let from = crate::tui::theme::Glyphs::UNICODE;
    let to = theme.glyphs;
    if !to.ascii {
        return text.to_owned();
    }
    let pairs = [
        (from.done, to.done),
        (from.failed, to.failed),
        (from.interrupted, to.interrupted),
        (from.dot, to.dot),
    ];
    pairs.iter().fold(text.to_owned(), |text, (from, to)| text.replace(from, to))
}
