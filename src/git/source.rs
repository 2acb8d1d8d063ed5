//! The user's own repository: a checkout on this machine, or one behind an address. It is read, never written, here.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::{Error, Git, Result};

/// How long a repository of this machine may take to answer.
const NEAR: Duration = Duration::from_secs(30);
/// How long one behind an address may.
const FAR: Duration = Duration::from_secs(60);

/// The user's own repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A checkout or a bare repository on this machine.
    Local(PathBuf),
    /// One behind an address.
    Remote(String),
}

/// Its base branch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tip {
    /// Newest commit of the branch, 40 or 64 hex digits.
    pub commit: String,
}

impl Tip {
    /// The format of the repository's object names, as `git init --object-format` wants it.
    pub fn format(&self) -> &'static str {
        if self.commit.len() > 40 { "sha256" } else { "sha1" }
    }
}

/// Why it cannot be used, each with another remedy.
#[derive(Debug, thiserror::Error)]
pub enum Unusable {
    /// It is relative, and nobody knows to what.
    #[error("spec.path is {}, a relative path", .0.display())]
    Relative(PathBuf),
    /// There is nothing at the path.
    #[error("{} is not there", .0.display())]
    Gone(PathBuf),
    /// There is something else.
    #[error("{} is not a git repository", .0.display())]
    NotRepository(PathBuf),
    /// It has no such branch.
    #[error("{place} has no branch {base}")]
    NoBase {
        /// Path or address.
        place: String,
        /// The branch.
        base: String,
    },
    /// Git cannot read it.
    #[error(transparent)]
    Git(#[from] Error),
}

impl Source {
    /// Tells a path from an address: `https://…`, `ssh://…`, `user@host:path`.
    pub fn of(path: &str) -> Self {
        let scp_like = path.split_once(':').is_some_and(|(host, _)| !host.contains('/'));
        if path.contains("://") || scp_like {
            Self::Remote(path.to_owned())
        } else {
            Self::Local(path.into())
        }
    }

    /// Path or address, as git takes it.
    pub fn address(&self) -> String {
        match self {
            Self::Local(path) => path.display().to_string(),
            Self::Remote(address) => address.clone(),
        }
    }

    /// Its directory, where it is on this machine.
    pub fn directory(&self) -> Option<&Path> {
        match self {
            Self::Local(path) => Some(path),
            Self::Remote(_) => None,
        }
    }

    /// The newest commit of a branch. Of a repository behind an address this is a question over the network.
    ///
    /// # Errors
    /// When it is not there, is no repository, has no such branch, or git cannot read it.
    pub async fn tip(&self, base: &str) -> Result<Tip, Unusable> {
        let reference = format!("refs/heads/{base}");
        let no_base = || Unusable::NoBase { place: self.address(), base: base.to_owned() };
        match self {
            Self::Local(path) if path.is_relative() => Err(Unusable::Relative(path.clone())),
            Self::Local(path) => {
                if !path.is_dir() {
                    return Err(Unusable::Gone(path.clone()));
                }
                let git = Git::new(path).limit(NEAR);
                let args = ["rev-parse", "--verify", "--quiet", &format!("{reference}^{{commit}}")];
                let output = git.output(&args, None).await?;
                match output.code {
                    Some(0) => Ok(Tip { commit: output.text() }),
                    Some(1) => Err(no_base()),
                    _ if output.stderr.contains("not a git repository") => {
                        Err(Unusable::NotRepository(path.clone()))
                    }
                    // In its own words, such as that somebody else owns it.
                    _ => Err(git.text(args).await.err().map_or_else(no_base, Unusable::Git)),
                }
            }
            Self::Remote(address) => {
                let git = Git::new(Path::new("/")).limit(FAR);
                let told = git.text(["ls-remote", "--", address, &reference]).await?;
                let commit = told.lines().find_map(|line| line.strip_suffix(&reference)).map(str::trim);
                commit.map(|commit| Tip { commit: commit.to_owned() }).ok_or_else(no_base)
            }
        }
    }

    /// Who commits in it, by its settings and those of the user; by the latter alone where it is not on this machine.
    ///
    /// # Errors
    /// When git cannot be run in it.
    pub async fn identity(&self) -> Result<Option<(String, String)>> {
        let git = Git::new(self.directory().unwrap_or(Path::new("/"))).limit(NEAR);
        let mut found = Vec::new();
        for key in ["user.name", "user.email"] {
            let output = git.output(&["config", "--get", key], None).await?;
            match output.text() {
                value if output.code == Some(0) && !value.is_empty() => found.push(value),
                _ => return Ok(None),
            }
        }
        Ok(found.pop().zip(found.pop()).map(|(email, name)| (name, email)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Checkout;

    #[test]
    fn paths_are_told_from_addresses() {
        for address in ["https://x/y.git", "ssh://git@x/y", "git@host:y.git", "host:y", "file:///x"] {
            assert_eq!(Source::of(address), Source::Remote(address.into()));
        }
        for path in ["/home/me/project", "/odd/a:b", "./x:y"] {
            assert_eq!(Source::of(path), Source::Local(path.into()));
        }
    }

    #[tokio::test]
    async fn the_tip_is_found_and_each_problem_told_apart() {
        let checkout = Checkout::new("main");
        let commit = checkout.commit("a", "1");
        let source = Source::of(checkout.path().to_str().unwrap());
        assert_eq!(source.tip("main").await.unwrap().commit, commit);
        assert_eq!(source.tip("main").await.unwrap().format(), "sha1");
        let far = Source::of(&format!("file://{}", checkout.path().display()));
        assert_eq!(far.tip("main").await.unwrap().commit, commit);
        for of in [&source, &far] {
            assert!(matches!(of.tip("gone").await.unwrap_err(), Unusable::NoBase { .. }));
        }
        let empty = tempfile::tempdir().unwrap();
        let empty = Source::of(empty.path().to_str().unwrap());
        assert!(matches!(empty.tip("main").await.unwrap_err(), Unusable::NotRepository(_)));
        let relative = Source::of(".").tip("main").await.unwrap_err();
        assert!(
            matches!(relative, Unusable::Relative(_)),
            "the folder that the master was started in is not meant"
        );
        let gone = Source::of("/nowhere/at/all");
        assert!(matches!(gone.tip("main").await.unwrap_err(), Unusable::Gone(_)));
        assert_eq!(source.identity().await.unwrap(), Some(("Ada".into(), "ada@example.com".into())));
        assert_ne!(far.identity().await.unwrap(), source.identity().await.unwrap());
    }
}
