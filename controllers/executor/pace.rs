//! Starting programs one after the other, and not more than may run at once, the highest priority first.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::Stream;
use gcluster_types::{Agent, Iteration};
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use kube::runtime::reflector::ObjectRef;
use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;

use super::queue::{Queue, Step, Ticket, Waits};
use super::standings::key;
use crate::context::Config;
use crate::informer::AgentKey;

/// Between the starts of two programs of a backend that the settings do not name.
const SPACING: Duration = Duration::from_millis(2);
/// How often agents that wait are told that their place has changed, and how many at a time.
const NEWS: (Duration, usize) = (Duration::from_secs(1), 50);

/// The gate before every start. Clones share it.
#[derive(Clone)]
pub(super) struct Pace {
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    moved: Notify,
    config: Arc<Config>,
}

struct State {
    queue: Queue,
    waiting: HashMap<u64, oneshot::Sender<()>>,
    /// When the queue is looked at again by itself.
    timer: Option<Instant>,
}

/// A place in the queue.
struct Place {
    pace: Pace,
    ticket: Ticket,
    number: u64,
    begun: bool,
}

/// The right to run. Dropping it gives the room back.
pub(super) struct Permit {
    pace: Pace,
    agent: AgentKey,
    iteration: String,
}

impl Pace {
    pub(super) fn new(config: Arc<Config>) -> Self {
        let queue = Queue::new(config.max_running);
        let state = Mutex::new(State { queue, waiting: HashMap::new(), timer: None });
        Self { shared: Arc::new(Shared { state, moved: Notify::new(), config }) }
    }

    /// Keeps room for a run of an earlier master, until it is taken over or settled.
    pub(super) fn expect(&self, iteration: &Iteration) {
        let ticket = Ticket {
            agent: (iteration.namespace().unwrap_or_default(), iteration.spec.agent.clone()),
            iteration: iteration.name_any(),
            backend: String::new(),
            priority: 0,
            last_started: None,
        };
        self.state().queue.expect(iteration.uid().unwrap_or_default(), ticket);
    }

    /// A run of an earlier master that is over.
    pub(super) fn settle(&self, uid: &str) {
        self.state().queue.settle(uid);
        self.dispatch();
    }

    /// Takes room for a run of an earlier master that goes on, whether there is any or not.
    pub(super) fn take_over(&self, uid: &str, ticket: &Ticket) -> Permit {
        let mut state = self.state();
        state.queue.settle(uid);
        state.queue.enter(ticket);
        drop(state);
        self.permit(ticket)
    }

    /// Waits for room and for the backend's turn. The room is given back when the permit is dropped.
    pub(super) async fn turn(&self, ticket: Ticket) -> Permit {
        let (sender, begin) = oneshot::channel();
        let number = self.join(&ticket, sender);
        // Whoever stops waiting leaves the queue, or gives back what it was given at the last moment.
        let mut place = Place { pace: self.clone(), ticket, number, begun: false };
        self.dispatch();
        // The sender is used, or goes when `place` does, which is not before.
        let _ = begin.await;
        place.begun = true;
        self.permit(&place.ticket)
    }

    fn join(&self, ticket: &Ticket, begin: oneshot::Sender<()>) -> u64 {
        let mut state = self.state();
        let number = state.queue.join(ticket.clone(), Instant::now());
        state.waiting.insert(number, begin);
        number
    }

    /// How an agent waits; notes its priority.
    pub(super) fn tell(&self, agent: &Agent) -> Option<Waits> {
        let key = key(agent);
        let mut state = self.state();
        if state.queue.set_priority(&key, agent.spec.priority) {
            self.shared.moved.notify_one();
        }
        state.queue.tell(&key, Instant::now())
    }

    /// Forgets an agent that is gone.
    pub(super) fn forget(&self, agent: &AgentKey) {
        self.state().queue.forget(agent);
    }

    /// Agents to look at because their place in the queue is another one.
    pub(super) fn moved(&self) -> impl Stream<Item = ObjectRef<Agent>> + Send + 'static {
        let pace = self.clone();
        let news = futures::stream::unfold(pace, |pace| async move {
            pace.shared.moved.notified().await;
            tokio::time::sleep(NEWS.0).await;
            let (agents, more) = pace.state().queue.restless(NEWS.1, Instant::now());
            if more {
                pace.shared.moved.notify_one();
            }
            let agents = agents.into_iter().map(|(namespace, name)| ObjectRef::new(&name).within(&namespace));
            Some((futures::stream::iter(agents.collect::<Vec<_>>()), pace))
        });
        futures::StreamExt::flatten(news)
    }

    fn permit(&self, ticket: &Ticket) -> Permit {
        Permit { pace: self.clone(), agent: ticket.agent.clone(), iteration: ticket.iteration.clone() }
    }

    /// Lets begin whoever may.
    fn dispatch(&self) {
        let config = &self.shared.config;
        let spacing = |backend: &str| config.start_spacing.get(backend).copied().unwrap_or(SPACING);
        let mut state = self.state();
        let at = loop {
            match state.queue.next(Instant::now(), Timestamp::now(), spacing) {
                Step::Begin(number) => {
                    if let Some(begin) = state.waiting.remove(&number) {
                        // One that stopped waiting gives it back itself.
                        let _ = begin.send(());
                    }
                }
                Step::Later(at) => break Some(at),
                Step::Rest => break None,
            }
        };
        if !state.waiting.is_empty() {
            self.shared.moved.notify_one();
        }
        // There is no runtime any more when the last ones end with the process.
        let runtime = tokio::runtime::Handle::try_current().ok();
        if let Some((at, runtime)) = at.filter(|at| state.timer.is_none_or(|timer| *at < timer)).zip(runtime)
        {
            state.timer = Some(at);
            let pace = self.clone();
            runtime.spawn(async move {
                tokio::time::sleep_until(at).await;
                pace.state().timer = None;
                pace.dispatch();
            });
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if self.begun {
            return;
        }
        let mut state = self.pace.state();
        state.waiting.remove(&self.number);
        if !state.queue.leave(self.number) {
            state.queue.end(&self.ticket.agent, &self.ticket.iteration);
        }
        drop(state);
        self.pace.dispatch();
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.pace.state().queue.end(&self.agent, &self.iteration);
        self.pace.dispatch();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ticket(agent: &str, backend: &str, priority: i32) -> Ticket {
        Ticket {
            agent: ("n".into(), agent.into()),
            iteration: format!("{agent}.work.0"),
            backend: backend.into(),
            priority,
            last_started: None,
        }
    }

    fn pace(max: usize) -> Pace {
        let mut config = Config::new("claude", "/r");
        config.max_running = max;
        config.start_spacing.insert("claude".into(), Duration::from_millis(20));
        Pace::new(Arc::new(config))
    }

    #[tokio::test]
    async fn fifty_starts_of_one_backend_keep_their_distance_and_come_by_priority() {
        let pace = pace(1_000);
        let start = Instant::now();
        let began = Arc::new(Mutex::new(Vec::new()));
        let tasks: Vec<_> = (0..50)
            .map(|number| {
                let (pace, began) = (pace.clone(), began.clone());
                tokio::spawn(async move {
                    let permit = pace.turn(ticket(&format!("a{number}"), "claude", number)).await;
                    began.lock().unwrap().push(number);
                    permit
                })
            })
            .collect();
        tokio::task::yield_now().await;
        // Another backend has a turn of its own.
        drop(pace.turn(ticket("other", "command", 0)).await);
        assert!(began.lock().unwrap().len() < 50, "it does not stand in the row of this one");
        let permits = futures::future::join_all(tasks).await;
        assert!(start.elapsed() >= Duration::from_millis(49 * 20), "{:?}", start.elapsed());
        let began = began.lock().unwrap().clone();
        let later: Vec<i32> = began.iter().skip(1).copied().collect();
        assert!(later.is_sorted_by_key(|number| -number), "{later:?}");
        assert_eq!(permits.len(), 50);
    }

    #[tokio::test]
    async fn room_goes_to_the_highest_priority_and_whoever_gives_up_takes_none() {
        let pace = pace(1);
        let first = pace.turn(ticket("first", "command", 0)).await;
        let order = Arc::new(Mutex::new(Vec::new()));
        let wait = |name: &'static str, priority: i32| {
            let (pace, order) = (pace.clone(), order.clone());
            tokio::spawn(async move {
                let permit = pace.turn(ticket(name, "command", priority)).await;
                order.lock().unwrap().push(name);
                drop(permit);
            })
        };
        let tasks = [wait("low", -1), wait("high", 7)];
        let given_up = wait("given-up", 9);
        tokio::time::sleep(Duration::from_millis(50)).await;
        given_up.abort();
        assert!(given_up.await.is_err());
        assert!(order.lock().unwrap().is_empty(), "there is no room");
        drop(first);
        futures::future::join_all(tasks).await;
        assert_eq!(*order.lock().unwrap(), ["high", "low"]);
        assert_eq!(pace.state().queue.occupied(), 0);
    }

    #[tokio::test]
    async fn what_an_earlier_master_began_counts_as_running() {
        let pace = pace(1);
        let iteration: Iteration = serde_json::from_value(serde_json::json!({
            "apiVersion": "gcluster.dev/v1alpha1", "kind": "Iteration",
            "metadata": {"name": "old.work.0", "namespace": "n", "uid": "u"},
            "spec": {"agent": "old", "revision": "r", "step": "work", "kind": "Loop", "number": 0},
        }))
        .unwrap();
        pace.expect(&iteration);
        let new = tokio::spawn({
            let pace = pace.clone();
            async move { pace.turn(ticket("new", "command", 0)).await }
        });
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert!(!new.is_finished(), "it may still be taken over");
        let old = pace.take_over("u", &ticket("old", "command", 0));
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert!(!new.is_finished(), "it was taken over");
        drop(old);
        new.await.unwrap();
    }
}
