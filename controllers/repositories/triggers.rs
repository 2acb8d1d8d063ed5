//! Which changes of objects are worth a look at a repository.

use std::collections::HashMap;

use futures::{Stream, StreamExt};
use gcluster_types::Repository;
use gcluster_types::kinds::workspace::Workspace;
use kube::runtime::WatchStreamExt;
use kube::runtime::reflector::ObjectRef;
use kube::runtime::watcher::{self, Event};
use kube::{Resource, ResourceExt};

use super::reconcile::key;

/// Repositories that are new, or of which more changed than what is written here.
pub(super) fn own_changes(
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
pub(super) fn of_workspaces(
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
