//! The shell's completion through its own protocol: the program is run again with the words so far.

use std::time::{Duration, Instant};

use crate::support::cli::{Ran, Sandbox, ran};
use crate::support::master::Master;

/// What is offered for the last of the words.
fn complete(sandbox: &Sandbox, words: &[&str]) -> Ran {
    let mut command = sandbox.command(["--", "gcluster"]);
    command.args(words);
    command
        .env("COMPLETE", "bash")
        .env("_CLAP_IFS", "\n")
        .env("_CLAP_COMPLETE_INDEX", words.len().to_string());
    ran(&mut command)
}

#[track_caller]
fn offers(sandbox: &Sandbox, words: &[&str], expected: &[&str]) {
    let ran = complete(sandbox, words).ok();
    let offered: Vec<&str> = ran.stdout.lines().filter(|line| !line.starts_with('-')).collect();
    assert_eq!(offered, expected, "{words:?}: {ran:?}");
}

#[test]
fn names_of_what_is_there_complete() {
    let sandbox = Sandbox::new();
    let _master = Master::start(&sandbox);
    sandbox
        .write("team.p", "agent-builder:\n\tBuild.\n\nagent-bugfixer:\n\tFix.\n\nagent-writer:\n\tWrite.\n");
    sandbox.run(["apply", "-f", "team.p", "--wait"]).ok();
    offers(&sandbox, &["stop", "b"], &["bugfixer", "builder"]);
    offers(&sandbox, &["logs", "w"], &["writer"]);
    offers(&sandbox, &["get", "agent", "bu"], &["bugfixer", "builder"]);
    offers(&sandbox, &["get", "agent", "builder", "bu"], &["bugfixer"]);
    offers(&sandbox, &["describe", "ag/w"], &["ag/writer"]);
    offers(&sandbox, &["rollout", "undo", "agent/bui"], &["agent/builder"]);
    offers(&sandbox, &["get", "agentr"], &["agentrevisions", "agentrevision"]);
    offers(&sandbox, &["get", "agents", "-n", "kube-sys"], &[]);
    offers(&sandbox, &["get", "agents", "-n", "def"], &["default"]);
    offers(&sandbox, &["-n", "nowhere", "stop", "b"], &[]);
    offers(&sandbox, &["rollo"], &["rollout"]);
}

#[test]
fn without_a_master_nothing_is_offered_nothing_is_said_and_nobody_waits() {
    let sandbox = Sandbox::new();
    let begin = Instant::now();
    let ran = complete(&sandbox, &["stop", "b"]).ok();
    assert_eq!((ran.stdout.as_str(), ran.stderr.as_str()), ("", ""));
    // An address that never answers: the limit is half a second, a busy machine is given more.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let silent = format!("http://{}", listener.local_addr().expect("its address"));
    let ran = complete(&sandbox, &["--server", &silent, "stop", "b"]).ok();
    assert_eq!((ran.stdout.as_str(), ran.stderr.as_str()), ("", ""));
    assert!(begin.elapsed() < Duration::from_secs(20), "{:?}", begin.elapsed());
}

#[test]
fn every_shell_gets_a_script_that_asks_this_program() {
    let sandbox = Sandbox::new();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = sandbox.run(["completion", shell]).ok().stdout;
        assert!(script.contains("COMPLETE") && script.contains("gcluster"), "{shell}: {script}");
    }
}
