//! The first line, the banner, the last line.

use ratatui::Frame;
use ratatui::layout::Position;
use ratatui::style::Modifier;
use ratatui::text::{Line, Span};

use super::parts::between;
use crate::render::age;
use crate::tui::keys::{self, Act};
use crate::tui::layout::Pane;
use crate::tui::line_edit::LineEdit;
use crate::tui::model::{Input, Model};
use crate::tui::msg::{Cause, Link};
use crate::tui::need::Need;
use crate::tui::text;
use crate::tui::tickets::{Lane, Panel, offer};
use crate::tui::tree::draw::sign;

/// The groups of agents that are counted.
const NEEDS: [Need; 4] = [Need::You, Need::Failing, Need::Limited, Need::Working];

/// How the tickets stand: all of it where they are shown, else only what needs somebody.
fn tickets(model: &Model, width: u16) -> Vec<Span<'static>> {
    let theme = &model.theme;
    let glyphs = &theme.glyphs;
    let backlog = &model.backlog;
    let wide = width >= 100;
    let here = model.panel == Panel::Tickets;
    let working = Lane::ALL.iter().filter(|lane| !matches!(lane, Lane::Waiting | Lane::Ready | Lane::Done));
    let working = working.map(|lane| backlog.count(*lane)).sum();
    let you = if here { " need you" } else { " tickets need you" };
    let parts = [
        (backlog.needing(), theme.bad, glyphs.attention, you, true),
        (backlog.conflicting(), theme.warn, glyphs.conflict, " conflicts predicted", here),
        (working, theme.good, glyphs.running, " under way", here),
    ];
    let shown = parts.into_iter().filter(|(count, .., shown)| *count > 0 && *shown);
    let spans = shown.map(|(count, style, sign, words, _)| {
        let words = if wide { words } else { "" };
        Span::styled(format!("  {sign} {count}{words}"), style.add_modifier(Modifier::BOLD))
    });
    spans.collect()
}

/// Where this is, and how the fleet stands.
pub(super) fn header(model: &Model, frame: &mut Frame<'_>) {
    let area = model.areas().header;
    let theme = &model.theme;
    let glyphs = &theme.glyphs;
    let namespace = model.setting.namespace.as_deref().unwrap_or("all namespaces");
    let mut left = vec![
        Span::styled(" gcluster ", theme.accent.patch(theme.strong)),
        Span::styled(format!("{namespace} "), theme.text),
        Span::styled(format!("{} {} ", glyphs.dot, model.setting.address), theme.dim),
    ];
    if model.setting.readonly {
        left.push(Span::styled(format!("{} read-only ", glyphs.dot), theme.warn));
    }
    let mut right = tickets(model, area.width);
    let needs = if model.panel == Panel::Agents { &NEEDS[..] } else { &[] };
    for need in needs.iter().copied() {
        let count = model.fleet.count(need);
        if count == 0 {
            continue;
        }
        let (style, glyph) = sign(need, theme);
        let words = match (need, area.width >= 100) {
            (_, false) => "",
            (Need::You, _) => " need you",
            (Need::Failing, _) => " failing",
            (Need::Limited, _) => " limited",
            _ => " working",
        };
        right.push(Span::styled(format!("  {glyph} {count}{words}"), style.add_modifier(Modifier::BOLD)));
    }
    let (_, cost, tokens) = model.fleet.totals();
    if cost > 0.0 {
        right.push(Span::styled(format!("  {}", age::cost(cost)), theme.text));
    }
    if tokens > 0 && area.width >= 140 {
        right.push(Span::styled(format!("  {} tokens", age::count(tokens)), theme.dim));
    }
    right.push(Span::raw(" "));
    frame.render_widget(between(left, right, usize::from(area.width), glyphs.ellipsis), area);
}

/// Why nothing moves, while there is no connection.
pub(super) fn banner(model: &Model, frame: &mut Frame<'_>) {
    let Link::Down(lost) = &model.link else { return };
    let area = model.areas().banner;
    let theme = &model.theme;
    let gone = age::since(lost.since, model.now);
    let what = match lost.cause {
        Cause::Stopped => "The master was stopped.",
        Cause::Cut => "The connection broke: a crash, or the network.",
        Cause::Refused => "The master refuses.",
    };
    let mut text = format!(" {} {what} Shown as of {gone} ago.", theme.glyphs.attention);
    let wait = lost.next.as_second().saturating_sub(model.now.as_second());
    let next = if wait > 0 { format!("retry in {wait}s ") } else { "retrying ".to_owned() };
    if !lost.detail.is_empty() && lost.cause == Cause::Refused {
        text = format!("{text} {}", text::one_line(&lost.detail));
    }
    let style = match lost.cause {
        Cause::Stopped => theme.warn,
        Cause::Cut | Cause::Refused => theme.bad,
    };
    let style = style.add_modifier(Modifier::REVERSED | Modifier::BOLD);
    let left = vec![Span::raw(text)];
    let line = between(left, vec![Span::raw(next)], usize::from(area.width), theme.glyphs.ellipsis);
    frame.render_widget(line.style(style), area);
}

/// What is typed, else what there is to say, else what the keys do.
pub(super) fn footer(model: &Model, frame: &mut Frame<'_>) {
    let area = model.areas().footer;
    let width = usize::from(area.width);
    let theme = &model.theme;
    let typed = match &model.input {
        Some(Input::Search(line)) => Some(("/", line, format!("{} found", found(model)))),
        Some(Input::Find(line)) => Some(("/", line, String::new())),
        Some(Input::Command(command)) => Some((":", &command.line, offers(model))),
        _ => None,
    };
    if let Some((sign, line, right)) = typed {
        let right = text::truncate(&right, width / 2, theme.glyphs.ellipsis).into_owned();
        return typing(model, frame, sign, line, right);
    }
    if let Some(notice) = &model.notice {
        let (style, glyph) = match notice.bad {
            true => (theme.bad, theme.glyphs.attention),
            false => (theme.good, theme.glyphs.done),
        };
        let text = text::one_line(&notice.text).into_owned();
        let line = between(
            vec![Span::styled(format!(" {glyph} "), style), Span::styled(text, style)],
            Vec::new(),
            width,
            theme.glyphs.ellipsis,
        );
        return frame.render_widget(line, area);
    }
    frame.render_widget(hints(model, width), area);
}

fn found(model: &Model) -> usize {
    if model.panel == Panel::Tickets { model.backlog.shown() } else { model.fleet.shown() }
}

fn typing(model: &Model, frame: &mut Frame<'_>, sign: &'static str, line: &LineEdit, right: String) {
    let area = model.areas().footer;
    let theme = &model.theme;
    let room = usize::from(area.width).saturating_sub(text::width(&right) + 4);
    // The end of a long line is what is being typed.
    let skip = line.column().saturating_sub(room);
    let shown: String = {
        let (hidden, _) = text::cut(line.text(), skip);
        line.text().get(hidden.len()..).unwrap_or_default().to_owned()
    };
    let left = vec![Span::styled(format!(" {sign}"), theme.accent), Span::styled(shown, theme.text)];
    let right = vec![Span::styled(format!("{right} "), theme.dim)];
    frame.render_widget(between(left, right, usize::from(area.width), theme.glyphs.ellipsis), area);
    let column = u16::try_from(line.column() - skip).unwrap_or(0);
    frame.set_cursor_position(Position::new(area.x + 2 + column, area.y));
}

fn offers(model: &Model) -> String {
    let Some(Input::Command(command)) = &model.input else { return String::new() };
    match command.taken {
        Some(taken) if command.offers.len() > 1 => {
            let from = taken.saturating_sub(1);
            let names: Vec<String> = command
                .offers
                .iter()
                .enumerate()
                .skip(from)
                .take(5)
                .map(
                    |(at, offer)| {
                        if at == taken { format!("[{}]", offer.trim()) } else { offer.trim().to_owned() }
                    },
                )
                .collect();
            names.join("  ")
        }
        _ => "tab completes".to_owned(),
    }
}

/// The most likely keys here, as many as there is room for.
fn hints(model: &Model, width: usize) -> Line<'static> {
    let theme = &model.theme;
    let mut pairs: Vec<(&str, &str)> = Vec::new();
    match &model.input {
        Some(Input::Message(_)) => {
            match width >= 110 {
                true => pairs.extend([("enter", "steer: into what runs"), ("ctrl-q", "queue: for the next")]),
                false => pairs.extend([("enter", "steer"), ("ctrl-q", "queue")]),
            }
            pairs.push(("ctrl-x", "interrupt"));

            pairs.extend([("alt-enter", "new line"), ("esc", "leave, keep")]);
        }
        Some(Input::SendBack(_)) => {
            pairs.extend([("enter", "send back"), ("alt-enter", "new line"), ("esc", "leave, keep")]);
        }
        Some(Input::Prompt(edit)) if edit.theirs.is_some() => {
            pairs.extend([
                ("ctrl-s", "save mine over theirs"),
                ("ctrl-t", "take theirs"),
                ("esc", "leave, keep mine"),
            ]);
        }
        Some(Input::Prompt(_)) => {
            pairs.extend([("ctrl-s", "save: a new revision"), ("esc", "leave, keep the text")])
        }
        _ => {
            if model.pane == Pane::Detail {
                pairs.push(("esc", "back"));
            }
            for binding in keys::of(model.place()) {
                let writes = binding.writes && model.setting.readonly;
                let strange = keys::of_tickets(binding) && !model.has_tickets();
                if binding.hint.is_empty() || writes || strange {
                    continue;
                }
                let hint = match binding.act {
                    Act::Panel if model.panel == Panel::Agents => "tickets",
                    Act::Panel => "agents",
                    Act::Back if model.pane == Pane::Detail => continue,
                    act if model.panel == Panel::Tickets => match offer::hint(model, act, binding.hint) {
                        Some(hint) => hint,
                        None => continue,
                    },
                    Act::Pause if model.agent().is_some_and(|row| !row.wanted) => "start",
                    _ => binding.hint,
                };
                pairs.push((binding.keys.first().copied().unwrap_or_default(), hint));
            }
        }
    }
    let mut spans = Vec::new();
    let mut used = 0;
    let own = |(key, hint): (&str, &str)| text::width(key) + text::width(hint) + 4;
    // The key that tells of all the others is never left out.
    let last = pairs.iter().copied().find(|(key, _)| *key == "?");
    let mut room = width.saturating_sub(last.map_or(0, own));
    for (key, hint) in pairs {
        if Some((key, hint)) == last {
            room = width;
        } else if used + own((key, hint)) > room {
            if last.is_none() || room == width {
                break;
            }
            continue;
        }
        used += own((key, hint));
        spans.push(Span::styled(format!(" {key}"), theme.accent));
        spans.push(Span::styled(format!(" {hint}  "), theme.dim));
    }
    Line::from(spans)
}
