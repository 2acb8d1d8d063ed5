//! A user's git repository, and git on it.

use std::path::{Path, PathBuf};
use std::process::Command;

/// A checkout with one commit on `main`. Removed when dropped.
pub(crate) struct Checkout {
    _dir: tempfile::TempDir,
    path: PathBuf,
}

impl Checkout {
    /// A new one.
    pub(crate) fn new() -> Self {
        let dir = tempfile::Builder::new().prefix("gcluster-git-").tempdir().expect("temporary directory");
        let path = dir.path().join("app");
        std::fs::create_dir(&path).expect("directory");
        let checkout = Self { _dir: dir, path };
        checkout.git(&["init", "--quiet", "-b", "main"]);
        checkout.git(&["config", "user.name", "Ada"]);
        checkout.git(&["config", "user.email", "ada@example.com"]);
        checkout.commit("file", "1");
        checkout
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Writes a file, commits everything and answers the commit.
    pub(crate) fn commit(&self, file: &str, text: &str) -> String {
        std::fs::write(self.path.join(file), text).expect("file");
        self.git(&["add", "--all"]);
        self.git(&["commit", "--quiet", "-m", &format!("{file} {text}")]);
        self.head()
    }

    /// The commit that is checked out.
    pub(crate) fn head(&self) -> String {
        self.git(&["rev-parse", "HEAD"])
    }

    /// Runs git in it and answers what it printed; panics when it fails.
    #[track_caller]
    pub(crate) fn git(&self, args: &[&str]) -> String {
        self.try_git(args).unwrap_or_else(|said| panic!("git {args:?}: {said}"))
    }

    /// Runs git in it: what it printed, or what it complained about.
    pub(crate) fn try_git(&self, args: &[&str]) -> Result<String, String> {
        run(&self.path, args)
    }

    /// Runs git in another repository, such as a hub; panics when it fails.
    #[track_caller]
    pub(crate) fn in_repository(&self, directory: &Path, args: &[&str]) -> String {
        run(directory, args).unwrap_or_else(|said| panic!("git {args:?} in {}: {said}", directory.display()))
    }
}

fn run(directory: &Path, args: &[&str]) -> Result<String, String> {
    let mut command = Command::new("git");
    for (name, _) in std::env::vars_os() {
        let name_text = name.to_string_lossy();
        if name_text.starts_with("GCLUSTER_") || name_text.starts_with("GIT_") {
            command.env_remove(&name);
        }
    }
    let output = command.args(args).current_dir(directory).output().expect("git starts");
    let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_end().to_owned();
    if output.status.success() { Ok(said(&output.stdout)) } else { Err(said(&output.stderr)) }
}
