//! What one iteration costs in requests to the API, so that it cannot creep up.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::tests::World;
use crate::testing::FakeApi;

/// What is asked for the whole of it, because a limit was raised and is reached in the end.
const ONCE: f64 = 5.0;

/// Requests while an agent goes on from `first` iterations to `then` more, by verb and resource.
async fn cost(more: Value, first: usize, then: usize) -> BTreeMap<String, usize> {
    let mut world = World::new(FakeApi::new());
    let agent = |world: &World, most: usize| {
        let mut spec =
            json!({"loopContext": "None", "iterationHistoryLimit": 2, "limits": {"maxIterations": most}});
        spec.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap_or_default());
        world.agent("a", "(step \"work\" (loop work))", &[("work", "work")], spec);
    };
    agent(&world, first);
    world.start();
    world.status("a", "the first ones", |s| s["iterations"]["total"] == first).await;
    let before = world.api.calls();
    agent(&world, first + then);
    world.status("a", "the others", |s| s["iterations"]["total"] == first + then).await;
    world.stop().await;
    let now = world.api.calls().into_iter();
    now.map(|(call, count)| (call.clone(), count - before.get(&call).copied().unwrap_or_default())).collect()
}

/// At most so many of each kind for an iteration, and none that is not named. On a machine that does much else what
/// belongs together is seen in several looks: of the agent's status there may be four writes then, not two.
fn assert_within(found: &BTreeMap<String, usize>, iterations: usize, allowed: &[(&str, f64)]) {
    for (call, count) in found {
        let each = allowed.iter().find(|(known, _)| known == call).map(|(_, each)| *each);
        let most = each.map_or(0.0, |each| each * iterations as f64 + ONCE);
        assert!(
            *count as f64 <= most,
            "{count} of {call} for {iterations} iterations, {most} allowed: {found:#?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_short_iteration_asks_little_of_the_api() {
    let found = cost(json!({}), 5, 40).await;
    assert_within(
        &found,
        40,
        &[
            ("POST iterations", 1.0),
            ("POST iterations/transcript", 2.0),
            ("PATCH iterations/status", 2.0),
            ("PATCH agents/status", 4.0),
            ("DELETE iterations", 1.2),
            ("GET agents", 0.5),
            ("POST events", 0.0),
            ("PATCH events", 0.0),
        ],
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_iteration_that_reports_for_seconds_asks_for_its_records_and_counters_alone() {
    // One second and a half: a record of the prompt, seven reports of which each may be a batch, and the end.
    let script = ["say a", "wait 300ms", "tool Bash ls", "wait 300ms", "result b", "wait 300ms"];
    let args = [&script[..], &["tool Bash ls", "wait 300ms", "result c", "wait 300ms", "output d"]].concat();
    let found = cost(json!({"backend": {"name": "rehearsal", "args": args}}), 1, 5).await;
    assert_within(
        &found,
        5,
        &[
            ("POST iterations", 1.0),
            ("POST iterations/transcript", 9.0),
            ("PATCH iterations/status", 4.0),
            ("PATCH agents/status", 4.0),
            ("DELETE iterations", 1.2),
            ("GET agents", 0.5),
            ("POST events", 0.0),
            ("PATCH events", 0.0),
        ],
    );
}
