//! Plays scripts in the published shape: no recording of the real program is at hand.

use proptest::prelude::*;

use super::*;
use crate::backend::noise::{spoilt, told};
use crate::backend::replay::{cases, exited, replay, snapshot, story, usage, verdict};

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

/// What noise is made of.
const WORDS: &[&str] =
    &["system", "init", "assistant", "user", "result", "tool_use", "tool_result", "text", "thinking", "x"];
const KEYS: &[&str] = &[
    "type",
    "subtype",
    "message",
    "content",
    "usage",
    "id",
    "text",
    "input_tokens",
    "cache_read_input_tokens",
    "num_turns",
    "is_error",
    "result",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_cut_and_any_noise_give_the_same_records_however_the_bytes_come(
        spoilt in spoilt(WORDS, KEYS),
    ) {
        let (whole, pieces) = told("amp", &spoilt, |_| AmpStream::default());
        prop_assert_eq!(whole, pieces);
    }
}
