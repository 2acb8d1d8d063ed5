//! How much a branch changes, and how much of a worktree is not in it.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use crate::salvage::records;
use crate::{Git, Result};

/// How much lies between two commits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Files that differ.
    pub files: i64,
    /// Lines that are added. Of binary files none are counted.
    pub insertions: i64,
    /// Lines that are taken away.
    pub deletions: i64,
}

/// How much lies between two commits.
///
/// # Errors
/// When one of them is not there.
pub async fn statistics(git: &Git, from: &str, to: &str) -> Result<Statistics> {
    let text = git.text(["diff", "--numstat", "-z", "--no-renames", "--no-ext-diff", from, to, "--"]).await?;
    let mut sum = Statistics::default();
    for line in text.split('\0').filter(|line| !line.is_empty()) {
        let mut numbers = line.split('\t').map(|number| number.parse::<i64>().unwrap_or(0));
        sum.files += 1;
        sum.insertions += numbers.next().unwrap_or(0);
        sum.deletions += numbers.next().unwrap_or(0);
    }
    Ok(sum)
}

/// How many commits each of two has that the other does not: those of `one`, then those of `other`.
///
/// # Errors
/// When one of them is not there.
pub async fn apart(git: &Git, one: &str, other: &str) -> Result<(i64, i64)> {
    let range = format!("{one}...{other}");
    let text = git.text(["rev-list", "--left-right", "--count", &range, "--"]).await?;
    let mut counts = text.split_whitespace().map(|count| count.parse().unwrap_or(0));
    Ok((counts.next().unwrap_or(0), counts.next().unwrap_or(0)))
}

/// The files of a worktree that are not as in the commit `tip`: changed, staged or new. Ignored ones are left out.
///
/// # Errors
/// When the worktree cannot be read.
pub async fn changed(worktree: &Git, tip: &str) -> Result<Vec<PathBuf>> {
    // Renames would hide that two files differ; what a person has set must not change the count.
    let status = ["-c", "core.fsmonitor=false", "status", "--porcelain=v1", "-z", "-uall", "--no-renames"];
    let status = worktree.bytes(&status, None).await?;
    let mut names: Vec<&[u8]> = records(&status).filter_map(|line| line.get(3..)).collect();
    let head = worktree.text(["rev-parse", "--verify", "--quiet", "HEAD"]).await.unwrap_or_default();
    let differs;
    if head != tip {
        // In the middle of a rebase, HEAD is not the branch.
        differs = worktree.bytes(&["diff", "--name-only", "-z", "--no-renames", tip, "--"], None).await?;
        names.extend(records(&differs));
        names.sort_unstable();
        names.dedup();
    }
    Ok(names.into_iter().map(|name| PathBuf::from(OsStr::from_bytes(name))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scratch::Scratch;
    use crate::worktree;
    use std::fs;

    #[tokio::test]
    async fn lines_files_and_commits_are_counted() {
        let scratch = Scratch::new().await;
        let first = scratch.commit("main", &[("a", "1\n2\n3\n"), ("b", "x\n"), ("odd\tname", "x\n")]).await;
        scratch.branch("work", &first).await;
        scratch.commit("work", &[("a", "1\n3\n4\n5\n"), ("b", "")]).await;
        let tip = scratch.commit("work", &[("odd\tname", "y\n")]).await;
        let found = statistics(&scratch.git(), &first, &tip).await.unwrap();
        assert_eq!(found, Statistics { files: 3, insertions: 3, deletions: 3 });
        scratch.commit("main", &[("b", "y\n")]).await;
        assert_eq!(apart(&scratch.git(), "work", "main").await.unwrap(), (2, 1));
        assert_eq!(apart(&scratch.git(), "main", "main").await.unwrap(), (0, 0));
        assert!(apart(&scratch.git(), "work", "nowhere").await.is_err());
    }

    #[tokio::test]
    async fn every_file_that_is_not_in_the_branch_counts_once() {
        let scratch = Scratch::new().await;
        scratch.commit("main", &[("a", "1\n"), ("b", "1\n"), ("c", "1\n"), (".gitignore", "*.log\n")]).await;
        let path = scratch.path().join("tree");
        worktree::add(&scratch.git(), &path, "work", "main").await.unwrap();
        let git = Git::new(&path);
        let tip = scratch.tip("work").await;
        assert_eq!(changed(&git, &tip).await.unwrap().len(), 0);
        fs::write(path.join("a"), "2\n").unwrap();
        fs::rename(path.join("b"), path.join("moved")).unwrap();
        git.text(["add", "a", "moved", "b"]).await.unwrap();
        fs::write(path.join("a"), "3\n").unwrap();
        fs::create_dir(path.join("new")).unwrap();
        fs::write(path.join("new/one"), "").unwrap();
        fs::write(path.join("new/two\nlines"), "").unwrap();
        fs::write(path.join("x.log"), "").unwrap();
        assert_eq!(changed(&git, &tip).await.unwrap().len(), 5, "a, b, moved, new/one, new/two");
        // What is committed beside the branch is not in the branch.
        git.text(["checkout", "--quiet", "--detach"]).await.unwrap();
        git.text(["-c", "user.name=A", "-c", "user.email=a@b", "commit", "--quiet", "-am", "x"])
            .await
            .unwrap();
        assert_eq!(changed(&git, &tip).await.unwrap().len(), 5);
    }
}
