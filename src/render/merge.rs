//! Merges in words.

use gcluster_types::Merge;
use gcluster_types::kinds::merge::{MergePhase, MergeStep, MergedRepository};
use k8s_openapi::jiff::Timestamp;
use serde_json::Value;

use super::fields::{Fields, table};
use super::{age, event, visible};

/// The text of `describe merge`.
pub fn describe(merge: &Merge, events: &[Value], now: Timestamp) -> String {
    let (spec, status) = (&merge.spec, merge.status.clone().unwrap_or_default());
    let mut fields = Fields::new();
    fields.add("Name", merge.metadata.name.as_deref().unwrap_or_default());
    fields.add("Namespace", merge.metadata.namespace.as_deref().unwrap_or_default());
    fields.add("Ticket", spec.ticket.as_str()).add("Priority", spec.priority.to_string());
    let moment =
        |at: Timestamp| format!("{} ago ({})", age::since(at, now), at.strftime("%Y-%m-%d %H:%M:%S UTC"));
    fields.maybe("Created", merge.metadata.creation_timestamp.as_ref().map(|at| moment(at.0)));
    fields.add("Phase", format!("{:?}", status.phase)).maybe("Reason", status.reason.clone());
    fields.maybe("Why", status.message.clone());
    fields.maybe("Started", status.started_at.as_ref().map(|at| moment(at.0)));
    fields.maybe("Finished", status.finished_at.as_ref().map(|at| moment(at.0)));
    let again = match status.retries {
        0 => None,
        1 => Some("once: the base moved meanwhile".to_owned()),
        times => Some(format!("{times} times: the base moved meanwhile")),
    };
    fields.maybe("Rebased again", again);
    let mut out = fields.render(0);
    let rows = spec.repositories.iter().map(|wanted| {
        let step =
            status.repositories.iter().find(|step| step.name == wanted.name).cloned().unwrap_or_default();
        row(wanted, &step, status.phase)
    });
    let heads = ["REPOSITORY", "BRANCH", "COMMIT", "BASE", "ONTO", "REBASED", "CHECK", "STATE"];
    out += &format!("Repositories:\n{}", table(&heads, rows.collect(), 2));
    if let Some(brief) = &status.brief {
        let lines: Vec<String> =
            visible(brief).lines().map(|line| format!("  {line}").trim_end().to_owned()).collect();
        out += &format!("Brief for the worker:\n{}\n", lines.join("\n"));
    }
    out + &event::section(events, now, 12)
}

fn row(wanted: &MergedRepository, step: &MergeStep, phase: MergePhase) -> Vec<String> {
    let short = |commit: &str| commit.get(..10).unwrap_or(commit).to_owned();
    let maybe = |commit: &Option<String>| commit.as_deref().map_or_else(|| "-".to_owned(), short);
    let state = match (step.landed, step.conflicts.len()) {
        (true, _) if step.onto == step.rebased => "nothing to add".to_owned(),
        (true, _) => "landed".to_owned(),
        (false, 1) => "1 file in conflict".to_owned(),
        (false, 2..) => format!("{} files in conflict", step.conflicts.len()),
        (false, 0) => match phase {
            MergePhase::Rejected => "not merged",
            MergePhase::Queued => "waits",
            MergePhase::Rebasing => "is rebased",
            MergePhase::Checking => "is tested",
            MergePhase::Landing | MergePhase::Merged => "lands",
        }
        .to_owned(),
    };
    let cells = [
        wanted.name.clone(),
        wanted.branch.clone(),
        short(&wanted.commit),
        wanted.base.clone(),
        maybe(&step.onto),
        maybe(&step.rebased),
        step.check.clone().unwrap_or_else(|| "-".to_owned()),
        state,
    ];
    cells.iter().map(|cell| visible(cell).replace('\n', " ")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn merge(status: Value) -> Merge {
        serde_json::from_value(json!({
            "metadata": {"name": "t-7-merge-1", "namespace": "default", "creationTimestamp": "2026-01-02T03:04:05Z"},
            "spec": {"ticket": "t-7", "priority": 2, "repositories": [
                {"name": "app", "branch": "agent-1/feat-7", "commit": "0123456789abcdef", "base": "main"},
                {"name": "lib", "branch": "agent-1/feat-7", "commit": "123456789abcdef0", "base": "main"}]},
            "status": status,
        }))
        .unwrap()
    }

    #[test]
    fn a_merge_tells_how_far_it_is_and_what_stands_in_its_way() {
        let now: Timestamp = "2026-01-02T03:05:05Z".parse().unwrap();
        let queued = merge(json!({"phase": "Queued", "reason": "Queued",
            "message": "one at a time: t-3-merge-1 of ticket t-3 before it, into main of repository app"}));
        let rejected = merge(json!({"phase": "Rejected", "reason": "Conflict", "retries": 1,
            "message": "agent-1/feat-7 does not go together with main of repository app in src/a.rs",
            "startedAt": "2026-01-02T03:04:06.000000Z", "finishedAt": "2026-01-02T03:04:08.500000Z",
            "repositories": [{"name": "app", "conflicts": ["src/a.rs"]},
                {"name": "lib", "onto": "aaaaaaaaaaaaaaaa", "rebased": "bbbbbbbbbbbbbbbb", "check": "lib-bbbbbbbbbbbb-quick"}],
            "brief": "## Merge conflict in repository `app`\n\n1. `git rebase main`\n"}));
        let text = describe(&queued, &[], now);
        assert!(text.contains("one at a time: t-3-merge-1 of ticket t-3 before it"), "{text}");
        assert_eq!(text.matches("waits").count(), 2, "{text}");
        let text = describe(&rejected, &[], now);
        for part in [
            "once: the base moved meanwhile",
            "1 file in conflict",
            "not merged",
            "bbbbbbbbbb   lib-bbbbbbbbbbbb-quick",
        ] {
            assert!(text.contains(part), "{part}\n{text}");
        }
        assert!(text.contains("Brief for the worker:\n  ## Merge conflict in repository `app`\n"), "{text}");
    }
}
