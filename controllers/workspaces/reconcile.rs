//! The loop: every workspace that changed, whose ticket or repository did, or that is due.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::StreamExt;
use gcluster_types::kinds::workspace::{WorkspacePhase, WorkspaceStatus};
use gcluster_types::{Repository, Ticket, Workspace, labels};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::api::{DeleteParams, Patch, PatchParams, Preconditions};
use kube::runtime::controller::{self, Action, Controller};
use kube::runtime::reflector::{ObjectRef, Store};
use kube::runtime::watcher;
use kube::{Api, Resource, ResourceExt};
use serde_json::{Value, json};

use super::commands::Live;
use super::observe::{Looks, OFTEN, RARELY};
use super::place::Place;
use super::plan::{self, Fate};
use super::repositories::{self, Source};
use super::trouble::{Result, Trouble};
use super::{salvages, worktrees};
use crate::Context;
use crate::control_loop::jittered;
use crate::error::Error;
use crate::report::{Events, write_status};

/// The fields of the status, all of which are decided here.
const FIELDS: &[&str] = &[
    "phase",
    "reason",
    "message",
    "path",
    "repositories",
    "environment",
    "bytes",
    "size",
    "kept",
    "keptUntil",
    "restoring",
    "readyAt",
    "observedAt",
    "observedRequest",
    "conditions",
];
/// How soon what a person or another loop has to put right is looked at again.
const WAIT: Duration = Duration::from_secs(10);
/// Longer than one look may take: git's commands have limits of their own. Set-up and removal have theirs.
const LOOK: Duration = Duration::from_secs(3_600);
/// What is said of one that is ready.
pub(super) const READY: &str = "a worker may begin";
/// Workspaces that are seen to at once.
const CONCURRENCY: u16 = 32;

/// What all reconciles share.
pub(super) struct Shared {
    pub(super) ctx: Context,
    pub(super) events: Events,
    pub(super) looks: Looks,
    pub(super) live: Live,
    failures: Mutex<HashMap<String, u32>>,
}

/// The loop, and the commands that run in workspaces.
pub struct Workspaces {
    shared: Arc<Shared>,
}

impl Workspaces {
    /// To be run and closed.
    pub fn new(ctx: Context) -> Workspaces {
        let events = Events::new(ctx.client.clone(), labels::MANAGER_WORKSPACES);
        let (looks, live, failures) = (Looks::default(), Live::default(), Mutex::default());
        Workspaces { shared: Arc::new(Shared { ctx, events, looks, live, failures }) }
    }

    /// Runs until it is dropped.
    pub async fn run(&self) {
        let ctx = self.shared.ctx.clone();
        tokio::join!(run(self.shared.clone()), salvages::run(ctx));
    }

    /// Ends all set-up and teardown commands and returns when nothing of them is left, or after `limit`. The next
    /// master begins them again.
    pub async fn close(&self, limit: Duration) {
        if tokio::time::timeout(limit, self.shared.live.close()).await.is_err() {
            tracing::warn!("commands of workspaces are still running; the next master ends them");
        }
    }
}

async fn run(shared: Arc<Shared>) {
    let client = shared.ctx.client.clone();
    let all = watcher::Config::default;
    let controller = Controller::new(Api::<Workspace>::all(client.clone()), all());
    let (by_ticket, by_repository) = (controller.store(), controller.store());
    controller
        .with_config(controller::Config::default().concurrency(CONCURRENCY))
        .watches(Api::<Ticket>::all(client.clone()), all(), move |ticket| {
            let name = ticket.name_any();
            those(&by_ticket, &ticket, |workspace| workspace.spec.ticket.as_ref() == Some(&name))
        })
        .watches(Api::<Repository>::all(client), all(), move |repository| {
            let name = repository.name_any();
            let uses = |workspace: &Workspace| workspace.spec.repositories.iter().any(|one| one.name == name);
            those(&by_repository, &repository, uses)
        })
        .run(
            |workspace, shared: Arc<Shared>| async move { shared.reconcile(&workspace).await },
            |workspace, error, shared| shared.failed(&workspace, error),
            shared,
        )
        .for_each(|_| async {})
        .await;
}

/// The workspaces of an object's namespace that it concerns.
fn those<K: Resource>(
    store: &Store<Workspace>,
    of: &K,
    concerns: impl Fn(&Workspace) -> bool,
) -> Vec<ObjectRef<Workspace>> {
    let namespace = of.namespace();
    let all = store.state().into_iter();
    all.filter(|one| one.namespace() == namespace && concerns(one))
        .map(|one| ObjectRef::from_obj(&*one))
        .collect()
}

impl Shared {
    async fn reconcile(&self, seen: &Workspace) -> Result<Action, Error> {
        let (namespace, name) = (seen.namespace().unwrap_or_default(), seen.name_any());
        let api = Api::<Workspace>::namespaced(self.ctx.client.clone(), &namespace);
        // What the watch holds may be older than what was written a moment ago.
        let found = api.get_opt(&name).await.map_err(Error::api(format!("read Workspace {name}")))?;
        let Some(workspace) = found.filter(|found| found.uid() == seen.uid()) else {
            self.looks.forget(&seen.uid().unwrap_or_default());
            return Ok(Action::await_change());
        };
        let done = self.see_to(&workspace).await;
        match done {
            Ok(action) => {
                self.failures().remove(&workspace.uid().unwrap_or_default());
                Ok(action)
            }
            Err(Trouble::Api(error)) => Err(error),
            Err(trouble) => self.troubled(&workspace, &trouble).await,
        }
    }

    async fn see_to(&self, workspace: &Workspace) -> Result<Action> {
        let sources = repositories::sources(&self.ctx.client, &self.ctx.config.data_dir, workspace).await?;
        let place = Place::of(&self.ctx.config.data_dir, workspace);
        if workspace.metadata.deletion_timestamp.is_some() {
            return self.remove(workspace, &place, &sources).await;
        }
        if !workspace.finalizers().iter().any(|name| name == labels::WORKSPACE_FINALIZER) {
            self.hold(workspace).await?;
            return Ok(Action::requeue(Duration::ZERO));
        }
        let phase = workspace.status.as_ref().map_or(WorkspacePhase::Pending, |status| status.phase);
        match phase {
            WorkspacePhase::Pending | WorkspacePhase::Preparing => {
                self.make(workspace, &place, &sources).await
            }
            WorkspacePhase::Ready | WorkspacePhase::Failed | WorkspacePhase::Terminating => {
                self.keep(workspace, &place, &sources).await
            }
        }
    }

    /// From here on it does not go before what is in it is kept.
    async fn hold(&self, workspace: &Workspace) -> Result<()> {
        let api =
            Api::<Workspace>::namespaced(self.ctx.client.clone(), &workspace.namespace().unwrap_or_default());
        let mut finalizers = workspace.finalizers().to_vec();
        finalizers.push(labels::WORKSPACE_FINALIZER.to_owned());
        let meta = json!({"resourceVersion": workspace.resource_version(), "finalizers": finalizers});
        let params =
            PatchParams { field_manager: Some(labels::MANAGER_WORKSPACES.into()), ..PatchParams::default() };
        let name = workspace.name_any();
        let written = api.patch(&name, &params, &Patch::Merge(json!({ "metadata": meta }))).await;
        written.map_err(Error::api(format!("hold Workspace {name}")))?;
        Ok(())
    }

    /// While it is there: looked at, and why it is there.
    async fn keep(&self, workspace: &Workspace, place: &Place, sources: &[Source]) -> Result<Action> {
        let _beat = self.ctx.pulse.begin_within("workspaces", LOOK);
        let ticket = self.ticket(workspace).await?;
        let phase = ticket.as_ref().map(|ticket| ticket.status.as_ref().map(|s| s.phase).unwrap_or_default());
        let in_flight = phase.is_some_and(|phase| phase.is_in_flight());
        let is_open = phase.is_some_and(|phase| !phase.is_terminal());
        let is_ready = workspace.status.as_ref().is_some_and(|status| status.phase == WorkspacePhase::Ready);
        if is_ready && is_open && worktrees::is_missing(place, sources) {
            return self.lost(workspace, place, sources).await;
        }
        // Beside it is where others are: the disk is there.
        if is_ready && !place.folder().exists() && place.parent.is_dir() {
            let why = "somebody deleted its folder; what was committed, staged and saved of it is kept";
            self.delete(workspace, why).await?;
            return Ok(Action::await_change());
        }
        for note in worktrees::mend(workspace, place, sources).await? {
            self.events.warning(workspace, "WorktreeMended", "Look", note).await;
        }
        let now = self.ctx.now();
        let looked = self.looks.look(workspace, place, sources, in_flight, now).await?;
        let mut current = workspace.clone();
        if let Some(looked) = looked {
            current.status = Some(looked);
        }
        let retention = sources.first().map(|source| source.retention.clone()).unwrap_or_default();
        let (why, until, remove) = match plan::fate(&current, ticket.as_ref(), &retention, now) {
            Fate::Keep { why, until } => (why, until, false),
            Fate::Remove { why } => (why, None, true),
        };
        let mut new = current.status.unwrap_or_default();
        if new.phase == WorkspacePhase::Ready {
            (new.reason, new.message) = (Some("Ready".to_owned()), Some(READY.to_owned()));
        }
        new.kept = Some(why.clone());
        new.kept_until = until.map(MicroTime);
        let written = self.save(workspace, |status| status.clone_from(&new)).await?;
        let mut again = None;
        if !remove {
            again = self.put_by(&written, place, sources).await?;
        }
        if remove {
            self.delete(workspace, &why).await?;
            return Ok(Action::await_change());
        }
        let pause = if in_flight { OFTEN } else { jittered(RARELY) };
        let until = until.and_then(|until| Duration::try_from(until.duration_since(now)).ok());
        let next = [until, again].into_iter().flatten().fold(pause, Duration::min);
        Ok(Action::requeue(next))
    }

    /// Nobody needs it: it goes the way of every workspace that is deleted.
    async fn delete(&self, workspace: &Workspace, why: &str) -> Result<()> {
        let api =
            Api::<Workspace>::namespaced(self.ctx.client.clone(), &workspace.namespace().unwrap_or_default());
        let preconditions = Some(Preconditions { uid: workspace.uid(), resource_version: None });
        let params = DeleteParams { preconditions, ..DeleteParams::background() };
        let name = workspace.name_any();
        match api.delete(&name, &params).await.map_err(Error::api(format!("delete Workspace {name}"))) {
            Err(error) if !error.is_race() => return Err(error.into()),
            _ => {}
        }
        self.events.normal(workspace, "Retired", "Remove", format!("it is removed: {why}")).await;
        Ok(())
    }

    pub(super) async fn ticket(&self, workspace: &Workspace) -> Result<Option<Ticket>> {
        let Some(name) = &workspace.spec.ticket else { return Ok(None) };
        let namespace = workspace.namespace().unwrap_or_default();
        let api = Api::<Ticket>::namespaced(self.ctx.client.clone(), &namespace);
        Ok(api.get_opt(name).await.map_err(Error::api(format!("read Ticket {name}")))?)
    }

    /// Says what went wrong, and when it is tried again.
    async fn troubled(&self, workspace: &Workspace, trouble: &Trouble) -> Result<Action, Error> {
        let (reason, message) = (trouble.reason(), trouble.to_string());
        let before = workspace.status.as_ref().and_then(|status| status.reason.clone());
        let is_made = workspace.status.as_ref().is_some_and(|status| status.ready_at.is_some());
        let written = self
            .save(workspace, |status| {
                status.reason = Some(reason.to_owned());
                status.message = Some(message.clone());
            })
            .await;
        if before.as_deref() != Some(reason) {
            self.events.warning(workspace, reason, if is_made { "Look" } else { "Make" }, message).await;
        }
        match written {
            Ok(_) => {}
            Err(Trouble::Api(error)) => return Err(error),
            Err(other) => tracing::warn!(error = %other, "the trouble of a workspace is not written down"),
        }
        let pause = match trouble {
            // What has to change wakes it.
            Trouble::Wait { .. } => WAIT,
            _ => {
                let mut failures = self.failures();
                let count = failures.entry(workspace.uid().unwrap_or_default()).or_default();
                *count = count.saturating_add(1);
                Duration::from_secs(1 << (*count).min(5))
            }
        };
        Ok(Action::requeue(jittered(pause)))
    }

    /// Writes a changed status, whatever else of the object was written meanwhile: nobody else writes it.
    pub(super) async fn save(
        &self,
        workspace: &Workspace,
        change: impl Fn(&mut WorkspaceStatus),
    ) -> Result<Workspace> {
        let (namespace, name) = (workspace.namespace().unwrap_or_default(), workspace.name_any());
        let api = Api::<Workspace>::namespaced(self.ctx.client.clone(), &namespace);
        let mut current = workspace.clone();
        for _ in 0..5 {
            let old = current.status.clone();
            let mut new = old.clone().unwrap_or_default();
            change(&mut new);
            // A phase that was never written has to be, even if it is the default.
            let old = old.map_or(json!({}), |old| value(&old));
            match write_status(&api, &current, labels::MANAGER_WORKSPACES, FIELDS, &old, &value(&new)).await {
                Ok(Some(written)) => return Ok(written),
                Ok(None) => return Ok(current),
                Err(error) if error.code() == Some(409) => {}
                Err(error) => return Err(error.into()),
            }
            let fresh = api.get(&name).await.map_err(Error::api(format!("read Workspace {name}")))?;
            if fresh.uid() != workspace.uid() {
                break;
            }
            current = fresh;
        }
        Ok(current)
    }

    fn failed(&self, workspace: &Workspace, error: &Error) -> Action {
        let mut failures = self.failures();
        let attempts = failures.entry(workspace.uid().unwrap_or_default()).or_default();
        *attempts = attempts.saturating_add(1);
        if !error.is_race() {
            tracing::warn!(workspace = %workspace.name_any(), %error, "a reconcile failed");
        }
        Action::requeue(error.retry_after(*attempts))
    }

    fn failures(&self) -> std::sync::MutexGuard<'_, HashMap<String, u32>> {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn value(status: &WorkspaceStatus) -> Value {
    serde_json::to_value(status).unwrap_or_default()
}
