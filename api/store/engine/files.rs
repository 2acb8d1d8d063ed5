//! The files around the database: the lock, the mark of the newest revision, damaged state put aside.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use crate::OpenError;

/// First bytes of the mark.
const MAGIC: [u8; 8] = *b"gcmark1\n";

pub(super) fn io_error(action: &'static str, path: &Path, reason: &dyn ToString) -> OpenError {
    OpenError::Io { action, path: path.to_owned(), reason: reason.to_string() }
}

/// Makes a directory that only its owner can enter.
pub(crate) fn private_dir(dir: &Path) -> Result<(), OpenError> {
    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(dir);
    made.map_err(|error| io_error("create", dir, &error))
}

/// Opens a file that only its owner can read, and makes it when it is not there.
pub(super) fn private_file(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)
}

/// How long a lock may outlive a master that was killed: a child that it was just starting has a copy of the lock until
/// it becomes another program.
const LOCK_PATIENCE: Duration = Duration::from_secs(1);

/// Takes the directory for this process. The lock ends with the returned file, at the latest with the
/// process, however that ends.
pub(super) fn lock(directory: &Path) -> Result<File, OpenError> {
    let path = directory.join("state.lock");
    let file = private_file(&path).map_err(|error| io_error("open", &path, &error))?;
    let asked = Instant::now();
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) if asked.elapsed() < LOCK_PATIENCE => {
                std::thread::sleep(Duration::from_millis(10));
            }
            Err(TryLockError::WouldBlock) => {
                return Err(OpenError::Locked { directory: directory.to_owned(), lock: path });
            }
            Err(TryLockError::Error(error)) => return Err(io_error("lock", &path, &error)),
        }
    }
}

/// Moves unreadable state out of the way and says where it is now.
pub(super) fn preserve(state: &Path) -> Result<PathBuf, OpenError> {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
    let mut name = format!("state.damaged-{now}");
    for n in 2.. {
        if !state.with_file_name(&name).exists() {
            break;
        }
        name = format!("state.damaged-{now}-{n}");
    }
    let preserved = state.with_file_name(name);
    match fs::rename(state, &preserved) {
        Ok(()) => Ok(preserved),
        Err(error) => Err(io_error("put aside the damaged state", state, &error)),
    }
}

/// The newest revision that was ever acknowledged, outside the database.
///
/// The database cannot tell the end of its log from damage within the log: both end what it reads. The mark
/// tells: it is written after every commit, so a database that is older than its mark has lost something. It
/// is not synced: after a loss of power it may be older than the database, never newer.
#[derive(Debug)]
pub(super) struct Mark {
    file: File,
}

impl Mark {
    /// Opens the mark of a state directory. `None` inside: there is one, and it is unreadable.
    pub(super) fn open(path: &Path) -> io::Result<(Self, Option<u64>)> {
        if !path.exists() {
            // Whoever finds a mark finds a whole one.
            let fresh = path.with_extension("new");
            private_file(&fresh)?.write_all_at(&Self::encode(0), 0)?;
            fs::rename(&fresh, path)?;
        }
        let file = private_file(path)?;
        let mut bytes = [0; 20];
        let whole = file.metadata()?.len() == 20 && file.read_exact_at(&mut bytes, 0).is_ok();
        let revision = Self::decode(&bytes).filter(|_| whole);
        Ok((Self { file }, revision))
    }

    pub(super) fn set(&self, revision: u64) {
        if let Err(error) = self.file.write_all_at(&Self::encode(revision), 0) {
            tracing::warn!(%error, "the mark of the newest revision could not be written");
        }
    }

    fn encode(revision: u64) -> [u8; 20] {
        let mut bytes = [0; 20];
        bytes[..8].copy_from_slice(&MAGIC);
        bytes[8..16].copy_from_slice(&revision.to_le_bytes());
        let crc = crc32fast::hash(&bytes[..16]);
        bytes[16..].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    fn decode(bytes: &[u8; 20]) -> Option<u64> {
        let revision = u64::from_le_bytes(bytes.get(8..16)?.try_into().ok()?);
        (*bytes == Self::encode(revision)).then_some(revision)
    }
}
