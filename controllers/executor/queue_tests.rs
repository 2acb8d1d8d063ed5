//! The queue over random agents, priorities, ends and restarts.

use std::collections::HashMap;
use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use proptest::prelude::*;
use tokio::time::Instant;

use super::queue::{Queue, Step, Ticket};

/// Priorities of the agents by their number; agents 0 to 2 share one.
const PRIORITIES: [i32; 6] = [0, 0, 0, 5, 5, -5];

#[derive(Debug, Clone)]
enum Act {
    Join(usize),
    /// The one of the waiting at this place gives up.
    Leave(usize),
    /// The one of the running at this place ends.
    End(usize),
    /// An earlier master's run of this agent is taken over.
    TakeOver(usize),
    Priority(usize, i32),
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        4 => (0..PRIORITIES.len()).prop_map(Act::Join),
        1 => any::<usize>().prop_map(Act::Leave),
        4 => any::<usize>().prop_map(Act::End),
        1 => (0..PRIORITIES.len()).prop_map(Act::TakeOver),
        1 => (0..PRIORITIES.len(), -9..9).prop_map(|(agent, priority)| Act::Priority(agent, priority)),
    ]
}

fn ticket(agent: usize, number: usize, priority: i32) -> Ticket {
    Ticket {
        agent: ("n".into(), format!("a{agent}")),
        iteration: format!("a{agent}.work.{number}"),
        backend: "command".into(),
        priority,
        last_started: None,
    }
}

proptest! {
    #[test]
    fn never_above_the_maximum_and_always_the_highest_priority(
        max in 1..5_usize,
        acts in proptest::collection::vec(act(), 1..120),
    ) {
        let mut queue = Queue::new(max);
        let mut priorities = PRIORITIES;
        let mut waiting: Vec<(u64, Ticket)> = Vec::new();
        let mut running: Vec<Ticket> = Vec::new();
        let start = Instant::now();
        for (number, act) in acts.into_iter().enumerate() {
            match act {
                Act::Join(agent) => {
                    let ticket = ticket(agent, number, priorities[agent]);
                    waiting.push((queue.join(ticket.clone(), start), ticket));
                }
                Act::Leave(at) if !waiting.is_empty() => {
                    let (id, _) = waiting.remove(at % waiting.len());
                    prop_assert!(queue.leave(id));
                }
                Act::End(at) if !running.is_empty() => {
                    let ended = running.remove(at % running.len());
                    queue.end(&ended.agent, &ended.iteration);
                }
                Act::TakeOver(agent) => {
                    let taken = ticket(agent, number, priorities[agent]);
                    queue.expect(number.to_string(), taken.clone());
                    prop_assert!(queue.occupied() == running.len() + 1, "it has its room before it is taken over");
                    queue.settle(&number.to_string());
                    queue.enter(&taken);
                    running.push(taken);
                }
                Act::Priority(agent, priority) => {
                    priorities[agent] = priority;
                    queue.set_priority(&ticket(agent, 0, 0).agent, priority);
                    for (_, waits) in waiting.iter_mut().filter(|(_, t)| t.agent.1 == format!("a{agent}")) {
                        waits.priority = priority;
                    }
                }
                Act::Leave(_) | Act::End(_) => {}
            }
            let now = start + Duration::from_secs(number as u64);
            let time = Timestamp::from_second(number as i64).unwrap();
            while let Step::Begin(id) = queue.next(now, time, |_| Duration::ZERO) {
                prop_assert!(running.len() < max, "never above the maximum");
                let at = waiting.iter().position(|(other, _)| *other == id).unwrap();
                let (_, begins) = waiting.remove(at);
                let best = waiting.iter().map(|(_, ticket)| ticket.priority).max();
                prop_assert!(best.is_none_or(|best| begins.priority >= best), "the highest priority first");
                let runs = |ticket: &Ticket| running.iter().filter(|r| r.agent == ticket.agent).count();
                let equals = waiting.iter().filter(|(_, ticket)| ticket.priority == begins.priority);
                for (_, other) in equals {
                    prop_assert!(runs(&begins) <= runs(other), "the fewest running first");
                }
                running.push(begins);
            }
            prop_assert!(running.len() >= max || waiting.is_empty(), "room is never left unused");
            prop_assert_eq!(queue.occupied(), running.len());
        }
    }

    #[test]
    fn within_a_priority_everybody_comes_round(
        agents in 2..8_usize,
        max in 1..4_usize,
        ends in proptest::collection::vec(any::<usize>(), 60..200),
    ) {
        let mut queue = Queue::new(max);
        let mut of: HashMap<u64, (Ticket, usize)> = HashMap::new();
        let mut running: Vec<Ticket> = Vec::new();
        let mut starts = 0;
        for agent in 0..agents {
            let ticket = ticket(agent, 0, 0);
            of.insert(queue.join(ticket.clone(), Instant::now()), (ticket, starts));
        }
        for (number, end) in ends.into_iter().enumerate() {
            let time = Timestamp::from_millisecond(number as i64).unwrap();
            while let Step::Begin(id) = queue.next(Instant::now(), time, |_| Duration::ZERO) {
                let (begins, since) = of.remove(&id).unwrap();
                prop_assert!(starts - since < agents, "nobody begins twice while another one waits");
                starts += 1;
                running.push(begins);
            }
            // One ends, and its agent wants to go on at once: a loop that never rests.
            let ended = running.remove(end % running.len());
            queue.end(&ended.agent, &ended.iteration);
            let again = Ticket { iteration: format!("{}.{number}", ended.agent.1), ..ended };
            of.insert(queue.join(again.clone(), Instant::now()), (again, starts));
        }
        prop_assert!(starts >= 60, "somebody always begins");
    }
}

#[test]
fn an_agent_that_waits_is_told_its_place_and_whom_it_waits_for() {
    let mut queue = Queue::new(2);
    for agent in 0..5 {
        queue.join(ticket(agent, 0, i32::from(agent == 4)), Instant::now());
    }
    let soon = Instant::now();
    let later = soon + Duration::from_secs(5);
    let step = |queue: &mut Queue| queue.next(Instant::now(), Timestamp::UNIX_EPOCH, |_| Duration::ZERO);
    assert!(matches!(step(&mut queue), Step::Begin(5)), "the highest priority");
    assert!(matches!(step(&mut queue), Step::Begin(1)), "then who came first");
    assert_eq!(step(&mut queue), Step::Rest);
    assert_eq!(queue.tell(&ticket(2, 0, 0).agent, soon), None, "a moment is no news");
    assert_eq!(queue.restless(9, soon), (Vec::new(), true));
    let waits = queue.tell(&ticket(2, 0, 0).agent, later).unwrap();
    assert_eq!(waits.reason(), "WaitingForRoom");
    assert_eq!(
        waits.sentence(),
        "it waits for room: 2 iterations run, and `gcluster master --max-running` lets 2 run at once (n/a0.work.0, \
         n/a4.work.0); it is number 2 of 3 that wait, by priority and then in turns"
    );
    assert_eq!(queue.restless(9, later).0.len(), 2, "the others were told nothing yet");
    queue.set_priority(&ticket(2, 0, 0).agent, 3);
    assert!(queue.restless(9, later).0.contains(&ticket(2, 0, 0).agent), "its place changed");
    assert_eq!(queue.tell(&ticket(2, 0, 0).agent, later).unwrap().place, 1);
    assert_eq!(queue.tell(&ticket(0, 0, 0).agent, later), None, "it runs");
}
