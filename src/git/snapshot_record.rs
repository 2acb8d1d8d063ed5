//! What git remembers of a worktree beside HEAD and index: operations in progress, reflogs, and the commits that they
//! alone know.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::Result;
use crate::salvage::{failed, quote};
use crate::snapshot::Taking;

/// Commits that only a reflog knows, and that are kept.
const LOST: usize = 48;
/// Commits that only an operation in progress knows, and that are kept.
const NAMED: usize = 256;
/// A file of an operation that is larger than this is kept, but not searched for names of commits.
const SEARCHED: u64 = 4 << 20;
/// What is kept in another way, or names folders of this machine.
const NOT_STATE: [&str; 7] = ["HEAD", "commondir", "gitdir", "index", "locked", "locked.new", "modules"];

impl Taking<'_> {
    /// The tree of what else is in the record of the worktree; none when there is nothing.
    pub(crate) async fn state(&self) -> Result<Option<String>> {
        let Some(record) = self.record else { return Ok(None) };
        let files = state_files(record);
        if files.is_empty() {
            return Ok(None);
        }
        let mut input = Vec::new();
        files.iter().for_each(|file| quote(record.join(file).as_os_str().as_bytes(), &mut input));
        let oids = self.run(&["hash-object", "-w", "--no-filters", "--stdin-paths"], Some(&input)).await?;
        let oids = String::from_utf8_lossy(&oids).into_owned();
        let entries: Vec<(String, &[u8])> = oids
            .lines()
            .zip(&files)
            .map(|(oid, file)| (format!("100644 {oid}"), file.as_os_str().as_bytes()))
            .collect();
        let own = self.index.with_extension("part");
        let _ = fs::remove_file(&own);
        let other = Taking { index: &own, ..*self };
        other.update(&entries).await?;
        let tree = other.line(&["write-tree"], None).await?;
        fs::remove_file(&own).map_err(|error| failed(self.hub, "remove an index", error))?;
        Ok(Some(tree))
    }

    /// HEAD where it is not the tip, and commits that only a reflog or an operation in progress knows: amended, reset
    /// or rebased away, still to be picked.
    pub(crate) async fn lost(&self, branch: &str) -> Result<Vec<String>> {
        let hub = self.hub.directory();
        let mut named: Vec<String> = Vec::new();
        let mut logged: Vec<String> = Vec::new();
        let logs = self.record.map(|record| record.join("logs/HEAD"));
        for log in logs.into_iter().chain([hub.join("logs/refs/heads").join(branch)]) {
            let text = fs::read(&log).unwrap_or_default();
            let text = String::from_utf8_lossy(&text);
            let newest = text.lines().rev().take(LOST * 2);
            logged.extend(newest.flat_map(|line| line.split(' ').take(2)).map(str::to_owned));
        }
        if let Some(record) = self.record {
            let state = state_files(record).into_iter().filter(|file| !file.starts_with("logs"));
            for file in [PathBuf::from("HEAD")].into_iter().chain(state) {
                let file = record.join(file);
                if fs::metadata(&file).is_ok_and(|meta| meta.len() <= SEARCHED) {
                    let text = fs::read(&file).unwrap_or_default();
                    let words = text.split(|byte| !byte.is_ascii_hexdigit());
                    let words = words.filter(|word| matches!(word.len(), 40 | 64));
                    named.extend(words.map(|word| String::from_utf8_lossy(word).into_owned()));
                }
            }
        }
        let mut seen: BTreeSet<String> = self.tip.into_iter().map(str::to_owned).collect();
        let mut commits: Vec<String> = self.tip.into_iter().map(str::to_owned).collect();
        for (oids, most) in [(named, NAMED), (logged, LOST)] {
            let is_new = |oid: &String| {
                matches!(oid.len(), 40 | 64)
                    && oid.bytes().any(|byte| byte != b'0')
                    && seen.insert(oid.clone())
            };
            let list: String = oids.into_iter().filter(is_new).map(|oid| format!("{oid}\n")).collect();
            if list.is_empty() {
                continue;
            }
            let checked = self.git().fed(["cat-file", "--batch-check"], list.as_bytes()).await?;
            let found = checked.lines().filter_map(|line| line.split_once(" commit "));
            commits.extend(found.map(|(oid, _)| oid.to_owned()).take(most));
        }
        if commits.len() <= usize::from(self.tip.is_some()) {
            return Ok(Vec::new());
        }
        let independent = ["merge-base", "--independent"].into_iter();
        let independent = self.git().text(independent.chain(commits.iter().map(String::as_str))).await?;
        Ok(independent.lines().filter(|oid| Some(*oid) != self.tip).map(str::to_owned).collect())
    }
}

/// Files of a record that are state of its worktree, relative to it.
fn state_files(record: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut open = vec![record.to_owned()];
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let (path, kind) = (entry.path(), entry.file_type());
            let name = entry.file_name().to_string_lossy().into_owned();
            let is_top = path.parent() == Some(record);
            let is_other = is_top && (NOT_STATE.contains(&name.as_str()) || name.starts_with("sharedindex."));
            if is_other || name.ends_with(".lock") || name.starts_with("gcluster-") {
                continue;
            }
            match kind {
                Ok(kind) if kind.is_dir() => open.push(path),
                Ok(kind) if kind.is_file() => {
                    files.extend(path.strip_prefix(record).map(Path::to_owned));
                }
                _ => {}
            }
        }
    }
    files.sort();
    files
}
