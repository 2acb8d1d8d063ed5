//! Telling people outside: a command of the pool, once for each transition of a ticket that somebody wants to know of.
//!
//! ```text
//! tickets, pools (watch) ─plan (pure)─▶ command, with a time limit ─▶ annotation `gcluster.dev/notified` ─▶ never again
//! ```
//!
//! The annotation is written when the command has ended. A master that is killed in between runs it once more.

mod plan;
mod reconcile;
mod run;
#[cfg(test)]
mod tests;

pub use reconcile::run;
