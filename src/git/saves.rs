//! Saves: what is in a worktree while somebody works in it, put by every now and then.
//!
//! ```text
//! refs/gcluster/saves/… ─▶ the newest save     its reflog ─▶ the ones before
//! ```
//!
//! A save is a snapshot that does without what takes long. So a worktree that somebody deletes, with a program or by
//! mistake, is there as it was a moment before, and so is a file that the worker itself has deleted.

use std::fs;
use std::path::Path;

use crate::snapshot::{Snapshot, taken};
use crate::{Git, Result, worktree};

/// What a save is called.
pub(crate) const SUBJECT: &str = "as it was saved while it was worked on";
/// Saves that are kept with a worktree that is removed.
const KEPT: usize = 48;

/// What was put by at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Save {
    /// The hidden commit.
    pub commit: String,
    /// When, in seconds since 1970.
    pub at: i64,
    /// How many files differed from the tip of the branch.
    pub files: i64,
}

/// Saves what is in the worktree at `path` now, under `reference`. None when there is neither a worktree nor a branch.
///
/// # Errors
/// When something of it cannot be stored, such as a file that changes all the time.
pub async fn save(hub: &Git, path: &Path, branch: &str, reference: &str) -> Result<Option<Snapshot>> {
    if !path.is_dir() {
        return Ok(None);
    }
    taken(hub, path, branch, reference, None).await
}

/// The saves under a ref of the hub, the newest first. They are read without git.
pub fn list(hub: &Path, reference: &str) -> Vec<Save> {
    let log = fs::read_to_string(hub.join("logs").join(reference)).unwrap_or_default();
    log.lines().rev().filter_map(parse).collect()
}

/// The saves that were kept with a snapshot, the newest first.
///
/// # Errors
/// When it is not there.
pub async fn kept(hub: &Git, snapshot: &str) -> Result<Vec<Save>> {
    let format = "--format=%H %ct %s";
    let parents = format!("{snapshot}^@");
    let listed = hub.text(["log", "--no-walk=unsorted", format, "--end-of-options", &parents, "--"]).await?;
    let mut saves = Vec::new();
    for line in listed.lines().filter(|line| line.ends_with(SUBJECT)) {
        let mut words = line.split(' ');
        let (Some(commit), Some(at)) = (words.next(), words.next()) else { continue };
        let tip = crate::contents(hub, commit).await?.tip;
        let files = match worktree::commit(hub, &tip).await? {
            Some(tip) => crate::statistics(hub, &tip, commit).await?.files,
            None => 0,
        };
        saves.push(Save { commit: commit.to_owned(), at: at.parse().unwrap_or_default(), files });
    }
    Ok(saves)
}

/// Forgets the saves under a ref.
///
/// # Errors
/// When git cannot write.
pub async fn forget(hub: &Git, reference: &str) -> Result<()> {
    if worktree::commit(hub, reference).await?.is_some() {
        hub.text(["update-ref", "-d", reference]).await?;
    }
    Ok(())
}

/// How many files were saved, as the reflog says it.
pub(crate) fn told(files: i64) -> String {
    format!("gcluster: {files} files")
}

/// A line of a reflog: `OLD NEW NAME <ADDRESS> SECONDS ZONE\tMESSAGE`.
fn parse(line: &str) -> Option<Save> {
    let (who, message) = line.split_once('\t')?;
    let commit = who.split(' ').nth(1)?.to_owned();
    let at = who.rsplit(' ').nth(1)?.parse().ok()?;
    let files = message.split(' ').nth(1).and_then(|files| files.parse().ok()).unwrap_or_default();
    Some(Save { commit, at, files })
}

/// The commits of the newest saves.
pub(crate) fn distinct(saves: &[Save]) -> Vec<String> {
    saves.iter().take(KEPT).map(|save| save.commit.clone()).collect()
}

#[cfg(test)]
#[path = "saves_tests.rs"]
mod tests;
