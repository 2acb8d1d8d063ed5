//! The loop that looks at messages: one pass at a time for each agent, started by whatever may change its answer.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};
use gcluster_types::kinds::message::{Delivery, Via};
use gcluster_types::{Agent, Iteration, Message, labels};
use kube::api::{Patch, PatchParams};
use kube::{Api, Resource, ResourceExt};
use serde_json::json;

use super::plan::{Decision, Scene, State, decide, in_order};
use super::receipts::Receipt;
use super::{Post, is_open};
use crate::control_loop::jittered;
use crate::error::{Error, Result};
use crate::executor::live::Door;
use crate::executor::transcript::Reader;
use crate::informer::AgentKey;

/// Pause after a pass that failed; it grows with each further one, up to twenty times.
const RETRY: Duration = Duration::from_millis(100);

impl Post {
    /// Watches messages and delivers them, until it is dropped.
    pub(in crate::executor) async fn run(&self) {
        let woken = self.shared.woken.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(mut woken) = woken else { return };
        let api = Api::all(self.shared.ctx.client.clone());
        let mut changed = Box::pin(self.shared.messages.follow(api, |_| {}));
        // Whether a pass that is under way has to be followed by another one.
        let mut again: HashMap<AgentKey, bool> = HashMap::new();
        let mut passes: FuturesUnordered<BoxFuture<'static, (AgentKey, u32, Result<()>)>> =
            FuturesUnordered::new();
        loop {
            let key = tokio::select! {
                Some(agent) = changed.next() => (agent.namespace.unwrap_or_default(), agent.name),
                Some(key) = woken.recv() => key,
                Some((key, attempts, done)) = passes.next() => {
                    let repeat = again.remove(&key).unwrap_or(false);
                    let attempts = match done {
                        Ok(()) if !repeat => continue,
                        Ok(()) => 0,
                        Err(error) => {
                            if !error.is_race() {
                                tracing::warn!(agent = %key.1, %error, attempts, "messages could not be delivered");
                            }
                            attempts + 1
                        }
                    };
                    again.insert(key.clone(), false);
                    passes.push(self.clone().pass_later(key, attempts).boxed());
                    continue;
                }
                else => return,
            };
            if self.shared.messages.under(&key).is_empty() {
                continue;
            }
            match again.get_mut(&key) {
                Some(again) => *again = true,
                None => {
                    again.insert(key.clone(), false);
                    passes.push(self.clone().pass_later(key, 0).boxed());
                }
            }
        }
    }

    async fn pass_later(self, key: AgentKey, attempts: u32) -> (AgentKey, u32, Result<()>) {
        if attempts > 0 {
            tokio::time::sleep(jittered(RETRY * attempts.min(20))).await;
        }
        let done = self.pass(&key).await;
        (key, attempts, done)
    }

    /// Looks at every message of an agent, in order of arrival.
    async fn pass(&self, key: &AgentKey) -> Result<()> {
        self.shared.messages.ready().await;
        self.shared.iterations.ready().await;
        let _turn = self.turn(key).await;
        let all = in_order(self.shared.messages.under(key));
        let todo = |message: &&Arc<Message>| is_open(message) || message.owner_references().is_empty();
        if !all.iter().any(|message| todo(&message)) {
            return Ok(());
        }
        let (namespace, name) = key;
        let agents: Api<Agent> = Api::namespaced(self.shared.ctx.client.clone(), namespace);
        let agent = agents.get_opt(name).await.map_err(Error::api(format!("read Agent {name}")))?;
        let Some(agent) = agent else {
            for message in all.iter().filter(|message| is_open(message)) {
                let how = format!("there is no agent {name} in the namespace {namespace}");
                self.refuse(message, Receipt::Failed(how)).await?;
            }
            return Ok(());
        };
        let uid = agent.uid().unwrap_or_default();
        // Those of an earlier agent of this name go with it.
        let strange = |message: &Arc<Message>| {
            message.owner_references().iter().any(|owner| owner.kind == "Agent" && owner.uid != uid)
        };
        let mine: Vec<_> = all.into_iter().filter(|message| !strange(message)).collect();
        if agent.metadata.deletion_timestamp.is_none() {
            for message in mine.iter().filter(|message| is_open(message)) {
                self.deliver(&agent, message).await?;
            }
        }
        for message in &mine {
            self.adopt(&agent, message).await?;
        }
        Ok(())
    }

    /// Does what is decided about one message.
    async fn deliver(&self, agent: &Agent, message: &Message) -> Result<()> {
        let mut iterations = self.shared.iterations.of(agent);
        if let Some(name) = &message.spec.iteration
            && !iterations.iter().any(|iteration| iteration.name_any() == *name)
        {
            // The watch may be behind whoever read the iteration's name and sent the message.
            let api: Api<Iteration> =
                Api::namespaced(self.shared.ctx.client.clone(), &agent.namespace().unwrap_or_default());
            let read = api.get_opt(name).await.map_err(Error::api(format!("read Iteration {name}")))?;
            iterations.extend(read.filter(|it| it.spec.agent == agent.name_any()).map(Arc::new));
        }
        let decision = self.decide(agent, message, &iterations);
        match decision {
            Decision::Leave => Ok(()),
            Decision::Settle => self.settle(message, &iterations).await,
            Decision::Expire(how) => self.refuse(message, Receipt::Expired(how)).await,
            Decision::Hand(name) => {
                let iteration = iterations.iter().find(|iteration| iteration.name_any() == name);
                let uid = iteration.and_then(|iteration| iteration.uid()).unwrap_or_default();
                self.hand(message, &name, &uid).await
            }
            Decision::Wait(how) => {
                let before = message.status.as_ref().and_then(|status| status.how.clone());
                // Why it came back says more than that it waits.
                if before.as_ref() == Some(&how) || self.came_back(message) {
                    return Ok(());
                }
                let written = self.receipt(message, &Receipt::Waits(how.clone())).await?;
                if before.is_none() && written.is_some() && message.spec.delivery != Delivery::Queue {
                    self.tell(message, false, "MessageQueued", &how).await;
                }
                Ok(())
            }
        }
    }

    fn decide(&self, agent: &Agent, message: &Message, iterations: &[Arc<Iteration>]) -> Decision {
        let door = |iteration: &Iteration| {
            self.shared.live.door(&iteration.uid().unwrap_or_default()).map(|door| match door {
                Door::Starting => State::Starting,
                Door::Closed => State::Closed,
                Door::Open(_) => State::Open,
            })
        };
        decide(message, &Scene { agent, iterations, door: &door })
    }

    fn came_back(&self, message: &Message) -> bool {
        let how = message.status.as_ref().and_then(|status| status.how.as_deref()).unwrap_or_default();
        how.starts_with("handed to ")
    }

    /// Records where it goes, then hands it over.
    async fn hand(&self, message: &Message, iteration: &str, uid: &str) -> Result<()> {
        let via = match message.spec.delivery {
            Delivery::Interrupt => Via::Interruption,
            Delivery::Steer | Delivery::Queue => Via::Turn,
        };
        let intent = Receipt::Intent { iteration: iteration.to_owned(), via };
        let Some(message) = self.receipt(message, &intent).await? else { return Ok(()) };
        let message = Arc::new(message);
        let taken = match self.shared.live.door(uid) {
            Some(Door::Open(door)) => door.send(message.clone()).is_ok(),
            _ => false,
        };
        if !taken {
            let how = format!("handed to {iteration}, which ended before it could take it");
            self.receipt(&message, &Receipt::Returned(how)).await?;
        }
        Ok(())
    }

    /// The iteration that it was handed to is over, and whoever ran it did not say what became of the message.
    async fn settle(&self, message: &Message, iterations: &[Arc<Iteration>]) -> Result<()> {
        let Some(message) = self.read(message).await?.filter(is_open) else { return Ok(()) };
        let status = message.status.clone().unwrap_or_default();
        let Some(name) = status.iteration else { return Ok(()) };
        let iteration = iterations.iter().find(|iteration| iteration.name_any() == name);
        let receipt = match iteration {
            None => Receipt::Failed(format!(
                "handed to {name}, which was removed: whether the agent was given it is not known; send it again if \
                 it is still needed"
            )),
            Some(iteration) => {
                let begun = iteration.status.as_ref().is_some_and(|status| status.session_id.is_some());
                let reader = Reader::new(self.shared.ctx.client.clone(), iteration);
                let records = match reader.records(0).await {
                    Err(error) if error.code() == Some(404) => Vec::new(),
                    other => other?,
                };
                if super::inbox::names(&records).contains(&message.name_any()) {
                    Receipt::Acknowledged
                } else if begun {
                    super::leftover::unknown(&name)
                } else {
                    Receipt::Returned(format!("handed to {name}, which never began"))
                }
            }
        };
        match receipt {
            Receipt::Failed(_) => self.refuse(&message, receipt).await,
            receipt => self.receipt(&message, &receipt).await.map(drop),
        }
    }

    /// Ends a message that will not be delivered, and says so.
    pub(super) async fn refuse(&self, message: &Message, receipt: Receipt) -> Result<()> {
        let written = self.receipt(message, &receipt).await?;
        if let (Some(_), Receipt::Failed(how) | Receipt::Expired(how)) = (written, &receipt) {
            let reason = match &receipt {
                Receipt::Failed(_) => "MessageFailed",
                _ => "MessageExpired",
            };
            self.tell(message, true, reason, how).await;
        }
        Ok(())
    }

    /// Makes the message go with its agent.
    async fn adopt(&self, agent: &Agent, message: &Message) -> Result<()> {
        let key = super::key_of(message).unwrap_or_default();
        let now = self.shared.messages.under(&key).into_iter().find(|there| there.uid() == message.uid());
        // Not before its place in the order of arrival is on record.
        let ready = |message: &Message| {
            message.owner_references().is_empty()
                && message.metadata.deletion_timestamp.is_none()
                && message.status.as_ref().is_some_and(|status| status.arrival.is_some())
        };
        let Some(message) = now.filter(|message| ready(message)) else { return Ok(()) };
        let owner = agent.owner_ref(&());
        let patch = json!({"metadata": {
            "resourceVersion": message.resource_version(),
            "ownerReferences": owner.map(|owner| vec![owner]),
        }});
        let params =
            PatchParams { field_manager: Some(labels::MANAGER_EXECUTOR.into()), ..PatchParams::default() };
        let name = message.name_any();
        let api: Api<Message> = Api::namespaced(self.shared.ctx.client.clone(), &key.0);
        match api.patch(&name, &params, &Patch::Merge(patch)).await {
            Ok(adopted) => self.shared.messages.observe(adopted),
            Err(error) => {
                let error = Error::api(format!("set the owner of Message {name}"))(error);
                // Whoever wrote it first changed it, and a change is looked at.
                if !error.is_race() {
                    return Err(error);
                }
            }
        }
        Ok(())
    }
}
