//! The messages of one run, from its driver's side: handed to the program, followed, and settled at its end.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use gcluster_types::kinds::message::{Delivery, Via};
use gcluster_types::transcript::{Entry, Record};
use gcluster_types::{Iteration, Message};
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use tokio::sync::mpsc;

use super::receipts::Receipt;
use super::{Post, key_of_iteration};
use crate::backend::{BackendEvent, Capabilities, Control, SteerMessage, SteerState};
use crate::error::Result;
use crate::executor::live::Door;
use crate::executor::transcript::Writer;

/// The messages of one run.
pub(in crate::executor) struct Inbox {
    post: Post,
    uid: String,
    iteration: Iteration,
    sender: mpsc::UnboundedSender<Arc<Message>>,
    receiver: mpsc::UnboundedReceiver<Arc<Message>>,
    /// In the prompt, which was not answered yet.
    prompt: Vec<Arc<Message>>,
    /// Handed to the program and not confirmed, by uid.
    held: BTreeMap<String, Arc<Message>>,
    /// Receipts that are to be written.
    due: Vec<(Arc<Message>, Receipt)>,
}

impl Inbox {
    /// With the messages that are in the prompt.
    pub(in crate::executor) fn new(post: Post, iteration: &Iteration, prompt: Vec<Arc<Message>>) -> Self {
        let (sender, receiver) = mpsc::unbounded_channel();
        let (held, due) = (BTreeMap::new(), Vec::new());
        let uid = iteration.uid().unwrap_or_default();
        Self { post, uid, iteration: iteration.clone(), sender, receiver, prompt, held, due }
    }

    /// Of a program that an earlier master started, by what is on record of it; and the messages that it may have been
    /// handed in its turn. What was never handed over the backend hands over now, if the program's input is still open;
    /// what it has not confirmed when it ends waits for the next prompt.
    pub(in crate::executor) async fn adopted(
        post: Post,
        iteration: &Iteration,
        records: &[Record],
    ) -> (Self, Vec<SteerMessage>) {
        post.shared.messages.ready().await;
        let messages = post.under_way(&key_of_iteration(iteration), &iteration.name_any());
        let given = names(records);
        let mut inbox = Self::new(post, iteration, Vec::new());
        for message in messages {
            let via = message.status.as_ref().and_then(|status| status.via);
            if given.contains(&message.name_any()) {
                inbox.due.push((message, Receipt::Acknowledged));
            } else if via == Some(Via::Prompt) {
                inbox.prompt.push(message);
            } else {
                inbox.held.insert(message.uid().unwrap_or_default(), message);
            }
        }
        let told = inbox.held.values().map(|message| told(message)).collect();
        (inbox, told)
    }

    /// The program was started: it has its prompt, and takes messages if it can.
    pub(in crate::executor) fn open(
        &mut self,
        can: Capabilities,
        hears: bool,
        now: Timestamp,
        writer: &mut Writer,
    ) {
        let door = if can.live_steering && hears { Door::Open(self.sender.clone()) } else { Door::Closed };
        self.post.shared.live.set_door(&self.uid, door);
        self.post.wake(key_of_iteration(&self.iteration));
        self.due.extend(self.prompt.iter().map(|message| (message.clone(), Receipt::Delivered)));
        // A program that does not tell what it does was given its prompt when it was started with it.
        if !can.tools {
            self.answered(now, writer);
        }
    }

    /// The next message for the program.
    pub(in crate::executor) async fn next(&mut self) -> Option<Arc<Message>> {
        self.receiver.recv().await
    }

    /// Hands one to the program.
    pub(in crate::executor) fn hand(&mut self, message: Arc<Message>, control: &Control) {
        // One that it does not take is settled with its end, which is near.
        if control.steer(told(&message)).is_ok() {
            self.held.insert(message.uid().unwrap_or_default(), message);
        } else {
            let how = self.ended("ended before it could take it");
            self.due.push((message, Receipt::Returned(how)));
        }
    }

    /// Takes note of what the program reports. Records that belong before the report are pushed.
    pub(in crate::executor) fn saw(&mut self, event: &BackendEvent, now: Timestamp, writer: &mut Writer) {
        match event {
            BackendEvent::Record(
                Entry::Text { .. } | Entry::Thinking { .. } | Entry::ToolUse { .. } | Entry::Output { .. },
            ) => self.answered(now, writer),
            BackendEvent::Steered { id, state } => {
                let receipt = match state {
                    SteerState::Queued => Receipt::Delivered,
                    SteerState::Delivered => Receipt::Acknowledged,
                    SteerState::Refused => Receipt::Returned(self.ended("took no more messages")),
                    SteerState::Completed => return,
                };
                let held = match receipt {
                    Receipt::Delivered => self.held.get(id).cloned(),
                    _ => self.held.remove(id),
                };
                self.due.extend(held.map(|message| (message, receipt)));
            }
            _ => {}
        }
    }

    /// The prompt was answered, so what it holds was given.
    fn answered(&mut self, now: Timestamp, writer: &mut Writer) {
        for message in std::mem::take(&mut self.prompt) {
            writer.push(now, record_of(&message));
            self.due.push((message, Receipt::Acknowledged));
        }
    }

    /// Whether receipts are to be written, behind the records.
    pub(in crate::executor) fn is_due(&self) -> bool {
        !self.due.is_empty()
    }

    /// Writes the receipts. What cannot be written stays due.
    pub(in crate::executor) async fn report(&mut self) -> Result<()> {
        while let Some((message, receipt)) = self.due.first().cloned() {
            // A receipt that the next one for the same message overtakes is left out.
            let overtaken = self.due.iter().skip(1).any(|(later, _)| later.uid() == message.uid());
            if !overtaken {
                // The status that was handed over with may be older than the last receipt.
                let written = self.post.receipt(&message, &receipt).await?;
                if let (Some(written), Some(held)) =
                    (written, self.held.get_mut(&message.uid().unwrap_or_default()))
                {
                    *held = Arc::new(written);
                }
            }
            self.due.remove(0);
        }
        Ok(())
    }

    /// The program is over and everything that it reported was taken: what it did not confirm was not given.
    /// An error means that it is not on record, and the iteration's end must not be either.
    pub(in crate::executor) async fn settle(
        &mut self,
        succeeded: bool,
        told: bool,
        now: Timestamp,
        writer: &mut Writer,
    ) -> Result<()> {
        self.post.shared.live.set_door(&self.uid, Door::Closed);
        self.receiver.close();
        if succeeded {
            self.answered(now, writer);
        }
        let how = self.ended("ended before the model was given it");
        let mut left: Vec<Arc<Message>> = std::mem::take(&mut self.prompt);
        left.extend(std::mem::take(&mut self.held).into_values());
        let left = left.into_iter().map(|message| {
            let receipt = if told {
                Receipt::Returned(how.clone())
            } else {
                super::leftover::unknown(&self.iteration.name_any())
            };
            (message, receipt)
        });
        self.due.extend(left);
        // These came too late to be handed over at all.
        while let Ok(message) = self.receiver.try_recv() {
            self.due.push((message, Receipt::Returned(how.clone())));
        }
        if self.due.is_empty() {
            return Ok(());
        }
        writer.flush().await?;
        let told_of: Vec<_> = self.due.clone();
        self.report().await?;
        for (message, receipt) in told_of {
            if let Receipt::Returned(how) | Receipt::Failed(how) = &receipt {
                self.post.tell(&message, true, "MessageReturned", how).await;
            }
        }
        Ok(())
    }

    fn ended(&self, how: &str) -> String {
        format!("handed to {}, which {how}", self.iteration.name_any())
    }
}

/// What a backend is told of a message.
fn told(message: &Message) -> SteerMessage {
    SteerMessage {
        id: message.uid().unwrap_or_default(),
        name: Some(message.name_any()),
        from: message.spec.from.clone(),
        text: message.spec.text.clone(),
        interrupt: message.spec.delivery == Delivery::Interrupt,
    }
}

/// The record that says that the agent was given a message.
pub(super) fn record_of(message: &Message) -> Entry {
    let (from, text) = (message.spec.from.clone(), message.spec.text.clone());
    SteerMessage { name: Some(message.name_any()), from, text, ..SteerMessage::default() }.record()
}

/// Names of the messages that were given, by the records.
pub(super) fn names(records: &[Record]) -> HashSet<String> {
    let given = records.iter().filter_map(|record| match &record.entry {
        Entry::Message { name, .. } => name.clone(),
        _ => None,
    });
    given.collect()
}
