//! May the next iteration begin, and if not, why not: as a decision and as conditions.

use std::time::Duration;

use gcluster_types::AgentStatus;
use gcluster_types::conditions::{
    self, BACKEND_AVAILABLE, BACKING_OFF, Observed as Said, PROGRESSING, WITHIN_LIMITS,
};
use gcluster_types::kinds::agent::RunPolicy;
use gcluster_types::kinds::iteration::Phase;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, Time};
use kube::ResourceExt;

use super::flow::phase;
use super::limits::Room;
use super::plan::{Note, Observed, Plan, Standing, newest_time, run_state};
use super::{provider, why};

/// The decision.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Gate {
    /// As many as these may begin.
    Open {
        /// How many.
        most: usize,
    },
    /// Nothing begins until something changes; the agent is at rest.
    Over {
        /// One CamelCase word.
        reason: &'static str,
        /// One sentence.
        message: String,
    },
    /// Nothing begins for a while.
    Waiting {
        /// One CamelCase word.
        reason: &'static str,
        /// One sentence.
        message: String,
        /// Until when, where it is known.
        until: Option<MicroTime>,
    },
}

/// Decides. The first reason that applies is the one that is told.
pub(super) fn gate(
    seen: &Observed<'_>,
    standing: &Standing,
    has_revision: bool,
    hold: Option<&'static str>,
    done: bool,
    (wants, room): (bool, &Room),
    status: &AgentStatus,
) -> Gate {
    let over = |reason, message: &str| Gate::Over { reason, message: message.to_owned() };
    let waiting = |reason, message: String, until| Gate::Waiting { reason, message, until };
    match seen.agent.spec.run {
        RunPolicy::Stopped => {
            return over("Stopped", "spec.run is Stopped; `gcluster start` goes on where it was");
        }
        RunPolicy::Paused => {
            return over("Paused", "spec.run is Paused; `gcluster start` goes on where it was");
        }
        RunPolicy::Running => {}
    }
    if seen.agent.metadata.generation.is_some()
        && status.observed_generation != seen.agent.metadata.generation
    {
        return waiting(
            "RevisionPending",
            "the newest definition is not recorded as a revision yet".into(),
            None,
        );
    }
    if !has_revision {
        return waiting("NoRevision", no_revision(status), None);
    }
    if let Some(hold) = hold {
        return waiting("ComingToItsEnd", hold.to_owned(), None);
    }
    if done {
        return over("Completed", "the definition has come to its end");
    }
    if !wants && !standing.nothing_runs() {
        return Gate::Open { most: 0 };
    }
    if let Some(refused) = refused(room) {
        return refused;
    }
    if let Err(missing) = &seen.available {
        return waiting(missing.reason, missing.to_string(), None);
    }
    if let Some(hold) = standing.hold.clone() {
        return waiting(hold.reason, hold.message, hold.until);
    }
    let later = |time: &Option<MicroTime>| time.clone().filter(|time| time.0 > seen.now);
    if let Some(until) = later(&status.backoff_until) {
        return waiting("BackingOff", backing_off(seen, status, &until), Some(until));
    }
    Gate::Open { most: room.most.map_or(usize::MAX, |most| usize::try_from(most).unwrap_or(0)) }
}

fn no_revision(status: &AgentStatus) -> String {
    let ready = status.conditions.iter().find(|c| c.type_ == conditions::READY && c.status == "False");
    match ready {
        Some(said) => format!("its definition cannot be run: {}", said.message),
        None => "its definition is not recorded as a revision yet".to_owned(),
    }
}

/// A limit that is reached for good lets the agent rest; one that is lifted by time or by others holds it.
fn refused(room: &Room) -> Option<Gate> {
    let refusal = room.refusal.clone()?;
    let (reason, message) = (refusal.reason, refusal.message);
    Some(match (refusal.reached, refusal.until) {
        (true, None) => Gate::Over { reason, message },
        (_, until) => Gate::Waiting { reason, message, until: until.map(MicroTime) },
    })
}

/// What a person has to put right, when the newest iteration that ended by itself failed for that.
fn fatal(seen: &Observed<'_>) -> Option<String> {
    let own = |phase| matches!(phase, Phase::Succeeded | Phase::Failed);
    let ended = seen.iterations.iter().filter(|iteration| own(phase(iteration)));
    let newest =
        ended.max_by_key(|iteration| iteration.status.as_ref()?.finished_at.as_ref().map(|at| at.0))?;
    let status = newest.status.as_ref().filter(|status| status.fatal)?;
    Some(format!(
        "{} failed ({}): {}; no further try can help before that is put right (credentials, billing, the model, the \
         arguments); `gcluster restart {}` then begins again at once",
        newest.name_any(),
        status.reason.as_deref().unwrap_or_default(),
        status.error.as_deref().unwrap_or_default(),
        seen.agent.name_any(),
    ))
}

fn backing_off(seen: &Observed<'_>, status: &AgentStatus, until: &MicroTime) -> String {
    if let Some(fatal) = fatal(seen) {
        return format!("{fatal}; the next try is at {}", clock(until));
    }
    let row = status.fruitless_iterations.unwrap_or(0);
    let what = if row == 1 { "1 iteration".to_owned() } else { format!("{row} iterations in a row") };
    format!("{what} failed or ended at once without using a tool; the next one begins at {}", clock(until))
}

pub(super) fn clock(time: &MicroTime) -> String {
    time.0.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// Writes the decision into the status, tells what is new, and says when to look again.
pub(super) fn say(seen: &Observed<'_>, standing: &Standing, gate: &Gate, room: &Room, plan: &mut Plan) {
    let status = &mut plan.status;
    let began = status.execution.is_some() && seen.iterations.iter().any(|i| phase(i) != Default::default());
    status.run_state = Some(run_state(gate, standing.nothing_runs(), began));
    let mut active: Vec<String> =
        standing.live.iter().chain(&standing.leftovers).map(|iteration| iteration.name_any()).collect();
    active.sort();
    status.active_iterations = active;
    status.last_iteration_time = newest_time(seen, status.last_iteration_time.as_ref());
    for said in sentences(seen, standing, gate, room, &plan.status) {
        let old = plan.status.conditions.iter().find(|c| c.type_ == said.kind);
        let was = old.map(|c| (c.status.clone(), c.reason.clone()));
        let (kind, status, reason, message) =
            (said.kind.to_owned(), said.status, said.reason.to_owned(), said.message.clone());
        conditions::set(&mut plan.status.conditions, said, &Time(seen.now));
        let is = if status == Some(true) { "True" } else { "False" };
        let changed =
            was.as_ref().is_none_or(|(status, old)| status != is || (kind == PROGRESSING && *old != reason));
        let told = note(&kind, status == Some(true), &reason, &message, was.is_some()).or_else(|| {
            provider::note(&kind, status == Some(true), &message, plan.status.provider_fault.as_ref())
        });
        plan.notes.extend(told.filter(|_| changed));
    }
    why::tell(seen, standing, gate, plan);
    plan.look_again = match gate {
        Gate::Waiting { until: Some(until), .. } => {
            Duration::try_from(until.0.duration_since(seen.now)).ok().map(|d| d + Duration::from_millis(2))
        }
        Gate::Waiting { until: None, .. } if seen.available.is_err() => Some(seen.config.recheck_backend),
        // Whose turn it is depends on others, too: their changes wake it, and this is for what nobody noticed.
        Gate::Waiting { until: None, .. } if standing.hold.is_some() => Some(provider::RECHECK),
        Gate::Waiting { .. } | Gate::Open { .. } | Gate::Over { .. } => None,
    };
}

/// Every condition of the executor, as it is now.
fn sentences(
    seen: &Observed<'_>,
    standing: &Standing,
    gate: &Gate,
    room: &Room,
    status: &AgentStatus,
) -> Vec<Said<'static>> {
    let generation = seen.agent.metadata.generation;
    let say =
        |kind, is, reason, message: String| Said { kind, status: Some(is), reason, message, generation };
    let (reason, message) = why::why(seen, standing, gate, 0);
    // How many iterations run changes all the time, and is no news of the definition.
    let (reason, message) = match (gate, &seen.waits) {
        (Gate::Open { .. }, None) => (why::EXECUTING, "the definition is being executed".to_owned()),
        _ => (reason, message),
    };
    let mut all = vec![say(PROGRESSING, !matches!(gate, Gate::Over { .. }), reason, message)];
    all.push(match &seen.available {
        Ok(()) => {
            say(BACKEND_AVAILABLE, true, "Found", format!("the backend {} can be started", seen.backend))
        }
        Err(missing) => say(BACKEND_AVAILABLE, false, missing.reason, missing.to_string()),
    });
    // What still runs is not held against the limit until it has ended: only the gate looks ahead.
    all.push(match room.refusal.as_ref().filter(|refusal| refusal.reached) {
        None => say(WITHIN_LIMITS, true, "WithinLimits", "no limit is reached".into()),
        Some(refusal) => say(WITHIN_LIMITS, false, refusal.reason, refusal.message.clone()),
    });
    let is_set = |kind| status.conditions.iter().any(|c| c.type_ == kind);
    all.extend(provider::conditions(seen, standing, status));
    match (status.fruitless_iterations, &status.backoff_until) {
        (Some(_), Some(until)) => {
            let reason = if fatal(seen).is_some() { "NeedsAttention" } else { "Fruitless" };
            all.push(say(BACKING_OFF, true, reason, backing_off(seen, status, until)));
        }
        _ if is_set(BACKING_OFF) => {
            all.push(say(BACKING_OFF, false, "Fruitful", "the last iteration did something".into()))
        }
        _ => {}
    }
    all
}

/// The Event for a condition that changed; some changes are not worth one.
fn note(kind: &str, is: bool, reason: &str, message: &str, known: bool) -> Option<Note> {
    let (warning, reason) = match (kind, is) {
        (BACKEND_AVAILABLE, false) => (true, "BackendUnavailable"),
        (BACKEND_AVAILABLE, true) if known => (false, "BackendAvailable"),
        (WITHIN_LIMITS, false) => (true, "LimitReached"),
        (WITHIN_LIMITS, true) if known => (false, "LimitRaised"),
        (BACKING_OFF, true) => (true, "BackingOff"),
        (PROGRESSING, false) => match reason {
            "Completed" => (false, "Completed"),
            "Paused" => (false, "Paused"),
            "Stopped" => (false, "Stopped"),
            _ => return None,
        },
        _ => return None,
    };
    Some(Note { warning, reason, action: reason.to_owned(), message: message.to_owned() })
}
