//! The message box under a conversation.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};

use super::parts::between;
use crate::tui::editor::Editor;
use crate::tui::model::{Input, MessageBox, Model, SendBackBox};
use crate::tui::text;

/// Draws what there is.
pub(super) fn draw(model: &Model, frame: &mut Frame<'_>) {
    let area = model.areas().message;
    match &model.input {
        Some(Input::Message(message)) => writing(model, message, frame, area),
        Some(Input::SendBack(back)) => sending_back(model, back, frame, area),
        _ if area.is_empty() => {}
        _ => resting(model, frame, area),
    }
}

fn rule(model: &Model, title: &str, right: &str, width: u16) -> Line<'static> {
    let theme = &model.theme;
    let glyphs = &theme.glyphs;
    let title = if title.is_empty() { String::new() } else { format!(" {} ", text::one_line(title)) };
    let right = if right.is_empty() { String::new() } else { format!(" {} ", text::one_line(right)) };
    let room = usize::from(width).saturating_sub(text::width(&title) + text::width(&right) + 2);
    let left = vec![
        Span::styled(glyphs.rule.repeat(2), theme.border),
        Span::styled(title, theme.person),
        Span::styled(glyphs.rule.repeat(room), theme.border),
    ];
    between(left, vec![Span::styled(right, theme.dim)], usize::from(width), glyphs.ellipsis)
}

/// Nobody writes: one line says how to.
fn resting(model: &Model, frame: &mut Frame<'_>, area: Rect) {
    let theme = &model.theme;
    let talk = model.talk();
    let right = match talk.map(|talk| &talk.conversation) {
        Some(conversation) if !conversation.is_following() => match conversation.unseen() {
            0 => String::new(),
            unseen => format!("{} {unseen} more below, f follows", theme.glyphs.down),
        },
        Some(conversation) if !conversation.has_ended() => "following".to_owned(),
        _ => String::new(),
    };
    let hits = talk.and_then(|talk| talk.conversation.hits());
    let title = hits.map_or_else(String::new, |hits| {
        let more = if hits.complete { "" } else { "+" };
        format!("{} of {}{more} found, n and N go on", hits.current, hits.total)
    });
    frame.render_widget(rule(model, &title, &right, area.width), Rect { height: 1, ..area });
    let name = model.agent().map(|row| row.key.name().to_owned()).unwrap_or_default();
    let words = if model.setting.readonly { "read-only".to_owned() } else { format!("i writes to {name}") };
    let line = Line::from(vec![
        Span::styled(format!(" {} ", theme.glyphs.prompt), theme.person),
        Span::styled(words, theme.dim),
    ]);
    frame.render_widget(line, Rect { y: area.y + 1, height: area.height.saturating_sub(1).min(1), ..area });
}

fn writing(model: &Model, message: &MessageBox, frame: &mut Frame<'_>, area: Rect) {
    let to = message.iteration.as_deref().unwrap_or(message.agent.name());
    let running = model.fleet.get(&message.agent).is_some_and(|row| row.active > 0);
    let right = if running { "" } else { "nothing runs: it waits for the next iteration" };
    written(model, &format!("to {to}"), right, &message.editor, frame, area);
}

fn sending_back(model: &Model, back: &SendBackBox, frame: &mut Frame<'_>, area: Rect) {
    let id = model.backlog.get(&back.ticket).map_or(back.ticket.name(), |row| &row.id);
    let right = "work on it begins again with this";
    written(model, &format!("send {id} back"), right, &back.editor, frame, area);
}

fn written(model: &Model, title: &str, right: &str, editor: &Editor, frame: &mut Frame<'_>, area: Rect) {
    frame.render_widget(rule(model, title, right, area.width), Rect { height: 1, ..area });
    let theme = &model.theme;
    let below = Rect { y: area.y + 1, height: area.height.saturating_sub(1), ..area };
    let sign = Line::styled(format!(" {}", theme.glyphs.prompt), theme.person);
    frame.render_widget(sign, Rect { height: below.height.min(1), ..below });
    let inside = Rect { x: below.x + 3, width: below.width.saturating_sub(3), ..below };
    editor.draw(frame, inside, theme);
}
