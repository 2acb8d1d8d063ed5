//! What is to be done about all checks, from what was seen of them. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use gcluster_types::kinds::check::CheckPhase;
use gcluster_types::kinds::repository::CheckPolicy;
use gcluster_types::{Check, Repository, duration};
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;

use crate::mirror::{Key, key_of};

/// Checks of a repository that run at once where it does not say.
const CONCURRENCY: usize = 2;
/// How long results are kept where the repository does not say.
const RETENTION: Duration = Duration::from_secs(168 * 3600);

/// What was seen.
pub(crate) struct Seen<'a> {
    pub(crate) checks: Vec<&'a Check>,
    pub(crate) repositories: BTreeMap<Key, &'a Repository>,
    /// Uids of the checks that this process runs.
    pub(crate) live: &'a BTreeSet<String>,
    pub(crate) now: Timestamp,
}

/// What is to be done about one check.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Act {
    /// Run it.
    Begin,
    /// Say what it waits for.
    Wait { reason: &'static str, message: String },
    /// Nobody wants its result any more: remove it.
    Expire,
}

/// What to do about which check, and when the next one expires.
pub(crate) fn plan(seen: &Seen<'_>) -> (Vec<(Key, Act)>, Option<Timestamp>) {
    let mut acts = Vec::new();
    let mut next: Option<Timestamp> = None;
    let mut by_repository: BTreeMap<Key, Vec<&Check>> = BTreeMap::new();
    for check in &seen.checks {
        let repository = (check.namespace().unwrap_or_default(), check.spec.repository.clone());
        by_repository.entry(repository).or_default().push(check);
    }
    for (key, mut checks) in by_repository {
        let repository = seen.repositories.get(&key).copied();
        let keep = retention(repository);
        for check in &checks {
            let Some(at) = finished(check).and_then(|at| at.checked_add(keep).ok()) else { continue };
            match at <= seen.now {
                true => acts.push((key_of(*check), Act::Expire)),
                false => next = Some(next.map_or(at, |next| next.min(at))),
            }
        }
        let is_live = |check: &Check| check.uid().is_some_and(|uid| seen.live.contains(&uid));
        let running = checks.iter().filter(|check| is_live(check)).count();
        checks
            .retain(|check| is_open(check) && !is_live(check) && check.metadata.deletion_timestamp.is_none());
        checks.sort_by_key(|check| order(check));
        let most = places(repository);
        for (number, check) in checks.into_iter().enumerate() {
            let act = match repository {
                None => {
                    Act::Wait { reason: "NotReady", message: format!("there is no repository {}", key.1) }
                }
                Some(repository) if hub(repository).is_none() => {
                    Act::Wait { reason: "NotReady", message: format!("repository {} has no hub yet", key.1) }
                }
                Some(_) if running + number < most => Act::Begin,
                Some(_) => Act::Wait { reason: "Queued", message: queued(&key.1, most) },
            };
            let is_told = |reason: &str, message: &str| {
                check.status.as_ref().is_some_and(|status| {
                    status.reason.as_deref() == Some(reason) && status.message.as_deref() == Some(message)
                })
            };
            match &act {
                Act::Wait { reason, message } if is_told(reason, message) => {}
                _ => acts.push((key_of(check), act)),
            }
        }
    }
    (acts, next)
}

fn queued(repository: &str, most: usize) -> String {
    let run = if most == 1 { "1 check runs" } else { &format!("{most} checks run") };
    format!("{run} in repository {repository}, as many as may at once (spec.checks.concurrency)")
}

/// A merge holds up all others of its base branch, so what it waits for comes first. Of the others the oldest.
fn order(check: &Check) -> (bool, Timestamp, String) {
    let created = check.metadata.creation_timestamp.as_ref().map_or(Timestamp::MAX, |at| at.0);
    (!check.spec.requested_by.starts_with("merge/"), created, check.name_any())
}

fn is_open(check: &Check) -> bool {
    let phase = check.status.as_ref().map(|status| status.phase).unwrap_or_default();
    matches!(phase, CheckPhase::Pending | CheckPhase::Running)
}

fn finished(check: &Check) -> Option<Timestamp> {
    let status = check.status.as_ref().filter(|_| !is_open(check))?;
    let created = check.metadata.creation_timestamp.as_ref().map(|at| at.0);
    status.finished_at.as_ref().map(|at| at.0).or(created)
}

/// The bare repository, once it is there.
pub(crate) fn hub(repository: &Repository) -> Option<&str> {
    repository.status.as_ref()?.hub.as_deref()
}

/// How its commits are tested.
pub(crate) fn policy(repository: &Repository) -> CheckPolicy {
    repository.spec.checks.clone().unwrap_or_default()
}

fn places(repository: Option<&Repository>) -> usize {
    let said = repository.and_then(|repository| policy(repository).concurrency);
    said.and_then(|said| usize::try_from(said).ok()).unwrap_or(CONCURRENCY).max(1)
}

fn retention(repository: Option<&Repository>) -> SignedDuration {
    let said = repository.and_then(|repository| repository.spec.retention.as_ref()?.checks.as_deref());
    let keep = said.and_then(duration::parse).unwrap_or(RETENTION);
    SignedDuration::try_from(keep).unwrap_or(SignedDuration::MAX)
}
