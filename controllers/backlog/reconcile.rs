//! The loop: one follower for the folder of each Repository, begun anew when the Repository says something else.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::StreamExt as _;
use gcluster_types::Repository;
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::{self, Event};
use kube::{Api, ResourceExt as _};
use tokio::task::{AbortHandle, JoinSet};

use super::follow::follow;
use crate::Context;

/// What of a Repository decides where tickets are looked for and where they go.
type Said = (Option<String>, String, Option<String>, Option<String>);

#[derive(Default)]
struct Followers {
    tasks: JoinSet<()>,
    by_repository: BTreeMap<(String, String), (Said, AbortHandle)>,
    /// Repositories of a listing that is under way.
    listing: Vec<Repository>,
}

/// Runs until it is dropped; then no file is looked at any more.
pub async fn run(ctx: Context) {
    let watched = watcher::watcher(Api::<Repository>::all(ctx.client.clone()), watcher::Config::default());
    let mut watched = std::pin::pin!(watched.default_backoff());
    let mut followers = Followers::default();
    while let Some(event) = watched.next().await {
        // Of those that ended, such as the ones without a folder.
        while followers.tasks.try_join_next().is_some() {}
        match event {
            Ok(event) => followers.take(&ctx, event),
            Err(error) => tracing::debug!(%error, "the watch of repositories was interrupted"),
        }
    }
}

impl Followers {
    fn take(&mut self, ctx: &Context, event: Event<Repository>) {
        match event {
            Event::Init => self.listing.clear(),
            Event::InitApply(repository) => self.listing.push(repository),
            Event::InitDone => {
                let listed = std::mem::take(&mut self.listing);
                let keys: Vec<_> = listed.iter().map(key).collect();
                let gone: Vec<_> =
                    self.by_repository.keys().filter(|key| !keys.contains(key)).cloned().collect();
                gone.iter().for_each(|key| self.end(key));
                listed.into_iter().for_each(|repository| self.look(ctx, repository));
            }
            Event::Apply(repository) => self.look(ctx, repository),
            Event::Delete(repository) => self.end(&key(&repository)),
        }
    }

    fn look(&mut self, ctx: &Context, repository: Repository) {
        let key = key(&repository);
        if repository.metadata.deletion_timestamp.is_some() {
            return self.end(&key);
        }
        let spec = &repository.spec;
        let says = (repository.uid(), spec.path.clone(), spec.backlog.clone(), spec.backlog_pool.clone());
        if self.by_repository.get(&key).is_some_and(|(said, _)| *said == says) {
            return;
        }
        self.end(&key);
        let task = self.tasks.spawn(follow(ctx.clone(), Arc::new(repository)));
        self.by_repository.insert(key, (says, task));
    }

    fn end(&mut self, key: &(String, String)) {
        if let Some((_, task)) = self.by_repository.remove(key) {
            task.abort();
        }
    }
}

fn key(repository: &Repository) -> (String, String) {
    (repository.namespace().unwrap_or_default(), repository.name_any())
}
