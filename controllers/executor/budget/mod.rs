//! Budgets: what several agents may use up together.
//!
//! ```text
//! Agent.status (what each has used) ──ledger──▶ Budget.status      one write moves the sum and the watermarks
//!        ▲ counted                                  │ spent
//! iterations ──exposure of every agent──▶ desk ──view──▶ plan of one agent ──▶ its exposure, under one lock
//! ```
//!
//! The desk holds nothing that is not in objects but for one thing: what was decided to begin and is not recorded yet.
//! After a restart it is rebuilt from agents and iterations.

mod desk;
mod follow;
mod ledger;
#[cfg(test)]
mod tests;

pub(super) use desk::{Desk, View};
