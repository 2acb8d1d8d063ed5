//! Workspaces: the worktrees in which tickets are worked on, and what is kept of them when they go.
//!
//! ```text
//! Pending ─▶ worktrees ─▶ Preparing: files copied, set-up commands ─▶ Ready ─▶ looked at while the ticket is in flight
//! ```
//!
//! Whatever is done can be done again: a marker beside the folder tells a worktree that is half made from one that
//! somebody has worked in.

mod look;
mod observe;
mod place;
mod plan;
mod reconcile;
mod repositories;
mod trouble;
mod worktrees;

#[cfg(test)]
mod tests;

pub use reconcile::run;
