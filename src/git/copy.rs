//! Copies of folders as they are: rights, links and times, without what takes no copy, such as sockets.

use std::fs::{self, File, Metadata, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

/// Copies a file, link or folder to where nothing is. Where the file system can, the bytes are shared; objects of git,
/// which are never written again, always share them.
///
/// # Errors
/// When something cannot be read or written.
pub(crate) fn copy(from: &Path, to: &Path) -> io::Result<()> {
    let meta = fs::symlink_metadata(from)?;
    if meta.is_symlink() {
        return symlink(fs::read_link(from)?, to);
    }
    if meta.is_dir() {
        return copy_folder(from, to, &meta);
    }
    if !meta.is_file() {
        return Ok(());
    }
    let is_object = meta.permissions().mode() & 0o222 == 0 && from.iter().any(|part| part == "objects");
    if is_object && fs::hard_link(from, to).is_ok() {
        return Ok(());
    }
    match fs::copy(from, to) {
        // Not even its owner may read it. It can be there under another name all the same.
        Err(error) if error.kind() == ErrorKind::PermissionDenied => fs::hard_link(from, to),
        copied => {
            copied?;
            keep_time(to, &meta);
            Ok(())
        }
    }
}

fn copy_folder(from: &Path, to: &Path, meta: &Metadata) -> io::Result<()> {
    let is_closed = meta.permissions().mode() & 0o500 != 0o500;
    if is_closed {
        fs::set_permissions(from, Permissions::from_mode(meta.permissions().mode() | 0o700))?;
    }
    let copied = fs::create_dir(to).and_then(|()| {
        for entry in fs::read_dir(from)? {
            let entry = entry?;
            copy(&entry.path(), &to.join(entry.file_name()))?;
        }
        Ok(())
    });
    if is_closed {
        fs::set_permissions(from, meta.permissions())?;
    }
    copied?;
    keep_time(to, meta);
    fs::set_permissions(to, meta.permissions())
}

/// Programs that build, and git itself, see by the time that nothing changed. Where that cannot be, they look again.
fn keep_time(to: &Path, meta: &Metadata) {
    if let (Ok(time), Ok(file)) = (meta.modified(), File::open(to)) {
        let _ = file.set_modified(time);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt;

    #[test]
    fn a_copy_is_like_what_it_is_of_and_changing_it_changes_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let (from, to) = (dir.path().join("from"), dir.path().join("to"));
        fs::create_dir_all(from.join(".git/objects/ab")).unwrap();
        for (name, mode) in
            [("run", 0o755), ("closed", 0o000), (".git/objects/ab/cd", 0o444), ("read", 0o444)]
        {
            fs::write(from.join(name), name).unwrap();
            fs::set_permissions(from.join(name), Permissions::from_mode(mode)).unwrap();
        }
        fs::create_dir(from.join("dark")).unwrap();
        fs::write(from.join("dark/file"), "x").unwrap();
        fs::set_permissions(from.join("dark"), Permissions::from_mode(0o000)).unwrap();
        symlink("nowhere", from.join("link")).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(from.join("socket")).unwrap();
        copy(&from, &to).unwrap();
        for name in ["run", "closed", ".git/objects/ab/cd", "read", "dark"] {
            let (one, other) = (fs::metadata(from.join(name)).unwrap(), fs::metadata(to.join(name)).unwrap());
            assert_eq!(
                (one.mode(), one.modified().unwrap()),
                (other.mode(), other.modified().unwrap()),
                "{name}"
            );
            assert_eq!(
                one.ino() == other.ino(),
                name.contains("objects") || name == "closed" && other.ino() == one.ino()
            );
        }
        assert_eq!(fs::read_link(to.join("link")).unwrap(), Path::new("nowhere"));
        assert!(!to.join("socket").exists());
        fs::write(to.join("run"), "changed").unwrap();
        assert_eq!(fs::read_to_string(from.join("run")).unwrap(), "run");
        for dark in [&from, &to] {
            fs::set_permissions(dark.join("dark"), Permissions::from_mode(0o700)).unwrap();
            assert_eq!(fs::read_to_string(dark.join("dark/file")).unwrap(), "x");
        }
    }
}
