//! What is done beside the looks and takes its time: pushes upstream, measuring, tidying.

use std::sync::Arc;
use std::time::Duration;

use gcluster_git::Hub;
use gcluster_git::hub::Tips;
use gcluster_types::{Repository, labels};
use k8s_openapi::jiff::SignedDuration;
use kube::ResourceExt;
use kube::runtime::reflector::ObjectRef;
use tokio::time::Instant;

use super::look::Places;
use super::plan::UPSTREAM_PUSHED;
use super::reconcile::{Memory, Shared, key};
use super::upstream::{self, Pushed};
use super::{disk, tidy};
use crate::error::Result;

/// How often a hub is measured, and how often at most when its base moves.
const MEASURE: (Duration, Duration) = (Duration::from_secs(300), Duration::from_secs(20));

/// Begins a push when one is due, and says how it stands.
pub(super) fn push_upstream(
    shared: &Arc<Shared>,
    repository: &Repository,
    places: &Places,
    is_ready: bool,
    tips: Option<&Tips>,
) -> Pushed {
    let key = key(repository);
    if repository.spec.upstream.is_none() {
        return Pushed::Unknown;
    }
    let Some(base) = tips.and_then(|tips| tips.base.clone()) else { return Pushed::Unknown };
    // What was pushed to another address says nothing of this one.
    let changed = repository.status.as_ref().is_none_or(|status| {
        status.observed_generation != repository.metadata.generation
            || status.conditions.iter().all(|condition| condition.type_ != UPSTREAM_PUSHED)
    });
    if !changed && tips.and_then(|tips| tips.upstream.as_ref()) == Some(&base) {
        return Pushed::Done(base);
    }
    let last = shared.pushes.last(&key);
    let (attempts, due) = match &last {
        Some(Ok(commit)) if *commit == base && !changed => return Pushed::Done(base),
        Some(Err(failure)) => (failure.attempts, changed || Instant::now() >= failure.next(&base)),
        _ => (0, true),
    };
    if is_ready && due {
        let hub = Hub::new(&places.hub, labels::MANAGER_REPOSITORIES);
        let (wake, of) = (shared.wake.clone(), ObjectRef::from_obj(repository));
        let then = move || drop(wake.unbounded_send(of));
        shared.pushes.begin(key.clone(), upstream::push(hub, repository.clone(), base, attempts), then);
    }
    match last {
        Some(Err(failure)) => Pushed::Failed { attempts: failure.attempts, why: failure.why },
        _ if shared.pushes.is_running(&key) => Pushed::Running,
        _ => Pushed::Unknown,
    }
}

/// Begins to measure the hub when it is time, and takes over what was measured.
pub(super) fn measure(
    shared: &Arc<Shared>,
    memory: &mut Memory,
    repository: &Repository,
    places: &Places,
    base: Option<&String>,
) {
    let key = key(repository);
    if let Some(bytes) = shared.sizes.last(&key) {
        memory.bytes = Some(bytes);
    }
    let is_due = memory.measured.as_ref().is_none_or(|(at, of)| {
        let moved = of.as_ref() != base;
        at.elapsed() > if moved { MEASURE.1 } else { MEASURE.0 }
    });
    if is_due && !shared.sizes.is_running(&key) {
        memory.measured = Some((Instant::now(), base.cloned()));
        let (wake, of) = (shared.wake.clone(), ObjectRef::from_obj(repository));
        let folder = places.folder.clone();
        let work =
            async move { tokio::task::spawn_blocking(move || disk::taken(&folder)).await.unwrap_or(0) };
        shared.sizes.begin(key, work, move || drop(wake.unbounded_send(of)));
    }
}

/// Tidies the hub when nobody works and there is something to tidy. True when that has just been done.
pub(super) async fn tidy_up(
    shared: &Arc<Shared>,
    memory: &mut Memory,
    repository: &Repository,
    places: &Places,
    is_ready: bool,
) -> Result<bool> {
    let key = key(repository);
    if shared.tidying.is_running(&key) {
        return Ok(false);
    }
    let since = memory.tidied;
    let was_done = shared.tidying.take(&key).unwrap_or(false);
    let status = repository.status.as_ref();
    let recent = status
        .and_then(|status| status.maintained_at.as_ref())
        .is_some_and(|at| shared.ctx.now().duration_since(at.0) < SignedDuration::from_hours(1));
    if !is_ready || was_done || recent || since.is_some_and(|at| at.elapsed() < tidy::AGAIN) {
        return Ok(was_done);
    }
    memory.tidied = Some(Instant::now());
    if tidy::is_idle(&shared.ctx.client, repository).await? {
        let hub = Hub::new(&places.hub, labels::MANAGER_REPOSITORIES);
        let (wake, of) = (shared.wake.clone(), ObjectRef::from_obj(repository));
        shared.tidying.begin(key, tidy::tidy(hub), move || drop(wake.unbounded_send(of)));
    }
    Ok(false)
}

/// Bytes of the workspaces of a repository; one of several repositories counts for the first of them.
pub(super) fn workspace_bytes(shared: &Shared, repository: &Repository) -> i64 {
    let (namespace, name) = (repository.namespace(), repository.name_any());
    let all = shared.workspaces.state();
    let own = all.iter().filter(|workspace| {
        workspace.namespace() == namespace
            && workspace.spec.repositories.first().is_some_and(|first| first.name == name)
    });
    own.filter_map(|workspace| workspace.status.as_ref()?.bytes).sum()
}
