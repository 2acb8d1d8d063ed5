//! What the persistence loop follows: transactions in order, each to be made durable.
//!
//! ```text
//! while let Waited::Batches(batches) = journal.wait(None) { engine.commit(&batches)?; journal.durable() }
//! ```

use std::sync::Arc;
use std::time::Duration;

use crate::Batch;
use crate::writer::Shared;

/// What waiting for transactions brought.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Waited {
    /// All that have queued up, oldest first; never empty.
    Batches(Vec<Arc<Batch>>),
    /// Nothing yet.
    Nothing,
    /// The store is closed and nothing is left to write.
    Closed,
}

/// The queue of proposed transactions. Dropping it closes the store: nobody waits for a loop that is gone.
#[derive(Debug)]
pub struct Journal {
    pub(crate) shared: Arc<Shared>,
}

impl Journal {
    /// Waits for transactions and hands over all that have queued up, oldest first. They stay in flight
    /// until [`Journal::durable`] or [`Journal::refused`]; asked before that, it hands over the same ones.
    /// `None`: the store is closed and nothing is left to write.
    pub async fn next(&self) -> Option<Vec<Arc<Batch>>> {
        loop {
            // Read before the queue: once closed nothing is added.
            let closed = self.shared.is_closed();
            let batches = self.shared.take();
            if !batches.is_empty() {
                return Some(batches);
            }
            if closed {
                return None;
            }
            self.shared.queued.notified().await;
        }
    }

    /// As [`Journal::next`], blocking the thread, for at most `limit`.
    pub fn wait(&self, limit: Option<Duration>) -> Waited {
        let closed = self.shared.is_closed();
        let batches = self.shared.take();
        if !batches.is_empty() {
            return Waited::Batches(batches);
        }
        if closed {
            return Waited::Closed;
        }
        self.shared.sleep(limit);
        match self.shared.take() {
            batches if batches.is_empty() => Waited::Nothing,
            batches => Waited::Batches(batches),
        }
    }

    /// Blocks the thread for a time, shorter when the store is closed meanwhile.
    pub fn pause(&self, time: Duration) {
        self.shared.pause(time);
    }

    /// What is in flight is on disk: it becomes visible and its writers are answered.
    pub fn durable(&self) {
        self.shared.durable();
    }

    /// What is in flight is certainly not on disk: it and everything proposed after it is rolled back, its
    /// writers are refused with the reason, and so are new ones until [`Journal::recovered`].
    pub fn refused(&self, reason: &str) {
        let reason: Arc<str> = reason.into();
        self.shared.set_failing(Some(Arc::clone(&reason)));
        self.shared.refuse(&reason);
    }

    /// Writing failed and it is not yet known what is on disk: refuses new writes, keeps the others waiting.
    pub fn failing(&self, reason: &str) {
        self.shared.set_failing(Some(reason.into()));
    }

    /// The disk takes writes again.
    pub fn recovered(&self) {
        self.shared.set_failing(None);
    }

    /// True once the store is closed.
    pub fn is_closed(&self) -> bool {
        self.shared.is_closed()
    }

    /// Closes the store: what is queued is still handed over, nothing new is.
    pub fn close(&self) {
        self.shared.close();
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        self.shared.abandon();
    }
}
