//! What the processes of iterations take of this machine, read from `/proc`.
//!
//! A process belongs to the iteration whose uid it carries in its environment, wherever it went; what a program of
//! another user or another machine does is not seen.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use gcluster_types::labels::PROCESS_MARK;

/// What the processes of one iteration take.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Usage {
    /// Processes.
    pub(super) processes: usize,
    /// Processor time since they began, in clock ticks.
    pub(super) ticks: u64,
    /// Resident memory in bytes; what they share counts for each.
    pub(super) memory: u64,
}

/// What each of the iterations takes, by uid.
pub(super) fn look(uids: &BTreeSet<String>) -> BTreeMap<String, Usage> {
    let mut usage: BTreeMap<String, Usage> = BTreeMap::new();
    if uids.is_empty() {
        return usage;
    }
    for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        let name = entry.file_name();
        if !name.to_string_lossy().bytes().all(|byte| byte.is_ascii_digit()) {
            continue;
        }
        let Some((uid, ticks, memory)) = process(&entry.path()) else { continue };
        if uids.contains(&uid) {
            let sum = usage.entry(uid).or_default();
            sum.processes += 1;
            sum.ticks += ticks;
            sum.memory += memory;
        }
    }
    usage
}

/// Mark, ticks and resident bytes of a process that carries a mark.
fn process(directory: &Path) -> Option<(String, u64, u64)> {
    let environment = std::fs::read(directory.join("environ")).ok()?;
    let uid = mark(&environment)?;
    let ticks = ticks(&std::fs::read_to_string(directory.join("stat")).ok()?)?;
    let memory = resident(&std::fs::read_to_string(directory.join("status")).ok()?);
    Some((uid, ticks, memory))
}

fn mark(environment: &[u8]) -> Option<String> {
    let variables =
        environment.split(|byte| *byte == 0).filter_map(|variable| std::str::from_utf8(variable).ok());
    variables
        .filter_map(|variable| variable.split_once('='))
        .find_map(|(name, value)| (name == PROCESS_MARK).then(|| value.to_owned()))
}

/// Resident bytes in the lines of `/proc/PID/status`; none of a process that has ended and was not waited for.
fn resident(status: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = line.and_then(|line| line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok());
    kilobytes.unwrap_or_default().saturating_mul(1024)
}

/// User and system time in a line of `/proc/PID/stat`. The name in it may hold anything but its own end.
fn ticks(stat: &str) -> Option<u64> {
    let fields: Vec<&str> = stat.rsplit_once(") ")?.1.split(' ').collect();
    let number = |at: usize| fields.get(at).and_then(|field| field.parse::<u64>().ok());
    Some(number(11)? + number(12)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_stat_is_read_whatever_the_name_of_the_program() {
        let stat = "7 (a) b (c) S 1 7 7 0 -1 4194560 100 0 0 0 31 11 0 0 20 0 1 0 500 1000 20";
        assert_eq!(ticks(stat), Some(42));
        assert_eq!(resident("Name:\tx\nVmRSS:\t    1024 kB\nThreads:\t1\n"), 1 << 20);
        assert_eq!(resident("Name:\tx\n"), 0);
        assert_eq!(ticks("7 (x"), None);
        assert_eq!(ticks("7 (x) S 1"), None);
    }

    #[test]
    fn processes_are_counted_for_the_iteration_whose_mark_they_carry() {
        let uid = uuid_like();
        let mut child =
            std::process::Command::new("sleep").arg("60").env(PROCESS_MARK, &uid).spawn().unwrap();
        let wanted = BTreeSet::from([uid.clone(), "other".to_owned()]);
        // Until it has become the program, it has the environment of this test.
        let end = std::time::Instant::now() + std::time::Duration::from_secs(30);
        let mut usage = look(&wanted);
        while usage.is_empty() && std::time::Instant::now() < end {
            std::thread::yield_now();
            usage = look(&wanted);
        }
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(usage.keys().collect::<Vec<_>>(), [&uid]);
        assert!(usage[&uid].processes == 1 && usage[&uid].memory > 0, "{usage:?}");
        assert!(look(&BTreeSet::new()).is_empty());
    }

    fn uuid_like() -> String {
        format!("{:032x}", fastrand::u128(..))
    }
}
