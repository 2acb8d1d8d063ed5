//! `master.pid` in the data directory: which process serves it.
//!
//! A process id alone may mean another process after a while; together with the start time it does not.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::objects::poll;
use crate::exit::{Failure, Result};

/// A running master.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PidFile {
    /// Process id.
    pub(crate) pid: i32,
    /// Start time in clock ticks since boot; 0 where the system does not say.
    pub(crate) start_time: u64,
    /// Address that it listens on.
    pub(crate) address: String,
}

impl PidFile {
    fn path(data_dir: &Path) -> PathBuf {
        data_dir.join("master.pid")
    }

    /// Records this process as the master of `data_dir`.
    pub(crate) fn write(data_dir: &Path, address: &str) -> Result {
        use std::os::unix::fs::OpenOptionsExt as _;
        let pid = i32::try_from(std::process::id()).unwrap_or_default();
        let file = Self { pid, start_time: start_time(pid).unwrap_or(0), address: address.to_owned() };
        let path = Self::path(data_dir);
        let text = serde_json::to_vec(&file).unwrap_or_default();
        let written = std::fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&path)
            .and_then(|mut out| std::io::Write::write_all(&mut out, &text));
        written.map_err(|error| Failure::failed(format!("cannot write {}: {error}", path.display())))
    }

    /// Removes the record, if it is this process's.
    pub(crate) fn remove(data_dir: &Path) {
        let own = i32::try_from(std::process::id()).ok();
        if Self::read(data_dir).is_some_and(|file| Some(file.pid) == own) {
            let _ = std::fs::remove_file(Self::path(data_dir));
        }
    }

    /// The recorded master, if it still runs.
    pub(crate) fn running(data_dir: &Path) -> Option<Self> {
        Self::read(data_dir).filter(Self::lives)
    }

    fn read(data_dir: &Path) -> Option<Self> {
        serde_json::from_slice(&std::fs::read(Self::path(data_dir)).ok()?).ok()
    }

    fn lives(&self) -> bool {
        let Some(pid) = rustix::process::Pid::from_raw(self.pid) else { return false };
        if rustix::process::test_kill_process(pid).is_err() {
            return false;
        }
        match start_time(self.pid) {
            Some(time) => time == self.start_time || self.start_time == 0,
            // Without /proc the signal's word is all there is; with it, the process is gone or a zombie.
            None => !Path::new("/proc/self/stat").exists(),
        }
    }

    /// Sends Ctrl-C's signal and waits until the process is gone.
    pub(crate) async fn interrupt(&self, limit: Duration) -> Result {
        let Some(pid) = rustix::process::Pid::from_raw(self.pid) else { return Ok(()) };
        if let Err(error) = rustix::process::kill_process(pid, rustix::process::Signal::INT)
            && self.lives()
        {
            return Err(Failure::failed(format!("cannot signal the master (process {}): {error}", self.pid)));
        }
        poll(limit, &format!("the master (process {}) to end", self.pid), async || {
            Ok((!self.lives()).then_some(()))
        })
        .await
    }
}

/// Start time of a process that lives; `None` for a zombie, for no process, and without /proc.
fn start_time(pid: i32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may hold anything; the fields after the last one are plain.
    let mut fields = stat.rsplit_once(") ")?.1.split(' ');
    if matches!(fields.next()?, "Z" | "X") {
        return None;
    }
    fields.nth(18)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_of_this_process_counts_and_one_of_another_start_does_not() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(PidFile::running(dir.path()), None);
        PidFile::write(dir.path(), "127.0.0.1:1").unwrap();
        let mut file = PidFile::running(dir.path()).unwrap();
        assert_eq!(file.address, "127.0.0.1:1");
        if file.start_time > 0 {
            file.start_time -= 1;
            std::fs::write(PidFile::path(dir.path()), serde_json::to_vec(&file).unwrap()).unwrap();
            assert_eq!(PidFile::running(dir.path()), None);
        }
        PidFile::remove(dir.path());
        assert_eq!(PidFile::read(dir.path()), None);
    }

    #[test]
    fn a_damaged_record_is_no_master() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(PidFile::path(dir.path()), "x").unwrap();
        assert_eq!(PidFile::running(dir.path()), None);
    }
}
