//! A Repository that is deleted: its workspaces first, and nothing that is only in the hub goes with it.

use std::path::{Path, PathBuf};

use gcluster_git::Hub;
use gcluster_types::kinds::workspace::Workspace;
use gcluster_types::{Repository, labels};
use kube::api::ListParams;
use kube::{Api, Client, ResourceExt};

use super::look::Places;
use crate::error::{Error, Result};

/// Names of the workspaces that are worktrees of its hub, asked from the server: what follows cannot be taken back.
pub(super) async fn workspaces(client: &Client, repository: &Repository) -> Result<Vec<String>> {
    let api: Api<Workspace> = Api::namespaced(client.clone(), &repository.namespace().unwrap_or_default());
    let all = api.list(&ListParams::default()).await.map_err(Error::api("list workspaces"))?;
    let name = repository.name_any();
    let uses = |workspace: &Workspace| workspace.spec.repositories.iter().any(|of| of.name == name);
    Ok(all.iter().filter(|workspace| uses(workspace)).map(ResourceExt::name_any).collect())
}

/// What became of the folder of a repository.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Folder {
    /// It is gone, or never was.
    Removed,
    /// It stays, because of this.
    Kept(String),
}

/// Removes the folder, unless something is in the hub that is nowhere else.
///
/// # Errors
/// When it cannot be removed.
pub(super) async fn clear(repository: &Repository, places: &Places) -> std::io::Result<Folder> {
    // Away in one step: one that is removed half would look like a hub with nothing in it.
    let name = format!(".{}.removed", repository.name_any());
    let away = places.folder.with_file_name(name);
    if places.hub.exists() {
        if let Some(held) = held(repository, &places.hub).await {
            return Ok(Folder::Kept(held));
        }
        remove(&away)?;
        std::fs::rename(&places.folder, &away)?;
    }
    remove(&away)?;
    Ok(Folder::Removed)
}

fn remove(folder: &PathBuf) -> std::io::Result<()> {
    match std::fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// What the hub has that is nowhere else, in words; none when there is nothing.
async fn held(repository: &Repository, hub: &Path) -> Option<String> {
    let hub = Hub::new(hub, labels::MANAGER_REPOSITORIES);
    let base = &repository.spec.base;
    let mut held = Vec::new();
    match hub.tips(base).await {
        Err(error) => return Some(format!("it cannot be read ({error})")),
        Ok(tips) => match (tips.base, tips.host) {
            (None, _) => {}
            (Some(_), None) => held.push(format!("commits of {base}")),
            (Some(ours), Some(theirs)) => match hub.apart(&ours, &theirs).await {
                Ok(Some((0, _))) => {}
                Ok(Some((ahead, _))) => {
                    held.push(format!("{ahead} commits of {base} that the checkout lacks"))
                }
                _ => held.push(format!("commits of {base}")),
            },
        },
    }
    let unmerged = ["for-each-ref", "--format=%(refname:lstrip=2)", "refs/heads/", "--no-merged", base];
    match hub.git().text(unmerged).await {
        Ok(names) if names.is_empty() => {}
        Ok(names) => {
            let names: Vec<&str> = names.lines().collect();
            let more = if names.len() > 5 { " and more" } else { "" };
            let few = names.iter().take(5).copied().collect::<Vec<_>>().join(", ");
            held.push(format!("branches that are not merged ({few}{more})"));
        }
        Err(error) => return Some(format!("it cannot be read ({error})")),
    }
    match hub.git().text(["for-each-ref", "--format=%(refname)", "refs/gcluster/salvage/"]).await {
        Ok(refs) if refs.is_empty() => {}
        Ok(refs) => held.push(format!("{} snapshots of workspaces", refs.lines().count())),
        Err(error) => return Some(format!("it cannot be read ({error})")),
    }
    match hub.git().text(["for-each-ref", "--format=%(refname)", "refs/gcluster/saves/"]).await {
        Ok(refs) if refs.is_empty() => {}
        Ok(_) => held.push("saves of workspaces that were not removed by gcluster".to_owned()),
        Err(error) => return Some(format!("it cannot be read ({error})")),
    }
    (!held.is_empty()).then(|| format!("it has {}", held.join(", ")))
}
