//! An iteration: one or two lines of what it is, and its conversation.

use gcluster_types::kinds::agent::TokenTotals;
use gcluster_types::kinds::iteration::{Iteration, Phase};
use k8s_openapi::jiff::Timestamp;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::Line;

use super::{apart, put_line, together};
use crate::render::age;
use crate::tui::conversation::Conversation;
use crate::tui::text::{flow, one_line};
use crate::tui::theme::Theme;

/// From this width on the header names revision and session.
const ROOMY: u16 = 56;

/// What the header says.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Facts {
    /// Where it stands.
    pub phase: Phase,
    /// Why, in one word.
    pub reason: String,
    /// What went wrong.
    pub error: String,
    /// `#12`, or `#12.3` for the item of a map.
    pub label: String,
    /// Label of its step.
    pub step: String,
    /// Name of the revision that it executes.
    pub revision: String,
    /// Backend and model.
    pub model: String,
    /// The backend's session.
    pub session: String,
    /// When it began.
    pub started: Option<Timestamp>,
    /// When it ended.
    pub finished: Option<Timestamp>,
    /// Tools used.
    pub tools: i64,
    /// Living processes.
    pub processes: i64,
    /// Tokens used.
    pub tokens: TokenTotals,
    /// The cost in words, where there is one.
    pub cost: Option<String>,
}

impl Facts {
    /// The facts of an iteration.
    pub fn of(iteration: &Iteration) -> Self {
        let spec = &iteration.spec;
        let status = iteration.status.clone().unwrap_or_default();
        let backend = [status.backend, status.model].into_iter().flatten().collect::<Vec<_>>().join(" ");
        Self {
            phase: status.phase,
            reason: status.reason.unwrap_or_default(),
            error: status.error.unwrap_or_default(),
            label: match spec.item {
                Some(item) => format!("#{}.{item}", spec.number),
                None => format!("#{}", spec.number),
            },
            step: spec.step.clone(),
            revision: spec.revision.clone(),
            model: backend,
            session: status.session_id.unwrap_or_default(),
            started: status.started_at.map(|at| at.0),
            finished: status.finished_at.map(|at| at.0),
            tools: status.tool_uses,
            processes: status.processes.map_or(0, |processes| processes.count),
            tokens: status.tokens.unwrap_or_default(),
            cost: age::price(status.cost_usd, status.unpriced_tokens),
        }
    }
}

/// The lines above the conversation: at most four, two where there is little room.
pub fn iteration_header(facts: &Facts, now: Timestamp, area: Rect, theme: &Theme) -> Vec<Line<'static>> {
    let glyphs = theme.glyphs;
    let (sign, style) = match facts.phase {
        Phase::Pending => (glyphs.pending, theme.warn),
        Phase::Running => (glyphs.spin(u64::try_from(now.as_millisecond()).unwrap_or(0)), theme.good),
        Phase::Succeeded => (glyphs.done, theme.good),
        Phase::Failed => (glyphs.failed, theme.bad),
        Phase::Interrupted => (glyphs.interrupted, theme.warn),
    };
    let dot = format!(" {} ", glyphs.dot);
    let mut state = format!("{:?}", facts.phase).to_lowercase();
    if !facts.reason.is_empty() && !matches!(facts.phase, Phase::Succeeded | Phase::Running) {
        state.push_str(&format!(" ({})", one_line(&facts.reason)));
    }
    let mut first = vec![facts.label.clone()];
    if let Some(started) = facts.started {
        let end = facts.finished.unwrap_or(now);
        first.push(age::seconds(end.duration_since(started).as_secs_f64()));
        if facts.finished.is_some() {
            first.push(format!("{} ago", age::since(end, now)));
        }
    }
    if facts.tools > 0 {
        first.push(format!("{} tool use{}", facts.tools, if facts.tools == 1 { "" } else { "s" }));
    }
    // What lives on after its iteration is worth knowing, too.
    if facts.processes > 0 {
        first.push(format!("{} process{}", facts.processes, if facts.processes == 1 { "" } else { "es" }));
    }
    first.extend(facts.cost.clone());
    // In a narrow pane the conversation is worth more than names that nobody reads.
    let roomy = area.width >= ROOMY;
    let names = [(&facts.model, true), (&facts.revision, roomy)];
    first.extend(
        names.into_iter().filter(|(text, shown)| *shown && !text.is_empty()).map(|(text, _)| text.clone()),
    );
    let mut second = Vec::new();
    let tokens = &facts.tokens;
    if tokens.total > 0 {
        let [total, input, output, read, written] =
            [tokens.total, tokens.input, tokens.output, tokens.cache_read, tokens.cache_creation]
                .map(age::count);
        second.push(format!("{total} tokens"));
        let kinds = [("input", input), ("output", output), ("cache read", read), ("cache written", written)];
        second.extend(kinds.map(|(kind, count)| format!("{kind} {count}")));
    }
    if roomy && !facts.session.is_empty() {
        second.push(format!("session {}", facts.session));
    }
    let columns = usize::from(area.width).max(1);
    let indent = [(theme.text, "  ".to_owned())];
    let head = [
        (style.patch(theme.strong), state),
        (theme.dim, format!("{dot}{}", together(first.into_iter(), theme))),
    ];
    let mut lines = flow(&head, columns, &[(style, format!("{sign} "))], &indent);
    if !facts.error.is_empty() && facts.phase != Phase::Succeeded {
        let error = one_line(&facts.error).into_owned();
        lines.truncate(1);
        lines.extend(flow(&[(theme.bad, error)], columns, &indent, &indent));
    }
    let most = if area.height < 16 { 2 } else { 4 };
    if !second.is_empty() && lines.len() < most {
        lines.extend(flow(&[(theme.dim, together(second.into_iter(), theme))], columns, &indent, &indent));
    }
    lines.truncate(most.min(usize::from(area.height / 3)));
    apart(lines)
}

/// Where the conversation stands under its header; for `Conversation::layout`.
pub fn conversation_area(facts: &Facts, now: Timestamp, area: Rect, theme: &Theme) -> Rect {
    let rows = u16::try_from(iteration_header(facts, now, area, theme).len()).unwrap_or(0);
    // One empty row between the two, where there is room.
    let rows = if rows > 0 && area.height >= 10 { rows + 1 } else { rows };
    Rect { y: area.y + rows.min(area.height), height: area.height.saturating_sub(rows), ..area }
}

/// Draws header and conversation. The conversation has been laid out for [`conversation_area`].
pub fn iteration(
    facts: &Facts,
    now: Timestamp,
    conversation: &Conversation,
    area: Rect,
    buffer: &mut Buffer,
    theme: &Theme,
) {
    let area = area.intersection(buffer.area);
    if area.is_empty() {
        return;
    }
    buffer.set_style(area, theme.text);
    for (y, line) in (area.top()..area.bottom()).zip(iteration_header(facts, now, area, theme)) {
        put_line(buffer, area.x, y, area.width, &line);
    }
    conversation.draw(conversation_area(facts, now, area, theme), buffer, theme);
}
