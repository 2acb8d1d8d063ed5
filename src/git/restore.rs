//! A worktree made again from a snapshot: every file, what is staged, the branch and HEAD as they were.

use std::collections::{BTreeMap, HashSet};
use std::ffi::OsStr;
use std::fs;
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use crate::salvage::{failed, paths, quote, records, split_at_tab};
use crate::snapshot::{FILTERED, LIMIT, PLAIN};
use crate::worktree;
use crate::{Git, Result};

/// How much of files is read at once; a larger one is read alone.
const AT_ONCE: u64 = 32 << 20;

/// What a snapshot says of its worktree.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Contents {
    /// Tip of the branch; empty when there was none.
    pub tip: String,
    /// Paths that git cannot hold, in the order in which they were set aside.
    pub aside: Vec<PathBuf>,
    /// The tree of all files.
    pub(crate) tree: String,
    /// The commit of the index.
    pub(crate) index: String,
    /// Whether git is trusted to make the files that are not stored byte for byte.
    pub(crate) is_trusted: bool,
    /// The branch that was checked out.
    branch: String,
    /// Further objects, by name.
    details: BTreeMap<String, String>,
}

impl Contents {
    /// The list of the files that are stored byte for byte.
    pub(crate) fn raw(&self) -> &str {
        self.details.get("raw").map(String::as_str).unwrap_or_default()
    }

    async fn blob(&self, git: &Git, name: &str) -> Result<Vec<u8>> {
        match self.details.get(name) {
            Some(oid) => git.bytes(&["cat-file", "blob", oid], None).await,
            None => Ok(Vec::new()),
        }
    }
}

/// Reads what a snapshot says of its worktree.
///
/// # Errors
/// When it is not there, or no snapshot.
pub async fn contents(hub: &Git, commit: &str) -> Result<Contents> {
    let message = hub.text(["log", "-1", "--format=%T%n%B", "--end-of-options", commit]).await?;
    let said = |key: &str| message.lines().find_map(|line| line.strip_prefix(key)).unwrap_or_default().trim();
    let mut lines = message.lines();
    let tree = lines.next().unwrap_or_default().to_owned();
    let branch = lines.next().unwrap_or_default().split(" as it was").next().unwrap_or_default().to_owned();
    let (tip, index) = (said("Tip:").to_owned(), said("Index:").to_owned());
    let listed = hub.text(["ls-tree", "-z", "--end-of-options", &format!("{index}^1")]).await?;
    let details: BTreeMap<String, String> = records(listed.as_bytes())
        .filter_map(split_at_tab)
        .filter_map(|(meta, name)| {
            Some((String::from_utf8_lossy(name).into_owned(), meta.rsplit(' ').next()?.to_owned()))
        })
        .collect();
    let is_trusted = details.contains_key("trusted");
    let mut contents = Contents { tip, aside: Vec::new(), tree, index, is_trusted, branch, details };
    contents.aside = paths(&contents.blob(hub, "aside").await?);
    Ok(contents)
}

/// Makes a worktree at `path` as the snapshot `commit` has it, with its branch under the name `branch`. A branch of
/// that name that is there has to be at the tip of the snapshot.
///
/// # Errors
/// When the branch is elsewhere, the path is taken, or something cannot be written; then what was made is told from
/// what is whole, can be removed and made again.
pub async fn restore(hub: &Git, path: &Path, branch: &str, commit: &str) -> Result<()> {
    let contents = contents(hub, commit).await?;
    let head = contents.blob(hub, "head").await?;
    let head = String::from_utf8_lossy(&head).trim().to_owned();
    let begin = if contents.tip.is_empty() { commit } else { &contents.tip };
    let reference = format!("refs/heads/{branch}");
    if worktree::tip(hub, branch).await?.as_deref() != Some(begin) {
        // Only if there is none: what somebody has made since is not to be lost.
        hub.text(["update-ref", &reference, begin, &"0".repeat(begin.len())]).await?;
    }
    worktree::begin(hub, &["--no-checkout", "--", &path.to_string_lossy(), branch]).await?;
    let Some(record) = worktree::record(hub.directory(), path) else {
        return Err(failed(hub, "worktree add", io::Error::other("the new worktree is not found")));
    };
    let git = hub.at(path).limit(LIMIT);
    write_files(&git, &record, commit, &contents).await?;
    write_index(&git, &record, &contents).await?;
    if !head.starts_with("ref:") && !head.is_empty() {
        git.text(["update-ref", "--no-deref", "HEAD", &head]).await?;
    }
    write_state(hub, &record, branch, &contents).await?;
    if contents.tip.is_empty() {
        hub.text(["update-ref", "-d", &reference, begin]).await?;
    }
    worktree::finish(hub, path)
}

/// Gives the worktree at `path`, whose record is new, what the snapshot `commit` says of its index and of operations in
/// progress. No file changes.
pub(crate) async fn restore_record(hub: &Git, path: &Path, record: &Path, commit: &str) -> Result<()> {
    let contents = contents(hub, commit).await?;
    let branch = contents.branch.clone();
    let git = hub.at(path).limit(LIMIT);
    write_index(&git, record, &contents).await?;
    write_state(hub, record, &branch, &contents).await
}

/// Puts the files of a snapshot into a new folder, to look at: a repository of its own that borrows the objects of the
/// hub, with the snapshot checked out.
///
/// # Errors
/// When the folder is there, or something cannot be written.
pub async fn copy_out(hub: &Git, folder: &Path, commit: &str) -> Result<()> {
    let contents = contents(hub, commit).await?;
    fs::create_dir(folder).map_err(|error| failed(hub, &format!("make {}", folder.display()), error))?;
    crate::export(hub.directory(), commit, folder).await?;
    let known = contents.blob(hub, "raw").await?;
    let raw: Vec<Raw> = records(&known).filter_map(Raw::parse).filter(|file| file.kind != FILTERED).collect();
    for file in &raw {
        // Git has written it by its own rules.
        let _ = fs::remove_file(folder.join(&file.path));
    }
    write_all(&hub.at(folder).limit(LIMIT), &raw).await
}

/// What else git remembered of the worktree: operations in progress, what HEAD was before.
async fn write_state(hub: &Git, record: &Path, branch: &str, contents: &Contents) -> Result<()> {
    let Some(tree) = contents.details.get("record") else { return Ok(()) };
    let listed = hub.bytes(&["ls-tree", "-r", "-z", tree], None).await?;
    let mut files = Vec::new();
    for entry in records(&listed) {
        let Some((meta, path)) = split_at_tab(entry) else { continue };
        let (oid, path) =
            (meta.rsplit(' ').next().unwrap_or_default(), PathBuf::from(OsStr::from_bytes(path)));
        let _ = fs::remove_file(record.join(&path));
        files.push(Raw { kind: "file".to_owned(), permissions: 0o644, size: 0, oid: oid.to_owned(), path });
    }
    write_all(&hub.at(record), &files).await?;
    // A rebase ends on the branch that it began on, which may have another name now.
    let old = format!("refs/heads/{}", contents.branch);
    for name in ["rebase-merge/head-name", "rebase-apply/head-name"] {
        let name = record.join(name);
        if fs::read_to_string(&name).is_ok_and(|text| text.trim() == old) && contents.branch != branch {
            fs::write(&name, format!("refs/heads/{branch}\n"))
                .map_err(|error| failed(hub, &format!("write {}", name.display()), error))?;
        }
    }
    Ok(())
}

/// A file that is not written as git would.
#[derive(Clone)]
struct Raw {
    kind: String,
    permissions: u32,
    size: u64,
    oid: String,
    path: PathBuf,
}

impl Raw {
    fn parse(record: &[u8]) -> Option<Raw> {
        let (meta, path) = split_at_tab(record)?;
        let mut fields = meta.split(' ');
        Some(Raw {
            kind: fields.next()?.to_owned(),
            permissions: u32::from_str_radix(fields.next()?, 8).ok()?,
            size: fields.next()?.parse().ok()?,
            oid: fields.next()?.to_owned(),
            path: PathBuf::from(OsStr::from_bytes(path)),
        })
    }
}

/// Files that differed from the index are written as they were; git makes the others, and what it makes with other
/// attributes than those of then is put right.
async fn write_files(git: &Git, record: &Path, commit: &str, contents: &Contents) -> Result<()> {
    let known = contents.blob(git, "raw").await?;
    let known: Vec<Raw> = records(&known).filter_map(Raw::parse).collect();
    let (filtered, raw): (Vec<Raw>, Vec<Raw>) = known.into_iter().partition(|file| file.kind == FILTERED);
    let index = record.join("gcluster-restore");
    let checkout = git.clone().env("GIT_INDEX_FILE", &index.to_string_lossy());
    let run = |args: Vec<&'static str>| PLAIN.iter().copied().chain(args).collect::<Vec<&str>>();
    let tree = format!("{commit}^{{tree}}");
    checkout.text(run(vec!["read-tree"]).into_iter().chain([tree.as_str()])).await?;
    let mut list = Vec::new();
    for file in &raw {
        list.extend_from_slice(file.path.as_os_str().as_bytes());
        list.push(0);
    }
    checkout.fed(run(vec!["update-index", "-z", "--force-remove", "--stdin"]), &list).await?;
    // With the attributes among them.
    write_all(git, &raw).await?;
    checkout.text(run(vec!["checkout-index", "--all", "--force", "--quiet"])).await?;
    let listed = checkout.bytes(&run(vec!["ls-files", "-z", "--stage"]), None).await?;
    let _ = fs::remove_file(&index);
    if contents.is_trusted {
        return Ok(());
    }
    let filtered: HashSet<&Path> = filtered.iter().map(|file| file.path.as_path()).collect();
    let mut plain = Vec::new();
    let mut input = Vec::new();
    for entry in records(&listed) {
        let Some((meta, path)) = split_at_tab(entry) else { continue };
        let mut fields = meta.split(' ');
        let (Some(mode @ ("100644" | "100755")), Some(oid)) = (fields.next(), fields.next()) else {
            continue;
        };
        let name = Path::new(OsStr::from_bytes(path));
        if !filtered.contains(name) {
            quote(path, &mut input);
            let permissions = if mode == "100755" { 0o755 } else { 0o644 };
            let (kind, oid, path) = ("file".to_owned(), oid.to_owned(), name.to_owned());
            plain.push(Raw { kind, permissions, size: 0, oid, path });
        }
    }
    let oids = git.fed(run(vec!["hash-object", "--no-filters", "--stdin-paths"]), &input).await?;
    let mut wrong = Vec::new();
    for (file, oid) in plain.into_iter().zip(oids.lines()) {
        if file.oid != oid {
            let at = git.directory().join(&file.path);
            let gone = fs::metadata(&at).and_then(|meta| fs::remove_file(&at).map(|()| meta.len()));
            let size = gone.map_err(|error| failed(git, &format!("write {}", file.path.display()), error))?;
            wrong.push(Raw { size, ..file });
        }
    }
    write_all(git, &wrong).await
}

async fn write_all(git: &Git, files: &[Raw]) -> Result<()> {
    let mut open: Vec<&Raw> = Vec::new();
    for file in files {
        open.push(file);
        if open.iter().map(|file| file.size).sum::<u64>() >= AT_ONCE || open.len() >= 1_000 {
            write_raw(git, &std::mem::take(&mut open)).await?;
        }
    }
    write_raw(git, &open).await
}

async fn write_raw(git: &Git, files: &[&Raw]) -> Result<()> {
    if files.is_empty() {
        return Ok(());
    }
    let list: String = files.iter().map(|file| format!("{}\n", file.oid)).collect();
    let bytes = git.bytes(&["cat-file", "--batch"], Some(list.as_bytes())).await?;
    let mut rest = bytes.as_slice();
    for file in files {
        // `OID blob SIZE`, the bytes, a line end.
        let header = rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len());
        let (said, behind) = rest.split_at(header);
        let size: Option<usize> =
            std::str::from_utf8(said).ok().and_then(|said| said.rsplit(' ').next()?.parse().ok());
        let text =
            size.and_then(|size| Some((behind.get(1..=size)?, behind.get(size + 2..).unwrap_or_default())));
        let Some((text, behind)) = text else {
            let what = format!("{} of {} is not in the repository", file.oid, file.path.display());
            return Err(failed(git, "cat-file --batch", io::Error::other(what)));
        };
        write_file(&git.directory().join(&file.path), file, text)
            .map_err(|error| failed(git, &format!("write {}", file.path.display()), error))?;
        rest = behind;
    }
    Ok(())
}

fn write_file(at: &Path, file: &Raw, text: &[u8]) -> io::Result<()> {
    if let Some(parent) = at.parent() {
        fs::create_dir_all(parent)?;
    }
    if file.kind == "link" {
        return symlink(OsStr::from_bytes(text), at);
    }
    let mut target = fs::OpenOptions::new().write(true).create_new(true).open(at)?;
    target.write_all(text)?;
    target.set_permissions(fs::Permissions::from_mode(file.permissions))
}

/// The index, entry by entry, with what was conflicting and marked in it.
async fn write_index(git: &Git, record: &Path, contents: &Contents) -> Result<()> {
    if contents.details.contains_key("index") {
        let index = contents.blob(git, "index").await?;
        let new = record.join("index.new");
        let write = fs::write(&new, index).and_then(|()| fs::rename(&new, record.join("index")));
        write.map_err(|error| failed(git, "write the index", error))?;
    } else {
        git.text(["read-tree", &format!("{}^{{tree}}", contents.index)]).await?;
    }
    // Times and inode numbers are others now. The exit code says that files differ, as they did.
    let refresh: Vec<&str> = PLAIN.iter().copied().chain(["update-index", "-q", "--refresh"]).collect();
    git.output(&refresh, None).await?;
    Ok(())
}
