//! Workspaces with several repositories: all of them go together, and all of them come back.

use std::fs;

use serde_json::{Value, json};

use super::tests::{Stage, git};

const NAMES: [&str; 3] = ["app", "lib", "web"];

/// A workspace of three repositories: two with work, of which one is not committed, and one untouched.
async fn worked(stage: &mut Stage) -> Vec<String> {
    stage.repository("lib");
    stage.repository("web");
    stage.ticket("Working");
    let repositories = NAMES.map(|name| json!({"name": name}));
    stage.workspace(json!({"repositories": repositories, "teardown": ["echo here >> ../../torn-down"]}));
    stage.start();
    stage.status("ready", |status| status["phase"] == "Ready").await;
    let folder = stage.path("workspaces/default/t-1");
    fs::write(folder.join("app/file"), "one\napp\n").unwrap();
    git(&folder.join("app"), &["commit", "--quiet", "-am", "work"]);
    fs::write(folder.join("lib/new"), "n\n").unwrap();
    fs::create_dir(folder.join("lib/inner")).unwrap();
    git(&folder.join("lib/inner"), &["init", "--quiet"]);
    fs::write(folder.join("lib/inner/file"), "precious\n").unwrap();
    states(stage)
}

fn states(stage: &Stage) -> Vec<String> {
    let folder = stage.path("workspaces/default/t-1");
    let mut states: Vec<String> =
        NAMES.iter().map(|name| git(&folder.join(name), &["status", "--porcelain=v2", "--branch"])).collect();
    states.push(fs::read_to_string(folder.join("lib/inner/file")).unwrap_or_default());
    states
}

async fn gone(stage: &Stage) -> Value {
    stage.api.wait("the workspace to go", |api| api.get("workspaces", "t-1").is_none().then_some(())).await;
    stage.api.all("salvages").pop().expect("a Salvage")
}

#[tokio::test(flavor = "multi_thread")]
async fn all_repositories_are_kept_and_come_back_as_often_as_they_are_wanted() {
    let mut stage = Stage::new();
    let before = worked(&mut stage).await;
    let status = stage.observed("1").await;
    let of = |field: &str| -> Vec<Value> {
        status["repositories"].as_array().unwrap().iter().map(|one| one[field].clone()).collect()
    };
    assert_eq!(of("ahead"), [1, 0, 0]);
    // A repository inside counts as one path.
    assert_eq!(of("dirty"), [0, 2, 0]);
    assert!(status["bytes"].as_i64().unwrap() >= 3 * 4096 && status["size"].is_string(), "{status}");

    stage.ticket("Failed");
    stage.api.delete("workspaces", "t-1");
    let salvage = gone(&stage).await;
    assert_eq!(salvage["spec"]["holds"], "1 commit, 1 file, 1 path that git cannot hold");
    let snapshots = salvage["spec"]["snapshots"].as_array().unwrap();
    assert_eq!(snapshots.iter().map(|one| one["repository"].clone()).collect::<Vec<_>>(), NAMES);
    assert!(!stage.path("workspaces/default/t-1").exists());
    for name in NAMES {
        let refs = git(&stage.hub(name), &["for-each-ref", "--format=%(refname)"]);
        assert_eq!(refs.lines().count(), 2, "the snapshot and the base: {refs}");
        assert_eq!(git(&stage.hub(name), &["worktree", "list"]).lines().count(), 1);
    }
    let repositories = NAMES.map(|name| json!({"name": name}));
    for _ in 0..2 {
        stage.workspace(json!({"repositories": repositories, "restoreFrom": salvage["metadata"]["name"]}));
        stage.status("ready", |status| status["phase"] == "Ready").await;
        assert_eq!(states(&stage), before);
        stage.api.delete("workspaces", "t-1");
        gone(&stage).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_cannot_be_kept_keeps_all_of_them() {
    let mut stage = Stage::new();
    let before = worked(&mut stage).await;
    stage.ticket("Cancelled");
    // The last of them has no room for objects.
    let (objects, away) = (stage.hub("web").join("objects"), stage.path("objects"));
    fs::rename(&objects, &away).unwrap();
    fs::write(&objects, "").unwrap();
    stage.api.delete("workspaces", "t-1");
    let refused = |status: &Value| {
        let conditions = status["conditions"].as_array().cloned().unwrap_or_default();
        conditions.iter().any(|one| one["type"] == "Salvaged" && one["status"] == "False")
    };
    let status = stage.status("it to be refused", refused).await;
    let conditions = status["conditions"].as_array().unwrap();
    let salvaged = conditions.iter().find(|one| one["type"] == "Salvaged").unwrap();
    assert!(salvaged["message"].as_str().unwrap().starts_with("nothing of it is removed: "), "{salvaged}");
    assert!(stage.api.all("salvages").is_empty());
    fs::remove_file(&objects).unwrap();
    fs::rename(&away, &objects).unwrap();
    assert_eq!(states(&stage), before);
    let salvage = gone(&stage).await;
    assert_eq!(salvage["spec"]["snapshots"].as_array().unwrap().len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_master_that_ends_in_the_middle_loses_none_of_them() {
    for delay in [5, 40, 90, 150, 220, 320] {
        let mut stage = Stage::new();
        let before = worked(&mut stage).await;
        stage.ticket("Cancelled");
        stage.api.delete("workspaces", "t-1");
        let pause = std::time::Duration::from_millis(delay);
        tokio::time::sleep(pause).await;
        stage.stop().await;
        stage.start();
        let salvage = gone(&stage).await;
        let repositories = NAMES.map(|name| json!({"name": name}));
        stage.workspace(json!({"repositories": repositories, "restoreFrom": salvage["metadata"]["name"]}));
        tokio::time::sleep(pause).await;
        stage.stop().await;
        stage.start();
        stage.status("ready", |status| status["phase"] == "Ready").await;
        assert_eq!(states(&stage), before, "after {delay} ms");
    }
}
