//! An engine that fails where a test says so.
//!
//! ```text
//! commit: ──BeforeCommit──▶ [inner commit] ──AfterCommit──▶ answer
//! ```
//! A failure after the inner commit is the case that matters most: the data is on disk, and the caller was
//! told that something went wrong.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use super::{Engine, EngineError};
use crate::Batch;

/// Where an engine can fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Point {
    /// Before anything is written.
    BeforeCommit,
    /// After everything was written.
    AfterCommit,
    /// While finding out what is on disk.
    Recover,
    /// While trying whether writes are taken.
    Probe,
    /// In housekeeping.
    Tidy,
}

/// The failures to come; clones share them.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    planned: Arc<Mutex<VecDeque<Point>>>,
}

impl Faults {
    /// Plans failures: each point fails once per mention, the first mentioned first.
    pub fn plan(&self, points: &[Point]) {
        self.planned.lock().unwrap_or_else(PoisonError::into_inner).extend(points);
    }

    /// Planned failures that did not happen yet.
    pub fn left(&self) -> usize {
        self.planned.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Forgets what was planned: the disk is well again.
    pub fn clear(&self) {
        self.planned.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    fn check(&self, point: Point) -> Result<(), EngineError> {
        let mut planned = self.planned.lock().unwrap_or_else(PoisonError::into_inner);
        match planned.front() {
            Some(next) if *next == point => {
                planned.pop_front();
                Err(EngineError(format!("planned failure at {point:?}")))
            }
            Some(_) | None => Ok(()),
        }
    }
}

/// Wraps an engine.
#[derive(Debug)]
pub struct Faulty<E> {
    inner: E,
    faults: Faults,
}

impl<E> Faulty<E> {
    /// `inner`, with the failures of `faults`.
    pub fn new(inner: E, faults: Faults) -> Self {
        Self { inner, faults }
    }
}

impl<E: Engine> Engine for Faulty<E> {
    fn commit(&mut self, batches: &[Arc<Batch>]) -> Result<(), EngineError> {
        self.faults.check(Point::BeforeCommit)?;
        self.inner.commit(batches)?;
        self.faults.check(Point::AfterCommit)
    }

    fn recover(&mut self) -> Result<u64, EngineError> {
        self.faults.check(Point::Recover)?;
        self.inner.recover()
    }

    fn probe(&mut self) -> Result<(), EngineError> {
        self.faults.check(Point::Probe)?;
        self.inner.probe()
    }

    fn tidy(&mut self, idle: bool) -> Result<bool, EngineError> {
        self.faults.check(Point::Tidy)?;
        self.inner.tidy(idle)
    }
}
