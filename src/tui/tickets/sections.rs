//! The sections of a ticket's page: its agents, what was made, and what tests, reviewers and the merge say of it. Each
//! thing that enter opens stands after a sign, with the selector before it when it is marked.

use gcluster_types::kinds::check::{Check, CheckPhase};
use gcluster_types::kinds::merge::MergePhase;
use gcluster_types::kinds::review::{Review, ReviewPhase, Severity, Verdict};
use gcluster_types::kinds::ticket::TicketStatus;
use gcluster_types::kinds::workspace::WorkspacePhase;
use ratatui::text::Line;

use super::mark::{LISTED, Mark};
use super::page::{TicketData, plural};
use crate::render::age;
use crate::tui::markdown;
use crate::tui::need::Need;
use crate::tui::text::{Run, flow, one_line, sanitize, truncate};
use crate::tui::theme::Theme;
use crate::tui::tree::draw::sign as agent_sign;

/// Lines at the end of what a check printed.
const OUTPUT: usize = 15;

/// The lines of a section, and which of them is marked.
#[derive(Default)]
pub(super) struct Body {
    pub(super) lines: Vec<Line<'static>>,
    pub(super) marked: Option<usize>,
}

impl From<Vec<Line<'static>>> for Body {
    fn from(lines: Vec<Line<'static>>) -> Self {
        Self { lines, marked: None }
    }
}

impl Body {
    /// Adds something that can be marked: its words after a sign, with the selector before them when it is.
    fn item(
        &mut self,
        data: TicketData<'_>,
        mark: &Mark,
        sign: Run,
        runs: &[Run],
        columns: usize,
        theme: &Theme,
    ) {
        let marked = data.marked == Some(mark);
        if marked {
            self.marked = Some(self.lines.len());
        }
        let selector = if marked { theme.glyphs.selector } else { " " };
        let (style, sign) = sign;
        let first = [(theme.accent, selector.to_owned()), (style, format!("{sign} "))];
        self.lines.extend(flow(runs, columns, &first, &[(theme.text, "   ".to_owned())]));
    }

    /// Adds what belongs to the thing above.
    fn below(&mut self, runs: &[Run], columns: usize, theme: &Theme) {
        let indent = |columns: usize| [(theme.text, " ".repeat(columns))];
        self.lines.extend(flow(runs, columns, &indent(3), &indent(5)));
    }
}

/// The newest, and the marked one.
pub(super) fn agents(data: TicketData<'_>, columns: usize, theme: &Theme) -> Body {
    let mut body = Body::default();
    let mut hidden = 0;
    for (place, row) in data.agents.iter().enumerate() {
        let mark = Mark::Agent(row.key.clone());
        if place >= LISTED && data.marked != Some(&mark) {
            hidden += 1;
            continue;
        }
        let (style, sign) = agent_sign(row.standing.need, theme);
        let since = row.last.or(row.created).map(|at| age::since(at, data.now)).unwrap_or_default();
        let cost = if row.cost > 0.0 { age::cost(row.cost) } else { String::new() };
        // Of one that is done there is nothing to explain.
        let why = one_line(&row.standing.why).into_owned();
        let why = if row.standing.need == Need::Done { String::new() } else { why };
        let more: String = [&since, &cost, &why]
            .into_iter()
            .filter(|text| !text.is_empty())
            .fold(String::new(), |words, word| format!("{words}  {word}"));
        let strong = if data.marked == Some(&mark) { theme.strong } else { theme.text };
        let text = format!("{}  {}{more}", row.key.name(), row.standing.word);
        let text = truncate(&text, columns.saturating_sub(3), theme.glyphs.ellipsis).into_owned();
        body.item(data, &mark, (style, sign.to_owned()), &[(strong, text)], columns, theme);
    }
    if hidden > 0 {
        body.below(&[(theme.dim, format!("{} {hidden} older", theme.glyphs.ellipsis))], columns, theme);
    }
    body
}

fn short(commit: &str) -> &str {
    commit.get(..10).unwrap_or(commit)
}

pub(super) fn changes(data: TicketData<'_>, status: &TicketStatus, columns: usize, theme: &Theme) -> Body {
    let mut body = Body::default();
    for (place, change) in status.changes.iter().enumerate() {
        let repository = (theme.strong, format!("{}  ", one_line(&change.repository)));
        let runs = match change.commits {
            0 => vec![repository, (theme.dim, "no commit yet".to_owned())],
            _ => vec![
                repository,
                (
                    theme.text,
                    format!("{}, {}  ", plural(change.commits, "commit"), plural(change.files, "file")),
                ),
                (theme.good, format!("+{}", change.insertions)),
                (theme.bad, format!(" -{}", change.deletions)),
                (theme.dim, format!("  {}..{}", short(&change.start), short(&change.commit))),
            ],
        };
        let sign = (theme.dim, theme.glyphs.dot.to_owned());
        match place {
            0 => body.item(data, &Mark::Changes, sign, &runs, columns, theme),
            // One diff has all of them.
            _ => {
                let first = [(theme.text, " ".to_owned()), (sign.0, format!("{} ", sign.1))];
                body.lines.extend(flow(&runs, columns, &first, &[(theme.text, "   ".to_owned())]));
            }
        }
    }
    body
}

pub(super) fn checks(data: TicketData<'_>, columns: usize, theme: &Theme) -> Body {
    let mut body = Body::default();
    for check in data.story.checks_in_order() {
        one_check(check, data, columns, theme, &mut body);
    }
    body
}

fn one_check(check: &Check, data: TicketData<'_>, columns: usize, theme: &Theme, body: &mut Body) {
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
        let end = status.finished_at.as_ref().map_or(data.now, |at| at.0);
        words.push_str(&format!("  {}", age::seconds(end.duration_since(started.0).as_secs_f64())));
    }
    let message = status.message.or(status.reason).filter(|_| status.phase != CheckPhase::Passed);
    if let Some(message) = message {
        words.push_str(&format!("  {}", one_line(&message)));
    }
    let runs =
        [(style.patch(theme.strong), format!("{:?}", status.phase).to_lowercase()), (theme.text, words)];
    let mark = Mark::Check(check.metadata.name.clone().unwrap_or_default());
    body.item(data, &mark, (style, sign.to_owned()), &runs, columns, theme);
    if status.phase == CheckPhase::Failed {
        let output = sanitize(&status.output).into_owned();
        let all: Vec<&str> = output.trim_end().lines().collect();
        let from = all.len().saturating_sub(OUTPUT);
        let prefix = [(theme.border, format!("   {} ", glyphs.vertical))];
        let tail = all.get(from..).unwrap_or_default().join("\n");
        if !tail.is_empty() {
            body.lines.extend(markdown::code_lines(&tail, columns, &prefix, false, theme));
        }
        if status.log.is_some() {
            body.below(&[(theme.dim, "L shows all of it".to_owned())], columns, theme);
        }
    }
}

/// The newest review with its findings, the worst first; of those before only what came out.
pub(super) fn reviews(data: TicketData<'_>, columns: usize, theme: &Theme) -> Body {
    let mut body = Body::default();
    for (place, review) in data.story.reviews_in_order().enumerate() {
        one_review(review, data, columns, theme, &mut body);
        if place > 0 {
            continue;
        }
        let mut found = review.status.as_ref().map(|status| status.findings.clone()).unwrap_or_default();
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
            body.below(&runs, columns, theme);
        }
    }
    body
}

fn one_review(review: &Review, data: TicketData<'_>, columns: usize, theme: &Theme, body: &mut Body) {
    let glyphs = theme.glyphs;
    let status = review.status.clone().unwrap_or_default();
    let (sign, style) = match (status.phase, status.count) {
        (ReviewPhase::Pending, _) => (glyphs.pending, theme.dim),
        (ReviewPhase::Running, _) => (glyphs.running, theme.good),
        (ReviewPhase::Done, 0) => (glyphs.done, theme.good),
        (ReviewPhase::Done, _) => (glyphs.attention, theme.warn),
        (ReviewPhase::Failed, _) => (glyphs.failed, theme.bad),
    };
    // Findings that a person is asked about did not go back.
    let left = data.row.needs() && data.story.reviews_in_order().next() == Some(review);
    let what = match (status.phase, status.verdict) {
        (ReviewPhase::Done, Some(Verdict::Approved)) => "approved".to_owned(),
        (ReviewPhase::Done, Some(_)) if status.count == 0 => "approved".to_owned(),
        (ReviewPhase::Done, Some(_)) => {
            let verb = match (left, status.count) {
                (true, 1) => "is left",
                (true, _) => "are left",
                (false, 1) => "goes back",
                (false, _) => "go back",
            };
            format!("{} {verb}", plural(status.count, "finding"))
        }
        (phase, _) => format!("{phase:?}").to_lowercase(),
    };
    let message = status.message.as_deref().map(|text| format!(": {}", one_line(text)));
    let message = message.filter(|_| status.phase != ReviewPhase::Done).unwrap_or_default();
    let runs =
        [(theme.strong, format!("round {}  ", review.spec.round)), (style, what), (theme.text, message)];
    let mark = Mark::Review(review.metadata.name.clone().unwrap_or_default());
    body.item(data, &mark, (style, sign.to_owned()), &runs, columns, theme);
}

/// The newest merge with what collided; of those before only what came out.
pub(super) fn merges(data: TicketData<'_>, columns: usize, theme: &Theme) -> Body {
    let glyphs = theme.glyphs;
    let mut body = Body::default();
    for (place, merge) in data.story.merges_in_order().enumerate() {
        let status = merge.status.clone().unwrap_or_default();
        let (sign, style) = match status.phase {
            MergePhase::Queued => (glyphs.pending, theme.dim),
            MergePhase::Merged => (glyphs.done, theme.good),
            MergePhase::Rejected => (glyphs.failed, theme.bad),
            _ => (glyphs.running, theme.good),
        };
        let message = status.message.or(status.reason).map(|text| format!(": {}", one_line(&text)));
        let runs = [
            (style.patch(theme.strong), format!("{:?}", status.phase).to_lowercase()),
            (theme.text, message.unwrap_or_default()),
        ];
        let mark = Mark::Merge(merge.metadata.name.clone().unwrap_or_default());
        body.item(data, &mark, (style, sign.to_owned()), &runs, columns, theme);
        if place > 0 {
            continue;
        }
        for step in status.repositories.iter().filter(|step| !step.conflicts.is_empty()) {
            let words = format!("{}: {}", one_line(&step.name), one_line(&step.conflicts.join(", ")));
            body.below(&[(theme.bad, words)], columns, theme);
        }
        if let Some(brief) = status.brief.filter(|brief| !brief.trim().is_empty()) {
            body.lines.push(Line::default());
            body.lines.extend(markdown::render(&brief, u16::try_from(columns).unwrap_or(u16::MAX), theme));
        }
    }
    body
}

pub(super) fn workspaces(data: TicketData<'_>, columns: usize, theme: &Theme) -> Body {
    let mut body = Body::default();
    for (name, workspace) in &data.story.workspaces {
        let status = workspace.status.clone().unwrap_or_default();
        let failed = status.phase == WorkspacePhase::Failed;
        let dirty: i64 = status.repositories.iter().map(|repository| repository.dirty).sum();
        let dirty = (dirty > 0).then(|| format!("{} not committed", plural(dirty, "file")));
        let more = [status.size, dirty, status.kept].into_iter().flatten().collect::<Vec<_>>().join(", ");
        let style = if failed { theme.bad } else { theme.text };
        let runs = [
            (style.patch(theme.strong), format!("{:?}", status.phase).to_lowercase()),
            (theme.text, format!("  {more}")),
        ];
        let sign = (theme.dim, theme.glyphs.dot.to_owned());
        body.item(data, &Mark::Workspace(name.clone()), sign, &runs, columns, theme);
        if let Some(path) = status.path {
            body.below(&[(theme.dim, path)], columns, theme);
        }
        if let Some(message) = status.message.filter(|_| failed) {
            body.below(&[(theme.bad, one_line(&message).into_owned())], columns, theme);
        }
    }
    body
}
