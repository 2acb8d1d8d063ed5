//! What can go wrong in a reconcile, and how soon it is worth trying again.

use std::time::Duration;

use gcluster_types::sexpr::program::ProgramError;
use thiserror::Error;

/// Why a reconcile ended early. All of them are tried again.
#[derive(Debug, Error)]
pub enum Error {
    /// The API refused a request or could not be reached.
    #[error("cannot {step}: {}", told(.source))]
    Api {
        /// What was asked of it, such as `write the status of Agent default/builder`.
        step: String,
        /// Its answer.
        #[source]
        source: Box<kube::Error>,
    },
    /// A transcript does not hold what it should.
    #[error("the transcript of {iteration} cannot be used: {why}")]
    Transcript {
        /// Name of the Iteration.
        iteration: String,
        /// What is wrong.
        why: String,
    },
    /// A revision holds a text that cannot be run.
    #[error("the revision {revision} cannot be run: {source}")]
    Program {
        /// Name of the AgentRevision.
        revision: String,
        /// What is wrong.
        #[source]
        source: ProgramError,
    },
    /// Git did not do what was asked of it.
    #[error(transparent)]
    Git(#[from] gcluster_git::Error),
}

/// A result of a controller.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// An error of the API, with what was tried.
    pub fn api(step: impl Into<String>) -> impl FnOnce(kube::Error) -> Error {
        let step = step.into();
        move |source| Error::Api { step, source: Box::new(source) }
    }

    /// The HTTP code that the API answered with, if it answered.
    pub fn code(&self) -> Option<u16> {
        match self {
            Error::Api { source, .. } => api_code(source),
            Error::Transcript { .. } | Error::Program { .. } | Error::Git(_) => None,
        }
    }

    /// Somebody else wrote first, or the object is gone: read again, nothing is wrong.
    pub fn is_race(&self) -> bool {
        matches!(self.code(), Some(404 | 409))
    }

    /// When to try again after `attempts` failures in a row, with jitter.
    pub fn retry_after(&self, attempts: u32) -> Duration {
        let base = if self.is_race() { 0.005 } else { 0.2 };
        let seconds = (base * f64::from(2_u32.saturating_pow(attempts.min(16)))).min(60.0);
        Duration::from_secs_f64(seconds * (0.5 + fastrand::f64()))
    }
}

/// The words of an error of the client; of a refusal its message, without the Status around it.
fn told(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) => status.message.clone(),
        other => other.to_string(),
    }
}

/// The HTTP code in an error of the client.
pub fn api_code(error: &kube::Error) -> Option<u16> {
    match error {
        kube::Error::Api(status) => Some(status.code),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_race_is_tried_again_at_once_and_a_refusal_ever_more_slowly_and_said_in_its_words() {
        let error = |code| {
            let status = kube::core::Status { code, ..Default::default() };
            Error::api("read")(kube::Error::Api(Box::new(status)))
        };
        let told = kube::core::Status { code: 503, message: "the disk is full".into(), ..Default::default() };
        let told = Error::api("write a")(kube::Error::Api(Box::new(told))).to_string();
        assert_eq!(told, "cannot write a: the disk is full");
        assert!(error(409).is_race() && error(404).is_race() && !error(500).is_race());
        assert!(error(409).retry_after(0) < Duration::from_millis(20));
        assert!(error(500).retry_after(0) >= Duration::from_millis(100));
        for attempts in [10, 1_000] {
            let wait = error(500).retry_after(attempts);
            assert!(wait >= Duration::from_secs(29) && wait <= Duration::from_secs(90), "{wait:?}");
        }
    }
}
