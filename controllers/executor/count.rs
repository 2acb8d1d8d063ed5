//! What iterations that ended change in the agent's status.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use gcluster_types::Iteration;
use gcluster_types::kinds::iteration::Phase;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;

use super::backoff::{Verdict, pause, streak, verdict};
use super::flow::phase;
use super::plan::{Note, Observed, Plan};
use super::{provider, stats};

/// Reason of an iteration that a usage limit ended.
pub const THROTTLED: &str = "Throttled";

/// Counts what ended and was not counted. `open` maps are under way and counted as a whole later.
pub(super) fn count(seen: &Observed<'_>, open: &BTreeSet<(String, i64)>, plan: &mut Plan) {
    let mut fresh = uncounted(seen, open, plan);
    if fresh.is_empty() {
        return;
    }
    let finished = |iteration: &Arc<Iteration>| {
        iteration.status.as_ref().and_then(|status| status.finished_at.clone()).map(|time| time.0)
    };
    fresh.sort_by_key(|iteration| (finished(iteration), iteration.spec.number, iteration.spec.item));
    let mut cost = plan.status.cost_usd;
    let mut tokens = plan.status.tokens.take().unwrap_or_default();
    let mut counts = plan.status.iterations.take().unwrap_or_default();
    for iteration in &fresh {
        let status = iteration.status.clone().unwrap_or_default();
        stats::add(stats::of_step(&mut plan.status.stats, &iteration.spec.step), &status);
        stats::add_totals(&mut counts, &mut tokens, &mut cost, &status);
        stats::add_unpriced(&mut plan.status.unpriced_tokens, &status);
        stats::add_day(&mut plan.status.today, &status, finished(iteration).unwrap_or(seen.now));
        follow_up(seen, iteration, finished(iteration).unwrap_or(seen.now), plan);
    }
    // Before anything has succeeded there is nothing that a backend would have to tell the price of.
    let told = cost.is_some() || counts.succeeded > 0 || plan.status.unpriced_tokens.is_some();
    plan.status.cost = told.then(|| stats::cost_text(cost, plan.status.unpriced_tokens.unwrap_or(0)));
    plan.status.cost_usd = cost;
    plan.status.tokens = Some(tokens);
    plan.status.iterations = Some(counts);
}

/// All that ended from the watermark on, without a gap; moves the watermark.
///
/// A number that is not there although a higher one is was removed by somebody: it is passed over.
fn uncounted(seen: &Observed<'_>, open: &BTreeSet<(String, i64)>, plan: &mut Plan) -> Vec<Arc<Iteration>> {
    let mut steps: BTreeMap<&str, BTreeMap<i64, Vec<&Arc<Iteration>>>> = BTreeMap::new();
    for iteration in seen.iterations {
        let numbers = steps.entry(&iteration.spec.step).or_default();
        numbers.entry(iteration.spec.number).or_default().push(iteration);
    }
    let mut fresh = Vec::new();
    for (step, numbers) in steps {
        let known =
            plan.status.stats.iter().find(|stats| stats.step == step).map_or(0, |stats| stats.next_number);
        let mut next = known;
        for (number, iterations) in numbers.range(known..) {
            let over = iterations.iter().all(|iteration| phase(iteration).is_terminal());
            if !over || open.contains(&(step.to_owned(), *number)) {
                break;
            }
            fresh.extend(iterations.iter().map(|iteration| (*iteration).clone()));
            next = number.saturating_add(1);
        }
        if next > known {
            stats::of_step(&mut plan.status.stats, step).next_number = next;
        }
    }
    fresh
}

/// Backoff, refusals of the provider, and what to tell.
fn follow_up(seen: &Observed<'_>, iteration: &Iteration, finished: Timestamp, plan: &mut Plan) {
    let status = iteration.status.clone().unwrap_or_default();
    let name = iteration.name_any();
    let verdict = verdict(&iteration.spec, &status, seen.config);
    let row = streak(plan.status.fruitless_iterations.unwrap_or(0), verdict);
    match verdict {
        Verdict::Fruitful => {
            plan.status.fruitless_iterations = None;
            plan.status.backoff_until = None;
        }
        Verdict::Failed | Verdict::Fatal | Verdict::Idle => {
            plan.status.fruitless_iterations = Some(row);
            plan.status.backoff_until = after(finished, pause(seen.config, verdict, row, seen.spread));
        }
        Verdict::Neutral => {}
    }
    provider::met(seen, iteration, finished, plan);
    if status.phase == Phase::Failed {
        let reason = status.reason.unwrap_or_default();
        let error = status.error.unwrap_or_default();
        let message = format!("{name} failed ({reason}): {error}");
        plan.notes.push(Note { warning: true, reason: "IterationFailed", action: reason, message });
    }
}

fn after(time: Timestamp, pause: std::time::Duration) -> Option<MicroTime> {
    time.checked_add(pause).ok().map(MicroTime)
}
