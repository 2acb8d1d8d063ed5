//! The master as a service: the unit that is written, and what the service manager is told.

use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::support::cli::{Sandbox, binary, ran};
use crate::support::master::{Master, object};
use crate::support::skip::{program_or_skip, say_skipped};

fn next(socket: &UnixDatagram) -> String {
    let mut buffer = [0; 512];
    let read = socket.recv(&mut buffer).expect("the manager is told something");
    String::from_utf8_lossy(&buffer[..read]).into_owned()
}

/// Reads what the manager is told until a message begins so.
fn until(socket: &UnixDatagram, start: &str) -> usize {
    let mut before = 0;
    while !next(socket).starts_with(start) {
        before += 1;
    }
    before
}

#[test]
fn the_manager_is_told_ready_alive_and_stopping() {
    let sandbox = Sandbox::new();
    let socket = UnixDatagram::bind(sandbox.work().join("notify")).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let path = sandbox.work().join("notify");
    let mut master = Master::start_with(&sandbox, &["--backend", "rehearsal"], |command| {
        command.env("NOTIFY_SOCKET", &path).env("WATCHDOG_USEC", "900000");
    });
    assert_eq!(next(&socket), format!("READY=1\nSTATUS=serving at https://{}", master.address()));
    for _ in 0..3 {
        assert_eq!(next(&socket), "WATCHDOG=1");
    }
    let lease = object(&sandbox, "lease", "gcluster-master").expect("the lease that is renewed");
    assert_eq!(lease["spec"]["holderIdentity"], format!("process {}", master.pid()));
    assert!(master.stop().success());
    until(&socket, "STOPPING=1\n");
    socket.set_nonblocking(true).unwrap();
    assert!(socket.recv(&mut [0; 64]).is_err(), "nothing after that");
}

#[test]
fn a_master_that_hangs_is_not_alive() {
    let sandbox = Sandbox::new();
    let name = format!("gcluster-test-{}", std::process::id());
    let socket = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let master = Master::start_with(&sandbox, &["--backend", "rehearsal"], |command| {
        command.env("NOTIFY_SOCKET", format!("@{name}")).env("WATCHDOG_USEC", "900000");
    });
    until(&socket, "WATCHDOG=1");
    crate::support::master::signal(master.pid(), "STOP");
    // What it had sent before.
    socket.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
    while socket.recv(&mut [0; 512]).is_ok() {}
    crate::support::master::signal(master.pid(), "CONT");
    socket.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    until(&socket, "WATCHDOG=1");
}

/// `gcluster install-service` with a home of the sandbox's own.
fn service(sandbox: &Sandbox, args: &[&str]) -> crate::support::cli::Ran {
    sandbox.run([&["install-service"], args].concat())
}

fn unit(sandbox: &Sandbox) -> PathBuf {
    sandbox.data().parent().unwrap().join("home/.config/systemd/user/gcluster.service")
}

#[test]
fn a_unit_is_written_once_and_taken_away_again() {
    let sandbox = Sandbox::new();
    let dry = service(&sandbox, &["--dry-run"]).ok();
    assert!(!unit(&sandbox).exists());
    let done = service(&sandbox, &[]).ok();
    for line in
        ["gcluster.service written\n", "systemctl --user enable --now gcluster", "loginctl enable-linger"]
    {
        assert!(done.stdout.contains(line), "{line}\n{}", done.stdout);
    }
    let text = std::fs::read_to_string(unit(&sandbox)).unwrap();
    assert_eq!(text, dry.stdout);
    let start = format!("ExecStart={} master --data-dir {}\n", binary().display(), sandbox.data().display());
    for line in [
        start.as_str(),
        "Type=notify\n",
        "Environment=",
        "WatchdogSec=",
        "KillMode=process\n",
        "Delegate=yes\n",
    ] {
        assert!(text.contains(line), "{line}\n{text}");
    }
    assert!(service(&sandbox, &[]).ok().stdout.contains("is as it should be"));
    verify(&unit(&sandbox));
    assert!(service(&sandbox, &["--uninstall"]).ok().stdout.contains("removed"));
    assert!(!unit(&sandbox).exists());
    assert!(service(&sandbox, &["--uninstall"]).ok().stdout.starts_with("there is no "));

    std::fs::write(unit(&sandbox), "[Service]\nExecStart=/bin/true\n").unwrap();
    for args in [&[][..], &["--uninstall"]] {
        let refused = service(&sandbox, args);
        assert!(refused.code == 1 && refused.stderr.contains("was not written by gcluster"), "{refused:?}");
    }
}

/// What systemd itself says of the unit, where it is.
fn verify(unit: &Path) {
    const TEST: &str = "service: systemd takes the unit";
    let Some(analyze) = program_or_skip("systemd-analyze", TEST) else { return };
    let runtime = unit.parent().expect("a folder");
    let mut command = Command::new(analyze);
    command.args(["verify", "--user", "--man=no"]).arg(unit).env("XDG_RUNTIME_DIR", runtime);
    let said = ran(&mut command);
    if said.stderr.contains("Failed to initialize manager") {
        return say_skipped(TEST, &said.stderr);
    }
    let about_us: Vec<&str> = said.stderr.lines().filter(|line| line.contains("gcluster.service")).collect();
    assert!(about_us.is_empty(), "{}", said.stderr);
}
