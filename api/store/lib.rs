//! The object store of gcluster: versions, lists, watches, transcripts, and the disk below them.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

pub mod engine;

mod entry;
mod error;
mod journal;
mod key;
pub mod log;
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
