//! Submodules of a worktree: their repositories are in its record, and both name each other by their places.
//!
//! ```text
//! PATH/SUB/.git ──names──▶ hub.git/worktrees/ID/modules/SUB      its config: core.worktree ──names──▶ PATH/SUB
//! ```

use std::fs;
use std::path::{Path, PathBuf};

use crate::salvage::failed;
use crate::{Git, Result};

/// Makes submodules below `paths` of a worktree, and their repositories in its record, name each other again.
pub(crate) async fn relink(hub: &Git, worktree: &Path, record: &Path, paths: &[PathBuf]) -> Result<()> {
    for link in links(worktree, paths) {
        let text = fs::read_to_string(&link).unwrap_or_default();
        let Some(module) = module_of(text.trim()).map(|module| record.join("modules").join(module)) else {
            continue;
        };
        let Some(place) = link.parent().filter(|_| module.join("HEAD").is_file()) else { continue };
        fs::write(&link, format!("gitdir: {}\n", module.display()))
            .map_err(|error| failed(hub, &format!("write {}", link.display()), error))?;
        let (config, place) = (module.join("config"), place.display().to_string());
        hub.text(["config", "--file", &config.to_string_lossy(), "core.worktree", &place]).await?;
    }
    Ok(())
}

/// `gitdir: …/worktrees/ID/modules/SUB/modules/DEEPER`: what is behind the first `modules`.
fn module_of(text: &str) -> Option<&str> {
    let (_, rest) = text.strip_prefix("gitdir:")?.split_once("/worktrees/")?;
    let (_, module) = rest.split_once("/modules/")?;
    let is_inside = !module.split('/').any(|part| matches!(part, "" | "." | ".."));
    is_inside.then_some(module)
}

/// All files named `.git` below these paths.
fn links(worktree: &Path, paths: &[PathBuf]) -> Vec<PathBuf> {
    let mut links = Vec::new();
    let mut open: Vec<PathBuf> = paths.iter().map(|path| worktree.join(path)).collect();
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let is_git = entry.file_name() == ".git";
            match entry.file_type() {
                Ok(kind) if kind.is_dir() && !is_git => open.push(entry.path()),
                Ok(kind) if kind.is_file() && is_git => links.push(entry.path()),
                _ => {}
            }
        }
    }
    links
}

#[cfg(test)]
#[path = "submodules_tests.rs"]
mod tests;
