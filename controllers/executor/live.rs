//! Which iterations a task of this process runs: the one thing that is known outside of objects.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use gcluster_types::{Agent, Message};
use kube::runtime::reflector::ObjectRef;
use tokio::sync::{mpsc, watch};

use super::plan::StopReason;

/// The table. Clones share it.
#[derive(Clone)]
pub(super) struct Live {
    state: Arc<Mutex<State>>,
    count: Arc<watch::Sender<usize>>,
}

#[derive(Default)]
struct State {
    runs: HashMap<String, Entry>,
    /// Numbers that were given out, so that one is not given again when its object was deleted uncounted.
    given: HashMap<(String, String), i64>,
    closing: bool,
    /// Told of every claim that is given back.
    wake: Option<mpsc::UnboundedSender<ObjectRef<Agent>>>,
}

struct Entry {
    agent: String,
    look_at: ObjectRef<Agent>,
    stop: watch::Sender<Option<StopReason>>,
    door: Door,
}

/// Whether an iteration that runs here takes messages.
#[derive(Clone, Debug)]
pub(super) enum Door {
    /// Its program is not started yet.
    Starting,
    /// Its program cannot take any.
    Closed,
    /// It takes those that are sent here.
    Open(mpsc::UnboundedSender<Arc<Message>>),
}

/// The right to run one iteration. Dropping it gives it back.
pub(super) struct Claim {
    live: Live,
    uid: String,
    /// Becomes a reason when the iteration should end.
    pub(super) stop: watch::Receiver<Option<StopReason>>,
}

impl Live {
    pub(super) fn new() -> Self {
        Self { state: Arc::default(), count: Arc::new(watch::Sender::new(0)) }
    }

    /// Agents that a claim was given back for, from now on. What the objects said while it was held may have
    /// kept a reconcile from acting (a finalizer, a leftover), and no object changes when it goes.
    pub(super) fn returned(&self) -> mpsc::UnboundedReceiver<ObjectRef<Agent>> {
        let (sender, receiver) = mpsc::unbounded_channel();
        self.state().wake = Some(sender);
        receiver
    }

    /// Claims an iteration; `None` when it is claimed already or the process is about to end.
    pub(super) fn claim(&self, uid: &str, agent: &str, look_at: ObjectRef<Agent>) -> Option<Claim> {
        let mut state = self.state();
        if state.closing || state.runs.contains_key(uid) {
            return None;
        }
        let (stop, receiver) = watch::channel(None);
        state
            .runs
            .insert(uid.to_owned(), Entry { agent: agent.to_owned(), look_at, stop, door: Door::Starting });
        self.count.send_replace(state.runs.len());
        Some(Claim { live: self.clone(), uid: uid.to_owned(), stop: receiver })
    }

    /// Notes that a number of a step is in use.
    pub(super) fn give(&self, agent: &str, step: &str, number: i64) {
        let mut state = self.state();
        let next = state.given.entry((agent.to_owned(), step.to_owned())).or_insert(0);
        *next = (*next).max(number.saturating_add(1));
    }

    /// Least number that a step's next iteration may get.
    pub(super) fn floor(&self, agent: &str, step: &str) -> i64 {
        self.state().given.get(&(agent.to_owned(), step.to_owned())).copied().unwrap_or(0)
    }

    /// Asks one iteration to end. The first reason stays, but for a pause, which ends only what has not begun.
    pub(super) fn stop(&self, uid: &str, reason: StopReason) {
        if let Some(entry) = self.state().runs.get(uid) {
            entry.stop.send_if_modified(|now| replace(now, reason));
        }
    }

    /// Says whether an iteration takes messages from now on.
    pub(super) fn set_door(&self, uid: &str, door: Door) {
        if let Some(entry) = self.state().runs.get_mut(uid) {
            entry.door = door;
        }
    }

    /// Whether an iteration takes messages; `None` when it does not run here.
    pub(super) fn door(&self, uid: &str) -> Option<Door> {
        self.state().runs.get(uid).map(|entry| entry.door.clone())
    }

    /// Uids of an agent's iterations that run here.
    pub(super) fn of_agent(&self, agent: &str) -> HashSet<String> {
        self.state()
            .runs
            .iter()
            .filter(|(_, entry)| entry.agent == agent)
            .map(|(uid, _)| uid.clone())
            .collect()
    }

    /// Forgets what an agent used, when it is gone.
    pub(super) fn forget(&self, agent: &str) {
        self.state().given.retain(|(owner, _), _| owner != agent);
    }

    /// Ends all, lets nothing new begin, and waits until all ended. Answers how many did not.
    pub(super) async fn close(&self, limit: Duration) -> usize {
        {
            let mut state = self.state();
            state.closing = true;
            for entry in state.runs.values() {
                entry.stop.send_if_modified(|now| replace(now, StopReason::MasterShutdown));
            }
        }
        let mut count = self.count.subscribe();
        // Both ways of ending the wait are answered by the count below.
        let _ = tokio::time::timeout(limit, count.wait_for(|count| *count == 0)).await;
        self.state().runs.len()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes a reason over unless one that ends everything is there. True when it is new.
fn replace(now: &mut Option<StopReason>, reason: StopReason) -> bool {
    let new = now.is_none_or(|now| now == StopReason::Paused) && *now != Some(reason);
    if new {
        *now = Some(reason);
    }
    new
}

impl Drop for Claim {
    fn drop(&mut self) {
        let mut state = self.live.state();
        if let (Some(entry), Some(wake)) = (state.runs.remove(&self.uid), &state.wake) {
            // Nobody listens when the controller has ended.
            let _ = wake.send(entry.look_at);
        }
        self.live.count.send_replace(state.runs.len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_iteration_is_claimed_once_and_closing_waits_for_all() {
        let live = Live::new();
        let mut returned = live.returned();
        let a = || ObjectRef::<Agent>::new("a").within("default");
        let claim = live.claim("i", "a", a()).unwrap();
        assert!(live.claim("i", "a", a()).is_none());
        assert_eq!(live.of_agent("a").len(), 1);
        live.stop("i", StopReason::Paused);
        live.stop("i", StopReason::Stopped);
        live.stop("i", StopReason::Paused);
        live.stop("i", StopReason::Deleted);
        assert_eq!(*claim.stop.borrow(), Some(StopReason::Stopped));
        assert_eq!(live.close(Duration::from_millis(1)).await, 1);
        let closing = tokio::spawn({
            let live = live.clone();
            async move { live.close(Duration::from_secs(60)).await }
        });
        drop(claim);
        assert_eq!(closing.await.unwrap(), 0);
        assert_eq!(returned.recv().await, Some(a()), "whoever waits for the end looks again");
        assert!(live.claim("j", "a", a()).is_none(), "nothing begins while the process ends");
    }

    #[test]
    fn numbers_are_not_given_twice() {
        let live = Live::new();
        live.give("a", "s", 4);
        live.give("a", "s", 2);
        assert_eq!((live.floor("a", "s"), live.floor("b", "s")), (5, 0));
        live.forget("a");
        assert_eq!(live.floor("a", "s"), 0);
    }
}
