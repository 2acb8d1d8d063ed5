//! Replays what the real CLI wrote against a loopback model server, and lines that nobody should write.

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::backend::noise::{spoilt, told};
use crate::backend::replay::{Case, cases, exited, replay, snapshot, story, usage, verdict};

fn stream(case: &Case) -> CodexStream {
    let goes_on = case.args.first().is_some_and(|arg| arg == "resume");
    CodexStream::begin(Some("gpt-5".into()), goes_on, TimeZone::UTC)
}

fn run(lines: &[Value]) -> (Step, Finished) {
    let text: Vec<String> = lines.iter().map(Value::to_string).collect();
    replay(CodexStream::begin(None, false, TimeZone::UTC), text.join("\n").as_bytes(), &exited(0))
}

#[test]
fn every_recording_tells_its_story_and_holds_nothing_unknown() {
    let mut stories = Vec::new();
    for case in cases("codex") {
        let (step, finished) = replay(stream(&case), &case.stdout, &case.exit);
        let story = story(&step, &finished);
        assert!(!story.contains("does not know") && !story.contains("no JSON"), "{}: {story}", case.name);
        stories.push((case.name, story));
    }
    snapshot("codex", &stories);
}

#[test]
fn every_recording_ends_as_it_did() {
    let endings: Vec<(String, String)> = cases("codex")
        .into_iter()
        .map(|case| {
            let (_, finished) = replay(stream(&case), &case.stdout, &case.exit);
            let ending = match &finished.outcome {
                Outcome::Failed { reason, retry, .. } => format!("{reason} {retry:?}"),
                Outcome::Throttled { until, .. } => format!("throttled {}", until.is_some()),
                _ => verdict(&finished),
            };
            (case.name, ending)
        })
        .collect();
    let expected = [
        ("cache_write", "ok ok"),
        ("context_window", "PromptTooLong NotRetryable"),
        ("cut_forever", "ConnectionFailed Outage"),
        ("empty_prompt", "InvalidRequest NotRetryable"),
        ("http_400", "InvalidRequest NotRetryable"),
        ("http_401", "AuthenticationFailed Credential"),
        ("http_402", "BillingError Credential"),
        ("http_403", "AuthenticationFailed Credential"),
        ("http_404_model", "ModelNotFound Fatal"),
        ("http_429_rate_limit", "throttled false"),
        ("http_429_usage_limit", "throttled true"),
        ("http_500_forever", "ServerError Outage"),
        ("http_500_then_ok", "ok Recovered."),
        ("http_503_overloaded", "ServerOverloaded Outage"),
        ("no_key", "AuthenticationFailed Credential"),
        ("offline", "BackendExited Transient"),
        ("quota", "BillingError Credential"),
        ("refused_arguments", "InvalidArguments Fatal"),
        ("refused_value", "InvalidArguments Fatal"),
        ("resume", "ok Hello there"),
        ("resume_unknown", "SessionNotFound NotRetryable"),
        ("sigint_during_tool", "BackendExited Transient"),
        ("sigterm_during_tool", "BackendExited Transient"),
        ("text", "ok Hello there"),
        ("tool_patch_and_search", "ok Patched"),
        ("tool_shell", "ok It worked."),
    ];
    let expected: Vec<(String, String)> =
        expected.iter().map(|(name, ending)| ((*name).to_owned(), (*ending).to_owned())).collect();
    assert_eq!(endings, expected);
}

#[test]
fn tokens_are_those_of_the_api_in_four_kinds_and_each_is_counted_once() {
    let case = |name: &str| cases("codex").into_iter().find(|case| case.name == name).unwrap();
    let tokens = |case: &Case| usage(&replay(stream(case), &case.stdout, &case.exit).0);
    // Three requests of 1000, 1100 and 1200 tokens, of which 400, 1000 and 1100 came from a cache.
    let (counted, cost) = tokens(&case("tool_shell"));
    assert_eq!(
        (counted.input, counted.cache_read, counted.cache_creation, counted.output),
        (800, 2500, 0, 55)
    );
    assert_eq!((counted.total, cost), (3355, None));
    let (counted, _) = tokens(&case("cache_write"));
    assert_eq!(
        (counted.input, counted.cache_read, counted.cache_creation, counted.output),
        (500, 400, 100, 30)
    );
    // What a resumed thread used before is in its total, and it is not known how much that was.
    assert_eq!(tokens(&case("resume")).0.total, 0);
    // Should one run have two turns, the second one tells the sum of both.
    let turn = |input: u64, output: u64| json!({"type": "turn.completed", "usage": {"input_tokens": input, "output_tokens": output}});
    let (step, _) = run(&[turn(10, 1), turn(25, 4)]);
    assert_eq!(usage(&step).0, totals(25, 4, 0, 0));
}

#[test]
fn a_stop_is_an_interruption_unless_the_turn_had_come_to_its_end() {
    let stopped = || Exit { stopped: true, ..exited(1) };
    let ending = |lines: &str| {
        verdict(&replay(CodexStream::begin(None, false, TimeZone::UTC), lines.as_bytes(), &stopped()).1)
    };
    assert_eq!(ending(r#"{"type":"turn.started"}"#), "interrupted: it was stopped");
    assert_eq!(ending(r#"{"type":"turn.failed","error":{"message":"x"}}"#), "interrupted: it was stopped");
    assert_eq!(ending(r#"{"type":"turn.completed"}"#), "ok ");
    let unseen = Exit { status: None, ..exited(0) };
    let (_, finished) = replay(CodexStream::begin(None, false, TimeZone::UTC), b"", &unseen);
    assert!(matches!(finished.outcome, Outcome::Interrupted { .. }), "{finished:?}");
}

#[test]
fn items_that_no_recording_holds_become_records_too() {
    let item = |kind: &str, item: Value| json!({"type": kind, "item": item});
    let (step, finished) = run(&[
        item(
            "item.started",
            json!({"id": "1", "type": "mcp_tool_call", "server": "files", "tool": "read",
            "arguments": {"n": 1, "path": "/a"}, "status": "in_progress"}),
        ),
        item(
            "item.completed",
            json!({"id": "1", "type": "mcp_tool_call", "server": "files", "tool": "read",
            "arguments": {}, "result": {"content": [{"type": "text", "text": "hi"}]}, "status": "completed"}),
        ),
        item(
            "item.completed",
            json!({"id": "2", "type": "mcp_tool_call", "server": "files", "tool": "read",
            "arguments": {}, "error": {"message": "no such file"}, "status": "failed"}),
        ),
        item(
            "item.completed",
            json!({"id": "3", "type": "collab_tool_call", "tool": "spawn_agent",
            "prompt": "Look", "status": "completed"}),
        ),
        item(
            "item.started",
            json!({"id": "4", "type": "todo_list", "items": [
            {"text": "one", "completed": true}, {"text": "two", "completed": false}]}),
        ),
        item("item.updated", json!({"id": "5", "type": "command_execution", "command": "x"})),
        item("item.completed", json!({"id": "6", "type": "holodeck"})),
        json!({"type": "item.exploded"}),
        json!({"type": "weather"}),
        json!({"type": "weather"}),
        json!({"type": "turn.completed"}),
    ]);
    snapshot("codex-items", &[("made up".to_owned(), story(&step, &finished))]);
}

#[test]
fn the_shell_around_a_command_is_left_out() {
    assert_eq!(unwrapped("/bin/bash -lc 'echo hi; ls'"), "echo hi; ls");
    assert_eq!(unwrapped("bash -lc ls"), "ls");
    assert_eq!(unwrapped(r"/bin/bash -lc 'echo '\''hi'\'''"), r"'echo '\''hi'\'''");
    assert_eq!(unwrapped("make -lc all"), "all", "whatever program it is");
    assert_eq!(unwrapped("ls -l"), "ls -l");
}

#[test]
fn large_and_broken_lines_are_taken() {
    let text = "x".repeat(1 << 20);
    let big = json!({"type": "item.completed", "item": {"id": "1", "type": "agent_message", "text": text}});
    let lines = [b"\xff\xfe\n{\"type\":\n[1]\nnull\n\n".to_vec(), big.to_string().into_bytes()].concat();
    let (step, finished) = replay(CodexStream::begin(None, false, TimeZone::UTC), &lines, &exited(0));
    assert!(step.events.contains(&BackendEvent::Record(Entry::Text { text })));
    assert_eq!(
        step.events
            .iter()
            .filter(|event| matches!(event, BackendEvent::Record(Entry::Notice { .. })))
            .count(),
        4
    );
    assert!(verdict(&finished).starts_with("BackendExited"), "{}", verdict(&finished));
}

/// What noise is made of.
const WORDS: &[&str] = &[
    "thread.started",
    "turn.started",
    "turn.completed",
    "turn.failed",
    "error",
    "item.started",
    "item.completed",
    "agent_message",
    "command_execution",
    "x",
];
const KEYS: &[&str] = &[
    "type",
    "item",
    "id",
    "text",
    "usage",
    "error",
    "message",
    "input_tokens",
    "cached_input_tokens",
    "changes",
    "items",
    "thread_id",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_cut_and_any_noise_give_the_same_records_however_the_bytes_come(
        spoilt in spoilt(WORDS, KEYS),
    ) {
        let (whole, pieces) = told("codex", &spoilt, stream);
        prop_assert_eq!(whole, pieces);
    }
}
