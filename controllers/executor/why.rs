//! Why an agent is in its state, in one word and one sentence: what `describe`, steer and `kubectl` show.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;

use super::gates::Gate;
use super::plan::{Observed, Plan, Standing, is_unstarted};

/// At work: nothing holds it.
pub(super) const EXECUTING: &str = "Executing";

/// The first reason that applies; `begins` iterations begin now.
pub(super) fn why(
    seen: &Observed<'_>,
    standing: &Standing,
    gate: &Gate,
    begins: usize,
) -> (&'static str, String) {
    match gate {
        Gate::Over { reason, message } => {
            let ending = if standing.nothing_runs() { "" } else { "; what runs comes to its end" };
            (reason, format!("{message}{ending}"))
        }
        Gate::Waiting { reason, message, .. } => (reason, message.clone()),
        Gate::Open { .. } => open(seen, standing, begins),
    }
}

fn open(seen: &Observed<'_>, standing: &Standing, begins: usize) -> (&'static str, String) {
    let begun = standing.live.iter().any(|iteration| !is_unstarted(iteration));
    if let (false, Some(waits)) = (begun || !standing.leftovers.is_empty(), &seen.waits) {
        return (waits.reason(), waits.sentence());
    }
    // Those that wait for a moment count: a status that changes twice for each iteration would be two writes.
    match standing.live.len() + standing.leftovers.len() + begins {
        0 => ("Starting", "the next iteration is about to begin".to_owned()),
        1 => (EXECUTING, "1 iteration runs".to_owned()),
        runs => (EXECUTING, format!("{runs} iterations run")),
    }
}

/// Writes it into the status, with the time at which the reason became another one.
pub(super) fn tell(seen: &Observed<'_>, standing: &Standing, gate: &Gate, plan: &mut Plan) {
    let (reason, message) = why(seen, standing, gate, plan.starts.len());
    let status = &mut plan.status;
    if status.reason.as_deref() != Some(reason) || status.reason_since.is_none() {
        status.reason_since = Some(MicroTime(seen.now));
    }
    status.reason = Some(reason.to_owned());
    status.message = Some(message);
}
