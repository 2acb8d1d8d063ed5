//! What an agent needs, read off its object: the group that it stands in, one word, and why.

use gcluster_types::conditions;
use gcluster_types::kinds::agent::{Agent, AgentStatus, RunPolicy, RunState};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use k8s_openapi::jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// The groups of the tree, the most urgent first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Need {
    /// Nothing goes on before a person acts.
    You,
    /// It fails again and again, or cannot get on.
    Failing,
    /// A usage limit or one of its own limits holds it.
    Limited,
    /// Its definition is being executed.
    Working,
    /// It has nothing to do, or was told to do nothing.
    #[default]
    Idle,
    /// Its definition has come to its end.
    Done,
}

impl Need {
    /// Every group in the order of the tree.
    pub const ALL: [Need; 6] =
        [Need::You, Need::Failing, Need::Limited, Need::Working, Need::Idle, Need::Done];

    /// Heading of the group.
    pub fn title(self) -> &'static str {
        match self {
            Need::You => "Needs you",
            Need::Failing => "Failing or stuck",
            Need::Limited => "Throttled or over limit",
            Need::Working => "Working",
            Need::Idle => "Idle",
            Need::Done => "Done",
        }
    }

    /// Its place among the groups, from 0.
    pub fn index(self) -> usize {
        self as usize
    }
}

/// What an agent needs, and the words for it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Standing {
    /// The group.
    pub need: Need,
    /// One short word for a column, such as `working` or `backoff`.
    pub word: String,
    /// Why, in one sentence; empty where the word says all.
    pub why: String,
    /// Since when, where it is known.
    pub since: Option<Timestamp>,
}

/// Reads an agent's conditions.
pub fn standing(agent: &Agent) -> Standing {
    let empty = AgentStatus::default();
    let status = agent.status.as_ref().unwrap_or(&empty);
    let of = |need, word: &str, because: Option<&Condition>| Standing {
        need,
        word: word.to_owned(),
        why: because.map(|condition| condition.message.clone()).unwrap_or_default(),
        since: because.map(|condition| condition.last_transition_time.0),
    };
    if let Some(at) = &agent.metadata.deletion_timestamp {
        let why = "it is being deleted: what runs comes to its end first".to_owned();
        return Standing { need: Need::Idle, word: "deleting".into(), why, since: Some(at.0) };
    }
    let has =
        |kind: &str, value: &str| status.conditions.iter().find(|c| c.type_ == kind && c.status == value);
    // A person has already decided about an agent that is paused or stopped.
    match agent.spec.run {
        RunPolicy::Stopped => return of(Need::Idle, "stopped", has(conditions::PROGRESSING, "False")),
        RunPolicy::Paused if status.active_iterations.is_empty() => {
            return of(Need::Idle, "paused", has(conditions::PROGRESSING, "False"));
        }
        RunPolicy::Paused => {
            return of(Need::Working, "pausing", has(conditions::PROGRESSING, "False"));
        }
        RunPolicy::Running => {}
    }
    if let Some(condition) = has(conditions::READY, "False") {
        return of(Need::You, "invalid", Some(condition));
    }
    if let Some(condition) = has(conditions::BACKEND_AVAILABLE, "False") {
        return of(Need::You, "no backend", Some(condition));
    }
    let progress = has(conditions::PROGRESSING, "False");
    if let Some(condition) = progress.filter(|condition| condition.reason == "Completed") {
        return of(Need::Done, "done", Some(condition));
    }
    if let Some(condition) = has(conditions::CREDENTIAL_VALID, "False") {
        return of(Need::You, "login", Some(condition));
    }
    if let Some(condition) = has(conditions::BACKING_OFF, "True") {
        return match condition.reason.as_str() {
            "NeedsAttention" => of(Need::You, "needs you", Some(condition)),
            _ => of(Need::Failing, "backoff", Some(condition)),
        };
    }
    if let Some(condition) = has(conditions::THROTTLED, "True") {
        return of(Need::Limited, "throttled", Some(condition));
    }
    if let Some(condition) = has(conditions::PROVIDER_AVAILABLE, "False") {
        return of(Need::Limited, "outage", Some(condition));
    }
    if let Some(condition) = has(conditions::WITHIN_LIMITS, "False") {
        // A limit of a day is lifted by the next day; any other one only by a person.
        let need = if condition.reason.starts_with("Daily") { Need::Limited } else { Need::You };
        return of(need, "limit", Some(condition));
    }
    let waits =
        has(conditions::PROGRESSING, "True").filter(|condition| condition.reason.starts_with("WaitingFor"));
    if let Some(condition) = waits {
        return Standing {
            since: status.reason_since.as_ref().map(|at| at.0),
            ..of(Need::Working, "waiting", Some(condition))
        };
    }
    let since = has(conditions::PROGRESSING, "True").map(|condition| condition.last_transition_time.0);
    match status.run_state.unwrap_or_default() {
        RunState::Pending => of(Need::Idle, "pending", progress),
        RunState::Running => Standing { since, ..of(Need::Working, "working", None) },
        RunState::Stopped => of(Need::Done, "done", progress),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn need(run: &str, state: &str, active: &[&str], conditions: &[(&str, &str, &str)]) -> (Need, String) {
        let conditions: Vec<_> = conditions
            .iter()
            .map(|(kind, status, reason)| {
                json!({"type": kind, "status": status, "reason": reason, "message": "m",
                    "lastTransitionTime": "2026-01-02T03:00:00Z"})
            })
            .collect();
        let agent = serde_json::from_value(json!({
            "apiVersion": "gcluster.dev/v1alpha1", "kind": "Agent", "metadata": {"name": "a"},
            "spec": {"definition": "(defagent \"a\" \"x\")", "run": run},
            "status": {"runState": state, "activeIterations": active, "conditions": conditions},
        }))
        .unwrap();
        let standing = standing(&agent);
        (standing.need, standing.word)
    }

    #[test]
    fn conditions_decide_the_group_and_the_most_urgent_wins() {
        let failing = ("BackingOff", "True", "Fruitless");
        let fatal = ("BackingOff", "True", "NeedsAttention");
        let gone = ("BackendAvailable", "False", "NotFound");
        let throttled = ("Throttled", "True", "UsageLimitReached");
        let limit = ("WithinLimits", "False", "BudgetSpent");
        let refused = ("CredentialValid", "False", "AuthenticationFailed");
        let outage = ("ProviderAvailable", "False", "Outage");
        let waits = ("Progressing", "True", "WaitingForRoom");
        let daily = ("WithinLimits", "False", "DailyBudgetSpent");
        let completed = ("Progressing", "False", "Completed");
        let running = |conditions: &[(&str, &str, &str)]| need("Running", "running", &[], conditions);
        assert_eq!(running(&[]), (Need::Working, "working".into()));
        assert_eq!(running(&[failing, throttled]), (Need::Failing, "backoff".into()));
        assert_eq!(running(&[fatal]), (Need::You, "needs you".into()));
        assert_eq!(running(&[gone, failing]), (Need::You, "no backend".into()));
        assert_eq!(running(&[throttled, limit]), (Need::Limited, "throttled".into()));
        assert_eq!(running(&[refused, failing]), (Need::You, "login".into()));
        assert_eq!(running(&[outage]), (Need::Limited, "outage".into()));
        assert_eq!(running(&[waits]), (Need::Working, "waiting".into()));
        assert_eq!(running(&[limit]), (Need::You, "limit".into()), "only a person raises it");
        assert_eq!(running(&[daily]), (Need::Limited, "limit".into()), "it is lifted at midnight");
        assert_eq!(need("Running", "stopped", &[], &[completed]), (Need::Done, "done".into()));
        assert_eq!(need("Running", "pending", &[], &[]), (Need::Idle, "pending".into()));
    }

    #[test]
    fn what_a_person_has_held_does_not_call_for_that_person() {
        let failing = ("BackingOff", "True", "NeedsAttention");
        assert_eq!(need("Paused", "stopped", &[], &[failing]), (Need::Idle, "paused".into()));
        assert_eq!(need("Paused", "running", &["a.s.0"], &[]), (Need::Working, "pausing".into()));
        assert_eq!(need("Stopped", "stopped", &[], &[failing]), (Need::Idle, "stopped".into()));
    }
}
