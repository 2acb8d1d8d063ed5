//! Commands that tell, on the API in memory: once for each transition, over masters that end.

use std::path::Path;

use serde_json::{Value, json};

use crate::testing::FakeApi;
use crate::{Config, Context};

fn pool(api: &FakeApi, notify: Value) {
    api.apply(
        "workerpools",
        json!({"metadata": {"name": "team"}, "spec": {"repositories": ["app"], "notify": notify}}),
    );
}

fn ticket(api: &FakeApi, name: &str, status: Value) {
    let mut status = status;
    status["pool"] = "team".into();
    status["message"] = format!("why of {name}").into();
    api.apply("tickets", json!({"metadata": {"name": name}, "spec": {"title": "Work"}, "status": status}));
}

fn asks(at: &str) -> Value {
    let condition = json!({"type": "NeedsHuman", "status": "True", "reason": "NeedsHuman", "message": "", "lastTransitionTime": at});
    json!({"phase": "Reviewing", "conditions": [condition]})
}

fn told(api: &FakeApi, name: &str) -> Option<String> {
    api.get("tickets", name)?["metadata"]["annotations"]["gcluster.dev/notified"].as_str().map(str::to_owned)
}

fn context(api: &FakeApi, dir: &Path) -> Context {
    let config = Config { default_directory: dir.to_owned(), ..Config::new("rehearsal", dir.join("runs")) };
    let now = "2026-05-01T12:05:00Z".parse().unwrap();
    Context::new(api.client(), [], config).with_clock(move || now)
}

#[tokio::test]
async fn each_transition_is_told_once_also_by_the_next_master() {
    let (api, dir) = (FakeApi::new(), tempfile::tempdir().unwrap());
    let say = "echo \"$GCLUSTER_EVENT $GCLUSTER_NAMESPACE/$GCLUSTER_TICKET: $GCLUSTER_MESSAGE\" >> said";
    pool(&api, json!({"command": ["sh", "-c", say]}));
    ticket(&api, "asks", asks("2026-05-01T12:00:00Z"));
    ticket(&api, "ended", json!({"phase": "Merged", "finishedAt": "2026-05-01T12:01:00.000000Z"}));
    ticket(&api, "old", json!({"phase": "Failed", "finishedAt": "2026-05-01T11:01:00.000000Z"}));
    ticket(&api, "dropped", json!({"phase": "Cancelled", "finishedAt": "2026-05-01T12:01:00.000000Z"}));
    let said = || {
        let text = std::fs::read_to_string(dir.path().join("said")).unwrap_or_default();
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    let first = ["Merged default/ended: why of ended", "NeedsHuman default/asks: why of asks"];
    let task = tokio::spawn(super::run(context(&api, dir.path())));
    api.wait("both", |api| (told(api, "asks").is_some() && told(api, "ended").is_some()).then_some(())).await;
    assert_eq!(told(&api, "asks").unwrap(), "NeedsHuman@2026-05-01T12:00:00Z");
    task.abort();
    // The next master has nothing to tell before something happens.
    let task = tokio::spawn(super::run(context(&api, dir.path())));
    ticket(
        &api,
        "asks",
        json!({"phase": "Failed", "conditions": null, "finishedAt": "2026-05-01T12:02:00.000000Z"}),
    );
    api.wait("the end", |api| told(api, "asks").filter(|at| at.starts_with("Failed@"))).await;
    let all = [&first[..], &["Failed default/asks: why of asks"]].concat();
    let mut all: Vec<&str> = all;
    all.sort_unstable();
    assert_eq!(said(), all);
    assert!(api.all("events").is_empty());
    task.abort();
}

#[tokio::test]
async fn a_command_that_fails_or_hangs_is_an_event_and_is_not_run_again() {
    let (api, dir) = (FakeApi::new(), tempfile::tempdir().unwrap());
    let script = "echo run >> runs.log; case $GCLUSTER_TICKET in hangs) sleep 600;; *) echo 'no such channel' >&2; exit 3;; esac";
    pool(&api, json!({"command": ["sh", "-c", script], "on": ["Failed"], "timeout": "300ms"}));
    for name in ["fails", "hangs"] {
        ticket(&api, name, json!({"phase": "Failed", "finishedAt": "2026-05-01T12:01:00.000000Z"}));
    }
    ticket(&api, "merged", json!({"phase": "Merged", "finishedAt": "2026-05-01T12:01:00.000000Z"}));
    let task = tokio::spawn(super::run(context(&api, dir.path())));
    api.wait("both", |api| (told(api, "fails").is_some() && told(api, "hangs").is_some()).then_some(()))
        .await;
    let mut notes: Vec<String> =
        api.all("events").iter().map(|event| event["note"].as_str().unwrap().to_owned()).collect();
    notes.sort();
    assert_eq!(notes.len(), 2, "{notes:?}");
    assert!(notes.iter().any(|note| note.contains("exit status: 3): no such channel")), "{notes:?}");
    assert!(notes.iter().any(|note| note.contains("did not end within 300ms")), "{notes:?}");
    assert_eq!(told(&api, "merged"), None, "nobody asked for it");
    assert_eq!(std::fs::read_to_string(dir.path().join("runs.log")).unwrap(), "run\nrun\n");
    task.abort();
}
