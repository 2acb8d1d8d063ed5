//! From nothing to ready: worktrees, files that git does not have, set-up commands.

use std::path::{Path, PathBuf};
use std::time::Duration;

use gcluster_git::worktree::{self, Found};
use gcluster_types::kinds::workspace::{Snapshot, WorkspacePhase};
use gcluster_types::{Salvage, Workspace};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::runtime::controller::Action;
use kube::{Api, ResourceExt};

use super::commands::{self, Outcome};
use super::place::Place;
use super::reconcile::{READY, Shared};
use super::repositories::{self, Source};
use super::trouble::{Result, Trouble};
use super::{copy, worktrees};
use crate::error::Error;
use crate::report::shortened;

/// How often it is looked whether somebody deleted a workspace whose set-up commands run.
const WANTED: Duration = Duration::from_millis(500);

impl Shared {
    /// One step after the other, each of which can be done again.
    pub(super) async fn make(
        &self,
        workspace: &Workspace,
        place: &Place,
        sources: &[Source],
    ) -> Result<Action> {
        let salvage = self.salvage(workspace).await?;
        let mut snapshots = salvage.map(|salvage| salvage.spec.snapshots).unwrap_or_default();
        if workspace.status.as_ref().is_some_and(|status| status.restoring.is_some()) {
            snapshots = self.restorable(place, sources, snapshots).await?;
        }
        if !worktrees::are_whole(place, sources) {
            repositories::all_ready(sources)?;
            let uid = workspace.uid().unwrap_or_default();
            worktrees::make(place, sources, &uid, &workspace.spec.branch, &snapshots).await?;
        }
        self.bring_back(place, sources, &snapshots).await?;
        let preparing = self.begun(workspace, place, sources).await?;
        self.copy(workspace, place, sources).await?;
        let wanted = async {
            let api = Api::<Workspace>::namespaced(
                self.ctx.client.clone(),
                &workspace.namespace().unwrap_or_default(),
            );
            loop {
                tokio::time::sleep(WANTED).await;
                let found = api.get_opt(&workspace.name_any()).await;
                let is_gone = |found: Option<Workspace>| {
                    found.is_none_or(|found| {
                        found.metadata.deletion_timestamp.is_some() || found.uid() != workspace.uid()
                    })
                };
                if found.is_ok_and(is_gone) {
                    return;
                }
            }
        };
        let run = self.live.run(&self.ctx, &preparing, place, &workspace.spec.setup);
        let outcome = {
            let mut run = std::pin::pin!(run);
            tokio::select! {
                outcome = &mut run => outcome?,
                () = wanted => {
                    self.live.end(&workspace.uid().unwrap_or_default()).await;
                    run.await?;
                    Outcome::Ended
                }
            }
        };
        match outcome {
            Outcome::Ended => Ok(Action::requeue(Duration::ZERO)),
            Outcome::Done => self.ready(workspace, place).await,
            Outcome::Failed { message } => self.not_ready(workspace, &message).await,
        }
    }

    /// What it is made from, where it is made from something.
    async fn salvage(&self, workspace: &Workspace) -> Result<Option<Salvage>> {
        let status = workspace.status.as_ref();
        // One that was ready once is not made from the same again: its branch has what was made since.
        let first = workspace.spec.restore_from.as_ref();
        let first = first.filter(|_| status.is_none_or(|status| status.ready_at.is_none()));
        let restoring = status.and_then(|status| status.restoring.as_ref());
        let Some(name) = restoring.or(first) else { return Ok(None) };
        let api =
            Api::<Salvage>::namespaced(self.ctx.client.clone(), &workspace.namespace().unwrap_or_default());
        let found = api.get_opt(name).await.map_err(Error::api(format!("read Salvage {name}")))?;
        match found {
            Some(found) => Ok(Some(found)),
            // Somebody has deleted it, and goes on with the branch.
            None if restoring.is_some() => Ok(None),
            None => Err(Trouble::wait(
                "SalvageMissing",
                format!(
                    "there is no Salvage {name} to make it from; `gcluster undelete workspace` lists those that are"
                ),
            )),
        }
    }

    /// The snapshots of worktrees that are gone, as far as their branch has not moved since. What of them is in records of
    /// the hub, which go now, is set aside.
    async fn restorable(
        &self,
        place: &Place,
        sources: &[Source],
        snapshots: Vec<Snapshot>,
    ) -> Result<Vec<Snapshot>> {
        let mut restorable = Vec::new();
        for snapshot in snapshots {
            let pair = sources.iter().zip(place.worktrees());
            let Some((source, (_, path))) = pair.into_iter().find(|(one, _)| one.name == snapshot.repository)
            else {
                continue;
            };
            let found = worktree::find(&source.hub, &path);
            if let (Found::FolderGone { record }, Some(folder)) = (&found, &snapshot.folder) {
                gcluster_git::set_aside(&path, Some(record), &[], Path::new(folder))
                    .map_err(Trouble::io(format!("move the repositories of submodules to {folder}")))?;
            }
            let tip = worktree::tip(&source.git(), &snapshot.branch).await?.unwrap_or_default();
            if tip == snapshot.tip {
                restorable.push(snapshot);
            }
        }
        Ok(restorable)
    }

    /// What git could not hold goes back to where it was.
    async fn bring_back(&self, place: &Place, sources: &[Source], snapshots: &[Snapshot]) -> Result<()> {
        for (source, (_, path)) in sources.iter().zip(place.worktrees()) {
            let snapshot = snapshots.iter().find(|snapshot| snapshot.repository == source.name);
            let Some((snapshot, folder)) = snapshot.and_then(|one| Some((one, one.folder.as_ref()?))) else {
                continue;
            };
            let contents = gcluster_git::contents(&source.git(), &snapshot.commit).await?;
            gcluster_git::bring_back(&source.git(), &path, &contents.aside, Path::new(folder)).await?;
        }
        Ok(())
    }

    /// Says that the worktrees are there, and where.
    async fn begun(&self, workspace: &Workspace, place: &Place, sources: &[Source]) -> Result<Workspace> {
        let looked = self.looks.look(workspace, place, sources, true, self.ctx.now()).await?;
        let looked = looked.unwrap_or_else(|| workspace.status.clone().unwrap_or_default());
        self.save(workspace, |status| {
            *status = looked.clone();
            status.path = Some(place.folder().display().to_string());
            status.environment = commands::names(workspace, place);
            status.phase = WorkspacePhase::Preparing;
            status.reason = Some("Preparing".to_owned());
            status.message = Some(match workspace.spec.setup.len() {
                0 => "its worktrees are there".to_owned(),
                1 => "its set-up command runs".to_owned(),
                several => format!("its {several} set-up commands run"),
            });
        })
        .await
    }

    async fn copy(&self, workspace: &Workspace, place: &Place, sources: &[Source]) -> Result<()> {
        let paths = workspace.spec.copy.clone();
        let Some(source) = sources.first().filter(|_| !paths.is_empty()) else { return Ok(()) };
        let refused = match source.checkout.clone().filter(|checkout| checkout.is_dir()) {
            None => vec![format!(
                "nothing is copied: {} has no checkout on this machine (spec.path of the Repository)",
                source.name
            )],
            Some(checkout) => {
                let worktree: PathBuf = place.first();
                let step = format!("copy files of {} into {}", checkout.display(), worktree.display());
                let copied =
                    tokio::task::spawn_blocking(move || copy::copy(&paths, &checkout, &worktree)).await;
                copied.unwrap_or_else(|error| Err(std::io::Error::other(error))).map_err(Trouble::io(step))?
            }
        };
        if !refused.is_empty() {
            self.events.warning(workspace, "NotCopied", "Prepare", refused.join("; ")).await;
        }
        Ok(())
    }

    async fn ready(&self, workspace: &Workspace, place: &Place) -> Result<Action> {
        let now = self.ctx.now();
        let ready = self
            .save(workspace, |status| {
                status.phase = WorkspacePhase::Ready;
                status.reason = Some("Ready".to_owned());
                status.message = Some(READY.to_owned());
                status.ready_at = Some(MicroTime(now));
                status.restoring = None;
            })
            .await?;
        let restoring = workspace.status.as_ref().and_then(|status| status.restoring.as_ref());
        let how = match restoring.or(workspace.spec.restore_from.as_ref()) {
            Some(salvage) => format!(", as it was kept in {salvage}"),
            None => String::new(),
        };
        let note = format!("{} is checked out in {}{how}", workspace.spec.branch, place.folder().display());
        self.events.normal(&ready, "Ready", "Make", note).await;
        Ok(Action::requeue(Duration::ZERO))
    }

    async fn not_ready(&self, workspace: &Workspace, message: &str) -> Result<Action> {
        let failed = self
            .save(workspace, |status| {
                status.phase = WorkspacePhase::Failed;
                status.reason = Some("SetupFailed".to_owned());
                status.message = Some(shortened(message, 2_000));
            })
            .await?;
        self.events.warning(&failed, "SetupFailed", "Prepare", message).await;
        Ok(Action::requeue(Duration::ZERO))
    }

    /// Somebody deleted the folder of a workspace whose ticket is not at its end: what is left of it and what was saved is
    /// kept, and it is made again from that.
    pub(super) async fn lost(
        &self,
        workspace: &Workspace,
        place: &Place,
        sources: &[Source],
    ) -> Result<Action> {
        let name = format!("{}-{}", workspace.salvage_name(), self.ctx.now().as_second());
        let (snapshots, holds) = self.snapshots(workspace, place, sources, &name, true).await?;
        let mut note = format!("{} was deleted by somebody; it is made again", place.folder().display());
        let mut restoring = None;
        if !snapshots.is_empty() {
            let salvage = self.write_salvage(workspace, sources, &name, snapshots, &holds).await?;
            note.push_str(&format!(
                "{}; {} keeps what was committed, staged and saved of it: {holds}",
                self.saved_before(workspace),
                salvage.name_any()
            ));
            restoring = Some(salvage.name_any());
        }
        let written = self
            .save(workspace, |status| {
                status.phase = WorkspacePhase::Pending;
                status.reason = Some("FolderDeleted".to_owned());
                status.message = Some(note.clone());
                status.restoring.clone_from(&restoring);
            })
            .await?;
        self.events.warning(&written, "FolderDeleted", "Look", note).await;
        Ok(Action::requeue(Duration::ZERO))
    }

    /// How old the newest save is.
    fn saved_before(&self, workspace: &Workspace) -> String {
        let checkouts = workspace.status.iter().flat_map(|status| &status.repositories);
        let newest = checkouts.filter_map(|checkout| checkout.saved_at.as_ref()).map(|at| at.0).max();
        let age = newest.map(|at| self.ctx.now().duration_since(at).as_secs());
        age.map_or_else(String::new, |age| format!(" as it was saved {age} s before"))
    }
}
