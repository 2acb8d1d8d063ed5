//! Checks on the API in memory, with real git and real scripts.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use gcluster_types::{Check, Repository};
use k8s_openapi::jiff::Timestamp;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::Checks;
use super::plan::{Act, Seen, plan};
use crate::backend::sweep;
use crate::testing::FakeApi;
use crate::testing_git::Hub;
use crate::{Config, Context};

fn check(name: &str, commit: &str, more: Value) -> Value {
    let mut object = json!({
        "apiVersion": "gcluster.dev/v1alpha1", "kind": "Check", "metadata": {"name": name},
        "spec": {"repository": "app", "commit": commit, "ref": "refs/heads/main", "requestedBy": "push"},
    });
    merge(&mut object, more);
    object
}

fn merge(object: &mut Value, more: Value) {
    match (object, more) {
        (Value::Object(object), Value::Object(more)) => {
            more.into_iter().for_each(|(key, value)| merge(object.entry(key).or_insert(Value::Null), value));
        }
        (object, more) => *object = more,
    }
}

fn repository(hub: &Hub, checks: Value) -> Value {
    json!({
        "apiVersion": "gcluster.dev/v1alpha1", "kind": "Repository", "metadata": {"name": "app"},
        "spec": {"path": "/somewhere", "checks": checks},
        "status": {"hub": hub.path(), "ciStatus": hub.dir().join("ci-status")},
    })
}

struct World {
    hub: Hub,
    api: FakeApi,
}

impl World {
    fn new(checks: Value) -> World {
        let (hub, api) = (Hub::new(), FakeApi::new());
        api.apply("repositories", repository(&hub, checks));
        World { hub, api }
    }

    fn start(&self) -> (Checks, tokio::task::JoinHandle<()>) {
        let config = Config::new("rehearsal", self.hub.dir().join("runs"));
        let checks = Checks::new(Context::new(self.api.client(), [], config));
        let running = checks.clone();
        (checks, tokio::spawn(async move { running.run().await }))
    }

    async fn status(&self, name: &str, phase: &str) -> Value {
        let what = format!("check {name} {phase}");
        let at = |api: &FakeApi| api.get("checks", name).filter(|check| check["status"]["phase"] == phase);
        self.api.wait(&what, at).await["status"].clone()
    }

    fn record(&self, commit: &str) -> Value {
        let text = std::fs::read(self.hub.dir().join("ci-status").join(format!("{commit}.json"))).unwrap();
        serde_json::from_slice(&text).unwrap()
    }
}

#[tokio::test]
async fn every_end_of_a_check_says_why() {
    let world = World::new(json!({"env": [{"name": "WHO", "value": "ann"}]}));
    let hub = &world.hub;
    let none = hub.tip("main");
    let script =
        "#!/bin/sh\necho \"$CI $WHO $GCLUSTER_REF $*\"; test \"$(git rev-parse HEAD)\" = $GCLUSTER_COMMIT\n";
    let green = hub.commit("main", &[("ci.sh", script)]);
    let red =
        hub.commit("main", &[("ci.sh", "#!/bin/sh\necho 'test parse ... FAILED' >&2; echo bye; exit 3\n")]);
    let untested = hub.commit("untested", &[("ci.sh", ""), ("b", "x")]);
    let plain = hub.commit("main", &[("ci.sh", ""), ("more/ci", "x")]);
    let words = hub.commit("words", &[("ci.sh", "#!/no/such/interpreter\n")]);
    let (_checks, task) = world.start();
    world.api.apply("checks", check("none", &none, json!({})));
    world.api.apply("checks", check("green", &green, json!({"spec": {"quick": true}})));
    world.api.apply("checks", check("red", &red, json!({})));
    world.api.apply("checks", check("gone", &"0".repeat(40), json!({})));
    world.api.apply("checks", check("words", &words, json!({})));
    world.api.apply("checks", check("plain", &plain, json!({})));
    world.api.apply("checks", check("untested", &untested, json!({})));

    assert_eq!(world.status("none", "Passed").await["reason"], "NoScript");
    let status = world.status("green", "Passed").await;
    assert_eq!(status["output"], "true ann refs/heads/main --quick");
    assert_eq!((&status["starts"], &status["exitCode"]), (&json!(1), &json!(0)));
    assert_eq!(world.record(&green)["status"], "PASS");
    let status = world.status("red", "Failed").await;
    assert_eq!((&status["reason"], &status["exitCode"]), (&json!("ExitCode"), &json!(3)));
    let message = status["message"].as_str().unwrap();
    assert!(
        message.contains("./ci.sh ended with exit code 3") && message.ends_with(": test parse ... FAILED")
    );
    assert_eq!(
        std::fs::read_to_string(status["log"].as_str().unwrap()).unwrap(),
        "test parse ... FAILED\nbye\n"
    );
    let record = world.record(&red);
    assert_eq!(record["output"], "test parse ... FAILED\nbye");
    assert_eq!((&record["ref"], &record["commit"]), (&json!("refs/heads/main"), &json!(red)));
    assert!(record["timestamp"].as_str().unwrap().parse::<Timestamp>().is_ok());
    assert_eq!(world.status("gone", "Failed").await["reason"], "NoCommit");
    assert_ne!(world.status("words", "Failed").await["exitCode"], 0);
    assert_eq!(world.status("plain", "Passed").await["reason"], "NoScript");
    assert_eq!(world.status("untested", "Failed").await["reason"], "ScriptRemoved");
    // A quick check does not replace what the full one said, and a full one does replace a quick one.
    world.api.apply("checks", check("red-quick", &red, json!({"spec": {"quick": true}})));
    world.api.apply("checks", check("green-full", &green, json!({})));
    world.status("red-quick", "Failed").await;
    world.status("green-full", "Passed").await;
    assert_eq!(
        (&world.record(&red)["quick"], &world.record(&green)["quick"]),
        (&json!(false), &json!(false))
    );
    // Nothing but the logs is left of the checkouts; with the object they go, too.
    let folder = std::path::PathBuf::from(status["log"].as_str().unwrap()).parent().unwrap().to_owned();
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 1);
    world.api.delete("checks", "red");
    world.api.wait("the folder to go", |_| (!folder.exists()).then_some(())).await;
    task.abort();
}

#[tokio::test]
async fn a_check_that_hangs_is_ended_whole_and_so_is_one_that_nobody_wants() {
    let world = World::new(json!({"timeout": "1500ms"}));
    let hang = "#!/bin/sh\ntrap '' TERM\nsetsid sh -c 'trap \"\" TERM; while :; do sleep 1; done' &\necho up\nwhile :; do sleep 1; done\n";
    let commit = world.hub.commit("main", &[("ci.sh", hang)]);
    let (checks, task) = world.start();
    world.api.apply("checks", check("hang", &commit, json!({})));
    let status = world.status("hang", "Failed").await;
    assert_eq!((&status["reason"], &status["output"]), (&json!("TimedOut"), &json!("up")));
    let uid =
        |name: &str| world.api.get("checks", name).unwrap()["metadata"]["uid"].as_str().unwrap().to_owned();
    assert!(sweep::family(&uid("hang"), &[]).is_empty());

    world.api.apply("repositories", repository(&world.hub, json!({"timeout": "5m"})));
    world.api.apply("checks", check("unwanted", &commit, json!({})));
    world.api.apply("checks", check("stays", &commit, json!({})));
    for name in ["unwanted", "stays"] {
        let log = world.status(name, "Running").await["log"].as_str().unwrap().to_owned();
        let is_up = |_: &FakeApi| std::fs::read_to_string(&log).unwrap().contains("up").then_some(());
        world.api.wait("the script to be up", is_up).await;
    }
    let (unwanted, stays) = (uid("unwanted"), uid("stays"));
    assert!(!sweep::family(&unwanted, &[]).is_empty());
    world.api.delete("checks", "unwanted");
    world.api.wait("its end", |_| sweep::family(&unwanted, &[]).is_empty().then_some(())).await;
    assert!(!sweep::family(&stays, &[]).is_empty());
    // The master ends: so does what runs, and the next one begins it again.
    checks.close(Duration::from_secs(30)).await;
    assert!(sweep::family(&stays, &[]).is_empty());
    task.abort();
    let (checks, task) = world.start();
    let again = |api: &FakeApi| (api.get("checks", "stays")?["status"]["starts"] == 2).then_some(());
    world.api.wait("the second start", again).await;
    checks.close(Duration::from_secs(30)).await;
    task.abort();
}

#[tokio::test]
async fn results_are_removed_when_their_time_is_over() {
    let world = World::new(json!({}));
    let commit = world.hub.tip("main");
    world
        .api
        .apply("repositories", json!({"metadata": {"name": "app"}, "spec": {"retention": {"checks": "1h"}}}));
    let done = |at: &str| json!({"status": {"phase": "Passed", "finishedAt": at}});
    world.api.apply("checks", check("old", &commit, done("2020-01-01T00:00:00.000000Z")));
    world.api.apply("checks", check("new", &commit, done("2999-01-01T00:00:00.000000Z")));
    let (_checks, task) = world.start();
    world.api.wait("the old one to go", |api| api.get("checks", "old").is_none().then_some(())).await;
    assert!(world.api.get("checks", "new").is_some());
    task.abort();
}

fn typed(name: &str, age: i64, more: Value) -> Check {
    let created = Timestamp::from_second(1_000_000 - age).unwrap().to_string();
    let more_meta = json!({"metadata": {"uid": name, "namespace": "default", "creationTimestamp": created}});
    let mut object = check(name, &"a".repeat(40), more_meta);
    merge(&mut object, more);
    serde_json::from_value(object).unwrap()
}

fn decided(checks: &[Check], repository: &Repository, live: &[&str]) -> String {
    let live: BTreeSet<String> = live.iter().map(|uid| (*uid).to_owned()).collect();
    let key = ("default".to_owned(), "app".to_owned());
    let now = Timestamp::from_second(1_000_000).unwrap();
    let repositories = BTreeMap::from([(key, repository)]);
    let (acts, _) = plan(&Seen { checks: checks.iter().collect(), repositories, live: &live, now });
    let told = acts.iter().map(|(key, act)| match act {
        Act::Begin => format!("begin {}", key.1),
        Act::Expire => format!("expire {}", key.1),
        Act::Wait { reason, message } => format!("{} waits: {reason}: {message}", key.1),
    });
    told.collect::<Vec<_>>().join("\n")
}

#[test]
fn merges_come_first_then_the_oldest_and_the_others_say_what_they_wait_for() {
    let mut app: Repository = serde_json::from_value(json!({
        "metadata": {"name": "app", "namespace": "default"}, "spec": {"path": "/x", "checks": {"concurrency": 3}},
        "status": {"hub": "/hub"},
    }))
    .unwrap();
    let all = [
        typed("young", 1, json!({})),
        typed("old", 9, json!({})),
        typed("merge", 2, json!({"spec": {"requestedBy": "merge/t-1-merge-1"}})),
        typed("live", 5, json!({"status": {"phase": "Running"}})),
        typed("left", 3, json!({"status": {"phase": "Running"}})),
        typed("done", 3, json!({"status": {"phase": "Passed"}})),
    ];
    insta::assert_snapshot!(decided(&all, &app, &["live"]), @r"
    begin merge
    begin old
    left waits: Queued: 3 checks run in repository app, as many as may at once (spec.checks.concurrency)
    young waits: Queued: 3 checks run in repository app, as many as may at once (spec.checks.concurrency)
    ");
    app.status = None;
    insta::assert_snapshot!(decided(&all[..1], &app, &[]), @"young waits: NotReady: repository app has no hub yet");
}

proptest! {
    #[test]
    fn never_more_run_than_may_and_no_place_stays_empty(
        phases in proptest::collection::vec((0_usize..4, any::<bool>(), 0_i64..50), 0..12),
        most in 1_usize..5,
    ) {
        let app: Repository = serde_json::from_value(json!({
            "metadata": {"name": "app", "namespace": "default"}, "status": {"hub": "/hub"},
            "spec": {"path": "/x", "checks": {"concurrency": most}},
        }))
        .unwrap();
        let of = ["Pending", "Running", "Passed", "Failed"];
        let all: Vec<Check> = phases
            .iter()
            .enumerate()
            .map(|(n, (phase, _, age))| typed(&format!("c{n}"), *age, json!({"status": {"phase": of[*phase]}})))
            .collect();
        let live: Vec<String> = phases
            .iter()
            .enumerate()
            .filter(|(_, (phase, live, _))| *phase == 1 && *live)
            .map(|(n, _)| format!("c{n}"))
            .take(most)
            .collect();
        let live: Vec<&str> = live.iter().map(String::as_str).collect();
        let told = decided(&all, &app, &live);
        let begun = told.lines().filter(|line| line.starts_with("begin")).count();
        let waiting = phases.iter().filter(|(phase, _, _)| *phase < 2).count() - live.len();
        prop_assert_eq!(begun, waiting.min(most - live.len()));
    }
}
