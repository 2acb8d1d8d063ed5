//! A real `gcluster master` process of a test's own.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::cli::Sandbox;
use super::wait::{wait, wait_within};

/// A running master. Killed when dropped, if it still runs.
pub(crate) struct Master {
    child: Child,
    address: String,
    log: Arc<Mutex<String>>,
}

impl Master {
    /// Starts one with the rehearsal backend on a free port, with the sandbox's data directory.
    pub(crate) fn start(sandbox: &Sandbox) -> Master {
        Master::start_with(sandbox, &["--backend", "rehearsal"], |_| {})
    }

    /// Starts one with further arguments and a changed environment, and waits until it is ready.
    pub(crate) fn start_with(sandbox: &Sandbox, args: &[&str], change: impl FnOnce(&mut Command)) -> Master {
        Master::start_at(sandbox, "127.0.0.1:0", args, change)
    }

    /// Starts another program as the master, such as a newer version.
    pub(crate) fn start_program(
        sandbox: &Sandbox,
        program: &Path,
        change: impl FnOnce(&mut Command),
    ) -> Master {
        let mut command = Command::new(program);
        sandbox.seal(&mut command);
        command
            .args(["master", "--addr", "127.0.0.1:0", "--backend", "rehearsal"])
            .current_dir(sandbox.work());
        Master::run(command.stdin(Stdio::null()), change)
    }

    /// The same on an address of one's own, such as that of a master that was killed.
    pub(crate) fn start_at(
        sandbox: &Sandbox,
        address: &str,
        args: &[&str],
        change: impl FnOnce(&mut Command),
    ) -> Master {
        Master::run(sandbox.command(["master", "--addr", address]).args(args), change)
    }

    fn run(command: &mut Command, change: impl FnOnce(&mut Command)) -> Master {
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        change(command);
        let mut child = command.spawn().expect("the master starts");
        let log = Arc::new(Mutex::new(String::new()));
        let mut stderr = child.stderr.take().expect("stderr");
        let sink = Arc::clone(&log);
        std::thread::spawn(move || {
            let mut buffer = [0; 8192];
            while let Ok(n @ 1..) = stderr.read(&mut buffer) {
                sink.lock().expect("log").push_str(&String::from_utf8_lossy(&buffer[..n]));
            }
        });
        let mut lines = BufReader::new(child.stdout.take().expect("stdout")).lines();
        let address = loop {
            match lines.next() {
                Some(Ok(line)) => {
                    if let Some(rest) = line.split("https://").nth(1) {
                        let end = rest.find(|c: char| !(c.is_ascii_digit() || c == '.' || c == ':'));
                        break rest[..end.unwrap_or(rest.len())].to_owned();
                    }
                }
                _ => {
                    let status = child.wait();
                    panic!("the master ended before it was ready: {status:?}\n{}", log.lock().expect("log"));
                }
            }
        };
        std::thread::spawn(move || for _ in lines {});
        Master { child, address, log }
    }

    /// `host:port` that it listens on.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// What it logged so far.
    pub(crate) fn log(&self) -> String {
        self.log.lock().expect("log").clone()
    }

    /// Process id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// SIGKILL, and waits for the process to be gone.
    pub(crate) fn kill(&mut self) {
        self.child.kill().expect("kill");
        self.child.wait().expect("wait");
    }

    /// SIGINT, as Ctrl-C sends it.
    pub(crate) fn interrupt(&self) {
        signal(self.pid(), "INT");
    }

    /// SIGINT, then waits for the end. Panics after 20 s.
    pub(crate) fn stop(&mut self) -> ExitStatus {
        self.interrupt();
        wait_within(Duration::from_secs(20), "the interrupted master to end", || self.ended())
    }

    /// How it ended, if it did.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("wait")
    }
}

impl Drop for Master {
    fn drop(&mut self) {
        if self.ended().is_none() {
            // An orderly end first, so that a failed test leaves no agent behind.
            self.interrupt();
            for _ in 0..500 {
                if self.ended().is_some() {
                    return;
                }
                std::thread::sleep(Duration::from_millis(20));
            }
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// Sends a signal by name.
pub(crate) fn signal(pid: u32, name: &str) {
    let sent = Command::new("kill").args([format!("-{name}"), pid.to_string()]).status().expect("kill");
    assert!(sent.success(), "kill -{name} {pid}");
}

/// `gcluster get KIND NAME -o json`, parsed; `None` while it does not exist.
pub(crate) fn object(sandbox: &Sandbox, kind: &str, name: &str) -> Option<serde_json::Value> {
    let got = sandbox.run(["get", kind, name, "-o", "json"]);
    (got.code == 0).then(|| serde_json::from_str(&got.stdout).expect("JSON"))
}

/// Waits until an object satisfies a condition and gives it.
#[track_caller]
pub(crate) fn wait_object(
    sandbox: &Sandbox,
    kind: &str,
    name: &str,
    what: &str,
    mut check: impl FnMut(&serde_json::Value) -> bool,
) -> serde_json::Value {
    wait(&format!("{kind} {name}: {what}"), || object(sandbox, kind, name).filter(|o| check(o)))
}

/// The items of a list.
pub(crate) fn objects(sandbox: &Sandbox, kind: &str) -> Vec<serde_json::Value> {
    let got = sandbox.run(["get", kind, "-o", "json"]).ok();
    let list: serde_json::Value = serde_json::from_str(&got.stdout).expect("JSON");
    list["items"].as_array().expect("items").clone()
}
