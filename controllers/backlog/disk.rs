//! The folder itself: looking, reading, and moving files so that none is ever overwritten.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{CWD, FlockOperation, RenameFlags};
use rustix::io::Errno;

use super::names;
use super::settle::Stamp;

/// Where files go whose tickets are there.
const PROCESSED: &str = "processed";
/// Locked by whoever takes the files of the folder.
const LOCK: &str = ".lock";
/// Largest file that is read, in bytes.
pub(super) const LARGEST: usize = 1 << 20;
/// Words of the first line of every note of ours.
pub(super) const NOT_TAKEN: &str = " was not taken by gcluster";

/// What is in a folder.
#[derive(Debug, Default)]
pub(super) struct Listing {
    /// Files that may be tickets, or that nobody knows.
    pub(super) files: Vec<(String, Stamp)>,
    /// Files that were put aside, by the name that they had.
    pub(super) aside: Vec<String>,
    /// Files that there is a note about.
    pub(super) noted: Vec<String>,
    /// What has the name of a ticket and cannot be one, and why.
    pub(super) strange: Vec<(String, &'static str)>,
}

/// A backlog folder. Clones are the same one.
pub(super) trait Folder: Clone + Send + Sync + 'static {
    /// What is in it.
    fn list(&self) -> io::Result<Listing>;
    /// Content of a file, of at most [`LARGEST`] bytes and one; `None` when it is gone.
    fn read(&self, name: &str) -> io::Result<Option<Vec<u8>>>;
    /// The same of one that was put aside.
    fn read_aside(&self, name: &str) -> io::Result<Option<Vec<u8>>>;
    /// Puts a file aside; false when it is gone.
    fn put_aside(&self, name: &str) -> io::Result<bool>;
    /// Puts it back, under a numbered name if its own is taken.
    fn put_back(&self, name: &str) -> io::Result<()>;
    /// Moves what was put aside to those that are done, under a numbered name if its own is taken.
    fn finish(&self, name: &str) -> io::Result<()>;
    /// Writes the note about a file; false when it is there word for word.
    fn note(&self, name: &str, text: &str) -> io::Result<bool>;
    /// Takes the note about a file away, if it is one of ours.
    fn remove_note(&self, name: &str) -> io::Result<()>;
}

/// One on disk, held by this process.
#[derive(Debug, Clone)]
pub(super) struct Disk {
    path: Arc<Path>,
    _lock: Arc<OwnedFd>,
}

/// Why a folder cannot be held.
#[derive(Debug)]
pub(super) enum NotHeld {
    /// It is not there.
    Missing,
    /// Somebody else takes its files.
    Taken,
    /// It cannot be read or changed.
    Unusable(io::Error),
}

impl Disk {
    /// Holds a folder: only one at a time can.
    pub(super) fn hold(path: &Path) -> Result<Self, NotHeld> {
        if !path.is_dir() {
            return Err(NotHeld::Missing);
        }
        let unusable = NotHeld::Unusable;
        // Asked beforehand: a file that cannot be moved must not be taken again and again.
        rustix::fs::access(path, rustix::fs::Access::READ_OK | rustix::fs::Access::WRITE_OK)
            .map_err(|error| unusable(error.into()))?;
        let processed = path.join(PROCESSED);
        match fs::create_dir(&processed) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(unusable(error)),
            _ => {}
        }
        let lock = File::options().create(true).append(true).open(processed.join(LOCK)).map_err(unusable)?;
        match rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Err(Errno::WOULDBLOCK) => return Err(NotHeld::Taken),
            // Some network folders have no locks.
            Err(error) => {
                tracing::debug!(%error, folder = %path.display(), "the backlog folder cannot be locked")
            }
            Ok(()) => {}
        }
        Ok(Self { path: path.into(), _lock: Arc::new(lock.into()) })
    }

    fn at(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }
}

impl Folder for Disk {
    fn list(&self) -> io::Result<Listing> {
        let mut listing = Listing::default();
        for entry in fs::read_dir(&self.path)? {
            let entry = entry?;
            let name = match entry.file_name().into_string() {
                Ok(name) => name,
                Err(name) => {
                    let name = name.to_string_lossy().into_owned();
                    if names::sort(&name) != names::Sort::Ignored {
                        listing.strange.push((name, "its name is not UTF-8: rename it"));
                    }
                    continue;
                }
            };
            if let Some(name) = names::put_aside(&name) {
                listing.aside.push(name.to_owned());
                continue;
            }
            if let Some(name) = names::noted(&name) {
                listing.noted.push(name.to_owned());
            }
            // Also through links.
            let meta = match fs::metadata(entry.path()) {
                Ok(meta) if meta.is_file() => meta,
                Ok(_) if names::sort(&name) == names::Sort::Tickets => {
                    listing.strange.push((name, "it is no file"));
                    continue;
                }
                Err(_) if names::sort(&name) == names::Sort::Tickets && entry.path().is_symlink() => {
                    listing.strange.push((name, "it is a link that leads nowhere"));
                    continue;
                }
                // Gone by now, or nothing to us.
                Ok(_) | Err(_) => continue,
            };
            if names::sort(&name) != names::Sort::Ignored {
                let modified = i128::from(meta.mtime()) * 1_000_000_000 + i128::from(meta.mtime_nsec());
                listing.files.push((name, Stamp { inode: meta.ino(), size: meta.size(), modified }));
            }
        }
        Ok(listing)
    }

    fn read(&self, name: &str) -> io::Result<Option<Vec<u8>>> {
        let file = match File::open(self.at(name)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            file => file?,
        };
        let mut bytes = Vec::new();
        file.take(LARGEST as u64 + 1).read_to_end(&mut bytes)?;
        Ok(Some(bytes))
    }

    fn read_aside(&self, name: &str) -> io::Result<Option<Vec<u8>>> {
        self.read(&names::aside(name))
    }

    fn put_aside(&self, name: &str) -> io::Result<bool> {
        match rename(&self.at(name), &self.at(&names::aside(name))) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            moved => moved.map(|()| true),
        }
    }

    fn put_back(&self, name: &str) -> io::Result<()> {
        rename_numbered(&self.at(&names::aside(name)), &self.path, name)
    }

    fn finish(&self, name: &str) -> io::Result<()> {
        let processed = self.at(PROCESSED);
        match fs::create_dir(&processed) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        rename_numbered(&self.at(&names::aside(name)), &processed, name)
    }

    fn note(&self, name: &str, text: &str) -> io::Result<bool> {
        let path = self.at(&names::note(name));
        if fs::read(&path).is_ok_and(|old| old == text.as_bytes()) {
            return Ok(false);
        }
        fs::write(path, text)?;
        Ok(true)
    }

    fn remove_note(&self, name: &str) -> io::Result<()> {
        let path = self.at(&names::note(name));
        // What cannot be read is none of ours.
        let Ok(text) = fs::read(&path) else { return Ok(()) };
        let text = String::from_utf8_lossy(&text);
        match text.lines().next().is_some_and(|line| line.contains(NOT_TAKEN)) {
            true => fs::remove_file(path),
            false => Ok(()),
        }
    }
}

/// Moves a file into a folder under the first of its numbered names that is free.
fn rename_numbered(from: &Path, folder: &Path, name: &str) -> io::Result<()> {
    let mut n = 1;
    loop {
        match rename(from, &folder.join(names::numbered(name, n))) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => n += 1,
            moved => return moved,
        }
    }
}

/// Moves a file to a name that is free, and fails where it is not.
fn rename(from: &Path, to: &Path) -> io::Result<()> {
    match rustix::fs::renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        // Not every file system can promise it.
        Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {}
        moved => return moved.map_err(io::Error::from),
    }
    match fs::symlink_metadata(to) {
        Ok(_) => Err(io::ErrorKind::AlreadyExists.into()),
        Err(_) => fs::rename(from, to),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held() -> (tempfile::TempDir, Disk) {
        let dir = tempfile::tempdir().unwrap();
        let disk = Disk::hold(dir.path()).unwrap();
        (dir, disk)
    }

    #[test]
    fn files_keep_a_name_of_their_own_wherever_they_go() {
        let (dir, disk) = held();
        let text = |name: &str| fs::read_to_string(dir.path().join(name)).ok();
        for content in ["one", "two", "three"] {
            fs::write(dir.path().join("a.yaml"), content).unwrap();
            assert!(disk.put_aside("a.yaml").unwrap());
            disk.finish("a.yaml").unwrap();
        }
        let done = ["processed/a.yaml", "processed/a-2.yaml", "processed/a-3.yaml"].map(text);
        assert_eq!(done, [Some("one".into()), Some("two".into()), Some("three".into())]);
        fs::write(dir.path().join("a.yaml"), "four").unwrap();
        disk.put_aside("a.yaml").unwrap();
        fs::write(dir.path().join("a.yaml"), "five").unwrap();
        assert_eq!(disk.list().unwrap().aside, ["a.yaml"]);
        disk.put_back("a.yaml").unwrap();
        assert_eq!((text("a.yaml"), text("a-2.yaml")), (Some("five".into()), Some("four".into())));
        assert!(!disk.put_aside("gone.yaml").unwrap());
        assert_eq!(disk.read("gone.yaml").unwrap(), None);
    }

    #[test]
    fn only_files_that_may_be_tickets_are_listed() {
        let (dir, disk) = held();
        for name in ["a.yaml", "b.txt", ".c.yaml", "d.yaml~", "a.yaml.error.txt"] {
            fs::write(dir.path().join(name), name).unwrap();
        }
        fs::create_dir(dir.path().join("e.yaml")).unwrap();
        std::os::unix::fs::symlink("gone", dir.path().join("f.yaml")).unwrap();
        let listing = disk.list().unwrap();
        let mut names: Vec<&str> = listing.files.iter().map(|(name, _)| name.as_str()).collect();
        names.sort_unstable();
        assert_eq!((names, listing.noted), (vec!["a.yaml", "b.txt"], vec!["a.yaml".to_owned()]));
    }

    #[test]
    fn what_has_the_name_of_a_ticket_and_is_none_is_told() {
        use std::os::unix::ffi::OsStrExt as _;
        let (dir, disk) = held();
        fs::create_dir(dir.path().join("e.yaml")).unwrap();
        fs::create_dir(dir.path().join("notes")).unwrap();
        fs::create_dir(dir.path().join("a.yaml.error.txt")).unwrap();
        std::os::unix::fs::symlink("gone", dir.path().join("f.yaml")).unwrap();
        std::os::unix::fs::symlink("f.yaml", dir.path().join("g.yaml")).unwrap();
        let odd = std::ffi::OsStr::from_bytes(b"caf\xe9.yaml");
        fs::write(dir.path().join(odd), "title: x\n").unwrap();
        let mut strange = disk.list().unwrap().strange;
        strange.sort_unstable();
        let nowhere = "it is a link that leads nowhere";
        let expected = [
            ("caf\u{fffd}.yaml".to_owned(), "its name is not UTF-8: rename it"),
            ("e.yaml".to_owned(), "it is no file"),
            ("f.yaml".to_owned(), nowhere),
            ("g.yaml".to_owned(), nowhere),
        ];
        assert_eq!(strange, expected);
        disk.remove_note("a.yaml").unwrap();
    }

    #[test]
    fn a_note_is_written_once_and_one_of_somebody_else_is_left() {
        let (dir, disk) = held();
        let ours = format!("a.yaml{NOT_TAKEN}: …\n");
        assert!(disk.note("a.yaml", &ours).unwrap() && !disk.note("a.yaml", &ours).unwrap());
        disk.remove_note("a.yaml").unwrap();
        disk.remove_note("a.yaml").unwrap();
        fs::write(dir.path().join("b.yaml.error.txt"), "mine\n").unwrap();
        disk.remove_note("b.yaml").unwrap();
        let left = |name: &str| dir.path().join(name).exists();
        assert_eq!((left("a.yaml.error.txt"), left("b.yaml.error.txt")), (false, true));
    }

    #[test]
    fn a_folder_has_one_holder() {
        let (dir, disk) = held();
        assert!(matches!(Disk::hold(dir.path()), Err(NotHeld::Taken)));
        drop(disk);
        assert!(Disk::hold(dir.path()).is_ok());
        assert!(matches!(Disk::hold(&dir.path().join("gone")), Err(NotHeld::Missing)));
    }
}
