//! What can go wrong, one type per operation.

use std::path::PathBuf;

/// A list or a watch asked for a revision whose events are no longer kept: list again without a revision.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("revision {asked} is too old: events are kept after revision {floor} only; list again")]
pub struct Gone {
    /// The revision that was asked for.
    pub asked: u64,
    /// The oldest revision that can still be asked for.
    pub floor: u64,
}

/// Why a transaction has no result.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TransactError<E> {
    /// The caller's closure refused it; nothing was changed.
    #[error("{0}")]
    Rejected(E),
    /// The disk refused it; nothing was changed, and it may be tried again. The text says why.
    #[error("the state could not be written: {0}; nothing was changed, try again once the cause is removed")]
    Storage(String),
    /// The store is closed. A transaction that was already under way may or may not be on disk.
    #[error("the store is closed: the master is stopping")]
    Closed,
}

/// Why a watch ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WatchEnd {
    /// The watcher was so slow that events it had not read are no longer kept: list and watch again.
    #[error(transparent)]
    Gone(#[from] Gone),
    /// The store was closed.
    #[error("the store is closed: the master is stopping")]
    Closed,
}

/// Why the state on disk could not be opened. Damage is no error: see [`crate::engine::disk::Opened`].
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has the directory.
    #[error(
        "the data directory {} is in use by another master (lock {}): stop it, or choose another directory",
        .directory.display(), .lock.display()
    )]
    Locked {
        /// The data directory.
        directory: PathBuf,
        /// The lock file that is held.
        lock: PathBuf,
    },
    /// The state was written by a newer version.
    #[error(
        "the state in {} has format {found}, this version knows formats up to {known}: use a newer gcluster",
        .path.display()
    )]
    Newer {
        /// The state directory.
        path: PathBuf,
        /// The format that was found.
        found: u32,
        /// The newest format that this version knows.
        known: u32,
    },
    /// The operating system refused something.
    #[error("cannot {action} {}: {reason}", .path.display())]
    Io {
        /// What was tried, as `create`.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why it failed.
        reason: String,
    },
}
