//! `gcluster init`: what a git repository needs so that workers can take tickets of it.

mod scripts;
mod state;

use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use clap::Args;
use gcluster_git::Git;
use gcluster_types::names::is_dns_label;

use super::Globals;
use super::output::{note, print};
use super::repository_path::{is_bare, top_level};
use crate::exit::{Failure, Result};

const MANIFEST: &str = "gcluster.yaml";
const SCRIPT: &str = "ci.sh";
const BACKLOG: &str = ".gcluster/backlog";
const IGNORE: &str = ".gitignore";
/// Tickets come and go there; what they say is kept by the master.
const IGNORED: &str = "/.gcluster/";

/// Prepare a git repository: gcluster.yaml, a folder for tickets, and a test script
///
/// Nothing that is there is overwritten, so it can be run again. No master is needed.
#[derive(Args, Debug)]
pub(crate) struct InitArgs {
    /// A folder of the repository
    #[arg(value_name = "DIR", default_value = ".", hide_default_value = true, value_hint = clap::ValueHint::DirPath)]
    dir: PathBuf,
    /// Name of the Repository object [default: made of the folder's name]
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
}

/// Does `gcluster init`.
pub(crate) async fn run(globals: &Globals, args: InitArgs) -> Result {
    let top = checkout(&args.dir)?;
    gcluster_git::version().await.map_err(|error| Failure::failed(error.to_string()))?;
    let name = name(args.name, &top)?;
    let (base, has_commit) = base(&top).await;
    let mut has_made_script = false;
    let mut write = |file: &str, text: &str, mode: u32| -> Result {
        if create(&top.join(file), text, mode)? {
            has_made_script |= file == SCRIPT;
            print(&format!("{file} written\n"))
        } else {
            print(&format!("{file} is there already and stays as it is\n"))
        }
    };
    write(MANIFEST, &manifest(&name, &base), 0o644)?;
    let script = scripts::of(&top);
    write(SCRIPT, &script.text, 0o755)?;
    std::fs::create_dir_all(top.join(BACKLOG))
        .map_err(|error| Failure::failed(format!("cannot make {}: {error}", top.join(BACKLOG).display())))?;
    print(&format!("{BACKLOG}/ is the folder for tickets\n"))?;
    if ignore(&top)? {
        print(&format!("{IGNORE} has a line for it\n"))?;
    }
    if has_made_script {
        print(&format!("\n{SCRIPT} {}\n", script.runs))?;
    }
    let state = state::look(&top).await;
    for told in state.notes(&top, has_commit) {
        note(&format!("note: {told}"));
    }
    print(&next(globals, &state.ours, top == std::env::current_dir().unwrap_or_default()))
}

/// The top of the checkout that is meant.
fn checkout(dir: &Path) -> Result<PathBuf> {
    let dir = std::fs::canonicalize(dir)
        .map_err(|error| Failure::failed(format!("cannot look into {}: {error}", dir.display())))?;
    top_level(&dir).ok_or_else(|| match dir.ancestors().find(|path| is_bare(path)) {
        Some(bare) => Failure::failed(format!(
            "{} is a bare repository: there is no checkout to write into",
            bare.display()
        ))
        .hint(
            "run this in a clone of it, commit and push, and set spec.path of the Repository to the bare one",
        ),
        None => Failure::failed(format!("{} is not in a git repository", dir.display()))
            .hint("`git init`, and a first commit, make one; then run this again"),
    })
}

/// What to do next.
fn next(globals: &Globals, uncommitted: &[&str], is_here: bool) -> String {
    let with =
        globals.data_dir.as_ref().map(|dir| format!(" --data-dir {}", dir.display())).unwrap_or_default();
    let mut rows = Vec::new();
    if !uncommitted.is_empty() {
        let commit = format!("git add {} && git commit -m 'Let gcluster work here'", uncommitted.join(" "));
        rows.push((commit, "workers see what is committed"));
    }
    rows.push((
        format!("gcluster{with} up -d -f {MANIFEST}"),
        "start a master, make the hub and the workers",
    ));
    rows.push((format!("gcluster{with} ticket add 'What should be done'"), "or drop a file into the folder"));
    rows.push((format!("gcluster{with} get tickets -w"), "watch it go to merged"));
    rows.push((format!("gcluster{with} sync push"), "bring what was merged into this checkout"));
    let mut out = match is_here {
        true => "\nNext:\n".to_owned(),
        false => "\nNext, at the top of the repository:\n".to_owned(),
    };
    for (command, what) in rows {
        out.push_str(&format!("  {command}\n      {what}\n"));
    }
    out
}

/// The name of the object: as given, or of the folder with what a name cannot have replaced.
fn name(given: Option<String>, top: &Path) -> Result<String> {
    if let Some(name) = given {
        return match is_dns_label(&name) {
            true => Ok(name),
            false => Err(Failure::usage(format!(
                "{name:?} cannot be the name of an object: use lower case letters, digits and - (at most 63)"
            ))),
        };
    }
    let folder = top.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
    let mapped: String = folder.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
    // Room for what the names of checks and merges add to it.
    let name: String = mapped.trim_matches('-').chars().take(40).collect();
    let name = name.trim_matches('-');
    Ok(if name.is_empty() { "app".to_owned() } else { name.to_owned() })
}

/// The branch that is checked out, or the one that most likely is the base; and whether it has a commit.
async fn base(top: &Path) -> (String, bool) {
    let git = Git::new(top);
    let current = git.text(["symbolic-ref", "--quiet", "--short", "HEAD"]).await.ok();
    let mut candidates = Vec::new();
    for name in ["main", "master", "trunk"] {
        if git.text(["rev-parse", "--verify", "--quiet", &format!("refs/heads/{name}")]).await.is_ok() {
            candidates.push(name.to_owned());
        }
    }
    let has_commit = git.text(["rev-parse", "--verify", "--quiet", "HEAD"]).await.is_ok();
    let base = candidates.into_iter().next().or(current).unwrap_or_else(|| "main".to_owned());
    (base, has_commit)
}

/// Writes a file unless something is there. True when it was written.
fn create(path: &Path, text: &str, mode: u32) -> Result<bool> {
    let cannot = |error| Failure::failed(format!("cannot write {}: {error}", path.display()));
    match OpenOptions::new().write(true).create_new(true).mode(mode).open(path) {
        Ok(mut file) => file.write_all(text.as_bytes()).map(|()| true).map_err(cannot),
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(cannot(error)),
    }
}

/// Adds the line to `.gitignore` that is missing there. True when it was added.
fn ignore(top: &Path) -> Result<bool> {
    let path = top.join(IGNORE);
    let cannot = |error| Failure::failed(format!("cannot write {}: {error}", path.display()));
    let text = match std::fs::read_to_string(&path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(cannot(error)),
        text => text.unwrap_or_default(),
    };
    let same = |line: &str| line.trim().trim_matches('/') == IGNORED.trim_matches('/');
    if text.lines().any(same) {
        return Ok(false);
    }
    let gap = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
    let mut file = OpenOptions::new().create(true).append(true).open(&path).map_err(cannot)?;
    file.write_all(format!("{gap}{IGNORED}\n").as_bytes()).map_err(cannot)?;
    Ok(true)
}

/// The objects, with what one may want to change.
fn manifest(name: &str, base: &str) -> String {
    include_str!("init/gcluster.yaml").replace("{name}", name).replace("{base}", base)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_made_of_any_folder() {
        for (folder, expected) in [
            ("/src/My_App.js", "my-app-js"),
            ("/src/--", "app"),
            ("/", "app"),
            ("/src/Ünïcode", "n-code"),
            (&format!("/src/{}", "x".repeat(90)), &"x".repeat(40)),
        ] {
            let name = name(None, Path::new(folder)).unwrap();
            assert_eq!(name, *expected);
            assert!(is_dns_label(&name));
        }
        assert!(name(Some("My App".into()), Path::new("/")).is_err());
    }

    #[test]
    fn the_manifest_holds_two_objects_that_the_kinds_accept() {
        let text = manifest("app", "trunk");
        let read = |kind: &str| {
            let found = text.split("\n---\n").find(|part| part.contains(&format!("kind: {kind}\n"))).unwrap();
            serde_yaml::from_str::<serde_json::Value>(found).unwrap()
        };
        let repository: gcluster_types::Repository = serde_json::from_value(read("Repository")).unwrap();
        assert_eq!((repository.spec.base.as_str(), repository.spec.path.as_str()), ("trunk", "."));
        let pool: gcluster_types::WorkerPool = serde_json::from_value(read("WorkerPool")).unwrap();
        assert_eq!(pool.spec.repositories, ["app"]);
        // What is commented out is there to be taken in: it has to be right, too.
        let all = text.lines().map(|line| line.replacen("  #: ", "  ", 1)).collect::<Vec<_>>().join("\n");
        for part in all.split("\n---\n") {
            let value: serde_json::Value = serde_yaml::from_str(part).unwrap();
            let known = match value["kind"].as_str().unwrap() {
                "Repository" => serde_json::from_value::<gcluster_types::Repository>(value.clone())
                    .map(|object| serde_json::to_value(object.spec).unwrap()),
                _ => serde_json::from_value::<gcluster_types::WorkerPool>(value.clone())
                    .map(|object| serde_json::to_value(object.spec).unwrap()),
            };
            let known = known.unwrap();
            for field in value["spec"].as_object().unwrap().keys() {
                assert!(known.get(field).is_some(), "there is no field {field}");
            }
        }
    }

    #[test]
    fn a_line_is_added_to_what_git_ignores_once() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(IGNORE), "target").unwrap();
        assert!(ignore(dir.path()).unwrap());
        assert!(!ignore(dir.path()).unwrap());
        assert_eq!(std::fs::read_to_string(dir.path().join(IGNORE)).unwrap(), "target\n/.gcluster/\n");
        assert!(create(&dir.path().join("x"), "1", 0o755).unwrap());
        assert!(!create(&dir.path().join("x"), "2", 0o755).unwrap());
        assert_eq!(std::fs::read_to_string(dir.path().join("x")).unwrap(), "1");
    }
}
