//! Tables: what was seen → what is done.

use std::collections::HashSet;
use std::sync::Arc;

use gcluster_types::kinds::agent::{RunPolicy, RunState};
use gcluster_types::{Agent, AgentRevision, Iteration, labels};
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use serde_json::{Value, json};

use super::plan::{Observed, Plan, StopReason, plan};
use super::program::tests::revision;
use crate::backend::Unavailable;
use crate::context::Config;

pub(super) const NOW: i64 = 1_000_000;

/// An agent with one loop, its revision recorded and its first execution begun.
pub(super) struct Seen {
    pub(super) agent: Agent,
    pub(super) iterations: Vec<Arc<Iteration>>,
    pub(super) live: HashSet<String>,
    pub(super) missing: Option<Unavailable>,
    pub(super) waits: Option<super::queue::Waits>,
    pub(super) provider: super::provider::View,
}

impl Seen {
    pub(super) fn new() -> Self {
        let agent = json!({
            "apiVersion": "gcluster.dev/v1alpha1", "kind": "Agent",
            "metadata": {"name": "n", "namespace": "default", "uid": "u", "generation": 1,
                "finalizers": [labels::EXECUTOR_FINALIZER]},
            "spec": {"definition": "d"},
            "status": {"digest": "D", "observedGeneration": 1, "execution": 1, "executionDigest": "D"},
        });
        let agent = serde_json::from_value(agent).unwrap();
        let provider = super::provider::View::default();
        Self { agent, iterations: Vec::new(), live: HashSet::new(), missing: None, waits: None, provider }
    }

    pub(super) fn run(mut self, run: RunPolicy) -> Self {
        self.agent.spec.run = run;
        self
    }

    pub(super) fn limit(mut self, limits: Value) -> Self {
        self.agent.spec.limits = Some(serde_json::from_value(limits).unwrap());
        self
    }

    /// One more iteration of the loop; a task of this process runs it where `live`.
    pub(super) fn with(mut self, status: Value, live: bool) -> Self {
        let number = self.iterations.len();
        let uid = format!("i{number}");
        let object = json!({
            "apiVersion": "gcluster.dev/v1alpha1", "kind": "Iteration",
            "metadata": {"name": format!("n.work.{number}"), "namespace": "default", "uid": uid},
            "spec": {"agent": "n", "revision": "r", "step": "work", "kind": "Loop", "number": number,
                "execution": 1},
            "status": status,
        });
        self.iterations.push(Arc::new(serde_json::from_value(object).unwrap()));
        if live {
            self.live.insert(uid);
        }
        self
    }

    pub(super) fn plan(&self) -> Plan {
        let steps = "(defagent \"n\"\n  (pipeline\n    (step \"work\" (loop work))))";
        let mut spec = revision(steps, &[("work", "(defmethod work ()\n  \"Go.\")")]);
        spec.digest = "D".into();
        let revisions = [Arc::new(AgentRevision::new("r", spec))];
        let config = Config::new("rehearsal", "/r");
        plan(&Observed {
            agent: &self.agent,
            revisions: &revisions,
            iterations: &self.iterations,
            live: &self.live,
            floor: &|_| 0,
            outputs: &|_| Some("out".into()),
            backend: "rehearsal",
            available: self.missing.clone().map_or(Ok(()), Err),
            provider: self.provider.clone(),
            waits: self.waits.clone(),
            budgets: &[],
            config: &config,
            now: Timestamp::from_second(NOW).unwrap(),
            spread: 0.5,
        })
    }
}

pub(super) fn at(second: i64) -> Value {
    json!(Timestamp::from_second(second).unwrap().strftime("%Y-%m-%dT%H:%M:%S.000000Z").to_string())
}

pub(super) fn running() -> Value {
    json!({"phase": "Running", "sessionID": "s", "startedAt": at(NOW - 60)})
}

pub(super) fn ended(phase: &str) -> Value {
    json!({"phase": phase, "startedAt": at(NOW - 60), "finishedAt": at(NOW), "toolUses": 1, "error": "no",
        "reason": "Why"})
}

/// Starts, stops, leftovers, unwanted; the reason of the condition Progressing.
fn summary(plan: &Plan) -> (Vec<i64>, Vec<StopReason>, usize, usize, String) {
    let progressing = plan.status.conditions.iter().find(|c| c.type_ == "Progressing");
    (
        plan.starts.iter().map(|start| start.number).collect(),
        plan.stops.iter().map(|(_, reason)| *reason).collect(),
        plan.leftovers.len(),
        plan.unwanted.len(),
        progressing.map(|c| c.reason.clone()).unwrap_or_default(),
    )
}

#[test]
fn what_was_seen_decides_what_begins_and_what_ends() {
    use RunPolicy::{Paused, Running, Stopped};
    let new = Seen::new;
    let pending = || json!({"phase": "Pending"});
    let two = json!({"maxIterations": 2});
    let missing = Unavailable { reason: "None", message: "none".into(), hint: "get one".into() };
    let missing = Seen { missing: Some(missing), ..new() };
    // As `summary` gives it.
    type Expected<'a> = (&'a [i64], &'a [StopReason], usize, usize, &'a str);
    let cases: Vec<(&str, Seen, Expected<'_>)> = vec![
        ("the first", new(), (&[0], &[], 0, 0, "Executing")),
        ("one runs", new().with(running(), true), (&[], &[], 0, 0, "Executing")),
        ("one ended", new().with(ended("Succeeded"), false), (&[1], &[], 0, 0, "Executing")),
        ("one was lost", new().with(running(), false), (&[], &[], 1, 0, "Executing")),
        ("one was recorded only", new().with(pending(), false), (&[0], &[], 0, 0, "Executing")),
        ("no program", missing, (&[], &[], 0, 0, "None")),
        ("one failed", new().with(ended("Failed"), false), (&[], &[], 0, 0, "BackingOff")),
        ("stopped", new().run(Stopped), (&[], &[], 0, 0, "Stopped")),
        (
            "stopped at work",
            new().run(Stopped).with(running(), true),
            (&[], &[StopReason::Stopped], 0, 0, "Stopped"),
        ),
        ("stopped before it began", new().run(Stopped).with(pending(), false), (&[], &[], 0, 1, "Stopped")),
        ("paused at work", new().run(Paused).with(running(), true), (&[], &[], 0, 0, "Paused")),
        (
            "paused while it waits for its turn",
            new().run(Paused).with(pending(), true),
            (&[], &[StopReason::Paused], 0, 0, "Paused"),
        ),
        (
            "at its limit",
            new().limit(two.clone()).with(ended("Succeeded"), false).with(ended("Succeeded"), false),
            (&[], &[], 0, 0, "IterationLimitReached"),
        ),
        (
            "an interruption is not held against it",
            new().run(Running).limit(two).with(ended("Succeeded"), false).with(ended("Interrupted"), false),
            (&[2], &[], 0, 0, "Executing"),
        ),
    ];
    for (name, seen, (starts, stops, leftovers, unwanted, reason)) in cases {
        let want = (starts.to_vec(), stops.to_vec(), leftovers, unwanted, reason.to_owned());
        assert_eq!(summary(&seen.plan()), want, "{name}");
    }
}

#[test]
fn a_deletion_ends_everything_before_the_finalizer_goes() {
    let deleted = |mut seen: Seen| {
        let time = Timestamp::from_second(NOW).unwrap();
        seen.agent.metadata.deletion_timestamp =
            Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(time));
        seen.plan()
    };
    let at_work = deleted(Seen::new().with(running(), true));
    assert_eq!((at_work.finalizer, at_work.stops.len()), (None, 1));
    let recording = deleted(Seen::new().with(ended("Interrupted"), true));
    assert_eq!(recording.finalizer, None, "its task still removes files; the end of it is a trigger");
    let over = deleted(Seen::new().with(ended("Interrupted"), false));
    assert_eq!((over.finalizer, over.starts.len()), (Some(false), 0));
    let mut seen = Seen::new();
    seen.agent.finalizers_mut().clear();
    assert_eq!(seen.plan().finalizer, Some(true), "nothing begins unprotected");
}

#[test]
fn what_only_a_person_can_mend_waits_longest_and_says_what_to_do() {
    let mut status = ended("Failed");
    status["fatal"] = true.into();
    let plan = Seen::new().with(status, false).plan();
    let said = plan.status.conditions.iter().find(|c| c.type_ == "BackingOff").unwrap();
    assert_eq!((said.status.as_str(), said.reason.as_str()), ("True", "NeedsAttention"));
    assert!(
        said.message.contains("n.work.0 failed (Why): no") && said.message.contains("gcluster restart n")
    );
    assert!(plan.look_again.unwrap() > std::time::Duration::from_secs(200), "{:?}", plan.look_again);
    let passing = Seen::new().with(ended("Failed"), false).plan();
    assert!(passing.look_again.unwrap() < std::time::Duration::from_secs(2), "{:?}", passing.look_again);
}

#[test]
fn what_ended_is_counted_once_and_without_gaps() {
    let mut seen =
        Seen::new().with(ended("Succeeded"), false).with(running(), true).with(ended("Failed"), false);
    let first = seen.plan();
    let counts = first.status.iterations.clone().unwrap();
    assert_eq!((counts.total, counts.succeeded, first.status.stats[0].next_number), (1, 1, 1));
    assert_eq!(first.status.run_state, Some(RunState::Running));
    seen.agent.status = Some(first.status.clone());
    assert_eq!(seen.plan().status.iterations, first.status.iterations, "a second look counts nothing anew");
    seen.live.clear();
    seen.iterations.remove(1);
    let counts = seen.plan().status.iterations.unwrap();
    assert_eq!((counts.total, counts.failed), (2, 1), "one that somebody removed is passed over");
}

#[test]
fn a_replacement_ends_what_runs_on_an_older_revision_once_it_is_recorded() {
    let asked = |time: &str, revision: &str, live: bool| {
        let mut seen = Seen::new().with(running(), live);
        Arc::make_mut(&mut seen.iterations[0]).spec.revision = revision.to_owned();
        seen.agent.spec.replaced_at = Some(time.to_owned());
        seen
    };
    let done = |plan: &Plan| plan.status.observed_replacement.clone();
    let older = asked("t", "old", true);
    let plan = older.plan();
    assert_eq!(plan.stops.iter().map(|stop| stop.1).collect::<Vec<_>>(), [StopReason::Replaced]);
    assert_eq!(done(&plan), None, "not before it has ended");
    let mut early = asked("t", "old", true);
    early.agent.metadata.generation = Some(2);
    assert_eq!(
        (early.plan().stops, done(&early.plan())),
        (vec![], None),
        "its text may not be a revision yet"
    );
    let left = asked("t", "old", false).plan();
    assert_eq!(
        (left.leftovers.len(), done(&left)),
        (1, None),
        "one of an earlier master is still to be ended"
    );
    let current = asked("t", "r", true).plan();
    assert_eq!((current.stops.len(), done(&current)), (0, Some("t".into())));
    let mut over = asked("t", "old", true);
    over.agent.status.as_mut().unwrap().observed_replacement = Some("t".into());
    assert_eq!(over.plan().stops, vec![], "what begins later is not ended by an earlier wish");
}
