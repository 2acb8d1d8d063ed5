//! What every ticket waits for.
//!
//! ```text
//! all tickets of a namespace ─▶ plan (pure) ─▶ status of each: Waiting (for whom, for what) | Ready
//! ```
//!
//! Only `Waiting`, `Ready` and `Cancelled` are decided here; a ticket in any other phase belongs to whoever took it.

mod plan;
mod reconcile;
#[cfg(test)]
mod tests;

pub use plan::{Decision, plan};
pub use reconcile::run;
