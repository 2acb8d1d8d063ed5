//! The writing side: proposals under one lock, and who waits for them to become durable.
//!
//! ```text
//! transact ──propose──▶ overlay + queue ──Journal──▶ disk ──durable──▶ published, writers answered
//!                                                     └────refused──▶ rolled back, writers refused
//! ```

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, oneshot};

use crate::state::State;
use crate::transaction::Overlay;
use crate::{Batch, TransactError, Transaction};

/// How a waiting writer learns what became of its transaction; dropped when the store is closed.
pub(crate) type Answer = oneshot::Receiver<Result<(), Arc<str>>>;
/// The other end of an [`Answer`].
type Waiting = oneshot::Sender<Result<(), Arc<str>>>;
/// What a closure came to, and what to wait for before saying so.
type Proposed<R, E> = (Result<R, E>, Option<Answer>);

/// What the store and its journal share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) state: State,
    /// Taken before the locks of `state`; never held across an await.
    writer: Mutex<Writer>,
    pub(crate) queued: Notify,
    /// The same news for whoever waits on a thread; belongs to `writer`.
    woken: Condvar,
    pub(crate) closed: AtomicBool,
    /// Why the disk refuses writes; none while it takes them.
    failing: Mutex<Option<Arc<str>>>,
}

#[derive(Debug)]
pub(crate) struct Writer {
    /// The newest revision that was proposed.
    revision: u64,
    overlay: Overlay,
    /// Proposed and not yet taken by the journal.
    queue: Vec<Arc<Batch>>,
    /// Taken by the journal and not yet durable.
    in_flight: Vec<Arc<Batch>>,
    /// Who waits for which revision.
    waiting: BTreeMap<u64, Vec<Waiting>>,
    /// No journal will answer any more.
    abandoned: bool,
}

impl Shared {
    pub(crate) fn new(state: State) -> Self {
        let writer = Writer {
            revision: state.revision(),
            overlay: Overlay::new(),
            queue: Vec::new(),
            in_flight: Vec::new(),
            waiting: BTreeMap::new(),
            abandoned: false,
        };
        Self {
            state,
            writer: Mutex::new(writer),
            queued: Notify::new(),
            woken: Condvar::new(),
            closed: AtomicBool::new(false),
            failing: Mutex::new(None),
        }
    }

    /// Runs the closure and queues what it changed. `Ok((result, None))`: nothing to wait for.
    pub(crate) fn propose<R, E>(
        &self,
        work: impl FnOnce(&mut Transaction<'_>) -> Result<R, E>,
    ) -> Result<Proposed<R, E>, TransactError<E>> {
        let mut writer = self.writer();
        if self.closed.load(Ordering::Acquire) {
            return Err(TransactError::Closed);
        }
        let mut transaction = Transaction::new(&self.state, &writer.overlay, writer.revision + 1);
        let result = work(&mut transaction);
        let batch = result.is_ok().then(|| transaction.into_batch()).flatten();
        if let Some(batch) = batch {
            if let Some(reason) = self.failing() {
                return Err(TransactError::Storage(reason.to_string()));
            }
            writer.push(batch);
            self.queued.notify_one();
            self.woken.notify_one();
        }
        // Without a change of its own it waits for what it may have read.
        let answer = writer.wait_for_newest(self.state.revision());
        Ok((result, answer))
    }

    /// Everything queued, now in flight; empty when there is nothing.
    pub(crate) fn take(&self) -> Vec<Arc<Batch>> {
        let mut writer = self.writer();
        if writer.in_flight.is_empty() {
            writer.in_flight = std::mem::take(&mut writer.queue);
        }
        writer.in_flight.clone()
    }

    /// Sleeps on this thread until something is queued, the store is closed, or the time is over.
    pub(crate) fn sleep(&self, limit: Option<Duration>) {
        let idle = |writer: &mut Writer| writer.queue.is_empty() && !self.is_closed();
        let writer = self.writer();
        match limit {
            Some(limit) => drop(self.woken.wait_timeout_while(writer, limit, idle)),
            None => drop(self.woken.wait_while(writer, idle)),
        }
    }

    /// Sleeps on this thread until the time is over or the store is closed.
    pub(crate) fn pause(&self, limit: Duration) {
        let open = |_: &mut Writer| !self.is_closed();
        drop(self.woken.wait_timeout_while(self.writer(), limit, open));
    }

    /// What is in flight is on disk: publishes it and answers who waited for it.
    pub(crate) fn durable(&self) {
        let batches = std::mem::take(&mut self.writer().in_flight);
        let Some(newest) = batches.last().map(|batch| batch.revision) else { return };
        self.state.publish(&batches);
        let mut writer = self.writer();
        for event in batches.iter().flat_map(|batch| &batch.events) {
            // A newer proposal for the same object stays in the overlay.
            let key = &event.entry.key;
            if writer.overlay.get(key).is_some_and(|(revision, _)| *revision == event.revision) {
                writer.overlay.remove(key);
            }
        }
        let later = writer.waiting.split_off(&(newest + 1));
        let answered = std::mem::replace(&mut writer.waiting, later);
        drop(writer);
        for answer in answered.into_values().flatten() {
            let _gone = answer.send(Ok(()));
        }
    }

    /// Nothing that is proposed will be on disk: forgets it and refuses who waited for it.
    pub(crate) fn refuse(&self, reason: &Arc<str>) {
        let mut writer = self.writer();
        writer.overlay.clear();
        writer.queue.clear();
        writer.in_flight.clear();
        writer.revision = self.state.revision();
        let refused = std::mem::take(&mut writer.waiting);
        drop(writer);
        for answer in refused.into_values().flatten() {
            let _gone = answer.send(Err(Arc::clone(reason)));
        }
    }

    /// Refuses new transactions; what is queued can still become durable.
    pub(crate) fn close(&self) {
        let writer = self.writer();
        self.closed.store(true, Ordering::Release);
        drop(writer);
        self.queued.notify_one();
        self.woken.notify_all();
        self.state.wake_all();
    }

    /// Nothing more will become durable: lets everybody go.
    pub(crate) fn abandon(&self) {
        self.close();
        let mut writer = self.writer();
        writer.abandoned = true;
        writer.waiting.clear();
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    pub(crate) fn failing(&self) -> Option<Arc<str>> {
        self.failing.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn set_failing(&self, reason: Option<Arc<str>>) {
        *self.failing.lock().unwrap_or_else(PoisonError::into_inner) = reason;
    }

    // A panic inside a caller's closure poisons the lock; nothing was changed by then, so it stays usable.
    fn writer(&self) -> MutexGuard<'_, Writer> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Writer {
    fn push(&mut self, batch: Batch) {
        self.revision = batch.revision;
        for event in &batch.events {
            self.overlay.insert(event.entry.key.clone(), (batch.revision, event.current().cloned()));
        }
        self.queue.push(Arc::new(batch));
    }

    /// A receiver for the newest proposal, none when everything is published.
    fn wait_for_newest(&mut self, published: u64) -> Option<Answer> {
        if self.revision == published {
            return None;
        }
        let (sender, receiver) = oneshot::channel();
        if !self.abandoned {
            self.waiting.entry(self.revision).or_default().push(sender);
        }
        Some(receiver)
    }
}
