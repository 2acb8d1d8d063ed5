//! All that is in a worktree as one hidden commit, without touching the worktree.
//!
//! ```text
//! snapshot ─┬─ tree: every file as it is, untracked ones too; ignored ones are counted only
//!           ├─ parent: the tip of the branch
//!           ├─ parent: index ── tree: what is staged
//!           │            └─ parent: details ── index · raw · aside · head · stages/
//!           └─ parents: HEAD where it is elsewhere, and commits that only the reflog knows
//! ```
//!
//! Files that differ from the index are stored byte for byte, past all filters. What git cannot hold, such as a
//! repository inside the worktree, is named in `aside` and has to be kept as files.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::salvage::{failed, records, split_at_tab};
use crate::snapshot_files::Stored;
use crate::worktree::{self, Found};
use crate::{Git, Result};

/// How long git may take over large worktrees.
pub(crate) const LIMIT: Duration = Duration::from_secs(1_800);
/// Commits that only the reflog knows, and that are kept.
const LOST: usize = 48;
/// What is said of a file that a filter of git makes from its object.
pub(crate) const FILTERED: &str = "filtered";
/// Settings of people that would change what is stored, or how.
pub(crate) const PLAIN: [&str; 12] = [
    "-c",
    "core.fsmonitor=false",
    "-c",
    "core.untrackedCache=false",
    "-c",
    "core.splitIndex=false",
    "-c",
    "core.protectNTFS=false",
    "-c",
    "core.protectHFS=false",
    "-c",
    "core.bare=false",
];

/// What was taken.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// The hidden commit.
    pub commit: String,
    /// Tip of the branch; empty when there is none.
    pub tip: String,
    /// Files that are not in the tip as they are in the worktree or in the index.
    pub files: i64,
    /// Paths that git cannot hold, relative to the worktree.
    pub aside: Vec<PathBuf>,
    /// Ignored files and folders, which are not kept.
    pub ignored: i64,
    /// True when the folder of the worktree was not there.
    pub folder_gone: bool,
}

/// Takes a snapshot of the worktree at `path`, whose branch is `branch`, and puts `reference` to it. None when there
/// is neither a worktree nor a branch.
///
/// # Errors
/// When something of it cannot be stored; then nothing may be removed.
pub async fn take(hub: &Git, path: &Path, branch: &str, reference: &str) -> Result<Option<Snapshot>> {
    let found = worktree::find(hub.directory(), path);
    let tip = worktree::tip(hub, branch).await?;
    let folder_gone = !path.is_dir();
    if tip.is_none() && found == Found::Nothing {
        return Ok(None);
    }
    let index = hub.directory().join("gcluster").join(format!("{}.index", reference.replace('/', "-")));
    if let Some(parent) = index.parent() {
        fs::create_dir_all(parent).map_err(|error| failed(hub, "make a folder for an index", error))?;
    }
    let taking = Taking { hub, path, record: found.record(), tip: tip.as_deref(), index: &index };
    let taken = taking.take(branch, reference, folder_gone).await;
    for leftover in ["index", "index.lock", "stages", "stages.lock"].map(|end| index.with_extension(end)) {
        // Whatever became of it, it is no part of anything.
        let _ = fs::remove_file(leftover);
    }
    taken.map(Some)
}

pub(crate) struct Taking<'a> {
    pub(crate) hub: &'a Git,
    pub(crate) path: &'a Path,
    record: Option<&'a Path>,
    tip: Option<&'a str>,
    /// A copy of the index, which is changed freely.
    index: &'a Path,
}

impl Taking<'_> {
    async fn take(&self, branch: &str, reference: &str, folder_gone: bool) -> Result<Snapshot> {
        let raw_index = self.copy_index().await?;
        let (index_tree, stages) = self.index_tree().await?;
        let head = self.head(branch);
        let (mut aside, mut stored, mut ignored) = (Vec::new(), Vec::new(), 0);
        let mut tree = index_tree.clone();
        if !folder_gone {
            let mut changes = self.changes(&mut aside).await?;
            let (bent, filtered) = self.bent(&changes.unchanged).await?;
            changes.present.extend(bent);
            stored = self.store(changes.present, &mut aside).await?;
            stored.extend(filtered);
            tree = self.tree(&changes.replaced, &stored).await?;
            ignored = self.ignored().await?;
        }
        aside.sort();
        aside.dedup();
        let details = self.details(raw_index, &stages, &stored, &aside, &head).await?;
        let index_commit = self.commit(&index_tree, &[details], "index of the worktree").await?;
        let tip = self.tip.unwrap_or_default().to_owned();
        let mut parents: Vec<String> = self.tip.iter().map(|tip| (*tip).to_owned()).collect();
        parents.push(index_commit.clone());
        parents.extend(self.lost(branch).await?);
        let message = format!("{branch} as it was\n\nTip: {tip}\nIndex: {index_commit}\n");
        let commit = self.commit(&tree, &parents, &message).await?;
        self.hub.text(["update-ref", reference, &commit]).await?;
        let files = self.differing(&[&tree, &index_tree]).await?;
        let aside = aside.iter().map(|path| PathBuf::from(OsStr::from_bytes(path))).collect();
        Ok(Snapshot { commit, tip, files, aside, ignored, folder_gone })
    }

    /// Git on the copy of the index, in the worktree where that is there.
    pub(crate) fn git(&self) -> Git {
        let dir = self.record.unwrap_or(self.hub.directory());
        let place = if self.path.is_dir() { self.path } else { self.hub.directory() };
        self.hub
            .at(place)
            .limit(LIMIT)
            .env("GIT_DIR", &dir.to_string_lossy())
            .env("GIT_WORK_TREE", &place.to_string_lossy())
            .env("GIT_INDEX_FILE", &self.index.to_string_lossy())
    }

    pub(crate) async fn run(&self, args: &[&str], input: Option<&[u8]>) -> Result<Vec<u8>> {
        let args: Vec<&str> = PLAIN.iter().chain(args).copied().collect();
        self.git().bytes(&args, input).await
    }

    pub(crate) async fn line(&self, args: &[&str], input: Option<&[u8]>) -> Result<String> {
        Ok(String::from_utf8_lossy(&self.run(args, input).await?).trim().to_owned())
    }

    /// Copies the index and stores it as it is. A worktree without one, or with one that git cannot read, is compared
    /// with its tip.
    async fn copy_index(&self) -> Result<Option<String>> {
        let own = self.record.map(|record| record.join("index"));
        let Some(own) = own.filter(|own| own.is_file()) else {
            self.read_tip().await?;
            return Ok(None);
        };
        fs::copy(&own, self.index).map_err(|error| failed(self.hub, "copy the index", error))?;
        let shared = self.record.and_then(|record| fs::read_dir(record).ok()).into_iter().flatten().flatten();
        if shared.into_iter().any(|entry| entry.file_name().to_string_lossy().starts_with("sharedindex.")) {
            self.run(&["update-index", "--no-split-index"], None).await?;
        }
        let file = self.index.to_string_lossy().into_owned();
        let blob = self.line(&["hash-object", "-w", "--no-filters", "--", &file], None).await?;
        if self.git().output(&["ls-files", "-z", "--stage"], None).await?.code != Some(0) {
            self.read_tip().await?;
        }
        Ok(Some(blob))
    }

    async fn read_tip(&self) -> Result<()> {
        let _ = fs::remove_file(self.index);
        let tree = self.tip.map(|tip| format!("{tip}^{{tree}}"));
        let args = match &tree {
            Some(tree) => ["read-tree", tree.as_str()],
            None => ["read-tree", "--empty"],
        };
        self.run(&args, None).await.map(drop)
    }

    /// The tree of what is staged, and the versions of files that are not merged, which that tree cannot hold.
    async fn index_tree(&self) -> Result<(String, Vec<String>)> {
        let unmerged = self.run(&["ls-files", "-z", "--unmerged"], None).await?;
        if unmerged.is_empty() {
            return Ok((self.line(&["write-tree"], None).await?, Vec::new()));
        }
        let mut stages = Vec::new();
        let mut chosen: BTreeMap<&[u8], (u8, String)> = BTreeMap::new();
        for entry in records(&unmerged) {
            let Some((meta, path)) = split_at_tab(entry) else { continue };
            let mut fields = meta.split(' ');
            let (Some(mode), Some(oid), Some(stage)) = (fields.next(), fields.next(), fields.next()) else {
                continue;
            };
            if mode != "160000" {
                stages.push(oid.to_owned());
            }
            // Of each such file the own version stands for it, else theirs, else that of the common ancestor.
            let rank = match stage {
                "2" => 0,
                "3" => 1,
                _ => 2,
            };
            if chosen.get(path).is_none_or(|(other, _)| rank < *other) {
                chosen.insert(path, (rank, format!("{mode} {oid}")));
            }
        }
        let none = self.nothing().await?;
        let gone = chosen.keys().map(|path| (none.clone(), *path));
        let there = chosen.iter().map(|(path, (_, meta))| (meta.clone(), *path));
        let entries: Vec<(String, &[u8])> = gone.chain(there).collect();
        let own = self.index.with_extension("stages");
        fs::copy(self.index, &own).map_err(|error| failed(self.hub, "copy the index", error))?;
        let other = Taking { index: &own, ..*self };
        other.update(&entries).await?;
        Ok((other.line(&["write-tree"], None).await?, stages))
    }

    /// What takes an entry out of an index.
    pub(crate) async fn nothing(&self) -> Result<String> {
        let format = self.line(&["rev-parse", "--show-object-format"], None).await?;
        Ok(format!("0 {}", "0".repeat(if format == "sha256" { 64 } else { 40 })))
    }

    pub(crate) async fn update(&self, entries: &[(String, &[u8])]) -> Result<()> {
        let mut input = Vec::new();
        for (meta, path) in entries {
            input.extend_from_slice(meta.as_bytes());
            input.push(b'\t');
            input.extend_from_slice(path);
            input.push(0);
        }
        self.run(&["update-index", "-z", "--index-info"], Some(&input)).await.map(drop)
    }

    /// Where HEAD is: a reference or a commit.
    fn head(&self, branch: &str) -> String {
        let head = self.record.and_then(|record| fs::read_to_string(record.join("HEAD")).ok());
        head.map_or_else(|| format!("ref: refs/heads/{branch}"), |head| head.trim().to_owned())
    }

    async fn ignored(&self) -> Result<i64> {
        let args = ["ls-files", "-z", "--others", "--ignored", "--exclude-standard", "--directory"];
        let listed = self.run(&args, None).await?;
        Ok(i64::try_from(records(&listed).count()).unwrap_or(i64::MAX))
    }

    async fn details(
        &self,
        index: Option<String>,
        stages: &[String],
        stored: &[Stored],
        aside: &[Vec<u8>],
        head: &str,
    ) -> Result<String> {
        let mut raw = Vec::new();
        for file in stored {
            let kind = match file.mode {
                "120000" => "link",
                FILTERED => FILTERED,
                _ => "file",
            };
            raw.extend_from_slice(
                format!("{kind} {:o} {} {}\t", file.permissions, file.size, file.oid).as_bytes(),
            );
            raw.extend_from_slice(&file.path);
            raw.push(0);
        }
        let aside = aside.join(&0);
        let mut tree = Vec::new();
        let mut add = |mode: &str, kind: &str, oid: &str, name: &str| {
            tree.extend_from_slice(format!("{mode} {kind} {oid}\t{name}\0").as_bytes());
        };
        for (name, text) in [("aside", aside.as_slice()), ("head", head.as_bytes()), ("raw", &raw)] {
            let oid = self.line(&["hash-object", "-w", "--no-filters", "--stdin"], Some(text)).await?;
            add("100644", "blob", &oid, name);
        }
        if let Some(index) = index {
            add("100644", "blob", &index, "index");
        }
        if !stages.is_empty() {
            let stages: BTreeSet<&String> = stages.iter().collect();
            let list: String = stages.iter().map(|oid| format!("100644 blob {oid}\t{oid}\0")).collect();
            let oid = self.line(&["mktree", "-z"], Some(list.as_bytes())).await?;
            add("040000", "tree", &oid, "stages");
        }
        let tree = self.line(&["mktree", "-z"], Some(&tree)).await?;
        self.commit(&tree, &[], "what a tree cannot say of the worktree").await
    }

    async fn commit(&self, tree: &str, parents: &[String], message: &str) -> Result<String> {
        let mut args = vec!["commit-tree".to_owned(), "--no-gpg-sign".to_owned()];
        args.extend(parents.iter().flat_map(|parent| ["-p".to_owned(), parent.clone()]));
        args.push(tree.to_owned());
        let mut git = self.git();
        for role in ["AUTHOR", "COMMITTER"] {
            git = git
                .env(&format!("GIT_{role}_NAME"), "gcluster")
                .env(&format!("GIT_{role}_EMAIL"), "gcluster@localhost");
        }
        git.fed(args, message.as_bytes()).await
    }

    /// HEAD where it is not the tip, and commits that only a reflog or an unfinished operation knows: amended, reset
    /// or rebased away.
    async fn lost(&self, branch: &str) -> Result<Vec<String>> {
        let mut known = Vec::new();
        let hub = self.hub.directory();
        let own = self.record.unwrap_or(hub);
        for name in [
            "HEAD",
            "ORIG_HEAD",
            "MERGE_HEAD",
            "CHERRY_PICK_HEAD",
            "REVERT_HEAD",
            "REBASE_HEAD",
            "rebase-merge/orig-head",
        ] {
            let text = self.record.map(|record| fs::read_to_string(record.join(name)).unwrap_or_default());
            known.extend(text.iter().flat_map(|text| text.lines()).map(str::to_owned));
        }
        for log in [own.join("logs/HEAD"), hub.join("logs/refs/heads").join(branch)] {
            let text = fs::read(&log).unwrap_or_default();
            let text = String::from_utf8_lossy(&text);
            let newest = text.lines().rev().take(LOST * 2);
            known.extend(newest.flat_map(|line| line.split(' ').take(2)).map(str::to_owned));
        }
        known.retain(|oid| oid.len() >= 40 && oid.bytes().all(|byte| byte.is_ascii_hexdigit()));
        let mut seen = BTreeSet::new();
        known.retain(|oid| oid.bytes().any(|byte| byte != b'0') && seen.insert(oid.clone()));
        let list: String = known.iter().map(|oid| format!("{oid}\n")).collect();
        let checked = self.git().fed(["cat-file", "--batch-check"], list.as_bytes()).await?;
        let mut commits: Vec<&str> = self.tip.into_iter().collect();
        commits.extend(checked.lines().filter_map(|line| line.split_once(" commit ")).map(|(oid, _)| oid));
        commits.truncate(LOST);
        if commits.len() <= usize::from(self.tip.is_some()) {
            return Ok(Vec::new());
        }
        let args: Vec<&str> = ["merge-base", "--independent"].into_iter().chain(commits).collect();
        let independent = self.git().text(args).await?;
        Ok(independent.lines().filter(|oid| Some(*oid) != self.tip).map(str::to_owned).collect())
    }

    /// How many files of these trees are not as in the tip.
    async fn differing(&self, trees: &[&str]) -> Result<i64> {
        let mut paths = BTreeSet::new();
        for tree in trees {
            let listed = match self.tip {
                Some(tip) => {
                    self.run(&["diff-tree", "-r", "-z", "--name-only", "--no-renames", tip, tree], None)
                        .await?
                }
                None => self.run(&["ls-tree", "-r", "-z", "--name-only", tree], None).await?,
            };
            paths.extend(records(&listed).map(<[u8]>::to_vec));
        }
        Ok(i64::try_from(paths.len()).unwrap_or(i64::MAX))
    }
}
