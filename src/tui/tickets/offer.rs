//! What can be done about a ticket as it stands: the words of its keys. A key that would do nothing is not offered.

use gcluster_types::kinds::ticket::{TicketPhase, TicketState};

use super::TicketRow;
use super::mark::Mark;
use crate::tui::keys::Act;
use crate::tui::model::Model;
use crate::tui::need::Need;

/// The word of a key for the selected ticket; `otherwise` where it means the same for all.
pub(crate) fn hint(model: &Model, act: Act, otherwise: &'static str) -> Option<&'static str> {
    let Some(row) = model.ticket() else {
        let on_ticket = matches!(
            act,
            Act::Enter | Act::Approve | Act::SendBack | Act::Stop | Act::Pause | Act::Message | Act::Changes
        );
        return (!on_ticket).then_some(otherwise);
    };
    let marked = || model.story.marked(&model.fleet);
    match act {
        Act::Approve => approve(row),
        Act::SendBack => {
            (!matches!(row.phase, TicketPhase::Merged | TicketPhase::Cancelled)).then_some(otherwise)
        }
        Act::Stop => (!row.phase.is_terminal()).then_some(otherwise),
        Act::Pause if row.state != TicketState::Open => Some("open"),
        Act::Pause => (!row.phase.is_terminal()).then_some(otherwise),
        Act::Message => {
            let agent = model.story.agent(&model.fleet);
            agent.is_some_and(|agent| agent.standing.need != Need::Done).then_some(otherwise)
        }
        Act::Enter if model.pane == crate::tui::layout::Pane::Detail => marked().map(|mark| match mark {
            Mark::Agent(_) => "conversation",
            Mark::Changes => "diff",
            Mark::Check(_) => "output",
            Mark::Review(_) => "review",
            Mark::Merge(_) => "merge",
            Mark::Workspace(_) => "workspace",
        }),
        Act::Newer => (model.story.marks(&model.fleet).len() > 1).then_some(otherwise),
        // Before a worker began there is nothing to show.
        Act::Changes => {
            let waits = matches!(row.phase, TicketPhase::Waiting | TicketPhase::Ready);
            (!waits || row.round > 0).then_some(otherwise)
        }
        _ => Some(otherwise),
    }
}

/// What `c` does; nothing where there is nothing to approve.
pub(crate) fn approve(row: &TicketRow) -> Option<&'static str> {
    if row.state != TicketState::Open || row.phase == TicketPhase::Failed {
        return Some("continue");
    }
    matches!(row.phase, TicketPhase::Working | TicketPhase::Checking | TicketPhase::Reviewing)
        .then_some("approve")
}

/// What a person can do who is waited for, in one sentence.
pub(crate) fn asked(row: &TicketRow) -> &'static str {
    match row.phase {
        TicketPhase::Failed => "it needs you: c lets it go on, b sends it back with a text",
        TicketPhase::Working | TicketPhase::Checking | TicketPhase::Reviewing => {
            "it needs you: c approves, b sends it back with a text, s stops it; D shows the diff"
        }
        _ => "it needs you: b sends it back with a text, s stops it",
    }
}
