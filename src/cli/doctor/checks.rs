//! The checks of `gcluster doctor`, in the order in which they are printed.

use std::ffi::OsString;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use rustix::fs::{Access, access, statvfs};

use super::super::Globals;
use super::super::objects::text;
use super::super::version::own;
use super::Finding;
use crate::client::JSON;
use crate::config::find_program;
use crate::exit::Kind;

/// Longest time that a program may take to say its version.
const VERSION_TIME: Duration = Duration::from_secs(10);
/// Bytes free below which it is time to make room; below the other one writes are about to fail.
const LOW: u64 = 1 << 30;
const FULL: u64 = 64 << 20;

/// A program that executes prompts.
struct Program {
    name: &'static str,
    /// Variable that names another file.
    variable: &'static str,
    install: &'static str,
}

/// Programs of the backends that need one of their own.
const BACKENDS: [Program; 2] = [
    Program {
        name: "claude",
        variable: "GCLUSTER_CLAUDE",
        install: "npm install -g @anthropic-ai/claude-code, then log in with `claude`",
    },
    Program {
        name: "codex",
        variable: "GCLUSTER_CODEX",
        install: "npm install -g @openai/codex, then log in with `codex login`",
    },
];

/// Looks at everything.
pub(super) async fn all(globals: &Globals) -> Vec<Finding> {
    let mut findings = vec![master(globals).await];
    if let Ok(directory) = globals.data_dir() {
        findings.extend([data_directory(&directory), disk(&directory)]);
    }
    findings.push(git().await);
    findings.extend(backends().await);
    findings.push(kubectl().await);
    findings.push(processes());
    findings
}

/// Does it answer, take this token, do its work, and have this version?
async fn master(globals: &Globals) -> Finding {
    let connection = match globals.connect().await {
        Ok(connection) => connection,
        Err(failure) if failure.kind == Kind::Unreachable => return not_running(&failure.message),
        Err(failure) => return Finding::bad("master", failure.message, "correct it, or leave it out"),
    };
    let address = connection.address.clone();
    let version = match connection.get("/version", JSON).await {
        Ok(version) => version,
        Err(failure) if failure.kind == Kind::Unreachable => {
            let cause = failure.causes.first().map(|cause| format!(": {cause}")).unwrap_or_default();
            return not_running(&format!("{}{cause}", failure.message));
        }
        Err(failure) => return Finding::bad("master", failure.message, "is it a gcluster master?"),
    };
    if let Err(failure) = connection.get("/apis", JSON).await {
        let advice = failure.hints.first().cloned().unwrap_or_else(|| "use another token".into());
        return Finding::bad("master", format!("{address} answers, but: {}", failure.message), advice);
    }
    if let Err(failure) = connection.ready().await {
        let advice = "its log says more; `gcluster master` started again takes running agents over";
        return Finding::bad(
            "master",
            format!("{address} answers, but is not ready: {}", failure.message),
            advice,
        );
    }
    same_version(&address, text(&version, "/gitVersion"), &own())
}

fn not_running(message: &str) -> Finding {
    let advice = "`gcluster up -f FILE` starts one in the background, `gcluster master` in the foreground";
    Finding::warn("master", message, advice)
}

/// `full`: what the master says of its version, `v1.33.0+gcluster-0.1.0`.
fn same_version(address: &str, full: &str, own: &str) -> Finding {
    match full.split_once("+gcluster-") {
        Some((_, version)) if version == own => {
            Finding::good("master", format!("{address} answers: {version}, as this program"))
        }
        Some((_, version)) => Finding::warn(
            "master",
            format!("{address} answers with version {version}, and this program is {own}"),
            "start the master again with this program: running agents are taken over",
        ),
        None => Finding::good("master", format!("{address} answers: Kubernetes {full}")),
    }
}

/// Is it there, ours, and closed to others?
fn data_directory(path: &Path) -> Finding {
    let shown = path.display();
    let Ok(meta) = path.metadata() else {
        return Finding::good("data", format!("{shown} is not there yet: a master makes it"));
    };
    let mode = meta.permissions().mode() & 0o777;
    let me = rustix::process::getuid().as_raw();
    if !meta.is_dir() {
        return Finding::bad("data", format!("{shown} is no directory"), "name another one with --data-dir");
    }
    if meta.uid() != me {
        let found = format!("{shown} belongs to the user {}, and this is {me}", meta.uid());
        return Finding::bad("data", found, "name another directory with --data-dir");
    }
    if access(path, Access::WRITE_OK | Access::EXEC_OK).is_err() {
        return Finding::bad("data", format!("{shown} cannot be written"), format!("chmod 700 {shown}"));
    }
    if mode & 0o077 != 0 {
        let found = format!("{shown} holds the master's tokens and is open to others (mode {mode:o})");
        return Finding::warn("data", found, format!("chmod 700 {shown}"));
    }
    Finding::good("data", format!("{shown}, for its owner alone"))
}

/// Tickets need it: hubs, worktrees and merges are its work.
async fn git() -> Finding {
    match gcluster_git::version().await {
        Ok(version) => Finding::good("git", version.to_string()),
        Err(error) => Finding::bad(
            "git",
            error.to_string(),
            "install a newer one: without it no ticket can be worked on",
        ),
    }
}

/// Space where the state is, or will be.
fn disk(path: &Path) -> Finding {
    let there: Option<&Path> = path.ancestors().find(|path| path.exists());
    match there.map(statvfs) {
        Some(Ok(stat)) => space(path, stat.f_bavail.saturating_mul(stat.f_frsize)),
        _ => {
            Finding::warn("disk", format!("the space of {} cannot be told", path.display()), "look with `df`")
        }
    }
}

fn space(path: &Path, free: u64) -> Finding {
    let found = format!("{} free in {}", size(free), path.display());
    let advice = "make room: on a full disk nothing can be written, and no agent goes on";
    match free {
        free if free < FULL => Finding::bad("disk", found, advice),
        free if free < LOW => Finding::warn("disk", found, advice),
        _ => Finding::good("disk", found),
    }
}

fn size(bytes: u64) -> String {
    match bytes {
        bytes if bytes >= 1 << 30 => format!("{}.{} GiB", bytes >> 30, ((bytes % (1 << 30)) * 10) >> 30),
        bytes => format!("{} MiB", bytes >> 20),
    }
}

/// One finding per program; a failure only where there is none at all.
async fn backends() -> Vec<Finding> {
    let mut findings = Vec::new();
    for program in &BACKENDS {
        let named = std::env::var_os(program.variable).filter(|value| !value.is_empty()).map(PathBuf::from);
        let path = match named {
            Some(path) if path.is_absolute() => Some(path).filter(|path| path.is_file()),
            Some(name) => find_program(&name.to_string_lossy()),
            None => find_program(program.name),
        };
        findings.push(match path {
            None => {
                Finding::warn(program.name, "not in PATH: agents of this backend cannot run", program.install)
            }
            Some(path) => match version(&path, &["--version"]).await {
                Ok(version) => Finding::good(program.name, format!("{version} ({})", path.display())),
                Err(why) => Finding::warn(
                    program.name,
                    format!("{} does not say its version: {why}", path.display()),
                    format!("install it again: {}", program.install),
                ),
            },
        });
    }
    findings.push(Finding::good("rehearsal", "built in: executes nothing, for trying gcluster out"));
    findings
}

async fn kubectl() -> Finding {
    let Some(path) = find_program("kubectl") else {
        return Finding::good("kubectl", "not in PATH; gcluster does not need it");
    };
    let args = ["version", "--client"].map(OsString::from);
    match version(&path, &args).await {
        Ok(version) => Finding::good("kubectl", format!("{version} ({})", path.display())),
        Err(why) => Finding::good("kubectl", format!("{} does not say its version: {why}", path.display())),
    }
}

/// The first line that a program prints about its version.
async fn version(path: &Path, args: &[impl AsRef<std::ffi::OsStr>]) -> Result<String, String> {
    let mut command = tokio::process::Command::new(path);
    command.args(args).stdin(Stdio::null()).kill_on_drop(true);
    let output = match tokio::time::timeout(VERSION_TIME, command.output()).await {
        Ok(Ok(output)) => output,
        Ok(Err(error)) => return Err(error.to_string()),
        Err(_) => return Err(format!("no answer within {} s", VERSION_TIME.as_secs())),
    };
    let said = String::from_utf8_lossy(&output.stdout);
    let line = said.lines().map(str::trim).find(|line| !line.is_empty());
    match line {
        Some(line) if output.status.success() => Ok(line.chars().take(80).collect()),
        _ => Err(output.status.to_string()),
    }
}

/// By what the processes of an iteration are held together.
fn processes() -> Finding {
    let own = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let root = Path::new("/sys/fs/cgroup");
    let usable = own.lines().find_map(|line| line.strip_prefix("0::")).map(|path| {
        let directory = root.join(path.trim_start_matches('/'));
        let is_v2 = root.join("cgroup.controllers").exists();
        is_v2 && access(&directory, Access::WRITE_OK).is_ok()
    });
    match (usable, Path::new("/proc/self/environ").exists()) {
        (_, false) => Finding::bad(
            "processes",
            "/proc is not there: what an agent starts cannot be found and ended",
            "mount /proc",
        ),
        (Some(true), true) => {
            Finding::good("processes", "cgroup v2 is writable; marks and groups are used too")
        }
        (_, true) => Finding::good(
            "processes",
            "no writable cgroup v2: what an agent starts is found by its mark and its process group",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Grade;
    use super::*;

    #[test]
    fn another_version_is_told_with_what_to_do() {
        let grade = |full: &str| same_version("127.0.0.1:1", full, "0.1.0").grade;
        assert_eq!(grade("v1.33.0+gcluster-0.1.0"), Grade::Good);
        assert_eq!(grade("v1.33.0"), Grade::Good);
        let other = same_version("127.0.0.1:1", "v1.33.0+gcluster-0.2.0", "0.1.0");
        assert!(other.grade == Grade::Warn && other.found.contains("0.2.0") && other.found.contains("0.1.0"));
    }

    #[test]
    fn a_data_directory_is_ours_and_closed() {
        let dir = tempfile::tempdir().unwrap();
        let mode = |mode| {
            std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(mode)).unwrap();
            data_directory(dir.path())
        };
        assert_eq!(mode(0o700).grade, Grade::Good);
        let open = mode(0o755);
        assert!(open.grade == Grade::Warn && open.advice.unwrap().starts_with("chmod 700 /"));
        assert_eq!(data_directory(&dir.path().join("none")).grade, Grade::Good);
        let file = dir.path().join("file");
        std::fs::write(&file, "").unwrap();
        assert_eq!(data_directory(&file).grade, Grade::Bad);
    }

    #[test]
    fn little_space_is_a_warning_and_none_a_failure() {
        let grade = |free| space(Path::new("/d"), free).grade;
        assert_eq!([grade(5 << 30), grade(500 << 20), grade(0)], [Grade::Good, Grade::Warn, Grade::Bad]);
        assert_eq!(space(Path::new("/d"), (3 << 30) + (1 << 29)).found, "3.5 GiB free in /d");
        assert_ne!(disk(Path::new("/nonexistent/deep")).found, "");
    }

    #[tokio::test]
    async fn a_program_that_fails_has_no_version() {
        let shell = Path::new("/bin/sh");
        assert_eq!(version(shell, &["-c", "echo; echo ' 1.2 '; echo more"]).await, Ok("1.2".into()));
        assert!(version(shell, &["-c", "echo 1.2; exit 3"]).await.unwrap_err().contains('3'));
        assert!(version(Path::new("/nonexistent"), &["x"]).await.is_err());
    }
}
