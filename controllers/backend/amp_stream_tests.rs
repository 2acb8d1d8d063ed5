//! Plays scripts in the published shape: no recording of the real program is at hand.

use proptest::prelude::*;

use super::*;
use crate::backend::replay::{cases, exited, replay, replay_pieces, snapshot, story, usage, verdict};

#[test]
fn every_script_tells_its_story_and_ends_as_it_should() {
    let mut stories = Vec::new();
    let mut endings = Vec::new();
    for case in cases("amp") {
        let (step, finished) = replay(AmpStream::default(), &case.stdout, &case.exit);
        let ending = match &finished.outcome {
            Outcome::Failed { reason, retry, .. } => format!("{reason} {retry:?}"),
            _ => verdict(&finished),
        };
        endings.push((case.name.clone(), ending));
        stories.push((case.name, story(&step, &finished)));
    }
    snapshot("amp", &stories);
    let expected = [
        ("connection_refused", "ConnectionFailed Outage"),
        ("credits", "BillingError Credential"),
        ("killed", "BackendExited Transient"),
        ("limit", "throttled until ?: 429 Too Many Requests: rate limit exceeded"),
        ("max_turns", "MaxTurns NotRetryable"),
        ("no_key", "AuthenticationFailed Credential"),
        ("published_example", "ok 2 + 2 equals 4."),
        ("stopped", "interrupted: it was stopped"),
        ("tools", "ok All is well."),
        ("unknown_option", "InvalidArguments Fatal"),
    ];
    let expected = expected.map(|(name, ending)| (name.to_owned(), ending.to_owned()));
    assert_eq!(endings, expected);
}

#[test]
fn each_message_is_counted_once_in_four_kinds() {
    let case = |name: &str| cases("amp").into_iter().find(|case| case.name == name).unwrap();
    let counted = |name: &str| usage(&replay(AmpStream::default(), &case(name).stdout, &exited(0)).0);
    // 12783 input tokens are 367 written and 12416 read.
    assert_eq!(counted("published_example"), (totals(0, 8, 12416, 367), None));
    // 100 and 10 beside the caches, one of the messages twice, one of a sub-agent.
    assert_eq!(counted("tools"), (totals(115, 27, 950, 50), None));
}

#[test]
fn a_run_that_waits_for_a_sign_in_is_over() {
    let (mut stream, mut step) = (AmpStream::default(), Step::default());
    assert!(!stream.is_idle());
    stream.line(Line::Whole(b"No API key found. Starting login flow...".to_vec()), &mut step);
    assert!(stream.is_idle() && stream.linger().is_zero());
}

#[test]
fn large_and_broken_lines_are_taken() {
    let text = "x".repeat(1 << 20);
    let big = json!({"type": "assistant", "message": {"content": [{"type": "text", "text": text}]}});
    let lines = [b"\xff\xfe\n{\"type\":\n[1]\nnull\n\n".to_vec(), big.to_string().into_bytes()].concat();
    let (step, finished) = replay(AmpStream::default(), &lines, &exited(1));
    assert!(step.events.contains(&BackendEvent::Record(Entry::Text { text })));
    assert!(verdict(&finished).starts_with("BackendExited"), "{}", verdict(&finished));
}

fn noise() -> impl Strategy<Value = Value> {
    let word = prop_oneof![
        Just("system"),
        Just("init"),
        Just("assistant"),
        Just("user"),
        Just("result"),
        Just("tool_use"),
        Just("tool_result"),
        Just("text"),
        Just("thinking"),
        Just("x"),
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        word.prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 5, |inner| {
        let key = prop_oneof![
            Just("type"),
            Just("subtype"),
            Just("message"),
            Just("content"),
            Just("usage"),
            Just("id"),
            Just("text"),
            Just("input_tokens"),
            Just("cache_read_input_tokens"),
            Just("num_turns"),
            Just("is_error"),
            Just("result"),
        ];
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::vec((key, inner), 0..6).prop_map(|fields| fields
                .into_iter()
                .map(|(key, value)| (key.to_owned(), value))
                .collect::<Value>()),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_cut_and_any_noise_give_the_same_records_however_the_bytes_come(
        which in any::<prop::sample::Index>(),
        noise in proptest::collection::vec((any::<prop::sample::Index>(), noise()), 0..4),
        cut in any::<prop::sample::Index>(),
        sizes in proptest::collection::vec(1..600_usize, 1..6),
    ) {
        let mut cases = cases("amp");
        let case = cases.swap_remove(which.index(cases.len()));
        let mut lines: Vec<String> = String::from_utf8(case.stdout.clone()).unwrap().lines().map(str::to_owned).collect();
        for (at, value) in &noise {
            lines.insert(at.index(lines.len() + 1), value.to_string());
        }
        let mut bytes = lines.join("\n").into_bytes();
        bytes.truncate(cut.index(bytes.len() + 1));
        let (whole, ended) = replay(AmpStream::default(), &bytes, &case.exit);
        let (pieces, again) = replay_pieces(AmpStream::default(), &bytes, &sizes, &case.exit);
        prop_assert_eq!(story(&whole, &ended), story(&pieces, &again));
    }
}
