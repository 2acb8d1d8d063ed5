//! Reading a program's output file line by line while the program writes it.
//!
//! Lines end at `\n` only, have any length up to [`LINE_LIMIT`], and may hold bytes that are no UTF-8.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::time::Duration;

use tokio::time::Instant;

use super::mask::Mask;
use super::wake::FileWatch;

/// Longest line that is kept. Of a longer one only the length is told.
pub(crate) const LINE_LIMIT: usize = 64 << 20;
const CHUNK: usize = 16 << 10;
/// How often the file is looked at although nothing woke the reader.
const SLOW_POLL: Duration = Duration::from_secs(2);
/// How often it is looked at where the kernel cannot wake the reader.
const FAST_POLL: Duration = Duration::from_millis(100);
/// After something was read it is not looked at again for so long: a program that writes token by token, or that
/// builds something, would wake the master for every line. What it writes meanwhile is read at once then.
const HOLD: Duration = Duration::from_millis(200);

/// One line of output.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Line {
    /// Its bytes without the line feed.
    Whole(Vec<u8>),
    /// It had this many bytes, more than the limit, and was skipped.
    TooLong(u64),
}

/// A reader of one output file.
pub(crate) struct Spool {
    file: File,
    splitter: Splitter,
    watch: FileWatch,
    mask: Mask,
    /// Something came since the end of the file was met last.
    fresh: bool,
    /// No look before this.
    hold: Instant,
}

impl Spool {
    /// Opens a file that exists, at its start.
    pub(crate) fn open(path: &Path) -> io::Result<Spool> {
        let watch = FileWatch::new(path);
        Ok(Spool {
            file: File::open(path)?,
            splitter: Splitter::new(LINE_LIMIT),
            watch,
            mask: Mask::default(),
            fresh: false,
            hold: Instant::now(),
        })
    }

    /// The same without what must not be shown.
    pub(crate) fn masked(self, mask: Mask) -> Spool {
        Spool { mask, ..self }
    }

    /// The next whole line, if one is there. Reads at most a chunk that was written a moment ago, from memory
    /// in practice, so it is called from async code.
    pub(crate) fn next_line(&mut self) -> io::Result<Option<Line>> {
        loop {
            if let Some(line) = self.splitter.next_line() {
                return Ok(Some(self.shown(line)));
            }
            let mut chunk = [0; CHUNK];
            match self.file.read(&mut chunk) {
                Ok(0) => {
                    if std::mem::take(&mut self.fresh) {
                        self.hold = Instant::now() + HOLD;
                    }
                    return Ok(None);
                }
                Ok(length) => {
                    self.fresh = true;
                    self.splitter.push(&chunk[..length]);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// What stands behind the last line feed, once nothing more will come.
    pub(crate) fn last_line(&mut self) -> Option<Line> {
        self.splitter.finish().map(|line| self.shown(line))
    }

    fn shown(&self, line: Line) -> Line {
        match line {
            Line::Whole(bytes) => Line::Whole(self.mask.hide_in(bytes)),
            Line::TooLong(length) => Line::TooLong(length),
        }
    }

    /// Returns when there may be more to read.
    pub(crate) async fn changed(&self) {
        if self.hold > Instant::now() {
            return tokio::time::sleep_until(self.hold).await;
        }
        if self.watch.arm() {
            return;
        }
        let poll = if self.watch.wakes() { SLOW_POLL } else { FAST_POLL };
        tokio::select! {
            () = self.watch.grown() => {}
            () = tokio::time::sleep(poll) => {}
        }
    }
}

/// Cuts bytes into lines.
struct Splitter {
    buffer: Vec<u8>,
    /// Bytes at the front that were handed out.
    taken: usize,
    /// Bytes that hold no line feed, behind `taken`.
    scanned: usize,
    /// Bytes of the present line that were thrown away because it is too long.
    skipped: u64,
    limit: usize,
}

impl Splitter {
    fn new(limit: usize) -> Splitter {
        Splitter { buffer: Vec::new(), taken: 0, scanned: 0, skipped: 0, limit }
    }

    fn push(&mut self, bytes: &[u8]) {
        if self.taken > 0 {
            self.buffer.drain(..self.taken);
            self.taken = 0;
        }
        if self.buffer.is_empty() && self.buffer.capacity() > (1 << 20) {
            self.buffer = Vec::new();
        }
        self.buffer.extend_from_slice(bytes);
    }

    fn next_line(&mut self) -> Option<Line> {
        let rest = self.buffer.get(self.taken + self.scanned..)?;
        let Some(position) = rest.iter().position(|byte| *byte == b'\n') else {
            self.scanned = self.buffer.len() - self.taken;
            if self.scanned > self.limit {
                self.skipped += self.scanned as u64;
                self.buffer.clear();
                self.taken = 0;
                self.scanned = 0;
            }
            return None;
        };
        let end = self.taken + self.scanned + position;
        let line = self.line(end);
        self.taken = end + 1;
        self.scanned = 0;
        Some(line)
    }

    fn finish(&mut self) -> Option<Line> {
        if self.buffer.len() == self.taken && self.skipped == 0 {
            return None;
        }
        let line = self.line(self.buffer.len());
        self.buffer.clear();
        self.taken = 0;
        self.scanned = 0;
        Some(line)
    }

    fn line(&mut self, end: usize) -> Line {
        let length = end - self.taken;
        if self.skipped > 0 || length > self.limit {
            let whole = self.skipped + length as u64;
            self.skipped = 0;
            return Line::TooLong(whole);
        }
        Line::Whole(self.buffer[self.taken..end].to_vec())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::io::Write;

    fn split(chunks: &[&[u8]], limit: usize) -> Vec<Line> {
        let mut splitter = Splitter::new(limit);
        let mut lines = Vec::new();
        for chunk in chunks {
            splitter.push(chunk);
            lines.extend(std::iter::from_fn(|| splitter.next_line()));
        }
        lines.extend(splitter.finish());
        lines
    }

    proptest! {
        #[test]
        fn lines_do_not_depend_on_how_the_bytes_arrive(
            bytes in proptest::collection::vec(prop_oneof![Just(b'\n'), Just(b'\r'), any::<u8>()], 0..200),
            size in 1_usize..20,
        ) {
            let lines = split(&bytes.chunks(size).collect::<Vec<_>>(), 1000);
            let joined: Vec<Vec<u8>> = lines.iter().map(|line| match line {
                Line::Whole(bytes) => bytes.clone(),
                Line::TooLong(_) => unreachable!("nothing is too long"),
            }).collect();
            let mut expected: Vec<Vec<u8>> = bytes.split(|b| *b == b'\n').map(<[u8]>::to_vec).collect();
            if expected.last().is_some_and(Vec::is_empty) {
                expected.pop();
            }
            prop_assert_eq!(joined, expected);
        }
    }

    #[test]
    fn a_line_beyond_the_limit_is_skipped_and_the_next_one_is_whole() {
        let lines = split(&[b"aaaaaaa", b"aaaaaa", b"aaa\nok\nb"], 10);
        assert_eq!(lines, [Line::TooLong(16), Line::Whole(b"ok".to_vec()), Line::Whole(b"b".to_vec())]);
        assert_eq!(split(&[b"aaaaaaaaaaaa\n"], 10), [Line::TooLong(12)]);
        assert_eq!(split(&[b"aaaaaaaaaaaa"], 10), [Line::TooLong(12)]);
    }

    #[tokio::test]
    async fn a_reader_is_woken_when_the_file_grows() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("stdout");
        let mut file = File::create(&path).unwrap();
        let mut spool = Spool::open(&path).unwrap();
        assert_eq!(spool.next_line().unwrap(), None);
        file.write_all(b"half").unwrap();
        assert_eq!(spool.next_line().unwrap(), None);
        file.write_all(b" whole\nrest").unwrap();
        tokio::time::timeout(Duration::from_secs(10), spool.changed()).await.unwrap();
        assert_eq!(spool.next_line().unwrap(), Some(Line::Whole(b"half whole".to_vec())));
        assert_eq!(spool.next_line().unwrap(), None);
        assert_eq!(spool.last_line(), Some(Line::Whole(b"rest".to_vec())));
        assert_eq!(spool.last_line(), None);
    }

    #[tokio::test]
    async fn what_is_written_shortly_after_a_look_waits_for_the_next_one() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("stdout");
        let mut file = File::create(&path).unwrap();
        let mut spool = Spool::open(&path).unwrap();
        file.write_all(b"a\n").unwrap();
        assert_eq!(spool.next_line().unwrap(), Some(Line::Whole(b"a".to_vec())));
        assert_eq!(spool.next_line().unwrap(), None);
        let read = Instant::now();
        for _ in 0..3 {
            file.write_all(b"b\n").unwrap();
        }
        tokio::time::timeout(Duration::from_secs(10), spool.changed()).await.unwrap();
        assert!(read.elapsed() >= HOLD / 2, "{:?}", read.elapsed());
        for _ in 0..3 {
            assert_eq!(spool.next_line().unwrap(), Some(Line::Whole(b"b".to_vec())));
        }
    }
}
