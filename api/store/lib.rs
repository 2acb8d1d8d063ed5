//! The object store of gcluster: versions, lists, watches, transcripts, and the disk below them.
//!
//! What it guarantees:
//!
//! 1. One transaction, one revision. Revisions grow by one and never go back, not by restarts or deletes.
//! 2. Nothing is readable, watched or acknowledged before it is on disk; a refused write never appears later.
//! 3. Readers and watchers see all of a transaction or nothing.
//! 4. A watch is ordered, unique and complete after its revision, or it ends with [`Gone`].
//! 5. A slow watcher holds no memory and slows nobody.
//! 6. A rejected or unchanged transaction answers after everything that it could have read is durable.
//!
//! `format.md` beside this file has the bytes on disk.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

pub mod engine;

mod entry;
mod error;
mod journal;
mod key;
pub mod log;
#[cfg(test)]
mod model_tests;
mod state;
mod store;
mod transaction;
mod watch;
mod window;
mod writer;

pub use entry::{Batch, Entry, Event, EventKind};
pub use error::{Gone, OpenError, TransactError, WatchEnd};
pub use journal::{Journal, Waited};
pub use key::Key;
pub use log::{AppendError, Reader, Size, Transcripts};
pub use store::{ListAt, Listing, Store, StoreConfig};
pub use transaction::Transaction;
pub use watch::Watcher;
