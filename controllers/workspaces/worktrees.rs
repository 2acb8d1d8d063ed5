//! Making the worktrees of a workspace, all or none.
//!
//! ```text
//! marker ─▶ a worktree of each hub ─▶ marker gone
//! ```
//! Where the marker is found, what is there is half made and is taken away; where it is not, what is there is somebody's
//! work and is used as it is.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use gcluster_git::saves;
use gcluster_git::worktree::{self, Found};
use gcluster_types::Workspace;
use gcluster_types::kinds::workspace::Snapshot;

use super::place::Place;
use super::repositories::Source;
use super::saves::reference;
use super::trouble::{Result, Trouble};

/// Whether the folder of a worktree is gone, or was never there.
pub(super) fn is_missing(place: &Place, sources: &[Source]) -> bool {
    let pairs = place.worktrees();
    let mut found = sources.iter().zip(&pairs).map(|(source, (_, path))| worktree::find(&source.hub, path));
    found.any(|found| matches!(found, Found::FolderGone { .. } | Found::Nothing))
}

/// Whether all of them are there and whole.
pub(super) fn are_whole(place: &Place, sources: &[Source]) -> bool {
    let pairs = place.worktrees();
    let mut found = sources.iter().zip(&pairs).map(|(source, (_, path))| worktree::find(&source.hub, path));
    !place.making().exists() && found.all(|found| matches!(found, Found::Whole { .. }))
}

/// Mends worktrees in which somebody works: a `.git` or a record that was taken away. Answers what was, in sentences.
pub(super) async fn mend(workspace: &Workspace, place: &Place, sources: &[Source]) -> Result<Vec<String>> {
    let mut notes = Vec::new();
    for (source, (_, path)) in sources.iter().zip(place.worktrees()) {
        let git = source.git();
        let mut why = None;
        match worktree::find(&source.hub, &path) {
            Found::Whole { record } => {
                let step = format!("lock the worktree {}", path.display());
                worktree::lock(&record).map_err(Trouble::io(step))?;
                continue;
            }
            Found::Broken { record: Some(record) } if !worktree::is_half_made(&record) => {
                // What cannot be repaired is told below.
                if worktree::repair(&git).await.is_ok() {
                    let path = path.display();
                    notes.push(format!(
                        "the file .git of {path} was not as it has to be; it is written again"
                    ));
                }
            }
            Found::Broken { record: None } => {
                let newest = saves::list(&source.hub, &reference(workspace)).into_iter().next();
                let save = newest.map(|save| save.commit);
                match worktree::adopt(&git, &path, &workspace.spec.branch, save.as_deref()).await {
                    Ok(()) => notes.push(format!(
                        "somebody removed what the hub of {} knew of {}; it is known again, no file was changed",
                        source.name,
                        path.display()
                    )),
                    Err(error) => why = Some(error.to_string()),
                }
            }
            _ => continue,
        }
        if !matches!(worktree::find(&source.hub, &path), Found::Whole { .. }) {
            let why = why.unwrap_or_else(|| "its .git is something else: move that away".to_owned());
            let message = format!(
                "{} is no worktree of {} any more, and no file in it is touched: {why}",
                path.display(),
                source.name
            );
            return Err(Trouble::wait("NotAWorktree", message));
        }
    }
    Ok(notes)
}

/// Makes all worktrees with `branch` checked out. What an earlier master has begun is taken away first.
pub(super) async fn make(
    place: &Place,
    sources: &[Source],
    uid: &str,
    branch: &str,
    snapshots: &[Snapshot],
) -> Result<()> {
    take_away_half_made(place, sources).await?;
    let mut whole = 0;
    let mut missing = Vec::new();
    for (source, (_, path)) in sources.iter().zip(place.worktrees()) {
        match mended(source, &path).await? {
            Found::Whole { .. } => whole += 1,
            Found::Nothing | Found::FolderGone { .. } => missing.push((source, path)),
            Found::Broken { .. } => {
                return Err(Trouble::wait(
                    "FolderOccupied",
                    format!(
                        "{} is there and is no worktree of {}: look what it holds and move it away",
                        path.display(),
                        source.name
                    ),
                ));
            }
        }
    }
    if missing.is_empty() {
        return Ok(());
    }
    // Beside a worktree in which somebody has worked, nothing may be taken away.
    if whole == 0 {
        begin(place, uid)?;
    }
    for (source, path) in missing {
        let git = source.git();
        if let Some(snapshot) = snapshots.iter().find(|snapshot| snapshot.repository == source.name) {
            restore(source, &path, branch, snapshot).await?;
            continue;
        }
        if worktree::tip(&git, branch).await?.is_none()
            && worktree::commit(&git, &source.start).await?.is_none()
        {
            return Err(Trouble::wait(
                "StartMissing",
                format!("{} has no branch or commit {} to begin at", source.name, source.start),
            ));
        }
        worktree::add(&git, &path, branch, &source.start).await?;
    }
    done(place)
}

async fn restore(source: &Source, path: &Path, branch: &str, snapshot: &Snapshot) -> Result<()> {
    let git = source.git();
    let tip = worktree::tip(&git, branch).await?;
    if let Some(tip) = tip.filter(|tip| *tip != snapshot.tip) {
        let message = format!(
            "the branch {branch} of {} is at {} now, not at {} as it was: rename it, or undelete with --branch",
            source.name,
            tip.get(..9).unwrap_or(&tip),
            snapshot.tip.get(..9).unwrap_or(&snapshot.tip),
        );
        return Err(Trouble::wait("BranchElsewhere", message));
    }
    if worktree::commit(&git, &snapshot.commit).await?.is_none() {
        let message = format!("what was kept of {} is not in its hub any more", source.name);
        return Err(Trouble::wait("SalvageMissing", message));
    }
    gcluster_git::restore(&git, path, branch, &snapshot.commit).await?;
    Ok(())
}

/// What is there of a worktree after what can be mended was.
async fn mended(source: &Source, path: &Path) -> Result<Found> {
    let found = worktree::find(&source.hub, path);
    match &found {
        Found::Broken { record: Some(record) } if worktree::is_half_made(record) => {
            worktree::remove(&source.git(), path).await?;
        }
        Found::Broken { record: Some(_) } => worktree::repair(&source.git()).await?,
        Found::FolderGone { .. } => worktree::remove(&source.git(), path).await?,
        // An empty folder is nobody's.
        Found::Broken { record: None } if is_empty(path) => {
            fs::remove_dir(path).map_err(Trouble::io(format!("remove {}", path.display())))?;
        }
        _ => return Ok(found),
    }
    Ok(worktree::find(&source.hub, path))
}

/// Takes away what was made while the marker was there.
pub(super) async fn take_away_half_made(place: &Place, sources: &[Source]) -> Result<()> {
    if !place.making().exists() {
        return Ok(());
    }
    for (source, (_, path)) in sources.iter().zip(place.worktrees()) {
        worktree::remove(&source.git(), &path).await?;
    }
    let folder = place.folder();
    worktree::delete(&folder).map_err(Trouble::io(format!("remove {}", folder.display())))?;
    done(place)
}

fn begin(place: &Place, uid: &str) -> Result<()> {
    let write = || -> io::Result<()> {
        DirBuilder::new().recursive(true).mode(0o700).create(&place.parent)?;
        let mut marker = File::create(place.making())?;
        marker.write_all(uid.as_bytes())?;
        marker.sync_all()?;
        File::open(&place.parent)?.sync_all()?;
        if place.worktrees().len() > 1 {
            fs::create_dir_all(place.folder())?;
        }
        Ok(())
    };
    write().map_err(Trouble::io(format!("begin {}", place.folder().display())))
}

pub(super) fn done(place: &Place) -> Result<()> {
    match fs::remove_file(place.making()) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(Trouble::io(format!("remove {}", place.making().display()))(error))
        }
        _ => Ok(()),
    }
}

/// Whether nothing is at a path, or a folder with nothing in it.
fn is_empty(path: &Path) -> bool {
    match fs::read_dir(path) {
        Ok(mut entries) => entries.next().is_none(),
        Err(error) => error.kind() == io::ErrorKind::NotFound,
    }
}
