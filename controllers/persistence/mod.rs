//! The loop under the API: what the journal proposes becomes durable.
//!
//! ```text
//! queued transactions ──one write, one sync──▶ disk ──▶ published, writers answered
//!                              │ fails
//!                              ▼
//!        what is on disk? ──there after all──▶ published
//!              └──not there──▶ rolled back, writers refused, probe until the disk takes writes again
//! ```
//!
//! The loop has a thread of its own: the engine blocks, and a write should not wait for the runtime's
//! scheduler. While one group is written the next one queues up, so groups grow with the load.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures::future::{Either, select};
use gcluster_store::engine::{Engine, EngineError};
use gcluster_store::{Batch, Journal, Waited};

#[cfg(test)]
mod tests;

/// Nobody wrote for this long: time for housekeeping.
const IDLE: Duration = Duration::from_millis(100);

/// Between two attempts on a failing disk: at first, and at most.
const RETRY: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(5));

/// Attempts to learn what is on disk once the store is closed.
const LAST_ATTEMPTS: u32 = 3;

/// Follows the journal until `shutdown` completes or the store is closed. On shutdown the store is closed,
/// and what is queued is still written. When the future is dropped, the same happens in the background.
pub async fn run(journal: Journal, engine: Box<dyn Engine>, shutdown: impl Future<Output = ()>) {
    let journal = Arc::new(journal);
    let closer = Closer(Arc::clone(&journal));
    let work = tokio::task::spawn_blocking(move || follow(&journal, engine));
    let work = match select(work, pin!(shutdown)).await {
        Either::Left((ended, _)) => ended,
        Either::Right(((), work)) => {
            closer.0.close();
            work.await
        }
    };
    if let Err(error) = work {
        tracing::error!(%error, "the persistence loop ended; nothing can be written any more");
    }
}

/// Lets the thread end with the future that started it.
struct Closer(Arc<Journal>);

impl Drop for Closer {
    fn drop(&mut self) {
        self.0.close();
    }
}

fn follow(journal: &Journal, mut engine: Box<dyn Engine>) {
    let engine = &mut *engine;
    let mut housekeeping = true;
    loop {
        match journal.wait(housekeeping.then_some(IDLE)) {
            Waited::Closed => return,
            Waited::Nothing => housekeeping = tidy(journal, engine, true),
            Waited::Batches(batches) => {
                write(journal, engine, &batches);
                tidy(journal, engine, false);
                housekeeping = true;
            }
        }
    }
}

fn write(journal: &Journal, engine: &mut dyn Engine, batches: &[Arc<Batch>]) {
    let Err(error) = engine.commit(batches) else { return journal.durable() };
    let newest = batches.last().map_or(0, |batch| batch.revision);
    tracing::error!(%error, "the state could not be written");
    match settle(journal, engine, &error) {
        Some(revision) if revision >= newest => {
            journal.durable();
            journal.recovered();
        }
        Some(_) => {
            journal.refused(&error.to_string());
            heal(journal, engine);
        }
        None => (),
    }
}

/// Finds out what is on disk. Writers wait meanwhile: they are told neither yes nor no before it is known.
/// `None`: the store was closed before it was.
fn settle(journal: &Journal, engine: &mut dyn Engine, error: &EngineError) -> Option<u64> {
    journal.failing(&error.to_string());
    let mut retry = Retry::default();
    let mut last_attempts = LAST_ATTEMPTS;
    loop {
        let error = match engine.recover() {
            Ok(revision) => return Some(revision),
            Err(error) => error,
        };
        tracing::error!(%error, "it is not known yet what was written");
        journal.failing(&error.to_string());
        if journal.is_closed() {
            last_attempts = last_attempts.checked_sub(1)?;
        }
        journal.pause(retry.next());
    }
}

/// Tries until the disk takes writes, or the store is closed.
fn heal(journal: &Journal, engine: &mut dyn Engine) {
    let mut retry = Retry::default();
    while !journal.is_closed() {
        journal.pause(retry.next());
        match engine.probe() {
            Ok(()) => {
                tracing::info!("the state can be written again");
                return journal.recovered();
            }
            Err(error) => {
                if settle(journal, engine, &error).is_none() {
                    return;
                }
                journal.refused(&error.to_string());
            }
        }
    }
}

/// One step of housekeeping; true when there is more.
fn tidy(journal: &Journal, engine: &mut dyn Engine, idle: bool) -> bool {
    match engine.tidy(idle) {
        Ok(more) => more,
        Err(error) => {
            tracing::error!(%error, "housekeeping of the state failed");
            if settle(journal, engine, &error).is_some() {
                journal.refused(&error.to_string());
                heal(journal, engine);
            }
            false
        }
    }
}

/// Doubling delays with jitter.
#[derive(Default)]
struct Retry(u32);

impl Retry {
    fn next(&mut self) -> Duration {
        let (first, most) = RETRY;
        let delay = first.saturating_mul(1 << self.0.min(10)).min(most);
        self.0 += 1;
        delay.mul_f64(0.75 + fastrand::f64() / 2.0)
    }
}
