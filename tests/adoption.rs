//! The master is killed, the agents go on: the next master takes their programs over.

use serde_json::Value;

use crate::support::agents::{list, shell_loop, shell_once};
use crate::support::cli::Sandbox;
use crate::support::master::{Master, object, wait_object};
use crate::support::processes::with_environment;
use crate::support::wait::wait;

/// Texts of the records of one type, in order.
fn records(sandbox: &Sandbox, iteration: &str, kind: &str) -> Vec<String> {
    let log = sandbox.run(["logs", iteration, "-o", "json"]).ok().stdout;
    let records = log.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let records = records.filter(|record| record["type"] == kind);
    records.map(|record| record["text"].as_str().unwrap_or_default().to_owned()).collect()
}

/// What every process of an iteration carries.
fn mark(sandbox: &Sandbox, iteration: &str) -> String {
    let object = object(sandbox, "iteration", iteration).unwrap();
    format!("GCLUSTER_ITERATION_UID={}", object["metadata"]["uid"].as_str().unwrap())
}

fn wait_text(sandbox: &Sandbox, iteration: &str, text: &str) {
    wait(text, || {
        let log = sandbox.run(["logs", iteration, "-o", "json"]);
        log.stdout.contains(&format!("{text}\"")).then_some(())
    });
}

fn wait_process(sandbox: &Sandbox, iteration: &str) -> Value {
    wait_object(sandbox, "iteration", iteration, "its process", |o| o["status"]["process"]["pid"].is_i64())
        ["status"]
        .clone()
}

fn wait_phase(sandbox: &Sandbox, iteration: &str, phase: &str) -> Value {
    wait_object(sandbox, "iteration", iteration, phase, |o| o["status"]["phase"] == phase)["status"].clone()
}

/// Counts to `end`; from 5 on each number needs a file, so that the test says when it is written.
fn counting(sandbox: &Sandbox, end: u32) -> String {
    let dir = sandbox.work();
    format!(
        "for n in $(seq 1 {end}); do if [ $n -gt 4 ]; then while [ ! -e '{}'/go$n ]; do sleep 0.02; done; fi; \
         echo line $n; done",
        dir.display()
    )
}

#[test]
fn a_program_goes_on_over_two_killed_masters_and_its_transcript_is_whole() {
    let sandbox = Sandbox::new();
    let mut master = Master::start(&sandbox);
    sandbox.write("a.json", &list(&[shell_once("builder", &counting(&sandbox, 8))]));
    sandbox.run(["apply", "-f", "a.json"]).ok();
    wait_text(&sandbox, "builder.prompt.0", "line 4");
    let before = wait_process(&sandbox, "builder.prompt.0");
    let mark = mark(&sandbox, "builder.prompt.0");
    master.kill();
    // Written while no master runs.
    sandbox.write("go5", "");
    let mut master = Master::start(&sandbox);
    wait_text(&sandbox, "builder.prompt.0", "line 5");
    assert_eq!(wait_process(&sandbox, "builder.prompt.0")["process"], before["process"], "the same process");
    sandbox.write("go6", "");
    wait_text(&sandbox, "builder.prompt.0", "line 6");
    master.kill();
    let _master = Master::start(&sandbox);
    wait("the event", || {
        let events = sandbox.run(["get", "events", "-o", "json"]).ok().stdout;
        (events.matches("\"Adopted\"").count() >= 2).then_some(())
    });
    assert_eq!(wait_process(&sandbox, "builder.prompt.0")["process"], before["process"], "the same process");
    sandbox.write("go7", "");
    sandbox.write("go8", "");
    let end = wait_phase(&sandbox, "builder.prompt.0", "Succeeded");
    assert_eq!((&end["sessionID"], &end["startedAt"]), (&before["sessionID"], &before["startedAt"]));
    let lines: Vec<String> = (1..=8).map(|n| format!("line {n}")).collect();
    let texts = records(&sandbox, "builder.prompt.0", "text").join("\n");
    assert_eq!(texts, lines.join("\n"), "no line is missing and none doubled");
    assert_eq!(records(&sandbox, "builder.prompt.0", "output"), [lines.join("\n")]);
    assert_eq!(records(&sandbox, "builder.prompt.0", "prompt").len(), 1);
    let agent =
        wait_object(&sandbox, "agent", "builder", "counted", |o| o["status"]["runState"] == "stopped");
    assert_eq!(
        (&agent["status"]["iterations"]["total"], &agent["status"]["iterations"]["succeeded"]),
        (&1.into(), &1.into())
    );
    assert_eq!(with_environment(&mark), Vec::<u32>::new(), "nothing is left");
}

#[test]
fn programs_that_ended_unwatched_are_recorded_as_they_ended() {
    let sandbox = Sandbox::new();
    let mut master = Master::start(&sandbox);
    let go = sandbox.work().join("go");
    let script =
        |end: &str| format!("echo begun; while [ ! -e '{}' ]; do sleep 0.02; done; {end}", go.display());
    let agents = [
        shell_once("good", &script("printf 'the end'")),
        shell_once("bad", &script("echo no luck >&2; exit 7")),
        shell_loop("killed", &script("sleep 300")),
    ];
    sandbox.write("a.json", &list(&agents));
    sandbox.run(["apply", "-f", "a.json"]).ok();
    for name in ["good.prompt.0", "bad.prompt.0", "killed.work.0"] {
        wait_text(&sandbox, name, "begun");
    }
    let victim = wait_process(&sandbox, "killed.work.0")["process"]["pid"].as_i64().unwrap();
    let of_killed = mark(&sandbox, "killed.work.0");
    let others = ["good.prompt.0", "bad.prompt.0"].map(|name| mark(&sandbox, name));
    master.kill();
    std::fs::write(&go, "").unwrap();
    // The leader alone: what it leaves behind has to go too.
    let kill = std::process::Command::new("kill").args(["-9", &victim.to_string()]).status().unwrap();
    assert!(kill.success());
    wait("the other two to end", || {
        others.iter().all(|mark| with_environment(mark).is_empty()).then_some(())
    });
    let _master = Master::start(&sandbox);
    let good = wait_phase(&sandbox, "good.prompt.0", "Succeeded");
    assert_eq!(good["reason"], "Completed", "{good}");
    assert_eq!(records(&sandbox, "good.prompt.0", "output"), ["begun\nthe end"]);
    assert_eq!(records(&sandbox, "good.prompt.0", "text").join("\n"), "begun\nthe end");
    let bad = wait_phase(&sandbox, "bad.prompt.0", "Failed");
    let error = bad["error"].as_str().unwrap();
    assert!(error.contains("exit status: 7") && error.contains("no luck"), "{bad}");
    let killed = wait_phase(&sandbox, "killed.work.0", "Interrupted");
    assert_eq!(killed["reason"], "MasterRestarted", "{killed}");
    assert!(killed["error"].as_str().unwrap().contains("no master watched"), "{killed}");
    wait_phase(&sandbox, "killed.work.1", "Running");
    assert_eq!(with_environment(&of_killed), Vec::<u32>::new(), "its group is gone");
}

#[test]
fn ten_agents_lose_nothing_and_a_stop_reaches_what_was_taken_over() {
    let sandbox = Sandbox::new();
    let mut master = Master::start(&sandbox);
    let agents: Vec<Value> = (0..10).map(|n| shell_loop(&format!("a{n}"), &counting(&sandbox, 6))).collect();
    sandbox.write("a.json", &list(&agents));
    sandbox.run(["apply", "-f", "a.json"]).ok();
    let names: Vec<String> = (0..10).map(|n| format!("a{n}.work.0")).collect();
    let before: Vec<Value> =
        names.iter().map(|name| wait_process(&sandbox, name)["process"].clone()).collect();
    names.iter().for_each(|name| wait_text(&sandbox, name, "line 4"));
    let marks: Vec<String> = names.iter().map(|name| mark(&sandbox, name)).collect();
    master.kill();
    let mut master = Master::start(&sandbox);
    sandbox.write("go5", "");
    for (name, before) in names.iter().zip(&before) {
        wait_text(&sandbox, name, "line 5");
        assert_eq!(&wait_process(&sandbox, name)["process"], before);
    }
    sandbox.run(["stop", "a9"]).ok();
    assert_eq!(wait_phase(&sandbox, "a9.work.0", "Interrupted")["reason"], "Stopped");
    sandbox.write("go6", "");
    let wanted: Vec<String> = (1..=6).map(|n| format!("line {n}")).collect();
    for name in &names[..9] {
        wait_phase(&sandbox, name, "Succeeded");
        assert_eq!(records(&sandbox, name, "text").join("\n"), wanted.join("\n"), "{name}");
    }
    assert!(master.stop().success());
    for mark in marks {
        assert_eq!(with_environment(&mark), Vec::<u32>::new());
    }
}
