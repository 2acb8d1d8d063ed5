//! How long to wait after iterations that failed or did nothing.

use std::time::Duration;

use gcluster_types::kinds::iteration::{IterationSpec, IterationStatus, Phase, StepKind};

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

/// Why a backend's run ended that nobody had asked to end.
const ENDED_ITSELF: &str = "Interrupted";

/// Judges an iteration that ended; what it said is not looked at, so that failing differently each time is failing.
/// Only what comes again and again can be idle, a loop or a step inside of one: any other moves on when it succeeds.
pub fn verdict(spec: &IterationSpec, status: &IterationStatus, config: &Config) -> Verdict {
    let again = spec.kind == StepKind::Loop || spec.round.is_some();
    match status.phase {
        Phase::Failed if status.fatal => Verdict::Fatal,
        Phase::Failed => Verdict::Failed,
        Phase::Succeeded if again && status.tool_uses == 0 => {
            let below = config.idle_below(status.backend.as_deref().unwrap_or_default());
            let short = duration_seconds(status).is_none_or(|seconds| seconds < below.as_secs_f64());
            if short { Verdict::Idle } else { Verdict::Fruitful }
        }
        Phase::Succeeded => Verdict::Fruitful,
        // It would end itself again, at once and for ever.
        Phase::Interrupted if status.reason.as_deref() == Some(ENDED_ITSELF) => Verdict::Failed,
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
    fn only_what_comes_again_quickly_and_without_tools_is_idle() {
        let config = Config::new("command", "/r");
        let of = |backend: &str, seconds| IterationStatus {
            backend: Some(backend.into()),
            ..ended(Phase::Succeeded, seconds, 0)
        };
        let own =
            |reason: &str| IterationStatus { reason: Some(reason.into()), ..ended(Phase::Interrupted, 1, 0) };
        let cases = [
            (StepKind::Loop, ended(Phase::Succeeded, 1, 0), Verdict::Idle),
            (StepKind::Loop, ended(Phase::Succeeded, 1, 1), Verdict::Fruitful),
            (StepKind::Loop, ended(Phase::Succeeded, 3, 0), Verdict::Fruitful),
            (StepKind::Call, ended(Phase::Succeeded, 0, 0), Verdict::Fruitful),
            (StepKind::Loop, ended(Phase::Failed, 60, 9), Verdict::Failed),
            (StepKind::Call, IterationStatus { fatal: true, ..ended(Phase::Failed, 1, 0) }, Verdict::Fatal),
            (StepKind::Map, ended(Phase::Failed, 1, 0), Verdict::Failed),
            (StepKind::Loop, ended(Phase::Interrupted, 0, 0), Verdict::Neutral),
            (StepKind::Loop, own("MasterRestarted"), Verdict::Neutral),
            (StepKind::Loop, own("Interrupted"), Verdict::Failed),
            // A model's answer alone takes some seconds.
            (StepKind::Loop, of("claude", 7), Verdict::Idle),
            (StepKind::Loop, of("claude", 15), Verdict::Fruitful),
            (StepKind::Loop, of("command", 7), Verdict::Fruitful),
        ];
        for (kind, status, want) in cases {
            let spec = IterationSpec { kind, ..IterationSpec::default() };
            assert_eq!(verdict(&spec, &status, &config), want, "{status:?}");
        }
        let inner = IterationSpec { round: Some(4), ..IterationSpec::default() };
        assert_eq!(
            verdict(&inner, &ended(Phase::Succeeded, 1, 0), &config),
            Verdict::Idle,
            "a step of a loop"
        );
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
