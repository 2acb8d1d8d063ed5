//! Revisions of an agent in words: their history, and how far the newest one is.

use gcluster_types::conditions::READY;
use gcluster_types::kinds::agent::{RunPolicy, RunState};
use gcluster_types::{Agent, AgentRevision, Iteration, labels};
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt as _;

use super::definition::Parts;
use super::{age, fields::table, manager};

/// Lines of a difference in a description.
const LINES: usize = 60;

/// How far the newest revision is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Not there yet, and what is waited for.
    Under(String),
    /// New iterations use it and none of an older one runs.
    Done(String),
    /// It will never be there: the definition is refused.
    Failed(String),
}

/// How far the newest revision of an agent is, from its iterations.
pub fn progress(agent: &Agent, iterations: &[Iteration]) -> Progress {
    let status = agent.status.clone().unwrap_or_default();
    let seen = status.observed_generation.unwrap_or(-1);
    if seen < agent.metadata.generation.unwrap_or(0) {
        return Progress::Under("the newest definition is not recorded yet".into());
    }
    let ready = status.conditions.iter().find(|condition| condition.type_ == READY);
    if let Some(refused) = ready.filter(|condition| condition.status == "False") {
        return Progress::Failed(format!("{}: {}", refused.reason, refused.message));
    }
    let Some(number) = status.current_revision else {
        return Progress::Under("no revision is recorded yet".into());
    };
    let running: Vec<_> = iterations.iter().filter_map(running).collect();
    if let Some(next) = upcoming(agent, &running) {
        return Progress::Under(next);
    }
    let current = status.revisions.iter().find(|revision| revision.revision == number);
    let uses =
        |iteration: &&Iteration| current.is_some_and(|current| current.name == iteration.spec.revision);
    match (agent.spec.run, status.run_state) {
        (RunPolicy::Paused, _) => Progress::Done(format!(
            "revision {number} is recorded; the agent is paused, its next iteration uses it"
        )),
        (RunPolicy::Stopped, _) => Progress::Done(format!(
            "revision {number} is recorded; the agent is stopped, its next iteration uses it"
        )),
        (RunPolicy::Running, Some(RunState::Stopped)) => {
            Progress::Done(format!("revision {number} is recorded; the definition has come to its end"))
        }
        _ if iterations.iter().any(|iteration| uses(&iteration) && begun(iteration)) => {
            Progress::Done(format!("revision {number} is in use"))
        }
        _ => {
            let why = super::agent::why(agent, &status).unwrap_or_default();
            Progress::Under(format!(
                "revision {number} is recorded and waits for its first iteration ({why})"
            ))
        }
    }
}

fn begun(iteration: &Iteration) -> bool {
    iteration.status.as_ref().is_some_and(|status| status.started_at.is_some())
}

/// An iteration as name and revision, while it is under way.
pub fn running(iteration: &Iteration) -> Option<(&str, &str)> {
    let over = iteration.status.as_ref().is_some_and(|status| status.phase.is_terminal());
    let name = iteration.metadata.name.as_deref().filter(|_| !over && begun(iteration))?;
    Some((name, &iteration.spec.revision))
}

/// `revision 7 → 8 at the next iteration: …`, while iterations of an older revision run. `running` are names and
/// revisions of those that are under way.
pub fn upcoming(agent: &Agent, running: &[(&str, &str)]) -> Option<String> {
    let status = agent.status.as_ref()?;
    let number = status.current_revision?;
    let current = status.revisions.iter().find(|revision| revision.revision == number)?;
    let older =
        |name: &str| status.revisions.iter().find(|revision| revision.name == name && name != current.name);
    let old: Vec<_> =
        running.iter().filter_map(|(name, revision)| Some((name, older(revision)?.revision))).collect();
    let (first, before) = old.first()?;
    let who = match old.len() {
        1 => format!("{first} still runs {before}"),
        n => format!("{n} iterations still run the older one"),
    };
    let when = match agent.spec.replaced_at == status.observed_replacement {
        true => "at the next iteration",
        false => "now",
    };
    Some(format!("revision {before} → {number} {when}: {who}"))
}

/// The table of `rollout history`: number, when and by whom, and what changed since the one before.
pub fn history(revisions: &[AgentRevision], current: Option<i64>, now: Timestamp) -> String {
    let caused = revisions.iter().any(|revision| annotation(revision, labels::CHANGE_CAUSE).is_some());
    let mut heads = vec!["REVISION", "CHANGED", "HOW", "CHANGES"];
    if caused {
        heads.push("CHANGE-CAUSE");
    }
    let rows = revisions.iter().enumerate().map(|(place, revision)| {
        let mark = if Some(revision.spec.revision) == current { " (current)" } else { "" };
        let before = place.checked_sub(1).and_then(|before| revisions.get(before));
        let changes = match before {
            None => "the oldest that is kept".to_owned(),
            Some(before) => summary(before, revision),
        };
        let mut row = vec![
            format!("{}{mark}", revision.spec.revision),
            changed_at(revision).map_or_else(|| "-".into(), |at| format!("{} ago", age::since(at, now))),
            how(revision),
            changes,
        ];
        if caused {
            row.push(annotation(revision, labels::CHANGE_CAUSE).unwrap_or("-").to_owned());
        }
        row
    });
    table(&heads, rows.collect(), 0)
}

/// One revision: when and how it came, what changed, and its source.
pub fn one(revision: &AgentRevision, before: Option<&AgentRevision>, now: Timestamp) -> String {
    let mut out = String::new();
    if let Some(at) = changed_at(revision) {
        out += &format!("  Changed:  {} ago {}\n", age::since(at, now), how(revision));
    }
    if let Some(cause) = annotation(revision, labels::CHANGE_CAUSE) {
        out += &format!("  Cause:    {cause}\n");
    }
    out += &format!("  Name:     {}\n  Digest:   {}\n", revision.name_any(), revision.spec.digest);
    if let Some(before) = before {
        out += &format!("  Changes since revision {}:\n", before.spec.revision);
        for change in parts(before).changes(&parts(revision)) {
            out += &format!("    {}\n", change.summary());
            for line in change.short(2, LINES) {
                out += &format!("      {line}\n");
            }
        }
    }
    let spec = &revision.spec;
    let printed = gcluster_lang::unparse(&[gcluster_lang::Parts {
        definition: &spec.definition,
        methods: &spec.methods,
        arguments: &spec.arguments,
    }]);
    out += "  Source:\n";
    for line in printed.text.lines() {
        out += format!("    {line}").trim_end();
        out.push('\n');
    }
    super::visible(&out).into_owned()
}

/// `method "build": +1 -1, argument "k" is new`.
pub fn summary(before: &AgentRevision, after: &AgentRevision) -> String {
    let changes = parts(before).changes(&parts(after));
    let mut told: Vec<String> = changes.iter().take(3).map(super::definition::Change::summary).collect();
    if changes.len() > 3 {
        told.push(format!("{} more", changes.len() - 3));
    }
    if told.is_empty() { "nothing that is executed".into() } else { told.join(", ") }
}

fn parts(revision: &AgentRevision) -> Parts {
    let spec = &revision.spec;
    Parts::of(&spec.definition, &spec.methods, &spec.arguments)
}

fn annotation<'a>(revision: &'a AgentRevision, key: &str) -> Option<&'a str> {
    revision.annotations().get(key).map(String::as_str)
}

fn how(revision: &AgentRevision) -> String {
    annotation(revision, labels::CHANGED_BY).map_or_else(|| "-".into(), manager::changed)
}

/// When the text became the desired one; of older revisions, when it was recorded.
fn changed_at(revision: &AgentRevision) -> Option<Timestamp> {
    let told = annotation(revision, labels::CHANGED_AT).and_then(|text| text.parse().ok());
    told.or(revision.metadata.creation_timestamp.as_ref().map(|time| time.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn revision(number: i64, by: &str, prompt: &str) -> AgentRevision {
        serde_json::from_value(json!({"metadata": {"name": format!("a-{number}"), "annotations": {
                labels::CHANGED_BY: by, labels::CHANGED_AT: format!("2026-01-02T0{number}:00:00Z")}},
            "spec": {"agent": "a", "revision": number, "stableID": "", "digest": format!("d{number}"),
                "definition": "(defagent \"a\"\n  (pipeline\n    (step \"build\" (loop build))))",
                "methods": {"build": format!("(defmethod build ()\n  \"{prompt}\")")}}}))
        .unwrap()
    }

    #[test]
    fn the_history_says_when_how_and_what() {
        let all = [
            revision(1, "gcluster", "Build one thing.\\nCommit."),
            revision(2, "gcluster-steer:ada", "Build two things.\\nCommit."),
            revision(3, "kubectl-edit", "Build two things.\\nTest.\\nCommit."),
        ];
        let now = "2026-01-02T04:00:00Z".parse().unwrap();
        let text = format!("{}\n{}", history(&all, Some(3), now), one(&all[1], Some(&all[0]), now));
        crate::testing::snapshot("rollout-history", &text);
    }

    fn agent(spec: Value, status: Value) -> Agent {
        let mut spec = spec;
        spec["definition"] = json!("d");
        serde_json::from_value(
            json!({"metadata": {"name": "a", "generation": 4}, "spec": spec, "status": status}),
        )
        .unwrap()
    }

    fn iteration(number: i64, revision: &str, phase: &str) -> Iteration {
        serde_json::from_value(json!({"metadata": {"name": format!("a.build.{number}")},
            "spec": {"agent": "a", "revision": revision, "step": "build", "kind": "Loop", "number": number, "execution": 1},
            "status": {"phase": phase, "startedAt": "2026-01-02T03:00:00.000000Z"}}))
        .unwrap()
    }

    #[test]
    fn progress_goes_from_recording_to_use() {
        let revisions = json!([{"revision": 7, "name": "a-7", "stableID": "", "digest": "", "createdAt": null},
            {"revision": 8, "name": "a-8", "stableID": "", "digest": "", "createdAt": null}]);
        let status = json!({"observedGeneration": 4, "currentRevision": 8, "revisions": revisions, "runState": "running"});
        let now = agent(json!({}), status.clone());
        let behind = agent(json!({}), json!({"observedGeneration": 3}));
        assert!(matches!(progress(&behind, &[]), Progress::Under(_)));
        let old = iteration(3, "a-7", "Running");
        assert_eq!(
            progress(&now, std::slice::from_ref(&old)),
            Progress::Under("revision 7 → 8 at the next iteration: a.build.3 still runs 7".into())
        );
        let asked = agent(json!({"replacedAt": "t"}), status.clone());
        assert_eq!(
            upcoming(&asked, &[("a.build.3", "a-7")]).unwrap(),
            "revision 7 → 8 now: a.build.3 still runs 7"
        );
        assert!(matches!(progress(&now, &[iteration(3, "a-7", "Succeeded")]), Progress::Under(_)));
        let used = [iteration(3, "a-7", "Succeeded"), iteration(4, "a-8", "Running")];
        assert_eq!(progress(&now, &used), Progress::Done("revision 8 is in use".into()));
        let paused = agent(json!({"run": "Paused"}), status);
        assert!(matches!(progress(&paused, &[]), Progress::Done(text) if text.contains("paused")));
        let refused = json!({"observedGeneration": 4, "conditions": [{"type": "Ready", "status": "False",
            "reason": "InvalidDefinition", "message": "m", "lastTransitionTime": "2026-01-02T03:00:00Z"}]});
        assert!(matches!(progress(&agent(json!({}), refused), &[]), Progress::Failed(_)));
    }
}
