//! A program that is no agent, such as a test script: the same keeper, the same certainty that nothing of it stays.
//!
//! ```text
//! Script ──start──▶ RunningScript ──ended()──▶ Ended      output grows in a file of the caller's choice
//!                       └── end(grace): SIGTERM to all of it, SIGKILL to what is left
//! ```
//!
//! What a killed master left is ended with [`super::sweep::sweep_run`], by the same uid and directory.

use std::ffi::OsString;
use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use gcluster_types::labels::PROCESS_MARK;
use rustix::process::Signal;
use tokio::sync::watch;

use super::cgroup::Cgroup;
use super::hunted::{Ended, Hunted, wait};
use super::process::{check_working_directory, io_error, is_private, make_run_dir, spawn_patiently};
use super::{ProcessRef, StartError, keeper, sweep};

/// What is started.
pub(crate) struct Script {
    /// Marks every process of it; one run, one uid.
    pub(crate) uid: String,
    /// Directory for the keeper's files; made when absent.
    pub(crate) run_dir: PathBuf,
    /// Where it runs. Must exist.
    pub(crate) directory: PathBuf,
    /// Absolute path of the program.
    pub(crate) program: PathBuf,
    /// Its arguments.
    pub(crate) args: Vec<OsString>,
    /// Variables beside the inherited ones, of which those about the master and about a surrounding git are taken away.
    pub(crate) env: Vec<(String, String)>,
    /// Where both of its outputs are appended.
    pub(crate) output: PathBuf,
}

/// A script that was started.
pub(crate) struct RunningScript {
    hunted: Arc<Hunted>,
    ended: watch::Receiver<Option<Ended>>,
    stopping: watch::Sender<bool>,
}

/// Starts a script.
///
/// # Errors
/// When it cannot be started; nothing runs then.
pub(crate) async fn start(script: Script) -> Result<RunningScript, StartError> {
    check_working_directory(&script.directory)?;
    let dir = &script.run_dir;
    make_run_dir(dir).map_err(io_error(format!("make the run directory {}", dir.display())))?;
    let (run_dir, uid) = (dir.clone(), script.uid.clone());
    let cgroup = tokio::task::spawn_blocking(move || Cgroup::create(&run_dir, &uid)).await.ok().flatten();
    let command =
        keeper::command(dir, cgroup.as_ref().map(Cgroup::path), None, &script.program, &script.args)
            .map_err(io_error(format!("write the keeper of the run in {}", dir.display())))?;
    let mut command = tokio::process::Command::from(command);
    command.current_dir(&script.directory).process_group(0);
    for (name, _) in std::env::vars_os() {
        if is_private(&name) || name.to_string_lossy().starts_with("GIT_") {
            command.env_remove(name);
        }
    }
    command.envs(script.env).env(PROCESS_MARK, &script.uid);
    let open = || OpenOptions::new().append(true).create(true).mode(0o600).open(&script.output);
    let output = || open().map_err(io_error(format!("open {}", script.output.display())));
    command.stdin(Stdio::null()).stdout(output()?).stderr(output()?);
    let child = spawn_patiently(&mut command).await;
    if child.is_err() {
        cgroup.iter().for_each(Cgroup::remove);
    }
    let mut child = child.map_err(io_error(format!("start {}", script.program.display())))?;
    let pid = child.id().map(i64::from).unwrap_or_default();
    let leader = sweep::process_ref(pid).unwrap_or(ProcessRef { pid, ..ProcessRef::default() });
    let hunted = Hunted::new(&script.uid, script.run_dir.clone(), leader);
    let (exit, ended) = watch::channel(None);
    let (stopping, stop) = watch::channel(false);
    let leader_ended = async move { child.wait().await.ok().map(keeper::status) };
    tokio::spawn(wait(leader_ended, hunted.clone(), stop, exit));
    Ok(RunningScript { hunted, ended, stopping })
}

impl RunningScript {
    /// Waits until it has ended and nothing of it is left.
    pub(crate) async fn ended(&self) -> Ended {
        let mut ended = self.ended.clone();
        let last = ended.wait_for(Option::is_some).await.ok().and_then(|ended| ended.clone());
        last.unwrap_or(Ended { status: None, ended_leftovers: 0, left: Vec::new() })
    }

    /// Ends all of it: asked at first, killed when `grace` is over. Answers when nothing is left.
    pub(crate) async fn end(&self, grace: Duration) -> Ended {
        self.stopping.send_replace(true);
        self.hunted.clone().signal_family(Signal::TERM).await;
        if tokio::time::timeout(grace, self.ended()).await.is_err() {
            self.hunted.clone().kill().await;
        }
        self.ended().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn script(dir: &std::path::Path, text: &str) -> Script {
        Script {
            uid: uuid::Uuid::new_v4().to_string(),
            run_dir: dir.join("run"),
            directory: dir.to_owned(),
            program: PathBuf::from("/bin/sh"),
            args: vec!["-c".into(), text.into()],
            env: vec![("CI".into(), "true".into())],
            output: dir.join("log"),
        }
    }

    #[tokio::test]
    async fn a_script_ends_with_its_code_and_both_outputs_are_in_one_file() {
        let dir = tempfile::tempdir().unwrap();
        let run = start(script(dir.path(), "echo one; echo two >&2; echo CI=$CI; exit 3")).await.unwrap();
        assert_eq!(run.ended().await.status.and_then(|status| status.code()), Some(3));
        assert_eq!(std::fs::read_to_string(dir.path().join("log")).unwrap(), "one\ntwo\nCI=true\n");
    }

    #[tokio::test]
    async fn nothing_of_a_script_outlives_its_end() {
        let dir = tempfile::tempdir().unwrap();
        let text = "trap '' TERM; setsid sh -c 'trap \"\" TERM; echo up; while :; do sleep 1; done' & while :; do sleep 1; done";
        let script = script(dir.path(), text);
        let uid = script.uid.clone();
        let run = start(script).await.unwrap();
        while !std::fs::read_to_string(dir.path().join("log")).unwrap_or_default().contains("up") {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let ended = run.end(Duration::from_millis(50)).await;
        assert_eq!(ended.left, Vec::<i64>::new());
        assert!(sweep::family(&uid, &[]).is_empty());
    }
}
