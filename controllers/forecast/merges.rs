//! What is known of pairs of commits, and finding out what is not.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;
use std::time::{Duration, Instant};

use futures::StreamExt;
use gcluster_git::{Git, MergeTree, changed_files, merge_tree};

use super::plan::{Group, Pair, overlap, pairs};
use crate::mirror::Key;

/// Gits that run at once: this is work in the background.
const AT_ONCE: usize = 2;
/// How many are begun before the time is looked at.
const STRIDE: usize = 16;
/// How long one look goes on finding out. The next one goes on, with what has moved meanwhile.
const BUDGET: Duration = Duration::from_secs(1);

/// What was found out.
#[derive(Default)]
pub(crate) struct Memory {
    pub(crate) known: BTreeMap<Pair, Vec<String>>,
    /// The files that a branch changes, by repository and tip.
    files: HashMap<(Key, String), BTreeSet<String>>,
    /// Merges that were really tried; for tests.
    pub(crate) tried: usize,
}

/// How far a look came.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Learned {
    /// Some pair could not be looked at.
    pub(crate) failed: bool,
    /// There was more to find out than there was time.
    pub(crate) more: bool,
}

impl Memory {
    /// Finds out about pairs that are not known yet, for about a second, and forgets those that do not matter any more.
    pub(crate) async fn learn(&mut self, groups: &BTreeMap<Key, Group>) -> Learned {
        let begun = Instant::now();
        let wanted = pairs(groups);
        self.known.retain(|pair, _| wanted.contains(pair));
        let mut learned = self.learn_files(groups, begun).await;
        if learned.more {
            return learned;
        }
        let mut open = Vec::new();
        for pair in wanted.into_iter().filter(|pair| !self.known.contains_key(pair)).collect::<Vec<_>>() {
            let of = |commit: &String| self.files.get(&(pair.repository.clone(), commit.clone()));
            match (of(&pair.one), of(&pair.other)) {
                (Some(one), Some(other)) if !overlap(one, other) => drop(self.known.insert(pair, Vec::new())),
                _ => open.push(pair),
            }
        }
        let scratches: BTreeMap<&Key, Scratch> =
            groups.iter().map(|(key, group)| (key, Scratch::new(&group.hub))).collect();
        for some in open.chunks(STRIDE) {
            if begun.elapsed() > BUDGET {
                learned.more = true;
                break;
            }
            self.tried += some.len();
            let merges = some.iter().filter_map(|pair| {
                let git = scratches.get(&pair.repository)?.git.clone();
                Some(async move { (collisions(&git, pair).await, pair.clone()) })
            });
            let mut merges = futures::stream::iter(merges.collect::<Vec<_>>()).buffer_unordered(AT_ONCE);
            while let Some((found, pair)) = merges.next().await {
                match found {
                    Ok(files) => drop(self.known.insert(pair, files)),
                    Err(error) => {
                        tracing::debug!(%error, "two branches cannot be merged for a look");
                        learned.failed = true;
                    }
                }
            }
        }
        learned
    }

    /// Finds out which files each branch changes.
    async fn learn_files(&mut self, groups: &BTreeMap<Key, Group>, begun: Instant) -> Learned {
        let mut tips: BTreeSet<(Key, String)> = BTreeSet::new();
        for (repository, group) in groups {
            tips.extend(group.branches.iter().map(|branch| (repository.clone(), branch.commit.clone())));
        }
        self.files.retain(|tip, _| tips.contains(tip));
        let unknown: Vec<_> = tips.into_iter().filter(|tip| !self.files.contains_key(tip)).collect();
        let mut learned = Learned::default();
        for some in unknown.chunks(STRIDE) {
            if begun.elapsed() > BUDGET {
                learned.more = true;
                break;
            }
            let looks = some.iter().filter_map(|tip| {
                let group = groups.get(&tip.0)?;
                let base = group.base_commit.clone().unwrap_or_else(|| format!("refs/heads/{}", group.base));
                let git = Git::new(Path::new(&group.hub));
                Some(async move { (changed_files(&git, &base, &tip.1).await, tip.clone()) })
            });
            let mut looks = futures::stream::iter(looks.collect::<Vec<_>>()).buffer_unordered(AT_ONCE);
            while let Some((found, tip)) = looks.next().await {
                match found {
                    Ok(files) => drop(self.files.insert(tip, files.into_iter().collect())),
                    Err(error) => {
                        tracing::debug!(%error, "the files of a branch cannot be told");
                        learned.failed = true;
                    }
                }
            }
        }
        learned
    }
}

/// A place for the objects of merges that are only tried, so that the hub does not fill up with them.
struct Scratch {
    git: Git,
    folder: std::path::PathBuf,
}

impl Scratch {
    fn new(hub: &str) -> Scratch {
        let hub = Path::new(hub);
        let folder = hub.join("gcluster").join("forecast");
        let git = Git::new(hub);
        // Without it the hub itself is written into, which does no harm.
        let git = match std::fs::create_dir_all(&folder) {
            Ok(()) => git
                .env("GIT_OBJECT_DIRECTORY", &folder.to_string_lossy())
                .env("GIT_ALTERNATE_OBJECT_DIRECTORIES", &hub.join("objects").to_string_lossy()),
            Err(_) => git,
        };
        Scratch { git, folder }
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What cannot be removed is removed by the next look.
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

async fn collisions(git: &Git, pair: &Pair) -> gcluster_git::Result<Vec<String>> {
    Ok(match merge_tree(git, &pair.one, &pair.other).await? {
        MergeTree::Clean { .. } => Vec::new(),
        MergeTree::Conflict { files, .. } => files,
    })
}
