//! The base branch after each merge to where `spec.upstream` says, again and again until it is there.

use std::path::Path;
use std::time::Duration;

use gcluster_git::hub::upstream_ref;
use gcluster_git::{Git, Hub, Source};
use gcluster_types::Repository;
use tokio::time::Instant;

/// How long one push may take.
const LIMIT: Duration = Duration::from_secs(300);
/// First pause after a push that failed; it doubles.
const PAUSE: Duration = Duration::from_secs(10);
/// Longest pause.
const LONGEST: Duration = Duration::from_secs(900);

/// Where the push of a base branch stands.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) enum Pushed {
    /// There is nothing to say.
    #[default]
    Unknown,
    /// That commit is there.
    Done(String),
    /// It is under way.
    Running,
    /// It failed, for the last time for this reason.
    Failed {
        /// So many times in a row.
        attempts: u32,
        /// In git's words.
        why: String,
    },
}

/// A push that failed.
#[derive(Debug, Clone)]
pub(super) struct Failure {
    pub(super) at: Instant,
    pub(super) commit: String,
    pub(super) attempts: u32,
    pub(super) why: String,
}

impl Failure {
    /// When it is worth trying again: at once with another commit.
    pub(super) fn next(&self, commit: &str) -> Instant {
        if commit != self.commit {
            return self.at;
        }
        self.at
            + PAUSE.saturating_mul(2_u32.saturating_pow(self.attempts.saturating_sub(1).min(10))).min(LONGEST)
    }
}

/// Pushes `commit` as the base branch, without force, and keeps in mind that it is there.
pub(super) async fn push(
    hub: Hub,
    repository: Repository,
    commit: String,
    before: u32,
) -> Result<String, Failure> {
    let spec = &repository.spec;
    let upstream = spec.upstream.clone().unwrap_or_default();
    let to = address(&upstream, &Source::of(&spec.path)).await;
    let refspec = format!("{commit}:refs/heads/{}", spec.base);
    let git = hub.git().limit(LIMIT).env("GIT_TERMINAL_PROMPT", "0");
    // The user's own hooks for pushes are not in the hub; its hooks are for what comes in.
    let done = git.text(["push", "--quiet", "--no-verify", "--", &to, &refspec]).await;
    let noted = match done {
        Ok(_) => hub.git().text(["update-ref", &upstream_ref(&spec.base), &commit]).await.map(drop),
        Err(error) => Err(error),
    };
    noted.map(|()| commit.clone()).map_err(|error| {
        let why = error.to_string();
        let why = if why.contains("non-fast-forward") || why.contains("fetch first") {
            format!(
                "{upstream} has commits on {} that the hub lacks: bring them into your checkout (git pull), then \
                 `gcluster sync pull`",
                spec.base
            )
        } else {
            why
        };
        Failure { at: Instant::now(), commit, attempts: before + 1, why }
    })
}

/// The address of a remote name of the user's checkout; an address is one already.
async fn address(upstream: &str, source: &Source) -> String {
    let is_name = !upstream.contains(['/', ':']);
    match source.directory().filter(|_| is_name) {
        Some(checkout) => remote(checkout, upstream).await.unwrap_or_else(|| upstream.to_owned()),
        None => upstream.to_owned(),
    }
}

async fn remote(checkout: &Path, name: &str) -> Option<String> {
    let url = Git::new(checkout).text(["remote", "get-url", "--push", "--", name]).await.ok()?;
    let is_relative = matches!(Source::of(&url), Source::Local(path) if path.is_relative());
    Some(if is_relative { checkout.join(url).display().to_string() } else { url })
}
