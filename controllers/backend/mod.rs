//! Backends: the programs that execute prompts, behind one trait.
//!
//! ```text
//! Launch ──start──▶ Running ─┬─ events ──▶ Session · Record · Activity · Usage … Done   (Done is the last)
//!                            └─ control ◀── stop(grace) · interrupt() · steer(message)
//! ```
//!
//! A backend writes no object and no transcript: it reports, its caller records. Of a transcript the caller
//! writes `prompt` (first), `usage` (of every [`BackendEvent::Usage`]), `output` and `end` (of
//! [`BackendEvent::Done`]); everything else comes ready-made as [`BackendEvent::Record`].

pub mod acp;
mod acp_ending;
mod acp_sent;
mod acp_stream;
mod acp_update;
mod acp_usage;
pub mod amp;
mod amp_stream;
mod cgroup;
pub mod claude;
mod claude_ending;
mod claude_entry;
mod claude_stream;
mod claude_usage;
pub mod codex;
mod codex_ending;
mod codex_stream;
pub mod command;
mod command_line;
mod control;
mod drive;
mod evidence;
mod hunted;
mod input;
mod json_lines;
pub mod keeper;
mod local_time;
mod look;
mod mask;
mod one_shot;
mod presence;
pub(crate) mod process;
mod recorded;
pub mod registry;
pub mod rehearsal;
mod rehearsal_script;
pub(crate) mod script;
mod spool;
pub mod sweep;
mod wake;

#[cfg(test)]
mod adopted_tests;
#[cfg(test)]
mod claude_real_tests;
#[cfg(test)]
mod noise;
#[cfg(test)]
mod replay;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use futures::future::BoxFuture;
use gcluster_types::kinds::agent::TokenTotals;
pub use gcluster_types::kinds::iteration::ProcessRef;
use gcluster_types::transcript::Entry;
use k8s_openapi::jiff::Timestamp;
use thiserror::Error;
use tokio::sync::mpsc;

pub use control::{Command, Commands, Control, SteerError, SteerMessage, USER};
pub use evidence::Evidence;
pub use mask::{Mask, TOKEN};
pub use presence::Presence;
pub use registry::Backends;

/// A program that executes prompts.
pub trait Backend: Send + Sync {
    /// Its name in `spec.backend.name`.
    fn name(&self) -> &'static str;

    /// What it can do, as data.
    fn capabilities(&self) -> Capabilities;

    /// Whether it can be started on this machine. Looks at files only; quick enough to be called before
    /// every start.
    fn check(&self) -> Result<(), Unavailable>;

    /// What its programs authenticate with, as data. Default: nothing that is known, so that no run of it shares a
    /// provider's limits with another agent.
    fn authentication(&self) -> Authentication {
        Authentication::default()
    }

    /// Starts one run. An error means that nothing runs.
    fn start(&self, launch: Launch) -> BoxFuture<'static, Result<Running, StartError>>;

    /// Takes over a run that an earlier master started: its output is read from the beginning, and what is on record
    /// is not reported again. `None` where that cannot be; what is left of the run has to be ended then. Starts tasks,
    /// so call it in a runtime.
    fn adopt(&self, _adoption: Adoption) -> Option<Result<Running, StartError>> {
        None
    }

    /// What the files of a run that is over, and that nobody followed to its end, say about what the agent was
    /// given. `None` where they cannot tell. Reads files, possibly large ones.
    fn evidence(&self, _run_dir: &Path) -> Option<Evidence> {
        None
    }
}

/// What a backend can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Capabilities {
    /// A message can reach the turn that is running.
    pub live_steering: bool,
    /// A session can be taken up again by its id.
    pub resume: bool,
    /// It reports what it costs.
    pub cost: bool,
    /// It reports which tools run, so that a silent tool can be told from a hang.
    pub tools: bool,
    /// It runs a program of its own, which must not be left behind.
    pub process: bool,
}

/// The environment variables that decide on which account a program runs. Two runs of one backend are on the same
/// credential when the variables that count have the same values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Authentication {
    /// A key or token; the first one that is set is the one that counts.
    pub keys: &'static [&'static str],
    /// Where the provider is. They count always.
    pub endpoints: &'static [&'static str],
    /// Where the program keeps its own login. They count where no key is set.
    pub logins: &'static [&'static str],
    /// How to get a login or a key, as the end of a sentence that begins with "log in with".
    pub remedy: &'static str,
}

/// Everything that one run needs. Its `Debug` names variables and leaves their values out.
#[derive(Clone, Default)]
pub struct Launch {
    /// `metadata.uid` of the Iteration; every process of the run carries it in its environment.
    pub iteration_uid: String,
    /// Name of the Iteration.
    pub iteration_name: String,
    /// Name of the Agent.
    pub agent: String,
    /// Namespace of both.
    pub namespace: String,
    /// Directory for the files of this run alone: `stdin`, `stdout`, `stderr` and more. Made when absent, mode 0700.
    pub run_dir: PathBuf,
    /// Where the program runs. Must exist.
    pub working_directory: PathBuf,
    /// The whole prompt.
    pub prompt: String,
    /// Model to ask for, in the backend's own words.
    pub model: Option<String>,
    /// `spec.backend.args`.
    pub args: Vec<String>,
    /// With what the program reaches the master: `GCLUSTER_SERVER`, `GCLUSTER_TOKEN` and the like.
    pub access: Vec<(String, String)>,
    /// `spec.backend.env`; wins over all that is set besides, but for the mark of the iteration.
    pub env: Vec<(String, String)>,
    /// `spec.backend.permissionMode`.
    pub permission_mode: Option<String>,
    /// Session id (a UUID), chosen and recorded before the start.
    pub session_id: String,
    /// By what it is known that there is a master. Without it a program that is talked to waits for one for ever.
    pub presence: Option<Presence>,
}

impl std::fmt::Debug for Launch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names = |variables: &[(String, String)]| -> Vec<String> {
            variables.iter().map(|(name, _)| name.clone()).collect()
        };
        f.debug_struct("Launch")
            .field("iteration", &format_args!("{}/{}", self.namespace, self.iteration_name))
            .field("iteration_uid", &self.iteration_uid)
            .field("agent", &self.agent)
            .field("run_dir", &self.run_dir)
            .field("working_directory", &self.working_directory)
            .field("model", &self.model)
            .field("args", &self.args)
            .field("access", &names(&self.access))
            .field("env", &names(&self.env))
            .field("permission_mode", &self.permission_mode)
            .field("session_id", &self.session_id)
            .finish_non_exhaustive()
    }
}

/// A run that an earlier master started, with what is known of it.
#[derive(Debug, Clone, Default)]
pub struct Adoption {
    /// `metadata.uid` of the Iteration.
    pub iteration_uid: String,
    /// The directory with the files of the run.
    pub run_dir: PathBuf,
    /// `spec.backend.args`, for words alone.
    pub args: Vec<String>,
    /// Its process, which may have ended.
    pub process: Option<ProcessRef>,
    /// The transcript so far.
    pub recorded: Vec<Entry>,
    /// Messages that may have been handed to it and that no record tells of.
    pub messages: Vec<SteerMessage>,
    /// What of its output must not be shown.
    pub mask: Mask,
}

/// A run that was started.
#[derive(Debug)]
pub struct Running {
    /// Its process, where it has one.
    pub process: Option<ProcessRef>,
    /// What it reports. Ends after [`BackendEvent::Done`]. Dropping it ends the run.
    pub events: mpsc::Receiver<BackendEvent>,
    /// How to act on it.
    pub control: Control,
}

/// What a run reports.
#[derive(Debug, Clone, PartialEq)]
pub enum BackendEvent {
    /// The session that it really uses and the model that answers, as soon as they are known.
    Session {
        /// Session id.
        session_id: String,
        /// Model.
        model: Option<String>,
    },
    /// A transcript entry, ready to append. A tool runs from its `toolUse` to the `toolResult` of the same id.
    Record(Entry),
    /// A sign of progress that is no record: a piece of a text that is still being written.
    Activity,
    /// A sign of life that is no progress: a heartbeat of a running tool, a retry that was announced.
    Heartbeat,
    /// How much goes on beyond the calls of tools: background shells, sub-agents. No progress by itself, but a reason
    /// to be silent.
    Tasks {
        /// Tasks that have not ended.
        open: usize,
    },
    /// What was used since the last report. The caller records it.
    Usage {
        /// Tokens.
        tokens: TokenTotals,
        /// US dollars; `None` where no price is known.
        cost_usd: Option<f64>,
    },
    /// What became of a [`SteerMessage`].
    Steered {
        /// Id of the message.
        id: String,
        /// How far it has come.
        state: SteerState,
    },
    /// The run is over and no process of it is left. Always the last event.
    Done(Finished),
}

/// How far a steering message has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SteerState {
    /// The backend holds it: it was written to the program's input.
    Queued,
    /// The backend cannot take it, or not any more.
    Refused,
    /// The agent was given it.
    Delivered,
    /// The turn that it belonged to is over.
    Completed,
}

/// How a run ended, with what it counted.
#[derive(Debug, Clone, PartialEq)]
pub struct Finished {
    /// How it ended.
    pub outcome: Outcome,
    /// Turns of the model, as the backend reports them.
    pub turns: i64,
    /// Tools that were used.
    pub tool_uses: i64,
    /// The model that answered.
    pub model: Option<String>,
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// It came to its end.
    Succeeded {
        /// The whole output: what the next step is given.
        output: String,
    },
    /// It did not, and not because somebody wanted it.
    Failed {
        /// Why, in one CamelCase word.
        reason: String,
        /// What went wrong, in the backend's words.
        error: String,
        /// Whether trying again can help.
        retry: RetryClass,
    },
    /// The provider's usage limit is reached. Not a failure: the same prompt can run later.
    Throttled {
        /// When the limit is lifted, where the provider says it.
        until: Option<Timestamp>,
        /// What the provider said.
        message: String,
    },
    /// Somebody ended it.
    Interrupted {
        /// One sentence.
        reason: String,
    },
}

/// Whether trying again can help.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RetryClass {
    /// Yes, later: the network, an overloaded server, a crash.
    Transient,
    /// Yes, later, and nobody on the same credential fares better now: the provider is overloaded, broken or out of
    /// reach. No failure of the work.
    Outage,
    /// Not before a person changes something: an unknown model, wrong arguments. It concerns every run with the same
    /// configuration.
    Fatal,
    /// Not before a person puts the credential right or pays. It concerns everybody on it, and is no failure of the
    /// work.
    Credential,
    /// Not with the same prompt: too long, refused, a limit of its own was reached.
    NotRetryable,
}

/// Why a backend cannot be started on this machine.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{message}; {hint}")]
pub struct Unavailable {
    /// One CamelCase word.
    pub reason: &'static str,
    /// What is missing.
    pub message: String,
    /// What to do about it, with the command.
    pub hint: String,
}

/// Why a run was not started.
#[derive(Debug, Error)]
pub enum StartError {
    /// The program is missing.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
    /// The launch asks for what the backend does not have.
    #[error("{0}")]
    Invalid(String),
    /// The working directory is missing or is none.
    #[error("the working directory {path} cannot be used: {why}; create it, or set spec.workingDirectory", path = .path.display())]
    WorkingDirectory {
        /// The directory.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// The operating system refused a step.
    #[error("cannot {step}: {source}")]
    Io {
        /// The step, such as `start /usr/bin/claude`.
        step: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

impl StartError {
    /// One CamelCase word for conditions and status.
    pub fn reason(&self) -> &'static str {
        match self {
            StartError::Unavailable(unavailable) => unavailable.reason,
            StartError::Invalid(_) => "InvalidBackend",
            StartError::WorkingDirectory { .. } => "WorkingDirectoryUnusable",
            StartError::Io { .. } => "StartFailed",
        }
    }

    /// Whether trying again can help.
    pub fn retry(&self) -> RetryClass {
        match self {
            StartError::Io { .. } => RetryClass::Transient,
            _ => RetryClass::Fatal,
        }
    }
}

/// One sentence on how a program ended, with the end of what it said.
fn describe_exit(name: &str, exit: &drive::Exit) -> String {
    let how = match exit.status {
        Some(status) => status.to_string(),
        None => "unknown exit status".to_owned(),
    };
    match exit.stderr.as_str() {
        "" => format!("{name} ended with {how} and wrote nothing to its standard error"),
        stderr => format!("{name} ended with {how}: {stderr}"),
    }
}
