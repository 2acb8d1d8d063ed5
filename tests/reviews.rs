//! Reviews and metrics of tickets with the real binary, real git, and workers and reviewers that are shell scripts.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::cli::Sandbox;
use crate::support::git::Checkout;
use crate::support::http::{request, token};
use crate::support::master::{Master, object};
use crate::support::wait::wait_within;

/// Longer than any ticket needs on a busy machine.
const LONG: Duration = Duration::from_secs(240);

const WORK: &str = "cat > /dev/null; echo line >> work.txt; git add -A; git commit -qm work; echo made it";
/// Talks first; then finds something; then, asked about the next round, nothing. What it was told is kept.
const REVIEW: &str = r#"n=$(ls "$NOTES" | wc -l); cat > "$NOTES/prompt-$n"
case $n in
0) echo "Looks good to me." ;;
1) printf 'Here:\n```json\n[{"file": "work.txt", "line": 1, "severity": "medium", "text": "say more"}, {"file": "no.txt", "severity": "low", "text": "x"}]\n```\n' ;;
*) echo '[]' ;;
esac"#;

fn team(sandbox: &Sandbox, checkout: &Checkout, review: &str) {
    let notes = sandbox.work().join("notes");
    std::fs::create_dir_all(&notes).expect("notes");
    let env: Vec<Value> = [
        ("GIT_AUTHOR_NAME", "w"),
        ("GIT_AUTHOR_EMAIL", "w@localhost"),
        ("GIT_COMMITTER_NAME", "w"),
        ("GIT_COMMITTER_EMAIL", "w@localhost"),
        ("NOTES", notes.to_str().expect("path")),
    ]
    .map(|(name, value)| json!({"name": name, "value": value}))
    .into();
    let backend = |script: &str| json!({"name": "command", "args": ["sh", "-c", script], "env": env});
    let pool = json!({
        "replicas": 1, "repositories": ["app"], "backend": backend(WORK),
        "review": {"by": "Agent", "backend": backend(review)},
    });
    let kind = |kind: &str, name: &str, spec: Value| json!({"apiVersion": "gcluster.dev/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec});
    let items = [
        kind("Repository", "app", json!({"path": checkout.path(), "base": "main"})),
        kind("WorkerPool", "team", pool),
    ];
    sandbox.write("team.json", &json!({"apiVersion": "v1", "kind": "List", "items": items}).to_string());
    sandbox.run(["apply", "-f", "team.json"]).ok();
}

#[track_caller]
fn until(sandbox: &Sandbox, kind: &str, name: &str, what: &str, check: impl Fn(&Value) -> bool) -> Value {
    wait_within(LONG, &format!("{kind} {name}: {what}"), || {
        object(sandbox, kind, name).map(|object| object["status"].clone()).filter(|status| check(status))
    })
}

#[test]
fn findings_go_back_to_the_worker_and_a_merged_ticket_is_in_the_report() {
    let (sandbox, checkout) = (Sandbox::new(), Checkout::new());
    let mut master = Master::start(&sandbox);
    team(&sandbox, &checkout, REVIEW);
    sandbox.run(["ticket", "add", "Add [avatars], now", "--id", "t-1"]).ok();
    until(&sandbox, "review", "t-1-review-1", "begun", |status| status["phase"] == "Running");
    // The next master goes on where this one was.
    master.kill();
    let master = Master::start_at(&sandbox, "127.0.0.1:0", &["--backend", "rehearsal"], |_| {});
    let first = until(&sandbox, "review", "t-1-review-1", "done", |status| status["finishedAt"].is_string());
    assert_eq!((&first["verdict"], &first["attempts"]), (&"ChangesRequested".into(), &2.into()), "{first}");
    assert_eq!((&first["count"], &first["dropped"]), (&1.into(), &1.into()), "{first}");
    let merged = until(&sandbox, "ticket", "t-1", "merged", |status| {
        assert_ne!(status["phase"], "Failed", "{status}");
        status["phase"] == "Merged"
    });
    assert_eq!((&merged["reviewRounds"], &merged["round"]), (&2.into(), &2.into()), "{merged}");
    let second = until(&sandbox, "review", "t-1-review-2", "done", |status| status["phase"] == "Done");
    assert_eq!(second["verdict"], "Approved", "{second}");
    let told = |n: usize| {
        std::fs::read_to_string(sandbox.work().join(format!("notes/prompt-{n}"))).expect("a prompt")
    };
    assert!(told(0).contains("Add [avatars], now") && told(0).contains("+line"), "{}", told(0));
    assert!(
        told(1).contains("It could not be read: the answer holds no JSON list of findings"),
        "{}",
        told(1)
    );
    assert!(told(2).contains("- work.txt:1 (medium): say more"), "{}", told(2));

    let path = sandbox.data().join("metrics/tickets.csv");
    let rows = wait_within(LONG, "the row", || std::fs::read_to_string(&path).ok());
    assert_eq!(rows.lines().count(), 2, "{rows}");
    assert!(rows.contains(",\"Add [avatars], now\",team,1,") && rows.contains(",Merged,"), "{rows}");
    let auth = format!("Bearer {}", token(&sandbox));
    let page =
        request(master.address(), "GET", "/metrics", &[("Authorization", &auth)], b"").expect("an answer");
    let line = "gcluster_tickets_finished_total{pool=\"team\",result=\"Merged\"} 1";
    assert!(page.body.contains(line), "{}", page.body);
    let report: Value =
        serde_json::from_str(&sandbox.run(["report", "-o", "json"]).ok().stdout).expect("JSON");
    assert_eq!((&report["results"]["Merged"], &report["reviewRounds"]), (&1.into(), &2.into()), "{report}");
    let text = sandbox.run(["report", "--since", "24h"]).ok().stdout;
    assert!(text.contains("1 merged, 0 failed, 0 cancelled"), "{text}");
    sandbox.run(["report", "--notebook", "plots"]).ok();
    let copy = sandbox.run(["report", "--file", "plots/tickets.csv", "-o", "json"]).ok().stdout;
    assert!(copy.contains("\"Merged\": 1") && sandbox.work().join("plots/analysis.ipynb").exists(), "{copy}");
}

#[test]
fn a_reviewer_that_changes_something_gives_no_verdict() {
    let (sandbox, checkout) = (Sandbox::new(), Checkout::new());
    let _master = Master::start(&sandbox);
    team(&sandbox, &checkout, "cat > /dev/null; echo mine > mine.txt; echo '[]'");
    sandbox.run(["ticket", "add", "Work", "--id", "t-1"]).ok();
    let review =
        until(&sandbox, "review", "t-1-review-1", "ended", |status| status["finishedAt"].is_string());
    assert_eq!(
        (&review["phase"], &review["reason"]),
        (&"Failed".into(), &"WorkspaceChanged".into()),
        "{review}"
    );
    let ticket =
        until(&sandbox, "ticket", "t-1", "waiting for a person", |status| status["reason"] == "NeedsHuman");
    assert_eq!(ticket["phase"], "Reviewing", "{ticket}");
}
