//! What became of the messages of an iteration whose master was killed.
//!
//! | what is found | what is said |
//! | --- | --- |
//! | a `message` record in the transcript | acknowledged |
//! | the program's output confirms it, or answers the prompt that held it | recorded and acknowledged |
//! | the whole output does neither | it was not given: it waits for the next prompt |
//! | the output cannot tell | failed: whether it was given is not known, and it is not given twice |

use std::path::Path;
use std::sync::Arc;

use gcluster_types::Iteration;
use gcluster_types::kinds::message::Via;
use gcluster_types::transcript::Entry;
use kube::ResourceExt;

use super::inbox::record_of;
use super::receipts::Receipt;
use super::{Post, key_of_iteration};
use crate::backend::{Backend, Evidence};
use crate::error::Result;
use crate::executor::transcript::Reader;

impl Post {
    /// Settles the messages of an iteration whose processes are gone and whose transcript is not sealed yet.
    pub(in crate::executor) async fn settle_leftover(
        &self,
        iteration: &Iteration,
        backend: Option<Arc<dyn Backend>>,
        run_dir: &Path,
    ) -> Result<()> {
        self.shared.messages.ready().await;
        let name = iteration.name_any();
        let messages = self.under_way(&key_of_iteration(iteration), &name);
        if messages.is_empty() {
            return Ok(());
        }
        let run_dir = run_dir.to_owned();
        let evidence = match backend {
            // A read that panicked tells nothing.
            Some(backend) => {
                tokio::task::spawn_blocking(move || backend.evidence(&run_dir)).await.ok().flatten()
            }
            None => None,
        };
        let begun = iteration.status.as_ref().is_some_and(|status| status.session_id.is_some());
        let reader = Reader::new(self.shared.ctx.client.clone(), iteration);
        let (records, mut writer) = reader.reopen().await?;
        let is_sealed = matches!(records.last().map(|record| &record.entry), Some(Entry::End { .. }));
        let named = super::inbox::names(&records);
        let mut receipts = Vec::new();
        for message in messages {
            let via = message.status.as_ref().and_then(|status| status.via);
            let receipt = if named.contains(&message.name_any()) {
                Receipt::Acknowledged
            } else if !begun {
                Receipt::Returned(format!("handed to {name}, which never began"))
            } else {
                judge(&name, via, &message.uid().unwrap_or_default(), evidence.as_ref())
            };
            if receipt == Receipt::Acknowledged && !is_sealed && !named.contains(&message.name_any()) {
                writer.push(self.shared.ctx.now(), record_of(&message));
            }
            receipts.push((message, receipt));
        }
        writer.flush().await?;
        for (message, receipt) in receipts {
            match receipt {
                Receipt::Failed(_) => self.refuse(&message, receipt).await?,
                receipt => drop(self.receipt(&message, &receipt).await?),
            }
        }
        Ok(())
    }
}

fn judge(iteration: &str, via: Option<Via>, uid: &str, evidence: Option<&Evidence>) -> Receipt {
    let given = evidence.map(|evidence| match via {
        Some(Via::Prompt) => evidence.answered,
        _ => evidence.echoed.contains(uid),
    });
    match given {
        Some(true) => Receipt::Acknowledged,
        Some(false) => Receipt::Returned(format!(
            "handed to {iteration}, which was cut off before the model was given it"
        )),
        None => unknown(iteration),
    }
}

/// It was handed over, and nothing tells whether it was given.
pub(super) fn unknown(iteration: &str) -> Receipt {
    Receipt::Failed(format!(
        "handed to {iteration}, which was cut off: whether the agent was given it is not known, and it is not given \
         twice; send it again if it is still needed"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_program_said_decides() {
        let given = Evidence { answered: true, echoed: ["u1".to_owned()].into_iter().collect() };
        let silent = Evidence::default();
        let acknowledged = |via, uid, evidence| judge("i", Some(via), uid, evidence) == Receipt::Acknowledged;
        assert!(acknowledged(Via::Turn, "u1", Some(&given)));
        assert!(acknowledged(Via::Interruption, "u1", Some(&given)));
        assert!(!acknowledged(Via::Turn, "u2", Some(&given)), "an answer to the prompt confirms no message");
        assert!(acknowledged(Via::Prompt, "u2", Some(&given)));
        for via in [Via::Turn, Via::Prompt] {
            assert!(matches!(judge("i", Some(via), "u1", Some(&silent)), Receipt::Returned(_)));
            assert!(matches!(judge("i", Some(via), "u1", None), Receipt::Failed(_)));
        }
    }
}
