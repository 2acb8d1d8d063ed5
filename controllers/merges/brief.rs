//! What a worker has to know who resolves a conflict or a red check, as Markdown of bounded length.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use gcluster_git::conflict_hunks;
use gcluster_types::Check;
use kube::ResourceExt;

use super::steps::{Place, short};

/// Files and commits that are listed; of more the number is told.
const LISTED: usize = 30;
/// Lines of collisions that are shown, of one file and of all.
const LINES: (usize, usize) = (60, 160);
/// Length of a brief, in characters.
const LENGTH: usize = 16_000;

/// A commit of the base that stands in the way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Other {
    pub(crate) commit: String,
    pub(crate) author: String,
    pub(crate) subject: String,
    pub(crate) ticket: Option<String>,
}

/// Where a branch does not go together with its base.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Conflict {
    pub(crate) repository: String,
    pub(crate) branch: String,
    pub(crate) base: String,
    pub(crate) onto: String,
    pub(crate) files: Vec<String>,
    /// Of each file what collides; empty where there is no text to show.
    pub(crate) hunks: Vec<(String, String)>,
    pub(crate) others: Vec<Other>,
}

impl Conflict {
    /// Reads what collides out of the tree with the marks.
    pub(crate) async fn read(
        place: &Place,
        onto: &str,
        tree: &str,
        files: Vec<String>,
        others: Vec<Other>,
    ) -> Result<Conflict, gcluster_git::Error> {
        let mut hunks = Vec::new();
        let mut left = LINES.1;
        for file in files.iter().take(LISTED) {
            let text = match left {
                0 => String::new(),
                _ => conflict_hunks(&place.git, tree, file, left.min(LINES.0)).await?,
            };
            left = left.saturating_sub(text.lines().count());
            hunks.push((file.clone(), text));
        }
        let wanted = &place.wanted;
        Ok(Conflict {
            repository: wanted.name.clone(),
            branch: wanted.branch.clone(),
            base: wanted.base.clone(),
            onto: onto.to_owned(),
            files,
            hunks,
            others,
        })
    }
}

/// The commits of the base that touched files since the branch parted from it, newest first.
pub(crate) async fn others(
    place: &Place,
    onto: &str,
    files: &[String],
    tickets: &BTreeMap<String, String>,
) -> Result<Vec<Other>, gcluster_git::Error> {
    let range = format!("{}..{onto}", place.wanted.commit);
    let args = [
        "--literal-pathspecs",
        "log",
        "--max-count=30",
        "--no-merges",
        "--format=%H%x00%an%x00%s",
        &range,
        "--",
    ];
    let args: Vec<&str> = args.into_iter().chain(files.iter().take(LISTED).map(String::as_str)).collect();
    let log = place.git.text(args).await?;
    let other = |line: &str| {
        let mut fields = line.split('\0').map(str::to_owned);
        let (commit, author, subject) = (fields.next()?, fields.next()?, fields.next()?);
        let ticket = tickets.get(&commit).cloned();
        Some(Other { commit, author, subject, ticket })
    };
    Ok(log.lines().filter_map(other).collect())
}

/// What happened, in one sentence.
pub(crate) fn sentence(conflicts: &[Conflict]) -> String {
    let said = conflicts.iter().map(|one| {
        let with: Vec<String> = tickets(one).into_iter().map(|ticket| format!("ticket {ticket}")).collect();
        let with = if with.is_empty() { String::new() } else { format!(" (with {})", with.join(", ")) };
        let files = listed(&one.files, 3);
        format!(
            "{} does not go together with {} of repository {} in {files}{with}",
            one.branch, one.base, one.repository
        )
    });
    said.collect::<Vec<_>>().join("; ")
}

/// The brief of a conflict.
pub(crate) fn conflict(conflicts: &[Conflict]) -> String {
    let mut out = String::new();
    for one in conflicts {
        let Conflict { repository, branch, base, .. } = one;
        put(&mut out, &format!("## Merge conflict in repository `{repository}`\n"));
        put(
            &mut out,
            &format!(
                "Branch `{branch}` does not go together with `{base}` any more ({}).\n",
                short(&one.onto)
            ),
        );
        put(&mut out, &format!("Files in conflict: {}\n", listed_code(&one.files)));
        if !one.others.is_empty() {
            put(&mut out, "Commits of the other side that touched them:\n");
            for other in one.others.iter().take(LISTED) {
                let ticket =
                    other.ticket.as_ref().map(|ticket| format!(", ticket `{ticket}`")).unwrap_or_default();
                let Other { commit, author, subject, .. } = other;
                put(&mut out, &format!("- `{}` {subject} ({author}{ticket})", short(commit)));
            }
            put(&mut out, "");
        }
        for (file, hunks) in &one.hunks {
            match hunks.is_empty() {
                true => put(
                    &mut out,
                    &format!("`{file}`: binary, removed or renamed on one side; nothing to show\n"),
                ),
                // Texts with fences of their own stay inside of a longer one.
                false => put(
                    &mut out,
                    &format!("`{file}` (above `=======` is `{base}`):\n\n``````\n{hunks}\n``````\n"),
                ),
            }
        }
    }
    let bases: Vec<&str> = conflicts.iter().map(|one| one.base.as_str()).collect();
    let base = bases.first().copied().unwrap_or_default();
    put(&mut out, "## What to do\n");
    put(
        &mut out,
        &format!(
            "1. `git rebase {base}` in the workspace of each of these repositories (`git merge {base}` is fine, too)."
        ),
    );
    put(
        &mut out,
        "2. Resolve each conflict so that both changes do what they were made for; do not drop the other side's.",
    );
    put(&mut out, "3. Run the tests, commit everything, and finish. The branch is checked and merged again.");
    bounded(out)
}

/// The brief of a red check.
pub(crate) fn red(checks: &[(&Place, Check)]) -> String {
    let mut out = String::new();
    for (place, check) in checks {
        let status = check.status.clone().unwrap_or_default();
        let wanted = &place.wanted;
        put(&mut out, &format!("## Red check in repository `{}`\n", wanted.name));
        put(
            &mut out,
            &format!(
                "`{}` on top of `{}` does not pass its checks: {}\n",
                wanted.branch,
                wanted.base,
                status.message.unwrap_or_default()
            ),
        );
        if !status.output.is_empty() {
            put(
                &mut out,
                &format!(
                    "The end of the output of check `{}`:\n\n``````\n{}\n``````\n",
                    check.name_any(),
                    status.output
                ),
            );
        }
    }
    let base = checks.first().map(|(place, _)| place.wanted.base.as_str()).unwrap_or_default();
    put(&mut out, "## What to do\n");
    put(
        &mut out,
        &format!(
            "1. `git rebase {base}` in the workspace: the branch passed alone, and fails together with what `{base}` has by now."
        ),
    );
    put(
        &mut out,
        "2. Find out what does not fit together, mend it, run the tests, commit everything, and finish.",
    );
    bounded(out)
}

/// The brief of a branch that is not what was checked and reviewed.
pub(crate) fn moved(message: &str) -> String {
    format!(
        "## The branch moved\n\n{message}.\n\nCommit everything and finish; it is checked and reviewed as it is then.\n"
    )
}

fn put(out: &mut String, line: &str) {
    // Writing into a string does not fail.
    let _ = writeln!(out, "{line}");
}

fn tickets(conflict: &Conflict) -> Vec<&str> {
    let mut tickets: Vec<&str> = conflict.others.iter().filter_map(|other| other.ticket.as_deref()).collect();
    tickets.sort_unstable();
    tickets.dedup();
    tickets
}

fn listed(files: &[String], most: usize) -> String {
    let more = files.len().saturating_sub(most);
    let first = files.iter().take(most).map(String::as_str).collect::<Vec<_>>().join(", ");
    if more == 0 { first } else { format!("{first} and {more} more") }
}

fn listed_code(files: &[String]) -> String {
    let quoted: Vec<String> = files.iter().map(|file| format!("`{file}`")).collect();
    listed(&quoted, LISTED)
}

fn bounded(text: String) -> String {
    match text.char_indices().nth(LENGTH) {
        None => text,
        // What to do stands at the end and stays.
        Some(_) => {
            let (body, advice) = text.rsplit_once("## What to do").unwrap_or((&text, ""));
            let body: String = body.chars().take(LENGTH).collect();
            format!("{body}\n``````\n\n[… the rest is left out …]\n\n## What to do{advice}")
        }
    }
}
