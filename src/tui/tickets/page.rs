//! The view of a ticket: where it stands and why, who works on it, what was made, what tests, reviewers and the merge
//! say of it. What there is none of is left out.

use gcluster_types::Ticket;
use gcluster_types::kinds::check::{Check, CheckPhase};
use gcluster_types::kinds::merge::MergePhase;
use gcluster_types::kinds::review::{ReviewPhase, Severity};
use gcluster_types::kinds::ticket::{HumanVerdict, TicketState, TicketStatus};
use k8s_openapi::jiff::Timestamp;
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use serde_json::Value;

use super::backlog::TicketRow;
use super::story::Story;
use super::{Panel, board};
use crate::render::{age, event::EventRow};
use crate::tui::detail::{Page, field, heading};
use crate::tui::fleet::AgentRow;
use crate::tui::markdown;
use crate::tui::model::Model;
use crate::tui::text::{Run, flow, one_line, pad, sanitize, truncate};
use crate::tui::theme::Theme;
use crate::tui::tree::draw::sign as agent_sign;

/// Lines at the end of what a check printed.
const OUTPUT: usize = 15;
/// Events that are shown, the newest first.
const EVENTS: usize = 12;

/// What a ticket's view is made from.
#[derive(Clone, Copy, Debug)]
pub struct TicketData<'a> {
    /// The ticket as the board knows it.
    pub row: &'a TicketRow,
    /// Its particulars, as far as they are read.
    pub story: &'a Story,
    /// Its agents, the newest first.
    pub agents: &'a [&'a AgentRow],
    /// The one that enter opens.
    pub chosen: Option<&'a AgentRow>,
    /// The time to count ages from.
    pub now: Timestamp,
}

/// The view of the selected ticket.
pub(crate) fn page(model: &Model) -> Option<Page> {
    if model.panel != Panel::Tickets {
        return None;
    }
    let row = model.ticket()?;
    let agents = model.story.agents(&model.fleet);
    let chosen = model.story.agent(&model.fleet);
    let data = TicketData { row, story: &model.story, agents: &agents, chosen, now: model.now };
    Some(ticket(data, model.areas().inner.width, &model.theme))
}

/// The view of a ticket: first of all, in one sentence, where it stands and why.
pub fn ticket(data: TicketData<'_>, width: u16, theme: &Theme) -> Page {
    let columns = usize::from(width).saturating_sub(1).max(1);
    let mut lines = sentence(data, columns, theme);
    lines.push(Line::default());
    let Some(ticket) = data.story.ticket.as_deref() else {
        lines.push(Line::styled("Reading…", theme.dim));
        return Page { lines };
    };
    let status = ticket.status.clone().unwrap_or_default();
    lines.extend(facts(data, ticket, &status, columns, theme));
    let mut section = |title: &str, body: Vec<Line<'static>>| {
        if !body.is_empty() {
            lines.push(Line::default());
            lines.push(heading(title, columns, theme));
            lines.extend(body);
        }
    };
    section("Agents", agents(data, columns, theme));
    section("Changes", changes(&status, columns, theme));
    section("Checks", checks(data, columns, theme));
    section("Review", findings(data, columns, theme));
    section("Merge", merge(data, columns, theme));
    let text = |text: &str| match text.trim() {
        "" => Vec::new(),
        text => markdown::render(text, u16::try_from(columns).unwrap_or(u16::MAX), theme),
    };
    section("Description", text(&ticket.spec.description));
    section("Why work began again", text(status.feedback.as_deref().unwrap_or_default()));
    section("What the worker says", text(status.summary.as_deref().unwrap_or_default()));
    section("Events", events(data, columns, theme));
    Page { lines }
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
        let words = "it needs you: c goes on or approves, b sends it back with a text, s stops it";
        lines.extend(flow(&[(theme.bad, words.to_owned())], columns, &sign, &rest));
    }
    if let Some(conflict) = &row.conflict {
        let sign = [(theme.warn, format!("{} ", theme.glyphs.conflict))];
        let words = format!("a conflict is predicted: {}", one_line(conflict));
        lines.extend(flow(&[(theme.warn, words)], columns, &sign, &rest));
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
    add(
        "Pool",
        &if row.pool.is_empty() { String::new() } else { format!("{}{worker}", row.pool) },
        theme.text,
    );
    add("Branch", &row.branch, theme.text);
    for workspace in data.story.workspaces.values() {
        let status = workspace.status.clone().unwrap_or_default();
        let mut words = status.path.unwrap_or_else(|| "no folder yet".to_owned());
        for more in [status.size, status.kept].into_iter().flatten() {
            words.push_str(&format!(", {more}"));
        }
        let dirty: i64 = status.repositories.iter().map(|repository| repository.dirty).sum();
        if dirty > 0 {
            words.push_str(&format!(", {dirty} uncommitted"));
        }
        let phase = format!("{:?}", status.phase).to_lowercase();
        add("Workspace", &format!("{words} ({phase})"), theme.text);
        if let Some(message) = status.message.filter(|_| phase == "failed") {
            add("", &message, theme.bad);
        }
    }
    add("Locks", &spec.locks.join(", "), theme.text);
    add("Depends on", &spec.depends_on.join(", "), theme.text);
    add("Tags", &spec.tags.join(", "), theme.text);
    let counts =
        [(status.round, "round"), (status.review_rounds, "review"), (status.conflicts, "rejected merge")];
    let counts = counts.iter().filter(|(count, _)| *count > 0).map(|(count, what)| plural(*count, what));
    add("So far", &counts.collect::<Vec<_>>().join(", "), theme.text);
    add("Cost", &usage(status), theme.text);
    lines
}

fn plural(count: i32, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

fn usage(status: &TicketStatus) -> String {
    let Some(usage) = &status.usage else { return String::new() };
    let price = age::price(Some(usage.cost_usd), usage.unpriced_tokens.unwrap_or(0));
    let iterations =
        format!("{} iteration{}", usage.iterations, if usage.iterations == 1 { "" } else { "s" });
    format!("{}, {iterations}, {} tokens", price.unwrap_or_default(), age::count(usage.tokens))
}

/// One line each; enter opens the marked one.
fn agents(data: TicketData<'_>, columns: usize, theme: &Theme) -> Vec<Line<'static>> {
    let glyphs = theme.glyphs;
    let mut lines = Vec::new();
    for row in data.agents {
        let chosen = data.chosen.is_some_and(|chosen| chosen.key == row.key);
        let (style, sign) = agent_sign(row.standing.need, theme);
        let since = row.last.or(row.created).map(|at| age::since(at, data.now)).unwrap_or_default();
        let mut words = format!("{}  {}", row.key.name(), row.standing.word);
        if row.cost > 0.0 {
            words.push_str(&format!("  {}", age::cost(row.cost)));
        }
        let why = one_line(&row.standing.why).into_owned();
        let more = [since, why].into_iter().filter(|text| !text.is_empty()).collect::<Vec<_>>().join("  ");
        let text =
            truncate(&format!("{words}  {more}"), columns.saturating_sub(4), glyphs.ellipsis).into_owned();
        lines.push(Line::from(vec![
            Span::styled(if chosen { glyphs.selector } else { " " }, theme.accent),
            Span::styled(format!("{sign} "), style),
            Span::styled(text, if chosen { theme.strong } else { theme.text }),
        ]));
    }
    lines
}

fn short(commit: &str) -> &str {
    commit.get(..10).unwrap_or(commit)
}

fn changes(status: &TicketStatus, columns: usize, theme: &Theme) -> Vec<Line<'static>> {
    let mut lines = Vec::new();
    for change in &status.changes {
        let counts = [(change.commits, "commit"), (change.files, "file")];
        let counts =
            counts.map(|(count, what)| format!("{count} {what}{}", if count == 1 { "" } else { "s" }));
        let runs = [
            (theme.strong, format!("{}  ", one_line(&change.repository))),
            (theme.text, format!("{}  ", counts.join(", "))),
            (theme.good, format!("+{}", change.insertions)),
            (theme.bad, format!(" -{}", change.deletions)),
            (theme.dim, format!("  {}..{}", short(&change.start), short(&change.commit))),
        ];
        lines.extend(flow(&runs, columns, &[], &[(theme.text, "  ".to_owned())]));
    }
    lines
}

fn checks(data: TicketData<'_>, columns: usize, theme: &Theme) -> Vec<Line<'static>> {
    let mut all: Vec<&Check> = data.story.checks.values().collect();
    let began = |check: &Check| check.status.as_ref().and_then(|status| status.started_at.clone());
    all.sort_by_key(|check| std::cmp::Reverse(began(check)));
    all.iter().flat_map(|check| one_check(check, data.now, columns, theme)).collect()
}

fn one_check(check: &Check, now: Timestamp, columns: usize, theme: &Theme) -> Vec<Line<'static>> {
    let glyphs = theme.glyphs;
    let status = check.status.clone().unwrap_or_default();
    let (sign, style) = match status.phase {
        CheckPhase::Pending => (glyphs.pending, theme.dim),
        CheckPhase::Running => (glyphs.running, theme.good),
        CheckPhase::Passed => (glyphs.done, theme.good),
        CheckPhase::Failed => (glyphs.failed, theme.bad),
    };
    let quick = if check.spec.quick { " quick" } else { "" };
    let mut words = format!("  {} {}{quick}", check.spec.repository, short(&check.spec.commit));
    if let Some(started) = &status.started_at {
        let end = status.finished_at.as_ref().map_or(now, |at| at.0);
        words.push_str(&format!("  {}", age::seconds(end.duration_since(started.0).as_secs_f64())));
    }
    let message = status.message.or(status.reason).filter(|_| status.phase != CheckPhase::Passed);
    if let Some(message) = message {
        words.push_str(&format!("  {}", one_line(&message)));
    }
    let rest = [(theme.text, "  ".to_owned())];
    let runs =
        [(style.patch(theme.strong), format!("{:?}", status.phase).to_lowercase()), (theme.text, words)];
    let mut lines = flow(&runs, columns, &[(style, format!("{sign} "))], &rest);
    if status.phase == CheckPhase::Failed {
        let output = sanitize(&status.output).into_owned();
        let all: Vec<&str> = output.trim_end().lines().collect();
        let from = all.len().saturating_sub(OUTPUT);
        let prefix = [(theme.border, format!("  {} ", glyphs.vertical))];
        let tail = all.get(from..).unwrap_or_default().join("\n");
        if !tail.is_empty() {
            lines.extend(markdown::code_lines(&tail, columns, &prefix, false, theme));
        }
        if let Some(log) = &status.log {
            let words = [(theme.dim, format!("all of it: {}", one_line(log)))];
            lines.extend(flow(&words, columns, &rest, &rest));
        }
    }
    lines
}

/// The newest review with its findings, the worst first; of those before only what came out.
fn findings(data: TicketData<'_>, columns: usize, theme: &Theme) -> Vec<Line<'static>> {
    let glyphs = theme.glyphs;
    let mut reviews: Vec<_> = data.story.reviews.values().collect();
    reviews.sort_by_key(|review| std::cmp::Reverse(review.spec.round));
    let rest = [(theme.text, "  ".to_owned())];
    let mut lines = Vec::new();
    for (place, review) in reviews.iter().enumerate() {
        let status = review.status.clone().unwrap_or_default();
        let (sign, style) = match (status.phase, status.count) {
            (ReviewPhase::Pending, _) => (glyphs.pending, theme.dim),
            (ReviewPhase::Running, _) => (glyphs.running, theme.good),
            (ReviewPhase::Done, 0) => (glyphs.done, theme.good),
            (ReviewPhase::Done, _) => (glyphs.attention, theme.warn),
            (ReviewPhase::Failed, _) => (glyphs.failed, theme.bad),
        };
        let what = match (status.phase, status.verdict) {
            (ReviewPhase::Done, Some(verdict)) => match status.count {
                0 => "approved".to_owned(),
                _ if verdict == gcluster_types::kinds::review::Verdict::Approved => "approved".to_owned(),
                1 => "1 finding goes back".to_owned(),
                count => format!("{count} findings go back"),
            },
            (phase, _) => format!("{phase:?}").to_lowercase(),
        };
        let message = status.message.as_deref().map(|text| format!(": {}", one_line(text)));
        let message = message.filter(|_| status.phase != ReviewPhase::Done).unwrap_or_default();
        let runs =
            [(theme.strong, format!("round {}  ", review.spec.round)), (style, what), (theme.text, message)];
        lines.extend(flow(&runs, columns, &[(style, format!("{sign} "))], &rest));
        if place > 0 {
            continue;
        }
        let mut found = status.findings;
        found.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
        for finding in &found {
            let style = match finding.severity {
                Severity::Critical | Severity::High => theme.bad,
                Severity::Medium => theme.warn,
                Severity::Low => theme.dim,
            };
            let line = finding.line.map(|line| format!(":{line}")).unwrap_or_default();
            let repository = finding.repository.as_deref().map(|name| format!("{name}/")).unwrap_or_default();
            let severity = format!("{:?}", finding.severity).to_lowercase();
            let runs = [
                (theme.accent, one_line(&format!("{repository}{}{line}", finding.file)).into_owned()),
                (style, format!("  {severity}  ")),
                (theme.text, sanitize(&finding.text).into_owned()),
            ];
            lines.extend(flow(&runs, columns, &rest, &[(theme.text, "    ".to_owned())]));
        }
    }
    lines
}

fn merge(data: TicketData<'_>, columns: usize, theme: &Theme) -> Vec<Line<'static>> {
    let glyphs = theme.glyphs;
    let mut merges: Vec<_> = data.story.merges.values().collect();
    merges.sort_by_key(|merge| std::cmp::Reverse(merge.metadata.creation_timestamp.clone()));
    let Some(merge) = merges.first() else { return Vec::new() };
    let status = merge.status.clone().unwrap_or_default();
    let (sign, style) = match status.phase {
        MergePhase::Queued => (glyphs.pending, theme.dim),
        MergePhase::Merged => (glyphs.done, theme.good),
        MergePhase::Rejected => (glyphs.failed, theme.bad),
        _ => (glyphs.running, theme.good),
    };
    let message = status.message.or(status.reason).map(|text| format!(": {}", one_line(&text)));
    let rest = [(theme.text, "  ".to_owned())];
    let runs = [
        (style.patch(theme.strong), format!("{:?}", status.phase).to_lowercase()),
        (theme.text, message.unwrap_or_default()),
    ];
    let mut lines = flow(&runs, columns, &[(style, format!("{sign} "))], &rest);
    for step in status.repositories.iter().filter(|step| !step.conflicts.is_empty()) {
        let words = format!("{}: {}", one_line(&step.name), one_line(&step.conflicts.join(", ")));
        lines.extend(flow(&[(theme.bad, words)], columns, &rest, &[(theme.text, "    ".to_owned())]));
    }
    if let Some(brief) = status.brief.filter(|brief| !brief.trim().is_empty()) {
        lines.push(Line::default());
        lines.extend(markdown::render(&brief, u16::try_from(columns).unwrap_or(u16::MAX), theme));
    }
    lines
}

fn events(data: TicketData<'_>, columns: usize, theme: &Theme) -> Vec<Line<'static>> {
    let all: Vec<&Value> = data.story.events.values().collect();
    let mut rows: Vec<EventRow> = all.iter().map(|event| EventRow::read(event)).collect();
    rows.sort_by_key(|row| std::cmp::Reverse(row.last));
    rows.truncate(EVENTS);
    rows.iter()
        .flat_map(|row| {
            let warning = row.kind == "Warning";
            let sign = if warning { theme.glyphs.attention } else { theme.glyphs.notice };
            let style = if warning { theme.warn } else { theme.dim };
            let runs = [
                (theme.dim, pad(&row.age(data.now), 12, "")),
                (style.patch(theme.strong), one_line(&row.reason).into_owned()),
                (theme.text, format!("  {}", sanitize(&row.message))),
            ];
            flow(&runs, columns, &[(style, format!("{sign} "))], &[(theme.text, "    ".to_owned())])
        })
        .collect()
}
