//! Counting iterations that ended: each exactly once, in the one write of the agent's status.
//!
//! `stats[].nextNumber` is the watermark: every iteration of the step below it is counted, none from it on. The
//! counts and the watermark change in one write that fails when somebody wrote in between, so nothing
//! can be counted twice or forgotten.

use gcluster_types::kinds::agent::{IterationCounts, StepStats, TokenTotals};
use gcluster_types::kinds::budget::DayTotals;
use gcluster_types::kinds::iteration::{IterationStatus, Phase};
use k8s_openapi::jiff::Timestamp;

use super::backoff::duration_seconds;
use super::limits::{day, dollar};

/// The statistics of a step; made when the step is new.
pub fn of_step<'a>(stats: &'a mut Vec<StepStats>, step: &str) -> &'a mut StepStats {
    let at = stats.iter().position(|s| s.step == step).unwrap_or_else(|| {
        stats.push(StepStats { step: step.to_owned(), ..StepStats::default() });
        stats.len() - 1
    });
    &mut stats[at]
}

/// Adds one iteration that ended. Durations and tokens are those of iterations that came to an end of their own.
pub fn add(stats: &mut StepStats, status: &IterationStatus) {
    stats.iterations = stats.iterations.saturating_add(1);
    stats.cost_usd += status.cost_usd.unwrap_or(0.0);
    add_unpriced(&mut stats.unpriced_tokens, status);
    match status.phase {
        Phase::Succeeded => stats.succeeded = stats.succeeded.saturating_add(1),
        Phase::Failed => stats.failed = stats.failed.saturating_add(1),
        Phase::Pending | Phase::Running | Phase::Interrupted => return,
    }
    let before = stats.succeeded.saturating_add(stats.failed) - 1;
    let seconds = duration_seconds(status).unwrap_or(0.0);
    let tokens = status.tokens.as_ref().map_or(0, |tokens| tokens.total) as f64;
    welford(&mut stats.mean_duration_seconds, &mut stats.stddev_duration_seconds, before, seconds);
    welford(&mut stats.mean_tokens, &mut stats.stddev_tokens, before, tokens);
}

/// Adds the tokens whose price is not known; stays absent while there are none.
pub fn add_unpriced(sum: &mut Option<i64>, status: &IterationStatus) {
    if status.unpriced_tokens > 0 {
        *sum = Some(sum.unwrap_or(0).saturating_add(status.unpriced_tokens));
    }
}

/// Mean and sample standard deviation of one value more than `before`.
fn welford(mean: &mut f64, stddev: &mut f64, before: i64, value: f64) {
    let count = before.max(0) as f64 + 1.0;
    let squares = *stddev * *stddev * (count - 2.0).max(0.0);
    let delta = value - *mean;
    *mean += delta / count;
    let squares = squares + delta * (value - *mean);
    *stddev = if count > 1.0 { (squares.max(0.0) / (count - 1.0)).sqrt() } else { 0.0 };
}

/// Adds one iteration that ended to the agent's totals.
pub fn add_totals(
    counts: &mut IterationCounts,
    tokens: &mut TokenTotals,
    cost: &mut Option<f64>,
    status: &IterationStatus,
) {
    counts.total = counts.total.saturating_add(1);
    match status.phase {
        Phase::Succeeded => counts.succeeded = counts.succeeded.saturating_add(1),
        Phase::Failed => counts.failed = counts.failed.saturating_add(1),
        Phase::Pending | Phase::Running | Phase::Interrupted => {
            counts.interrupted = counts.interrupted.saturating_add(1);
        }
    }
    if let Some(used) = &status.tokens {
        tokens.add(used);
    }
    if let Some(known) = status.cost_usd {
        *cost = Some(cost.unwrap_or(0.0) + known);
    }
}

/// Adds one iteration that ended to what its UTC day has used; a newer day begins anew.
pub fn add_day(today: &mut Option<DayTotals>, status: &IterationStatus, finished: Timestamp) {
    let day = day(finished);
    let totals = today.get_or_insert_default();
    if totals.day < day {
        *totals = DayTotals { day, ..DayTotals::default() };
    } else if totals.day > day {
        return;
    }
    totals.cost_usd += status.cost_usd.unwrap_or(0.0);
    totals.iterations += i64::from(matches!(status.phase, Phase::Succeeded | Phase::Failed));
}

/// A cost as people read it: what is unpriced is not free. `None` is a backend that never told a price.
pub fn cost_text(cost: Option<f64>, unpriced: i64) -> String {
    match cost.filter(|cost| *cost > 0.0 || unpriced == 0) {
        None => "unpriced".to_owned(),
        Some(cost) if unpriced > 0 => format!("{} + unpriced", dollar(cost)),
        Some(cost) => dollar(cost),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
    use k8s_openapi::jiff::Timestamp;
    use proptest::prelude::*;

    fn ended(phase: Phase, millis: i64, tokens: i64) -> IterationStatus {
        let at = |millis| Some(MicroTime(Timestamp::from_millisecond(millis).unwrap()));
        IterationStatus {
            phase,
            started_at: at(0),
            finished_at: at(millis),
            tokens: Some(TokenTotals { input: tokens, total: tokens, ..TokenTotals::default() }),
            cost_usd: Some(0.5),
            ..IterationStatus::default()
        }
    }

    #[test]
    fn interrupted_iterations_count_but_say_nothing_about_durations() {
        let mut all = Vec::new();
        let (mut counts, mut tokens, mut cost) = (IterationCounts::default(), TokenTotals::default(), None);
        for phase in [Phase::Succeeded, Phase::Interrupted, Phase::Failed] {
            let status = ended(phase, 2_000, 10);
            add(of_step(&mut all, "build"), &status);
            add_totals(&mut counts, &mut tokens, &mut cost, &status);
        }
        let stats = &all[0];
        assert_eq!((all.len(), stats.iterations, stats.succeeded, stats.failed), (1, 3, 1, 1));
        assert_eq!((stats.mean_duration_seconds, stats.stddev_duration_seconds), (2.0, 0.0));
        assert_eq!(counts, IterationCounts { total: 3, succeeded: 1, failed: 1, interrupted: 1 });
        assert_eq!((tokens.total, cost, stats.cost_usd), (30, Some(1.5), 1.5));
    }

    #[test]
    fn costs_read_well_and_unpriced_is_not_free() {
        let cases = [
            (Some(0.0), 0, "$0.00"),
            (None, 0, "unpriced"),
            (None, 5, "unpriced"),
            (Some(0.0), 5, "unpriced"),
            (Some(0.0034), 0, "$0.0034"),
            (Some(1.2), 0, "$1.20"),
            (Some(1.2), 5, "$1.20 + unpriced"),
        ];
        for (cost, unpriced, want) in cases {
            assert_eq!(cost_text(cost, unpriced), want);
        }
    }

    proptest! {
        #[test]
        fn mean_and_deviation_are_those_of_all_values(values in prop::collection::vec(0_i64..100_000, 1..50)) {
            let mut stats = StepStats::default();
            values.iter().for_each(|v| add(&mut stats, &ended(Phase::Succeeded, *v, *v)));
            let count = values.len() as f64;
            let mean = values.iter().sum::<i64>() as f64 / count;
            let squares: f64 = values.iter().map(|v| (*v as f64 - mean).powi(2)).sum();
            let deviation = if count > 1.0 { (squares / (count - 1.0)).sqrt() } else { 0.0 };
            prop_assert!((stats.mean_tokens - mean).abs() < 1e-6 * (1.0 + mean));
            prop_assert!((stats.stddev_tokens - deviation).abs() < 1e-6 * (1.0 + deviation));
            prop_assert!((stats.mean_duration_seconds * 1_000.0 - mean).abs() < 1e-6 * (1.0 + mean));
        }
    }
}
