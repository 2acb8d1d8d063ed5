//! Whose turn it is, over random agents and refusals.

use std::time::Duration;

use gcluster_types::kinds::provider::{FaultKind, ProviderFault};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::jiff::Timestamp;
use proptest::prelude::*;

use super::provider::{Answers, Turn};
use super::standings::{Member, Standings};
use crate::informer::AgentKey;

const GROUP: &str = "claude-1";

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_000_000 + second).unwrap()
}

fn fault(kind: FaultKind, met: i64, opens: i64) -> ProviderFault {
    ProviderFault {
        kind,
        reason: "Why".into(),
        message: "no".into(),
        met_by: "n/a.work.0".into(),
        at: MicroTime(at(met)),
        opens_at: MicroTime(at(opens)),
        announced: true,
        in_a_row: 1,
    }
}

fn key(number: usize) -> AgentKey {
    ("n".into(), format!("agent-{number:03}"))
}

/// A table of agents that are all held by one refusal and all want to begin.
fn held(priorities: &[i32], fault: &ProviderFault) -> Standings {
    let standings = Standings::default();
    for (number, priority) in priorities.iter().enumerate() {
        let member =
            Member { priority: *priority, ready: true, fault: Some(fault.clone()), ..Member::default() };
        standings.report(GROUP, &key(number), member, at(1));
    }
    standings
}

fn turns(standings: &Standings, priorities: &[i32], now: Timestamp) -> Vec<Turn> {
    let turn =
        |(number, priority): (usize, &i32)| standings.view(GROUP, &key(number), *priority, now).1.unwrap();
    priorities.iter().enumerate().map(turn).collect()
}

fn time(turn: &Turn) -> Option<Timestamp> {
    match turn {
        Turn::At(at) => Some(*at),
        Turn::After(_) => None,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn a_limit_that_ends_lets_the_highest_priority_begin_and_the_others_ever_faster(
        priorities in proptest::collection::vec(-3..3, 1..60),
    ) {
        let standings = held(&priorities, &fault(FaultKind::UsageLimit, 0, 600));
        let mut row: Vec<(i32, Timestamp)> = turns(&standings, &priorities, at(2))
            .iter()
            .zip(&priorities)
            .map(|(turn, priority)| (*priority, time(turn).unwrap()))
            .collect();
        row.sort_by_key(|(priority, time)| (*time, std::cmp::Reverse(*priority)));
        prop_assert_eq!(row[0].1, at(600), "the first begins at once");
        prop_assert!(row.iter().skip(1).all(|(_, time)| *time > at(602)), "and alone");
        prop_assert!(row.is_sorted_by_key(|(priority, _)| std::cmp::Reverse(*priority)), "{:?}", row);
        prop_assert!(row.last().unwrap().1 <= at(600 + 15 * 6), "sixty within two minutes");
    }

    #[test]
    fn after_an_outage_or_a_refused_credential_one_tries_and_whoever_goes_away_hands_over(
        priorities in proptest::collection::vec(-3..3, 2..40),
        outage in any::<bool>(),
    ) {
        let kind = if outage { FaultKind::Outage } else { FaultKind::Credential };
        let standings = held(&priorities, &fault(kind, 0, 10));
        let mut left: Vec<usize> = (0..priorities.len()).collect();
        while !left.is_empty() {
            let now = at(11);
            let first: Vec<usize> = left
                .iter()
                .copied()
                .filter(|n| time(&standings.view(GROUP, &key(*n), priorities[*n], now).1.unwrap()).is_some())
                .collect();
            prop_assert_eq!(first.len(), 1, "exactly one tries");
            let best = left.iter().map(|n| priorities[*n]).max().unwrap();
            prop_assert_eq!(priorities[first[0]], best);
            standings.forget(&key(first[0]), now);
            left.retain(|n| *n != first[0]);
        }
    }

    #[test]
    fn an_answer_lets_all_go_on_within_seconds(
        priorities in proptest::collection::vec(-3..3, 2..40),
        kind in 0..3,
    ) {
        let kind = [FaultKind::UsageLimit, FaultKind::Outage, FaultKind::Credential][kind as usize];
        let standings = held(&priorities, &fault(kind, 0, 600));
        let answers = Answers { began: Some(at(20)), succeeded: None };
        let first = Member { priority: priorities[0], answers, ..Member::default() };
        standings.report(GROUP, &key(0), first, at(30));
        for turn in turns(&standings, &priorities, at(31)) {
            prop_assert!(time(&turn).unwrap() <= at(30 + 2 * 6), "{:?}", turn);
        }
    }
}

#[test]
fn who_tries_is_not_asked_again_and_is_passed_over_when_nothing_comes_of_it() {
    let priorities = [5, 0, 0];
    let refused = fault(FaultKind::Credential, 0, 10);
    let standings = held(&priorities, &refused);
    let trying =
        Member { priority: 5, running: Some(at(12)), fault: Some(refused.clone()), ..Member::default() };
    standings.report(GROUP, &key(0), trying, at(12));
    let waits = |now| turns(&standings, &priorities, now).iter().filter(|turn| time(turn).is_none()).count();
    assert_eq!(waits(at(20)), 2, "the others wait for it");
    assert_eq!(waits(at(12 + 301)), 1, "five minutes without an answer: the next one");
    // What began before the refusal is no try.
    let older = Member { running: Some(at(-5)), fault: Some(refused), ..Member::default() };
    standings.report(GROUP, &key(0), older, at(12));
    let others = [1, 2].map(|n| standings.view(GROUP, &key(n), 0, at(20)).1.unwrap());
    assert_eq!(others.iter().filter(|turn| time(turn).is_some()).count(), 1);
}

#[tokio::test]
async fn those_whose_turn_comes_earlier_are_woken_and_no_others() {
    let priorities = [0; 30];
    let refused = fault(FaultKind::Outage, 0, 10);
    let standings = held(&priorities, &refused);
    let mut woken = standings.woken();
    let mut first = None;
    for (number, turn) in turns(&standings, &priorities, at(5)).into_iter().enumerate() {
        if time(&turn).is_some() {
            first = Some(number);
        }
        let fault = Some(refused.clone());
        let member = Member { ready: true, fault, told: Some(turn), ..Member::default() };
        standings.report(GROUP, &key(number), member, at(5));
    }
    assert!(woken.try_recv().is_err(), "nothing changed for anybody");
    standings.forget(&key(first.unwrap()), at(6));
    assert!(woken.recv().await.is_some());
    assert!(woken.try_recv().is_err(), "the next one alone is woken");
    // Another credential is none of their business.
    let other = Member { ready: true, fault: Some(fault(FaultKind::Outage, 3, 99)), ..Member::default() };
    standings.report("claude-2", &("n".into(), "other".into()), other, at(7));
    assert!(tokio::time::timeout(Duration::from_millis(1), woken.recv()).await.is_err());
}
