//! The executor's loop: read, plan, act, report.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::StreamExt;
use gcluster_types::kinds::iteration::Phase;
use gcluster_types::{Agent, AgentRevision, Iteration, IterationSpec, Message, labels};
use kube::api::{Patch, PatchParams, PostParams};
use kube::runtime::controller::Action;
use kube::runtime::reflector::ObjectRef;
use kube::{Api, Resource, ResourceExt};
use serde_json::json;
use tokio::sync::OnceCell;

use super::budget::Desk;
use super::credential::Credential;
use super::driver::{Run, drive, remove};
use super::flow::{Start, phase};
use super::live::{Door, Live};
use super::messages::Post;
use super::pace::Pace;
use super::plan::{Observed, Plan, StopReason, plan};
use super::rotation::Rotation;
use super::standings::{self, Member, Standings, group_of};
use super::{adoption, credential, provider, record, transcript};
use crate::Context;
use crate::agents::Agents;
use crate::backend::{Backend, Unavailable, sweep};
use crate::control_loop::{self, jittered};
use crate::environment;
use crate::error::{Error, Result};
use crate::informer::Index;
use crate::report::{Events, write_status};

/// The status fields that the executor writes. Of the conditions it leaves `Ready` alone.
const FIELDS: &[&str] = &[
    "runState",
    "execution",
    "executionDigest",
    "observedRestart",
    "observedReplacement",
    "iterations",
    "fruitlessIterations",
    "backoffUntil",
    "throttledUntil",
    "credential",
    "credentialSource",
    "providerFault",
    "reason",
    "message",
    "reasonSince",
    "lastIterationTime",
    "activeIterations",
    "tokens",
    "costUSD",
    "unpricedTokens",
    "today",
    "cost",
    "backend",
    "stats",
    "conditions",
];

/// How long an agent that does not change is left alone.
const IDLE: Duration = Duration::from_secs(3_600);
/// What belongs together comes within this time: an iteration is recorded, starts, and is seen to run.
const SETTLE: Duration = Duration::from_millis(20);
/// How often is looked at what has not been taken over.
const LOOK: Duration = Duration::from_millis(20);
/// Outputs that are kept at hand, in bytes, of all agents.
const CACHE_BYTES: usize = 32 << 20;

/// Runs iterations.
#[derive(Clone)]
pub struct Executor {
    shared: Arc<Shared>,
}

struct Shared {
    ctx: Context,
    agents: Agents,
    revisions: Index<AgentRevision>,
    iterations: Index<Iteration>,
    events: Events,
    live: Live,
    post: Post,
    pace: Pace,
    standings: Standings,
    rotation: Rotation,
    desk: Desk,
    outputs: Mutex<HashMap<String, Arc<str>>>,
    /// What was before this process is known.
    begun: OnceCell<()>,
}

impl Executor {
    /// An executor that keeps `iterations` and `messages` up to date.
    pub(crate) fn new(
        ctx: Context,
        agents: Agents,
        iterations: Index<Iteration>,
        messages: Index<Message>,
    ) -> Self {
        let events = Events::new(ctx.client.clone(), labels::MANAGER_EXECUTOR);
        let pace = Pace::new(ctx.config.clone());
        let revisions = Index::default();
        let desk = Desk::new(iterations.clone());
        let (live, outputs, begun) = (Live::new(), Mutex::default(), OnceCell::new());
        let post = Post::new(ctx.clone(), messages, iterations.clone(), live.clone());
        let (standings, rotation) = (Standings::default(), Rotation::default());
        let shared = Shared {
            ctx,
            agents,
            revisions,
            iterations,
            events,
            live,
            post,
            pace,
            standings,
            rotation,
            desk,
            outputs,
            begun,
        };
        Self { shared: Arc::new(shared) }
    }

    /// Runs until it is dropped. Iterations that run go on; [`Executor::close`] ends them.
    pub async fn run(&self) {
        let shared = self.shared.clone();
        let client = shared.ctx.client.clone();
        let (live, pace) = (shared.live.clone(), shared.pace.clone());
        let deleted = move |iteration: &Iteration| {
            let uid = iteration.uid().unwrap_or_default();
            live.stop(&uid, StopReason::Deleted);
            pace.settle(&uid);
        };
        let iterations = shared.iterations.follow(Api::all(client.clone()), deleted);
        let revisions = shared.revisions.follow(Api::all(client.clone()), |_| {});
        let mut returned = shared.live.returned();
        let returned = futures::stream::poll_fn(move |cx| returned.poll_recv(cx));
        let mut woken = shared.standings.woken();
        let woken = futures::stream::poll_fn(move |cx| woken.poll_recv(cx));
        let woken = futures::stream::select(woken, shared.rotation.woken(client));
        let woken = futures::stream::select(woken, shared.pace.moved().boxed());
        let returned = futures::stream::select(returned, woken);
        let mut released = shared.desk.woken();
        let woken = futures::stream::poll_fn(move |cx| released.poll_recv(cx));
        let watched = futures::stream::select(iterations.boxed(), revisions.boxed());
        let watched = futures::stream::select(watched, woken);
        let desk = shared.desk.clone();
        let post = shared.post.clone();
        let triggers = futures::stream::select(watched, returned).inspect({
            let post = post.clone();
            move |agent| post.wake((agent.namespace.clone().unwrap_or_default(), agent.name.clone()))
        });
        let (ctx, agents, live) = (shared.ctx.clone(), shared.agents.store(), shared.live.clone());
        let (standings, queue, clock) = (shared.standings.clone(), shared.pace.clone(), shared.ctx.clone());
        let gone = move |agent: &Agent| {
            live.forget(&agent.uid().unwrap_or_default());
            let key = standings::key(agent);
            standings.forget(&key, clock.now());
            queue.forget(&key);
        };
        let own = shared.agents.triggers(|agent| agent.resource_version(), gone);
        let triggers = futures::stream::select(own.boxed(), triggers).boxed();
        let reconciling = control_loop::run(&ctx, "executor", agents, triggers, SETTLE, move |agent| {
            let shared = shared.clone();
            Box::pin(async move {
                shared.post.wake((agent.namespace().unwrap_or_default(), agent.name_any()));
                shared.reconcile(agent).await
            })
        });
        let stale = super::stale::clear(ctx.config.runs_dir.clone(), self.shared.iterations.clone());
        let (post, desk) =
            (ctx.pulse.keep("messages", || post.run()), ctx.pulse.keep("budgets", || desk.run(&ctx)));
        tokio::join!(reconciling, post, stale, desk);
    }

    /// Completes when all that an earlier master left running is in hand, so that [`Executor::close`] ends that, too; at
    /// the latest after `limit`. [`Executor::run`] has to go on meanwhile.
    pub async fn taken_over(&self, limit: Duration) {
        let in_hand = async {
            self.shared.iterations.ready().await;
            let is_left = |iteration: &Arc<Iteration>| {
                let uid = iteration.uid().unwrap_or_default();
                // Claimed is not enough: until its program is followed, that is dropped with the loop.
                let door = self.shared.live.door(&uid);
                phase(iteration) == Phase::Running && matches!(door, None | Some(Door::Starting))
            };
            while self.shared.iterations.all().iter().any(is_left) {
                tokio::time::sleep(LOOK).await;
            }
        };
        if tokio::time::timeout(limit, in_hand).await.is_err() {
            tracing::warn!(
                "programs of an earlier master were not taken over in time; the next one ends them"
            );
        }
    }

    /// Ends every iteration that runs and waits until all is recorded, at most `limit`.
    pub async fn close(&self, limit: Duration) {
        let left = self.shared.live.close(limit).await;
        if left > 0 {
            tracing::warn!(
                left,
                "iterations did not end in time; the next start records them as interrupted"
            );
        }
    }
}

impl Shared {
    /// Acts on what was seen, which may be old: a write that comes too late is refused, and tried again on what is
    /// there by then.
    async fn reconcile(self: Arc<Self>, cached: Arc<Agent>) -> Result<Action> {
        self.iterations.ready().await;
        self.revisions.ready().await;
        self.desk.ready().await;
        self.begun.get_or_init(|| self.begin()).await;
        let agent = self.agents.newest(&cached);
        let done = self.look(&agent).await;
        if done.as_ref().is_err_and(Error::is_race) {
            self.agents.read(&agent).await?;
        }
        done
    }

    async fn look(self: &Arc<Self>, agent: &Arc<Agent>) -> Result<Action> {
        let agents: Api<Agent> =
            Api::namespaced(self.ctx.client.clone(), &agent.namespace().unwrap_or_default());
        self.rotation.note(agent);
        let resolved = environment::resolve(&self.ctx.client, agent).await?;
        let account = self.account(agent, resolved.as_deref().ok());
        let environment = resolved.err();
        let (mut plan, backend) = loop {
            let (plan, backend) = self.plan(agent, environment.as_ref(), &account);
            for (uid, reason) in &plan.stops {
                self.live.stop(uid, *reason);
            }
            if let Some(iteration) = &plan.needs {
                self.load(agent, iteration).await?;
            } else if plan.leftovers.is_empty() && plan.unwanted.is_empty() {
                break (plan, backend);
            } else {
                self.clear(agent, &plan).await?;
            }
        };
        if environment.is_some() {
            // A Secret or ConfigMap that appears is no event of the agent.
            let soon = jittered(environment::RECHECK);
            plan.look_again = plan.look_again.map(|at| at.min(soon));
        }
        let standing = self.standing(agent, &plan, &account);
        let action = self.act(&agents, agent, plan, backend).await?;
        self.standings.take(agent, &account, standing, self.ctx.now());
        Ok(action)
    }

    /// Before anything new begins: what an earlier master began has its room, and what agents were refused counts.
    async fn begin(&self) {
        let begun = |iteration: &Iteration| phase(iteration) == Phase::Running;
        self.iterations.all().iter().filter(|iteration| begun(iteration)).for_each(|i| self.pace.expect(i));
        self.agents.store().state().iter().for_each(|agent| self.standings.seed(agent));
    }

    /// How the agent stands on its credential, as it is planned now.
    fn standing(&self, agent: &Agent, plan: &Plan, account: &provider::View) -> Member {
        let live = self.live.of_agent(&agent.uid().unwrap_or_default());
        let iterations = self.iterations.of(agent);
        Member::of(agent, &iterations, &live, plan, account, self.ctx.now())
    }

    /// What is known of what the agent authenticates with.
    fn account(&self, agent: &Agent, environment: Option<&[(String, String)]>) -> provider::View {
        let (_, backend) = self.backend(agent);
        let credential = match (environment, &backend) {
            (Some(environment), Some(backend)) => {
                let salt = &self.ctx.config.salt;
                credential::of(&**backend, agent, environment, &credential::ambient, salt)
            }
            // A value is missing: what was known is not forgotten meanwhile.
            _ => Credential::known(agent),
        };
        let key = standings::key(agent);
        let group = group_of(credential.as_ref().map(|credential| credential.name.as_str()), &key);
        let (fault, turn, answers) = self.standings.view(&group, &key, agent.spec.priority, self.ctx.now());
        let authentication = backend.map(|backend| backend.authentication()).unwrap_or_default();
        provider::View { credential, authentication, fault, turn, answers }
    }

    fn backend(&self, agent: &Agent) -> (String, Option<Arc<dyn Backend>>) {
        let named = agent.spec.backend.as_ref().and_then(|backend| backend.name.clone());
        let name = named.unwrap_or_else(|| self.ctx.config.default_backend.clone());
        let backend = self.ctx.backends.get(&name).cloned();
        (name, backend)
    }

    fn plan(
        &self,
        agent: &Agent,
        missing: Option<&Unavailable>,
        account: &provider::View,
    ) -> (Plan, Option<Arc<dyn Backend>>) {
        let uid = agent.uid().unwrap_or_default();
        let (name, backend) = self.backend(agent);
        let available = match &backend {
            Some(backend) => backend.check().and_then(|()| missing.cloned().map_or(Ok(()), Err)),
            None => Err(self.unknown(&name)),
        };
        let now = self.ctx.now();
        let look = self.desk.look(agent, now);
        let plan = plan(&Observed {
            agent,
            revisions: &self.revisions.of(agent),
            iterations: &self.iterations.of(agent),
            live: &self.live.of_agent(&uid),
            floor: &|step| self.live.floor(&uid, step),
            outputs: &|iteration| self.cached(&uid, iteration),
            backend: &name,
            available,
            provider: account.clone(),
            waits: self.pace.tell(agent),
            budgets: &look.views,
            config: &self.ctx.config,
            now,
            spread: fastrand::f64(),
        });
        look.leave(&plan);
        (plan, backend)
    }

    fn unknown(&self, name: &str) -> Unavailable {
        let known: Vec<&str> = self.ctx.backends.keys().map(String::as_str).collect();
        Unavailable {
            reason: "UnknownBackend",
            message: format!("there is no backend {name:?}"),
            hint: format!("set spec.backend.name to one of: {}", known.join(", ")),
        }
    }

    async fn act(
        self: &Arc<Self>,
        agents: &Api<Agent>,
        agent: &Arc<Agent>,
        plan: Plan,
        backend: Option<Arc<dyn Backend>>,
    ) -> Result<Action> {
        if let Some(wanted) = plan.finalizer {
            set_finalizer(agents, agent, wanted).await?.into_iter().for_each(|now| self.agents.observe(now));
            return Ok(Action::requeue(jittered(IDLE)));
        }
        let old = agent.status.clone().unwrap_or_default();
        let written =
            write_status(agents, agent, labels::MANAGER_EXECUTOR, FIELDS, &old, &plan.status).await?;
        let is_current = written.is_some();
        if let Some(written) = written {
            self.agents.observe(written);
            for note in &plan.notes {
                if note.warning {
                    self.events.warning(&**agent, note.reason, &note.action, &note.message).await;
                } else {
                    self.events.normal(&**agent, note.reason, &note.action, &note.message).await;
                }
            }
        }
        if agent.metadata.deletion_timestamp.is_some() {
            return Ok(Action::requeue(jittered(IDLE)));
        }
        // A write that was taken says that the agent was as it was seen. Without one it is asked for.
        if !plan.starts.is_empty() && !is_current {
            let now = self.agents.read(agent).await?;
            if now.is_none_or(|now| now.resource_version() != agent.resource_version()) {
                return Ok(Action::requeue(Duration::ZERO));
            }
        }
        if let Some(backend) = backend {
            let execution = plan.status.execution.unwrap_or(1);
            for start in plan.starts {
                self.start(agent, &plan.revision, execution, start, &backend).await?;
            }
        }
        // An exact time is kept exactly: it was spread when it was chosen.
        Ok(plan.look_again.map_or_else(|| Action::requeue(jittered(IDLE)), Action::requeue))
    }

    /// Records an iteration and lets a task run it.
    async fn start(
        self: &Arc<Self>,
        agent: &Arc<Agent>,
        revision: &str,
        execution: i64,
        start: Start,
        backend: &Arc<dyn Backend>,
    ) -> Result<()> {
        let api: Api<Iteration> =
            Api::namespaced(self.ctx.client.clone(), &agent.namespace().unwrap_or_default());
        let iteration = new_iteration(agent, revision, execution, &start);
        let name = iteration.name_any();
        let owner = agent.uid().unwrap_or_default();
        let params =
            PostParams { field_manager: Some(labels::MANAGER_EXECUTOR.into()), ..PostParams::default() };
        let (iteration, is_new) =
            match api.create(&params, &iteration).await.map_err(Error::api(format!("create {name}"))) {
                Ok(created) => (created, true),
                Err(error) if error.code() == Some(409) => {
                    let there =
                        api.get_opt(&name).await.map_err(Error::api(format!("read Iteration {name}")))?;
                    let own = |there: &Iteration| there.owner_references().iter().any(|o| o.uid == owner);
                    let Some(there) = there.filter(own) else {
                        // What an agent of this name left behind, deleted with its iterations orphaned, keeps its
                        // number: the next look takes the next one.
                        self.live.give(&owner, &start.step, start.number);
                        return Err(error);
                    };
                    self.iterations.observe(there.clone());
                    if phase(&there) != Default::default() || there.spec.execution != execution {
                        return Err(error);
                    }
                    (there, false)
                }
                Err(error) => return Err(error),
            };
        // Not before: a creation whose answer got lost is tried again under the same number.
        self.live.give(&owner, &start.step, start.number);
        self.iterations.observe(iteration.clone());
        let uid = iteration.uid().unwrap_or_default();
        // Claimed already: it runs.
        let Some(claim) = self.live.claim(&uid, &owner, ObjectRef::from_obj(&**agent)) else { return Ok(()) };
        let run = Run {
            ctx: self.ctx.clone(),
            pace: self.pace.clone(),
            standings: self.standings.clone(),
            agent: agent.clone(),
            iteration,
            is_new,
            prompt: start.prompt,
            backend: backend.clone(),
            iterations: self.iterations.clone(),
            post: self.post.clone(),
            claim,
        };
        tokio::spawn(drive(run));
        Ok(())
    }

    /// Goes on with what an earlier process began. False when its program has to be ended.
    async fn adopt(&self, agent: &Arc<Agent>, iteration: &Iteration) -> Result<bool> {
        let name = iteration.status.as_ref().and_then(|status| status.backend.clone());
        let Some(backend) = name.and_then(|name| self.ctx.backends.get(&name).cloned()) else {
            return Ok(false);
        };
        let (uid, owner) = (iteration.uid().unwrap_or_default(), agent.uid().unwrap_or_default());
        let Some(claim) = self.live.claim(&uid, &owner, ObjectRef::from_obj(&**agent)) else {
            return Ok(self.live.of_agent(&owner).contains(&uid));
        };
        let run = Run {
            ctx: self.ctx.clone(),
            pace: self.pace.clone(),
            standings: self.standings.clone(),
            agent: agent.clone(),
            iteration: iteration.clone(),
            is_new: false,
            prompt: String::new(),
            backend: backend.clone(),
            iterations: self.iterations.clone(),
            post: self.post.clone(),
            claim,
        };
        let Some(found) = adoption::find(&run, iteration, agent, &backend).await? else { return Ok(false) };
        let note = "the program that an earlier master started goes on".to_owned();
        self.events.normal(iteration, "Adopted", "Run", note).await;
        tokio::spawn(adoption::go_on(run, found));
        Ok(true)
    }

    /// Ends what an earlier process began, and what was recorded and is not wanted any more.
    async fn clear(&self, agent: &Arc<Agent>, plan: &Plan) -> Result<()> {
        for iteration in &plan.leftovers {
            let uid = iteration.uid().unwrap_or_default();
            let api = Api::namespaced(self.ctx.client.clone(), &iteration.namespace().unwrap_or_default());
            // What was seen may be older than the end of it.
            if let Some(fresh) = record::read(&api, iteration).await? {
                let over = phase(&fresh).is_terminal();
                self.iterations.observe(fresh.clone());
                if over {
                    self.pace.settle(&uid);
                }
                if over || self.adopt(agent, &fresh).await? {
                    continue;
                }
            }
            let run_dir = self.ctx.config.runs_dir.join(&uid);
            let marked = (uid.clone(), run_dir.clone());
            // Nothing may run on in the name of an iteration that is over.
            let swept = tokio::task::spawn_blocking(move || sweep::sweep_run(&marked.0, &marked.1)).await;
            if let Ok(left) = swept
                && !left.is_empty()
            {
                tracing::warn!(iteration = %iteration.name_any(), ?left, "processes of an iteration cannot be ended");
            }
            let backend = iteration.status.as_ref().and_then(|status| status.backend.clone());
            let backend = backend.and_then(|name| self.ctx.backends.get(&name).cloned());
            self.post.settle_leftover(iteration, backend, &run_dir).await?;
            self.closed(iteration, adoption::MASTER_RESTARTED).await?;
            self.pace.settle(&uid);
            remove(run_dir).await;
        }
        for (iteration, reason) in &plan.unwanted {
            self.closed(iteration, reason.reason()).await?;
        }
        Ok(())
    }

    async fn closed(&self, iteration: &Iteration, reason: &str) -> Result<()> {
        match record::close(&self.ctx, iteration, reason).await? {
            Some(now) => self.iterations.observe(now),
            None => {
                if let Some(key) = crate::informer::agent_of(iteration) {
                    self.iterations.remove(&key, &iteration.name_any());
                }
            }
        }
        Ok(())
    }

    fn cached(&self, agent: &str, iteration: &str) -> Option<Arc<str>> {
        let outputs = self.outputs.lock().unwrap_or_else(PoisonError::into_inner);
        outputs.get(&format!("{agent}/{iteration}")).cloned()
    }

    async fn load(&self, agent: &Agent, name: &str) -> Result<()> {
        let found = self.iterations.of(agent).into_iter().find(|iteration| iteration.name_any() == name);
        let output = match found {
            Some(iteration) => {
                let size = iteration.status.as_ref().and_then(|status| status.transcript.clone());
                let reader = transcript::Reader::new(self.ctx.client.clone(), &iteration);
                reader.output(size.as_ref()).await?
            }
            None => String::new(),
        };
        let mut outputs = self.outputs.lock().unwrap_or_else(PoisonError::into_inner);
        let held: usize = outputs.values().map(|output| output.len()).sum();
        // All are in the transcripts: starting afresh costs a few reads and keeps no order of use.
        if held + output.len() > CACHE_BYTES {
            outputs.clear();
        }
        outputs.insert(format!("{}/{name}", agent.uid().unwrap_or_default()), output.into());
        Ok(())
    }
}

fn new_iteration(agent: &Agent, revision: &str, execution: i64, start: &Start) -> Iteration {
    let spec = IterationSpec {
        agent: agent.name_any(),
        revision: revision.to_owned(),
        step: start.step.clone(),
        kind: start.kind,
        number: start.number,
        item: start.item,
        round: start.round,
        execution,
    };
    let mut iteration = Iteration::new(&start.name(&agent.name_any()), spec);
    iteration.metadata.namespace = agent.namespace();
    iteration.metadata.owner_references = agent.controller_owner_ref(&()).map(|owner| vec![owner]);
    iteration.labels_mut().insert(labels::AGENT.to_owned(), agent.name_any());
    iteration.labels_mut().insert(labels::STEP.to_owned(), start.step.clone());
    iteration
}

async fn set_finalizer(agents: &Api<Agent>, agent: &Agent, wanted: bool) -> Result<Option<Agent>> {
    let mut finalizers: Vec<String> = agent.finalizers().to_vec();
    finalizers.retain(|name| name != labels::EXECUTOR_FINALIZER);
    if wanted {
        finalizers.push(labels::EXECUTOR_FINALIZER.to_owned());
    }
    let patch = json!({"metadata": {"resourceVersion": agent.resource_version(), "finalizers": finalizers}});
    let params =
        PatchParams { field_manager: Some(labels::MANAGER_EXECUTOR.into()), ..PatchParams::default() };
    let name = agent.name_any();
    match agents.patch(&name, &params, &Patch::Merge(patch)).await {
        // Gone: there is nothing left to protect.
        Err(error) if !wanted && crate::error::api_code(&error) == Some(404) => Ok(None),
        other => other.map(Some).map_err(Error::api(format!("set the finalizer of Agent {name}"))),
    }
}
