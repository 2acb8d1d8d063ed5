//! The steps of one merge. Each looks at where things are and answers what is to be written down next; what it does
//! itself was written down before.

use std::collections::BTreeMap;
use std::path::Path;

use gcluster_git::{Git, Hub, MergeTree, Move, Rebased, Shape, move_together, rebase, remove_abandoned_lock};
use gcluster_types::kinds::check::CheckPhase;
use gcluster_types::kinds::merge::{MergePhase, MergeStep, MergedRepository};
use gcluster_types::kinds::repository::History;
use gcluster_types::{Check, CheckSpec, Merge, MergeStatus, Repository, Ticket, labels};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::api::PostParams;
use kube::{Api, ResourceExt};

use super::brief::{self, Other};
use super::plan::hub;
use super::take_back::take_back;
use crate::Context;
use crate::error::{Error, Result};

/// Why a step did not come to an end. All of them are tried again.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Stuck {
    /// The API.
    #[error(transparent)]
    Api(#[from] Error),
    /// Git.
    #[error(transparent)]
    Git(#[from] gcluster_git::Error),
    /// The repository is not as it has to be.
    #[error("{0}")]
    NotReady(String),
}

/// One repository of a merge.
pub(crate) struct Place {
    pub(crate) wanted: MergedRepository,
    pub(crate) hub: Hub,
    pub(crate) git: Git,
    /// What the branch becomes in the base.
    pub(crate) shape: Shape,
}

impl Place {
    /// The whole name of the base branch.
    pub(crate) fn base(&self) -> String {
        format!("refs/heads/{}", self.wanted.base)
    }

    /// The tip of the base branch.
    async fn base_tip(&self) -> Result<String, Stuck> {
        let tip = self.hub.commit(&self.base()).await?;
        tip.ok_or_else(|| {
            let (base, name) = (&self.wanted.base, &self.wanted.name);
            Stuck::NotReady(format!("the hub of repository {name} has no branch {base}"))
        })
    }
}

/// What a merge is done with.
pub(crate) struct Work {
    pub(crate) ctx: Context,
    pub(crate) merge: Merge,
    pub(crate) places: Vec<Place>,
    /// Merges that came to their end, of the same namespace: they tell which ticket a commit is of.
    pub(crate) merged: Vec<Merge>,
}

impl Work {
    /// Of a merge all of whose repositories are there.
    pub(crate) fn new(
        ctx: Context,
        merge: &Merge,
        repositories: &BTreeMap<String, Repository>,
        merged: Vec<Merge>,
    ) -> Option<Work> {
        let place = |wanted: &MergedRepository| {
            let repository = repositories.get(&wanted.name)?;
            let hub = Hub::new(Path::new(hub(repository)?), labels::MANAGER_MERGES);
            let shape = match repository.spec.history {
                History::One => Shape::One,
                History::Each => Shape::Each,
            };
            Some(Place { wanted: wanted.clone(), git: hub.git(), hub, shape })
        };
        let places: Option<Vec<Place>> = merge.spec.repositories.iter().map(place).collect();
        Some(Work { ctx, merge: merge.clone(), places: places?, merged })
    }

    /// Does what the status says and answers the next status; none when there is nothing to do but to wait.
    pub(crate) async fn advance(&self, status: &MergeStatus) -> Result<Option<MergeStatus>, Stuck> {
        match status.phase {
            MergePhase::Queued => Ok(Some(self.begin(status))),
            MergePhase::Rebasing => self.rebase(status).await.map(Some),
            MergePhase::Checking => self.check(status).await,
            MergePhase::Landing if is_taking_back(status) => self.take_back(status).await.map(Some),
            MergePhase::Landing => self.land(status).await.map(Some),
            MergePhase::Merged | MergePhase::Rejected => Ok(None),
        }
    }

    fn begin(&self, status: &MergeStatus) -> MergeStatus {
        let steps = self
            .places
            .iter()
            .map(|place| MergeStep { name: place.wanted.name.clone(), ..Default::default() });
        MergeStatus {
            phase: MergePhase::Rebasing,
            reason: Some("Rebasing".to_owned()),
            message: Some("the branch is put on top of the base".to_owned()),
            repositories: steps.collect(),
            started_at: Some(MicroTime(self.ctx.now())),
            ..status.clone()
        }
    }

    async fn rebase(&self, status: &MergeStatus) -> Result<MergeStatus, Stuck> {
        let mut steps = status.repositories.clone();
        let mut conflicts = Vec::new();
        for (place, step) in self.places.iter().zip(&mut steps).filter(|(_, step)| !step.landed) {
            let wanted = &place.wanted;
            let tip = place.hub.commit(&format!("refs/heads/{}", wanted.branch)).await?;
            if tip.as_deref() != Some(wanted.commit.as_str()) {
                let is = tip.map_or("is gone".to_owned(), |tip| format!("is at {}", short(&tip)));
                let message = format!(
                    "{} in repository {} {is}, and {} was checked and reviewed",
                    wanted.branch,
                    wanted.name,
                    short(&wanted.commit)
                );
                let brief = brief::moved(&message);
                return Ok(self.reject(status, "BranchMoved", message, Some(brief)));
            }
            let onto = place.base_tip().await?;
            let subject = self.subject(wanted).await;
            match rebase(&place.git, &onto, &wanted.commit, &subject, place.shape).await? {
                Rebased::Done { tip, .. } => {
                    let name = Check::name_of(&wanted.name, &tip, true);
                    step.check = (tip != onto).then_some(name);
                    (step.onto, step.rebased) = (Some(onto), Some(tip));
                    step.conflicts = Vec::new();
                }
                Rebased::Conflict { tree, files } => {
                    step.conflicts = files.clone();
                    let others = self.others(place, &onto, &files).await?;
                    conflicts.push(brief::Conflict::read(place, &onto, &tree, files, others).await?);
                }
            }
        }
        let next = MergeStatus { repositories: steps, ..status.clone() };
        if !conflicts.is_empty() {
            let message = brief::sentence(&conflicts);
            let brief = brief::conflict(&conflicts);
            return Ok(self.reject(&next, "Conflict", message, Some(brief)));
        }
        let adds = |step: &MergeStep| step.landed || step.onto != step.rebased;
        if !next.repositories.iter().any(adds) {
            let base = self.places.iter().map(|place| place.wanted.base.as_str()).next().unwrap_or_default();
            let message = format!("{base} has everything that the branch changes");
            return Ok(self.merged(&next, "AlreadyMerged", message));
        }
        Ok(MergeStatus {
            phase: MergePhase::Checking,
            reason: Some("Checking".to_owned()),
            message: Some("the rebased commits are tested".to_owned()),
            ..next
        })
    }

    /// None while a check has not come to its end.
    async fn check(&self, status: &MergeStatus) -> Result<Option<MergeStatus>, Stuck> {
        let mut waits = false;
        let mut red = Vec::new();
        for (place, step) in self.places.iter().zip(&status.repositories).filter(|(_, step)| !step.landed) {
            let (Some(rebased), Some(name)) = (&step.rebased, &step.check) else { continue };
            let check = self.check_of(place, rebased, name).await?;
            match check.status.as_ref().map(|status| status.phase).unwrap_or_default() {
                CheckPhase::Passed => {}
                CheckPhase::Failed => red.push((place, check)),
                CheckPhase::Pending | CheckPhase::Running => waits = true,
            }
        }
        if !red.is_empty() {
            let said = |(place, check): &(&Place, Check)| {
                let why = check.status.as_ref().and_then(|status| status.message.clone()).unwrap_or_default();
                format!("on top of {} of {}: {why}", place.wanted.base, place.wanted.name)
            };
            let message = red.iter().map(said).collect::<Vec<_>>().join("; ");
            let brief = brief::red(&red);
            return Ok(Some(self.reject(status, "CheckFailed", message, Some(brief))));
        }
        if waits {
            return Ok(None);
        }
        for (place, step) in self.places.iter().zip(&status.repositories).filter(|(_, step)| !step.landed) {
            let now = place.base_tip().await?;
            if step.onto != step.rebased && step.onto.as_ref() != Some(&now) {
                return Ok(Some(self.again(status, place)));
            }
        }
        Ok(Some(MergeStatus {
            phase: MergePhase::Landing,
            reason: Some("Landing".to_owned()),
            message: Some("the base is moved to the tested commits".to_owned()),
            ..status.clone()
        }))
    }

    /// The check that decides about a rebased commit: the full one where it has passed or failed already, which is so
    /// when nothing had to be rebased; else a quick one, which is asked for.
    async fn check_of(&self, place: &Place, rebased: &str, name: &str) -> Result<Check, Stuck> {
        let namespace = self.merge.namespace().unwrap_or_default();
        let api = Api::<Check>::namespaced(self.ctx.client.clone(), &namespace);
        let full = Check::name_of(&place.wanted.name, rebased, false);
        let full = api.get_opt(&full).await.map_err(Error::api(format!("read Check {full}")))?;
        let is_done = |check: &Check| {
            let phase = check.status.as_ref().map(|status| status.phase).unwrap_or_default();
            check.spec.commit == rebased && matches!(phase, CheckPhase::Passed | CheckPhase::Failed)
        };
        if let Some(full) = full.filter(is_done) {
            return Ok(full);
        }
        if let Some(quick) = api.get_opt(name).await.map_err(Error::api(format!("read Check {name}")))? {
            return Ok(quick);
        }
        let spec = CheckSpec {
            repository: place.wanted.name.clone(),
            commit: rebased.to_owned(),
            reference: format!("refs/heads/{}", place.wanted.branch),
            quick: true,
            requested_by: format!("merge/{}", self.merge.name_any()),
        };
        let mut check = Check::new(name, spec);
        check.labels_mut().insert(labels::TICKET.to_owned(), self.merge.spec.ticket.clone());
        let params =
            PostParams { field_manager: Some(labels::MANAGER_MERGES.to_owned()), ..PostParams::default() };
        Ok(api.create(&params, &check).await.map_err(Error::api(format!("create Check {name}")))?)
    }

    /// Moves the bases that are not where they should be. Whatever an earlier master did of it counts.
    async fn land(&self, status: &MergeStatus) -> Result<MergeStatus, Stuck> {
        let mut next = status.clone();
        let mut moves = Vec::new();
        let mut moved_away = None;
        for (place, step) in self.places.iter().zip(&mut next.repositories) {
            let (Some(onto), Some(rebased)) = (step.onto.clone(), step.rebased.clone()) else { continue };
            let now = place.base_tip().await?;
            if onto == rebased || is_ancestor(&place.git, &rebased, &now).await? {
                step.landed = true;
            } else if now == onto {
                let why = format!("gcluster: merge {}", self.merge.name_any());
                let (git, reference) = (place.git.clone(), place.base());
                moves.push(Move { git, reference, new: rebased, old: onto, why });
            } else {
                moved_away = Some(place);
            }
        }
        if let Some(place) = moved_away {
            return Ok(self.again(&next, place));
        }
        if let Err(error) = move_together(&moves).await {
            for one in &moves {
                if let Some(lock) = remove_abandoned_lock(one.git.directory(), &one.reference) {
                    tracing::warn!(lock = %lock.display(), "an abandoned lock was removed");
                }
            }
            // Where it stands is looked at anew.
            return Err(error.into());
        }
        let said = self.places.iter().zip(&next.repositories).filter(|(_, step)| step.onto != step.rebased);
        let said = said.map(|(place, step)| {
            let commit = short(step.rebased.as_deref().unwrap_or_default()).to_owned();
            format!("{} of repository {} is at {commit}", place.wanted.base, place.wanted.name)
        });
        let message = said.collect::<Vec<_>>().join(", ");
        Ok(self.merged(&next, "Merged", message))
    }

    /// Takes back what landed, then it is rejected.
    async fn take_back(&self, status: &MergeStatus) -> Result<MergeStatus, Stuck> {
        let mut next = status.clone();
        let mut kept = Vec::new();
        for (place, step) in self.places.iter().zip(&mut next.repositories).filter(|(_, step)| step.landed) {
            let (Some(onto), Some(rebased)) = (&step.onto, &step.rebased) else { continue };
            let now = place.base_tip().await?;
            match take_back(place, onto, rebased, &now, &self.merge.name_any()).await? {
                true => step.landed = false,
                false => kept.push(place.wanted.name.clone()),
            }
        }
        if !kept.is_empty() {
            let kept = format!(
                "what landed in {} cannot be taken back by itself, since others built on the same lines: a person has to",
                kept.join(", ")
            );
            next.message = Some(format!("{}; {kept}", next.message.unwrap_or_default()));
        }
        next.phase = MergePhase::Rejected;
        next.finished_at = Some(MicroTime(self.ctx.now()));
        Ok(next)
    }

    /// The end without a merge; by way of taking back, where a part has landed.
    fn reject(
        &self,
        status: &MergeStatus,
        reason: &str,
        message: String,
        brief: Option<String>,
    ) -> MergeStatus {
        let landed = status.repositories.iter().any(|step| step.landed && step.onto != step.rebased);
        MergeStatus {
            phase: if landed { MergePhase::Landing } else { MergePhase::Rejected },
            reason: Some(reason.to_owned()),
            message: Some(message),
            brief,
            finished_at: (!landed).then(|| MicroTime(self.ctx.now())),
            ..status.clone()
        }
    }

    fn merged(&self, status: &MergeStatus, reason: &str, message: String) -> MergeStatus {
        let mut next = MergeStatus {
            phase: MergePhase::Merged,
            reason: Some(reason.to_owned()),
            message: Some(message),
            finished_at: Some(MicroTime(self.ctx.now())),
            ..status.clone()
        };
        next.repositories.iter_mut().for_each(|step| step.landed = true);
        next
    }

    /// The base moved: it is rebased anew, but where it has landed already.
    fn again(&self, status: &MergeStatus, place: &Place) -> MergeStatus {
        let (base, name) = (&place.wanted.base, &place.wanted.name);
        MergeStatus {
            phase: MergePhase::Rebasing,
            reason: Some("BaseMoved".to_owned()),
            message: Some(format!("{base} of repository {name} moved meanwhile: it is rebased again")),
            retries: status.retries + 1,
            ..status.clone()
        }
    }

    /// First line of the message where a branch becomes one commit.
    async fn subject(&self, wanted: &MergedRepository) -> String {
        let namespace = self.merge.namespace().unwrap_or_default();
        let api = Api::<Ticket>::namespaced(self.ctx.client.clone(), &namespace);
        match api.get_opt(&self.merge.spec.ticket).await {
            Ok(Some(ticket)) => ticket.spec.title.trim().lines().next().unwrap_or_default().to_owned(),
            _ => format!("Merge {}", wanted.branch),
        }
    }

    /// The commits of the base that touched files since the branch parted from it, with their tickets.
    async fn others(&self, place: &Place, onto: &str, files: &[String]) -> Result<Vec<Other>, Stuck> {
        let mut tickets: BTreeMap<String, String> = BTreeMap::new();
        for merge in &self.merged {
            let status = merge.status.as_ref();
            let step = status
                .and_then(|status| status.repositories.iter().find(|one| one.name == place.wanted.name));
            let Some((Some(from), Some(to))) = step.map(|step| (&step.onto, &step.rebased)) else { continue };
            // A base that was made anew does not have what was merged into the old one.
            let listed = place.git.text(["rev-list", "--max-count=200", &format!("{from}..{to}")]).await;
            for commit in listed.unwrap_or_default().lines() {
                tickets.insert(commit.to_owned(), merge.spec.ticket.clone());
            }
        }
        Ok(brief::others(place, onto, files, &tickets).await?)
    }
}

/// Whether what has landed is being taken back: the reason of the end is written down already.
fn is_taking_back(status: &MergeStatus) -> bool {
    matches!(status.reason.as_deref(), Some("Conflict" | "CheckFailed" | "BranchMoved"))
}

pub(crate) async fn is_ancestor(git: &Git, commit: &str, of: &str) -> Result<bool, gcluster_git::Error> {
    let args = ["merge-base", "--is-ancestor", commit, of];
    match git.output(&args, None).await?.code {
        Some(0) => Ok(true),
        Some(1) => Ok(false),
        _ => git.text(args).await.map(|_| false),
    }
}

/// A commit as people write it.
pub(crate) fn short(commit: &str) -> &str {
    commit.get(..10).unwrap_or(commit)
}

/// Merging without a checkout, in words of this module.
pub(crate) async fn together(
    git: &Git,
    ours: &str,
    theirs: &str,
) -> Result<Option<String>, gcluster_git::Error> {
    match gcluster_git::merge_tree(git, ours, theirs).await? {
        MergeTree::Clean { tree } => Ok(Some(tree)),
        MergeTree::Conflict { .. } => Ok(None),
    }
}
