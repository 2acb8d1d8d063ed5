//! The real `codex` CLI, driven by a real master, against the loopback model server in `tests/fake_responses_api`.
//!
//! The CLI is large, so it is not installed for this: `GCLUSTER_TEST_CODEX` names it. `specs/backends.md` says which
//! version it describes.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

use crate::support::agents::list;
use crate::support::cli::Sandbox;
use crate::support::master::{Master, object, wait_object};
use crate::support::processes::with_environment;
use crate::support::skip::{program_or_skip, say_skipped};
use crate::support::wait::wait;

const TEST: &str = "codex_real::the_real_codex_works_outlives_its_master_is_stopped_and_is_throttled";
const PROGRAM: &str = "GCLUSTER_TEST_CODEX";

struct ModelServer {
    child: Child,
    url: String,
}

impl ModelServer {
    fn start(python: &Path, scenarios: &Value) -> ModelServer {
        let script = "tests/fake_responses_api/fake_responses_api.py";
        let mut child = Command::new(python)
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join(script))
            .arg(scenarios.to_string())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the model server starts");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("stdout")).read_line(&mut line).expect("a line");
        let url = line.trim().strip_prefix("LISTENING ").expect("its address").to_owned();
        ModelServer { child, url }
    }

    /// An agent of one prompt whose model is the scenario of its name.
    fn agent(&self, name: &str, sandbox: &Sandbox) -> Value {
        let provider = format!(
            "model_providers.fake={{name=\"fake\",base_url=\"{}/{name}/v1\",wire_api=\"responses\",env_key=\"FAKE_KEY\",\
             request_max_retries=0,stream_max_retries=0}}",
            self.url
        );
        let args = ["-c", "model_provider=fake", "-c", &provider];
        let home = sandbox.work().join("codex-home");
        std::fs::create_dir_all(&home).expect("the home of codex");
        json!({
            "apiVersion": "gcluster.dev/v1alpha1", "kind": "Agent", "metadata": {"name": name},
            "spec": {
                "definition": format!("(defagent \"{name}\"\n  \"Say hello.\")"),
                "workingDirectory": sandbox.work(),
                "backend": {"name": "codex", "model": "gpt-5", "args": args, "env": [
                    {"name": "CODEX_HOME", "value": home}, {"name": "FAKE_KEY", "value": "dummy"},
                ]},
            },
        })
    }
}

impl Drop for ModelServer {
    fn drop(&mut self) {
        // It is over either way.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn phase(sandbox: &Sandbox, agent: &str, phase: &str) -> Value {
    let name = format!("{agent}.prompt.0");
    wait_object(sandbox, "iteration", &name, phase, |o| o["status"]["phase"] == phase)["status"].clone()
}

fn at_its_tool(sandbox: &Sandbox, agent: &str) -> Value {
    let name = format!("{agent}.prompt.0");
    wait_object(sandbox, "iteration", &name, "at its tool", |o| o["status"]["toolUses"] == 1)["status"]
        .clone()
}

#[test]
fn the_real_codex_works_outlives_its_master_is_stopped_and_is_throttled() {
    let Some(codex) = std::env::var_os(PROGRAM).map(PathBuf::from) else {
        return say_skipped(TEST, &format!("{PROGRAM} does not name a codex program"));
    };
    let Some(python) = program_or_skip("python3", TEST) else { return };
    let sandbox = Sandbox::new();
    let go = sandbox.work().join("go");
    let waits = format!("echo begun; while [ ! -e '{}' ]; do sleep 0.1; done; echo made", go.display());
    let server = ModelServer::start(
        &python,
        &json!({
            "work": [
                {"thinking": "I should look.", "command": waits, "usage": [1000, 400, 30]},
                {"text": "It is made.", "usage": [1100, 1000, 20]},
            ],
            "stopped": [{"command": "setsid sleep 1000 & sleep 1000"}],
            "limit": [{"status": 429, "error": {
                "type": "usage_limit_reached", "message": "The usage limit has been reached", "resets_at": 1_999_999_999_u64,
            }}],
            "refused": [{"status": 401, "error": {"message": "Incorrect API key provided"}}],
        }),
    );
    let begin = || {
        Master::start_with(&sandbox, &["--backend", "codex"], |command| {
            command.env("GCLUSTER_CODEX", &codex).env("TZ", "America/New_York");
        })
    };
    let mut master = begin();
    let agents = ["work", "stopped", "limit", "refused"].map(|name| server.agent(name, &sandbox));
    sandbox.write("a.json", &list(&agents));
    sandbox.run(["apply", "-f", "a.json"]).ok();
    let before = at_its_tool(&sandbox, "work");
    at_its_tool(&sandbox, "stopped");

    let refused = phase(&sandbox, "refused", "Failed");
    assert_eq!(refused["reason"], "AuthenticationFailed", "{refused}");
    let limited = phase(&sandbox, "limit", "Interrupted");
    assert_eq!(limited["reason"], "Throttled", "{limited}");
    let parked =
        wait_object(&sandbox, "agent", "limit", "parked", |o| o["status"]["throttledUntil"].is_string());
    assert!(parked["status"]["throttledUntil"].as_str().unwrap().starts_with("2033-05-18T03:3"), "{parked}");

    master.kill();
    let _master = begin();
    let object = object(&sandbox, "iteration", "stopped.prompt.0").unwrap();
    let mark = format!("GCLUSTER_ITERATION_UID={}", object["metadata"]["uid"].as_str().unwrap());
    assert!(!with_environment(&mark).is_empty(), "it goes on without a master");
    sandbox.run(["stop", "stopped"]).ok();
    phase(&sandbox, "stopped", "Interrupted");
    wait("nothing of it to run", || with_environment(&mark).is_empty().then_some(()));

    std::fs::write(&go, "").unwrap();
    let after = phase(&sandbox, "work", "Succeeded");
    assert_eq!((&after["sessionID"], &after["outputExcerpt"]), (&before["sessionID"], &json!("It is made.")));
    let tokens = ["input", "cacheRead", "cacheCreation", "output"].map(|kind| after["tokens"][kind].as_i64());
    assert_eq!(tokens, [Some(700), Some(1400), Some(0), Some(50)], "{after}");
    let log = sandbox.run(["logs", "work"]).ok().stdout;
    assert!(log.contains("I should look.") && log.contains("begun") && log.contains("made"), "{log}");
}
