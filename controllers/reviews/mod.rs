//! Reviews: an agent reads what a ticket's worker made and answers with a list of findings.
//!
//! ```text
//! Review ─▶ Agent REVIEW-1 (ticket, diff, schema) ─▶ its output ─▶ answer ─▶ judge ─▶ Approved | ChangesRequested
//!                  └ no list: Agent REVIEW-2 with the error ─▶ … ─▶ Failed: a person decides
//! ```
//!
//! The agent's own output is all that counts. What the change says is text to be judged, and a review in which the
//! checkouts moved or changed is void.

mod answer;
mod judge;
mod plan;
mod prompt;
mod reconcile;
mod reviewer;
#[cfg(test)]
mod tests;

pub use reconcile::run;
