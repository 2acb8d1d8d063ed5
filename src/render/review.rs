//! Reviews in words: what was read, what came out, every finding.

use gcluster_types::Review;
use gcluster_types::kinds::review::Finding;
use k8s_openapi::jiff::Timestamp;
use serde_json::Value;

use super::fields::{Fields, table};
use super::{age, event, visible};

/// The text of `describe review`.
pub fn describe(review: &Review, events: &[Value], now: Timestamp) -> String {
    let (spec, status) = (&review.spec, review.status.clone().unwrap_or_default());
    let moment = |at: Timestamp| format!("{} ago ({})", age::since(at, now), at.strftime("%H:%M:%S UTC"));
    let mut fields = Fields::new();
    fields.add("Name", review.metadata.name.as_deref().unwrap_or_default());
    fields.add("Namespace", review.metadata.namespace.as_deref().unwrap_or_default());
    fields.add("Ticket", spec.ticket.as_str()).add("Round", spec.round.to_string());
    fields.add("Floor", spec.floor.word());
    for change in &spec.changes {
        let commit = |id: &str| id.chars().take(12).collect::<String>();
        let range = format!("{}: {}...{}", change.repository, commit(&change.base), commit(&change.commit));
        fields.add("Change", range);
    }
    let verdict = status.verdict.map(|verdict| format!(": {verdict:?}")).unwrap_or_default();
    fields.add("Phase", format!("{:?}{verdict}", status.phase));
    fields.maybe("Reason", status.reason.clone()).maybe("Why", status.message.clone());
    fields.maybe("Reviewer", status.agent.clone()).add("Asked", format!("{} times", status.attempts));
    fields.maybe("Began", status.started_at.map(|at| moment(at.0)));
    fields.maybe("Ended", status.finished_at.map(|at| moment(at.0)));
    let mut text = fields.render(0);
    text.push_str(&findings("Findings", &status.findings));
    text.push_str(&findings("Told before", &spec.earlier));
    text + &event::section(events, now, 12)
}

/// A section with findings, the worst first. Empty when there are none.
pub fn findings(title: &str, findings: &[Finding]) -> String {
    if findings.is_empty() {
        return String::new();
    }
    let mut sorted: Vec<&Finding> = findings.iter().collect();
    sorted.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
    let rows = sorted.into_iter().map(|finding| {
        let repository = finding.repository.iter().map(|name| format!("{name}/")).collect::<String>();
        let line = finding.line.map(|line| format!(":{line}")).unwrap_or_default();
        let text = finding.text.split_whitespace().collect::<Vec<_>>().join(" ");
        vec![
            finding.severity.word().to_owned(),
            visible(&format!("{repository}{}{line}", finding.file)).into_owned(),
            visible(&text).into_owned(),
        ]
    });
    format!("\n{title}\n{}", table(&["SEVERITY", "WHERE", "WHAT"], rows.collect(), 2))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_review_is_told_with_its_findings_the_worst_first() {
        let finding = |severity: &str, line: Option<i64>, text: &str| json!({"file": "a.rs", "line": line, "severity": severity, "text": text});
        let review: Review = serde_json::from_value(json!({
            "apiVersion": "gcluster.dev/v1alpha1", "kind": "Review", "metadata": {"name": "t-1-review-1", "namespace": "default"},
            "spec": {
                "ticket": "t-1", "round": 1, "workspace": "t-1",
                "changes": [{"repository": "app", "base": "0123456789abcdef", "commit": "fedcba9876543210"}],
            },
            "status": {
                "phase": "Done", "verdict": "ChangesRequested", "message": "2 findings go back to the worker", "attempts": 1,
                "findings": [finding("low", None, "name it\nbetter"), finding("critical", Some(7), "loses \u{1b}[31mdata")],
            },
        }))
        .unwrap();
        let told = describe(&review, &[], Timestamp::UNIX_EPOCH);
        for part in ["Done: ChangesRequested", "app: 0123456789ab...fedcba987654", "a.rs:7", "name it better"]
        {
            assert!(told.contains(part), "{part} is not in\n{told}");
        }
        assert!(!told.contains('\u{1b}'), "{told}");
        assert!(told.find("critical") < told.find("name it better"), "{told}");
    }
}
