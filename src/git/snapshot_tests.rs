//! Whatever is done in a worktree: removed and restored, it is as it was.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;

use proptest::prelude::*;

use crate::scratch::Scratch;
use crate::{Git, Snapshot, bring_back, contents, restore, saves, set_aside, take, worktree};

const NAMES: [&[u8]; 16] = [
    b"file",
    b"old",
    b"dir",
    b"dir/one",
    b"dir/two words",
    b"dir/deep/er",
    "\u{fc}n\u{ef}".as_bytes(),
    b"tab\tname",
    b"new\nline",
    b"quote\"back\\slash",
    b"-dash",
    b":colon",
    b"\xff\xfe",
    b".gitattributes",
    b"noise.log",
    b"git~1",
];
const TEXTS: [&[u8]; 5] =
    [b"", b"text\n", b"one\r\ntwo\nthree\r\n", b"\0bin\xff\n", b"* text=auto eol=crlf\n"];
const BRANCH: &str = "agent-1/feat-1";
const SAVES: &str = "refs/gcluster/saves/default/one";
const REFERENCE: &str = "refs/gcluster/salvage/default/one";

#[derive(Debug, Clone)]
enum Deed {
    Write(usize, usize),
    Link(usize, usize),
    Remove(usize),
    Rename(usize, usize),
    Executable(usize),
    Stage(usize),
    StageAll,
    Intend(usize),
    Overlook(usize),
    Unstage(usize),
    Commit,
    Amend,
    Back,
    Merge,
    Repository(usize),
    Detach,
    Rebase,
    Pick,
    Bisect,
}

fn deed() -> impl Strategy<Value = Deed> {
    let name = || 0..NAMES.len();
    prop_oneof![
        6 => (name(), 0..TEXTS.len()).prop_map(|(name, text)| Deed::Write(name, text)),
        1 => (name(), name()).prop_map(|(name, to)| Deed::Link(name, to)),
        2 => name().prop_map(Deed::Remove),
        1 => (name(), name()).prop_map(|(from, to)| Deed::Rename(from, to)),
        1 => name().prop_map(Deed::Executable),
        3 => name().prop_map(Deed::Stage),
        2 => Just(Deed::StageAll),
        1 => name().prop_map(Deed::Intend),
        1 => name().prop_map(Deed::Overlook),
        1 => name().prop_map(Deed::Unstage),
        2 => Just(Deed::Commit),
        1 => Just(Deed::Amend),
        1 => Just(Deed::Back),
        1 => Just(Deed::Merge),
        1 => name().prop_map(Deed::Repository),
        1 => Just(Deed::Detach),
        1 => Just(Deed::Rebase),
        1 => Just(Deed::Pick),
        1 => Just(Deed::Bisect),
    ]
}

/// A worktree, and git in it as a worker runs it.
struct Tree {
    scratch: Scratch,
    path: PathBuf,
}

impl Tree {
    async fn new() -> Tree {
        let scratch = Scratch::new().await;
        let base = [("file", "1\n2\n3\n"), ("old", "x\n"), ("dir/one", "y\n"), (".gitignore", "*.log\n")];
        scratch.commit("main", &base).await;
        let path = scratch.path().join("tree");
        worktree::add(&scratch.git(), &path, BRANCH, "main").await.unwrap();
        Tree { scratch, path }
    }

    /// Runs git; whether it can do what it is told is not the question.
    fn git<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Vec<u8> {
        let mut command = std::process::Command::new("git");
        command.args([
            "-c",
            "user.name=Ann",
            "-c",
            "user.email=ann@example.org",
            "-c",
            "core.quotePath=false",
        ]);
        command.args(args).current_dir(&self.path).output().unwrap().stdout
    }

    fn at(&self, name: usize) -> PathBuf {
        self.path.join(OsStr::from_bytes(NAMES[name]))
    }

    fn with(&self, args: &[&str], name: usize) {
        let args = args.iter().map(OsString::from).chain([OsString::from("--")]);
        self.git(args.chain([OsStr::from_bytes(NAMES[name]).to_owned()]));
    }

    fn do_it(&self, deed: &Deed) {
        // What is not possible is not done.
        match deed {
            Deed::Write(name, text) => {
                let at = self.at(*name);
                let _ = fs::create_dir_all(at.parent().unwrap());
                if !fs::symlink_metadata(&at).is_ok_and(|meta| meta.is_symlink()) {
                    let _ = fs::write(at, TEXTS[*text]);
                }
            }
            Deed::Link(name, to) => drop(symlink(OsStr::from_bytes(NAMES[*to]), self.at(*name))),
            Deed::Remove(name) => {
                let _ = fs::remove_file(self.at(*name)).or_else(|_| fs::remove_dir_all(self.at(*name)));
            }
            Deed::Rename(from, to) => drop(fs::rename(self.at(*from), self.at(*to))),
            Deed::Executable(name) => {
                if fs::symlink_metadata(self.at(*name)).is_ok_and(|meta| meta.is_file()) {
                    fs::set_permissions(self.at(*name), fs::Permissions::from_mode(0o755)).unwrap();
                }
            }
            Deed::Stage(name) => self.with(&["--literal-pathspecs", "add"], *name),
            Deed::StageAll => drop(self.git(["add", "--all"])),
            Deed::Intend(name) => self.with(&["--literal-pathspecs", "add", "-N"], *name),
            Deed::Overlook(name) => self.with(&["update-index", "--assume-unchanged"], *name),
            Deed::Unstage(name) => self.with(&["--literal-pathspecs", "reset", "--quiet"], *name),
            Deed::Commit => drop(self.git(["commit", "--quiet", "--allow-empty", "-m", "work"])),
            Deed::Amend => drop(self.git(["commit", "--quiet", "--amend", "--allow-empty", "-m", "again"])),
            Deed::Back => drop(self.git(["reset", "--quiet", "--hard", "HEAD^"])),
            Deed::Merge => {
                self.git(["commit", "--quiet", "-am", "mine"]);
                self.git(["merge", "--quiet", "--no-edit", "other"]);
            }
            Deed::Repository(name) => {
                let at = self.at(*name);
                if fs::create_dir_all(&at).is_ok() {
                    let init = std::process::Command::new("git")
                        .args(["init", "--quiet", "--template="])
                        .current_dir(&at)
                        .output();
                    assert!(init.unwrap().status.success());
                    fs::write(at.join("inner"), "precious").unwrap();
                }
            }
            Deed::Detach => drop(self.git(["checkout", "--quiet", "--detach"])),
            Deed::Rebase => drop(self.git(["rebase", "--quiet", "other"])),
            Deed::Pick => drop(self.git(["cherry-pick", "--no-commit", "other"])),
            Deed::Bisect => {
                self.git(["bisect", "start"]);
                self.git(["bisect", "bad"]);
            }
        }
    }

    /// Everything that is to be kept.
    fn state(&self) -> BTreeMap<String, Vec<u8>> {
        let mut state = BTreeMap::new();
        let mut open = vec![self.path.clone()];
        while let Some(folder) = open.pop() {
            for entry in fs::read_dir(folder).unwrap().flatten() {
                let (path, meta) = (entry.path(), entry.metadata().unwrap());
                let name =
                    path.strip_prefix(&self.path).unwrap().as_os_str().as_bytes().escape_ascii().to_string();
                if name == ".git" || name.ends_with(".log") {
                    continue;
                }
                if meta.is_dir() {
                    open.push(path);
                } else if meta.is_symlink() {
                    let target = fs::read_link(&path).unwrap();
                    state.insert(format!("link {name}"), target.as_os_str().as_bytes().to_vec());
                } else {
                    let executable = meta.permissions().mode() & 0o100 != 0;
                    state.insert(format!("file {name} {executable}"), fs::read(&path).unwrap());
                }
            }
        }
        for args in [
            &["ls-files", "-z", "--stage"][..],
            &["ls-files", "-z", "-v"],
            &["status", "--porcelain=v2", "-z", "-uall", "--no-renames"],
            &["rev-parse", "HEAD", &format!("refs/heads/{BRANCH}")],
            &["branch", "--show-current"],
            // In words: what is in progress, and how far.
            &["status", "--untracked-files=no", "--no-renames"],
            &["reflog", "show", "--format=%H %gs", "HEAD"],
            &["for-each-ref", "refs/bisect"],
        ] {
            state.insert(format!("git {args:?}"), self.git(args));
        }
        state
    }

    fn git_dir(&self) -> Git {
        self.scratch.git()
    }

    async fn take(&self) -> Snapshot {
        take(&self.git_dir(), &self.path, BRANCH, REFERENCE, SAVES).await.unwrap().unwrap()
    }

    /// Removes all of it, as the controller does, and makes it again.
    async fn remove_and_restore(&self, taken: &Snapshot) {
        let git = self.git_dir();
        let folder = self.scratch.path().join("aside");
        let known = contents(&git, &taken.commit).await.unwrap();
        assert_eq!(known.aside, taken.aside);
        let found = worktree::find(self.scratch.hub(), &self.path);
        set_aside(&self.path, found.record(), &known.aside, &folder).unwrap();
        worktree::remove(&git, &self.path).await.unwrap();
        git.text(["update-ref", "-d", &format!("refs/heads/{BRANCH}")]).await.unwrap();
        // Nothing else holds what it needs.
        git.text(["reflog", "expire", "--expire=now", "--all"]).await.unwrap();
        git.text(["prune", "--expire=now"]).await.unwrap();
        restore(&git, &self.path, BRANCH, &taken.commit).await.unwrap();
        bring_back(&git, &self.path, &known.aside, &folder).await.unwrap();
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: std::env::var("GC_CASES").map_or(8, |n| n.parse().unwrap()), max_shrink_iters: 60, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn whatever_was_done_in_a_worktree_comes_back(deeds in proptest::collection::vec(deed(), 1..16)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(comes_back(&deeds));
    }
}

async fn comes_back(deeds: &[Deed]) {
    let tree = Tree::new().await;
    tree.scratch.branch("other", &tree.scratch.tip("main").await).await;
    tree.scratch.commit("other", &[("file", "1\ntwo\n3\n"), ("dir/one", "")]).await;
    deeds.iter().for_each(|deed| tree.do_it(deed));
    let before = tree.state();
    let save = saves::save(&tree.git_dir(), &tree.path, BRANCH, SAVES).await.unwrap().unwrap();
    same(&tree.state(), &before, "a save changes nothing");
    let taken = tree.take().await;
    same(&tree.state(), &before, "a snapshot changes nothing");
    tree.remove_and_restore(&taken).await;
    let (mut after, mut before) = (tree.state(), before);
    let other_attributes = deeds.iter().any(|deed| matches!(deed, Deed::Write(13, _) | Deed::Rename(_, 13)));
    if other_attributes {
        // Attributes that changed after a file was written make it differ or not by whether git looks at its bytes.
        after.retain(|key, _| !key.contains("status"));
        before.retain(|key, _| !key.contains("status"));
    }
    same(&after, &before, "what was restored");
    // What was saved of it is the same, but for what git cannot hold, and line ends by attributes that changed since.
    if taken.aside.is_empty() && !other_attributes {
        tree.remove_and_restore(&save).await;
        let mut after = tree.state();
        after.retain(|key, _| before.contains_key(key));
        same(&after, &before, "what was saved");
    }
}

#[track_caller]
fn same(after: &BTreeMap<String, Vec<u8>>, before: &BTreeMap<String, Vec<u8>>, what: &str) {
    let keys: std::collections::BTreeSet<&String> = after.keys().chain(before.keys()).collect();
    let told = |state: Option<&Vec<u8>>| {
        state.map(|bytes| bytes.escape_ascii().take(300).map(char::from).collect::<String>())
    };
    let differ = keys.into_iter().filter(|key| after.get(*key) != before.get(*key));
    let differ: Vec<String> = differ
        .map(|key| format!("{key}: {:?}, was {:?}", told(after.get(key)), told(before.get(key))))
        .collect();
    assert!(differ.is_empty(), "{what}:\n{}", differ.join("\n"));
}

#[tokio::test]
async fn line_ends_are_those_of_the_files_whatever_attributes_say_now() {
    use Deed::{Commit, Merge, Remove, StageAll, Write};
    // Attributes that came before the files, went after them, or are in no commit.
    comes_back(&[Write(13, 4), Write(1, 0), Merge]).await;
    comes_back(&[Write(13, 4), Write(0, 2), StageAll, Commit, Remove(13), StageAll, Commit]).await;
    comes_back(&[Write(0, 1), Write(1, 2), StageAll, Commit, Write(13, 4), StageAll]).await;
}

#[tokio::test]
async fn commits_that_were_amended_or_reset_away_are_kept_too() {
    let tree = Tree::new().await;
    tree.do_it(&Deed::Write(0, 1));
    tree.git(["commit", "--quiet", "-am", "precious"]);
    let precious = tree.scratch.tip(BRANCH).await;
    tree.do_it(&Deed::Back);
    let taken = tree.take().await;
    assert_eq!((taken.files, taken.ignored), (0, 0));
    tree.remove_and_restore(&taken).await;
    assert_eq!(tree.git(["cat-file", "-t", &precious]), b"commit\n");
}

#[tokio::test]
async fn what_is_staged_outlives_a_folder_that_somebody_deleted() {
    let tree = Tree::new().await;
    tree.do_it(&Deed::Write(3, 1));
    tree.do_it(&Deed::Write(14, 1));
    tree.do_it(&Deed::StageAll);
    let staged = tree.git(["ls-files", "-z", "--stage"]);
    fs::remove_dir_all(&tree.path).unwrap();
    let taken = tree.take().await;
    assert!(taken.folder_gone);
    assert_eq!(taken.files, 1);
    tree.remove_and_restore(&taken).await;
    assert_eq!(tree.git(["ls-files", "-z", "--stage"]), staged);
    assert_eq!(fs::read(tree.at(3)).unwrap(), TEXTS[1]);

    // Nothing is there of it, and then not even a branch.
    worktree::remove(&tree.git_dir(), &tree.path).await.unwrap();
    let tip = tree.scratch.tip(BRANCH).await;
    assert_eq!(tree.take().await.tip, tip);
    tree.git_dir().text(["update-ref", "-d", &format!("refs/heads/{BRANCH}")]).await.unwrap();
    assert_eq!(take(&tree.git_dir(), &tree.path, BRANCH, REFERENCE, SAVES).await.unwrap(), None);
}

#[tokio::test]
async fn a_folder_whose_record_was_pruned_and_a_broken_index_are_kept_all_the_same() {
    let tree = Tree::new().await;
    tree.do_it(&Deed::Write(6, 2));
    let worktree::Found::Whole { record } = worktree::find(tree.scratch.hub(), &tree.path) else { panic!() };
    fs::write(record.join("index"), "rubbish").unwrap();
    let taken = tree.take().await;
    assert_eq!(taken.files, 1);
    fs::remove_dir_all(record).unwrap();
    let taken = tree.take().await;
    assert_eq!(taken.files, 1);
    fs::remove_dir_all(&tree.path).unwrap();
    tree.git_dir().text(["worktree", "prune"]).await.unwrap();
    restore(&tree.git_dir(), &tree.path, BRANCH, &taken.commit).await.unwrap();
    assert_eq!(fs::read(tree.at(6)).unwrap(), TEXTS[2]);
}

#[tokio::test]
async fn a_branch_that_has_gone_on_is_not_put_back() {
    let tree = Tree::new().await;
    let taken = tree.take().await;
    worktree::remove(&tree.git_dir(), &tree.path).await.unwrap();
    let newer = tree.scratch.commit(BRANCH, &[("file", "newer\n")]).await;
    let error = restore(&tree.git_dir(), &tree.path, BRANCH, &taken.commit).await.unwrap_err();
    assert!(error.to_string().contains(BRANCH), "{error}");
    assert_eq!(tree.scratch.tip(BRANCH).await, newer);
}
