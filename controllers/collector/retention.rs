//! Iterations beyond the history limit go, with their transcripts; what is still needed stays. So do messages that
//! came to their end, but for the newest.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use gcluster_types::kinds::iteration::Phase;
use gcluster_types::{Agent, Iteration, Message};
use kube::api::{DeleteParams, Preconditions};
use kube::runtime::controller::Action;
use kube::{Api, ResourceExt};

use crate::Context;
use crate::agents::Agents;
use crate::control_loop::{self, jittered};
use crate::error::{Error, Result};
use crate::informer::Index;

/// Messages that came to their end, kept for each agent.
const MESSAGES: usize = 100;
/// What changes within this time is looked at once.
const SETTLE: Duration = Duration::from_millis(200);

/// Runs until it is dropped. An agent is looked at whenever its status counts another iteration.
pub(super) async fn run(
    ctx: Context,
    agents: &Agents,
    iterations: Index<Iteration>,
    messages: Index<Message>,
) {
    let shared = ctx.clone();
    let triggers = agents.triggers(|agent| agent.resource_version(), |_| {}).boxed();
    control_loop::run(&ctx, "collector", agents.store(), triggers, SETTLE, move |agent| {
        let (ctx, iterations, messages) = (shared.clone(), iterations.clone(), messages.clone());
        Box::pin(async move {
            forget(&ctx, &messages, &agent).await?;
            reconcile(&ctx, &iterations, &agent).await
        })
    })
    .await;
}

async fn forget(ctx: &Context, messages: &Index<Message>, agent: &Agent) -> Result<()> {
    let namespace = agent.namespace().unwrap_or_default();
    let all = messages.under(&(namespace.clone(), agent.name_any()));
    let api: Api<Message> = Api::namespaced(ctx.client.clone(), &namespace);
    for message in settled(all, MESSAGES) {
        let preconditions = Preconditions { uid: message.uid(), resource_version: None };
        let params = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::background() };
        let name = message.name_any();
        match api.delete(&name, &params).await.map_err(Error::api(format!("delete Message {name}"))) {
            Err(error) if !error.is_race() => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

/// The messages to remove: those that came to their end, but for the last ones that arrived.
pub(super) fn settled(messages: Vec<Arc<Message>>, keep: usize) -> Vec<Arc<Message>> {
    let status = |message: &Arc<Message>| message.status.clone().unwrap_or_default();
    let mut ended: Vec<_> =
        messages.into_iter().filter(|message| status(message).phase.is_terminal()).collect();
    ended.sort_by_cached_key(|message| std::cmp::Reverse((status(message).arrival, message.name_any())));
    ended.into_iter().skip(keep).collect()
}

async fn reconcile(ctx: &Context, iterations: &Index<Iteration>, agent: &Agent) -> Result<Action> {
    iterations.ready().await;
    // The watermark that was seen may be old, never ahead: less is removed then, and the rest next time.
    if agent.metadata.deletion_timestamp.is_none() {
        let api: Api<Iteration> = Api::namespaced(ctx.client.clone(), &agent.namespace().unwrap_or_default());
        for iteration in superfluous(agent, &iterations.of(agent)) {
            let preconditions = Preconditions { uid: iteration.uid(), resource_version: None };
            let params = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::background() };
            let name = iteration.name_any();
            match api.delete(&name, &params).await.map_err(Error::api(format!("delete Iteration {name}"))) {
                Err(error) if !error.is_race() => return Err(error),
                _ => {}
            }
        }
    }
    Ok(Action::requeue(jittered(Duration::from_secs(3_600).max(ctx.config.resync))))
}

/// The iterations to remove: ended, counted, beyond the limit of their step, and not needed as a previous output.
pub(super) fn superfluous(agent: &Agent, iterations: &[Arc<Iteration>]) -> Vec<Arc<Iteration>> {
    let status = agent.status.clone().unwrap_or_default();
    let limit = usize::try_from(agent.spec.iteration_history_limit).unwrap_or(usize::MAX);
    let phase =
        |iteration: &Iteration| iteration.status.as_ref().map_or(Phase::Pending, |status| status.phase);
    let needed = needed(iterations, status.execution, phase);
    let mut steps: BTreeMap<&str, Vec<&Arc<Iteration>>> = BTreeMap::new();
    for iteration in iterations {
        let counted = status.stats.iter().find(|stats| stats.step == iteration.spec.step);
        let counted = counted.is_some_and(|stats| iteration.spec.number < stats.next_number);
        if counted && phase(iteration).is_terminal() {
            steps.entry(&iteration.spec.step).or_default().push(iteration);
        }
    }
    let mut gone = Vec::new();
    for mut ended in steps.into_values() {
        ended.sort_by_key(|iteration| std::cmp::Reverse((iteration.spec.number, iteration.spec.item)));
        let old = ended.into_iter().skip(limit);
        gone.extend(old.filter(|iteration| !needed.contains_key(&iteration.name_any())).cloned());
    }
    gone
}

/// Names of the iterations of the present execution whose output a step, or the question what is done, needs: of
/// each step and item the newest that succeeded, and the two newest rounds of a loop over a pipeline.
fn needed(
    iterations: &[Arc<Iteration>],
    execution: Option<i64>,
    phase: impl Fn(&Iteration) -> Phase,
) -> HashMap<String, ()> {
    let current = iterations.iter().filter(|iteration| Some(iteration.spec.execution) == execution);
    let done: Vec<_> = current.filter(|iteration| phase(iteration) == Phase::Succeeded).collect();
    let mut newest: HashMap<(&str, Option<i64>), i64> = HashMap::new();
    let mut rounds: HashMap<&str, i64> = HashMap::new();
    for iteration in &done {
        let spec = &iteration.spec;
        let number = newest.entry((&spec.step, spec.item)).or_insert(spec.number);
        *number = spec.number.max(*number);
        if let Some(round) = spec.round {
            let newest = rounds.entry(&spec.step).or_insert(round);
            *newest = round.max(*newest);
        }
    }
    let needed = done.iter().filter(|iteration| {
        let spec = &iteration.spec;
        let last_rounds =
            spec.round.is_some_and(|round| rounds.get(spec.step.as_str()).is_some_and(|n| round >= n - 1));
        last_rounds || newest.get(&(&spec.step, spec.item)) == Some(&spec.number)
    });
    needed.map(|iteration| (iteration.name_any(), ())).collect()
}
