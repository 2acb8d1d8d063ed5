//! The revision controller's loop: read, plan, act, report.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use gcluster_types::conditions::READY;
use gcluster_types::{Agent, AgentRevision, Iteration, labels};
use kube::api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions};
use kube::runtime::controller::Action;
use kube::{Api, ResourceExt};
use serde_json::json;

use super::plan::{self, Observed, Plan, Renumber, plan};
use crate::Context;
use crate::agents::Agents;
use crate::control_loop::{self, jittered};
use crate::error::{Error, Result};
use crate::informer::Index;
use crate::report::{Events, write_status};

/// The status fields that this controller writes. Of the conditions it writes `Ready` alone.
const FIELDS: &[&str] =
    &["observedGeneration", "stableID", "digest", "currentRevision", "revisions", "conditions"];

/// How long an agent that does not change is left alone.
const IDLE: Duration = Duration::from_secs(3_600);

/// Runs until it is dropped. `iterations` is only read: the executor keeps it up to date.
pub(crate) async fn run(ctx: Context, agents: &Agents, iterations: Index<Iteration>) {
    let revisions = Index::<AgentRevision>::default();
    let related = revisions.follow(Api::all(ctx.client.clone()), |_| {});
    let triggers =
        futures::stream::select(agents.triggers(relevant, |_| {}).boxed(), related.boxed()).boxed();
    let events = Events::new(ctx.client.clone(), labels::MANAGER_REVISION);
    let known = agents.clone();
    let shared = Arc::new(Shared { ctx: ctx.clone(), agents: known, revisions, iterations, events });
    control_loop::run(&ctx, "revision", agents.store(), triggers, Duration::ZERO, move |agent| {
        Box::pin(reconcile(shared.clone(), agent))
    })
    .await;
}

/// What the plan depends on. An iteration that ends, which the totals tell, may have been the last one of a revision
/// that is to go.
fn relevant(agent: &Agent) -> impl PartialEq + Send + use<> {
    let status = agent.status.clone().unwrap_or_default();
    let kept = usize::try_from(agent.spec.revision_history_limit).unwrap_or(usize::MAX);
    let ended = (status.revisions.len() > kept).then_some(status.iterations);
    let ready = status.conditions.into_iter().find(|condition| condition.type_ == READY);
    let metadata = (agent.metadata.generation, agent.metadata.deletion_timestamp.clone());
    let ids = (status.observed_generation, status.stable_id, status.digest, status.current_revision);
    (metadata, ids, status.revisions, status.execution_digest, ended, ready)
}

struct Shared {
    ctx: Context,
    agents: Agents,
    revisions: Index<AgentRevision>,
    iterations: Index<Iteration>,
    events: Events,
}

async fn reconcile(shared: Arc<Shared>, cached: Arc<Agent>) -> Result<Action> {
    shared.revisions.ready().await;
    shared.iterations.ready().await;
    if cached.metadata.deletion_timestamp.is_some() {
        return Ok(Action::await_change());
    }
    let Some(agent) = shared.agents.read(&cached).await? else { return Ok(Action::await_change()) };
    let agents: Api<Agent> =
        Api::namespaced(shared.ctx.client.clone(), &agent.namespace().unwrap_or_default());
    let revisions = shared.revisions.of(&agent);
    let in_use: BTreeSet<String> =
        shared.iterations.of(&agent).iter().map(|iteration| iteration.spec.revision.clone()).collect();
    let plan =
        plan(&Observed { agent: &agent, revisions: &revisions, in_use: &in_use, now: shared.ctx.now() });
    act(&shared, &agents, &agent, plan).await?;
    Ok(Action::requeue(jittered(IDLE)))
}

async fn act(shared: &Shared, agents: &Api<Agent>, agent: &Agent, plan: Plan) -> Result<()> {
    let namespace = agent.namespace().unwrap_or_default();
    let api: Api<AgentRevision> = Api::namespaced(shared.ctx.client.clone(), &namespace);
    if let Some(revision) = &plan.create {
        create(shared, &api, agent, revision).await?;
    }
    if let Some(Renumber { name, number, annotations }) = &plan.renumber {
        let patch =
            Patch::Merge(json!({"metadata": {"annotations": annotations}, "spec": {"revision": number}}));
        let params =
            PatchParams { field_manager: Some(labels::MANAGER_REVISION.into()), ..PatchParams::default() };
        let revision = api
            .patch(name, &params, &patch)
            .await
            .map_err(Error::api(format!("number AgentRevision {name}")))?;
        shared.revisions.observe(revision);
        let note = format!("an older definition is in use again as revision {number} ({name})");
        let action = format!("UseRevision{number}");
        shared.events.normal(agent, "RevisionReused", &action, note).await;
    }
    let old = agent.status.clone().unwrap_or_default();
    let written = write_status(agents, agent, labels::MANAGER_REVISION, FIELDS, &old, &plan.status).await?;
    let told = written.map(|written| shared.agents.observe(written));
    if let (Some((reason, note)), Some(())) = (plan.refused, told) {
        shared.events.warning(agent, reason, reason, note).await;
    }
    for name in &plan.remove {
        delete(&api, shared, agent, name).await?;
    }
    Ok(())
}

/// Records a revision. One that is there already must hold the same text: the name is made of the digest, and
/// the next look decides.
async fn create(
    shared: &Shared,
    api: &Api<AgentRevision>,
    agent: &Agent,
    revision: &AgentRevision,
) -> Result<()> {
    let name = revision.name_any();
    let params = PostParams { field_manager: Some(labels::MANAGER_REVISION.into()), ..PostParams::default() };
    let created =
        api.create(&params, revision).await.map_err(Error::api(format!("create AgentRevision {name}")));
    match created {
        Ok(revision) => {
            let note = format!("revision {} is recorded as {name}", revision.spec.revision);
            let action = format!("RecordRevision{}", revision.spec.revision);
            shared.revisions.observe(revision);
            shared.events.normal(agent, "RevisionRecorded", &action, note).await;
            Ok(())
        }
        Err(error) => {
            if error.code() == Some(409)
                && let Ok(Some(there)) = api.get_opt(&name).await
            {
                let there = if plan::is_orphan_of(&there, agent) {
                    adopt(api, there, revision).await?
                } else {
                    there
                };
                shared.revisions.observe(there);
            }
            Err(error)
        }
    }
}

/// Takes a revision that an agent of the same name left behind. The next look decides whether it holds the same text.
async fn adopt(
    api: &Api<AgentRevision>,
    there: AgentRevision,
    wanted: &AgentRevision,
) -> Result<AgentRevision> {
    let name = there.name_any();
    let patch = Patch::Merge(json!({"metadata": {
        "resourceVersion": there.metadata.resource_version,
        "ownerReferences": wanted.metadata.owner_references,
    }}));
    let params =
        PatchParams { field_manager: Some(labels::MANAGER_REVISION.into()), ..PatchParams::default() };
    api.patch(&name, &params, &patch).await.map_err(Error::api(format!("adopt AgentRevision {name}")))
}

async fn delete(api: &Api<AgentRevision>, shared: &Shared, agent: &Agent, name: &str) -> Result<()> {
    let uid =
        shared.revisions.of(agent).iter().find(|revision| revision.name_any() == name).and_then(|r| r.uid());
    let params = DeleteParams {
        preconditions: Some(Preconditions { uid, resource_version: None }),
        ..DeleteParams::background()
    };
    match api.delete(name, &params).await.map_err(Error::api(format!("delete AgentRevision {name}"))) {
        Err(error) if error.code() != Some(404) => Err(error),
        _ => Ok(()),
    }
}
