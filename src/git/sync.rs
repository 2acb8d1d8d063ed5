//! Commits between the hub and the user's own repository, in both directions: forwards only, and never over a change
//! that is not committed.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::{Error, Git, Hub, Result, Source, Unusable};

/// How long commits may travel.
const TRANSFER: Duration = Duration::from_secs(1_800);
/// How often a pull is tried that a merge came in between of.
const TRIES: usize = 3;

/// How a branch of the hub and that of the user stand to each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// Tip in the hub.
    pub hub: String,
    /// Tip in the user's repository.
    pub host: String,
    /// Commits of the hub that the user lacks, and the other way round; none when they have nothing in common.
    pub apart: Option<(i64, i64)>,
}

/// What became of a pull.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pulled {
    /// Both are the same.
    UpToDate,
    /// The user has nothing new; the hub is ahead by so many commits.
    NothingNew(i64),
    /// The base of the hub was moved forwards by so many commits, to this one.
    Moved {
        /// How many.
        commits: i64,
        /// Its new tip.
        to: String,
    },
    /// Each has commits that the other lacks.
    Diverged(Standing),
}

/// What became of the push of one branch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pushed {
    /// Both are the same, or the user's is newer.
    UpToDate,
    /// The user has the branch now.
    Created,
    /// It was moved forwards by so many commits, with the files of the checkout where it is checked out.
    Moved {
        /// How many; none where that is not known.
        commits: Option<i64>,
        /// The checkout whose files were brought up to date.
        checkout: Option<PathBuf>,
    },
    /// Each has commits that the other lacks.
    Diverged,
    /// It is checked out there, with changes that are not committed.
    Dirty(PathBuf),
}

/// Looks at the base branch of both, with the newest of the user's.
///
/// # Errors
/// When one of them cannot be read.
pub async fn standing(hub: &Hub, source: &Source, base: &str) -> Result<Standing, Unusable> {
    let newest = source.tip(base).await?;
    let mut tips = hub.tips(base).await?;
    if tips.host.as_ref() != Some(&newest.commit) {
        hub.fetch_host(&source.address(), base).await?;
        tips = hub.tips(base).await?;
    }
    let missing = || Unusable::NoBase { place: hub.path().display().to_string(), base: base.to_owned() };
    let (Some(ours), Some(theirs)) = (tips.base, tips.host) else { return Err(missing()) };
    let apart = hub.apart(&ours, &theirs).await?;
    Ok(Standing { hub: ours, host: theirs, apart })
}

/// Brings the user's commits of the base branch into the hub, if the hub has none of its own.
///
/// # Errors
/// When one of them cannot be read, or the hub not be written.
pub async fn pull(hub: &Hub, source: &Source, base: &str) -> Result<Pulled, Unusable> {
    for _ in 0..TRIES {
        let standing = standing(hub, source, base).await?;
        match standing.apart {
            Some((0, 0)) => return Ok(Pulled::UpToDate),
            Some((ahead, 0)) => return Ok(Pulled::NothingNew(ahead)),
            Some((0, commits)) => {
                let name = format!("refs/heads/{base}");
                if hub.swap(&name, &standing.host, Some(&standing.hub), "gcluster: sync pull").await? {
                    return Ok(Pulled::Moved { commits, to: standing.host });
                }
                // A merge has moved it meanwhile.
            }
            _ => return Ok(Pulled::Diverged(standing)),
        }
    }
    standing(hub, source, base).await.map(Pulled::Diverged)
}

/// Brings a branch of the hub into the user's repository, forwards only. Where it is checked out, the files come with
/// it, unless something there is not committed.
///
/// # Errors
/// When one of them cannot be read, or git refuses, in its words.
pub async fn push(hub: &Hub, source: &Source, branch: &str) -> Result<Pushed, Unusable> {
    let reference = format!("refs/heads/{branch}");
    let no_branch = || Unusable::NoBase { place: hub.path().display().to_string(), base: branch.to_owned() };
    let ours = hub.commit(&reference).await?.ok_or_else(no_branch)?;
    let Some(host) = source.directory() else {
        return push_far(hub, &source.address(), &reference, &ours).await;
    };
    let git = Git::new(host).limit(TRANSFER);
    let theirs = match source.tip(branch).await {
        Ok(tip) if tip.commit == ours => return Ok(Pushed::UpToDate),
        Ok(tip) => Some(tip.commit),
        Err(Unusable::NoBase { .. }) => None,
        Err(error) => return Err(error),
    };
    let from = hub.path().display().to_string();
    let Some(theirs) = theirs else {
        git.text([
            "fetch",
            "--quiet",
            "--no-write-fetch-head",
            "--",
            &from,
            &format!("{reference}:{reference}"),
        ])
        .await?;
        return Ok(Pushed::Created);
    };
    // The commits first, without a name: what they are can be asked then.
    git.text(["fetch", "--quiet", "--no-write-fetch-head", "--no-tags", "--", &from, &reference]).await?;
    if is_ancestor(&git, &ours, &theirs).await? {
        return Ok(Pushed::UpToDate);
    }
    if !is_ancestor(&git, &theirs, &ours).await? {
        return Ok(Pushed::Diverged);
    }
    let commits = git.text(["rev-list", "--count", &format!("{theirs}..{ours}")]).await?.parse().ok();
    let Some(checkout) = checkout_of(&git, &reference).await? else {
        // Git itself refuses one that is being rebased, and one that was moved meanwhile to somewhere else.
        let refspec = format!("{reference}:{reference}");
        git.text(["fetch", "--quiet", "--no-write-fetch-head", "--no-tags", "--", &from, &refspec]).await?;
        return Ok(Pushed::Moved { commits, checkout: None });
    };
    let there = Git::new(&checkout).limit(TRANSFER);
    if !there.text(["status", "--porcelain", "--untracked-files=no"]).await?.is_empty() {
        return Ok(Pushed::Dirty(checkout));
    }
    // Refused, with nothing changed, where a file that git does not know would be overwritten.
    there.text(["merge", "--ff-only", "--quiet", &ours]).await?;
    Ok(Pushed::Moved { commits, checkout: Some(checkout) })
}

/// The tips of all branches of the user's repository; none of one behind an address.
///
/// # Errors
/// When it cannot be read.
pub async fn branches(source: &Source) -> Result<BTreeMap<String, String>> {
    let Some(host) = source.directory() else { return Ok(BTreeMap::new()) };
    let format = "--format=%(refname:lstrip=2) %(objectname)";
    let listed = Git::new(host).text(["for-each-ref", format, "refs/heads/"]).await?;
    let pairs = listed.lines().filter_map(|line| line.rsplit_once(' '));
    Ok(pairs.map(|(name, commit)| (name.to_owned(), commit.to_owned())).collect())
}

async fn push_far(hub: &Hub, address: &str, reference: &str, commit: &str) -> Result<Pushed, Unusable> {
    let git = hub.git().limit(TRANSFER);
    let refspec = format!("{commit}:{reference}");
    let args = ["push", "--porcelain", "--no-verify", "--", address, &refspec];
    let output = git.output(&args, None).await?;
    let said = output.text();
    match output.code {
        Some(0) if said.lines().any(|line| line.starts_with('=')) => Ok(Pushed::UpToDate),
        Some(0) if said.lines().any(|line| line.starts_with('*')) => Ok(Pushed::Created),
        Some(0) => Ok(Pushed::Moved { commits: None, checkout: None }),
        _ if said.contains("(non-fast-forward)") || said.contains("(fetch first)") => Ok(Pushed::Diverged),
        code => {
            let (command, directory) = (args.join(" "), hub.path().to_owned());
            Err(Error::Failed { command, directory, code, said: output.stderr }.into())
        }
    }
}

async fn is_ancestor(git: &Git, old: &str, new: &str) -> Result<bool> {
    let args = ["merge-base", "--is-ancestor", old, new];
    let output = git.output(&args, None).await?;
    match output.code {
        Some(0) => Ok(true),
        Some(1) => Ok(false),
        _ => git.text(args).await.map(|_| true),
    }
}

/// The folder in which a branch is checked out.
async fn checkout_of(git: &Git, reference: &str) -> Result<Option<PathBuf>> {
    let listed = git.text(["worktree", "list", "--porcelain", "-z"]).await?;
    let mut folder = None;
    for line in listed.split('\0') {
        if let Some(path) = line.strip_prefix("worktree ") {
            folder = Some(Path::new(path));
        }
        if line.strip_prefix("branch ") == Some(reference) {
            return Ok(folder.map(Path::to_owned));
        }
    }
    Ok(None)
}

#[cfg(test)]
#[path = "sync_tests.rs"]
mod tests;
