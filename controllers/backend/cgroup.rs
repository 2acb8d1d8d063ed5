//! One cgroup (version 2) per run, where the machine lets us: nothing that a program starts can leave it, and all
//! of it is killed at once.
//!
//! ```text
//! /sys/fs/cgroup/…own cgroup…/gcluster-UID   cgroup.procs: who is in it · cgroup.kill · populated 0: all gone
//! ```
//!
//! The keeper of a run joins before it starts the program, so no process of it is ever outside. Usable is what a trial
//! at the first start has shown to work: a directory, a process in it, its end by `cgroup.kill`.

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use super::ProcessRef;
use super::sweep::process_ref;

/// Set to `off`, no cgroups are used.
const SWITCH: &str = "GCLUSTER_CGROUP";
const PREFIX: &str = "gcluster-";
/// Longest time that killing takes: processes in an uninterruptible call do not die sooner.
const LIMIT: Duration = Duration::from_secs(5);
/// An empty cgroup that nobody joined for this long was left by a master that was killed.
const FORGOTTEN: Duration = Duration::from_secs(60);

/// The cgroup of one run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Cgroup {
    path: PathBuf,
}

/// The directory in which cgroups of runs are made, or why there are none. Tried once per process; blocks for some
/// milliseconds at the first call.
pub(crate) fn parent() -> Result<&'static Path, &'static str> {
    static PARENT: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let parent = PARENT.get_or_init(|| {
        let parent = find().and_then(|parent| try_out(&parent).map(|()| parent));
        match &parent {
            Ok(path) => {
                tracing::info!(path = %path.display(), "each iteration has a cgroup of its own");
                remove_forgotten(path);
            }
            Err(why) => tracing::info!(
                %why,
                "no cgroups: the processes of iterations are found by descent, group and mark"
            ),
        }
        parent
    });
    parent.as_deref().map_err(String::as_str)
}

impl Cgroup {
    /// Makes the cgroup of a new run; `None` where there are no cgroups. It is written down in the run's directory.
    pub(crate) fn create(run_dir: &Path, uid: &str) -> Option<Cgroup> {
        let path = parent().ok()?.join(format!("{PREFIX}{uid}"));
        match fs::create_dir(&path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                tracing::warn!(%error, path = %path.display(), "a cgroup cannot be made; the run goes on without");
                return None;
            }
            _ => {}
        }
        let group = Cgroup { path };
        if let Err(error) = fs::write(run_dir.join("cgroup"), group.path.as_os_str().as_encoded_bytes()) {
            // A later master would not find it.
            tracing::warn!(%error, "a cgroup cannot be written down; the run goes on without");
            group.remove();
            return None;
        }
        Some(group)
    }

    /// The cgroup of a run that may be an earlier master's; `None` when it has none or it is gone.
    pub(crate) fn of(run_dir: &Path) -> Option<Cgroup> {
        let path = PathBuf::from(fs::read_to_string(run_dir.join("cgroup")).ok()?);
        // What is read decides what is killed.
        let is_ours =
            path.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.starts_with(PREFIX));
        (is_ours && path.join("cgroup.kill").exists()).then_some(Cgroup { path })
    }

    /// Its directory.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether a living process is in it or in one below it.
    pub(crate) fn is_populated(&self) -> bool {
        let events = fs::read_to_string(self.path.join("cgroup.events")).unwrap_or_default();
        events.lines().any(|line| line == "populated 1")
    }

    /// Ids of its processes and of those in cgroups below it.
    pub(crate) fn pids(&self) -> Vec<i64> {
        let mut pids = Vec::new();
        pids_below(&self.path, 0, &mut pids);
        pids
    }

    /// Its processes.
    pub(crate) fn members(&self) -> Vec<ProcessRef> {
        self.pids().into_iter().filter_map(process_ref).collect()
    }

    /// Kills everything in it and waits until all is gone. Answers the ids of what is left after five seconds.
    pub(crate) fn kill(&self) -> Vec<i64> {
        let started = Instant::now();
        while self.is_populated() {
            // It may be gone between the look and this.
            let _ = fs::write(self.path.join("cgroup.kill"), "1");
            if started.elapsed() > LIMIT {
                return self.pids();
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        Vec::new()
    }

    /// Removes it and what is below it, when nobody is in it.
    pub(crate) fn remove(&self) {
        remove_below(&self.path, 0);
    }
}

/// Deeper than anybody nests cgroups; a limit keeps a loop of links from being followed.
const DEPTH: usize = 16;

fn below(path: &Path) -> impl Iterator<Item = PathBuf> {
    let entries = fs::read_dir(path).into_iter().flatten().flatten();
    entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())).map(|entry| entry.path())
}

fn pids_below(path: &Path, depth: usize, pids: &mut Vec<i64>) {
    let text = fs::read_to_string(path.join("cgroup.procs")).unwrap_or_default();
    // A process of another pid namespace is shown as 0.
    pids.extend(text.lines().filter_map(|line| line.parse::<i64>().ok()).filter(|pid| *pid > 0));
    // A directory without others in it has two links. To list its files takes longer than everything else here.
    let has_children = fs::metadata(path).is_ok_and(|meta| std::os::unix::fs::MetadataExt::nlink(&meta) != 2);
    if has_children && depth < DEPTH {
        below(path).for_each(|path| pids_below(&path, depth + 1, pids));
    }
}

fn remove_below(path: &Path, depth: usize) {
    if depth < DEPTH {
        below(path).for_each(|path| remove_below(&path, depth + 1));
    }
    if let Err(error) = fs::remove_dir(path)
        && error.kind() != io::ErrorKind::NotFound
    {
        tracing::debug!(%error, path = %path.display(), "a cgroup is not removed");
    }
}

/// The own cgroup in the hierarchy of version 2.
fn find() -> Result<PathBuf, String> {
    if std::env::var_os(SWITCH).is_some_and(|value| value == "off") {
        return Err(format!("{SWITCH} is off"));
    }
    let read = |path: &str| fs::read_to_string(path).map_err(|error| format!("{path}: {error}"));
    own_cgroup(&read("/proc/self/mountinfo")?, &read("/proc/self/cgroup")?)
}

fn own_cgroup(mounts: &str, own: &str) -> Result<PathBuf, String> {
    let own =
        own.lines().find_map(|line| line.strip_prefix("0::")).ok_or("this process is in no cgroup v2")?;
    let mount = mounts.lines().find_map(|line| {
        let (mount, kind) = line.split_once(" - ")?;
        let mut fields = mount.split(' ').skip(3);
        let (root, point) = (fields.next()?, fields.next()?);
        (kind.split(' ').next() == Some("cgroup2")).then_some((root, point))
    });
    let (root, point) = mount.ok_or("no cgroup v2 hierarchy is mounted")?;
    let root = root.trim_end_matches('/');
    let inside =
        own.strip_prefix(root).filter(|rest| root.is_empty() || rest.is_empty() || rest.starts_with('/'));
    let inside = inside.ok_or_else(|| format!("the own cgroup {own} is outside of the mounted {root}"))?;
    // Without the slash that joining nothing leaves at its end.
    Ok(Path::new(point).join(inside.trim_start_matches('/')).components().collect())
}

/// Whether a process can be put into a new cgroup and be killed through it.
fn try_out(parent: &Path) -> Result<(), String> {
    let path = parent.join(format!("{PREFIX}trial-{}-{:x}", std::process::id(), fastrand::u32(..)));
    fs::create_dir(&path).map_err(|error| format!("mkdir {}: {error}", path.display()))?;
    let group = Cgroup { path };
    let tried = try_member(&group);
    group.kill();
    group.remove();
    tried
}

fn try_member(group: &Cgroup) -> Result<(), String> {
    // A pipe that nobody writes to holds the child until it is killed, or until this process ends.
    let mut child = Command::new("/bin/sh")
        .args(["-c", "echo 0 >\"$0/cgroup.procs\" && echo in && read -r x"])
        .arg(&group.path)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| format!("/bin/sh: {error}"))?;
    let mut said = [0; 3];
    let joined = child.stdout.as_mut().is_some_and(|out| out.read_exact(&mut said).is_ok());
    let killed = joined && group.pids().contains(&i64::from(child.id())) && group.kill().is_empty();
    // Whatever was tried, the child ends here.
    let _ = child.kill();
    let _ = child.wait();
    match (joined, killed && !group.is_populated()) {
        (false, _) => Err(format!("no process can be put into {}", group.path.display())),
        (_, false) => Err("cgroup.kill has no effect; it needs Linux 5.14".to_owned()),
        _ => Ok(()),
    }
}

fn remove_forgotten(parent: &Path) {
    for path in below(parent) {
        let is_ours =
            path.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.starts_with(PREFIX));
        let age = fs::metadata(&path).and_then(|meta| meta.modified()).ok().and_then(|at| at.elapsed().ok());
        if is_ours
            && age.is_some_and(|age| age > FORGOTTEN)
            && !(Cgroup { path: path.clone() }).is_populated()
        {
            remove_below(&path, 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTS: &str = "31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n\
                          40 31 0:37 / /sys/fs/cgroup/systemd rw shared:7 - cgroup cgroup rw,name=systemd\n";

    #[test]
    fn the_own_cgroup_is_found_in_pure_mixed_and_contained_hierarchies() {
        let find = |mount: &str, own: &str| own_cgroup(&format!("{MOUNTS}{mount}"), own);
        let pure =
            "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:9 master:3 - cgroup2 cgroup2 rw,nsdelegate\n";
        let path =
            find(pure, "0::/user.slice/user-1000.slice/user@1000.service/app.slice/a.scope\n").unwrap();
        assert!(
            path.ends_with("sys/fs/cgroup/user.slice/user-1000.slice/user@1000.service/app.slice/a.scope")
        );
        let mixed = "41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n";
        assert_eq!(find(mixed, "4:memory:/x\n0::/\n").unwrap(), Path::new("/sys/fs/cgroup/unified/"));
        let contained = "30 23 0:26 /docker/ab /sys/fs/cgroup ro - cgroup2 cgroup rw\n";
        assert_eq!(find(contained, "0::/docker/ab/in\n").unwrap(), Path::new("/sys/fs/cgroup/in"));
        assert!(find(contained, "0::/docker/abc\n").unwrap_err().contains("outside"));
        assert!(find("", "0::/\n").unwrap_err().contains("no cgroup v2 hierarchy"));
        assert!(find(mixed, "4:memory:/x\n").unwrap_err().contains("in no cgroup v2"));
    }

    #[test]
    fn only_a_cgroup_of_a_run_is_believed() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(Cgroup::of(dir.path()), None);
        let other = dir.path().join("other");
        fs::create_dir(&other).unwrap();
        fs::write(other.join("cgroup.kill"), "").unwrap();
        fs::write(dir.path().join("cgroup"), other.to_str().unwrap()).unwrap();
        assert_eq!(Cgroup::of(dir.path()), None);
    }

    #[test]
    fn what_is_in_a_cgroup_is_killed_whole() {
        if parent().is_err() {
            return;
        }
        let (dir, uid) = (tempfile::tempdir().unwrap(), uuid::Uuid::new_v4().to_string());
        let group = Cgroup::create(dir.path(), &uid).unwrap();
        assert_eq!(Cgroup::of(dir.path()), Some(group.clone()));
        let script = "mkdir \"$0/below\"; echo 0 >\"$0/cgroup.procs\"; \
                      setsid sh -c 'trap \"\" TERM; echo 0 >\"$0/below/cgroup.procs\"; sleep 1000' \"$0\" & sleep 1000";
        let mut child = Command::new("/bin/sh").args(["-c", script]).arg(group.path()).spawn().unwrap();
        let deadline = Instant::now() + Duration::from_secs(60);
        while group.pids().len() < 4 || !group.path().join("below").exists() {
            assert!(Instant::now() < deadline, "{:?}", group.pids());
            std::thread::sleep(Duration::from_millis(5));
        }
        assert_eq!(group.kill(), Vec::<i64>::new());
        assert!(!group.is_populated());
        group.remove();
        assert!(!group.path().exists());
        child.wait().unwrap();
    }
}
