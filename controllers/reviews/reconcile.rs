//! The loop: reads what a review needs, plans, acts, reports.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use gcluster_git::patch::{changed_files, diff};
use gcluster_git::{Error as GitError, Git};
use gcluster_types::kinds::iteration::Phase;
use gcluster_types::transcript::{Entry, Record};
use gcluster_types::{Agent, Iteration, Review, Ticket, Workspace, labels};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::api::{ListParams, Patch, PatchParams, PostParams};
use kube::runtime::controller::{Action, Controller};
use kube::runtime::reflector::{ObjectRef, Store};
use kube::runtime::watcher;
use kube::{Api, Resource, ResourceExt};
use serde_json::json;

use super::plan::{Act, Answer, Observed, Plan, Tree, plan};
use super::prompt::{Change, prompt};
use super::reviewer::{self, ROLE};
use crate::Context;
use crate::error::{Error, Result, api_code};
use crate::report::{Events, write_status};

/// The status fields, all of them decided here.
const FIELDS: &[&str] = &[
    "phase",
    "verdict",
    "reason",
    "message",
    "agent",
    "findings",
    "count",
    "dropped",
    "attempts",
    "startedAt",
    "finishedAt",
];
/// How much of a change a reviewer is given as text, in bytes. The rest is named.
const DIFF: usize = 200 << 10;
/// Longer than one look may take: git's commands have limits of their own.
const LOOK: Duration = Duration::from_secs(1_800);
/// How soon a git that failed is asked again.
const RETRY: Duration = Duration::from_secs(1);
/// Marks git as ours, for the hooks of the hub.
const CONTROLLER: (&str, &str) = ("GCLUSTER_CONTROLLER", "reviews");

/// Runs until it is dropped.
pub async fn run(ctx: Context) {
    let client = ctx.client.clone();
    let reviews = Controller::new(Api::<Review>::all(client.clone()), watcher::Config::default());
    let (by_workspace, by_ticket) = (reviews.store(), reviews.store());
    let reviewers = watcher::Config::default().labels(&format!("{}={ROLE}", labels::ROLE));
    let events = Events::new(client.clone(), labels::MANAGER_REVIEWS);
    let shared = Arc::new((ctx, events));
    reviews
        .owns(Api::<Agent>::all(client.clone()), reviewers)
        .watches(Api::<Workspace>::all(client.clone()), watcher::Config::default(), move |workspace| {
            concerned(&by_workspace, &workspace, |review| &review.spec.workspace)
        })
        .watches(Api::<Ticket>::all(client), watcher::Config::default(), move |ticket| {
            concerned(&by_ticket, &ticket, |review| &review.spec.ticket)
        })
        .run(reconcile, failed, shared)
        .for_each(|_| std::future::ready(()))
        .await;
}

/// The open reviews of an object's namespace that name it.
fn concerned<K: Resource>(
    reviews: &Store<Review>,
    object: &K,
    named: impl Fn(&Review) -> &String,
) -> Vec<ObjectRef<Review>> {
    let (name, namespace) = (object.name_any(), object.namespace());
    let is_open = |review: &Review| review.status.as_ref().is_none_or(|status| status.finished_at.is_none());
    let all = reviews.state();
    let concerned = all.iter().filter(|review| review.namespace() == namespace && *named(review) == name);
    concerned.filter(|review| is_open(review)).map(|review| ObjectRef::from_obj(&**review)).collect()
}

fn failed(review: Arc<Review>, error: &Error, _: Arc<(Context, Events)>) -> Action {
    if !error.is_race() {
        tracing::warn!(review = %review.name_any(), %error, "a review could not be looked at");
        return Action::requeue(crate::control_loop::jittered(RETRY));
    }
    Action::requeue(error.retry_after(0))
}

async fn reconcile(seen: Arc<Review>, shared: Arc<(Context, Events)>) -> Result<Action> {
    let (ctx, events) = &*shared;
    if seen.status.as_ref().is_some_and(|status| status.finished_at.is_some()) {
        return Ok(Action::await_change());
    }
    let _beat = ctx.pulse.begin_within("reviews", LOOK);
    let name = seen.name_any();
    let namespace = seen.namespace().unwrap_or_default();
    let reviews = Api::<Review>::namespaced(ctx.client.clone(), &namespace);
    // What was seen may be old, and an attempt must not be taken for one that never was.
    let read = reviews.get_opt(&name).await.map_err(Error::api(format!("read Review {name}")))?;
    let Some(review) = read.filter(|read| read.uid() == seen.uid()) else {
        return Ok(Action::await_change());
    };
    let one = One { ctx, review: &review, namespace: &namespace };
    let ticket: Option<Ticket> = one.get(&review.spec.ticket).await?;
    let workspace: Option<Workspace> = one.get(&review.spec.workspace).await?;
    let attempt = review.status.as_ref().map_or(1, |status| status.attempts.max(1));
    let agent: Option<Agent> = one.get(&reviewer::name(&name, attempt)).await?;
    let mut seen = Observed {
        review: &review,
        ticket: ticket.as_ref(),
        workspace: workspace.as_ref(),
        agent: agent.as_ref(),
        tree: None,
        answer: None,
        now: MicroTime(ctx.now()),
    };
    let plan = loop {
        let plan = plan(&seen);
        match &plan.act {
            Act::Look => seen.tree = Some(one.look(workspace.as_ref()).await?),
            Act::Read => seen.answer = Some(one.answer(agent.as_ref()).await?),
            _ => break plan,
        }
    };
    if plan.act == Act::Stop
        && let Some(agent) = &agent
    {
        one.stop(agent).await?;
    }
    let old = review.status.clone().unwrap_or_default();
    let before = match review.status.is_some() {
        true => serde_json::to_value(&old).unwrap_or_default(),
        // A phase that was never written has to be, even if it is the default.
        false => json!({}),
    };
    let after = serde_json::to_value(&plan.status).unwrap_or_default();
    let written = write_status(&reviews, &review, labels::MANAGER_REVIEWS, FIELDS, &before, &after).await?;
    one.tell(events, &plan).await;
    if let Act::Ask(error) = &plan.act {
        let review = written.as_ref().unwrap_or(&review);
        One { review, ..one }.ask(ticket.as_ref(), workspace.as_ref(), &plan, error.as_deref()).await?;
    }
    Ok(Action::await_change())
}

/// One review and what it takes to act on it.
struct One<'a> {
    ctx: &'a Context,
    review: &'a Review,
    namespace: &'a str,
}

impl One<'_> {
    async fn get<K>(&self, name: &str) -> Result<Option<K>>
    where
        K: Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>
            + Clone
            + std::fmt::Debug
            + serde::de::DeserializeOwned,
    {
        let api = Api::<K>::namespaced(self.ctx.client.clone(), self.namespace);
        api.get_opt(name).await.map_err(Error::api(format!("read {} {name}", K::kind(&()))))
    }

    /// Looks whether the checkouts are as the change was checked.
    async fn look(&self, workspace: Option<&Workspace>) -> Result<Tree> {
        let name = &self.review.spec.workspace;
        let Some(workspace) = workspace else {
            return Ok(Tree::Differs(format!("the workspace {name} is not there any more")));
        };
        let mut files = BTreeMap::new();
        for change in &self.review.spec.changes {
            let Some(git) = checkout(workspace, &change.repository) else {
                let why = format!("the workspace {name} has no checkout of {}", change.repository);
                return Ok(Tree::Differs(why));
            };
            let at = git.directory().display();
            let tip = match git.text(["rev-parse", "--verify", "HEAD"]).await {
                Ok(tip) => tip,
                Err(error) => return differs(error),
            };
            if tip != change.commit {
                let why = format!("{at} is at {tip}, not at {} as it was checked", change.commit);
                return Ok(Tree::Differs(why));
            }
            let dirty = match git.text(["status", "--porcelain", "--untracked-files=all"]).await {
                Ok(dirty) => dirty,
                Err(error) => return differs(error),
            };
            if let Some(first) = dirty.lines().next() {
                let more = dirty.lines().count() - 1;
                let more = if more > 0 { format!(" and {more} more") } else { String::new() };
                return Ok(Tree::Differs(format!("{at} has changes that are in no commit: {first}{more}")));
            }
            match changed_files(&git, &change.base, &change.commit).await {
                Ok(changed) => drop(files.insert(change.repository.clone(), changed)),
                Err(error) => return differs(error),
            }
        }
        Ok(Tree::AsChecked(files))
    }

    /// How the newest iteration of the reviewer that ended by itself ended.
    async fn answer(&self, agent: Option<&Agent>) -> Result<Answer> {
        let Some(agent) = agent else { return Ok(Answer::Lost) };
        let (name, uid) = (agent.name_any(), agent.uid().unwrap_or_default());
        let api = Api::<Iteration>::namespaced(self.ctx.client.clone(), self.namespace);
        let own = ListParams::default().labels(&format!("{}={name}", labels::AGENT));
        let list = api.list(&own).await.map_err(Error::api(format!("list the iterations of {name}")))?;
        let phase =
            |iteration: &Iteration| iteration.status.as_ref().map(|status| status.phase).unwrap_or_default();
        let newest = list
            .items
            .into_iter()
            .filter(|iteration| iteration.spec.agent == name)
            .filter(|iteration| iteration.owner_references().iter().any(|owner| owner.uid == uid))
            .filter(|iteration| matches!(phase(iteration), Phase::Succeeded | Phase::Failed))
            .max_by_key(|iteration| iteration.spec.number);
        let Some(newest) = newest else { return Ok(Answer::Lost) };
        let status = newest.status.clone().unwrap_or_default();
        if status.phase == Phase::Failed {
            let error = status.error.or(status.reason).unwrap_or_default();
            return Ok(Answer::Failed(error));
        }
        // The output and the end are the last two records.
        let records = status.transcript.map_or(0, |size| size.records.saturating_sub(2).max(0));
        let output = self.output(&newest.name_any(), records).await?;
        Ok(output.map_or(Answer::Lost, Answer::Said))
    }

    /// The output of an iteration, from its transcript; none when that is gone.
    async fn output(&self, iteration: &str, since: i64) -> Result<Option<String>> {
        let path = format!(
            "/apis/gcluster.dev/v1alpha1/namespaces/{}/iterations/{iteration}/transcript?since={since}",
            self.namespace
        );
        let unusable = |why: String| Error::Transcript { iteration: iteration.to_owned(), why };
        let request =
            http::Request::get(path).body(Vec::new()).map_err(|error| unusable(error.to_string()))?;
        let text = match self.ctx.client.request_text(request).await {
            Err(error) if matches!(api_code(&error), Some(404 | 416)) => return Ok(None),
            other => other.map_err(Error::api(format!("read the transcript of {iteration}")))?,
        };
        let records = text.lines().filter_map(|line| serde_json::from_str::<Record>(line).ok());
        let mut outputs = records.filter_map(|record| match record.entry {
            Entry::Output { text } => Some(text),
            _ => None,
        });
        Ok(outputs.next_back())
    }

    /// Makes the agent of the attempt, unless it is there.
    async fn ask(
        &self,
        ticket: Option<&Ticket>,
        workspace: Option<&Workspace>,
        plan: &Plan,
        error: Option<&str>,
    ) -> Result<()> {
        let Some(workspace) = workspace else { return Ok(()) };
        let mut changes = Vec::new();
        let mut room = DIFF;
        for change in &self.review.spec.changes {
            let Some(git) = checkout(workspace, &change.repository) else { continue };
            let diff = diff(&git, &change.base, &change.commit, room).await?;
            room = room.saturating_sub(diff.text.len());
            let (repository, base, commit) =
                (change.repository.clone(), change.base.clone(), change.commit.clone());
            changes.push(Change { repository, base, commit, diff });
        }
        let prompt = prompt(self.review, ticket, &changes, error);
        let attempt = plan.status.attempts.max(1);
        let backend = &self.ctx.config.default_backend;
        let agent = reviewer::agent(self.review, workspace, attempt, &prompt, backend);
        let api = Api::<Agent>::namespaced(self.ctx.client.clone(), self.namespace);
        let params =
            PostParams { field_manager: Some(labels::MANAGER_REVIEWS.to_owned()), ..PostParams::default() };
        match api.create(&params, &agent).await {
            // One that is there already: the next look tells whose it is.
            Err(error) if api_code(&error) == Some(409) => Ok(()),
            created => created.map(drop).map_err(Error::api(format!("create Agent {}", agent.name_any()))),
        }
    }

    async fn stop(&self, agent: &Agent) -> Result<()> {
        let api = Api::<Agent>::namespaced(self.ctx.client.clone(), self.namespace);
        let params =
            PatchParams { field_manager: Some(labels::MANAGER_REVIEWS.to_owned()), ..PatchParams::default() };
        let patch = Patch::Merge(json!({"spec": {"run": "Stopped"}}));
        let name = agent.name_any();
        match api.patch(&name, &params, &patch).await {
            Err(error) if api_code(&error) == Some(404) => Ok(()),
            stopped => stopped.map(drop).map_err(Error::api(format!("stop Agent {name}"))),
        }
    }

    async fn tell(&self, events: &Events, plan: &Plan) {
        let Some((is_warning, reason)) = plan.note else { return };
        let message = plan.status.message.clone().unwrap_or_default();
        match is_warning {
            true => events.warning(self.review, reason, reason, message).await,
            false => events.normal(self.review, reason, reason, message).await,
        }
    }
}

/// Git in the checkout of a repository.
fn checkout(workspace: &Workspace, repository: &str) -> Option<Git> {
    let checkouts = &workspace.status.as_ref()?.repositories;
    let found = checkouts.iter().find(|checkout| checkout.name == repository)?;
    Some(Git::new(Path::new(&found.path)).env(CONTROLLER.0, CONTROLLER.1))
}

/// What git answers of a checkout that is not what it should be; a git that is missing or slow says nothing about it.
fn differs(error: GitError) -> Result<Tree> {
    match error {
        GitError::Failed { .. } | GitError::Io { .. } => Ok(Tree::Differs(error.to_string())),
        GitError::Missing(_) | GitError::TooOld(_) | GitError::TimedOut { .. } => Err(Error::Git(error)),
    }
}
