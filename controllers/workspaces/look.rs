//! What is in a worktree: its tip, how far it is ahead, what is not committed, whether it is merged.

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use gcluster_git::worktree::{self, Found};
use gcluster_types::kinds::workspace::Checkout;

use super::repositories::Source;
use super::saves::Edits;
use super::trouble::Result;

/// Whether a tip is merged into a base, by the commits of both: it does not change.
pub(super) type Memory = HashMap<(String, String), bool>;

/// Looks at one worktree. What is known of it from before says where its branch began.
pub(super) async fn look(
    source: &Source,
    path: &Path,
    branch: &str,
    known: Option<&Checkout>,
    memory: &mut Memory,
) -> Result<(Checkout, Edits)> {
    let git = source.git();
    let mut seen = known.cloned().unwrap_or_default();
    seen.name = source.name.clone();
    seen.path = path.display().to_string();
    seen.base = source.base.clone();
    let Some(tip) = worktree::tip(&git, branch).await? else {
        return Ok((seen, Edits::default()));
    };
    let base = worktree::tip(&git, &source.base).await?.unwrap_or_else(|| tip.clone());
    seen.start = start(source, &seen.start, &base, &tip).await?;
    (seen.ahead, seen.behind) = gcluster_git::apart(&git, &tip, &base).await?;
    let key = (base.clone(), tip.clone());
    seen.merged = match memory.get(&key) {
        _ if seen.ahead == 0 => true,
        Some(merged) => *merged,
        None => {
            let merged = gcluster_git::merged(&git, &base, &tip).await?.is_some();
            // Only the newest are asked for again.
            if memory.len() > 32 {
                memory.clear();
            }
            memory.insert(key, merged);
            merged
        }
    };
    let changes = gcluster_git::statistics(&git, &seen.start, &tip).await?;
    (seen.insertions, seen.deletions, seen.files) = (changes.insertions, changes.deletions, changes.files);
    let mut edits = Edits::default();
    if path.is_dir() {
        let changed = gcluster_git::changed(&source.git_in(path), &tip).await?;
        seen.dirty = i64::try_from(changed.len()).unwrap_or(i64::MAX);
        edits = Edits::of(source, path, &tip, changed);
    }
    seen.commit = tip;
    Ok((seen, edits))
}

/// Where the branch began: where it left its base. A worker that rebases moves that on; a base that has taken the
/// branch in does not.
async fn start(source: &Source, known: &str, base: &str, tip: &str) -> Result<String> {
    let git = source.git();
    let fork = git.output(&["merge-base", base, tip], None).await?;
    let fork = if fork.code == Some(0) { fork.text() } else { String::new() };
    if known.is_empty() {
        // A branch that begins at another one, of a ticket that this depends on.
        let named = worktree::commit(&git, &source.start).await?.filter(|_| source.start != source.base);
        let begun = match named {
            Some(named) if is_ancestor(source, &named, tip).await? => named,
            _ => fork.clone(),
        };
        return Ok(if begun.is_empty() { tip.to_owned() } else { begun });
    }
    let moved_on =
        !fork.is_empty() && fork != tip && fork != known && is_ancestor(source, known, &fork).await?;
    Ok(if moved_on { fork } else { known.to_owned() })
}

async fn is_ancestor(source: &Source, one: &str, other: &str) -> Result<bool> {
    let output = source.git().output(&["merge-base", "--is-ancestor", one, other], None).await?;
    Ok(output.code == Some(0))
}

/// What changes when somebody stages or commits, or when a branch or its base moves: cheap to read.
pub(super) fn print(source: &Source, path: &Path, branch: &str) -> String {
    let mut print = String::new();
    let mut add = |path: PathBuf| {
        let meta = fs::metadata(path).map(|meta| (meta.mtime(), meta.mtime_nsec(), meta.len(), meta.ino()));
        print.push_str(&format!("{:?};", meta.ok()));
    };
    add(path.to_owned());
    match worktree::find(&source.hub, path) {
        Found::Whole { record } => ["index", "HEAD", "logs/HEAD"].map(|name| add(record.join(name))),
        _ => [(); 3],
    };
    for reference in [branch, source.base.as_str()] {
        add(source.hub.join("refs/heads").join(reference));
    }
    add(source.hub.join("packed-refs"));
    print
}

/// Size on disk, in bytes. Blocks.
pub(super) fn size(path: &Path) -> i64 {
    let mut bytes: u64 = 0;
    let mut linked = std::collections::HashSet::new();
    let mut open = vec![path.to_owned()];
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            let Ok(meta) = entry.metadata() else { continue };
            if meta.is_dir() {
                open.push(entry.path());
            } else if meta.nlink() > 1 && !linked.insert((meta.dev(), meta.ino())) {
                continue;
            }
            bytes = bytes.saturating_add(meta.blocks().saturating_mul(512));
        }
    }
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

/// Bytes as people read them, such as `12 MiB`.
pub(super) fn readable(bytes: i64) -> String {
    let mut size = bytes.max(0) as f64;
    for unit in ["B", "KiB", "MiB", "GiB"] {
        if size < 1024.0 {
            let digits = usize::from(size < 10.0 && unit != "B");
            return format!("{size:.digits$} {unit}");
        }
        size /= 1024.0;
    }
    format!("{size:.1} TiB")
}
