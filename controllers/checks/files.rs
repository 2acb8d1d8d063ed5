//! The files of checks: where they are, what a killed master left of them, and the record of each commit.
//!
//! ```text
//! DATA/repositories/NAMESPACE/REPOSITORY/ ─┬─ checks/NAME.UID/ ─┬─ log       all that the script printed
//!                                          │                    ├─ checkout  while it runs
//!                                          │                    └─ run       the keeper's
//!                                          └─ ci-status/COMMIT.json
//! ```

use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use gcluster_types::{Check, Repository};
use kube::ResourceExt;
use serde::{Deserialize, Serialize};

use crate::backend::sweep;

/// The folder of one check.
#[derive(Clone, Debug)]
pub(crate) struct Folder {
    pub(crate) path: PathBuf,
}

impl Folder {
    /// That of a check.
    pub(crate) fn of(data_dir: &Path, check: &Check) -> Folder {
        let all = repository_dir(data_dir, &check.namespace().unwrap_or_default(), &check.spec.repository);
        let name = format!("{}.{}", check.name_any(), check.uid().unwrap_or_default());
        Folder { path: all.join("checks").join(name) }
    }

    /// All that the script printed.
    pub(crate) fn log(&self) -> PathBuf {
        self.path.join("log")
    }

    /// Where the commit is checked out.
    pub(crate) fn checkout(&self) -> PathBuf {
        self.path.join("checkout")
    }

    /// The keeper's files.
    pub(crate) fn run(&self) -> PathBuf {
        self.path.join("run")
    }

    /// Uid of the check that it belongs to.
    pub(crate) fn uid(&self) -> Option<&str> {
        self.path.file_name()?.to_str()?.rsplit_once('.').map(|(_, uid)| uid)
    }

    /// Ends what is left of an earlier run and takes its checkout away; the log stays. Blocks.
    pub(crate) fn clear(&self) {
        if let Some(uid) = self.uid() {
            let left = sweep::sweep_run(uid, &self.run());
            if !left.is_empty() {
                tracing::warn!(?left, folder = %self.path.display(), "processes of a check cannot be ended");
            }
        }
        remove(&self.checkout());
        remove(&self.run());
    }

    /// The same, and all of it goes. Blocks.
    pub(crate) fn remove(&self) {
        self.clear();
        remove(&self.path);
    }
}

/// Removes a folder whatever a script did to the rights of what is in it.
fn remove(path: &Path) {
    let gone = |result: &io::Result<()>| match result {
        Ok(()) => true,
        Err(error) => error.kind() == ErrorKind::NotFound,
    };
    let mut removed = fs::remove_dir_all(path);
    if !gone(&removed) {
        open_up(path, 0);
        removed = fs::remove_dir_all(path);
    }
    if !gone(&removed) {
        tracing::warn!(error = ?removed.err(), path = %path.display(), "what a check left cannot be removed");
    }
}

/// Folders without write permission keep what is in them.
fn open_up(path: &Path, depth: usize) {
    use std::os::unix::fs::PermissionsExt;
    let is_dir = fs::symlink_metadata(path).is_ok_and(|meta| meta.is_dir());
    if !is_dir || depth > 256 {
        return;
    }
    // What cannot be opened up is told of when it cannot be removed.
    let _ = fs::set_permissions(path, fs::Permissions::from_mode(0o700));
    for entry in fs::read_dir(path).into_iter().flatten().flatten() {
        open_up(&entry.path(), depth + 1);
    }
}

/// The folders of all checks that were ever run.
pub(crate) fn all(data_dir: &Path) -> Vec<Folder> {
    let below = |path: PathBuf| -> Vec<PathBuf> {
        fs::read_dir(path).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
    };
    let namespaces = below(data_dir.join("repositories"));
    let repositories = namespaces.into_iter().flat_map(below);
    let folders = repositories.flat_map(|repository| below(repository.join("checks")));
    folders.map(|path| Folder { path }).collect()
}

fn repository_dir(data_dir: &Path, namespace: &str, repository: &str) -> PathBuf {
    data_dir.join("repositories").join(namespace).join(repository)
}

/// What `ci-status/COMMIT.json` says.
#[derive(Serialize, Deserialize, Debug, Clone, PartialEq, Eq)]
pub(crate) struct Record {
    /// The branch on which the commit was seen.
    #[serde(rename = "ref")]
    pub(crate) reference: String,
    pub(crate) commit: String,
    /// `PASS` or `FAIL`.
    pub(crate) status: String,
    /// When the script ended (RFC 3339).
    pub(crate) timestamp: String,
    /// The end of what it printed.
    pub(crate) output: String,
    /// Whether it was a quick check.
    #[serde(default)]
    pub(crate) quick: bool,
}

/// The file of a commit.
pub(crate) fn record_path(data_dir: &Path, repository: &Repository, commit: &str) -> PathBuf {
    let said = repository.status.as_ref().and_then(|status| status.ci_status.clone());
    let namespace = repository.namespace().unwrap_or_default();
    let dir = said
        .map(PathBuf::from)
        .unwrap_or_else(|| repository_dir(data_dir, &namespace, &repository.name_any()).join("ci-status"));
    dir.join(format!("{commit}.json"))
}

/// Writes what came out: whole or not at all. A quick check does not replace what a full one said.
pub(crate) fn write_record(path: &Path, record: &Record) -> io::Result<()> {
    let old = fs::read(path).ok().and_then(|text| serde_json::from_slice::<Record>(&text).ok());
    if record.quick && old.is_some_and(|old| !old.quick) {
        return Ok(());
    }
    let dir = path.parent().unwrap_or(path);
    fs::create_dir_all(dir)?;
    let temporary = dir.join(format!(".{}.{}", record.commit, record.quick));
    let mut text = serde_json::to_vec_pretty(record)?;
    text.push(b'\n');
    let mut file = fs::File::create(&temporary)?;
    io::Write::write_all(&mut file, &text)?;
    file.sync_all()?;
    fs::rename(&temporary, path)
}
