//! An iteration in words.

use gcluster_types::kinds::iteration::{Iteration, LiveProcess, LiveProcesses, Phase, StepKind};
use k8s_openapi::jiff::Timestamp;
use serde_json::Value;

use super::fields::{Fields, table};
use super::{age, event};

/// The text of `describe iteration`.
pub fn describe(iteration: &Iteration, events: &[Value], now: Timestamp) -> String {
    let spec = &iteration.spec;
    let status = iteration.status.clone().unwrap_or_default();
    let name = iteration.metadata.name.as_deref().unwrap_or_default();
    let mut fields = Fields::new();
    fields.add("Name", name).add("Namespace", iteration.metadata.namespace.as_deref().unwrap_or_default());
    fields.add("Agent", spec.agent.as_str()).add("Revision", spec.revision.as_str());
    let kind = match spec.kind {
        StepKind::Call => "call",
        StepKind::Map => "map",
        StepKind::Loop => "loop",
    };
    let item = spec.item.map(|item| format!(", item {item}")).unwrap_or_default();
    fields.add("Step", format!("{} ({kind}), number {}{item}", spec.step, spec.number));
    fields.add("Phase", phase(status.phase, status.reason.as_deref()));
    fields.maybe("Error", status.error.clone());
    fields.maybe("Started", status.started_at.as_ref().map(|at| format!("{} ago", age::since(at.0, now))));
    fields.maybe("Duration", duration(&iteration.status.clone().unwrap_or_default(), now));
    fields.maybe("Backend", status.backend.clone()).maybe("Model", status.model.clone());
    fields.maybe("Session", status.session_id.clone());
    fields.maybe("Process", status.process.as_ref().map(|process| process.pid.to_string()));
    fields.add("Turns", status.turns.to_string()).add("Tool uses", status.tool_uses.to_string());
    fields
        .add("Tokens", status.tokens.as_ref().map_or_else(|| "0".into(), |tokens| age::count(tokens.total)));
    fields.maybe("Cost", age::price(status.cost_usd, status.unpriced_tokens));
    fields.maybe("Prompt", status.prompt_excerpt.clone()).maybe("Output", status.output_excerpt.clone());
    let size = status.transcript.unwrap_or_default();
    fields.add("Transcript", format!("{} records (`gcluster logs {name}`)", size.records));
    let processes = iteration.status.as_ref().and_then(|status| status.processes.as_ref());
    fields.render(0)
        + &processes.map(|processes| section(processes, now)).unwrap_or_default()
        + &event::section(events, now, 12)
}

/// What lives of its program at the moment.
fn section(processes: &LiveProcesses, now: Timestamp) -> String {
    let row = |process: &LiveProcess| {
        let age = process.started_at.as_ref().map_or_else(String::new, |at| age::since(at.0, now));
        vec![process.pid.to_string(), age, process.command.clone()]
    };
    let more = processes.count - i64::try_from(processes.items.len()).unwrap_or(i64::MAX);
    let more = if more > 0 { format!("  and {more} more\n") } else { String::new() };
    let rows: Vec<_> = processes.items.iter().map(row).collect();
    if rows.is_empty() {
        return String::new();
    }
    format!("Processes:\n{}{more}", table(&["PID", "Age", "Command"], rows, 2))
}

fn phase(phase: Phase, reason: Option<&str>) -> String {
    match reason {
        Some(reason) => format!("{phase:?} ({reason})"),
        None => format!("{phase:?}"),
    }
}

fn duration(status: &gcluster_types::IterationStatus, now: Timestamp) -> Option<String> {
    let started = status.started_at.as_ref()?.0;
    let end = status.finished_at.as_ref().map_or(now, |at| at.0);
    Some(age::seconds(end.duration_since(started).as_secs_f64()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_failed_iteration_says_why() {
        let iteration: Iteration = serde_json::from_value(json!({
            "apiVersion": "gcluster.dev/v1alpha1", "kind": "Iteration",
            "metadata": {"name": "builder.build.3", "namespace": "default"},
            "spec": {"agent": "builder", "revision": "builder-aaaa", "step": "build", "kind": "Loop", "number": 3},
            "status": {"phase": "Failed", "reason": "BackendExited", "error": "exit status 1", "backend": "claude",
                "startedAt": "2026-01-02T03:59:00.000000Z", "finishedAt": "2026-01-02T03:59:12.500000Z", "toolUses": 2,
                "turns": 4, "tokens": {"total": 51234}, "costUSD": 0.051, "promptExcerpt": "Build.",
                "sessionID": "5f0c", "transcript": {"records": 9, "bytes": 1234}},
        }))
        .unwrap();
        let text = describe(&iteration, &[], "2026-01-02T04:00:00Z".parse().unwrap());
        crate::testing::snapshot("describe-iteration", &text);
    }

    #[test]
    fn a_running_iteration_shows_what_lives_of_it() {
        let iteration: Iteration = serde_json::from_value(json!({
            "apiVersion": "gcluster.dev/v1alpha1", "kind": "Iteration",
            "metadata": {"name": "builder.build.3", "namespace": "default"},
            "spec": {"agent": "builder", "revision": "builder-aaaa", "step": "build", "kind": "Loop", "number": 3},
            "status": {"phase": "Running", "reason": "Started", "backend": "claude",
                "startedAt": "2026-01-02T03:59:00.000000Z", "process": {"pid": 4710},
                "processes": {"count": 23, "items": [
                    {"pid": 4711, "command": "claude -p --model opus", "startedAt": "2026-01-02T03:59:00.000000Z"},
                    {"pid": 4733, "command": "make -j2 test", "startedAt": "2026-01-02T03:59:48.000000Z"}]}},
        }))
        .unwrap();
        let text = describe(&iteration, &[], "2026-01-02T04:00:00Z".parse().unwrap());
        crate::testing::snapshot("describe-iteration-running", &text);
    }
}
