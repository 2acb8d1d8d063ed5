//! Outputs that are cut off, hold lines that mean nothing, and come in pieces of any size.

use proptest::prelude::*;
use proptest::sample::Index;
use serde_json::Value;

use super::drive::Dialect;
use super::replay::{Case, cases, replay, replay_pieces, story};

/// What is done to a recording.
#[derive(Debug, Clone)]
pub(super) struct Spoilt {
    which: Index,
    noise: Vec<(Index, Value)>,
    cut: Index,
    sizes: Vec<usize>,
}

/// Any way of spoiling a recording, with noise made of the words and keys that a dialect knows.
pub(super) fn spoilt(
    words: &'static [&'static str],
    keys: &'static [&'static str],
) -> impl Strategy<Value = Spoilt> {
    let noise = proptest::collection::vec((any::<Index>(), noise(words, keys)), 0..4);
    let sizes = proptest::collection::vec(1..600_usize, 1..6);
    (any::<Index>(), noise, any::<Index>(), sizes).prop_map(|(which, noise, cut, sizes)| Spoilt {
        which,
        noise,
        cut,
        sizes,
    })
}

fn noise(words: &'static [&'static str], keys: &'static [&'static str]) -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (0..6_i64).prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        proptest::sample::select(words).prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 5, move |inner| {
        let key = proptest::sample::select(keys).prop_map(str::to_owned);
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::vec((key, inner), 0..6)
                .prop_map(|fields| fields.into_iter().collect::<Value>()),
        ]
    })
}

/// What a dialect tells of a spoilt recording of its program: read as a whole, and in pieces.
pub(super) fn told<D: Dialect>(
    program: &str,
    spoilt: &Spoilt,
    dialect: impl Fn(&Case) -> D,
) -> (String, String) {
    let mut cases = cases(program);
    let case = cases.swap_remove(spoilt.which.index(cases.len()));
    let mut lines: Vec<String> =
        String::from_utf8(case.stdout.clone()).unwrap().lines().map(str::to_owned).collect();
    for (at, value) in &spoilt.noise {
        lines.insert(at.index(lines.len() + 1), value.to_string());
    }
    let mut bytes = lines.join("\n").into_bytes();
    bytes.truncate(spoilt.cut.index(bytes.len() + 1));
    let (whole, ended) = replay(dialect(&case), &bytes, &case.exit);
    let (pieces, again) = replay_pieces(dialect(&case), &bytes, &spoilt.sizes, &case.exit);
    (story(&whole, &ended), story(&pieces, &again))
}
