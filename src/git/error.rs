//! Why git did not do something.

use std::path::PathBuf;

use crate::version::{MINIMUM, Version};

/// Why git did not do something.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no git.
    #[error("git is not installed or not in PATH: {0}; install git {MINIMUM} or newer")]
    Missing(std::io::Error),
    /// It lacks what is needed.
    #[error("git is {0}, which is too old: {MINIMUM} or newer is needed, for merges without a checkout")]
    TooOld(Version),
    /// It ended with an error.
    #[error("git {command} in {}: {said}", .directory.display())]
    Failed {
        /// Its arguments.
        command: String,
        /// Where.
        directory: PathBuf,
        /// Its exit code; none when a signal ended it.
        code: Option<i32>,
        /// The end of what it printed on standard error.
        said: String,
    },
    /// It took too long.
    #[error("git {command} in {} did not end within {seconds} s and was killed", .directory.display())]
    TimedOut {
        /// Its arguments.
        command: String,
        /// Where.
        directory: PathBuf,
        /// How long it was waited for.
        seconds: u64,
    },
    /// It could not be spoken with.
    #[error("git {command} in {}: {source}", .directory.display())]
    Io {
        /// Its arguments.
        command: String,
        /// Where.
        directory: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

impl Error {
    /// The exit code, where git ended with one.
    pub fn code(&self) -> Option<i32> {
        match self {
            Error::Failed { code, .. } => *code,
            _ => None,
        }
    }
}
