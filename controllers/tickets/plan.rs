//! Where each ticket stands: a pure function of all tickets of a namespace.

use std::collections::{BTreeMap, BTreeSet};

use gcluster_types::Ticket;
use gcluster_types::kinds::ticket::{TicketPhase, TicketState};
use gcluster_types::tickets::cycle;
use kube::ResourceExt;

/// Where a ticket stands, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// `Waiting`, `Ready` or `Cancelled`.
    pub phase: TicketPhase,
    /// One CamelCase word.
    pub reason: &'static str,
    /// One sentence.
    pub message: String,
}

/// Decides about every ticket that nobody has taken, by name. Tickets that somebody has taken, and those that came to
/// their end, are left out.
pub fn plan<'t>(tickets: impl IntoIterator<Item = &'t Ticket>) -> BTreeMap<String, Decision> {
    let all: BTreeMap<String, &Ticket> =
        tickets.into_iter().map(|ticket| (ticket.name_any(), ticket)).collect();
    let cycles = cycles(&all);
    let free = all.iter().filter(|(_, ticket)| is_free(ticket));
    let decide = |(name, ticket): (&String, &&Ticket)| {
        let nothing = || Decision {
            phase: TicketPhase::Ready,
            reason: "Ready",
            message: "nothing keeps it: a worker may take it".to_owned(),
        };
        (name.clone(), waits(ticket, &all, cycles.get(name)).unwrap_or_else(nothing))
    };
    free.map(decide).collect()
}

fn phase(ticket: &Ticket) -> TicketPhase {
    ticket.status.as_ref().map(|status| status.phase).unwrap_or_default()
}

/// Nobody has taken it. A ticket that was cancelled is free again once it is opened.
fn is_free(ticket: &Ticket) -> bool {
    match phase(ticket) {
        TicketPhase::Waiting | TicketPhase::Ready | TicketPhase::Cancelled => true,
        // Whoever has it lets it go.
        _ => false,
    }
}

/// What keeps a ticket; none when nothing does.
fn waits(ticket: &Ticket, all: &BTreeMap<String, &Ticket>, cycle: Option<&String>) -> Option<Decision> {
    let waiting = |reason, message| Some(Decision { phase: TicketPhase::Waiting, reason, message });
    match ticket.spec.state {
        TicketState::Cancelled => {
            let message = "spec.state is Cancelled".to_owned();
            return Some(Decision { phase: TicketPhase::Cancelled, reason: "Cancelled", message });
        }
        TicketState::Held => return waiting("Held", "spec.state is Held; Open lets it go on".to_owned()),
        TicketState::Open => {}
    }
    if let Some(cycle) = cycle {
        return waiting("DependencyCycle", format!("it waits for itself: {cycle}; take one dependency away"));
    }
    let mut wanted: Vec<String> = Vec::new();
    for name in &ticket.spec.depends_on {
        match all.get(name) {
            None => {
                let message = format!("it depends on {name}, and there is no such ticket");
                return waiting("DependencyMissing", message);
            }
            Some(other) => match phase(other) {
                TicketPhase::Merged => {}
                over @ (TicketPhase::Failed | TicketPhase::Cancelled) => {
                    let over = format!("{over:?}").to_lowercase();
                    let message = format!(
                        "it depends on {name}, which is {over}; open that one again or take the dependency away"
                    );
                    return waiting("DependencyFailed", message);
                }
                open => wanted.push(format!("{name} ({})", format!("{open:?}").to_lowercase())),
            },
        }
    }
    match wanted.is_empty() {
        true => None,
        false => waiting("Dependencies", format!("it waits for {}", wanted.join(", "))),
    }
}

/// For every ticket that is part of a cycle, the cycle in words.
fn cycles(all: &BTreeMap<String, &Ticket>) -> BTreeMap<String, String> {
    let mut edges: BTreeMap<String, Vec<String>> =
        all.iter().map(|(name, ticket)| (name.clone(), ticket.spec.depends_on.clone())).collect();
    let mut found = BTreeMap::new();
    while let Some(one) = cycle(&edges) {
        let members: BTreeSet<&String> = one.0.iter().collect();
        for (name, waits_for) in &mut edges {
            if members.contains(name) {
                found.insert(name.clone(), one.to_string());
                waits_for.clear();
            }
        }
    }
    found
}
