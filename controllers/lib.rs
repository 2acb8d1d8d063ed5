//! The control loops of gcluster: ordinary kube-rs controllers on a `kube::Client`.
//!
//! ```text
//! Agent ──revision──▶ AgentRevision ──executor──▶ Iteration ──backend──▶ transcript
//!            tickets: what each ticket waits for
//!            repositories: the hub of each repository, its hooks and its pushes
//!            workspaces: the worktrees in which tickets are worked on
//!            backlog: files that become tickets
//!            metrics: one row for each ticket that came to its end
//!            notify: a command when a ticket needs a person or has come to its end
//!            reviews: what a reviewer says of a ticket's change
//!                      collector: what nobody owns or needs any more
//!                      persistence: the one loop under the API (state to disk)
//! ```
//!
//! Loops never call each other: each reads objects, plans with a pure function, acts, and writes only its
//! own fields. Starting is reconciling; there is no other recovery.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

mod agents;
pub mod backend;
pub mod backlog;
pub mod checks;
pub mod collector;
pub mod context;
mod control_loop;
mod due;
mod environment;
pub mod error;
pub mod executor;
pub mod forecast;
pub mod informer;
pub mod merges;
pub mod metrics;
mod mirror;
pub mod notify;
pub mod persistence;
pub mod pulse;
pub mod report;
pub mod repositories;
pub mod reviews;
pub mod revision;
pub mod tickets;
pub mod workspaces;

mod run;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod testing_git;

pub use context::{Access, Config, Context, new_salt};
pub use run::run;
