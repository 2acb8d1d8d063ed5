//! The thread that writes the log, and puts it aside when it is large.

use std::fs::{File, OpenOptions, Permissions};
use std::io::{BufWriter, Result, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::sync::mpsc;

use super::entry::missing;
use super::{Counts, Message, Rotation};

pub(super) struct Writer {
    path: PathBuf,
    rotation: Rotation,
    file: BufWriter<File>,
    size: u64,
    counts: Arc<Counts>,
    /// The disk refuses lines; said once.
    failing: bool,
}

impl Writer {
    pub(super) fn open(path: &Path, rotation: Rotation, counts: Arc<Counts>) -> Result<Self> {
        let (file, size) = append(path)?;
        Ok(Self { path: path.to_owned(), rotation, file, size, counts, failing: false })
    }

    /// Writes until nobody can send any more. Whatever waits is written together.
    pub(super) fn run(mut self, mut lines: mpsc::Receiver<Message>) {
        while let Some(message) = lines.blocking_recv() {
            let mut next = Some(message);
            let mut flushed = Vec::new();
            while let Some(message) = next {
                match message {
                    Message::Line(line) => self.put(&line),
                    Message::Flush(done) => flushed.push(done),
                }
                next = lines.try_recv().ok();
            }
            if let Err(error) = self.file.flush() {
                self.failed(&error);
            }
            for done in flushed {
                let _ = done.send(());
            }
        }
    }

    fn put(&mut self, line: &str) {
        let lost = self.counts.missing.swap(0, Ordering::Relaxed);
        let written = match lost {
            0 => Ok(()),
            lost => self.write(&missing(lost)),
        };
        match written {
            Ok(()) => match self.write(line) {
                Ok(()) => {
                    self.failing = false;
                    self.counts.written.fetch_add(1, Ordering::Relaxed);
                    return;
                }
                Err(error) => self.failed(&error),
            },
            Err(error) => {
                self.counts.missing.fetch_add(lost, Ordering::Relaxed);
                self.failed(&error);
            }
        }
        self.counts.missing.fetch_add(1, Ordering::Relaxed);
        self.counts.lost.fetch_add(1, Ordering::Relaxed);
    }

    fn write(&mut self, line: &str) -> Result<()> {
        let bytes = line.len() as u64 + 1;
        if self.size > 0 && self.size + bytes > self.rotation.bytes {
            self.rotate()?;
        }
        self.file.write_all(line.as_bytes())?;
        self.file.write_all(b"\n")?;
        self.size += bytes;
        Ok(())
    }

    fn rotate(&mut self) -> Result<()> {
        self.file.flush()?;
        for number in (1..=self.rotation.kept).rev() {
            let older = aside(&self.path, number);
            let newer = if number == 1 { self.path.clone() } else { aside(&self.path, number - 1) };
            if newer.exists() {
                std::fs::rename(&newer, &older)?;
            }
        }
        if self.rotation.kept == 0 {
            std::fs::remove_file(&self.path)?;
        }
        (self.file, self.size) = append(&self.path)?;
        Ok(())
    }

    fn failed(&mut self, error: &std::io::Error) {
        if !self.failing {
            tracing::error!(path = %self.path.display(), %error, "the audit log cannot be written");
        }
        self.failing = true;
    }
}

fn append(path: &Path) -> Result<(BufWriter<File>, u64)> {
    let file = OpenOptions::new().append(true).create(true).mode(0o600).open(path)?;
    let meta = file.metadata()?;
    if meta.is_file() && meta.permissions().mode() & 0o077 != 0 {
        file.set_permissions(Permissions::from_mode(0o600))?;
    }
    Ok((BufWriter::with_capacity(64 << 10, file), meta.len()))
}

fn aside(path: &Path, number: usize) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{number}"));
    name.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::Audit;

    fn mode(path: &Path) -> u32 {
        path.metadata().unwrap().permissions().mode() & 0o777
    }

    #[tokio::test]
    async fn a_large_log_is_put_aside_and_only_some_are_kept() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("audit.log");
        std::fs::write(&path, "before\n").unwrap();
        std::fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        let audit = Audit::open(&path, Rotation { bytes: 20, kept: 2 }).unwrap();
        for n in 0..9 {
            audit.put(format!("line {n}"));
        }
        audit.flush().await;
        let read = |path: &Path| std::fs::read_to_string(path).unwrap();
        // Two lines of seven bytes fit, the first file had one already.
        assert_eq!(read(&path), "line 7\nline 8\n");
        assert_eq!(read(&aside(&path, 1)), "line 5\nline 6\n");
        assert_eq!(read(&aside(&path, 2)), "line 3\nline 4\n");
        assert!(!aside(&path, 3).exists());
        assert_eq!((mode(&path), mode(&aside(&path, 1))), (0o600, 0o600));
        assert_eq!(audit.counts(), (9, 0));
    }

    #[test]
    fn lines_that_found_no_place_are_counted_where_they_are_missing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("audit.log");
        let counts = Arc::new(Counts::default());
        let writer = Writer::open(&path, Rotation::default(), Arc::clone(&counts)).unwrap();
        let (queue, lines) = mpsc::channel(2);
        let audit = Audit { queue, counts };
        for n in 0..5 {
            audit.put(format!("\"{n}\""));
        }
        assert_eq!(audit.counts(), (0, 3));
        drop(audit);
        writer.run(lines);
        let text = std::fs::read_to_string(&path).unwrap();
        let lines: Vec<serde_json::Value> =
            text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines[0]["missing"], 3, "{text}");
        assert_eq!((&lines[1], &lines[2]), (&"0".into(), &"1".into()));
    }
}
