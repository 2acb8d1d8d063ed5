//! Agent → AgentRevision, and the revision part of the Agent's status.
//!
//! ```text
//! spec {definition, methods, arguments} ──digest──▶ AgentRevision <agent>-<digest, 10 digits> ──▶ currentRevision
//! ```

mod origin;
pub mod plan;
mod reconcile;
#[cfg(test)]
mod tests;

pub(crate) use reconcile::run;
