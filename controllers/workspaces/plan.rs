//! Whether a workspace is still needed, and why: a pure function of objects and the time.

use std::time::Duration;

use gcluster_types::kinds::repository::Retention;
use gcluster_types::kinds::ticket::TicketPhase;
use gcluster_types::{Ticket, TicketStatus, Workspace, WorkspaceStatus, duration};
use k8s_openapi::jiff::{SignedDuration, Timestamp};

/// How long the workspace of a merged ticket is kept.
const MERGED: &str = "10m";
/// How long that of a ticket that was given up is.
const FAILED: &str = "24h";
/// How long a workspace may wait for its ticket to be created.
const WITHOUT_TICKET: SignedDuration = SignedDuration::from_secs(10);

/// What is to become of a workspace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fate {
    /// It stays.
    Keep {
        /// Why.
        why: String,
        /// When that changes by itself.
        until: Option<Timestamp>,
    },
    /// Nobody needs it.
    Remove {
        /// Why.
        why: String,
    },
}

/// What is to become of a workspace that nobody has deleted.
pub(super) fn fate(
    workspace: &Workspace,
    ticket: Option<&Ticket>,
    retention: &Retention,
    now: Timestamp,
) -> Fate {
    let keep = |why: &str| Fate::Keep { why: why.to_owned(), until: None };
    let status = workspace.status.clone().unwrap_or_default();
    let Some(name) = &workspace.spec.ticket else {
        return keep("it belongs to no ticket; delete it when nobody needs it");
    };
    let is_restored = workspace.spec.restore_from.is_some();
    let Some(ticket) = ticket else {
        if is_restored {
            return keep("restored; delete it when nobody needs it");
        }
        let created = workspace.metadata.creation_timestamp.as_ref().map(|at| at.0);
        return match created.and_then(|at| at.checked_add(WITHOUT_TICKET).ok()).filter(|until| *until > now) {
            Some(until) => Fate::Keep { why: format!("there is no ticket {name} yet"), until: Some(until) },
            None => Fate::Remove { why: format!("the ticket {name} is gone") },
        };
    };
    let of = ticket.status.clone().unwrap_or_default();
    if !of.phase.is_terminal() {
        return keep(&match of.phase.is_in_flight() {
            true => "ticket is at work".to_owned(),
            false => format!("ticket is {}", word(of.phase)),
        });
    }
    let ended = ended_at(&of);
    let ended_since = status.ready_at.as_ref().zip(ended).is_some_and(|(ready, ended)| ended > ready.0);
    if is_restored && !ended_since {
        return keep("restored; delete it when nobody needs it");
    }
    let holds = holds(&status);
    let is_merged = of.phase == TicketPhase::Merged;
    let (set, default) = match is_merged && holds.is_none() {
        true => (&retention.merged, MERGED),
        false => (&retention.failed, FAILED),
    };
    let text = set.as_deref().unwrap_or(default);
    let pause = duration::parse(text).or_else(|| duration::parse(default)).unwrap_or(Duration::MAX);
    let until = ended.and_then(|ended| ended.checked_add(pause).ok());
    let what = match (is_merged, &holds) {
        (true, None) => "merged".to_owned(),
        (true, Some(holds)) => format!("merged, but for {holds}"),
        (false, _) => format!("ticket {}", word(of.phase)),
    };
    match until {
        Some(until) if until <= now => Fate::Remove { why: format!("{what}, and {text} are over") },
        until => Fate::Keep { why: format!("{what}; removed after {text}"), until },
    }
}

/// What a workspace holds that its bases do not have, such as `2 commits, 3 files`; none when there is nothing.
pub(super) fn holds(status: &WorkspaceStatus) -> Option<String> {
    let unmerged = status.repositories.iter().filter(|one| !one.merged);
    let commits: i64 = unmerged.map(|one| one.ahead).sum();
    let files: i64 = status.repositories.iter().map(|one| one.dirty).sum();
    let words: Vec<String> =
        [counted(commits, "commit"), counted(files, "file")].into_iter().flatten().collect();
    (!words.is_empty()).then(|| words.join(", "))
}

/// `1 file`, `2 files`; none of none.
pub(super) fn counted(count: i64, noun: &str) -> Option<String> {
    match count {
        0 => None,
        1 => Some(format!("1 {noun}")),
        more => Some(format!("{more} {noun}s")),
    }
}

fn ended_at(status: &TicketStatus) -> Option<Timestamp> {
    status.finished_at.as_ref().or(status.since.as_ref()).map(|at| at.0)
}

fn word(phase: TicketPhase) -> String {
    format!("{phase:?}").to_lowercase()
}
