//! Talking to a program over the death of its master, with a stand-in for `claude` that writes down what it reads.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use gcluster_types::transcript::Entry;
use tokio::runtime::Runtime;

use super::claude::ClaudeBackend;
use super::*;

const LIMIT: Duration = Duration::from_secs(60);

/// Is done with its turn at once, and ends with its input.
const DONE: &str = r#"#!/bin/sh
IFS= read -r line; printf '%s' "$line" > got
echo '{"type":"result","subtype":"success","is_error":false,"result":"over","num_turns":1}'
cat > /dev/null; echo closed > closed
"#;

/// Uses a tool until the file `go` is there. Confirms each message and ends the turn behind it; ends with its input.
const STAND_IN: &str = r#"#!/bin/sh
say() { printf '%s\n' "$1"; }
IFS= read -r prompt; printf '%s\n' "$prompt" >> got
say '{"type":"system","subtype":"init","session_id":"s","model":"m"}'
say '{"type":"control_request","request_id":"q1","request":{"subtype":"can_use_tool","tool_name":"Bash","input":{}}}'
IFS= read -r answer; printf '%s\n' "$answer" >> got
say '{"type":"assistant","message":{"id":"1","model":"m","content":[{"type":"tool_use","id":"t","name":"Bash","input":{"command":"x"}}]}}'
while [ ! -e go ]; do sleep 0.02; done
say '{"type":"user","message":{"role":"user","content":[{"type":"tool_result","tool_use_id":"t","content":"ok"}]}}'
for n in 1 2 3; do
  IFS= read -r line; printf '%s\n' "$line" >> got
  id=$(printf '%s\n' "$line" | sed -n 's/.*"uuid":"\([^"]*\)".*/\1/p')
  say "{\"type\":\"user\",\"isReplay\":true,\"uuid\":\"$id\",\"message\":{\"role\":\"user\",\"content\":\"x\"}}"
done
say '{"type":"result","subtype":"success","is_error":false,"result":"told","num_turns":1}'
cat >> got
echo closed > closed
"#;

fn message(name: &str) -> SteerMessage {
    let id = uuid::Uuid::new_v4().to_string();
    SteerMessage { id, name: Some(name.into()), text: format!("text of {name}"), ..SteerMessage::default() }
}

async fn next(running: &mut Running) -> Option<BackendEvent> {
    tokio::time::timeout(LIMIT, running.events.recv()).await.expect("an event in time")
}

async fn at_its_tool(running: &mut Running) -> Vec<Entry> {
    let mut records = Vec::new();
    while let Some(event) = next(running).await {
        if let BackendEvent::Record(entry) = event {
            let is_tool = matches!(entry, Entry::ToolUse { .. });
            records.push(entry);
            if is_tool {
                return records;
            }
        }
    }
    panic!("it ended: {records:?}");
}

fn got(dir: &Path) -> String {
    fs::read_to_string(dir.join("got")).unwrap_or_default()
}

fn wait_for(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + LIMIT;
    while !condition() {
        assert!(Instant::now() < deadline, "waited for: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_program_that_was_taken_over_is_told_everything_once_and_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let program = dir.path().join("claude");
    fs::write(&program, STAND_IN).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let launch = Launch {
        iteration_uid: uuid::Uuid::new_v4().to_string(),
        iteration_name: "a.b.0".into(),
        run_dir: dir.path().join("run"),
        working_directory: dir.path().to_owned(),
        prompt: "P".repeat(300_000),
        ..Launch::default()
    };
    let claude = ClaudeBackend::with_program(program);
    let (handed, unhanded, later) = (message("handed"), message("unhanded"), message("later"));

    // The first master ends as if it was killed: its tasks go, and nothing is said to the program.
    let first = Runtime::new().unwrap();
    let (running, recorded) = first.block_on(async {
        let mut running = claude.start(launch.clone()).await.unwrap();
        let recorded = at_its_tool(&mut running).await;
        running.control.steer(handed.clone()).unwrap();
        let queued = BackendEvent::Steered { id: handed.id.clone(), state: SteerState::Queued };
        while next(&mut running).await.as_ref() != Some(&queued) {}
        (running, recorded)
    });
    first.shutdown_background();
    let process = running.process.clone();

    let second = Runtime::new().unwrap();
    second.block_on(async {
        let adoption = Adoption {
            iteration_uid: launch.iteration_uid.clone(),
            run_dir: launch.run_dir.clone(),
            process: process.clone(),
            recorded,
            messages: vec![handed.clone(), unhanded.clone()],
            ..Adoption::default()
        };
        let mut running = claude.adopt(adoption).unwrap().unwrap();
        assert!(running.control.hears());
        running.control.steer(later.clone()).unwrap();
        fs::write(dir.path().join("go"), "").unwrap();
        let mut delivered = Vec::new();
        let outcome = loop {
            match next(&mut running).await {
                Some(BackendEvent::Steered { id, state: SteerState::Delivered }) => delivered.push(id),
                Some(BackendEvent::Done(finished)) => break finished.outcome,
                Some(_) => {}
                None => panic!("it ends with Done"),
            }
        };
        assert_eq!(delivered, [&handed, &unhanded, &later].map(|message| message.id.clone()));
        assert_eq!(outcome, Outcome::Succeeded { output: "told".into() });
    });
    let got = got(dir.path());
    let lines: Vec<serde_json::Value> =
        got.lines().map(|line| serde_json::from_str(line).expect("whole lines")).collect();
    assert_eq!(lines.len(), 5, "the prompt, one answer, three messages: {lines:?}");
    assert_eq!(lines[0]["message"]["content"].as_str().map(str::len), Some(300_000));
    assert_eq!(lines[1]["type"], "control_response");
    assert!(dir.path().join("closed").exists(), "its input was closed at the end");
    assert!(!sweep::is_alive(&process.unwrap()));
}

#[test]
fn a_prompt_reaches_a_program_whose_master_died_at_once_and_its_end_waits_for_the_next_master() {
    let dir = tempfile::tempdir().unwrap();
    let program = dir.path().join("claude");
    fs::write(&program, DONE).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let launch = Launch {
        iteration_uid: uuid::Uuid::new_v4().to_string(),
        run_dir: dir.path().join("run"),
        working_directory: dir.path().to_owned(),
        prompt: "P".repeat(200_000),
        ..Launch::default()
    };
    let claude = ClaudeBackend::with_program(program);
    let first = Runtime::new().unwrap();
    let running = first.block_on(claude.start(launch.clone())).unwrap();
    first.shutdown_background();
    let process = running.process.clone();
    wait_for("the prompt", || got(dir.path()).len() > 200_000);
    assert!(!dir.path().join("closed").exists(), "it may still be told something");
    Runtime::new().unwrap().block_on(async {
        let adoption = Adoption {
            iteration_uid: launch.iteration_uid.clone(),
            run_dir: launch.run_dir.clone(),
            process,
            ..Adoption::default()
        };
        let mut running = claude.adopt(adoption).unwrap().unwrap();
        loop {
            if let Some(BackendEvent::Done(finished)) = next(&mut running).await {
                assert_eq!(finished.outcome, Outcome::Succeeded { output: "over".into() });
                return;
            }
        }
    });
    assert!(dir.path().join("closed").exists());
}

#[test]
fn a_program_waits_for_the_next_master_and_not_for_ever() {
    let dir = tempfile::tempdir().unwrap();
    let program = dir.path().join("claude");
    fs::write(&program, DONE).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let (fifo, patience) = (dir.path().join("present"), Duration::from_secs(2));
    let master = Presence::hold(&fifo, patience).unwrap();
    let launch = Launch {
        iteration_uid: uuid::Uuid::new_v4().to_string(),
        run_dir: dir.path().join("run"),
        working_directory: dir.path().to_owned(),
        prompt: "P".into(),
        presence: Some(master),
        ..Launch::default()
    };
    let claude = ClaudeBackend::with_program(program);
    let first = Runtime::new().unwrap();
    let running = first.block_on(claude.start(launch.clone())).unwrap();
    first.shutdown_background();
    let (uid, run_dir) = (launch.iteration_uid.clone(), launch.run_dir.clone());
    wait_for("the prompt", || !got(dir.path()).is_empty());
    // The next master is there within the time, and stays longer than that.
    drop(launch);
    let second = Presence::hold(&fifo, patience).unwrap();
    std::thread::sleep(patience * 2);
    assert!(!dir.path().join("closed").exists(), "it may still be told something");
    drop(second);
    wait_for("its end", || keeper::recorded_exit(&run_dir).is_some());
    assert!(dir.path().join("closed").exists(), "its input was closed");
    let process = running.process.clone();
    wait_for("its keeper", || !process.as_ref().is_some_and(sweep::is_alive));
    assert_eq!(sweep::sweep_run(&uid, &run_dir), Vec::<i64>::new(), "nothing is left");
    Runtime::new().unwrap().block_on(async {
        let adoption = Adoption { iteration_uid: uid, run_dir, process, ..Adoption::default() };
        let mut running = claude.adopt(adoption).unwrap().unwrap();
        loop {
            match next(&mut running).await {
                Some(BackendEvent::Done(finished)) => {
                    break assert_eq!(finished.outcome, Outcome::Succeeded { output: "over".into() });
                }
                Some(_) => {}
                None => panic!("it ends with Done"),
            }
        }
    });
}
