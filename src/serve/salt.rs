//! The salt of the names of credentials: random, made at the first start, kept beside the state.

use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

/// Least length of a salt that is taken, in bytes.
const LENGTH: usize = 32;

/// The salt in `data_dir`; a new one where there is none, or a piece of one.
///
/// # Errors
/// When the file can neither be read nor written.
pub(super) fn load(data_dir: &Path) -> io::Result<Vec<u8>> {
    let path = data_dir.join("credential-salt");
    match std::fs::read(&path) {
        Ok(salt) if salt.len() >= LENGTH => return Ok(salt),
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let salt = gcluster_controllers::new_salt();
    let new = data_dir.join("credential-salt.new");
    let mut file =
        std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
    file.write_all(&salt)?;
    file.sync_all()?;
    std::fs::rename(&new, &path)?;
    Ok(salt)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn a_salt_stays_the_same_and_is_private() {
        let dir = tempfile::tempdir().unwrap();
        let salt = load(dir.path()).unwrap();
        assert_eq!((salt.len(), load(dir.path()).unwrap()), (LENGTH, salt.clone()));
        let path = dir.path().join("credential-salt");
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        std::fs::write(&path, "torn").unwrap();
        assert_ne!(load(dir.path()).unwrap(), salt);
    }
}
