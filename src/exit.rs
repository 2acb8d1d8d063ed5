//! How a command ends: one error type with hints, and the exit code that goes with it.
//!
//! ```text
//! error: agents.gcluster.dev "bulider" not found
//! hint: `gcluster get agents` lists the agents of this namespace
//! ```

use std::fmt::Write as _;

use kube::core::Status;

/// What kind of end it was. The kind decides the exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The command could not do what it was asked for.
    Failed,
    /// The command line itself is wrong.
    Usage,
    /// The master does not answer.
    Unreachable,
    /// An object that was named does not exist.
    NotFound,
    /// Somebody else has changed or owns what should be written.
    Conflict,
    /// The reader of the output went away, which is no failure.
    BrokenPipe,
    /// The user pressed Ctrl-C.
    Interrupted,
}

impl Kind {
    /// The process exit code.
    pub fn code(self) -> u8 {
        match self {
            Kind::BrokenPipe => 0,
            Kind::Failed => 1,
            Kind::Usage => 2,
            Kind::Unreachable => 3,
            Kind::NotFound => 4,
            Kind::Conflict => 5,
            Kind::Interrupted => 130,
        }
    }
}

/// Why a command ended early: one sentence, its causes, and what to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Decides the exit code.
    pub kind: Kind,
    /// One sentence; empty when everything was already printed.
    pub message: String,
    /// Particulars, one line each.
    pub causes: Vec<String>,
    /// What to do next, one line each.
    pub hints: Vec<String>,
}

/// What every command returns.
pub type Result<T = ()> = std::result::Result<T, Failure>;

impl Failure {
    /// An error of the given kind.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), causes: Vec::new(), hints: Vec::new() }
    }

    /// The command could not do what it was asked for.
    pub fn failed(message: impl Into<String>) -> Self {
        Self::new(Kind::Failed, message)
    }

    /// The command line is wrong.
    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(Kind::Usage, message)
    }

    /// The command failed and has already said why.
    pub fn reported() -> Self {
        Self::new(Kind::Failed, "")
    }

    /// Nothing answers at `address` (`host:port`).
    pub fn unreachable(address: &str) -> Self {
        Self::new(
            Kind::Unreachable,
            format!("cannot connect to master at {address}: is `gcluster master` running?"),
        )
    }

    /// Adds a particular.
    #[must_use]
    pub fn cause(mut self, cause: impl Into<String>) -> Self {
        self.causes.push(cause.into());
        self
    }

    /// Adds advice.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }

    /// What the API server said. Causes that its message already holds are not repeated.
    pub fn from_status(status: &Status) -> Self {
        let kind = match (status.code, status.reason.as_str()) {
            (404, _) | (_, "NotFound") => Kind::NotFound,
            (409, _) | (_, "Conflict" | "AlreadyExists") => Kind::Conflict,
            _ => Kind::Failed,
        };
        let message = if status.message.is_empty() {
            format!("the server answered {} {}", status.code, status.reason)
        } else {
            status.message.clone()
        };
        let mut failure = Self::new(kind, message);
        let causes = status.details.as_ref().map(|details| details.causes.as_slice()).unwrap_or_default();
        for cause in causes {
            let told = (cause.field.is_empty() || failure.message.contains(&cause.field))
                && failure.message.contains(&cause.message);
            if !told {
                let line = match cause.field.as_str() {
                    "" => cause.message.clone(),
                    field => format!("{field}: {}", cause.message),
                };
                failure.causes.push(line);
            }
        }
        if causes.iter().any(|cause| cause.reason == "FieldManagerConflict") {
            failure.hints.push("leave these fields out, or take them over with --force-conflicts".into());
        }
        match (status.code, status.reason.as_str()) {
            (401, _) if failure.message.contains("does not exist any more") => {}
            (401, _) => failure.hints.push(
                "the token was not accepted: use the kubeconfig that this master wrote (`gcluster kubeconfig`)"
                    .into(),
            ),
            (403, _) if failure.message.contains("system:serviceaccount:") => failure.hints.push(
                "this is a program of an agent: what it may not do itself it can ask for, with `gcluster send AGENT TEXT`".into(),
            ),
            _ => {}
        }
        failure
    }

    /// The text for standard error, with a final newline; empty when there is nothing to say.
    pub fn render(&self) -> String {
        let mut text = String::new();
        if self.message.is_empty() {
            return text;
        }
        let _ = writeln!(text, "error: {}", crate::render::visible(&self.message));
        for cause in &self.causes {
            let _ = writeln!(text, "  {}", crate::render::visible(cause));
        }
        for hint in &self.hints {
            let _ = writeln!(text, "hint: {}", crate::render::visible(hint));
        }
        text
    }
}

impl From<std::io::Error> for Failure {
    /// An error while writing the command's own output; errors of files are worded where they happen.
    fn from(error: std::io::Error) -> Self {
        match error.kind() {
            std::io::ErrorKind::BrokenPipe => Self::new(Kind::BrokenPipe, ""),
            _ => Self::failed(format!("cannot write the output: {error}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn status(value: serde_json::Value) -> Status {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn kinds_map_to_the_documented_exit_codes() {
        let kinds = [Kind::Failed, Kind::Usage, Kind::Unreachable, Kind::NotFound, Kind::Conflict];
        assert_eq!(kinds.map(Kind::code), [1, 2, 3, 4, 5]);
        assert_eq!(Kind::BrokenPipe.code(), 0);
    }

    #[test]
    fn a_conflict_of_field_managers_names_field_and_manager() {
        let failure = Failure::from_status(&status(json!({
            "status": "Failure", "code": 409, "reason": "Conflict", "message": "Apply failed with 1 conflict",
            "details": {"causes": [
                {"reason": "FieldManagerConflict", "field": ".spec.limits", "message": "conflict with \"kubectl\""}
            ]}
        })));
        assert_eq!(failure.kind, Kind::Conflict);
        assert_eq!(
            failure.render(),
            "error: Apply failed with 1 conflict\n  .spec.limits: conflict with \"kubectl\"\n\
             hint: leave these fields out, or take them over with --force-conflicts\n"
        );
    }

    #[test]
    fn causes_that_the_message_tells_are_not_repeated() {
        let failure = Failure::from_status(&status(json!({
            "status": "Failure", "code": 422, "reason": "Invalid",
            "message": "Agent \"x\" is invalid: spec.run: Unsupported value: \"Go\"",
            "details": {"causes": [{"reason": "FieldValueNotSupported", "field": "spec.run",
                "message": "Unsupported value: \"Go\""}]}
        })));
        assert_eq!(failure.kind, Kind::Failed);
        assert_eq!(failure.causes, Vec::<String>::new());
    }

    #[test]
    fn a_broken_pipe_is_success_and_silent() {
        let failure = Failure::from(std::io::Error::from(std::io::ErrorKind::BrokenPipe));
        assert_eq!((failure.kind.code(), failure.render().as_str()), (0, ""));
    }

    #[test]
    fn terminal_sequences_in_a_message_are_made_visible() {
        assert_eq!(Failure::failed("a\x1b[31mb").render(), "error: a␛[31mb\n");
    }
}
