//! What is known of pairs of commits, and finding out what is not.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;

use futures::StreamExt;
use gcluster_git::{Git, MergeTree, changed_files, merge_tree};

use super::plan::{Group, Pair, overlap, pairs};
use crate::mirror::Key;

/// Merges that are tried at once: this is work in the background.
const AT_ONCE: usize = 2;

/// What was found out.
#[derive(Default)]
pub(crate) struct Memory {
    pub(crate) known: BTreeMap<Pair, Vec<String>>,
    /// The files that a branch changes, by repository and tip.
    files: HashMap<(Key, String), BTreeSet<String>>,
    /// Merges that were really tried; for tests.
    pub(crate) tried: usize,
}

impl Memory {
    /// Finds out about every pair that is not known yet, and forgets those that do not matter any more. True when a
    /// pair could not be looked at.
    pub(crate) async fn learn(&mut self, groups: &BTreeMap<Key, Group>) -> bool {
        let wanted = pairs(groups);
        self.known.retain(|pair, _| wanted.contains(pair));
        let mut tips: BTreeSet<(Key, String)> = BTreeSet::new();
        for (repository, group) in groups {
            tips.extend(group.branches.iter().map(|branch| (repository.clone(), branch.commit.clone())));
        }
        self.files.retain(|tip, _| tips.contains(tip));
        let mut failed = false;
        for tip in tips {
            let Some(group) = groups.get(&tip.0).filter(|_| !self.files.contains_key(&tip)) else { continue };
            let base = group.base_commit.clone().unwrap_or_else(|| format!("refs/heads/{}", group.base));
            match changed_files(&git(group), &base, &tip.1).await {
                Ok(files) => drop(self.files.insert(tip, files.into_iter().collect())),
                Err(error) => {
                    tracing::debug!(%error, "the files of a branch cannot be told");
                    failed = true;
                }
            }
        }
        let mut open = Vec::new();
        for pair in wanted.into_iter().filter(|pair| !self.known.contains_key(pair)).collect::<Vec<_>>() {
            let of = |commit: &String| self.files.get(&(pair.repository.clone(), commit.clone()));
            match (of(&pair.one), of(&pair.other)) {
                (Some(one), Some(other)) if !overlap(one, other) => drop(self.known.insert(pair, Vec::new())),
                _ => open.push(pair),
            }
        }
        self.tried += open.len();
        let merges = open.into_iter().filter_map(|pair| {
            let git = git(groups.get(&pair.repository)?);
            Some(async move { (collisions(&git, &pair).await, pair) })
        });
        let mut merges = futures::stream::iter(merges.collect::<Vec<_>>()).buffer_unordered(AT_ONCE);
        while let Some((found, pair)) = merges.next().await {
            match found {
                Ok(files) => drop(self.known.insert(pair, files)),
                Err(error) => {
                    tracing::debug!(%error, "two branches cannot be merged for a look");
                    failed = true;
                }
            }
        }
        failed
    }
}

fn git(group: &Group) -> Git {
    Git::new(Path::new(&group.hub))
}

async fn collisions(git: &Git, pair: &Pair) -> gcluster_git::Result<Vec<String>> {
    Ok(match merge_tree(git, &pair.one, &pair.other).await? {
        MergeTree::Clean { .. } => Vec::new(),
        MergeTree::Conflict { files, .. } => files,
    })
}
