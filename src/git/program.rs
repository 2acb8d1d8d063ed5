//! One run of git: cleaned of the user's environment, with a time limit, ended when nobody waits for it.

use std::ffi::OsStr;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use tokio::io::AsyncWriteExt;
use tokio::process::{Child, Command};

use crate::{Error, Result};

/// How long git may take where nothing else is said.
const LIMIT: Duration = Duration::from_secs(120);
/// How long it may take to end when it is asked to, before it is killed.
const GRACE: Duration = Duration::from_secs(5);
/// How much of its complaints is quoted.
const QUOTED: usize = 2_000;

/// Git in one directory.
#[derive(Debug, Clone)]
pub struct Git {
    directory: PathBuf,
    env: Vec<(String, String)>,
    limit: Duration,
}

/// What git answered.
#[derive(Debug, Clone)]
pub struct Output {
    /// Its exit code; none when a signal ended it.
    pub code: Option<i32>,
    /// What it printed.
    pub stdout: Vec<u8>,
    /// What it complained about.
    pub stderr: String,
}

impl Output {
    /// What it printed, without the last line end.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).trim_end_matches('\n').to_owned()
    }
}

impl Git {
    /// Git in a checkout, a worktree or a bare repository.
    pub fn new(directory: &Path) -> Self {
        Self { directory: directory.to_owned(), env: Vec::new(), limit: LIMIT }
    }

    /// With one more environment variable.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    /// With another time limit.
    #[must_use]
    pub fn limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// The same in another directory.
    #[must_use]
    pub fn at(&self, directory: &Path) -> Self {
        Self { directory: directory.to_owned(), ..self.clone() }
    }

    /// Where it runs.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Runs it and gives what it printed, without the last line end.
    ///
    /// # Errors
    /// When it cannot be started, takes too long, or ends with another code than 0.
    pub async fn text<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Result<String> {
        let args: Vec<_> = args.into_iter().map(|arg| arg.as_ref().to_owned()).collect();
        let output = self.output(&args, None).await?;
        match output.code {
            Some(0) => Ok(output.text()),
            code => Err(self.failed(&args, code, &output.stderr)),
        }
    }

    /// The same, with something on its standard input.
    ///
    /// # Errors
    /// When it cannot be started, takes too long, or ends with another code than 0.
    pub async fn fed<S: AsRef<OsStr>>(
        &self,
        args: impl IntoIterator<Item = S>,
        input: &[u8],
    ) -> Result<String> {
        let args: Vec<_> = args.into_iter().map(|arg| arg.as_ref().to_owned()).collect();
        let output = self.output(&args, Some(input)).await?;
        match output.code {
            Some(0) => Ok(output.text()),
            code => Err(self.failed(&args, code, &output.stderr)),
        }
    }

    /// The same, byte by byte: for names of files, which need not be text.
    ///
    /// # Errors
    /// When it cannot be started, takes too long, or ends with another code than 0.
    pub async fn bytes<S: AsRef<OsStr>>(&self, args: &[S], input: Option<&[u8]>) -> Result<Vec<u8>> {
        let output = self.output(args, input).await?;
        match output.code {
            Some(0) => Ok(output.stdout),
            code => Err(self.failed(args, code, &output.stderr)),
        }
    }

    /// Runs it and gives whatever came out: for commands whose exit code is an answer.
    ///
    /// # Errors
    /// When it cannot be started or takes too long.
    pub async fn output<S: AsRef<OsStr>>(&self, args: &[S], input: Option<&[u8]>) -> Result<Output> {
        let command = || words(args);
        let directory = || self.directory.clone();
        let io = |source| Error::Io { command: command(), directory: directory(), source };
        if !self.directory.is_dir() {
            return Err(io(std::io::Error::new(std::io::ErrorKind::NotFound, "the directory is not there")));
        }
        let mut child = self.command(args, input.is_some()).spawn().map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => Error::Missing(error),
            _ => io(error),
        })?;
        let unfinished = Unfinished::of(&child);
        let stdin = child.stdin.take();
        let feed = async {
            if let (Some(mut stdin), Some(input)) = (stdin, input) {
                // Git may have seen enough.
                let _ = stdin.write_all(input).await;
            }
        };
        let ended =
            tokio::time::timeout(self.limit, async { tokio::join!(child.wait_with_output(), feed).0 });
        let output = match ended.await {
            Ok(output) => {
                unfinished.has_ended();
                output.map_err(io)?
            }
            Err(_) => {
                let seconds = self.limit.as_secs();
                return Err(Error::TimedOut { command: command(), directory: directory(), seconds });
            }
        };
        let stderr = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        Ok(Output { code: output.status.code(), stdout: output.stdout, stderr })
    }

    pub(crate) fn command<S: AsRef<OsStr>>(&self, args: &[S], fed: bool) -> Command {
        let mut command = Command::new("git");
        // A surrounding git, such as a hook that calls this program, says where its repository is.
        for (name, _) in std::env::vars_os() {
            let name_text = name.to_string_lossy();
            // How to reach other machines is the user's own setting.
            let reaches =
                ["GIT_SSH", "GIT_SSL", "GIT_ASKPASS", "GIT_PROXY"].iter().any(|p| name_text.starts_with(p));
            if name_text.starts_with("GIT_") && !reaches {
                command.env_remove(name);
            }
        }
        command
            .args(args)
            .current_dir(&self.directory)
            .env("GIT_TERMINAL_PROMPT", "0")
            .env("GIT_EDITOR", "true")
            .env("GIT_OPTIONAL_LOCKS", "0")
            .env("LC_ALL", "C.UTF-8")
            .envs(self.env.iter().map(|(name, value)| (name, value)))
            .stdin(if fed { Stdio::piped() } else { Stdio::null() })
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(false);
        command
    }

    pub(crate) fn failed<S: AsRef<OsStr>>(&self, args: &[S], code: Option<i32>, stderr: &str) -> Error {
        let from = stderr.char_indices().rev().nth(QUOTED).map_or(0, |(at, _)| at);
        let said = match stderr.get(from..).unwrap_or_default() {
            "" => format!("it ended with {}", code.map_or("a signal".to_owned(), |code| code.to_string())),
            said => said.to_owned(),
        };
        Error::Failed { command: words(args), directory: self.directory.clone(), code, said }
    }
}

/// A git that nobody waits for any more is asked to end, so that it takes its lock files with it: a killed one would
/// leave them, and refs could not be moved again.
struct Unfinished(Option<OwnedFd>);

impl Unfinished {
    fn of(child: &Child) -> Unfinished {
        let pid = child.id().and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw);
        // The descriptor is of this process alone, whoever has its id later.
        Unfinished(pid.and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok()))
    }

    fn has_ended(mut self) {
        self.0 = None;
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        let Some(git) = self.0.take() else { return };
        // It may have ended by itself meanwhile.
        let _ = pidfd_send_signal(&git, Signal::TERM);
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                tokio::time::sleep(GRACE).await;
                let _ = pidfd_send_signal(&git, Signal::KILL);
            });
        }
    }
}

fn words<S: AsRef<OsStr>>(args: &[S]) -> String {
    args.iter().map(|arg| arg.as_ref().to_string_lossy()).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn git_answers_and_its_complaints_are_quoted() {
        let dir = tempfile::tempdir().unwrap();
        let git = Git::new(dir.path());
        git.text(["init", "--quiet", "--bare", "."]).await.unwrap();
        assert_eq!(git.text(["rev-parse", "--is-bare-repository"]).await.unwrap(), "true");
        let blob = git.fed(["hash-object", "-w", "--stdin"], b"text\n").await.unwrap();
        assert_eq!(git.text(["cat-file", "blob", &blob]).await.unwrap(), "text");
        let error = git.text(["rev-parse", "--verify", "nowhere"]).await.unwrap_err();
        assert_eq!(error.code(), Some(128));
        assert!(error.to_string().contains("git rev-parse --verify nowhere in "), "{error}");
        assert!(error.to_string().contains("fatal"), "{error}");
    }

    #[tokio::test]
    async fn what_takes_too_long_is_killed_and_a_missing_directory_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let slow = Git::new(dir.path()).limit(Duration::from_millis(50));
        let error = slow.text(["-c", "alias.wait=!sleep 30", "wait"]).await.unwrap_err();
        assert!(matches!(error, Error::TimedOut { .. }), "{error}");
        let error = Git::new(&dir.path().join("gone")).text(["version"]).await.unwrap_err();
        assert!(error.to_string().contains("the directory is not there"), "{error}");
    }
}
