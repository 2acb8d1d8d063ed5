//! The backends `codex`, `amp` and `acp` with the real master and programs that stand in for the real ones, found in
//! `PATH`: the master is killed in the middle of a tool, and the next one goes on with the same program.

use std::process::Command;

use serde_json::{Value, json};

use crate::support::agents::{list, shell_loop, shell_once};
use crate::support::cli::Sandbox;
use crate::support::master::{Master, object, wait_object};
use crate::support::processes::with_environment;
use crate::support::wait::wait;

/// Puts the stand-ins before everything else in `PATH`.
fn with_stand_ins(command: &mut Command) {
    let path = std::env::var("PATH").unwrap_or_default();
    command.env("PATH", format!("{}/tests/data/stand-ins:{path}", env!("CARGO_MANIFEST_DIR")));
    command.env("TZ", "UTC");
}

fn master(sandbox: &Sandbox) -> Master {
    Master::start_with(sandbox, &["--backend", "rehearsal"], with_stand_ins)
}

fn with_backend(mut agent: Value, sandbox: &Sandbox, backend: &str, args: &[&str]) -> Value {
    agent["spec"]["backend"] = json!({"name": backend, "args": args});
    agent["spec"]["workingDirectory"] = json!(sandbox.work());
    agent
}

fn apply(sandbox: &Sandbox, agents: &[Value]) {
    sandbox.write("a.json", &list(agents));
    sandbox.run(["apply", "-f", "a.json"]).ok();
}

fn phase(sandbox: &Sandbox, iteration: &str, phase: &str) -> Value {
    wait_object(sandbox, "iteration", iteration, phase, |o| o["status"]["phase"] == phase)["status"].clone()
}

fn at_its_tool(sandbox: &Sandbox, iteration: &str) -> Value {
    let there = |o: &Value| o["status"]["toolUses"] == 1 && o["status"]["process"]["pid"].is_i64();
    wait_object(sandbox, "iteration", iteration, "at its tool", there)["status"].clone()
}

/// The mark that every process of an iteration carries.
fn mark(sandbox: &Sandbox, iteration: &str) -> String {
    let object = object(sandbox, "iteration", iteration).unwrap();
    format!("GCLUSTER_ITERATION_UID={}", object["metadata"]["uid"].as_str().unwrap())
}

/// Types of the records of an iteration, in order, without notices.
fn records(sandbox: &Sandbox, iteration: &str) -> Vec<String> {
    let log = sandbox.run(["logs", iteration, "-o", "json"]).ok().stdout;
    let kinds = log.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["type"].clone());
    kinds.map(|kind| kind.as_str().unwrap().to_owned()).filter(|kind| kind != "notice").collect()
}

fn nothing_is_left(mark: &str) {
    wait("nothing of it to run", || with_environment(mark).is_empty().then_some(()));
}

/// Runs one agent over the death of its master and another one into a stop. Answers the status of the first, and the
/// next master.
fn over_a_killed_master(sandbox: &Sandbox, backend: &str, args: &[&str]) -> (Value, Master) {
    let mut first = master(sandbox);
    apply(
        sandbox,
        &[
            with_backend(shell_once("work", ""), sandbox, backend, args),
            with_backend(shell_loop("stopped", ""), sandbox, backend, args),
        ],
    );
    let before = at_its_tool(sandbox, "work.prompt.0");
    at_its_tool(sandbox, "stopped.work.0");
    let marks = [mark(sandbox, "work.prompt.0"), mark(sandbox, "stopped.work.0")];
    first.kill();
    let second = master(sandbox);
    wait("both to be taken over", || {
        let events = sandbox.run(["get", "events", "-o", "json"]).ok().stdout;
        (events.matches("\"Adopted\"").count() >= 2).then_some(())
    });
    assert_eq!(at_its_tool(sandbox, "work.prompt.0")["process"], before["process"], "the same process");
    sandbox.run(["stop", "stopped"]).ok();
    let stopped = phase(sandbox, "stopped.work.0", "Interrupted");
    assert_eq!(stopped["reason"], "Stopped", "{stopped}");
    nothing_is_left(&marks[1]);
    sandbox.write("work.go", "");
    let after = phase(sandbox, "work.prompt.0", "Succeeded");
    assert_eq!(after["sessionID"], before["sessionID"]);
    assert_eq!(after["outputExcerpt"], "It is made.", "{after}");
    assert!(after["costUSD"].is_null(), "no price is known: {after}");
    nothing_is_left(&marks[0]);
    (after, second)
}

fn input(sandbox: &Sandbox, agent: &str) -> String {
    std::fs::read_to_string(sandbox.work().join(format!("{agent}.input"))).unwrap()
}

fn args(sandbox: &Sandbox, agent: &str) -> String {
    std::fs::read_to_string(sandbox.work().join(format!("{agent}.args"))).unwrap()
}

#[test]
fn codex_goes_on_over_a_killed_master_queues_messages_and_parks_at_a_usage_limit() {
    let sandbox = Sandbox::new();
    let (done, _master) = over_a_killed_master(&sandbox, "codex", &[]);
    let tokens = &done["tokens"];
    let kinds = ["input", "cacheRead", "cacheCreation", "output"].map(|kind| tokens[kind].as_i64().unwrap());
    assert_eq!(kinds, [800, 2500, 0, 55], "{done}");
    let expected = ["prompt", "text", "toolUse", "toolResult", "text", "usage", "output", "end"];
    assert_eq!(records(&sandbox, "work.prompt.0"), expected, "none is missing and none doubled");
    assert_eq!(input(&sandbox, "work"), "Work.");
    assert_eq!(
        args(&sandbox, "work").trim(),
        "exec --json --skip-git-repo-check --dangerously-bypass-approvals-and-sandbox"
    );

    let agents = ["busy", "limit"].map(|name| with_backend(shell_loop(name, ""), &sandbox, "codex", &[]));
    apply(&sandbox, &agents);
    at_its_tool(&sandbox, "busy.work.0");
    sandbox.run(["send", "busy", "Look at the tests too."]).ok();
    wait("the message to be queued", || {
        let messages = sandbox.run(["get", "messages", "-o", "json"]).ok().stdout;
        messages.contains("queued: codex takes no messages while it works").then_some(())
    });
    let limited = phase(&sandbox, "limit.work.0", "Interrupted");
    assert_eq!(limited["reason"], "Throttled", "a usage limit is no failure: {limited}");
    wait_object(&sandbox, "agent", "limit", "parked until the limit is lifted", |o| {
        o["status"].to_string().contains("2033-05-18T03:3")
    });
}

#[test]
fn amp_goes_on_over_a_killed_master_and_is_not_left_waiting_for_a_sign_in() {
    let sandbox = Sandbox::new();
    let (done, _master) = over_a_killed_master(&sandbox, "amp", &[]);
    let tokens = &done["tokens"];
    let kinds = ["input", "cacheRead", "cacheCreation", "output"].map(|kind| tokens[kind].as_i64().unwrap());
    assert_eq!(kinds, [0, 24832, 734, 16], "{done}");
    let expected = ["prompt", "text", "toolUse", "usage", "toolResult", "text", "usage", "output", "end"];
    assert_eq!(records(&sandbox, "work.prompt.0"), expected, "none is missing and none doubled");
    assert_eq!((input(&sandbox, "work").as_str(), &done["sessionID"]), ("Work.", &json!("T-1")));
    assert_eq!(args(&sandbox, "work").trim(), "-x --stream-json-thinking --dangerously-allow-all");

    apply(&sandbox, &[with_backend(shell_once("limit", ""), &sandbox, "amp", &[])]);
    let failed = phase(&sandbox, "limit.prompt.0", "Interrupted");
    assert_eq!(failed["reason"], "AuthenticationFailed", "{failed}");
    assert!(failed["error"].as_str().unwrap().contains("amp login"), "{failed}");
    let log = sandbox.run(["logs", "limit.prompt.0", "-o", "json"]).ok().stdout;
    assert!(!log.contains("authToken"), "the address that signs somebody in is not recorded: {log}");
    nothing_is_left(&mark(&sandbox, "limit.prompt.0"));
}

#[test]
fn an_acp_agent_is_answered_by_the_next_master_too() {
    let sandbox = Sandbox::new();
    let (done, _master) = over_a_killed_master(&sandbox, "acp", &["acp-agent"]);
    assert_eq!((&done["tokens"]["input"], &done["tokens"]["output"]), (&20.into(), &10.into()), "{done}");
    let expected = [
        "prompt",
        "text",
        "toolUse",
        "toolResult",
        "toolUse",
        "toolResult",
        "text",
        "usage",
        "output",
        "end",
    ];
    assert_eq!(records(&sandbox, "work.prompt.0"), expected, "none is missing and none doubled");
    let input = input(&sandbox, "work");
    let sent: Vec<&str> = input.lines().collect();
    assert_eq!(sent.len(), 5, "two masters, and each line was sent once: {input}");
    assert!(sent[2].contains("\"session/prompt\"") && sent[2].contains("\"Work.\""), "{input}");
    assert!(sent[3].contains("\"ask-a\"") && sent[4].contains("\"ask-b\""), "{input}");
    let log = sandbox.run(["logs", "work.prompt.0", "-o", "json"]).ok().stdout;
    assert_eq!(log.matches("asked for permission: make").count(), 2, "{log}");
}

#[test]
fn messages_reach_an_acp_agent_after_its_turn_or_by_ending_it() {
    let sandbox = Sandbox::new();
    let _master = master(&sandbox);
    let agents = ["steered", "cancelled"]
        .map(|name| with_backend(shell_once(name, ""), &sandbox, "acp", &["acp-agent"]));
    apply(&sandbox, &agents);
    at_its_tool(&sandbox, "steered.prompt.0");
    at_its_tool(&sandbox, "cancelled.prompt.0");
    sandbox.run(["send", "steered", "Look at the tests too."]).ok();
    sandbox.run(["send", "cancelled", "--interrupt", "Do something else."]).ok();
    let heard = |agent: &str, text: &str| {
        let done = phase(&sandbox, &format!("{agent}.prompt.0"), "Succeeded");
        assert_eq!((&done["outputExcerpt"], &done["turns"]), (&json!("Heard."), &2.into()), "{done}");
        let log = sandbox.run(["logs", agent, "-o", "json"]).ok().stdout;
        let at = |what: &str| log.find(what).unwrap_or_else(|| panic!("{what} in {log}"));
        assert!(at("I look.") < at(text) && at(text) < at("Heard."), "{log}");
        nothing_is_left(&mark(&sandbox, &format!("{agent}.prompt.0")));
    };
    heard("cancelled", "Do something else.");
    // The other one's turn goes on until its tool has ended; the message waits for that.
    wait("the message to be on its way", || {
        let messages = sandbox.run(["get", "messages", "-o", "json"]).ok().stdout;
        messages.contains("\"steered.prompt.0\"").then_some(())
    });
    sandbox.write("steered.go", "");
    heard("steered", "Look at the tests too.");
    let messages = crate::support::master::objects(&sandbox, "messages");
    assert!(messages.iter().all(|message| message["status"]["phase"] == "Acknowledged"), "{messages:?}");
}
