//! The state on disk.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{Engine, EngineError, Loaded};
use crate::{Batch, OpenError};

/// State that could not be read and was put aside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damaged {
    /// Where the old files are kept.
    pub preserved: PathBuf,
    /// What was wrong with them.
    pub reason: String,
}

/// An opened state directory.
#[derive(Debug)]
pub struct Opened {
    /// Takes the writes.
    pub engine: Disk,
    /// What was there.
    pub loaded: Loaded,
    /// Set when the old state was unreadable and a fresh one was started: to be logged and written as an
    /// Event.
    pub damaged: Option<Damaged>,
}

/// The engine on disk.
#[derive(Debug)]
pub struct Disk {}

/// Opens or creates the state below a data directory.
///
/// # Errors
/// See [`OpenError`]. Damage is no error.
pub fn open(data_dir: &Path) -> Result<Opened, OpenError> {
    let _ = data_dir;
    Ok(Opened { engine: Disk {}, loaded: Loaded::default(), damaged: None })
}

impl Engine for Disk {
    fn commit(&mut self, _batches: &[Arc<Batch>]) -> Result<(), EngineError> {
        Err(EngineError("not written".to_owned()))
    }
    fn recover(&mut self) -> Result<u64, EngineError> {
        Ok(0)
    }
    fn probe(&mut self) -> Result<(), EngineError> {
        Ok(())
    }
    fn tidy(&mut self, _idle: bool) -> Result<bool, EngineError> {
        Ok(false)
    }
}
