//! The loop: look, plan, tell. Every repository by itself, several at once.

use std::collections::HashMap;
use std::ffi::OsString;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::channel::mpsc::{self, UnboundedSender};
use futures::{Stream, StreamExt};
use gcluster_git::{Git, Hub, Source};
use gcluster_types::conditions::{Observed as Said, READY};
use gcluster_types::kinds::repository::RepositoryStatus;
use gcluster_types::kinds::workspace::Workspace;
use gcluster_types::{Repository, labels};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, Time};
use k8s_openapi::jiff::SignedDuration;
use kube::api::{Patch, PatchParams};
use kube::runtime::WatchStreamExt;
use kube::runtime::controller::{self, Action, ReconcileRequest};
use kube::runtime::reflector::{self, ObjectRef, Store};
use kube::runtime::watcher::{self, Event};
use kube::{Api, Resource, ResourceExt};
use serde_json::json;
use tokio::time::Instant;

use super::background::Background;
use super::files::Files;
use super::look::{Memo, Places, Seen, look};
use super::plan::{DISK_SPACE, Observed, UPSTREAM_PUSHED, plan};
use super::removal::{self, Folder};
use super::upstream::{self, Failure, Pushed};
use super::{disk, inbox, tidy};
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
/// Events that come in one breath are one look.
const SETTLE: Duration = Duration::from_millis(30);
/// How often a hub is measured, and how often at most when its base moves.
const MEASURE: (Duration, Duration) = (Duration::from_secs(300), Duration::from_secs(20));

type Key = (String, String);
type Triggers = Pin<Box<dyn Stream<Item = ObjectRef<Repository>> + Send>>;

struct Shared {
    ctx: Context,
    events: Events,
    workspaces: Store<Workspace>,
    files: Files,
    wake: UnboundedSender<ObjectRef<Repository>>,
    memories: Mutex<HashMap<Key, Arc<tokio::sync::Mutex<Memory>>>>,
    pushes: Background<Key, Result<String, Failure>>,
    sizes: Background<Key, i64>,
    tidying: Background<Key, bool>,
}

/// What is known of one repository between looks. Nothing is lost with it.
#[derive(Default)]
struct Memory {
    memo: Memo,
    checkout: Option<(String, Option<PathBuf>)>,
    measured: Option<(Instant, Option<String>)>,
    bytes: Option<i64>,
    tidied: Option<Instant>,
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

/// Repositories that are new, or of which more changed than what is written here.
fn own_changes(
    events: impl Stream<Item = watcher::Result<Event<Repository>>> + Send,
) -> impl Stream<Item = ObjectRef<Repository>> + Send {
    let mut known = HashMap::new();
    events.touched_objects().filter_map(move |repository| {
        let trigger = repository.ok().and_then(|repository| {
            let meta = repository.meta();
            let now =
                (meta.uid.clone(), meta.generation, meta.deletion_timestamp.clone(), meta.finalizers.clone());
            let before = known.insert(key(&repository), now.clone());
            (before != Some(now)).then(|| ObjectRef::from_obj(&repository))
        });
        std::future::ready(trigger)
    })
}

/// The repositories of workspaces that came, went or were measured.
fn of_workspaces(
    events: impl Stream<Item = watcher::Result<Event<Workspace>>> + Send,
) -> impl Stream<Item = ObjectRef<Repository>> + Send {
    let mut known = HashMap::new();
    let mut list = 0_u64;
    events.filter_map(|event| std::future::ready(event.ok())).flat_map(move |event| {
        let (workspace, gone) = match event {
            Event::Apply(workspace) | Event::InitApply(workspace) => (Some(workspace), false),
            Event::Delete(workspace) => (Some(workspace), true),
            Event::Init | Event::InitDone => (None, false),
        };
        list += 1;
        let touched = workspace.filter(|workspace| {
            let bytes = workspace.status.as_ref().and_then(|status| status.bytes);
            let now = (workspace.uid(), bytes, gone.then_some(list));
            known.insert((workspace.namespace(), workspace.name_any()), now.clone()) != Some(now)
        });
        let names = touched.into_iter().flat_map(|workspace| {
            let namespace = workspace.namespace().unwrap_or_default();
            let of = workspace.spec.repositories.into_iter();
            of.map(move |repository| ObjectRef::new(&repository.name).within(&namespace)).collect::<Vec<_>>()
        });
        futures::stream::iter(names.collect::<Vec<_>>())
    })
}

fn key(repository: &Repository) -> Key {
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
    let (seen, tips) = look(&mut memory.memo, repository, &places).await;
    if let Ok(seen) = &seen {
        tell_hub(shared, repository, &places, seen).await;
        watch_files(shared, memory, repository, &places).await;
        for push in inbox::see_to(&shared.ctx.client, repository, &places.hub.join("gcluster/inbox")).await? {
            let branch = push.reference.trim_start_matches("refs/heads/");
            let short = push.commit.get(..12).unwrap_or_default();
            let note = format!("{short} was pushed to {branch}; it is tested");
            shared.events.normal(repository, "Pushed", &format!("Check {short}"), note).await;
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
    Ok(Action::requeue(jittered(LOOK)))
}

/// Says that a hub was made or mended.
async fn tell_hub(shared: &Shared, repository: &Repository, places: &Places, seen: &Seen) {
    let hub = places.hub.display();
    let before = repository.status.as_ref().and_then(|status| status.base_commit.as_ref());
    if seen.is_new {
        match before {
            Some(before) if seen.tips.base.as_ref() != Some(before) => {
                let note = format!(
                    "the hub {hub} was gone and is made again from the checkout; its {} was at {before}: what was only in \
                     the hub is lost with it, unless it is put back",
                    repository.spec.base
                );
                shared.events.warning(repository, "HubLost", "HubMade", note).await;
            }
            _ => {
                let note = format!("the hub {hub} is made from {}", repository.spec.path);
                shared.events.normal(repository, "HubMade", "HubMade", note).await;
            }
        }
    } else if !seen.mended.is_empty() {
        let note = format!("somebody had changed the hub {hub}; mended: {}", seen.mended.join(", "));
        shared.events.warning(repository, "HubMended", "HubMended", note).await;
    }
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

/// Begins a push when one is due, and says how it stands.
fn push_upstream(
    shared: &Arc<Shared>,
    repository: &Repository,
    places: &Places,
    is_ready: bool,
    tips: Option<&gcluster_git::hub::Tips>,
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
fn measure(
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

/// Bytes of the workspaces of a repository; one of several repositories counts for the first of them.
fn workspace_bytes(shared: &Shared, repository: &Repository) -> i64 {
    let (namespace, name) = (repository.namespace(), repository.name_any());
    let all = shared.workspaces.state();
    let own = all.iter().filter(|workspace| {
        workspace.namespace() == namespace
            && workspace.spec.repositories.first().is_some_and(|first| first.name == name)
    });
    own.filter_map(|workspace| workspace.status.as_ref()?.bytes).sum()
}

/// Tidies the hub when nobody works and there is something to tidy. True when that has just been done.
async fn tidy_up(
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

/// An Event for each condition that turned.
async fn tell_conditions(
    shared: &Shared,
    repository: &Repository,
    old: &RepositoryStatus,
    new: &RepositoryStatus,
) {
    for condition in &new.conditions {
        let before = old.conditions.iter().find(|other| other.type_ == condition.type_);
        let turned = before
            .is_none_or(|before| (&before.status, &before.reason) != (&condition.status, &condition.reason));
        // That all is well from the beginning, or that something is under way, is no news.
        let is_news =
            turned && condition.reason != "Pushing" && (before.is_some() || condition.status == "False");
        if !is_news || ![READY, DISK_SPACE, UPSTREAM_PUSHED].contains(&condition.type_.as_str()) {
            continue;
        }
        let (reason, action) = (condition.reason.as_str(), condition.type_.as_str());
        match condition.status == "True" {
            true => shared.events.normal(repository, reason, action, condition.message.clone()).await,
            false => shared.events.warning(repository, reason, action, condition.message.clone()).await,
        }
    }
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
