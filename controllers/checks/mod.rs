//! Check → one run of the repository's test script, in a clean checkout.
//!
//! ```text
//! Pending ──a place is free──▶ Running (checkout · script · log) ──▶ Passed | Failed, ci-status/COMMIT.json
//!    ▲                            │
//!    └── killed master: what it left is ended, then it is begun again (starts + 1)
//! ```
//!
//! The file with the result is written before the status, so that whoever sees the one finds the other. Everything of a
//! check is in one folder, `checks/NAME.UID`, and goes with the object.

mod files;
mod plan;
mod reconcile;
mod result;
mod run;

#[cfg(test)]
mod tests;

pub use reconcile::Checks;
