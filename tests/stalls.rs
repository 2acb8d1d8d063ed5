//! A program that hangs is ended in steps, with everything that it started.

use crate::support::agents::{list, shell_loop};
use crate::support::cli::Sandbox;
use crate::support::master::{Master, object, wait_object};
use crate::support::processes::with_environment;
use crate::support::wait::wait;

#[test]
fn a_program_that_hangs_and_ignores_the_interrupt_is_ended_and_the_agent_backs_off() {
    let sandbox = Sandbox::new();
    let _master = Master::start(&sandbox);
    let mut agent =
        shell_loop("stuck", "trap '' INT; echo begun; setsid sleep 600 & while :; do sleep 1; done");
    agent["spec"]["limits"] = serde_json::json!({"stallTimeout": "1s"});
    sandbox.write("a.json", &list(&[agent]));
    sandbox.run(["apply", "-f", "a.json"]).ok();
    let ended =
        wait_object(&sandbox, "iteration", "stuck.work.0", "its end", |o| o["status"]["phase"] == "Failed");
    assert_eq!(ended["status"]["reason"], "StallTimeout");
    let mark = format!("GCLUSTER_ITERATION_UID={}", ended["metadata"]["uid"].as_str().unwrap());
    wait("nothing of it to run", || with_environment(&mark).is_empty().then_some(()));
    let log = sandbox.run(["logs", "stuck.work.0"]).ok().stdout;
    assert!(log.contains("the turn is interrupted") && log.contains("the program is ended"), "{log}");
    wait_object(&sandbox, "agent", "stuck", "the pause", |o| {
        o["status"]["conditions"].to_string().contains("\"BackingOff\"")
    });
    wait("the event", || sandbox.run(["get", "events"]).ok().stdout.contains("StallTimeout").then_some(()));
    assert!(object(&sandbox, "agent", "stuck").is_some());
}
