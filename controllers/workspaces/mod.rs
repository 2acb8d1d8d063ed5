//! Workspaces: the worktrees in which tickets are worked on, and what is kept of them when they go.
//!
//! ```text
//! Pending ─▶ worktrees ─▶ Preparing: files copied, set-up commands ─▶ Ready ─▶ looked at and saved while somebody works
//! Terminating ─▶ teardown commands ─▶ everything in it as a hidden commit, a Salvage ─▶ gone; `gcluster undelete` makes it again
//! ```
//!
//! Whatever is done can be done again: a marker beside the folder tells a worktree that is half made from one that
//! somebody has worked in.

mod commands;
mod copy;
mod look;
mod make;
mod observe;
mod place;
mod plan;
mod reconcile;
mod remove;
mod repositories;
mod salvages;
mod saves;
mod trouble;
mod worktrees;

#[cfg(test)]
mod loss_tests;
#[cfg(test)]
mod plan_tests;
#[cfg(test)]
mod removal_tests;
#[cfg(test)]
mod several_tests;
#[cfg(test)]
mod tests;

pub use reconcile::Workspaces;
