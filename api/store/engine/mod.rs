//! Where transactions become durable.
//!
//! An [`Engine`] takes groups of transactions and answers when they survive a loss of power. The
//! persistence loop is its only caller; it may block.

use std::sync::Arc;

use crate::{Batch, Entry};

pub mod disk;
#[cfg(any(test, feature = "faults"))]
pub mod faulty;
pub(crate) mod files;
pub mod memory;
mod replay;
#[cfg(test)]
mod tests;

/// What was on disk: the newest state and the revision to continue after.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Loaded {
    /// The newest revision that was ever durable; 0 in a fresh store.
    pub revision: u64,
    /// Every object that exists.
    pub entries: Vec<Arc<Entry>>,
}

/// Why an engine could not do something; the text says what to know about it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct EngineError(pub String);

/// Keeps transactions. All methods block.
pub trait Engine: Send {
    /// Makes the transactions durable, all of them or none, in order.
    ///
    /// # Errors
    /// After an error it is not known whether they are durable: [`Engine::recover`] tells.
    fn commit(&mut self, batches: &[Arc<Batch>]) -> Result<(), EngineError>;

    /// After a failure: brings the engine back to a known state and returns the newest durable revision.
    /// What is newer will never appear.
    ///
    /// # Errors
    /// Still not known; to be called again.
    fn recover(&mut self) -> Result<u64, EngineError>;

    /// Tries whether writes are taken, with one durable write that changes nothing.
    ///
    /// # Errors
    /// Why they are not; to be followed by [`Engine::recover`].
    fn probe(&mut self) -> Result<(), EngineError>;

    /// Does one short piece of housekeeping, if any is due. `true`: there is more to do now. `idle` tells
    /// that nobody waits, so that work which would delay writers can be done.
    ///
    /// # Errors
    /// To be followed by [`Engine::recover`].
    fn tidy(&mut self, idle: bool) -> Result<bool, EngineError>;
}
