//! Where things are: the data directory, the kubeconfig in it, the default address.
//!
//! The only place of the command line that asks the environment for paths and for the master.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::exit::{Failure, Result};

/// Address that the master listens on unless told otherwise.
pub const DEFAULT_ADDR: &str = "127.0.0.1:43252";

/// What the environment says of the master that is meant and of who asks. An agent's programs are given it by their
/// master. What is empty counts as absent.
#[derive(Clone, Default)]
pub struct Surroundings {
    /// `GCLUSTER_SERVER`: URL of the master.
    pub server: Option<String>,
    /// `GCLUSTER_TOKEN`: the bearer token for that server.
    pub token: Option<String>,
    /// `GCLUSTER_CA`: file with the certificate authority of that server.
    pub ca: Option<PathBuf>,
    /// `GCLUSTER_KUBECONFIG`.
    pub kubeconfig: Option<PathBuf>,
    /// `GCLUSTER_DATA_DIR`.
    pub data_dir: Option<PathBuf>,
    /// `GCLUSTER_NAMESPACE`: where to work unless told otherwise.
    pub namespace: Option<String>,
    /// `GCLUSTER_AGENT`: the agent whose program this is.
    pub agent: Option<String>,
}

impl Surroundings {
    /// Those of this process.
    pub fn read() -> Self {
        Self::of(|name| std::env::var_os(name))
    }

    /// Those of another environment.
    pub fn of(value: impl Fn(&str) -> Option<OsString>) -> Self {
        let path = |name: &str| value(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let text = |name: &str| path(name).and_then(|value| value.into_os_string().into_string().ok());
        Self {
            server: text("GCLUSTER_SERVER"),
            token: text("GCLUSTER_TOKEN"),
            ca: path("GCLUSTER_CA"),
            kubeconfig: path("GCLUSTER_KUBECONFIG"),
            data_dir: path("GCLUSTER_DATA_DIR"),
            namespace: text("GCLUSTER_NAMESPACE"),
            agent: text("GCLUSTER_AGENT"),
        }
    }
}

/// Who sits at this terminal, for other people to read; never empty.
pub fn person() -> String {
    let set = |name: &str| std::env::var(name).ok().filter(|value| !value.trim().is_empty());
    ["USER", "LOGNAME"].iter().find_map(|name| set(name)).unwrap_or_else(|| {
        let uid = rustix::process::getuid().as_raw();
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        match host.trim() {
            "" => format!("uid-{uid}"),
            host => format!("uid-{uid}@{host}"),
        }
    })
}

/// The data directory: `--data-dir` or `GCLUSTER_DATA_DIR`, else `$XDG_STATE_HOME/gcluster`, else
/// `~/.local/state/gcluster`. Always absolute.
pub fn data_dir(given: Option<&Path>) -> Result<PathBuf> {
    let chosen = match given {
        Some(path) => path.to_path_buf(),
        None => {
            state_home(std::env::var_os("XDG_STATE_HOME"), std::env::var_os("HOME")).ok_or_else(|| {
                Failure::failed(
                    "neither XDG_STATE_HOME nor HOME is set, so there is no place for gcluster's data",
                )
                .hint("name a directory with --data-dir")
            })?
        }
    };
    std::path::absolute(&chosen).map_err(|error| {
        Failure::failed(format!("cannot use the data directory {}: {error}", chosen.display()))
    })
}

fn state_home(xdg: Option<std::ffi::OsString>, home: Option<std::ffi::OsString>) -> Option<PathBuf> {
    // The XDG specification says that a relative path there is to be ignored.
    let xdg = xdg.map(PathBuf::from).filter(|path| path.is_absolute());
    let base =
        xdg.or_else(|| home.filter(|home| !home.is_empty()).map(|h| PathBuf::from(h).join(".local/state")));
    base.map(|base| base.join("gcluster"))
}

/// The kubeconfig that a master writes into its data directory.
pub fn kubeconfig_in(data_dir: &Path) -> PathBuf {
    data_dir.join("kubeconfig")
}

/// Finds a program in `PATH`.
pub fn find_program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|dir| dir.join(name)).find(|candidate| is_executable(candidate))
}

fn is_executable(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    path.metadata().is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

/// The field manager of one of gcluster's tools, with the name of who uses it.
pub fn manager(tool: &str) -> String {
    crate::render::manager::with_user(tool, Some(&person()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_state_directory_follows_xdg_and_falls_back_to_home() {
        let dir =
            |xdg: Option<&str>, home: Option<&str>| state_home(xdg.map(Into::into), home.map(Into::into));
        assert_eq!(dir(Some("/s"), Some("/h")), Some("/s/gcluster".into()));
        assert_eq!(dir(Some("relative"), Some("/h")), Some("/h/.local/state/gcluster".into()));
        assert_eq!(dir(None, Some("/h")), Some("/h/.local/state/gcluster".into()));
        assert_eq!(dir(None, Some("")), None);
        assert_eq!(dir(None, None), None);
    }

    #[test]
    fn a_program_that_may_not_be_executed_is_not_found() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("tool");
        std::fs::write(&file, "").unwrap();
        assert!(!is_executable(&file));
    }
}
