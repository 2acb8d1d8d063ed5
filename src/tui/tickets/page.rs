//! The view of a ticket: where it stands and why, who works on it, what was made, what tests, reviewers and the merge
//! say of it. What there is none of is left out.

use gcluster_types::Ticket;
use gcluster_types::kinds::ticket::{HumanVerdict, TicketState, TicketStatus};
use k8s_openapi::jiff::Timestamp;
use ratatui::style::Style;
use ratatui::text::Line;

use super::backlog::TicketRow;
use super::mark::Mark;
use super::sections::{self, Body};
use super::story::Story;
use super::{Panel, board, offer};
use crate::render::age;
use crate::tui::detail::{Page, events, field, heading};
use crate::tui::fleet::{AgentRow, Key};
use crate::tui::markdown;
use crate::tui::model::Model;
use crate::tui::text::{Run, flow, one_line};
use crate::tui::theme::Theme;

/// What a ticket's view is made from.
#[derive(Clone, Copy, Debug)]
pub struct TicketData<'a> {
    /// The ticket as the board knows it.
    pub row: &'a TicketRow,
    /// Its particulars, as far as they are read.
    pub story: &'a Story,
    /// Its agents, the newest first.
    pub agents: &'a [&'a AgentRow],
    /// What enter opens.
    pub marked: Option<&'a Mark>,
    /// How those stand that it waits for, by name: what each is at.
    pub before: &'a [(String, String)],
    /// Names of the tickets that wait for it.
    pub after: &'a [String],
    /// The time to count ages from.
    pub now: Timestamp,
}

/// The page of a ticket, and on which line what can be marked stands.
#[derive(Clone, Debug, Default)]
pub struct TicketPage {
    /// Its lines.
    pub page: Page,
    /// The line of the marked thing.
    pub marked: Option<usize>,
}

/// The view of the selected ticket.
pub(crate) fn page(model: &Model) -> Option<TicketPage> {
    if model.panel != Panel::Tickets {
        return None;
    }
    let row = model.ticket()?;
    let agents = model.story.agents(&model.fleet);
    let marked = model.story.marked(&model.fleet);
    let stands = |name: &String| {
        let known = model.backlog.get(&Key::new(row.key.namespace(), name));
        let stands = known.map_or("not there".to_owned(), |row| format!("{:?}", row.phase).to_lowercase());
        (name.clone(), stands)
    };
    let before: Vec<_> = row.depends_on.iter().map(stands).collect();
    let after: Vec<_> =
        model.backlog.waiting_for(&row.key).iter().map(|row| row.key.name().to_owned()).collect();
    let (story, marked, now) = (&model.story, marked.as_ref(), model.now);
    let data = TicketData { row, story, agents: &agents, marked, before: &before, after: &after, now };
    Some(ticket(data, model.areas().inner.width, &model.theme))
}

/// The view of a ticket: first of all, in one sentence, where it stands and why.
pub fn ticket(data: TicketData<'_>, width: u16, theme: &Theme) -> TicketPage {
    let columns = usize::from(width).saturating_sub(1).max(1);
    let mut lines = sentence(data, columns, theme);
    lines.push(Line::default());
    let Some(ticket) = data.story.ticket.as_deref() else {
        lines.push(Line::styled("Reading…", theme.dim));
        return TicketPage { page: Page { lines }, marked: None };
    };
    let status = ticket.status.clone().unwrap_or_default();
    lines.extend(facts(data, ticket, &status, columns, theme));
    let mut marked = None;
    let mut section = |title: &str, body: Body| {
        if !body.lines.is_empty() {
            lines.push(Line::default());
            lines.push(heading(title, columns, theme));
            marked = marked.or(body.marked.map(|at| lines.len() + at));
            lines.extend(body.lines);
        }
    };
    section("Agents", sections::agents(data, columns, theme));
    section("Changes", sections::changes(data, &status, columns, theme));
    section("Checks", sections::checks(data, columns, theme));
    section("Review", sections::reviews(data, columns, theme));
    section("Merge", sections::merges(data, columns, theme));
    let text = |text: &str| match text.trim() {
        "" => Body::default(),
        text => Body::from(markdown::render(text, u16::try_from(columns).unwrap_or(u16::MAX), theme)),
    };
    section("Description", text(&ticket.spec.description));
    section("Why work began again", text(status.feedback.as_deref().unwrap_or_default()));
    section("What the worker says", text(status.summary.as_deref().unwrap_or_default()));
    section("Workspace", sections::workspaces(data, columns, theme));
    section("Events", Body::from(events(data.story.events.values(), data.now, columns, theme)));
    TicketPage { page: Page { lines }, marked }
}

/// `▸ working for 12m: worker 2 of builders is at it`.
fn sentence(data: TicketData<'_>, columns: usize, theme: &Theme) -> Vec<Line<'static>> {
    let row = data.row;
    let (style, sign) = board::sign(row, theme);
    let state = format!("{:?}", row.phase).to_lowercase();
    let mut runs: Vec<Run> = vec![(style.patch(theme.strong), state)];
    if let Some(since) = row.since {
        runs.push((theme.dim, format!(" for {}", age::since(since, data.now))));
    }
    let why = one_line(&row.message);
    let why = if why.is_empty() { one_line(&row.reason) } else { why };
    if !why.is_empty() {
        runs.push((theme.text, format!(": {why}")));
    }
    let rest = [(theme.text, "  ".to_owned())];
    let mut lines = flow(&runs, columns, &[(style, format!("{sign} "))], &rest);
    if row.needs() {
        let sign = [(theme.bad, format!("{} ", theme.glyphs.attention))];
        lines.extend(flow(&[(theme.bad, offer::asked(row).to_owned())], columns, &sign, &rest));
    }
    if let Some(conflict) = row.conflict.as_ref().filter(|_| !row.phase.is_terminal()) {
        let sign = [(theme.warn, format!("{} ", theme.glyphs.conflict))];
        lines.extend(flow(&[(theme.warn, one_line(conflict).into_owned())], columns, &sign, &rest));
    }
    lines
}

fn facts(
    data: TicketData<'_>,
    ticket: &Ticket,
    status: &TicketStatus,
    columns: usize,
    theme: &Theme,
) -> Vec<Line<'static>> {
    let (spec, row) = (&ticket.spec, data.row);
    let mut lines = Vec::new();
    let mut add = |label: &str, value: &str, style: Style| {
        if !value.is_empty() {
            lines.extend(field(label, value, style, columns, theme));
        }
    };
    add("Title", &spec.title, theme.strong);
    let estimate = spec.estimate_minutes.map(|minutes| format!(", thought to take {minutes} min"));
    add("Priority", &format!("{}{}", spec.priority, estimate.unwrap_or_default()), theme.text);
    match spec.state {
        TicketState::Open => {}
        TicketState::Held => add("Desired", "held: nobody takes it before it is opened (z)", theme.warn),
        TicketState::Cancelled => add("Desired", "cancelled", theme.warn),
    }
    if let Some(decision) = &spec.decision {
        let what = match decision.verdict {
            HumanVerdict::Approve => "approved",
            HumanVerdict::SendBack => "sent back",
            HumanVerdict::Stop => "stopped",
        };
        let by = decision.by.as_deref().map(|by| format!(" by {by}")).unwrap_or_default();
        let at = decision.at.parse::<Timestamp>();
        let at = at.map_or_else(|_| String::new(), |at| format!(" {} ago", age::since(at, data.now)));
        let open = if row.decided { ", not carried out yet" } else { "" };
        let text = if decision.text.is_empty() { String::new() } else { format!(": {}", decision.text) };
        add("Decision", &format!("{what}{by}{at}{open}{text}"), theme.person);
    }
    let worker = row.worker.map(|worker| format!(", worker {worker}")).unwrap_or_default();
    let worker = if row.phase.is_in_flight() { worker } else { String::new() };
    add(
        "Pool",
        &if row.pool.is_empty() { String::new() } else { format!("{}{worker}", row.pool) },
        theme.text,
    );
    add("Branch", &row.branch, theme.text);
    add("Locks", &spec.locks.join(", "), theme.text);
    let before = data.before.iter().map(|(name, stands)| format!("{name} ({stands})"));
    add("Depends on", &before.collect::<Vec<_>>().join(", "), theme.text);
    add("Wanted by", &data.after.join(", "), theme.text);
    add("Tags", &spec.tags.join(", "), theme.text);
    let counts =
        [(status.round, "round"), (status.review_rounds, "review"), (status.conflicts, "rejected merge")];
    let counts =
        counts.iter().filter(|(count, _)| *count > 0).map(|(count, what)| plural(i64::from(*count), what));
    add("So far", &counts.chain(usage(status)).collect::<Vec<_>>().join(", "), theme.text);
    lines
}

pub(super) fn plural(count: i64, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

fn usage(status: &TicketStatus) -> Vec<String> {
    let Some(usage) = &status.usage else { return Vec::new() };
    let tokens = (usage.tokens > 0).then(|| format!("{} tokens", age::count(usage.tokens)));
    let price = age::price(Some(usage.cost_usd), usage.unpriced_tokens.unwrap_or(0));
    // What runs without a model costs nothing worth a word.
    let price = price.filter(|_| usage.cost_usd > 0.0 || usage.tokens > 0);
    [Some(plural(usage.iterations, "iteration")), tokens, price].into_iter().flatten().collect()
}
