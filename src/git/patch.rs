//! What a branch changes: its files, and the change as text that is not longer than somebody can take in.

use std::collections::BTreeSet;

use crate::{Git, Result};

/// Files whose old and new text together are longer than this are not asked for, in bytes.
const LARGE: u64 = 8 << 20;
/// Of all files together no more than this is asked for, in bytes.
const LARGE_TOGETHER: u64 = 64 << 20;
/// What every diff is made with, whatever the user has configured.
const PLAIN: [&str; 6] =
    ["--no-color", "--no-ext-diff", "--no-textconv", "--find-renames", "--src-prefix=a/", "--dst-prefix=b/"];

/// A change as text.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Diff {
    /// Every path that it touches; of a renamed file both.
    pub files: BTreeSet<String>,
    /// The change, as `git diff` prints it.
    pub text: String,
    /// Files whose change is too long for it, with how many lines they gain and lose (`-` in files that are no text).
    pub left_out: Vec<LeftOut>,
}

/// A file that changes by more than fits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeftOut {
    /// Its path.
    pub file: String,
    /// Lines that it gains.
    pub added: String,
    /// Lines that it loses.
    pub deleted: String,
}

/// One file of a change.
struct Changed {
    from: Option<String>,
    file: String,
    added: String,
    deleted: String,
}

/// What `commit` changes since it left `base`, with at most `limit` bytes of text.
///
/// # Errors
/// When git fails, such as for a commit that is not there.
pub async fn diff(git: &Git, base: &str, commit: &str, limit: usize) -> Result<Diff> {
    let range = format!("{base}...{commit}");
    let changed = changed(git, &range).await?;
    let mut result = Diff::default();
    for file in &changed {
        result.files.extend(file.from.iter().cloned().chain([file.file.clone()]));
    }
    let large = large(git, &range).await?;
    let mut args: Vec<String> = ["-c", "core.quotePath=false", "diff"].map(str::to_owned).into();
    args.extend(PLAIN.iter().map(|arg| (*arg).to_owned()));
    args.extend([range, "--".to_owned(), ":/".to_owned()]);
    args.extend(large.iter().map(|file| format!(":(top,exclude,literal){file}")));
    let whole = git.output(&args, None).await?;
    if whole.code != Some(0) {
        // Asked again for its words: `text` tells what git complained about.
        git.text(&args).await?;
    }
    let text = String::from_utf8_lossy(&whole.stdout);
    let mut parts = parts(&text).into_iter();
    for file in changed {
        let is_large = large.contains(&file.file);
        let part = if is_large { None } else { parts.next() };
        match part {
            Some(part) if result.text.len() + part.len() <= limit => result.text.push_str(part),
            _ => result.left_out.push(LeftOut { file: file.file, added: file.added, deleted: file.deleted }),
        }
    }
    Ok(result)
}

/// What is in a worktree and in no commit: the change of files that git knows, with at most `limit` bytes of text, and
/// the names of those that it does not know. The worktree and its index stay as they are.
///
/// # Errors
/// When git fails, such as for a folder that is no worktree.
pub async fn uncommitted(worktree: &Git, limit: usize) -> Result<(String, Vec<String>)> {
    let mut args: Vec<&str> =
        vec!["--no-optional-locks", "-c", "core.quotePath=false", "-c", "core.fsmonitor=false", "diff"];
    args.extend(PLAIN);
    args.extend(["HEAD", "--"]);
    let whole = worktree.bytes(&args, None).await?;
    let whole = String::from_utf8_lossy(&whole);
    let mut text = String::new();
    for part in parts(&whole).into_iter().filter(|part| part.len() <= limit) {
        if text.len() + part.len() <= limit {
            text.push_str(part);
        }
    }
    let args = ["--no-optional-locks", "ls-files", "--others", "--exclude-standard", "-z"];
    let names = worktree.bytes(&args, None).await?;
    let names = names.split(|byte| *byte == 0).filter(|name| !name.is_empty());
    Ok((text, names.map(|name| String::from_utf8_lossy(name).into_owned()).collect()))
}

/// The paths that a commit changes since it left `base`.
///
/// # Errors
/// When git fails.
pub async fn changed_files(git: &Git, base: &str, commit: &str) -> Result<BTreeSet<String>> {
    let changed = changed(git, &format!("{base}...{commit}")).await?;
    Ok(changed.into_iter().flat_map(|file| file.from.into_iter().chain([file.file])).collect())
}

async fn changed(git: &Git, range: &str) -> Result<Vec<Changed>> {
    let args = ["diff", "--numstat", "-z", "--no-ext-diff", "--no-textconv", "--find-renames", range, "--"];
    let listed = git.text(args).await?;
    let mut fields = listed.split('\0');
    let mut files = Vec::new();
    while let Some(head) = fields.next().filter(|head| !head.is_empty()) {
        let mut columns = head.splitn(3, '\t');
        let mut column = || columns.next().unwrap_or_default().to_owned();
        let (added, deleted, path) = (column(), column(), column());
        // Of a renamed file both paths follow.
        let (from, file) = match path.is_empty() {
            true => (fields.next().map(str::to_owned), fields.next().unwrap_or_default().to_owned()),
            false => (None, path),
        };
        files.push(Changed { from, file, added, deleted });
    }
    Ok(files)
}

/// Files that are too large to be compared line by line for a person.
async fn large(git: &Git, range: &str) -> Result<BTreeSet<String>> {
    let args = ["diff", "--raw", "-z", "--no-abbrev", "--find-renames", "--no-ext-diff", range, "--"];
    let listed = git.text(args).await?;
    let mut fields = listed.split('\0');
    let mut blobs: Vec<(String, [String; 2])> = Vec::new();
    while let Some(head) = fields.next().filter(|head| head.starts_with(':')) {
        let columns: Vec<&str> = head.split(' ').collect();
        let column = |n: usize| columns.get(n).copied().unwrap_or_default();
        let mut file = fields.next().unwrap_or_default();
        if column(4).starts_with(['R', 'C']) {
            file = fields.next().unwrap_or_default();
        }
        blobs.push((file.to_owned(), [column(2).to_owned(), column(3).to_owned()]));
    }
    let asked: String = blobs.iter().flat_map(|(_, pair)| pair).map(|blob| format!("{blob}\n")).collect();
    if asked.is_empty() {
        return Ok(BTreeSet::new());
    }
    let sizes = git.fed(["cat-file", "--batch-check=%(objectsize)"], asked.as_bytes()).await?;
    // A file that is new or gone has no object on one side, a submodule has none here.
    let sizes: Vec<u64> = sizes.lines().map(|line| line.trim().parse().unwrap_or(0)).collect();
    let mut sized: Vec<(u64, String)> =
        blobs.into_iter().zip(sizes.chunks(2)).map(|((file, _), pair)| (pair.iter().sum(), file)).collect();
    sized.sort();
    let mut together = 0;
    let too_large = sized.into_iter().filter(|(size, _)| {
        together += size;
        *size > LARGE || together > LARGE_TOGETHER
    });
    Ok(too_large.map(|(_, file)| file).collect())
}

/// The parts of a diff, one for each file. No line of a text begins like the first one of a part.
fn parts(diff: &str) -> Vec<&str> {
    let mut starts: Vec<usize> = diff.match_indices("diff --git ").map(|(at, _)| at).collect();
    starts.retain(|at| *at == 0 || diff.as_bytes().get(at - 1) == Some(&b'\n'));
    let ends = starts.iter().skip(1).copied().chain([diff.len()]);
    starts.iter().zip(ends).map(|(start, end)| diff.get(*start..end).unwrap_or_default()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    async fn repository() -> (tempfile::TempDir, Git) {
        let dir = tempfile::tempdir().unwrap();
        let git = Git::new(dir.path())
            .env("GIT_AUTHOR_NAME", "a")
            .env("GIT_AUTHOR_EMAIL", "a@example.org")
            .env("GIT_COMMITTER_NAME", "a")
            .env("GIT_COMMITTER_EMAIL", "a@example.org");
        git.text(["init", "--quiet", "--initial-branch=main", "."]).await.unwrap();
        (dir, git)
    }

    async fn commit(git: &Git, files: &[(&str, &str)]) -> String {
        for (name, text) in files {
            let path = git.directory().join(name);
            std::fs::create_dir_all(path.parent().unwrap_or(Path::new("/"))).unwrap();
            std::fs::write(path, text).unwrap();
        }
        git.text(["add", "--all"]).await.unwrap();
        git.text(["commit", "--quiet", "-m", "c"]).await.unwrap();
        git.text(["rev-parse", "HEAD"]).await.unwrap()
    }

    #[tokio::test]
    async fn a_change_is_told_since_it_left_the_base_with_all_its_paths() {
        let (_dir, git) = repository().await;
        let long = "one\ntwo\nthree\nfour\nfive\n";
        let start = commit(&git, &[("old name.txt", long), ("kept", "x\n")]).await;
        git.text(["checkout", "--quiet", "-b", "work"]).await.unwrap();
        git.text(["mv", "old name.txt", "new name.txt"]).await.unwrap();
        let work = commit(&git, &[("ä/b \"c\".txt", "diff --git a/x b/x\n"), ("kept", "y\n")]).await;
        git.text(["checkout", "--quiet", "main"]).await.unwrap();
        let base = commit(&git, &[("elsewhere", "of the base\n")]).await;
        let told = diff(&git, &base, &work, 100_000).await.unwrap();
        assert_eq!(told, diff(&git, &start, &work, 100_000).await.unwrap());
        let files: Vec<&str> = told.files.iter().map(String::as_str).collect();
        assert_eq!(files, ["kept", "new name.txt", "old name.txt", "ä/b \"c\".txt"]);
        assert_eq!(changed_files(&git, &base, &work).await.unwrap(), told.files);
        assert!(
            told.text.contains("-x\n+y\n") && told.text.contains("rename to new name.txt"),
            "{}",
            told.text
        );
        assert!(told.text.contains("+diff --git a/x b/x\n") && told.left_out.is_empty(), "{}", told.text);
        assert!(diff(&git, &base, "0123456789012345678901234567890123456789", 10).await.is_err());
    }

    #[tokio::test]
    async fn what_is_in_no_commit_is_told_and_left_alone() {
        let (_dir, git) = repository().await;
        commit(&git, &[("a", "1\n"), (".gitignore", "ignored\n")]).await;
        assert_eq!(uncommitted(&git, 1_000).await.unwrap(), (String::new(), vec![]));
        for (name, text) in [("a", "2\n"), ("new", "x\n"), ("ignored", "x\n"), ("staged", "s\n")] {
            std::fs::write(git.directory().join(name), text).unwrap();
        }
        git.text(["add", "staged"]).await.unwrap();
        let index = std::fs::read(git.directory().join(".git/index")).unwrap();
        let (text, unknown) = uncommitted(&git, 1_000).await.unwrap();
        assert!(text.contains("-1\n+2\n") && text.contains("+s\n") && !text.contains("+x"), "{text}");
        assert_eq!(unknown, ["new"]);
        assert!(uncommitted(&git, 10).await.unwrap().0.is_empty());
        assert_eq!(std::fs::read(git.directory().join(".git/index")).unwrap(), index);
    }

    #[tokio::test]
    async fn what_does_not_fit_is_left_out_and_named() {
        let (_dir, git) = repository().await;
        let base = commit(&git, &[("a", "1\n")]).await;
        let wide = "x".repeat(3_000) + "\n";
        let huge = "y\n".repeat(5 << 20);
        let work = commit(&git, &[("a", "2\n"), ("b", &wide), ("c", &huge), ("d", "4\n")]).await;
        let told = diff(&git, &base, &work, 1_000).await.unwrap();
        assert!(told.text.contains("+2\n") && told.text.contains("+4\n") && told.text.len() < 1_000);
        let left =
            |file: &str, added: &str| LeftOut { file: file.into(), added: added.into(), deleted: "0".into() };
        assert_eq!(told.left_out, [left("b", "1"), left("c", "5242880")]);
        assert_eq!(told.files.len(), 4);
    }
}
