//! Where the files of a workspace are.
//!
//! ```text
//! workspaces/NAMESPACE/NAME                 the worktree, or the folder of the worktrees
//! workspaces/NAMESPACE/.NAME.making         while it is being made: whose it is to become
//! workspaces/NAMESPACE/.NAME.removing.UID   what was salvaged and is being removed
//! workspaces/NAMESPACE/.NAME.run, .log      keeper and output of set-up and teardown commands
//! salvages/NAMESPACE/SALVAGE/REPOSITORY     what git cannot hold of a workspace that is gone
//! ```
//!
//! No object is called like the hidden ones: names of objects begin with a letter or a digit.

use std::path::{Path, PathBuf};

use gcluster_types::Workspace;
use kube::ResourceExt;

/// Where the files of one workspace are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    /// The folder of all workspaces of the namespace.
    pub(super) parent: PathBuf,
    name: String,
    uid: String,
    /// Names of its repositories.
    repositories: Vec<String>,
}

impl Place {
    /// Of a workspace below the data directory.
    pub(super) fn of(data_dir: &Path, workspace: &Workspace) -> Place {
        // Git writes down where folders really are.
        let data_dir = std::fs::canonicalize(data_dir).unwrap_or_else(|_| data_dir.to_owned());
        Place {
            parent: data_dir.join("workspaces").join(workspace.namespace().unwrap_or_default()),
            name: workspace.name_any(),
            uid: workspace.uid().unwrap_or_default(),
            repositories: workspace.spec.repositories.iter().map(|one| one.name.clone()).collect(),
        }
    }

    /// Its folder: the worktree itself, or the folder of the worktrees where there are several.
    pub(super) fn folder(&self) -> PathBuf {
        self.parent.join(&self.name)
    }

    /// Its worktrees, with the names of their repositories.
    pub(super) fn worktrees(&self) -> Vec<(String, PathBuf)> {
        let folder = self.folder();
        match self.repositories.as_slice() {
            [one] => vec![(one.clone(), folder)],
            several => several.iter().map(|name| (name.clone(), folder.join(name))).collect(),
        }
    }

    /// The worktree in which commands run.
    pub(super) fn first(&self) -> PathBuf {
        self.worktrees().into_iter().next().map_or_else(|| self.folder(), |(_, path)| path)
    }

    /// Written before it is made, gone when it is.
    pub(super) fn making(&self) -> PathBuf {
        self.parent.join(format!(".{}.making", self.name))
    }

    /// What is being removed. Of this workspace, and of no other one of its name.
    pub(super) fn removing(&self) -> PathBuf {
        self.parent.join(format!(".{}.removing.{}", self.name, self.uid))
    }

    /// Files of its commands while they run.
    pub(super) fn run(&self) -> PathBuf {
        self.parent.join(format!(".{}.run", self.name))
    }

    /// What its commands printed.
    pub(super) fn log(&self) -> PathBuf {
        self.parent.join(format!(".{}.log", self.name))
    }

    /// A worktree inside of what is being removed.
    pub(super) fn removing_worktree(&self, repository: &str) -> PathBuf {
        match self.repositories.len() {
            1 => self.removing(),
            _ => self.removing().join(repository),
        }
    }
}
