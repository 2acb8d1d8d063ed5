//! Set-up and teardown commands: shell commands in the first worktree, of which nothing stays.
//!
//! A master that was killed over them leaves their processes marked with the uid of the workspace; the next one ends
//! those and begins with the first command again.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use gcluster_types::{Workspace, duration};
use kube::ResourceExt;
use tokio::time::Instant;

use super::place::Place;
use super::trouble::{Result, Trouble};
use crate::Context;
use crate::backend::script::{self, RunningScript, Script};
use crate::backend::sweep;
use crate::environment;

/// Longest time of all commands together, where nothing else is said.
const TIMEOUT: &str = "10m";
/// Time that they have to end when they are asked to.
const GRACE: Duration = Duration::from_secs(2);
/// How much of the end of their output is quoted.
const QUOTED: usize = 1_500;

/// How commands came to an end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Outcome {
    /// All of them succeeded.
    Done,
    /// One did not.
    Failed {
        /// Which, how, and the end of what was printed.
        message: String,
    },
    /// The master ends, or nobody wants them any more.
    Ended,
}

/// The commands that run now, by the uid of their workspace.
#[derive(Default)]
pub(super) struct Live {
    running: Mutex<HashMap<String, Arc<RunningScript>>>,
    closed: Mutex<bool>,
}

impl Live {
    fn running(&self) -> MutexGuard<'_, HashMap<String, Arc<RunningScript>>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_closed(&self) -> bool {
        *self.closed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends all of them and begins no other ones.
    pub(super) async fn close(&self) {
        *self.closed.lock().unwrap_or_else(PoisonError::into_inner) = true;
        let running: Vec<_> = self.running().values().cloned().collect();
        futures::future::join_all(running.iter().map(|script| script.end(GRACE))).await;
    }

    /// Ends those of one workspace.
    pub(super) async fn end(&self, uid: &str) {
        let running = self.running().get(uid).cloned();
        if let Some(script) = running {
            script.end(GRACE).await;
        }
    }

    /// Runs commands one after the other, until one fails.
    pub(super) async fn run(
        &self,
        ctx: &Context,
        workspace: &Workspace,
        place: &Place,
        commands: &[String],
    ) -> Result<Outcome> {
        if commands.is_empty() {
            return Ok(Outcome::Done);
        }
        let uid = workspace.uid().unwrap_or_default();
        let env = environment_of(ctx, workspace, place).await?;
        self.sweep(place, &uid).await;
        // A new log for each time; what a failed command printed is quoted from it.
        let _ = std::fs::remove_file(place.log());
        let text = workspace.spec.setup_timeout.as_deref().unwrap_or(TIMEOUT);
        let limit = duration::parse(text).or_else(|| duration::parse(TIMEOUT)).unwrap_or(Duration::MAX);
        let until = Instant::now().checked_add(limit);
        for command in commands {
            if self.is_closed() {
                return Ok(Outcome::Ended);
            }
            let script = Script {
                uid: uid.clone(),
                run_dir: place.run(),
                directory: place.first(),
                program: PathBuf::from("/bin/sh"),
                args: vec!["-c".into(), command.into()],
                env: env.clone(),
                output: place.log(),
            };
            let begin = |error: crate::backend::StartError| {
                Trouble::wait("CommandsNotStarted", format!("`{command}` cannot be started: {error}"))
            };
            let running = Arc::new(script::start(script).await.map_err(begin)?);
            self.running().insert(uid.clone(), running.clone());
            let late = async {
                match until {
                    Some(until) => tokio::time::sleep_until(until).await,
                    None => std::future::pending().await,
                }
            };
            let ended = tokio::select! {
                ended = running.ended() => Some(ended),
                () = late => None,
            };
            let is_late = ended.is_none();
            let ended = match ended {
                Some(ended) => ended,
                None => running.end(GRACE).await,
            };
            self.running().remove(&uid);
            self.sweep(place, &uid).await;
            if self.is_closed() {
                return Ok(Outcome::Ended);
            }
            let how = match ended.status {
                _ if is_late => format!("did not end within {text}"),
                Some(status) if status.success() => continue,
                Some(status) => format!("ended with {status}"),
                None => "was ended from outside".to_owned(),
            };
            let said = end_of(&place.log());
            let said =
                if said.is_empty() { ", and printed nothing".to_owned() } else { format!(":\n{said}") };
            return Ok(Outcome::Failed { message: format!("`{command}` {how}{said}") });
        }
        Ok(Outcome::Done)
    }

    /// Ends what an earlier master left, and forgets the files of the run.
    pub(super) async fn sweep(&self, place: &Place, uid: &str) {
        let (run, uid) = (place.run(), uid.to_owned());
        if !run.exists() || uid.is_empty() {
            return;
        }
        let swept = tokio::task::spawn_blocking(move || {
            let left = sweep::sweep_run(&uid, &run);
            if left.is_empty() {
                let _ = std::fs::remove_dir_all(&run);
            }
            left
        });
        let left = swept.await.unwrap_or_default();
        if !left.is_empty() {
            tracing::warn!(?left, "processes of a workspace's commands cannot be ended");
        }
    }
}

/// The variables by which everything in a workspace knows where it is.
pub(super) fn names(workspace: &Workspace, place: &Place) -> BTreeMap<String, String> {
    let spec = &workspace.spec;
    let mut names = BTreeMap::new();
    let mut add = |name: &str, value: Option<String>| {
        if let Some(value) = value {
            names.insert(name.to_owned(), value);
        }
    };
    add("GCLUSTER_WORKSPACE", Some(workspace.name_any()));
    add("GCLUSTER_TICKET", spec.ticket.clone());
    add("GCLUSTER_BRANCH", Some(spec.branch.clone()));
    // Who deletes the `.git` of a worktree by mistake does not go on in a repository further up.
    add("GIT_CEILING_DIRECTORIES", Some(place.parent.display().to_string()));
    add("GCLUSTER_WORKER", spec.worker.map(|worker| worker.to_string()));
    if let Some(first) = spec.first_port {
        let last = first.saturating_add(spec.ports.unwrap_or(1).max(1) - 1);
        add("PORT", Some(first.to_string()));
        add("GCLUSTER_PORTS", Some(format!("{first}-{last}")));
    }
    names
}

async fn environment_of(
    ctx: &Context,
    workspace: &Workspace,
    place: &Place,
) -> Result<Vec<(String, String)>> {
    let namespace = workspace.namespace().unwrap_or_default();
    let own = environment::values(&ctx.client, &namespace, &workspace.spec.env).await?;
    let own = own.map_err(|missing| Trouble::wait(missing.reason, missing.to_string()))?;
    Ok(own.into_iter().chain(names(workspace, place)).collect())
}

/// The end of what was printed, from a line's start.
fn end_of(log: &Path) -> String {
    use std::io::{Read, Seek, SeekFrom};
    let read = || -> std::io::Result<Vec<u8>> {
        let mut file = std::fs::File::open(log)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(QUOTED as u64)))?;
        let mut bytes = Vec::new();
        file.take(QUOTED as u64).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let text = String::from_utf8_lossy(&read().unwrap_or_default()).into_owned();
    match text.len() < QUOTED {
        true => text.trim().to_owned(),
        false => text.split_once('\n').map_or(text.as_str(), |(_, rest)| rest).trim().to_owned(),
    }
}
