//! File events of hubs and checkouts: a push, a merge or a commit of the user is seen at once.
//!
//! Where the system gives none (network folders, too many watches) looks come by the clock alone.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use futures::channel::mpsc::UnboundedSender;
use gcluster_types::Repository;
use kube::runtime::reflector::ObjectRef;
use notify::event::{AccessKind, AccessMode};
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};

/// Whom to wake for which name in a folder; any visible name where none is given.
type Wanted = BTreeMap<PathBuf, Vec<(ObjectRef<Repository>, Option<OsString>)>>;

/// The folders that are watched.
pub(super) struct Files {
    wanted: Arc<Mutex<Wanted>>,
    watcher: Mutex<Option<RecommendedWatcher>>,
}

impl Files {
    /// Watches nothing yet. Whoever is concerned by an event is sent to `wake`.
    pub(super) fn new(wake: UnboundedSender<ObjectRef<Repository>>) -> Self {
        let wanted: Arc<Mutex<Wanted>> = Arc::default();
        let known = wanted.clone();
        let watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
            let Ok(event) = event else { return };
            for repository in concerned(&known.lock().unwrap_or_else(PoisonError::into_inner), &event) {
                // Nobody listens any more when the controller ends.
                let _ = wake.unbounded_send(repository);
            }
        });
        let watcher = watcher
            .inspect_err(
                |error| tracing::warn!(%error, "no file events: repositories are looked at by the clock"),
            )
            .ok();
        Self { wanted, watcher: Mutex::new(watcher) }
    }

    /// Watches these folders for a repository, each for one name or for all, and no others any more.
    pub(super) fn watch(
        &self,
        repository: &ObjectRef<Repository>,
        folders: Vec<(PathBuf, Option<OsString>)>,
    ) {
        let mut wanted = self.wanted.lock().unwrap_or_else(PoisonError::into_inner);
        let before: Vec<PathBuf> = wanted.keys().cloned().collect();
        for entries in wanted.values_mut() {
            entries.retain(|(of, _)| of != repository);
        }
        for (folder, name) in folders {
            wanted.entry(folder).or_default().push((repository.clone(), name));
        }
        wanted.retain(|_, entries| !entries.is_empty());
        let (added, gone): (Vec<PathBuf>, Vec<PathBuf>) = (
            wanted.keys().filter(|folder| !before.contains(folder)).cloned().collect(),
            before.iter().filter(|folder| !wanted.contains_key(*folder)).cloned().collect(),
        );
        // Its thread may be waiting for them.
        drop(wanted);
        let mut watcher = self.watcher.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(watcher) = watcher.as_mut() else { return };
        for folder in &gone {
            let _ = watcher.unwatch(folder);
        }
        for folder in &added {
            if let Err(error) = watcher.watch(folder, RecursiveMode::NonRecursive) {
                tracing::debug!(folder = %folder.display(), %error, "a folder is looked at by the clock alone");
                // It is tried again with the next look.
                self.wanted.lock().unwrap_or_else(PoisonError::into_inner).remove(folder);
            }
        }
    }
}

fn concerned(wanted: &Wanted, event: &Event) -> Vec<ObjectRef<Repository>> {
    let is_change = match event.kind {
        EventKind::Access(AccessKind::Close(AccessMode::Write)) => true,
        EventKind::Create(_) | EventKind::Modify(_) => true,
        // Also what is looked at itself: reading a file is an event, too.
        _ => false,
    };
    let entries = |path: &Path| {
        let name = path.file_name()?.to_owned();
        let hidden = name.to_string_lossy().starts_with('.');
        let of = wanted.get(path.parent()?)?;
        let concerned = of.iter().filter(move |(_, only)| match only {
            Some(only) => *only == name,
            None => !hidden,
        });
        Some(concerned.map(|(repository, _)| repository.clone()).collect::<Vec<_>>())
    };
    if !is_change {
        return Vec::new();
    }
    event.paths.iter().filter_map(|path| entries(path)).flatten().collect()
}
