//! Which files of a worktree differ from its index, and storing those byte for byte.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::io::ErrorKind;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::Result;
use crate::salvage::{closed_folders, failed, fits_a_tree, quote, records, split_at_tab};
use crate::snapshot::{FILTERED, PLAIN, Taking};

/// What differs from the index.
pub(crate) struct Changes {
    /// Entries of the index that are not as the worktree has them.
    pub(crate) replaced: Vec<Vec<u8>>,
    /// Files that are there, and that the index does not have, or not so.
    pub(crate) present: Vec<Vec<u8>>,
    /// Files that git takes to be as the index has them, with their objects.
    pub(crate) unchanged: Vec<(Vec<u8>, String)>,
}

/// A file as it is in the worktree.
pub(crate) struct Stored {
    pub(crate) path: Vec<u8>,
    /// What git knows of its mode.
    pub(crate) mode: &'static str,
    /// What the file system knows of it.
    pub(crate) permissions: u32,
    pub(crate) size: u64,
    pub(crate) oid: String,
}

impl Taking<'_> {
    /// Which files differ from the index or are unknown to it.
    pub(crate) async fn changes(&self, aside: &mut Vec<Vec<u8>>) -> Result<Changes> {
        self.clear_flags().await?;
        // What only looks changed, because it was touched, is compared. The exit code says that something is changed.
        let refresh: Vec<&str> = PLAIN.iter().copied().chain(["update-index", "-q", "--refresh"]).collect();
        self.git().output(&refresh, None).await?;
        let tracked = self.run(&["diff-files", "-z", "--name-only", "--ignore-submodules=all"], None).await?;
        let tracked: BTreeSet<Vec<u8>> = records(&tracked).map(<[u8]>::to_vec).collect();
        let others: Vec<&str> =
            PLAIN.iter().copied().chain(["ls-files", "-z", "--others", "--exclude-standard"]).collect();
        let others = self.git().output(&others, None).await?;
        if others.code != Some(0) {
            return Err(self.git().failed(&["ls-files", "--others"], others.code, &others.stderr));
        }
        aside.extend(closed_folders(&others.stderr));
        let mut unchanged = Vec::new();
        for entry in records(&self.run(&["ls-files", "-z", "--stage"], None).await?) {
            let Some((meta, path)) = split_at_tab(entry) else { continue };
            let mut fields = meta.split(' ');
            match (fields.next(), fields.next()) {
                // A submodule that is checked out is a repository of its own.
                (Some("160000"), _) if !is_empty(&self.at(path)) => aside.push(path.to_vec()),
                (Some("100644" | "100755"), Some(oid)) if !tracked.contains(path) => {
                    unchanged.push((path.to_vec(), oid.to_owned()));
                }
                _ => {}
            }
        }
        let mut present = Vec::new();
        for path in &tracked {
            if !self.leads_through_a_link(path)
                && fs::symlink_metadata(self.at(path)).is_ok_and(|meta| !meta.is_dir())
            {
                present.push(path.clone());
            }
        }
        for path in records(&others.stdout) {
            match path.strip_suffix(b"/") {
                Some(repository) => aside.push(repository.to_vec()),
                None => present.push(path.to_vec()),
            }
        }
        let known = tracked.iter().chain(&present).chain(unchanged.iter().map(|(path, _)| path));
        aside.extend(self.repositories(known));
        Ok(Changes { replaced: tracked.into_iter().collect(), present, unchanged })
    }

    /// Repositories that share their folder with files of this one, which git overlooks.
    fn repositories<'a>(&self, files: impl Iterator<Item = &'a Vec<u8>>) -> Vec<Vec<u8>> {
        let folders: BTreeSet<&Path> = files
            .flat_map(|path| Path::new(OsStr::from_bytes(path)).ancestors().skip(1))
            .filter(|folder| !folder.as_os_str().is_empty())
            .collect();
        let inner = folders.into_iter().map(|folder| folder.join(".git"));
        let there = inner.filter(|inner| !self.leads_through_a_link(inner.as_os_str().as_bytes()));
        let there = there.filter(|inner| fs::symlink_metadata(self.path.join(inner)).is_ok());
        there.map(|inner| inner.into_os_string().into_vec()).collect()
    }

    /// Of the files that git takes for unchanged, those whose bytes are not those of their object: line ends, keywords
    /// and the like, by attributes that may be others at another time. Of those that a program makes, such as large
    /// files that are elsewhere, git is trusted to make them again.
    pub(crate) async fn bent(&self, unchanged: &[(Vec<u8>, String)]) -> Result<(Vec<Vec<u8>>, Vec<Stored>)> {
        let mut input = Vec::new();
        unchanged.iter().for_each(|(path, _)| quote(path, &mut input));
        if unchanged.is_empty() {
            return Ok((Vec::new(), Vec::new()));
        }
        let oids = self.run(&["hash-object", "--no-filters", "--stdin-paths"], Some(&input)).await?;
        let oids = String::from_utf8_lossy(&oids).into_owned();
        let differing = unchanged.iter().zip(oids.lines()).filter(|((_, known), oid)| known != oid);
        let differing: Vec<&(Vec<u8>, String)> = differing.map(|(file, _)| file).collect();
        if differing.is_empty() {
            return Ok((Vec::new(), Vec::new()));
        }
        let list: Vec<u8> = differing.iter().flat_map(|(path, _)| path.iter().copied().chain([0])).collect();
        let said = self.run(&["check-attr", "-z", "--stdin", "filter"], Some(&list)).await?;
        let values = said.split(|byte| *byte == 0).skip(2).step_by(3);
        let (mut bent, mut filtered) = (Vec::new(), Vec::new());
        for ((path, oid), value) in differing.into_iter().zip(values) {
            match value {
                b"unspecified" | b"unset" | b"set" => bent.push(path.clone()),
                _ => filtered.push(Stored {
                    path: path.clone(),
                    mode: FILTERED,
                    permissions: 0,
                    size: 0,
                    oid: oid.clone(),
                }),
            }
        }
        Ok((bent, filtered))
    }

    /// Files that git was told to overlook are looked at all the same.
    async fn clear_flags(&self) -> Result<()> {
        let tagged = self.run(&["ls-files", "-z", "-v"], None).await?;
        let of = |wanted: fn(u8) -> bool| -> Vec<u8> {
            let paths = records(&tagged).filter(|entry| entry.first().is_some_and(|tag| wanted(*tag)));
            paths
                .filter_map(|entry| entry.get(2..))
                .flat_map(|path| path.iter().copied().chain([0]))
                .collect()
        };
        for (option, paths) in [
            ("--no-assume-unchanged", of(|tag| tag.is_ascii_lowercase())),
            ("--no-skip-worktree", of(|tag| matches!(tag, b'S' | b's'))),
        ] {
            if !paths.is_empty() {
                self.run(&["update-index", option, "-z", "--stdin"], Some(&paths)).await?;
            }
        }
        Ok(())
    }

    /// Stores files byte for byte. What cannot be read or be in a tree goes aside. What has vanished meanwhile is left
    /// out where somebody may be at work.
    pub(crate) async fn store(
        &self,
        present: Vec<Vec<u8>>,
        aside: &mut Vec<Vec<u8>>,
        at_work: bool,
    ) -> Result<Vec<Stored>> {
        let (mut stored, mut files, mut input) = (Vec::new(), Vec::new(), Vec::new());
        for path in present {
            let at = self.at(&path);
            let meta = match fs::symlink_metadata(&at) {
                Err(error) if at_work && error.kind() == ErrorKind::NotFound => continue,
                other => other.map_err(|error| failed(self.hub, &at.display().to_string(), error))?,
            };
            let permissions = meta.permissions().mode() & 0o7777;
            let is_link = meta.file_type().is_symlink();
            if !fits_a_tree(&path, is_link) {
                aside.push(path);
            } else if is_link {
                let target =
                    fs::read_link(&at).map_err(|error| failed(self.hub, &at.display().to_string(), error))?;
                let target = target.as_os_str().as_bytes();
                let oid = self.line(&["hash-object", "-w", "--no-filters", "--stdin"], Some(target)).await?;
                let size = meta.len();
                stored.push(Stored { path, mode: "120000", permissions, size, oid });
            } else if !meta.is_file() || fs::File::open(&at).is_err() {
                aside.push(path);
            } else {
                quote(&path, &mut input);
                let mode = if permissions & 0o100 == 0 { "100644" } else { "100755" };
                files.push(Stored { path, mode, permissions, size: meta.len(), oid: String::new() });
            }
        }
        if !files.is_empty() {
            let oids =
                self.run(&["hash-object", "-w", "--no-filters", "--stdin-paths"], Some(&input)).await?;
            let oids = String::from_utf8_lossy(&oids).into_owned();
            let mut oids = oids.lines();
            for mut file in files {
                file.oid = oids.next().unwrap_or_default().to_owned();
                if file.oid.is_empty() {
                    return Err(self.git().failed(&["hash-object"], Some(0), "it answered too few names"));
                }
                stored.push(file);
            }
        }
        Ok(stored)
    }

    /// The tree of the worktree: the index, but for what differs.
    pub(crate) async fn tree(&self, replaced: &[Vec<u8>], stored: &[Stored]) -> Result<String> {
        let none = self.nothing().await?;
        let gone = replaced.iter().map(|path| (none.clone(), path.as_slice()));
        let there = stored.iter().filter(|file| file.mode != FILTERED);
        let there = there.map(|file| (format!("{} {}", file.mode, file.oid), file.path.as_slice()));
        let entries: Vec<(String, &[u8])> = gone.chain(there).collect();
        if !entries.is_empty() {
            self.update(&entries).await?;
        }
        self.line(&["write-tree"], None).await
    }

    /// Size of a file; 0 of one that is not there.
    pub(crate) fn size(&self, path: &[u8]) -> u64 {
        fs::symlink_metadata(self.at(path)).map_or(0, |meta| meta.len())
    }

    fn at(&self, path: &[u8]) -> PathBuf {
        self.path.join(OsStr::from_bytes(path))
    }

    /// Whether a folder above a tracked file was replaced by a link: what is behind it is not in the worktree.
    fn leads_through_a_link(&self, path: &[u8]) -> bool {
        let path = Path::new(OsStr::from_bytes(path));
        let folders = path.ancestors().skip(1).filter(|folder| !folder.as_os_str().is_empty());
        folders
            .map(|folder| self.path.join(folder))
            .any(|folder| fs::symlink_metadata(folder).is_ok_and(|meta| meta.file_type().is_symlink()))
    }
}

fn is_empty(folder: &Path) -> bool {
    !fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_some())
}
