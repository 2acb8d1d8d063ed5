//! Condition types and reasons, and setting one so that its transition time is true.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

/// The newest definition is recorded as a revision.
pub const READY: &str = "Ready";
/// The backend's program can be started.
pub const BACKEND_AVAILABLE: &str = "BackendAvailable";
/// The provider's usage limit holds the agent until a reset time.
pub const THROTTLED: &str = "Throttled";
/// The provider answers. False while it is overloaded, broken or out of reach.
pub const PROVIDER_AVAILABLE: &str = "ProviderAvailable";
/// The provider accepts what the agent authenticates with. False says what to do.
pub const CREDENTIAL_VALID: &str = "CredentialValid";
/// No limit of the agent is reached.
pub const WITHIN_LIMITS: &str = "WithinLimits";
/// Repeated failures, or iterations that do nothing, hold the next one back for a while.
pub const BACKING_OFF: &str = "BackingOff";
/// The definition is being executed. False says why not: `Completed`, `Paused`, `Stopped`, `LimitReached`.
pub const PROGRESSING: &str = "Progressing";

/// On tickets: merging its branch with that of another ticket in flight, or with the base, would conflict.
pub const CONFLICT_PREDICTED: &str = "ConflictPredicted";

/// What a condition says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Observed<'a> {
    /// Condition type, one of the constants of this module.
    pub kind: &'a str,
    /// True, false, or unknown (`None`).
    pub status: Option<bool>,
    /// One CamelCase word.
    pub reason: &'a str,
    /// One sentence for people.
    pub message: String,
    /// `metadata.generation` that this was observed of.
    pub generation: Option<i64>,
}

/// Sets one condition. The transition time changes only when the status does; nothing changes when the
/// same was said before. Returns whether anything changed.
pub fn set(conditions: &mut Vec<Condition>, observed: Observed<'_>, now: &Time) -> bool {
    let status = match observed.status {
        Some(true) => "True",
        Some(false) => "False",
        None => "Unknown",
    };
    let mut next = Condition {
        type_: observed.kind.to_owned(),
        status: status.to_owned(),
        reason: observed.reason.to_owned(),
        message: observed.message,
        observed_generation: observed.generation,
        last_transition_time: now.clone(),
    };
    match conditions.iter_mut().find(|c| c.type_ == observed.kind) {
        Some(old) => {
            if old.status == next.status {
                next.last_transition_time = old.last_transition_time.clone();
            }
            let changed = *old != next;
            *old = next;
            changed
        }
        None => {
            conditions.push(next);
            true
        }
    }
}

/// Removes a condition. Returns whether it was there.
pub fn clear(conditions: &mut Vec<Condition>, kind: &str) -> bool {
    let before = conditions.len();
    conditions.retain(|c| c.type_ != kind);
    conditions.len() != before
}

/// Whether a condition is there and true.
pub fn is_true(conditions: &[Condition], kind: &str) -> bool {
    conditions.iter().any(|c| c.type_ == kind && c.status == "True")
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::jiff::Timestamp;

    fn at(second: i64) -> Time {
        Time(Timestamp::from_second(second).unwrap())
    }

    fn ready(status: bool, message: &str) -> Observed<'static> {
        Observed {
            kind: READY,
            status: Some(status),
            reason: "Because",
            message: message.into(),
            generation: Some(1),
        }
    }

    #[test]
    fn transition_time_changes_only_with_the_status() {
        let mut conditions = Vec::new();
        assert!(set(&mut conditions, ready(true, "a"), &at(1)));
        assert!(!set(&mut conditions, ready(true, "a"), &at(2)));
        assert!(set(&mut conditions, ready(true, "b"), &at(3)));
        assert_eq!(conditions[0].last_transition_time, at(1));
        assert!(set(&mut conditions, ready(false, "b"), &at(4)));
        assert_eq!(conditions[0].last_transition_time, at(4));
        assert!(!is_true(&conditions, READY));
        assert!(clear(&mut conditions, READY));
        assert!(!clear(&mut conditions, READY));
    }
}
