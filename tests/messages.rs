//! Messages to agents with the real binary: order, receipts, restarts, and the ways in which one cannot arrive.

use serde_json::{Value, json};

use crate::support::agents::{list, shell_loop};
use crate::support::cli::{Sandbox, binary};
use crate::support::master::{Master, object, objects, wait_object};
use crate::support::wait::wait;

/// An agent whose rehearsals do what the directives say, over and over.
fn rehearsing(name: &str, directives: &[&str]) -> Value {
    let mut agent = shell_loop(name, "");
    agent["spec"]["backend"] = json!({"name": "rehearsal", "args": directives});
    agent["spec"]["loopContext"] = json!("None");
    agent
}

fn apply(sandbox: &Sandbox, agents: &[Value]) {
    sandbox.write("a.json", &list(agents));
    sandbox.run(["apply", "-f", "a.json"]).ok();
}

fn at_work(sandbox: &Sandbox, iteration: &str) {
    wait(&format!("{iteration} at work"), || {
        let log = sandbox.run(["logs", iteration, "-o", "json"]);
        log.stdout.contains("\"toolUse\"").then_some(())
    });
}

/// Sends and gives the name of the message.
fn send(sandbox: &Sandbox, args: &[&str]) -> String {
    let sent = sandbox.run([&["send"], args].concat()).ok();
    sent.stdout.split(' ').nth(1).unwrap_or_else(|| panic!("{}", sent.stdout)).to_owned()
}

fn wait_phase(sandbox: &Sandbox, name: &str, phase: &str) -> Value {
    wait_object(sandbox, "message", name, phase, |o| o["status"]["phase"] == phase)["status"].clone()
}

/// Names of the messages in the transcripts of all iterations, in order.
fn given(sandbox: &Sandbox) -> Vec<String> {
    let mut iterations = objects(sandbox, "iterations");
    iterations.sort_by_key(|iteration| iteration["spec"]["number"].as_i64());
    let mut names = Vec::new();
    for iteration in iterations {
        let name = iteration["metadata"]["name"].as_str().unwrap();
        for line in sandbox.run(["logs", name, "-o", "json"]).ok().stdout.lines() {
            let record: Value = serde_json::from_str(line).unwrap();
            if record["type"] == "message" {
                names.push(record["name"].as_str().unwrap().to_owned());
            }
        }
    }
    names
}

#[test]
fn two_senders_reach_the_running_turn_in_the_order_of_arrival() {
    let sandbox = Sandbox::new();
    let _master = Master::start(&sandbox);
    apply(&sandbox, &[rehearsing("builder", &["tool Bash ls", "hang"])]);
    at_work(&sandbox, "builder.work.0");
    std::thread::scope(|scope| {
        for sender in ["ann", "bob"] {
            let sandbox = &sandbox;
            scope.spawn(move || {
                for n in 0..6 {
                    send(sandbox, &["builder", &format!("{sender} {n}"), "--from", sender]);
                }
            });
        }
    });
    let mut messages = wait("all to be acknowledged", || {
        let all = objects(&sandbox, "messages");
        all.iter().all(|message| message["status"]["phase"] == "Acknowledged").then_some(all)
    });
    messages.sort_by_key(|message| message["status"]["arrival"].as_i64());
    let arrived: Vec<&str> = messages.iter().map(|m| m["metadata"]["name"].as_str().unwrap()).collect();
    assert_eq!(given(&sandbox), arrived);
    for sender in ["ann", "bob"] {
        let texts: Vec<&str> =
            messages.iter().map(|message| message["spec"]["text"].as_str().unwrap()).collect();
        let own: Vec<&str> = texts.into_iter().filter(|text| text.starts_with(sender)).collect();
        assert!(own.is_sorted() && own.len() == 6, "{own:?}");
    }
    let table = sandbox.run(["get", "messages"]).ok().stdout;
    let heading: Vec<&str> = table.lines().next().unwrap().split_whitespace().collect();
    assert_eq!(heading, ["NAME", "AGENT", "DELIVERY", "PHASE", "ITERATION", "FROM", "AGE"]);
    let told = sandbox.run(["describe", "message", arrived[0]]).ok().stdout;
    assert!(told.contains("into the running turn of builder.work.0"), "{told}");
    let log = sandbox.run(["logs", "builder"]).ok().stdout;
    assert!(log.contains("ann: ann 0"), "{log}");
    sandbox.run(["delete", "agent", "builder"]).ok();
    wait("the messages to go with their agent", || objects(&sandbox, "messages").is_empty().then_some(()));
}

#[test]
fn an_interruption_ends_the_turn_and_the_iteration_goes_on() {
    let sandbox = Sandbox::new();
    let _master = Master::start(&sandbox);
    apply(&sandbox, &[rehearsing("builder", &["tool Bash ls", "hang", "output what was asked"])]);
    at_work(&sandbox, "builder.work.0");
    let sent = sandbox.run(["send", "builder", "Stop", "that", "--interrupt", "--wait"]).ok().stdout;
    assert!(sent.contains("acknowledged: the running turn of builder.work.0 was ended"), "{sent}");
    let first =
        wait_object(&sandbox, "iteration", "builder.work.0", "over", |o| o["status"]["phase"] == "Succeeded");
    assert_eq!(first["status"]["outputExcerpt"], "what was asked", "{first}");
}

#[test]
fn a_killed_master_neither_loses_nor_doubles_a_message() {
    let sandbox = Sandbox::new();
    let mut master = Master::start(&sandbox);
    let mut agent = rehearsing("builder", &["tool Bash ls", "hang"]);
    apply(&sandbox, std::slice::from_ref(&agent));
    at_work(&sandbox, "builder.work.0");
    let first = send(&sandbox, &["builder", "first"]);
    wait_phase(&sandbox, &first, "Acknowledged");
    let second = send(&sandbox, &["builder", "second", "--queue"]);
    let how = object(&sandbox, "message", &second).unwrap()["status"]["how"].clone();
    assert_eq!(how, "queued: it goes in front of the next prompt");
    let pending = sandbox.run(["describe", "agent", "builder"]).ok().stdout;
    assert!(pending.contains("Messages:") && pending.contains(&second), "{pending}");
    master.kill();
    let mut master = Master::start(&sandbox);
    let status = wait_phase(&sandbox, &second, "Acknowledged");
    assert_eq!((&status["iteration"], &status["via"]), (&json!("builder.work.1"), &json!("Prompt")));
    // Nothing runs: what is sent waits for the next prompt, over another end of the master.
    sandbox.run(["stop", "builder"]).ok();
    wait_object(&sandbox, "agent", "builder", "stopped", |o| o["status"]["runState"] == "stopped");
    let told = sandbox.run(["send", "builder", "third"]).ok();
    assert!(
        told.stdout.contains("pending: the agent is stopped") && told.stderr.contains("gcluster get message"),
        "{told:?}"
    );
    let third = told.stdout.split(' ').nth(1).unwrap().to_owned();
    let fourth = send(&sandbox, &["builder", "fourth", "--interrupt"]);
    master.kill();
    let _master = Master::start(&sandbox);
    agent["spec"]["run"] = json!("Running");
    sandbox.run(["start", "builder"]).ok();
    for name in [&third, &fourth] {
        assert_eq!(wait_phase(&sandbox, name, "Acknowledged")["via"], "Prompt");
    }
    assert_eq!(given(&sandbox), [first, second, third, fourth]);
}

#[test]
fn a_program_that_cannot_be_told_gets_it_in_its_next_prompt_and_its_words_say_so() {
    let sandbox = Sandbox::new();
    let _master = Master::start(&sandbox);
    let script = "cat; while [ ! -e go ]; do sleep 0.05; done";
    let mut agent = shell_loop("builder", script);
    agent["spec"]["workingDirectory"] = json!(sandbox.work());
    apply(&sandbox, &[agent]);
    wait_object(&sandbox, "iteration", "builder.work.0", "running", |o| o["status"]["phase"] == "Running");
    wait("its prompt", || {
        sandbox.run(["logs", "builder.work.0", "-o", "json"]).stdout.contains("\"text\"").then_some(())
    });
    let sent = sandbox.run(["send", "builder", "Use tabs.", "--from", "ann"]).ok().stdout;
    assert!(sent.contains("pending: queued: command takes no messages while it works"), "{sent}");
    let late = sandbox.run(["send", "builder", "x", "--iteration", "builder.work.0"]);
    assert_eq!(late.code, 1, "{late:?}");
    assert!(late.stdout.contains("expired: builder.work.0 has its prompt already"), "{late:?}");
    sandbox.write("go", "");
    let name = sent.split(' ').nth(1).unwrap().to_owned();
    let status = wait_phase(&sandbox, &name, "Acknowledged");
    assert_eq!(status["iteration"], "builder.work.1", "{status}");
    let log = sandbox.run(["logs", "builder.work.1", "-o", "json"]).ok().stdout;
    let prompt: Value = serde_json::from_str(log.lines().next().unwrap()).unwrap();
    let prompt = prompt["text"].as_str().unwrap();
    assert!(prompt.starts_with("<message from=\"ann\">\nUse tabs.\n</message>\n\n"), "{prompt}");
    let ended = sandbox.run(["send", "builder", "x", "--iteration", "builder.work.0"]);
    assert!(ended.stdout.contains("builder.work.0 had ended (Succeeded)"), "{ended:?}");
    assert_eq!(sandbox.run(["send", "nobody", "x"]).code, 4);
}

#[test]
fn an_agent_tells_another_one_something_under_its_own_name() {
    let sandbox = Sandbox::new();
    let _master = Master::start(&sandbox);
    let script = format!("'{}' send builder 'mind the tests'; sleep 300", binary().display());
    let mut reviewer = shell_loop("reviewer", &script);
    reviewer["spec"]["backend"]["env"] = json!([{"name": "GCLUSTER_DATA_DIR", "value": sandbox.data()}]);
    apply(&sandbox, &[rehearsing("builder", &["tool Bash ls", "hang"]), reviewer]);
    let told = wait("the message", || {
        objects(&sandbox, "messages").into_iter().find(|o| o["status"]["phase"] == "Acknowledged")
    });
    assert_eq!((&told["spec"]["from"], &told["spec"]["agent"]), (&json!("reviewer"), &json!("builder")));
}
