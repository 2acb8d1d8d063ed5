//! What was made for a ticket, as a diff: read with git from the hubs and workspaces, where they are on this machine.

use std::path::Path;

use gcluster_git::patch::{self, Diff};
use gcluster_git::{Git, Hub};
use gcluster_types::kinds::GROUP;
use gcluster_types::kinds::ticket::{TicketChange, TicketPhase, TicketStatus};
use gcluster_types::{Merge, Repository, Ticket, Workspace};
use serde::de::DeserializeOwned;

use crate::client::{Connection, JSON, escape};
use crate::exit::{Failure, Kind, Result};

/// Bytes of text of one repository.
const LIMIT: usize = 2 << 20;
/// Files that are named.
const NAMED: usize = 40;

/// The changes of a ticket: of each repository what is committed, then what is in its worktree and not committed yet.
/// Lines that are no part of a diff begin with `#`.
///
/// # Errors
/// When the ticket is not there or the master cannot be reached. What git says is part of the text.
pub(crate) async fn of_ticket(connection: &Connection, namespace: &str, name: &str) -> Result<String> {
    let base = format!("/apis/{GROUP}/v1alpha1/namespaces/{}", escape(namespace));
    let at = |plural: &str, name: &str| format!("{base}/{plural}/{}", escape(name));
    let Some(ticket) = one::<Ticket>(connection, &at("tickets", name)).await? else {
        return Err(Failure::new(
            Kind::NotFound,
            format!("there is no ticket {name} in namespace {namespace}"),
        )
        .hint("`gcluster ticket list` lists the tickets of this namespace"));
    };
    let status = ticket.status.unwrap_or_default();
    let merge = match &status.merge {
        Some(merge) => one::<Merge>(connection, &at("merges", merge)).await?,
        None => None,
    };
    let workspace = match &status.workspace {
        Some(workspace) => one::<Workspace>(connection, &at("workspaces", workspace)).await?,
        None => None,
    };
    let mut out = String::new();
    for change in status.changes.iter().filter(|change| !change.commit.is_empty()) {
        let Some(repository) = one::<Repository>(connection, &at("repositories", &change.repository)).await?
        else {
            out.push_str(&format!("# {}: the repository is gone\n", change.repository));
            continue;
        };
        let range = range(change, &status, &repository, merge.as_ref());
        out.push_str(&committed(change, &status, &repository, range).await);
        let checkouts = workspace.iter().filter_map(|workspace| workspace.status.as_ref());
        let mut checkouts = checkouts.flat_map(|status| &status.repositories);
        if let Some(checkout) = checkouts.find(|checkout| checkout.name == change.repository) {
            out.push_str(&uncommitted(Path::new(&checkout.path)).await);
        }
    }
    if out.is_empty() {
        out = format!("# nothing was made for {name} yet\n");
    }
    Ok(out)
}

async fn one<T: DeserializeOwned>(connection: &Connection, path: &str) -> Result<Option<T>> {
    match connection.get(path, JSON).await {
        Ok(found) => serde_json::from_value(found).map(Some).map_err(|error| {
            Failure::failed(format!("the master answered with an object of an unknown shape: {error}"))
        }),
        Err(failure) if failure.kind == Kind::NotFound => Ok(None),
        Err(failure) => Err(failure),
    }
}

/// From where to where: of what is merged as it went into the base, else since the branch left the base.
fn range(
    change: &TicketChange,
    status: &TicketStatus,
    repository: &Repository,
    merge: Option<&Merge>,
) -> (String, String) {
    if status.phase != TicketPhase::Merged {
        return (format!("refs/heads/{}", repository.spec.base), change.commit.clone());
    }
    let merged = merge.and_then(|merge| merge.status.as_ref());
    let mut steps = merged.iter().flat_map(|status| &status.repositories);
    let step = steps.find(|step| step.name == change.repository);
    match step.map(|step| (&step.onto, &step.rebased)) {
        Some((Some(onto), Some(rebased))) => (onto.clone(), rebased.clone()),
        // What went in under another name is its own commit in the base.
        _ => (format!("{}^", change.commit), change.commit.clone()),
    }
}

async fn committed(
    change: &TicketChange,
    status: &TicketStatus,
    repository: &Repository,
    (from, to): (String, String),
) -> String {
    let name = &change.repository;
    let what = match change.commits {
        0 => "no commit yet".to_owned(),
        1 => "1 commit".to_owned(),
        n => format!("{n} commits"),
    };
    let branch = status.branch.as_deref().map(|branch| format!(" of {branch}")).unwrap_or_default();
    let mut out = format!("# {name}: {what}{branch}\n");
    if change.commits == 0 {
        return out;
    }
    let hub = repository.status.as_ref().and_then(|status| status.hub.clone()).unwrap_or_default();
    if !Path::new(&hub).is_dir() {
        return out
            + &format!("# its hub is not on this machine: run `git -C {hub} diff {from}...{to}` there\n");
    }
    match patch::diff(&Hub::new(Path::new(&hub), "diff").git(), &from, &to, LIMIT).await {
        Ok(Diff { text, left_out, .. }) => {
            out.push_str(&text);
            for file in left_out {
                out.push_str(&format!(
                    "# {} is too long to be shown: +{} -{}\n",
                    file.file, file.added, file.deleted
                ));
            }
        }
        Err(error) => out.push_str(&commented(&error.to_string())),
    }
    out
}

async fn uncommitted(worktree: &Path) -> String {
    if !worktree.is_dir() {
        return String::new();
    }
    match patch::uncommitted(&Git::new(worktree), LIMIT).await {
        Ok((text, unknown)) if text.is_empty() && unknown.is_empty() => String::new(),
        Ok((text, unknown)) => {
            let mut out = format!("# not committed, in {}\n{text}", worktree.display());
            for file in unknown.iter().take(NAMED) {
                out.push_str(&format!("# new: {file}\n"));
            }
            if let Some(more @ 1..) = unknown.len().checked_sub(NAMED) {
                out.push_str(&format!("# and {more} more new files\n"));
            }
            out
        }
        Err(error) => commented(&error.to_string()),
    }
}

fn commented(text: &str) -> String {
    text.lines().map(|line| format!("# {line}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_merged_is_shown_as_it_went_in_and_the_rest_since_it_left_the_base() {
        let change =
            TicketChange { repository: "app".into(), commit: "tip".into(), ..TicketChange::default() };
        let repository: Repository = serde_json::from_value(json!({
            "metadata": {"name": "app"}, "spec": {"path": "/x", "base": "trunk"}}))
        .unwrap();
        let mut merge: Merge = serde_json::from_value(json!({
            "metadata": {"name": "t-1-merge-1"}, "spec": {"ticket": "t-1", "repositories": [], "priority": 3},
            "status": {"phase": "Merged", "repositories": [{"name": "app", "onto": "old", "rebased": "new"}]}}))
        .unwrap();
        let mut status = TicketStatus { phase: TicketPhase::Checking, ..TicketStatus::default() };
        let told = |status: &TicketStatus, merge: &Merge| range(&change, status, &repository, Some(merge));
        assert_eq!(told(&status, &merge), ("refs/heads/trunk".into(), "tip".into()));
        status.phase = TicketPhase::Merged;
        assert_eq!(told(&status, &merge), ("old".into(), "new".into()));
        merge.status = None;
        assert_eq!(told(&status, &merge), ("tip^".into(), "tip".into()));
    }
}
