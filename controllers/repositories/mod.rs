//! The hub of each repository: made, mended, watched and measured.
//!
//! ```text
//! Repository ─▶ look (git) ─▶ plan (pure) ─▶ status: Ready, ahead, behind, size, DiskSpace, UpstreamPushed
//!                 │  hub.git with hooks ──pushes──▶ inbox ─▶ Check
//!                 └─ base branch of the user's repository ─▶ refs/gcluster/host
//! ```
//!
//! A look is cheap and comes with every change: of the object, of the hub (file events), of the user's branch; and every
//! 15 seconds for what was missed. The base branch is made here once and then moved by merges and `gcluster sync` alone.

mod background;
mod disk;
mod files;
mod inbox;
mod look;
mod moves;
mod plan;
mod reconcile;
mod removal;
mod tell;
#[cfg(test)]
mod tests;
mod tidy;
mod triggers;
mod upkeep;
mod upstream;

pub use reconcile::run;
