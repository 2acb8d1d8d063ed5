//! Removing a workspace: nothing goes before all of it is kept.
//!
//! ```text
//! deleted ─▶ nobody works in it ─▶ teardown ─▶ snapshot ─▶ Salvage, durable ─▶ folder renamed ─▶ folder, record, branch gone
//! ```
//!
//! The renamed folder is the sign that everything is kept, and once it is gone, the Salvage: until then a snapshot is taken
//! anew at each try, from then on never again, or it would be one of what is left.

use std::path::PathBuf;
use std::time::Duration;

use gcluster_git::worktree::{self, Found};
use gcluster_types::kinds::agent::RunState;
use gcluster_types::kinds::workspace::{Snapshot, WorkspacePhase};
use gcluster_types::{Agent, Salvage, SalvageSpec, Ticket, Workspace, conditions, duration, labels};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::api::{ListParams, Patch, PatchParams, PostParams};
use kube::runtime::controller::Action;
use kube::{Api, ResourceExt};
use serde_json::json;

use super::commands::Outcome;
use super::place::Place;
use super::plan::counted;
use super::reconcile::Shared;
use super::repositories::Source;
use super::trouble::{Result, Trouble};
use super::worktrees;
use super::{salvages, saves};
use crate::error::Error;

/// How long a snapshot is kept.
const SALVAGED: &str = "720h";
/// How soon it is looked again whether somebody still works in it.
const BUSY: Duration = Duration::from_millis(500);
/// What a Salvage says of a workspace in which was nothing of its own.
const NOTHING: &str = "nothing that is not merged";

impl Shared {
    /// One step after the other, each of which can be done again.
    pub(super) async fn remove(
        &self,
        workspace: &Workspace,
        place: &Place,
        sources: &[Source],
    ) -> Result<Action> {
        if !workspace.finalizers().iter().any(|name| name == labels::WORKSPACE_FINALIZER) {
            return Ok(Action::await_change());
        }
        let uid = workspace.uid().unwrap_or_default();
        let mut kept = None;
        if !self.is_kept(workspace, place).await? {
            if let Some(agent) = self.agent_at_work(workspace, place).await? {
                let why = format!("it is deleted, and waits for the agent {agent}, which works in it");
                self.leaving(workspace, "AgentAtWork", &why).await?;
                return Ok(Action::requeue(BUSY));
            }
            self.leaving(workspace, "Terminating", "it is being removed").await?;
            self.live.sweep(place, &uid).await;
            worktrees::take_away_half_made(place, sources).await?;
            self.tear_down(workspace, place).await?;
            kept = self.keep_all(workspace, place, sources).await?;
            if kept.is_some() && place.folder().exists() {
                std::fs::rename(place.folder(), place.removing())
                    .map_err(Trouble::io(format!("rename {}", place.folder().display())))?;
            }
        }
        self.finish(workspace, place, sources, kept).await?;
        self.release(workspace).await?;
        Ok(Action::await_change())
    }

    /// Whether all of it is kept, so that it can go or has gone already.
    async fn is_kept(&self, workspace: &Workspace, place: &Place) -> Result<bool> {
        if place.removing().exists() {
            return Ok(true);
        }
        if place.folder().exists() {
            return Ok(false);
        }
        let namespace = workspace.namespace().unwrap_or_default();
        let api = Api::<Salvage>::namespaced(self.ctx.client.clone(), &namespace);
        let name = workspace.salvage_name();
        let salvage = api.get_opt(&name).await.map_err(Error::api(format!("read Salvage {name}")))?;
        Ok(salvage.is_some_and(|salvage| salvage.spec.uid == workspace.uid()))
    }

    async fn leaving(&self, workspace: &Workspace, reason: &str, why: &str) -> Result<()> {
        let told = self.save(workspace, |status| {
            status.phase = WorkspacePhase::Terminating;
            status.reason = Some(reason.to_owned());
            status.message = Some(why.to_owned());
            status.kept = Some(why.to_owned());
        });
        told.await.map(drop)
    }

    /// An agent that works in it, or will. What it does after a snapshot would be lost.
    async fn agent_at_work(&self, workspace: &Workspace, place: &Place) -> Result<Option<String>> {
        let api =
            Api::<Agent>::namespaced(self.ctx.client.clone(), &workspace.namespace().unwrap_or_default());
        let all = api.list(&ListParams::default()).await.map_err(Error::api("list agents"))?;
        let folder = place.folder();
        let at_work = all.into_iter().find(|agent| {
            let inside = agent.spec.working_directory.as_ref().map(PathBuf::from);
            let status = agent.status.clone().unwrap_or_default();
            let is_going = agent.metadata.deletion_timestamp.is_none()
                && status.run_state.is_none_or(|state| state != RunState::Stopped);
            inside.is_some_and(|inside| inside.starts_with(&folder))
                && (is_going || !status.active_iterations.is_empty())
        });
        Ok(at_work.map(|agent| agent.name_any()))
    }

    async fn tear_down(&self, workspace: &Workspace, place: &Place) -> Result<()> {
        let is_ready = workspace.status.as_ref().is_some_and(|status| status.ready_at.is_some());
        if !is_ready || !place.first().is_dir() {
            return Ok(());
        }
        let failed = match self.live.run(&self.ctx, workspace, place, &workspace.spec.teardown).await {
            Ok(Outcome::Done) => return Ok(()),
            Ok(Outcome::Failed { message }) => message,
            Ok(Outcome::Ended) => {
                return Err(Trouble::wait("Interrupted", "the master ends; the next one goes on"));
            }
            Err(error) => error.to_string(),
        };
        // What it leaves running or open does not keep the disk full.
        self.events.warning(workspace, "TeardownFailed", "Remove", failed).await;
        Ok(())
    }

    /// Takes a snapshot of each worktree and writes the Salvage. Answers the snapshots; none when there was never anything.
    async fn keep_all(
        &self,
        workspace: &Workspace,
        place: &Place,
        sources: &[Source],
    ) -> Result<Option<Vec<Snapshot>>> {
        let name = workspace.salvage_name();
        if !self.has_been_made(workspace, place, sources) {
            return Ok(None);
        }
        let kept = self.snapshots(workspace, place, sources, &name, false).await;
        let (snapshots, holds) = match kept {
            Ok(kept) => kept,
            Err(trouble) => {
                let message = format!("nothing of it is removed: {trouble}");
                self.say_salvaged(workspace, false, trouble.reason(), &message).await?;
                return Err(trouble);
            }
        };
        let written = self.write_salvage(workspace, sources, &name, snapshots.clone(), &holds).await;
        let salvage = match written {
            // Its namespace goes, and everything in it. The hidden refs stay in the hub.
            Err(Trouble::Api(error)) if error.code() == Some(403) => return Ok(Some(snapshots)),
            other => other?,
        };
        let until = salvage.spec.expires_at.clone().unwrap_or_default();
        let note = format!(
            "it held {holds}; kept until {until}, `gcluster undelete workspace {}` brings it back",
            workspace.name_any()
        );
        self.say_salvaged(workspace, true, "Salvaged", &note).await?;
        self.events.normal(workspace, "Salvaged", "Remove", note).await;
        Ok(Some(snapshots))
    }

    fn has_been_made(&self, workspace: &Workspace, place: &Place, sources: &[Source]) -> bool {
        let is_ready = workspace.status.as_ref().is_some_and(|status| status.ready_at.is_some());
        let pairs = place.worktrees();
        is_ready
            || place.folder().exists()
            || sources
                .iter()
                .zip(&pairs)
                .any(|(source, (_, path))| worktree::find(&source.hub, path) != Found::Nothing)
    }

    /// Snapshots of all worktrees, or of those whose folder is gone, on the disk, and what they hold that is nowhere else.
    pub(super) async fn snapshots(
        &self,
        workspace: &Workspace,
        place: &Place,
        sources: &[Source],
        name: &str,
        only_gone: bool,
    ) -> Result<(Vec<Snapshot>, String)> {
        let (mut snapshots, mut commits, mut files, mut aside) = (Vec::new(), 0, 0, 0);
        let namespace = workspace.namespace().unwrap_or_default();
        let branch = &workspace.spec.branch;
        for (source, (_, path)) in sources.iter().zip(place.worktrees()) {
            if only_gone && path.exists() {
                continue;
            }
            if !source.hub.is_dir() {
                if path.exists() {
                    let message = format!(
                        "the hub {} is not there, so nothing can be kept of {}: put it back, or move that folder away",
                        source.hub.display(),
                        path.display()
                    );
                    return Err(Trouble::wait("HubMissing", message));
                }
                continue;
            }
            let git = source.git();
            let reference = format!("refs/gcluster/salvage/{namespace}/{name}");
            let saves = saves::reference(workspace);
            let taken = gcluster_git::take(&git, &path, branch, &reference, &saves).await?;
            let Some(taken) = taken else { continue };
            if taken.folder_gone && !only_gone {
                let note = format!(
                    "{} was deleted by somebody; what was committed, staged and saved of it is kept",
                    path.display()
                );
                self.events.warning(workspace, "FolderDeleted", "Remove", note).await;
            }
            if !taken.tip.is_empty() && gcluster_git::merged(&git, &source.base, &taken.tip).await?.is_none()
            {
                commits += gcluster_git::apart(&git, &taken.tip, &source.base).await?.0;
            }
            files += taken.files;
            aside += taken.aside.len();
            let known = workspace.status.iter().flat_map(|status| &status.repositories);
            let folder = self.folder(&namespace, name, &source.name);
            snapshots.push(Snapshot {
                repository: source.name.clone(),
                reference,
                commit: taken.commit,
                branch: branch.clone(),
                tip: taken.tip,
                start: known
                    .filter(|one| one.name == source.name)
                    .map(|one| one.start.clone())
                    .next()
                    .unwrap_or_default(),
                folder: (taken.modules || !taken.aside.is_empty()).then(|| folder.display().to_string()),
                aside: taken.aside.iter().map(|path| path.display().to_string()).collect(),
                ignored: taken.ignored,
            });
            // Also what the worker committed is on the disk from here on.
            let hub = source.hub.clone();
            let synced = tokio::task::spawn_blocking(move || {
                std::fs::File::open(&hub).and_then(|hub| rustix::fs::syncfs(hub).map_err(Into::into))
            });
            let synced = synced.await.unwrap_or_else(|error| Err(std::io::Error::other(error)));
            synced.map_err(Trouble::io(format!("write {} to the disk", source.hub.display())))?;
        }
        let aside = i64::try_from(aside).unwrap_or(i64::MAX);
        let words =
            [counted(commits, "commit"), counted(files, "file"), counted(aside, "path that git cannot hold")];
        let words: Vec<String> = words.into_iter().flatten().collect();
        let holds = if words.is_empty() { NOTHING.to_owned() } else { words.join(", ") };
        Ok((snapshots, holds))
    }

    /// Where what git cannot hold is kept.
    pub(super) fn folder(&self, namespace: &str, salvage: &str, repository: &str) -> PathBuf {
        self.ctx.config.data_dir.join("salvages").join(namespace).join(salvage).join(repository)
    }

    /// Writes the Salvage, or brings the one that is there up to date. It is durable when this returns.
    pub(super) async fn write_salvage(
        &self,
        workspace: &Workspace,
        sources: &[Source],
        name: &str,
        snapshots: Vec<Snapshot>,
        holds: &str,
    ) -> Result<Salvage> {
        let retention = sources.first().and_then(|source| source.retention.salvaged.clone());
        let mut manifest = workspace.clone();
        manifest.metadata.managed_fields = None;
        let spec = SalvageSpec {
            kind: "Workspace".to_owned(),
            name: workspace.name_any(),
            uid: workspace.uid(),
            ticket: workspace.spec.ticket.clone(),
            manifest: serde_json::to_string(&manifest).unwrap_or_default(),
            snapshots,
            holds: Some(holds.to_owned()),
            expires_at: Some(expiry(self.ctx.now(), retention.as_deref())),
        };
        let namespace = workspace.namespace().unwrap_or_default();
        put_salvage(&self.ctx.client, &namespace, name, spec).await
    }

    async fn say_salvaged(
        &self,
        workspace: &Workspace,
        kept: bool,
        reason: &str,
        message: &str,
    ) -> Result<()> {
        let now = Time(self.ctx.now());
        let told = self.save(workspace, |status| {
            let observed = conditions::Observed {
                kind: "Salvaged",
                status: Some(kept),
                reason,
                message: message.to_owned(),
                generation: workspace.metadata.generation,
            };
            conditions::set(&mut status.conditions, observed, &now);
        });
        told.await.map(drop)
    }

    /// From the Salvage on: what is kept is removed.
    async fn finish(
        &self,
        workspace: &Workspace,
        place: &Place,
        sources: &[Source],
        kept: Option<Vec<Snapshot>>,
    ) -> Result<()> {
        let namespace = workspace.namespace().unwrap_or_default();
        let api = Api::<Salvage>::namespaced(self.ctx.client.clone(), &namespace);
        let name = workspace.salvage_name();
        let salvage = api.get_opt(&name).await.map_err(Error::api(format!("read Salvage {name}")))?;
        let snapshots = salvage.map(|salvage| salvage.spec.snapshots).or(kept);
        let Some(snapshots) = snapshots else {
            // Nothing was ever made. A folder that is there all the same was kept, and its Salvage deleted since.
            return delete(place.removing()).await;
        };
        for snapshot in &snapshots {
            let Some(source) = sources.iter().find(|source| source.name == snapshot.repository) else {
                continue;
            };
            let git = source.git();
            if let Some(folder) = &snapshot.folder {
                let contents = gcluster_git::contents(&git, &snapshot.commit).await?;
                let (tree, folder) = (place.removing_worktree(&source.name), PathBuf::from(folder));
                let worktrees = place.worktrees();
                let path = worktrees.iter().find(|(name, _)| *name == source.name).map(|(_, path)| path);
                let found = path.map_or(Found::Nothing, |path| worktree::find(&source.hub, path));
                gcluster_git::set_aside(&tree, found.record(), &contents.aside, &folder)
                    .map_err(Trouble::io(format!("move what git cannot hold to {}", folder.display())))?;
            }
        }
        delete(place.removing()).await?;
        let ticket = self.ticket(workspace).await?;
        for (source, (_, path)) in sources.iter().zip(place.worktrees()) {
            if !source.hub.is_dir() {
                continue;
            }
            worktree::remove(&source.git(), &path).await?;
            gcluster_git::saves::forget(&source.git(), &saves::reference(workspace)).await?;
            if let Some(snapshot) = snapshots.iter().find(|one| one.repository == source.name) {
                self.remove_branch(workspace, source, snapshot, ticket.as_ref()).await?;
            }
        }
        for leftover in [place.log(), place.making()] {
            let _ = std::fs::remove_file(leftover);
        }
        Ok(())
    }

    /// The branch goes, since the snapshot has its tip; but not under the feet of a ticket that is not at its end.
    async fn remove_branch(
        &self,
        workspace: &Workspace,
        source: &Source,
        snapshot: &Snapshot,
        ticket: Option<&Ticket>,
    ) -> Result<()> {
        let (git, branch) = (source.git(), &snapshot.branch);
        let Some(tip) = worktree::tip(&git, branch).await?.filter(|_| *branch != source.base) else {
            return Ok(());
        };
        let is_needed = ticket.is_some_and(|ticket| {
            let phase = ticket.status.as_ref().map(|status| status.phase).unwrap_or_default();
            ticket.metadata.deletion_timestamp.is_none() && !phase.is_terminal()
        });
        let is_merged = gcluster_git::merged(&git, &source.base, &tip).await?.is_some();
        if is_needed && !is_merged {
            return Ok(());
        }
        if tip != snapshot.tip {
            let note = format!("the branch {branch} of {} was moved meanwhile and stays", source.name);
            self.events.warning(workspace, "BranchMoved", "Remove", note).await;
            return Ok(());
        }
        // Only as long as it is where it was seen.
        git.text(["update-ref", "-d", &format!("refs/heads/{branch}"), &tip]).await?;
        Ok(())
    }

    async fn release(&self, workspace: &Workspace) -> Result<()> {
        let (namespace, name) = (workspace.namespace().unwrap_or_default(), workspace.name_any());
        let api = Api::<Workspace>::namespaced(self.ctx.client.clone(), &namespace);
        let fresh = api.get_opt(&name).await.map_err(Error::api(format!("read Workspace {name}")))?;
        if let Some(fresh) = fresh.filter(|fresh| fresh.uid() == workspace.uid()) {
            salvages::release(&api, &fresh, labels::WORKSPACE_FINALIZER).await?;
        }
        self.looks.forget(&workspace.uid().unwrap_or_default());
        Ok(())
    }
}

/// Creates a Salvage, or brings the one that is there up to date.
pub(super) async fn put_salvage(
    client: &kube::Client,
    namespace: &str,
    name: &str,
    spec: SalvageSpec,
) -> Result<Salvage> {
    let api = Api::<Salvage>::namespaced(client.clone(), namespace);
    let mut salvage = Salvage::new(name, spec);
    salvage.metadata.finalizers = Some(vec![labels::SALVAGE_FINALIZER.to_owned()]);
    if let Some(ticket) = salvage.spec.ticket.clone().filter(|ticket| ticket.len() <= 63) {
        salvage.metadata.labels = Some([(labels::TICKET.to_owned(), ticket)].into());
    }
    let params =
        PostParams { field_manager: Some(labels::MANAGER_WORKSPACES.into()), ..PostParams::default() };
    match api.create(&params, &salvage).await {
        Err(kube::Error::Api(status)) if status.code == 409 => {}
        other => return Ok(other.map_err(Error::api(format!("create Salvage {name}")))?),
    }
    let old = api.get(name).await.map_err(Error::api(format!("read Salvage {name}")))?;
    if old.metadata.deletion_timestamp.is_some() {
        // It takes its hidden refs along: what is kept in it now would be lost.
        return Err(Trouble::wait("SalvageBeingDeleted", format!("the Salvage {name} is being deleted")));
    }
    if old.spec.snapshots == salvage.spec.snapshots && old.spec.holds == salvage.spec.holds {
        return Ok(old);
    }
    // The list of snapshots is replaced as a whole.
    let patch = json!({"spec": {"snapshots": salvage.spec.snapshots, "holds": salvage.spec.holds}});
    let params =
        PatchParams { field_manager: Some(labels::MANAGER_WORKSPACES.into()), ..PatchParams::default() };
    let written = api.patch(name, &params, &Patch::Merge(patch)).await;
    Ok(written.map_err(Error::api(format!("write Salvage {name}")))?)
}

/// When what is kept now is removed.
pub(super) fn expiry(now: k8s_openapi::jiff::Timestamp, retention: Option<&str>) -> String {
    let text = retention.unwrap_or(SALVAGED);
    let pause = duration::parse(text).or_else(|| duration::parse(SALVAGED)).unwrap_or_default();
    let until = now.checked_add(pause).unwrap_or(k8s_openapi::jiff::Timestamp::MAX);
    k8s_openapi::jiff::Timestamp::from_second(until.as_second()).unwrap_or(until).to_string()
}

/// Deletes a folder, which may be large.
async fn delete(folder: PathBuf) -> Result<()> {
    let step = format!("remove {}", folder.display());
    let deleted = tokio::task::spawn_blocking(move || worktree::delete(&folder)).await;
    deleted.unwrap_or_else(|error| Err(std::io::Error::other(error))).map_err(Trouble::io(step))
}
