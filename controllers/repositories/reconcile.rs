//! The loop: look, plan, tell. Every repository by itself, several at once.

use std::collections::HashMap;
use std::ffi::OsString;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::channel::mpsc::{self, UnboundedSender};
use futures::{Stream, StreamExt};
use gcluster_git::{Git, Source};
use gcluster_types::conditions::{Observed as Said, READY};
use gcluster_types::kinds::repository::RepositoryStatus;
use gcluster_types::kinds::workspace::Workspace;
use gcluster_types::{Repository, labels};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, Time};
use kube::api::{Patch, PatchParams};
use kube::runtime::WatchStreamExt;
use kube::runtime::controller::{self, Action, ReconcileRequest};
use kube::runtime::reflector::{self, ObjectRef, Store};
use kube::runtime::watcher;
use kube::{Api, ResourceExt};
use serde_json::json;
use tokio::time::Instant;

use super::background::Background;
use super::files::Files;
use super::look::{Memo, Places, look};
use super::plan::{Observed, plan};
use super::removal::{self, Folder};
use super::tell::{tell_conditions, tell_hub, tell_moves};
use super::triggers::{of_workspaces, own_changes};
use super::upkeep::{measure, push_upstream, tidy_up, workspace_bytes};
use super::upstream::Failure;
use super::{disk, inbox};
use crate::Context;
use crate::control_loop::jittered;
use crate::error::{Error, Result, api_code};
use crate::report::{Events, write_status};

/// The status fields that are written here: all of them.
const FIELDS: &[&str] = &[
    "observedGeneration",
    "hub",
    "ciStatus",
    "baseCommit",
    "hostCommit",
    "ahead",
    "behind",
    "bytes",
    "size",
    "maintainedAt",
    "conditions",
];
/// How often every repository is looked at, whatever happens.
const LOOK: Duration = Duration::from_secs(15);
/// How often one is that has a problem which can be mended on this machine.
const LOOK_AGAIN: Duration = Duration::from_secs(4);
/// Longer than one reconcile may take: to fetch a large repository is given half an hour.
const RECONCILE: Duration = Duration::from_secs(7_200);
/// Events that come in one breath are one look.
const SETTLE: Duration = Duration::from_millis(30);

type Key = (String, String);
type Triggers = Pin<Box<dyn Stream<Item = ObjectRef<Repository>> + Send>>;

pub(super) struct Shared {
    pub(super) ctx: Context,
    pub(super) events: Events,
    pub(super) workspaces: Store<Workspace>,
    pub(super) files: Files,
    pub(super) wake: UnboundedSender<ObjectRef<Repository>>,
    pub(super) memories: Mutex<HashMap<Key, Arc<tokio::sync::Mutex<Memory>>>>,
    pub(super) pushes: Background<Key, Result<String, Failure>>,
    pub(super) sizes: Background<Key, i64>,
    pub(super) tidying: Background<Key, bool>,
}

/// What is known of one repository between looks. Nothing is lost with it.
#[derive(Default)]
pub(super) struct Memory {
    pub(super) memo: Memo,
    pub(super) checkout: Option<(String, Option<PathBuf>)>,
    pub(super) measured: Option<(Instant, Option<String>)>,
    pub(super) bytes: Option<i64>,
    pub(super) tidied: Option<Instant>,
}

/// Runs until it is dropped.
pub async fn run(ctx: Context) {
    let (repositories, writer) = reflector::store();
    let changes = watcher::watcher(Api::<Repository>::all(ctx.client.clone()), watcher::Config::default())
        .default_backoff()
        .reflect(writer);
    let (workspaces, writer) = reflector::store();
    let others = watcher::watcher(Api::<Workspace>::all(ctx.client.clone()), watcher::Config::default())
        .default_backoff()
        .reflect(writer);
    let (wake, woken) = mpsc::unbounded();
    let streams: Vec<Triggers> =
        vec![own_changes(changes).boxed(), of_workspaces(others).boxed(), woken.boxed()];
    let queue =
        futures::stream::select_all(streams).map(|of| Ok::<_, watcher::Error>(ReconcileRequest::from(of)));
    let shared = Arc::new(Shared {
        events: Events::new(ctx.client.clone(), labels::MANAGER_REPOSITORIES),
        files: Files::new(wake.clone()),
        ctx,
        workspaces,
        wake,
        memories: Mutex::default(),
        pushes: Background::new(),
        sizes: Background::new(),
        tidying: Background::new(),
    });
    let failures: Arc<Mutex<HashMap<Key, u32>>> = Arc::default();
    let reset = failures.clone();
    let config = controller::Config::default().concurrency(shared.ctx.config.concurrency).debounce(SETTLE);
    let run = controller::applier(
        move |repository: Arc<Repository>, shared: Arc<Shared>| {
            let reset = reset.clone();
            Box::pin(async move {
                let _beat = shared.ctx.pulse.begin_within("repositories", RECONCILE);
                let action = reconcile(&shared, &repository).await?;
                reset.lock().unwrap_or_else(PoisonError::into_inner).remove(&key(&repository));
                Ok::<Action, Error>(action)
            })
        },
        move |repository: Arc<Repository>, error: &Error, _: Arc<Shared>| {
            let mut failures = failures.lock().unwrap_or_else(PoisonError::into_inner);
            let times =
                failures.entry(key(&repository)).and_modify(|n| *n = n.saturating_add(1)).or_insert(0);
            if !error.is_race() {
                tracing::warn!(repository = %repository.name_any(), %error, times = *times, "a repository could not be looked at");
            }
            Action::requeue(error.retry_after(*times))
        },
        shared,
        repositories,
        queue,
        config,
    );
    run.for_each(|result| async {
        if let Err(controller::Error::QueueError(error)) = result {
            tracing::debug!(%error, "the queue of repositories was disturbed");
        }
    })
    .await;
}

pub(super) fn key(repository: &Repository) -> Key {
    (repository.namespace().unwrap_or_default(), repository.name_any())
}

async fn reconcile(shared: &Arc<Shared>, repository: &Repository) -> Result<Action> {
    let api: Api<Repository> =
        Api::namespaced(shared.ctx.client.clone(), &repository.namespace().unwrap_or_default());
    if repository.metadata.deletion_timestamp.is_some() {
        return remove(shared, &api, repository).await;
    }
    if !repository.finalizers().iter().any(|name| name == labels::REPOSITORY_FINALIZER) {
        // The write comes back as a change.
        set_finalizer(&api, repository, true).await?;
        return Ok(Action::await_change());
    }
    let memory = {
        let mut memories = shared.memories.lock().unwrap_or_else(PoisonError::into_inner);
        memories.entry(key(repository)).or_default().clone()
    };
    let memory = &mut *memory.lock().await;
    let places = Places::of(&shared.ctx.config.data_dir, repository);
    let begun = begin(shared, &api, repository, &places).await?;
    let repository = begun.as_ref().unwrap_or(repository);
    let (seen, tips) = look(&mut memory.memo, repository, &places).await;
    if let Ok(seen) = &seen {
        tell_hub(shared, repository, &places, seen).await;
        tell_moves(shared, repository, &places, seen).await;
        watch_files(shared, memory, repository, &places).await;
        for push in inbox::see_to(&shared.ctx.client, repository, &places.hub.join("gcluster/inbox")).await? {
            let branch = push.reference.trim_start_matches("refs/heads/");
            let short = push.commit.get(..12).unwrap_or_default();
            let note = format!("{short} was pushed to {branch}; it is tested");
            shared.events.normal(repository, "PushReceived", &format!("Check {short}"), note).await;
        }
    }
    let base = tips.as_ref().and_then(|tips| tips.base.clone());
    let pushed = push_upstream(shared, repository, &places, seen.is_ok(), tips.as_ref());
    measure(shared, memory, repository, &places, base.as_ref());
    let observed = Observed {
        repository,
        places: &places,
        seen: &seen,
        tips: tips.as_ref(),
        free: disk::free(&places.folder),
        hub_bytes: memory.bytes,
        workspace_bytes: workspace_bytes(shared, repository),
        pushed,
        now: shared.ctx.now(),
    };
    let mut new = plan(&observed);
    if tidy_up(shared, memory, repository, &places, seen.is_ok()).await? {
        new.maintained_at = Some(MicroTime(shared.ctx.now()));
    }
    let old = repository.status.clone().unwrap_or_default();
    if write_status(&api, repository, labels::MANAGER_REPOSITORIES, FIELDS, &old, &new).await?.is_some() {
        tell_conditions(shared, repository, &old, &new).await;
    }
    let is_near = matches!(Source::of(&repository.spec.path), Source::Local(_));
    // Whoever mends what is wrong waits for this.
    let pause = if seen.is_err() && is_near { LOOK_AGAIN } else { LOOK };
    Ok(Action::requeue(jittered(pause)))
}

/// Says that a hub is being made, which takes its time where there is much to fetch.
async fn begin(
    shared: &Shared,
    api: &Api<Repository>,
    repository: &Repository,
    places: &Places,
) -> Result<Option<Repository>> {
    if repository.status.is_some() || places.hub.join("HEAD").is_file() {
        return Ok(None);
    }
    let mut new = RepositoryStatus::default();
    let message = format!("the hub is being made from {}", repository.spec.path);
    let generation = repository.metadata.generation;
    let said = Said { kind: READY, status: Some(false), reason: "HubBeingMade", message, generation };
    gcluster_types::conditions::set(&mut new.conditions, said, &Time(shared.ctx.now()));
    let old = RepositoryStatus::default();
    write_status(api, repository, labels::MANAGER_REPOSITORIES, &["conditions"], &old, &new).await
}

/// Watches what tells of pushes, moved branches, changed settings, and commits of the user.
async fn watch_files(shared: &Shared, memory: &mut Memory, repository: &Repository, places: &Places) {
    let named = |name: &str| Some(OsString::from(name));
    let mut folders = vec![
        (places.hub.join("gcluster"), named("moved")),
        (places.hub.join("gcluster/inbox"), None),
        (places.hub.clone(), named("config")),
    ];
    let path = &repository.spec.path;
    if memory.checkout.as_ref().is_none_or(|(of, _)| of != path) {
        let directory = match Source::of(path) {
            Source::Local(directory) => {
                let git = Git::new(&directory);
                let common = git.text(["rev-parse", "--path-format=absolute", "--git-common-dir"]).await;
                common.ok().map(PathBuf::from)
            }
            Source::Remote(_) => None,
        };
        memory.checkout = Some((path.clone(), directory));
    }
    if let Some((_, Some(directory))) = &memory.checkout {
        let reference = directory.join("refs/heads").join(&repository.spec.base);
        if let (Some(folder), Some(name)) = (reference.parent(), reference.file_name()) {
            folders.push((folder.to_owned(), Some(name.to_owned())));
        }
        folders.push((directory.clone(), named("packed-refs")));
    }
    folders.retain(|(folder, _)| folder.is_dir());
    shared.files.watch(&ObjectRef::from_obj(repository), folders);
}

/// Lets a deleted Repository go when its workspaces have gone, with its hub unless that has what is nowhere else.
async fn remove(shared: &Shared, api: &Api<Repository>, repository: &Repository) -> Result<Action> {
    if !repository.finalizers().iter().any(|name| name == labels::REPOSITORY_FINALIZER) {
        return Ok(Action::await_change());
    }
    let places = Places::of(&shared.ctx.config.data_dir, repository);
    let workspaces = removal::workspaces(&shared.ctx.client, repository).await?;
    let waits = if !workspaces.is_empty() {
        Some(format!("it is deleted when its workspaces are gone: {}", workspaces.join(", ")))
    } else {
        shared.files.watch(&ObjectRef::from_obj(repository), Vec::new());
        let hub = places.hub.display();
        match removal::clear(repository, &places).await {
            Ok(Folder::Removed) => None,
            Ok(Folder::Kept(why)) => {
                let note = format!(
                    "the hub {hub} is kept, for {why}; a Repository of this name takes it up again, and who needs none of \
                     it removes the folder"
                );
                shared.events.warning(repository, "HubKept", "HubKept", note).await;
                None
            }
            Err(error) => Some(format!("its folder {} cannot be removed: {error}", places.folder.display())),
        }
    };
    let Some(message) = waits else {
        shared.memories.lock().unwrap_or_else(PoisonError::into_inner).remove(&key(repository));
        set_finalizer(api, repository, false).await?;
        return Ok(Action::await_change());
    };
    let old = repository.status.clone().unwrap_or_default();
    let mut new = old.clone();
    let now = Time(shared.ctx.now());
    let generation = repository.metadata.generation;
    let said = Said { kind: READY, status: Some(false), reason: "Terminating", message, generation };
    gcluster_types::conditions::set(&mut new.conditions, said, &now);
    write_status(api, repository, labels::MANAGER_REPOSITORIES, &["conditions"], &old, &new).await?;
    // Each workspace that goes is a trigger.
    Ok(Action::requeue(jittered(LOOK)))
}

async fn set_finalizer(api: &Api<Repository>, repository: &Repository, wanted: bool) -> Result<()> {
    let mut finalizers: Vec<String> = repository.finalizers().to_vec();
    finalizers.retain(|name| name != labels::REPOSITORY_FINALIZER);
    if wanted {
        finalizers.push(labels::REPOSITORY_FINALIZER.to_owned());
    }
    let patch =
        json!({"metadata": {"resourceVersion": repository.resource_version(), "finalizers": finalizers}});
    let params =
        PatchParams { field_manager: Some(labels::MANAGER_REPOSITORIES.into()), ..PatchParams::default() };
    let name = repository.name_any();
    match api.patch(&name, &params, &Patch::Merge(patch)).await {
        Err(error) if !wanted && api_code(&error) == Some(404) => Ok(()),
        other => other.map(drop).map_err(Error::api(format!("set the finalizer of Repository {name}"))),
    }
}
