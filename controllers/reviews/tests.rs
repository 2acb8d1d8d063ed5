//! The loop against an API in memory and a real git checkout; what the reviewer's agent does is written by the test.

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::context::{Config, Context};
use crate::testing::{FakeApi, Life};

/// A checkout with a base and a change of `src/a.rs`, and the objects of a review of it.
struct Scene {
    api: FakeApi,
    dir: tempfile::TempDir,
    base: String,
    commit: String,
}

fn git(dir: &Path, args: &[&str]) -> String {
    let mut command = Command::new("git");
    for (name, value) in [("NAME", "a"), ("EMAIL", "a@example.org")] {
        command.env(format!("GIT_AUTHOR_{name}"), value).env(format!("GIT_COMMITTER_{name}"), value);
    }
    let output = command.args(args).current_dir(dir).output().unwrap();
    assert!(output.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

impl Scene {
    fn new(api: FakeApi) -> Scene {
        let dir = tempfile::tempdir().unwrap();
        git(dir.path(), &["init", "--quiet", "-b", "main"]);
        git(dir.path(), &["commit", "--quiet", "--allow-empty", "-m", "base"]);
        let base = git(dir.path(), &["rev-parse", "HEAD"]);
        std::fs::create_dir(dir.path().join("src")).unwrap();
        std::fs::write(dir.path().join("src/a.rs"), "fn a() {}\n").unwrap();
        git(dir.path(), &["add", "--all"]);
        git(dir.path(), &["commit", "--quiet", "-m", "change"]);
        let commit = git(dir.path(), &["rev-parse", "HEAD"]);
        let scene = Scene { api, dir, base, commit };
        scene.api.apply(
            "tickets",
            json!({"metadata": {"name": "t-1"}, "spec": {"title": "Add a"}, "status": {"phase": "Reviewing"}}),
        );
        scene
    }

    fn workspace(&self, phase: &str) {
        self.api.apply(
            "workspaces",
            json!({
                "metadata": {"name": "t-1"},
                "spec": {"branch": "b", "repositories": [{"name": "main"}]},
                "status": {
                    "phase": phase, "path": self.dir.path(),
                    "repositories": [{"name": "main", "path": self.dir.path()}],
                    "environment": {"GCLUSTER_WORKSPACE": "t-1"},
                },
            }),
        );
    }

    fn review(&self) {
        let change = json!({"repository": "main", "base": self.base, "commit": self.commit});
        self.api.apply(
            "reviews",
            json!({
                "apiVersion": "gcluster.dev/v1alpha1", "kind": "Review",
                "metadata": {"name": "t-1-review-1"},
                "spec": {"ticket": "t-1", "round": 1, "workspace": "t-1", "changes": [change]},
            }),
        );
    }

    fn start(&self) -> (tokio::task::JoinHandle<()>, Life) {
        let (client, life) = self.api.mortal_client();
        let ctx = Context::new(client, [], Config::new("command", self.dir.path().join("runs")));
        (tokio::spawn(super::run(ctx)), life)
    }

    /// Waits until the agent of an attempt is there and ends it with an answer; with none, it failed twice.
    async fn answer(&self, attempt: i32, answer: Option<&str>) -> Value {
        let name = format!("t-1-review-1-{attempt}");
        let agent = self.api.wait(&name, |api| api.get("agents", &name)).await;
        let iteration = format!("{name}.prompt.0");
        let owner = json!([{"apiVersion": "gcluster.dev/v1alpha1", "kind": "Agent", "name": name, "uid": agent["metadata"]["uid"]}]);
        let phase = if answer.is_some() { "Succeeded" } else { "Failed" };
        self.api.apply(
            "iterations",
            json!({
                "metadata": {"name": iteration, "labels": {"gcluster.dev/agent": name}, "ownerReferences": owner},
                "spec": {"agent": name, "revision": "r", "step": "prompt", "kind": "Call", "number": 0},
                "status": {"phase": phase, "error": "no such program", "transcript": {"records": 3, "bytes": 9}},
            }),
        );
        let output = json!({"at": "2026-01-01T00:00:00.000000Z", "type": "output", "text": answer.unwrap_or_default()});
        let end = json!({"at": "2026-01-01T00:00:00.000000Z", "type": "end", "phase": phase, "reason": "x"});
        let path = format!(
            "/apis/gcluster.dev/v1alpha1/namespaces/default/iterations/{iteration}/transcript?expect=0"
        );
        let request =
            http::Request::post(path).body(format!("{{}}\n{output}\n{end}\n").into_bytes()).unwrap();
        // A disturbed API may have taken it and not said so.
        let _ = self.api.client().request_text(request).await;
        let (reason, failed) = if answer.is_some() { ("Completed", 0) } else { ("IterationsReached", 2) };
        let counts = json!({"total": 1, "succeeded": 1 - failed / 2, "failed": failed});
        self.api.apply(
            "agents",
            json!({"metadata": {"name": name}, "status": {"runState": "stopped", "reason": reason, "message": "m", "iterations": counts}}),
        );
        agent
    }

    async fn status(&self, phase: &str) -> Value {
        let said = |api: &FakeApi| {
            let review = api.get("reviews", "t-1-review-1")?;
            (review["status"]["phase"] == phase).then(|| review["status"].clone())
        };
        self.api.wait(phase, said).await
    }

    async fn reason(&self, reason: &str) -> Value {
        let said = |api: &FakeApi| {
            let review = api.get("reviews", "t-1-review-1")?;
            (review["status"]["reason"] == reason).then(|| review["status"].clone())
        };
        self.api.wait(reason, said).await
    }
}

fn told(status: &Value) -> String {
    let text = |field: &str| status[field].as_str().unwrap_or_default().to_owned();
    format!("{} {}: {}", text("phase"), text("reason"), text("message"))
}

const FINDING: &str = r#"Well:
```json
[{"file": "src/a.rs", "line": 1, "severity": "medium", "text": "no test"}, {"file": "x", "severity": "low", "text": "y"}]
```"#;

#[tokio::test]
async fn findings_go_back_and_an_empty_list_approves() {
    for (answer, verdict, count, dropped, message) in [
        (
            FINDING,
            "ChangesRequested",
            1,
            1,
            "1 finding goes back to the worker; 1 left out: of no file of the change, or told before",
        ),
        ("[]", "Approved", 0, 0, "nothing keeps the change back"),
    ] {
        let scene = Scene::new(FakeApi::new());
        scene.review();
        let (task, _) = scene.start();
        scene.reason("WorkspaceMissing").await;
        scene.workspace("Preparing");
        scene.reason("WorkspaceNotReady").await;
        scene.workspace("Ready");
        let agent = scene.answer(1, Some(answer)).await;
        assert_eq!(agent["metadata"]["labels"]["gcluster.dev/role"], "reviewer");
        assert_eq!(agent["spec"]["workingDirectory"], json!(scene.dir.path()));
        assert_eq!(agent["spec"]["backend"]["env"][0]["name"], "GCLUSTER_WORKSPACE");
        let definition = agent["spec"]["definition"].as_str().unwrap();
        assert!(
            definition.contains("+fn a() {}") && definition.contains("The ticket t-1: Add a"),
            "{definition}"
        );
        let status = scene.status("Done").await;
        assert_eq!(status["verdict"], verdict, "{status}");
        assert_eq!((&status["count"], &status["dropped"]), (&json!(count), &json!(dropped)));
        assert_eq!(status["message"], message);
        assert!(status["startedAt"].is_string() && status["finishedAt"].is_string());
        task.abort();
    }
}

#[tokio::test]
async fn an_answer_that_is_no_list_is_asked_for_once_more_with_the_error() {
    let (scene, task) = begun();
    scene.answer(1, Some("Looks good to me")).await;
    let second = scene.answer(2, Some(r#"[{"file": "src/a.rs", "severity": "awful", "text": "t"}]"#)).await;
    let definition = second["spec"]["definition"].as_str().unwrap();
    assert!(
        definition.contains("It could not be read: the answer holds no JSON list of findings"),
        "{definition}"
    );
    let status = scene.status("Failed").await;
    assert_eq!(status["attempts"], 2);
    insta::assert_snapshot!(
        told(&status),
        @"Failed NoFindingsList: 2 answers could not be read: finding 1 of 1: unknown variant `awful`, expected one of `low`, `medium`, `high`, `critical`; a person has to decide"
    );
    assert!(scene.api.get("agents", "t-1-review-1-3").is_none());
    task.abort();
}

/// A review of a workspace that is ready, and the loop.
fn begun() -> (Scene, tokio::task::JoinHandle<()>) {
    let scene = Scene::new(FakeApi::new());
    scene.workspace("Ready");
    scene.review();
    let (task, _) = scene.start();
    (scene, task)
}

#[tokio::test]
async fn a_reviewer_that_fails_twice_or_changes_something_comes_to_no_verdict() {
    let (scene, task) = begun();
    scene.answer(1, None).await;
    insta::assert_snapshot!(
        told(&scene.status("Failed").await),
        @"Failed ReviewerFailed: the reviewer t-1-review-1-1 failed 2 times: no such program"
    );
    task.abort();

    let (scene, task) = begun();
    scene.api.wait("the reviewer", |api| api.get("agents", "t-1-review-1-1")).await;
    std::fs::write(scene.dir.path().join("new.txt"), "x").unwrap();
    scene.answer(1, Some("[]")).await;
    let status = scene.status("Failed").await;
    assert_eq!(status["reason"], "WorkspaceChanged");
    let message = status["message"].as_str().unwrap();
    assert!(message.contains("in no commit: ?? new.txt; a reviewer may change nothing"), "{message}");
    task.abort();

    let (scene, task) = begun();
    scene.api.wait("the reviewer", |api| api.get("agents", "t-1-review-1-1")).await;
    git(scene.dir.path(), &["commit", "--quiet", "--allow-empty", "-m", "by the reviewer"]);
    scene.answer(1, Some("[]")).await;
    assert!(scene.status("Failed").await["message"].as_str().unwrap().contains("as it was checked"));
    task.abort();
}

#[tokio::test]
async fn a_reviewer_that_waits_says_for_what_and_one_that_nobody_needs_is_stopped() {
    let (scene, task) = begun();
    let name = "t-1-review-1-1";
    scene.api.wait("the reviewer", |api| api.get("agents", name)).await;
    let throttled = json!({"runState": "running", "reason": "Throttled", "message": "until 12:00"});
    scene.api.apply("agents", json!({"metadata": {"name": name}, "status": throttled}));
    assert_eq!(scene.reason("Throttled").await["message"], "the reviewer t-1-review-1-1 waits: until 12:00");
    scene.api.apply("tickets", json!({"metadata": {"name": "t-1"}, "status": {"phase": "Approved"}}));
    let status = scene.status("Failed").await;
    assert_eq!(status["reason"], "Withdrawn", "{status}");
    assert_eq!(scene.api.get("agents", name).unwrap()["spec"]["run"], "Stopped");
    task.abort();
}

#[tokio::test]
async fn whenever_the_master_is_killed_there_is_one_reviewer_at_a_time_and_one_verdict() {
    for writes in 1..9 {
        for last_counts in [false, true] {
            let scene = Scene::new(FakeApi::new().chaotic());
            scene.workspace("Ready");
            scene.review();
            let (task, life) = scene.start();
            life.end_with(writes, last_counts);
            let answers = async {
                scene.answer(1, Some("no list")).await;
                scene.answer(2, Some(FINDING)).await;
            };
            // The next master starts when the first is dead, or at the end.
            let next = async {
                loop {
                    tokio::time::sleep(std::time::Duration::from_millis(5)).await;
                    let done = scene
                        .api
                        .get("reviews", "t-1-review-1")
                        .is_some_and(|r| r["status"]["phase"] == "Done");
                    if life.dead.load(std::sync::atomic::Ordering::SeqCst) || done {
                        task.abort();
                        return scene.start();
                    }
                }
            };
            let ((), (next, _)) = tokio::join!(answers, next);
            let status = scene.status("Done").await;
            assert_eq!((&status["attempts"], &status["count"]), (&json!(2), &json!(1)), "{status}");
            assert_eq!(scene.api.all("agents").len(), 2, "killed at write {writes}");
            next.abort();
        }
    }
}
