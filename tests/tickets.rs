//! The backlog with the real binary: files as teams write them, what each ticket waits for, and the verbs.

use serde_json::Value;

use crate::support::cli::Sandbox;
use crate::support::http::{request, token};
use crate::support::master::{Master, object, wait_object};

fn wait_reason(sandbox: &Sandbox, name: &str, reason: &str) -> Value {
    wait_object(sandbox, "ticket", name, reason, |o| o["status"]["reason"] == reason)["status"].clone()
}

#[test]
fn plain_tickets_are_applied_and_say_what_they_wait_for() {
    let sandbox = Sandbox::new();
    let master = Master::start(&sandbox);
    sandbox.write(
        "backlog/a.yaml",
        "id: T-1\ntitle: Add avatars\npriority: 2\n---\nid: T-2\ntitle: Show avatars\ndependencies: [T-1]\nlocks: ui\n",
    );
    sandbox.write(
        "backlog/b.yaml",
        "- title: Fix the login\n  priority: critical\n- {id: T-3, title: x, dependencies: [T-9]}\n",
    );
    let applied = sandbox.run(["apply", "-f", "backlog"]).ok();
    assert!(applied.stdout.contains("4 created"), "{}", applied.stdout);
    wait_reason(&sandbox, "t-1", "Ready");
    wait_reason(&sandbox, "fix-the-login", "Ready");
    let waiting = wait_reason(&sandbox, "t-2", "Dependencies");
    assert_eq!(
        (&waiting["phase"], &waiting["message"]),
        (&"Waiting".into(), &"it waits for t-1 (ready)".into())
    );
    wait_reason(&sandbox, "t-3", "DependencyMissing");
    let again = sandbox.run(["apply", "-f", "backlog"]).ok();
    assert!(again.stdout.contains("4 unchanged"), "{}", again.stdout);

    let list = sandbox.run(["ticket", "list"]).ok().stdout;
    let names: Vec<&str> = list.lines().skip(1).filter_map(|line| line.split_whitespace().next()).collect();
    assert_eq!(names, ["fix-the-login", "t-1", "t-2", "t-3"], "{list}");
    let ready = sandbox.run(["ticket", "list", "--ready"]).ok().stdout;
    assert_eq!(ready.lines().count(), 3, "{ready}");

    // Somebody who merges it, as a controller of its own would say.
    let merged = r#"{"status": {"phase": "Merged", "reason": "Merged"}}"#;
    let path = "/apis/gcluster.dev/v1alpha1/namespaces/default/tickets/t-1/status";
    let auth = format!("Bearer {}", token(&sandbox));
    let headers = [("Authorization", auth.as_str()), ("Content-Type", "application/merge-patch+json")];
    let answer = request(master.address(), "PATCH", path, &headers, merged.as_bytes()).expect("an answer");
    assert_eq!(answer.status, 200, "{}", answer.body);
    wait_reason(&sandbox, "t-2", "Ready");
    let cleared = sandbox.run(["ticket", "clear"]).ok();
    assert_eq!(cleared.stdout, "ticket t-1 deleted\n");
    wait_reason(&sandbox, "t-2", "DependencyMissing");
}

#[test]
fn the_backlog_is_kept_from_the_command_line() {
    let sandbox = Sandbox::new();
    let _master = Master::start(&sandbox);
    let empty = sandbox.run(["ticket", "list"]).ok();
    assert!(empty.stderr.contains("gcluster ticket add"), "{}", empty.stderr);
    sandbox.run(["ticket", "add", "First things first", "-p", "high"]).ok();
    let added =
        sandbox.run(["ticket", "add", "Then this", "--id", "T.2", "--depends-on", "first-things-first"]).ok();
    assert_eq!(added.stdout, "ticket t-2 added\n");
    let twice = sandbox.run(["ticket", "add", "Then this", "--id", "T.2"]);
    assert_eq!(twice.code, 5, "{}", twice.stderr);
    sandbox.run(["ticket", "hold", "first-things-first"]).ok();
    wait_reason(&sandbox, "first-things-first", "Held");
    sandbox.run(["ticket", "open", "first-things-first"]).ok();
    wait_reason(&sandbox, "first-things-first", "Ready");
    sandbox.run(["ticket", "cancel", "T.2"]).ok();
    wait_reason(&sandbox, "t-2", "Cancelled");
    assert_eq!(sandbox.run(["ticket", "clear"]).ok().stdout, "ticket t-2 deleted\n");
    assert!(object(&sandbox, "ticket", "t-2").is_none());
    assert_eq!(sandbox.run(["ticket", "cancel", "nobody"]).code, 4);
}

#[test]
fn wrong_tickets_change_nothing_and_every_problem_is_told() {
    let sandbox = Sandbox::new();
    sandbox.write("bad.yaml", "id: T-1\npriority: soon\ncolour: red\n");
    sandbox.write("good.yaml", "id: T-2\ntitle: fine\ndependencies: [T-3]\n");
    sandbox.write("circle.yaml", "id: T-3\ntitle: round\ndependencies: [T-2]\n");
    // Without a master.
    let told = sandbox.run(["validate", "bad.yaml", "good.yaml"]);
    assert_eq!(told.code, 1);
    for line in [
        "error: bad.yaml:1:1: title: is missing",
        "error: bad.yaml:2:11: priority: must be",
        "error: bad.yaml:3:1: colour: there is no such field",
    ] {
        assert!(told.stderr.contains(line), "{line}\n{}", told.stderr);
    }
    let fine = sandbox.run(["validate", "good.yaml"]).ok();
    assert_eq!(fine.stdout, "1 Ticket: no problem found\n");
    assert!(
        fine.stderr.contains("ticket t-2 depends on t-3, which is not in these files"),
        "{}",
        fine.stderr
    );
    let circle = sandbox.run(["validate", "good.yaml", "circle.yaml"]);
    assert!(circle.code == 1 && circle.stderr.contains("t-2 → t-3 → t-2"), "{}", circle.stderr);

    let _master = Master::start(&sandbox);
    assert_eq!(sandbox.run(["apply", "-f", "bad.yaml", "-f", "good.yaml"]).code, 1);
    assert!(object(&sandbox, "ticket", "t-2").is_none(), "all or nothing");
    sandbox.run(["apply", "-f", "good.yaml"]).ok();
    let circle = sandbox.run(["apply", "-f", "circle.yaml"]);
    assert!(circle.code == 1 && circle.stderr.contains("t-2 → t-3 → t-2"), "{}", circle.stderr);
    assert!(object(&sandbox, "ticket", "t-3").is_none());
}
