//! Waiting for a condition, saying for what.

use std::time::{Duration, Instant};

/// Generous on purpose: a slow machine must not fail a test. Speed is measured in `benches/`.
const LIMIT: Duration = Duration::from_secs(60);

/// Polls until `check` gives a value. Panics with `what` after a minute.
#[track_caller]
pub(crate) fn wait<T>(what: &str, check: impl FnMut() -> Option<T>) -> T {
    wait_within(LIMIT, what, check)
}

/// Like [`wait`], with a limit of one's own.
#[track_caller]
pub(crate) fn wait_within<T>(limit: Duration, what: &str, mut check: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(value) = check() {
            return value;
        }
        assert!(start.elapsed() < limit, "waited {limit:?} in vain for: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
