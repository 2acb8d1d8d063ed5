//! Why a workspace is there, and when not any more.

use gcluster_types::kinds::repository::Retention;
use gcluster_types::kinds::ticket::TicketPhase;
use gcluster_types::kinds::workspace::Checkout;
use gcluster_types::{Ticket, TicketSpec, TicketStatus, Workspace, WorkspaceSpec, WorkspaceStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, Time};
use k8s_openapi::jiff::Timestamp;

use super::plan::{Fate, fate};

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn workspace(ahead: i64, merged: bool, dirty: i64) -> Workspace {
    let spec = WorkspaceSpec { ticket: Some("t".into()), branch: "b".into(), ..WorkspaceSpec::default() };
    let mut workspace = Workspace::new("t", spec);
    workspace.metadata.creation_timestamp = Some(Time(at(0)));
    let checkout = Checkout { ahead, merged, dirty, ..Checkout::default() };
    workspace.status = Some(WorkspaceStatus {
        repositories: vec![checkout],
        ready_at: Some(MicroTime(at(10))),
        ..WorkspaceStatus::default()
    });
    workspace
}

fn ticket(phase: TicketPhase, finished: i64) -> Ticket {
    let mut ticket = Ticket::new("t", TicketSpec::default());
    let finished_at = phase.is_terminal().then(|| MicroTime(at(finished)));
    ticket.status = Some(TicketStatus { phase, finished_at, ..TicketStatus::default() });
    ticket
}

fn told(workspace: &Workspace, ticket: Option<&Ticket>, now: i64) -> String {
    let retention = Retention { merged: Some("5m".into()), ..Retention::default() };
    match fate(workspace, ticket, &retention, at(now)) {
        Fate::Keep { why, until: None } => why,
        Fate::Keep { why, until: Some(until) } => format!("{why} (until {})", until.as_second()),
        Fate::Remove { why } => format!("REMOVE: {why}"),
    }
}

#[test]
fn every_workspace_says_why_it_is_there() {
    use TicketPhase::{Cancelled, Failed, Merged, Ready, Reviewing};
    let (clean, work) = (workspace(1, true, 0), workspace(2, false, 1));
    let mut restored = work.clone();
    restored.spec.restore_from = Some("t-uid".into());
    let mut own = work.clone();
    own.spec.ticket = None;
    let cases = [
        told(&work, Some(&ticket(Reviewing, 0)), 9_999_999),
        told(&work, Some(&ticket(Ready, 0)), 9_999_999),
        told(&clean, Some(&ticket(Merged, 1_000)), 1_100),
        told(&clean, Some(&ticket(Merged, 1_000)), 1_300),
        told(&work, Some(&ticket(Merged, 1_000)), 1_300),
        told(&work, Some(&ticket(Failed, 1_000)), 1_300),
        told(&work, Some(&ticket(Cancelled, 1_000)), 1_000 + 86_400),
        told(&work, None, 5),
        told(&work, None, 11),
        told(&restored, None, 9_999_999),
        told(&restored, Some(&ticket(Failed, 5)), 9_999_999),
        told(&restored, Some(&ticket(Failed, 50)), 9_999_999),
        told(&own, None, 9_999_999),
    ];
    insta::assert_snapshot!(cases.join("\n"), @r"
    ticket is at work
    ticket is ready
    merged; removed after 5m (until 1300)
    REMOVE: merged, and 5m are over
    merged, but for 2 commits, 1 file; removed after 24h (until 87400)
    ticket failed; removed after 24h (until 87400)
    REMOVE: ticket cancelled, and 24h are over
    there is no ticket t yet (until 10)
    REMOVE: the ticket t is gone
    restored; delete it when nobody needs it
    restored; delete it when nobody needs it
    REMOVE: ticket failed, and 24h are over
    it belongs to no ticket; delete it when nobody needs it
    ");
}

proptest::proptest! {
    #[test]
    fn what_is_not_merged_outlives_its_ticket_and_nothing_goes_before_its_time(
        phase in 0_usize..10, ahead in 0_i64..3, merged: bool, dirty in 0_i64..2, finished in 10_i64..1_000, now in 0_i64..200_000,
    ) {
        use TicketPhase::{Approved, Cancelled, Checking, Failed, Merged, Merging, Ready, Reviewing, Waiting, Working};
        let phase = [Waiting, Ready, Working, Checking, Reviewing, Approved, Merging, Merged, Failed, Cancelled][phase];
        let fate = fate(&workspace(ahead, merged, dirty), Some(&ticket(phase, finished)), &Retention::default(), at(now));
        let holds = (ahead > 0 && !merged) || dirty > 0;
        if matches!(fate, Fate::Remove { .. }) {
            proptest::prop_assert!(phase.is_terminal());
            let least = if phase == Merged && !holds { 600 } else { 86_400 };
            proptest::prop_assert!(now >= finished + least);
        } else if let Fate::Keep { until: Some(until), .. } = fate {
            proptest::prop_assert!(until > at(now) && phase.is_terminal());
        } else {
            proptest::prop_assert!(!phase.is_terminal());
        }
    }
}
