//! Following all objects that own or are owned, and acting on what follows.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures::StreamExt;
use futures::stream::{AbortHandle, BoxStream, SelectAll, abortable};
use gcluster_types::labels;
use kube::api::{DeleteParams, Patch, PatchParams, Preconditions};
use kube::core::{ApiResource, DynamicObject};
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event};
use kube::{Api, ResourceExt};
use serde_json::{Value, json};

use super::graph::{Action, Graph, Node};
use super::kinds::{self, Kind};
use super::related::Related;
use crate::Context;
use crate::control_loop::jittered;
use crate::error::{Error, Result};

/// How soon a failed action is tried again.
const RETRY: Duration = Duration::from_millis(500);
/// Requests under way at once.
const CONCURRENCY: usize = 16;

/// Runs until it is dropped.
pub(super) async fn run(ctx: Context) {
    let mut collector = Collector { ctx: ctx.clone(), graph: Graph::default(), kinds: Vec::new() };
    let mut events = SelectAll::new();
    let mut changes = std::pin::pin!(kinds::follow(ctx.client.clone()).fuse());
    let mut listings: BTreeMap<usize, BTreeSet<String>> = BTreeMap::new();
    let mut dirty: BTreeSet<String> = BTreeSet::new();
    let mut retry = tokio::time::Instant::now();
    loop {
        tokio::select! {
            Some(kinds) = changes.next() => {
                for (kind, stream) in collector.serve(kinds, &mut dirty) {
                    listings.remove(&kind);
                    events.push(stream);
                }
            }
            Some((kind, event)) = events.next() => collector.take(kind, event, &mut listings, &mut dirty),
            () = tokio::time::sleep_until(retry), if !dirty.is_empty() && collector.all_listed() => {
                let _beat = ctx.pulse.begin("collector");
                dirty = collector.act(std::mem::take(&mut dirty)).await;
                if !dirty.is_empty() {
                    retry = tokio::time::Instant::now() + jittered(RETRY);
                }
            }
            else => return,
        }
    }
}

type Events = BoxStream<'static, (usize, Event<Related>)>;

fn follow(ctx: &Context, kind: usize, resource: &ApiResource) -> Events {
    let api = Api::<Related>::all_with(ctx.client.clone(), resource);
    let events = watcher::watcher(api, watcher::Config::default()).default_backoff();
    let events = events.filter_map(move |event| async move {
        match event {
            Ok(event) => Some((kind, event)),
            Err(error) => {
                tracing::debug!(%error, kind, "a watch of the collector was interrupted");
                None
            }
        }
    });
    events.boxed()
}

struct Collector {
    ctx: Context,
    graph: Graph,
    /// Every kind that ever was followed; its place is its number.
    kinds: Vec<Followed>,
}

/// A kind, and what is known of its objects.
struct Followed {
    kind: Kind,
    /// Until it was listed, an owner that is not known may exist all the same.
    listed: bool,
    /// Ends the watch; none when it has ended.
    watch: Option<AbortHandle>,
}

impl Collector {
    /// Follows these kinds from now on. Answers the streams of those that are new.
    fn serve(&mut self, kinds: Vec<Kind>, dirty: &mut BTreeSet<String>) -> Vec<(usize, Events)> {
        // Nobody gives an event an owner, and there are many of them.
        let wanted: Vec<Kind> = kinds.into_iter().filter(|kind| !kind.is("events.k8s.io", "Event")).collect();
        for (number, followed) in self.kinds.iter_mut().enumerate() {
            if !wanted.contains(&followed.kind)
                && let Some(watch) = followed.watch.take()
            {
                watch.abort();
                followed.listed = true;
                for gone in self.graph.of_kind(number) {
                    dirty.extend(self.graph.remove(&gone));
                }
            }
        }
        let mut streams = Vec::new();
        for kind in wanted {
            if self.kinds.iter().any(|followed| followed.watch.is_some() && followed.kind == kind) {
                continue;
            }
            let number = self.kinds.len();
            let (stream, watch) = abortable(follow(&self.ctx, number, &kind.resource));
            streams.push((number, stream.boxed()));
            self.kinds.push(Followed { kind, listed: false, watch: Some(watch) });
        }
        streams
    }

    fn all_listed(&self) -> bool {
        self.kinds.iter().all(|followed| followed.listed)
    }

    fn take(
        &mut self,
        kind: usize,
        event: Event<Related>,
        listings: &mut BTreeMap<usize, BTreeSet<String>>,
        dirty: &mut BTreeSet<String>,
    ) {
        let followed = self.kinds.get_mut(kind).filter(|followed| followed.watch.is_some());
        let Some(followed) = followed else { return };
        match event {
            Event::Init => {
                listings.insert(kind, BTreeSet::new());
            }
            Event::InitApply(object) => {
                listings.entry(kind).or_default().extend(object.uid());
                dirty.extend(Node::of(kind, &object).map(|node| self.graph.put(node)).unwrap_or_default());
            }
            Event::InitDone => {
                followed.listed = true;
                let listed = listings.insert(kind, BTreeSet::new()).unwrap_or_default();
                for gone in self.graph.of_kind(kind).difference(&listed) {
                    dirty.extend(self.graph.remove(gone));
                }
            }
            Event::Apply(object) => {
                dirty.extend(Node::of(kind, &object).map(|node| self.graph.put(node)).unwrap_or_default());
            }
            Event::Delete(object) => {
                dirty.extend(object.uid().map(|uid| self.graph.remove(&uid)).unwrap_or_default());
            }
        }
    }

    /// Does what follows for these objects. Answers those to look at again.
    async fn act(&self, dirty: BTreeSet<String>) -> BTreeSet<String> {
        let actions = dirty.into_iter().flat_map(|about| {
            self.graph.actions(&about).into_iter().map(move |(uid, action)| (about.clone(), uid, action))
        });
        futures::stream::iter(actions.collect::<Vec<_>>())
            .map(|(about, uid, action)| async move {
                let node = self.graph.get(&uid)?;
                match self.one(node, &action).await {
                    Ok(()) => None,
                    Err(error) => {
                        tracing::debug!(name = %node.name, ?action, %error, "the collector tries again");
                        Some(about)
                    }
                }
            })
            .buffer_unordered(CONCURRENCY)
            .filter_map(|about| async move { about })
            .collect()
            .await
    }

    async fn one(&self, node: &Node, action: &Action) -> Result<()> {
        let Some(followed) = self.kinds.get(node.kind) else { return Ok(()) };
        let api = followed.kind.api(&self.ctx.client, &node.namespace);
        let done = match action {
            Action::DeleteUnowned if self.is_owned(node).await? => Ok(()),
            Action::DeleteUnowned | Action::Delete => delete(&api, node).await,
            Action::Disown(owner) => {
                let change = |object: &DynamicObject| {
                    let owners = object.owner_references().iter().filter(|o| o.uid != *owner).cloned();
                    json!({"ownerReferences": owners.collect::<Vec<_>>()})
                };
                change_metadata(&api, node, change).await
            }
            Action::RemoveFinalizer(finalizer) => {
                let change = |object: &DynamicObject| {
                    let finalizers = object.finalizers().iter().filter(|f| f != finalizer).cloned();
                    json!({"finalizers": finalizers.collect::<Vec<_>>()})
                };
                change_metadata(&api, node, change).await
            }
        };
        match done {
            Err(error) if error.code() == Some(404) => Ok(()),
            other => other,
        }
    }

    /// Asks the API whether any owner is there: what is not in memory may have come since.
    async fn is_owned(&self, node: &Node) -> Result<bool> {
        for owner in &node.owners {
            let group = owner.api_version.rsplit_once('/').map_or("", |(group, _)| group);
            let known = self.kinds.iter().rev().find(|followed| followed.kind.is(group, &owner.kind));
            // What is of a kind that nobody serves may be anywhere: its belongings are not ours to delete.
            let Some(known) = known else { return Ok(true) };
            let api = known.kind.api(&self.ctx.client, &node.namespace);
            let there = api
                .get_opt(&owner.name)
                .await
                .map_err(Error::api(format!("read {} {}", owner.kind, owner.name)))?;
            if there.is_some_and(|there| there.uid().as_deref() == Some(&owner.uid)) {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// Deletes exactly this object, not a later one of the same name.
async fn delete(api: &Api<DynamicObject>, node: &Node) -> Result<()> {
    let preconditions = Preconditions { uid: Some(node.uid.clone()), resource_version: None };
    let params = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::background() };
    api.delete(&node.name, &params).await.map(drop).map_err(Error::api(format!("delete {}", node.name)))
}

/// Changes a list in the metadata, provided that nobody wrote the object in between.
async fn change_metadata(
    api: &Api<DynamicObject>,
    node: &Node,
    change: impl FnOnce(&DynamicObject) -> Value,
) -> Result<()> {
    let object = api.get_opt(&node.name).await.map_err(Error::api(format!("read {}", node.name)))?;
    let Some(object) = object.filter(|object| object.uid().as_deref() == Some(&node.uid)) else {
        return Ok(());
    };
    let mut metadata = change(&object);
    metadata["resourceVersion"] = json!(object.resource_version());
    let params =
        PatchParams { field_manager: Some(labels::MANAGER_COLLECTOR.into()), ..PatchParams::default() };
    let patch = Patch::Merge(json!({ "metadata": metadata }));
    api.patch(&node.name, &params, &patch)
        .await
        .map(drop)
        .map_err(Error::api(format!("change {}", node.name)))
}
