//! Files that git does not have, such as `.env`, copied from the user's checkout.
//!
//! Nothing is read from outside of the checkout or written outside of the worktree, whatever links lie on the way, and
//! nothing that is there is overwritten. A file appears whole or not at all.

use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::fs::symlink;
use std::path::{Component, Path, PathBuf};

/// Copies these paths. Answers why some were not, one sentence each.
///
/// # Errors
/// When something that is there cannot be read or written.
pub(super) fn copy(paths: &[String], checkout: &Path, worktree: &Path) -> io::Result<Vec<String>> {
    let (checkout, worktree) = (fs::canonicalize(checkout)?, fs::canonicalize(worktree)?);
    let mut refused = Vec::new();
    for path in paths {
        let Some(relative) = plain(path) else {
            refused.push(format!(
                "{path} is not copied: it has to be a path inside of the checkout, without .git"
            ));
            continue;
        };
        let from = checkout.join(&relative);
        if fs::symlink_metadata(&from).is_err() {
            refused.push(format!("{path} is not copied: it is not in {}", checkout.display()));
        } else if !is_inside(&from, &checkout) {
            refused.push(format!("{path} is not copied: a link leads out of {}", checkout.display()));
        } else if !copy_to(&from, &worktree.join(&relative), &worktree)? {
            refused.push(format!("{path} is not copied: a link leads out of the workspace"));
        }
    }
    Ok(refused)
}

/// A path without ways up, roots and parts named `.git`.
fn plain(path: &str) -> Option<PathBuf> {
    let mut plain = PathBuf::new();
    for part in Path::new(path).components() {
        match part {
            Component::Normal(name) if !name.eq_ignore_ascii_case(".git") => plain.push(name),
            Component::CurDir => {}
            _ => return None,
        }
    }
    (plain != PathBuf::new()).then_some(plain)
}

/// Whether the folder of a path really is below `top`.
fn is_inside(path: &Path, top: &Path) -> bool {
    path.parent()
        .and_then(|parent| fs::canonicalize(parent).ok())
        .is_some_and(|parent| parent.starts_with(top))
}

fn copy_to(from: &Path, to: &Path, worktree: &Path) -> io::Result<bool> {
    let parent = to.parent().unwrap_or(worktree);
    let there = parent.ancestors().find(|folder| fs::symlink_metadata(folder).is_ok()).unwrap_or(worktree);
    if !fs::canonicalize(there)?.starts_with(worktree) {
        return Ok(false);
    }
    fs::create_dir_all(parent)?;
    copy_one(from, to)?;
    Ok(true)
}

fn copy_one(from: &Path, to: &Path) -> io::Result<()> {
    let meta = match fs::symlink_metadata(from) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        meta => meta?,
    };
    let existing = fs::symlink_metadata(to).ok();
    if meta.is_dir() {
        match existing {
            None => fs::create_dir(to)?,
            // A link of that name is not followed.
            Some(existing) if !existing.is_dir() => return Ok(()),
            Some(_) => {}
        }
        for entry in fs::read_dir(from)? {
            let entry = entry?;
            if !entry.file_name().eq_ignore_ascii_case(".git") {
                copy_one(&entry.path(), &to.join(entry.file_name()))?;
            }
        }
        return Ok(());
    }
    if existing.is_some() {
        return Ok(());
    }
    if meta.is_symlink() {
        return symlink(fs::read_link(from)?, to);
    }
    if meta.is_file() {
        let mut name = to.file_name().unwrap_or_default().to_owned();
        name.push(".gcluster-copy");
        let half = to.with_file_name(name);
        fs::copy(from, &half)?;
        fs::rename(&half, to)?;
    }
    // Sockets and the like are nobody's to copy.
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn files_folders_and_links_are_copied_and_nothing_is_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        let (from, to) = (dir.path().join("from"), dir.path().join("to"));
        fs::create_dir_all(from.join("conf/deep")).unwrap();
        fs::create_dir(&to).unwrap();
        fs::write(from.join(".env"), "SECRET=1").unwrap();
        fs::set_permissions(from.join(".env"), fs::Permissions::from_mode(0o600)).unwrap();
        fs::write(from.join("conf/deep/a"), "a").unwrap();
        symlink("/etc/passwd", from.join("conf/link")).unwrap();
        fs::write(from.join("kept"), "new").unwrap();
        fs::write(to.join("kept"), "old").unwrap();
        let paths = [".env", "./conf", "kept", "absent"].map(str::to_owned);
        for _ in 0..2 {
            let refused = copy(&paths, &from, &to).unwrap();
            assert_eq!(refused.len(), 1, "{refused:?}");
            assert!(refused[0].starts_with("absent is not copied: it is not in "), "{refused:?}");
        }
        assert_eq!(fs::metadata(to.join(".env")).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_to_string(to.join("conf/deep/a")).unwrap(), "a");
        assert_eq!(fs::read_link(to.join("conf/link")).unwrap(), Path::new("/etc/passwd"));
        assert_eq!(fs::read_to_string(to.join("kept")).unwrap(), "old");
    }

    #[test]
    fn no_way_leads_out() {
        let dir = tempfile::tempdir().unwrap();
        let (from, to) = (dir.path().join("from"), dir.path().join("to"));
        fs::create_dir_all(from.join("real")).unwrap();
        fs::create_dir_all(from.join(".git")).unwrap();
        fs::create_dir_all(dir.path().join("outside")).unwrap();
        fs::create_dir(&to).unwrap();
        fs::write(dir.path().join("outside/secret"), "x").unwrap();
        fs::write(from.join("real/file"), "x").unwrap();
        symlink(dir.path().join("outside"), from.join("way")).unwrap();
        symlink(dir.path().join("outside"), to.join("real")).unwrap();
        let paths =
            ["../outside/secret", "/etc/passwd", "way/secret", ".git", "real/file", ""].map(str::to_owned);
        let refused = copy(&paths, &from, &to).unwrap();
        assert_eq!(refused.len(), 6, "{refused:?}");
        assert!(!dir.path().join("outside/file").exists() && !to.join("way").exists());
    }
}
