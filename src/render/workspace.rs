//! Workspaces in words: what is in one, why it is there, how to go there and how to get it back.

use gcluster_types::Workspace;
use gcluster_types::kinds::workspace::Checkout;
use k8s_openapi::jiff::Timestamp;
use serde_json::Value;

use super::fields::{Fields, table};
use super::{age, event, visible};

/// The text of `describe workspace`.
pub fn describe(workspace: &Workspace, events: &[Value], now: Timestamp) -> String {
    let (spec, status) = (&workspace.spec, workspace.status.clone().unwrap_or_default());
    let name = workspace.metadata.name.as_deref().unwrap_or_default();
    let moment =
        |at: Timestamp| format!("{} ago ({})", age::since(at, now), at.strftime("%Y-%m-%d %H:%M:%S UTC"));
    let mut fields = Fields::new();
    fields.add("Name", name);
    fields.add("Namespace", workspace.metadata.namespace.as_deref().unwrap_or_default());
    fields.maybe("Ticket", spec.ticket.clone());
    let worker = spec.pool.as_ref().map(|pool| match spec.worker {
        Some(worker) => format!("{worker} of {pool}"),
        None => format!("one of {pool}"),
    });
    fields.maybe("Worker", worker).add("Branch", spec.branch.as_str());
    fields.maybe("Made from", spec.restore_from.clone());
    fields.maybe("Created", workspace.metadata.creation_timestamp.as_ref().map(|at| moment(at.0)));
    fields.maybe("Ready", status.ready_at.as_ref().map(|at| moment(at.0)));
    fields.add("Phase", format!("{:?}", status.phase)).maybe("Reason", status.reason.clone());
    fields.maybe("Why", status.message.clone());
    fields.maybe("Kept", status.kept.clone());
    let until = status.kept_until.as_ref().map(|at| at.0);
    fields.maybe(
        "Until",
        until.map(|at| match at > now {
            true => format!("{} (in {})", at.strftime("%Y-%m-%d %H:%M:%S UTC"), age::since(now, at)),
            false => "now".to_owned(),
        }),
    );
    if !status.repositories.is_empty() {
        fields.add("Holds", holds(&status.repositories));
    }
    fields.maybe("Size", status.size.clone());
    fields.maybe("Folder", status.path.clone());
    fields.maybe("Go there", status.path.as_deref().map(|path| format!("cd {}", quoted(path))));
    fields.maybe("Looked at", status.observed_at.as_ref().map(|at| moment(at.0)));
    fields.maybe("Get it back", status.ready_at.as_ref().map(|_| get_it_back(name)));
    if !status.environment.is_empty() {
        fields.map("Environment", status.environment.iter());
    }
    let mut out = fields.render(0);
    if !status.repositories.is_empty() {
        let heads =
            ["REPOSITORY", "BASE", "COMMIT", "AHEAD", "BEHIND", "CHANGES", "DIRTY", "SAVED", "MERGED"];
        let rows = status.repositories.iter().map(|one| row(one, now));
        out += &format!("Repositories:\n{}", table(&heads, rows.collect(), 2));
    }
    if !status.conditions.is_empty() {
        out += &format!("Conditions:\n{}", super::agent::conditions_table(&status.conditions, now));
    }
    out + &event::section(events, now, 12)
}

/// What would be nowhere else without it.
fn holds(checkouts: &[Checkout]) -> String {
    let counted = |count: i64, noun: &str| match count {
        0 => None,
        1 => Some(format!("1 {noun}")),
        more => Some(format!("{more} {noun}s")),
    };
    let commits = checkouts.iter().filter(|one| !one.merged).map(|one| one.ahead).sum();
    let files = checkouts.iter().map(|one| one.dirty).sum();
    let commits = counted(commits, "commit").map(|commits| format!("{commits} that the base does not have"));
    let files = counted(files, "file").map(|files| format!("{files} not committed"));
    let words: Vec<String> = [commits, files].into_iter().flatten().collect();
    if words.is_empty() { "nothing that is not merged".to_owned() } else { words.join(", ") }
}

fn row(one: &Checkout, now: Timestamp) -> Vec<String> {
    let changes = match one.files {
        0 => "-".to_owned(),
        1 => format!("+{} -{} in 1 file", one.insertions, one.deletions),
        files => format!("+{} -{} in {files} files", one.insertions, one.deletions),
    };
    let saved = match &one.saved_at {
        Some(at) => format!("{} ago", age::since(at.0, now)),
        None => "-".to_owned(),
    };
    let cells = [
        one.name.clone(),
        one.base.clone(),
        one.commit.get(..10).unwrap_or(&one.commit).to_owned(),
        one.ahead.to_string(),
        one.behind.to_string(),
        changes,
        one.dirty.to_string(),
        saved,
        if one.merged { "yes" } else { "no" }.to_owned(),
    ];
    cells.iter().map(|cell| visible(cell).replace('\n', " ")).collect()
}

fn get_it_back(name: &str) -> String {
    format!(
        "gcluster undelete workspace {name}   # when it is gone\n\
         gcluster undelete workspace {name} --saves   # earlier states of its files"
    )
}

/// A path as a shell takes it.
fn quoted(path: &str) -> String {
    let is_plain = path.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/._-+@%:,".contains(&byte));
    if is_plain { path.to_owned() } else { format!("'{}'", path.replace('\'', r"'\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_workspace_tells_what_it_holds_why_it_is_there_and_how_to_get_it_back() {
        let workspace: Workspace = serde_json::from_value(json!({
            "metadata": {"name": "t-7", "namespace": "default", "creationTimestamp": "2026-01-02T03:04:05Z"},
            "spec": {"ticket": "t-7", "pool": "team", "worker": 2, "branch": "agent-2/feat-7",
                "repositories": [{"name": "app"}, {"name": "lib"}], "firstPort": 4000, "ports": 10},
            "status": {"phase": "Ready", "reason": "Ready", "message": "a worker may begin",
                "path": "/home/ann/.local/state/gcluster/workspaces/default/t-7", "size": "12 MiB", "bytes": 12582912,
                "kept": "ticket failed; removed after 24h", "keptUntil": "2026-01-03T03:04:05.000000Z",
                "readyAt": "2026-01-02T03:04:06.000000Z", "observedAt": "2026-01-02T04:04:00.000000Z",
                "environment": {"GCLUSTER_PORTS": "4000-4009", "GCLUSTER_WORKSPACE": "t-7", "PORT": "4000"},
                "repositories": [
                    {"name": "app", "base": "main", "commit": "0123456789abcdef", "ahead": 2, "behind": 1, "dirty": 3,
                        "insertions": 40, "deletions": 2, "files": 5, "savedAt": "2026-01-02T04:04:00.000000Z"},
                    {"name": "lib", "base": "main", "commit": "abcdef0123456789", "merged": true}],
                "conditions": [{"type": "OnBranch", "status": "False", "reason": "HeadElsewhere",
                    "message": "in app HEAD is on no branch: a rebase, a merge or a detached HEAD, not on agent-2/feat-7",
                    "lastTransitionTime": "2026-01-02T04:03:00Z"}]},
        }))
        .unwrap();
        let now: Timestamp = "2026-01-02T04:04:05Z".parse().unwrap();
        let mut text = describe(&workspace, &[], now);
        let young: Workspace = serde_json::from_value(json!({
            "metadata": {"name": "t-8", "namespace": "default"},
            "spec": {"branch": "agent-1/feat-8", "repositories": [{"name": "app"}]},
            "status": {"phase": "Pending", "reason": "DiskSpace", "message": "no new workspace of app: only 1 MiB is free",
                "path": "/odd place/it's"},
        }))
        .unwrap();
        text += &format!("---\n{}", describe(&young, &[], now));
        crate::testing::snapshot("describe_workspace", &text);
    }
}
