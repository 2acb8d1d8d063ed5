//! Writing what became of a message: each step once, whoever else writes the object meanwhile.

use gcluster_types::kinds::message::{MessagePhase, MessageStatus, Via};
use gcluster_types::{Message, labels};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::{Api, ResourceExt};
use serde_json::{Value, json};

use super::{Post, is_open, key_of, plan};
use crate::error::{Error, Result};
use crate::report::write_status;

/// Fields of the status. All are the executor's.
const FIELDS: &[&str] = &["phase", "arrival", "via", "iteration", "deliveredAt", "acknowledgedAt", "how"];
/// How often a write is tried before whoever wants it has to find another way.
const ATTEMPTS: u32 = 8;

/// What became of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Receipt {
    /// It waits, for this reason.
    Waits(String),
    /// It is about to be handed to an iteration.
    Intent { iteration: String, via: Via },
    /// The program of the iteration has it.
    Delivered,
    /// The model was given it. The iteration and the way when the message does not say them yet.
    Acknowledged,
    /// It was not given after all and waits again; or, if it was meant for that iteration alone, it expired.
    Returned(String),
    /// It came too late.
    Expired(String),
    /// It will not be delivered.
    Failed(String),
}

impl Post {
    /// Writes a receipt, and tries again when an answer gets lost or somebody else wrote the object. Answers the
    /// message as it is then; `None` when it is gone, or when it stands otherwise than the receipt assumes.
    pub(super) async fn receipt(&self, message: &Message, receipt: &Receipt) -> Result<Option<Message>> {
        let namespace = message.namespace().unwrap_or_default();
        let api: Api<Message> = Api::namespaced(self.shared.ctx.client.clone(), &namespace);
        let now = MicroTime(self.shared.ctx.now());
        // What was seen first decides on the place in the order of arrival.
        let arrival = plan::arrival(message);
        let mut base = message.clone();
        let mut wanted: Option<MessageStatus> = None;
        let mut attempt = 0;
        loop {
            let status = base.status.clone();
            // An answer got lost: what is there is what was written.
            if wanted.is_some() && status == wanted {
                self.shared.messages.observe(base.clone());
                return Ok(Some(base));
            }
            let Some(next) = next(&base, arrival, receipt, &now) else { return Ok(None) };
            let before = status.as_ref().map_or(Ok(json!({})), serde_json::to_value);
            let (Ok(before), Ok(after)) = (before, serde_json::to_value(&next)) else { return Ok(None) };
            wanted = Some(next);
            let written: Result<Option<Message>> =
                write_status::<_, Value>(&api, &base, labels::MANAGER_EXECUTOR, FIELDS, &before, &after)
                    .await;
            let error = match written {
                Ok(written) => {
                    let written = written.unwrap_or(base);
                    self.shared.messages.observe(written.clone());
                    return Ok(Some(written));
                }
                Err(error) => error,
            };
            attempt += 1;
            if attempt > ATTEMPTS {
                return Err(error);
            }
            tokio::time::sleep(error.retry_after(attempt.min(3))).await;
            let name = message.name_any();
            let fresh = match api.get_opt(&name).await {
                Ok(fresh) => fresh.filter(|fresh| fresh.uid() == message.uid()),
                Err(_) => continue,
            };
            let Some(fresh) = fresh else {
                key_of(message).into_iter().for_each(|key| self.shared.messages.remove(&key, &name));
                return Ok(None);
            };
            base = fresh;
        }
    }

    /// The message as it is now; `None` when it is gone.
    pub(super) async fn read(&self, message: &Message) -> Result<Option<Message>> {
        let namespace = message.namespace().unwrap_or_default();
        let api: Api<Message> = Api::namespaced(self.shared.ctx.client.clone(), &namespace);
        let name = message.name_any();
        let fresh = api.get_opt(&name).await.map_err(Error::api(format!("read Message {name}")))?;
        Ok(fresh.filter(|fresh| fresh.uid() == message.uid()))
    }

    /// Tells people about a message that did not go the way that was asked for.
    pub(super) async fn tell(&self, message: &Message, warning: bool, reason: &str, note: &str) {
        let note = format!("{} for {}: {note}", message.name_any(), message.spec.agent);
        if warning {
            self.shared.events.warning(message, reason, "Deliver", note).await;
        } else {
            self.shared.events.normal(message, reason, "Deliver", note).await;
        }
    }
}

/// The status that a receipt makes of the one that is there.
fn next(message: &Message, arrival: i64, receipt: &Receipt, now: &MicroTime) -> Option<MessageStatus> {
    let mut status = message.status.clone().unwrap_or_default();
    if !is_open(message) {
        return None;
    }
    status.arrival.get_or_insert(arrival);
    let to = status.iteration.clone().unwrap_or_default();
    match receipt {
        Receipt::Waits(how) if status.iteration.is_none() => status.how = Some(how.clone()),
        Receipt::Waits(_) => return None,
        Receipt::Intent { iteration, via } => {
            if status.iteration.as_ref().is_some_and(|there| there != iteration) {
                return None;
            }
            status.iteration = Some(iteration.clone());
            status.via = Some(*via);
            status.how = Some(format!("being handed to {iteration}"));
        }
        Receipt::Delivered => {
            status.phase = MessagePhase::Delivered;
            status.delivered_at.get_or_insert_with(|| now.clone());
            status.how = Some(match status.via {
                Some(Via::Prompt) => format!("in the prompt of {to}, which has not answered yet"),
                Some(Via::Interruption) => format!("the running turn of {to} is being ended for it"),
                _ => format!("the program of {to} has it; the model is given it at its next tool boundary"),
            });
        }
        Receipt::Acknowledged => {
            status.phase = MessagePhase::Acknowledged;
            status.delivered_at.get_or_insert_with(|| now.clone());
            status.acknowledged_at = Some(now.clone());
            status.how = Some(match status.via {
                Some(Via::Prompt) => format!("in front of the prompt of {to}"),
                Some(Via::Interruption) => format!("the running turn of {to} was ended and went on with it"),
                _ => format!("into the running turn of {to}"),
            });
        }
        Receipt::Returned(how) if message.spec.iteration.is_some() => {
            end(&mut status, MessagePhase::Expired, how);
        }
        Receipt::Returned(how) => {
            (status.phase, status.iteration, status.via) = (MessagePhase::Pending, None, None);
            status.delivered_at = None;
            status.how = Some(format!("{how}; it goes in front of the next prompt"));
        }
        Receipt::Expired(how) => end(&mut status, MessagePhase::Expired, how),
        Receipt::Failed(how) => end(&mut status, MessagePhase::Failed, how),
    }
    Some(status)
}

fn end(status: &mut MessageStatus, phase: MessagePhase, how: &str) {
    status.phase = phase;
    status.how = Some(how.to_owned());
}
