//! The master as a process: starting, refusing, stopping, starting again.

use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use crate::support::agents::{TEAM, list, shell_loop};
use crate::support::cli::Sandbox;
use crate::support::master::{Master, object, objects, wait_object};
use crate::support::processes::with_environment;
use crate::support::wait::{wait, wait_within};

#[test]
fn a_taken_port_is_an_error_that_names_the_port_and_both_causes() {
    let sandbox = Sandbox::new();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let got = sandbox.run(["master", "--addr", &address]);
    assert_eq!(got.code, 1, "{got:?}");
    for part in [address.as_str(), "another", "gcluster master", "--addr"] {
        assert!(got.stderr.contains(part), "no `{part}` in: {}", got.stderr);
    }
}

#[test]
fn a_second_master_on_the_same_directory_is_refused() {
    let sandbox = Sandbox::new();
    let _master = Master::start(&sandbox);
    let got = sandbox.run(["master", "--addr", "127.0.0.1:0"]);
    assert_eq!(got.code, 1, "{got:?}");
    assert!(got.stderr.contains(&sandbox.data().display().to_string()), "{}", got.stderr);
}

#[test]
fn an_unusable_data_directory_is_refused_at_the_start() {
    let sandbox = Sandbox::new();
    let file = sandbox.write("file", "not a directory");
    let got = sandbox.run(["master", "--addr", "127.0.0.1:0", "--data-dir", file.to_str().unwrap()]);
    assert_eq!(got.code, 1, "{got:?}");
    assert!(got.stderr.contains("file"), "{}", got.stderr);
}

#[test]
fn the_data_directory_is_private() {
    let sandbox = Sandbox::new();
    let _master = Master::start(&sandbox);
    let mode = |path: &std::path::Path| path.metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&sandbox.data()), 0o700);
    for entry in std::fs::read_dir(sandbox.data()).unwrap() {
        let path = entry.unwrap().path();
        assert_eq!(mode(&path) & 0o077, 0, "{}", path.display());
    }
}

#[test]
fn two_masters_with_directories_of_their_own_run_side_by_side() {
    let (one, two) = (Sandbox::new(), Sandbox::new());
    let _first = Master::start(&one);
    let second = Master::start(&two);
    one.write("a.p", "agent-a:\n\tWork.\n");
    one.run(["apply", "-f", "a.p"]).ok();
    assert!(object(&two, "agent", "a").is_none());
    let kubeconfig = two.data().join("kubeconfig");
    let before = one.run(["--kubeconfig", kubeconfig.to_str().unwrap(), "get", "agents", "-o", "name"]).ok();
    let after = one.run(["get", "agents", "-o", "name", "--kubeconfig", kubeconfig.to_str().unwrap()]).ok();
    assert_eq!((before.stdout.as_str(), after.stdout.as_str()), ("", ""));
    assert!(std::fs::read_to_string(&kubeconfig).unwrap().contains(&format!("https://{}", second.address())));
}

#[test]
fn ctrl_c_stops_agents_ends_watches_and_exits_well_and_a_new_start_goes_on() {
    let sandbox = Sandbox::new();
    let mut master = Master::start(&sandbox);
    let mark = format!("GCLUSTER_TEST_MARK={}", sandbox.data().display());
    let script = format!("export {mark}; exec sh -c 'trap \"\" INT; echo at work; sleep 300'");
    sandbox.write("a.json", &list(&[shell_loop("builder", &script)]));
    sandbox.run(["apply", "-f", "a.json"]).ok();
    wait("the agent's process", || (!with_environment(&mark).is_empty()).then_some(()));
    let mut watch =
        sandbox.command(["get", "agents", "-w"]).stdout(std::process::Stdio::piped()).spawn().unwrap();

    let start = Instant::now();
    let status = master.stop();
    assert!(status.success(), "{status:?}\n{}", master.log());
    assert!(start.elapsed() < Duration::from_secs(15), "{:?}", start.elapsed());
    assert_eq!(with_environment(&mark), Vec::<u32>::new());
    wait("the watch to end", || watch.try_wait().unwrap());

    let _master = Master::start(&sandbox);
    assert_eq!(objects(&sandbox, "agents").len(), 1);
    wait_object(&sandbox, "iteration", "builder.work.0", "interrupted", |o| {
        o["status"]["phase"] == "Interrupted"
    });
    assert!(sandbox.run(["logs", "builder.work.0"]).ok().stdout.contains("at work"));
    wait_object(&sandbox, "iteration", "builder.work.1", "running", |o| o["status"]["phase"] == "Running");
}

#[test]
fn what_ran_before_a_kill_goes_on_and_a_stop_ends_all_of_it() {
    let sandbox = Sandbox::new();
    let mut master = Master::start(&sandbox);
    let mark = format!("GCLUSTER_TEST_MARK={}", sandbox.data().display());
    // The second process is in a session of its own, out of reach of the group.
    let script = format!("export {mark}; setsid sleep 300 & echo at work; sleep 300");
    sandbox.write("a.json", &list(&[shell_loop("builder", &script)]));
    sandbox.run(["apply", "-f", "a.json"]).ok();
    wait("both processes", || (with_environment(&mark).len() >= 2).then_some(()));
    wait_object(&sandbox, "iteration", "builder.work.0", "its process", |o| {
        o["status"]["process"]["pid"].is_i64()
    });
    let first = with_environment(&mark);
    master.kill();

    let _master = Master::start(&sandbox);
    wait("the event", || {
        let events = sandbox.run(["get", "events", "-o", "json"]).ok().stdout;
        events.contains("\"Adopted\"").then_some(())
    });
    assert_eq!(with_environment(&mark), first);
    sandbox.run(["stop", "builder"]).ok();
    let old = wait_object(&sandbox, "iteration", "builder.work.0", "ended", |o| {
        o["status"]["phase"] == "Interrupted"
    });
    assert_eq!(old["status"]["reason"], "Stopped", "{old}");
    wait_within(Duration::from_secs(20), "the old processes to be gone", || {
        first.iter().all(|pid| !with_environment(&mark).contains(pid)).then_some(())
    });
    assert!(object(&sandbox, "iteration", "builder.work.1").is_none());
}

#[test]
fn agents_go_on_after_a_restart_without_another_apply() {
    let sandbox = Sandbox::new();
    let mut master = Master::start(&sandbox);
    sandbox.write("team.p", TEAM);
    sandbox.run(["apply", "-f", "team.p"]).ok();
    wait_object(&sandbox, "iteration", "bugfixer.fix.0", "ended", |o| o["status"]["phase"] == "Succeeded");
    master.kill();
    let _master = Master::start(&sandbox);
    wait_object(&sandbox, "iteration", "bugfixer.fix.2", "succeeded", |o| {
        o["status"]["phase"] == "Succeeded"
    });
    assert!(sandbox.run(["logs", "bugfixer.fix.0"]).ok().stdout.contains("Find one bug"));
}

#[test]
fn damaged_state_is_kept_aside_and_the_master_starts_fresh() {
    type Damage = fn(&mut Vec<u8>);
    let damages: [(&str, Damage); 3] = [
        ("truncated", |bytes| bytes.truncate(bytes.len() / 2)),
        ("garbage", |bytes| bytes.fill(0x5a)),
        ("bits flipped", |bytes| {
            let step = (bytes.len() / 64).max(1);
            bytes.iter_mut().skip(200).step_by(step).for_each(|b| *b ^= 0x10);
        }),
    ];
    for (what, damage) in damages {
        let sandbox = Sandbox::new();
        let mut master = Master::start(&sandbox);
        sandbox.write("team.p", TEAM);
        sandbox.run(["apply", "-f", "team.p"]).ok();
        assert!(master.stop().success());
        let state = largest_state_file(&sandbox.data());
        let mut bytes = std::fs::read(&state).unwrap();
        damage(&mut bytes);
        std::fs::write(&state, bytes).unwrap();

        let master = Master::start(&sandbox);
        assert!(objects(&sandbox, "agents").is_empty(), "{what}");
        let log = wait("a warning", || {
            let log = master.log();
            log.contains("damaged").then_some(log)
        });
        let kept = std::fs::read_dir(sandbox.data())
            .unwrap()
            .map(|e| e.unwrap().path())
            .find(|p| p.file_name().unwrap().to_string_lossy().contains("damaged"));
        let kept = kept.unwrap_or_else(|| panic!("{what}: nothing kept\n{log}"));
        assert!(log.contains(kept.file_name().unwrap().to_str().unwrap()), "{what}: {log}");
        sandbox.run(["apply", "-f", "team.p"]).ok();
    }
}

/// The database file: the largest one that is no transcript, no key and no log.
fn largest_state_file(data: &std::path::Path) -> std::path::PathBuf {
    let mut files: Vec<_> = Vec::new();
    let mut open = vec![data.to_owned()];
    while let Some(dir) = open.pop() {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|e| e == "db" || e == "sqlite" || e == "sqlite3") {
                files.push((path.metadata().unwrap().len(), path));
            }
        }
    }
    files.into_iter().max().expect("a database").1
}
