//! What was made in submodules, and in submodules of those, is kept with the worktree.

use std::fs;
use std::path::{Path, PathBuf};

use crate::scratch::Scratch;
use crate::testing::{Checkout, git};
use crate::{bring_back, contents, restore, set_aside, take, worktree};

const BRANCH: &str = "agent-1/feat-1";
const SALVAGE: &str = "refs/gcluster/salvage/default/t";

fn add_submodule(dir: &Path, of: &Path, name: &str) {
    let of = of.to_str().unwrap();
    git(dir, &["-c", "protocol.file.allow=always", "submodule", "--quiet", "add", of, name]);
}

/// A worktree `lib/t` with a submodule in which is another one, both with commits that are nowhere else.
async fn worked() -> (Scratch, PathBuf, [String; 2]) {
    let (inner, outer) = (Checkout::new("main"), Checkout::new("main"));
    inner.commit("inner", "1");
    outer.commit("outer", "1");
    add_submodule(&outer.path(), &inner.path(), "deep");
    outer.git(&["commit", "--quiet", "-am", "with a submodule"]);
    let scratch = Scratch::new().await;
    scratch.commit("main", &[("a", "1\n")]).await;
    for n in 0..2 {
        // Another workspace has the name already: the record gets another one than the folder.
        let path = scratch.path().join(format!("trees/{n}/lib"));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        worktree::add(&scratch.git(), &path, &format!("{BRANCH}{n}"), "main").await.unwrap();
    }
    let path = scratch.path().join("trees/1/lib");
    add_submodule(&path, &outer.path(), "vendor/sub");
    let allow =
        ["-c", "protocol.file.allow=always", "submodule", "--quiet", "update", "--init", "--recursive"];
    git(&path, &allow);
    let mut commits = Vec::new();
    for sub in ["vendor/sub", "vendor/sub/deep"] {
        let sub = path.join(sub);
        for (key, value) in [("user.name", "Ann"), ("user.email", "ann@example.org")] {
            git(&sub, &["config", key, value]);
        }
        fs::write(sub.join("work"), "precious").unwrap();
        git(&sub, &["add", "work"]);
        git(&sub, &["commit", "--quiet", "-m", "only here"]);
        fs::write(sub.join("untracked"), "u").unwrap();
        commits.push(git(&sub, &["rev-parse", "HEAD"]));
    }
    (scratch, path, commits.try_into().unwrap())
}

fn state(path: &Path) -> Vec<String> {
    let subs = ["", "vendor/sub", "vendor/sub/deep"].map(|sub| path.join(sub));
    subs.iter().map(|dir| git(dir, &["status", "--porcelain=v2", "--branch"])).collect()
}

#[tokio::test]
async fn commits_in_submodules_come_back_as_often_as_they_are_wanted() {
    let (scratch, path, commits) = worked().await;
    let (hub, branch, aside) = (scratch.git(), format!("{BRANCH}1"), scratch.path().join("aside"));
    let before = state(&path);
    let taken = take(&hub, &path, &branch, SALVAGE, "refs/gcluster/saves/none").await.unwrap().unwrap();
    assert!(taken.modules && taken.aside == [PathBuf::from("vendor/sub")], "{taken:?}");
    let known = contents(&hub, &taken.commit).await.unwrap();
    for round in 0..2 {
        // The first time the record is `lib1`, the second time `lib`.
        let found = worktree::find(scratch.hub(), &path);
        if round == 0 {
            set_aside(&path, found.record(), &known.aside, &aside).unwrap();
            worktree::remove(&hub, &scratch.path().join("trees/0/lib")).await.unwrap();
        }
        worktree::remove(&hub, &path).await.unwrap();
        restore(&hub, &path, &branch, &taken.commit).await.unwrap();
        for _ in 0..2 {
            bring_back(&hub, &path, &known.aside, &aside).await.unwrap();
        }
        assert_eq!(state(&path), before);
        for (sub, commit) in ["vendor/sub", "vendor/sub/deep"].iter().zip(&commits) {
            assert_eq!(&git(&path.join(sub), &["rev-parse", "HEAD"]), commit);
            git(&path.join(sub), &["fsck"]);
            // What is done now changes nothing of what is kept.
            git(&path.join(sub), &["commit", "--quiet", "--amend", "-m", "again"]);
            fs::write(path.join(sub).join("work"), "changed").unwrap();
        }
    }
}

#[tokio::test]
async fn a_folder_that_somebody_deleted_does_not_take_the_commits_of_its_submodules_along() {
    let (scratch, path, commits) = worked().await;
    let (hub, branch, aside) = (scratch.git(), format!("{BRANCH}1"), scratch.path().join("aside"));
    fs::remove_dir_all(&path).unwrap();
    let taken = take(&hub, &path, &branch, SALVAGE, "refs/gcluster/saves/none").await.unwrap().unwrap();
    assert!(taken.modules && taken.folder_gone);
    let found = worktree::find(scratch.hub(), &path);
    set_aside(&path, found.record(), &taken.aside, &aside).unwrap();
    worktree::remove(&hub, &path).await.unwrap();
    restore(&hub, &path, &branch, &taken.commit).await.unwrap();
    bring_back(&hub, &path, &taken.aside, &aside).await.unwrap();
    // The repositories are there; git checks their files out again.
    git(&path, &["submodule", "--quiet", "update", "--init", "--force"]);
    assert_eq!(git(&path.join("vendor/sub"), &["cat-file", "-t", &commits[0]]), "commit");
}
