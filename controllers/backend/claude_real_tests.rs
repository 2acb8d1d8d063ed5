//! The real `claude` CLI against the loopback model server of this repository. Ignored unless asked for:
//!
//! ```text
//! GCLUSTER_TEST_CLAUDE=/path/to/claude cargo test -p gcluster-controllers -- --ignored real_claude
//! ```

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::Duration;

use gcluster_types::transcript::Entry;
use serde_json::json;

use super::claude::ClaudeBackend;
use super::*;

const LIMIT: Duration = Duration::from_secs(120);

struct Model {
    child: Child,
    url: String,
}

impl Model {
    fn start() -> Model {
        let scenarios = json!({"scenarios": {
            "text": {"steps": [], "then": {"text": "You said: {last_user}"}},
            "tool": {
                "steps": [{"tool": "Bash", "input": {"command": "echo hi from the shell", "description": "Say hi"}}],
                "then": {"text": "It said {last_result}"},
            },
            "slow": {"steps": [
                {"tool": "Bash", "input": {"command": "setsid sleep 1000 & timeout 5 tail -f /dev/null; echo tool-done"}},
            ], "then": {"text": "Done."}},
            "credit": {"steps": [], "then": {
                "status": 400, "error_type": "invalid_request_error",
                "message": "Your credit balance is too low to access the Anthropic API.",
            }},
            "limit": {"steps": [], "then": {"status": 429, "retry_after": 7200, "message": "Usage limit reached."}},
        }});
        let script =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fake_messages_api/fake_messages_api.py");
        let mut child = std::process::Command::new("python3")
            .arg(script)
            .args(["--port", "0", "--scenario", &scenarios.to_string()])
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let url = line.trim().strip_prefix("LISTENING ").unwrap().to_owned();
        Model { child, url }
    }

    async fn run(&self, scenario: &str, prompt: &str, home: &Path) -> Running {
        let claude =
            PathBuf::from(std::env::var_os("GCLUSTER_TEST_CLAUDE").expect("GCLUSTER_TEST_CLAUDE is set"));
        let variable = |name: &str, value: String| (name.to_owned(), value);
        let launch = Launch {
            iteration_uid: uuid::Uuid::new_v4().to_string(),
            iteration_name: format!("{scenario}.prompt.0"),
            run_dir: home.join(format!("run-{scenario}")),
            working_directory: home.to_owned(),
            prompt: prompt.to_owned(),
            model: Some("claude-sonnet-4-5".to_owned()),
            env: vec![
                variable("ANTHROPIC_BASE_URL", format!("{}/{scenario}", self.url)),
                variable("ANTHROPIC_API_KEY", "dummy".to_owned()),
                variable("HOME", home.display().to_string()),
            ],
            session_id: uuid::Uuid::new_v4().to_string(),
            ..Launch::default()
        };
        ClaudeBackend::with_program(claude).start(launch).await.unwrap()
    }
}

impl Drop for Model {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

async fn next(running: &mut Running) -> BackendEvent {
    tokio::time::timeout(LIMIT, running.events.recv()).await.expect("an event in time").expect("an event")
}

async fn rest(running: &mut Running) -> (Vec<BackendEvent>, Finished) {
    let mut events = Vec::new();
    loop {
        match next(running).await {
            BackendEvent::Done(finished) => return (events, finished),
            event => events.push(event),
        }
    }
}

async fn until_a_tool_runs(running: &mut Running) {
    while !matches!(next(running).await, BackendEvent::Record(Entry::ToolUse { .. })) {}
}

#[tokio::test]
#[ignore = "needs the claude CLI in GCLUSTER_TEST_CLAUDE"]
async fn real_claude_answers_uses_tools_fails_and_is_throttled() {
    let (model, home) = (Model::start(), tempfile::tempdir().unwrap());
    let (events, finished) = rest(&mut model.run("text", "/compact is a word", home.path()).await).await;
    let Outcome::Succeeded { output } = &finished.outcome else { panic!("{finished:?} {events:?}") };
    assert!(output.contains("/compact is a word"), "{output}");
    let used = events.iter().any(
        |event| matches!(event, BackendEvent::Usage { tokens, cost_usd: Some(_) } if tokens.output == 5),
    );
    assert!(used, "{events:?}");
    assert!(
        !events.iter().any(|event| matches!(event, BackendEvent::Record(Entry::Notice { .. }))),
        "{events:?}"
    );

    let (events, finished) = rest(&mut model.run("tool", "Go", home.path()).await).await;
    assert_eq!(
        finished.outcome,
        Outcome::Succeeded { output: "It said hi from the shell".into() },
        "{events:?}"
    );
    assert_eq!((finished.tool_uses, finished.model.as_deref()), (1, Some("claude-sonnet-4-5")));

    let (_, finished) = rest(&mut model.run("credit", "Go", home.path()).await).await;
    let Outcome::Failed { reason, retry, error } = &finished.outcome else { panic!("{finished:?}") };
    assert_eq!((reason.as_str(), *retry), ("BillingError", RetryClass::Credential), "{error}");

    let (_, finished) = rest(&mut model.run("limit", "Go", home.path()).await).await;
    assert!(matches!(finished.outcome, Outcome::Throttled { .. }), "{finished:?}");
}

#[tokio::test]
#[ignore = "needs the claude CLI in GCLUSTER_TEST_CLAUDE"]
async fn real_claude_is_steered_while_a_tool_runs() {
    let (model, home) = (Model::start(), tempfile::tempdir().unwrap());
    let mut running = model.run("slow", "Go", home.path()).await;
    until_a_tool_runs(&mut running).await;
    let id = uuid::Uuid::new_v4().to_string();
    let message = SteerMessage {
        id: id.clone(),
        from: Some("ann".into()),
        text: "Look at the tests too".into(),
        ..SteerMessage::default()
    };
    running.control.steer(message.clone()).unwrap();
    let (events, finished) = rest(&mut running).await;
    assert!(events.contains(&BackendEvent::Record(message.record())), "{events:?}");
    assert!(events.contains(&BackendEvent::Steered { id, state: SteerState::Delivered }), "{events:?}");
    assert_eq!(finished.outcome, Outcome::Succeeded { output: "Done.".into() });
}

#[tokio::test]
#[ignore = "needs the claude CLI in GCLUSTER_TEST_CLAUDE"]
async fn real_claude_is_interrupted_by_a_message_and_goes_on_with_it() {
    let (model, home) = (Model::start(), tempfile::tempdir().unwrap());
    let mut running = model.run("slow", "Go", home.path()).await;
    until_a_tool_runs(&mut running).await;
    let message = SteerMessage {
        id: uuid::Uuid::new_v4().to_string(),
        text: "Leave that".into(),
        interrupt: true,
        ..SteerMessage::default()
    };
    running.control.steer(message.clone()).unwrap();
    let (events, finished) = rest(&mut running).await;
    assert!(events.contains(&BackendEvent::Record(message.clone().record())), "{events:?}");
    let delivered = BackendEvent::Steered { id: message.id, state: SteerState::Delivered };
    assert!(events.contains(&delivered), "{events:?}");
    let cut = |event: &BackendEvent| matches!(event, BackendEvent::Record(Entry::ToolResult { text, .. }) if text.contains("doesn't want to proceed"));
    assert!(events.iter().any(cut), "the tool was ended for it: {events:?}");
    assert_eq!(finished.outcome, Outcome::Succeeded { output: "Done.".into() });
}

#[tokio::test]
#[ignore = "needs the claude CLI in GCLUSTER_TEST_CLAUDE"]
async fn real_claude_is_stopped_with_its_tools_and_its_usage_is_kept() {
    let (model, home) = (Model::start(), tempfile::tempdir().unwrap());
    let mut running = model.run("slow", "Go", home.path()).await;
    until_a_tool_runs(&mut running).await;
    let leader = running.process.clone().unwrap();
    let family = sweep::family("", std::slice::from_ref(&leader));
    let control = running.control.clone();
    let stop = tokio::spawn(async move { control.stop(Duration::from_secs(20)).await });
    let (events, finished) = rest(&mut running).await;
    stop.await.unwrap();
    assert_eq!(finished.outcome, Outcome::Interrupted { reason: "it was stopped".into() }, "{events:?}");
    let used = events.iter().any(|event| matches!(event, BackendEvent::Usage { cost_usd: Some(_), .. }));
    assert!(used, "the interrupted turn's result is kept: {events:?}");
    assert!(family.iter().all(|process| !sweep::is_alive(process)));
}
