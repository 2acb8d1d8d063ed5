//! The master, the agents and both are killed at random moments; afterwards everything is as if nothing had happened.
//!
//! ```text
//! agents at work, messages sent ─▶ kill -9 master | program | both ─▶ next master … ─▶ calm ─▶ what is left is checked
//! ```
//!
//! What is checked comes from witnesses of their own: files that the programs write themselves, the requests that the
//! model server saw, and the processes. `GCLUSTER_CRASH_ROUNDS` asks for more rounds, `GCLUSTER_CRASH_SEED` repeats a
//! sequence of kills.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};

use crate::support::agents::{list, shell_loop};
use crate::support::claude::{ModelServer, claude_or_skip, within_reach};
use crate::support::cli::Sandbox;
use crate::support::master::{Master, objects};
use crate::support::processes::with_environment;
use crate::support::skip::program_or_skip;
use crate::support::wait::{wait, wait_within};

/// Messages that one agent is sent at most: as many stay on record.
const MESSAGES: usize = 80;

#[test]
fn programs_survive_random_kills_and_nothing_is_lost_or_doubled() {
    let sandbox = Sandbox::new();
    let agents = ["one", "two", "three"].map(|name| counting(name, &sandbox));
    let rehearsals = ["four", "five"].map(rehearsing);
    let mut trial = Trial::new(&sandbox, &[&agents[..], &rehearsals[..]].concat(), rounds(8), |_| {});
    let found = trial.run();
    assert_witnessed(&found, &trial, &sandbox);
}

#[test]
fn the_real_claude_survives_random_kills_and_is_billed_once() {
    const TEST: &str = "crash::the_real_claude_survives_random_kills_and_is_billed_once";
    let Some(python) = program_or_skip("python3", TEST) else { return };
    let Some(claude) = claude_or_skip(TEST) else { return };
    let sandbox = Sandbox::new();
    let step = |n: u32| {
        let command = format!("echo $GCLUSTER_ITERATION_UID {n} >> tools; sleep 0.7");
        json!({"text": format!("Step {n}."), "tool": "Bash", "input": {"command": command, "description": "Work"}})
    };
    let scenario =
        json!({"steps": [step(1), step(2)], "then": {"text": "Done."}, "side": {"text": "Aside."}});
    let server = ModelServer::start(&python, &json!({"ann": scenario, "bob": scenario}));
    let agents = ["ann", "bob"].map(|name| {
        let mut agent = server.agent(name, &sandbox.work());
        agent["spec"]["definition"] = looping(name).into();
        agent["spec"]["methods"] = json!({"work": "(defmethod work ()\n  \"Work.\")"});
        agent["spec"]["loopContext"] = json!("None");
        agent["spec"]["iterationHistoryLimit"] = json!(10_000);
        agent
    });
    let mut trial = Trial::new(&sandbox, &agents, rounds(5), within_reach(&claude));
    let found = trial.run();
    assert_billed(&found, &trial, &server);
}

fn rounds(usual: usize) -> usize {
    std::env::var("GCLUSTER_CRASH_ROUNDS").ok().and_then(|n| n.parse().ok()).unwrap_or(usual)
}

fn looping(name: &str) -> String {
    format!("(defagent \"{name}\"\n  (pipeline\n    (step \"work\" (loop work))))")
}

/// A program that says twelve lines in three seconds, and leaves a trace of its own of each step.
fn counting(name: &str, sandbox: &Sandbox) -> Value {
    let dir = sandbox.work();
    let script = format!(
        "u=$GCLUSTER_ITERATION_UID; echo $u >> '{0}/began'; cat > '{0}/prompt.'$u; \
         for n in $(seq 1 12); do echo line $n; sleep 0.26; done; echo $u >> '{0}/finished'",
        dir.display()
    );
    let mut agent = shell_loop(name, &script);
    agent["spec"]["loopContext"] = json!("None");
    agent["spec"]["iterationHistoryLimit"] = json!(10_000);
    agent
}

fn rehearsing(name: &str) -> Value {
    let mut agent = shell_loop(name, "");
    let script = ["tool Bash ls", "wait 200ms", "result two files", "say done", "output done"];
    agent["spec"]["backend"] = json!({"name": "rehearsal", "args": script});
    agent["spec"]["loopContext"] = json!("None");
    agent["spec"]["iterationHistoryLimit"] = json!(10_000);
    agent
}

/// Agents at work, and a master that dies again and again.
struct Trial<'a> {
    sandbox: &'a Sandbox,
    agents: Vec<String>,
    rounds: usize,
    change: Box<dyn Fn(&mut std::process::Command) + 'a>,
    master: Master,
    /// Uids of iterations whose program was killed.
    killed: BTreeSet<String>,
    /// Texts of the messages that were acknowledged, and who they are for.
    sent: BTreeMap<String, String>,
    random: fastrand::Rng,
    seed: u64,
}

impl<'a> Trial<'a> {
    fn new(
        sandbox: &'a Sandbox,
        agents: &[Value],
        rounds: usize,
        change: impl Fn(&mut std::process::Command) + 'a,
    ) -> Self {
        let given = std::env::var("GCLUSTER_CRASH_SEED").ok().and_then(|seed| seed.parse().ok());
        let clock = || SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("a clock").as_micros();
        let seed = given.unwrap_or_else(|| u64::try_from(clock()).expect("a seed"));
        // Shown when the test fails.
        println!("GCLUSTER_CRASH_SEED={seed} GCLUSTER_CRASH_ROUNDS={rounds}");
        let master = Master::start_with(sandbox, &["--backend", "rehearsal"], |command| change(command));
        sandbox.write("agents.json", &list(agents));
        sandbox.run(["apply", "-f", "agents.json"]).ok();
        let agents =
            agents.iter().map(|a| a["metadata"]["name"].as_str().expect("a name").to_owned()).collect();
        let (killed, sent) = (BTreeSet::new(), BTreeMap::new());
        let random = fastrand::Rng::with_seed(seed);
        Self { sandbox, agents, rounds, change: Box::new(change), master, killed, sent, random, seed }
    }

    /// The whole of it, with what holds for every backend. Gives what is on record.
    fn run(&mut self) -> Vec<Value> {
        self.crash();
        self.calm();
        let found = self.end();
        assert_ordered(&found);
        assert_counted(&found, self.sandbox);
        assert_told(&found, self, self.sandbox);
        found
    }

    fn crash(&mut self) {
        for round in 0..self.rounds {
            self.pause(1_500);
            for n in 0..self.random.usize(0..3) {
                self.send(&format!("note {round}-{n};"));
            }
            self.pause(400);
            let what = self.random.u8(0..4);
            if what >= 2 {
                self.kill_program();
            }
            if what != 2 {
                self.master.kill();
                if self.random.bool() {
                    self.kill_program();
                }
                self.pause(1_500);
                self.master =
                    Master::start_with(self.sandbox, &["--backend", "rehearsal"], |c| (self.change)(c));
            }
        }
    }

    fn pause(&mut self, most: u64) {
        std::thread::sleep(Duration::from_millis(self.random.u64(0..most)));
    }

    fn send(&mut self, text: &str) {
        let agent = self.random.choice(&self.agents).expect("an agent").clone();
        if self.sent.values().filter(|to| **to == agent).count() >= MESSAGES {
            return;
        }
        let how: &[&str] = if self.random.bool() { &["--queue"] } else { &[] };
        self.sandbox.run([&["send", &agent, text, "--from", "tester"], how].concat()).ok();
        self.sent.insert(text.to_owned(), agent);
    }

    /// SIGKILL to the leader of one run, whether a master watches it or not.
    fn kill_program(&mut self) {
        let running: Vec<(u32, String)> = with_environment("GCLUSTER_ITERATION_UID=")
            .into_iter()
            .filter_map(|pid| {
                let env = std::fs::read(format!("/proc/{pid}/environ")).ok()?;
                let env = String::from_utf8_lossy(&env).into_owned();
                let ours = env.contains(&*self.sandbox.work().to_string_lossy());
                let uid = env.split('\0').find_map(|v| v.strip_prefix("GCLUSTER_ITERATION_UID="))?.to_owned();
                let group = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
                let group: u32 = group.rsplit(')').next()?.split_whitespace().nth(2)?.parse().ok()?;
                (ours && group == pid).then_some((pid, uid))
            })
            .collect();
        if let Some((pid, uid)) = self.random.choice(running) {
            // It may have ended meanwhile, and then it was not killed by us; it is not asked for more either way.
            let _ = std::process::Command::new("kill").args(["-9", &pid.to_string()]).output();
            self.killed.insert(uid);
        }
    }

    /// Lets every agent come through one more iteration, and every message arrive.
    fn calm(&mut self) {
        let newest = |items: &[Value], agent: &str| {
            let own = items.iter().filter(|i| i["spec"]["agent"] == *agent);
            own.filter_map(|i| i["spec"]["number"].as_i64()).max().unwrap_or(-1)
        };
        let before = objects(self.sandbox, "iterations");
        for agent in &self.agents {
            let known = newest(&before, agent);
            wait_within(Duration::from_secs(180), &format!("{agent} goes on (seed {})", self.seed), || {
                let now = objects(self.sandbox, "iterations");
                now.iter()
                    .any(|i| {
                        i["spec"]["agent"] == **agent
                            && i["spec"]["number"].as_i64() > Some(known)
                            && i["status"]["phase"] == "Succeeded"
                    })
                    .then_some(())
            });
        }
        wait("all messages to arrive", || {
            let messages = objects(self.sandbox, "messages");
            messages
                .iter()
                .all(|m| m["status"]["phase"] != "Pending" && m["status"].is_object())
                .then_some(())
        });
    }

    /// Stops everything and gives what is on record.
    fn end(&mut self) -> Vec<Value> {
        for agent in &self.agents {
            self.sandbox.run(["stop", agent]).ok();
        }
        let found = wait("everything to end", || {
            let found = objects(self.sandbox, "iterations");
            let over = |i: &Value| {
                ["Succeeded", "Failed", "Interrupted"].iter().any(|phase| i["status"]["phase"] == **phase)
            };
            let counted = |agents: Vec<Value>| {
                let total: i64 =
                    agents.iter().filter_map(|a| a["status"]["iterations"]["total"].as_i64()).sum();
                usize::try_from(total).ok() == Some(found.len())
            };
            (found.iter().all(over) && counted(objects(self.sandbox, "agents"))).then_some(found)
        });
        for iteration in &found {
            let mark = format!("GCLUSTER_ITERATION_UID={}", uid(iteration));
            wait_within(Duration::from_secs(5), &format!("{} to leave nothing", name(iteration)), || {
                with_environment(&mark).is_empty().then_some(())
            });
        }
        found
    }
}

fn uid(iteration: &Value) -> &str {
    iteration["metadata"]["uid"].as_str().expect("a uid")
}

fn name(iteration: &Value) -> &str {
    iteration["metadata"]["name"].as_str().expect("a name")
}

fn records(sandbox: &Sandbox, iteration: &Value) -> Vec<Value> {
    let log = sandbox.run(["logs", name(iteration), "-o", "json"]).ok().stdout;
    log.lines().map(|line| serde_json::from_str(line).expect("a record")).collect()
}

/// Numbers without a gap, one session each, and a reason for every end.
fn assert_ordered(found: &[Value]) {
    let mut numbers: BTreeMap<&str, Vec<i64>> = BTreeMap::new();
    let mut sessions = BTreeSet::new();
    for iteration in found {
        let agent = iteration["spec"]["agent"].as_str().expect("an agent");
        numbers.entry(agent).or_default().push(iteration["spec"]["number"].as_i64().expect("a number"));
        assert!(iteration["status"]["reason"].as_str().is_some_and(|r| !r.is_empty()), "{iteration}");
        if let Some(session) = iteration["status"]["sessionID"].as_str() {
            assert!(sessions.insert(session.to_owned()), "the session {session} was used twice");
        }
    }
    for (agent, mut numbers) in numbers {
        numbers.sort_unstable();
        let expected: Vec<i64> = (0..).take(numbers.len()).collect();
        assert_eq!(numbers, expected, "{agent}: iterations without a gap");
    }
}

/// What an agent's status counts is what its iterations say.
fn assert_counted(found: &[Value], sandbox: &Sandbox) {
    for agent in objects(sandbox, "agents") {
        let own = || found.iter().filter(|i| i["spec"]["agent"] == agent["metadata"]["name"]);
        let phase = |phase: &str| own().filter(|i| i["status"]["phase"] == phase).count();
        let counts = &agent["status"]["iterations"];
        for (field, phase) in
            [("succeeded", "Succeeded"), ("failed", "Failed"), ("interrupted", "Interrupted")]
        {
            assert_eq!(counts[field], json!(self::count(own(), phase)), "{field}: {agent}");
        }
        assert_eq!(phase("Succeeded") + phase("Failed") + phase("Interrupted"), own().count());
        for kind in ["input", "output", "cacheRead", "cacheCreation", "total"] {
            let sum: i64 = own().filter_map(|i| i["status"]["tokens"][kind].as_i64()).sum();
            assert_eq!(agent["status"]["tokens"][kind].as_i64().unwrap_or(0), sum, "{kind} tokens: {agent}");
        }
        let sum: f64 = own().filter_map(|i| i["status"]["costUSD"].as_f64()).sum();
        let cost = agent["status"]["costUSD"].as_f64().unwrap_or(0.0);
        assert!((cost - sum).abs() < 1e-9, "cost {cost} of {agent}, iterations: {sum}");
    }
}

fn count<'a>(iterations: impl Iterator<Item = &'a Value>, phase: &str) -> usize {
    iterations.filter(|i| i["status"]["phase"] == phase).count()
}

/// Every acknowledged message is there, was given once, and in the order of arrival.
fn assert_told(found: &[Value], trial: &Trial<'_>, sandbox: &Sandbox) {
    let messages = objects(sandbox, "messages");
    let mut given: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for iteration in found {
        for record in records(sandbox, iteration) {
            if let Some(message) = record["name"].as_str().filter(|_| record["type"] == "message") {
                given.entry(message.to_owned()).or_default().push(name(iteration).to_owned());
            }
        }
    }
    for (text, agent) in &trial.sent {
        let own: Vec<&Value> = messages.iter().filter(|m| m["spec"]["text"] == **text).collect();
        assert_eq!(own.len(), 1, "{text} for {agent} was acknowledged and is there once");
        let message = own[0];
        let phase = message["status"]["phase"].as_str().unwrap_or_default();
        let times = given.get(name(message)).map_or(0, Vec::len);
        match phase {
            "Delivered" | "Acknowledged" => assert_eq!(times, 1, "{message}\n{given:?}"),
            "Failed" | "Expired" => {
                assert!(times <= 1 && message["status"]["how"].is_string(), "{times}: {message}");
            }
            other => panic!("{other}: {message}"),
        }
    }
}

/// The traces that programs left by themselves agree with what is on record.
fn assert_witnessed(found: &[Value], trial: &Trial<'_>, sandbox: &Sandbox) {
    let trace = |file: &str| -> BTreeMap<String, usize> {
        let text = std::fs::read_to_string(sandbox.work().join(file)).unwrap_or_default();
        text.lines().fold(BTreeMap::new(), |mut all, line| {
            *all.entry(line.to_owned()).or_default() += 1;
            all
        })
    };
    let (began, finished) = (trace("began"), trace("finished"));
    assert!(began.values().all(|times| *times == 1), "a program was started twice: {began:?}");
    let lines: Vec<String> = (1..=12).map(|n| format!("line {n}")).collect();
    let mut whole = 0;
    for iteration in found.iter().filter(|i| began.contains_key(uid(i))) {
        let status = &iteration["status"];
        let succeeded = status["phase"] == "Succeeded";
        assert!(!succeeded || finished.contains_key(uid(iteration)), "not finished: {iteration}");
        let stopped = status["reason"] == "Stopped";
        assert!(
            succeeded || stopped || trial.killed.contains(uid(iteration)),
            "only what was killed or stopped ends otherwise: {iteration}\nkilled: {:?}",
            trial.killed
        );
        let records = records(sandbox, iteration);
        let of = |kind: &str| records.iter().filter(|r| r["type"] == kind).count();
        assert_eq!((of("prompt"), of("end")), (1, 1), "{records:?}");
        let texts: Vec<&str> =
            records.iter().filter(|r| r["type"] == "text").filter_map(|r| r["text"].as_str()).collect();
        let texts = texts.join("\n");
        if succeeded {
            assert_eq!(texts, lines.join("\n"), "{}: no line is missing and none doubled", name(iteration));
            whole += 1;
        } else {
            assert!(lines.join("\n").starts_with(&texts), "{texts}");
        }
        let prompt = std::fs::read_to_string(sandbox.work().join(format!("prompt.{}", uid(iteration))));
        let prompt = prompt.unwrap_or_default();
        for text in trial.sent.keys() {
            assert!(prompt.matches(text.as_str()).count() <= 1, "{text} twice in {prompt}");
        }
    }
    let known: BTreeSet<&str> = found.iter().map(uid).collect();
    assert!(
        began.keys().all(|uid| known.contains(uid.as_str())),
        "a program without an iteration: {began:?}"
    );
    assert!(whole > 3, "only {whole} iterations came to their end: the test tested nothing");
}

/// The model server saw one session per iteration, and what it served is what was counted.
fn assert_billed(found: &[Value], trial: &Trial<'_>, server: &ModelServer) {
    let mut served: BTreeMap<String, i64> = BTreeMap::new();
    for request in server.requests() {
        *served.entry(request["session"].as_str().unwrap_or_default().to_owned()).or_default() += 1;
    }
    let mut whole = 0;
    for iteration in found.iter().filter(|i| i["status"]["phase"] == "Succeeded") {
        let status = &iteration["status"];
        let requests = served.get(status["sessionID"].as_str().expect("a session")).copied().unwrap_or(0);
        assert!(requests >= 3, "two tools and an answer are three requests: {iteration}\n{served:?}");
        let tokens = (&status["tokens"]["input"], &status["tokens"]["output"]);
        assert_eq!(tokens, (&json!(10 * requests), &json!(5 * requests)), "{iteration}");
        whole += 1;
    }
    for iteration in found {
        let began = iteration["status"]["sessionID"].as_str().is_some_and(|id| served.contains_key(id));
        let explained = trial.killed.contains(uid(iteration))
            || ["Completed", "Stopped"].iter().any(|reason| iteration["status"]["reason"] == **reason);
        assert!(explained || !began, "only what was killed or stopped ends otherwise: {iteration}");
    }
    assert!(whole > 1, "only {whole} iterations came to their end: the test tested nothing");
}
