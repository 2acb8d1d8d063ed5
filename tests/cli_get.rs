//! `gcluster get`, `describe` and `logs`: what people read.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use crate::support::agents::{list, shell_loop, shell_once};
use crate::support::cli::Sandbox;
use crate::support::master::{Master, wait_object};
use crate::support::wait::wait;

#[test]
fn the_table_has_the_promised_columns_and_wide_has_more() {
    let sandbox = Sandbox::new();
    let _master = Master::start(&sandbox);
    sandbox.write("a.json", &list(&[shell_loop("builder", "echo hello; sleep 0.2")]));
    sandbox.run(["apply", "-f", "a.json"]).ok();
    wait_object(&sandbox, "agent", "builder", "an iteration", |o| {
        o["status"]["iterations"]["total"].as_i64() > Some(0)
    });
    let table = sandbox.run(["get", "agents"]).ok().stdout;
    let mut lines = table.lines();
    let head: Vec<&str> = lines.next().unwrap().split_whitespace().collect();
    assert_eq!(head, ["NAME", "STATE", "REVISION", "ITERATIONS", "LAST", "AGE"]);
    let row: Vec<&str> = lines.next().unwrap().split_whitespace().collect();
    assert_eq!(row[..3], ["builder", "running", "1"], "{table}");
    let wide = sandbox.run(["get", "ag", "-o", "wide"]).ok().stdout;
    let head: Vec<&str> = wide.lines().next().unwrap().split_whitespace().collect();
    assert_eq!(head[6..], ["TOKENS", "COST", "BACKEND", "PRIORITY", "REASON", "DIRECTORY"]);
    assert_eq!(sandbox.run(["get", "agents", "-o", "name"]).ok().stdout, "agent.gcluster.dev/builder\n");
    assert!(sandbox.run(["get", "revisions"]).ok().stdout.contains("builder-"));
    assert!(sandbox.run(["get", "iterations", "-A"]).ok().stdout.contains("builder.work.0"));
    assert!(
        sandbox.run(["get", "it", "-l", "gcluster.dev/agent=builder"]).ok().stdout.contains("builder.work.0")
    );
    assert_eq!(sandbox.run(["get", "it", "-l", "gcluster.dev/agent=nobody"]).ok().stdout, "");
}

#[test]
fn a_missing_object_and_an_unknown_kind_are_told_apart_from_other_failures() {
    let sandbox = Sandbox::new();
    let _master = Master::start(&sandbox);
    let missing = sandbox.run(["get", "agent", "nobody"]);
    assert_eq!(missing.code, 4, "{missing:?}");
    assert!(missing.stderr.contains("nobody"), "{}", missing.stderr);
    let unknown = sandbox.run(["get", "spaceships"]);
    assert_ne!(unknown.code, 0);
    assert!(unknown.stderr.contains("spaceships"), "{}", unknown.stderr);
    assert_eq!(sandbox.run(["get"]).code, 2);
}

#[test]
fn a_watch_prints_each_change_as_it_comes() {
    let sandbox = Sandbox::new();
    let _master = Master::start(&sandbox);
    sandbox.write("a.json", &list(&[shell_loop("builder", "sleep 0.2")]));
    sandbox.run(["apply", "-f", "a.json"]).ok();
    let mut child = sandbox.command(["get", "iterations", "-w"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut seen = String::new();
    while !(seen.contains("builder.work.1 ") && seen.contains("Succeeded")) {
        seen += &lines.next().expect("the watch goes on").unwrap();
        seen.push('\n');
    }
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn logs_show_the_conversation_and_follow_the_next_iterations() {
    let sandbox = Sandbox::new();
    let _master = Master::start(&sandbox);
    sandbox.write("a.json", &list(&[shell_loop("builder", "echo working hard; sleep 0.2")]));
    sandbox.run(["apply", "-f", "a.json"]).ok();
    wait_object(&sandbox, "iteration", "builder.work.0", "ended", |o| o["status"]["phase"] == "Succeeded");
    let one = sandbox.run(["logs", "builder.work.0"]).ok().stdout;
    assert!(one.contains("Work.") && one.contains("working hard"), "{one}");

    let mut child = sandbox.command(["logs", "builder", "-f"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut times = 0;
    while times < 3 {
        times += usize::from(lines.next().expect("following goes on").unwrap().contains("working hard"));
    }
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn escape_sequences_in_agent_output_never_reach_the_terminal() {
    let sandbox = Sandbox::new();
    let _master = Master::start(&sandbox);
    sandbox.write("a.json", &list(&[shell_once("evil", r"printf '\033]0;owned\007red\033[31m text\n'")]));
    sandbox.run(["apply", "-f", "a.json"]).ok();
    wait_object(&sandbox, "agent", "evil", "stopped", |o| o["status"]["runState"] == "stopped");
    let text = sandbox.run(["logs", "evil"]).ok().stdout;
    assert!(text.contains("red") && !text.contains('\u{1b}') && !text.contains('\u{7}'), "{text:?}");
}

#[test]
fn describe_says_what_an_agent_is_doing_and_why() {
    let sandbox = Sandbox::new();
    let _master = Master::start(&sandbox);
    sandbox.write("a.json", &list(&[shell_loop("builder", "exit 3")]));
    sandbox.run(["apply", "-f", "a.json"]).ok();
    let text = wait("describe to tell of the failures", || {
        let text = sandbox.run(["describe", "agent", "builder"]).ok().stdout;
        (text.contains("BackingOff") && text.contains("Events")).then_some(text)
    });
    for part in ["Name:", "builder", "running", "command", "work"] {
        assert!(text.contains(part), "no `{part}` in:\n{text}");
    }
}

#[test]
fn eval_prints_forms_and_ids_without_a_master() {
    let sandbox = Sandbox::new();
    sandbox.write("a.p", "work:\n\tWork.\n\nagent-a:\n\tloop(work)\n");
    let all = sandbox.run(["eval", "a.p"]).ok().stdout;
    assert!(
        all.starts_with("(program\n") && all.contains("; id=") && all.contains("(defagent \"a\""),
        "{all}"
    );
    let one = sandbox.run(["eval", "a.p", "work"]).ok().stdout;
    assert!(one.contains("(defmethod work ()\n  \"Work.\")"), "{one}");
    assert_ne!(sandbox.run(["eval", "a.p", "nobody"]).code, 0);
}

#[test]
fn version_and_completion_need_no_master() {
    let sandbox = Sandbox::new();
    assert!(sandbox.run(["version"]).ok().stdout.contains(env!("CARGO_PKG_VERSION")));
    for shell in ["bash", "zsh", "fish"] {
        assert!(sandbox.run(["completion", shell]).ok().stdout.contains("gcluster"));
    }
}
