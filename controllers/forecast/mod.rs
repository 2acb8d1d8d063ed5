//! Conflicts before they happen: all branches in flight are merged pairwise, in memory, whenever one of them moves.
//!
//! ```text
//! tips of branches ──▶ pairs that were not looked at ──files in common?──▶ git merge-tree ──▶ ConflictPredicted on both
//! ```
//!
//! A base branch counts as one more branch: what has landed collides, too. Pairs of commits that were looked at are
//! remembered; losing that memory costs time and nothing else.

mod merges;
mod plan;
mod reconcile;

#[cfg(test)]
mod tests;

pub use reconcile::run;
