//! Every sentence that says why an agent does not run, as people read it.

use gcluster_types::kinds::agent::RunPolicy;
use gcluster_types::kinds::provider::{FaultKind, ProviderFault};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::jiff::Timestamp;
use serde_json::json;

use super::credential::Credential;
use super::plan_tests::{NOW, Seen, at, ended, running};
use super::provider::{Answers, Turn, View};
use super::queue::Waits;
use crate::backend::{Authentication, Unavailable};

fn time(offset: i64) -> Timestamp {
    Timestamp::from_second(NOW + offset).unwrap()
}

/// An agent on a credential that was refused something, whose turn is `turn`.
fn refused(kind: FaultKind, opens: i64, announced: bool, turn: Turn) -> Seen {
    let (reason, message) = match kind {
        FaultKind::UsageLimit => ("Throttled", "You've hit your session limit"),
        FaultKind::Outage => ("ServerOverloaded", "API Error: 529 Overloaded"),
        FaultKind::Credential => ("AuthenticationFailed", "OAuth token has expired"),
    };
    let fault = ProviderFault {
        kind,
        reason: reason.into(),
        message: message.into(),
        met_by: "team/builder.work.7".into(),
        at: MicroTime(time(-60)),
        opens_at: MicroTime(time(opens)),
        announced,
        in_a_row: 1,
    };
    let source = "ANTHROPIC_API_KEY from the key api-key of the Secret team/anthropic".to_owned();
    let provider = View {
        credential: Some(Credential { name: "claude-5f0c9a2b1d".into(), source }),
        authentication: Authentication { remedy: "`claude login`", ..Authentication::default() },
        fault: Some(fault),
        turn: Some(turn),
        answers: Answers::default(),
    };
    Seen { provider, ..Seen::new() }
}

fn logged_in(mut seen: Seen) -> Seen {
    let source = "the login below /home/ann".to_owned();
    seen.provider.credential = Some(Credential { name: "claude-5f0c9a2b1d".into(), source });
    seen
}

fn missing(reason: &'static str, message: &str, hint: &str) -> Seen {
    let missing = Unavailable { reason, message: message.into(), hint: hint.into() };
    Seen { missing: Some(missing), ..Seen::new() }
}

fn with_status(mut seen: Seen, field: &str, value: serde_json::Value) -> Seen {
    let mut status = serde_json::to_value(seen.agent.status.take()).unwrap();
    status[field] = value;
    seen.agent.status = serde_json::from_value(status).unwrap();
    seen
}

#[test]
fn every_reason_is_one_clear_sentence() {
    let new = Seen::new;
    let pending = || json!({"phase": "Pending"});
    let waits = |running, place| Waits {
        place,
        waiting: 7,
        runs: vec!["default/a.work.1".into(), "default/b.work.0".into()],
        running,
        max: 5,
    };
    let once = |limits| new().limit(limits).with(ended("Succeeded"), false);
    let mut fatal = ended("Failed");
    fatal["fatal"] = true.into();
    fatal["reason"] = "ModelNotFound".into();
    fatal["error"] = "model: opus-99 does not exist".into();
    let soon = || Turn::At(time(600));
    let invalid = json!([{"type": "Ready", "status": "False", "reason": "InvalidDefinition",
        "message": "the method `build` is not defined", "lastTransitionTime": "2026-01-01T00:00:00Z"}]);
    let no_digest = with_status(with_status(new(), "conditions", invalid), "digest", json!(null));
    let cases = [
        ("stopped", new().run(RunPolicy::Stopped)),
        ("stopped, at work", new().run(RunPolicy::Stopped).with(running(), true)),
        ("paused", new().run(RunPolicy::Paused)),
        ("paused, at work", new().run(RunPolicy::Paused).with(running(), true)),
        ("a new definition", with_status(new(), "observedGeneration", json!(0))),
        ("a definition that cannot be run", no_digest),
        ("iterations used up", once(json!({"maxIterations": 1}))),
        (
            "a missing program",
            missing(
                "ClaudeNotFound",
                "the program `claude` is not in PATH",
                "install it with `npm install -g @anthropic-ai/claude-code`",
            ),
        ),
        (
            "a missing Secret",
            missing(
                "EnvironmentIncomplete",
                "the environment variable KEY needs the key \"k\" of the Secret team/token, which does not exist",
                "create it, or set `optional: true`; the agent goes on when it is there",
            ),
        ),
        ("a usage limit", refused(FaultKind::UsageLimit, 600, true, soon())),
        ("a usage limit, no time", refused(FaultKind::UsageLimit, 600, false, soon())),
        (
            "a usage limit that is over, not its turn",
            refused(FaultKind::UsageLimit, -5, true, Turn::At(time(15))),
        ),
        ("an outage", refused(FaultKind::Outage, 20, false, Turn::At(time(20)))),
        (
            "an outage, another one tries",
            refused(FaultKind::Outage, -5, false, Turn::After("team/tester".into())),
        ),
        ("a refused credential", refused(FaultKind::Credential, 300, false, Turn::At(time(300)))),
        ("a refused login", logged_in(refused(FaultKind::Credential, 300, false, Turn::At(time(300))))),
        (
            "a refused credential, another one tries",
            refused(FaultKind::Credential, -5, false, Turn::After("team/tester".into())),
        ),
        ("one failure", new().with(ended("Failed"), false)),
        ("a failure for a person", new().with(fatal, false)),
        ("no room", Seen { waits: Some(waits(6, 3)), ..new().with(pending(), true) }),
        ("not its turn", Seen { waits: Some(waits(2, 1)), ..new().with(pending(), true) }),
        ("about to begin", new()),
        ("at work", new().with(running(), true)),
        ("left by an earlier master", new().with(running(), false)),
    ];
    let told: Vec<String> = cases
        .into_iter()
        .map(|(case, seen)| {
            let status = seen.plan().status;
            assert_eq!(status.reason_since, Some(MicroTime(time(0))), "{case}");
            let (reason, message) = (status.reason.unwrap(), status.message.unwrap());
            assert!(!message.ends_with('.') && message.len() < 500, "{case}: {message}");
            format!("{case}\n  {reason}: {message}\n")
        })
        .collect();
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path(concat!(env!("CARGO_MANIFEST_DIR"), "/../snapshots/executor"));
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| insta::assert_snapshot!("why", told.join("\n")));
}

#[test]
fn the_time_of_a_reason_is_that_of_its_beginning() {
    let seen = with_status(Seen::new().run(RunPolicy::Paused), "reason", json!("Paused"));
    let seen = with_status(seen, "reasonSince", at(NOW - 500));
    assert_eq!(seen.plan().status.reason_since, Some(MicroTime(time(-500))));
    let going_on = seen.run(RunPolicy::Running).plan().status;
    assert_eq!(going_on.reason_since, Some(MicroTime(time(0))));
}
