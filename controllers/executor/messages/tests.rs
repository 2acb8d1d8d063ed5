//! Delivery on a small API in memory: order, receipts, and what is left after a crash at any write.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use gcluster_types::transcript::Entry;
use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::{JoinHandle, JoinSet};

use crate::backend::{
    Backend, BackendEvent, Capabilities, Command, Control, Evidence, Finished, Launch, Outcome, Running,
    StartError, SteerState, Unavailable,
};
use crate::testing::{FakeApi, Life};
use crate::{Config, Context};

/// What the agents of one test were given, over all lives of the master.
#[derive(Clone, Default)]
struct Model {
    /// Texts in the order in which they were given.
    given: Arc<Mutex<Vec<String>>>,
    /// What the outputs of the programs say, by the directory of the run.
    outputs: Arc<Mutex<HashMap<PathBuf, Evidence>>>,
    /// Ends the turns that run, and those that begin, at once.
    over: Arc<watch::Sender<bool>>,
}

/// Answers its prompt, then takes messages for a while, then ends.
struct Scribe {
    model: Model,
    dead: Arc<AtomicBool>,
    can: Capabilities,
    /// Its output outlives the master.
    leaves_output: bool,
    lasts: Duration,
}

impl Scribe {
    fn messages(prompt: &str) -> Vec<String> {
        let parts = prompt.split("<message from=").skip(1);
        parts
            .filter_map(|part| Some(part.split_once('\n')?.1.split_once("\n</message>")?.0.to_owned()))
            .collect()
    }
}

impl Backend for Scribe {
    fn name(&self) -> &'static str {
        "scribe"
    }

    fn capabilities(&self) -> Capabilities {
        self.can
    }

    fn check(&self) -> Result<(), Unavailable> {
        Ok(())
    }

    fn evidence(&self, run_dir: &Path) -> Option<Evidence> {
        let known = self.model.outputs.lock().unwrap().get(run_dir).cloned();
        self.leaves_output.then(|| known.unwrap_or_default())
    }

    fn start(&self, launch: Launch) -> futures::future::BoxFuture<'static, Result<Running, StartError>> {
        let (sender, events) = mpsc::channel(8);
        let (control, mut commands) = Control::channel();
        let (model, dead, lasts) = (self.model.clone(), self.dead.clone(), self.lasts);
        tokio::spawn(async move {
            // A program of a master that was killed is ended by the next one before it looks at the output. One lock
            // for what is given and what is written about it, so that nothing is given behind that look.
            let give = |texts: Vec<String>, change: &dyn Fn(&mut Evidence)| {
                let mut given = model.given.lock().unwrap();
                let alive = !dead.load(Ordering::SeqCst);
                if alive {
                    change(model.outputs.lock().unwrap().entry(launch.run_dir.clone()).or_default());
                    given.extend(texts);
                }
                alive
            };
            give(Self::messages(&launch.prompt), &|evidence| evidence.answered = true);
            let _ = sender.send(BackendEvent::Record(Entry::Text { text: "at work".into() })).await;
            let tool = Entry::ToolUse { id: "1".into(), name: "Bash".into(), detail: "ls".into() };
            let _ = sender.send(BackendEvent::Record(tool)).await;
            let end = tokio::time::Instant::now() + lasts;
            let mut over = model.over.subscribe();
            loop {
                let command = tokio::select! {
                    command = tokio::time::timeout_at(end, commands.next()) => command,
                    _ = over.wait_for(|over| *over) => break,
                };
                match command {
                    Ok(Some(Command::Steer(message))) => {
                        let id = message.id.clone();
                        let _ = sender
                            .send(BackendEvent::Steered { id: id.clone(), state: SteerState::Queued })
                            .await;
                        let echo = |evidence: &mut Evidence| evidence.echoed.extend([id.clone()]);
                        if give(vec![message.text.clone()], &echo) {
                            let _ = sender.send(BackendEvent::Record(message.record())).await;
                            let _ =
                                sender.send(BackendEvent::Steered { id, state: SteerState::Delivered }).await;
                        }
                    }
                    Ok(Some(Command::Stop { .. }) | None) | Err(_) => break,
                    Ok(Some(Command::Interrupt)) => {}
                }
            }
            let outcome = Outcome::Succeeded { output: "done".into() };
            let done = Finished { outcome, turns: 1, tool_uses: 1, model: None };
            let _ = sender.send(BackendEvent::Done(done)).await;
        });
        Box::pin(async move { Ok(Running { process: None, events, control }) })
    }
}

const STEERABLE: Capabilities =
    Capabilities { live_steering: true, resume: false, cost: false, tools: true, process: false };

struct World {
    api: FakeApi,
    model: Model,
    dir: tempfile::TempDir,
    can: Capabilities,
    leaves_output: bool,
    lasts: Duration,
    running: Option<(oneshot::Sender<()>, JoinHandle<()>)>,
}

impl World {
    fn new(api: FakeApi, lasts: Duration) -> Self {
        let (model, dir) = (Model::default(), tempfile::tempdir().unwrap());
        let world = Self { api, model, dir, can: STEERABLE, leaves_output: true, lasts, running: None };
        world.agent(json!({}));
        world
    }

    fn agent(&self, more: Value) {
        let mut spec = json!({
            "definition": "(defagent \"a\"\n  (pipeline\n    (step \"work\" (loop work))))",
            "methods": {"work": "(defmethod work ()\n  \"Work.\")"}, "loopContext": "None",
        });
        spec.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap_or_default());
        self.api.apply("agents", json!({"metadata": {"name": "a"}, "spec": spec}));
    }

    fn start(&mut self) {
        self.start_until(usize::MAX, true);
    }

    /// Until a number of writes; answers the flag that says that it is dead.
    fn start_until(&mut self, writes: usize, last_counts: bool) -> Arc<AtomicBool> {
        let life = self.start_mortal();
        life.end_with(writes, last_counts);
        life.dead
    }

    /// A master that goes on until its end is set.
    fn start_mortal(&mut self) -> Life {
        let (client, life) = self.api.mortal_client();
        let dead = life.dead.clone();
        let config = Config::new("scribe", self.dir.path());
        let scribe = Scribe {
            model: self.model.clone(),
            dead: dead.clone(),
            can: self.can,
            leaves_output: self.leaves_output,
            lasts: self.lasts,
        };
        let ctx = Context::new(client, [Arc::new(scribe) as Arc<dyn Backend>], config);
        let (stop, stopped) = oneshot::channel::<()>();
        self.running =
            Some((stop, tokio::spawn(crate::run(ctx, async move { stopped.await.unwrap_or(()) }))));
        life
    }

    async fn stop(&mut self) {
        let (stop, task) = self.running.take().unwrap();
        stop.send(()).unwrap();
        task.await.unwrap();
    }

    async fn bury(&mut self) {
        let (stop, task) = self.running.take().unwrap();
        task.abort();
        let _ = task.await;
        drop(stop);
        // Whatever a program is about to give is given before the next master looks.
        drop(self.model.given.lock().unwrap());
    }

    fn send(&self, name: &str, more: Value) {
        let mut spec = json!({"agent": "a", "text": name});
        spec.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap_or_default());
        self.api.apply("messages", json!({"metadata": {"name": name}, "spec": spec}));
    }

    async fn message(&self, name: &str, phase: &str) -> Value {
        let what = format!("{name} to be {phase}");
        self.api.wait(&what, |api| api.get("messages", name).filter(|m| m["status"]["phase"] == phase)).await
            ["status"]
            .clone()
    }

    async fn runs(&self, iteration: &str) {
        let at_work = |api: &FakeApi| {
            api.transcript(iteration).iter().any(|record| record["type"] == "toolUse").then_some(())
        };
        self.api.wait(iteration, at_work).await;
    }

    fn given(&self) -> Vec<String> {
        self.model.given.lock().unwrap().clone()
    }

    /// Names in the `message` records of all transcripts.
    fn recorded(&self) -> Vec<String> {
        let names = self.api.all("iterations").into_iter().flat_map(|iteration| {
            let name = iteration["metadata"]["name"].as_str().unwrap().to_owned();
            self.api.transcript(&name)
        });
        let names = names.filter(|record| record["type"] == "message");
        names.map(|record| record["name"].as_str().unwrap().to_owned()).collect()
    }
}

const LONG: Duration = Duration::from_secs(600);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_runs_is_given_messages_in_order_with_receipts_and_owner() {
    let mut world = World::new(FakeApi::new(), LONG);
    world.start();
    world.runs("a.work.0").await;
    let names: Vec<String> = (0..20).map(|n| format!("m{}", 19 - n)).collect();
    for name in &names {
        world.send(name, json!({"from": "ann"}));
    }
    for name in &names {
        let status = world.message(name, "Acknowledged").await;
        assert_eq!((&status["iteration"], &status["via"]), (&json!("a.work.0"), &json!("Turn")));
        assert!(status["deliveredAt"].is_string() && status["acknowledgedAt"].is_string(), "{status}");
    }
    assert_eq!(world.given(), names);
    assert_eq!(world.recorded(), names);
    world
        .api
        .wait("the owner", |api| {
            (api.get("messages", "m0")?["metadata"]["ownerReferences"][0]["name"] == "a").then_some(())
        })
        .await;
    world.api.delete("agents", "a");
    world
        .api
        .wait("messages to go with their agent", |api| api.all("messages").is_empty().then_some(()))
        .await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_go_into_a_turn_waits_for_the_next_prompt_and_says_why() {
    let mut world = World::new(FakeApi::new(), LONG);
    world.can = Capabilities::default();
    world.agent(json!({"run": "Paused"}));
    world.start();
    world.send("m1", json!({"delivery": "Interrupt"}));
    let how = world.message("m1", "Pending").await["how"].clone();
    assert!(how.as_str().unwrap().contains("`gcluster start a`"), "{how}");
    world.send("m2", json!({"delivery": "Queue"}));
    world.message("m2", "Pending").await;
    world.agent(json!({"run": "Running"}));
    for name in ["m1", "m2"] {
        let status = world.message(name, "Acknowledged").await;
        assert_eq!(
            (&status["via"], &status["iteration"]),
            (&json!("Prompt"), &json!("a.work.0")),
            "{status}"
        );
    }
    world.send("m3", json!({}));
    let how = world.message("m3", "Pending").await["how"].clone();
    assert!(how.as_str().unwrap().contains("takes no messages while it works"), "{how}");
    world.send("m4", json!({"iteration": "a.work.0"}));
    world.message("m4", "Expired").await;
    world.agent(json!({"run": "Stopped"}));
    world
        .api
        .wait("the end", |api| {
            (api.get("iterations", "a.work.0")?["status"]["phase"] == "Interrupted").then_some(())
        })
        .await;
    world.send("m5", json!({"iteration": "a.work.0"}));
    let how = world.message("m5", "Expired").await["how"].clone();
    assert!(how.as_str().unwrap().starts_with("a.work.0 had ended (Interrupted)"), "{how}");
    world.agent(json!({"run": "Running"}));
    assert_eq!(world.message("m3", "Acknowledged").await["iteration"], "a.work.1");
    let prompt = world.api.transcript("a.work.1")[0]["text"].as_str().unwrap().to_owned();
    assert_eq!(prompt, "<message from=\"user\">\nm3\n</message>\n\nWork.");
    world.send("m6", json!({"agent": "nobody"}));
    let how = world.message("m6", "Failed").await["how"].clone();
    assert_eq!(how, "there is no agent nobody in the namespace default");
    let told = |api: &FakeApi| {
        api.all("events").iter().any(|event| event["reason"] == "MessageFailed").then_some(())
    };
    world.api.wait("the event", told).await;
    world.stop().await;
    assert_eq!(world.given(), ["m1", "m2", "m3"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lost_answers_and_broken_watches_double_nothing_and_keep_the_order() {
    let mut rounds = JoinSet::new();
    for lasts in [5, 20, 60, 200] {
        rounds.spawn(async move {
            let mut world = World::new(FakeApi::new().chaotic(), Duration::from_millis(lasts));
            world.start();
            let names: Vec<String> = (0..15).map(|n| format!("m{}", 14 - n)).collect();
            for name in &names {
                world.send(name, json!({"delivery": if name.len() == 2 { "Steer" } else { "Queue" }}));
                tokio::time::sleep(Duration::from_millis(fastrand::u64(0..20))).await;
            }
            for name in &names {
                world.message(name, "Acknowledged").await;
            }
            world.stop().await;
            for lane in [2, 3] {
                let of =
                    |names: Vec<String>| names.into_iter().filter(|n| n.len() == lane).collect::<Vec<_>>();
                assert_eq!(of(world.given()), of(names.clone()), "iterations of {lasts} ms");
            }
        });
    }
    while let Some(done) = rounds.join_next().await {
        done.unwrap();
    }
}

/// Lets the master die with a write, starts it again, and answers what is untrue then.
async fn crash_at(writes: usize, last_counts: bool, leaves_output: bool, lasts: u64) -> Vec<String> {
    let mut world = World::new(FakeApi::new(), Duration::from_millis(lasts));
    world.leaves_output = leaves_output;
    let dead = world.start_until(writes, last_counts);
    let sent = [("m1", "Steer"), ("m2", "Queue"), ("m3", "Interrupt"), ("m4", "Steer")];
    for (name, delivery) in sent {
        world.send(name, json!({"delivery": delivery}));
        tokio::time::sleep(Duration::from_millis(15)).await;
    }
    let over = |message: &Value| {
        matches!(message["status"]["phase"].as_str(), Some("Acknowledged" | "Failed" | "Expired"))
    };
    let all_over = |api: &FakeApi| api.all("messages").iter().all(over);
    world.api.wait("the crash", |api| (dead.load(Ordering::SeqCst) || all_over(api)).then_some(())).await;
    dead.store(true, Ordering::SeqCst);
    world.bury().await;
    world.start();
    world.api.wait("every message to come to its end", |api| all_over(api).then_some(())).await;
    world.stop().await;
    let (given, recorded) = (world.given(), world.recorded());
    let count = |names: &[String], name: &str| names.iter().filter(|given| *given == name).count();
    let mut wrong = Vec::new();
    for (name, _) in sent {
        let status = world.api.get("messages", name).unwrap()["status"].clone();
        let (given, recorded) = (count(&given, name), count(&recorded, name));
        let as_it_is = match status["phase"].as_str().unwrap() {
            "Acknowledged" => given == 1 && recorded == 1,
            // Only where the output cannot tell, and then it says so.
            "Failed" => {
                !leaves_output
                    && given <= 1
                    && recorded == 0
                    && status["how"].to_string().contains("not known")
            }
            _ => false,
        };
        if !as_it_is {
            wrong.push(format!("{name}: given {given}, recorded {recorded}, {status}"));
        }
    }
    let lane: Vec<&String> = given.iter().filter(|name| *name != "m2").collect();
    if !lane.is_sorted() {
        wrong.push(format!("the order is {given:?}"));
    }
    wrong.iter().map(|wrong| format!("{writes} {last_counts} {leaves_output} {lasts}: {wrong}")).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_at_any_write_neither_loses_nor_doubles_a_message() {
    let mut rounds = JoinSet::new();
    let mut wrong = Vec::new();
    for writes in 1..40 {
        for leaves_output in [true, false] {
            let (last_counts, lasts) = (fastrand::bool(), if writes % 2 == 0 { 30 } else { 600_000 });
            rounds.spawn(crash_at(writes, last_counts, leaves_output, lasts));
        }
        while rounds.len() > 12 {
            wrong.extend(rounds.join_next().await.unwrap().unwrap());
        }
    }
    while let Some(done) = rounds.join_next().await {
        wrong.extend(done.unwrap());
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What one crash in the middle of a turn showed.
#[derive(Debug, Default)]
struct Crash {
    /// What is untrue afterwards.
    wrong: Vec<String>,
    /// The master came to the end of all messages before it died.
    survived: bool,
    /// Messages that the agent was given in its turn and that no record told of when the master died.
    unrecorded: usize,
    /// Messages that ended as not known.
    unknown: usize,
}

/// Lets the master die with a write behind the beginning of a turn that takes messages, then starts it again.
async fn crash_in_a_turn(writes: usize, last_counts: bool, leaves_output: bool) -> Crash {
    let mut world = World::new(FakeApi::new(), LONG);
    world.leaves_output = leaves_output;
    let life = world.start_mortal();
    world.runs("a.work.0").await;
    life.end_with(writes, last_counts);
    let dead = || life.dead.load(Ordering::SeqCst);
    let sent = [("m1", "Steer"), ("m2", "Queue"), ("m3", "Interrupt"), ("m4", "Steer")];
    for (name, delivery) in sent {
        world.send(name, json!({"delivery": delivery}));
    }
    let over = |api: &FakeApi, name: &str| {
        let phase = api.get("messages", name).unwrap()["status"]["phase"].clone();
        matches!(phase.as_str(), Some("Acknowledged" | "Failed" | "Expired"))
    };
    let live = |api: &FakeApi| ["m1", "m3", "m4"].iter().all(|name| over(api, name));
    world.api.wait("the turn's messages", |api| (dead() || live(api)).then_some(())).await;
    if !dead() {
        // Only the end of the turn brings the prompt that the queued one waits for.
        world.model.over.send_replace(true);
        let queued = |api: &FakeApi| (dead() || over(api, "m2")).then_some(());
        world.api.wait("the queued message", queued).await;
        world.model.over.send_replace(false);
    }
    let survived = !dead();
    life.dead.store(true, Ordering::SeqCst);
    world.bury().await;
    let at_crash: Vec<Value> =
        sent.iter().map(|(name, _)| world.api.get("messages", name).unwrap()["status"].clone()).collect();
    let (given, recorded) = (world.given(), world.recorded());
    let unrecorded = given.iter().filter(|name| *name != "m2" && !recorded.contains(name)).count();
    let mut crash = Crash { survived, unrecorded, ..Crash::default() };
    world.start();
    let all = |api: &FakeApi| sent.iter().all(|(name, _)| over(api, name)).then_some(());
    world.api.wait("every message to come to its end", all).await;
    world.stop().await;
    let (given, recorded_then) = (world.given(), recorded);
    let recorded = world.recorded();
    for ((name, _), before) in sent.iter().zip(at_crash) {
        let status = world.api.get("messages", name).unwrap()["status"].clone();
        let count = |names: &[String]| names.iter().filter(|other| other == name).count();
        let as_it_is = match status["phase"].as_str().unwrap() {
            "Acknowledged" => count(&given) == 1 && count(&recorded) == 1,
            // Between the intent and the record, and only where no output tells what happened in between.
            "Failed" => {
                crash.unknown += 1;
                let in_the_window = before["iteration"].is_string() && count(&recorded_then) == 0;
                let said = status["how"].to_string().contains("not known");
                in_the_window && !leaves_output && said && count(&given) <= 1 && count(&recorded) == 0
            }
            _ => false,
        };
        if !as_it_is {
            let (given, recorded) = (count(&given), count(&recorded));
            let case = format!("{writes} {last_counts} {leaves_output}");
            crash
                .wrong
                .push(format!("{case}: {name}: given {given}, recorded {recorded}, {before} -> {status}"));
        }
    }
    let lane: Vec<&String> = given.iter().filter(|name| *name != "m2").collect();
    if !lane.is_sorted() {
        crash.wrong.push(format!("{writes} {last_counts} {leaves_output}: the order is {given:?}"));
    }
    crash
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_at_any_write_in_the_middle_of_a_turn_neither_loses_nor_doubles_a_message() {
    let mut crashes = Vec::new();
    // Every write of the delivery is the last one, until there is none left: then the master survives.
    for first in (1..).step_by(4) {
        let mut rounds = JoinSet::new();
        for writes in first..first + 4 {
            for (last_counts, leaves_output) in [(true, true), (false, true), (true, false), (false, false)] {
                rounds.spawn(async move {
                    (leaves_output, crash_in_a_turn(writes, last_counts, leaves_output).await)
                });
            }
        }
        let wave = rounds.join_all().await;
        let all_survived = wave.iter().all(|(_, crash)| crash.survived);
        crashes.extend(wave);
        if all_survived {
            break;
        }
    }
    let wrong: Vec<_> = crashes.iter().flat_map(|(_, crash)| crash.wrong.clone()).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let count = |is: &dyn Fn(bool, &Crash) -> bool| {
        crashes.iter().filter(|(leaves_output, crash)| is(*leaves_output, crash)).count()
    };
    // The dangerous moment was met with either kind of backend, and seen for what it is.
    let told = count(&|leaves_output, crash| leaves_output && crash.unrecorded > 0);
    let untold = count(&|leaves_output, crash| !leaves_output && crash.unrecorded > 0 && crash.unknown > 0);
    assert!(told > 0 && untold > 0, "{told} {untold}");
    assert!(count(&|_, crash| !crash.survived) > 40, "the crashes came in the middle");
}
