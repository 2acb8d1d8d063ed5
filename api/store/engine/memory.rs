//! An engine that keeps transactions in memory, for tests of everything above it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::{Engine, EngineError, Loaded};
use crate::{Batch, Entry, Key};

/// Keeps what was committed for as long as a clone of it lives: a clone plays the disk after a restart.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    kept: Arc<Mutex<Kept>>,
}

#[derive(Debug, Default)]
struct Kept {
    revision: u64,
    objects: BTreeMap<Key, Arc<Entry>>,
    commits: u64,
}

impl Memory {
    /// What a store continues from.
    pub fn load(&self) -> Loaded {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        Loaded { revision: kept.revision, entries: kept.objects.values().cloned().collect() }
    }

    /// How many groups were committed.
    pub fn commits(&self) -> u64 {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).commits
    }
}

impl Engine for Memory {
    fn commit(&mut self, batches: &[Arc<Batch>]) -> Result<(), EngineError> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        for batch in batches {
            if batch.revision != kept.revision + 1 {
                let (next, found) = (kept.revision + 1, batch.revision);
                return Err(EngineError(format!("revision {next} was to follow, not {found}")));
            }
            kept.revision = batch.revision;
            for event in &batch.events {
                match event.current() {
                    Some(entry) => kept.objects.insert(entry.key.clone(), Arc::clone(entry)),
                    None => kept.objects.remove(&event.entry.key),
                };
            }
        }
        kept.commits += 1;
        Ok(())
    }

    fn recover(&mut self) -> Result<u64, EngineError> {
        Ok(self.load().revision)
    }

    fn probe(&mut self) -> Result<(), EngineError> {
        Ok(())
    }

    fn tidy(&mut self, _idle: bool) -> Result<bool, EngineError> {
        Ok(false)
    }
}
