//! What is done with a ticket of a file, from what the file says and what is there.

use std::collections::BTreeMap;

use gcluster_types::kinds::ticket::{TicketPhase, TicketSpec};
use gcluster_types::{Ticket, labels, tickets};
use kube::ResourceExt;
use sha2::{Digest, Sha256};

/// Names of the tickets of a namespace, and these.
pub(super) type There = BTreeMap<String, Ticket>;

/// What is done with one ticket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Decision {
    /// It is written.
    Create,
    /// It takes the place of what the folder said before.
    Update,
    /// It is there already.
    Same,
    /// It cannot be taken, and why.
    Refuse(String),
    /// One of that name is being deleted.
    Wait,
}

/// What is done with the tickets of one file, in their order. A ticket that waits in a circle refuses them all.
pub(super) fn plan(tickets: &[Ticket], there: &There) -> Vec<Decision> {
    let mut decisions: Vec<Decision> =
        tickets.iter().map(|ticket| decide(ticket, there.get(&ticket.name_any()))).collect();
    if let (Some(cycle), Some(first)) = (cycle(tickets, there), decisions.first_mut()) {
        let told = format!("tickets wait for each other in a circle: {cycle}; take one dependency away");
        *first = Decision::Refuse(told);
    }
    decisions
}

fn decide(new: &Ticket, there: Option<&Ticket>) -> Decision {
    let Some(there) = there else { return Decision::Create };
    let (name, wanted) = (new.name_any(), digest(&new.spec));
    let said = there.annotations().get(labels::BACKLOG_DIGEST);
    if there.metadata.deletion_timestamp.is_some() {
        return Decision::Wait;
    }
    let is = digest(&there.spec);
    if said == Some(&wanted) || is == wanted {
        return Decision::Same;
    }
    let status = there.status.clone().unwrap_or_default();
    let is_waiting = matches!(status.phase, TicketPhase::Waiting | TicketPhase::Ready) && status.round == 0;
    let told = match (said == Some(&is), is_waiting) {
        (true, true) => return Decision::Update,
        (true, false) => format!("is {} already", format!("{:?}", status.phase).to_lowercase()),
        (false, _) if said.is_some() => "was changed since it came from the backlog folder".to_owned(),
        (false, _) => "was not made by the backlog folder".to_owned(),
    };
    Decision::Refuse(format!(
        "there is a ticket {name} that says something else and {told}: give this one another id, or change that one \
         with `gcluster edit ticket {name}` and take this file away"
    ))
}

fn cycle(new: &[Ticket], there: &There) -> Option<tickets::Cycle> {
    if new.iter().all(|ticket| ticket.spec.depends_on.is_empty()) {
        return None;
    }
    let edges = |ticket: &Ticket| (ticket.name_any(), ticket.spec.depends_on.clone());
    tickets::cycle(&there.values().chain(new).map(edges).collect())
}

/// Tells one content of a ticket from another.
pub(super) fn digest(spec: &TicketSpec) -> String {
    let text = serde_json::to_vec(spec).unwrap_or_default();
    let digest = Sha256::digest(text);
    digest.iter().fold("sha256:".to_owned(), |text, byte| format!("{text}{byte:02x}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ticket(name: &str, title: &str, depends_on: &[&str]) -> Ticket {
        let depends_on = depends_on.iter().map(|name| (*name).to_owned()).collect();
        Ticket::new(
            name,
            TicketSpec { title: title.into(), priority: 3, depends_on, ..TicketSpec::default() },
        )
    }

    fn taken(mut ticket: Ticket) -> Ticket {
        let digest = digest(&ticket.spec);
        ticket.annotations_mut().insert(labels::BACKLOG_DIGEST.into(), digest);
        ticket
    }

    fn there(tickets: impl IntoIterator<Item = Ticket>) -> There {
        tickets.into_iter().map(|ticket| (ticket.name_any(), ticket)).collect()
    }

    fn one(new: &Ticket, old: Option<Ticket>) -> Decision {
        plan(std::slice::from_ref(new), &there(old)).remove(0)
    }

    fn refusal(decision: &Decision) -> &str {
        match decision {
            Decision::Refuse(why) => why,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_ticket_is_written_once_and_again_only_while_nobody_touched_it() {
        let (new, old) = (ticket("t", "new", &[]), taken(ticket("t", "old", &[])));
        assert_eq!(one(&new, None), Decision::Create);
        assert_eq!(one(&new, Some(taken(new.clone()))), Decision::Same);
        assert_eq!(one(&new, Some(new.clone())), Decision::Same, "applied by hand");
        assert_eq!(one(&new, Some(old.clone())), Decision::Update);

        let mut edited = old.clone();
        edited.spec.priority = 1;
        assert!(refusal(&one(&new, Some(edited))).contains("was changed since"));
        assert!(refusal(&one(&new, Some(ticket("t", "old", &[])))).contains("was not made by"));
        let mut working = old.clone();
        working.status.get_or_insert_default().phase = TicketPhase::Working;
        assert!(refusal(&one(&new, Some(working))).contains("is working already"));
        // Taken before a crash and worked on meanwhile: it is this ticket all the same.
        let mut done = taken(new.clone());
        done.spec.state = gcluster_types::kinds::ticket::TicketState::Held;
        done.status.get_or_insert_default().phase = TicketPhase::Merged;
        assert_eq!(one(&new, Some(done)), Decision::Same);
        let mut going = old;
        going.metadata.deletion_timestamp = Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(
            k8s_openapi::jiff::Timestamp::UNIX_EPOCH,
        ));
        assert_eq!(one(&new, Some(going)), Decision::Wait);
    }

    #[test]
    fn a_circle_with_what_is_there_refuses_the_file() {
        let old = there([ticket("a", "a", &["b"])]);
        let decisions = plan(&[ticket("b", "b", &["c"]), ticket("c", "c", &["a"])], &old);
        assert!(refusal(&decisions[0]).contains("a → b → c → a"), "{decisions:?}");
        assert_eq!(plan(&[ticket("b", "b", &["gone"])], &old), [Decision::Create]);
    }
}
