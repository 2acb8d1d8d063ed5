//! When a workspace is looked at, and what a look says.
//!
//! A look runs git several times, so it is taken only when something cheap to read has changed, when somebody asks for
//! an exact one, or now and then for files that were edited and not staged.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use gcluster_types::kinds::workspace::WorkspaceStatus;
use gcluster_types::{Workspace, conditions, labels};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, Time};
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use tokio::time::Instant;

use super::look::{self, Memory};
use super::place::Place;
use super::repositories::Source;
use super::saves::Saving;
use super::trouble::Result;

/// How often a workspace is looked at while its ticket is in flight, at most.
pub(super) const OFTEN: Duration = Duration::from_secs(2);
/// How often otherwise.
pub(super) const RARELY: Duration = Duration::from_secs(60);
/// How old what is said of files that are not staged may be while a ticket is in flight.
const STALE: Duration = Duration::from_secs(20);
/// How often its size is measured.
const SIZE: Duration = Duration::from_secs(300);

/// What is remembered of each workspace between looks, by uid. Losing it costs a look.
#[derive(Debug, Default)]
pub(super) struct Looks {
    seen: Mutex<HashMap<String, Seen>>,
}

#[derive(Debug, Default, Clone)]
struct Seen {
    print: String,
    at: Option<Instant>,
    measured: Option<Instant>,
    memory: Memory,
    saving: Saving,
}

impl Looks {
    fn seen(&self) -> MutexGuard<'_, HashMap<String, Seen>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets a workspace.
    pub(super) fn forget(&self, uid: &str) {
        self.seen().remove(uid);
    }

    /// What is remembered of its saves.
    pub(super) fn saving(&self, uid: &str) -> Saving {
        self.seen().get(uid).map(|seen| seen.saving.clone()).unwrap_or_default()
    }

    /// Remembers it.
    pub(super) fn saved(&self, uid: &str, saving: Saving) {
        if let Some(seen) = self.seen().get_mut(uid) {
            seen.saving = saving;
        }
    }

    /// What a workspace looks like now; none when there is no need to look.
    pub(super) async fn look(
        &self,
        workspace: &Workspace,
        place: &Place,
        sources: &[Source],
        in_flight: bool,
        now: Timestamp,
    ) -> Result<Option<WorkspaceStatus>> {
        let uid = workspace.uid().unwrap_or_default();
        let status = workspace.status.clone().unwrap_or_default();
        let mut seen = self.seen().get(&uid).cloned().unwrap_or_default();
        let branch = &workspace.spec.branch;
        let pairs = place.worktrees();
        let print: String =
            sources.iter().zip(&pairs).map(|(source, (_, path))| look::print(source, path, branch)).collect();
        let asked = workspace.annotations().get(labels::OBSERVE).filter(|value| !value.is_empty());
        let is_asked = asked.is_some() && asked != status.observed_request.as_ref();
        let is_stale = in_flight && seen.at.is_none_or(|at| at.elapsed() >= STALE);
        if !is_asked && !is_stale && seen.at.is_some() && seen.print == print {
            return Ok(None);
        }
        let begun = Instant::now();
        let mut new = status.clone();
        new.repositories = Vec::new();
        for (source, (_, path)) in sources.iter().zip(&pairs) {
            let known = status.repositories.iter().find(|known| known.name == source.name);
            let (looked, edits) = look::look(source, path, branch, known, &mut seen.memory).await?;
            seen.saving.found(&source.name, edits);
            new.repositories.push(looked);
        }
        on_branch(&mut new, sources, &pairs, branch, &Time(now)).await;
        if seen.measured.is_none_or(|at| at.elapsed() >= SIZE) {
            let folder = place.folder();
            let bytes = tokio::task::spawn_blocking(move || look::size(&folder)).await.ok();
            new.bytes = bytes;
            new.size = bytes.map(look::readable);
            seen.measured = Some(begun);
        }
        if asked.is_some() {
            new.observed_request = asked.cloned();
        }
        // The time alone is no news.
        if new != status || is_asked {
            new.observed_at = Some(MicroTime(now));
        }
        // What changes while it is looked at is looked at again: the print is from before.
        self.seen().insert(uid, Seen { print, at: Some(begun), ..seen });
        Ok(Some(new))
    }
}

/// Says where HEAD is not the branch: what is committed there is in no branch.
async fn on_branch(
    status: &mut WorkspaceStatus,
    sources: &[Source],
    pairs: &[(String, std::path::PathBuf)],
    branch: &str,
    now: &Time,
) {
    let mut elsewhere = None;
    for (source, (name, path)) in sources.iter().zip(pairs) {
        let git = source.git_in(path);
        let Ok(output) = git.output(&["symbolic-ref", "--quiet", "--short", "HEAD"], None).await else {
            continue;
        };
        if output.text() != branch {
            let head = match output.code {
                Some(0) => format!("the branch {}", output.text()),
                _ => "no branch: a rebase, a merge or a detached HEAD".to_owned(),
            };
            elsewhere = Some(format!("in {name} HEAD is on {head}, not on {branch}"));
            break;
        }
    }
    match elsewhere {
        None => drop(conditions::clear(&mut status.conditions, "OnBranch")),
        Some(message) => {
            let observed = conditions::Observed {
                kind: "OnBranch",
                status: Some(false),
                reason: "HeadElsewhere",
                message,
                generation: None,
            };
            conditions::set(&mut status.conditions, observed, now);
        }
    }
}
