//! Requests at work: bounded, and shared fairly among clients.
//!
//! Three lanes, because they strain different things: reads of one object cost next to nothing, lists hold a
//! core, writes wait for the disk together. A client that is alone may use a lane whole; while others are
//! active it has a part, so that a newcomer never finds a long row of work before it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use tokio::time::timeout;

use super::lane::{Arrival, Asker, Lane, Seats};
use super::{Caller, Limits};
use crate::status::{ApiError, ApiResult};

/// What a request strains.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    /// One object, or a page about the server.
    Read,
    /// Many objects, or a large document.
    List,
    /// A change.
    Write,
}

const CLASSES: [Class; 3] = [Class::Read, Class::List, Class::Write];
/// Seats of one client while others are active: reads keep a core busy each, writes mostly wait for the disk.
const CONTENDED_READS: usize = 2;
const CONTENDED_WRITES: usize = 16;
/// A client counts as active for this long after its last request.
const ACTIVE: Duration = Duration::from_secs(1);
/// How often it is counted who is active.
const COUNTED: Duration = Duration::from_millis(100);
/// Requests in that time above which a client lets others go first.
const MANY: u64 = 20;
/// Clients that are told apart at once; further ones share one place.
const MAX_CLIENTS: usize = 1024;

impl Class {
    fn index(self) -> usize {
        self as usize
    }

    fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::List => "list",
            Self::Write => "write",
        }
    }
}

/// The lanes. Clones are handles to the same ones.
#[derive(Clone, Debug)]
pub(crate) struct Fair(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    patience: Duration,
}

#[derive(Debug)]
struct State {
    lanes: [Lane<oneshot::Sender<Permit>>; 3],
    clients: HashMap<u64, Seen>,
    contended: bool,
    counted: Instant,
    totals: [Totals; 3],
}

#[derive(Debug)]
struct Seen {
    name: String,
    last: Instant,
    requests: u64,
    /// Of them, those since it was counted last, and those in the time before.
    window: u64,
    before: u64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Totals {
    queued: u64,
    refused: u64,
}

/// The right to be at work; given back when dropped.
#[derive(Debug)]
pub(crate) struct Permit {
    fair: Fair,
    client: u64,
    class: Class,
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.fair.left(self.client, self.class);
    }
}

/// Takes a request out of its queue when its future is dropped.
struct Waiting<'a> {
    fair: &'a Fair,
    asker: Asker,
    class: Class,
    number: u64,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.fair.lock().lanes[self.class.index()].cancel(self.asker, self.number);
    }
}

impl Fair {
    pub(crate) fn new(limits: &Limits) -> Self {
        let seats = |total: usize, contended: usize| Seats {
            total: total.max(1),
            contended: contended.clamp(1, total.max(1)),
            queue: limits.queue_per_client,
            queues: limits.queues,
        };
        let lanes = [
            Lane::new(seats(limits.reads, CONTENDED_READS)),
            Lane::new(seats(limits.lists, limits.lists)),
            Lane::new(seats(limits.writes, CONTENDED_WRITES)),
        ];
        let state = State {
            lanes,
            clients: HashMap::new(),
            contended: false,
            counted: Instant::now(),
            totals: [Totals::default(); 3],
        };
        Self(Arc::new(Shared { state: Mutex::new(state), patience: limits.queue_time }))
    }

    /// Waits for a turn.
    ///
    /// # Errors
    /// 429 when too many requests of this client wait already, or the turn does not come in time.
    pub(crate) async fn enter(&self, caller: &Caller, connection: u64, class: Class) -> ApiResult<Permit> {
        let permit = self.turn(caller, connection, class).await?;
        // With its seat taken, a client that keeps many busy lets everything go first that is ready by now.
        // So there is never more of it in the runtime's queue than it has seats.
        if self.is_greedy(permit.client) {
            tokio::task::yield_now().await;
        }
        Ok(permit)
    }

    /// Does a client ask for much while others are active?
    fn is_greedy(&self, client: u64) -> bool {
        let state = self.lock();
        let lately = state.clients.get(&client).map_or(0, |seen| seen.window.max(seen.before));
        let at_once =
            || state.lanes.iter().map(|lane| lane.of(client)).map(|(running, queued)| running + queued);
        state.contended && (lately > MANY || at_once().sum::<usize>() > 2)
    }

    async fn turn(&self, caller: &Caller, connection: u64, class: Class) -> ApiResult<Permit> {
        let cost = match class {
            Class::Read => 1,
            Class::Write => 4,
            Class::List => 16,
        };
        let (answer, asker, number) = {
            let mut state = self.lock();
            let client = state.saw(caller);
            let asker = Asker { client, connection };
            let contended = state.contended;
            let (sender, answer) = oneshot::channel();
            match state.lanes[class.index()].arrive(asker, cost, contended, || sender) {
                Arrival::Seated => return Ok(Permit { fair: self.clone(), client, class }),
                Arrival::Refused => {
                    state.totals[class.index()].refused += 1;
                    return Err(ApiError::too_many(format!(
                        "too many {} requests of {} wait already: try again later",
                        class.name(),
                        caller.name()
                    )));
                }
                Arrival::Queued(number) => {
                    state.totals[class.index()].queued += 1;
                    (answer, asker, number)
                }
            }
        };
        let waiting = Waiting { fair: self, asker, class, number };
        match timeout(self.0.patience, answer).await {
            Ok(Ok(permit)) => Ok(permit),
            _ => {
                drop(waiting);
                self.lock().totals[class.index()].refused += 1;
                Err(ApiError::too_many(format!(
                    "the server is busy: the request waited for {} seconds",
                    self.0.patience.as_secs()
                )))
            }
        }
    }

    /// Lines for `/metrics`.
    pub(crate) fn render(&self, out: &mut super::Lines) {
        let state = self.lock();
        for (name, kind, help) in [
            ("gcluster_api_inflight_requests", "gauge", "Requests at work by lane."),
            ("gcluster_api_queued_requests", "gauge", "Requests that wait by lane."),
            ("gcluster_api_queued_requests_total", "counter", "Requests that had to wait by lane."),
            ("gcluster_api_refused_requests_total", "counter", "Requests refused with 429 by lane."),
        ] {
            out.head(name, kind, help);
            for class in CLASSES {
                let (lane, totals) = (&state.lanes[class.index()], state.totals[class.index()]);
                let value = match name {
                    "gcluster_api_inflight_requests" => lane.running() as u64,
                    "gcluster_api_queued_requests" => lane.queued() as u64,
                    "gcluster_api_queued_requests_total" => totals.queued,
                    _ => totals.refused,
                };
                out.value(name, &[("lane", class.name())], value);
            }
        }
        out.head(
            "gcluster_api_client_requests_total",
            "counter",
            "Requests by client, of those seen lately.",
        );
        let mut by_name: std::collections::BTreeMap<&str, u64> = std::collections::BTreeMap::new();
        for seen in state.clients.values() {
            *by_name.entry(&seen.name).or_default() += seen.requests;
        }
        for (client, requests) in by_name {
            out.value("gcluster_api_client_requests_total", &[("client", client)], requests);
        }
    }

    fn left(&self, client: u64, class: Class) {
        self.lock().lanes[class.index()].leave(client);
        loop {
            let granted = {
                let mut state = self.lock();
                let contended = state.contended;
                state.lanes[class.index()].seat(contended)
            };
            let Some((client, ticket)) = granted else { return };
            // Nobody waits for it any more: the permit comes back and is dropped, which ends here again.
            let _ = ticket.send(Permit { fair: self.clone(), client, class });
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Notes that a client is active. Answers the place that it has in the lanes.
    fn saw(&mut self, caller: &Caller) -> u64 {
        let now = Instant::now();
        let full = self.clients.len() >= MAX_CLIENTS;
        let key = if full && !self.clients.contains_key(&caller.key()) { 0 } else { caller.key() };
        let new = !self.clients.contains_key(&key);
        let seen = self.clients.entry(key).or_insert_with(|| Seen {
            name: if key == 0 { "others".into() } else { caller.name().into() },
            last: now,
            requests: 0,
            window: 0,
            before: 0,
        });
        seen.last = now;
        seen.requests += 1;
        seen.window += 1;
        let due = now.duration_since(self.counted) >= COUNTED;
        if due {
            self.counted = now;
            for seen in self.clients.values_mut() {
                seen.before = std::mem::take(&mut seen.window);
            }
        }
        if new || due {
            self.clients.retain(|_, seen| now.duration_since(seen.last) < 60 * ACTIVE);
            self.contended =
                self.clients.values().filter(|seen| now.duration_since(seen.last) < ACTIVE).nth(1).is_some();
        }
        key
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::identity::Identity;

    fn caller(agent: &str) -> Caller {
        Caller::new(&Identity::Admin, None, agent)
    }

    fn small() -> Limits {
        Limits { writes: 4, queue_per_client: 64, ..Limits::default() }
    }

    #[tokio::test]
    async fn a_request_that_gives_up_frees_its_place_at_every_moment() {
        let fair = Fair::new(&small());
        let held: Vec<Permit> = futures::future::join_all((0..4).map(|n| {
            let fair = fair.clone();
            async move { fair.enter(&caller("a"), n, Class::Write).await.unwrap() }
        }))
        .await;
        // Waits, and is dropped while it waits.
        let a = caller("a");
        let mut waits = Box::pin(fair.enter(&a, 9, Class::Write));
        assert!(futures::poll!(&mut waits).is_pending());
        drop(waits);
        // Waits, is granted a seat, and is dropped before it takes it.
        let a = caller("a");
        let mut granted = Box::pin(fair.enter(&a, 9, Class::Write));
        assert!(futures::poll!(&mut granted).is_pending());
        drop(held);
        assert_eq!(fair.lock().lanes[Class::Write.index()].running(), 1);
        drop(granted);
        let state = fair.lock();
        assert_eq!((state.lanes[2].running(), state.lanes[2].queued()), (0, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_too_long_or_in_too_long_a_queue_is_told_so() {
        let fair = Fair::new(&Limits { writes: 1, queue_per_client: 1, ..Limits::default() });
        let a = caller("a");
        let _held = fair.enter(&a, 1, Class::Write).await.unwrap();
        let mut waits = Box::pin(fair.enter(&a, 2, Class::Write));
        assert!(futures::poll!(&mut waits).is_pending());
        let refused = fair.enter(&a, 3, Class::Write).await.unwrap_err();
        assert_eq!(refused.code(), 429);
        assert_eq!(waits.await.unwrap_err().code(), 429);
        assert_eq!(fair.lock().lanes[2].queued(), 0);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn many_at_once_never_exceed_the_seats() {
        let fair = Fair::new(&small());
        let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let tasks = (0..60).map(|n| {
            let (fair, now, most) = (fair.clone(), Arc::clone(&now), Arc::clone(&most));
            tokio::spawn(async move {
                let caller = caller(["a", "b", "c"][n % 3]);
                for _ in 0..50 {
                    let permit = fair.enter(&caller, n as u64, Class::Write).await.unwrap();
                    most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                    tokio::task::yield_now().await;
                    now.fetch_sub(1, Ordering::SeqCst);
                    drop(permit);
                }
            })
        });
        for task in tasks.collect::<Vec<_>>() {
            task.await.unwrap();
        }
        assert!(most.load(Ordering::SeqCst) <= 4);
        assert_eq!(fair.lock().lanes[2].running(), 0);
    }
}
