//! A ticket in words: reads what serves it, so that its whole story can be told.

use gcluster_types::kinds::ticket::TicketStatus;
use gcluster_types::labels::TICKET;
use gcluster_types::{Agent, Check, Merge, Review, Ticket, Workspace};
use k8s_openapi::jiff::Timestamp;
use serde_json::Value;

use super::{base, list, one, typed};
use crate::client::{Connection, escape, query};
use crate::exit::Result;
use crate::render;

/// The text of a ticket with everything around it.
pub(super) async fn describe(
    connection: &Connection,
    object: &Value,
    events: &[Value],
    now: Timestamp,
) -> Result<String> {
    let ticket: Ticket = typed(object)?;
    let name = ticket.metadata.name.clone().unwrap_or_default();
    let namespace = ticket.metadata.namespace.clone().unwrap_or_default();
    let base = base(&namespace);
    let serving = query(&[("labelSelector", &format!("{TICKET}={name}"))]);
    let own = query(&[("fieldSelector", &format!("spec.ticket={name}"))]);
    let agents: Vec<Agent> = list(connection, &format!("{base}/agents{serving}")).await?;
    let reviews: Vec<Review> = list(connection, &format!("{base}/reviews{own}")).await?;
    let merges: Vec<Merge> = list(connection, &format!("{base}/merges{own}")).await?;
    let checks = checks(connection, &base, ticket.status.clone().unwrap_or_default()).await?;
    let workspace: Option<Workspace> =
        one(connection, &format!("{base}/workspaces/{}", escape(&name))).await?;
    let around = render::ticket::Around {
        agents: &agents,
        checks: &checks,
        reviews: &reviews,
        merges: &merges,
        workspace: workspace.as_ref().filter(|workspace| workspace.spec.ticket.as_deref() == Some(&name)),
        events,
    };
    Ok(render::ticket::describe(&ticket, around, now))
}

/// The checks of what was made last.
async fn checks(connection: &Connection, base: &str, status: TicketStatus) -> Result<Vec<Check>> {
    let mut found = Vec::new();
    for change in status.changes.iter().filter(|change| !change.commit.is_empty()) {
        let name = Check::name_of(&change.repository, &change.commit, false);
        found.extend(one(connection, &format!("{base}/checks/{}", escape(&name))).await?);
    }
    Ok(found)
}
