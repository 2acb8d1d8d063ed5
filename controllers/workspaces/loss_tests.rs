//! What an agent deletes comes back: its folder, the `.git` in it, the hub's record of it.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use super::tests::{Stage, git};

/// A workspace in which is a commit, a staged file, a changed and a new one, all of it saved.
async fn saved(stage: &mut Stage, more: Value) -> Vec<String> {
    stage.ticket("Working");
    stage.workspace(more);
    stage.start();
    let status = stage.status("ready", |status| status["phase"] == "Ready").await;
    for one in status["repositories"].as_array().unwrap() {
        let path = Path::new(one["path"].as_str().unwrap());
        fs::write(path.join("file"), "one\ntwo\n").unwrap();
        git(path, &["commit", "--quiet", "-am", "work"]);
        fs::write(path.join("staged"), "s\n").unwrap();
        git(path, &["add", "staged"]);
        fs::write(path.join("file"), "changed\r\n").unwrap();
        fs::write(path.join("new"), "n\n").unwrap();
    }
    let status = stage.observed("work").await;
    for one in status["repositories"].as_array().unwrap() {
        let hub = stage.hub(one["name"].as_str().unwrap());
        let is_saved = || {
            let reference = git(&hub, &["for-each-ref", "--format=%(refname)", "refs/gcluster/saves"]);
            let newest = gcluster_git::saves::list(&hub, &reference).into_iter().next();
            newest.is_some_and(|save| {
                let index = format!("{}^2", save.commit);
                save.files == 3 && git(&hub, &["ls-tree", "--name-only", &index]).contains("staged")
            })
        };
        stage.api.wait("a save of all of it", |_| is_saved().then_some(())).await;
    }
    let status = stage.status("when", |status| status["repositories"][0]["savedAt"].is_string()).await;
    states(&status)
}

/// What is in each worktree.
fn states(status: &Value) -> Vec<String> {
    let all = status["repositories"].as_array().unwrap().iter();
    all.map(|one| state(Path::new(one["path"].as_str().unwrap()))).collect()
}

fn state(path: &Path) -> String {
    let files = ["file", "staged", "new"].map(|name| fs::read_to_string(path.join(name)).unwrap_or_default());
    let said = [&["status", "--porcelain=v2", "--branch"][..], &["ls-files", "--stage"]];
    format!("{files:?}\n{}", said.map(|args| git(path, args)).join("\n"))
}

/// Has the workspace looked at, and gives what was said of it before.
fn wake(stage: &Stage) -> Value {
    let before = stage.api.get("workspaces", "t-1").unwrap()["status"].clone();
    let woken = format!("{before}").len();
    stage
        .api
        .apply("tickets", json!({"metadata": {"name": "t-1", "annotations": {"woken": woken.to_string()}}}));
    before
}

/// Waits until it is ready another time.
async fn restored(stage: &Stage, first: &Value) -> Value {
    let status = stage
        .status("ready again", |status| status["phase"] == "Ready" && status["readyAt"] != first["readyAt"])
        .await;
    assert!(status["restoring"].is_null(), "{status}");
    status
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_an_agent_deleted_is_there_again_as_it_was_saved() {
    for with_record in [true, false] {
        let mut stage = Stage::new();
        let before = saved(&mut stage, json!({"setup": ["echo set up > set-up.log"]})).await;
        let path = stage.path("workspaces/default/t-1");
        fs::remove_dir_all(&path).unwrap();
        if !with_record {
            // As `git worktree remove -f -f` does.
            fs::remove_dir_all(stage.hub("app").join("worktrees/t-1")).unwrap();
        }
        let first = wake(&stage);
        let status = restored(&stage, &first).await;
        assert_eq!(states(&status), before, "{with_record}");
        assert_eq!(fs::read_to_string(path.join("set-up.log")).unwrap(), "set up\n");
        let salvage = stage.api.all("salvages").pop().unwrap();
        assert_eq!(salvage["spec"]["holds"], "1 commit, 3 files");
        let events = stage.api.all("events");
        let told = events.iter().find(|event| event["reason"] == "FolderDeleted").unwrap();
        let note = told["note"].as_str().unwrap();
        assert!(note.contains("it is made again as it was saved") && note.contains("s before"), "{note}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_master_that_ends_while_it_makes_a_deleted_folder_again_loses_nothing() {
    for delay in [0, 20, 45, 80, 120, 180] {
        let mut stage = Stage::new();
        let before = saved(&mut stage, json!({})).await;
        fs::remove_dir_all(stage.path("workspaces/default/t-1")).unwrap();
        let first = wake(&stage);
        tokio::time::sleep(std::time::Duration::from_millis(delay)).await;
        stage.stop().await;
        stage.start();
        let status = restored(&stage, &first).await;
        assert_eq!(states(&status), before, "after {delay} ms");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_folder_that_nobody_needs_is_not_said_to_be_there() {
    let mut stage = Stage::new();
    saved(&mut stage, json!({})).await;
    stage.ticket("Failed");
    fs::remove_dir_all(stage.path("workspaces/default/t-1")).unwrap();
    wake(&stage);
    stage.api.wait("it to go", |api| api.get("workspaces", "t-1").is_none().then_some(())).await;
    let salvage = stage.api.all("salvages").pop().unwrap();
    assert_eq!(salvage["spec"]["holds"], "1 commit, 3 files");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_several_repositories_only_the_deleted_one_is_made_again() {
    let mut stage = Stage::new();
    stage.repository("lib");
    let before = saved(&mut stage, json!({"repositories": [{"name": "app"}, {"name": "lib"}]})).await;
    let folder = stage.path("workspaces/default/t-1");
    fs::write(folder.join("app/x.log"), "ignored, and no reason to touch it").unwrap();
    fs::remove_dir_all(folder.join("lib")).unwrap();
    let first = wake(&stage);
    let status = restored(&stage, &first).await;
    assert_eq!(states(&status), before);
    assert!(folder.join("app/x.log").exists());
    let salvage = stage.api.all("salvages").pop().unwrap();
    let snapshots = salvage["spec"]["snapshots"].as_array().unwrap();
    assert_eq!(snapshots.len(), 1);
    assert_eq!(snapshots[0]["repository"], "lib");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worktree_that_git_does_not_know_any_more_is_mended_where_it_is() {
    let mut stage = Stage::new();
    let before = saved(&mut stage, json!({})).await;
    let (path, record) = (stage.path("workspaces/default/t-1"), stage.hub("app").join("worktrees/t-1"));
    fs::write(path.join("x.log"), "ignored").unwrap();
    fs::remove_file(path.join(".git")).unwrap();
    wake(&stage);
    stage.api.wait("the file .git", |_| path.join(".git").is_file().then_some(())).await;
    assert_eq!(state(&path), before[0]);
    stage.status("a look", |status| status["reason"] == "Ready").await;
    fs::remove_dir_all(&record).unwrap();
    stage.api.apply("tickets", json!({"metadata": {"name": "t-1", "annotations": {"woken": "again"}}}));
    let is_known = || gcluster_git::worktree::find(&stage.hub("app"), &path).record().is_some();
    stage.api.wait("the record", |_| is_known().then_some(())).await;
    assert_eq!(state(&path), before[0]);
    assert!(path.join("x.log").exists());
    let events = stage.api.all("events");
    assert!(events.iter().any(|event| event["reason"] == "WorktreeMended"), "{events:?}");
    // Something else is in its place: it is left alone, and said.
    fs::remove_file(path.join(".git")).unwrap();
    git(&path, &["init", "--quiet"]);
    stage.api.apply("tickets", json!({"metadata": {"name": "t-1", "annotations": {"woken": "3"}}}));
    let status = stage.status("a reason", |status| status["reason"] == "NotAWorktree").await;
    assert!(status["message"].as_str().unwrap().contains("is no worktree of app any more"), "{status}");
    fs::remove_dir_all(path.join(".git")).unwrap();
    stage.status("mended", |status| status["reason"] == "Ready").await;
    assert_eq!(state(&path), before[0]);
}
