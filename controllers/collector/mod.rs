//! collector
/// Runs.
pub async fn run(ctx: crate::Context) { let _ = ctx; futures::future::pending::<()>().await }
