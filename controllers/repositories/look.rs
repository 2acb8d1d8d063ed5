//! One look at a repository: the user's checkout, the hub, and what is mended on the way.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use gcluster_git::hub::{Tips, Wanted};
use gcluster_git::{Error, Hub, Source, Unusable};
use gcluster_types::{Repository, labels};
use kube::ResourceExt;
use tokio::time::Instant;

/// How often a repository behind an address is asked for its newest commit.
const FAR: Duration = Duration::from_secs(300);
/// How often git itself is looked at.
const GIT: Duration = Duration::from_secs(600);

/// Where the files of a repository are.
#[derive(Debug, Clone)]
pub(super) struct Places {
    /// Everything of it.
    pub(super) folder: PathBuf,
    /// The bare repository.
    pub(super) hub: PathBuf,
    /// Results of checks.
    pub(super) ci_status: PathBuf,
}

impl Places {
    pub(super) fn of(data_dir: &Path, repository: &Repository) -> Self {
        let namespace = repository.namespace().unwrap_or_default();
        let data_dir = std::path::absolute(data_dir).unwrap_or_else(|_| data_dir.to_owned());
        let folder = data_dir.join("repositories").join(namespace).join(repository.name_any());
        Self { hub: folder.join("hub.git"), ci_status: folder.join("ci-status"), folder }
    }
}

/// Why a repository is not ready, and what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Problem {
    /// One CamelCase word.
    pub(super) reason: &'static str,
    /// One sentence.
    pub(super) message: String,
}

/// What was seen of a hub that is as it should be.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Seen {
    /// Commits that matter.
    pub(super) tips: Tips,
    /// Commits that the hub's base has and the user's has not, and the other way round.
    pub(super) apart: Option<(i64, i64)>,
    /// What was mended, in words.
    pub(super) mended: Vec<String>,
    /// True when the hub was not there before.
    pub(super) is_new: bool,
}

/// The tips of the hub's base and of the user's.
type Pair = (String, String);

/// What does not have to be asked again at every look. Nothing is lost with it.
#[derive(Debug, Default)]
pub(super) struct Memo {
    git: Option<(Instant, Result<(), Problem>)>,
    /// Tips behind addresses, by address and branch.
    far: BTreeMap<(String, String), (Instant, String)>,
    identity: Option<(String, Instant, (String, String))>,
    apart: Option<(Pair, Option<(i64, i64)>)>,
}

/// Looks, and mends what is not as it should be. The base branch is made when it is not there; it is never moved.
pub(super) async fn look(
    memo: &mut Memo,
    repository: &Repository,
    places: &Places,
) -> (Result<Seen, Problem>, Option<Tips>) {
    let mut tips = None;
    let seen = look_inside(memo, repository, places, &mut tips).await;
    (seen, tips)
}

async fn look_inside(
    memo: &mut Memo,
    repository: &Repository,
    places: &Places,
    known: &mut Option<Tips>,
) -> Result<Seen, Problem> {
    git_is_there(memo).await?;
    let (spec, source) = (&repository.spec, Source::of(&repository.spec.path));
    let hub = Hub::new(&places.hub, labels::MANAGER_REPOSITORIES);
    let is_new = !places.hub.join("HEAD").is_file();
    if !is_new {
        // What is in the hub is told even when the checkout is gone.
        *known = hub.tips(&spec.base).await.ok();
    }
    let host = host_tip(memo, &source, &spec.base, known.as_ref()).await?;
    let identity = match &memo.identity {
        Some((path, at, identity)) if *path == spec.path && at.elapsed() < GIT => identity.clone(),
        _ => {
            let found = source.identity().await.map_err(|error| of_git("GitFailed", &error))?;
            // A commit of a worker must not fail for want of a name.
            let found = found.unwrap_or_else(|| ("gcluster".to_owned(), "gcluster@localhost".to_owned()));
            memo.identity = Some((spec.path.clone(), Instant::now(), found.clone()));
            found
        }
    };
    let identity = Some(identity);
    let format = if host.len() > 40 { "sha256" } else { "sha1" }.to_owned();
    let wanted = Wanted { base: spec.base.clone(), format, identity };
    let mended = hub.ensure(&wanted).await.map_err(|error| of_git("HubFailed", &error))?;
    let mut tips = match known.take() {
        Some(tips) if mended.is_empty() => tips,
        _ => hub.tips(&spec.base).await.map_err(|error| of_git("HubFailed", &error))?,
    };
    *known = Some(tips.clone());
    if tips.host.as_ref() != Some(&host) {
        let fetched = hub.fetch_host(&source.address(), &spec.base).await;
        fetched.map_err(|error| of_git("FetchFailed", &error))?;
        tips = hub.tips(&spec.base).await.map_err(|error| of_git("HubFailed", &error))?;
    }
    if let (None, Some(host)) = (&tips.base, tips.host.clone()) {
        let name = format!("refs/heads/{}", spec.base);
        let made = hub.swap(&name, &host, None, "gcluster: as the checkout has it").await;
        made.map_err(|error| of_git("HubFailed", &error))?;
        tips = hub.tips(&spec.base).await.map_err(|error| of_git("HubFailed", &error))?;
    }
    // Workers say `origin/main` out of habit; it is what the hub has, without a fetch.
    if let Some(base) = tips.base.clone().filter(|base| tips.origin.as_ref() != Some(base)) {
        let name = format!("refs/remotes/origin/{}", spec.base);
        let told = hub.swap(&name, &base, tips.origin.as_deref(), "gcluster: the base moved").await;
        told.map_err(|error| of_git("HubFailed", &error))?;
        tips.origin = Some(base);
    }
    let apart = apart(memo, &hub, &tips).await?;
    *known = Some(tips.clone());
    Ok(Seen { tips, apart: Some(apart), mended, is_new })
}

async fn git_is_there(memo: &mut Memo) -> Result<(), Problem> {
    match &memo.git {
        // One that is missing is looked for every time.
        Some((at, Ok(()))) if at.elapsed() < GIT => Ok(()),
        _ => {
            let found = gcluster_git::version().await.map(drop).map_err(|error| match error {
                Error::TooOld(_) => of_git("GitTooOld", &error),
                Error::Missing(_) => of_git("GitMissing", &error),
                _ => of_git("GitFailed", &error),
            });
            memo.git = Some((Instant::now(), found.clone()));
            found
        }
    }
}

/// The newest commit of the user's base branch.
async fn host_tip(
    memo: &mut Memo,
    source: &Source,
    base: &str,
    known: Option<&Tips>,
) -> Result<String, Problem> {
    let key = (source.address(), base.to_owned());
    if matches!(source, Source::Remote(_))
        && let Some((at, tip)) = memo.far.get(&key)
        && at.elapsed() < FAR
        && known.is_some_and(|known| known.host.as_ref() == Some(tip))
    {
        return Ok(tip.clone());
    }
    let tip = source.tip(base).await.map_err(|problem| of_source(&problem))?;
    memo.far.insert(key, (Instant::now(), tip.commit.clone()));
    Ok(tip.commit)
}

async fn apart(memo: &mut Memo, hub: &Hub, tips: &Tips) -> Result<(i64, i64), Problem> {
    let (Some(base), Some(host)) = (tips.base.clone(), tips.host.clone()) else {
        return Err(Problem { reason: "HubFailed", message: "the hub has no base branch yet".into() });
    };
    let pair = (base, host);
    let counted = match &memo.apart {
        Some((known, counted)) if *known == pair => *counted,
        _ => hub.apart(&pair.0, &pair.1).await.map_err(|error| of_git("HubFailed", &error))?,
    };
    memo.apart = Some((pair, counted));
    counted.ok_or_else(|| Problem {
        reason: "Unrelated",
        message: "spec.path names a repository that has no commit in common with the hub: put back the path, or make a \
                  Repository object of another name for it"
            .into(),
    })
}

fn of_source(problem: &Unusable) -> Problem {
    let (reason, todo) = match problem {
        Unusable::Relative(_) => (
            "PathRelative",
            ": `gcluster apply -f` makes it absolute, as seen from the file; kubectl needs it absolute",
        ),
        Unusable::Gone(_) => ("PathMissing", ": put it back, or set spec.path to where it is now"),
        Unusable::NotRepository(_) => {
            ("NotARepository", ": set spec.path to the top of a checkout, or run `git init` and commit there")
        }
        Unusable::NoBase { .. } => (
            "BaseMissing",
            ": set spec.base to the branch that work goes into, or make it with a first commit",
        ),
        Unusable::Git(error) => return of_git("Unreadable", error),
    };
    Problem { reason, message: format!("{problem}{todo}") }
}

fn of_git(reason: &'static str, error: &Error) -> Problem {
    Problem { reason, message: error.to_string() }
}
