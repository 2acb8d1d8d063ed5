//! Whose turn it is, and what everybody else waits for. Pure.

use std::collections::{BTreeMap, BTreeSet};

use gcluster_types::kinds::check::CheckPhase;
use gcluster_types::kinds::merge::MergePhase;
use gcluster_types::{Check, Merge, MergeStatus, Repository, labels};
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;

use crate::mirror::{Key, key_of};

/// What was seen.
pub(crate) struct Seen<'a> {
    pub(crate) merges: Vec<&'a Merge>,
    pub(crate) repositories: BTreeMap<Key, &'a Repository>,
    pub(crate) checks: BTreeMap<Key, &'a Check>,
    /// Uids of those that are being worked on.
    pub(crate) live: &'a BTreeSet<String>,
    /// Uids of those that failed and are tried again later.
    pub(crate) resting: &'a BTreeSet<String>,
}

/// What is to be done about a merge.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Act {
    /// Do the next step.
    Go,
    /// Say what it waits for.
    Wait { reason: &'static str, message: String },
    /// Say so, and give its turn to others: nothing was moved.
    Back { message: String },
    /// Let it go: nothing of it is half done.
    Release,
}

/// What to do about each merge that has not come to its end, or is kept for no reason any more; nothing about those that
/// have said what they wait for.
pub(crate) fn plan(seen: &Seen<'_>) -> Vec<(Key, Act)> {
    let mut open: Vec<&Merge> =
        seen.merges.iter().copied().filter(|merge| !status(merge).phase.is_terminal()).collect();
    open.sort_by_key(|merge| order(merge));
    // Who has a base branch, or comes to it next; and how many want it before whoever asks.
    let mut taken: BTreeMap<Key, (&Merge, usize)> = BTreeMap::new();
    let is_live = |merge: &Merge| merge.uid().is_some_and(|uid| seen.live.contains(&uid));
    let over = seen.merges.iter().filter(|merge| status(merge).phase.is_terminal() && is_kept(merge));
    let mut acts: Vec<(Key, Act)> =
        over.filter(|merge| !is_live(merge)).map(|merge| (key_of(*merge), Act::Release)).collect();
    for merge in open {
        let lacks = lacks(merge, seen);
        let is_whole = is_untouched(&status(merge));
        let is_gone = merge.metadata.deletion_timestamp.is_some()
            && (is_whole || lacks.as_ref().is_some_and(|lacks| lacks.is_for_ever));
        let status = status(merge);
        let is_told = |reason: &str, message: &str| {
            status.reason.as_deref() == Some(reason) && status.message.as_deref() == Some(message)
        };
        let waits = lacks.filter(|_| is_whole).map(|lacks| lacks.message);
        // Whoever cannot go on keeps nobody else from it.
        let rests = merge.uid().is_some_and(|uid| seen.resting.contains(&uid));
        let aside = match waits {
            _ if is_gone => Some(is_kept(merge).then_some(Act::Release)),
            _ if rests && is_whole => Some(None),
            Some(message) if is_active(merge) => Some(Some(Act::Back { message })),
            Some(message) if is_told("NotReady", &message) => Some(None),
            Some(message) => Some(Some(Act::Wait { reason: "NotReady", message })),
            None => None,
        };
        if let Some(act) = aside {
            acts.extend(act.filter(|_| !is_live(merge)).map(|act| (key_of(merge), act)));
            continue;
        }
        let bases = bases(merge);
        let before =
            bases.iter().filter_map(|base| Some((base, *taken.get(base)?))).max_by_key(|(_, at)| at.1);
        let act = match before {
            Some((base, (first, others))) if !is_active(merge) => {
                Some(Act::Wait { reason: "Queued", message: behind(base, first, others) })
            }
            _ => next(merge, seen),
        };
        for base in bases {
            taken.entry(base).and_modify(|(_, others)| *others += 1).or_insert((merge, 0));
        }
        match act {
            Some(Act::Wait { reason, message }) if is_told(reason, &message) => {}
            Some(act) if !is_live(merge) => acts.push((key_of(merge), act)),
            _ => {}
        }
    }
    acts
}

/// A repository that a merge cannot do without.
struct Lacks {
    message: String,
    /// Nobody makes it by himself.
    is_for_ever: bool,
}

fn lacks(merge: &Merge, seen: &Seen<'_>) -> Option<Lacks> {
    let namespace = merge.namespace().unwrap_or_default();
    merge.spec.repositories.iter().find_map(|wanted| {
        let repository = seen.repositories.get(&(namespace.clone(), wanted.name.clone()));
        let (message, is_for_ever) = match repository {
            None => (format!("there is no repository {}", wanted.name), true),
            Some(repository) if hub(repository).is_none() => {
                (format!("repository {} has no hub yet", wanted.name), false)
            }
            Some(_) => return None,
        };
        Some(Lacks { message, is_for_ever })
    })
}

/// Nothing of it was moved, and nothing is about to be.
pub(crate) fn is_untouched(status: &MergeStatus) -> bool {
    status.phase != MergePhase::Landing && !status.repositories.iter().any(|step| step.landed)
}

/// It does not go before somebody lets it go.
pub(crate) fn is_kept(merge: &Merge) -> bool {
    merge.finalizers().iter().any(|name| name == labels::MERGE_FINALIZER)
}

/// What to do about one whose turn it is. Nothing while somebody else is at work for it.
fn next(merge: &Merge, seen: &Seen<'_>) -> Option<Act> {
    let namespace = merge.namespace().unwrap_or_default();
    if let Some(lacks) = lacks(merge, seen) {
        return Some(Act::Wait { reason: "NotReady", message: lacks.message });
    }
    let status = status(merge);
    if status.phase != MergePhase::Checking {
        return Some(Act::Go);
    }
    let mut waits = Vec::new();
    for name in status.repositories.iter().filter(|step| !step.landed).filter_map(|step| step.check.as_ref())
    {
        match seen.checks.get(&(namespace.clone(), name.clone())) {
            None => return Some(Act::Go),
            Some(check) => match check.status.as_ref().map(|status| status.phase).unwrap_or_default() {
                CheckPhase::Failed => return Some(Act::Go),
                CheckPhase::Passed => {}
                CheckPhase::Running => waits.push(format!("{name} (running)")),
                CheckPhase::Pending => waits.push(format!("{name} (pending)")),
            },
        }
    }
    match waits.is_empty() {
        true => Some(Act::Go),
        false => Some(Act::Wait {
            reason: "Checking",
            message: format!("the rebased commits are tested: {}", waits.join(", ")),
        }),
    }
}

fn behind(base: &Key, first: &Merge, others: usize) -> String {
    let more = match others {
        0 => String::new(),
        1 => " and one more".to_owned(),
        more => format!(" and {more} more"),
    };
    format!(
        "one at a time: {} of ticket {}{more} before it, into {} of repository {}",
        first.name_any(),
        first.spec.ticket,
        base.1.split_once(':').map_or("", |(_, branch)| branch),
        base.1.split_once(':').map_or("", |(name, _)| name),
    )
}

/// Whoever has begun goes on; then the smaller priority, then first come.
fn order(merge: &Merge) -> (bool, i32, Timestamp, String) {
    let created = merge.metadata.creation_timestamp.as_ref().map_or(Timestamp::MAX, |at| at.0);
    (!is_active(merge), merge.spec.priority, created, merge.name_any())
}

fn is_active(merge: &Merge) -> bool {
    !matches!(status(merge).phase, MergePhase::Queued)
}

/// The base branches that it moves, each with its namespace.
fn bases(merge: &Merge) -> Vec<Key> {
    let namespace = merge.namespace().unwrap_or_default();
    let all = merge.spec.repositories.iter();
    all.map(|one| (namespace.clone(), format!("{}:{}", one.name, one.base))).collect()
}

pub(crate) fn status(merge: &Merge) -> MergeStatus {
    merge.status.clone().unwrap_or_default()
}

/// The bare repository, once it is there.
pub(crate) fn hub(repository: &Repository) -> Option<&str> {
    repository.status.as_ref()?.hub.as_deref()
}
