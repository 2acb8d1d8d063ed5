//! What is in a workspace when it goes, and what comes back.

use std::fs;

use serde_json::{Value, json};

use super::tests::{Stage, git};

/// A workspace with a commit, a staged file, an untracked one, an ignored one and a repository inside.
async fn worked(stage: &mut Stage, more: Value) -> String {
    stage.ticket("Working");
    stage.workspace(more);
    stage.start();
    stage.status("ready", |status| status["phase"] == "Ready").await;
    let path = stage.path("workspaces/default/t-1");
    fs::write(path.join("file"), "one\ntwo\n").unwrap();
    git(&path, &["commit", "--quiet", "-am", "work"]);
    fs::write(path.join("staged"), "s\n").unwrap();
    git(&path, &["add", "staged"]);
    fs::write(path.join("untracked"), "u\n").unwrap();
    fs::write(path.join("x.log"), "ignored\n").unwrap();
    fs::create_dir(path.join("inner")).unwrap();
    git(&path.join("inner"), &["init", "--quiet"]);
    fs::write(path.join("inner/file"), "precious\n").unwrap();
    git(&path, &["rev-parse", "HEAD"])
}

async fn gone(stage: &Stage) -> Value {
    stage.api.wait("the workspace to go", |api| api.get("workspaces", "t-1").is_none().then_some(())).await;
    let kept = stage.api.all("salvages").into_iter().find(|one| one["spec"]["kind"] == "Workspace");
    kept.expect("a Salvage")
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_in_a_deleted_workspace_is_kept_and_comes_back() {
    let mut stage = Stage::new();
    let tip = worked(&mut stage, json!({"teardown": ["echo $GCLUSTER_BRANCH > ../torn-down"]})).await;
    stage.ticket("Failed");
    stage.api.delete("workspaces", "t-1");
    let salvage = gone(&stage).await;
    let path = stage.path("workspaces/default/t-1");
    let entries: Vec<_> =
        fs::read_dir(path.parent().unwrap()).unwrap().flatten().map(|e| e.file_name()).collect();
    assert_eq!(entries, ["torn-down"]);
    assert_eq!(fs::read_to_string(stage.path("workspaces/default/torn-down")).unwrap(), "agent-1/feat-1\n");
    let spec = &salvage["spec"];
    assert_eq!(spec["holds"], "1 commit, 2 files, 1 path that git cannot hold");
    let snapshot = &spec["snapshots"][0];
    assert_eq!((&snapshot["tip"], &snapshot["ignored"]), (&json!(tip), &json!(1)));
    assert_eq!(snapshot["aside"], json!(["inner"]));
    let hub = stage.hub("app");
    assert_eq!(
        git(&hub, &["for-each-ref", "--format=%(refname)"]),
        format!(
            "refs/gcluster/salvage/default/{}\nrefs/heads/main",
            salvage["metadata"]["name"].as_str().unwrap()
        )
    );
    assert_eq!(git(&hub, &["worktree", "list"]).lines().count(), 1);

    stage.workspace(json!({"restoreFrom": salvage["metadata"]["name"]}));
    stage.status("ready", |status| status["phase"] == "Ready").await;
    assert_eq!(git(&path, &["rev-parse", "HEAD", "refs/heads/agent-1/feat-1"]), format!("{tip}\n{tip}"));
    assert_eq!(git(&path, &["status", "--porcelain"]), "A  staged\n?? inner/\n?? untracked");
    assert_eq!(fs::read_to_string(path.join("untracked")).unwrap(), "u\n");
    assert_eq!(fs::read_to_string(path.join("inner/file")).unwrap(), "precious\n");
    // Its ticket has failed before it was there: it is not taken away again.
    let status = stage.observed("1").await;
    assert_eq!(status["kept"], "restored; delete it when nobody needs it");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_branch_stays_while_its_ticket_is_open_and_the_next_workspace_goes_on_with_it() {
    let mut stage = Stage::new();
    let tip = worked(&mut stage, json!({})).await;
    stage.api.delete("workspaces", "t-1");
    gone(&stage).await;
    assert_eq!(git(&stage.hub("app"), &["rev-parse", "refs/heads/agent-1/feat-1"]), tip);
    stage.workspace(json!({}));
    let status = stage.status("ready", |status| status["phase"] == "Ready").await;
    assert_eq!(status["repositories"][0]["commit"], tip.as_str());
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_removed_under_an_agent_or_when_it_cannot_be_kept() {
    let mut stage = Stage::new();
    worked(&mut stage, json!({})).await;
    let path = stage.path("workspaces/default/t-1");
    let agent = |state: &str| {
        json!({"apiVersion": "gcluster.dev/v1alpha1", "kind": "Agent", "metadata": {"name": "t-1-work-1"},
            "spec": {"definition": "", "workingDirectory": path.join("inner")}, "status": {"runState": state}})
    };
    stage.api.apply("agents", agent("running"));
    stage.api.delete("workspaces", "t-1");
    let status = stage.status("it to wait", |status| status["reason"] == "AgentAtWork").await;
    assert_eq!(status["kept"], "it is deleted, and waits for the agent t-1-work-1, which works in it");
    // The hub is not there for a while.
    let (hub, away) = (stage.hub("app"), stage.path("away.git"));
    fs::rename(&hub, &away).unwrap();
    stage.api.apply("agents", agent("stopped"));
    let status = stage.status("a condition", |status| status["reason"] == "HubMissing").await;
    assert_eq!(
        (&status["conditions"][0]["type"], &status["conditions"][0]["status"]),
        (&json!("Salvaged"), &json!("False"))
    );
    assert!(path.join("untracked").exists());
    fs::rename(&away, &hub).unwrap();
    stage.api.apply("repositories", json!({"metadata": {"name": "app", "annotations": {"x": "y"}}}));
    gone(&stage).await;
    assert!(!path.exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_kept_goes_when_it_has_expired_and_nothing_of_it_is_left() {
    let mut stage = Stage::new();
    worked(&mut stage, json!({})).await;
    stage.api.apply(
        "repositories",
        json!({"metadata": {"name": "app"}, "spec": {"retention": {"salvaged": "1s", "failed": "10ms"}}}),
    );
    // Nobody deletes it: its time has come.
    stage.api.apply("tickets", json!({"metadata": {"name": "t-1"}, "status": {"phase": "Failed", "finishedAt": "2026-01-01T00:00:00.000000Z"}}));
    gone(&stage).await;
    stage.api.wait("the Salvage to go", |api| api.all("salvages").is_empty().then_some(())).await;
    assert_eq!(git(&stage.hub("app"), &["for-each-ref", "--format=%(refname)"]), "refs/heads/main");
    let kept = fs::read_dir(stage.path("salvages/default")).map(|entries| entries.count()).unwrap_or(0);
    assert_eq!(kept, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_somebody_deleted_is_made_again_and_what_was_staged_is_kept() {
    let mut stage = Stage::new();
    let tip = worked(&mut stage, json!({})).await;
    let path = stage.path("workspaces/default/t-1");
    fs::remove_dir_all(&path).unwrap();
    stage.api.apply("tickets", json!({"metadata": {"name": "t-1", "annotations": {"x": "y"}}}));
    let salvage = stage.api.wait("a Salvage", |api| api.all("salvages").pop()).await;
    // What was not staged, too, if it was saved by then.
    let holds = salvage["spec"]["holds"].as_str().unwrap();
    assert!(matches!(holds, "1 commit, 1 file" | "1 commit, 3 files"), "{holds}");
    let is_back = |status: &Value| status["phase"] == "Ready" && status["restoring"].is_null();
    stage.status("ready again", |status| is_back(status) && path.join("staged").exists()).await;
    assert_eq!(git(&path, &["rev-parse", "HEAD"]), tip);
    assert_eq!(git(&path, &["show", ":staged"]), "s");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_master_that_ends_at_any_moment_of_a_removal_loses_nothing() {
    for delay in [0, 5, 15, 30, 60, 100, 150, 250] {
        let mut stage = Stage::new();
        let tip = worked(&mut stage, json!({})).await;
        stage.ticket("Cancelled");
        stage.api.delete("workspaces", "t-1");
        tokio::time::sleep(std::time::Duration::from_millis(delay)).await;
        stage.stop().await;
        stage.start();
        let salvage = gone(&stage).await;
        assert_eq!(
            salvage["spec"]["holds"],
            "1 commit, 2 files, 1 path that git cannot hold",
            "after {delay} ms: {:#?}",
            stage
                .api
                .all("events")
                .iter()
                .map(|e| format!("{} {}", e["reason"], e["note"]))
                .collect::<Vec<_>>()
        );
        stage.workspace(json!({"restoreFrom": salvage["metadata"]["name"]}));
        tokio::time::sleep(std::time::Duration::from_millis(delay)).await;
        stage.stop().await;
        stage.start();
        stage.status("ready", |status| status["phase"] == "Ready").await;
        let path = stage.path("workspaces/default/t-1");
        assert_eq!(git(&path, &["rev-parse", "HEAD"]), tip, "after {delay} ms");
        assert_eq!(
            git(&path, &["status", "--porcelain"]),
            "A  staged\n?? inner/\n?? untracked",
            "after {delay} ms"
        );
        assert_eq!(fs::read_to_string(path.join("inner/file")).unwrap(), "precious\n", "after {delay} ms");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_ticket_is_written_down_before_it_goes() {
    let mut stage = Stage::new();
    stage.ticket("Merged");
    stage.api.apply("tickets", json!({"metadata": {"name": "t-1", "finalizers": ["gcluster.dev/ticket"]}}));
    stage.start();
    stage.api.delete("tickets", "t-1");
    stage.api.wait("the ticket to go", |api| api.get("tickets", "t-1").is_none().then_some(())).await;
    let salvage = stage.api.all("salvages").pop().unwrap();
    assert_eq!((&salvage["spec"]["kind"], &salvage["spec"]["name"]), (&json!("Ticket"), &json!("t-1")));
    let manifest: Value = serde_json::from_str(salvage["spec"]["manifest"].as_str().unwrap()).unwrap();
    assert_eq!((&manifest["spec"]["title"], &manifest["status"]["phase"]), (&json!("t"), &json!("Merged")));
}
