//! Whatever a program starts, and however it hides: nothing of it lives five seconds after the end of its iteration.
//!
//! With cgroups (where this machine lets us) and without them.

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::agents::{list, shell_loop, shell_once};
use crate::support::cli::{Sandbox, binary};
use crate::support::http::{request, token};
use crate::support::master::{Master, object, wait_object};
use crate::support::processes::with_argument;
use crate::support::wait::wait;

/// The promise is five seconds. A machine that is busy with other tests is given as much again.
const LIMIT: Duration = Duration::from_secs(10);
/// Six of them: in the group, in a session of its own, forked twice, with a clean environment, with all of that and
/// no parent, and one that does not even ignore signals. Each says the secret word as an argument.
const HIDERS: usize = 6;

/// Starts all kinds of processes that do not want to end, then does what comes last.
fn hiders(word: &str, last: &str) -> String {
    // A loop that ignores signals. `sleep` is started anew each time and does not ignore them for long.
    let stay = "trap \"\" INT TERM HUP; while :; do sleep 1; done";
    format!(
        "stay='{stay}'\n\
         sh -c \"$stay\" '{word}' &\n\
         setsid sh -c \"$stay\" '{word}' &\n\
         (setsid sh -c \"$stay\" '{word}' &)\n\
         env -i \"$(command -v sh)\" -c \"PATH=$PATH; $stay\" '{word}' &\n\
         (setsid env -i \"$(command -v sh)\" -c \"PATH=$PATH; $stay\" '{word}' >/dev/null 2>&1 &)\n\
         sh -c 'while :; do sleep 1; done' '{word}' &\n\
         {last}"
    )
}

fn word(name: &str) -> String {
    format!("hide-{name}-{}", std::process::id())
}

/// A master with or without cgroups.
fn master_of(sandbox: &Sandbox, cgroups: bool) -> Master {
    Master::start_with(sandbox, &["--backend", "rehearsal"], |command| {
        if !cgroups {
            command.env("GCLUSTER_CGROUP", "off");
        }
    })
}

fn apply(sandbox: &Sandbox, agents: &[Value]) {
    sandbox.write("a.json", &list(agents));
    sandbox.run(["apply", "-f", "a.json"]).ok();
}

fn all_there(word: &str) {
    wait("all to hide", || (with_argument(word).len() == HIDERS).then_some(()));
}

/// Nothing is left when the time is over.
#[track_caller]
fn all_gone(since: Instant, word: &str) {
    let mut left = with_argument(word);
    while !left.is_empty() {
        assert!(since.elapsed() < LIMIT, "after {LIMIT:?} these live: {left:?}");
        std::thread::sleep(Duration::from_millis(20));
        left = with_argument(word);
    }
}

/// Both ways, one after the other.
fn both(test: impl Fn(&Sandbox, bool)) {
    for cgroups in [true, false] {
        test(&Sandbox::new(), cgroups);
    }
}

#[test]
fn a_stop_leaves_nothing() {
    both(|sandbox, cgroups| {
        let _master = master_of(sandbox, cgroups);
        let word = word(&format!("stop-{cgroups}"));
        // The program itself does not want to end either.
        let last = "trap '' INT TERM HUP; while :; do sleep 1; done";
        apply(sandbox, &[shell_loop("a", &hiders(&word, last))]);
        all_there(&word);
        let asked = Instant::now();
        sandbox.run(["stop", "a"]).ok();
        all_gone(asked, &word);
    });
}

#[test]
fn a_deletion_leaves_nothing() {
    both(|sandbox, cgroups| {
        let _master = master_of(sandbox, cgroups);
        let word = word(&format!("delete-{cgroups}"));
        apply(sandbox, &[shell_loop("a", &hiders(&word, "sleep 1000"))]);
        all_there(&word);
        let asked = Instant::now();
        sandbox.run(["delete", "agent", "a", "--wait=false"]).ok();
        all_gone(asked, &word);
    });
}

#[test]
fn the_end_of_the_master_leaves_nothing() {
    both(|sandbox, cgroups| {
        let mut master = master_of(sandbox, cgroups);
        let word = word(&format!("ctrl-c-{cgroups}"));
        apply(sandbox, &[shell_loop("a", &hiders(&word, "sleep 1000"))]);
        all_there(&word);
        let asked = Instant::now();
        master.interrupt();
        all_gone(asked, &word);
        assert!(wait("the master to end", || master.ended()).success());
    });
}

#[test]
fn the_end_of_a_program_leaves_nothing_with_a_master_and_without() {
    both(|sandbox, cgroups| {
        let mut master = master_of(sandbox, cgroups);
        let (first, second) = (word(&format!("end-{cgroups}")), word(&format!("unseen-{cgroups}")));
        let until = |name: &str| {
            format!(
                "while [ ! -e '{}' ]; do sleep 0.05; done; echo done",
                sandbox.work().join(name).display()
            )
        };
        let agents = [
            shell_once("a", &hiders(&first, &until("go-a"))),
            shell_once("b", &hiders(&second, &until("go-b"))),
        ];
        apply(sandbox, &agents);
        all_there(&first);
        all_there(&second);
        let asked = Instant::now();
        sandbox.write("go-a", "");
        all_gone(asked, &first);
        let done = |name: &str| {
            wait_object(sandbox, "iteration", name, "over", |o| o["status"]["phase"] == "Succeeded")
        };
        done("a.prompt.0");
        let log = sandbox.run(["logs", "a.prompt.0", "-o", "json"]).ok().stdout;
        assert!(log.contains("the program had left running were ended"), "{log}");

        master.kill();
        let asked = Instant::now();
        sandbox.write("go-b", "");
        all_gone(asked, &second);
        let _master = master_of(sandbox, cgroups);
        done("b.prompt.0");
        let log = sandbox.run(["logs", "b.prompt.0", "-o", "json"]).ok().stdout;
        assert!(log.contains("the program had left running were ended"), "{log}");
    });
}

#[test]
fn a_stop_after_adoption_leaves_nothing_and_neither_does_a_program_that_cannot_be_adopted() {
    both(|sandbox, cgroups| {
        let mut first = master_of(sandbox, cgroups);
        let (adopted, headless) = (word(&format!("adopted-{cgroups}")), word(&format!("headless-{cgroups}")));
        apply(
            sandbox,
            &[
                shell_loop("a", &hiders(&adopted, "sleep 1000")),
                shell_loop("b", &hiders(&headless, "sleep 1000")),
            ],
        );
        all_there(&adopted);
        all_there(&headless);
        let process = |name: &str| {
            wait_object(sandbox, "iteration", name, "its process", |o| o["status"]["process"]["pid"].is_i64())
                ["status"]["process"]
                .clone()
        };
        let pid = process("b.work.0")["pid"].to_string();
        // All were seen, as the list that people are shown says.
        for name in ["a.work.0", "b.work.0"] {
            wait_object(sandbox, "iteration", name, "its processes", |o| {
                o["status"]["processes"]["count"].as_i64() >= Some(HIDERS as i64 + 1)
            });
        }
        first.kill();
        // What it led has to be found without it.
        let killed = std::process::Command::new("kill").args(["-9", &pid]).status().unwrap();
        assert!(killed.success());
        let started = Instant::now();
        let _second = master_of(sandbox, cgroups);
        all_gone(started, &headless);
        wait_object(sandbox, "iteration", "b.work.0", "interrupted", |o| {
            o["status"]["reason"] == "MasterRestarted"
        });
        wait("the event", || {
            sandbox.run(["get", "events", "-o", "json"]).ok().stdout.contains("\"Adopted\"").then_some(())
        });
        assert_eq!(with_argument(&adopted).len(), HIDERS, "what was adopted goes on");
        let asked = Instant::now();
        sandbox.run(["stop", "a"]).ok();
        all_gone(asked, &adopted);
        sandbox.run(["stop", "b"]).ok();
    });
}

#[test]
fn describe_lists_what_lives_without_secrets_and_nothing_once_it_is_over() {
    both(|sandbox, cgroups| {
        let _master = master_of(sandbox, cgroups);
        let word = word(&format!("list-{cgroups}"));
        let go = sandbox.work().join("go");
        let script = format!(
            "setsid sleep 1001 & sh -c 'while [ ! -e {} ]; do sleep 0.1; done' '{word}' --token abcdef; echo over",
            go.display()
        );
        apply(sandbox, &[shell_once("a", &script)]);
        let seen = wait_object(sandbox, "iteration", "a.prompt.0", "its processes", |o| {
            o["status"]["processes"]["count"].as_i64() >= Some(3)
        });
        let items = seen["status"]["processes"]["items"].as_array().unwrap().clone();
        let commands: Vec<&str> = items.iter().map(|item| item["command"].as_str().unwrap()).collect();
        assert!(commands.contains(&"sleep 1001"), "{commands:?}");
        assert!(commands.iter().any(|c| c.ends_with(&format!("{word} --token ***"))), "{commands:?}");
        assert!(!seen.to_string().contains("abcdef\"") && !commands.iter().any(|c| c.contains("/keeper")));
        assert!(items.iter().all(|item| item["startedAt"].is_string()), "{items:?}");
        let told = sandbox.run(["describe", "iteration", "a.prompt.0"]).ok().stdout;
        assert!(told.contains("Processes:\n") && told.contains("sleep 1001"), "{told}");
        std::fs::write(&go, "").unwrap();
        let over =
            wait_object(sandbox, "iteration", "a.prompt.0", "over", |o| o["status"]["phase"] == "Succeeded");
        assert_eq!(over["status"]["processes"], Value::Null);
        let told = sandbox.run(["describe", "iteration", "a.prompt.0"]).ok().stdout;
        assert!(!told.contains("Processes:"), "{told}");
    });
}

/// By another process: a file that this one has open for writing could not be executed by a child of another test.
fn copy(from: &Path, to: &Path) {
    assert!(std::process::Command::new("cp").args([from, to]).status().unwrap().success());
}

#[test]
fn another_version_of_the_program_takes_ten_agents_over_and_loses_nothing() {
    let sandbox = Sandbox::new();
    let old = sandbox.work().join("gcluster-old");
    copy(binary(), &old);
    let mut first = Master::start_program(&sandbox, &old, |command| {
        // So that a keeper is this program, which is about to be replaced.
        command.env("GCLUSTER_CGROUP", "off");
    });
    let go = sandbox.work().join("go");
    let script = format!(
        "for n in 1 2 3; do echo line $n; done; while [ ! -e '{}' ]; do sleep 0.05; done; echo line 4",
        go.display()
    );
    let names: Vec<String> = (0..10).map(|n| format!("a{n}")).collect();
    apply(&sandbox, &names.iter().map(|name| shell_once(name, &script)).collect::<Vec<_>>());
    let process = |name: &str| {
        wait_object(&sandbox, "iteration", &format!("{name}.prompt.0"), "its process", |o| {
            o["status"]["process"]["pid"].is_i64()
        })["status"]["process"]
            .clone()
    };
    let before: Vec<Value> = names.iter().map(|name| process(name)).collect();
    first.kill();
    std::fs::remove_file(&old).unwrap();
    let new = sandbox.work().join("gcluster-new");
    copy(binary(), &new);
    let mut second = Master::start_program(&sandbox, &new, |_| {});
    wait("all to be adopted", || {
        let events = sandbox.run(["get", "events", "-o", "json"]).ok().stdout;
        (events.matches("\"Adopted\"").count() >= 10).then_some(())
    });
    for (name, before) in names.iter().zip(&before) {
        assert_eq!(&process(name), before, "the same process");
    }
    // Its file may go while it runs, too.
    std::fs::remove_file(&new).unwrap();
    std::fs::write(&go, "").unwrap();
    for name in &names {
        let iteration = format!("{name}.prompt.0");
        wait_object(&sandbox, "iteration", &iteration, "over", |o| o["status"]["phase"] == "Succeeded");
        let log = sandbox.run(["logs", &iteration, "-o", "json"]).ok().stdout;
        let output: Vec<Value> = log
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).unwrap())
            .filter(|record| record["type"] == "output")
            .collect();
        assert_eq!(output.len(), 1, "{log}");
        assert_eq!(output[0]["text"], "line 1\nline 2\nline 3\nline 4");
        assert!(
            object(&sandbox, "iteration", &format!("{name}.prompt.1")).is_none(),
            "it was not begun again"
        );
    }
    assert!(second.stop().success());
}

#[test]
fn after_a_reboot_nothing_is_adopted_and_what_ran_is_begun_again() {
    let sandbox = Sandbox::new();
    let mut first = master_of(&sandbox, true);
    let word = word("reboot");
    apply(&sandbox, &[shell_loop("a", &hiders(&word, "echo begun; sleep 1000"))]);
    all_there(&word);
    wait_object(&sandbox, "iteration", "a.work.0", "its process", |o| o["status"]["process"]["pid"].is_i64());
    // As if the machine had been another one since: the process of that id is not the one that was meant.
    let patch = json!({"status": {"process": {"bootId": "another-boot"}}}).to_string();
    let path = "/apis/gcluster.dev/v1alpha1/namespaces/default/iterations/a.work.0/status";
    let authorization = format!("Bearer {}", token(&sandbox));
    let headers =
        [("Authorization", authorization.as_str()), ("Content-Type", "application/merge-patch+json")];
    let answer = request(first.address(), "PATCH", path, &headers, patch.as_bytes()).unwrap();
    assert_eq!(answer.status, 200, "{}", answer.body);
    let before = with_argument(&word);
    first.kill();
    let _second = master_of(&sandbox, true);
    let first =
        wait_object(&sandbox, "iteration", "a.work.0", "over", |o| o["status"]["phase"] == "Interrupted");
    assert_eq!(first["status"]["reason"], "MasterRestarted", "{first}");
    assert!(with_argument(&word).iter().all(|pid| !before.contains(pid)), "nothing of it is left");
    wait_object(&sandbox, "iteration", "a.work.1", "begun again", |o| o["status"]["phase"] == "Running");
    sandbox.run(["stop", "a"]).ok();
}

#[test]
fn a_stop_right_after_the_start_ends_what_the_master_before_has_left() {
    let sandbox = Sandbox::new();
    let word = word("left");
    let mut first = master_of(&sandbox, true);
    let names: Vec<String> = (0..4).map(|n| format!("a{n}")).collect();
    let work = format!("sh -c 'while :; do sleep 1; done' '{word}'");
    let agents: Vec<Value> = names.iter().map(|name| shell_loop(name, &work)).collect();
    apply(&sandbox, &agents);
    for name in &names {
        wait_object(&sandbox, "iteration", &format!("{name}.work.0"), "its process", |o| {
            o["status"]["process"]["pid"].is_i64()
        });
    }
    wait("all to work", || (with_argument(&word).len() == names.len()).then_some(()));
    first.kill();
    let mut second = master_of(&sandbox, true);
    assert!(second.stop().success());
    assert_eq!(with_argument(&word).len(), 0, "{}", second.log());
}
