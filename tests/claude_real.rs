//! The real `claude` CLI, driven by a real master, against the loopback model server of this repository.
//!
//! The CLI is a pinned npm package, installed below the build folder. The test runs in a network namespace of
//! its own where the machine allows it, so that nothing can reach the outside.

use serde_json::{Value, json};

use crate::support::agents::list;
use crate::support::claude::{ModelServer, alone, claude_or_skip, within_reach};
use crate::support::cli::Sandbox;
use crate::support::master::{Master, objects, wait_object};
use crate::support::skip::program_or_skip;

const TEST: &str = "claude_real::the_real_claude_speaks_uses_tools_fails_and_is_throttled";

#[test]
fn the_real_claude_speaks_uses_tools_fails_and_is_throttled() {
    let Some(claude) = claude_or_skip(TEST) else { return };
    let Some(python) = program_or_skip("python3", TEST) else { return };
    if let Some(passed) = alone(&["--exact", TEST, "--nocapture"]) {
        assert!(passed, "the test failed inside its namespace; its output is above");
        return;
    }
    let server = ModelServer::start(
        &python,
        &json!({
            "text": {"steps": [], "then": {"text": "Hello from the model."}},
            "tool": {
                "steps": [{"tool": "Bash", "input": {"command": "echo hi from the shell", "description": "Say hi"}}],
                "then": {"text": "It said {last_result}"},
            },
            "steered": {
                "steps": [{"tool": "Bash", "input": {"command": "sleep 5; echo tool-done"}}],
                "then": {"text": "All is well."},
            },
            "credit": {"steps": [], "then": {
                "status": 400, "error_type": "invalid_request_error",
                "message": "Your credit balance is too low to access the Anthropic API.",
            }},
            "limit": {"steps": [], "then": {"status": 429, "retry_after": 7200, "message": "Usage limit reached."}},
        }),
    );
    let sandbox = Sandbox::new();
    let _master = Master::start_with(&sandbox, &["--backend", "claude"], within_reach(&claude));
    let agents: Vec<Value> =
        ["text", "tool", "steered", "credit", "limit"].map(|name| server.agent(name, &sandbox.work())).into();
    sandbox.write("a.json", &list(&agents));
    sandbox.run(["apply", "-f", "a.json"]).ok();

    wait_object(&sandbox, "iteration", "steered.prompt.0", "at its tool", |o| o["status"]["toolUses"] == 1);
    sandbox.run(["send", "steered", "Look at the tests too."]).ok();

    let phase = |name: &str, phase: &str| {
        let name = format!("{name}.prompt.0");
        wait_object(&sandbox, "iteration", &name, phase, |o| o["status"]["phase"] == phase)
    };
    let text = phase("text", "Succeeded");
    assert_eq!(text["status"]["outputExcerpt"], "Hello from the model.", "{text}");
    assert_eq!(text["status"]["tokens"]["output"], 5, "{text}");
    assert!(text["status"]["sessionID"].is_string() && text["status"]["costUSD"].is_number(), "{text}");

    let tool = phase("tool", "Succeeded");
    assert_eq!(tool["status"]["toolUses"], 1, "{tool}");
    let log = sandbox.run(["logs", "tool"]).ok().stdout;
    assert!(log.contains("Bash") && log.contains("It said hi from the shell"), "{log}");

    let steered = phase("steered", "Succeeded");
    let message = objects(&sandbox, "messages").remove(0);
    assert_eq!(message["status"]["phase"], "Acknowledged", "{message}");
    assert_eq!(message["status"]["iteration"], "steered.prompt.0", "{message}");
    let log = sandbox.run(["logs", "steered"]).ok().stdout;
    let place = |text: &str| log.find(text).unwrap_or_else(|| panic!("{text:?} is not in {log}"));
    assert!(place("tool-done") < place("Look at the tests too."), "at the next tool boundary: {log}");
    assert!(place("Look at the tests too.") < place("All is well."), "{log}\n{steered}");

    let credit = phase("credit", "Interrupted");
    assert!(credit["status"]["error"].as_str().unwrap().contains("redit balance"), "{credit}");
    assert_eq!(credit["status"]["reason"], "BillingError", "{credit}");
    assert_eq!(credit["status"]["providerFault"], "Credential", "{credit}");
    wait_object(&sandbox, "agent", "credit", "paused", |o| o["status"]["reason"] == "CredentialRefused");

    let limit = wait_object(&sandbox, "agent", "limit", "throttled", |o| {
        let conditions = o["status"]["conditions"].as_array().cloned().unwrap_or_default();
        conditions.iter().any(|c| c["type"] == "Throttled" && c["status"] == "True")
    });
    assert_eq!(limit["status"]["iterations"]["failed"].as_i64().unwrap_or(0), 0, "{limit}");
}
