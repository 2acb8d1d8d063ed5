//! Replays what a real agent (codex-acp 0.16.0 at a loopback model server) and scripted stand-ins wrote.

use proptest::prelude::*;

use super::*;
use crate::backend::noise::{spoilt, told};
use crate::backend::recorded::Recorded;
use crate::backend::replay::{Case, cases, exited, replay, snapshot, story, usage, verdict};
use gcluster_types::transcript::Entry;

fn wishes(case: &Case) -> Wishes {
    Wishes {
        directory: "/home/dev/project".into(),
        prompt: "Do it".into(),
        model: case.model.clone(),
        permission_mode: case.args.first().cloned(),
    }
}

fn stream(case: &Case) -> AcpStream {
    AcpStream::begin(wishes(case), TimeZone::UTC).0
}

fn case(name: &str) -> Case {
    cases("acp").into_iter().find(|case| case.name == name).unwrap()
}

#[test]
fn every_recording_tells_its_story_with_what_the_agent_is_answered() {
    let mut stories = Vec::new();
    for case in cases("acp") {
        let (step, finished) = replay(stream(&case), &case.stdout, &case.exit);
        let story = story(&step, &finished);
        assert!(case.name.starts_with("scripted") || !story.contains("does not know"), "{story}");
        stories.push((case.name, story));
    }
    snapshot("acp", &stories);
}

#[test]
fn every_recording_ends_as_it_did() {
    let endings = [
        ("codex_acp_401", "AuthenticationFailed Credential: "),
        ("codex_acp_cancel", "interrupted: the turn was interrupted"),
        ("codex_acp_permission", "ok "),
        ("codex_acp_text", "ok "),
        ("codex_acp_tool", "ok It worked."),
        ("codex_acp_usage_limit", "throttled until 2033-05-18T03:34:00Z: "),
        (
            "scripted_auth_required",
            "AuthenticationFailed Credential: Authentication required; sign in with the agent",
        ),
        ("scripted_echo_of_cat", "ProtocolMismatch Fatal: "),
        ("scripted_everything", "ok Done."),
        ("scripted_killed", "BackendExited Transient: the agent ended with"),
        ("scripted_max_tokens", "OutputLimit NotRetryable: "),
        ("scripted_mode_not_offered", "InvalidPermissionMode Fatal: "),
        ("scripted_model_not_offered", "ModelNotFound Fatal: "),
        ("scripted_no_program", "InvalidArguments Fatal: "),
        ("scripted_other_version", "ProtocolMismatch Fatal: "),
        ("scripted_refusal", "Refused NotRetryable: the agent refused to go on: No."),
    ];
    let all = cases("acp");
    assert_eq!(all.iter().map(|case| case.name.as_str()).collect::<Vec<_>>(), endings.map(|(name, _)| name));
    for (case, (name, ending)) in all.iter().zip(endings) {
        let verdict = verdict(&replay(stream(case), &case.stdout, &case.exit).1);
        assert!(verdict.starts_with(ending), "{name}: {verdict}");
    }
}

#[test]
fn tokens_and_cost_are_counted_once() {
    let case = case("scripted_everything");
    let (counted, cost) = usage(&replay(stream(&case), &case.stdout, &case.exit).0);
    assert_eq!((counted.input, counted.cache_read, counted.cache_creation, counted.output), (15, 50, 5, 30));
    assert_eq!((counted.total, cost), (100, Some(0.25)));
}

/// Lines of an agent, after those that begin a session.
fn begun() -> (AcpStream, Step) {
    let (mut stream, first) = AcpStream::begin(Wishes::default(), TimeZone::UTC);
    assert!(first.contains("\"initialize\""), "{first}");
    let mut step = Step::default();
    feed(&mut stream, &json!({"id": 0, "result": {"protocolVersion": 1}}), &mut step);
    feed(&mut stream, &json!({"id": 1, "result": {"sessionId": "s"}}), &mut step);
    assert!(step.input.last().unwrap().contains("session/prompt"), "{:?}", step.input);
    (stream, Step::default())
}

fn feed(stream: &mut AcpStream, message: &Value, step: &mut Step) {
    stream.line(Line::Whole(message.to_string().into_bytes()), step);
}

fn says(text: &str) -> Value {
    let content = json!({"type": "text", "text": text});
    let update = json!({"sessionUpdate": "agent_message_chunk", "content": content});
    json!({"method": "session/update", "params": {"sessionId": "s", "update": update}})
}

fn guidance(id: &str, interrupt: bool) -> SteerMessage {
    SteerMessage { id: id.into(), text: format!("text of {id}"), interrupt, ..SteerMessage::default() }
}

#[test]
fn messages_wait_for_the_end_of_the_turn_and_are_one_prompt_in_order() {
    let (mut stream, mut step) = begun();
    assert!(stream.holds(&guidance("m1", false)) && stream.holds(&guidance("m2", false)));
    feed(&mut stream, &says("First."), &mut step);
    assert_eq!(step.events, [BackendEvent::Activity], "nothing is told of them before they go out");
    feed(&mut stream, &json!({"id": 4, "result": {"stopReason": "end_turn"}}), &mut step);
    let sent: Value = serde_json::from_str(&step.input[0]).unwrap();
    assert_eq!((&sent["id"], &sent["method"]), (&json!("message:m1,m2"), &json!("session/prompt")));
    assert_eq!(sent["params"]["prompt"][1]["text"], "text of m2");
    let queued = |id: &str| BackendEvent::Steered { id: id.into(), state: SteerState::Queued };
    assert!(step.events.ends_with(&[queued("m1"), queued("m2")]), "{:?}", step.events);
    assert!(!stream.is_idle());

    let mut step = Step::default();
    feed(&mut stream, &says("Second."), &mut step);
    let told = |id: &str| {
        let message = guidance(id, false);
        let state = SteerState::Delivered;
        [BackendEvent::Record(message.record()), BackendEvent::Steered { id: id.into(), state }]
    };
    assert_eq!(step.events[..4], [told("m1"), told("m2")].concat(), "the agent reacts: it was given them");
    feed(&mut stream, &json!({"id": "message:m1,m2", "result": {"stopReason": "end_turn"}}), &mut step);
    assert!(stream.is_idle());
    let finished = stream.finish(&exited(143), &mut step);
    assert_eq!((verdict(&finished).as_str(), finished.turns), ("ok Second.", 2));
}

#[test]
fn an_interruption_cancels_the_turn_and_goes_on_with_the_text() {
    let (mut stream, mut step) = begun();
    let message = guidance("m", true);
    assert!(!stream.holds(&message));
    let line = stream.steer(&message).unwrap();
    assert!(line.contains("session/cancel") && line.contains("\"s\""), "{line}");
    assert!(stream.holds(&guidance("n", true)), "the turn is being ended already");
    let options = json!([{"optionId": "y", "name": "Yes", "kind": "allow_once"}]);
    let params = json!({"toolCall": {"title": "x"}, "options": options});
    feed(&mut stream, &json!({"id": 9, "method": "session/request_permission", "params": params}), &mut step);
    let answer: Value = serde_json::from_str(&step.input[0]).unwrap();
    assert_eq!(
        answer["result"]["outcome"]["outcome"], "cancelled",
        "as the protocol asks of a cancelled turn"
    );
    feed(&mut stream, &json!({"id": 4, "result": {"stopReason": "cancelled"}}), &mut step);
    assert!(step.input[1].contains("message:m,n"), "{:?}", step.input);
    feed(&mut stream, &says("Yes."), &mut step);
    feed(&mut stream, &json!({"id": "message:m,n", "result": {"stopReason": "end_turn"}}), &mut step);
    assert_eq!(verdict(&stream.finish(&exited(143), &mut step)), "ok Yes.");
}

#[test]
fn a_message_reaches_a_run_that_is_about_to_end_and_none_that_failed() {
    let (mut stream, mut step) = begun();
    feed(&mut stream, &json!({"id": 4, "result": {"stopReason": "end_turn"}}), &mut step);
    assert!(stream.is_idle() && !stream.holds(&guidance("m", false)));
    assert!(stream.steer(&guidance("m", false)).unwrap().contains("message:m"));
    assert!(!stream.is_idle(), "a turn has begun");

    let (mut stream, _) = AcpStream::begin(Wishes::default(), TimeZone::UTC);
    assert!(stream.holds(&guidance("m", false)), "it waits for the session");
    feed(&mut stream, &json!({"id": 0, "error": {"code": -32603, "message": "no"}}), &mut step);
    assert!(stream.is_idle() && !stream.holds(&guidance("n", false)));
    assert_eq!(stream.steer(&guidance("n", false)), None);
}

#[test]
fn a_stop_cancels_and_is_an_interruption() {
    let (mut stream, mut step) = begun();
    assert!(stream.interrupt().unwrap().contains("session/cancel"));
    let stopped = Exit { stopped: true, ..exited(143) };
    assert_eq!(verdict(&stream.finish(&stopped, &mut step)), "interrupted: it was stopped");
    let (mut fresh, _) = AcpStream::begin(Wishes::default(), TimeZone::UTC);
    assert_eq!(fresh.interrupt(), None, "there is no turn to end");
}

#[test]
fn permission_is_refused_where_the_mode_says_so() {
    let mut case = case("scripted_everything");
    case.args = vec!["reject".into()];
    let (step, _) = replay(stream(&case), &case.stdout, &case.exit);
    let answers: Vec<&String> = step.input.iter().filter(|line| line.contains("optionId")).collect();
    assert_eq!(answers.len(), 1);
    assert!(answers[0].contains("\"optionId\":\"n\""), "{answers:?}");
}

#[test]
fn large_and_broken_lines_are_taken() {
    let (mut stream, mut step) = begun();
    let text = "x".repeat(1 << 20);
    for line in [&b"\xff\xfe"[..], b"{\"id\":", b"[1]", b"null", b"", says(&text).to_string().as_bytes()] {
        stream.line(Line::Whole(line.to_vec()), &mut step);
    }
    let finished = stream.finish(&exited(1), &mut step);
    assert!(step.events.contains(&BackendEvent::Record(Entry::Text { text })));
    assert!(verdict(&finished).starts_with("BackendExited"), "{}", verdict(&finished));
}

/// What noise is made of.
const WORDS: &[&str] = &[
    "session/update",
    "session/request_permission",
    "fs/read_text_file",
    "plan",
    "tool_call",
    "agent_message_chunk",
    "end_turn",
    "s1",
    "message:a",
    "x",
];
const KEYS: &[&str] = &[
    "id",
    "method",
    "params",
    "result",
    "error",
    "update",
    "usage",
    "sessionUpdate",
    "content",
    "toolCallId",
    "status",
    "options",
    "entries",
    "stopReason",
    "inputTokens",
    "totalTokens",
    "sessionId",
];

fn entries(step: &Step) -> Vec<Entry> {
    let entries = step.events.iter().filter_map(|event| match event {
        BackendEvent::Record(entry) => Some(entry.clone()),
        BackendEvent::Usage { tokens, cost_usd } => {
            Some(Entry::Usage { tokens: tokens.clone(), cost_usd: *cost_usd })
        }
        _ => None,
    });
    entries.collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_cut_and_any_noise_give_the_same_records_however_the_bytes_come(
        spoilt in spoilt(WORDS, KEYS),
    ) {
        let (whole, pieces) = told("acp", &spoilt, stream);
        prop_assert_eq!(whole, pieces);
    }

    #[test]
    fn a_later_master_reports_the_rest_and_sends_only_what_was_not_sent(
        which in any::<prop::sample::Index>(),
        // How much of the output the first one read, and how many of the records it wrote.
        read in any::<prop::sample::Index>(),
        wrote in any::<prop::sample::Index>(),
    ) {
        let mut cases = cases("acp");
        let case = cases.swap_remove(which.index(cases.len()));
        let lines: Vec<&[u8]> = case.stdout.split(|byte| *byte == b'\n').collect();
        let read = read.index(lines.len() + 1);
        let (mut first, begin) = AcpStream::begin(wishes(&case), TimeZone::UTC);
        let mut step = Step::default();
        for line in &lines[..read] {
            first.line(Line::Whole(line.to_vec()), &mut step);
        }
        let mut sent = vec![begin];
        sent.append(&mut step.input.clone());
        let record = Sent::of(&sent.iter().map(|line| format!("{line}\n")).collect::<String>());
        // A run whose prompt was not sent is not taken over.
        prop_assume!(record.has_prompt());
        let (whole, ended) = replay(stream(&case), &case.stdout, &case.exit);
        let on_record = entries(&step);
        let on_record = &on_record[..wrote.index(on_record.len() + 1)];

        let later = AcpStream::resume(record, Vec::new(), TimeZone::UTC);
        let (again, ended_again) = replay(later, &case.stdout, &case.exit);
        let mut recorded = Recorded::new(on_record.iter().cloned());
        let new: Vec<Entry> = entries(&again).into_iter().filter(|entry| !recorded.takes(entry)).collect();
        prop_assert_eq!([on_record, &new[..]].concat(), entries(&whole));
        prop_assert_eq!(ended_again.outcome, ended.outcome);
        sent.extend(again.input);
        sent.remove(0);
        prop_assert_eq!(sent, whole.input, "each line was sent once");
    }
}
