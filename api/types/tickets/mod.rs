//! Tickets as teams write them: plain YAML, read into objects, with every problem named by line and field.
//!
//! ```text
//! id: T-12                       Ticket t-12
//! title: Add avatars        ──▶    spec: {title, priority, locks, dependsOn, …}
//! dependencies: [T-7]
//! ```
//!
//! One document may hold one ticket, a list of them, or `tickets:` with a list. [`read_file`] takes objects and Markdown, too.

mod graph;
mod lock;
mod manifest;
mod markdown;
mod plain;
pub mod record;
#[cfg(test)]
mod tests;

use std::fmt;

pub use graph::{Cycle, cycle};
pub use lock::lease_name;
pub use plain::read;

use crate::kinds::ticket::Ticket;

/// Reads the tickets of a file by what its name ends in: Markdown (`md`, `markdown`), else YAML or JSON, which holds
/// plain tickets or objects.
///
/// # Errors
/// All problems of all tickets, in the order of the file; then none of them was taken.
pub fn read_file(extension: &str, text: &str) -> Result<Vec<Ticket>, Vec<Problem>> {
    match extension {
        "md" | "markdown" => markdown::read(text),
        _ if manifest::are_in(text) => manifest::read(text),
        _ => plain::read(text),
    }
}

/// What is wrong with one place of a file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// Line, from 1.
    pub line: usize,
    /// Column, from 1.
    pub column: usize,
    /// The field, such as `priority`; empty when it is about the whole.
    pub field: String,
    /// What is wrong and what is expected, in one sentence.
    pub message: String,
}

impl fmt::Display for Problem {
    /// `3:11: priority: …`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: ", self.line, self.column)?;
        if !self.field.is_empty() {
            write!(f, "{}: ", self.field)?;
        }
        f.write_str(&self.message)
    }
}
