//! Saves outlive the folder, its record, and the file that the worker itself deleted.

use std::fs;
use std::path::PathBuf;

use super::*;
use crate::scratch::Scratch;
use crate::{copy_out, restore, take};

const BRANCH: &str = "agent-1/feat-1";
const SAVES: &str = "refs/gcluster/saves/default/t";
const SALVAGE: &str = "refs/gcluster/salvage/default/t";

async fn worktree() -> (Scratch, PathBuf) {
    let scratch = Scratch::new().await;
    scratch.commit("main", &[("a", "one\n"), ("dir/b", "two\n")]).await;
    let path = scratch.path().join("tree");
    worktree::add(&scratch.git(), &path, BRANCH, "main").await.unwrap();
    (scratch, path)
}

#[tokio::test]
async fn what_was_saved_stands_for_a_folder_that_is_gone() {
    for with_record in [true, false] {
        let (scratch, path) = worktree().await;
        let git = scratch.git();
        fs::write(path.join("a"), "staged\n").unwrap();
        git.at(&path).text(["add", "a"]).await.unwrap();
        fs::write(path.join("a"), "more\n").unwrap();
        fs::write(path.join("new"), "new\n").unwrap();
        save(&git, &path, BRANCH, SAVES).await.unwrap().unwrap();
        let before = git.at(&path).text(["status", "--porcelain"]).await.unwrap();
        let record = worktree::find(scratch.hub(), &path).record().unwrap().to_owned();
        fs::remove_dir_all(&path).unwrap();
        if !with_record {
            fs::remove_dir_all(record).unwrap();
        }
        let taken = take(&git, &path, BRANCH, SALVAGE, SAVES).await.unwrap().unwrap();
        assert_eq!((taken.files, taken.folder_gone), (2, true));
        worktree::remove(&git, &path).await.unwrap();
        forget(&git, SAVES).await.unwrap();
        assert_eq!(list(scratch.hub(), SAVES), Vec::new());
        restore(&git, &path, BRANCH, &taken.commit).await.unwrap();
        assert_eq!(git.at(&path).text(["status", "--porcelain"]).await.unwrap(), before);
        assert_eq!(fs::read_to_string(path.join("a")).unwrap(), "more\n");
        assert_eq!(git.at(&path).text(["show", ":a"]).await.unwrap(), "staged");
    }
}

#[tokio::test]
async fn a_save_of_an_older_tip_does_not_take_back_what_was_committed_since() {
    let (scratch, path) = worktree().await;
    let git = scratch.git();
    fs::write(path.join("a"), "draft\n").unwrap();
    save(&git, &path, BRANCH, SAVES).await.unwrap();
    fs::write(path.join("a"), "final\n").unwrap();
    git.at(&path).text(["commit", "--quiet", "-am", "work"]).await.unwrap();
    fs::remove_dir_all(&path).unwrap();
    let taken = take(&git, &path, BRANCH, SALVAGE, SAVES).await.unwrap().unwrap();
    worktree::remove(&git, &path).await.unwrap();
    restore(&git, &path, BRANCH, &taken.commit).await.unwrap();
    assert_eq!(fs::read_to_string(path.join("a")).unwrap(), "final\n");
    assert_eq!(git.at(&path).text(["status", "--porcelain"]).await.unwrap(), "");
}

#[tokio::test]
async fn every_save_is_there_until_the_snapshot_goes_that_keeps_it() {
    let (scratch, path) = worktree().await;
    let git = scratch.git();
    assert_eq!(save(&git, &scratch.path().join("nowhere"), "gone", SAVES).await.unwrap(), None);
    for text in ["first\r\n", "second\n"] {
        fs::write(path.join("precious"), text).unwrap();
        save(&git, &path, BRANCH, SAVES).await.unwrap();
    }
    // The worker deletes everything itself.
    for name in ["a", "dir/b", "precious"] {
        fs::remove_file(path.join(name)).unwrap();
    }
    save(&git, &path, BRANCH, SAVES).await.unwrap();
    let saves = list(scratch.hub(), SAVES);
    assert_eq!(saves.iter().map(|save| save.files).collect::<Vec<_>>(), [2, 1, 1]);
    assert!(saves.iter().all(|save| save.at > 1_700_000_000), "{saves:?}");

    let taken = take(&git, &path, BRANCH, SALVAGE, SAVES).await.unwrap().unwrap();
    forget(&git, SAVES).await.unwrap();
    worktree::remove(&git, &path).await.unwrap();
    git.text(["reflog", "expire", "--expire=now", "--all"]).await.unwrap();
    git.text(["prune", "--expire=now"]).await.unwrap();
    assert_eq!(kept(&git, &taken.commit).await.unwrap(), saves);
    for (save, text) in saves.iter().skip(1).zip(["second\n", "first\r\n"]) {
        let out = scratch.path().join(format!("out-{}", save.commit));
        copy_out(&git, &out, &save.commit).await.unwrap();
        assert_eq!(fs::read_to_string(out.join("precious")).unwrap(), text);
        assert_eq!(fs::read_to_string(out.join("dir/b")).unwrap(), "two\n");
        assert!(copy_out(&git, &out, &save.commit).await.is_err(), "what is there is not written over");
    }
}
