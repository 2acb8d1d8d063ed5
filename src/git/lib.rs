//! Git, as a program: worktrees, hooks and `merge-tree` are only there.
//!
//! ```text
//! Git::new(dir).run(["rev-parse", "HEAD"]) ─▶ git, without the user's settings for people ─▶ text | Error with what git said
//! ```
//!
//! One file each for what is done often. Nothing here knows objects or the API.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

mod copy;
mod diff;
mod error;
mod export;
pub mod hub;
mod landing;
mod merge_tree;
mod merged;
pub mod patch;
mod program;
mod rebase;
mod restore;
mod salvage;
pub mod saves;
#[cfg(test)]
mod scratch;
mod snapshot;
mod snapshot_files;
mod snapshot_record;
#[cfg(test)]
mod snapshot_tests;
mod source;
mod submodules;
pub mod sync;
#[cfg(test)]
mod testing;
mod version;
pub mod worktree;

pub use diff::{Statistics, apart, changed, statistics};
pub use error::Error;
pub use export::{export, has_commit, takes_away};
pub use hub::Hub;
pub use landing::{Move, move_together, remove_abandoned_lock};
pub use merge_tree::{MergeTree, changed_files, conflict_hunks, merge_tree};
pub use merged::{Merged, merged};
pub use program::{Git, Output};
pub use rebase::{Rebased, Shape, rebase};
pub use restore::{Contents, contents, copy_out, restore};
pub use salvage::{bring_back, set_aside};
pub use snapshot::{Snapshot, take};
pub use source::{Source, Tip, Unusable};
pub use version::{MINIMUM, Version, version};

/// What git does or why it did not.
pub type Result<T, E = Error> = std::result::Result<T, E>;
