//! The backlog folder: files that are dropped into it become Tickets, exactly once.
//!
//! ```text
//! FOLDER/t-12.yaml ─settle─▶ read (types) ─plan (pure)─▶ .gcluster-taking-t-12.yaml ─▶ Ticket ─▶ processed/t-12.yaml
//!                                   └─ not as it should be ─▶ t-12.yaml stays, t-12.yaml.error.txt beside it, Event
//! ```
//!
//! A file is put aside before its Tickets are written, so that nobody changes it under a name meanwhile, and moves to
//! `processed` after the last acknowledged write. A master that is killed in between leaves the file aside; the next
//! one puts it back and takes it again, and a digest on the Tickets tells what was done already.

mod disk;
mod events;
mod follow;
mod intake;
mod names;
mod plan;
mod reconcile;
mod settle;
#[cfg(test)]
mod tests;

pub use reconcile::run;
