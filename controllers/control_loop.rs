//! How a controller runs: queue, reconcile with bounded concurrency, retry with jitter.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::future::BoxFuture;
use futures::{Stream, StreamExt};
use gcluster_types::Agent;
use kube::ResourceExt;
use kube::runtime::controller::{self, Action, ReconcileRequest};
use kube::runtime::reflector::{ObjectRef, Store};
use kube::runtime::watcher;

use crate::Context;
use crate::error::Error;

/// Agents to look at: those that changed, and those of which something else did.
pub(crate) type Triggers = Pin<Box<dyn Stream<Item = ObjectRef<Agent>> + Send>>;

/// Runs `reconcile` for every agent that `triggers` names, until the stream is dropped.
///
/// What triggers again within `settle` is one reconcile, `settle` after the last: what belongs together comes together.
/// Two reconciles of one agent never overlap. A failed one is tried again, later each time.
pub(crate) async fn run<R>(
    ctx: &Context,
    controller: &'static str,
    agents: Store<Agent>,
    triggers: Triggers,
    settle: Duration,
    reconcile: R,
) where
    R: Fn(Arc<Agent>) -> BoxFuture<'static, Result<Action, Error>> + Send + Sync + 'static,
{
    let queue = triggers.map(|agent| Ok::<_, watcher::Error>(ReconcileRequest::from(agent)));
    let failures: Arc<Mutex<HashMap<String, u32>>> = Arc::default();
    let reset = failures.clone();
    let (reconcile, pulse) = (Arc::new(reconcile), ctx.pulse.clone());
    let config = controller::Config::default().concurrency(ctx.config.concurrency).debounce(settle);
    let run = controller::applier(
        move |agent: Arc<Agent>, _: Arc<()>| {
            let (reconcile, reset) = (reconcile.clone(), reset.clone());
            let (key, beat) = (key(&agent), pulse.begin(controller));
            let done: BoxFuture<'static, Result<Action, Error>> = Box::pin(async move {
                let _until_it_is_over = beat;
                let action = reconcile(agent).await?;
                reset.lock().unwrap_or_else(PoisonError::into_inner).remove(&key);
                Ok(action)
            });
            done
        },
        move |agent: Arc<Agent>, error: &Error, _: Arc<()>| {
            let mut failures = failures.lock().unwrap_or_else(PoisonError::into_inner);
            let attempts = failures.entry(key(&agent)).and_modify(|n| *n = n.saturating_add(1)).or_insert(0);
            if !error.is_race() {
                let agent = ObjectRef::from_obj(&*agent);
                tracing::warn!(controller, %agent, %error, attempts = *attempts, "a reconcile failed");
            }
            Action::requeue(error.retry_after(*attempts))
        },
        Arc::new(()),
        agents,
        queue,
        config,
    );
    run.for_each(|result| async {
        match result {
            // The first is said above; the second is an agent that was deleted meanwhile.
            Ok(_) | Err(controller::Error::ReconcilerFailed(..) | controller::Error::ObjectNotFound(_)) => {}
            Err(error) => tracing::debug!(controller, %error, "the queue was disturbed"),
        }
    })
    .await;
}

/// A pause of about this length: at most a quarter longer, so that a thousand agents do not wake together.
pub(crate) fn jittered(pause: Duration) -> Duration {
    pause.mul_f64(1.0 + fastrand::f64() / 4.0)
}

fn key(agent: &Agent) -> String {
    agent.uid().unwrap_or_else(|| agent.name_any())
}
