use std::sync::atomic::Ordering;

use gcluster_types::kinds::ticket::{TicketPhase, TicketState};
use gcluster_types::{Ticket, TicketSpec, TicketStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use proptest::prelude::*;
use serde_json::json;

use super::{Snapshot, plan};
use crate::pulse::Stuck;
use crate::testing::FakeApi;
use crate::{Config, Context};

fn ticket(name: &str, created: i64, priority: i32, depends_on: &[&str], phase: TicketPhase) -> Ticket {
    let depends_on = depends_on.iter().map(|name| (*name).to_owned()).collect();
    let spec = TicketSpec { title: name.into(), priority, depends_on, ..TicketSpec::default() };
    let mut ticket = Ticket::new(name, spec);
    ticket.metadata.creation_timestamp = Timestamp::from_second(created).ok().map(Time);
    ticket.status = Some(TicketStatus { phase, ..TicketStatus::default() });
    ticket
}

pub(super) fn seen(tickets: &[Ticket]) -> Snapshot {
    let named =
        |ticket: &Ticket| (ticket.metadata.name.clone().unwrap(), std::sync::Arc::new(ticket.clone()));
    Snapshot { tickets: tickets.iter().map(named).collect(), ..Snapshot::default() }
}

fn told(tickets: &[Ticket]) -> String {
    let free = |phase| matches!(phase, TicketPhase::Waiting | TicketPhase::Ready | TicketPhase::Cancelled);
    let lines = plan(&seen(tickets)).tickets.into_iter().filter(|(_, turn)| free(turn.status.phase)).map(
        |(name, turn)| {
            let status = turn.status;
            format!("{name}: {:?} {}: {}", status.phase, status.reason.unwrap(), status.message.unwrap())
        },
    );
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn who_waits_is_told_for_what() {
    use TicketPhase::{Cancelled, Failed, Merged, Waiting, Working};
    let mut held = ticket("held", 1, 1, &[], Waiting);
    held.spec.state = TicketState::Held;
    let mut dropped = ticket("dropped", 1, 1, &[], Waiting);
    dropped.spec.state = TicketState::Cancelled;
    let all = [
        ticket("done", 1, 1, &[], Merged),
        ticket("busy", 1, 1, &[], Working),
        ticket("broken", 1, 1, &[], Failed),
        ticket("urgent", 9, 1, &["done"], Waiting),
        ticket("older", 2, 3, &[], Waiting),
        ticket("newer", 3, 3, &[], Waiting),
        ticket("later", 1, 1, &["done", "busy", "newer"], Waiting),
        ticket("lost", 1, 1, &["nowhere"], Waiting),
        ticket("stuck", 1, 1, &["broken"], Waiting),
        ticket("left", 1, 1, &["right"], Waiting),
        ticket("right", 1, 1, &["left"], Waiting),
        ticket("behind", 1, 1, &["left"], Waiting),
        ticket("reopened", 8, 3, &[], Cancelled),
        held,
        dropped,
    ];
    insta::assert_snapshot!(told(&all), @r"
    behind: Waiting Dependencies: it waits for left (waiting)
    dropped: Cancelled Cancelled: spec.state is Cancelled
    held: Waiting Held: spec.state is Held; Open lets it go on
    later: Waiting Dependencies: it waits for busy (working), newer (waiting)
    left: Waiting DependencyCycle: it waits for itself: left → right → left; take one dependency away
    lost: Waiting DependencyMissing: it depends on nowhere, and there is no such ticket
    newer: Ready Ready: nothing keeps it: a worker may take it, but there is no worker pool yet
    older: Ready Ready: nothing keeps it: a worker may take it, but there is no worker pool yet
    reopened: Ready Ready: nothing keeps it: a worker may take it, but there is no worker pool yet
    right: Waiting DependencyCycle: it waits for itself: left → right → left; take one dependency away
    stuck: Waiting DependencyFailed: it depends on broken, which is failed; open that one again or take the dependency away
    urgent: Ready Ready: nothing keeps it: a worker may take it, but there is no worker pool yet
    ");
}

#[test]
fn a_merged_dependency_may_be_cleared_away_and_one_made_anew_counts_again() {
    use TicketPhase::{Merged, Waiting};
    let waits = |name: &str| ticket(name, 2, 1, &["first", "second"], Waiting);
    let (first, second) = (ticket("first", 1, 1, &[], Merged), ticket("second", 1, 1, &[], Waiting));
    let remembered = |all: &[Ticket]| plan(&seen(all)).tickets["last"].status.clone();
    let mut last = waits("last");
    last.status = Some(remembered(&[first, second, waits("last")]));
    let done = ticket("second", 1, 1, &[], Merged);
    assert_eq!(remembered(&[last.clone(), done.clone()]).phase, TicketPhase::Ready, "the first one is gone");
    let anew = ticket("first", 3, 1, &[], Waiting);
    assert_eq!(remembered(&[last.clone(), done, anew]).reason.as_deref(), Some("Dependencies"));
    let alone = remembered(&[last]);
    assert_eq!(alone.reason.as_deref(), Some("DependencyMissing"), "the second was never merged");
}

proptest! {
    #[test]
    fn every_free_ticket_is_decided_and_nothing_waits_without_a_cause(
        edges in proptest::collection::vec((0_usize..6, 0_usize..6), 0..8),
        phases in proptest::collection::vec(0_usize..4, 6),
    ) {
        let of = [TicketPhase::Waiting, TicketPhase::Ready, TicketPhase::Merged, TicketPhase::Working];
        let tickets: Vec<Ticket> = (0..6)
            .map(|n| {
                let on: Vec<String> = edges.iter().filter(|(from, _)| *from == n).map(|(_, to)| format!("t{to}")).collect();
                let on: Vec<&str> = on.iter().map(String::as_str).collect();
                ticket(&format!("t{n}"), n as i64, 1, &on, of[phases[n]])
            })
            .collect();
        let decided = plan(&seen(&tickets)).tickets;
        for (n, ticket) in tickets.iter().enumerate() {
            let decision = decided.get(&format!("t{n}")).map(|turn| &turn.status).filter(|_| phases[n] < 2);
            let open = ticket.spec.depends_on.iter().any(|on| {
                let on: usize = on[1..].parse().unwrap();
                phases[on] != 2
            });
            if let Some(decision) = decision {
                // A cycle of merged tickets keeps nobody, but it is still an error of the backlog.
                let ready = decision.phase == TicketPhase::Ready;
                prop_assert!(!(ready && open), "{decision:?}");
                prop_assert!(ready || open || decision.reason.as_deref() == Some("DependencyCycle"), "{decision:?}");
            }
        }
    }
}

#[tokio::test]
async fn a_loop_whose_write_is_not_answered_is_told_as_stuck() {
    let api = FakeApi::new();
    let ticket = json!({"apiVersion": "gcluster.dev/v1alpha1", "kind": "Ticket", "metadata": {"name": "t-1"}, "spec": {"title": "t"}});
    api.apply("tickets", ticket);
    let (client, life) = api.mortal_client();
    life.end_with(1, false);
    let ctx = Context::new(client, [], Config::new("rehearsal", "/nowhere/runs"));
    let pulse = ctx.pulse.clone();
    let task = tokio::spawn(super::run(ctx));
    api.wait("the write", |_| life.dead.load(Ordering::SeqCst).then_some(())).await;
    assert_eq!(pulse.stuck(), None, "not so soon");
    let later = std::time::Instant::now() + std::time::Duration::from_secs(600);
    assert!(matches!(pulse.stuck_at(later), Some(Stuck::Hangs("tickets", _))));
    task.abort();
    let _ = task.await;
    assert_eq!(pulse.stuck_at(later), None);
}
