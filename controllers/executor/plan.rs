//! What the executor does about an agent: a pure function of what it saw and the time.
//!
//! ```text
//! seen ─▶ execution ─▶ flow ─▶ count ─▶ gates ─▶ {status, starts, stops, leftovers, when to look again}
//! ```

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;
use std::time::Duration;

use gcluster_types::kinds::agent::{RunPolicy, RunState};
use gcluster_types::kinds::iteration::Phase;
use gcluster_types::{Agent, AgentRevision, AgentStatus, Iteration, labels};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;

use super::budget::View;
use super::count::count;
use super::flow::{Flow, Scene, Start, flow, phase};
use super::gates::{self, Gate};
use super::program::Program;
use super::provider;
use super::purse::{self, Exposure};
use super::queue::Waits;
use super::replace::replace;
use crate::backend::Unavailable;
use crate::context::Config;

/// Items of a map that run at once when the agent does not say.
const MAP_ITEMS: usize = 4;

/// What was seen of one agent.
pub struct Observed<'a> {
    /// The agent, read afresh.
    pub agent: &'a Agent,
    /// Its revisions.
    pub revisions: &'a [Arc<AgentRevision>],
    /// Its iterations; what is missing here was not created by this process.
    pub iterations: &'a [Arc<Iteration>],
    /// Uids of the iterations that a task of this process runs.
    pub live: &'a HashSet<String>,
    /// Least number that a step's next iteration may get, where this process knows of more than the objects say.
    pub floor: &'a dyn Fn(&str) -> i64,
    /// Outputs of iterations by name, as far as they were read.
    pub outputs: &'a dyn Fn(&str) -> Option<Arc<str>>,
    /// Name of the backend.
    pub backend: &'a str,
    /// Whether it can be started.
    pub available: Result<(), Unavailable>,
    /// What is known of the credential.
    pub provider: provider::View,
    /// How its iterations wait for their turn, where some do.
    pub waits: Option<Waits>,
    /// The budgets that the agent is under.
    pub(super) budgets: &'a [View],
    /// Settings.
    pub config: &'a Config,
    /// The time now.
    pub now: Timestamp,
    /// A number from 0 to 1 that spreads pauses.
    pub spread: f64,
}

/// What to do.
#[derive(Debug, Default)]
pub struct Plan {
    /// The status as it should be. Only the fields of the executor differ from what was seen.
    pub status: AgentStatus,
    /// Iterations to start, after the status is written.
    pub starts: Vec<Start>,
    /// Name of the revision that they execute.
    pub revision: String,
    /// Iterations that run here and should not: uid and reason.
    pub stops: Vec<(String, StopReason)>,
    /// Iterations that began and that nobody runs.
    pub leftovers: Vec<Arc<Iteration>>,
    /// Iterations that were recorded, never started, and are not wanted any more.
    pub unwanted: Vec<(Arc<Iteration>, StopReason)>,
    /// The iteration whose output is needed to plan on.
    pub needs: Option<String>,
    /// What the agent has used, and is about to.
    pub(super) exposure: Exposure,
    /// Whether a larger limit, and whether the end of other agents' iterations, may let it go on.
    pub(super) held_by: [bool; 2],
    /// Put the finalizer on (true) or take it off (false).
    pub finalizer: Option<bool>,
    /// When to look again if nothing changes.
    pub look_again: Option<Duration>,
    /// What to tell people.
    pub notes: Vec<Note>,
    /// Something of it would begin, but for what the provider refuses.
    pub ready: bool,
}

/// Why an iteration is ended from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum StopReason {
    /// `spec.run` is `Stopped`.
    Stopped,
    /// `spec.run` is `Paused`, or the provider serves nobody: an iteration that waits for its turn goes back to
    /// being recorded only.
    Paused,
    /// `spec.restartedAt` changed.
    Restarted,
    /// `spec.replacedAt` changed, and it is of an older revision.
    Replaced,
    /// A later iteration took its place before it was started.
    Superseded,
    /// The agent, or the iteration, is deleted.
    Deleted,
    /// The master ends.
    MasterShutdown,
}

impl StopReason {
    /// One CamelCase word.
    pub fn reason(self) -> &'static str {
        match self {
            StopReason::Stopped => "Stopped",
            StopReason::Paused => "Paused",
            StopReason::Restarted => "Restarted",
            StopReason::Replaced => "Replaced",
            StopReason::Superseded => "Superseded",
            StopReason::Deleted => "Deleted",
            StopReason::MasterShutdown => "MasterShutdown",
        }
    }
}

/// One Event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// Needs attention.
    pub warning: bool,
    /// One CamelCase word.
    pub reason: &'static str,
    /// What was done, as the key under which repetitions are counted instead of told.
    pub action: String,
    /// One sentence.
    pub message: String,
}

/// Plans for one agent.
pub fn plan(seen: &Observed<'_>) -> Plan {
    let mut plan = decide(seen);
    plan.exposure = exposure(seen, &Standing::of(seen), &plan.status).with(&plan.status, &plan.starts);
    plan
}

/// What the agent has used, and what runs is expected to.
fn exposure(seen: &Observed<'_>, standing: &Standing, status: &AgentStatus) -> Exposure {
    let unstarted: HashSet<String> =
        standing.unstarted.iter().map(|iteration| iteration.name_any()).collect();
    let is_unstarted = |iteration: &Iteration| unstarted.contains(&iteration.name_any());
    Exposure::of(status, seen.iterations, &is_unstarted, seen.now)
}

fn decide(seen: &Observed<'_>) -> Plan {
    let mut plan = Plan { status: seen.agent.status.clone().unwrap_or_default(), ..Plan::default() };
    let mut standing = Standing::of(seen);
    plan.leftovers.clone_from(&standing.leftovers);
    if seen.agent.metadata.deletion_timestamp.is_some() {
        return deletion(seen, &standing, plan);
    }
    if !seen.agent.finalizers().iter().any(|name| name == labels::EXECUTOR_FINALIZER) {
        plan.finalizer = Some(true);
        return plan;
    }
    let spec = &seen.agent.spec;
    plan.status.backend = Some(seen.backend.to_owned());
    let runs = current(seen, &plan.status);
    let hold = execution(seen, &standing, runs.as_ref(), &mut plan);
    if let Some(runs) = &runs {
        replace(seen, &standing, &runs.revision.name_any(), &mut plan);
    }
    if spec.run == RunPolicy::Stopped {
        stop_all(&standing, StopReason::Stopped, &mut plan);
    }
    if spec.run == RunPolicy::Paused {
        hold_back(&standing, &mut plan);
    }
    let next = match &runs {
        Some(runs) if plan.status.execution.is_some() => {
            plan.revision = runs.revision.name_any();
            proceed(seen, &standing, runs, &plan.status)
        }
        _ => Flow::Going { starts: Vec::new(), open: BTreeSet::new() },
    };
    let (starts, open, done) = match next {
        Flow::Needs(name) => {
            plan.needs = Some(name);
            return plan;
        }
        Flow::Going { starts, open } => (starts, open, false),
        Flow::Done => (Vec::new(), BTreeSet::new(), true),
    };
    supersede(seen, &standing, done, &mut plan);
    count(seen, &open, &mut plan);
    standing.hold = provider::observe(seen, &mut plan);
    // A hold means that the present execution comes to its end first: it is not done yet in any other sense.
    let done = done && hold.is_none();
    let used = exposure(seen, &standing, &plan.status);
    let room = purse::left(seen.agent, seen.budgets, &plan.status, &used, &starts, seen.now);
    plan.held_by = room.refusal.as_ref().map_or([false; 2], |refusal| [refusal.reached, !refusal.reached]);
    let gate =
        gates::gate(seen, &standing, runs.is_some(), hold, done, (!starts.is_empty(), &room), &plan.status);
    plan.ready = provider::is_ready(seen, &standing, &gate, !starts.is_empty(), &plan.status);
    if let Gate::Open { most } = gate {
        plan.starts = starts;
        plan.starts.truncate(most);
    } else if standing.hold.is_some() {
        // What waits for its turn goes back to being recorded only, and begins when the provider serves again.
        hold_back(&standing, &mut plan);
    }
    gates::say(seen, &standing, &gate, &room, &mut plan);
    plan
}

fn hold_back(standing: &Standing, plan: &mut Plan) {
    let waiting = standing.live.iter().filter(|iteration| is_unstarted(iteration));
    plan.stops.extend(waiting.filter_map(|iteration| Some((iteration.uid()?, StopReason::Paused))));
}

/// How the iterations stand.
pub(super) struct Standing {
    /// Those that a task of this process runs.
    pub(super) live: Vec<Arc<Iteration>>,
    /// Those that began and that nobody runs.
    pub(super) leftovers: Vec<Arc<Iteration>>,
    /// Those that were recorded and never started.
    pub(super) unstarted: Vec<Arc<Iteration>>,
    /// What the provider refuses.
    pub(super) hold: Option<provider::Hold>,
}

impl Standing {
    fn of(seen: &Observed<'_>) -> Self {
        let mut standing =
            Standing { live: Vec::new(), leftovers: Vec::new(), unstarted: Vec::new(), hold: None };
        for iteration in seen.iterations.iter().filter(|iteration| !phase(iteration).is_terminal()) {
            let place = if seen.live.contains(&iteration.uid().unwrap_or_default()) {
                &mut standing.live
            } else if is_unstarted(iteration) {
                &mut standing.unstarted
            } else {
                &mut standing.leftovers
            };
            place.push(iteration.clone());
        }
        standing
    }

    pub(super) fn nothing_runs(&self) -> bool {
        self.live.is_empty() && self.leftovers.is_empty()
    }
}

/// Recorded, and not a step further: no session was chosen for it.
pub(super) fn is_unstarted(iteration: &Iteration) -> bool {
    let status = iteration.status.as_ref();
    phase(iteration) == Phase::Pending && status.is_none_or(|status| status.session_id.is_none())
}

/// The revision in use and what it runs.
struct Runs {
    revision: Arc<AgentRevision>,
    program: Program,
}

fn current(seen: &Observed<'_>, status: &AgentStatus) -> Option<Runs> {
    let digest = status.digest.as_deref()?;
    let revision = seen.revisions.iter().find(|revision| revision.spec.digest == digest)?.clone();
    let program = Program::of(&revision.spec).ok()?;
    Some(Runs { revision, program })
}

fn deletion(seen: &Observed<'_>, standing: &Standing, mut plan: Plan) -> Plan {
    stop_all(standing, StopReason::Deleted, &mut plan);
    let ours = seen.agent.finalizers().iter().any(|name| name == labels::EXECUTOR_FINALIZER);
    let mut counted = true;
    if !seen.budgets.is_empty() {
        // What it spent last is counted before it goes: in its status first, then in the budgets.
        count(seen, &BTreeSet::new(), &mut plan);
        let used = exposure(seen, standing, &plan.status);
        let old = seen.agent.status.as_ref().and_then(|status| status.cost_usd);
        counted = plan.status.cost_usd == old && seen.budgets.iter().all(|budget| budget.is_settled(&used));
        plan.held_by = [!counted, !counted];
    }
    if standing.nothing_runs() && seen.live.is_empty() && ours && counted {
        plan.finalizer = Some(false);
    }
    plan
}

fn stop_all(standing: &Standing, reason: StopReason, plan: &mut Plan) {
    plan.stops.extend(standing.live.iter().filter_map(|iteration| Some((iteration.uid()?, reason))));
    plan.unwanted.extend(standing.unstarted.iter().map(|iteration| (iteration.clone(), reason)));
}

/// What was recorded, never started and was overtaken would be Pending for ever, and hold up the counting.
fn supersede(seen: &Observed<'_>, standing: &Standing, done: bool, plan: &mut Plan) {
    let overtaken = |old: &Iteration| {
        let later = |new: &Iteration| {
            new.spec.step == old.spec.step
                && new.spec.item == old.spec.item
                && new.spec.number > old.spec.number
        };
        done || Some(old.spec.execution) != plan.status.execution
            || seen.iterations.iter().any(|new| later(new))
    };
    let overtaken: Vec<_> = standing.unstarted.iter().filter(|old| overtaken(old)).cloned().collect();
    plan.unwanted.extend(overtaken.into_iter().map(|iteration| (iteration, StopReason::Superseded)));
}

/// Decides whether the definition is begun again. A hold says what has to end before.
fn execution(
    seen: &Observed<'_>,
    standing: &Standing,
    runs: Option<&Runs>,
    plan: &mut Plan,
) -> Option<&'static str> {
    let spec = &seen.agent.spec;
    let (runs, digest) = match (runs, plan.status.digest.clone()) {
        (Some(runs), Some(digest)) if spec.run == RunPolicy::Running => (runs, digest),
        _ => return None,
    };
    let why = if plan.status.execution.is_none() {
        "the definition is begun"
    } else if spec.restarted_at.is_some() && spec.restarted_at != plan.status.observed_restart {
        stop_all(standing, StopReason::Restarted, plan);
        "the definition is begun again, as was asked for"
    } else if changed_before_loop(seen, runs, plan.status.execution_digest.as_deref()) {
        // What runs keeps its revision to its end; what never started is not needed any more.
        plan.unwanted.extend(standing.unstarted.iter().map(|i| (i.clone(), StopReason::Restarted)));
        "the definition changed before its loop and is begun again"
    } else {
        return None;
    };
    if !standing.nothing_runs() || !standing.unstarted.is_empty() {
        return Some("iterations of the definition before it come to their end first");
    }
    let number = plan.status.execution.unwrap_or(0) + 1;
    plan.status.execution = Some(number);
    plan.status.execution_digest = Some(digest);
    if spec.restarted_at != plan.status.observed_restart {
        // Whoever asks for it wants it now.
        plan.status.fruitless_iterations = None;
        plan.status.backoff_until = None;
    }
    plan.status.observed_restart.clone_from(&spec.restarted_at);
    let message = format!("{why} (execution {number}, revision {})", runs.revision.spec.revision);
    plan.notes.push(Note {
        warning: false,
        reason: "ExecutionBegan",
        action: format!("BeginExecution{number}"),
        message,
    });
    None
}

fn changed_before_loop(seen: &Observed<'_>, runs: &Runs, began_with: Option<&str>) -> bool {
    if began_with == Some(runs.revision.spec.digest.as_str()) {
        return false;
    }
    let before = seen.revisions.iter().find(|revision| Some(revision.spec.digest.as_str()) == began_with);
    let before = before.and_then(|revision| Program::of(&revision.spec).ok());
    before.is_none_or(|program| program.before_loop() != runs.program.before_loop())
}

fn proceed(seen: &Observed<'_>, standing: &Standing, runs: &Runs, status: &AgentStatus) -> Flow {
    let execution = status.execution.unwrap_or(0);
    let history: Vec<_> = seen.iterations.iter().filter(|i| i.spec.execution == execution).cloned().collect();
    let unstarted: BTreeSet<_> = standing.unstarted.iter().map(|iteration| iteration.name_any()).collect();
    let numbers = numbers(seen, status);
    let limits = seen.agent.spec.limits.as_ref();
    let items = limits.and_then(|limits| limits.max_concurrent_map_items);
    flow(&Scene {
        program: &runs.program,
        history: &history,
        unstarted: &|iteration| unstarted.contains(&iteration.name_any()),
        outputs: seen.outputs,
        next_number: &|step| numbers.get(step).copied().unwrap_or(0).max((seen.floor)(step)),
        loop_context: seen.agent.spec.loop_context,
        concurrent_items: items.and_then(|items| usize::try_from(items).ok()).unwrap_or(MAP_ITEMS),
    })
}

/// The next number of every step, from what was counted and from what is there.
fn numbers(seen: &Observed<'_>, status: &AgentStatus) -> BTreeMap<String, i64> {
    let mut numbers: BTreeMap<String, i64> =
        status.stats.iter().map(|stats| (stats.step.clone(), stats.next_number)).collect();
    for iteration in seen.iterations {
        let next = numbers.entry(iteration.spec.step.clone()).or_insert(0);
        *next = (*next).max(iteration.spec.number.saturating_add(1));
    }
    numbers
}

/// When the newest of the iterations began or ended.
pub(super) fn newest_time(seen: &Observed<'_>, before: Option<&MicroTime>) -> Option<MicroTime> {
    let times = seen.iterations.iter().filter_map(|iteration| iteration.status.as_ref());
    let times = times.flat_map(|status| [status.started_at.as_ref(), status.finished_at.as_ref()]);
    times.flatten().chain(before).map(|time| time.0).max().map(MicroTime)
}

/// Whether the agent is at work, as its status says it.
pub(super) fn run_state(gate: &Gate, nothing_runs: bool, began: bool) -> RunState {
    match gate {
        Gate::Over { .. } if nothing_runs => RunState::Stopped,
        _ if began || !nothing_runs => RunState::Running,
        _ => RunState::Pending,
    }
}
