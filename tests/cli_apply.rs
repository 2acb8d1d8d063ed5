//! `gcluster apply`: what is sent, what is printed, and that a file is applied whole or not at all.

use crate::support::agents::{TEAM, list, shell_loop};
use crate::support::cli::Sandbox;
use crate::support::master::{Master, object, objects, wait_object};

fn revision(sandbox: &Sandbox, agent: &str) -> i64 {
    let found = wait_object(sandbox, "agent", agent, "has a revision", |o| {
        o["status"]["currentRevision"].is_i64()
            && o["status"]["observedGeneration"] == o["metadata"]["generation"]
    });
    found["status"]["currentRevision"].as_i64().unwrap()
}

#[test]
fn apply_creates_then_changes_nothing_then_updates_exactly_what_reaches_the_edit() {
    let sandbox = Sandbox::new();
    let _master = Master::start(&sandbox);
    let file = sandbox.write("team.p", TEAM);

    let first = sandbox.run(["apply", "-f", "team.p"]).ok();
    let lines: Vec<&str> = first.stdout.lines().collect();
    assert_eq!(
        lines[..3],
        ["builder created", "bugfixer created", "release-manager created"],
        "{}",
        first.stdout
    );
    assert!(first.stdout.contains("3 created, 0 updated, 0 unchanged"), "{}", first.stdout);
    for agent in ["builder", "bugfixer", "release-manager"] {
        assert_eq!(revision(&sandbox, agent), 1);
    }

    let again = sandbox.run(["apply", "team.p"]).ok();
    assert!(again.stdout.contains("0 created, 0 updated, 3 unchanged"), "{}", again.stdout);

    std::fs::write(&file, TEAM.replace("pick one item", "pick two items")).unwrap();
    let edited = sandbox.run(["apply", "-f", "team.p"]).ok();
    assert!(edited.stdout.contains("builder updated"), "{}", edited.stdout);
    assert!(edited.stdout.contains("0 created, 1 updated, 2 unchanged"), "{}", edited.stdout);
    wait_object(&sandbox, "agent", "builder", "revision 2", |o| o["status"]["currentRevision"] == 2);
    assert_eq!(revision(&sandbox, "bugfixer"), 1);
    assert_eq!(revision(&sandbox, "release-manager"), 1);
}

#[test]
fn every_error_of_a_file_is_shown_with_its_place_and_nothing_is_sent() {
    let sandbox = Sandbox::new();
    let _master = Master::start(&sandbox);
    sandbox.write(
        "bad.p",
        "@missing.p\n\nagent-one:\n\tloop(nowhere)\n\nagent-two:\n\tloop(work) -> work\n\nwork:\n\tWork.\n",
    );
    let got = sandbox.run(["apply", "-f", "bad.p"]);
    assert_eq!(got.code, 1, "{got:?}");
    for part in ["bad.p:1:", "bad.p:4:", "bad.p:7:", "missing.p", "nowhere", "^"] {
        assert!(got.stderr.contains(part), "no `{part}` in:\n{}", got.stderr);
    }
    assert!(objects(&sandbox, "agents").is_empty());
}

#[test]
fn a_bundle_with_one_bad_object_changes_nothing() {
    let sandbox = Sandbox::new();
    let _master = Master::start(&sandbox);
    let mut bad = shell_loop("second", "true");
    bad["spec"]["run"] = "Sometimes".into();
    sandbox.write("both.json", &list(&[shell_loop("first", "true"), bad]));
    let got = sandbox.run(["apply", "-f", "both.json"]);
    assert_eq!(got.code, 1, "{got:?}");
    assert!(got.stderr.contains("second") && got.stderr.contains("spec.run"), "{}", got.stderr);
    assert!(object(&sandbox, "agent", "first").is_none());
}

#[test]
fn a_file_without_agents_succeeds_and_says_so() {
    let sandbox = Sandbox::new();
    let _master = Master::start(&sandbox);
    sandbox.write("none.p", "work:\n\tWork.\n");
    let got = sandbox.run(["apply", "-f", "none.p"]).ok();
    assert!((got.stdout + &got.stderr).contains("no agents"));
}

#[test]
fn of_two_definitions_of_one_agent_the_second_wins_and_an_agent_missing_from_the_file_stays() {
    let sandbox = Sandbox::new();
    let _master = Master::start(&sandbox);
    sandbox.write("two.p", "agent-a:\n\tFirst.\n\nagent-b:\n\tOther.\n\nagent-a:\n\tSecond.\n");
    sandbox.run(["apply", "-f", "two.p"]).ok();
    let a = object(&sandbox, "agent", "a").unwrap();
    assert!(a["spec"]["definition"].as_str().unwrap().contains("Second."));
    sandbox.write("two.p", "agent-a:\n\tSecond.\n");
    sandbox.run(["apply", "-f", "two.p"]).ok();
    assert!(object(&sandbox, "agent", "b").is_some());
}

#[test]
fn yaml_that_get_prints_applies_again_unchanged() {
    let sandbox = Sandbox::new();
    let _master = Master::start(&sandbox);
    sandbox.write("team.p", TEAM);
    sandbox.run(["apply", "-f", "team.p"]).ok();
    revision(&sandbox, "builder");
    let yaml = sandbox.run(["get", "agent", "builder", "-o", "yaml"]).ok().stdout;
    sandbox.write("builder.yaml", &yaml);
    let got = sandbox.run(["apply", "-f", "builder.yaml"]).ok();
    assert!(got.stdout.contains("1 unchanged"), "{}", got.stdout);
}

#[test]
fn dry_runs_write_nothing_and_need_no_master_on_the_client() {
    let sandbox = Sandbox::new();
    sandbox.write("team.p", TEAM);
    let offline = sandbox.run(["apply", "-f", "team.p", "--dry-run=client", "-o", "yaml"]).ok();
    assert!(offline.stdout.contains("kind: Agent"), "{}", offline.stdout);
    let _master = Master::start(&sandbox);
    let got = sandbox.run(["apply", "-f", "team.p", "--dry-run=server"]).ok();
    assert!(got.stdout.contains("builder created (dry run)"), "{}", got.stdout);
    assert!(objects(&sandbox, "agents").is_empty());
}

#[test]
fn directories_standard_input_and_several_files_are_applied_as_one() {
    use std::io::Write;
    let sandbox = Sandbox::new();
    let _master = Master::start(&sandbox);
    sandbox.write("dir/one.p", "agent-one:\n\tOne.\n");
    sandbox.write("dir/two.yaml", &list(&[shell_loop("two", "sleep 1")]));
    sandbox.write("three.p", "agent-three:\n\tThree.\n");
    let got = sandbox.run(["apply", "-f", "dir", "-f", "three.p", "-o", "name"]).ok();
    let names: Vec<&str> = got.stdout.lines().collect();
    assert_eq!(names, ["agent.gcluster.dev/one", "agent.gcluster.dev/two", "agent.gcluster.dev/three"]);

    let mut command = sandbox.command(["apply", "-f", "-"]);
    let mut child =
        command.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"agent-four:\n\tFour.\n").unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(String::from_utf8_lossy(&output.stdout).contains("four created"));
}

#[test]
fn a_limit_set_by_one_writer_survives_an_apply_of_the_definition_by_another() {
    let sandbox = Sandbox::new();
    let _master = Master::start(&sandbox);
    sandbox.write("a.p", "agent-a:\n\tFirst.\n");
    sandbox.run(["apply", "-f", "a.p"]).ok();
    sandbox.run(["stop", "a"]).ok();
    sandbox.write("a.p", "agent-a:\n\tSecond.\n");
    sandbox.run(["apply", "-f", "a.p"]).ok();
    let a = object(&sandbox, "agent", "a").unwrap();
    assert_eq!(a["spec"]["run"], "Stopped");
    assert!(a["spec"]["definition"].as_str().unwrap().contains("Second."));
}

#[test]
fn without_a_master_every_client_command_says_so_at_once() {
    let sandbox = Sandbox::new();
    sandbox.write("a.p", "agent-a:\n\tWork.\n");
    let commands: [&[&str]; 8] = [
        &["apply", "-f", "a.p"],
        &["get", "agents"],
        &["describe", "agent", "a"],
        &["logs", "a"],
        &["delete", "agent", "a"],
        &["stop", "a"],
        &["restart", "a"],
        &["--server", "https://127.0.0.1:9", "get", "agents"],
    ];
    for args in commands {
        let start = std::time::Instant::now();
        let got = sandbox.run(args);
        assert_eq!(got.code, 3, "{args:?}: {got:?}");
        let address = if args[0] == "--server" { "127.0.0.1:9" } else { "127.0.0.1:43252" };
        let want = format!("cannot connect to master at {address}: is `gcluster master` running?");
        assert!(got.stderr.contains(&want), "{args:?}: {}", got.stderr);
        assert!(start.elapsed() < std::time::Duration::from_secs(20), "{args:?}");
    }
}
