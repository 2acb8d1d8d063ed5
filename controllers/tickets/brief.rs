//! What workers are told: the ticket, what came before it, and why work begins again.

use std::fmt::Write as _;

use gcluster_types::kinds::check::CheckStatus;
use gcluster_types::kinds::review::{Finding, Severity};
use gcluster_types::kinds::ticket::{TicketChange, TicketPhase};
use gcluster_types::{Workspace, WorkspaceStatus};

use super::advance::Scene;
use super::snapshot::phase;
use crate::report::shortened;

/// Longest summary of a worker, in characters: the end of what it said.
const SUMMARY: usize = 2_000;
/// Longest part of a check's output, in characters.
const OUTPUT: usize = 6_000;

/// The whole prompt of a worker.
pub(super) fn prompt(scene: &Scene<'_>, workspace: &Workspace, feedback: Option<&str>) -> String {
    let ticket = scene.ticket;
    let empty = WorkspaceStatus::default();
    let status = workspace.status.as_ref().unwrap_or(&empty);
    let branch = &workspace.spec.branch;
    let id = ticket.spec.ticket_id.as_deref().unwrap_or(&scene.name);
    let mut text = format!("You work on the ticket {id}: {}\n", ticket.spec.title);
    let description = ticket.spec.description.trim();
    if !description.is_empty() {
        let _ = write!(text, "\n{description}\n");
    }
    if let Some(feedback) = feedback.map(str::trim).filter(|feedback| !feedback.is_empty()) {
        let _ = write!(
            text,
            "\n# This is not the first round\n\nWhat was made before is on your branch. It is not finished:\n\n{feedback}\n"
        );
    }
    let before = dependencies(scene);
    if !before.is_empty() {
        let _ = write!(
            text,
            "\n# What it builds upon\n\nThese tickets are merged; your branch has what they made.\n\n{before}"
        );
    }
    let _ = write!(text, "\n# How to work\n\n");
    match &status.repositories[..] {
        [] => {}
        [one] => {
            let _ = writeln!(
                text,
                "- You are in a git worktree of your own, on the branch `{branch}`, made from `{}`.",
                one.base
            );
        }
        several => {
            let _ = writeln!(
                text,
                "- You have a git worktree of your own of each repository, on the branch `{branch}`:"
            );
            for checkout in several {
                let _ = writeln!(
                    text,
                    "  - {}: {} (made from `{}`)",
                    checkout.name, checkout.path, checkout.base
                );
            }
        }
    }
    let base = status.repositories.first().map_or("main", |checkout| checkout.base.as_str());
    let _ = write!(
        text,
        "- Commit all that belongs to the ticket, in commits that stand on their own. Committing is delivering: nothing has to be
  pushed. What is not committed is not delivered, so end with a clean `git status`.
- Change no other branch. To take in what others merged meanwhile: `git rebase {base}`.
- Run the tests of the project before you end; `./ci.sh`, where it is there, decides whether the change is taken.
- Do what the ticket asks and no more. End with a short summary of what you made, for those who build upon it.
"
    );
    let extra = scene.pool.prompt.trim();
    if !extra.is_empty() {
        let _ = write!(text, "\n# What holds for every ticket here\n\n{extra}\n");
    }
    text
}

/// Branches, commits and summaries of what the ticket depends on.
fn dependencies(scene: &Scene<'_>) -> String {
    let mut text = String::new();
    for name in &scene.ticket.spec.depends_on {
        let Some(other) = scene.seen.tickets.get(name).filter(|other| phase(other) == TicketPhase::Merged)
        else {
            continue;
        };
        let status = other.status.clone().unwrap_or_default();
        let _ = write!(text, "- {name}: {}", other.spec.title);
        if let Some(branch) = &status.branch {
            let _ = write!(text, " (branch `{branch}`");
            for change in status.changes.iter().filter(|change| change.commits > 0) {
                let commit: String = change.commit.chars().take(12).collect();
                let _ = write!(text, ", commit {commit} of {}", change.repository);
            }
            text.push(')');
        }
        text.push('\n');
        if let Some(summary) = &status.summary {
            let lines: Vec<String> = summary.lines().map(|line| format!("  {line}")).collect();
            let _ = writeln!(text, "{}", lines.join("\n").trim_end());
        }
    }
    text
}

/// The end of a worker's last answer; none when it said nothing.
pub(super) fn summary(answer: &str) -> Option<String> {
    let text = tail(answer.trim(), SUMMARY);
    (!text.is_empty()).then_some(text)
}

pub(super) fn failed(why: &str) -> String {
    format!(
        "The worker before you did not come to an end: {}\n\nLook at what is there and go on from it.",
        shortened(why, 2_000)
    )
}

pub(super) fn not_committed(places: &[String]) -> String {
    format!(
        "The worker before you left work that is not committed: {}.\n\nLook at it with `git status` and `git diff`. Commit what belongs to the ticket, \
         throw away what does not, and put into `.gitignore` what is made by tools.",
        places.join(", ")
    )
}

pub(super) fn no_commit(branch: &str) -> String {
    format!(
        "The worker before you made no commit on `{branch}`.\n\nDo what the ticket asks and commit it. If there is truly nothing to change, say why in \
         your last answer."
    )
}

pub(super) fn red_check(name: &str, change: &TicketChange, status: &CheckStatus) -> String {
    let why = status.message.as_deref().or(status.reason.as_deref()).unwrap_or("it failed");
    let commit: String = change.commit.chars().take(12).collect();
    let mut text =
        format!("The check {name} of commit {commit} is red: {why}\n\nMend what it found and commit.");
    let output = tail(status.output.trim_end(), OUTPUT);
    if !output.is_empty() {
        let _ = write!(text, " The end of what it printed:\n\n```\n{}\n```", output.replace("```", "'''"));
    }
    if let Some(log) = &status.log {
        let _ = write!(text, "\n\nAll of it: {log}");
    }
    text
}

pub(super) fn findings(floor: Severity, findings: &[Finding]) -> String {
    let mut text = "A reviewer read the change and asks for these to be put right, the worst first. Commit what you change. If one of them is wrong, \
                    leave it and say why in your last answer.\n"
        .to_owned();
    let mut all: Vec<&Finding> = findings.iter().filter(|finding| finding.severity >= floor).collect();
    all.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
    for finding in all {
        let place = match (&finding.repository, finding.line) {
            (Some(repository), Some(line)) => format!("{repository}: {}:{line}", finding.file),
            (Some(repository), None) => format!("{repository}: {}", finding.file),
            (None, Some(line)) => format!("{}:{line}", finding.file),
            (None, None) => finding.file.clone(),
        };
        let severity = finding.severity.word();
        let _ = write!(text, "\n- {place} ({severity}): {}", finding.text.trim().replace('\n', "\n  "));
    }
    text
}

pub(super) fn rejected(reason: &str, why: &str, brief: Option<&str>) -> String {
    let mut text = format!("The change could not be merged: {why}");
    if let Some(brief) = brief {
        let _ = write!(text, "\n\n{}", brief.trim());
    } else if reason == "BranchMoved" {
        text += "\n\nThe branch has commits that were neither tested nor reviewed. Make sure that all of it belongs to the ticket and works.";
    }
    text
}

/// The last characters of a text, from the beginning of a line where that is near.
fn tail(text: &str, most: usize) -> String {
    let count = text.chars().count();
    if count <= most {
        return text.to_owned();
    }
    let end: String = text.chars().skip(count - most).collect();
    match end.split_once('\n') {
        Some((cut, rest)) if cut.len() < most / 4 => format!("…\n{rest}"),
        _ => format!("…{end}"),
    }
}
