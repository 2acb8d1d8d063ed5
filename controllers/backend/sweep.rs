//! Processes by their mark: who they are, whether they live, and ending all of them.
//!
//! Every process of an iteration carries `GCLUSTER_ITERATION_UID=<uid>` in its environment, which children
//! inherit whatever they do: setsid, double fork, a group of their own. Descendants that cleaned their
//! environment are found through their parents while these live.

use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use gcluster_types::labels::PROCESS_MARK;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open, pidfd_send_signal};

use super::ProcessRef;
use super::cgroup::Cgroup;
use super::hunted::known;

/// How long the end of a process that is no child stays unnoticed.
const AFTER_DEATH: Duration = Duration::from_millis(100);
/// Longest time that a sweep takes: processes in an uninterruptible call do not die sooner.
const LIMIT: Duration = Duration::from_secs(5);

/// Kills whatever carries the mark of an iteration, until nothing is left. Returns the ids of what could
/// not be killed within five seconds. For the leftovers of an earlier master; blocks, so call it on a thread
/// for that.
pub fn sweep(iteration_uid: &str) -> Vec<i64> {
    sweep_family(iteration_uid, &[], None)
}

/// The same for a run of an earlier master whose files are in `run_dir`: its cgroup is killed, too.
pub fn sweep_run(iteration_uid: &str, run_dir: &Path) -> Vec<i64> {
    let cgroup = Cgroup::of(run_dir);
    let mut left = cgroup.as_ref().map(Cgroup::kill).unwrap_or_default();
    left.extend(sweep_family(iteration_uid, &known(run_dir, &ProcessRef::default()), None));
    cgroup.iter().for_each(Cgroup::remove);
    left
}

/// Who a process is, told apart from a later one with the same id. `None` when there is none.
pub fn process_ref(pid: i64) -> Option<ProcessRef> {
    let stat = Stat::read(pid)?;
    Some(ProcessRef { pid, start_time: stat.start_time, boot_id: boot_id() })
}

/// True while exactly this process lives. A zombie does not.
pub fn is_alive(process: &ProcessRef) -> bool {
    is_of_this_boot(process)
        && Stat::read(process.pid).is_some_and(|stat| stat.lives() && stat.start_time == process.start_time)
}

/// The living process that leads an iteration's group: the first one that was started with its mark.
pub fn leader(iteration_uid: &str) -> Option<ProcessRef> {
    let snapshot = Snapshot::take();
    let marked =
        |stat: &&Stat| !iteration_uid.is_empty() && stat.mark.as_deref() == Some(iteration_uid.as_bytes());
    let leads = |stat: &&Stat| stat.lives() && stat.group == stat.pid;
    // The clock of start times is coarse, and a child may have begun a session, which the leader did not.
    let age = |stat: &&Stat| (stat.session == stat.pid, stat.start_time, stat.pid);
    let first = snapshot.processes.values().filter(marked).filter(leads).min_by_key(age)?;
    Some(ProcessRef { pid: first.pid, start_time: first.start_time, boot_id: boot_id() })
}

/// Whether exactly this process lives and carries the mark of an iteration.
pub fn is_of(process: &ProcessRef, iteration_uid: &str) -> bool {
    is_alive(process) && mark_of(process.pid).as_deref() == Some(iteration_uid.as_bytes())
}

/// Returns when exactly this process, which need be no child, has ended.
pub(crate) async fn gone(process: &ProcessRef) {
    let pid = i32::try_from(process.pid).ok().and_then(Pid::from_raw);
    let fd = pid.and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok());
    // The descriptor is of whoever has the id now: this process, if it lives still.
    while is_alive(process) {
        tokio::time::sleep(AFTER_DEATH).await;
        // Cheaper than reading its entry.
        while fd.as_ref().is_some_and(|fd| !has_ended(fd)) {
            tokio::time::sleep(AFTER_DEATH).await;
        }
    }
}

fn has_ended(pidfd: &OwnedFd) -> bool {
    let mut watched = [PollFd::new(pidfd, PollFlags::IN)];
    !matches!(poll(&mut watched, Some(&Timespec::default())), Ok(0))
}

/// Every living process of an iteration: marked ones, the group and session of `known` ones, and all that
/// descend from them.
pub fn family(iteration_uid: &str, known: &[ProcessRef]) -> Vec<ProcessRef> {
    let snapshot = Snapshot::take();
    let all = &snapshot.processes;
    let own = i64::from(std::process::id());
    let known: Vec<&ProcessRef> = known.iter().filter(|process| is_of_this_boot(process)).collect();
    let is_known = |stat: &Stat| known.iter().any(|p| p.pid == stat.pid && p.start_time == stat.start_time);
    // The id of a group cannot be given to another process while its leader is there.
    let leaders: BTreeSet<i64> = all.values().filter(|stat| is_known(stat)).map(|stat| stat.pid).collect();
    let mut found: BTreeSet<i64> = all
        .values()
        .filter(|stat| {
            is_known(stat)
                || leaders.contains(&stat.group)
                || leaders.contains(&stat.session)
                || (!iteration_uid.is_empty() && stat.mark.as_deref() == Some(iteration_uid.as_bytes()))
        })
        .map(|stat| stat.pid)
        .collect();
    loop {
        let more: Vec<i64> = all
            .values()
            .filter(|stat| found.contains(&stat.parent) && !found.contains(&stat.pid))
            .map(|stat| stat.pid)
            .collect();
        if more.is_empty() {
            break;
        }
        found.extend(more);
    }
    let boot_id = boot_id();
    found
        .into_iter()
        .filter(|pid| *pid > 1 && *pid != own)
        .filter_map(|pid| all.get(&pid).filter(|stat| stat.lives()))
        .map(|stat| ProcessRef { pid: stat.pid, start_time: stat.start_time, boot_id: boot_id.clone() })
        .collect()
}

/// The living processes of several runs, each with the group, the session and all that descends from those that were
/// known of it, by one reading of `/proc` and without looking for marks. Of none it costs nothing.
pub(crate) fn families(known: &[Vec<ProcessRef>]) -> Vec<Vec<ProcessRef>> {
    let mut found: Vec<Vec<ProcessRef>> = vec![Vec::new(); known.len()];
    if known.is_empty() {
        return found;
    }
    let all = Stat::all();
    let mut run_of: HashMap<i64, usize> = HashMap::new();
    for (run, processes) in known.iter().enumerate() {
        let same = |p: &&ProcessRef| all.get(&p.pid).is_some_and(|stat| stat.start_time == p.start_time);
        run_of.extend(processes.iter().filter(same).map(|process| (process.pid, run)));
    }
    let known = run_of.clone();
    let mut children: HashMap<i64, Vec<i64>> = HashMap::new();
    for stat in all.values() {
        children.entry(stat.parent).or_default().push(stat.pid);
        if let Some(run) = known.get(&stat.group).or_else(|| known.get(&stat.session)) {
            run_of.entry(stat.pid).or_insert(*run);
        }
    }
    let mut open: Vec<(i64, usize)> = run_of.iter().map(|(pid, run)| (*pid, *run)).collect();
    while let Some((pid, run)) = open.pop() {
        for child in children.get(&pid).into_iter().flatten() {
            if let Entry::Vacant(place) = run_of.entry(*child) {
                place.insert(run);
                open.push((*child, run));
            }
        }
    }
    let boot_id = boot_id();
    for (pid, run) in run_of {
        if let (Some(stat), Some(found)) = (all.get(&pid).filter(|stat| stat.lives()), found.get_mut(run)) {
            found.push(ProcessRef { pid, start_time: stat.start_time, boot_id: boot_id.clone() });
        }
    }
    found
}

/// Kills an iteration's processes again and again until two looks in a row find none. The keeper goes last: while it
/// lives, whoever loses its parent becomes its child and is found.
pub(crate) fn sweep_family(
    iteration_uid: &str,
    known: &[ProcessRef],
    keeper: Option<&ProcessRef>,
) -> Vec<i64> {
    let started = Instant::now();
    let mut known = known.to_vec();
    let mut clean = 0;
    loop {
        let living = family(iteration_uid, &known);
        if living.is_empty() {
            clean += 1;
            if clean == 2 {
                return Vec::new();
            }
        } else {
            clean = 0;
            if started.elapsed() > LIMIT {
                return living.iter().map(|process| process.pid).collect();
            }
            // One that cannot be killed does not hold up the end of the others.
            let patient = started.elapsed() < LIMIT / 2;
            let others = living.iter().any(|process| Some(process) != keeper);
            for process in &living {
                if !(patient && others && Some(process) == keeper) {
                    signal(process, Signal::KILL);
                }
                if !known.contains(process) {
                    known.push(process.clone());
                }
            }
        }
        std::thread::sleep(Duration::from_millis(3));
    }
}

/// Sends a signal to exactly this process; does nothing when it is gone or its id belongs to another now.
pub(crate) fn signal(process: &ProcessRef, signal: Signal) {
    let Some(pid) = i32::try_from(process.pid).ok().and_then(Pid::from_raw) else { return };
    // The process may end at any moment, which is what the signal is for: errors mean nothing.
    match pidfd_open(pid, PidfdFlags::empty()) {
        Ok(fd) => {
            if is_alive(process) {
                let _ = pidfd_send_signal(&fd, signal);
            }
        }
        Err(rustix::io::Errno::NOSYS) if is_alive(process) => {
            let _ = kill_process(pid, signal);
        }
        Err(_) => {}
    }
}

/// The value of the mark in a process's environment.
fn mark_of(pid: i64) -> Option<Vec<u8>> {
    let environ = fs::read(format!("/proc/{pid}/environ")).ok()?;
    let value =
        |variable: &[u8]| Some(variable.strip_prefix(PROCESS_MARK.as_bytes())?.strip_prefix(b"=")?.to_vec());
    environ.split(|byte| *byte == 0).find_map(value)
}

fn is_of_this_boot(process: &ProcessRef) -> bool {
    process.boot_id.is_none() || process.boot_id == boot_id()
}

fn boot_id() -> Option<String> {
    static BOOT_ID: OnceLock<Option<String>> = OnceLock::new();
    let read = || fs::read_to_string("/proc/sys/kernel/random/boot_id").ok();
    BOOT_ID.get_or_init(|| read().map(|text| text.trim().to_owned())).clone()
}

/// All processes at one time.
struct Snapshot {
    began: Instant,
    processes: HashMap<i64, Stat>,
}

impl Snapshot {
    /// A look that began after this call. Callers that come while one is under way share the next, so that ending
    /// a thousand runs at once does not look a thousand times at every process.
    fn take() -> Arc<Snapshot> {
        static LATEST: Mutex<Option<Arc<Snapshot>>> = Mutex::new(None);
        let asked = Instant::now();
        let mut latest = LATEST.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(snapshot) = latest.as_ref().filter(|snapshot| snapshot.began >= asked) {
            return snapshot.clone();
        }
        let began = Instant::now();
        let mut processes = Stat::all();
        processes.values_mut().filter(|stat| stat.lives()).for_each(|stat| stat.mark = mark_of(stat.pid));
        let snapshot = Arc::new(Snapshot { began, processes });
        *latest = Some(snapshot.clone());
        snapshot
    }
}

/// What `/proc/PID/stat` says.
struct Stat {
    pid: i64,
    state: char,
    parent: i64,
    group: i64,
    session: i64,
    start_time: i64,
    /// Filled in by a snapshot.
    mark: Option<Vec<u8>>,
}

impl Stat {
    fn read(pid: i64) -> Option<Stat> {
        let text = fs::read(format!("/proc/{pid}/stat")).ok()?;
        Stat::parse(pid, &String::from_utf8_lossy(&text))
    }

    fn parse(pid: i64, text: &str) -> Option<Stat> {
        // The second field is the program's name in parentheses and may hold anything, spaces and
        // parentheses included.
        let (_, rest) = text.rsplit_once(')')?;
        let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
        let number = |index: usize| fields.get(index)?.parse::<i64>().ok();
        Some(Stat {
            pid,
            state: fields.first()?.chars().next()?,
            parent: number(1)?,
            group: number(2)?,
            session: number(3)?,
            start_time: number(19)?,
            mark: None,
        })
    }

    fn all() -> HashMap<i64, Stat> {
        let Ok(entries) = fs::read_dir("/proc") else { return HashMap::new() };
        entries
            .flatten()
            .filter_map(|entry| entry.file_name().to_str()?.parse::<i64>().ok())
            .filter_map(|pid| Some((pid, Stat::read(pid)?)))
            .collect()
    }

    fn lives(&self) -> bool {
        !matches!(self.state, 'Z' | 'X' | 'x')
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stat_line_is_read_whatever_the_program_is_called() {
        let line = "42 (a) b (c) S 7 41 40 0 -1 1 2 3 4 5 6 7 8 9 20 0 1 0 98765 1 2";
        let stat = Stat::parse(42, line).unwrap();
        assert_eq!((stat.parent, stat.group, stat.session, stat.start_time), (7, 41, 40, 98765));
        assert!(stat.lives());
        assert!(Stat::parse(42, "42 (x").is_none());
        assert!(Stat::parse(42, "42 (x) Z 1").is_none());
    }

    #[test]
    fn this_process_is_alive_and_an_earlier_one_with_its_id_is_not() {
        let own = process_ref(i64::from(std::process::id())).unwrap();
        assert!(is_alive(&own));
        assert!(!is_alive(&ProcessRef { start_time: own.start_time - 1, ..own.clone() }));
        assert!(!is_alive(&ProcessRef { boot_id: Some("another".into()), ..own }));
        assert!(process_ref(i64::from(i32::MAX)).is_none());
    }

    #[test]
    fn an_empty_mark_matches_nothing() {
        assert!(family("", &[]).is_empty());
    }
}
