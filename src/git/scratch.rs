//! Real repositories for tests: a bare one, commits without a checkout, fixed names and times.

use std::path::{Path, PathBuf};

use crate::Git;

/// A bare repository in a directory of its own. Removed when dropped.
pub(crate) struct Scratch {
    dir: tempfile::TempDir,
    hub: PathBuf,
}

impl Scratch {
    /// A new empty one.
    pub(crate) async fn new() -> Scratch {
        let dir = tempfile::tempdir().unwrap();
        let hub = dir.path().join("hub.git");
        Git::new(dir.path()).text(["init", "--quiet", "--bare", "-b", "main", "hub.git"]).await.unwrap();
        Scratch { dir, hub }
    }

    /// The directory around it.
    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    /// The repository.
    pub(crate) fn hub(&self) -> &Path {
        &self.hub
    }

    /// Git in it, with an identity.
    pub(crate) fn git(&self) -> Git {
        Git::new(&self.hub)
            .env("GIT_AUTHOR_NAME", "Ann")
            .env("GIT_AUTHOR_EMAIL", "ann@example.org")
            .env("GIT_COMMITTER_NAME", "Ann")
            .env("GIT_COMMITTER_EMAIL", "ann@example.org")
    }

    /// The tip of a branch.
    pub(crate) async fn tip(&self, branch: &str) -> String {
        self.git().text(["rev-parse", &format!("refs/heads/{branch}")]).await.unwrap()
    }

    /// Makes a branch at a commit.
    pub(crate) async fn branch(&self, name: &str, at: &str) {
        self.git().text(["update-ref", &format!("refs/heads/{name}"), at]).await.unwrap();
    }

    /// Adds a commit to a branch, with these files changed; no text takes a file away. Its message names the files.
    pub(crate) async fn commit(&self, branch: &str, files: &[(&str, &str)]) -> String {
        let names: Vec<&str> = files.iter().map(|(name, _)| *name).collect();
        self.commit_as(branch, files, &format!("Change {}\n", names.join(" ")), &[]).await
    }

    /// The same with a message and further parents.
    pub(crate) async fn commit_as(
        &self,
        branch: &str,
        files: &[(&str, &str)],
        message: &str,
        parents: &[&str],
    ) -> String {
        let git = self.git().env("GIT_INDEX_FILE", &self.dir.path().join("index").to_string_lossy());
        let reference = format!("refs/heads/{branch}");
        let tip = git.text(["rev-parse", "--verify", "--quiet", &reference]).await.ok();
        let _ = std::fs::remove_file(self.dir.path().join("index"));
        if let Some(tip) = &tip {
            git.text(["read-tree", tip]).await.unwrap();
        }
        for (name, text) in files {
            if text.is_empty() {
                let gone = format!("0 {}\t{name}\0", "0".repeat(tip.as_ref().map_or(40, String::len)));
                git.fed(["update-index", "-z", "--index-info"], gone.as_bytes()).await.unwrap();
                continue;
            }
            let blob = git.fed(["hash-object", "-w", "--stdin"], text.as_bytes()).await.unwrap();
            let entry = format!("100644,{blob},{name}");
            git.text(["update-index", "--add", "--cacheinfo", &entry]).await.unwrap();
        }
        let tree = git.text(["write-tree"]).await.unwrap();
        let mut args = vec!["commit-tree".to_owned(), tree];
        for parent in tip.iter().map(String::as_str).chain(parents.iter().copied()) {
            args.extend(["-p".to_owned(), parent.to_owned()]);
        }
        let commit = git.fed(args, message.as_bytes()).await.unwrap();
        git.text(["update-ref", &reference, &commit]).await.unwrap();
        commit
    }
}
