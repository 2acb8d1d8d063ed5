//! Label keys, annotations, finalizers and field managers: every name that two parts must agree on.

/// On AgentRevisions and Iterations: the name of their Agent.
pub const AGENT: &str = "gcluster.dev/agent";
/// On Iterations: the label of their step.
pub const STEP: &str = "gcluster.dev/step";
/// On Agents, as an annotation: the file that they were applied from.
pub const SOURCE: &str = "gcluster.dev/source";

/// Keeps a deleted Agent until the executor has ended its processes.
pub const EXECUTOR_FINALIZER: &str = "gcluster.dev/executor";

/// Field manager of `gcluster apply`.
pub const MANAGER_APPLY: &str = "gcluster";
/// Field manager of `gcluster stop`, `start`, `pause` and `restart`.
pub const MANAGER_RUN: &str = "gcluster-run";
/// Field manager of `gcluster send`.
pub const MANAGER_SEND: &str = "gcluster-send";
/// Field manager of the revision controller.
pub const MANAGER_REVISION: &str = "gcluster-revision";
/// Field manager of the executor.
pub const MANAGER_EXECUTOR: &str = "gcluster-executor";
/// Field manager of the collector.
pub const MANAGER_COLLECTOR: &str = "gcluster-collector";

/// Environment variable that marks every process of an iteration with the iteration's uid, so that
/// none can be left behind unseen.
pub const PROCESS_MARK: &str = "GCLUSTER_ITERATION_UID";
