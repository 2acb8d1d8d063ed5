//! One look at the processes of all runs, every few seconds.
//!
//! ```text
//! runs with a cgroup     their cgroup.procs      ─┐
//! the others             one reading of /proc    ─┴▶ who lives ──▶ kept for the end, and shown to people
//! ```
//!
//! What lived for less than a second is not shown: it would be gone before anybody reads of it.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::sync::{Arc, Condvar, Mutex, PoisonError, Weak};
use std::time::Duration;

use gcluster_types::kinds::iteration::{LiveProcess, LiveProcesses};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::jiff::{SignedDuration, Timestamp};

use super::command_line::shown;
use super::hunted::Hunted;
use super::{ProcessRef, keeper, sweep};

/// Pause between two looks.
const INTERVAL: Duration = Duration::from_secs(3);
/// Processes that are shown of one run; of more the number is told.
const SHOWN: usize = 20;
/// Younger ones are not shown, in clock ticks.
const YOUNG: i64 = TICKS;
/// Clock ticks per second of `/proc`: the same on every platform, whatever the kernel's own rate is.
const TICKS: i64 = 100;

static RUNS: Mutex<Vec<Weak<Hunted>>> = Mutex::new(Vec::new());
static NEW: Condvar = Condvar::new();

/// Looks at the processes of a run from now on, as long as it lives.
pub(crate) fn register(run: &Arc<Hunted>) {
    static THREAD: std::sync::Once = std::sync::Once::new();
    THREAD.call_once(|| {
        // Without the thread nothing is shown, and the ends of runs look for themselves.
        let _ = std::thread::Builder::new().name("process-look".into()).spawn(look_on);
    });
    RUNS.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::downgrade(run));
    NEW.notify_one();
}

fn look_on() {
    let mut known = Known::default();
    loop {
        let runs: Vec<Arc<Hunted>> = {
            let mut runs = RUNS.lock().unwrap_or_else(PoisonError::into_inner);
            while runs.is_empty() {
                runs = NEW.wait(runs).unwrap_or_else(PoisonError::into_inner);
            }
            runs.retain(|run| run.strong_count() > 0);
            runs.iter().filter_map(Weak::upgrade).collect()
        };
        look(&runs, &mut known);
        drop(runs);
        std::thread::sleep(INTERVAL);
    }
}

fn look(runs: &[Arc<Hunted>], known: &mut Known) {
    let others: Vec<_> = runs.iter().filter(|run| run.cgroup().is_none()).collect();
    let roots: Vec<Vec<ProcessRef>> = others.iter().map(|run| run.seen()).collect();
    let mut families = sweep::families(&roots).into_iter();
    let uptime = uptime();
    let mut all = HashSet::new();
    for run in runs {
        let living = match run.cgroup() {
            Some(cgroup) => cgroup.members(),
            None => families.next().unwrap_or_default(),
        };
        // Nothing of a run whose leader is gone is told any more: it is being ended.
        if living.iter().any(|process| process == run.leader()) {
            all.extend(living.iter().map(|process| process.pid));
            let shown = describe(&living, uptime, known);
            run.saw(living, shown);
        }
    }
    known.processes.retain(|pid, _| all.contains(pid));
}

/// What was read of processes that lived at the last look, by id.
#[derive(Default)]
struct Known {
    processes: HashMap<i64, (ProcessRef, Option<LiveProcess>)>,
}

impl Known {
    /// `None` for one of our own helpers, and for one that is gone.
    fn of(&mut self, process: &ProcessRef, uptime: i64) -> Option<LiveProcess> {
        if let Some((known, live)) = self.processes.get(&process.pid)
            && known == process
        {
            return live.clone();
        }
        let live = read(process, uptime);
        self.processes.insert(process.pid, (process.clone(), live.clone()));
        live
    }
}

fn describe(living: &[ProcessRef], uptime: i64, known: &mut Known) -> LiveProcesses {
    let old = living.iter().filter(|process| uptime - process.start_time >= YOUNG);
    let mut items: Vec<(i64, LiveProcess)> =
        old.filter_map(|process| Some((process.start_time, known.of(process, uptime)?))).collect();
    items.sort_by_key(|(start, process)| (*start, process.pid));
    let count = i64::try_from(items.len()).unwrap_or(i64::MAX);
    LiveProcesses { count, items: items.into_iter().map(|(_, process)| process).take(SHOWN).collect() }
}

fn read(process: &ProcessRef, uptime: i64) -> Option<LiveProcess> {
    let line = fs::read(format!("/proc/{}/cmdline", process.pid)).ok()?;
    let arguments: Vec<&[u8]> = line.strip_suffix(b"\0").unwrap_or(&line).split(|byte| *byte == 0).collect();
    if keeper::is_keeper(&arguments) {
        return None;
    }
    let mut command = shown(&arguments);
    if command.is_empty() {
        let name = fs::read_to_string(format!("/proc/{}/comm", process.pid)).unwrap_or_default();
        command = format!("[{}]", name.trim());
    }
    let age = SignedDuration::from_millis((uptime - process.start_time) * 1000 / TICKS);
    let started_at = Timestamp::now().checked_sub(age).ok().map(MicroTime);
    Some(LiveProcess { pid: process.pid, command, started_at })
}

/// Time since the machine was started, in clock ticks.
fn uptime() -> i64 {
    let text = fs::read_to_string("/proc/uptime").unwrap_or_default();
    let seconds = text.split_ascii_whitespace().next().and_then(|number| number.parse::<f64>().ok());
    (seconds.unwrap_or(0.0) * TICKS as f64) as i64
}
