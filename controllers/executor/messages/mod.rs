//! Messages to agents: each given once, in the order of arrival, with receipts.
//!
//! ```text
//! Message ──courier──▶ intent (status.iteration, via) ─┬─▶ inbox of a running iteration ─▶ the program's input
//!                                                      └─▶ prompt of the next iteration
//!        Acknowledged ◀── record `message` in the transcript ◀── the program's own confirmation
//! ```
//!
//! The intent is on record before anything is handed over, and the transcript says that it was given before
//! the status does. So whatever is cut off can be told afterwards: without an intent it was not handed over;
//! with a record it was given; in between the output of the program decides ([`leftover`]).

mod courier;
mod inbox;
mod leftover;
mod plan;
mod prompt;
mod receipts;

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use gcluster_types::kinds::message::MessagePhase;
use gcluster_types::{Iteration, Message, labels};
use kube::ResourceExt;
use tokio::sync::mpsc;

use super::live::Live;
use crate::Context;
use crate::informer::{AgentKey, Index};
use crate::report::Events;

pub(super) use inbox::Inbox;
pub(super) use prompt::prefaced;

/// Everything that the delivery of messages needs. Clones share it.
#[derive(Clone)]
pub(super) struct Post {
    shared: Arc<Shared>,
}

struct Shared {
    ctx: Context,
    messages: Index<Message>,
    iterations: Index<Iteration>,
    live: Live,
    events: Events,
    /// One for each agent: whoever decides where its messages go.
    turns: Mutex<HashMap<AgentKey, Arc<tokio::sync::Mutex<()>>>>,
    wake: mpsc::UnboundedSender<AgentKey>,
    woken: Mutex<Option<mpsc::UnboundedReceiver<AgentKey>>>,
}

impl Post {
    /// `messages` is kept up to date by [`Post::run`].
    pub(super) fn new(
        ctx: Context,
        messages: Index<Message>,
        iterations: Index<Iteration>,
        live: Live,
    ) -> Self {
        let events = Events::new(ctx.client.clone(), labels::MANAGER_EXECUTOR);
        let (wake, woken) = mpsc::unbounded_channel();
        let woken = Mutex::new(Some(woken));
        let turns = Mutex::default();
        Self { shared: Arc::new(Shared { ctx, messages, iterations, live, events, turns, wake, woken }) }
    }

    /// Looks at the messages of an agent again.
    pub(super) fn wake(&self, key: AgentKey) {
        // Nobody listens when the controller has ended.
        let _ = self.shared.wake.send(key);
    }

    /// The right to decide where the messages of an agent go.
    async fn turn(&self, key: &AgentKey) -> tokio::sync::OwnedMutexGuard<()> {
        let turn = {
            let mut turns = self.shared.turns.lock().unwrap_or_else(PoisonError::into_inner);
            // Those that nobody holds or waits for are not needed any more.
            turns.retain(|other, turn| other == key || Arc::strong_count(turn) > 1);
            turns.entry(key.clone()).or_default().clone()
        };
        turn.lock_owned().await
    }

    /// Messages that were or are being handed to an iteration and that nothing was heard of.
    fn under_way(&self, key: &AgentKey, iteration: &str) -> Vec<Arc<Message>> {
        let all = self.shared.messages.under(key).into_iter().filter(|message| is_open(message));
        let to = |message: &Arc<Message>| {
            message.status.as_ref().and_then(|status| status.iteration.as_deref()) == Some(iteration)
        };
        plan::in_order(all.filter(to).collect())
    }
}

/// An empty index of messages, by the agent that they are for.
pub fn messages() -> Index<Message> {
    Index::keyed(key_of)
}

/// Namespace and name of the agent that a message is for.
fn key_of(message: &Message) -> Option<AgentKey> {
    Some((message.namespace().unwrap_or_default(), message.spec.agent.clone()))
}

fn key_of_iteration(iteration: &Iteration) -> AgentKey {
    (iteration.namespace().unwrap_or_default(), iteration.spec.agent.clone())
}

/// Whether something can still become of it.
fn is_open(message: &Message) -> bool {
    !message.status.as_ref().map_or(MessagePhase::Pending, |status| status.phase).is_terminal()
        && message.metadata.deletion_timestamp.is_none()
}
