//! Which branches there are, which pairs of them matter, and what each ticket is told. Pure.

use std::collections::{BTreeMap, BTreeSet};

use gcluster_types::{Repository, Ticket, Workspace};

use crate::mirror::Key;

/// How many files of one collision are named.
const FILES: usize = 3;
/// How many collisions of one ticket are told in words.
const CLASHES: usize = 10;

/// A branch that a ticket is worked on in, in one repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Branch {
    pub(crate) ticket: Key,
    pub(crate) commit: String,
}

/// The branches of one repository.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Group {
    pub(crate) hub: String,
    pub(crate) base: String,
    /// Tip of the base branch, where it is known.
    pub(crate) base_commit: Option<String>,
    pub(crate) branches: Vec<Branch>,
}

/// Two commits of one repository; the order does not matter to a merge.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Pair {
    pub(crate) repository: Key,
    pub(crate) one: String,
    pub(crate) other: String,
}

impl Pair {
    pub(crate) fn new(repository: &Key, a: &str, b: &str) -> Pair {
        let (one, other) = if a <= b { (a, b) } else { (b, a) };
        Pair { repository: repository.clone(), one: one.to_owned(), other: other.to_owned() }
    }
}

/// One collision that is to be expected, as one of the two sides is told.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Clash {
    /// The other ticket; none for the base branch.
    pub(crate) with: Option<String>,
    pub(crate) repository: String,
    pub(crate) base: String,
    pub(crate) files: Vec<String>,
}

/// All branches in flight that have a commit of their own, by repository.
pub(crate) fn groups(
    tickets: &BTreeMap<Key, &Ticket>,
    workspaces: &BTreeMap<Key, &Workspace>,
    repositories: &BTreeMap<Key, &Repository>,
) -> BTreeMap<Key, Group> {
    let mut groups: BTreeMap<Key, Group> = BTreeMap::new();
    for (key, ticket) in tickets {
        let Some(status) = ticket.status.as_ref().filter(|status| status.phase.is_in_flight()) else {
            continue;
        };
        let name = status.workspace.as_ref().unwrap_or(&key.1);
        let workspace = workspaces.get(&(key.0.clone(), name.clone()));
        let seen = workspace.and_then(|workspace| workspace.status.as_ref());
        let mut tips: BTreeMap<String, (String, String)> = BTreeMap::new();
        for change in &status.changes {
            tips.insert(change.repository.clone(), (change.start.clone(), change.commit.clone()));
        }
        // The workspace is looked at more often.
        for checkout in seen.map(|seen| seen.repositories.as_slice()).unwrap_or_default() {
            tips.insert(checkout.name.clone(), (checkout.start.clone(), checkout.commit.clone()));
        }
        for (name, (start, commit)) in tips {
            let repository = (key.0.clone(), name);
            let Some(found) = repositories.get(&repository) else { continue };
            let status = found.status.clone().unwrap_or_default();
            let Some(hub) = status.hub else { continue };
            if commit.is_empty() || commit == start {
                continue;
            }
            let group = groups.entry(repository).or_insert_with(|| Group {
                hub,
                base: found.spec.base.clone(),
                base_commit: status.base_commit,
                branches: Vec::new(),
            });
            group.branches.push(Branch { ticket: key.clone(), commit });
        }
    }
    groups
}

/// Every pair that matters: of two branches, and of each with its base.
pub(crate) fn pairs(groups: &BTreeMap<Key, Group>) -> BTreeSet<Pair> {
    let mut all = BTreeSet::new();
    for (repository, group) in groups {
        for (at, branch) in group.branches.iter().enumerate() {
            for other in group.branches.iter().skip(at + 1).filter(|other| other.commit != branch.commit) {
                all.insert(Pair::new(repository, &branch.commit, &other.commit));
            }
            if let Some(base) = &group.base_commit {
                all.insert(Pair::new(repository, &branch.commit, base));
            }
        }
    }
    all
}

/// What each ticket has to expect, by what is known of pairs: the files in conflict, none where they go together.
pub(crate) fn clashes(
    groups: &BTreeMap<Key, Group>,
    known: &BTreeMap<Pair, Vec<String>>,
) -> BTreeMap<Key, Vec<Clash>> {
    let mut all: BTreeMap<Key, Vec<Clash>> = BTreeMap::new();
    for (repository, group) in groups {
        let files =
            |a: &str, b: &str| known.get(&Pair::new(repository, a, b)).filter(|files| !files.is_empty());
        let mut tell = |ticket: &Key, with: Option<&Key>, files: &[String]| {
            all.entry(ticket.clone()).or_default().push(Clash {
                with: with.map(|with| with.1.clone()),
                repository: repository.1.clone(),
                base: group.base.clone(),
                files: files.to_owned(),
            });
        };
        for (at, branch) in group.branches.iter().enumerate() {
            for other in group.branches.iter().skip(at + 1) {
                if let Some(files) = files(&branch.commit, &other.commit) {
                    tell(&branch.ticket, Some(&other.ticket), files);
                    tell(&other.ticket, Some(&branch.ticket), files);
                }
            }
            if let Some(files) = group.base_commit.as_ref().and_then(|base| files(&branch.commit, base)) {
                tell(&branch.ticket, None, files);
            }
        }
    }
    all.values_mut().for_each(|clashes| clashes.sort());
    all
}

/// The clashes of a ticket in one sentence.
pub(crate) fn sentence(clashes: &[Clash]) -> String {
    let more = clashes.len().saturating_sub(CLASHES);
    let said = clashes.iter().take(CLASHES).map(|clash| {
        let more = clash.files.len().saturating_sub(FILES);
        let more = if more == 0 { String::new() } else { format!(" and {more} more") };
        let files: Vec<&str> = clash.files.iter().take(FILES).map(String::as_str).collect();
        let with = match &clash.with {
            Some(ticket) => format!("ticket {ticket}"),
            None => format!("{} as it is now", clash.base),
        };
        format!("with {with} in {}{more} (repository {})", files.join(", "), clash.repository)
    });
    let more = if more == 0 { String::new() } else { format!("; and {more} more") };
    format!("a conflict is to be expected {}{more}", said.collect::<Vec<_>>().join("; "))
}

/// Whether two branches can collide at all: a path of one is one of the other's, or lies below it.
pub(crate) fn overlap(one: &BTreeSet<String>, other: &BTreeSet<String>) -> bool {
    let below = |files: &BTreeSet<String>, path: &str| {
        path.match_indices('/').any(|(at, _)| path.get(..at).is_some_and(|folder| files.contains(folder)))
    };
    one.iter().any(|path| other.contains(path) || below(other, path))
        || other.iter().any(|path| below(one, path))
}
