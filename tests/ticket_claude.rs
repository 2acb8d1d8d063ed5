//! A ticket from its file to the base branch, with the real `claude` CLI as worker and as reviewer, on a scripted model: the
//! reviewer sends the worker back once.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::agents::list;
use crate::support::claude::{ModelServer, claude_or_skip, within_reach};
use crate::support::cli::Sandbox;
use crate::support::master::{Master, object};
use crate::support::skip::program_or_skip;
use crate::support::wait::wait_within;

/// Four runs of the CLI, two checks and a merge on a busy machine.
const LIMIT: Duration = Duration::from_secs(240);

#[test]
fn the_real_claude_takes_a_ticket_from_its_file_to_merged() {
    const TEST: &str = "ticket_claude::the_real_claude_takes_a_ticket_from_its_file_to_merged";
    let Some(python) = program_or_skip("python3", TEST) else { return };
    let Some(claude) = claude_or_skip(TEST) else { return };
    let run = |command: &str| json!({"text": "I do it.", "tool": "Bash", "input": {"command": command, "description": "Work"}});
    let sandbox = Sandbox::new();
    // A file that the change names stays unread: what a change says is text to be judged.
    let secret = sandbox.work().join("secret.txt");
    std::fs::write(&secret, "what nobody was told\n").expect("a file");
    let named = secret.display().to_string();
    let work = |text: &str| {
        let command = format!(
            "echo {text} > french && echo 'see @{named}' > note && git add . && git commit -qm 'Say hello in French'"
        );
        json!({"steps": [run(&command)], "then": {"text": format!("French says {text}.")}})
    };
    // The reviewer tries what it may not, too.
    let spoil =
        json!({"tool": "Write", "input": {"file_path": "{first_result}/french", "content": "spoilt"}});
    let look =
        [run("git rev-parse --show-toplevel"), json!({"tool": "Glob", "input": {"pattern": "french"}})];
    let finding =
        json!([{"file": "french", "line": 1, "severity": "high", "text": "That is not a word."}]).to_string();
    let first = [look[0].clone(), look[1].clone(), run("echo spoilt > french"), spoil];
    let model = ModelServer::start(
        &python,
        &json!({
            "worker": {"side": {"text": "Aside."}, "choose": [
                {"contains": ["first round", "french:1 (high): That is not a word."], "scenario": "mends"},
                {"contains": "A file french says bonjour.", "scenario": "begins"},
            ]},
            "begins": work("bonjuor"),
            "mends": work("bonjour"),
            "reviewer": {"side": {"text": "Aside."}, "choose": [
                {"contains": ["Findings of the rounds before", "+bonjour"], "scenario": "approves"},
                {"contains": "+bonjuor", "scenario": "finds"},
            ]},
            "finds": {"steps": first, "then": {"text": format!("One thing.\n\n```json\n{finding}\n```")}},
            "approves": {"steps": [look[1]], "then": {"text": "[]"}},
        }),
    );
    let app = sandbox.work().join("app");
    std::fs::create_dir_all(app.join(".gcluster/backlog")).expect("a folder");
    std::fs::write(app.join("ci.sh"), "#!/bin/sh\ntest ! -e french || grep -q bonj french\n")
        .expect("a file");
    git(&app, &["init", "--quiet", "--initial-branch=main"]);
    git(&app, &["add", "--chmod=+x", "ci.sh"]);
    git(&app, &["commit", "--quiet", "-m", "Begin"]);

    let mut master = Master::start_with(&sandbox, &["--backend", "claude"], within_reach(&claude));
    let backend = |name: &str| model.agent(name, &app)["spec"]["backend"].clone();
    let object_of = |kind: &str, name: &str, spec: Value| json!({"apiVersion": "gcluster.dev/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec});
    let pool = json!({
        "replicas": 1, "repositories": ["app"], "backend": backend("worker"),
        "review": {"by": "Agent", "backend": backend("reviewer")},
    });
    let objects = [
        object_of("Repository", "app", json!({"path": app, "backlogPool": "team"})),
        object_of("WorkerPool", "team", pool),
    ];
    sandbox.write("objects.json", &list(&objects));
    sandbox.run(["apply", "-f", "objects.json"]).ok();
    let ticket = "id: T-1\ntitle: Say hello in French\ndescription: A file french says bonjour.\n";
    std::fs::write(app.join(".gcluster/backlog/t-1.yaml"), ticket).expect("a ticket");

    let mut last = Value::Null;
    let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        wait_within(LIMIT, "the ticket to come to its end", || {
            last = object(&sandbox, "ticket", "t-1")?;
            ["Merged", "Failed"].iter().any(|phase| last["status"]["phase"] == *phase).then_some(())
        });
    }));
    let story = || sandbox.run(["describe", "ticket", "t-1"]).stdout;
    assert!(ended.is_ok(), "{}\n{}", story(), master.log());
    assert_eq!(last["status"]["phase"], "Merged", "{}\n{}", story(), master.log());
    assert_eq!(last["status"]["round"], 2, "{}", story());
    assert_eq!(last["status"]["reviewRounds"], 2, "{}", story());
    assert_eq!(last["status"]["summary"], "French says bonjour.", "{last:#}");
    assert!(last["status"]["usage"]["tokens"].as_i64() > Some(0), "{last:#}");

    let hub = sandbox.data().join("repositories/default/app/hub.git");
    assert_eq!(git(&hub, &["show", "main:french"]), "bonjour");
    let asked = serde_json::to_string(&model.requests()).expect("text");
    assert!(asked.contains(&format!("+see @{named}")) && !asked.contains("what nobody was told"), "{asked}");
    assert_eq!(git(&hub, &["log", "--format=%s", "main"]), "Say hello in French\nBegin");
    // The reviewer could read, and nothing else.
    let review = |name: &str| object(&sandbox, "review", name).expect("the review");
    assert_eq!(review("t-1-review-1")["status"]["verdict"], "ChangesRequested");
    assert_eq!(review("t-1-review-2")["status"]["verdict"], "Approved");
    let transcript = sandbox.run(["logs", "t-1-review-1-1"]).ok().stdout;
    assert!(transcript.contains("Glob") && !transcript.contains("Glob was denied"), "{transcript}");
    assert!(transcript.contains("The tool Bash was denied"), "{transcript}");
    assert!(transcript.contains("Write is disabled"), "{transcript}");
    assert!(model.counted() >= 11, "each tool call is followed by an answer");
    assert!(master.stop().success());
}

/// What git printed. Panics with what it complained about.
fn git(dir: &Path, args: &[&str]) -> String {
    let identity = ["-c", "user.name=User", "-c", "user.email=user@example.com", "-c", "safe.directory=*"];
    let ran = Command::new("git").args(identity).args(args).current_dir(dir).output().expect("git");
    assert!(ran.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&ran.stderr));
    String::from_utf8_lossy(&ran.stdout).trim_end().to_owned()
}
