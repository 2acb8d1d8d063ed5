//! Recording an iteration: its status while it runs, and its end.

use std::hash::{DefaultHasher, Hash, Hasher};

use gcluster_types::Iteration;
use gcluster_types::kinds::agent::TokenTotals;
use gcluster_types::kinds::iteration::{IterationStatus, Phase};
use gcluster_types::kinds::provider::FaultKind;
use gcluster_types::labels;
use gcluster_types::transcript::{Entry, Record};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::jiff::Timestamp;
use kube::api::{Patch, PatchParams};
use kube::{Api, ResourceExt};
use serde_json::json;

use super::count::THROTTLED;
use super::transcript::{Reader, Writer};
use crate::Context;
use crate::error::{Error, Result};
use crate::informer::{Index, agent_of};
use crate::report::{excerpt, shortened, status_patch};

/// Longest error text in a status. The whole is in the transcript.
const ERROR_CHARS: usize = 1_000;

/// Fields of the status. All are the executor's.
const FIELDS: &[&str] = &[
    "phase",
    "reason",
    "startedAt",
    "finishedAt",
    "backend",
    "model",
    "sessionID",
    "process",
    "processes",
    "turns",
    "toolUses",
    "tokens",
    "costUSD",
    "unpricedTokens",
    "promptExcerpt",
    "outputExcerpt",
    "error",
    "fatal",
    "resetsAt",
    "credential",
    "providerFault",
    "transcript",
];

/// How an iteration ends.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Ending {
    pub(super) phase: Phase,
    pub(super) reason: String,
    pub(super) output: Option<String>,
    pub(super) error: Option<String>,
    /// Trying again cannot help before a person changes something.
    pub(super) fatal: bool,
    pub(super) resets_at: Option<Timestamp>,
    /// What the provider refused.
    pub(super) fault: Option<FaultKind>,
}

impl Ending {
    fn new(phase: Phase, reason: &str) -> Self {
        let (output, error, resets_at, fault) = (None, None, None, None);
        Self { phase, reason: reason.to_owned(), output, error, fatal: false, resets_at, fault }
    }

    pub(super) fn succeeded(output: String) -> Self {
        Self { output: Some(output), ..Self::new(Phase::Succeeded, "Completed") }
    }

    pub(super) fn failed(reason: &str, error: String) -> Self {
        Self { error: Some(error), ..Self::new(Phase::Failed, reason) }
    }

    pub(super) fn interrupted(reason: &str) -> Self {
        Self::new(Phase::Interrupted, reason)
    }

    pub(super) fn throttled(until: Option<Timestamp>, message: String) -> Self {
        Self { resets_at: until, ..Self::refused(FaultKind::UsageLimit, THROTTLED, message) }
    }

    /// Ended by what the provider refused: no failure of the work.
    pub(super) fn refused(kind: FaultKind, reason: &str, message: String) -> Self {
        Self { error: Some(message), fault: Some(kind), ..Self::new(Phase::Interrupted, reason) }
    }
}

/// Writes one iteration's status: what differs from what was written before.
pub(super) struct StatusWriter {
    api: Api<Iteration>,
    name: String,
    written: IterationStatus,
    /// The status as it should be.
    pub(super) now: IterationStatus,
}

impl StatusWriter {
    pub(super) fn new(api: Api<Iteration>, iteration: &Iteration) -> Self {
        let status = iteration.status.clone().unwrap_or_default();
        // A phase that was never written has to be, even if it is the default.
        let written = if iteration.status.is_some() { status.clone() } else { IterationStatus::default() };
        Self { api, name: iteration.name_any(), written, now: status }
    }

    /// Whether anything is new. The size of the transcript is set only when it is written, and is no reason to.
    pub(super) fn is_due(&self) -> bool {
        self.now != self.written
    }

    /// Writes. There is no other writer, so the last word counts.
    pub(super) async fn write(&mut self) -> Result<Option<Iteration>> {
        let Some(patch) = status_patch(FIELDS, &self.written, &self.now) else { return Ok(None) };
        let params = PatchParams {
            field_manager: Some(labels::MANAGER_EXECUTOR.to_owned()),
            ..PatchParams::default()
        };
        let patch = Patch::Merge(json!({ "status": patch }));
        let written = self.api.patch_status(&self.name, &params, &patch).await;
        let written = written.map_err(Error::api(format!("write the status of Iteration {}", self.name)))?;
        self.written = self.now.clone();
        Ok(Some(written))
    }

    /// Writes, and tries again for a while when the API cannot take it.
    async fn write_surely(&mut self) -> Result<Option<Iteration>> {
        let mut attempt = 0;
        loop {
            match self.write().await {
                Err(error) if error.code() != Some(404) && attempt < 10 => {
                    attempt += 1;
                    tokio::time::sleep(error.retry_after(attempt.min(4))).await;
                }
                other => return other,
            }
        }
    }
}

/// An empty index of iterations, in which the counters of one that runs change without a look at its agent.
pub(crate) fn iterations() -> Index<Iteration> {
    Index::printed(agent_of, Some(print))
}

/// Tells apart what the plan depends on: of what a running iteration counts only that the model answered at all, and
/// its cost in steps of five cents, because more than is typical is reserved of a budget.
pub(crate) fn print(iteration: &Iteration) -> u64 {
    let mut status = iteration.status.clone();
    let mut counted = (false, 0);
    if let Some(status) = &mut status {
        let answered = status.tool_uses > 0 || status.tokens.as_ref().is_some_and(|tokens| tokens.output > 0);
        counted = (answered, (status.cost_usd.unwrap_or(0.0) * 20.0) as i64);
        (status.turns, status.tool_uses) = (0, 0);
        (status.tokens, status.cost_usd, status.transcript, status.model) = (None, None, None, None);
    }
    let mut hasher = DefaultHasher::new();
    let metadata = &iteration.metadata;
    let about = (&metadata.uid, &metadata.labels, &metadata.owner_references, &metadata.deletion_timestamp);
    format!("{about:?} {:?} {counted:?} {status:?}", iteration.spec).hash(&mut hasher);
    hasher.finish()
}

/// The iteration as it is now; `None` when it is gone or another one of that name.
pub(super) async fn read(api: &Api<Iteration>, iteration: &Iteration) -> Result<Option<Iteration>> {
    let name = iteration.name_any();
    let fresh = api.get_opt(&name).await.map_err(Error::api(format!("read Iteration {name}")))?;
    Ok(fresh.filter(|fresh| fresh.uid() == iteration.uid()))
}

/// Seals the transcript with the output and the end, then writes the final status.
pub(super) async fn finish(
    status: &mut StatusWriter,
    writer: &mut Writer,
    ending: Ending,
    now: Timestamp,
) -> Result<Option<Iteration>> {
    if let Some(output) = &ending.output {
        writer.push(now, Entry::Output { text: output.clone() });
    }
    if ending.fault.is_some() {
        // The transcript cannot hold it: a master that dies after the seal would forget until when to wait.
        status.now.provider_fault = ending.fault;
        status.now.resets_at = ending.resets_at.map(MicroTime);
        status.write_surely().await?;
    }
    let (phase, reason, error) = (ending.phase, ending.reason.clone(), ending.error.clone());
    writer.push(now, Entry::End { phase, reason, error });
    writer.seal().await?;
    status.now.transcript = Some(writer.size());
    settle(status, ending, now).await
}

async fn settle(status: &mut StatusWriter, ending: Ending, now: Timestamp) -> Result<Option<Iteration>> {
    status.now.phase = ending.phase;
    status.now.reason = Some(ending.reason);
    status.now.finished_at = Some(MicroTime(now));
    status.now.process = None;
    status.now.processes = None;
    status.now.output_excerpt = ending.output.as_deref().and_then(excerpt);
    status.now.error = ending.error.map(|error| shortened(&error, ERROR_CHARS));
    status.now.fatal = ending.fatal;
    // What was noted before the seal stays, when the end is read off the transcript.
    status.now.resets_at = ending.resets_at.map(MicroTime).or(status.now.resets_at.take());
    status.now.provider_fault = ending.fault.or(status.now.provider_fault.take());
    status.write_surely().await
}

/// Ends an iteration that nobody runs. One whose transcript has its end already is finished by it; any other is
/// Interrupted for `reason`. Answers the object as it is then, `None` when it is gone.
pub(super) async fn close(ctx: &Context, iteration: &Iteration, reason: &str) -> Result<Option<Iteration>> {
    let namespace = iteration.namespace().unwrap_or_default();
    let api: Api<Iteration> = Api::namespaced(ctx.client.clone(), &namespace);
    let Some(fresh) = read(&api, iteration).await? else { return Ok(None) };
    let mut status = StatusWriter::new(api, &fresh);
    if status.now.phase.is_terminal() {
        return Ok(Some(fresh));
    }
    let (records, mut writer) = Reader::new(ctx.client.clone(), &fresh).reopen().await?;
    recount(&mut status.now, &records);
    let written = match recorded_end(&records) {
        Some((ending, at)) => {
            status.now.transcript = Some(writer.size());
            settle(&mut status, ending, at).await?
        }
        None => finish(&mut status, &mut writer, Ending::interrupted(reason), ctx.now()).await?,
    };
    Ok(written.or(Some(fresh)))
}

/// The end that a transcript has, if it has one.
fn recorded_end(records: &[Record]) -> Option<(Ending, Timestamp)> {
    let last = records.last()?;
    let Entry::End { phase, reason, error } = &last.entry else { return None };
    let output = records.iter().rev().find_map(|record| match &record.entry {
        Entry::Output { text } => Some(text.clone()),
        _ => None,
    });
    let ending = Ending { output, error: error.clone(), ..Ending::new(*phase, reason) };
    Some((ending, last.at.0))
}

/// What a transcript says was used: the truth when the status stopped being written.
pub(super) fn recount(status: &mut IterationStatus, records: &[Record]) {
    (status.tokens, status.cost_usd, status.unpriced_tokens) = (None, None, 0);
    let mut tools = 0;
    for record in records {
        match &record.entry {
            Entry::Usage { tokens, cost_usd } => add_usage(status, tokens, *cost_usd),
            Entry::ToolUse { .. } => tools += 1,
            _ => {}
        }
    }
    status.tool_uses = status.tool_uses.max(tools);
}

/// Adds what was used. What has no known price is counted apart from the sum of the known ones.
pub(super) fn add_usage(status: &mut IterationStatus, tokens: &TokenTotals, cost_usd: Option<f64>) {
    status.tokens.get_or_insert_default().add(tokens);
    match cost_usd {
        Some(cost) => status.cost_usd = Some(status.cost_usd.unwrap_or(0.0) + cost),
        None => status.unpriced_tokens = status.unpriced_tokens.saturating_add(tokens.total),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(entry: Entry) -> Record {
        Record { at: MicroTime(Timestamp::from_second(9).unwrap()), entry }
    }

    #[test]
    fn an_iteration_whose_end_was_recorded_is_finished_by_it() {
        let used = TokenTotals { input: 3, total: 3, ..TokenTotals::default() };
        let mut records = vec![
            record(Entry::Prompt { text: "p".into() }),
            record(Entry::Usage { tokens: used.clone(), cost_usd: Some(0.5) }),
            record(Entry::ToolUse { id: "1".into(), name: "Bash".into(), detail: "ls".into() }),
            record(Entry::Usage { tokens: used, cost_usd: None }),
            record(Entry::Output { text: "done".into() }),
        ];
        assert_eq!(recorded_end(&records), None);
        records.push(record(Entry::End { phase: Phase::Succeeded, reason: "Completed".into(), error: None }));
        let (ending, at) = recorded_end(&records).unwrap();
        assert_eq!(ending, Ending::succeeded("done".into()));
        assert_eq!(at.as_second(), 9);
        // What the status had said before the crash is not counted a second time.
        let mut status = IterationStatus { cost_usd: Some(7.0), ..IterationStatus::default() };
        recount(&mut status, &records);
        let unpriced = status.unpriced_tokens;
        assert_eq!((status.tokens.unwrap().total, status.cost_usd, status.tool_uses), (6, Some(0.5), 1));
        assert_eq!(unpriced, 3);
    }
}
