//! By what the keepers of programs know that there is a master: a FIFO that it holds open for as long as it lives.
//!
//! A program that is talked to ends when its input does, and only a master closes that. Where none comes back, the
//! keeper does it: nothing is to run for ever because nobody asks it to end.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustix::fs::{CWD, Mode, OFlags, mkfifoat};

/// The sign that this master lives, and how long a program waits for the next one.
#[derive(Debug, Clone)]
pub struct Presence {
    /// The FIFO.
    pub(crate) path: PathBuf,
    /// Without a master for so long, the input of a program is closed. Whole seconds.
    pub(crate) patience: Duration,
    _held: Arc<File>,
}

impl Presence {
    /// Begins to be present; ends when the last clone is dropped, or with the process.
    ///
    /// # Errors
    /// When the FIFO cannot be made or opened.
    pub fn hold(path: &Path, patience: Duration) -> io::Result<Presence> {
        match mkfifoat(CWD, path, Mode::RUSR | Mode::WUSR) {
            Err(error) if error != rustix::io::Errno::EXIST => return Err(error.into()),
            _ => {}
        }
        // Open for both, so that it needs nobody who reads.
        let flags = i32::try_from(OFlags::NONBLOCK.bits()).unwrap_or_default();
        let held = OpenOptions::new().read(true).write(true).custom_flags(flags).open(path)?;
        Ok(Presence { path: path.to_owned(), patience, _held: Arc::new(held) })
    }
}
