//! An agent in words: what it is, what it does, and why.

use gcluster_types::conditions;
use gcluster_types::kinds::agent::{Agent, AgentStatus, RunPolicy, RunState, StepStats};
use gcluster_types::kinds::iteration::{Iteration, StepKind};
use gcluster_types::names::object_name;
use gcluster_types::sexpr::program::{self, Body, Pipeline, StepCall};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use k8s_openapi::jiff::Timestamp;
use serde_json::Value;

use super::fields::{Fields, table};
use super::{age, event};

/// What `describe agent` knows beside the agent itself.
#[derive(Clone, Copy, Debug)]
pub struct Around<'a> {
    /// The agent's iterations that are running.
    pub active: &'a [Iteration],
    /// Events about the agent, as JSON objects of either view.
    pub events: &'a [Value],
    /// The time to count ages from.
    pub now: Timestamp,
}

/// The text of `describe agent`.
pub fn describe(agent: &Agent, around: Around<'_>) -> String {
    let empty = AgentStatus::default();
    let status = agent.status.as_ref().unwrap_or(&empty);
    let now = around.now;
    let meta = &agent.metadata;
    let mut head = Fields::new();
    head.add("Name", meta.name.as_deref().unwrap_or_default());
    let written = agent.spec.agent_name.as_deref().filter(|name| Some(*name) != meta.name.as_deref());
    head.maybe("Written as", written);
    head.add("Namespace", meta.namespace.as_deref().unwrap_or_default());
    head.map("Labels", meta.labels.iter().flatten());
    head.map("Annotations", meta.annotations.iter().flatten());
    if let Some(created) = &meta.creation_timestamp {
        head.add("Created", moment(created.0, now));
    }
    head.add("State", state(status, now));
    head.maybe("Why", because(agent, status, now).as_deref());
    if let Some(deleted) = &meta.deletion_timestamp {
        let waiting = meta.finalizers.iter().flatten().cloned().collect::<Vec<_>>().join(", ");
        head.add("Deleting", format!("{}, waits for {waiting}", moment(deleted.0, now)));
    }
    let running: Vec<_> = around.active.iter().filter_map(super::rollout::running).collect();
    head.maybe("Rollout", super::rollout::upcoming(agent, &running));
    head.add("Desired", desired(agent.spec.run));
    if agent.spec.priority != 0 {
        head.add("Priority", agent.spec.priority.to_string());
    }
    head.add("Backend", backend(agent, status));
    if let Some(credential) = &status.credential {
        let source = status.credential_source.as_deref().unwrap_or("of an unknown source");
        head.add("Credential", format!("{credential}, {source}"));
    }
    head.maybe("Directory", agent.spec.working_directory.as_deref());
    head.add("Limits", limits(agent));
    head.add("Iterations", iterations(status));
    head.add("Tokens", tokens(status));
    head.add("Cost", status.cost.clone().or(status.cost_usd.map(age::cost)).unwrap_or_else(|| "-".into()));
    let mut out = head.render(0);
    out += &format!("Steps:\n{}", steps(agent, status));
    out += &format!("Active:\n{}", active(around.active, now));
    out += &format!("Revisions:\n{}", revisions(status, now));
    out += &format!("Conditions:\n{}", conditions_table(&status.conditions, now));
    out + &event::section(around.events, now, 12)
}

fn moment(then: Timestamp, now: Timestamp) -> String {
    format!("{} ago ({})", age::since(then, now), then.strftime("%Y-%m-%d %H:%M:%S UTC"))
}

/// What the agent should do, in words.
pub fn desired(run: RunPolicy) -> &'static str {
    match run {
        RunPolicy::Running => "Running",
        RunPolicy::Paused => "Paused: the running iteration may end, no new one begins",
        RunPolicy::Stopped => "Stopped: no iteration runs",
    }
}

/// The state, and when something happened last.
fn state(status: &AgentStatus, now: Timestamp) -> String {
    let state = match status.run_state.unwrap_or_default() {
        RunState::Pending => "pending",
        RunState::Running => "running",
        RunState::Stopped => "stopped",
    };
    let mut text = state.to_owned();
    if let Some(last) = &status.last_iteration_time {
        text += &format!(", last activity {} ago", age::since(last.0, now));
    }
    text
}

/// Why nothing runs, with the time since which that is so; what it does when something runs.
fn because(agent: &Agent, status: &AgentStatus, now: Timestamp) -> Option<String> {
    let why = why(agent, status)?;
    let since = status
        .reason_since
        .as_ref()
        .filter(|_| status.message.as_ref().is_some_and(|said| why.ends_with(said)));
    match since {
        Some(since) => Some(format!("{why} (since {})", age::since(since.0, now))),
        None => Some(why),
    }
}

/// The first reason that keeps the agent from working, else what it is doing. The executor's own words where they are
/// about what is desired now.
pub fn why(agent: &Agent, status: &AgentStatus) -> Option<String> {
    if agent.metadata.deletion_timestamp.is_some() {
        return Some("Deleting: it is being deleted, and what runs comes to its end first".into());
    }
    let decided = match agent.spec.run {
        RunPolicy::Running => !matches!(status.reason.as_deref(), Some("Paused" | "Stopped")),
        RunPolicy::Paused => status.reason.as_deref() == Some("Paused"),
        RunPolicy::Stopped => status.reason.as_deref() == Some("Stopped"),
    };
    if let (Some(reason), Some(message), true) = (&status.reason, &status.message, decided) {
        return Some(format!("{reason}: {message}"));
    }
    let troubled = [
        (conditions::READY, "False"),
        (conditions::BACKEND_AVAILABLE, "False"),
        (conditions::WITHIN_LIMITS, "False"),
        (conditions::CREDENTIAL_VALID, "False"),
        (conditions::THROTTLED, "True"),
        (conditions::PROVIDER_AVAILABLE, "False"),
        (conditions::BACKING_OFF, "True"),
    ];
    let trouble = troubled
        .iter()
        .find_map(|(kind, bad)| status.conditions.iter().find(|c| c.type_ == *kind && c.status == *bad));
    if let Some(condition) = trouble {
        return Some(format!("{}: {}", condition.reason, condition.message));
    }
    match (agent.spec.run, status.run_state.unwrap_or_default()) {
        (RunPolicy::Stopped, _) => Some("it is stopped by its desired state".into()),
        (RunPolicy::Paused, _) => Some("it is paused by its desired state".into()),
        (RunPolicy::Running, RunState::Stopped) => Some("its definition has come to its end".into()),
        (RunPolicy::Running, RunState::Pending) => Some("nothing has started yet".into()),
        (RunPolicy::Running, RunState::Running) => match status.active_iterations.len() {
            0 => Some("between two iterations".into()),
            n => Some(format!("{n} iteration{} running", if n == 1 { "" } else { "s" })),
        },
    }
}

/// The backend and the model.
pub fn backend(agent: &Agent, status: &AgentStatus) -> String {
    let spec = agent.spec.backend.as_ref();
    let asked = spec.and_then(|backend| backend.name.clone());
    let name = status.backend.clone().or(asked).unwrap_or_else(|| "the master's default".into());
    match spec.and_then(|backend| backend.model.as_deref()) {
        Some(model) => format!("{name}, model {model}"),
        None => name,
    }
}

/// What the agent may use up, in words.
pub fn limits(agent: &Agent) -> String {
    let Some(limits) = &agent.spec.limits else { return "none".into() };
    let mut parts = Vec::new();
    if let Some(n) = limits.max_iterations {
        parts.push(format!("{n} iterations"));
    }
    if let Some(dollars) = limits.max_budget_usd {
        parts.push(age::cost(dollars));
    }
    if let Some(dollars) = limits.max_budget_usd_per_day {
        parts.push(format!("{} per day", age::cost(dollars)));
    }
    if let Some(n) = limits.max_iterations_per_day {
        parts.push(format!("{n} iterations per day"));
    }
    if let Some(time) = &limits.iteration_timeout {
        parts.push(format!("{time} per iteration"));
    }
    if let Some(time) = &limits.stall_timeout {
        parts.push(format!("{time} without activity"));
    }
    if let Some(time) = &limits.tool_timeout {
        parts.push(format!("{time} per tool"));
    }
    if let Some(n) = limits.max_concurrent_map_items {
        parts.push(format!("{n} map items at once"));
    }
    if parts.is_empty() { "none".into() } else { parts.join(", ") }
}

/// How many iterations ended, and how.
pub fn iterations(status: &AgentStatus) -> String {
    let Some(counts) = &status.iterations else { return "0".into() };
    let mut text = format!("{} ({} succeeded, {} failed", counts.total, counts.succeeded, counts.failed);
    if counts.interrupted > 0 {
        text += &format!(", {} interrupted", counts.interrupted);
    }
    text + ")"
}

/// Tokens of all four kinds.
pub fn tokens(status: &AgentStatus) -> String {
    let Some(tokens) = &status.tokens else { return "0".into() };
    let [total, input, output, read, written] =
        [tokens.total, tokens.input, tokens.output, tokens.cache_read, tokens.cache_creation].map(age::count);
    format!("{total} (input {input}, output {output}, cache read {read}, cache written {written})")
}

/// Steps in the order of the definition with what was measured, then measured ones that it no longer has.
pub fn steps(agent: &Agent, status: &AgentStatus) -> String {
    let mut rows = Vec::new();
    let mut known = Vec::new();
    for (label, does) in outline(agent) {
        let stats = status.stats.iter().find(|stats| stats.step == label);
        rows.push(step_row(&label, &does, stats));
        known.push(label);
    }
    for stats in status.stats.iter().filter(|stats| !known.contains(&stats.step)) {
        rows.push(step_row(&stats.step, "-", Some(stats)));
    }
    table(&["STEP", "DOES", "RUNS", "FAILED", "DURATION", "TOKENS", "COST"], rows, 2)
}

fn step_row(label: &str, does: &str, stats: Option<&StepStats>) -> Vec<String> {
    let spread =
        |mean: String, deviation: String, n: i64| if n > 1 { format!("{mean} ± {deviation}") } else { mean };
    let mut row = vec![label.to_owned(), does.to_owned()];
    match stats {
        Some(s) => row.extend([
            s.iterations.to_string(),
            s.failed.to_string(),
            spread(
                age::seconds(s.mean_duration_seconds),
                age::seconds(s.stddev_duration_seconds),
                s.iterations,
            ),
            spread(age::count(s.mean_tokens as i64), age::count(s.stddev_tokens as i64), s.iterations),
            age::price(Some(s.cost_usd), s.unpriced_tokens.unwrap_or(0)).unwrap_or_default(),
        ]),
        None => row.extend(["0", "0", "-", "-", "-"].map(str::to_owned)),
    }
    row
}

/// Each step's label as the executor writes it, and what the step does. Nested pipelines are opened.
pub fn outline(agent: &Agent) -> Vec<(String, String)> {
    let mut steps = Vec::new();
    match program::parse_definition(&agent.spec.definition).map(|definition| definition.body) {
        Ok(Body::Pipeline(pipeline)) => open(agent, &pipeline, "", &mut Vec::new(), &mut steps),
        Ok(Body::Prompt(_)) => steps.push(("prompt".to_owned(), "once".to_owned())),
        Err(_) => {}
    }
    steps
}

fn open(
    agent: &Agent,
    pipeline: &Pipeline,
    prefix: &str,
    path: &mut Vec<String>,
    steps: &mut Vec<(String, String)>,
) {
    for step in &pipeline.steps {
        let own = object_name(&step.label).unwrap_or_else(|_| step.label.clone());
        let label = if prefix.is_empty() { own } else { format!("{prefix}-{own}") };
        let (method, does) = match &step.kind {
            StepCall::Call { method } => (method, format!("call {method}")),
            StepCall::Map { reference, method } => (method, format!("map {reference} {method}")),
            StepCall::Loop { method } => (method, format!("loop {method}")),
        };
        let nested = agent.spec.methods.get(method).and_then(|text| program::parse_definition(text).ok());
        match nested.map(|definition| definition.body) {
            Some(Body::Pipeline(inner)) if !path.contains(method) => {
                path.push(method.clone());
                open(agent, &inner, &label, path, steps);
                path.pop();
            }
            _ => steps.push((label, does)),
        }
    }
}

fn active(iterations: &[Iteration], now: Timestamp) -> String {
    let rows = iterations
        .iter()
        .map(|iteration| {
            let status = iteration.status.clone().unwrap_or_default();
            let kind = match iteration.spec.kind {
                StepKind::Call => "call",
                StepKind::Map => "map",
                StepKind::Loop => "loop",
            };
            vec![
                iteration.metadata.name.clone().unwrap_or_default(),
                kind.to_owned(),
                status.started_at.map_or_else(|| "-".into(), |at| age::since(at.0, now)),
                status.tool_uses.to_string(),
                status.tokens.map_or_else(|| "0".into(), |tokens| age::count(tokens.total)),
            ]
        })
        .collect();
    table(&["ITERATION", "KIND", "SINCE", "TOOLS", "TOKENS"], rows, 2)
}

fn revisions(status: &AgentStatus, now: Timestamp) -> String {
    let rows = status
        .revisions
        .iter()
        .map(|revision| {
            let current = if Some(revision.revision) == status.current_revision { " (current)" } else { "" };
            vec![
                format!("{}{current}", revision.revision),
                revision.name.clone(),
                revision.stable_id.chars().take(8).collect(),
                revision.created_at.as_ref().map_or_else(|| "-".into(), |at| age::since(at.0, now)),
            ]
        })
        .collect();
    table(&["REVISION", "NAME", "ID", "AGE"], rows, 2)
}

/// Conditions as a table.
pub fn conditions_table(conditions: &[Condition], now: Timestamp) -> String {
    let rows = conditions
        .iter()
        .map(|condition| {
            vec![
                condition.type_.clone(),
                condition.status.clone(),
                age::since(condition.last_transition_time.0, now),
                condition.reason.clone(),
                condition.message.clone(),
            ]
        })
        .collect();
    table(&["TYPE", "STATUS", "SINCE", "REASON", "MESSAGE"], rows, 2)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn agent(value: Value) -> Agent {
        serde_json::from_value(value).unwrap()
    }

    fn now() -> Timestamp {
        "2026-01-02T04:00:00Z".parse().unwrap()
    }

    #[test]
    fn an_agent_at_work_is_described_with_everything_measured() {
        let hash = "0123456789abcdef".repeat(4);
        let agent = agent(json!({
            "apiVersion": "gcluster.dev/v1alpha1", "kind": "Agent",
            "metadata": {"name": "big-one", "namespace": "default", "creationTimestamp": "2026-01-02T03:00:00Z",
                "annotations": {"gcluster.dev/source": "/project/team.p"}},
            "spec": {
                "agentName": "Big_One", "workingDirectory": "/project", "backend": {"name": "claude", "model": "opus"},
                "limits": {"maxIterations": 10, "maxBudgetUSD": 5.0, "iterationTimeout": "45m"},
                "definition": "(defagent \"Big_One\"\n  (pipeline\n    (step \"plan\" (call plan))\n    (step \"each\" (loop each))))",
                "methods": {"plan": "(defmethod plan ()\n  \"Plan.\")", "each":
                    "(defpipeline each ()\n  (pipeline\n    (step \"items\" (map items fix))))"},
            },
            "status": {
                "runState": "running", "currentRevision": 2, "backend": "claude", "cost": "$1.20",
                "lastIterationTime": "2026-01-02T03:59:30.000000Z",
                "iterations": {"total": 7, "succeeded": 5, "failed": 2},
                "tokens": {"input": 1000, "output": 234, "cacheRead": 50000, "cacheCreation": 0, "total": 51234},
                "revisions": [
                    {"revision": 1, "name": "big-one-aaaa", "stableID": hash, "digest": hash, "createdAt": null},
                    {"revision": 2, "name": "big-one-bbbb", "stableID": hash, "digest": hash,
                        "createdAt": "2026-01-02T03:30:00.000000Z"}],
                "stats": [
                    {"step": "plan", "nextNumber": 1, "iterations": 1, "meanDurationSeconds": 12.5, "meanTokens": 900.0, "costUSD": 0.2},
                    {"step": "gone", "nextNumber": 6, "iterations": 6, "failed": 2, "meanDurationSeconds": 61.0,
                        "stddevDurationSeconds": 4.25, "meanTokens": 8400.0, "stddevTokens": 120.0, "costUSD": 1.0}],
                "conditions": [
                    {"type": "Ready", "status": "True", "reason": "RevisionRecorded", "message": "revision 2",
                        "lastTransitionTime": "2026-01-02T03:00:00Z"},
                    {"type": "BackingOff", "status": "True", "reason": "BackendFailed",
                        "message": "the next iteration begins in 30s", "lastTransitionTime": "2026-01-02T03:59:40Z"}],
            },
        }));
        let iteration: Iteration = serde_json::from_value(json!({
            "apiVersion": "gcluster.dev/v1alpha1", "kind": "Iteration",
            "metadata": {"name": "big-one.each-items.0.1"},
            "spec": {"agent": "big-one", "revision": "big-one-bbbb", "step": "each-items", "kind": "Map", "number": 0, "item": 1},
            "status": {"phase": "Running", "startedAt": "2026-01-02T03:59:00.000000Z", "toolUses": 3},
        }))
        .unwrap();
        let events =
            [json!({"type": "Warning", "reason": "BackendFailed", "message": "exit status 1", "count": 2,
            "lastTimestamp": "2026-01-02T03:59:40Z", "source": {"component": "executor"}})];
        let text = describe(&agent, Around { active: &[iteration], events: &events, now: now() });
        crate::testing::snapshot("describe-agent", &text);
    }

    #[test]
    fn an_agent_that_nobody_has_looked_at_yet_is_pending() {
        let agent = agent(json!({"apiVersion": "gcluster.dev/v1alpha1", "kind": "Agent",
            "metadata": {"name": "a", "namespace": "default"}, "spec": {"definition": "(defagent \"a\"\n  \"Work.\")"}}));
        let text = describe(&agent, Around { active: &[], events: &[], now: now() });
        crate::testing::snapshot("describe-agent-new", &text);
    }

    #[test]
    fn a_pipeline_that_names_itself_is_opened_once() {
        let looping = "(defpipeline again ()\n  (pipeline\n    (step \"x\" (call again))))";
        let agent = agent(
            json!({"apiVersion": "gcluster.dev/v1alpha1", "kind": "Agent", "metadata": {"name": "a"},
            "spec": {"definition": "(defagent \"a\"\n  (pipeline\n    (step \"s\" (call again))))", "methods": {"again": looping}}}),
        );
        assert_eq!(outline(&agent), [("s-x".to_owned(), "call again".to_owned())]);
    }
}
