//! Agent + AgentRevision → Iterations, and runs them.

pub mod backoff;
pub mod items;
pub mod limits;
pub mod prompt;
pub mod stats;
