//! All that is in a worktree as one hidden commit, without touching the worktree.
//!
//! ```text
//! snapshot ─┬─ tree: every file as it is, untracked ones too; ignored ones are counted only
//!           ├─ parent: the tip of the branch
//!           ├─ parent: index ── tree: what is staged
//!           │            └─ parent: details ── index · raw · aside · head · stages/ · record/
//!           └─ parents: HEAD where it is elsewhere, commits that only the reflog or a rebase knows, earlier saves
//! ```
//!
//! Files that differ from the index are stored byte for byte, past all filters. What git cannot hold, such as a
//! repository inside the worktree, is named in `aside` and has to be kept as files. `record/` is what else git remembers
//! of the worktree: a rebase, merge, cherry-pick or bisect in progress, and the reflog of HEAD.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::restore::Contents;
use crate::salvage::{failed, has_modules, records, split_at_tab};
use crate::saves::{self, Save};
use crate::snapshot_files::Stored;
use crate::worktree::{self, Found};
use crate::{Git, Result};

/// How long git may take over large worktrees.
pub(crate) const LIMIT: Duration = Duration::from_secs(1_800);
/// Size of a file, in bytes, above which it is in no save: it is kept when the worktree goes.
const LARGE: u64 = 64 << 20;
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
    /// True when submodules have repositories of their own, which are kept as files, too.
    pub modules: bool,
    /// Ignored files and folders, which are not kept.
    pub ignored: i64,
    /// True when the folder of the worktree was not there.
    pub folder_gone: bool,
}

/// Takes a snapshot of the worktree at `path`, whose branch is `branch`, and puts `reference` to it. None when there
/// is neither a worktree nor a branch. What was saved meanwhile under the ref `saves` is kept with it, and stands for
/// the files of a folder that is gone.
///
/// # Errors
/// When something of it cannot be stored; then nothing may be removed.
pub async fn take(
    hub: &Git,
    path: &Path,
    branch: &str,
    reference: &str,
    saves: &str,
) -> Result<Option<Snapshot>> {
    let saves = saves::list(hub.directory(), saves);
    taken(hub, path, branch, reference, Some(&saves)).await
}

/// The same; without a list of saves it is one itself, which does without what takes long.
pub(crate) async fn taken(
    hub: &Git,
    path: &Path,
    branch: &str,
    reference: &str,
    saves: Option<&[Save]>,
) -> Result<Option<Snapshot>> {
    let found = worktree::find(hub.directory(), path);
    let tip = worktree::tip(hub, branch).await?;
    if tip.is_none() && found == Found::Nothing {
        return Ok(None);
    }
    let index = hub.directory().join("gcluster").join(format!("{}.index", reference.replace('/', "-")));
    if let Some(parent) = index.parent() {
        fs::create_dir_all(parent).map_err(|error| failed(hub, "make a folder for an index", error))?;
    }
    let taking = Taking { hub, path, record: found.record(), tip: tip.as_deref(), index: &index, saves };
    let taken = taking.take(branch, reference).await;
    for leftover in ["index", "index.lock", "part", "part.lock"].map(|end| index.with_extension(end)) {
        // Whatever became of it, it is no part of anything.
        let _ = fs::remove_file(leftover);
    }
    taken.map(Some)
}

#[derive(Clone, Copy)]
pub(crate) struct Taking<'a> {
    pub(crate) hub: &'a Git,
    pub(crate) path: &'a Path,
    pub(crate) record: Option<&'a Path>,
    pub(crate) tip: Option<&'a str>,
    /// A copy of the index, which is changed freely.
    pub(crate) index: &'a Path,
    /// What was saved before; none for a save.
    pub(crate) saves: Option<&'a [Save]>,
}

/// What a tree cannot say of a worktree: names of objects, but for `stages`.
#[derive(Default)]
struct Details {
    index: Option<String>,
    stages: Vec<String>,
    raw: String,
    aside: String,
    head: String,
    record: Option<String>,
    /// Git is trusted to make the files that are not in `raw`: they were not compared byte by byte.
    trusted: bool,
}

impl Taking<'_> {
    async fn take(&self, branch: &str, reference: &str) -> Result<Snapshot> {
        let folder_gone = !self.path.is_dir();
        let saved = match folder_gone {
            true => self.saved().await?,
            false => None,
        };
        let mut aside = Vec::new();
        let (mut ignored, modules) = (0, has_modules(self.record));
        let (tree, index_commit) = match (&saved, self.record) {
            // Nothing is left of it but what was saved.
            (Some(saved), None) => (saved.tree.clone(), saved.index.clone()),
            _ => {
                let mut details = Details { index: self.copy_index().await?, ..Details::default() };
                let (index_tree, stages) = self.index_tree().await?;
                details.stages = stages;
                details.record = self.state().await?;
                details.trusted = self.saves.is_none();
                let mut tree = index_tree.clone();
                let mut stored = Vec::new();
                if let Some(saved) = &saved {
                    tree.clone_from(&saved.tree);
                    (details.trusted, details.raw) = (saved.is_trusted, saved.raw().to_owned());
                } else if !folder_gone {
                    (tree, stored) = self.files(&mut aside).await?;
                    if self.saves.is_some() {
                        ignored = self.ignored().await?;
                    }
                }
                aside.sort();
                aside.dedup();
                let texts = [aside.join(&0), self.head(branch).into_bytes(), listed(&stored)];
                let [mut names, mut head, mut raw] = [const { String::new() }; 3];
                for (text, oid) in texts.iter().zip([&mut names, &mut head, &mut raw]) {
                    *oid = self.line(&["hash-object", "-w", "--no-filters", "--stdin"], Some(text)).await?;
                }
                (details.aside, details.head) = (names, head);
                if saved.is_none() {
                    details.raw = raw;
                }
                let details = self.details(details).await?;
                (tree, self.commit(&index_tree, &[details], "index of the worktree").await?)
            }
        };
        let tip = self.tip.unwrap_or_default().to_owned();
        let mut parents: Vec<String> = self.tip.iter().map(|tip| (*tip).to_owned()).collect();
        parents.push(index_commit.clone());
        parents.extend(self.lost(branch).await?);
        parents.extend(self.saves.iter().flat_map(|saves| saves::distinct(saves)));
        let what = if self.saves.is_some() { "as it was" } else { saves::SUBJECT };
        let message = format!("{branch} {what}\n\nTip: {tip}\nIndex: {index_commit}\n");
        let commit = self.commit(&tree, &parents, &message).await?;
        let mut trees = vec![tree];
        if self.saves.is_some() {
            trees.push(format!("{index_commit}^{{tree}}"));
        }
        let files = self.differing(&trees).await?;
        let why = saves::told(files);
        self.hub.text(["update-ref", "--create-reflog", "-m", &why, reference, &commit]).await?;
        let aside = aside.iter().map(|path| PathBuf::from(OsStr::from_bytes(path))).collect();
        Ok(Snapshot { commit, tip, files, aside, modules, ignored, folder_gone })
    }

    /// The newest save, if the branch has not moved since.
    async fn saved(&self) -> Result<Option<Contents>> {
        let Some(newest) = self.saves.and_then(<[Save]>::first) else { return Ok(None) };
        let contents = crate::contents(self.hub, &newest.commit).await?;
        Ok((Some(contents.tip.as_str()) == self.tip).then_some(contents))
    }

    /// The tree of all files, and those of them that are stored past git's filters.
    async fn files(&self, aside: &mut Vec<Vec<u8>>) -> Result<(String, Vec<Stored>)> {
        let mut changes = self.changes(aside).await?;
        let mut filtered = Vec::new();
        if self.saves.is_none() {
            let is_small = |path: &Vec<u8>| self.size(path) <= LARGE;
            changes.present.retain(is_small);
            changes.replaced.retain(is_small);
        } else {
            let (bent, made_by_filters) = self.bent(&changes.unchanged).await?;
            changes.present.extend(bent);
            filtered = made_by_filters;
        }
        let mut stored = self.store(changes.present, aside, self.saves.is_none()).await?;
        stored.extend(filtered);
        let tree = self.tree(&changes.replaced, &stored).await?;
        Ok((tree, stored))
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
        let own = self.index.with_extension("part");
        fs::copy(self.index, &own).map_err(|error| failed(self.hub, "copy the index", error))?;
        let other = Taking { index: &own, ..*self };
        other.update(&entries).await?;
        Ok((other.line(&["write-tree"], None).await?, stages))
    }

    /// What takes an entry out of an index.
    pub(crate) async fn nothing(&self) -> Result<String> {
        let digits = match self.tip {
            Some(tip) => tip.len(),
            None if self.line(&["rev-parse", "--show-object-format"], None).await? == "sha256" => 64,
            None => 40,
        };
        Ok(format!("0 {}", "0".repeat(digits)))
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

    async fn details(&self, details: Details) -> Result<String> {
        let mut tree = Vec::new();
        let mut add = |mode: &str, kind: &str, oid: &str, name: &str| {
            tree.extend_from_slice(format!("{mode} {kind} {oid}\t{name}\0").as_bytes());
        };
        for (name, oid) in [("aside", &details.aside), ("head", &details.head), ("raw", &details.raw)] {
            add("100644", "blob", oid, name);
        }
        if let Some(index) = &details.index {
            add("100644", "blob", index, "index");
        }
        if details.trusted {
            add("100644", "blob", &details.head, "trusted");
        }
        if let Some(record) = &details.record {
            add("040000", "tree", record, "record");
        }
        if !details.stages.is_empty() {
            let stages: BTreeSet<&String> = details.stages.iter().collect();
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

    /// How many files of these trees are not as in the tip.
    async fn differing(&self, trees: &[String]) -> Result<i64> {
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

/// Files with what git does not know of them.
fn listed(stored: &[Stored]) -> Vec<u8> {
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
    raw
}
