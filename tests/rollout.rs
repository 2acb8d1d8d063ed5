//! Revisions as people handle them: an edit that meets the file, history, undo, status, `--now`.

use serde_json::{Value, json};

use crate::support::agents::{list, shell_loop};
use crate::support::cli::{Ran, Sandbox};
use crate::support::http::{request, token};
use crate::support::kubectl::Kubectl;
use crate::support::master::{Master, object, wait_object};
use crate::support::processes::with_environment;
use crate::support::wait::wait;

const TEAM: &str = "agent-builder:\n\tloop(build)\n\nagent-fixer:\n\tloop(fix)\n\nbuild:\n\tBuild one thing.\n\tCommit it.\n\nfix:\n\tFix one thing.\n";

/// A master with the two agents at their first revision, paused so that nothing else changes them.
fn team(sandbox: &Sandbox) -> Master {
    let master = Master::start(sandbox);
    sandbox.write("team.p", TEAM);
    sandbox.run(["apply", "-f", "team.p", "--wait"]).ok();
    sandbox.run(["pause", "builder", "fixer"]).ok();
    master
}

/// The request that steer makes for an edited prompt.
fn steer(sandbox: &Sandbox, master: &Master, agent: &str, method: &str, prompt: &str) {
    let before = object(sandbox, "agent", agent).unwrap()["spec"]["methods"][method].clone();
    let path = format!("/spec/methods/{method}");
    let form = format!("(defmethod {method} ()\n  {})", json!(prompt));
    let patch = json!([{"op": "test", "path": path, "value": before}, {"op": "replace", "path": path, "value": form}]);
    let url = format!(
        "/apis/gcluster.dev/v1alpha1/namespaces/default/agents/{agent}?fieldManager=gcluster-steer:ada"
    );
    let token = format!("Bearer {}", token(sandbox));
    let headers = [("Authorization", token.as_str()), ("Content-Type", "application/json-patch+json")];
    let answer = request(master.address(), "PATCH", &url, &headers, patch.to_string().as_bytes()).unwrap();
    assert_eq!(answer.status, 200, "{}", answer.body);
}

fn prompt(sandbox: &Sandbox, agent: &str, method: &str) -> String {
    let object = object(sandbox, "agent", agent).unwrap();
    object["spec"]["methods"][method].as_str().unwrap_or_default().to_owned()
}

#[track_caller]
fn says(ran: &Ran, texts: &[&str]) {
    for text in texts {
        assert!(ran.stderr.contains(text), "no {text:?} in:\n{}", ran.stderr);
    }
}

#[test]
fn an_edit_in_steer_and_another_text_in_the_file_are_a_conflict_that_names_both() {
    let sandbox = Sandbox::new();
    let master = team(&sandbox);
    steer(&sandbox, &master, "builder", "build", "Build two things.\nCommit it.");
    // The other agent of the file changes as well: all of it or nothing.
    sandbox.write("team.p", &TEAM.replace("Fix one", "Fix another"));
    let diff = sandbox.run(["diff", "-f", "team.p"]);
    assert_eq!(diff.code, 1, "{diff:?}");
    says(&diff, &["conflict: builder, method \"build\": changed in steer by ada"]);
    for apply in [&["apply", "-f", "team.p"][..], &["apply", "-f", "team.p", "--dry-run=server"]] {
        let refused = sandbox.run(apply);
        assert_eq!(refused.code, 5, "{refused:?}");
        says(
            &refused,
            &[
                "agent builder was changed by somebody else",
                "builder, method \"build\": changed in steer by ada",
                "(gcluster apply)",
                "-Build two things.",
                "+Build one thing.",
                "--force-conflicts",
                "gcluster get agent builder -o p",
            ],
        );
    }
    assert!(prompt(&sandbox, "fixer", "fix").contains("Fix one"), "nothing was applied");

    sandbox.run(["apply", "-f", "team.p", "--force-conflicts"]).ok();
    assert!(prompt(&sandbox, "builder", "build").contains("Build one thing."));
    sandbox.write("team.p", &TEAM.replace("Build one", "Build three"));
    sandbox.run(["apply", "-f", "team.p"]).ok();
    assert!(prompt(&sandbox, "builder", "build").contains("Build three"), "the file owns it again");
}

#[test]
fn an_edit_comes_home_into_the_file_by_its_source() {
    let sandbox = Sandbox::new();
    let master = team(&sandbox);
    steer(&sandbox, &master, "builder", "build", "Build \"two\" things: é.\n\nCommit it.");
    let source = sandbox.run(["get", "agents", "-o", "p"]).ok().stdout;
    assert!(source.contains("build:\n\tBuild \"two\" things: é.\n\n\tCommit it.\n"), "{source}");
    sandbox.write("team.p", &source);
    sandbox.run(["apply", "-f", "team.p"]).ok();
    let again = sandbox.run(["apply", "-f", "team.p"]).ok();
    assert!(again.stdout.contains("2 unchanged"), "{again:?}");
    // Both own the same text now; the file goes on alone.
    sandbox.write("team.p", &source.replace("Commit it.", "Commit all."));
    sandbox.run(["apply", "-f", "team.p"]).ok();
    assert!(prompt(&sandbox, "builder", "build").contains("Commit all."));
}

#[test]
fn an_edit_of_a_method_that_the_file_drops_is_a_conflict_too() {
    let sandbox = Sandbox::new();
    let master = team(&sandbox);
    steer(&sandbox, &master, "builder", "build", "Edited.");
    sandbox.write("team.p", "agent-builder:\n\tloop(make)\n\nmake:\n\tMake.\n");
    let refused = sandbox.run(["apply", "-f", "team.p"]);
    assert_eq!(refused.code, 5, "{refused:?}");
    says(&refused, &["method \"build\": changed in steer by ada", "the file does not have it"]);
    sandbox.run(["apply", "-f", "team.p", "--force-conflicts"]).ok();
    let methods = object(&sandbox, "agent", "builder").unwrap()["spec"]["methods"].clone();
    assert_eq!(methods.as_object().unwrap().keys().collect::<Vec<_>>(), ["make"]);
}

#[test]
fn an_edit_by_kubectl_is_a_conflict_with_kubectl() {
    let Some(kubectl) = Kubectl::start("an_edit_by_kubectl_is_a_conflict_with_kubectl") else { return };
    kubectl.file("team.p", TEAM);
    let team = kubectl.sandbox().work().join("team.p");
    kubectl.sandbox().run(["apply", "-f", team.to_str().unwrap(), "--wait"]).ok();
    let form = "(defmethod build ()\n  \"By kubectl.\")";
    kubectl.file("patch.json", &json!({"spec": {"methods": {"build": form}}}).to_string());
    kubectl.ok("patch agent builder --type merge --patch-file patch.json");
    let refused = kubectl.sandbox().run(["apply", "-f", team.to_str().unwrap()]);
    assert_eq!(refused.code, 5, "{refused:?}");
    says(&refused, &["method \"build\": changed by kubectl-patch", "-By kubectl."]);
}

#[test]
fn history_says_who_and_what_and_undo_takes_it_back() {
    let sandbox = Sandbox::new();
    let master = team(&sandbox);
    steer(&sandbox, &master, "builder", "build", "Build two things.\nCommit it.");
    let at = |number: i64| move |o: &Value| o["status"]["currentRevision"] == number;
    wait_object(&sandbox, "agent", "builder", "revision 2", at(2));
    let history = sandbox.run(["rollout", "history", "agent/builder"]).ok().stdout;
    let lines: Vec<&str> = history.lines().collect();
    assert_eq!((lines[0], lines.len()), ("agent.gcluster.dev/builder", 4), "{history}");
    assert!(lines[2].starts_with("1 ") && lines[2].contains("with gcluster apply"), "{history}");
    assert!(lines[3].starts_with("2 (current)") && lines[3].contains("in steer by ada"), "{history}");
    assert!(lines[3].contains("method \"build\": +1 -1"), "{history}");
    let one = sandbox.run(["rollout", "history", "agent", "builder", "--revision", "2"]).ok().stdout;
    assert!(one.contains("-Build one thing.") && one.contains("agent-builder:"), "{one}");
    assert_eq!(sandbox.run(["rollout", "history", "builder", "--revision", "9"]).code, 4);

    let undone = sandbox.run(["rollout", "undo", "agent/builder"]).ok();
    assert!(undone.stdout.contains("rolled back to the text of revision 1"), "{}", undone.stdout);
    let agent = wait_object(&sandbox, "agent", "builder", "revision 3", at(3));
    assert!(agent["spec"]["methods"]["build"].as_str().unwrap().contains("Build one thing."));
    let again = sandbox.run(["rollout", "undo", "agent/builder", "--to-revision=3"]).ok();
    assert!(again.stdout.contains("skipped rollback"), "{}", again.stdout);
    assert_eq!(sandbox.run(["rollout", "undo", "agent/builder", "--to-revision=1"]).code, 4);
    let back = sandbox.run(["rollout", "undo", "agent/builder", "--to-revision=2"]).ok();
    assert!(back.stdout.contains("revision 2"), "{}", back.stdout);
    wait_object(&sandbox, "agent", "builder", "revision 4", at(4));
    // The file meets the text that was taken back.
    let refused = sandbox.run(["apply", "-f", "team.p"]);
    assert_eq!(refused.code, 5, "{refused:?}");
    says(&refused, &["changed with gcluster rollout"]);
}

/// Loops over a program that ends only when a file is there; its first line tells the prompt.
fn waiting(sandbox: &Sandbox, prompt: &str) -> Value {
    let go = sandbox.work().join("go");
    let script = format!("cat; echo; while [ ! -e '{}' ]; do sleep 0.05; done", go.display());
    let mut agent = shell_loop("builder", &script);
    agent["spec"]["methods"]["work"] = format!("(defmethod work ()\n  \"{prompt}\")").into();
    agent
}

fn apply(sandbox: &Sandbox, prompt: &str, more: &[&str]) -> Ran {
    sandbox.write("a.json", &list(&[waiting(sandbox, prompt)]));
    sandbox.run([&["apply", "-f", "a.json"], more].concat())
}

fn running(sandbox: &Sandbox, name: &str) -> Value {
    wait_object(sandbox, "iteration", name, "running", |o| o["status"]["process"]["pid"].is_i64())
}

#[test]
fn a_new_revision_waits_for_the_next_iteration_and_status_says_so() {
    let sandbox = Sandbox::new();
    let _master = Master::start(&sandbox);
    apply(&sandbox, "One.", &[]).ok();
    running(&sandbox, "builder.work.0");
    let done = sandbox.run(["rollout", "status", "agent/builder", "--timeout=60s"]).ok();
    assert!(done.stdout.contains("revision 1 is in use"), "{}", done.stdout);
    apply(&sandbox, "Two.", &["--wait"]).ok();
    let told = "revision 1 → 2 at the next iteration: builder.work.0 still runs 1";
    let now = sandbox.run(["rollout", "status", "agent/builder", "--watch=false"]).ok();
    assert!(now.stdout.contains(told), "{}", now.stdout);
    let late = sandbox.run(["rollout", "status", "agent/builder", "--timeout=1s"]);
    assert_eq!(late.code, 1, "{late:?}");
    let described = sandbox.run(["describe", "agent", "builder"]).ok().stdout;
    assert!(described.contains(told), "{described}");
    sandbox.write("go", "");
    let done = sandbox.run(["rollout", "status", "agent", "builder", "--timeout=60s"]).ok();
    assert!(done.stdout.contains("revision 2 is in use"), "{}", done.stdout);
    let first = object(&sandbox, "iteration", "builder.work.0").unwrap();
    assert_eq!(first["status"]["phase"], "Succeeded", "it was let finish");
}

#[test]
fn now_ends_what_runs_on_the_older_revision_and_the_loop_goes_on_at_once() {
    let sandbox = Sandbox::new();
    let mut master = Master::start(&sandbox);
    apply(&sandbox, "One.", &[]).ok();
    let first = running(&sandbox, "builder.work.0");
    let mark = format!("GCLUSTER_ITERATION_UID={}", first["metadata"]["uid"].as_str().unwrap());
    let unchanged = apply(&sandbox, "One.", &["--now"]).ok();
    assert!(!unchanged.stderr.contains("are ended"), "{}", unchanged.stderr);
    let applied = apply(&sandbox, "Two.", &["--now"]).ok();
    assert!(
        applied.stderr.contains("builder: iterations of older revisions are ended now"),
        "{}",
        applied.stderr
    );
    let ended = wait_object(&sandbox, "iteration", "builder.work.0", "ended", |o| {
        o["status"]["finishedAt"].is_string()
    });
    assert_eq!(
        (&ended["status"]["phase"], &ended["status"]["reason"]),
        (&"Interrupted".into(), &"Replaced".into())
    );
    assert_eq!(with_environment(&mark), Vec::<u32>::new());
    running(&sandbox, "builder.work.1");
    wait("the new prompt", || sandbox.run(["logs", "builder.work.1"]).stdout.contains("Two.").then_some(()));
    // The request is an object's field: a master that dies before it is carried out loses nothing.
    master.kill();
    let mut agent = waiting(&sandbox, "Three.");
    agent["spec"]["replacedAt"] = "2026-01-01T00:00:00Z".into();
    let _master = Master::start(&sandbox);
    sandbox.write("b.json", &list(&[agent]));
    sandbox.run(["apply", "-f", "b.json", "--force-conflicts"]).ok();
    let ended = wait_object(&sandbox, "iteration", "builder.work.1", "ended", |o| {
        o["status"]["finishedAt"].is_string()
    });
    assert_eq!(ended["status"]["reason"], "Replaced", "{ended}");
    running(&sandbox, "builder.work.2");
    wait_object(&sandbox, "agent", "builder", "carried out", |o| {
        o["status"]["observedReplacement"] == o["spec"]["replacedAt"]
    });
    let undone = sandbox.run(["rollout", "undo", "builder", "--now"]).ok();
    assert!(undone.stdout.contains("are ended"), "{}", undone.stdout);
    let ended = wait_object(&sandbox, "iteration", "builder.work.2", "ended", |o| {
        o["status"]["finishedAt"].is_string()
    });
    assert_eq!(ended["status"]["reason"], "Replaced", "{ended}");
}
