//! A real hub for tests of controllers: git as a person uses it, in a checkout whose pushes land in a bare repository.

use std::path::{Path, PathBuf};
use std::process::Command;

/// A bare repository and a checkout of it. Removed when dropped.
pub(crate) struct Hub {
    dir: tempfile::TempDir,
}

impl Hub {
    /// A hub whose base branch `main` has one commit with the file `base`.
    pub(crate) fn new() -> Hub {
        let hub = Hub { dir: tempfile::tempdir().unwrap() };
        git(hub.dir.path(), &["init", "--quiet", "--bare", "-b", "main", "hub.git"]);
        git(hub.dir.path(), &["clone", "--quiet", "hub.git", "work"]);
        hub.commit("main", &[("base", "base\n")]);
        hub
    }

    /// The folder around it: a data directory for the controllers.
    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The bare repository.
    pub(crate) fn path(&self) -> PathBuf {
        self.dir.path().join("hub.git")
    }

    /// Runs git in the bare repository.
    pub(crate) fn git(&self, args: &[&str]) -> String {
        git(&self.path(), args)
    }

    /// The tip of a branch.
    pub(crate) fn tip(&self, branch: &str) -> String {
        self.git(&["rev-parse", &format!("refs/heads/{branch}")])
    }

    /// Makes a branch that begins where another one is.
    pub(crate) fn branch(&self, name: &str, from: &str) {
        self.git(&["branch", name, from]);
    }

    /// Adds a commit to a branch and gives its id. Files whose name ends in `.sh` are programs; no text removes a file.
    pub(crate) fn commit(&self, branch: &str, files: &[(&str, &str)]) -> String {
        use std::os::unix::fs::PermissionsExt;
        let work = self.dir.path().join("work");
        git(&work, &["fetch", "--quiet", "origin"]);
        if git_code(&work, &["rev-parse", "--quiet", "--verify", &format!("origin/{branch}")]) == 0 {
            git(&work, &["checkout", "--quiet", "-B", branch, &format!("origin/{branch}")]);
        }
        for (name, text) in files {
            let path = work.join(name);
            if text.is_empty() {
                std::fs::remove_file(path).unwrap();
                continue;
            }
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, text).unwrap();
            let mode = if name.ends_with(".sh") { 0o755 } else { 0o644 };
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
        }
        let names: Vec<&str> = files.iter().map(|(name, _)| *name).collect();
        git(&work, &["add", "--all"]);
        git(&work, &["commit", "--quiet", "-m", &format!("Change {}", names.join(", "))]);
        git(&work, &["push", "--quiet", "origin", &format!("HEAD:refs/heads/{branch}")]);
        git(&work, &["rev-parse", "HEAD"])
    }
}

fn command(dir: &Path, args: &[&str]) -> Command {
    let mut command = Command::new("git");
    command.args(["-c", "user.name=Ann", "-c", "user.email=ann@example.org"]).args(args).current_dir(dir);
    command.env("GIT_CONFIG_GLOBAL", "/dev/null");
    command
}

fn git_code(dir: &Path, args: &[&str]) -> i32 {
    command(dir, args).output().unwrap().status.code().unwrap()
}

/// Runs git and gives what it printed; a failure of it is one of the test.
pub(crate) fn git(dir: &Path, args: &[&str]) -> String {
    let output = command(dir, args).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "git {args:?} in {}: {said}", dir.display());
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}
