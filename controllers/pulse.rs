//! Whether the loops get on: which of them run, what is under way in them, and since when.
//!
//! ```text
//! run.rs: every loop kept ─┐
//! loops: a Beat while something is done ─┼─▶ stuck? ─▶ readyz, doctor, top, the service manager's watchdog
//! run.rs: turns ───────────┘
//! ```
//!
//! A loop is stuck when it ended by itself, when one piece of its work takes longer than that may, or when all of them
//! stand still because one does not give the others their turn.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Longest time of one piece of work where its loop says nothing else. None takes seconds unless something hangs.
const WORK: Duration = Duration::from_secs(300);
/// How often the loops show that they get their turn.
const TURN: Duration = Duration::from_secs(5);
/// Longest time without a turn: on a machine that is overloaded they are late.
const STANDSTILL: Duration = Duration::from_secs(120);

/// What all loops do. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Pulse {
    shared: Arc<Mutex<Underway>>,
}

#[derive(Debug, Default)]
struct Underway {
    next: u64,
    work: BTreeMap<u64, Work>,
    running: BTreeSet<&'static str>,
    ended: BTreeSet<&'static str>,
    /// When the loops had their turn last; none before the first time.
    turned: Option<Instant>,
}

#[derive(Debug)]
struct Work {
    controller: &'static str,
    since: Instant,
    limit: Duration,
}

/// One piece of work; it is over when this is dropped.
#[derive(Debug)]
pub struct Beat {
    pulse: Pulse,
    number: u64,
}

/// A loop that does not get on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stuck {
    /// It ended by itself, which none does.
    Ended(&'static str),
    /// One piece of its work takes too long: since when.
    Hangs(&'static str, Duration),
    /// None of them had a turn: since when.
    Standstill(Duration),
}

impl fmt::Display for Stuck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Stuck::Ended(controller) => write!(f, "the loop {controller} has ended"),
            Stuck::Hangs(controller, age) => {
                write!(f, "a reconcile of the loop {controller} has been under way for {} s", age.as_secs())
            }
            Stuck::Standstill(age) => write!(f, "no loop has had a turn for {} s", age.as_secs()),
        }
    }
}

impl Pulse {
    /// Runs a loop, and says so when it ends by itself. It is made here, straight onto the heap: a loop is large, and all
    /// of them within one task are more than its thread's stack holds.
    pub fn keep<F: Future<Output = ()>>(
        &self,
        controller: &'static str,
        make: impl FnOnce() -> F,
    ) -> impl Future<Output = ()> {
        let run = Box::pin(make());
        async move {
            self.underway().running.insert(controller);
            run.await;
            tracing::error!(controller, "a loop ended by itself");
            self.underway().ended.insert(controller);
        }
    }

    /// Shows that the loops get their turn, until it is dropped. It has to run in the task that they run in.
    pub async fn turns(&self) {
        let mut turn = tokio::time::interval(TURN);
        loop {
            self.underway().turned = Some(Instant::now());
            turn.tick().await;
        }
    }

    /// Some work of this loop begins, such as one reconcile.
    pub fn begin(&self, controller: &'static str) -> Beat {
        self.begin_within(controller, WORK)
    }

    /// The same with work that may take longer: what it does has time limits of its own, and this is beyond all of them.
    pub fn begin_within(&self, controller: &'static str, limit: Duration) -> Beat {
        let mut underway = self.underway();
        let number = underway.next;
        underway.next += 1;
        underway.work.insert(number, Work { controller, since: Instant::now(), limit });
        Beat { pulse: self.clone(), number }
    }

    /// The loop that does not get on, if there is one.
    pub fn stuck(&self) -> Option<Stuck> {
        self.stuck_at(Instant::now())
    }

    pub(crate) fn stuck_at(&self, now: Instant) -> Option<Stuck> {
        let underway = self.underway();
        if let Some(ended) = underway.ended.iter().next() {
            return Some(Stuck::Ended(ended));
        }
        let age = |since: Instant| now.saturating_duration_since(since);
        // Numbers rise with time.
        let hangs = underway.work.values().find(|work| age(work.since) > work.limit);
        if let Some(work) = hangs {
            return Some(Stuck::Hangs(work.controller, age(work.since)));
        }
        underway.turned.map(age).filter(|age| *age > STANDSTILL).map(Stuck::Standstill)
    }

    /// The loops that were begun, by name.
    pub fn loops(&self) -> Vec<&'static str> {
        self.underway().running.iter().copied().collect()
    }

    fn underway(&self) -> MutexGuard<'_, Underway> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Beat {
    fn drop(&mut self) {
        self.pulse.underway().work.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_work_that_takes_too_long_is_told() {
        let pulse = Pulse::default();
        let begun = Instant::now();
        let patient = pulse.begin_within("repositories", Duration::from_secs(7_200));
        let first = pulse.begin("executor");
        let _second = pulse.begin("tickets");
        let at = |seconds| pulse.stuck_at(begun + Duration::from_secs(seconds));
        assert_eq!(at(299), None);
        assert!(matches!(at(400), Some(Stuck::Hangs("executor", _))));
        drop(first);
        let told = at(400).map(|stuck| stuck.to_string()).unwrap_or_default();
        assert!(told.starts_with("a reconcile of the loop tickets has been under way for "), "{told}");
        assert!(matches!(at(9_000), Some(Stuck::Hangs("repositories", _))), "the older one");
        drop(patient);
        assert!(matches!(at(9_000), Some(Stuck::Hangs("tickets", _))));
    }

    #[tokio::test]
    async fn a_loop_that_ended_is_told_and_so_is_a_standstill_of_all() {
        let pulse = Pulse::default();
        {
            let mut turns = std::pin::pin!(pulse.turns());
            assert!(futures::poll!(turns.as_mut()).is_pending());
        }
        let later = Instant::now() + Duration::from_secs(600);
        assert_eq!(pulse.stuck(), None);
        assert!(matches!(pulse.stuck_at(later), Some(Stuck::Standstill(_))));
        let mut runs = std::pin::pin!(pulse.keep("merges", std::future::pending));
        assert!(futures::poll!(runs.as_mut()).is_pending());
        pulse.keep("tickets", || async {}).await;
        assert_eq!(pulse.loops(), ["merges", "tickets"]);
        assert_eq!(pulse.stuck(), Some(Stuck::Ended("tickets")));
    }
}
