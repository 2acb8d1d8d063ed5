//! Watches of tickets: the rows of the board, and what belongs to the one that is looked at.

use gcluster_types::{Check, Merge, Review, Ticket, WorkerPool, Workspace};
use k8s_openapi::api::core::v1::Event as CoreEvent;
use kube::runtime::watcher::{Config, Event};
use kube::{Api, ResourceExt as _};
use serde_json::Value;

use super::Ground;
use super::watch::{api, follow, into_hub, key, lean, name};
use crate::tui::fleet::Key;
use crate::tui::hub;
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
    let namespace = Some(ticket.namespace());
    let own = Config::default().fields(&format!("spec.ticket={}", ticket.name()));
    let itself = Config::default().fields(&format!("metadata.name={}", ticket.name()));
    let about = Config::default()
        .fields(&format!("involvedObject.kind=Ticket,involvedObject.name={}", ticket.name()));
    let object = {
        let (hub, key) = (ground.hub.clone(), ticket.clone());
        single(&ground, api::<Ticket>(&ground, namespace), itself, move |object| {
            hub.leave(|waiting| waiting.ticket = Some((key.clone(), object.map(|one| Box::new(lean(one))))));
        })
    };
    let key = ticket.clone();
    let workspaces = into_hub(
        ground.clone(),
        api::<Workspace>(&ground, namespace),
        own.clone(),
        |w| w.name_any(),
        without_secrets,
        move |waiting| hub::slot(&mut waiting.workspaces, &key),
    );
    let key = ticket.clone();
    let reviews = into_hub(
        ground.clone(),
        api::<Review>(&ground, namespace),
        own.clone(),
        |r| r.name_any(),
        |mut review| {
            review.spec.backend = None;
            lean(review)
        },
        move |waiting| hub::slot(&mut waiting.reviews, &key),
    );
    let key = ticket.clone();
    let merges = into_hub(
        ground.clone(),
        api::<Merge>(&ground, namespace),
        own,
        |m| m.name_any(),
        lean,
        move |waiting| hub::slot(&mut waiting.merges, &key),
    );
    let key = ticket.clone();
    let events = into_hub(
        ground.clone(),
        api::<CoreEvent>(&ground, namespace),
        about,
        |e| e.name_any(),
        |event| serde_json::to_value(lean(event)).unwrap_or(Value::Null),
        move |waiting| hub::slot(&mut waiting.ticket_events, &key),
    );
    tokio::join!(object, workspaces, reviews, merges, events);
}

/// Follows one check, which may not be there yet.
pub(super) async fn check(ground: Ground, check: Key) {
    let itself = Config::default().fields(&format!("metadata.name={}", check.name()));
    let hub = ground.hub.clone();
    let checks = api::<Check>(&ground, Some(check.namespace()));
    single(&ground, checks, itself, move |object| {
        let object = object.map(|one| Box::new(lean(one)));
        hub.leave(|waiting| drop(waiting.checks.insert(check.clone(), object)));
    })
    .await;
}

/// Follows one object; `each` is told when it is gone, too.
async fn single<K>(ground: &Ground, api: Api<K>, config: Config, mut each: impl FnMut(Option<K>))
where
    K: kube::Resource<DynamicType = ()>
        + Clone
        + std::fmt::Debug
        + serde::de::DeserializeOwned
        + Send
        + 'static,
{
    let mut listed = None;
    follow(ground, api, config, move |event| match event {
        Event::Init => listed = None,
        Event::InitApply(object) => listed = Some(object),
        Event::InitDone => each(listed.take()),
        Event::Apply(object) => each(Some(object)),
        Event::Delete(_) => each(None),
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
