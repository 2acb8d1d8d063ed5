//! The contract of gcluster: its kinds, canonical S-expressions, names and transcript records.
//!
//! Pure data. This crate reads no file, opens no socket and asks no clock; everything else in the
//! workspace may use it and it uses nothing of theirs.
//!
//! ```text
//! Agent ──owns──▶ AgentRevision        what should run, and every text it ever had
//!   └────owns──▶ Iteration ──names──▶ transcript [0 … end)
//! ```

pub mod conditions;
pub mod duration;
pub mod kinds;
pub mod labels;
pub mod names;
pub mod natural;
pub mod sexpr;
pub mod tickets;
pub mod transcript;

pub use kinds::agent::{Agent, AgentSpec, AgentStatus};
pub use kinds::budget::{Budget, BudgetSpec, BudgetStatus, ClusterBudget, ClusterBudgetSpec};
pub use kinds::check::{Check, CheckSpec, CheckStatus};
pub use kinds::iteration::{Iteration, IterationSpec, IterationStatus};
pub use kinds::merge::{Merge, MergeSpec, MergeStatus};
pub use kinds::message::{Message, MessageSpec, MessageStatus};
pub use kinds::repository::{Repository, RepositorySpec, RepositoryStatus};
pub use kinds::review::{Review, ReviewSpec, ReviewStatus};
pub use kinds::revision::{AgentRevision, AgentRevisionSpec};
pub use kinds::ticket::{Ticket, TicketSpec, TicketStatus};
pub use kinds::worker_pool::{WorkerPool, WorkerPoolSpec, WorkerPoolStatus};
pub use kinds::workspace::{Salvage, SalvageSpec, Workspace, WorkspaceSpec, WorkspaceStatus};
