//! A ticket in words: where it stands and why, and its whole way there.

use gcluster_types::kinds::check::CheckPhase;
use gcluster_types::kinds::merge::MergePhase;
use gcluster_types::kinds::review::{Finding, ReviewPhase, Verdict};
use gcluster_types::kinds::ticket::{TicketChange, TicketPhase, TicketState, TicketStatus};
use gcluster_types::{Agent, Check, Merge, Review, Ticket, Workspace};
use k8s_openapi::jiff::Timestamp;
use serde_json::Value;

use super::fields::{Fields, table};
use super::{age, agent, event};

/// Characters of a commit that are shown.
const SHORT: usize = 12;

/// What `describe ticket` knows beside the ticket itself: whatever serves it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Around<'a> {
    /// Its workers and reviewers.
    pub agents: &'a [Agent],
    /// Checks of its commits.
    pub checks: &'a [Check],
    /// Its reviews.
    pub reviews: &'a [Review],
    /// Its merges.
    pub merges: &'a [Merge],
    /// Its workspace.
    pub workspace: Option<&'a Workspace>,
    /// Events about it, as JSON objects of either view.
    pub events: &'a [Value],
}

/// The text of `describe ticket`.
pub fn describe(ticket: &Ticket, around: Around<'_>, now: Timestamp) -> String {
    let empty = TicketStatus::default();
    let status = ticket.status.as_ref().unwrap_or(&empty);
    let mut out = head(ticket, status, around, now).render(0);
    if !ticket.spec.description.trim().is_empty() {
        out += &format!("Description:\n{}", indented(&ticket.spec.description));
    }
    out += &format!("Changes:\n{}", changes(&status.changes));
    out += &format!("Rounds:\n{}", rounds(status, around.agents, now));
    if !around.checks.is_empty() {
        out += &format!("Checks:\n{}", checks(around.checks, now));
    }
    if !around.reviews.is_empty() {
        out += &format!("Reviews:\n{}", reviews(around.reviews));
    }
    if !around.merges.is_empty() {
        out += &format!("Merges:\n{}", merges(around.merges, now));
    }
    if let Some(feedback) = status.feedback.as_deref().filter(|_| status.phase != TicketPhase::Merged) {
        out += &format!("Told to the worker:\n{}", indented(feedback));
    }
    if let Some(summary) = &status.summary {
        out += &format!("Summary:\n{}", indented(summary));
    }
    out += &format!("Way:\n{}", way(status, now));
    out += &format!("Conditions:\n{}", agent::conditions_table(&status.conditions, now));
    out + &event::section(around.events, now, 20)
}

fn head(ticket: &Ticket, status: &TicketStatus, around: Around<'_>, now: Timestamp) -> Fields {
    let (meta, spec) = (&ticket.metadata, &ticket.spec);
    let mut head = Fields::new();
    head.add("Name", meta.name.as_deref().unwrap_or_default());
    head.maybe("ID", spec.ticket_id.as_deref().filter(|id| Some(*id) != meta.name.as_deref()));
    head.add("Namespace", meta.namespace.as_deref().unwrap_or_default());
    head.add("Title", &spec.title);
    let since = status.since.as_ref().map(|since| format!(" for {}", age::since(since.0, now)));
    head.add("Phase", format!("{:?}{}", status.phase, since.unwrap_or_default()));
    let why = [&status.reason, &status.message].into_iter().flatten().cloned().collect::<Vec<_>>().join(": ");
    head.maybe("Why", Some(why).filter(|why| !why.is_empty()));
    if let Some(deleted) = &meta.deletion_timestamp {
        head.add(
            "Deleting",
            format!("for {}; it is kept for `gcluster undelete` first", age::since(deleted.0, now)),
        );
    }
    head.add("Priority", spec.priority.to_string());
    if spec.state != TicketState::Open {
        head.add("State", format!("{:?}", spec.state));
    }
    let list = |names: &[String]| (!names.is_empty()).then(|| names.join(", "));
    head.maybe("Depends on", list(&spec.depends_on));
    head.maybe("Locks", list(&spec.locks));
    head.maybe("Tags", list(&spec.tags));
    let pool = status.pool.as_deref().or(spec.pool.as_deref());
    let worker = status.worker.map(|worker| format!(", worker {worker}")).unwrap_or_default();
    head.maybe("Pool", pool.map(|pool| format!("{pool}{worker}")));
    head.maybe("Branch", status.branch.as_deref());
    let place = around.workspace.and_then(|workspace| workspace.status.as_ref());
    head.maybe("Workspace", place.and_then(|place| place.path.as_deref()));
    head.maybe("Kept", place.and_then(|place| place.kept.as_deref()));
    if status.round > 0 {
        let counts = format!(
            "{} (began again {}, read {}, merges rejected {})",
            status.round,
            times(status.attempts),
            times(status.review_rounds),
            status.conflicts
        );
        head.add("Round", counts);
    }
    if let Some(usage) = &status.usage {
        let cost = age::price(Some(usage.cost_usd), usage.unpriced_tokens.unwrap_or(0));
        let cost = cost.unwrap_or_else(|| "-".to_owned());
        let words = format!("{} iterations, {} tokens, {cost}", usage.iterations, age::count(usage.tokens));
        head.add("Used", words);
    }
    if let Some(decision) = &spec.decision {
        let by = decision.by.as_deref().unwrap_or("a person");
        let text = if decision.text.is_empty() { String::new() } else { format!(": {}", decision.text) };
        let done = status.observed_decision.as_deref() == Some(decision.at.as_str());
        let pending = if done { "" } else { " (not carried out yet)" };
        head.add("Decision", format!("{:?} by {by}{text}{pending}", decision.verdict));
    }
    head
}

fn times(count: i32) -> String {
    match count {
        1 => "once".to_owned(),
        count => format!("{count} times"),
    }
}

fn indented(text: &str) -> String {
    super::visible(text.trim()).lines().map(|line| format!("  {line}").trim_end().to_owned() + "\n").collect()
}

fn short(commit: &str) -> String {
    commit.chars().take(SHORT).collect()
}

fn changes(changes: &[TicketChange]) -> String {
    let row = |change: &TicketChange| {
        vec![
            change.repository.clone(),
            short(&change.commit),
            change.commits.to_string(),
            change.files.to_string(),
            format!("+{} -{}", change.insertions, change.deletions),
        ]
    };
    table(&["REPOSITORY", "COMMIT", "COMMITS", "FILES", "LINES"], changes.iter().map(row).collect(), 2)
}

/// Its agents, workers and reviewers, in the order in which they were made; those that are gone by what they used.
fn rounds(status: &TicketStatus, agents: &[Agent], now: Timestamp) -> String {
    let mut there: Vec<&Agent> = agents.iter().collect();
    there.sort_by_key(|agent| {
        (agent.metadata.creation_timestamp.clone().map(|at| at.0), agent.metadata.name.clone())
    });
    let mut rows: Vec<Vec<String>> = Vec::new();
    let used = status.usage.as_ref();
    for (name, _) in used.iter().flat_map(|usage| &usage.agents) {
        if !there.iter().any(|agent| agent.metadata.name.as_ref() == Some(name)) {
            rows.push(vec![name.clone(), "gone".into(), spent(status, name), "-".into(), String::new()]);
        }
    }
    for agent in there {
        let name = agent.metadata.name.clone().unwrap_or_default();
        let stands = agent.status.clone().unwrap_or_default();
        let began = agent.metadata.creation_timestamp.as_ref().map(|at| age::since(at.0, now));
        rows.push(vec![
            name.clone(),
            stands.reason.clone().unwrap_or_else(|| "Pending".to_owned()),
            spent(status, &name),
            began.unwrap_or_else(|| "-".to_owned()),
            age::excerpt(&stands.message.unwrap_or_default(), 60),
        ]);
    }
    table(&["AGENT", "STATE", "COST", "AGE", "WHY"], rows, 2)
}

fn spent(status: &TicketStatus, agent: &str) -> String {
    let used = status.usage.as_ref().and_then(|usage| usage.agents.get(agent));
    let price = used.and_then(|used| age::price(Some(used.cost_usd), used.unpriced_tokens.unwrap_or(0)));
    price.unwrap_or_else(|| "-".to_owned())
}

fn checks(checks: &[Check], now: Timestamp) -> String {
    let mut out = String::new();
    let mut rows = Vec::new();
    for check in checks {
        let status = check.status.clone().unwrap_or_default();
        let ended = status.finished_at.as_ref().map(|at| age::since(at.0, now));
        rows.push(vec![
            check.metadata.name.clone().unwrap_or_default(),
            format!("{:?}", status.phase),
            status.reason.clone().unwrap_or_else(|| "-".to_owned()),
            ended.unwrap_or_else(|| "-".to_owned()),
        ]);
    }
    out += &table(&["CHECK", "PHASE", "REASON", "ENDED"], rows, 2);
    for check in checks {
        let status = check.status.clone().unwrap_or_default();
        if status.phase == CheckPhase::Failed && !status.output.trim().is_empty() {
            let lines: Vec<&str> = status.output.trim_end().lines().collect();
            let end = lines.iter().skip(lines.len().saturating_sub(12));
            let end: String = end.map(|line| format!("    {}\n", super::visible(line))).collect();
            let name = check.metadata.name.as_deref().unwrap_or_default();
            out += &format!("  The end of {name}:\n{end}");
        }
    }
    out
}

fn reviews(reviews: &[Review]) -> String {
    let mut sorted: Vec<&Review> = reviews.iter().collect();
    sorted.sort_by_key(|review| review.spec.round);
    let mut out = String::new();
    for review in sorted {
        let status = review.status.clone().unwrap_or_default();
        let name = review.metadata.name.as_deref().unwrap_or_default();
        let verdict = match (status.phase, status.verdict) {
            (ReviewPhase::Done, Some(Verdict::Approved)) => "nothing keeps it back".to_owned(),
            (ReviewPhase::Done, Some(Verdict::ChangesRequested)) => {
                format!("{} for the worker", counted(status.count))
            }
            (phase, _) => {
                let why = status.message.map(|message| format!(": {message}")).unwrap_or_default();
                format!("{}{why}", format!("{phase:?}").to_lowercase())
            }
        };
        out += &format!("  {name}: {}\n", super::visible(&verdict));
        out += &status.findings.iter().map(finding).collect::<String>();
    }
    out
}

fn counted(findings: i64) -> String {
    format!("{findings} finding{}", if findings == 1 { "" } else { "s" })
}

/// `    src/a.rs:12 high: text`
fn finding(finding: &Finding) -> String {
    let line = finding.line.map(|line| format!(":{line}")).unwrap_or_default();
    let repository = finding.repository.as_ref().map(|name| format!("{name}: ")).unwrap_or_default();
    let severity = format!("{:?}", finding.severity).to_lowercase();
    let text = format!("{repository}{}{line} {severity}: {}", finding.file, finding.text.trim());
    super::visible(&text)
        .lines()
        .enumerate()
        .map(|(n, line)| format!("{}{line}\n", " ".repeat(4 + 2 * usize::from(n > 0))))
        .collect()
}

fn merges(merges: &[Merge], now: Timestamp) -> String {
    let mut rows = Vec::new();
    for merge in merges {
        let status = merge.status.clone().unwrap_or_default();
        let ended = status.finished_at.as_ref().map(|at| age::since(at.0, now));
        let why = if status.phase == MergePhase::Merged { None } else { status.message };
        rows.push(vec![
            merge.metadata.name.clone().unwrap_or_default(),
            format!("{:?}", status.phase),
            status.reason.clone().unwrap_or_else(|| "-".to_owned()),
            ended.unwrap_or_else(|| "-".to_owned()),
            age::excerpt(&why.unwrap_or_default(), 70),
        ]);
    }
    table(&["MERGE", "PHASE", "REASON", "ENDED", "WHY"], rows, 2)
}

/// When it came into which phase, and how long it stayed.
fn way(status: &TicketStatus, now: Timestamp) -> String {
    let mut rows = Vec::new();
    for (number, step) in status.transitions.iter().enumerate() {
        let until = status.transitions.get(number + 1).map(|next| next.at.0);
        let until = until.or((!step.phase.is_terminal()).then_some(now));
        let stayed = until.map(|until| age::seconds(until.duration_since(step.at.0).as_secs_f64().max(0.0)));
        rows.push(vec![
            format!("{:?}", step.phase),
            step.reason.clone().unwrap_or_default(),
            step.at.0.strftime("%Y-%m-%d %H:%M:%S UTC").to_string(),
            stayed.unwrap_or_else(|| "-".to_owned()),
        ]);
    }
    table(&["PHASE", "REASON", "AT", "FOR"], rows, 2)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn of<T: serde::de::DeserializeOwned>(kind: &str, name: &str, spec: Value, status: Value) -> T {
        let object = json!({"apiVersion": "gcluster.dev/v1alpha1", "kind": kind, "spec": spec, "status": status,
            "metadata": {"name": name, "namespace": "default", "creationTimestamp": "2026-01-02T03:00:00Z"}});
        serde_json::from_value(object).unwrap()
    }

    #[test]
    fn the_whole_story_is_told() {
        let ticket: Ticket = of(
            "Ticket",
            "t-7",
            json!({"title": "Add avatars", "description": "Round ones.\n", "priority": 1, "locks": ["ui"], "dependsOn": ["t-1"],
                "decision": {"verdict": "SendBack", "text": "smaller", "by": "anna", "at": "2026-01-02T03:30:00Z"}}),
            json!({"phase": "Merging", "reason": "Queued", "message": "t-6 is before it", "since": "2026-01-02T03:50:00.000000Z",
                "pool": "team", "worker": 2, "branch": "agent-2/feat-t-7", "round": 3, "attempts": 1, "reviewRounds": 2,
                "conflicts": 1, "summary": "It draws.\nTested.", "feedback": "Mend it.", "observedDecision": "2026-01-02T03:30:00Z",
                "changes": [{"repository": "app", "commit": "0123456789abcdef", "commits": 2, "files": 3, "insertions": 40, "deletions": 1}],
                "usage": {"iterations": 4, "tokens": 12000, "costUSD": 1.5, "agents": {"t-7-work-1": {"iterations": 1, "costUSD": 0.5}}},
                "transitions": [{"phase": "Working", "reason": "Taken", "at": "2026-01-02T03:00:00.000000Z"},
                    {"phase": "Merging", "reason": "Queued", "at": "2026-01-02T03:50:00.000000Z"}]}),
        );
        let agents = [of(
            "Agent",
            "t-7-work-3",
            json!({"definition": "x"}),
            json!({"reason": "Completed", "message": "done"}),
        )];
        let checks = [of(
            "Check",
            "app-0123456789ab",
            json!({"repository": "app", "commit": "0123456789abcdef"}),
            json!({"phase": "Failed", "reason": "ExitCode", "output": "one\ntwo\n"}),
        )];
        let reviews = [of(
            "Review",
            "t-7-review-1",
            json!({"ticket": "t-7", "round": 1, "workspace": "t-7", "changes": []}),
            json!({"phase": "Done", "verdict": "ChangesRequested", "count": 1,
                "findings": [{"file": "a.rs", "line": 3, "severity": "high", "text": "leaks\nbadly"}]}),
        )];
        let merges = [of(
            "Merge",
            "t-7-merge-2",
            json!({"ticket": "t-7", "repositories": []}),
            json!({"phase": "Queued", "reason": "Queued", "message": "t-6 is before it"}),
        )];
        let around = Around {
            agents: &agents,
            checks: &checks,
            reviews: &reviews,
            merges: &merges,
            workspace: None,
            events: &[],
        };
        let now: Timestamp = "2026-01-02T04:00:00Z".parse().unwrap();
        crate::testing::snapshot("describe-ticket", &describe(&ticket, around, now));
    }

    #[test]
    fn a_ticket_that_nobody_has_looked_at_yet_is_waiting() {
        let ticket: Ticket = of("Ticket", "t-1", json!({"title": "x"}), json!(null));
        let text = describe(&ticket, Around::default(), "2026-01-02T04:00:00Z".parse().unwrap());
        assert!(text.contains("Phase:") && text.contains("Waiting"), "{text}");
    }
}
