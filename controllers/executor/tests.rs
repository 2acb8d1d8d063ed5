//! The controllers at work on a small API in memory, with backends that need no program.

use std::sync::Arc;
use std::time::Duration;

use gcluster_types::transcript::Entry;
use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use crate::backend::{
    Backend, BackendEvent, Backends, Capabilities, Command, Control, Finished, Launch, Outcome, RetryClass,
    Running, StartError, Unavailable,
};
use crate::testing::FakeApi;
use crate::{Config, Context};

/// Does what the prompt says: `fail`, `throttle`, `hang`, `items`; anything else answers the prompt.
struct Obedient;

impl Backend for Obedient {
    fn name(&self) -> &'static str {
        "obedient"
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::default()
    }

    fn check(&self) -> Result<(), Unavailable> {
        Ok(())
    }

    fn start(&self, launch: Launch) -> futures::future::BoxFuture<'static, Result<Running, StartError>> {
        let (sender, events) = mpsc::channel(8);
        let (control, mut commands) = Control::channel();
        tokio::spawn(async move {
            let prompt = launch.prompt.clone();
            let last = prompt.lines().last().unwrap_or_default().to_owned();
            let _ = sender.send(BackendEvent::Record(Entry::Text { text: "at work".into() })).await;
            let tool = Entry::ToolUse { id: "1".into(), name: "Bash".into(), detail: "ls".into() };
            if !last.contains("idle") {
                let _ = sender.send(BackendEvent::Record(tool)).await;
            }
            let outcome = match last.as_str() {
                "fail" => Outcome::Failed {
                    reason: "Broken".into(),
                    error: "no luck".into(),
                    retry: RetryClass::Transient,
                },
                "throttle" => Outcome::Throttled {
                    until: Timestamp::now().checked_add(Duration::from_secs(3_600)).ok(),
                    message: "limit".into(),
                },
                "hang" | "hang idle" => loop {
                    if let Some(Command::Stop { .. }) = commands.next().await {
                        break Outcome::Interrupted { reason: "asked to".into() };
                    }
                },
                "show" => Outcome::Succeeded { output: format!("{:?}", launch.env) },
                "items" => Outcome::Succeeded { output: "1. one\n2. two\n3. three".into() },
                _ => Outcome::Succeeded { output: format!("<{}>", prompt.replace('\n', "|")) },
            };
            let done = Finished { outcome, turns: 1, tool_uses: 0, model: None };
            let _ = sender.send(BackendEvent::Done(done)).await;
            drop(commands);
        });
        Box::pin(async move { Ok(Running { process: None, events, control }) })
    }
}

pub(super) struct World {
    pub(super) api: FakeApi,
    dir: tempfile::TempDir,
    running: Option<(oneshot::Sender<()>, JoinHandle<()>)>,
}

impl World {
    pub(super) fn new(api: FakeApi) -> Self {
        Self { api, dir: tempfile::tempdir().unwrap(), running: None }
    }

    pub(super) fn start(&mut self) {
        let mut config = Config::new("obedient", self.dir.path());
        config.failure_backoff = Duration::from_millis(40);
        config.idle_backoff = Duration::from_millis(40);
        config.stall_grace = Duration::from_millis(40);
        let rehearsal = Backends::standard().get("rehearsal").unwrap();
        let ctx =
            Context::new(self.api.client(), [Arc::new(Obedient) as Arc<dyn Backend>, rehearsal], config);
        let (stop, stopped) = oneshot::channel::<()>();
        let task = tokio::spawn(crate::run(ctx, async move { stopped.await.unwrap_or(()) }));
        self.running = Some((stop, task));
    }

    pub(super) async fn stop(&mut self) {
        let (stop, task) = self.running.take().unwrap();
        stop.send(()).unwrap();
        task.await.unwrap();
    }

    /// As if the process was killed: nothing is ended in order.
    async fn kill(&mut self) {
        let (stop, task) = self.running.take().unwrap();
        task.abort();
        let _ = task.await;
        drop(stop);
    }

    pub(super) fn agent(&self, name: &str, steps: &str, methods: &[(&str, &str)], more: Value) {
        let methods: serde_json::Map<String, Value> = methods
            .iter()
            .map(|(method, body)| {
                ((*method).to_owned(), json!(format!("(defmethod {method} ()\n  \"{body}\")")))
            })
            .collect();
        let definition = if steps.starts_with('(') {
            format!("(defagent \"{name}\"\n  (pipeline\n    {steps}))")
        } else {
            format!("(defagent \"{name}\"\n  \"{steps}\")")
        };
        let mut spec = json!({"definition": definition, "methods": methods});
        spec.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap_or_default());
        self.api.apply(
            "agents",
            json!({"apiVersion": "gcluster.dev/v1alpha1", "kind": "Agent",
            "metadata": {"name": name}, "spec": spec}),
        );
    }

    async fn phase(&self, iteration: &str, phase: &str) -> Value {
        let what = format!("{iteration} to be {phase}");
        self.api
            .wait(&what, |api| api.get("iterations", iteration).filter(|o| o["status"]["phase"] == phase))
            .await
    }

    pub(super) async fn status(&self, agent: &str, what: &str, check: impl Fn(&Value) -> bool) -> Value {
        self.api.wait(what, |api| api.get("agents", agent).filter(|o| check(&o["status"]))).await["status"]
            .clone()
    }

    fn output(&self, iteration: &str) -> String {
        let records = self.api.transcript(iteration);
        let output = records
            .iter()
            .find(|r| r["type"] == "output")
            .unwrap_or_else(|| panic!("{iteration}: {records:?}"));
        output["text"].as_str().unwrap().to_owned()
    }
}

fn condition(status: &Value, kind: &str) -> String {
    let all = status["conditions"].as_array().cloned().unwrap_or_default();
    let found = all.into_iter().find(|c| c["type"] == kind);
    found
        .map(|c| format!("{} {}", c["status"].as_str().unwrap(), c["reason"].as_str().unwrap()))
        .unwrap_or_default()
}

const PIPELINE: &str =
    "(step \"plan\" (call plan))\n    (step \"write\" (map plan write))\n    (step \"polish\" (loop polish))";
const METHODS: &[(&str, &str)] = &[("plan", "items"), ("write", "write it"), ("polish", "polish it")];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_a_map_and_a_loop_hand_on_their_outputs() {
    let mut world = World::new(FakeApi::new());
    world.agent("a", PIPELINE, METHODS, json!({"limits": {"maxIterations": 6}}));
    world.start();
    let status = world.status("a", "six iterations", |s| s["iterations"]["total"] == 6).await;
    assert_eq!(world.output("a.write.0.1"), "<two||write it>");
    assert!(world.output("a.polish.0").starts_with("<<one||write it>||---||<two||write it>||---||<three"));
    assert!(world.output("a.polish.1").starts_with("<<<one||write it>"));
    assert_eq!(condition(&status, "Ready"), "True RevisionRecorded");
    let status = world.status("a", "the limit", |s| condition(s, "WithinLimits").starts_with("False")).await;
    assert_eq!(condition(&status, "Progressing"), "False IterationLimitReached");
    assert_eq!(status["runState"], "stopped");
    let next: Vec<_> = status["stats"]
        .as_array()
        .unwrap()
        .iter()
        .map(|s| (s["step"].clone(), s["nextNumber"].clone(), s["iterations"].clone()))
        .collect();
    assert_eq!(
        next,
        [
            (json!("plan"), json!(1), json!(1)),
            (json!("write"), json!(1), json!(3)),
            (json!("polish"), json!(2), json!(2)),
        ]
    );
    let records = world.api.transcript("a.plan.0");
    let types: Vec<_> = records.iter().map(|r| r["type"].as_str().unwrap()).collect();
    assert_eq!(types, ["prompt", "text", "toolUse", "output", "end"]);
    world.agent("a", PIPELINE, METHODS, json!({"limits": {"maxIterations": 7}}));
    world.phase("a.polish.2", "Succeeded").await;
    assert!(world.api.all("events").iter().any(|e| e["reason"] == "LimitReached"));
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_finished_agent_rests_and_a_new_definition_begins_again() {
    let mut world = World::new(FakeApi::new());
    world.agent("once", "do it", &[], json!({}));
    world.start();
    let status = world.status("once", "the end", |s| s["runState"] == "stopped").await;
    assert_eq!(condition(&status, "Progressing"), "False Completed");
    assert_eq!((&status["execution"], &status["iterations"]["total"]), (&json!(1), &json!(1)));
    world.agent("once", "do it otherwise", &[], json!({}));
    world.phase("once.prompt.1", "Succeeded").await;
    let status =
        world.status("once", "the second end", |s| s["runState"] == "stopped" && s["execution"] == 2).await;
    assert_eq!(status["revisions"].as_array().unwrap().len(), 2);
    world.api.apply("agents", json!({"metadata": {"name": "once"}, "spec": {"restartedAt": "now"}}));
    world.phase("once.prompt.2", "Succeeded").await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn failures_back_off_and_idle_loops_too() {
    let mut world = World::new(FakeApi::new());
    world.agent("failing", "(step \"work\" (loop work))", &[("work", "fail")], json!({}));
    world.agent("idle", "(step \"work\" (loop work))", &[("work", "idle")], json!({"loopContext": "None"}));
    world.agent("call", "fail", &[], json!({}));
    let map = "(step \"plan\" (call plan))\n    (step \"write\" (map plan write))";
    world.agent("map", map, &[("plan", "items"), ("write", "fail")], json!({}));
    world.start();
    for agent in ["failing", "idle", "call", "map"] {
        let status =
            world.status(agent, "four in a row", |s| s["fruitlessIterations"].as_i64() >= Some(4)).await;
        assert_eq!(condition(&status, "BackingOff"), "True Fruitless", "{agent}");
        assert!(status["iterations"]["total"].as_i64().unwrap() < 8, "{agent}");
    }
    // A restart of the master does not let it begin anew.
    world.stop().await;
    world.start();
    let status = world.status("call", "one more", |s| s["fruitlessIterations"].as_i64() >= Some(6)).await;
    assert_eq!(status["fruitlessIterations"], status["iterations"]["failed"]);
    let failed = world.api.get("iterations", "failing.work.0").unwrap();
    assert_eq!(
        (&failed["status"]["phase"], &failed["status"]["error"]),
        (&json!("Failed"), &json!("no luck"))
    );
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_usage_limit_parks_the_agent_and_is_no_failure() {
    let mut world = World::new(FakeApi::new());
    world.agent("a", "(step \"work\" (loop work))", &[("work", "throttle")], json!({}));
    world.start();
    let status = world.status("a", "the limit", |s| condition(s, "Throttled").starts_with("True")).await;
    let parked = status["throttledUntil"].as_str().unwrap().parse::<Timestamp>().unwrap();
    assert!(parked > Timestamp::now().checked_add(Duration::from_secs(3_500)).unwrap());
    assert_eq!(
        (&status["iterations"]["failed"], &status["iterations"]["interrupted"]),
        (&json!(0), &json!(1))
    );
    assert_eq!(status["runState"], "running");
    world.stop().await;
    assert_eq!(world.api.all("iterations").len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stop_start_edit_and_delete_do_what_they_say() {
    let mut world = World::new(FakeApi::new());
    let steps = "(step \"work\" (loop work))";
    world.agent("a", steps, &[("work", "hang")], json!({}));
    world.start();
    world.phase("a.work.0", "Running").await;
    world.agent("a", steps, &[("work", "hang")], json!({"run": "Paused"}));
    world.status("a", "paused", |s| condition(s, "Progressing") == "False Paused").await;
    assert_eq!(world.api.get("iterations", "a.work.0").unwrap()["status"]["phase"], "Running");
    world.agent("a", steps, &[("work", "hang")], json!({"run": "Stopped"}));
    let first = world.phase("a.work.0", "Interrupted").await;
    assert_eq!(first["status"]["reason"], "Stopped");
    world.status("a", "stopped", |s| s["runState"] == "stopped" && s["iterations"]["interrupted"] == 1).await;
    world.agent("a", steps, &[("work", "hang")], json!({"run": "Running"}));
    let second = world.phase("a.work.1", "Running").await;
    // An edit of the loop's own method: what runs keeps its revision, the next one takes the new.
    world.agent("a", steps, &[("work", "polish it")], json!({}));
    world.status("a", "revision 2", |s| s["currentRevision"] == 2).await;
    assert_eq!(world.api.get("iterations", "a.work.1").unwrap()["status"]["phase"], "Running");
    world
        .api
        .apply("agents", json!({"metadata": {"name": "a"}, "spec": {"limits": {"iterationTimeout": "1ms"}}}));
    world.api.apply("agents", json!({"metadata": {"name": "a"}, "spec": {"run": "Stopped"}}));
    world.phase("a.work.1", "Interrupted").await;
    world.api.apply("agents", json!({"metadata": {"name": "a"}, "spec": {"run": "Running", "limits": {"iterationTimeout": null, "maxIterations": 5}}}));
    let third = world.phase("a.work.2", "Succeeded").await;
    assert_ne!(second["spec"]["revision"], third["spec"]["revision"]);
    assert_eq!(world.api.get("agents", "a").unwrap()["status"]["execution"], 1, "the loop went on");
    world.agent("b", "hang", &[], json!({}));
    world.phase("b.prompt.0", "Running").await;
    world.api.delete("agents", "b");
    world.api.wait("b to be gone", |api| api.get("agents", "b").is_none().then_some(())).await;
    // What it owned goes with it; nothing of another agent does.
    let of_b = |o: &&Value| o["spec"]["agent"] == "b";
    let left = |api: &FakeApi, kind: &str| api.all(kind).iter().filter(of_b).count();
    world
        .api
        .wait("what b owned to be gone", |api| {
            (left(api, "iterations") + left(api, "agentrevisions") == 0).then_some(())
        })
        .await;
    assert!(world.api.get("iterations", "a.work.0").is_some());
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_iteration_timeout_ends_it_as_a_failure() {
    let mut world = World::new(FakeApi::new());
    world.agent(
        "a",
        "(step \"work\" (loop work))",
        &[("work", "hang")],
        json!({"limits": {"iterationTimeout": "50ms"}}),
    );
    world.start();
    let first = world.phase("a.work.0", "Failed").await;
    assert_eq!(first["status"]["reason"], "IterationTimeout");
    world.phase("a.work.1", "Failed").await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stall_and_a_tool_that_takes_too_long_end_an_iteration_in_steps() {
    let mut world = World::new(FakeApi::new());
    let limits = json!({"limits": {"stallTimeout": "50ms", "toolTimeout": "60ms"}});
    world.agent("silent", "(step \"work\" (loop work))", &[("work", "hang idle")], limits.clone());
    world.agent("tool", "(step \"work\" (loop work))", &[("work", "hang")], limits);
    world.start();
    for (agent, reason) in [("silent", "StallTimeout"), ("tool", "ToolTimeout")] {
        let name = format!("{agent}.work.0");
        assert_eq!(world.phase(&name, "Failed").await["status"]["reason"], reason);
        let records = world.api.transcript(&name);
        let notices: Vec<_> = records.iter().filter(|r| r["type"] == "notice").collect();
        assert!(notices[0]["text"].as_str().unwrap().contains("the turn is interrupted"), "{notices:?}");
        assert!(notices[1]["text"].as_str().unwrap().ends_with("the program is ended"), "{notices:?}");
        let status = world.status(agent, "a pause", |s| s["fruitlessIterations"].as_i64() >= Some(1)).await;
        assert_eq!(condition(&status, "BackingOff"), "True Fruitless");
        let told = |api: &FakeApi| api.all("events").into_iter().find(|e| e["reason"] == reason);
        world.api.wait("an event about it", told).await;
    }
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_records_what_was_lost_and_goes_on() {
    let mut world = World::new(FakeApi::new());
    world.agent("a", "(step \"work\" (loop work))", &[("work", "hang")], json!({}));
    world.start();
    world.phase("a.work.0", "Running").await;
    world.kill().await;
    // The new process knows nothing of the task that still waits in the old one.
    world.start();
    let first = world.phase("a.work.0", "Interrupted").await;
    assert_eq!(first["status"]["reason"], "MasterRestarted");
    assert_eq!(world.api.transcript("a.work.0").last().unwrap()["type"], "end");
    world.phase("a.work.1", "Running").await;
    world.stop().await;
    let second = world.api.get("iterations", "a.work.1").unwrap();
    assert_eq!(second["status"]["reason"], "MasterShutdown", "{second}");
    world.start();
    world.phase("a.work.2", "Running").await;
    world.status("a", "two interrupted", |s| s["iterations"]["interrupted"] == 2).await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lost_and_repeated_events_lost_answers_and_restarts_give_the_same_objects() {
    let calm = settle(FakeApi::new(), 0).await;
    for round in 1..=3 {
        assert_eq!(settle(FakeApi::new().chaotic(), round).await, calm, "round {round}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_missing_backend_burns_no_iteration_and_says_what_to_do() {
    let mut world = World::new(FakeApi::new());
    world.agent("a", "do it", &[], json!({"backend": {"name": "nowhere"}}));
    world.start();
    let status = world
        .status("a", "no backend", |s| {
            condition(s, "BackendAvailable").starts_with("False")
                && condition(s, "Progressing") == "True UnknownBackend"
        })
        .await;
    assert!(status["conditions"].to_string().contains("spec.backend.name to one of: obedient, rehearsal"));
    assert_eq!(status["runState"], "pending");
    assert!(world.api.all("iterations").is_empty());
    world.api.apply("agents", json!({"metadata": {"name": "a"}, "spec": {"backend": null}}));
    world.phase("a.prompt.0", "Succeeded").await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_waits_for_the_secret_that_it_needs() {
    let mut world = World::new(FakeApi::new());
    let env = json!([{"name": "KEY", "valueFrom": {"secretKeyRef": {"name": "token", "key": "key"}}}]);
    world.agent("a", "show", &[], json!({"backend": {"env": env}}));
    world.start();
    let status =
        world.status("a", "the missing key", |s| condition(s, "BackendAvailable").starts_with("False")).await;
    assert_eq!(condition(&status, "BackendAvailable"), "False EnvironmentIncomplete");
    let conditions = status["conditions"].to_string();
    assert!(conditions.contains("KEY") && conditions.contains("default/token"), "{conditions}");
    world
        .api
        .wait("an event that names the secret", |api| {
            let all = api.all("events");
            all.into_iter().find(|e| e["note"].as_str().is_some_and(|note| note.contains("default/token")))
        })
        .await;
    assert!(world.api.all("iterations").is_empty(), "nothing begins without it");
    world.api.apply("secrets", json!({"metadata": {"name": "token"}, "data": {"key": "aHVudGVyMg=="}}));
    world.phase("a.prompt.0", "Succeeded").await;
    assert_eq!(world.output("a.prompt.0"), "[(\"KEY\", \"hunter2\")]");
    let status = world.status("a", "rest", |s| s["runState"] == "stopped").await;
    assert_eq!(condition(&status, "BackendAvailable"), "True Found");
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn retention_keeps_objects_bounded_and_numbers_go_on() {
    let mut world = World::new(FakeApi::new());
    let more = json!({"iterationHistoryLimit": 2, "limits": {"maxIterations": 9}});
    world.agent(
        "a",
        "(step \"plan\" (call plan))\n    (step \"work\" (loop work))",
        &[("plan", "plan"), ("work", "work")],
        more,
    );
    world.start();
    let status = world.status("a", "nine iterations", |s| s["iterations"]["total"] == 9).await;
    assert_eq!(status["stats"][1]["nextNumber"], 8);
    let names = |api: &FakeApi| -> Vec<String> {
        api.all("iterations").iter().map(|i| i["metadata"]["name"].as_str().unwrap().to_owned()).collect()
    };
    let want = ["a.plan.0", "a.work.6", "a.work.7"];
    world.api.wait("retention", |api| (names(api) == want).then_some(())).await;
    world.api.apply("agents", json!({"metadata": {"name": "a"}, "spec": {"limits": {"maxIterations": 10}}}));
    world.phase("a.work.8", "Succeeded").await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_iteration_that_is_deleted_while_it_runs_is_ended_and_its_number_is_not_used_again() {
    let mut world = World::new(FakeApi::new());
    world.agent("a", "(step \"work\" (loop work))", &[("work", "hang")], json!({}));
    world.start();
    world.phase("a.work.0", "Running").await;
    world.api.delete("iterations", "a.work.0");
    world.phase("a.work.1", "Running").await;
    assert!(world.api.get("iterations", "a.work.0").is_none());
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_that_is_asked_for_ends_what_runs_and_begins_again() {
    let mut world = World::new(FakeApi::new());
    let steps = "(step \"plan\" (call plan))\n    (step \"work\" (loop work))";
    world.agent("a", steps, &[("plan", "plan"), ("work", "hang")], json!({}));
    world.start();
    world.phase("a.work.0", "Running").await;
    world
        .api
        .apply("agents", json!({"metadata": {"name": "a"}, "spec": {"restartedAt": "2026-01-01T00:00:00Z"}}));
    let ended = world.phase("a.work.0", "Interrupted").await;
    assert_eq!(ended["status"]["reason"], "Restarted");
    let plan = world.phase("a.plan.1", "Succeeded").await;
    assert_eq!(plan["spec"]["execution"], 2);
    world.phase("a.work.1", "Running").await;
    // A change before the loop waits for what runs, then begins again.
    world.agent("a", steps, &[("plan", "plan anew"), ("work", "hang")], json!({}));
    world.status("a", "the hold", |s| condition(s, "Progressing") == "True ComingToItsEnd").await;
    assert_eq!(world.api.get("iterations", "a.work.1").unwrap()["status"]["phase"], "Running");
    world.api.apply("agents", json!({"metadata": {"name": "a"}, "spec": {"run": "Stopped"}}));
    world.phase("a.work.1", "Interrupted").await;
    world.api.apply("agents", json!({"metadata": {"name": "a"}, "spec": {"run": "Running"}}));
    assert_eq!(world.phase("a.plan.2", "Succeeded").await["spec"]["execution"], 3);
    world.stop().await;
}

/// Runs a pipeline to its end with `restarts` orderly restarts; answers what is left, without names that differ.
async fn settle(api: FakeApi, restarts: usize) -> Vec<String> {
    let mut world = World::new(api);
    let steps = "(step \"plan\" (call plan))\n    (step \"write\" (map plan write))\n    (step \"polish\" (call polish))";
    for agent in ["a", "b", "c"] {
        world.agent(agent, steps, METHODS, json!({}));
    }
    for _ in 0..restarts {
        world.start();
        tokio::time::sleep(Duration::from_millis(fastrand::u64(1..120))).await;
        world.stop().await;
    }
    world.start();
    let mut end = Vec::new();
    for agent in ["a", "b", "c"] {
        let done = |s: &Value| s["runState"] == "stopped" && s["iterations"]["succeeded"].as_i64() == Some(5);
        let status = world.status(agent, "the end", done).await;
        end.push(format!(
            "{agent} {} {} {}",
            status["execution"], status["currentRevision"], status["iterations"]["failed"]
        ));
        let iterations = world.api.all("iterations");
        let own: Vec<_> = iterations
            .iter()
            .filter(|i| i["spec"]["agent"] == agent && i["status"]["phase"] == "Succeeded")
            .collect();
        assert_eq!(own.len(), 5, "each step succeeded once");
        assert_eq!(
            world.api.all("iterations").iter().filter(|i| i["spec"]["agent"] == agent).count() as i64,
            status["iterations"]["total"].as_i64().unwrap()
        );
        let mut outputs: Vec<String> =
            own.iter().map(|i| world.output(i["metadata"]["name"].as_str().unwrap())).collect();
        outputs.sort();
        end.extend(outputs);
        for iteration in own {
            let records = world.api.transcript(iteration["metadata"]["name"].as_str().unwrap());
            assert_eq!(records.iter().filter(|r| r["type"] == "prompt").count(), 1);
            assert_eq!(records.iter().filter(|r| r["type"] == "end").count(), 1);
        }
    }
    assert_eq!(world.api.all("agentrevisions").len(), 3);
    world.stop().await;
    end
}
