//! `gcluster describe ticket`: reads what serves a ticket, so that its whole story can be told.

use gcluster_types::kinds::ticket::TicketStatus;
use gcluster_types::labels::TICKET;
use gcluster_types::{Agent, Check, Merge, Review, Ticket, Workspace};
use k8s_openapi::jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::describe::typed;
use super::objects;
use crate::client::{Connection, JSON, escape, query};
use crate::exit::{Kind, Result};
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
    let base = format!("/apis/gcluster.dev/v1alpha1/namespaces/{}", escape(&namespace));
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

async fn list<T: DeserializeOwned>(connection: &Connection, path: &str) -> Result<Vec<T>> {
    match connection.get(path, JSON).await {
        Ok(found) => objects::items(found).iter().map(typed).collect(),
        Err(failure) if failure.kind == Kind::NotFound => Ok(Vec::new()),
        Err(failure) => Err(failure),
    }
}

async fn one<T: DeserializeOwned>(connection: &Connection, path: &str) -> Result<Option<T>> {
    match connection.get(path, JSON).await {
        Ok(found) => typed(&found).map(Some),
        Err(failure) if failure.kind == Kind::NotFound => Ok(None),
        Err(failure) => Err(failure),
    }
}
