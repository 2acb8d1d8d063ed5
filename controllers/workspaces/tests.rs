//! The loop against a small API in memory and real git.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::Ordering;

use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::testing::{FakeApi, Life};
use crate::{Config, Context};

/// A hub with a base branch, a user's checkout, and the loop.
pub(super) struct Stage {
    pub(super) api: FakeApi,
    pub(super) dir: tempfile::TempDir,
    task: Option<JoinHandle<()>>,
    life: Life,
}

#[track_caller]
pub(super) fn git(dir: &Path, args: &[&str]) -> String {
    let mut command = Command::new("git");
    let command = command.args(["-c", "user.name=Ann", "-c", "user.email=ann@example.org"]);
    let output = command.args(args).current_dir(dir).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).trim_end().to_owned();
    assert!(output.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    text
}

impl Stage {
    /// A repository `app` with one commit.
    pub(super) fn new() -> Stage {
        let (api, dir) = (FakeApi::new(), tempfile::tempdir().unwrap());
        let stage = Stage { api, dir, task: None, life: Life::default() };
        stage.repository("app");
        stage
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().canonicalize().unwrap().join(name)
    }

    pub(super) fn hub(&self, name: &str) -> PathBuf {
        self.path(&format!("repositories/default/{name}/hub.git"))
    }

    pub(super) fn repository(&self, name: &str) {
        let (checkout, hub) = (self.path(&format!("checkouts/{name}")), self.hub(name));
        std::fs::create_dir_all(&checkout).unwrap();
        std::fs::create_dir_all(&hub).unwrap();
        git(&checkout, &["init", "--quiet", "-b", "main"]);
        std::fs::write(checkout.join("file"), "one\n").unwrap();
        std::fs::write(checkout.join(".gitignore"), "*.log\n").unwrap();
        git(&checkout, &["add", "--all"]);
        git(&checkout, &["commit", "--quiet", "-m", "first"]);
        git(&hub, &["clone", "--quiet", "--bare", &checkout.to_string_lossy(), "."]);
        self.api.apply("repositories", json!({
            "apiVersion": "gcluster.dev/v1alpha1", "kind": "Repository",
            "metadata": {"name": name, "namespace": "default"},
            "spec": {"path": checkout, "base": "main"},
            "status": {"hub": hub, "conditions": [
                {"type": "Ready", "status": "True", "reason": "Ready", "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z"}
            ]},
        }));
    }

    pub(super) fn ticket(&self, phase: &str) {
        self.api.apply(
            "tickets",
            json!({
                "apiVersion": "gcluster.dev/v1alpha1", "kind": "Ticket",
                "metadata": {"name": "t-1", "namespace": "default"},
                "spec": {"title": "t"}, "status": {"phase": phase},
            }),
        );
    }

    /// A workspace `t-1` with further fields of its spec.
    pub(super) fn workspace(&self, more: Value) {
        let mut spec = json!({"ticket": "t-1", "branch": "agent-1/feat-1", "worker": 1, "repositories": [{"name": "app"}]});
        for (field, value) in more.as_object().unwrap() {
            spec[field] = value.clone();
        }
        self.api.apply(
            "workspaces",
            json!({
                "apiVersion": "gcluster.dev/v1alpha1", "kind": "Workspace",
                "metadata": {"name": "t-1", "namespace": "default"}, "spec": spec,
            }),
        );
    }

    pub(super) fn start(&mut self) {
        let mut config = Config::new("rehearsal", self.path("runs"));
        config.data_dir = self.path("");
        let (client, life) = self.api.mortal_client();
        self.life = life;
        let ctx = Context::new(client, [], config);
        self.task = Some(tokio::spawn(async move { super::Workspaces::new(ctx).run().await }));
    }

    /// As if its process was killed: what still runs of it writes no more.
    pub(super) async fn stop(&mut self) {
        self.life.dead.store(true, Ordering::SeqCst);
        if let Some(task) = self.task.take() {
            task.abort();
            let _ = task.await;
        }
    }

    /// Waits until the status of the workspace satisfies a condition and gives it.
    pub(super) async fn status(&self, what: &str, check: impl Fn(&Value) -> bool) -> Value {
        let found =
            self.api.wait(what, |api| api.get("workspaces", "t-1").filter(|o| check(&o["status"]))).await;
        found["status"].clone()
    }

    /// Asks for an exact look and gives what it says.
    pub(super) async fn observed(&self, request: &str) -> Value {
        let annotations = json!({"gcluster.dev/observe": request});
        self.api.apply("workspaces", json!({"metadata": {"name": "t-1", "annotations": annotations}}));
        self.status("an answer", |status| status["observedRequest"] == request).await
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_workspace_is_a_worktree_on_a_branch_of_its_own_and_is_looked_at() {
    let mut stage = Stage::new();
    stage.ticket("Working");
    stage.workspace(json!({}));
    stage.start();
    let status = stage.status("ready", |status| status["phase"] == "Ready").await;
    let path = stage.path("workspaces/default/t-1");
    assert_eq!(status["path"], json!(path));
    assert_eq!(git(&path, &["branch", "--show-current"]), "agent-1/feat-1");
    let first = git(&path, &["rev-parse", "HEAD"]);
    let one = &status["repositories"][0];
    assert_eq!((&one["start"], &one["commit"], &one["base"]), (&json!(first), &json!(first), &json!("main")));
    assert_eq!((&one["merged"], &one["dirty"], &one["ahead"]), (&json!(true), &json!(0), &json!(0)));

    std::fs::write(path.join("file"), "one\ntwo\n").unwrap();
    std::fs::write(path.join("new"), "x\n").unwrap();
    std::fs::write(path.join("x.log"), "x\n").unwrap();
    assert_eq!(stage.observed("1").await["repositories"][0]["dirty"], 2);
    git(&path, &["add", "--all"]);
    git(&path, &["commit", "--quiet", "-m", "work"]);
    let tip = git(&path, &["rev-parse", "HEAD"]);
    // A commit is seen by itself.
    let is_seen = |status: &Value| status["repositories"][0]["commit"] == tip.as_str();
    let status = stage.status("the commit", is_seen).await;
    let one = &status["repositories"][0];
    assert_eq!((&one["ahead"], &one["merged"], &one["dirty"]), (&json!(1), &json!(false), &json!(0)));
    assert_eq!((&one["files"], &one["insertions"], &one["deletions"]), (&json!(2), &json!(2), &json!(0)));
    assert_eq!(status["kept"], "ticket is at work");
    git(&path, &["checkout", "--quiet", "--detach"]);
    let status = stage.observed("2").await;
    assert_eq!(status["conditions"][0]["type"], "OnBranch", "{status}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repository_that_is_not_ready_is_waited_for() {
    let stage = Stage::new();
    stage.ticket("Working");
    let condition = |kind: &str, status: &str| {
        json!({"type": kind, "status": status, "reason": "R", "message": "only 1 MiB is free",
            "lastTransitionTime": "2026-01-01T00:00:00Z"})
    };
    let say = |conditions: Value| {
        stage.api.apply(
            "repositories",
            json!({"metadata": {"name": "app"}, "status": {"conditions": conditions}}),
        );
    };
    say(json!([condition("Ready", "True"), condition("DiskSpace", "False")]));
    stage.workspace(json!({}));
    let mut stage = stage;
    stage.start();
    let status = stage.status("a reason", |status| status["reason"] == "DiskSpace").await;
    assert_eq!(status["phase"], "Pending");
    assert_eq!(status["message"], "no new workspace of app: only 1 MiB is free");
    stage.api.apply(
        "repositories",
        json!({"metadata": {"name": "app"}, "status": {"conditions": [condition("Ready", "True")]}}),
    );
    stage.status("ready", |status| status["phase"] == "Ready").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn several_repositories_are_side_by_side_and_a_half_made_one_is_made_again() {
    let mut stage = Stage::new();
    stage.repository("lib");
    stage.ticket("Working");
    stage.workspace(json!({"repositories": [{"name": "app"}, {"name": "lib"}]}));
    // A master was killed over it.
    let folder = stage.path("workspaces/default/t-1");
    std::fs::create_dir_all(folder.join("app")).unwrap();
    std::fs::write(folder.join("app/rubbish"), "x").unwrap();
    std::fs::write(stage.path("workspaces/default/.t-1.making"), "uid").unwrap();
    stage.start();
    let status = stage.status("ready", |status| status["phase"] == "Ready").await;
    for (n, name) in ["app", "lib"].iter().enumerate() {
        assert_eq!(status["repositories"][n]["name"], *name);
        assert_eq!(git(&folder.join(name), &["branch", "--show-current"]), "agent-1/feat-1");
    }
    assert!(!folder.join("app/rubbish").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_of_somebody_else_is_left_alone() {
    let mut stage = Stage::new();
    stage.ticket("Working");
    stage.workspace(json!({}));
    let folder = stage.path("workspaces/default/t-1");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("precious"), "x").unwrap();
    stage.start();
    let status = stage.status("a reason", |status| status["reason"] == "FolderOccupied").await;
    assert_eq!(status["phase"], "Pending");
    assert!(folder.join("precious").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn files_are_copied_and_set_up_commands_know_where_they_are() {
    let mut stage = Stage::new();
    stage.ticket("Working");
    std::fs::write(stage.path("checkouts/app/.env"), "SECRET=1\n").unwrap();
    stage.workspace(json!({
        "copy": [".env", "absent"], "firstPort": 4000, "ports": 10, "env": [{"name": "OWN", "value": "x y"}],
        "setup": ["echo $GCLUSTER_WORKSPACE $GCLUSTER_TICKET $GCLUSTER_BRANCH $GCLUSTER_WORKER > set-up.log",
            "echo $PORT $GCLUSTER_PORTS \"$OWN\" >> set-up.log; setsid sleep 1000 &"],
    }));
    stage.start();
    let status = stage.status("ready", |status| status["phase"] == "Ready").await;
    let path = stage.path("workspaces/default/t-1");
    assert_eq!(std::fs::read_to_string(path.join(".env")).unwrap(), "SECRET=1\n");
    let said = std::fs::read_to_string(path.join("set-up.log")).unwrap();
    assert_eq!(said, "t-1 t-1 agent-1/feat-1 1\n4000 4000-4009 x y\n");
    assert_eq!(status["environment"]["GCLUSTER_PORTS"], "4000-4009");
    let events = stage.api.all("events");
    assert!(events.iter().any(|event| event["reason"] == "NotCopied"), "{events:?}");
    let uid = stage.api.get("workspaces", "t-1").unwrap()["metadata"]["uid"].as_str().unwrap().to_owned();
    assert!(crate::backend::sweep::family(&uid, &[]).is_empty(), "what was left running is ended");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_set_up_is_quoted_and_one_that_takes_too_long_is_ended() {
    for (setup, timeout, says) in [
        (
            "echo first; echo it is broken >&2; exit 3",
            "1m",
            "ended with exit status: 3:\nfirst\nit is broken",
        ),
        ("echo begun; sleep 1000", "300ms", "did not end within 300ms:\nbegun"),
    ] {
        let mut stage = Stage::new();
        stage.ticket("Working");
        stage.workspace(json!({"setup": ["true", setup, "touch never"], "setupTimeout": timeout}));
        stage.start();
        let status = stage.status("failed", |status| status["phase"] == "Failed").await;
        assert_eq!(status["reason"], "SetupFailed");
        let message = status["message"].as_str().unwrap();
        assert!(message.starts_with(&format!("`{setup}` {says}")), "{message}");
        assert!(!stage.path("workspaces/default/t-1/never").exists());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn set_up_commands_of_a_master_that_is_gone_are_ended_and_begun_again() {
    let mut stage = Stage::new();
    stage.ticket("Working");
    // The first one that runs takes for ever, the second ends.
    stage.workspace(json!({"setup": ["[ -e begun.log ] || { touch begun.log; sleep 1000; }"]}));
    stage.start();
    let begun = stage.path("workspaces/default/t-1/begun.log");
    stage.api.wait("the command to run", |_| begun.exists().then_some(())).await;
    stage.stop().await;
    stage.start();
    stage.status("ready", |status| status["phase"] == "Ready").await;
}
