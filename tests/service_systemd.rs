//! The unit under a real `systemd --user`, in namespaces of its own: readiness, the watchdog, a master that is killed, a stop.
//!
//! It needs root, and mounts a cgroup hierarchy, so only where it is asked for: `GCLUSTER_TEST_SYSTEMD=1`.

use std::process::Command;
use std::time::Duration;

use serde_json::json;

use crate::support::agents::list;
use crate::support::cli::{Ran, Sandbox, ran};
use crate::support::master::{object, signal, wait_object};
use crate::support::skip::{program_or_skip, say_skipped};
use crate::support::wait::{wait, wait_within};

const TEST: &str = "service_systemd::systemd_starts_watches_and_stops_the_master";
const ASKED: &str = "GCLUSTER_TEST_SYSTEMD";
const INSIDE: &str = "GCLUSTER_TEST_IN_SYSTEMD";
/// A machine of its own as far as systemd looks, and its user instance in a cgroup that it may divide.
const SESSION: &str = r#"
set -e
mount --make-rprivate /
mount -t tmpfs tmpfs /run
mkdir -p /run/systemd/system /run/user/session
chmod 700 /run/user/session
umount -l /sys/fs/cgroup
mount -t cgroup2 none /sys/fs/cgroup
export XDG_RUNTIME_DIR=/run/user/session
group=/sys/fs/cgroup/gcluster-test-$$-$RANDOM
mkdir "$group"
echo $$ > "$group/cgroup.procs"
HOME=$1 /lib/systemd/systemd --user > "$1/systemd.log" 2>&1 &
manager=$!
shift
for _ in $(seq 300); do [ "$(systemctl --user is-system-running 2>/dev/null)" = running ] && break; sleep 0.1; done
code=0
"$@" || code=$?
kill $manager
for _ in $(seq 100); do kill -0 $manager 2>/dev/null || break; sleep 0.1; done
kill -KILL $manager 2>/dev/null || true
wait $manager || true
echo $$ > /sys/fs/cgroup/cgroup.procs
find "$group" -depth -type d -exec rmdir {} + || true
exit $code
"#;

#[test]
fn systemd_starts_watches_and_stops_the_master() {
    if std::env::var_os(ASKED).is_none() {
        return say_skipped(TEST, &format!("{ASKED} is not set"));
    }
    let sandbox = Sandbox::new();
    let home = sandbox.data().with_file_name("home");
    if std::env::var_os(INSIDE).is_none() {
        let (Some(_), Some(unshare)) = (program_or_skip("systemctl", TEST), program_or_skip("unshare", TEST))
        else {
            return;
        };
        let mut command = Command::new(unshare);
        command.args([
            "--mount",
            "--pid",
            "--fork",
            "--mount-proc",
            "--cgroup",
            "bash",
            "-c",
            SESSION,
            "session",
        ]);
        command.arg(&home).arg(std::env::current_exe().expect("this program"));
        let passed = command.args(["--exact", TEST, "--nocapture"]).env(INSIDE, &home).status();
        assert!(
            passed.expect("unshare").success(),
            "the test failed inside its session; its output is above"
        );
        return;
    }
    inside(&sandbox);
}

/// What the manager says.
fn systemctl(args: &[&str]) -> Ran {
    ran(Command::new("systemctl").arg("--user").args(args))
}

fn shown(property: &str) -> String {
    systemctl(&["show", "--value", "-p", property, "gcluster"]).ok().stdout.trim().to_owned()
}

/// Waits until another master serves; answers its process.
fn next(old: &str) -> String {
    wait_within(Duration::from_secs(60), "another master", || {
        let pid = shown("MainPID");
        (pid != old && shown("ActiveState") == "active").then_some(pid)
    })
}

fn inside(sandbox: &Sandbox) {
    // The manager has read its home, which is that of the test outside.
    let home = std::path::PathBuf::from(std::env::var_os(INSIDE).expect("the manager's home"));
    let units = home.join(".config/systemd/user");
    let mut install = sandbox.command(["install-service"]);
    assert_eq!(ran(install.env("HOME", &home)).ok().code, 0);
    let unit = units.join("gcluster.service");
    let text = std::fs::read_to_string(&unit).expect("the unit");
    let text = text.replace("WatchdogSec=60", "WatchdogSec=3").replace("RestartSec=5", "RestartSec=1");
    let log = sandbox.work().join("master.log");
    let text = text.replace("UMask=0077", &format!("UMask=0077\nStandardError=append:{}", log.display()));
    let start = format!("master --data-dir {}", sandbox.data().display());
    std::fs::write(&unit, text.replace(&start, &format!("{start} --addr 127.0.0.1:0 --backend command")))
        .expect("the unit");
    systemctl(&["daemon-reload"]).ok();
    // It is over when the master says that it is ready.
    systemctl(&["enable", "--now", "gcluster"]).ok();
    assert!(shown("StatusText").starts_with("serving at https://"), "{}", shown("StatusText"));
    let first = shown("MainPID");

    let work =
        json!({"name": "command", "args": ["sh", "-c", "cat >/dev/null; setsid sleep 971 & sleep 970"]});
    let agent = json!({
        "apiVersion": "gcluster.dev/v1alpha1", "kind": "Agent", "metadata": {"name": "sleeper"},
        "spec": {"definition": "(defagent \"sleeper\"\n  \"Sleep.\")", "workingDirectory": sandbox.work(), "backend": work},
    });
    sandbox.write("a.json", &list(&[agent]));
    sandbox.run(["apply", "-f", "a.json"]).ok();
    let sleepers = || {
        let found = ran(Command::new("pgrep").args(["-f", "^sleep 97[01]$"])).stdout;
        found.split_whitespace().map(str::to_owned).collect::<Vec<_>>()
    };
    // A stop before the processes are taken over would leave them to the next master.
    let taken_over = |times: usize| {
        wait("the processes to be taken over", || {
            let text = std::fs::read_to_string(&log).unwrap_or_default();
            (text.matches("taken over from an earlier master").count() == times).then_some(())
        });
    };
    let both = wait("both processes", || Some(sleepers()).filter(|found| found.len() == 2));
    for pid in &both {
        let group = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).expect("its cgroup");
        assert!(group.contains("gcluster.service/gcluster-"), "{group}");
    }

    // Killed, and hanging: another one takes over what runs.
    signal(first.parse().expect("a number"), "KILL");
    let second = next(&first);
    taken_over(1);
    signal(second.parse().expect("a number"), "STOP");
    let third = next(&second);
    taken_over(2);
    assert_eq!(shown("NRestarts"), "2");
    assert_eq!(sleepers(), both, "{third}");
    wait_object(sandbox, "iteration", "sleeper.prompt.0", "at work", |o| o["status"]["phase"] == "Running");
    assert!(object(sandbox, "iteration", "sleeper.prompt.1").is_none());

    systemctl(&["stop", "gcluster"]).ok();
    assert_eq!(shown("Result"), "success");
    assert_eq!(sleepers(), Vec::<String>::new());
    let masters = ran(Command::new("pgrep").args(["-f", &start])).stdout;
    assert_eq!(masters, "", "no master is left");
}
