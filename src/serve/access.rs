//! With what an agent's programs reach this master.
//!
//! ```text
//! GCLUSTER_SERVER=https://127.0.0.1:43252   GCLUSTER_TOKEN=gcluster-agent.…   GCLUSTER_CA=…/ca.crt
//! PATH=…:directory of this program
//! ```
//! The token says which agent it is, and opens what an agent may see and do.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use gcluster_controllers::Access;
use gcluster_server::security::{self, Security};

/// Makes the variables for a master that listens on `addr`.
pub(super) fn access(security: Security, addr: SocketAddr, data_dir: &Path) -> Access {
    let authority = Security::authority_file(data_dir);
    let authority = std::path::absolute(&authority).unwrap_or(authority).display().to_string();
    let server = security::url(addr);
    let program = std::env::current_exe().ok();
    let directory = program.as_deref().and_then(Path::parent);
    let path = directory.and_then(|directory| with_directory(std::env::var_os("PATH")?, directory));
    Arc::new(move |namespace, name, uid| {
        let token = security.agent_token(namespace, name, uid);
        let mut variables = vec![
            ("GCLUSTER_SERVER".to_owned(), server.clone()),
            (gcluster_controllers::backend::TOKEN.to_owned(), token),
            ("GCLUSTER_CA".to_owned(), authority.clone()),
        ];
        variables.extend(path.clone().map(|path| ("PATH".to_owned(), path)));
        variables
    })
}

/// A search path that ends with a directory, so that what the user has elsewhere is found first. `None` where it holds
/// the directory already, or cannot.
fn with_directory(path: std::ffi::OsString, directory: &Path) -> Option<String> {
    let mut directories: Vec<_> = std::env::split_paths(&path).collect();
    if directories.iter().any(|one| one == directory) {
        return None;
    }
    directories.push(directory.to_owned());
    std::env::join_paths(directories).ok()?.into_string().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_is_found_last_and_once() {
        let with = |path: &str| with_directory(path.into(), Path::new("/opt/g"));
        assert_eq!(with("/bin:/usr/bin").as_deref(), Some("/bin:/usr/bin:/opt/g"));
        assert_eq!(with("/bin:/opt/g:/usr/bin"), None);
        assert_eq!(with_directory("/bin".into(), Path::new("/a:b")), None, "no path can name it");
    }

    #[test]
    fn programs_are_told_where_the_master_is_and_who_they_are() {
        let dir = tempfile::tempdir().unwrap();
        let security = Security::open(dir.path()).unwrap();
        let access = access(security.clone(), "0.0.0.0:7".parse().unwrap(), dir.path());
        let variables = access("default", "builder", "1");
        let value = |name: &str| variables.iter().find(|(n, _)| n == name).map(|(_, value)| value.clone());
        assert_eq!(value("GCLUSTER_SERVER").as_deref(), Some("https://127.0.0.1:7"));
        assert_eq!(value("GCLUSTER_TOKEN"), Some(security.agent_token("default", "builder", "1")));
        assert!(
            std::fs::read_to_string(value("GCLUSTER_CA").unwrap()).unwrap().contains("BEGIN CERTIFICATE")
        );
    }
}
