//! Messages and edits on their way to the master, and what became of them.

use gcluster_types::kinds::message::{Delivery, Message, MessagePhase};
use k8s_openapi::jiff::Timestamp;

use crate::tui::conversation::{PendingMessage, PendingState};
use crate::tui::model::{Input, Model, Outgoing};
use crate::tui::msg::{Action, Changes, Draft, Effect, Refusal};

/// Sends what is in the message box.
pub(super) fn send(model: &mut Model, delivery: Delivery) -> Vec<Effect> {
    let Some(Input::Message(message)) = &model.input else { return Vec::new() };
    let text = message.editor.text().trim().to_owned();
    if text.is_empty() {
        model.say("there is nothing to send", true);
        return Vec::new();
    }
    let draft = Draft {
        agent: message.agent.clone(),
        name: name(message.agent.name(), model),
        iteration: message.iteration.clone().filter(|_| delivery != Delivery::Queue),
        text,
        delivery,
        at: model.now,
    };
    model.drafts.remove(&draft_key(&draft.agent));
    model.input = None;
    model.outbox.push(Outgoing { draft: draft.clone(), failed: None });
    model.show_pending();
    vec![Effect::Act(Action::Send(draft))]
}

/// What became of a message that was sent from here.
pub(super) fn news(model: &Model, changes: &Changes<Message>) -> Option<String> {
    let salt = salt();
    let ours = changes.put.iter().filter(|(name, _)| name.contains(&salt)).filter_map(|(name, message)| {
        let phase = message.status.as_ref().map(|status| status.phase).unwrap_or_default();
        let before = model
            .subject
            .messages
            .get(name)
            .map(|old| old.status.as_ref().map(|s| s.phase).unwrap_or_default());
        (before != Some(phase)).then_some((message, phase))
    });
    let (message, phase) = ours.last()?;
    let status = message.status.clone().unwrap_or_default();
    let to = status.iteration.unwrap_or_else(|| message.spec.agent.clone());
    Some(match phase {
        MessagePhase::Pending => match message.spec.delivery {
            Delivery::Queue => format!("queued for the next iteration of {}", message.spec.agent),
            Delivery::Steer | Delivery::Interrupt => {
                format!("sent to {}, not delivered yet", message.spec.agent)
            }
        },
        MessagePhase::Delivered => format!("delivered to {to}"),
        MessagePhase::Acknowledged => format!("{to} has read your message"),
        MessagePhase::Failed => format!("not delivered: {}", status.how.unwrap_or_default()),
        MessagePhase::Expired => format!("not delivered: {to} ended before"),
    })
}

/// What the names of this program's messages hold.
fn salt() -> String {
    format!("-{:05x}", std::process::id() % 0x10_0000)
}

/// Under what an unsent message is kept.
pub(super) fn draft_key(agent: &crate::tui::fleet::Key) -> String {
    format!("message {}/{}", agent.namespace(), agent.name())
}

/// A name that no other message has: the time in it sorts them, the rest tells two senders apart.
fn name(agent: &str, model: &Model) -> String {
    let short: String = agent.chars().take(40).collect();
    let millis = model.now.as_millisecond().max(0);
    format!("{}-{millis:x}{}{:x}", short.trim_end_matches('-'), salt(), model.outbox.len() % 16)
}

/// The master has answered.
pub(super) fn done(model: &mut Model, action: Action, outcome: Result<String, Refusal>) -> Vec<Effect> {
    match (&action, outcome) {
        (Action::Send(draft), Err(refusal)) => {
            if let Some(out) = model.outbox.iter_mut().find(|out| out.draft.name == draft.name) {
                out.failed = Some(refusal.text.clone());
            }
            // The text is where it can be sent again.
            model.drafts.insert(draft_key(&draft.agent), draft.text.clone());
            model.say(format!("not sent: {}; i brings the text back", refusal.text), true);
            model.show_pending();
        }
        (Action::Send(_), Ok(_)) => {}
        (Action::Edit { agent, method, prompt, .. }, outcome) => {
            let ours = |input: &Option<Input>| matches!(input, Some(Input::Prompt(edit)) if edit.agent == *agent && edit.method == *method);
            match outcome {
                Ok(text) => {
                    if ours(&model.input) {
                        model.input = None;
                    }
                    model.drafts.remove(&prompt_key(agent, method.as_deref()));
                    model.say(text, false);
                }
                Err(refusal) => {
                    model.drafts.insert(prompt_key(agent, method.as_deref()), prompt.clone());
                    if ours(&model.input)
                        && let Some(Input::Prompt(edit)) = &mut model.input
                    {
                        edit.saving = false;
                        edit.theirs = refusal.theirs;
                    }
                    model.say(format!("not saved: {}; your text is kept", refusal.text), true);
                }
            }
        }
        (Action::Decide { ticket, text, .. }, Err(refusal)) if !text.is_empty() => {
            // The text is where it can be sent again.
            model.drafts.insert(super::tickets::draft_key(ticket), text.clone());
            model.say(format!("not sent back: {}; b brings the text back", refusal.text), true);
        }
        (_, Ok(text)) => model.say(text, false),
        (_, Err(refusal)) => model.say(refusal.text, true),
    }
    Vec::new()
}

/// Under what an unsaved prompt is kept.
pub(super) fn prompt_key(agent: &crate::tui::fleet::Key, method: Option<&str>) -> String {
    format!("prompt {}/{} {}", agent.namespace(), agent.name(), method.unwrap_or_default())
}

impl Model {
    /// Tells the conversation in view of the messages that concern it, and how far each has come.
    pub(crate) fn show_pending(&mut self) {
        let Some(talk) = self.talk() else { return };
        let (agent, iteration, ended) = (talk.agent.clone(), talk.iteration.clone(), talk.ended);
        let mut pending: Vec<(Timestamp, PendingMessage)> = Vec::new();
        if self.subject.key == agent {
            for (name, message) in &self.subject.messages {
                let status = message.status.clone().unwrap_or_default();
                let here = status.iteration.as_deref().or(message.spec.iteration.as_deref());
                // What waits concerns the iteration that runs.
                if !here.map_or(!ended && !status.phase.is_terminal(), |here| here == iteration) {
                    continue;
                }
                let state = match status.phase {
                    MessagePhase::Pending => PendingState::Pending,
                    MessagePhase::Delivered => PendingState::Delivered,
                    MessagePhase::Acknowledged => PendingState::Acknowledged,
                    MessagePhase::Failed => PendingState::Failed(status.how.clone().unwrap_or_default()),
                    MessagePhase::Expired => PendingState::Expired,
                };
                let at = message.metadata.creation_timestamp.as_ref().map_or(self.now, |at| at.0);
                let message = PendingMessage {
                    id: name.clone(),
                    from: message.spec.from.clone().unwrap_or_else(|| "somebody".into()),
                    text: message.spec.text.clone(),
                    delivery: message.spec.delivery,
                    state,
                };
                pending.push((at, message));
            }
        }
        for out in self.outbox.iter().filter(|out| out.draft.agent == agent && !ended) {
            let draft = &out.draft;
            let message = PendingMessage {
                id: draft.name.clone(),
                from: "you".into(),
                text: draft.text.clone(),
                delivery: draft.delivery,
                state: out.failed.clone().map_or(PendingState::Sending, PendingState::Failed),
            };
            pending.push((draft.at, message));
        }
        pending.sort_by_key(|(at, _)| *at);
        if let Some(talk) = self.talk_mut() {
            talk.conversation.set_pending(pending.into_iter().map(|(_, message)| message).collect());
        }
    }
}
