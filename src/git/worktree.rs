//! Worktrees of a bare repository: added, found, mended, removed.
//!
//! ```text
//! hub.git/worktrees/ID/gitdir ──names──▶ PATH/.git ──names──▶ hub.git/worktrees/ID
//! ```
//!
//! The record in the hub holds HEAD, the index and the reflog of a worktree, and outlives a folder that somebody
//! deleted.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::salvage::failed;
use crate::{Error, Git, Result};

/// What git writes into the lock of a worktree that is being made.
const BEING_MADE: &str = "initializing";
/// What it says to whoever prunes worktrees, or removes that of another worker.
const LOCK: &str = "a workspace of gcluster, which removes it after keeping what is in it";

/// What is there of a worktree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// Folder and record, which name each other.
    Whole {
        /// The record's directory.
        record: PathBuf,
    },
    /// The hub has a record of it, the folder is gone.
    FolderGone {
        /// The record's directory.
        record: PathBuf,
    },
    /// The folder is there and the hub knows nothing of it, or the two do not name each other.
    Broken {
        /// The record's directory, where there is one.
        record: Option<PathBuf>,
    },
    /// Neither.
    Nothing,
}

impl Found {
    /// The record's directory in the hub.
    pub fn record(&self) -> Option<&Path> {
        match self {
            Found::Whole { record } | Found::FolderGone { record } => Some(record),
            Found::Broken { record } => record.as_deref(),
            Found::Nothing => None,
        }
    }
}

/// Looks for the worktree at `path` in the hub. Reads a few small files and starts no git.
pub fn find(hub: &Path, path: &Path) -> Found {
    let record = record(hub, path);
    let is_there = fs::symlink_metadata(path).is_ok();
    match record {
        None if is_there => Found::Broken { record: None },
        None => Found::Nothing,
        Some(record) if !is_there => Found::FolderGone { record },
        Some(record) => {
            let text = fs::read_to_string(path.join(".git")).unwrap_or_default();
            let named = text.trim().strip_prefix("gitdir:").map(|named| path.join(named.trim()));
            let same = named.is_some_and(|named| is_same(&named, &record));
            if same && !is_half_made(&record) && record.join("HEAD").is_file() {
                Found::Whole { record }
            } else {
                Found::Broken { record: Some(record) }
            }
        }
    }
}

/// Whether git was killed over making the worktree of a record: nobody has worked in it.
pub fn is_half_made(record: &Path) -> bool {
    fs::read_to_string(record.join("locked")).is_ok_and(|lock| lock.trim() == BEING_MADE)
}

/// Locks a worktree that is whole, if it is not: no `git worktree prune` and no `git worktree remove --force` takes it
/// or its record away then.
///
/// # Errors
/// When the lock cannot be written.
pub fn lock(record: &Path) -> std::io::Result<()> {
    let lock = record.join("locked");
    if fs::read_to_string(&lock).is_ok_and(|text| text.trim() == LOCK) {
        return Ok(());
    }
    let new = record.join("locked.new");
    fs::write(&new, LOCK)?;
    fs::rename(new, lock)
}

/// The record of the worktree at `path`, whether that is there or not.
pub(crate) fn record(hub: &Path, path: &Path) -> Option<PathBuf> {
    let records = fs::read_dir(hub.join("worktrees")).ok()?;
    records.flatten().map(|entry| entry.path()).find(|record| {
        let text = fs::read_to_string(record.join("gitdir")).unwrap_or_default();
        let folder = record.join(text.trim());
        folder.file_name().is_some_and(|name| name == ".git")
            && folder.parent().is_some_and(|folder| is_same(folder, path))
    })
}

fn is_same(one: &Path, other: &Path) -> bool {
    let real = |path: &Path| fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    one == other || real(one) == real(other)
}

/// Makes a worktree with `branch` checked out. A branch that is not there begins at `start`; one that is there is
/// used as it is.
///
/// # Errors
/// When `path` is taken, the branch is checked out elsewhere, or `start` is no commit.
pub async fn add(hub: &Git, path: &Path, branch: &str, start: &str) -> Result<()> {
    let exists = tip(hub, branch).await?.is_some();
    let name = path.to_string_lossy().into_owned();
    match exists {
        true => begin(hub, &["--", &name, branch]).await?,
        false => begin(hub, &["--no-track", "-b", branch, "--", &name, start]).await?,
    }
    finish(hub, path)
}

/// Begins a worktree, which is taken for half made until [`finish`].
pub(crate) async fn begin(hub: &Git, args: &[&str]) -> Result<()> {
    // A person's settings must not make a worktree that cannot be found.
    let plain = ["-c", "worktree.useRelativePaths=false", "worktree", "add", "--quiet"];
    let lock = ["--lock", "--reason", BEING_MADE];
    hub.text(plain.iter().chain(&lock).chain(args)).await.map(drop)
}

/// From here on it is whole, and stays.
pub(crate) fn finish(hub: &Git, path: &Path) -> Result<()> {
    let done = match record(hub.directory(), path) {
        Some(record) => lock(&record),
        None => Err(std::io::Error::other("the new worktree is not found")),
    };
    done.map_err(|error| failed(hub, "lock the worktree", error))
}

/// Gives a folder its record again, which somebody has pruned or deleted: no file in it changes, and `branch` is checked
/// out. What was staged went with the record, but for what `save` has.
///
/// # Errors
/// When it is the folder of something else, or git cannot write.
pub async fn adopt(hub: &Git, path: &Path, branch: &str, save: Option<&str>) -> Result<()> {
    let named = fs::read_to_string(path.join(".git")).unwrap_or_default();
    let named = named.trim().strip_prefix("gitdir:").map(|named| path.join(named.trim()));
    let records = hub.directory().join("worktrees");
    if !named.is_some_and(|named| named.parent().is_some_and(|parent| is_same(parent, &records))) {
        let other = std::io::Error::other("it is no worktree of this repository");
        return Err(failed(hub, &format!("adopt {}", path.display()), other));
    }
    // Beside the folder of the records: whoever lists worktrees sees where it belongs once it does.
    let own = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let stand_in = hub.directory().join("gcluster/adopted").join(own);
    remove(hub, &stand_in).await?;
    if let Some(parent) = stand_in.parent() {
        fs::create_dir_all(parent).map_err(|error| failed(hub, "make a folder for a worktree", error))?;
    }
    begin(hub, &["--no-checkout", "--", &stand_in.to_string_lossy(), branch]).await?;
    let Some(record) = record(hub.directory(), &stand_in) else { return finish(hub, &stand_in) };
    let git = hub.at(&stand_in);
    git.text(["read-tree", "HEAD"]).await?;
    if let Some(save) = save {
        let begun_at = crate::contents(hub, save).await?.tip;
        if tip(hub, branch).await? == Some(begun_at) {
            crate::restore::restore_record(hub, &stand_in, &record, save).await?;
        }
    }
    let moved = || -> std::io::Result<()> {
        fs::write(path.join(".git"), format!("gitdir: {}\n", record.display()))?;
        fs::write(record.join("gitdir"), format!("{}\n", path.join(".git").display()))?;
        lock(&record)?;
        fs::remove_dir_all(&stand_in)
    };
    moved().map_err(|error| failed(hub, &format!("adopt {}", path.display()), error))?;
    // The exit code says that files differ, as they did.
    hub.at(path).output(&["update-index", "-q", "--refresh"], None).await.map(drop)
}

/// Takes a worktree away: folder and record, whatever is in it. What is not there is no error.
///
/// # Errors
/// When something of it stays.
pub async fn remove(hub: &Git, path: &Path) -> Result<()> {
    if let Some(record) = find(hub.directory(), path).record() {
        // The folder first: without the record it could not be told from somebody else's.
        remove_folder(hub, path)?;
        remove_folder(hub, record)?;
    }
    Ok(())
}

fn remove_folder(hub: &Git, path: &Path) -> Result<()> {
    delete(path).map_err(|source| Error::Io {
        command: format!("worktree remove {}", path.display()),
        directory: hub.directory().to_owned(),
        source,
    })
}

/// Deletes a folder with everything in it, read-only folders included. One that is not there is no error.
///
/// # Errors
/// When something of it stays.
pub fn delete(path: &Path) -> std::io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            open_up(path);
            fs::remove_dir_all(path)
        }
        other => other,
    }
}

/// Lets the owner change every folder below: caches of packages come without that right.
fn open_up(path: &Path) {
    let mut open = vec![path.to_owned()];
    while let Some(folder) = open.pop() {
        // What cannot be opened is told by the deletion that follows.
        let _ = fs::set_permissions(&folder, fs::Permissions::from_mode(0o700));
        let entries = fs::read_dir(&folder).into_iter().flatten().flatten();
        open.extend(entries.filter(|e| e.file_type().is_ok_and(|kind| kind.is_dir())).map(|e| e.path()));
    }
}

/// Makes the folders of all worktrees name their records again.
///
/// # Errors
/// When git cannot.
pub async fn repair(hub: &Git) -> Result<()> {
    hub.text(["worktree", "repair"]).await.map(drop)
}

/// The tip of a branch; none when there is no such branch.
///
/// # Errors
/// When git cannot be run.
pub async fn tip(hub: &Git, branch: &str) -> Result<Option<String>> {
    commit(hub, &format!("refs/heads/{branch}")).await
}

/// The commit that a name stands for; none when it stands for none.
///
/// # Errors
/// When git cannot be run.
pub async fn commit(git: &Git, name: &str) -> Result<Option<String>> {
    let args = ["rev-parse", "--verify", "--quiet", "--end-of-options", &format!("{name}^{{commit}}")];
    let output = git.output(&args, None).await?;
    Ok((output.code == Some(0)).then(|| output.text()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scratch::Scratch;

    #[tokio::test]
    async fn a_worktree_begins_at_its_start_and_an_existing_branch_goes_on() {
        let scratch = Scratch::new().await;
        let first = scratch.commit("main", &[("a", "one\n")]).await;
        let path = scratch.path().join("trees/one");
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        assert_eq!(find(scratch.hub(), &path), Found::Nothing);
        add(&scratch.git(), &path, "agent-1/feat-1", "main").await.unwrap();
        assert!(matches!(find(scratch.hub(), &path), Found::Whole { .. }));
        assert_eq!(scratch.tip("agent-1/feat-1").await, first);
        assert_eq!(fs::read_to_string(path.join("a")).unwrap(), "one\n");
        remove(&scratch.git(), &path).await.unwrap();
        assert_eq!(find(scratch.hub(), &path), Found::Nothing);
        remove(&scratch.git(), &path).await.unwrap();

        let work = scratch.commit("agent-1/feat-1", &[("a", "two\n")]).await;
        scratch.commit("main", &[("a", "three\n")]).await;
        add(&scratch.git(), &path, "agent-1/feat-1", "main").await.unwrap();
        assert_eq!(Git::new(&path).text(["rev-parse", "HEAD"]).await.unwrap(), work);
        assert_eq!(fs::read_to_string(path.join("a")).unwrap(), "two\n");
        // Nobody else gets the same branch.
        let twice = add(&scratch.git(), &scratch.path().join("trees/two"), "agent-1/feat-1", "main").await;
        assert!(twice.unwrap_err().to_string().contains("agent-1/feat-1"));
    }

    #[tokio::test]
    async fn what_is_left_of_a_worktree_is_told_and_mended() {
        let scratch = Scratch::new().await;
        scratch.commit("main", &[("a", "one\n")]).await;
        let path = scratch.path().join("tree");
        add(&scratch.git(), &path, "b", "main").await.unwrap();
        fs::remove_file(path.join(".git")).unwrap();
        assert!(matches!(find(scratch.hub(), &path), Found::Broken { record: Some(_) }));
        repair(&scratch.git()).await.unwrap();
        let Found::Whole { record } = find(scratch.hub(), &path) else { panic!("it is whole again") };
        assert!(fs::read_to_string(record.join("locked")).unwrap().contains("gcluster"));
        fs::write(record.join("locked"), "initializing").unwrap();
        assert!(matches!(find(scratch.hub(), &path), Found::Broken { record: Some(_) }));
        fs::remove_dir_all(&path).unwrap();
        assert!(matches!(find(scratch.hub(), &path), Found::FolderGone { .. }));
        remove(&scratch.git(), &path).await.unwrap();
        fs::create_dir(&path).unwrap();
        assert_eq!(find(scratch.hub(), &path), Found::Broken { record: None });
        remove(&scratch.git(), &path).await.unwrap();
        assert!(path.exists(), "a folder that the hub knows nothing of is somebody else's");
    }

    #[tokio::test]
    async fn nobody_else_prunes_or_removes_it_and_a_record_that_is_gone_is_made_again() {
        let scratch = Scratch::new().await;
        scratch.commit("main", &[("a", "one\n"), ("b", "two\n")]).await;
        let (path, other) = (scratch.path().join("tree"), scratch.path().join("other"));
        for (path, branch) in [(&path, "mine"), (&other, "theirs")] {
            add(&scratch.git(), path, branch, "main").await.unwrap();
        }
        let name = path.to_string_lossy().into_owned();
        let refused = Git::new(&other).text(["worktree", "remove", "--force", &name]).await.unwrap_err();
        assert!(refused.to_string().contains("a workspace of gcluster"), "{refused}");
        // As in a container that does not see it.
        let away = scratch.path().join("away");
        fs::rename(&path, &away).unwrap();
        Git::new(&other).text(["worktree", "prune", "--expire=now"]).await.unwrap();
        fs::rename(&away, &path).unwrap();
        let Found::Whole { record } = find(scratch.hub(), &path) else { panic!("it was pruned") };

        fs::write(path.join("a"), "changed\n").unwrap();
        fs::remove_file(path.join("b")).unwrap();
        fs::write(path.join("new"), "x\n").unwrap();
        fs::remove_dir_all(record).unwrap();
        assert_eq!(find(scratch.hub(), &path), Found::Broken { record: None });
        for _ in 0..2 {
            adopt(&scratch.git(), &path, "mine", None).await.unwrap();
            let Found::Whole { record } = find(scratch.hub(), &path) else { panic!("it is not adopted") };
            let git = Git::new(&path);
            assert_eq!(git.text(["status", "--porcelain"]).await.unwrap(), " M a\n D b\n?? new");
            assert_eq!(git.text(["branch", "--show-current"]).await.unwrap(), "mine");
            fs::remove_dir_all(record).unwrap();
            // Killed in the middle, it is begun again.
            let stand_in = scratch.hub().join("gcluster/adopted/tree");
            begin(&scratch.git(), &["--no-checkout", "--", &stand_in.to_string_lossy(), "mine"])
                .await
                .unwrap();
        }
        let stranger = scratch.path().join("stranger");
        fs::create_dir(&stranger).unwrap();
        assert!(adopt(&scratch.git(), &stranger, "mine", None).await.is_err());
    }

    #[test]
    fn read_only_folders_are_deleted_too() {
        let dir = tempfile::tempdir().unwrap();
        let deep = dir.path().join("tree/cache/module");
        fs::create_dir_all(&deep).unwrap();
        fs::write(deep.join("file"), "x").unwrap();
        for folder in [&deep, deep.parent().unwrap()] {
            fs::set_permissions(folder, fs::Permissions::from_mode(0o555)).unwrap();
        }
        delete(&dir.path().join("tree")).unwrap();
        assert!(!dir.path().join("tree").exists());
        delete(&dir.path().join("tree")).unwrap();
    }

    #[tokio::test]
    async fn names_that_stand_for_nothing_are_none() {
        let scratch = Scratch::new().await;
        assert_eq!(tip(&scratch.git(), "main").await.unwrap(), None);
        let first = scratch.commit("main", &[("a", "one\n")]).await;
        assert_eq!(tip(&scratch.git(), "main").await.unwrap(), Some(first.clone()));
        assert_eq!(commit(&scratch.git(), "main").await.unwrap(), Some(first));
        assert_eq!(commit(&scratch.git(), "--all").await.unwrap(), None);
    }
}
