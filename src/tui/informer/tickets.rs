//! Watches of tickets: the rows of the board, and what belongs to the one that is looked at.

use gcluster_types::{Check, Merge, Review, Ticket, WorkerPool, Workspace};
use kube::Api;
use kube::runtime::watcher::Config;

use super::Ground;
use super::watch::{api, events, into_hub, key, lean, name, of_one, single};
use crate::tui::fleet::Key;
use crate::tui::tickets::{PoolRow, TicketRow};

/// Follows all tickets.
pub(super) async fn all(ground: Ground, namespace: Option<String>) {
    let api: Api<Ticket> = api(&ground, namespace.as_deref());
    into_hub(ground, api, Config::default(), name, |t| TicketRow::of(&t), |waiting| &mut waiting.tickets)
        .await;
}

/// Follows all worker pools.
pub(super) async fn pools(ground: Ground, namespace: Option<String>) {
    let api: Api<WorkerPool> = api(&ground, namespace.as_deref());
    let row = |pool: WorkerPool| {
        let status = pool.status.clone().unwrap_or_default();
        let (workers, busy) = (status.replicas.max(pool.spec.replicas), status.busy);
        PoolRow { key: key(&pool), workers, busy, message: status.message }
    };
    into_hub(ground, api, Config::default(), name, row, |waiting| &mut waiting.pools).await;
}

/// Follows one ticket with its workspaces, reviews, merges and events.
pub(super) async fn one(ground: Ground, ticket: Key) {
    let own = Config::default().fields(&format!("spec.ticket={}", ticket.name()));
    let (hub, key) = (ground.hub.clone(), ticket.clone());
    let object = single::<Ticket>(&ground, &ticket, move |object| {
        hub.leave(|waiting| waiting.ticket = Some((key.clone(), object.map(|one| Box::new(lean(one))))));
    });
    let without_backend = |mut review: Review| {
        review.spec.backend = None;
        lean(review)
    };
    let workspaces =
        of_one(&ground, &ticket, own.clone(), without_secrets, |waiting| &mut waiting.workspaces);
    let reviews = of_one(&ground, &ticket, own.clone(), without_backend, |waiting| &mut waiting.reviews);
    let merges = of_one::<Merge, _>(&ground, &ticket, own, lean, |waiting| &mut waiting.merges);
    let events = events(&ground, "Ticket", &ticket, |waiting| &mut waiting.ticket_events);
    tokio::join!(object, workspaces, reviews, merges, events);
}

/// Follows one check, which may not be there yet.
pub(super) async fn check(ground: Ground, check: Key) {
    let (hub, key) = (ground.hub.clone(), check.clone());
    single::<Check>(&ground, &check, move |object| {
        let object = object.map(|one| Box::new(lean(one)));
        hub.leave(|waiting| drop(waiting.checks.insert(key.clone(), object)));
    })
    .await;
}

/// Values of environment variables may be secrets and are shown nowhere.
fn without_secrets(workspace: Workspace) -> Workspace {
    let mut workspace = lean(workspace);
    workspace.spec.env.clear();
    if let Some(status) = &mut workspace.status {
        status.environment.clear();
    }
    workspace
}
