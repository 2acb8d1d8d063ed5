//! A checkout of a user, for tests.

use std::path::{Path, PathBuf};
use std::process::Command;

pub(crate) struct Checkout {
    dir: tempfile::TempDir,
}

/// What a git command of a test said, and whether it went well.
pub(crate) struct Said {
    pub(crate) ok: bool,
    pub(crate) text: String,
}

impl Checkout {
    pub(crate) fn new(base: &str) -> Self {
        Self::with(&["init", "--quiet", "-b", base])
    }

    /// One that is made by this command.
    pub(crate) fn with(init: &[&str]) -> Self {
        let checkout = Self { dir: tempfile::tempdir().unwrap() };
        checkout.git(init);
        checkout.git(&["config", "user.name", "Ada"]);
        checkout.git(&["config", "user.email", "ada@example.com"]);
        checkout
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.dir.path().to_owned()
    }

    /// Writes a file, commits it and answers the commit.
    pub(crate) fn commit(&self, file: &str, text: &str) -> String {
        std::fs::write(self.dir.path().join(file), text).unwrap();
        self.git(&["add", "--all"]);
        self.git(&["commit", "--quiet", "-m", &format!("{file} {text}")]);
        self.git(&["rev-parse", "HEAD"])
    }

    #[track_caller]
    pub(crate) fn git(&self, args: &[&str]) -> String {
        git(self.dir.path(), args)
    }
}

/// Runs git and answers what it printed; panics when it fails.
#[track_caller]
pub(crate) fn git(dir: &Path, args: &[&str]) -> String {
    let said = try_git(dir, &[], args);
    assert!(said.ok, "git {args:?}: {}", said.text);
    said.text.trim_end().to_owned()
}

/// Runs git with further environment variables.
pub(crate) fn try_git(dir: &Path, env: &[(&str, &str)], args: &[&str]) -> Said {
    let mut command = Command::new("git");
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("GCLUSTER_") || name == "GIT_DIR") {
        command.env_remove(name);
    }
    let output = command.args(args).current_dir(dir).envs(env.iter().copied()).output().unwrap();
    let text =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    Said { ok: output.status.success(), text }
}
