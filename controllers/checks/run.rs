//! One check from its first status to its last.

use std::ffi::{OsStr, OsString};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use gcluster_types::kinds::check::{CheckPhase, CheckStatus};
use gcluster_types::{Check, Repository, duration, labels};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::{Api, ResourceExt};
use tokio::sync::watch;
use tokio::time::{Instant, interval};

use super::files::{Folder, Record, record_path, write_record};
use super::plan::{hub, policy};
use super::result::{Outcome, end_of, trim_finished, trim_growing};
use crate::Context;
use crate::backend::process::find_program;
use crate::backend::script::{self, RunningScript, Script};
use crate::report::{Events, write_status};

/// The status fields that are written here.
const FIELDS: &[&str] =
    &["phase", "reason", "message", "startedAt", "finishedAt", "exitCode", "output", "log", "starts"];
const COMMAND: &str = "./ci.sh";
const QUICK: &str = "--quick";
const TIMEOUT: Duration = Duration::from_secs(30 * 60);
/// How often the size of a growing log is looked at.
const TRIM: Duration = Duration::from_millis(500);
/// How soon a status that could not be written is written again, at first and at most.
const RETRY: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// Why a check is ended before its script is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// It is not.
    No,
    /// Its object is gone.
    Deleted,
    /// The master ends; the next one begins it again.
    Shutdown,
}

/// What a check is run with.
pub(crate) struct Job {
    pub(crate) ctx: Context,
    pub(crate) events: Events,
    pub(crate) check: Arc<Check>,
    pub(crate) repository: Arc<Repository>,
    pub(crate) stop: watch::Receiver<Stop>,
    /// Held while a record is compared and replaced.
    pub(crate) records: Arc<Mutex<()>>,
}

impl Job {
    /// Runs the check and writes down what came out. Answers the object as it was written last.
    pub(crate) async fn run(self) -> Option<Check> {
        let folder = Folder::of(&self.ctx.config.data_dir, &self.check);
        let cleared = folder.clone();
        let blank = move || {
            cleared.clear();
            std::fs::create_dir_all(&cleared.path).and_then(|()| std::fs::write(cleared.log(), ""))
        };
        let prepared = blocking(blank).await;
        let (started, log) = (MicroTime(self.ctx.now()), folder.log().display().to_string());
        let begun = self
            .write(&self.check, |status| {
                *status = CheckStatus {
                    phase: CheckPhase::Running,
                    started_at: Some(started.clone()),
                    log: Some(log.clone()),
                    starts: status.starts + 1,
                    ..CheckStatus::default()
                };
            })
            .await;
        let Some(begun) = begun else {
            blocking(move || folder.remove()).await;
            return None;
        };
        let clock = Instant::now();
        let outcome = match prepared {
            Some(Err(error)) => {
                let place = folder.path.display();
                Some(Outcome::failed("CannotStart", format!("there is no place for it in {place}: {error}")))
            }
            _ => self.execute(&folder, clock).await,
        };
        let Some(outcome) = outcome else {
            let is_deleted = *self.stop.borrow() == Stop::Deleted;
            blocking(move || if is_deleted { folder.remove() } else { folder.clear() }).await;
            return None;
        };
        let result = folder.clone();
        let output = blocking(move || {
            if let Err(error) = trim_finished(&result.log()) {
                tracing::debug!(%error, "the log of a check cannot be shortened");
            }
            let output = end_of(&result.log());
            result.clear();
            output
        });
        let output = output.await.unwrap_or_default();
        self.finish(begun, outcome, output).await
    }

    /// The result: first the file, then the status.
    async fn finish(&self, begun: Check, outcome: Outcome, output: String) -> Option<Check> {
        let (finished, message) = (self.ctx.now(), outcome.sentence(&output));
        let spec = &self.check.spec;
        let record = Record {
            reference: spec.reference.clone(),
            commit: spec.commit.clone(),
            status: if outcome.passed { "PASS" } else { "FAIL" }.to_owned(),
            timestamp: finished.to_string(),
            output: if output.is_empty() { outcome.message.clone() } else { output.clone() },
            quick: spec.quick,
        };
        let path = record_path(&self.ctx.config.data_dir, &self.repository, &spec.commit);
        let records = self.records.clone();
        let written = blocking(move || {
            let _one = records.lock().unwrap_or_else(PoisonError::into_inner);
            write_record(&path, &record).map_err(|error| format!("{}: {error}", path.display()))
        });
        if let Some(Err(why)) = written.await {
            let note = format!("the result cannot be written down as {why}");
            self.events.warning(&begun, "RecordFailed", "Record", note).await;
        }
        let ended = self.write(&begun, |status| {
            status.phase = if outcome.passed { CheckPhase::Passed } else { CheckPhase::Failed };
            status.reason = Some(outcome.reason.to_owned());
            status.message = Some(message.clone());
            status.finished_at = Some(MicroTime(finished));
            status.exit_code = outcome.exit_code;
            status.output = output.clone();
        });
        let ended = ended.await?;
        match outcome.passed {
            true => self.events.normal(&ended, outcome.reason, "Check", message).await,
            false => self.events.warning(&ended, outcome.reason, "Check", message).await,
        }
        Some(ended)
    }

    /// Checks out and runs the script. None when it was ended from outside.
    async fn execute(&self, folder: &Folder, clock: Instant) -> Option<Outcome> {
        let policy = policy(&self.repository);
        let timeout = policy.timeout.as_deref().and_then(duration::parse).unwrap_or(TIMEOUT);
        let until = clock + timeout;
        let prepared = tokio::select! {
            () = stopped(&self.stop) => return None,
            () = tokio::time::sleep_until(until) => Err(timed_out("checking the commit out", timeout)),
            prepared = self.prepare(folder) => prepared,
        };
        let (script, command) = match prepared {
            Ok(prepared) => prepared,
            Err(outcome) => return Some(outcome),
        };
        let running = match script::start(script).await {
            Ok(running) => running,
            Err(error) => return Some(Outcome::failed("CannotStart", format!("{command}: {error}"))),
        };
        let log = folder.log();
        let mut trim = interval(TRIM);
        loop {
            tokio::select! {
                ended = running.ended() => {
                    return Some(Outcome::of_exit(&command, ended.status, clock.elapsed()));
                }
                () = stopped(&self.stop) => {
                    self.end(&running).await;
                    return None;
                }
                () = tokio::time::sleep_until(until) => {
                    self.end(&running).await;
                    return Some(timed_out(&command, timeout));
                }
                _ = trim.tick() => {
                    let log = log.clone();
                    blocking(move || trim_growing(&log)).await;
                }
            }
        }
    }

    async fn end(&self, running: &RunningScript) {
        let left = running.end(self.ctx.config.stop_grace.min(Duration::from_secs(2))).await.left;
        if !left.is_empty() {
            let note = format!("these processes of its script cannot be ended: {left:?}");
            self.events.warning(&*self.check, "ProcessesLeft", "End", note).await;
        }
    }

    /// Everything before the start: the script and what it is called, or what came out without it.
    async fn prepare(&self, folder: &Folder) -> Result<(Script, String), Outcome> {
        let (spec, policy) = (&self.check.spec, policy(&self.repository));
        let hub = std::path::Path::new(hub(&self.repository).unwrap_or_default());
        let cannot = |error: gcluster_git::Error| Outcome::failed("CannotStart", error.to_string());
        if !gcluster_git::has_commit(hub, &spec.commit).await.map_err(cannot)? {
            let message = format!("there is no commit {} in {}", spec.commit, hub.display());
            return Err(Outcome::failed("NoCommit", message));
        }
        let checkout = folder.checkout();
        gcluster_git::export(hub, &spec.commit, &checkout).await.map_err(cannot)?;
        let mut words = if policy.command.is_empty() { vec![COMMAND.to_owned()] } else { policy.command };
        if spec.quick {
            words.extend(policy.quick_arguments.unwrap_or_else(|| vec![QUICK.to_owned()]));
        }
        let command = words.join(" ");
        let name = words.remove(0);
        let is_of_commit = name.contains('/') && !name.starts_with('/');
        if is_of_commit && !checkout.join(&name).exists() {
            let (base, file) = (&self.repository.spec.base, name.trim_start_matches("./"));
            let is_taken_away =
                gcluster_git::takes_away(hub, &spec.commit, base, file).await.map_err(cannot)?;
            return Err(if is_taken_away {
                Outcome::script_removed(&name, base)
            } else {
                Outcome::no_script(&name)
            });
        }
        let program = find_program(OsStr::new(&name), Some(&checkout)).ok_or_else(|| {
            let message = match is_of_commit {
                true => format!(
                    "{name} cannot be run: it is no executable file; `git update-index --chmod=+x {}` makes it one",
                    name.trim_start_matches("./")
                ),
                false => format!("there is no program {name}; install it or correct spec.checks.command"),
            };
            Outcome::failed("CannotStart", message)
        })?;
        let mut env: Vec<(String, String)> = vec![
            ("CI".into(), "true".into()),
            ("GCLUSTER_COMMIT".into(), spec.commit.clone()),
            ("GCLUSTER_REF".into(), spec.reference.clone()),
            ("GCLUSTER_REPOSITORY".into(), spec.repository.clone()),
            ("GCLUSTER_CHECK".into(), self.check.name_any()),
        ];
        env.extend(policy.env.into_iter().map(|variable| (variable.name, variable.value)));
        let script = Script {
            uid: self.check.uid().unwrap_or_default(),
            run_dir: folder.run(),
            directory: checkout,
            program,
            args: words.into_iter().map(OsString::from).collect(),
            env,
            output: folder.log(),
        };
        Ok((script, command))
    }

    /// Writes the status until it is written. None when the object is gone or the master ends.
    async fn write(&self, check: &Check, change: impl Fn(&mut CheckStatus)) -> Option<Check> {
        let api = Api::<Check>::namespaced(self.ctx.client.clone(), &check.namespace().unwrap_or_default());
        let (mut check, uid) = (check.clone(), check.uid());
        let mut pause = RETRY.0;
        loop {
            let old = check.status.clone();
            let mut new = old.clone().unwrap_or_default();
            if matches!(new.phase, CheckPhase::Passed | CheckPhase::Failed) {
                // It has come to its end in the meantime; what began this was old news.
                return None;
            }
            change(&mut new);
            let value = |status: &CheckStatus| serde_json::to_value(status).unwrap_or_default();
            let before = old.as_ref().map(value).unwrap_or_else(|| serde_json::json!({}));
            let error =
                match write_status(&api, &check, labels::MANAGER_CHECKS, FIELDS, &before, &value(&new)).await
                {
                    Ok(written) => return Some(written.unwrap_or(check)),
                    Err(error) if error.code() == Some(404) => return None,
                    Err(error) => error,
                };
            if !error.is_race() {
                tracing::warn!(check = check.name_any(), %error, "the status of a check cannot be written yet");
                tokio::select! {
                    () = tokio::time::sleep(pause) => {}
                    () = stopped(&self.stop) => return None,
                }
                pause = (pause * 2).min(RETRY.1);
            }
            match api.get_opt(&check.name_any()).await {
                Ok(Some(newer)) if newer.uid() == uid => check = newer,
                Ok(_) => return None,
                // It is tried again with what is known.
                Err(_) => {}
            }
        }
    }
}

/// Returns when the check is to end.
async fn stopped(stop: &watch::Receiver<Stop>) {
    let mut stop = stop.clone();
    if stop.wait_for(|stop| *stop != Stop::No).await.is_err() {
        // Nobody is left who could say so.
        futures::future::pending().await
    }
}

fn timed_out(what: &str, after: Duration) -> Outcome {
    let limit = format!("{:?}", after);
    Outcome::failed(
        "TimedOut",
        format!("{what} did not end within {limit} and was ended (spec.checks.timeout)"),
    )
}

pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    tokio::task::spawn_blocking(work).await.ok()
}
