//! Replays what the real CLI wrote, case by case, and lines that nobody should write.

use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;

use gcluster_types::kinds::agent::TokenTotals;
use k8s_openapi::jiff::Timestamp;
use proptest::prelude::*;

use super::*;
use crate::backend::RetryClass;
use crate::backend::recorded::Recorded;

fn recordings() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/data/backend/claude")
}

fn replay(lines: &[u8], exit: &Exit) -> (Vec<BackendEvent>, Finished) {
    let (mut stream, _) = ClaudeStream::begin("Do it");
    replay_into(&mut stream, lines, exit)
}

fn replay_into(stream: &mut ClaudeStream, lines: &[u8], exit: &Exit) -> (Vec<BackendEvent>, Finished) {
    let mut step = Step::default();
    for line in lines.split(|byte| *byte == b'\n') {
        stream.line(Line::Whole(line.to_vec()), &mut step);
    }
    let finished = stream.finish(exit, &mut step);
    (step.events, finished)
}

fn exited(code: i32) -> Exit {
    // A negative code is the signal, as in the index of the recordings.
    let status = if code < 0 { ExitStatus::from_raw(-code) } else { ExitStatus::from_raw(code << 8) };
    Exit { status: Some(status), stderr: String::new(), stopped: false }
}

fn recorded(name: &str) -> (Vec<BackendEvent>, Finished) {
    let index: Value =
        serde_json::from_slice(&std::fs::read(recordings().join("index.json")).unwrap()).unwrap();
    let mut exit = exited(i32::try_from(index[name]["exit_code"].as_i64().unwrap()).unwrap());
    exit.stderr = index[name]["stderr"].as_str().unwrap_or_default().trim().to_owned();
    let lines = std::fs::read(recordings().join(format!("{name}.ndjson"))).unwrap();
    replay(&lines, &exit)
}

/// How a case ended, in one word and the text that it carries.
fn verdict(finished: &Finished) -> String {
    match &finished.outcome {
        Outcome::Succeeded { output } => format!("ok {}", one_line(output, 40)),
        Outcome::Failed { reason, retry, .. } => format!("{reason} {retry:?}"),
        Outcome::Throttled { until, .. } => format!("throttled {until:?}"),
        Outcome::Interrupted { reason } => format!("interrupted: {reason}"),
    }
}

fn usage(events: &[BackendEvent]) -> (TokenTotals, Option<f64>) {
    let mut sum = (TokenTotals::default(), Some(0.0));
    for event in events {
        if let BackendEvent::Usage { tokens, cost_usd } = event {
            sum.0.add(tokens);
            sum.1 = sum.1.zip(*cost_usd).map(|(a, b)| a + b);
        }
    }
    sum
}

#[test]
fn every_recorded_case_ends_as_it_did() {
    const ENDINGS: &[(&str, &str)] = &[
        ("text", "ok Hello there"),
        ("text_partial", "ok Hello world. Ünïcödé: 漢字 🙂"),
        ("thinking_partial", "ok Done thinking."),
        ("tool_bash", "ok It printed: hi err"),
        ("tool_bash_partial", "ok It worked."),
        ("tool_errors", "ok All failed."),
        ("tool_background", "ok Heard about it."),
        ("subagent_default_background", "ok Reply C."),
        ("subagent_foreground", "ok Main answer."),
        ("stop_max_tokens", "OutputLimit NotRetryable"),
        ("empty_text", "ok Visible now."),
        ("http_429_then_ok", "ok Recovered."),
        ("http_429_forever", "throttled None"),
        ("http_429_long_retry_after", "throttled None"),
        ("http_529_forever", "ServerOverloaded Outage"),
        ("http_529_fallback_model", "ok From the fallback model."),
        ("http_500_forever", "ServerError Outage"),
        ("http_400_invalid", "InvalidRequest NotRetryable"),
        ("http_400_prompt_too_long", "PromptTooLong NotRetryable"),
        ("http_400_credit", "BillingError Credential"),
        ("http_401_forever", "AuthenticationFailed Credential"),
        ("http_403", "AuthenticationFailed Credential"),
        ("http_404_model", "ModelNotFound Fatal"),
        ("http_413", "RequestTooLarge NotRetryable"),
        ("no_api_key", "AuthenticationFailed Credential"),
        ("connection_refused", "ConnectionFailed Outage"),
        ("cut_forever", "ConnectionFailed Outage"),
        ("cut_then_ok", "ok Recovered."),
        ("max_turns", "MaxTurns NotRetryable"),
        ("max_budget", "BudgetExhausted NotRetryable"),
        ("json_schema_ok", "ok {\"n\":5}"),
        ("stdin_steer_during_tool_now", "ok Answer two."),
        ("sigint_during_tool", "interrupted: the turn was interrupted"),
        ("sigint_during_stream", "interrupted: the turn was interrupted"),
        ("sigterm_during_tool", "BackendExited Transient"),
        ("sigkill_during_stream", "BackendExited Transient"),
        ("resume_unknown", "SessionNotFound NotRetryable"),
        ("session_id_in_use", "BackendExited Transient"),
    ];
    for (name, ending) in ENDINGS {
        assert_eq!(verdict(&recorded(name).1), *ending, "{name}");
    }
}

#[test]
fn no_recording_holds_anything_unknown_and_each_counts_what_the_cli_counted() {
    let mut seen = 0;
    for entry in std::fs::read_dir(recordings()).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "ndjson") {
            continue;
        }
        seen += 1;
        let name = path.file_stem().unwrap().to_str().unwrap();
        let (events, finished) = recorded(name);
        for event in &events {
            if let BackendEvent::Record(Entry::Notice { text }) = event {
                assert!(!text.contains("does not know") && !text.contains("no JSON"), "{name}: {text}");
            }
        }
        let text = std::fs::read_to_string(&path).unwrap();
        let results: Vec<Value> = text
            .split('\n')
            .filter_map(|line| serde_json::from_str::<Value>(line).ok())
            .filter(|event| event["type"] == "result")
            .collect();
        // Of a resumed session the total holds what was used before it.
        if let Some(last) = results.last().filter(|_| !name.starts_with("resume")) {
            let total = last["total_cost_usd"].as_f64().unwrap();
            let (tokens, cost) = usage(&events);
            assert!((cost.unwrap() - total).abs() < 1e-9, "{name}: {cost:?} is not {total}");
            let models = last["modelUsage"].as_object().unwrap();
            let sum = |key: &str| -> i64 { models.values().map(|m| m[key].as_i64().unwrap()).sum() };
            let counted = [tokens.input, tokens.output, tokens.cache_read, tokens.cache_creation];
            let said = ["inputTokens", "outputTokens", "cacheReadInputTokens", "cacheCreationInputTokens"];
            assert_eq!(counted, said.map(sum), "{name}");
            // An older CLI gives the running totals alone.
            let without = |line: &str| {
                let mut event = serde_json::from_str::<Value>(line).ok()?;
                event.as_object_mut()?.remove("model_usage_since_last_result");
                Some(event.to_string())
            };
            let old: Vec<String> =
                text.lines().map(|line| without(line).unwrap_or(line.to_owned())).collect();
            let (again, cost_again) = usage(&replay(old.join("\n").as_bytes(), &exited(0)).0);
            assert_eq!(again, tokens, "{name}, from running totals");
            assert!((cost_again.unwrap() - total).abs() < 1e-9, "{name}, from running totals");
        }
        let tools: HashSet<&str> = events
            .iter()
            .filter_map(|event| match event {
                BackendEvent::Record(Entry::ToolUse { id, .. }) => Some(id.as_str()),
                _ => None,
            })
            .collect();
        assert_eq!(tools.len() as i64, finished.tool_uses, "{name}");
    }
    assert_eq!(seen, 66);
}

#[test]
fn a_resumed_run_counts_its_own_part_alone() {
    let (events, _) = recorded("resume_second");
    let (tokens, cost) = usage(&events);
    assert_eq!((tokens.input, tokens.output), (10, 5));
    assert!((cost.unwrap() - 0.000_105).abs() < 1e-12);
}

#[test]
fn a_killed_run_is_estimated_from_its_stream() {
    let (events, _) = recorded("sigkill_during_stream");
    let (tokens, cost) = usage(&events);
    assert_eq!((tokens.input, cost), (10, None));
}

#[test]
fn a_conversation_becomes_a_transcript() {
    let (events, finished) = recorded("tool_write_read_edit");
    let mut lines: Vec<String> = events
        .iter()
        .filter_map(|event| match event {
            BackendEvent::Record(Entry::Text { text }) => Some(format!("text: {}", one_line(text, 60))),
            BackendEvent::Record(Entry::ToolUse { name, detail, .. }) => Some(format!("{name}: {detail}")),
            BackendEvent::Record(Entry::ToolResult { is_error, .. }) => {
                Some(format!("answer, error: {is_error}"))
            }
            BackendEvent::Record(other) => Some(format!("{other:?}")),
            _ => None,
        })
        .collect();
    lines.push(format!("turns {} tools {} model {:?}", finished.turns, finished.tool_uses, finished.model));
    let expected = [
        "Write: <CWD>/note.txt",
        "answer, error: false",
        "Read: <CWD>/note.txt",
        "answer, error: false",
        "Edit: <CWD>/note.txt",
        "answer, error: false",
        "text: Edited.",
        "turns 4 tools 3 model Some(\"claude-sonnet-4-5\")",
    ];
    assert_eq!(lines, expected);
}

#[test]
fn a_steering_message_is_recorded_when_it_is_delivered_and_the_run_goes_on_until_then() {
    let (mut stream, _) = ClaudeStream::begin("First prompt");
    let id = "aaaa0000-0000-4000-8000-000000000001";
    let message = SteerMessage {
        id: id.into(),
        name: Some("m-1".into()),
        from: Some("ann".into()),
        text: "Steering message".into(),
        interrupt: false,
    };
    assert!(stream.steer(&message).unwrap().contains("Message from ann:\\n\\nSteering message"));
    let lines = std::fs::read(recordings().join("stdin_steer_during_tool.ndjson")).unwrap();
    let (events, finished) = replay_into(&mut stream, &lines, &exited(0));
    let told: Vec<&BackendEvent> = events
        .iter()
        .filter(|event| {
            matches!(event, BackendEvent::Steered { .. } | BackendEvent::Record(Entry::Message { .. }))
        })
        .collect();
    let steered = |state| BackendEvent::Steered { id: id.into(), state };
    let record = message.record();
    assert_eq!(
        told,
        [
            &steered(SteerState::Queued),
            &BackendEvent::Record(record),
            &steered(SteerState::Delivered),
            &steered(SteerState::Completed)
        ]
    );
    assert_eq!(verdict(&finished), "ok Answer two.");
    assert!(stream.is_idle());
}

#[test]
fn an_interruption_ends_the_turn_and_its_message_begins_the_next() {
    for recording in ["stdin_interrupt_during_tool.ndjson", "stdin_interrupt_during_stream.ndjson"] {
        let text = std::fs::read_to_string(recordings().join(recording)).unwrap();
        let echo = text.lines().find(|line| line.contains("\"Next prompt\"")).unwrap();
        let id = serde_json::from_str::<Value>(echo).unwrap()["uuid"].as_str().unwrap().to_owned();
        let message = SteerMessage {
            id: id.clone(),
            text: "Next prompt".into(),
            interrupt: true,
            ..Default::default()
        };
        let (mut stream, _) = ClaudeStream::begin("First prompt");
        let (mut sent, mut told, mut asked) = (Vec::new(), Vec::new(), None);
        for (number, line) in text.lines().enumerate() {
            if asked.is_none() && line.contains("control_response") {
                asked = stream.steer(&message);
            }
            let mut step = Step::default();
            stream.line(Line::Whole(line.as_bytes().to_vec()), &mut step);
            sent.extend(step.input.into_iter().map(|input| (number, input)));
            told.extend(step.events);
            assert!(
                !stream.is_idle()
                    || sent.len() == 1 && told.contains(&BackendEvent::Record(message.clone().record()))
            );
        }
        assert!(asked.unwrap().contains("\"interrupt\""));
        let result = text.lines().position(|line| line.contains("error_during_execution")).unwrap();
        assert_eq!(sent.len(), 1, "{sent:?}");
        assert!(sent[0].0 == result && sent[0].1.contains(&id), "sent behind the result: {sent:?}");
        assert!(told.contains(&BackendEvent::Steered { id, state: SteerState::Delivered }));
        assert_eq!(verdict(&stream.finish(&exited(0), &mut Step::default())), "ok Answer two.");
    }
    let (mut stream, _) = ClaudeStream::begin("x");
    stream.line(
        Line::Whole(br#"{"type":"result","subtype":"success","result":"y"}"#.to_vec()),
        &mut Step::default(),
    );
    let late = SteerMessage { id: "1".into(), text: "late".into(), interrupt: true, ..Default::default() };
    assert!(stream.steer(&late).unwrap().contains("late"), "no turn runs: there is nothing to interrupt");
}

#[test]
fn the_run_is_idle_after_its_last_result_only() {
    let lines = std::fs::read(recordings().join("tool_background.ndjson")).unwrap();
    let (mut stream, _) = ClaudeStream::begin("x");
    let mut idle_after = Vec::new();
    for line in lines.split(|byte| *byte == b'\n') {
        let mut step = Step::default();
        stream.line(Line::Whole(line.to_vec()), &mut step);
        if serde_json::from_slice::<Value>(line).is_ok_and(|event| event["type"] == "result") {
            idle_after.push(stream.is_idle());
        }
    }
    assert_eq!(idle_after, [false, true], "a background task is open after the first result");
}

#[test]
fn a_usage_limit_is_lifted_when_the_event_says_so() {
    let lines = br#"{"type":"rate_limit_event","rate_limit_info":{"status":"allowed","resetsAt":1767000000}}
{"type":"rate_limit_event","rate_limit_info":{"status":"rejected","resetsAt":1767323045}}
{"type":"assistant","message":{"model":"<synthetic>","content":[{"type":"text","text":"You've hit your limit"}]},"error":"rate_limit"}
{"type":"result","subtype":"success","is_error":true,"result":"You've hit your limit","api_error_status":429}"#;
    let (_, finished) = replay(lines, &exited(1));
    let until = Some(Timestamp::from_second(1_767_323_045).unwrap());
    assert_eq!(finished.outcome, Outcome::Throttled { until, message: "You've hit your limit".into() });
}

#[test]
fn what_is_unknown_or_broken_is_told_once_and_skipped() {
    let mut lines =
        b"not json\n[1]\n{\"type\":\"hologram\"}\n{\"type\":\"hologram\"}\n\r\n\xff\xfe\n".to_vec();
    lines.extend_from_slice(&std::fs::read(recordings().join("text.ndjson")).unwrap());
    let (events, finished) = replay(&lines, &exited(0));
    let notices = events.iter().filter(|e| matches!(e, BackendEvent::Record(Entry::Notice { .. }))).count();
    assert_eq!((notices, verdict(&finished).as_str()), (5, "ok Hello there"));
}

#[test]
fn a_question_to_a_person_is_denied_instead_of_waiting_for_ever() {
    let (mut stream, _) = ClaudeStream::begin("x");
    let mut step = Step::default();
    let line = br#"{"type":"control_request","request_id":"7","request":{"subtype":"can_use_tool","tool_name":"Bash"}}"#;
    stream.line(Line::Whole(line.to_vec()), &mut step);
    let answer: Value = serde_json::from_str(&step.input[0]).unwrap();
    assert_eq!(answer["response"]["request_id"], "7");
    assert_eq!(answer["response"]["response"]["behavior"], "deny");
}

#[test]
fn a_prompt_never_begins_as_a_command_of_the_cli() {
    for prompt in ["/compact", "  /clear"] {
        assert_eq!(guarded(prompt), format!("Your task:\n{prompt}"));
    }
    assert_eq!(guarded("Fix a/b"), "Fix a/b");
    let (_, line) = ClaudeStream::begin("two\nlines");
    assert!(!line.contains('\n'), "one line on stdin: {line}");
}

#[test]
fn a_run_that_refuses_its_arguments_is_a_configuration_error() {
    let mut exit = exited(1);
    exit.stderr = "error: unknown option '--nonsense'".into();
    let (_, finished) = replay(b"", &exit);
    let Outcome::Failed { error, retry, .. } = finished.outcome else { panic!("{finished:?}") };
    assert!(error.contains("unknown option") && error.contains("exit status: 1"), "{error}");
    assert_eq!(retry, RetryClass::Fatal);
}

proptest! {
    #[test]
    fn no_line_makes_it_fail(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        replay(&bytes, &exited(0));
    }

    #[test]
    fn no_recording_that_is_cut_anywhere_makes_it_fail(cut in 0_usize..14_000) {
        let lines = std::fs::read(recordings().join("stdin_steer_during_tool_now.ndjson")).unwrap();
        replay(&lines[..cut.min(lines.len())], &exited(-9));
    }
}

fn entries(events: Vec<BackendEvent>) -> Vec<Entry> {
    let entries = events.into_iter().filter_map(|event| match event {
        BackendEvent::Record(entry) => Some(entry),
        BackendEvent::Usage { tokens, cost_usd } => Some(Entry::Usage { tokens, cost_usd }),
        _ => None,
    });
    entries.collect()
}

#[test]
fn a_later_master_reads_the_rest_of_every_recorded_case_wherever_the_first_one_was_killed() {
    let mut cuts = 0;
    for file in std::fs::read_dir(recordings()).unwrap() {
        let path = file.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "ndjson") {
            continue;
        }
        let lines = std::fs::read(&path).unwrap();
        let (events, first) = replay(&lines, &exited(0));
        let whole = entries(events);
        let again = || replay_into(&mut ClaudeStream::resume(Vec::new()), &lines, &exited(0));
        assert_eq!(again().1, first, "{}: another end", path.display());
        let produced = entries(again().0);
        for cut in 0..=whole.len() {
            // As it was read back: through JSON.
            let text = serde_json::to_string(&whole[..cut]).unwrap();
            let mut recorded = Recorded::new(serde_json::from_str::<Vec<Entry>>(&text).unwrap());
            let rest: Vec<_> = produced.iter().filter(|entry| !recorded.takes(entry)).collect();
            assert_eq!(rest, whole[cut..].iter().collect::<Vec<_>>(), "{} at {cut}", path.display());
            cuts += 1;
        }
    }
    assert!(cuts > 100, "{cuts}");
}
