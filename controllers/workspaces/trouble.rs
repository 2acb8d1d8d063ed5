//! What can go wrong with files and git, beside the API.

use std::io;

use thiserror::Error;

/// Why a step did not succeed. It is tried again.
#[derive(Debug, Error)]
pub(super) enum Trouble {
    /// The API refused a request.
    #[error(transparent)]
    Api(#[from] crate::error::Error),
    /// Git refused something.
    #[error(transparent)]
    Git(#[from] gcluster_git::Error),
    /// The operating system refused a step.
    #[error("cannot {step}: {source}")]
    Io {
        /// The step, such as `make /data/workspaces/default`.
        step: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It is not as it has to be, and a person can put it right.
    #[error("{message}")]
    Wait {
        /// One CamelCase word.
        reason: &'static str,
        /// What is wrong and what to do.
        message: String,
    },
}

pub(super) type Result<T, E = Trouble> = std::result::Result<T, E>;

impl Trouble {
    /// An error of the operating system, with what was tried.
    pub(super) fn io(step: impl Into<String>) -> impl FnOnce(io::Error) -> Trouble {
        let step = step.into();
        move |source| Trouble::Io { step, source }
    }

    /// Something that a person can put right.
    pub(super) fn wait(reason: &'static str, message: impl Into<String>) -> Trouble {
        Trouble::Wait { reason, message: message.into() }
    }

    /// One CamelCase word.
    pub(super) fn reason(&self) -> &'static str {
        match self {
            Trouble::Api(_) => "ApiError",
            Trouble::Git(gcluster_git::Error::Missing(_) | gcluster_git::Error::TooOld(_)) => "GitMissing",
            Trouble::Git(_) => "GitFailed",
            Trouble::Io { source, .. } if source.kind() == io::ErrorKind::StorageFull => "DiskFull",
            Trouble::Io { .. } => "IOError",
            Trouble::Wait { reason, .. } => reason,
        }
    }
}
