//! Checks with the real binary, real pushes and real scripts.

use serde_json::{Value, json};

use crate::support::cli::Sandbox;
use crate::support::master::{Master, object, wait_object};
use crate::support::processes::with_environment;
use crate::support::repo::Repo;
use crate::support::wait::wait;

fn is(phase: &str) -> impl Fn(&Value) -> bool {
    move |check: &Value| check["status"]["phase"] == phase
}

#[test]
fn a_push_by_hand_is_tested_and_everybody_can_see_what_came_out() {
    let sandbox = Sandbox::new();
    let _master = Master::start(&sandbox);
    let script = "#!/bin/sh\necho \"testing $GCLUSTER_REF\"\nif [ -e bad ]; then echo 'test one ... FAILED'; exit 7; fi\n";
    let repo = Repo::new(&sandbox, "app", script, json!({}));
    let green = repo.push("ann/good", &[("good", "x\n")]);
    let red = repo.push("ann/bad", &[("bad", "x\n")]);
    let name = |commit: &str| format!("app-{}", &commit[..12]);
    wait_object(&sandbox, "check", &name(&green), "Passed", is("Passed"));
    let failed = wait_object(&sandbox, "check", &name(&red), "Failed", is("Failed"));
    assert_eq!(
        (&failed["status"]["reason"], &failed["spec"]["requestedBy"]),
        (&json!("ExitCode"), &json!("push"))
    );

    let status = object(&sandbox, "repository", "app").expect("repository")["status"]["ciStatus"].clone();
    let read = |commit: &str| -> Value {
        let path = std::path::Path::new(status.as_str().expect("ciStatus")).join(format!("{commit}.json"));
        serde_json::from_slice(&std::fs::read(path).expect("the record")).expect("JSON")
    };
    assert_eq!(read(&green)["status"], "PASS");
    let record = read(&red);
    assert_eq!((&record["status"], &record["ref"]), (&json!("FAIL"), &json!("refs/heads/ann/bad")));
    assert_eq!(record["output"], "testing refs/heads/ann/bad\ntest one ... FAILED");

    let list = sandbox.run(["get", "checks"]).ok().stdout;
    assert!(list.contains("Passed") && list.contains("ExitCode"), "{list}");
    let told = sandbox.run(["describe", "check", &name(&red)]).ok().stdout;
    for line in ["Reason:", "exit code 7", "test one ... FAILED", "Kind:", "full"] {
        assert!(told.contains(line), "{line}\n{told}");
    }
    let log = sandbox.run(["logs", &format!("check/{}", name(&red))]).ok();
    assert_eq!(log.stdout, "testing refs/heads/ann/bad\ntest one ... FAILED\n");
    assert_eq!(sandbox.run(["logs", "check/nobody"]).code, 4);
}

#[test]
fn a_check_outlives_a_killed_master_only_as_an_object_and_is_begun_again() {
    let sandbox = Sandbox::new();
    let mut master = Master::start(&sandbox);
    let flag = sandbox.work().join("second-time");
    let script = format!(
        "#!/bin/sh\n[ ! -e {flag} ] || exit 0\ntrap '' TERM\nsetsid sh -c 'trap \"\" TERM; sleep 600' &\necho up\nsleep 600\n",
        flag = flag.display()
    );
    let repo = Repo::new(&sandbox, "app", &script, json!({}));
    let commit = repo.push("ann/slow", &[("slow", "x\n")]);
    let name = format!("app-{}", &commit[..12]);
    let running = wait_object(&sandbox, "check", &name, "Running", is("Running"));
    let log = running["status"]["log"].as_str().expect("log").to_owned();
    wait("the script to be up", || std::fs::read_to_string(&log).ok().filter(|text| text.contains("up")));
    let mark = format!("GCLUSTER_ITERATION_UID={}", running["metadata"]["uid"].as_str().expect("uid"));
    let first = with_environment(&mark);
    assert!(first.len() >= 3, "{first:?}");
    master.kill();
    std::fs::write(&flag, "").expect("flag");
    let _master = Master::start(&sandbox);
    let passed = wait_object(&sandbox, "check", &name, "Passed", is("Passed"));
    assert_eq!(passed["status"]["starts"], 2);
    let left: Vec<u32> = with_environment(&mark).into_iter().filter(|pid| first.contains(pid)).collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn a_master_that_ends_takes_its_checks_with_it() {
    let sandbox = Sandbox::new();
    let mut master = Master::start(&sandbox);
    let script = "#!/bin/sh\nsetsid sh -c 'trap \"\" TERM; sleep 600' &\necho up\nsleep 600\n";
    let repo = Repo::new(&sandbox, "app", script, json!({}));
    let commit = repo.push("ann/slow", &[("slow", "x\n")]);
    let name = format!("app-{}", &commit[..12]);
    let running = wait_object(&sandbox, "check", &name, "Running", is("Running"));
    let log = running["status"]["log"].as_str().expect("log").to_owned();
    wait("the script to be up", || std::fs::read_to_string(&log).ok().filter(|text| text.contains("up")));
    let mark = format!("GCLUSTER_ITERATION_UID={}", running["metadata"]["uid"].as_str().expect("uid"));
    assert!(!with_environment(&mark).is_empty());
    assert!(master.stop().success());
    assert_eq!(with_environment(&mark), Vec::<u32>::new());
}
