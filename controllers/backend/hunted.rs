//! The processes of one run: who they are, signals to them, and their end.
//!
//! With a cgroup its members are all there are. Without, they are found by descent from the keeper (to which orphans
//! come), by group and session, and by the mark; whoever was seen once is known from then on.

use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use gcluster_types::kinds::iteration::LiveProcesses;
use rustix::process::Signal;
use tokio::sync::watch;
use tokio::time::Instant;

use super::cgroup::Cgroup;
use super::{ProcessRef, keeper, look, sweep};

/// How long processes that outlived their leader may take to obey SIGTERM.
const LEFTOVER_GRACE: Duration = Duration::from_secs(1);

/// The processes of a run.
pub(crate) struct Hunted {
    uid: String,
    run_dir: PathBuf,
    leader: ProcessRef,
    cgroup: Option<Cgroup>,
    /// All that were ever seen and live, so that one whose parent died and that cleaned its environment is still known.
    seen: Mutex<Vec<ProcessRef>>,
    /// What people are shown.
    shown: watch::Sender<Option<LiveProcesses>>,
}

/// The leader has ended and nothing of it is left, or only what could not be killed.
#[derive(Clone)]
pub(crate) struct Ended {
    pub(crate) status: Option<ExitStatus>,
    pub(crate) ended_leftovers: usize,
    pub(crate) left: Vec<i64>,
}

impl Hunted {
    /// Of a run with its files in `run_dir`; they are looked at from now on.
    pub(crate) fn new(uid: &str, run_dir: PathBuf, leader: ProcessRef) -> Arc<Hunted> {
        let hunted = Arc::new(Hunted {
            uid: uid.to_owned(),
            cgroup: Cgroup::of(&run_dir),
            seen: Mutex::new(known(&run_dir, &leader)),
            run_dir,
            leader,
            shown: watch::Sender::new(None),
        });
        look::register(&hunted);
        hunted
    }

    /// What people are shown of it.
    pub(crate) fn shown(&self) -> watch::Receiver<Option<LiveProcesses>> {
        self.shown.subscribe()
    }

    /// Its process group leader.
    pub(crate) fn leader(&self) -> &ProcessRef {
        &self.leader
    }

    /// Its cgroup, where it has one.
    pub(crate) fn cgroup(&self) -> Option<&Cgroup> {
        self.cgroup.as_ref()
    }

    /// Those that were seen when somebody looked last.
    pub(crate) fn seen(&self) -> Vec<ProcessRef> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Takes note of what a look at all runs has found.
    pub(crate) fn saw(&self, living: Vec<ProcessRef>, shown: LiveProcesses) {
        self.remember(living);
        self.shown.send_if_modified(|now| {
            let new = now.as_ref() != Some(&shown);
            if new {
                *now = Some(shown);
            }
            new
        });
    }

    /// Looks for living processes of the run and remembers them. Answers how many there are.
    pub(crate) async fn look(self: Arc<Self>) -> usize {
        self.blocking(|hunted| hunted.living().len()).await.unwrap_or_default()
    }

    /// Sends a signal to all.
    pub(crate) async fn signal_family(self: Arc<Self>, signal: Signal) {
        self.blocking(move |hunted| {
            hunted.living().iter().for_each(|process| sweep::signal(process, signal))
        })
        .await;
    }

    /// To the leader's group, as a terminal's Ctrl-C would.
    pub(crate) fn signal_group(&self, signal: Signal) {
        let pid = i32::try_from(self.leader.pid).ok().and_then(rustix::process::Pid::from_raw);
        if let Some(pid) = pid.filter(|_| sweep::is_alive(&self.leader)) {
            // It may end between the look and the signal; then there is nothing to signal.
            let _ = rustix::process::kill_process_group(pid, signal);
        }
    }

    /// Kills all. Answers the ids of what is left.
    pub(crate) async fn kill(self: Arc<Self>) -> Vec<i64> {
        let killed = self.blocking(|hunted| {
            let mut left = hunted.cgroup.as_ref().map(Cgroup::kill).unwrap_or_default();
            // What was moved into another cgroup by somebody with the right to do so still has its mark.
            left.extend(sweep::sweep_family(&hunted.uid, &hunted.seen(), Some(&hunted.leader)));
            left
        });
        killed.await.unwrap_or_default()
    }

    fn living(&self) -> Vec<ProcessRef> {
        let living = match &self.cgroup {
            Some(cgroup) => cgroup.members(),
            None => sweep::family(&self.uid, &self.seen()),
        };
        self.remember(living.clone());
        living
    }

    fn remember(&self, living: Vec<ProcessRef>) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if *seen != living && self.cgroup.is_none() {
            write_seen(&self.run_dir, &living);
        }
        *seen = living;
    }

    async fn blocking<T: Send + 'static>(
        self: Arc<Self>,
        work: impl FnOnce(&Hunted) -> T + Send + 'static,
    ) -> Option<T> {
        tokio::task::spawn_blocking(move || work(&self)).await.ok()
    }
}

/// Where those that were seen are kept for a later master. A cgroup needs no such memory.
const SEEN: &str = "seen";

fn write_seen(run_dir: &Path, seen: &[ProcessRef]) {
    // A write that is cut off is no JSON, and then nothing was seen.
    if let Ok(text) = serde_json::to_string(seen)
        && let Err(error) = std::fs::write(run_dir.join(SEEN), text)
    {
        tracing::debug!(%error, "the processes of a run cannot be written down");
    }
}

/// The leader of a run and those that a master had seen of it.
pub(crate) fn known(run_dir: &Path, leader: &ProcessRef) -> Vec<ProcessRef> {
    let text = std::fs::read_to_string(run_dir.join(SEEN)).unwrap_or_default();
    let mut known: Vec<ProcessRef> = serde_json::from_str(&text).unwrap_or_default();
    if leader.pid > 0 && !known.contains(leader) {
        known.push(leader.clone());
    }
    known
}

/// Waits for the leader, then ends what it left behind.
pub(crate) async fn wait(
    leader: impl Future<Output = Option<ExitStatus>> + Send,
    hunted: Arc<Hunted>,
    stopping: watch::Receiver<bool>,
    exit: watch::Sender<Option<Ended>>,
) {
    let status = leader.await;
    let by_keeper = keeper::ended_leftovers(&hunted.run_dir);
    let leftovers = hunted.clone().look().await;
    let mut left = Vec::new();
    if leftovers > 0 || *stopping.borrow() {
        if !*stopping.borrow() {
            hunted.clone().signal_family(Signal::TERM).await;
            let deadline = Instant::now() + LEFTOVER_GRACE;
            while Instant::now() < deadline && hunted.clone().look().await > 0 {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
        left = hunted.clone().kill().await;
    }
    hunted.clone().blocking(|hunted| hunted.cgroup.iter().for_each(Cgroup::remove)).await;
    exit.send_replace(Some(Ended { status, ended_leftovers: by_keeper + leftovers, left }));
}
