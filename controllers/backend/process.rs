//! Starting a program so that it can be talked to, read, ended whole, and outlive the master.
//!
//! ```text
//! run_dir (0700) ── stdin   a file, or the FIFO into which the keeper puts what is in input/
//!                ├─ stdout  grows; the master reads along
//!                ├─ stderr  its end is quoted when the program fails
//!                ├─ keeper  the script of its keeper
//!                ├─ exit    the exit status, for a later master
//!                └─ cgroup, seen   where or which its processes are, for a later master
//! ```
//!
//! The program runs under a keeper, which leads a process group of its own. Nothing of it is connected to the master,
//! so a killed master takes nothing down and closes nothing.

use std::ffi::{OsStr, OsString};
use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use gcluster_types::labels::PROCESS_MARK;
use tokio::process::Child;

use super::cgroup::Cgroup;
use super::input::InputLines;
use super::{Launch, ProcessRef, StartError, keeper, sweep};

/// How much of the end of stderr is quoted.
const STDERR_TAIL: u64 = 4 << 10;

/// What is started.
pub(crate) struct Program {
    /// Absolute path.
    pub(crate) path: PathBuf,
    pub(crate) args: Vec<OsString>,
    /// Set by the backend; the launch's own variables win.
    pub(crate) env: Vec<(String, String)>,
    pub(crate) input: Input,
}

/// What the program reads.
pub(crate) enum Input {
    /// Lines, until the input is closed. This one is there before the program starts, whatever becomes of the master.
    Open(String),
    /// This text and then its end.
    Text(String),
}

/// A program that was started.
pub(crate) struct Process {
    pub(crate) child: Child,
    pub(crate) reference: ProcessRef,
    pub(crate) input: Option<InputLines>,
    pub(crate) stdout: PathBuf,
    pub(crate) stderr: PathBuf,
}

/// Starts a program for a launch.
pub(crate) async fn spawn(launch: &Launch, program: Program) -> Result<Process, StartError> {
    if launch.iteration_uid.is_empty() {
        return Err(StartError::Invalid("the iteration has no uid to mark its processes with".to_owned()));
    }
    check_working_directory(&launch.working_directory)?;
    let dir = &launch.run_dir;
    make_run_dir(dir).map_err(io_error(format!("make the run directory {}", dir.display())))?;
    let stdout = dir.join("stdout");
    let stderr = dir.join("stderr");
    for name in ["exit", "left", "cgroup", "seen"] {
        remove_if_there(&dir.join(name)).map_err(io_error(format!("clear {}", dir.display())))?;
    }
    let (stdin, input) = open_input(dir, program.input)
        .map_err(io_error(format!("make the program's input in {}", dir.display())))?;
    let cgroup = make_cgroup(launch).await;

    let group = cgroup.as_ref().map(Cgroup::path);
    let command = keeper::command(dir, group, launch.presence.as_ref(), &program.path, &program.args)
        .map_err(io_error(format!("write the keeper of the run in {}", dir.display())))?;
    let mut command = tokio::process::Command::from(command);
    command.current_dir(&launch.working_directory).process_group(0);
    for (name, _) in std::env::vars_os().filter(|(name, _)| is_private(name)) {
        command.env_remove(name);
    }
    command.envs(program.env).envs(launch.access.iter().cloned());
    command.env("GCLUSTER_AGENT", &launch.agent).env("GCLUSTER_NAMESPACE", &launch.namespace);
    command.env("GCLUSTER_ITERATION", &launch.iteration_name).envs(launch.env.iter().cloned());
    // Nothing overrides it: by it the processes are found.
    command.env(PROCESS_MARK, &launch.iteration_uid);
    let output = |path: &Path| {
        create_private(path).map_err(io_error(format!("make the program's output {}", path.display())))
    };
    command.stdin(stdin).stdout(output(&stdout)?).stderr(output(&stderr)?);

    let step = format!("start {}", program.path.display());
    let child = spawn_patiently(&mut command).await;
    if child.is_err() {
        cgroup.iter().for_each(Cgroup::remove);
    }
    let child = child.map_err(io_error(step))?;
    let pid = child.id().map(i64::from).unwrap_or_default();
    // Until it is waited for, even a program that ended at once has its entry.
    let reference = sweep::process_ref(pid).unwrap_or(ProcessRef { pid, ..ProcessRef::default() });
    Ok(Process { child, reference, input, stdout, stderr })
}

/// The first call tries out whether there are cgroups, which takes a moment.
async fn make_cgroup(launch: &Launch) -> Option<Cgroup> {
    let (run_dir, uid) = (launch.run_dir.clone(), launch.iteration_uid.clone());
    tokio::task::spawn_blocking(move || Cgroup::create(&run_dir, &uid)).await.ok().flatten()
}

/// The last few kilobytes of a file as text, from a line's start, without surrounding space.
pub(crate) fn tail(path: &Path) -> String {
    let read = || -> io::Result<Vec<u8>> {
        let mut file = File::open(path)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(STDERR_TAIL)))?;
        let mut bytes = Vec::new();
        file.take(STDERR_TAIL).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    String::from_utf8_lossy(&read().unwrap_or_default()).trim().to_owned()
}

/// Finds a program as a shell would: a path when it holds a slash, else in `PATH`.
pub(crate) fn find_program(name: &OsStr, working_directory: Option<&Path>) -> Option<PathBuf> {
    let is_program = |path: &Path| {
        fs::metadata(path).is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
    };
    let path = Path::new(name);
    if path.components().count() > 1 || path.is_absolute() {
        let path = working_directory.map_or_else(|| path.to_owned(), |dir| dir.join(path));
        return is_program(&path).then_some(path);
    }
    std::env::split_paths(&std::env::var_os("PATH")?)
        .map(|dir| dir.join(path))
        .find(|candidate| candidate.is_absolute() && is_program(candidate))
}

/// Variables that are about the master, about an agent that it runs inside, or about the repository in whose hook it was
/// started, never about the new program.
pub(crate) fn is_private(name: &OsStr) -> bool {
    const NESTING: [&str; 21] = [
        "AI_AGENT",
        "CLAUDECODE",
        "CLAUDE_PID",
        "CLAUDE_CODE_CHILD_SESSION",
        "CLAUDE_CODE_ENTRYPOINT",
        "CLAUDE_CODE_EXECPATH",
        "CLAUDE_CODE_MESSAGING_SOCKET",
        "CLAUDE_CODE_SESSION_ID",
        "CLAUDE_CODE_SSE_PORT",
        "GIT_ALTERNATE_OBJECT_DIRECTORIES",
        "GIT_COMMON_DIR",
        "GIT_DIR",
        "GIT_INDEX_FILE",
        "GIT_OBJECT_DIRECTORY",
        "GIT_PREFIX",
        "GIT_WORK_TREE",
        "LISTEN_FDS",
        "LISTEN_PID",
        "NOTIFY_SOCKET",
        "WATCHDOG_PID",
        "WATCHDOG_USEC",
    ];
    name.to_str().is_some_and(|name| NESTING.contains(&name) || name.starts_with("GCLUSTER_"))
}

pub(crate) fn check_working_directory(path: &Path) -> Result<(), StartError> {
    let why = match fs::metadata(path) {
        Ok(meta) if meta.is_dir() && path.is_absolute() => return Ok(()),
        Ok(meta) if meta.is_dir() => "it is no absolute path".to_owned(),
        Ok(_) => "it is no directory".to_owned(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => "it does not exist".to_owned(),
        Err(error) => error.to_string(),
    };
    Err(StartError::WorkingDirectory { path: path.to_owned(), why })
}

pub(crate) fn make_run_dir(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)?;
    fs::set_permissions(path, Permissions::from_mode(0o700))
}

fn create_private(path: &Path) -> io::Result<File> {
    // Appending, so that several writers of one file do not overwrite each other.
    remove_if_there(path)?;
    OpenOptions::new().append(true).create_new(true).mode(0o600).open(path)
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn open_input(dir: &Path, input: Input) -> io::Result<(Stdio, Option<InputLines>)> {
    let first = match input {
        Input::Text(text) => {
            let path = dir.join("stdin");
            remove_if_there(&path)?;
            remove_if_there(&dir.join("control"))?;
            let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
            io::Write::write_all(&mut file, text.as_bytes())?;
            return Ok((File::open(path)?.into(), None));
        }
        Input::Open(line) => line,
    };
    let lines = InputLines::create(dir)?;
    lines.send(first);
    Ok((Stdio::null(), Some(lines)))
}

/// A program that was written a moment ago may still be open for writing in a child of another thread that
/// is about to exec; that passes.
pub(crate) async fn spawn_patiently(command: &mut tokio::process::Command) -> io::Result<Child> {
    for _ in 0..50 {
        match command.spawn() {
            Err(error) if error.kind() == io::ErrorKind::ExecutableFileBusy => {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            other => return other,
        }
    }
    command.spawn()
}

pub(crate) fn io_error(step: String) -> impl FnOnce(io::Error) -> StartError {
    move |source| StartError::Io { step, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_concerns_the_master_or_a_surrounding_agent_is_not_inherited() {
        for name in
            ["CLAUDECODE", "AI_AGENT", "CLAUDE_CODE_SESSION_ID", "GCLUSTER_TOKEN", "NOTIFY_SOCKET", "GIT_DIR"]
        {
            assert!(is_private(OsStr::new(name)), "{name}");
        }
        for name in
            ["HOME", "PATH", "ANTHROPIC_API_KEY", "CLAUDE_CODE_OAUTH_TOKEN", "CLAUDE_CODE_USE_BEDROCK"]
        {
            assert!(!is_private(OsStr::new(name)), "{name}");
        }
    }

    #[test]
    fn an_unusable_working_directory_is_named_with_the_reason() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        fs::write(&file, "").unwrap();
        assert!(check_working_directory(dir.path()).is_ok());
        let text = |path: &Path| check_working_directory(path).unwrap_err().to_string();
        assert!(text(&dir.path().join("none")).contains("none cannot be used: it does not exist; create it"));
        assert!(text(&file).contains("it is no directory"));
        assert!(text(Path::new(".")).contains("it is no absolute path"));
    }

    #[test]
    fn programs_are_found_as_a_shell_finds_them() {
        assert!(find_program(OsStr::new("sh"), None).is_some_and(|path| path.is_absolute()));
        assert!(find_program(OsStr::new("no-such-program-here"), None).is_none());
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("run"), "").unwrap();
        assert!(find_program(OsStr::new("./run"), Some(dir.path())).is_none());
        fs::set_permissions(dir.path().join("run"), Permissions::from_mode(0o755)).unwrap();
        assert!(find_program(OsStr::new("./run"), Some(dir.path())).is_some());
    }
}
