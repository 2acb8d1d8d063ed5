//! The repositories of a workspace, as their objects tell of them.

use std::path::{Path, PathBuf};

use gcluster_git::hub::CONTROLLER;
use gcluster_git::{Git, Hub};
use gcluster_types::kinds::repository::Retention;
use gcluster_types::{Repository, Workspace, labels};
use kube::{Api, Client, ResourceExt};

use super::trouble::{Result, Trouble};
use crate::error::Error;

/// One repository of a workspace.
#[derive(Debug, Clone)]
pub(super) struct Source {
    /// Name of the Repository.
    pub(super) name: String,
    /// Its hub.
    pub(super) hub: PathBuf,
    /// The user's checkout, where it is one.
    pub(super) checkout: Option<PathBuf>,
    /// Branch that is merged into.
    pub(super) base: String,
    /// Branch or commit from which a new branch begins.
    pub(super) start: String,
    /// How long what nobody needs is kept.
    pub(super) retention: Retention,
    /// Why no new workspace can be made of it: a reason and a sentence.
    pub(super) keeps_off: Option<(&'static str, String)>,
}

impl Source {
    /// Git in its hub.
    pub(super) fn git(&self) -> Git {
        Hub::new(&self.hub, labels::MANAGER_WORKSPACES).git()
    }

    /// Git in one of its worktrees.
    pub(super) fn git_in(&self, worktree: &Path) -> Git {
        let git = Git::new(worktree).env(CONTROLLER, labels::MANAGER_WORKSPACES);
        match worktree.parent() {
            // Where somebody has taken the worktree's `.git` away, a repository further up is not asked instead.
            Some(above) => git.env("GIT_CEILING_DIRECTORIES", &above.to_string_lossy()),
            None => git,
        }
    }
}

/// The repositories of a workspace, in its order.
///
/// # Errors
/// When the API cannot be asked.
pub(super) async fn sources(client: &Client, data_dir: &Path, workspace: &Workspace) -> Result<Vec<Source>> {
    let namespace = workspace.namespace().unwrap_or_default();
    let api = Api::<Repository>::namespaced(client.clone(), &namespace);
    let mut sources = Vec::new();
    for wanted in &workspace.spec.repositories {
        let name = &wanted.name;
        let found = api.get_opt(name).await.map_err(Error::api(format!("read Repository {name}")))?;
        let status = found.as_ref().and_then(|found| found.status.clone()).unwrap_or_default();
        // Also of a Repository that is gone: what is in its worktrees is to be kept.
        let usual = data_dir.join("repositories").join(&namespace).join(name).join("hub.git");
        let spec = found.as_ref().map(|found| found.spec.clone());
        let base = match &spec {
            Some(spec) => spec.base.clone(),
            None => {
                let known = workspace.status.iter().flat_map(|status| &status.repositories);
                known
                    .filter(|known| known.name == *name)
                    .map(|known| known.base.clone())
                    .next()
                    .unwrap_or_default()
            }
        };
        sources.push(Source {
            name: name.clone(),
            hub: status.hub.clone().map_or(usual, PathBuf::from),
            checkout: spec.as_ref().map(|spec| PathBuf::from(&spec.path)).filter(|path| path.is_absolute()),
            start: wanted.start.clone().unwrap_or_else(|| base.clone()),
            base,
            retention: spec.and_then(|spec| spec.retention).unwrap_or_default(),
            keeps_off: keeps_off(name, found.as_ref()),
        });
    }
    Ok(sources)
}

/// Why no new workspace can be made of a repository.
pub(super) fn keeps_off(name: &str, found: Option<&Repository>) -> Option<(&'static str, String)> {
    let Some(found) = found else {
        return Some((
            "RepositoryMissing",
            format!("there is no Repository {name}; create it, or name another one"),
        ));
    };
    if found.metadata.deletion_timestamp.is_some() {
        return Some(("RepositoryMissing", format!("the Repository {name} is being deleted")));
    }
    let conditions = found.status.iter().flat_map(|status| &status.conditions);
    let said = |kind: &str| conditions.clone().find(|condition| condition.type_ == kind);
    match said("Ready") {
        Some(ready) if ready.status == "True" => {}
        Some(ready) => {
            return Some((
                "RepositoryNotReady",
                format!("{} is not ready: {}", found.name_any(), ready.message),
            ));
        }
        None => return Some(("RepositoryNotReady", format!("the hub of {name} is not made yet"))),
    }
    match said("DiskSpace") {
        Some(space) if space.status == "False" => {
            Some(("DiskSpace", format!("no new workspace of {name}: {}", space.message)))
        }
        _ => None,
    }
}

/// The first reason why no new workspace can be made.
pub(super) fn all_ready(sources: &[Source]) -> Result<()> {
    match sources.iter().find_map(|source| source.keeps_off.clone()) {
        Some((reason, message)) => Err(Trouble::wait(reason, message)),
        None => Ok(()),
    }
}
