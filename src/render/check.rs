//! Checks in words.

use gcluster_types::Check;
use gcluster_types::kinds::check::CheckPhase;
use k8s_openapi::jiff::Timestamp;
use serde_json::Value;

use super::fields::Fields;
use super::{age, event};

/// The text of `describe check`.
pub fn describe(check: &Check, events: &[Value], now: Timestamp) -> String {
    let (spec, status) = (&check.spec, check.status.clone().unwrap_or_default());
    let mut fields = Fields::new();
    fields.add("Name", check.metadata.name.as_deref().unwrap_or_default());
    fields.add("Namespace", check.metadata.namespace.as_deref().unwrap_or_default());
    fields.add("Repository", spec.repository.as_str()).add("Commit", spec.commit.as_str());
    fields.maybe("Ref", Some(spec.reference.as_str()).filter(|text| !text.is_empty()));
    fields.add("Kind", if spec.quick { "quick" } else { "full" });
    fields.maybe("Asked by", Some(spec.requested_by.as_str()).filter(|text| !text.is_empty()));
    let moment =
        |at: Timestamp| format!("{} ago ({})", age::since(at, now), at.strftime("%Y-%m-%d %H:%M:%S UTC"));
    fields.maybe("Created", check.metadata.creation_timestamp.as_ref().map(|at| moment(at.0)));
    fields.add("Phase", format!("{:?}", status.phase)).maybe("Reason", status.reason);
    fields.maybe("Why", status.message);
    fields.maybe("Started", status.started_at.as_ref().map(|at| moment(at.0)));
    fields.maybe("Finished", status.finished_at.as_ref().map(|at| moment(at.0)));
    if let (Some(from), Some(to)) = (&status.started_at, &status.finished_at) {
        fields.add("Took", age::since(from.0, to.0));
    }
    fields.maybe("Exit code", status.exit_code.map(|code| code.to_string()));
    let again = (status.starts > 1).then(|| format!("{} (a killed master begins it again)", status.starts));
    fields.maybe("Starts", again);
    fields.maybe("Log", status.log);
    let output = status.output.trim_end();
    if !output.is_empty() {
        fields.add("Output", output);
    } else if matches!(status.phase, CheckPhase::Running) {
        fields.add(
            "Output",
            format!(
                "`gcluster logs -f check/{}` shows it",
                check.metadata.name.as_deref().unwrap_or_default()
            ),
        );
    }
    fields.render(0) + &event::section(events, now, 12)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_red_check_tells_all_that_a_person_asks() {
        let check: Check = serde_json::from_value(json!({
            "metadata": {"name": "app-0123456789ab", "namespace": "default", "creationTimestamp": "2026-01-02T03:04:05Z"},
            "spec": {"repository": "app", "commit": "0123456789abcdef0123456789abcdef01234567",
                "ref": "refs/heads/agent-1/feat-7", "requestedBy": "ticket/t-7"},
            "status": {"phase": "Failed", "reason": "ExitCode", "exitCode": 1, "starts": 2,
                "message": "./ci.sh ended with exit code 1 after 2.5 s: test parse ... FAILED",
                "startedAt": "2026-01-02T03:04:06.000000Z", "finishedAt": "2026-01-02T03:04:08.500000Z",
                "log": "/data/log", "output": "running\ntest parse ... FAILED\n"},
        }))
        .unwrap();
        let now: Timestamp = "2026-01-02T03:05:05Z".parse().unwrap();
        let text = describe(&check, &[], now);
        for part in [
            "Repository:  app",
            "Kind:        full",
            "Asked by:    ticket/t-7",
            "Reason:      ExitCode",
            "Why:         ./ci.sh ended with exit code 1 after 2.5 s: test parse ... FAILED",
            "Exit code:   1",
            "Starts:      2 (a killed master begins it again)",
            "Log:         /data/log",
            "Output:      running\n             test parse ... FAILED\n",
        ] {
            assert!(text.contains(part), "{part}\n{text}");
        }
    }
}
