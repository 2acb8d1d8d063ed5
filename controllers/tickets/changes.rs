//! What a worker made, read off its workspace.

use gcluster_types::kinds::ticket::TicketChange;
use gcluster_types::{Workspace, WorkspaceStatus};

use super::brief;

/// What was made in each repository, as far as it was looked at.
pub(super) fn of(workspace: &Workspace) -> Vec<TicketChange> {
    let empty = WorkspaceStatus::default();
    let checkouts = &workspace.status.as_ref().unwrap_or(&empty).repositories;
    let change = |checkout: &gcluster_types::kinds::workspace::Checkout| TicketChange {
        repository: checkout.name.clone(),
        start: checkout.start.clone(),
        commit: checkout.commit.clone(),
        commits: checkout.ahead,
        files: checkout.files,
        insertions: checkout.insertions,
        deletions: checkout.deletions,
    };
    checkouts.iter().map(change).collect()
}

/// Those with something to deliver.
pub(super) fn with_commits(changes: &[TicketChange]) -> impl Iterator<Item = &TicketChange> {
    changes.iter().filter(|change| change.commits > 0)
}

/// Why what is in a workspace cannot be delivered: reason, sentence and what the worker is told.
pub(super) fn unfinished(workspace: &Workspace) -> Option<(&'static str, String, String)> {
    let empty = WorkspaceStatus::default();
    let checkouts = &workspace.status.as_ref().unwrap_or(&empty).repositories;
    let dirty: Vec<_> = checkouts.iter().filter(|checkout| checkout.dirty > 0).collect();
    if !dirty.is_empty() {
        let places: Vec<String> = dirty
            .iter()
            .map(|checkout| format!("{} in {}", count(checkout.dirty, "file"), checkout.name))
            .collect();
        let message = format!("its worker ended with work that is not committed: {}", places.join(", "));
        return Some(("NotCommitted", message, brief::not_committed(&places)));
    }
    if checkouts.iter().all(|checkout| checkout.ahead == 0) {
        let message = "its worker ended without a commit".to_owned();
        return Some(("NoCommit", message, brief::no_commit(&workspace.spec.branch)));
    }
    None
}

/// `3 commits, 2 files +10 -4`
pub(super) fn told(changes: &[TicketChange]) -> String {
    let sum = |of: fn(&TicketChange) -> i64| changes.iter().map(of).sum::<i64>();
    let (commits, files) = (count(sum(|c| c.commits), "commit"), count(sum(|c| c.files), "file"));
    format!("{commits}, {files} +{} -{}", sum(|c| c.insertions), sum(|c| c.deletions))
}

/// `1 file`, `2 files`
pub(super) fn count(number: i64, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}
