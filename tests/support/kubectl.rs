//! The unmodified kubectl against a master of a test's own, with the kubeconfig that it wrote.

use std::cell::RefCell;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use serde_json::Value;

use super::cli::{Ran, Sandbox, ran};
use super::master::Master;
use super::skip::kubectl_or_skip;
use super::wait::wait;

/// A master and a kubectl that talks to it.
pub(crate) struct Kubectl {
    // Dropped in this order: the master ends before its directory goes.
    _master: Master,
    sandbox: Sandbox,
    program: PathBuf,
    environment: RefCell<Vec<(String, String)>>,
}

impl Kubectl {
    /// Starts a master; `None` after saying that the test is skipped when there is no kubectl.
    pub(crate) fn start(test: &str) -> Option<Kubectl> {
        let program = kubectl_or_skip(test)?;
        let sandbox = Sandbox::new();
        let master = Master::start(&sandbox);
        Some(Kubectl { _master: master, sandbox, program, environment: RefCell::default() })
    }

    /// Where its commands run, for commands of gcluster.
    pub(crate) fn sandbox(&self) -> &Sandbox {
        &self.sandbox
    }

    /// Sets a variable for the commands that follow.
    pub(crate) fn set(&self, name: &str, value: &str) {
        self.environment.borrow_mut().push((name.into(), value.into()));
    }

    /// Writes a file into the directory in which the commands run.
    pub(crate) fn file(&self, name: &str, text: &str) {
        self.sandbox.write(name, text);
    }

    /// Removes such a file.
    pub(crate) fn remove(&self, name: &str) {
        std::fs::remove_file(self.sandbox.work().join(name)).expect("the file is there");
    }

    fn command(&self, line: &str) -> Command {
        let mut command = Command::new(&self.program);
        self.sandbox.seal(&mut command);
        command.envs(self.environment.borrow().iter().map(|(name, value)| (name, value)));
        command.env("KUBECONFIG", self.sandbox.data().join("kubeconfig"));
        command.args(words(line)).current_dir(self.sandbox.work()).stdin(Stdio::null());
        command
    }

    /// Runs a command line to its end.
    pub(crate) fn run(&self, line: &str) -> Ran {
        ran(&mut self.command(line))
    }

    /// Runs a command line that must succeed and gives what it printed.
    #[track_caller]
    pub(crate) fn ok(&self, line: &str) -> String {
        let done = self.run(line);
        assert_eq!(done.code, 0, "kubectl {line}\nstdout:\n{}\nstderr:\n{}", done.stdout, done.stderr);
        done.stdout
    }

    /// Runs a command line that must succeed and print all these texts.
    #[track_caller]
    pub(crate) fn says(&self, line: &str, texts: &[&str]) -> String {
        let out = self.ok(line);
        for text in texts {
            assert!(out.contains(text), "kubectl {line}\ndoes not print {text:?}:\n{out}");
        }
        out
    }

    /// Runs a command line that must print exactly this, but for white space at the end.
    #[track_caller]
    pub(crate) fn is(&self, line: &str, text: &str) {
        assert_eq!(self.ok(line).trim_end(), text, "kubectl {line}");
    }

    /// Runs a command line that must fail with exit code 1 and all these texts on standard error.
    #[track_caller]
    pub(crate) fn fails(&self, line: &str, texts: &[&str]) {
        let done = self.run(line);
        assert_eq!(done.code, 1, "kubectl {line}\nstdout:\n{}\nstderr:\n{}", done.stdout, done.stderr);
        for text in texts {
            assert!(done.stderr.contains(text), "kubectl {line}\ndoes not say {text:?}:\n{}", done.stderr);
        }
    }

    /// Runs a command line that prints JSON.
    #[track_caller]
    pub(crate) fn json(&self, line: &str) -> Value {
        serde_json::from_str(&self.ok(line)).expect("JSON")
    }

    /// Starts a command line that runs until it is dropped, and reads its lines.
    pub(crate) fn follow(&self, line: &str) -> Following {
        let mut child = self.command(line).stdout(Stdio::piped()).spawn().expect("kubectl starts");
        let out = child.stdout.take().expect("stdout");
        let (send, lines) = mpsc::channel();
        std::thread::spawn(move || {
            for line in BufReader::new(out).lines().map_while(Result::ok) {
                if send.send(line).is_err() {
                    return;
                }
            }
        });
        Following { child, lines, what: line.to_owned() }
    }

    /// Applies an agent that does nothing, and waits until its controllers have said all they say.
    pub(crate) fn settled_agent(&self, name: &str, team: &str) {
        self.file(&format!("{name}.yaml"), &idle(name, team));
        self.ok(&format!("apply -f {name}.yaml"));
        self.settle(name);
    }

    /// Waits until the controllers have said all that they say of a stopped agent.
    pub(crate) fn settle(&self, name: &str) {
        wait(&format!("agent {name} to settle"), || {
            let agent = self.run(&format!("get agent {name} -o json"));
            let agent: Value = serde_json::from_str(&agent.stdout).ok()?;
            let status = &agent["status"];
            let generation = &agent["metadata"]["generation"];
            let conditions = status["conditions"].as_array()?;
            let all =
                conditions.len() >= 4 && conditions.iter().all(|c| c["observedGeneration"] == *generation);
            (all && status["observedGeneration"] == *generation).then_some(())
        });
    }
}

/// A command that goes on. Killed when dropped.
pub(crate) struct Following {
    child: Child,
    lines: mpsc::Receiver<String>,
    what: String,
}

impl Following {
    /// The next line that holds the text; panics after a minute.
    #[track_caller]
    pub(crate) fn line_with(&self, text: &str) -> String {
        let mut seen = Vec::new();
        loop {
            match self.lines.recv_timeout(Duration::from_secs(60)) {
                Ok(line) if line.contains(text) => return line,
                Ok(line) => seen.push(line),
                Err(end) => panic!("kubectl {}: no {text:?} ({end}) in {seen:#?}", self.what),
            }
        }
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An agent that is stopped, as YAML.
pub(crate) fn idle(name: &str, team: &str) -> String {
    format!(
        "apiVersion: gcluster.dev/v1alpha1\nkind: Agent\nmetadata:\n  name: {name}\n  labels: {{team: {team}}}\n\
         spec:\n  definition: \"(defagent \\\"{name}\\\"\\n  \\\"Work.\\\")\"\n  run: Stopped\n"
    )
}

/// Splits a command line as a shell does, with single quotes only.
fn words(line: &str) -> Vec<String> {
    let (mut words, mut word, mut quoted) = (Vec::new(), None::<String>, false);
    for c in line.chars() {
        match c {
            '\'' => {
                quoted = !quoted;
                word.get_or_insert_default();
            }
            ' ' if !quoted => words.extend(word.take()),
            c => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    words
}
