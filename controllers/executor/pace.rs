//! Starting programs one after the other, and not more than may run at once.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use crate::context::Config;

/// Between the starts of two programs of a backend that the settings do not name.
const SPACING: Duration = Duration::from_millis(2);

/// The gate before every start. Clones share it; who came first is served first.
#[derive(Clone)]
pub(super) struct Pace {
    room: Arc<Semaphore>,
    next: Arc<Mutex<HashMap<String, Instant>>>,
    config: Arc<Config>,
}

impl Pace {
    pub(super) fn new(config: Arc<Config>) -> Self {
        let room = Arc::new(Semaphore::new(config.max_running.min(Semaphore::MAX_PERMITS)));
        Self { room, next: Arc::default(), config }
    }

    /// Takes room for what runs already, as far as there is any.
    pub(super) fn room(&self) -> Option<OwnedSemaphorePermit> {
        self.room.clone().try_acquire_owned().ok()
    }

    /// Waits for room and for the backend's turn. The room is given back when the permit is dropped; `None`
    /// cannot happen, because the gate is never closed.
    pub(super) async fn turn(&self, backend: &str) -> Option<OwnedSemaphorePermit> {
        let permit = self.room.clone().acquire_owned().await.ok()?;
        let spacing = self.config.start_spacing.get(backend).copied().unwrap_or(SPACING);
        let at = {
            let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
            let slot = next.entry(backend.to_owned()).or_insert_with(Instant::now);
            let at = (*slot).max(Instant::now());
            *slot = at + spacing;
            at
        };
        tokio::time::sleep_until(at).await;
        Some(permit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn starts_of_one_backend_keep_their_distance() {
        let pace = Pace::new(Arc::new(Config::new("claude", "/r")));
        let start = Instant::now();
        let mut permits = Vec::new();
        for _ in 0..4 {
            permits.push(pace.turn("claude").await.unwrap());
        }
        assert!(start.elapsed() >= Duration::from_millis(450), "{:?}", start.elapsed());
        assert!(pace.turn("command").await.is_some(), "another backend has a turn of its own");
    }

    #[tokio::test]
    async fn no_more_run_at_once_than_allowed() {
        let mut config = Config::new("command", "/r");
        config.max_running = 1;
        let pace = Pace::new(Arc::new(config));
        let first = pace.turn("command").await;
        assert!(tokio::time::timeout(Duration::from_millis(30), pace.turn("command")).await.is_err());
        drop(first);
        assert!(pace.turn("command").await.is_some());
    }
}
