//! How long to wait after iterations that failed or did nothing.

use std::time::Duration;

use gcluster_types::kinds::iteration::{IterationStatus, Phase, StepKind};

use crate::context::Config;

/// Longest pause.
pub const LONGEST: Duration = Duration::from_secs(300);

/// What an iteration that ended says about the next one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It did something: no pause.
    Fruitful,
    /// It failed.
    Failed,
    /// It failed, and so will the next one until a person changes something.
    Fatal,
    /// It ended at once and used no tool.
    Idle,
    /// It was ended from outside and says nothing.
    Neutral,
}

/// Judges an iteration that ended. Only a loop can be idle: any other step moves on when it succeeds.
pub fn verdict(kind: StepKind, status: &IterationStatus, idle_below: Duration) -> Verdict {
    match status.phase {
        Phase::Failed if status.fatal => Verdict::Fatal,
        Phase::Failed => Verdict::Failed,
        Phase::Succeeded if kind == StepKind::Loop && status.tool_uses == 0 => {
            let short = duration_seconds(status).is_none_or(|seconds| seconds < idle_below.as_secs_f64());
            if short { Verdict::Idle } else { Verdict::Fruitful }
        }
        Phase::Succeeded => Verdict::Fruitful,
        Phase::Interrupted | Phase::Pending | Phase::Running => Verdict::Neutral,
    }
}

/// How many in a row there are after one more.
pub fn streak(before: i64, verdict: Verdict) -> i64 {
    match verdict {
        Verdict::Fruitful => 0,
        Verdict::Failed | Verdict::Fatal | Verdict::Idle => before.saturating_add(1),
        Verdict::Neutral => before,
    }
}

/// The pause after the last of `streak` iterations in a row, spread by a quarter to either side.
///
/// `spread` is from 0 to 1; the caller throws the dice.
pub fn pause(config: &Config, verdict: Verdict, streak: i64, spread: f64) -> Duration {
    let first = match verdict {
        Verdict::Failed => config.failure_backoff,
        Verdict::Idle => config.idle_backoff,
        Verdict::Fatal => return LONGEST.mul_f64(0.75 + spread.clamp(0.0, 1.0) / 4.0),
        Verdict::Fruitful | Verdict::Neutral => return Duration::ZERO,
    };
    let doublings = i32::try_from(streak.saturating_sub(1).clamp(0, 30)).unwrap_or(30);
    let seconds = first.as_secs_f64() * 2_f64.powi(doublings) * (0.75 + spread.clamp(0.0, 1.0) / 2.0);
    Duration::from_secs_f64(seconds.min(LONGEST.as_secs_f64()))
}

/// How long an iteration took, in seconds.
pub fn duration_seconds(status: &IterationStatus) -> Option<f64> {
    let (start, end) = (status.started_at.as_ref()?, status.finished_at.as_ref()?);
    Some(end.0.duration_since(start.0).as_secs_f64().max(0.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
    use k8s_openapi::jiff::Timestamp;

    fn ended(phase: Phase, seconds: i64, tool_uses: i64) -> IterationStatus {
        let at = |second| Some(MicroTime(Timestamp::from_second(second).unwrap()));
        IterationStatus {
            phase,
            started_at: at(100),
            finished_at: at(100 + seconds),
            tool_uses,
            ..Default::default()
        }
    }

    #[test]
    fn only_a_quick_loop_without_tools_is_idle() {
        let below = Duration::from_secs(3);
        let cases = [
            (StepKind::Loop, ended(Phase::Succeeded, 1, 0), Verdict::Idle),
            (StepKind::Loop, ended(Phase::Succeeded, 1, 1), Verdict::Fruitful),
            (StepKind::Loop, ended(Phase::Succeeded, 3, 0), Verdict::Fruitful),
            (StepKind::Call, ended(Phase::Succeeded, 0, 0), Verdict::Fruitful),
            (StepKind::Loop, ended(Phase::Failed, 60, 9), Verdict::Failed),
            (StepKind::Call, IterationStatus { fatal: true, ..ended(Phase::Failed, 1, 0) }, Verdict::Fatal),
            (StepKind::Loop, ended(Phase::Interrupted, 0, 0), Verdict::Neutral),
        ];
        for (kind, status, want) in cases {
            assert_eq!(verdict(kind, &status, below), want, "{status:?}");
        }
    }

    #[test]
    fn pauses_double_up_to_five_minutes_and_a_success_ends_them() {
        let config = Config::new("rehearsal", "/r");
        let seconds = |streak| pause(&config, Verdict::Failed, streak, 0.5).as_secs_f64();
        assert_eq!([1, 2, 3, 8].map(seconds), [1.0, 2.0, 4.0, 128.0]);
        assert_eq!([9, 10, 1_000, i64::MAX].map(seconds), [256.0, 300.0, 300.0, 300.0]);
        assert!(pause(&config, Verdict::Failed, 50, 1.0) <= LONGEST);
        assert!(pause(&config, Verdict::Failed, 3, 0.0) < pause(&config, Verdict::Failed, 3, 1.0));
        assert_eq!(pause(&config, Verdict::Fatal, 1, 1.0), LONGEST);
        assert_eq!(pause(&config, Verdict::Neutral, 3, 0.5), Duration::ZERO);
        let after = [Verdict::Failed, Verdict::Idle, Verdict::Neutral, Verdict::Fruitful, Verdict::Failed];
        let counts: Vec<i64> = after
            .iter()
            .scan(0, |n, v| {
                *n = streak(*n, *v);
                Some(*n)
            })
            .collect();
        assert_eq!(counts, [1, 2, 2, 0, 1]);
    }
}
