//! The parent of a program: a small shell that needs no master.
//!
//! ```text
//! master ──start──▶ keeper (sh) ─┬─ joins the cgroup of the run before anything else happens
//!                                ├─ pump: files in input/ ──▶ the program's standard input
//!                                ├─ watch: no master comes back ──▶ that input ends
//!                                ├─ the program
//!                                └─ its exit status ──▶ exit; what it left running is ended
//! ```
//!
//! The keeper leads the process group of the run. Where there is no cgroup it is a *subreaper*: a process of the run
//! that lost its parent becomes its child, whatever it did to hide, so that descent tells who belongs to the run.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::sync::OnceLock;

use super::presence::Presence;

/// The shell script; [`command`] gives it its arguments.
const SCRIPT: &str = include_str!("keeper.sh");
const SHELL: &str = "/bin/sh";
/// The script's name in the directory of a run.
const FILE: &str = "keeper";
/// First argument of this program when it is started as [`become_keeper`].
const VERB: &str = "keep-run";

static HELPER: OnceLock<PathBuf> = OnceLock::new();

/// Names a program that calls [`become_keeper`] first, so that keepers can be subreapers. Without it they are none.
pub fn set_helper(program: PathBuf) {
    // The first one stays: all masters of one process are the same program.
    let _ = HELPER.set(program);
}

/// To be called first by a program named with [`set_helper`]. Does nothing unless it was started as a keeper;
/// answers why it could not become one.
pub fn become_keeper(mut args: impl Iterator<Item = OsString>) -> Option<String> {
    let _program = args.next();
    if args.next().as_deref() != Some(OsStr::new(VERB)) {
        return None;
    }
    // The setting outlives the exec. Without it the run is still found by its mark and its group.
    let _ = rustix::process::set_child_subreaper(Some(rustix::process::getpid()));
    let error = Command::new(SHELL).args(args).exec();
    Some(format!("cannot run {SHELL}: {error}"))
}

/// The command that runs a program under a keeper: in a cgroup, or as a subreaper where it can be. With `presence` the
/// program does not wait for ever for a master that does not come back. Writes the script
/// into the run's directory, so that the process table does not show it and a newer version does not change it.
pub(crate) fn command(
    run_dir: &Path,
    cgroup: Option<&Path>,
    presence: Option<&Presence>,
    program: &Path,
    args: &[OsString],
) -> io::Result<Command> {
    let script = run_dir.join(FILE);
    fs::write(&script, SCRIPT)?;
    let helper = HELPER.get().filter(|_| cgroup.is_none());
    let mut command = match helper {
        Some(helper) => Command::new(helper),
        None => Command::new(SHELL),
    };
    command.args(helper.map(|_| VERB));
    command.arg(script).arg(run_dir);
    command.arg(cgroup.map_or(OsStr::new(""), Path::as_os_str));
    command.arg(if helper.is_some() { "1" } else { "" });
    command.arg(presence.map_or(OsStr::new(""), |presence| presence.path.as_os_str()));
    command.arg(presence.map_or(0, |presence| presence.patience.as_secs()).to_string());
    command.arg(program).args(args);
    Ok(command)
}

/// Whether a process is a keeper, its pump or its watch, by the arguments that it was started with.
pub(crate) fn is_keeper(arguments: &[&[u8]]) -> bool {
    let [shell, script, run_dir, ..] = arguments else { return false };
    *shell == SHELL.as_bytes() && script.strip_prefix(*run_dir) == Some(format!("/{FILE}").as_bytes())
}

/// The exit status that a program left behind, where it did.
pub(crate) fn recorded_exit(run_dir: &Path) -> Option<ExitStatus> {
    let text = fs::read_to_string(run_dir.join("exit")).ok()?;
    let code: i32 = text.strip_suffix('\n')?.parse().ok()?;
    Some(status(ExitStatus::from_raw(code << 8)))
}

/// How the program ended, from how its keeper did: a shell says of a signal 128 and its number.
pub(crate) fn status(of_keeper: ExitStatus) -> ExitStatus {
    match of_keeper.code() {
        Some(code @ 129..=159) => ExitStatus::from_raw(code - 128),
        _ => of_keeper,
    }
}

/// How many processes the program had left running, which its keeper ended.
pub(crate) fn ended_leftovers(run_dir: &Path) -> usize {
    let text = fs::read_to_string(run_dir.join("left")).unwrap_or_default();
    text.trim().parse().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exit_status_that_was_not_written_to_its_end_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let exit = |text: &str| {
            fs::write(dir.path().join("exit"), text).unwrap();
            recorded_exit(dir.path()).and_then(|status| status.code())
        };
        assert_eq!(exit("1"), None, "it may have become 137");
        assert_eq!(exit("7\n"), Some(7));
        assert_eq!(exit("137\n"), None);
        assert_eq!(recorded_exit(dir.path()).and_then(|status| status.signal()), Some(9));
    }

    #[test]
    fn a_keeper_is_told_from_other_shells() {
        let is = |line: &str| is_keeper(&line.split(' ').map(str::as_bytes).collect::<Vec<_>>());
        assert!(is("/bin/sh /d/runs/u/keeper /d/runs/u /sys/fs/cgroup/gcluster-u  claude -p"));
        assert!(!is("/bin/sh /d/runs/u/keeper"));
        assert!(!is("/bin/sh -c keeper"));
        assert!(!is("sh /home/keeper /home/x"));
    }

    #[test]
    fn only_a_program_that_is_started_as_a_keeper_becomes_one() {
        let words = |words: &[&str]| words.iter().map(OsString::from).collect::<Vec<_>>().into_iter();
        assert_eq!(become_keeper(words(&["gcluster"])), None);
        assert_eq!(become_keeper(words(&["gcluster", "get", VERB])), None);
    }
}
