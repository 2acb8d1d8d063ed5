//! The master under test, as users run it: a process of its own on a new directory.

use std::ffi::OsStr;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::Failure;
use super::client::Target;

/// Clock ticks per second of `/proc`, the same on every Linux.
const TICKS: f64 = 100.0;

/// A running master.
pub(crate) struct Master {
    child: Child,
    pub(crate) target: Target,
    /// From the start of the process until it says that it answers.
    pub(crate) ready: Duration,
}

impl Master {
    pub(crate) fn start(dir: &Path) -> Result<Master, Failure> {
        Self::start_with(dir, &[])
    }

    /// With further arguments.
    pub(crate) fn start_with(dir: &Path, args: &[&str]) -> Result<Master, Failure> {
        Self::start_where(dir, args, &std::env::var_os("PATH").unwrap_or_default())
    }

    /// With programs from these folders.
    pub(crate) fn start_where(dir: &Path, args: &[&str], path: &OsStr) -> Result<Master, Failure> {
        let started = Instant::now();
        let mut child = Command::new(env!("CARGO_BIN_EXE_gcluster"))
            .args(["master", "--addr", "127.0.0.1:0", "--backend", "rehearsal", "--data-dir"])
            .arg(dir)
            .args(args)
            .env("PATH", path)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let stdout = child.stdout.take().ok_or("no standard output")?;
        for line in BufReader::new(stdout).lines() {
            if let Some(rest) = line?.split("https://").nth(1) {
                let ready = started.elapsed();
                let end = rest.find(|c: char| !(c.is_ascii_digit() || c == '.' || c == ':'));
                let address = rest.get(..end.unwrap_or(rest.len())).unwrap_or_default().to_owned();
                let token = std::fs::read_to_string(dir.join("admin.token"))?.trim().to_owned();
                return Ok(Master { child, target: Target { address, token }, ready });
            }
        }
        Err("the master ended before it was ready".into())
    }

    /// Seconds of processor time so far, those of the kernel on its behalf included.
    pub(crate) fn cpu(&self) -> f64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap_or_default();
        let after_name = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
        let ticks = after_name.split_whitespace().skip(11).take(2).filter_map(|n| n.parse::<f64>().ok());
        ticks.sum::<f64>() / TICKS
    }

    pub(crate) fn resident_mib(&self) -> f64 {
        let path = format!("/proc/{}/status", self.child.id());
        let status = std::fs::read_to_string(path).unwrap_or_default();
        let kib = status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.split_whitespace().next());
        kib.and_then(|kib| kib.parse::<f64>().ok()).unwrap_or(0.0) / 1024.0
    }

    /// Threads and open files.
    pub(crate) fn handles(&self) -> (usize, usize) {
        let count = |what: &str| {
            let entries = std::fs::read_dir(format!("/proc/{}/{what}", self.child.id()));
            entries.map_or(0, Iterator::count)
        };
        (count("task"), count("fd"))
    }

    pub(crate) fn stop(mut self) -> Result<(), Failure> {
        let _ = Command::new("kill").args(["-INT", &self.child.id().to_string()]).status();
        self.child.wait()?;
        Ok(())
    }
}

impl Drop for Master {
    fn drop(&mut self) {
        let _ = self.child.kill();
    }
}

/// Appends of one kilobyte to a file of the same disk, each with `fdatasync`, per second.
pub(crate) fn raw_syncs(dir: &Path) -> Result<f64, Failure> {
    let mut file = std::fs::File::create(dir.join("raw"))?;
    let block = [b'x'; 1024];
    let (start, mut count) = (Instant::now(), 0_u32);
    while start.elapsed() < Duration::from_secs(2) {
        file.write_all(&block)?;
        file.sync_data()?;
        count += 1;
    }
    Ok(f64::from(count) / start.elapsed().as_secs_f64())
}
