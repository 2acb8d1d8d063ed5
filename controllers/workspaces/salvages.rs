//! What is kept of what is gone: until it expires or is deleted. And tickets, which are written down before they go.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use gcluster_git::{Hub, worktree};
use gcluster_types::kinds::ticket::TicketPhase;
use gcluster_types::kinds::workspace::WorkspacePhase;
use gcluster_types::{Repository, Salvage, SalvageSpec, Ticket, Workspace, labels};
use k8s_openapi::jiff::Timestamp;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, Preconditions};
use kube::runtime::controller::{Action, Controller};
use kube::runtime::watcher;
use kube::{Api, Resource, ResourceExt};
use serde_json::json;

use super::remove::{expiry, put_salvage};
use super::trouble::{Result, Trouble};
use crate::Context;
use crate::control_loop::jittered;
use crate::error::Error;

/// How soon one that a workspace is made from is looked at again.
const IN_USE: Duration = Duration::from_secs(2);
/// Longest pause before an expiry is looked at again.
const HOUR: Duration = Duration::from_secs(3_600);

/// Runs until it is dropped.
pub(super) async fn run(ctx: Context) {
    let ctx = Arc::new(ctx);
    let salvages =
        Controller::new(Api::<Salvage>::all(ctx.client.clone()), watcher::Config::default())
            .run(
                |salvage, ctx: Arc<Context>| async move {
                    told(see_to(&ctx, &salvage).await, &salvage.name_any())
                },
                |_, error: &Error, _| Action::requeue(error.retry_after(3)),
                ctx.clone(),
            )
            .for_each(|_| async {});
    let tickets = Controller::new(Api::<Ticket>::all(ctx.client.clone()), watcher::Config::default())
        .run(
            |ticket, ctx: Arc<Context>| async move { told(let_go(&ctx, &ticket).await, &ticket.name_any()) },
            |_, error: &Error, _| Action::requeue(error.retry_after(3)),
            ctx.clone(),
        )
        .for_each(|_| async {});
    tokio::join!(salvages, tickets);
}

fn told(done: Result<Action>, name: &str) -> Result<Action, Error> {
    match done {
        Ok(action) => Ok(action),
        Err(Trouble::Api(error)) => Err(error),
        Err(trouble) => {
            tracing::warn!(salvage = name, %trouble, "what is kept cannot be removed yet");
            Ok(Action::requeue(jittered(Duration::from_secs(30))))
        }
    }
}

async fn see_to(ctx: &Context, salvage: &Salvage) -> Result<Action> {
    let is_deleted = salvage.metadata.deletion_timestamp.is_some();
    let expires = salvage.spec.expires_at.as_deref().and_then(|at| at.parse::<Timestamp>().ok());
    let now = ctx.now();
    let is_over = expires.is_some_and(|expires| expires <= now);
    if !is_deleted && !is_over {
        let pause = expires.and_then(|expires| Duration::try_from(expires.duration_since(now)).ok());
        return Ok(Action::requeue(pause.map_or(HOUR, |pause| pause.min(HOUR))));
    }
    if is_in_use(ctx, salvage).await? {
        return Ok(Action::requeue(IN_USE));
    }
    let namespace = salvage.namespace().unwrap_or_default();
    let api = Api::<Salvage>::namespaced(ctx.client.clone(), &namespace);
    let name = salvage.name_any();
    if !is_deleted {
        let preconditions = Some(Preconditions { uid: salvage.uid(), resource_version: None });
        let params = DeleteParams { preconditions, ..DeleteParams::background() };
        let deleted = api.delete(&name, &params).await.map_err(Error::api(format!("delete Salvage {name}")));
        return match deleted {
            Err(error) if !error.is_race() => Err(error.into()),
            _ => Ok(Action::await_change()),
        };
    }
    if !salvage.finalizers().iter().any(|one| one == labels::SALVAGE_FINALIZER) {
        return Ok(Action::await_change());
    }
    forget(ctx, salvage, &namespace).await?;
    release(&api, salvage, labels::SALVAGE_FINALIZER).await?;
    Ok(Action::await_change())
}

/// Whether a workspace is being made from it.
async fn is_in_use(ctx: &Context, salvage: &Salvage) -> Result<bool> {
    let api = Api::<Workspace>::namespaced(ctx.client.clone(), &salvage.namespace().unwrap_or_default());
    let all = api.list(&ListParams::default()).await.map_err(Error::api("list workspaces"))?;
    let name = Some(salvage.name_any());
    Ok(all.iter().any(|workspace| {
        let phase = workspace.status.as_ref().map(|status| status.phase).unwrap_or_default();
        let restoring = workspace.status.as_ref().and_then(|status| status.restoring.clone());
        (workspace.spec.restore_from == name || restoring == name)
            && workspace.metadata.deletion_timestamp.is_none()
            && matches!(phase, WorkspacePhase::Pending | WorkspacePhase::Preparing)
    }))
}

/// Removes its hidden refs and its files.
async fn forget(ctx: &Context, salvage: &Salvage, namespace: &str) -> Result<()> {
    let repositories = Api::<Repository>::namespaced(ctx.client.clone(), namespace);
    for snapshot in &salvage.spec.snapshots {
        let name = &snapshot.repository;
        let found =
            repositories.get_opt(name).await.map_err(Error::api(format!("read Repository {name}")))?;
        let hub = found.and_then(|found| found.status).and_then(|status| status.hub).map(PathBuf::from);
        let usual = || ctx.config.data_dir.join("repositories").join(namespace).join(name).join("hub.git");
        let hub = hub.unwrap_or_else(usual);
        // Nothing else is deleted in its name, whatever somebody has written into it.
        if hub.is_dir() && snapshot.reference.starts_with("refs/gcluster/salvage/") {
            let git = Hub::new(&hub, labels::MANAGER_WORKSPACES).git();
            git.text(["update-ref", "-d", &snapshot.reference]).await?;
        }
    }
    let folder: &Path = &ctx.config.data_dir.join("salvages").join(namespace).join(salvage.name_any());
    worktree::delete(folder).map_err(Trouble::io(format!("remove {}", folder.display())))
}

/// A ticket that is deleted is written down, then let go.
async fn let_go(ctx: &Context, ticket: &Ticket) -> Result<Action> {
    let is_ours = ticket.finalizers().iter().any(|one| one == labels::TICKET_FINALIZER);
    if ticket.metadata.deletion_timestamp.is_none() || !is_ours {
        return Ok(Action::await_change());
    }
    let namespace = ticket.namespace().unwrap_or_default();
    let api = Api::<Ticket>::namespaced(ctx.client.clone(), &namespace);
    // What is written down is what was said of it last.
    let name = ticket.name_any();
    let fresh = api.get_opt(&name).await.map_err(Error::api(format!("read Ticket {name}")))?;
    let Some(mut fresh) = fresh.filter(|fresh| fresh.uid() == ticket.uid()) else {
        return Ok(Action::await_change());
    };
    fresh.metadata.managed_fields = None;
    let phase = fresh.status.as_ref().map(|status| status.phase).unwrap_or_default();
    if phase == TicketPhase::Merging {
        // Its merge comes to an end first, in all repositories or in none, and belongs to it until then.
        return Ok(Action::await_change());
    }
    let spec = SalvageSpec {
        kind: "Ticket".to_owned(),
        name: name.clone(),
        uid: fresh.uid(),
        ticket: Some(name.clone()),
        manifest: serde_json::to_string(&fresh).unwrap_or_default(),
        snapshots: Vec::new(),
        holds: Some(format!("the ticket, which was {}", format!("{phase:?}").to_lowercase())),
        expires_at: Some(expiry(ctx.now(), retention(ctx, &fresh).await?.as_deref())),
    };
    let uid: String = fresh.uid().unwrap_or_default().chars().take(8).collect();
    let short: String = name.chars().take(200).collect();
    let salvage = format!("ticket-{short}-{}", uid.trim_end_matches('-'));
    match put_salvage(&ctx.client, &namespace, &salvage, spec).await {
        // Its namespace goes, and everything in it: nothing can be written down there.
        Err(Trouble::Api(error)) if error.code() == Some(403) => {}
        other => drop(other?),
    }
    release(&api, &fresh, labels::TICKET_FINALIZER).await?;
    Ok(Action::await_change())
}

/// How long its first repository keeps what was salvaged.
async fn retention(ctx: &Context, ticket: &Ticket) -> Result<Option<String>> {
    let namespace = ticket.namespace().unwrap_or_default();
    let changes = ticket.status.iter().flat_map(|status| &status.changes);
    let mut names = changes.map(|change| &change.repository).chain(&ticket.spec.repositories);
    let Some(name) = names.next() else { return Ok(None) };
    let api = Api::<Repository>::namespaced(ctx.client.clone(), &namespace);
    let found = api.get_opt(name).await.map_err(Error::api(format!("read Repository {name}")))?;
    Ok(found.and_then(|found| found.spec.retention).and_then(|retention| retention.salvaged))
}

/// Takes a finalizer away.
pub(super) async fn release<K>(api: &Api<K>, object: &K, finalizer: &str) -> Result<()>
where
    K: Resource + Clone + std::fmt::Debug + serde::de::DeserializeOwned,
{
    let left: Vec<&String> = object.finalizers().iter().filter(|name| *name != finalizer).collect();
    let patch = json!({"metadata": {"resourceVersion": object.resource_version(), "finalizers": left}});
    let params =
        PatchParams { field_manager: Some(labels::MANAGER_WORKSPACES.into()), ..PatchParams::default() };
    let name = object.name_any();
    match api.patch(&name, &params, &Patch::Merge(patch)).await.map_err(Error::api(format!("release {name}")))
    {
        Err(error) if error.code() != Some(404) => Err(error.into()),
        _ => Ok(()),
    }
}
