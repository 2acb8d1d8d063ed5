//! Moving several branches, each of a repository of its own, together or not at all.
//!
//! ```text
//! every repository: lock the ref, compare it with what it should be ──all agree──▶ every repository: move it
//!                                         └─ one does not ──▶ every repository: let go, nothing was moved
//! ```
//!
//! A master that is killed takes its gits' input away, and a git without input lets go. What was being moved at that
//! very moment is moved in some repositories and not in others: whoever wrote down beforehand what was to be moved finds
//! that out with [`crate::worktree::commit`] and moves the rest.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdin, ChildStdout};

use crate::{Error, Git, Result};

/// How long one step of a git may take. Hooks run within it.
const LIMIT: Duration = Duration::from_secs(60);
/// A lock that is older than this was left by a machine that went down.
const ABANDONED: Duration = Duration::from_secs(600);

/// One ref that is to be moved.
#[derive(Debug, Clone)]
pub struct Move {
    /// Git in the repository.
    pub git: Git,
    /// The whole name of the ref.
    pub reference: String,
    /// Where it is to be.
    pub new: String,
    /// Where it has to be now.
    pub old: String,
    /// What the reflog says.
    pub why: String,
}

/// Moves all of the refs or, where one is not where it has to be, none. An error while the first is locked to the last
/// means that none was moved; one after that says so in its words, and whoever gets it has to look.
///
/// # Errors
/// When a git refuses or cannot be run.
pub async fn move_together(moves: &[Move]) -> Result<()> {
    let mut prepared = Vec::new();
    let mut refused = None;
    for one in moves {
        match Transaction::prepare(one).await {
            Ok(transaction) => prepared.push(transaction),
            Err(error) => {
                refused = Some(error);
                break;
            }
        }
    }
    if let Some(error) = refused {
        for transaction in prepared {
            transaction.abort().await;
        }
        return Err(error);
    }
    let mut failed = None;
    for transaction in prepared {
        // One that fails keeps no other from being moved: all of them agreed.
        if let Err(error) = transaction.commit().await {
            failed = Some(error);
        }
    }
    failed.map_or(Ok(()), Err)
}

/// Takes away the lock of a ref that was left when the machine went down. Answers its path if there was one.
pub fn remove_abandoned_lock(repository: &Path, reference: &str) -> Option<PathBuf> {
    let path = repository.join(format!("{reference}.lock"));
    let written = std::fs::metadata(&path).and_then(|meta| meta.modified()).ok()?;
    let age = SystemTime::now().duration_since(written).ok()?;
    (age > ABANDONED && std::fs::remove_file(&path).is_ok()).then_some(path)
}

/// A git that holds the lock of a ref.
struct Transaction {
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
    directory: PathBuf,
}

impl Transaction {
    async fn prepare(one: &Move) -> Result<Transaction> {
        let directory = one.git.directory().to_owned();
        let io = |source| Error::Io {
            command: "update-ref --stdin".to_owned(),
            directory: directory.clone(),
            source,
        };
        let args = ["update-ref", "--create-reflog", "-m", &one.why, "--stdin"];
        // It ends by itself when its input does. One that is killed would leave its lock behind.
        let mut child = one.git.command(&args, true).kill_on_drop(false).spawn().map_err(io)?;
        let missing = || io(std::io::Error::other("it has no input or output"));
        let stdin = child.stdin.take().ok_or_else(missing)?;
        let stdout = BufReader::new(child.stdout.take().ok_or_else(missing)?);
        let mut transaction = Transaction { child, stdin, stdout, directory: directory.clone() };
        let wanted = format!("start\nupdate {} {} {}\nprepare\n", one.reference, one.new, one.old);
        match transaction.say(&wanted, "prepare: ok").await {
            Ok(()) => Ok(transaction),
            Err(error) => {
                transaction.abort().await;
                Err(error)
            }
        }
    }

    async fn commit(mut self) -> Result<()> {
        let said = self.say("commit\n", "commit: ok").await;
        self.abort().await;
        said
    }

    /// Lets go, if it was not moved.
    async fn abort(self) {
        let Transaction { mut child, stdin, stdout, .. } = self;
        drop(stdin);
        drop(stdout);
        if tokio::time::timeout(LIMIT, child.wait()).await.is_err() {
            tokio::spawn(async move { child.wait().await });
        }
    }

    /// Says something and reads until the answer comes.
    async fn say(&mut self, words: &str, answer: &str) -> Result<()> {
        let directory = self.directory.clone();
        let command = || "update-ref --stdin".to_owned();
        let talk = async {
            // Git may be gone already; then its complaint says why.
            let _ = self.stdin.write_all(words.as_bytes()).await;
            let _ = self.stdin.flush().await;
            let mut line = String::new();
            loop {
                line.clear();
                match self.stdout.read_line(&mut line).await {
                    Ok(1..) if line.trim_end() == answer => return None,
                    Ok(1..) => {}
                    Ok(0) | Err(_) => break,
                }
            }
            let mut said = String::new();
            if let Some(stderr) = self.child.stderr.as_mut() {
                // What cannot be read is not quoted.
                let _ = stderr.take(4_096).read_to_string(&mut said).await;
            }
            Some(said.trim().to_owned())
        };
        match tokio::time::timeout(LIMIT, talk).await {
            Ok(None) => Ok(()),
            Ok(Some(said)) => Err(Error::Failed { command: command(), directory, code: None, said }),
            Err(_) => Err(Error::TimedOut { command: command(), directory, seconds: LIMIT.as_secs() }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scratch::Scratch;

    async fn two() -> (Scratch, String, String) {
        let scratch = Scratch::new().await;
        let old = scratch.commit("main", &[("a", "1\n")]).await;
        scratch.branch("next", &old).await;
        let new = scratch.commit("next", &[("a", "2\n")]).await;
        (scratch, old, new)
    }

    fn to(scratch: &Scratch, old: &str, new: &str) -> Move {
        Move {
            git: scratch.git(),
            reference: "refs/heads/main".into(),
            new: new.into(),
            old: old.into(),
            why: "gcluster: test".into(),
        }
    }

    #[tokio::test]
    async fn all_are_moved_or_none() {
        let ((a, a_old, a_new), (b, b_old, b_new)) = (two().await, two().await);
        let error = move_together(&[to(&a, &a_old, &a_new), to(&b, &b_new, &b_new)]).await.unwrap_err();
        assert!(error.to_string().contains("cannot lock ref 'refs/heads/main'"), "{error}");
        assert_eq!((a.tip("main").await, b.tip("main").await), (a_old.clone(), b_old.clone()));
        move_together(&[to(&a, &a_old, &a_new), to(&b, &b_old, &b_new)]).await.unwrap();
        assert_eq!((a.tip("main").await, b.tip("main").await), (a_new.clone(), b_new));
        let reflog = a.git().text(["reflog", "show", "-1", "--format=%gs", "main"]).await.unwrap();
        assert_eq!(reflog, "gcluster: test");
        // Again: it is not where it was.
        move_together(&[to(&a, &a_old, &a_new)]).await.unwrap_err();
        assert_eq!(a.tip("main").await, a_new);
    }

    #[tokio::test]
    async fn whoever_does_not_go_through_with_it_leaves_no_lock() {
        let (a, old, new) = two().await;
        let held = Transaction::prepare(&to(&a, &old, &new)).await.unwrap();
        let lock = a.hub().join("refs/heads/main.lock");
        assert!(lock.exists());
        assert!(move_together(&[to(&a, &old, &new)]).await.is_err(), "it is locked");
        assert_eq!(remove_abandoned_lock(a.hub(), "refs/heads/main"), None, "it is in use");
        held.abort().await;
        assert!(!lock.exists());
        assert_eq!(a.tip("main").await, old);
        // The machine goes down.
        std::fs::write(&lock, "").unwrap();
        let long_ago = SystemTime::now() - ABANDONED * 2;
        std::fs::File::open(&lock).unwrap().set_modified(long_ago).unwrap();
        assert_eq!(remove_abandoned_lock(a.hub(), "refs/heads/main"), Some(lock));
        move_together(&[to(&a, &old, &new)]).await.unwrap();
    }
}
