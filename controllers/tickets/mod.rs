//! Tickets, from the backlog to the base branch; the pools whose workers take them; the locks that they hold.
//!
//! ```text
//! all objects of a namespace that have to do with tickets ─▶ plan (pure) ─▶ statuses of tickets and pools
//!                                                                          Workspaces, Agents, Checks, Reviews, Merges, Leases
//! ```
//!
//! A ticket's status is the only memory: what has to be there follows from it, under names that follow from it. So a
//! master that was killed at any moment goes on where it was.

mod act;
mod advance;
mod branch;
mod brief;
mod changes;
mod draft;
mod locks;
mod make;
mod names;
mod plan;
mod pools;
mod queue;
mod reconcile;
mod snapshot;
mod usage;
mod wants;
mod watch;
mod wishes;
mod worker;

#[cfg(test)]
mod story_tests;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod world_tests;

pub use draft::Note;
pub use plan::{Plan, Turn, plan};
pub use reconcile::run;
pub use snapshot::{All, Snapshot};
pub use wants::Action;
