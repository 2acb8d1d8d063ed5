//! The real `claude` CLI goes on while its master is killed, against the loopback model server.

use std::process::Command;

use serde_json::{Value, json};

use crate::support::agents::list;
use crate::support::claude::{ModelServer, claude_or_skip, within_reach};
use crate::support::cli::Sandbox;
use crate::support::master::{Master, object, wait_object};
use crate::support::processes::with_environment;
use crate::support::skip::program_or_skip;
use crate::support::wait::wait;

const TEST: &str = "adoption_claude::the_real_claude_is_taken_over_in_the_middle_of_a_tool_and_after_its_end";

#[test]
fn the_real_claude_is_taken_over_in_the_middle_of_a_tool_and_after_its_end() {
    let Some(python) = program_or_skip("python3", TEST) else { return };
    let Some(claude) = claude_or_skip(TEST) else { return };
    let sandbox = Sandbox::new();
    let scenario = |name: &str| {
        let wait =
            format!("while [ ! -e '{}/go-{name}' ]; do sleep 0.05; done; echo one", sandbox.work().display());
        json!({
            "steps": [
                {"text": "First.", "tool": "Bash", "input": {"command": wait, "description": "Wait"}},
                {"text": "Second.", "tool": "Bash", "input": {"command": "echo two", "description": "Go on"}},
            ],
            "then": {"text": "It said {last_result}"},
        })
    };
    let names = ["calm", "alive", "ended", "killed"];
    let scenarios: serde_json::Map<String, Value> =
        names.iter().map(|name| ((*name).to_owned(), scenario(name))).collect();
    let server = ModelServer::start(&python, &scenarios.into());
    let start = || Master::start_with(&sandbox, &["--backend", "claude"], within_reach(&claude));
    let mut master = start();
    let agents: Vec<Value> = names.map(|name| server.agent(name, &sandbox.work())).into();
    sandbox.write("a.json", &list(&agents));
    sandbox.run(["apply", "-f", "a.json"]).ok();
    let iteration = |name: &str| format!("{name}.prompt.0");
    for name in names {
        wait_object(&sandbox, "iteration", &iteration(name), "at its first tool", |o| {
            o["status"]["toolUses"] == 1 && o["status"]["process"]["pid"].is_i64()
        });
    }
    let over = |name: &str, phase: &str| {
        wait_object(&sandbox, "iteration", &iteration(name), phase, |o| o["status"]["phase"] == phase)["status"].clone()
    };
    // One is left in peace, to compare with.
    sandbox.write("go-calm", "");
    let calm = over("calm", "Succeeded");

    let before =
        ["alive", "ended", "killed"].map(|name| object(&sandbox, "iteration", &iteration(name)).unwrap());
    let mark = |o: &Value| format!("GCLUSTER_ITERATION_UID={}", o["metadata"]["uid"].as_str().unwrap());
    master.kill();
    let pid = before[2]["status"]["process"]["pid"].as_i64().unwrap();
    assert!(Command::new("kill").args(["-9", &pid.to_string()]).status().unwrap().success());
    sandbox.write("go-ended", "");
    // It waits for what it may still be told; that nobody tells it anything only a master can say.
    let output =
        sandbox.data().join("runs").join(before[1]["metadata"]["uid"].as_str().unwrap()).join("stdout");
    wait("the second to end its turn", || {
        std::fs::read_to_string(&output).unwrap().contains("\"type\":\"result\"").then_some(())
    });
    assert!(!with_environment(&mark(&before[0])).is_empty(), "the first goes on");

    let _master = start();
    wait_object(&sandbox, "iteration", &iteration("killed"), "interrupted", |o| {
        o["status"]["phase"] == "Interrupted" && o["status"]["reason"] == "MasterRestarted"
    });
    let now = object(&sandbox, "iteration", &iteration("alive")).unwrap();
    assert_eq!(now["status"]["process"], before[0]["status"]["process"], "the same process");
    sandbox.write("go-alive", "");
    let records = |name: &str| -> Vec<Value> {
        let log = sandbox.run(["logs", &iteration(name), "-o", "json"]).ok().stdout;
        log.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    let shape = |name: &str| -> Vec<String> {
        let one = |r: &Value| format!("{} {} {} {}", r["type"], r["name"], r["tokens"], r["costUSD"]);
        records(name).iter().map(one).collect()
    };
    for (name, before) in ["alive", "ended"].iter().zip(&before) {
        let end = over(name, "Succeeded");
        assert_eq!(end["sessionID"], before["status"]["sessionID"], "{end}");
        for field in ["tokens", "costUSD", "toolUses", "turns", "outputExcerpt", "model"] {
            assert_eq!(end[field], calm[field], "{name}: {field}");
        }
        assert_eq!(shape(name), shape("calm"), "{name}: no record is missing or doubled");
    }
    wait("nothing to be left", || before.iter().all(|o| with_environment(&mark(o)).is_empty()).then_some(()));
}

const TOLD: &str = "adoption_claude::a_message_reaches_the_turn_of_a_real_claude_that_was_taken_over";

#[test]
fn a_message_reaches_the_turn_of_a_real_claude_that_was_taken_over() {
    let Some(python) = program_or_skip("python3", TOLD) else { return };
    let Some(claude) = claude_or_skip(TOLD) else { return };
    let sandbox = Sandbox::new();
    let scenario = |name: &str| {
        let wait =
            format!("while [ ! -e '{}/go-{name}' ]; do sleep 0.05; done; echo one", sandbox.work().display());
        json!({
            "steps": [
                {"text": "First.", "tool": "Bash", "input": {"command": wait, "description": "Wait"}},
            ],
            "rules": [{"contains": "TURN LEFT", "step": {"text": "Turned left."}}],
            "then": {"text": "It said {last_result}"},
        })
    };
    let names = ["steered", "interrupted", "hasty"];
    let scenarios: serde_json::Map<String, Value> =
        names.iter().map(|name| ((*name).to_owned(), scenario(name))).collect();
    let server = ModelServer::start(&python, &scenarios.into());
    let start = || Master::start_with(&sandbox, &["--backend", "claude"], within_reach(&claude));
    let mut master = start();
    let agents: Vec<Value> = names.map(|name| server.agent(name, &sandbox.work())).into();
    sandbox.write("a.json", &list(&agents));
    sandbox.run(["apply", "-f", "a.json"]).ok();
    let iteration = |name: &str| format!("{name}.prompt.0");
    let before = names.map(|name| {
        wait_object(&sandbox, "iteration", &iteration(name), "at its first tool", |o| {
            o["status"]["toolUses"] == 1 && o["status"]["process"]["pid"].is_i64()
        })
    });
    let send = |args: &[&str]| {
        let sent = sandbox.run([&["send"], args].concat()).ok().stdout;
        sent.split(' ').nth(1).expect("its name").to_owned()
    };
    // Cut off somewhere on its way.
    let hasty = send(&["hasty", "TURN LEFT"]);
    master.kill();
    let _master = start();
    wait("all to be taken over", || {
        let events = sandbox.run(["get", "events", "-o", "json"]).ok().stdout;
        (events.matches("\"Adopted\"").count() >= 3).then_some(())
    });
    let steered = send(&["steered", "TURN LEFT"]);
    wait_object(&sandbox, "message", &steered, "in the turn", |o| o["status"]["phase"] == "Delivered");
    let interrupted = send(&["interrupted", "TURN LEFT", "--interrupt"]);
    sandbox.write("go-steered", "");
    sandbox.write("go-hasty", "");
    for ((name, message), before) in names.iter().zip([&steered, &interrupted, &hasty]).zip(&before) {
        let end = wait_object(&sandbox, "iteration", &iteration(name), "over", |o| {
            o["status"]["phase"] == "Succeeded" || o["status"]["phase"] == "Failed"
        });
        assert_eq!(end["status"]["outputExcerpt"], "Turned left.", "{name}: {end}");
        assert_eq!(end["status"]["sessionID"], before["status"]["sessionID"]);
        let status = wait_object(&sandbox, "message", message, "acknowledged", |o| {
            o["status"]["phase"] == "Acknowledged"
        })["status"]
            .clone();
        assert_eq!(status["iteration"], iteration(name), "{status}");
        let log = sandbox.run(["logs", &iteration(name), "-o", "json"]).ok().stdout;
        let given = log.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let given: Vec<Value> = given.filter(|record| record["type"] == "message").collect();
        assert_eq!(given.len(), 1, "{name}: {log}");
        assert_eq!(given[0]["name"], message.as_str(), "{name}: {log}");
    }
    let mark = |o: &Value| format!("GCLUSTER_ITERATION_UID={}", o["metadata"]["uid"].as_str().unwrap());
    wait("nothing to be left", || before.iter().all(|o| with_environment(&mark(o)).is_empty()).then_some(()));
}
