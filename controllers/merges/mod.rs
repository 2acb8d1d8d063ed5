//! Merge → a ticket's branch in the base branch of its repositories, in all or in none.
//!
//! ```text
//! Queued ──its turn──▶ Rebasing ──▶ Checking ──green──▶ Landing ──▶ Merged
//!                         ▲  │conflict   │red  │base moved  │base moved
//!                         └──┼───────────┼─────┴────────────┘
//!                            ▼           ▼
//!                         Rejected, with a brief for the worker
//! ```
//!
//! One at a time for each base branch. Every step is written down before it is done, with the commits that it is about;
//! a rebase of the same branch onto the same base gives the same commits. So a master that was killed at any moment is
//! followed by one that looks where the refs are and does the rest. Base branches are moved forward only: what landed in
//! one repository, when the rest can land no more, is taken back by a commit.

mod brief;
mod plan;
mod reconcile;
mod steps;
mod take_back;

#[cfg(test)]
mod tests;

pub use reconcile::run;
