//! Putting a branch on top of another one without a checkout.
//!
//! ```text
//! onto ── A' ── B'     each commit of the branch again, with its author, message and times
//!   \                  a branch with merges, or whose steps collide although the whole does not: one commit
//!    ── conflict       where the whole collides
//! ```
//!
//! The same branch on the same base gives the same commits, to the last bit: whoever is killed in the middle and begins
//! again comes to the same end. What comes out always holds what merging the branch would hold.

use crate::merge_tree::{MergeTree, merge_tree};
use crate::{Git, Result};

/// What became of a branch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rebased {
    /// It stands on top of the base.
    Done {
        /// The new tip; the base itself where the branch adds nothing to it.
        tip: String,
        /// Commits between base and tip.
        commits: usize,
    },
    /// It does not go together with the base.
    Conflict {
        /// A tree with the marks of conflicts in its files.
        tree: String,
        /// Paths in conflict.
        files: Vec<String>,
    },
}

/// What a branch becomes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// One commit.
    One,
    /// Its own commits, one by one, where they go onto the base like that.
    Each,
}

/// A commit of the branch.
struct Step {
    commit: String,
    parents: Vec<String>,
}

/// Puts the commits of `tip` that `onto` does not have on top of it. `subject` is the first line of the message where
/// they become one commit.
///
/// # Errors
/// When one of the two is not there, or git fails.
pub async fn rebase(git: &Git, onto: &str, tip: &str, subject: &str, shape: Shape) -> Result<Rebased> {
    let onto_tree = tree_of(git, onto).await?;
    let whole = merge_tree(git, onto, tip).await?;
    if matches!(&whole, MergeTree::Clean { tree } if *tree == onto_tree) {
        return Ok(Rebased::Done { tip: onto.to_owned(), commits: 0 });
    }
    let steps = steps(git, onto, tip).await?;
    let is_line = steps.iter().all(|step| step.parents.len() == 1);
    let as_they_are = shape == Shape::Each || steps.len() == 1;
    let first = steps.first().and_then(|step| step.parents.first());
    if as_they_are && is_line && first.is_some_and(|parent| parent == onto) {
        return Ok(Rebased::Done { tip: tip.to_owned(), commits: steps.len() });
    }
    let replayed = replay(git, onto, &onto_tree, &steps).await?;
    match (whole, replayed) {
        (MergeTree::Clean { tree }, Some(replayed)) if as_they_are && replayed.tree == tree => {
            Ok(replayed.done())
        }
        // A merge in the branch, or a step that was taken back later: only the whole is what was made.
        (MergeTree::Clean { tree }, _) => {
            let commit = squash(git, onto, tip, &tree, &steps, subject).await?;
            Ok(Rebased::Done { tip: commit, commits: 1 })
        }
        (MergeTree::Conflict { .. }, Some(replayed)) if is_line && as_they_are => Ok(replayed.done()),
        (MergeTree::Conflict { .. }, Some(replayed)) if is_line => {
            let commit = squash(git, onto, tip, &replayed.tree, &steps, subject).await?;
            Ok(Rebased::Done { tip: commit, commits: 1 })
        }
        (MergeTree::Conflict { tree, files }, _) => Ok(Rebased::Conflict { tree, files }),
    }
}

/// The branch again, so far.
struct Replayed {
    tip: String,
    tree: String,
    commits: usize,
}

impl Replayed {
    fn done(self) -> Rebased {
        Rebased::Done { tip: self.tip, commits: self.commits }
    }
}

/// Each commit but merges, one after the other. None when one of them collides.
async fn replay(git: &Git, onto: &str, onto_tree: &str, steps: &[Step]) -> Result<Option<Replayed>> {
    let mut done = Replayed { tip: onto.to_owned(), tree: onto_tree.to_owned(), commits: 0 };
    for step in steps {
        let parent = match step.parents.as_slice() {
            [parent] => parent,
            [] => return Ok(None),
            _ => continue,
        };
        if *parent == done.tip {
            let tree = tree_of(git, &step.commit).await?;
            done = Replayed { tip: step.commit.clone(), tree, commits: done.commits + 1 };
            continue;
        }
        // A commit with the tree so far whose parent is that of the step: merging the two applies the step alone.
        let ours = format!("tree {}\nparent {parent}\n{NOBODY}\n\nrebase\n", done.tree);
        let ours = git.fed(["hash-object", "-t", "commit", "-w", "--stdin"], ours.as_bytes()).await?;
        let MergeTree::Clean { tree } = merge_tree(git, &ours, &step.commit).await? else { return Ok(None) };
        if tree == done.tree {
            // The base has it already.
            continue;
        }
        let raw = git.output(&["cat-file", "commit", &step.commit], None).await?.stdout;
        let raw = moved(&raw, &tree, &done.tip);
        let tip = git.fed(["hash-object", "-t", "commit", "-w", "--stdin"], &raw).await?;
        done = Replayed { tip, tree, commits: done.commits + 1 };
    }
    Ok(Some(done))
}

/// Names and times of a commit that nobody will see.
const NOBODY: &str = "author gcluster <gcluster> 0 +0000\ncommitter gcluster <gcluster> 0 +0000";

/// A commit object with another tree and parent. Signatures of the old one are left out; everything else stays, in
/// whatever encoding it is.
fn moved(raw: &[u8], tree: &str, parent: &str) -> Vec<u8> {
    let end = raw.windows(2).position(|pair| pair == b"\n\n").map_or(raw.len(), |at| at + 1);
    let (head, message) = raw.split_at(end);
    let mut out = format!("tree {tree}\nparent {parent}\n").into_bytes();
    let mut keep = true;
    for line in head.split_inclusive(|byte| *byte == b'\n') {
        if !line.starts_with(b" ") {
            keep = [&b"author "[..], b"committer ", b"encoding "].iter().any(|kept| line.starts_with(kept));
        }
        if keep {
            out.extend_from_slice(line);
        }
    }
    out.extend_from_slice(message);
    out
}

/// One commit with the whole change, by the author of the tip, that names the others.
async fn squash(
    git: &Git,
    onto: &str,
    tip: &str,
    tree: &str,
    steps: &[Step],
    subject: &str,
) -> Result<String> {
    let own: Vec<&Step> = steps.iter().filter(|step| step.parents.len() < 2).collect();
    let last = own.last().map_or(tip, |step| step.commit.as_str());
    let show = |format: &'static str, commit: &str| {
        let args =
            ["-c", "i18n.logOutputEncoding=UTF-8", "show", "-s", "--no-show-signature"].map(str::to_owned);
        let args: Vec<String> =
            args.into_iter().chain([format!("--format={format}"), commit.to_owned()]).collect();
        async move { git.text(args).await }
    };
    let author = show("%an <%ae>", last).await?;
    let message = match own.as_slice() {
        [one] => show("%B", &one.commit).await?,
        all => {
            let mut subjects = String::new();
            let mut others: Vec<String> = Vec::new();
            for step in all {
                subjects += &format!("* {}\n", show("%s", &step.commit).await?);
                let other = show("%an <%ae>", &step.commit).await?;
                if other != author && !others.contains(&other) {
                    others.push(other);
                }
            }
            let trailers: String = others.iter().map(|other| format!("Co-authored-by: {other}\n")).collect();
            let gap = if trailers.is_empty() { "" } else { "\n" };
            format!("{}\n\n{subjects}{gap}{trailers}", subject.trim())
        }
    };
    let raw = git.output(&["cat-file", "commit", last], None).await?.stdout;
    let mut commit = moved(&raw, tree, onto);
    let end = commit.windows(2).position(|pair| pair == b"\n\n").map_or(commit.len(), |at| at + 1);
    commit.truncate(end);
    // The message is UTF-8 now.
    let head: Vec<&[u8]> = commit
        .split_inclusive(|byte| *byte == b'\n')
        .filter(|line| !line.starts_with(b"encoding "))
        .collect();
    let mut commit = head.concat();
    commit.extend_from_slice(format!("\n{}\n", message.trim_end()).as_bytes());
    git.fed(["hash-object", "-t", "commit", "-w", "--stdin"], &commit).await
}

/// The commits that `tip` has and `onto` has not, oldest first.
async fn steps(git: &Git, onto: &str, tip: &str) -> Result<Vec<Step>> {
    let range = format!("{onto}..{tip}");
    let list = git.text(["rev-list", "--reverse", "--topo-order", "--parents", &range]).await?;
    let step = |line: &str| {
        let mut words = line.split_whitespace().map(str::to_owned);
        Some(Step { commit: words.next()?, parents: words.collect() })
    };
    Ok(list.lines().filter_map(step).collect())
}

async fn tree_of(git: &Git, commit: &str) -> Result<String> {
    git.text(["rev-parse", "--verify", "--end-of-options", &format!("{commit}^{{tree}}")]).await
}

#[cfg(test)]
#[path = "rebase_tests.rs"]
mod tests;
