//! One folder, for as long as its Repository says so.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use gcluster_types::{Repository, Ticket, labels};
use kube::{Api, ResourceExt as _};
use tokio::time::Instant;

use super::disk::{Disk, NotHeld};
use super::events::{Events as FileEvents, Happened};
use super::intake::{Broken, Intake, Taken, Target};
use super::plan::Decision;
use super::settle::Looks;
use crate::Context;
use crate::report::{Events, shortened};

/// Where a repository's tickets are looked for unless it says otherwise.
const DEFAULT: &str = ".gcluster/backlog";
/// How often the folder is looked at where nothing tells of changes, as in network folders.
const SCAN: Duration = Duration::from_secs(2);
/// What happens in one breath is looked at once.
const BREATH: Duration = Duration::from_millis(15);
/// Most Events that are written at once.
const AT_ONCE: usize = 64;

/// Follows the folder of a repository until it is dropped.
pub(super) async fn follow(ctx: Context, repository: Arc<Repository>) {
    let events = Events::new(ctx.client.clone(), labels::MANAGER_BACKLOG);
    let mut follower = Follower { ctx, repository, events, told: BTreeSet::new() };
    let path = match folder(&follower.repository) {
        Ok(path) => path,
        Err(why) => return follower.warn("BacklogUnusable", why).await,
    };
    loop {
        follower.serve(&path).await;
        tokio::time::sleep(SCAN).await;
    }
}

struct Follower {
    ctx: Context,
    repository: Arc<Repository>,
    events: Events,
    /// Troubles of the folder that were told, so that each is told once.
    told: BTreeSet<String>,
}

impl Follower {
    /// Takes files until the folder cannot be used any more.
    async fn serve(&mut self, path: &Path) {
        let at = path.to_owned();
        let held = tokio::task::spawn_blocking(move || Disk::hold(&at)).await;
        let disk = match held {
            Ok(Ok(disk)) => disk,
            // Nobody promised that the default is there.
            Ok(Err(NotHeld::Missing)) if self.repository.spec.backlog.is_none() => return,
            Ok(Err(NotHeld::Missing)) => {
                let told =
                    format!("there is no folder {}: make it, and tickets are taken from it", path.display());
                return self.warn("BacklogMissing", told).await;
            }
            Ok(Err(NotHeld::Taken)) => {
                let told = format!(
                    "another repository or another master takes the tickets of {}; this one does when that ends",
                    path.display()
                );
                return self.warn("BacklogTaken", told).await;
            }
            Ok(Err(NotHeld::Unusable(error))) => {
                let told = format!("no ticket is taken from {}: {error}", path.display());
                return self.warn("BacklogUnusable", told).await;
            }
            Err(error) => return tracing::error!(%error, "looking at the backlog folder ended badly"),
        };
        self.told.clear();
        tracing::debug!(folder = %path.display(), "tickets are taken from this folder");
        let namespace = self.repository.namespace().unwrap_or_default();
        let api = Api::<Ticket>::namespaced(self.ctx.client.clone(), &namespace);
        let pool = self.repository.spec.backlog_pool.clone();
        let target = Target { namespace, repository: self.repository.name_any(), pool };
        let mut intake = Intake::new(disk, api, target);
        let mut looks = Looks::default();
        let mut changes = FileEvents::watch(path).ok();
        loop {
            let latest = Instant::now() + SCAN;
            let next = match self.pass(&mut intake, &mut looks, path).await {
                Ok(next) => next,
                Err(Broken::Folder(error)) => {
                    let told = format!("no ticket is taken from {}: {error}", path.display());
                    return self.warn("BacklogUnusable", told).await;
                }
                Err(Broken::Api(error)) => {
                    tracing::warn!(%error, folder = %path.display(), "tickets could not be taken; tried again");
                    latest
                }
            };
            wait(&mut changes, &mut looks, next.min(latest)).await;
        }
    }

    /// Looks at the folder once, and tells what came of it. Answers when to look again.
    async fn pass(
        &self,
        intake: &mut Intake<Disk>,
        looks: &mut Looks,
        path: &Path,
    ) -> Result<Instant, Broken> {
        let mut all = Vec::new();
        let done = intake.pass(looks, Instant::now(), &mut all).await;
        // Side by side, so that a thousand files are told in a few writes and the next file does not wait for them.
        let tell = futures::stream::iter(all).for_each_concurrent(AT_ONCE, |(name, taken)| async move {
            self.tell(path, &name, taken).await;
        });
        tell.await;
        done
    }

    async fn tell(&self, path: &Path, name: &str, taken: Taken) {
        match taken {
            Taken::Gone | Taken::Later | Taken::Refused(None) => {}
            Taken::Refused(Some(news)) => {
                let news = format!("{news}; all of it is in {name}.error.txt beside it");
                self.refused(path, name, &news).await;
            }
            Taken::Strange(news) => self.refused(path, name, &news).await,
            Taken::Done(tickets) => {
                for (ticket, decision) in tickets {
                    self.taken(name, &ticket, &decision).await;
                }
            }
        }
    }

    async fn taken(&self, file: &str, ticket: &Ticket, decision: &Decision) {
        let repository = self.repository.name_any();
        let (reason, note) = match decision {
            Decision::Create => {
                ("TakenFromBacklog", format!("it is from {file} of the backlog of {repository}"))
            }
            Decision::Update => {
                ("UpdatedFromBacklog", format!("{file} of the backlog of {repository} replaced it"))
            }
            _ => return,
        };
        self.events.normal(ticket, reason, "TakeFromBacklog", note).await;
    }

    async fn refused(&self, folder: &Path, file: &str, problem: &str) {
        let note = format!("{} was not taken: {problem}", folder.join(file).display());
        // Events with the same action are counted as one, with the text of the first.
        let action = format!("Refuse {}", shortened(&format!("{file} {problem}"), 100));
        self.events.warning(&*self.repository, "BacklogFileRefused", &action, note).await;
    }

    async fn warn(&mut self, reason: &str, told: String) {
        if !told.is_empty() && self.told.insert(told.clone()) {
            self.events.warning(&*self.repository, reason, &shortened(&told, 110), told.clone()).await;
        }
    }
}

/// Waits for the next change, `until` at the latest.
async fn wait(changes: &mut Option<FileEvents>, looks: &mut Looks, until: Instant) {
    let Some(watch) = changes else { return tokio::time::sleep_until(until).await };
    let mut until = until;
    loop {
        match tokio::time::timeout_at(until, watch.next()).await {
            Err(_) => return,
            Ok(None) => {
                tracing::debug!("file events ended; the folder is looked at every two seconds");
                *changes = None;
                return tokio::time::sleep_until(until).await;
            }
            Ok(Some(Happened::Opened(name))) => looks.opened(&name, Instant::now()),
            Ok(Some(Happened::Closed(name))) => looks.closed(&name),
            Ok(Some(Happened::Other)) => {}
        }
        until = until.min(Instant::now() + BREATH);
    }
}

/// The folder of a repository's tickets, or why there can be none.
fn folder(repository: &Repository) -> Result<PathBuf, String> {
    let (checkout, named) = (Path::new(&repository.spec.path), repository.spec.backlog.as_deref());
    let folder = Path::new(named.unwrap_or(DEFAULT));
    match (folder.is_absolute(), checkout.is_absolute(), named) {
        (true, _, _) => Ok(folder.to_owned()),
        (false, true, _) => Ok(checkout.join(folder)),
        (false, false, None) => Err(String::new()),
        (false, false, Some(named)) => Err(format!(
            "spec.backlog is {named}, relative to {}, which is not on this machine: name the folder with an absolute path",
            repository.spec.path
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_folder_is_named_or_beside_the_checkout() {
        let of = |path: &str, backlog: Option<&str>| {
            let spec = gcluster_types::RepositorySpec {
                path: path.into(),
                backlog: backlog.map(str::to_owned),
                ..Default::default()
            };
            folder(&Repository::new("r", spec))
        };
        assert_eq!(of("/src/app", None), Ok("/src/app/.gcluster/backlog".into()));
        assert_eq!(of("/src/app", Some("todo")), Ok("/src/app/todo".into()));
        assert_eq!(of("https://host/app.git", Some("/srv/todo")), Ok("/srv/todo".into()));
        assert_eq!(of("https://host/app.git", None), Err(String::new()), "nothing to say");
        assert!(of("https://host/app.git", Some("todo")).unwrap_err().contains("absolute path"));
    }
}
