//! One transcript: its files, its length, and who waits for more. Everything here blocks.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use super::{AppendError, Size};

/// Bytes between two marks of the index, and the size of a read.
pub(super) const STRIDE: u64 = 256 * 1024;

/// What followers wait on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tail {
    pub(super) size: Size,
    /// Nothing will follow: sealed or removed.
    pub(super) ended: bool,
    pub(super) removed: bool,
}

#[derive(Debug)]
pub(super) struct Log {
    id: String,
    path: PathBuf,
    end: PathBuf,
    /// Held while the files are changed. `None`: not looked at yet.
    known: Mutex<Option<Known>>,
    pub(super) tail: watch::Sender<Tail>,
}

#[derive(Debug, Default)]
struct Known {
    size: Size,
    sealed: bool,
    /// Sizes at record boundaries, at least [`STRIDE`] bytes apart: where to start reading from a record.
    marks: Vec<Size>,
}

impl Log {
    pub(super) fn new(dir: &Path, id: &str) -> Self {
        Self {
            id: id.to_owned(),
            path: dir.join(format!("{id}.ndjson")),
            end: dir.join(format!("{id}.end")),
            known: Mutex::new(None),
            tail: watch::Sender::new(Tail::default()),
        }
    }

    pub(super) fn append(&self, expect: Option<u64>, lines: &[u8]) -> Result<Size, AppendError> {
        let mut guard = self.known()?;
        let known = guard.get_or_insert_default();
        let have = known.size;
        if known.sealed {
            return Err(AppendError::Sealed { have });
        }
        if let Some(expected) = expect.filter(|expected| *expected != have.records) {
            return Err(AppendError::Offset { have, expected });
        }
        if lines.is_empty() {
            return Ok(have);
        }
        let records = count_lines(lines)?;
        let written = self.open_for_append().and_then(|mut file| {
            file.write_all(lines).inspect_err(|_| {
                // Half an append is none. Should this fail too, the next look at the file counts again.
                let _cut = file.set_len(have.bytes);
            })
        });
        if let Err(error) = written {
            *guard = None;
            return Err(self.failed("append to", &error));
        }
        known.advance(records, lines.len() as u64);
        let size = known.size;
        self.tail.send_modify(|tail| tail.size = size);
        Ok(size)
    }

    pub(super) fn seal(&self) -> Result<Size, AppendError> {
        let mut guard = self.known()?;
        let known = guard.get_or_insert_default();
        let size = known.size;
        if !known.sealed {
            self.write_end(size).map_err(|error| self.failed("seal", &error))?;
            known.sealed = true;
        }
        self.tail.send_modify(|tail| *tail = Tail { size, ended: true, removed: false });
        Ok(size)
    }

    pub(super) fn size(&self) -> Result<Size, AppendError> {
        if let Some(size) = self.sealed_size()? {
            return Ok(size);
        }
        Ok(self.known()?.get_or_insert_default().size)
    }

    /// The length as the end marker says; `None` while the transcript is open.
    pub(super) fn sealed_size(&self) -> Result<Option<Size>, AppendError> {
        match fs::read(&self.end) {
            Ok(text) => Ok(serde_json::from_slice(&text).ok()),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(self.failed("read", &error)),
        }
    }

    pub(super) fn remove(&self) -> Result<(), AppendError> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        for path in [&self.path, &self.end] {
            match fs::remove_file(path) {
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    return Err(self.failed("remove", &error));
                }
                Ok(()) | Err(_) => (),
            }
        }
        *known = None;
        self.tail.send_replace(Tail { size: Size::default(), ended: true, removed: true });
        Ok(())
    }

    /// True while this process appends to it.
    pub(super) fn is_growing(&self) -> bool {
        let tail = *self.tail.borrow();
        tail.size.records > 0 && !tail.ended
    }

    /// The newest known state, the file looked at when it was not yet.
    pub(super) fn look(&self) -> Result<Tail, AppendError> {
        // Whoever read it while it was removed is at its end, whatever is written under its name later.
        let tail = *self.tail.borrow();
        if tail.removed {
            return Ok(tail);
        }
        drop(self.known()?);
        Ok(*self.tail.borrow())
    }

    /// The last known record boundary at or before a record.
    pub(super) fn mark_before(&self, record: u64) -> Result<Size, AppendError> {
        let guard = self.known()?;
        let marks = guard.as_ref().map_or(&[][..], |known| &known.marks);
        let next = marks.partition_point(|mark| mark.records <= record);
        Ok(next.checked_sub(1).and_then(|at| marks.get(at)).copied().unwrap_or_default())
    }

    /// Reads up to `limit` bytes at an offset.
    pub(super) fn read_at(&self, offset: u64, limit: u64) -> Result<Vec<u8>, AppendError> {
        let read = || {
            let mut file = File::open(&self.path)?;
            file.seek(SeekFrom::Start(offset))?;
            let mut bytes = Vec::with_capacity(usize::try_from(limit.min(STRIDE)).unwrap_or_default());
            file.take(limit.min(STRIDE)).read_to_end(&mut bytes)?;
            Ok(bytes)
        };
        read().map_err(|error| self.failed("read", &error))
    }

    /// What is known of the file; looks at it the first time, and cuts a torn last record off.
    fn known(&self) -> Result<MutexGuard<'_, Option<Known>>, AppendError> {
        let mut guard = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if guard.is_none() {
            let sealed = self.sealed_size()?.is_some();
            let mut known = self.count().map_err(|error| self.failed("read", &error))?;
            known.sealed = sealed;
            let size = known.size;
            self.tail.send_if_modified(|tail| {
                *tail = Tail { size, ended: sealed || tail.removed, removed: tail.removed };
                sealed
            });
            *guard = Some(known);
        }
        Ok(guard)
    }

    fn count(&self) -> io::Result<Known> {
        let mut known = Known::default();
        let mut file = match File::open(&self.path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(known),
            other => other?,
        };
        let mut buffer = vec![0; usize::try_from(STRIDE).unwrap_or(1 << 16)];
        let mut position = 0;
        loop {
            let length = match file.read(&mut buffer) {
                Ok(0) => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                other => other?,
            };
            let bytes = buffer.get(..length).unwrap_or_default();
            if let Some(last) = bytes.iter().rposition(|byte| *byte == b'\n') {
                let end = position + last as u64 + 1;
                known.advance(newlines(bytes), end - known.size.bytes);
            }
            position += length as u64;
        }
        if position > known.size.bytes {
            tracing::warn!(transcript = %self.id, bytes = position - known.size.bytes, "cut a torn last record");
            OpenOptions::new().write(true).open(&self.path)?.set_len(known.size.bytes)?;
        }
        Ok(known)
    }

    fn open_for_append(&self) -> io::Result<File> {
        OpenOptions::new().append(true).create(true).mode(0o600).open(&self.path)
    }

    fn write_end(&self, size: Size) -> io::Result<()> {
        self.open_for_append()?.sync_all()?;
        let fresh = self.end.with_extension("end.new");
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&fresh)?;
        file.write_all(&serde_json::to_vec(&size)?)?;
        file.sync_all()?;
        fs::rename(&fresh, &self.end)?;
        self.path.parent().map_or(Ok(()), |dir| File::open(dir)?.sync_all())
    }

    fn failed(&self, action: &'static str, error: &io::Error) -> AppendError {
        AppendError::Io { action, id: self.id.clone(), reason: error.to_string() }
    }
}

impl Known {
    fn advance(&mut self, records: u64, bytes: u64) {
        self.size.records += records;
        self.size.bytes += bytes;
        let last = self.marks.last().map_or(0, |mark| mark.bytes);
        if self.size.bytes >= last + STRIDE {
            self.marks.push(self.size);
        }
    }
}

/// Ids of the transcripts in a directory.
pub(super) fn ids(dir: &Path) -> Result<Vec<String>, AppendError> {
    let failed =
        |error: io::Error| AppendError::Io { action: "list", id: "*".to_owned(), reason: error.to_string() };
    let mut ids = Vec::new();
    for entry in fs::read_dir(dir).map_err(failed)? {
        let name = entry.map_err(failed)?.file_name();
        ids.extend(name.to_str().and_then(|name| name.strip_suffix(".ndjson")).map(str::to_owned));
    }
    Ok(ids)
}

fn count_lines(lines: &[u8]) -> Result<u64, AppendError> {
    let blank = lines.first() == Some(&b'\n') || lines.windows(2).any(|pair| pair == b"\n\n");
    match lines.last() == Some(&b'\n') && !blank {
        true => Ok(newlines(lines)),
        false => Err(AppendError::NotLines),
    }
}

pub(super) fn newlines(bytes: &[u8]) -> u64 {
    bytes.iter().filter(|byte| **byte == b'\n').count() as u64
}
