//! The input of a program that is talked to while it works: files that its keeper gives it one after the other.
//!
//! ```text
//! input/000003-UID ──keeper──▶ the program's standard input ; the file moves to given/
//! control  a FIFO: whoever added a file says so      end  no more comes: the input is closed
//! ```
//!
//! A file appears whole, by a rename, and is given whole, so a line is never torn by a killed master. The names say
//! what was handed over by whom it was: the next master goes on where the last one was, and gives nothing twice.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags, mkfifoat};

/// An open input. Dropping it does not close it: the program may outlive the master.
pub(crate) struct InputLines {
    dir: PathBuf,
    /// Open for both, so that it needs no reader to be there and never breaks.
    control: File,
    next: Cell<u64>,
    /// What an earlier master handed over, by number. What was sent again is taken out.
    earlier: RefCell<BTreeMap<u64, String>>,
    /// What could not be written yet.
    backlog: RefCell<VecDeque<String>>,
}

impl InputLines {
    /// The input of a new run.
    pub(crate) fn create(dir: &Path) -> io::Result<InputLines> {
        clear(dir)?;
        for folder in ["input", "given"] {
            fs::DirBuilder::new().mode(0o700).create(dir.join(folder))?;
        }
        for fifo in ["control", "stdin"] {
            mkfifoat(CWD, dir.join(fifo), Mode::RUSR | Mode::WUSR)?;
        }
        InputLines::open(dir)
    }

    /// The input of a run that an earlier master started; `None` when it was closed or there is none.
    pub(crate) fn reopen(dir: &Path) -> Option<InputLines> {
        if !dir.join("control").exists() || dir.join("end").exists() {
            return None;
        }
        let lines = InputLines::open(dir).ok()?;
        let earlier = sent_lines(dir);
        lines.next.set(earlier.last_key_value().map_or(0, |(number, _)| number + 1));
        *lines.earlier.borrow_mut() = earlier;
        // It may have been killed between the file and the word about it.
        lines.nudge();
        Some(lines)
    }

    fn open(dir: &Path) -> io::Result<InputLines> {
        let flags = i32::try_from(OFlags::NONBLOCK.bits()).unwrap_or_default();
        let control =
            OpenOptions::new().read(true).write(true).custom_flags(flags).open(dir.join("control"))?;
        Ok(InputLines {
            dir: dir.to_owned(),
            control,
            next: Cell::new(0),
            earlier: RefCell::default(),
            backlog: RefCell::default(),
        })
    }

    /// Sends one line; the line feed is added. What cannot be written now waits for [`InputLines::retry`].
    pub(crate) fn send(&self, line: String) {
        self.backlog.borrow_mut().push_back(line + "\n");
        self.retry();
    }

    /// The same, unless an earlier master sent this line already. For answers to output that is read again.
    pub(crate) fn send_again(&self, line: String) {
        let mut earlier = self.earlier.borrow_mut();
        let sent = earlier.iter().find(|(_, sent)| sent.strip_suffix('\n') == Some(&line));
        match sent.map(|(number, _)| *number) {
            Some(number) => drop(earlier.remove(&number)),
            None => self.send(line),
        }
    }

    /// Whether an earlier master handed over a line with this text in it.
    pub(crate) fn was_handed(&self, id: &str) -> bool {
        !id.is_empty() && self.earlier.borrow().values().any(|line| line.contains(id))
    }

    /// Writes what could not be written before.
    pub(crate) fn retry(&self) {
        let mut backlog = self.backlog.borrow_mut();
        while let Some(line) = backlog.front() {
            if let Err(error) = self.put(line) {
                tracing::warn!(%error, dir = %self.dir.display(), "a line for a program cannot be written yet");
                return;
            }
            backlog.pop_front();
        }
    }

    /// Closes the input once everything was given: the program reads its end.
    pub(crate) fn close(self) {
        if let Err(error) = File::create(self.dir.join("end")) {
            tracing::warn!(%error, dir = %self.dir.display(), "the input of a program cannot be closed");
        }
        self.nudge();
    }

    fn put(&self, line: &str) -> io::Result<()> {
        let number = self.next.get();
        let draft = self.dir.join("draft");
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
        file.write_all(line.as_bytes())?;
        // Names sort as numbers do, which is the order in which the keeper gives them.
        fs::rename(draft, self.dir.join("input").join(format!("{number:09}")))?;
        self.next.set(number + 1);
        self.nudge();
        Ok(())
    }

    /// A full FIFO has many words in it that were not read yet: one of them is enough.
    fn nudge(&self) {
        let _ = (&self.control).write(b"\n");
    }
}

/// All that a run was sent by whichever master, by number, each with its line feed.
pub(crate) fn sent_lines(dir: &Path) -> BTreeMap<u64, String> {
    let mut lines = BTreeMap::new();
    // The other way round a file that moves meanwhile would be in neither.
    for folder in ["input", "given"] {
        for entry in fs::read_dir(dir.join(folder)).into_iter().flatten().flatten() {
            let number = entry.file_name().to_str().and_then(|name| name.parse().ok());
            // One that moves between the listing and the reading is found in the other folder.
            if let (Some(number), Ok(text)) = (number, fs::read_to_string(entry.path())) {
                lines.insert(number, text);
            }
        }
    }
    lines
}

/// Removes what an earlier run in the same directory left.
fn clear(dir: &Path) -> io::Result<()> {
    let folders = ["input", "given"].map(|name| fs::remove_dir_all(dir.join(name)));
    let files = ["control", "stdin", "end"].map(|name| fs::remove_file(dir.join(name)));
    let real = |error: &io::Error| error.kind() != io::ErrorKind::NotFound;
    match folders.into_iter().chain(files).filter_map(Result::err).find(real) {
        Some(error) => Err(error),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(dir: &Path, folder: &str) -> Vec<String> {
        let entries = fs::read_dir(dir.join(folder)).unwrap().flatten();
        let mut names: Vec<String> =
            entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_later_master_goes_on_behind_what_was_handed_over_and_repeats_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let first = InputLines::create(dir.path()).unwrap();
        first.send("prompt".into());
        first.send("answer".into());
        first.send("message u-1".into());
        drop(first);
        fs::rename(dir.path().join("input/000000000"), dir.path().join("given/000000000")).unwrap();
        // Cut off in the middle of the next one.
        fs::write(dir.path().join("draft"), "half of a li").unwrap();
        let second = InputLines::reopen(dir.path()).unwrap();
        assert!(second.was_handed("u-1") && !second.was_handed("u-2") && !second.was_handed(""));
        second.send_again("answer".into());
        assert_eq!(names(dir.path(), "input"), ["000000001", "000000002"], "it was sent already");
        second.send_again("answer".into());
        second.send("more".into());
        assert_eq!(
            names(dir.path(), "input"),
            ["000000001", "000000002", "000000003", "000000004"],
            "the same answer to a second question is another one"
        );
        assert_eq!(fs::read_to_string(dir.path().join("input/000000004")).unwrap(), "more\n");
        second.close();
        assert!(InputLines::reopen(dir.path()).is_none(), "it is closed");
    }

    #[test]
    fn what_cannot_be_written_is_written_later_in_its_order() {
        let dir = tempfile::tempdir().unwrap();
        let lines = InputLines::create(dir.path()).unwrap();
        fs::rename(dir.path().join("input"), dir.path().join("away")).unwrap();
        lines.send("one".into());
        lines.send("two".into());
        fs::rename(dir.path().join("away"), dir.path().join("input")).unwrap();
        lines.retry();
        let read = |name: &str| fs::read_to_string(dir.path().join("input").join(name)).unwrap();
        assert_eq!((read("000000000").as_str(), read("000000001").as_str()), ("one\n", "two\n"));
    }
}
