//! Merging without a checkout: what two commits come to together, and where they collide.

use crate::{Error, Git, Result};

/// Lines around a collision that are shown.
const AROUND: usize = 3;

/// What merging two commits comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MergeTree {
    /// They go together.
    Clean {
        /// The tree that holds both.
        tree: String,
    },
    /// They do not.
    Conflict {
        /// A tree with the marks of conflicts in its files.
        tree: String,
        /// Paths in conflict, each once, in order.
        files: Vec<String>,
    },
}

/// Merges two commits from where their histories part.
///
/// # Errors
/// When one of them is not there, or git cannot merge them at all.
pub async fn merge_tree(git: &Git, ours: &str, theirs: &str) -> Result<MergeTree> {
    let args = [
        "merge-tree",
        "--write-tree",
        "-z",
        "--name-only",
        "--no-messages",
        "--allow-unrelated-histories",
        ours,
        theirs,
    ];
    let output = git.output(&args, None).await?;
    // A commit that is not there ends it with 1, too, and with nothing said.
    if !matches!(output.code, Some(0 | 1)) || output.stdout.is_empty() {
        return Err(Error::Failed {
            command: args.join(" "),
            directory: git.directory().to_owned(),
            code: output.code,
            said: output.stderr,
        });
    }
    let text = String::from_utf8_lossy(&output.stdout);
    let mut fields = text.split('\0').map(str::trim);
    let tree = fields.next().unwrap_or_default().to_owned();
    if output.code == Some(0) {
        return Ok(MergeTree::Clean { tree });
    }
    let mut files: Vec<String> = fields.take_while(|field| !field.is_empty()).map(str::to_owned).collect();
    files.sort();
    files.dedup();
    Ok(MergeTree::Conflict { tree, files })
}

/// The paths that a branch changed since it parted from another one. A rename counts with both names.
///
/// # Errors
/// When one of them is not there.
pub async fn changed_files(git: &Git, base: &str, tip: &str) -> Result<Vec<String>> {
    let range = format!("{base}...{tip}");
    let listed = git.output(&["diff", "--name-only", "-z", "--no-renames", &range, "--"], None).await?;
    // Histories that have nothing in common part nowhere.
    let listed = match listed.code {
        Some(0) => listed.text(),
        _ => git.text(["ls-tree", "-r", "-z", "--name-only", tip]).await?,
    };
    Ok(listed.split('\0').filter(|file| !file.is_empty()).map(str::to_owned).collect())
}

/// The collisions in one file of a tree that [`merge_tree`] made, with a few lines around each and at most `limit`
/// lines together. Nothing where the file has no marks: it is binary, or one side took it away.
///
/// # Errors
/// When git cannot be asked.
pub async fn conflict_hunks(git: &Git, tree: &str, file: &str, limit: usize) -> Result<String> {
    let output = git.output(&["cat-file", "blob", &format!("{tree}:{file}")], None).await?;
    if output.code != Some(0) || output.stdout.contains(&0) {
        return Ok(String::new());
    }
    Ok(hunks(&String::from_utf8_lossy(&output.stdout), limit))
}

fn hunks(text: &str, limit: usize) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let mut shown = vec![false; lines.len()];
    let mut open = None;
    for (at, line) in lines.iter().enumerate() {
        if line.starts_with("<<<<<<< ") {
            open = Some(at);
        } else if let (true, Some(from)) = (line.starts_with(">>>>>>> "), open) {
            let range = from.saturating_sub(AROUND)..(at + 1 + AROUND).min(lines.len());
            if let Some(range) = shown.get_mut(range) {
                range.fill(true);
            }
            open = None;
        }
    }
    let all = shown.iter().filter(|shown| **shown).count();
    let mut out = Vec::new();
    let mut before: Option<usize> = None;
    for (at, line) in lines.iter().enumerate().filter(|(at, _)| shown.get(*at) == Some(&true)).take(limit) {
        if before.is_none_or(|before| before + 1 != at) {
            out.push(format!("@@ line {} @@", at + 1));
        }
        before = Some(at);
        out.push((*line).to_owned());
    }
    if all > limit {
        out.push(format!("[… {} more lines …]", all - limit));
    }
    out.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scratch::Scratch;

    #[tokio::test]
    async fn two_branches_go_together_or_say_where_they_do_not() {
        let scratch = Scratch::new().await;
        let start = scratch.commit("main", &[("a b", "1\n2\n3\n"), ("gone", "x\n")]).await;
        scratch.branch("one", &start).await;
        scratch.branch("two", &start).await;
        scratch.branch("three", &start).await;
        let one = scratch.commit("one", &[("a b", "1\nONE\n3\n"), ("gone", "y\n")]).await;
        let two = scratch.commit("two", &[("a b", "1\nTWO\n3\n"), ("gone", "")]).await;
        let three = scratch.commit("three", &[("c", "new\n")]).await;
        let git = scratch.git();
        let MergeTree::Clean { tree } = merge_tree(&git, &one, &three).await.unwrap() else { panic!() };
        assert_eq!(git.text(["cat-file", "blob", &format!("{tree}:c")]).await.unwrap(), "new");
        let MergeTree::Conflict { tree, files } = merge_tree(&git, &one, &two).await.unwrap() else {
            panic!()
        };
        assert_eq!(files, ["a b", "gone"]);
        let shown = conflict_hunks(&git, &tree, "a b", 50).await.unwrap();
        assert!(
            shown.starts_with("@@ line 1 @@\n1\n<<<<<<< ") && shown.contains("\nONE\n=======\nTWO\n>>>>>>> ")
        );
        assert_eq!(conflict_hunks(&git, &tree, "gone", 50).await.unwrap(), "");
        assert_eq!(changed_files(&git, "main", &two).await.unwrap(), ["a b", "gone"]);
        assert!(merge_tree(&git, &one, &"0".repeat(40)).await.is_err());
    }

    #[test]
    fn only_what_collides_is_shown_and_never_too_much() {
        let clash = "<<<<<<< a\nx\n=======\ny\n>>>>>>> b\n";
        let text = format!("{}{clash}{}{clash}end\n", "before\n".repeat(10), "between\n".repeat(10));
        let shown = hunks(&text, 100);
        assert_eq!(shown.matches("@@ line").count(), 2, "{shown}");
        assert_eq!(shown.matches("between").count(), 6, "{shown}");
        let short = hunks(&text, 4);
        assert!(short.ends_with("[… 16 more lines …]"), "{short}");
        assert_eq!(hunks("<<<<<<< a\nno end\n", 5), "");
    }
}
