//! Whether a base branch has what a branch changed: by content, since a squash or a rebase leaves no ancestor.
//!
//! ```text
//! ancestor? ─▶ merging it changes nothing? ─▶ each of its patches is in the base? ─▶ at some commit of the base, merging
//!                                                                                   it would have changed nothing?
//! ```
//!
//! The last two also hold when the base has changed or taken back the same lines since: what was made is in its history.

use crate::{Git, Result};

/// Commits of the base that are tried, newest first.
const TRIED: usize = 200;

/// How a base came to have what a branch changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Merged {
    /// The tip of the branch is in its history.
    Ancestor,
    /// Merging the branch would change nothing.
    SameContent,
    /// Each commit of the branch is in its history as a commit with the same patch.
    SamePatches,
    /// At one commit of its history, merging the branch would have changed nothing: it was merged by a squash, and what
    /// it changed was changed again since.
    InHistory,
}

/// How `base` came to have everything that `branch` changed; none when it has not.
///
/// # Errors
/// When one of them is not there.
pub async fn merged(git: &Git, base: &str, branch: &str) -> Result<Option<Merged>> {
    let fork = git.output(&["merge-base", "--", base, branch], None).await?;
    let fork = (fork.code == Some(0)).then(|| fork.text());
    let tip =
        git.text(["rev-parse", "--verify", "--end-of-options", &format!("{branch}^{{commit}}")]).await?;
    if fork.as_deref() == Some(tip.as_str()) {
        return Ok(Some(Merged::Ancestor));
    }
    if changes_nothing(git, base, &tip).await? {
        return Ok(Some(Merged::SameContent));
    }
    let Some(fork) = fork else { return Ok(None) };
    if same_patches(git, base, &tip, &fork).await? {
        return Ok(Some(Merged::SamePatches));
    }
    // Only a commit that touches one of the files can have brought it.
    let files = git.text(["diff", "--name-only", "-z", "--no-renames", &fork, &tip, "--"]).await?;
    let count = format!("--max-count={TRIED}");
    let range = format!("{fork}..{base}");
    let mut list: Vec<&str> = vec!["--literal-pathspecs", "rev-list", &count, &range, "--"];
    let files: Vec<&str> = files.split('\0').filter(|file| !file.is_empty()).collect();
    if files.len() <= TRIED {
        list.extend(files);
    }
    for commit in git.text(list).await?.lines() {
        if changes_nothing(git, commit, &tip).await? {
            return Ok(Some(Merged::InHistory));
        }
    }
    Ok(None)
}

/// Whether merging `tip` into `base` gives what `base` is already.
async fn changes_nothing(git: &Git, base: &str, tip: &str) -> Result<bool> {
    let merge = git.output(&["merge-tree", "--write-tree", "--no-messages", base, tip], None).await?;
    if merge.code != Some(0) {
        // Conflicts; or no common ancestor, which is no content in common either.
        return Ok(false);
    }
    let tree = git.text(["rev-parse", "--verify", "--end-of-options", &format!("{base}^{{tree}}")]).await?;
    Ok(merge.text().lines().next() == Some(tree.as_str()))
}

/// Whether each commit of the branch has one with the same patch in the base. A merge of something else into the
/// branch is no patch, and may hold what no patch does.
async fn same_patches(git: &Git, base: &str, tip: &str, fork: &str) -> Result<bool> {
    let range = format!("{fork}..{tip}");
    if !git.text(["rev-list", "--merges", "--max-count=1", &range, "--"]).await?.is_empty() {
        return Ok(false);
    }
    let cherry = git.text(["cherry", base, tip]).await?;
    Ok(!cherry.is_empty() && cherry.lines().all(|line| line.starts_with('-')))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scratch::Scratch;

    async fn of(scratch: &Scratch) -> Option<Merged> {
        merged(&scratch.git(), "main", "work").await.unwrap()
    }

    /// A branch with two commits, and a base that has gone on since.
    async fn started() -> Scratch {
        let scratch = Scratch::new().await;
        let first = scratch.commit("main", &[("a", "1\n2\n3\n4\n5\n6\n7\n8\n9\n"), ("b", "x\n")]).await;
        scratch.branch("work", &first).await;
        scratch.commit("work", &[("a", "1\nTWO\n3\n4\n5\n6\n7\n8\n9\n")]).await;
        scratch.commit("work", &[("new", "file\n")]).await;
        scratch.commit("main", &[("b", "y\n")]).await;
        scratch
    }

    #[tokio::test]
    async fn what_is_nowhere_else_is_not_merged() {
        let scratch = started().await;
        assert_eq!(of(&scratch).await, None);
        // Half of it is not all of it.
        scratch.commit("main", &[("new", "file\n")]).await;
        assert_eq!(of(&scratch).await, None);
        // Nor is a branch of the same name something else.
        scratch.commit("main", &[("a", "1\ntwo\n3\n4\n5\n6\n7\n8\n9\n")]).await;
        assert_eq!(of(&scratch).await, None);
        assert!(merged(&scratch.git(), "main", "nowhere").await.is_err());
    }

    #[tokio::test]
    async fn a_fast_forward_a_squash_and_a_rebase_are_merges() {
        let scratch = started().await;
        scratch.branch("main", &scratch.tip("work").await).await;
        assert_eq!(of(&scratch).await, Some(Merged::Ancestor));

        let scratch = started().await;
        let squash = [("a", "1\nTWO\n3\n4\n5\n6\n7\n8\n9\n"), ("new", "file\n")];
        scratch.commit("main", &squash).await;
        assert_eq!(of(&scratch).await, Some(Merged::SameContent));
        // The content changes again, and what was squashed stays merged.
        scratch.commit("main", &[("a", "1\nII\n3\n4\n5\n6\n7\n8\n9\n"), ("new", "")]).await;
        assert_eq!(of(&scratch).await, Some(Merged::InHistory));

        let scratch = started().await;
        scratch.commit("main", &[("a", "1\nTWO\n3\n4\n5\n6\n7\n8\n9\n")]).await;
        scratch.commit("main", &[("a", "1\nII\n3\n4\n5\n6\n7\n8\n9\n")]).await;
        scratch.commit("main", &[("new", "file\n")]).await;
        assert_eq!(of(&scratch).await, Some(Merged::SamePatches));
    }

    #[tokio::test]
    async fn a_branch_that_changes_nothing_is_merged_and_one_without_a_common_start_is_not() {
        let scratch = started().await;
        scratch.branch("work", &scratch.tip("main").await).await;
        assert_eq!(of(&scratch).await, Some(Merged::Ancestor));
        scratch.commit("other", &[("alone", "x\n")]).await;
        assert_eq!(merged(&scratch.git(), "main", "other").await.unwrap(), None);
    }
}
