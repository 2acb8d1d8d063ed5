//! Space: what is left on a disk, what a folder takes, and sizes as people read them.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

/// Bytes in a MiB.
pub(super) const MIB: i64 = 1024 * 1024;

/// Bytes that this user may still write where a folder is. `None` when nobody knows.
pub(super) fn free(folder: &Path) -> Option<i64> {
    // The folder itself may not be made yet.
    let there = folder.ancestors().find(|path| path.exists())?;
    let stat = rustix::fs::statvfs(there).ok()?;
    i64::try_from(stat.f_bavail.checked_mul(stat.f_frsize)?).ok()
}

/// Bytes that a folder takes on the disk. What vanishes meanwhile is not counted. Links are not followed.
pub(super) fn taken(folder: &Path) -> i64 {
    let mut bytes = 0;
    let mut open = vec![folder.to_owned()];
    while let Some(dir) = open.pop() {
        let Ok(entries) = std::fs::read_dir(&dir) else { continue };
        for entry in entries.flatten() {
            let Ok(meta) = entry.metadata() else { continue };
            bytes += i64::try_from(meta.blocks()).unwrap_or(0).saturating_mul(512);
            if meta.is_dir() {
                open.push(entry.path());
            }
        }
    }
    bytes
}

/// A size as people read it: `12 MiB`, `1.4 GiB`.
pub(super) fn human(bytes: i64) -> String {
    let mut value = bytes as f64 / 1024.0;
    for unit in ["KiB", "MiB", "GiB"] {
        if value < 1023.95 {
            let digits = usize::from(value < 9.95 && unit != "KiB");
            return format!("{value:.digits$} {unit}");
        }
        value /= 1024.0;
    }
    format!("{value:.1} TiB")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_by_people() {
        for (bytes, text) in [
            (0, "0 KiB"),
            (5_000, "5 KiB"),
            (MIB, "1.0 MiB"),
            (12 * MIB, "12 MiB"),
            (1_500 * MIB, "1.5 GiB"),
            (1_048_575, "1.0 MiB"),
            (5 << 40, "5.0 TiB"),
        ] {
            assert_eq!(human(bytes), text);
        }
    }

    #[test]
    fn a_folder_takes_what_its_files_take_and_a_disk_has_some_left() {
        let dir = tempfile::tempdir().unwrap();
        let empty = taken(dir.path());
        std::fs::create_dir(dir.path().join("sub")).unwrap();
        std::fs::write(dir.path().join("sub/file"), vec![1; 300_000]).unwrap();
        std::os::unix::fs::symlink("/", dir.path().join("link")).unwrap();
        let grown = taken(dir.path()) - empty;
        assert!((300_000..2 * MIB).contains(&grown), "{grown}");
        assert!(free(&dir.path().join("not/yet/made")).unwrap() > 0);
    }
}
