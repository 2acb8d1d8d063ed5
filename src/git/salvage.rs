//! Names of files as git gives and takes them, and what git cannot hold kept as files.

use std::ffi::OsStr;
use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::{Error, Git, Result, copy, submodules, worktree};

/// The parts of what git gives with `-z`.
pub(crate) fn records(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    bytes.split(|byte| *byte == 0).filter(|record| !record.is_empty())
}

/// What is before the first tab, and the name behind it.
pub(crate) fn split_at_tab(record: &[u8]) -> Option<(&str, &[u8])> {
    let at = record.iter().position(|byte| *byte == b'\t')?;
    let (meta, path) = record.split_at(at);
    Some((std::str::from_utf8(meta).ok()?, path.get(1..)?))
}

/// A name as a line of git's input, whatever is in it.
pub(crate) fn quote(name: &[u8], line: &mut Vec<u8>) {
    line.push(b'"');
    for byte in name {
        match byte {
            b' '..=b'~' if !matches!(byte, b'"' | b'\\') => line.push(*byte),
            _ => line.extend_from_slice(format!("\\{byte:03o}").as_bytes()),
        }
    }
    line.extend_from_slice(b"\"\n");
}

/// Whether a tree may have an entry of this name.
pub(crate) fn fits_a_tree(path: &[u8], is_link: bool) -> bool {
    let mut parts = path.split(|byte| *byte == b'/');
    !parts.any(|part| {
        part.is_empty()
            || part.eq_ignore_ascii_case(b".git")
            || (is_link && part.eq_ignore_ascii_case(b".gitmodules"))
    })
}

/// The folders that git could not open, by its warnings.
pub(crate) fn closed_folders(stderr: &str) -> Vec<Vec<u8>> {
    let name = |line: &str| {
        let rest = line.split_once("could not open directory '")?.1;
        Some(rest.rsplit_once("': ")?.0.trim_end_matches('/').as_bytes().to_vec())
    };
    stderr.lines().filter_map(name).filter(|name| !name.is_empty()).collect()
}

/// An error of the file system, as if git had met it.
pub(crate) fn failed(git: &Git, step: &str, source: io::Error) -> Error {
    Error::Io { command: step.to_owned(), directory: git.directory().to_owned(), source }
}

/// The folder of a record in which the repositories of submodules are.
const MODULES: &str = "modules";

/// Whether submodules have repositories of their own in the record of a worktree.
pub(crate) fn has_modules(record: Option<&Path>) -> bool {
    let modules = record.and_then(|record| fs::read_dir(record.join(MODULES)).ok());
    modules.is_some_and(|mut entries| entries.next().is_some())
}

/// Moves what git cannot hold out of a worktree into `folder`, as `0`, `1` and so on, and the repositories of its
/// submodules out of its record. What is there already, or gone, is left as it is.
///
/// # Errors
/// When something stays where it is.
pub fn set_aside(worktree: &Path, record: Option<&Path>, paths: &[PathBuf], folder: &Path) -> io::Result<()> {
    if paths.is_empty() && !has_modules(record) {
        return Ok(());
    }
    fs::create_dir_all(folder)?;
    for (number, path) in paths.iter().enumerate() {
        move_over(&worktree.join(path), &folder.join(number.to_string()))?;
    }
    if let Some(record) = record {
        move_over(&record.join(MODULES), &folder.join(MODULES))?;
    }
    fs::File::open(folder)?.sync_all()
}

/// Copies it back, so that it can be brought back again another time. What is gone, or in whose place something else
/// is, is left as it is; what was copied half is copied again.
///
/// # Errors
/// When something cannot be copied.
pub async fn bring_back(hub: &Git, worktree: &Path, paths: &[PathBuf], folder: &Path) -> Result<()> {
    let record = worktree::find(hub.directory(), worktree).record().map(Path::to_owned);
    let (to, names, from) = (worktree.to_owned(), paths.to_vec(), folder.to_owned());
    let modules = record.clone();
    let copied = tokio::task::spawn_blocking(move || copy_all(&to, modules.as_deref(), &names, &from)).await;
    let copied = copied.unwrap_or_else(|error| Err(io::Error::other(error)));
    copied.map_err(|error| failed(hub, &format!("copy back what is in {}", folder.display()), error))?;
    match record {
        Some(record) if has_modules(Some(&record)) => submodules::relink(hub, worktree, &record, paths).await,
        _ => Ok(()),
    }
}

fn copy_all(worktree: &Path, record: Option<&Path>, paths: &[PathBuf], folder: &Path) -> io::Result<()> {
    for (number, path) in paths.iter().enumerate() {
        let target = worktree.join(path);
        if let Some(parent) = target.parent() {
            fs::create_dir_all(parent)?;
        }
        // Git leaves an empty folder where a repository belongs.
        match fs::remove_dir(&target) {
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {}
            Err(error) if error.kind() == ErrorKind::DirectoryNotEmpty => continue,
            other => other?,
        }
        copy_over(&folder.join(number.to_string()), &target)?;
    }
    match record {
        Some(record) => copy_over(&folder.join(MODULES), &record.join(MODULES)),
        None => Ok(()),
    }
}

fn move_over(from: &Path, to: &Path) -> io::Result<()> {
    if fs::symlink_metadata(to).is_ok() {
        return Ok(());
    }
    match fs::rename(from, to) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        // What it is moved from is deleted afterwards.
        Err(error) if error.kind() == ErrorKind::CrossesDevices => copy_over(from, to),
        other => other,
    }
}

fn copy_over(from: &Path, to: &Path) -> io::Result<()> {
    if fs::symlink_metadata(to).is_ok() || fs::symlink_metadata(from).is_err() {
        return Ok(());
    }
    let mut part = to.as_os_str().to_owned();
    part.push(".gcluster-part");
    let part = PathBuf::from(part);
    worktree::delete(&part)?;
    copy::copy(from, &part)?;
    fs::rename(part, to)
}

/// Paths that git gave, one behind the other.
pub(crate) fn paths(bytes: &[u8]) -> Vec<PathBuf> {
    records(bytes).map(|path| PathBuf::from(OsStr::from_bytes(path))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn odd_names_are_quoted_and_those_that_no_tree_takes_are_told() {
        let mut line = Vec::new();
        quote(b"a \"b\"\\\n\xff", &mut line);
        assert_eq!(line, b"\"a \\042b\\042\\134\\012\\377\"\n");
        assert!(fits_a_tree(b"a/.gitignore", false) && fits_a_tree(b".gitmodules", false));
        assert!(!fits_a_tree(b"a/.GIT/x", false) && !fits_a_tree(b".gitmodules", true));
        let said = "warning: could not open directory 'a b/': Permission denied\nother";
        assert_eq!(closed_folders(said), vec![b"a b".to_vec()]);
    }

    #[tokio::test]
    async fn what_is_set_aside_comes_back_as_often_as_it_is_wanted() {
        let dir = tempfile::tempdir().unwrap();
        let (tree, folder) = (dir.path().join("tree"), dir.path().join("aside"));
        fs::create_dir_all(tree.join("in/repository")).unwrap();
        fs::write(tree.join("in/repository/file"), "x").unwrap();
        let paths = [PathBuf::from("gone"), PathBuf::from("in/repository")];
        for _ in 0..2 {
            set_aside(&tree, None, &paths, &folder).unwrap();
        }
        assert!(!tree.join("in/repository").exists());
        assert_eq!(fs::read_to_string(folder.join("1/file")).unwrap(), "x");
        let git = Git::new(dir.path());
        for _ in 0..2 {
            fs::remove_dir_all(&tree).unwrap();
            // A master was killed over it.
            fs::create_dir_all(tree.join("in/repository.gcluster-part")).unwrap();
            for _ in 0..2 {
                bring_back(&git, &tree, &paths, &folder).await.unwrap();
            }
            assert_eq!(fs::read_to_string(tree.join("in/repository/file")).unwrap(), "x");
            assert_eq!(fs::read_dir(tree.join("in")).unwrap().count(), 1);
            fs::write(tree.join("in/repository/file"), "changed").unwrap();
        }
    }
}
