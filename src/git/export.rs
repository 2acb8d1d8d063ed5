//! A clean checkout of one commit that cannot change the repository it comes from.

use std::path::Path;
use std::time::Duration;

use crate::{Git, Result};

/// How long writing the files of a commit may take.
const LIMIT: Duration = Duration::from_secs(900);

/// Puts a commit into a new directory, as a repository of its own that borrows the objects of `repository` and knows
/// no remote: whatever a program does in there, nothing of it reaches the other one, and removing the directory
/// removes all of it.
///
/// # Errors
/// When the directory cannot be made, or git cannot check the commit out.
pub async fn export(repository: &Path, commit: &str, directory: &Path) -> Result<()> {
    let io = |source| crate::Error::Io {
        command: format!("checkout {commit}"),
        directory: directory.to_owned(),
        source,
    };
    std::fs::create_dir_all(directory).map_err(io)?;
    let git = Git::new(directory).limit(LIMIT);
    let format = if commit.len() == 64 { "sha256" } else { "sha1" };
    git.text(["init", "--quiet", "--template=", &format!("--object-format={format}"), "."]).await?;
    let objects = Git::new(repository).text(["rev-parse", "--git-path", "objects"]).await?;
    let objects = std::fs::canonicalize(repository.join(objects)).map_err(io)?;
    let info = directory.join(".git/objects/info");
    std::fs::create_dir_all(&info).map_err(io)?;
    let mut line = objects.into_os_string().into_encoded_bytes();
    line.push(b'\n');
    std::fs::write(info.join("alternates"), line).map_err(io)?;
    // Hooks of the user's own configuration are not part of a clean checkout.
    let args = ["-c", "core.hooksPath=/dev/null", "checkout", "--quiet", "--force", "--detach", commit];
    git.text(args).await?;
    Ok(())
}

/// Whether a repository has a commit.
///
/// # Errors
/// When git cannot be asked.
pub async fn has_commit(repository: &Path, commit: &str) -> Result<bool> {
    let output =
        Git::new(repository).output(&["cat-file", "-e", &format!("{commit}^{{commit}}")], None).await?;
    Ok(output.code == Some(0))
}

/// Whether a commit lacks a file that was there where it parted from a branch.
///
/// # Errors
/// When git cannot be asked.
pub async fn takes_away(repository: &Path, commit: &str, branch: &str, file: &str) -> Result<bool> {
    let git = Git::new(repository);
    let parted = git.output(&["merge-base", commit, &format!("refs/heads/{branch}")], None).await?.text();
    let has = async |at: &str| -> Result<bool> {
        Ok(git.output(&["cat-file", "-e", &format!("{at}:{file}")], None).await?.code == Some(0))
    };
    Ok(!parted.is_empty() && has(&parted).await? && !has(commit).await?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scratch::Scratch;

    #[tokio::test]
    async fn a_checkout_is_clean_and_changes_nothing_of_where_it_comes_from() {
        let scratch = Scratch::new().await;
        let first = scratch.commit("main", &[("a", "1\n"), ("dir/b", "2\n")]).await;
        let second = scratch.commit("main", &[("a", "3\n")]).await;
        assert!(has_commit(scratch.hub(), &first).await.unwrap());
        assert!(!has_commit(scratch.hub(), &"0".repeat(40)).await.unwrap());
        let out = scratch.path().join("out");
        export(scratch.hub(), &first, &out).await.unwrap();
        assert_eq!(std::fs::read_to_string(out.join("a")).unwrap(), "1\n");
        assert_eq!(std::fs::read_to_string(out.join("dir/b")).unwrap(), "2\n");
        let git = Git::new(&out);
        assert_eq!(git.text(["rev-parse", "HEAD"]).await.unwrap(), first);
        assert_eq!(git.text(["status", "--porcelain"]).await.unwrap(), "");
        assert_eq!(git.text(["remote"]).await.unwrap(), "");
        git.text(["update-ref", "refs/heads/main", &first]).await.unwrap();
        assert_eq!(scratch.tip("main").await, second);
        assert!(export(scratch.hub(), &"0".repeat(40), &scratch.path().join("none")).await.is_err());
    }
}
