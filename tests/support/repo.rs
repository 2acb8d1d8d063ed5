//! A user's git repository with its Repository object and hub, for tests with a real master.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use super::cli::Sandbox;
use super::master::wait_object;

/// A repository, its hub, and a checkout of the hub as a person has it who pushes by hand.
pub(crate) struct Repo {
    name: String,
    hub: PathBuf,
    work: PathBuf,
}

impl Repo {
    /// Makes a repository with a test script, applies its Repository and waits for the hub.
    pub(crate) fn new(sandbox: &Sandbox, name: &str, script: &str, spec: Value) -> Repo {
        let home = sandbox.work().join(name);
        std::fs::create_dir_all(&home).expect("directory");
        git(&home, &["init", "--quiet", "-b", "main"]);
        write(&home, "ci.sh", script);
        write(&home, "shared", "1\n2\n3\n");
        git(&home, &["add", "--all"]);
        git(&home, &["commit", "--quiet", "-m", "Begin"]);
        let mut spec = spec;
        spec["path"] = json!(home);
        let object = json!({"apiVersion": "gcluster.dev/v1alpha1", "kind": "Repository",
            "metadata": {"name": name}, "spec": spec});
        let file = sandbox.write(&format!("{name}.json"), &object.to_string());
        sandbox.run(["apply".as_ref(), "-f".as_ref(), file.as_os_str()]).ok();
        let is_ready = |o: &Value| {
            let conditions = o["status"]["conditions"].as_array().cloned().unwrap_or_default();
            conditions.iter().any(|one| one["type"] == "Ready" && one["status"] == "True")
        };
        let made = wait_object(sandbox, "repository", name, "ready", is_ready);
        let hub = PathBuf::from(made["status"]["hub"].as_str().expect("hub"));
        let work = sandbox.work().join(format!("{name}-work"));
        git(&sandbox.work(), &["clone", "--quiet", &hub.to_string_lossy(), &work.to_string_lossy()]);
        Repo { name: name.to_owned(), hub, work }
    }

    /// Name of the Repository.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Runs git in the hub.
    pub(crate) fn git(&self, args: &[&str]) -> String {
        git(&self.hub, args)
    }

    /// The tip of a branch.
    pub(crate) fn tip(&self, branch: &str) -> String {
        self.git(&["rev-parse", &format!("refs/heads/{branch}")])
    }

    /// Puts a commit on top of the base into a branch and pushes that by hand.
    pub(crate) fn push(&self, branch: &str, files: &[(&str, &str)]) -> String {
        git(&self.work, &["fetch", "--quiet", "origin"]);
        git(&self.work, &["checkout", "--quiet", "-B", branch, "origin/main"]);
        for (name, text) in files {
            write(&self.work, name, text);
        }
        git(&self.work, &["add", "--all"]);
        git(&self.work, &["commit", "--quiet", "-m", &format!("Change for {branch}")]);
        git(&self.work, &["push", "--quiet", "origin", &format!("HEAD:refs/heads/{branch}")]);
        git(&self.work, &["rev-parse", "HEAD"])
    }

    /// Text of a file of the base; none when there is no such file.
    pub(crate) fn base_file(&self, file: &str) -> Option<String> {
        let listed = self.git(&["ls-tree", "--name-only", "main", "--", file]);
        (!listed.is_empty()).then(|| self.git(&["cat-file", "blob", &format!("main:{file}")]))
    }
}

fn write(dir: &Path, name: &str, text: &str) {
    let path = dir.join(name);
    std::fs::write(&path, text).expect("file");
    let mode = if name.ends_with(".sh") { 0o755 } else { 0o644 };
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("mode");
}

/// Runs git and gives what it printed.
#[track_caller]
pub(crate) fn git(dir: &Path, args: &[&str]) -> String {
    let mut command = Command::new("git");
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("GIT_")) {
        command.env_remove(name);
    }
    let output = command
        .args(["-c", "user.name=Ann", "-c", "user.email=ann@example.org"])
        .args(args)
        .current_dir(dir)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .output()
        .expect("git");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "git {args:?} in {}: {said}", dir.display());
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}
