//! Label keys, annotations, finalizers and field managers: every name that two parts must agree on.

/// On AgentRevisions and Iterations: the name of their Agent.
pub const AGENT: &str = "gcluster.dev/agent";
/// On Iterations: the label of their step.
pub const STEP: &str = "gcluster.dev/step";
/// On Agents, as an annotation: the file that they were applied from.
pub const SOURCE: &str = "gcluster.dev/source";

/// On AgentRevisions, as an annotation: the field manager that brought the text.
pub const CHANGED_BY: &str = "gcluster.dev/changed-by";
/// On AgentRevisions, as an annotation: when the text became the desired one (RFC 3339).
pub const CHANGED_AT: &str = "gcluster.dev/changed-at";
/// On Agents, and from there on their revisions, as an annotation: why it was changed, in a person's words.
pub const CHANGE_CAUSE: &str = "kubernetes.io/change-cause";

/// On Agents, Workspaces, Checks, Reviews, Merges and Leases that serve a ticket: the name of the Ticket.
pub const TICKET: &str = "gcluster.dev/ticket";
/// On Agents that serve a ticket: `worker` or `reviewer`.
pub const ROLE: &str = "gcluster.dev/role";
/// On Workspaces and on the Agents of workers: the name of the WorkerPool.
pub const POOL: &str = "gcluster.dev/pool";
/// On Leases that are locks, and as an annotation the lock's name as its author wrote it.
pub const LOCK: &str = "gcluster.dev/lock";

/// On Tickets of the backlog folder, as an annotation: the name of their file.
pub const BACKLOG_FILE: &str = "gcluster.dev/backlog-file";
/// On Tickets of the backlog folder, as an annotation: digest of the spec that the file said.
pub const BACKLOG_DIGEST: &str = "gcluster.dev/backlog-digest";
/// On Workspaces, as an annotation: a value that is new asks for an exact look at its files, which
/// `status.observedRequest` answers.
pub const OBSERVE: &str = "gcluster.dev/observe";
/// On Agents, as an annotation: they are paused because their ticket is held.
pub const HELD: &str = "gcluster.dev/held";

/// On Tickets, as an annotation: of which transition the command of their pool has told.
pub const NOTIFIED: &str = "gcluster.dev/notified";
/// On Tickets that were brought back by `gcluster undelete`, as an annotation: when they had ended before.
pub const ENDED: &str = "gcluster.dev/ended";

/// Keeps a deleted Workspace until what is in it is salvaged.
pub const WORKSPACE_FINALIZER: &str = "gcluster.dev/workspace";
/// Keeps a deleted Ticket until it is written down for `gcluster undelete`.
pub const TICKET_FINALIZER: &str = "gcluster.dev/ticket";
/// Keeps a deleted Merge of several repositories until it is in all of them or in none.
pub const MERGE_FINALIZER: &str = "gcluster.dev/merge";
/// Keeps a deleted Ticket until its row is in the metrics.
pub const METRICS_FINALIZER: &str = "gcluster.dev/metrics";
/// Keeps a deleted Salvage until its hidden refs are gone.
pub const SALVAGE_FINALIZER: &str = "gcluster.dev/salvage";
/// Keeps a deleted Repository until its workspaces are gone.
pub const REPOSITORY_FINALIZER: &str = "gcluster.dev/repository";

/// Keeps a deleted Agent until the executor has ended its processes.
pub const EXECUTOR_FINALIZER: &str = "gcluster.dev/executor";

/// Field manager of `gcluster apply`.
pub const MANAGER_APPLY: &str = "gcluster";
/// Field manager of `gcluster stop`, `start`, `pause` and `restart`.
pub const MANAGER_RUN: &str = "gcluster-run";
/// Field manager of `gcluster edit`; this and the next two carry the user's name behind a colon, if it is known.
pub const MANAGER_EDIT: &str = "gcluster-edit";
/// Field manager of prompts that are edited in steer, and of revisions that are taken back there.
pub const MANAGER_STEER: &str = "gcluster-steer";
/// Field manager of `gcluster rollout undo`.
pub const MANAGER_ROLLOUT: &str = "gcluster-rollout";
/// Field manager of the line protocol.
pub const MANAGER_LINE: &str = "gcluster-line";
/// Field manager of `gcluster send`.
pub const MANAGER_SEND: &str = "gcluster-send";
/// Field manager of the revision controller.
pub const MANAGER_REVISION: &str = "gcluster-revision";
/// Field manager of the executor.
pub const MANAGER_EXECUTOR: &str = "gcluster-executor";
/// Field manager of the ticket controller.
pub const MANAGER_TICKETS: &str = "gcluster-tickets";
/// Field manager of the loop that runs the commands that tell people.
pub const MANAGER_NOTIFY: &str = "gcluster-notify";
/// Field manager of the loop that writes the metrics of tickets.
pub const MANAGER_METRICS: &str = "gcluster-metrics";
/// Field manager of the repository controller.
pub const MANAGER_REPOSITORIES: &str = "gcluster-repositories";
/// Field manager of the workspace controller.
pub const MANAGER_WORKSPACES: &str = "gcluster-workspaces";
/// Field manager of the check controller.
pub const MANAGER_CHECKS: &str = "gcluster-checks";
/// Field manager of the review controller.
pub const MANAGER_REVIEWS: &str = "gcluster-reviews";
/// Field manager of the merge controller.
pub const MANAGER_MERGES: &str = "gcluster-merges";
/// Field manager of the conflict forecast.
pub const MANAGER_FORECAST: &str = "gcluster-forecast";
/// Field manager of the backlog folder.
pub const MANAGER_BACKLOG: &str = "gcluster-backlog";
/// Field manager of the collector.
pub const MANAGER_COLLECTOR: &str = "gcluster-collector";

/// Environment variable that marks every process of an iteration with the iteration's uid, so that
/// none can be left behind unseen.
pub const PROCESS_MARK: &str = "GCLUSTER_ITERATION_UID";
