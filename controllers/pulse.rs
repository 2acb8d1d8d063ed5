//! Whether the loops get on: which reconciles are under way, and since when.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The reconciles of all loops that are under way. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Pulse {
    shared: Arc<Mutex<Underway>>,
}

#[derive(Debug, Default)]
struct Underway {
    next: u64,
    since: BTreeMap<u64, (&'static str, Instant)>,
}

/// One reconcile; it is over when this is dropped.
#[derive(Debug)]
pub struct Beat {
    pulse: Pulse,
    number: u64,
}

impl Pulse {
    /// A reconcile of this controller begins.
    pub fn begin(&self, controller: &'static str) -> Beat {
        let mut underway = self.underway();
        let number = underway.next;
        underway.next += 1;
        underway.since.insert(number, (controller, Instant::now()));
        Beat { pulse: self.clone(), number }
    }

    /// The controller of the oldest reconcile that is under way for longer than `limit`, and for how long it is.
    pub fn stuck(&self, limit: Duration) -> Option<(&'static str, Duration)> {
        let underway = self.underway();
        // Numbers rise with time.
        let (controller, since) = underway.since.values().next()?;
        let age = since.elapsed();
        (age > limit).then_some((*controller, age))
    }

    fn underway(&self) -> MutexGuard<'_, Underway> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Beat {
    fn drop(&mut self) {
        self.pulse.underway().since.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_reconcile_that_is_not_over_is_told() {
        let pulse = Pulse::default();
        let first = pulse.begin("executor");
        let _second = pulse.begin("revision");
        std::thread::sleep(Duration::from_millis(2));
        assert_eq!(pulse.stuck(Duration::from_millis(1)).map(|(controller, _)| controller), Some("executor"));
        assert_eq!(pulse.stuck(Duration::from_secs(3_600)), None);
        drop(first);
        assert_eq!(pulse.stuck(Duration::ZERO).map(|(controller, _)| controller), Some("revision"));
    }
}
