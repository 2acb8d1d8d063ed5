//! Private files: mode 0600, written atomically.

use std::fs::{DirBuilder, File, OpenOptions, Permissions};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use super::SecurityError;

/// Makes the directory if needed, for its owner alone.
pub(super) fn private_dir(path: &Path) -> Result<(), SecurityError> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .and_then(|()| std::fs::set_permissions(path, Permissions::from_mode(0o700)))
        .map_err(|source| SecurityError::File { action: "make private", path: path.to_owned(), source })
}

/// Reads a file and takes it from everybody else; none when there is none.
pub(super) fn read_private(path: &Path) -> Result<Option<Vec<u8>>, SecurityError> {
    match std::fs::read(path) {
        Ok(bytes) => std::fs::set_permissions(path, Permissions::from_mode(0o600))
            .map(|()| Some(bytes))
            .map_err(|source| SecurityError::File { action: "make private", path: path.to_owned(), source }),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(source) => Err(SecurityError::File { action: "read", path: path.to_owned(), source }),
    }
}

/// Writes a file beside and renames it, so that no reader meets half of it.
pub(super) fn write_private(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.tmp", std::process::id()));
    let beside = path.with_file_name(name);
    let _ = std::fs::remove_file(&beside);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(&beside, path)?;
    path.parent().map_or(Ok(()), |dir| File::open(dir)?.sync_all())
}
