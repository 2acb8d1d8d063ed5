//! All loops of the API's clients, started and ended together.

use crate::Context;

/// Runs all controllers until `shutdown`.
pub async fn run(ctx: Context, shutdown: impl Future<Output = ()> + Send) {
    let _ = ctx;
    shutdown.await;
}
