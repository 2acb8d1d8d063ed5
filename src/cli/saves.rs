//! `gcluster undelete workspace NAME --saves`: what was saved of the files of a workspace while they were worked on.

use std::path::{Path, PathBuf};

use gcluster_git::saves::{self, Save};
use gcluster_git::{Git, Hub};
use gcluster_types::{Repository, Salvage, Workspace};
use k8s_openapi::jiff::Timestamp;

use super::output::{note, print};
use super::undelete::{get, path};
use crate::client::Connection;
use crate::exit::{Failure, Kind, Result};
use crate::render::{age, fields, visible};

/// One of them, and where it is.
struct Found {
    repository: String,
    hub: Git,
    save: Save,
}

/// Lists the saves of a workspace, of one that is gone, too.
pub(super) async fn list(connection: &Connection, name: &str, salvage: Option<&Salvage>) -> Result {
    let found = find(connection, name, salvage).await?;
    if found.is_empty() {
        note(&format!(
            "Nothing was saved of the workspace {name}: nothing was changed without being committed."
        ));
        return Ok(());
    }
    let now = Timestamp::now();
    let rows = found.iter().enumerate().map(|(number, one)| {
        let at = Timestamp::from_second(one.save.at).unwrap_or(now);
        vec![
            (number + 1).to_string(),
            format!("{} ago ({})", age::since(at, now), at.strftime("%H:%M:%S UTC")),
            visible(&one.repository).into_owned(),
            one.save.files.to_string(),
            one.save.commit.chars().take(12).collect(),
        ]
    });
    print(&fields::table(&["SAVE", "SAVED", "REPOSITORY", "FILES", "COMMIT"], rows.collect(), 0))?;
    note(&format!(
        "`gcluster undelete workspace {name} --save NUMBER --to FOLDER` puts the files of one into a new folder."
    ));
    Ok(())
}

/// Puts the files of a save into a new folder: the workspace, or what has become of it, stays as it is.
pub(super) async fn copy_out(
    connection: &Connection,
    name: &str,
    salvage: Option<&Salvage>,
    number: usize,
    to: &Path,
) -> Result {
    let found = find(connection, name, salvage).await?;
    let count = found.len();
    let one = number.checked_sub(1).and_then(|number| found.into_iter().nth(number)).ok_or_else(|| {
        Failure::new(
            Kind::NotFound,
            format!("there is no save {number} of the workspace {name}, which has {count}"),
        )
        .hint(format!("`gcluster undelete workspace {name} --saves` lists them"))
    })?;
    let to =
        std::path::absolute(to).map_err(|error| Failure::failed(format!("{}: {error}", to.display())))?;
    if std::fs::symlink_metadata(&to).is_ok() {
        return Err(Failure::new(Kind::Conflict, format!("{} is there already", to.display()))
            .hint("name a folder that is not there yet"));
    }
    gcluster_git::copy_out(&one.hub, &to, &one.save.commit)
        .await
        .map_err(|error| Failure::failed(error.to_string()))?;
    let shown = to.display();
    print(&format!(
        "{shown} has the files of {} as they were; `git -C '{shown}' diff HEAD^1` shows what was not committed\n",
        one.repository
    ))
}

/// All saves of all its repositories, the newest first.
async fn find(connection: &Connection, name: &str, salvage: Option<&Salvage>) -> Result<Vec<Found>> {
    let told = |error: gcluster_git::Error| Failure::failed(error.to_string());
    let workspace: Option<Workspace> = get(connection, "workspaces", name).await?;
    let mut found = Vec::new();
    if let Some(workspace) = workspace {
        let namespace = workspace.metadata.namespace.clone().unwrap_or_default();
        let reference = format!("refs/gcluster/saves/{namespace}/{}", workspace.salvage_name());
        for repository in workspace.spec.repositories {
            let hub = hub(connection, &repository.name).await?;
            for save in saves::list(&hub, &reference) {
                found.push(Found { repository: repository.name.clone(), hub: git(&hub), save });
            }
        }
    } else if let Some(salvage) = salvage {
        for snapshot in &salvage.spec.snapshots {
            let hub = git(&hub(connection, &snapshot.repository).await?);
            for save in saves::kept(&hub, &snapshot.commit).await.map_err(told)? {
                found.push(Found { repository: snapshot.repository.clone(), hub: hub.clone(), save });
            }
        }
    } else {
        return Err(Failure::new(
            Kind::NotFound,
            format!("there is no workspace {name}, and nothing is kept of one"),
        )
        .hint("`gcluster undelete` lists what can be brought back"));
    }
    found.sort_by_key(|one| std::cmp::Reverse(one.save.at));
    Ok(found)
}

fn git(hub: &Path) -> Git {
    Hub::new(hub, "undelete").git()
}

async fn hub(connection: &Connection, name: &str) -> Result<PathBuf> {
    let repository: Option<Repository> = get(connection, "repositories", name).await?;
    let hub = repository.and_then(|one| one.status).and_then(|status| status.hub).map(PathBuf::from);
    match hub {
        Some(hub) if hub.is_dir() => Ok(hub),
        Some(hub) => {
            let message = format!("the hub of {name}, {}, is not on this machine", hub.display());
            Err(Failure::failed(message).hint("run this where the master runs"))
        }
        None => Err(Failure::new(Kind::NotFound, format!("the repository {name} has no hub"))
            .hint(format!("{} says why", path(connection, "repositories", name)))),
    }
}
