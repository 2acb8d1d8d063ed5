//! Saves of what is not committed, while somebody works: from them a folder comes back that an agent has deleted.
//!
//! ```text
//! a look finds edits ─▶ other ones than at the last save? ─▶ its pause over? ─▶ hidden commit, refs/gcluster/saves/NAMESPACE/…
//! ```
//!
//! A pause is as long as saves are expensive: so they take neither the processor nor the disk, whatever workers write.
//! Measured: git's part of looks and saves of ten workspaces with 1,000 files, edited every second, is 3 % of a core.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use gcluster_git::{saves, worktree};
use gcluster_types::Workspace;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::ResourceExt;
use tokio::time::Instant;

use super::place::Place;
use super::reconcile::Shared;
use super::repositories::Source;
use super::trouble::Result;

/// Shortest pause between two saves.
const PAUSE: Duration = Duration::from_secs(10);
/// A pause is so many times as long as the save before it took.
const COSTS: u32 = 30;
/// Bytes that are written anew in each second, on the average.
const RATE: u64 = 100 << 10;
/// Pause after a save that did not succeed.
const FAILED: Duration = Duration::from_secs(60);

/// What is not committed in a worktree, by what is cheap to read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Edits {
    tip: String,
    /// Where HEAD is, and when something was staged or an operation begun.
    state: String,
    /// Sizes in bytes of changed files, and what tells whether they changed again.
    files: BTreeMap<PathBuf, (u64, [i64; 5])>,
}

impl Edits {
    /// Of a worktree in which these files differ from the tip of its branch.
    pub(super) fn of(source: &Source, path: &Path, tip: &str, changed: Vec<PathBuf>) -> Edits {
        let found = worktree::find(&source.hub, path);
        let state = found.record().map(|record| {
            let head = fs::read_to_string(record.join("HEAD")).unwrap_or_default();
            let staged = fs::metadata(record.join("index")).map(|meta| (meta.mtime(), meta.mtime_nsec()));
            format!("{head} {:?}", staged.ok())
        });
        let files = changed.into_iter().map(|name| {
            let meta = fs::symlink_metadata(path.join(&name)).ok();
            let print = meta.map_or((0, [0; 5]), |meta| {
                let inode = meta.ino().cast_signed();
                let times = [meta.mtime(), meta.mtime_nsec(), meta.ctime(), meta.ctime_nsec(), inode];
                (meta.len(), times)
            });
            (name, print)
        });
        Edits { tip: tip.to_owned(), state: state.unwrap_or_default(), files: files.collect() }
    }

    /// Bytes of files that are others than in `before`.
    fn fresh(&self, before: Option<&Edits>) -> u64 {
        let known = |name| before.and_then(|before| before.files.get(name));
        let fresh = self.files.iter().filter(|(name, print)| known(*name) != Some(print));
        fresh.map(|(_, (size, _))| size).sum()
    }
}

/// The saves of one workspace, by repository.
#[derive(Debug, Clone, Default)]
pub(super) struct Saving {
    found: HashMap<String, Arc<Edits>>,
    saved: HashMap<String, Saved>,
}

#[derive(Debug, Clone)]
struct Saved {
    edits: Arc<Edits>,
    at: Instant,
    pause: Duration,
}

impl Saving {
    /// Takes over what a look has found.
    pub(super) fn found(&mut self, repository: &str, edits: Edits) {
        self.found.insert(repository.to_owned(), Arc::new(edits));
    }

    /// What is to be saved now; none when there is nothing, or it is too soon. A worktree in which nothing is changed
    /// any more is saved, too, if `has_saves`: else the one before would be the newest.
    fn due(&self, repository: &str, has_saves: impl Fn() -> bool) -> Option<Arc<Edits>> {
        let found = self.found.get(repository)?;
        let is_clean = found.files.is_empty();
        let is_due = match self.saved.get(repository) {
            None => !is_clean || has_saves(),
            Some(saved) => {
                saved.edits != *found
                    && (!is_clean || saved.edits.tip == found.tip)
                    && saved.at.elapsed() >= saved.pause
            }
        };
        is_due.then(|| found.clone())
    }

    /// How long it is until what was found may be saved; none when there is nothing to save.
    fn wait(&self, repository: &str) -> Option<Duration> {
        let (found, saved) = (self.found.get(repository)?, self.saved.get(repository)?);
        let is_other = saved.edits != *found && (!found.files.is_empty() || saved.edits.tip == found.tip);
        is_other.then(|| saved.pause.saturating_sub(saved.at.elapsed()))
    }

    fn done(&mut self, repository: &str, edits: Arc<Edits>, took: Option<Duration>) {
        let before = self.saved.get(repository).map(|saved| saved.edits.clone());
        let pause = match took {
            None => FAILED,
            Some(took) => pause(took, edits.fresh(before.as_deref())),
        };
        // One that did not succeed is tried again, whatever is found then.
        let edits = if took.is_some() { edits } else { Arc::default() };
        self.saved.insert(repository.to_owned(), Saved { edits, at: Instant::now(), pause });
    }
}

/// How long it is until the next save, by what the last one took and wrote.
fn pause(took: Duration, bytes: u64) -> Duration {
    PAUSE.max(took.saturating_mul(COSTS)).max(Duration::from_secs(bytes / RATE))
}

/// The hidden ref of the saves of a workspace.
pub(super) fn reference(workspace: &Workspace) -> String {
    let namespace = workspace.namespace().unwrap_or_default();
    format!("refs/gcluster/saves/{namespace}/{}", workspace.salvage_name())
}

impl Shared {
    /// Saves what is due, and says when it was. Answers how long it is until there is more to save.
    pub(super) async fn put_by(
        &self,
        workspace: &Workspace,
        place: &Place,
        sources: &[Source],
    ) -> Result<Option<Duration>> {
        let uid = workspace.uid().unwrap_or_default();
        let mut saving = self.looks.saving(&uid);
        let (reference, branch) = (reference(workspace), &workspace.spec.branch);
        let mut saved = Vec::new();
        for (source, (name, path)) in sources.iter().zip(place.worktrees()) {
            let is_full = matches!(&source.keeps_off, Some(("DiskSpace", _)));
            let due = saving.due(&name, || !saves::list(&source.hub, &reference).is_empty());
            let Some(edits) = due.filter(|_| !is_full) else { continue };
            let begun = Instant::now();
            match saves::save(&source.git(), &path, branch, &reference).await {
                Ok(taken) => {
                    saving.done(&name, edits, Some(begun.elapsed()));
                    saved.extend(taken.map(|_| name));
                }
                Err(error) => {
                    saving.done(&name, edits, None);
                    // Somebody works there: what vanishes while it is read is there no more the next time.
                    tracing::info!(workspace = %workspace.name_any(), repository = %name, %error, "not saved");
                }
            }
        }
        let wait = sources.iter().filter_map(|source| saving.wait(&source.name)).min();
        self.looks.saved(&uid, saving);
        if saved.is_empty() {
            return Ok(wait);
        }
        let now = MicroTime(self.ctx.now());
        let told = self.save(workspace, |status| {
            for checkout in status.repositories.iter_mut().filter(|one| saved.contains(&one.name)) {
                checkout.saved_at = Some(now.clone());
            }
        });
        told.await.map(|_| wait)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edits(tip: &str, files: &[(&str, u64, i64)]) -> Edits {
        let files = files.iter().map(|(name, size, at)| (PathBuf::from(name), (*size, [*at; 5])));
        Edits { tip: tip.to_owned(), state: String::new(), files: files.collect() }
    }

    #[test]
    fn only_what_changed_is_saved_and_expensive_saves_are_rare() {
        let mut saving = Saving::default();
        let due = |saving: &Saving, has_saves: bool| saving.due("app", || has_saves).is_some();
        assert!(!due(&saving, true), "nothing was looked at");
        saving.found("app", edits("1", &[]));
        assert!(!due(&saving, false) && due(&saving, true), "only an older save is out of date");
        let first = edits("1", &[("a", 5, 1), ("b", 50, 1)]);
        saving.found("app", first.clone());
        assert!(due(&saving, false));
        saving.done("app", Arc::new(first.clone()), Some(Duration::ZERO));
        let over = |saving: &mut Saving| saving.saved.get_mut("app").unwrap().pause = Duration::ZERO;
        over(&mut saving);
        assert!(!due(&saving, true), "it is saved");
        saving.found("app", edits("1", &[]));
        assert!(due(&saving, true), "it was taken back");
        saving.found("app", edits("2", &[]));
        assert!(!due(&saving, true), "it was committed");
        let second = edits("1", &[("a", 7, 2), ("b", 50, 1), ("c", 1, 1)]);
        saving.found("app", second.clone());
        assert!(due(&saving, true));
        assert_eq!((second.fresh(Some(&first)), second.fresh(None)), (8, 58));
        saving.done("app", Arc::new(second.clone()), None);
        assert!(!due(&saving, true), "not at once after it failed");
        assert!(saving.wait("app").is_some_and(|wait| wait <= FAILED));
        over(&mut saving);
        assert!(due(&saving, true), "but then");

        assert_eq!(pause(Duration::from_millis(80), 4 << 10), PAUSE);
        assert_eq!(pause(Duration::from_secs(2), 4 << 10), Duration::from_secs(60));
        assert_eq!(pause(Duration::from_secs(2), 100 << 20), Duration::from_secs(1_024));
    }
}
