//! The loop: after any change of a check or a repository, all checks are looked at together.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use gcluster_types::kinds::check::{CheckPhase, CheckStatus};
use gcluster_types::{Check, Repository, labels};
use kube::api::{DeleteParams, Preconditions};
use kube::{Api, ResourceExt};
use tokio::sync::{mpsc, watch};

use super::files::{self, Folder, record_path};
use super::plan::{Act, Seen, plan};
use super::run::{Job, Stop, blocking};
use crate::Context;
use crate::control_loop::jittered;
use crate::due::Due;
use crate::error::{Error, Result};
use crate::mirror::Mirror;
use crate::report::{Events, write_status};

/// Changes that come in one breath are looked at once.
const SETTLE: Duration = Duration::from_millis(10);
/// How soon what failed is tried again.
const RETRY: Duration = Duration::from_millis(500);

/// The check controller. Clones share what runs.
#[derive(Clone)]
pub struct Checks {
    ctx: Context,
    live: Arc<Mutex<HashMap<String, watch::Sender<Stop>>>>,
    records: Arc<Mutex<()>>,
    closed: Arc<AtomicBool>,
}

impl Checks {
    /// A controller that runs nothing yet.
    pub fn new(ctx: Context) -> Checks {
        Checks { ctx, live: Arc::default(), records: Arc::default(), closed: Arc::default() }
    }

    /// Ends all scripts and returns when nothing of them is left, or after `limit`. The next master begins them again.
    pub async fn close(&self, limit: Duration) {
        self.closed.store(true, Ordering::SeqCst);
        for stop in self.live().values() {
            stop.send_replace(Stop::Shutdown);
        }
        let gone = async {
            while !self.live().is_empty() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        if tokio::time::timeout(limit, gone).await.is_err() {
            tracing::warn!("scripts of checks are still running; the next master ends them");
        }
    }

    /// Runs until it is dropped.
    pub async fn run(&self) {
        let (mut checks, mut watched_checks) = Mirror::<Check>::new(self.ctx.client.clone());
        let (mut repositories, mut watched_repositories) = Mirror::<Repository>::new(self.ctx.client.clone());
        let events = Events::new(self.ctx.client.clone(), labels::MANAGER_CHECKS);
        let (ended, mut ends) = mpsc::unbounded_channel::<(String, Option<Check>)>();
        let data_dir = self.ctx.config.data_dir.clone();
        let left = blocking(move || {
            let folders = files::all(&data_dir);
            folders.iter().for_each(Folder::clear);
            folders
        });
        let mut left = left.await.unwrap_or_default();
        let mut due = Due::default();
        loop {
            tokio::select! {
                event = watched_checks.next() => {
                    if let Some(gone) = checks.take(event) {
                        gone.iter().for_each(|check| self.forget(check, &checks));
                    }
                    due.within(SETTLE);
                }
                event = watched_repositories.next() => {
                    repositories.take(event);
                    due.within(SETTLE);
                }
                Some((uid, check)) = ends.recv() => {
                    if let Some(check) = check {
                        checks.observe(check);
                    }
                    self.live().remove(&uid);
                    due.within(SETTLE);
                }
                () = due.come() => {
                    let _beat = self.ctx.pulse.begin("checks");
                    if !(checks.is_ready() && repositories.is_ready()) {
                        continue;
                    }
                    remove_unknown(std::mem::take(&mut left), &checks);
                    match self.reconcile(&mut checks, &repositories, &events, &ended).await {
                        Ok(next) => next.into_iter().for_each(|pause| due.within(pause)),
                        Err(error) => {
                            if !error.is_race() {
                                tracing::warn!(%error, "checks could not be looked at");
                            }
                            due.within(jittered(RETRY));
                        }
                    }
                }
            }
        }
    }

    /// Carries out what is planned. Answers when to look again if nothing happens.
    async fn reconcile(
        &self,
        checks: &mut Mirror<Check>,
        repositories: &Mirror<Repository>,
        events: &Events,
        ended: &mpsc::UnboundedSender<(String, Option<Check>)>,
    ) -> Result<Option<Duration>> {
        let live: BTreeSet<String> = self.live().keys().cloned().collect();
        let now = self.ctx.now();
        let seen = Seen {
            checks: checks.objects().values().map(|check| &**check).collect(),
            repositories: repositories
                .objects()
                .iter()
                .map(|(key, repository)| (key.clone(), &**repository))
                .collect::<BTreeMap<_, _>>(),
            live: &live,
            now,
        };
        let (acts, next) = plan(&seen);
        let mut failed = None;
        for (key, act) in acts {
            let Some(check) = checks.get(&key).cloned() else { continue };
            let done = match act {
                Act::Begin => {
                    let repository = (key.0.clone(), check.spec.repository.clone());
                    if let Some(repository) = repositories.get(&repository).cloned() {
                        self.begin(check, repository, events, ended);
                    }
                    Ok(None)
                }
                Act::Wait { reason, message } => self.wait(&check, reason, message).await,
                Act::Expire => self.expire(&check).await.map(|()| None),
            };
            match done {
                Ok(Some(written)) => checks.observe(written),
                Ok(None) => {}
                Err(error) if error.is_race() => {}
                Err(error) => failed = Some(error),
            }
        }
        if let Some(error) = failed {
            return Err(error);
        }
        let wait = next.and_then(|next| Duration::try_from(next.duration_since(now)).ok());
        // A clock that is set does not make anything be kept for ever.
        Ok(wait.map(|wait| wait.min(Duration::from_secs(3600)) + SETTLE))
    }

    fn begin(
        &self,
        check: Arc<Check>,
        repository: Arc<Repository>,
        events: &Events,
        ended: &mpsc::UnboundedSender<(String, Option<Check>)>,
    ) {
        let (sender, stop) = watch::channel(Stop::No);
        let uid = check.uid().unwrap_or_default();
        {
            // Whoever closes sets the flag first and then looks at who lives.
            let mut live = self.live();
            if self.closed.load(Ordering::SeqCst) {
                return;
            }
            live.insert(uid.clone(), sender);
        }
        let (ctx, records) = (self.ctx.clone(), self.records.clone());
        let job = Job { ctx, events: events.clone(), check, repository, stop, records };
        let (ended, live) = (ended.clone(), self.live.clone());
        tokio::spawn(async move {
            let check = job.run().await;
            if ended.send((uid.clone(), check)).is_err() {
                // The loop is gone: the master ends.
                live.lock().unwrap_or_else(PoisonError::into_inner).remove(&uid);
            }
        });
    }

    /// Says what a check waits for.
    async fn wait(&self, check: &Check, reason: &str, message: String) -> Result<Option<Check>> {
        let api = Api::<Check>::namespaced(self.ctx.client.clone(), &check.namespace().unwrap_or_default());
        let old = check.status.clone().unwrap_or_default();
        let new = CheckStatus {
            phase: CheckPhase::Pending,
            reason: Some(reason.to_owned()),
            message: Some(message),
            ..old.clone()
        };
        write_status(&api, check, labels::MANAGER_CHECKS, &["phase", "reason", "message"], &old, &new).await
    }

    async fn expire(&self, check: &Check) -> Result<()> {
        let api = Api::<Check>::namespaced(self.ctx.client.clone(), &check.namespace().unwrap_or_default());
        let params = DeleteParams {
            preconditions: Some(Preconditions {
                uid: check.uid(),
                resource_version: check.resource_version(),
            }),
            ..DeleteParams::default()
        };
        let name = check.name_any();
        api.delete(&name, &params).await.map(|_| ()).map_err(Error::api(format!("delete Check {name}")))
    }

    /// The object is gone: its script ends, its files go. The record of its commit goes with the last check of it.
    fn forget(&self, check: &Check, checks: &Mirror<Check>) {
        let uid = check.uid().unwrap_or_default();
        if let Some(stop) = self.live().get(&uid) {
            stop.send_replace(Stop::Deleted);
        } else {
            let folder = Folder::of(&self.ctx.config.data_dir, check);
            tokio::task::spawn_blocking(move || folder.remove());
        }
        let same = |other: &Arc<Check>| {
            other.namespace() == check.namespace()
                && other.spec.repository == check.spec.repository
                && other.spec.commit == check.spec.commit
        };
        if !checks.objects().values().any(same) {
            let mut repository = Repository::new(&check.spec.repository, Default::default());
            repository.metadata.namespace = check.namespace();
            let path = record_path(&self.ctx.config.data_dir, &repository, &check.spec.commit);
            tokio::task::spawn_blocking(move || std::fs::remove_file(path));
        }
    }

    fn live(&self) -> std::sync::MutexGuard<'_, HashMap<String, watch::Sender<Stop>>> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is left of checks that were deleted while no master ran.
fn remove_unknown(left: Vec<Folder>, checks: &Mirror<Check>) {
    let known: BTreeSet<String> = checks.objects().values().filter_map(|check| check.uid()).collect();
    let unknown: Vec<Folder> =
        left.into_iter().filter(|folder| folder.uid().is_none_or(|uid| !known.contains(uid))).collect();
    if !unknown.is_empty() {
        tokio::task::spawn_blocking(move || unknown.iter().for_each(Folder::remove));
    }
}
