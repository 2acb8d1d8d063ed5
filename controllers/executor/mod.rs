//! Agent + AgentRevision → Iterations, and runs them.
//!
//! ```text
//! Agent, revisions, iterations ──plan──▶ status · starts · stops · leftovers
//!                                            └──▶ driver: one task per live iteration ──▶ transcript, status
//! Message ──messages──▶ program or prompt of an iteration ──▶ receipts
//! ```
//!
//! The plan is derived from objects and from the outputs in their transcripts alone; the only thing that
//! the executor knows besides is which iterations a task of this process runs. Their loss is an input to the plan.

mod adoption;
pub mod backoff;
mod budget;
mod count;
mod credential;
mod driver;
pub mod flow;
mod gates;
pub mod items;
pub mod limits;
mod live;
mod messages;
mod pace;
pub mod plan;
pub mod program;
pub mod prompt;
mod provider;
mod purse;
mod queue;
mod reconcile;
mod record;
mod replace;
mod rotation;
mod stale;
mod standings;
pub mod stats;
mod transcript;
mod watch;
mod why;

pub use count::THROTTLED;
pub use messages::messages;
pub use reconcile::Executor;
pub(crate) use record::iterations;
#[cfg(test)]
pub(crate) use record::print;

#[cfg(test)]
mod cost_tests;
#[cfg(test)]
mod flow_tests;
#[cfg(test)]
mod plan_tests;
#[cfg(test)]
mod provider_tests;
#[cfg(test)]
mod queue_tests;
#[cfg(test)]
mod standings_tests;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod why_tests;
