//! What people want of a ticket that somebody has: deletion, cancelling, and their decisions.

use gcluster_types::kinds::merge::MergePhase;
use gcluster_types::kinds::ticket::{Decision, HumanVerdict, TicketPhase, TicketState};
use gcluster_types::{Merge, Ticket, TicketStatus};
use kube::ResourceExt;

use super::advance::{Scene, begin, to_queue};
use super::draft::{APPROVED, Draft};

/// What is wanted and not carried out yet.
#[derive(Clone, Copy, Debug)]
pub(super) enum Wish<'a> {
    /// It is being deleted.
    Delete,
    /// A person decided.
    Decide(&'a Decision),
    /// `spec.state` is `Cancelled`.
    Cancel,
}

/// What is wanted of a ticket first.
pub(super) fn wish<'a>(ticket: &'a Ticket, status: &TicketStatus) -> Option<Wish<'a>> {
    let is_over = status.phase.is_terminal();
    if ticket.metadata.deletion_timestamp.is_some() {
        return (!is_over).then_some(Wish::Delete);
    }
    let decision = ticket.spec.decision.as_ref();
    if let Some(decision) =
        decision.filter(|new| status.observed_decision.as_deref() != Some(new.at.as_str()))
    {
        return Some(Wish::Decide(decision));
    }
    (ticket.spec.state == TicketState::Cancelled && !is_over).then_some(Wish::Cancel)
}

/// The merge that has to be taken back before the wish can be carried out: one that waits for its turn.
pub(super) fn to_withdraw<'a>(scene: &Scene<'a>, status: &TicketStatus) -> Option<&'a Merge> {
    let ends = match wish(scene.ticket, status)? {
        Wish::Decide(decision) => decision.verdict != HumanVerdict::Approve,
        Wish::Delete | Wish::Cancel => true,
    };
    let merge = merge_of(scene, status).filter(|merge| ends && merge_phase(merge) == MergePhase::Queued)?;
    merge.metadata.deletion_timestamp.is_none().then_some(merge)
}

/// Carries out what is wanted. False: nothing is, or a merge that is under way comes to its end first.
pub(super) fn carry_out(scene: &Scene<'_>, draft: &mut Draft) -> bool {
    let Some(wish) = wish(scene.ticket, &draft.status) else { return false };
    if to_withdraw(scene, &draft.status).is_some() {
        draft.say("Withdrawing", "its merge is taken out of the queue first");
        return true;
    }
    // What is half merged is neither stopped nor worked on.
    if merge_of(scene, &draft.status).is_some() {
        return false;
    }
    match wish {
        Wish::Delete => draft.enter(TicketPhase::Cancelled, "Deleted", "it is being deleted"),
        Wish::Cancel => draft.enter(TicketPhase::Cancelled, "Cancelled", "spec.state is Cancelled"),
        Wish::Decide(decision) => {
            draft.status.observed_decision = Some(decision.at.clone());
            decide(scene, draft, decision);
        }
    }
    true
}

fn merge_of<'a>(scene: &Scene<'a>, status: &TicketStatus) -> Option<&'a Merge> {
    scene.merge(status.merge.as_deref()).filter(|_| status.phase == TicketPhase::Merging)
}

fn merge_phase(merge: &Merge) -> MergePhase {
    merge.status.as_ref().map(|status| status.phase).unwrap_or_default()
}

fn decide(scene: &Scene<'_>, draft: &mut Draft, decision: &Decision) {
    let by = decision.by.clone().unwrap_or_else(|| "a person".to_owned());
    let words = if decision.text.is_empty() { String::new() } else { format!(": {}", decision.text) };
    let phase = draft.status.phase;
    let ignored = |draft: &mut Draft, what: &str| {
        let stands = format!("{phase:?}").to_lowercase();
        draft.note(
            true,
            "DecisionIgnored",
            format!("{what} by {by} changes nothing: the ticket is {stands}"),
        );
    };
    use TicketPhase::{
        Approved, Cancelled, Checking, Failed, Merged, Merging, Ready, Reviewing, Waiting, Working,
    };
    match (decision.verdict, phase) {
        (HumanVerdict::Stop, Merged | Failed | Cancelled) => ignored(draft, "the stop"),
        (HumanVerdict::Stop, _) => {
            let name = scene.ticket.name_any();
            let again = format!("`gcluster ticket send-back {name} \"text\"` begins again");
            draft.enter(Failed, "Stopped", format!("stopped by {by}{words}; {again}"));
        }
        (HumanVerdict::Approve, Working | Checking | Reviewing) => {
            draft.flag(APPROVED, Some(format!("approved by {by}{words}")));
            let then =
                if phase == Reviewing { "it is merged next" } else { "it is merged once its checks pass" };
            draft.note(false, "HumanApproved", format!("approved by {by}{words}; {then}"));
        }
        (HumanVerdict::Approve, _) => ignored(draft, "the approval"),
        (HumanVerdict::SendBack, Working | Checking | Reviewing | Approved) => {
            feed(draft, &by, decision);
            begin(scene, draft, "SentBack", &format!("sent back by {by}{words}"));
        }
        (HumanVerdict::SendBack, Failed | Merging) => {
            feed(draft, &by, decision);
            draft.status.attempts = 0;
            to_queue(draft, "SentBack", &format!("sent back by {by}{words}"));
        }
        (HumanVerdict::SendBack, Waiting | Ready) => {
            feed(draft, &by, decision);
            draft.note(false, "SentBack", format!("its worker will be told by {by}{words}"));
        }
        (HumanVerdict::SendBack, Merged | Cancelled) => ignored(draft, "sending it back"),
    }
}

/// Puts a person's words before whatever else the worker is told.
fn feed(draft: &mut Draft, by: &str, decision: &Decision) {
    if decision.text.trim().is_empty() {
        return;
    }
    let before = draft.status.feedback.take().map(|text| format!("\n\n{text}")).unwrap_or_default();
    draft.set_feedback(&format!("{by} says:\n\n{}{before}", decision.text.trim()));
}
