//! Messages in front of a prompt.

use std::sync::Arc;

use gcluster_types::{Iteration, Message};
use kube::ResourceExt;

use gcluster_types::kinds::message::Via;

use super::plan::{fits_prompt, in_order};
use super::receipts::Receipt;
use super::{Post, is_open, key_of_iteration};
use crate::backend::USER;
use crate::error::Result;

impl Post {
    /// The messages that belong into the prompt of an iteration that begins, on record as such. `is_written`: its
    /// prompt was recorded before; then it holds those that were chosen for it then.
    pub(in crate::executor) async fn for_prompt(
        &self,
        iteration: &Iteration,
        is_written: bool,
    ) -> Result<Vec<Arc<Message>>> {
        let key = key_of_iteration(iteration);
        let name = iteration.name_any();
        self.shared.messages.ready().await;
        if is_written {
            return Ok(self.under_way(&key, &name));
        }
        let _turn = self.turn(&key).await;
        let owner = iteration.owner_references().iter().find(|owner| owner.kind == "Agent").cloned();
        let strange = |message: &Message| {
            let mut owners = message.owner_references().iter().filter(|owner| owner.kind == "Agent");
            owners.any(|theirs| owner.as_ref().is_none_or(|ours| ours.uid != theirs.uid))
        };
        let mut chosen = Vec::new();
        for message in in_order(self.shared.messages.under(&key)) {
            if is_open(&message) && fits_prompt(&message, &name) && !strange(&message) {
                let intent = Receipt::Intent { iteration: name.clone(), via: Via::Prompt };
                chosen.extend(self.receipt(&message, &intent).await?.map(Arc::new));
            }
        }
        Ok(chosen)
    }
}

/// A prompt with messages in front of it, each with who sent it.
pub(in crate::executor) fn prefaced(messages: &[Arc<Message>], prompt: &str) -> String {
    let mut out = String::new();
    for message in messages {
        let from = message.spec.from.as_deref().unwrap_or(USER);
        let from: String =
            from.chars().filter(|c| !c.is_control() && !matches!(c, '"' | '<' | '>')).collect();
        let text = message.spec.text.trim_end_matches('\n');
        out += &format!("<message from=\"{from}\">\n{text}\n</message>\n\n");
    }
    out + prompt
}

#[cfg(test)]
mod tests {
    use super::*;
    use gcluster_types::kinds::message::MessageSpec;

    #[test]
    fn messages_stand_in_front_of_the_prompt_with_their_senders() {
        let message = |text: &str, from: Option<&str>| {
            let spec = MessageSpec { text: text.into(), from: from.map(str::to_owned), ..Default::default() };
            Arc::new(Message::new("m", spec))
        };
        let both = [message("Use tabs.\n", Some("ann \"x\"")), message("And\nhurry.", None)];
        let want = "<message from=\"ann x\">\nUse tabs.\n</message>\n\n\
                    <message from=\"user\">\nAnd\nhurry.\n</message>\n\nBuild.";
        assert_eq!(prefaced(&both, "Build."), want);
        assert_eq!(prefaced(&[], "Build."), "Build.");
    }
}
