//! Where a message goes: a pure function of what was seen.
//!
//! The order of arrival is the order of the resource versions of creation, which the API gives out one after
//! the other. A message that waits keeps its number in `status.arrival`, as its resource version changes.

use std::sync::Arc;

use gcluster_types::kinds::agent::{RunPolicy, RunState};
use gcluster_types::kinds::iteration::Phase;
use gcluster_types::kinds::message::Delivery;
use gcluster_types::{Agent, Iteration, Message};
use kube::ResourceExt;

use crate::executor::flow::phase;

/// What was seen of an agent that exists.
pub(super) struct Scene<'a> {
    pub(super) agent: &'a Agent,
    pub(super) iterations: &'a [Arc<Iteration>],
    pub(super) door: &'a dyn Fn(&Iteration) -> Option<State>,
}

/// Whether an iteration that runs in this process takes messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Starting,
    Closed,
    Open,
}

/// What to do about one message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Decision {
    /// Whoever it was handed to sees to it.
    Leave,
    /// The iteration that it was handed to is over: find out what became of it.
    Settle,
    /// To the iteration of this name, which takes messages.
    Hand(String),
    /// Nothing yet, for this reason.
    Wait(String),
    /// It came too late, for this reason.
    Expire(String),
}

/// Its place in the order of arrival.
pub(super) fn arrival(message: &Message) -> i64 {
    let recorded = message.status.as_ref().and_then(|status| status.arrival);
    let version = || message.resource_version().and_then(|version| version.parse().ok());
    recorded.or_else(version).unwrap_or(i64::MAX)
}

/// In the order of arrival.
pub(super) fn in_order(mut messages: Vec<Arc<Message>>) -> Vec<Arc<Message>> {
    messages.sort_by_cached_key(|message| (arrival(message), message.name_any()));
    messages
}

/// Whether it may stand in the prompt of an iteration that begins: it waits, and is meant for no other one.
pub(super) fn fits_prompt(message: &Message, iteration: &str) -> bool {
    let handed = message.status.as_ref().and_then(|status| status.iteration.as_deref());
    let meant = message.spec.iteration.as_deref();
    handed.is_none_or(|handed| handed == iteration) && meant.is_none_or(|meant| meant == iteration)
}

/// Decides. An iteration that `spec.iteration` names and that is not in the scene does not exist.
pub(super) fn decide(message: &Message, scene: &Scene<'_>) -> Decision {
    let named = |name: &str| scene.iterations.iter().find(|iteration| iteration.name_any() == name);
    if let Some(handed) = message.status.as_ref().and_then(|status| status.iteration.as_deref()) {
        let Some(iteration) = named(handed) else { return Decision::Settle };
        let over = phase(iteration).is_terminal() && (scene.door)(iteration).is_none();
        return if over { Decision::Settle } else { Decision::Leave };
    }
    let queue = message.spec.delivery == Delivery::Queue;
    if let Some(name) = &message.spec.iteration {
        return match named(name) {
            None => Decision::Expire(format!("the agent has no iteration {name}")),
            Some(iteration) => meant_for(iteration, queue, (scene.door)(iteration)),
        };
    }
    let mut running: Vec<_> = scene
        .iterations
        .iter()
        .filter(|iteration| !phase(iteration).is_terminal())
        .filter_map(|iteration| Some((iteration, (scene.door)(iteration)?)))
        .collect();
    running.sort_by_key(|(iteration, _)| (iteration.spec.number, iteration.spec.item, iteration.name_any()));
    let open = running.iter().find(|(_, state)| *state == State::Open);
    if let (false, Some((iteration, _))) = (queue, open) {
        return Decision::Hand(iteration.name_any());
    }
    if let Some((iteration, _)) = running.iter().find(|(_, state)| *state == State::Starting) {
        return Decision::Wait(format!("{} is about to begin", iteration.name_any()));
    }
    let next = "it goes in front of the next prompt";
    Decision::Wait(match running.first() {
        Some((iteration, State::Closed)) if !queue => {
            let backend = iteration.status.as_ref().and_then(|status| status.backend.clone());
            let backend = backend.unwrap_or_else(|| "the backend".to_owned());
            format!("queued: {backend} takes no messages while it works; {next}")
        }
        Some(_) => format!("queued: {next}"),
        None => resting(scene.agent, queue, next),
    })
}

fn meant_for(iteration: &Iteration, queue: bool, door: Option<State>) -> Decision {
    let name = iteration.name_any();
    let phase = phase(iteration);
    let begun = iteration.status.as_ref().is_some_and(|status| status.session_id.is_some());
    match door {
        _ if phase.is_terminal() => {
            Decision::Expire(format!("{name} had ended ({phase:?}) before the message could be delivered"))
        }
        Some(State::Open) if !queue => Decision::Hand(name),
        Some(State::Open) => Decision::Expire(format!(
            "{name} has its prompt already; send it without --queue to reach it now"
        )),
        Some(State::Closed) if phase == Phase::Running => Decision::Expire(format!(
            "{name} has its prompt already, and takes no messages: its backend cannot while it works, or it is about to end"
        )),
        None if begun => Decision::Wait(format!("{name} was begun by an earlier master")),
        _ => Decision::Wait(format!("it goes in front of the prompt of {name}")),
    }
}

/// Why nothing runs, and when it will.
fn resting(agent: &Agent, queue: bool, next: &str) -> String {
    let name = agent.name_any();
    let state = agent.status.as_ref().and_then(|status| status.run_state);
    match agent.spec.run {
        RunPolicy::Paused => format!("the agent is paused; {next}, after `gcluster start {name}`"),
        RunPolicy::Stopped => format!("the agent is stopped; {next}, after `gcluster start {name}`"),
        RunPolicy::Running if state == Some(RunState::Stopped) => {
            format!("the agent is at rest (see its condition Progressing); {next}")
        }
        RunPolicy::Running if queue => format!("queued: {next}"),
        RunPolicy::Running => format!("queued: nothing runs at the moment; {next}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gcluster_types::kinds::message::{MessageSpec, MessageStatus};
    use proptest::prelude::*;
    use serde_json::json;

    fn message(name: &str, version: &str, delivery: Delivery, iteration: Option<&str>) -> Message {
        let spec = MessageSpec {
            agent: "a".into(),
            text: "x".into(),
            delivery,
            iteration: iteration.map(str::to_owned),
            ..MessageSpec::default()
        };
        let mut message = Message::new(name, spec);
        message.metadata.resource_version = Some(version.into());
        message
    }

    fn iteration(number: i64, phase: &str) -> Arc<Iteration> {
        let session = if phase == "Pending" { json!(null) } else { json!("s") };
        Arc::new(
            serde_json::from_value(json!({
                "metadata": {"name": format!("a.work.{number}"), "namespace": "default"},
                "spec": {"agent": "a", "revision": "r", "step": "work", "kind": "Loop", "number": number},
                "status": {"phase": phase, "sessionID": session, "backend": "command"},
            }))
            .unwrap(),
        )
    }

    fn decided(message: &Message, run: RunPolicy, iterations: &[(i64, &str, Option<State>)]) -> Decision {
        let mut agent = Agent::new("a", Default::default());
        agent.spec.run = run;
        let all: Vec<_> = iterations.iter().map(|(number, phase, _)| iteration(*number, phase)).collect();
        let door = |i: &Iteration| iterations.iter().find(|(n, ..)| *n == i.spec.number)?.2;
        decide(message, &Scene { agent: &agent, iterations: &all, door: &door })
    }

    #[test]
    fn every_situation_has_its_way_and_its_words() {
        use Delivery::{Interrupt, Queue, Steer};
        use State::{Closed, Open, Starting};
        let going = RunPolicy::Running;
        let running = |state| vec![(0, "Succeeded", None), (1, "Running", Some(state))];
        let hand = |n: i64| format!("Hand(\"a.work.{n}\")");
        let cases: Vec<(Delivery, Option<&str>, RunPolicy, Vec<_>, String)> = vec![
            (Steer, None, going, running(Open), hand(1)),
            (Interrupt, None, going, running(Open), hand(1)),
            (Steer, None, RunPolicy::Paused, running(Open), hand(1)),
            (Steer, None, going, vec![(3, "Running", Some(Open)), (2, "Running", Some(Open))], hand(2)),
            (Steer, None, going, vec![(2, "Running", Some(Starting)), (3, "Running", Some(Open))], hand(3)),
            (Queue, None, going, running(Open), "queued: it goes in front of the next".into()),
            (Steer, None, going, running(Closed), "queued: command takes no messages while it works".into()),
            (Steer, None, going, vec![(0, "Pending", Some(Starting))], "a.work.0 is about to begin".into()),
            (Steer, None, going, vec![], "nothing runs at the moment".into()),
            (
                Queue,
                None,
                RunPolicy::Paused,
                vec![],
                "paused; it goes in front of the next prompt, after".into(),
            ),
            (Steer, None, RunPolicy::Stopped, vec![], "after `gcluster start a`".into()),
            (Steer, Some("a.work.1"), going, running(Open), hand(1)),
            (Steer, Some("a.work.0"), going, running(Open), "Expire(\"a.work.0 had ended (Succeeded)".into()),
            (
                Steer,
                Some("a.work.9"),
                going,
                running(Open),
                "Expire(\"the agent has no iteration a.work.9".into(),
            ),
            (
                Steer,
                Some("a.work.1"),
                going,
                running(Closed),
                "Expire(\"a.work.1 has its prompt already, and".into(),
            ),
            (
                Queue,
                Some("a.work.1"),
                going,
                running(Open),
                "Expire(\"a.work.1 has its prompt already; send".into(),
            ),
            (
                Queue,
                Some("a.work.0"),
                going,
                vec![(0, "Pending", None)],
                "in front of the prompt of a.work.0".into(),
            ),
            (Steer, Some("a.work.1"), going, vec![(1, "Running", None)], "begun by an earlier master".into()),
        ];
        for (delivery, meant, run, iterations, wanted) in cases {
            let got = format!("{:?}", decided(&message("m", "1", delivery, meant), run, &iterations));
            assert!(got.contains(&wanted), "{delivery:?} {meant:?} {iterations:?}: {got}, not {wanted}");
        }
        let mut handed = message("m", "1", Steer, None);
        let status = MessageStatus { iteration: Some("a.work.1".into()), ..MessageStatus::default() };
        handed.status = Some(status);
        for (iterations, wanted) in [
            (vec![(1, "Running", Some(Open))], Decision::Leave),
            (vec![(1, "Running", None)], Decision::Leave),
            (vec![(1, "Succeeded", Some(Open))], Decision::Leave),
            (vec![(1, "Succeeded", None)], Decision::Settle),
            (vec![], Decision::Settle),
        ] {
            assert_eq!(decided(&handed, going, &iterations), wanted, "{iterations:?}");
        }
    }

    proptest! {
        #[test]
        fn the_order_of_arrival_survives_whatever_is_written_to_the_messages(
            writes in proptest::collection::vec(0..8_usize, 0..40),
        ) {
            // Eight messages, created one after the other; each write gives one of them a new resource version.
            let mut messages: Vec<Message> =
                (0..8).map(|n| message(&format!("m{}", 7 - n), &(n + 1).to_string(), Delivery::Steer, None)).collect();
            let wanted: Vec<String> = messages.iter().map(|m| m.name_any()).collect();
            for (version, which) in (100..).zip(writes) {
                let status = MessageStatus { arrival: Some(arrival(&messages[which])), ..MessageStatus::default() };
                messages[which].status = Some(status);
                messages[which].metadata.resource_version = Some(version.to_string());
            }
            messages.reverse();
            let ordered = in_order(messages.into_iter().map(Arc::new).collect());
            prop_assert_eq!(ordered.iter().map(|m| m.name_any()).collect::<Vec<_>>(), wanted);
        }
    }
}
