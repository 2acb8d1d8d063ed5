//! Transcripts: append-only files of NDJSON records beside the objects, as container logs are.
//!
//! ```text
//! transcripts/<id>.ndjson   one record per line, appended only
//! transcripts/<id>.end      {"records":N,"bytes":N}: sealed, nothing will follow
//! ```
//!
//! An append names how many records it expects, so that a retry never doubles one. File work runs on the
//! blocking threads of the runtime: a write into the page cache is short as a rule, but waits when the
//! kernel throttles writers, and must not hold up the API then. Files are opened per append and kept open by
//! nobody, so a thousand running iterations need no thousand descriptors.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

use crate::OpenError;
use crate::engine::files::private_dir;

mod file;
mod reader;
#[cfg(test)]
mod tests;

use file::Log;
pub use reader::Reader;

/// How long a transcript is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Size {
    /// Records.
    pub records: u64,
    /// Bytes, newlines included.
    pub bytes: u64,
}

/// Why records were not appended, or a transcript not read, sealed or removed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    /// Another number of records is there than was expected: continue after record `have`.
    #[error("the transcript has {} records, not {expected}: continue after them", .have.records)]
    Offset {
        /// What is there.
        have: Size,
        /// What the append expected.
        expected: u64,
    },
    /// The transcript was sealed; nothing can follow.
    #[error("the transcript is sealed with {} records: nothing can be appended", .have.records)]
    Sealed {
        /// What is there.
        have: Size,
    },
    /// What was to be appended is not a sequence of lines.
    #[error("a transcript takes whole, non-empty lines that end with a newline")]
    NotLines,
    /// The id cannot name a file.
    #[error("`{0}` is no transcript id: 1 to 128 letters, digits, `-`, `_` and `.`, not starting with `.`")]
    InvalidId(String),
    /// The operating system refused.
    #[error("cannot {action} transcript {id}: {reason}")]
    Io {
        /// What was tried, as `append to`.
        action: &'static str,
        /// Which transcript.
        id: String,
        /// Why it failed.
        reason: String,
    },
}

/// All transcripts below one directory. Clones are handles to the same ones.
#[derive(Clone, Debug)]
pub struct Transcripts {
    dir: Arc<Path>,
    logs: Arc<Mutex<HashMap<String, Arc<Log>>>>,
}

impl Transcripts {
    /// Opens the directory, or makes it (mode 0700). No file in it is looked at.
    ///
    /// # Errors
    /// [`OpenError::Io`] when it cannot be made.
    pub fn open(dir: &Path) -> Result<Self, OpenError> {
        private_dir(dir)?;
        Ok(Self { dir: dir.into(), logs: Arc::default() })
    }

    /// Appends whole NDJSON lines, exactly when `expect_records` records are there (`None`: whatever is
    /// there), hands them to the operating system and wakes followers. All lines or none.
    ///
    /// # Errors
    /// See [`AppendError`]; after any of them nothing was appended, and the append may be repeated.
    pub async fn append(
        &self,
        id: &str,
        expect_records: Option<u64>,
        lines: Bytes,
    ) -> Result<Size, AppendError> {
        let log = self.log(id)?;
        blocking(id, move || log.append(expect_records, &lines)).await
    }

    /// Ends a transcript: makes it durable and ends its followers. Sealing again changes nothing.
    ///
    /// # Errors
    /// [`AppendError::Io`] and [`AppendError::InvalidId`].
    pub async fn seal(&self, id: &str) -> Result<Size, AppendError> {
        let log = self.log(id)?;
        let sealed = blocking(id, move || log.seal()).await;
        self.forget(id, sealed.is_ok());
        sealed
    }

    /// How long a transcript is; nothing when there is none. An open one of an earlier process is counted
    /// at the first call.
    ///
    /// # Errors
    /// [`AppendError::Io`] and [`AppendError::InvalidId`].
    pub async fn size(&self, id: &str) -> Result<Size, AppendError> {
        let known = self.known(id);
        if let Some(log) = known {
            return blocking(id, move || log.size()).await;
        }
        // Not kept: a walk over a hundred thousand old transcripts must not fill the memory.
        let log = Log::new(&self.dir, checked(id)?);
        blocking(id, move || log.size()).await
    }

    /// True when nothing will follow in a transcript.
    ///
    /// # Errors
    /// [`AppendError::Io`] and [`AppendError::InvalidId`].
    pub async fn sealed(&self, id: &str) -> Result<bool, AppendError> {
        let log = Log::new(&self.dir, checked(id)?);
        blocking(id, move || log.sealed_size().map(|size| size.is_some())).await
    }

    /// Reads what is there now, from record number `since_record`.
    ///
    /// # Errors
    /// [`AppendError::InvalidId`].
    pub fn read(&self, id: &str, since_record: u64) -> Result<Reader, AppendError> {
        Ok(Reader::new(self.log(id)?, since_record, false))
    }

    /// Reads what is there, from record number `since_record`, and what follows, until the transcript is
    /// sealed or removed. It may be one that nothing was appended to yet.
    ///
    /// # Errors
    /// [`AppendError::InvalidId`].
    pub fn follow(&self, id: &str, since_record: u64) -> Result<Reader, AppendError> {
        Ok(Reader::new(self.log(id)?, since_record, true))
    }

    /// Deletes a transcript and ends its followers. Deleting none is no error.
    ///
    /// # Errors
    /// [`AppendError::Io`] and [`AppendError::InvalidId`].
    pub async fn remove(&self, id: &str) -> Result<(), AppendError> {
        let log = self.log(id)?;
        let removed = blocking(id, move || log.remove()).await;
        self.forget(id, removed.is_ok());
        removed
    }

    /// Ids of all transcripts on disk, in no order: for whoever looks for those that nothing refers to.
    ///
    /// # Errors
    /// [`AppendError::Io`].
    pub async fn ids(&self) -> Result<Vec<String>, AppendError> {
        let dir: PathBuf = self.dir.to_path_buf();
        blocking("*", move || file::ids(&dir)).await
    }

    fn log(&self, id: &str) -> Result<Arc<Log>, AppendError> {
        let id = checked(id)?;
        let mut logs = self.logs.lock().unwrap_or_else(PoisonError::into_inner);
        // Those that only readers needed and that nobody holds any more.
        if logs.len() >= 64 && logs.len().is_power_of_two() {
            logs.retain(|_, log| Arc::strong_count(log) > 1 || log.is_growing());
        }
        Ok(Arc::clone(logs.entry(id.to_owned()).or_insert_with(|| Arc::new(Log::new(&self.dir, id)))))
    }

    fn known(&self, id: &str) -> Option<Arc<Log>> {
        self.logs.lock().unwrap_or_else(PoisonError::into_inner).get(id).cloned()
    }

    fn forget(&self, id: &str, really: bool) {
        if really {
            self.logs.lock().unwrap_or_else(PoisonError::into_inner).remove(id);
        }
    }
}

/// An id that is safe as a file name.
fn checked(id: &str) -> Result<&str, AppendError> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    match (1..=128).contains(&id.len()) && !id.starts_with('.') && id.bytes().all(plain) {
        true => Ok(id),
        false => Err(AppendError::InvalidId(id.chars().take(128).collect())),
    }
}

async fn blocking<T: Send + 'static>(
    id: &str,
    work: impl FnOnce() -> Result<T, AppendError> + Send + 'static,
) -> Result<T, AppendError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => {
            Err(AppendError::Io { action: "work on", id: id.to_owned(), reason: error.to_string() })
        }
    }
}
