//! Going on with a program that an earlier master started.
//!
//! ```text
//! leftover ─▶ its process (pid, start time, boot id, mark) ─▶ output from the beginning, what is on record left out
//!          └▶ none of it left, or a backend without files ─▶ ended as before
//! ```
//!
//! Where the earlier master had come to is nowhere written down beside the transcript: the same output gives the
//! same records, so as many of them as the transcript holds are left out. What was sent and not recorded comes again.

use std::sync::Arc;

use gcluster_types::kinds::iteration::Phase;
use gcluster_types::transcript::{Entry, Record};
use gcluster_types::{Agent, Iteration};
use kube::{Api, ResourceExt};

use super::driver::{Run, report};
use super::messages::Inbox;
use super::record::{Ending, StatusWriter, recount};
use super::transcript::{Reader, Writer};
use super::watch::Watch;
use crate::backend::{Adoption, Backend, Mask, ProcessRef, Running, sweep};
use crate::environment;
use crate::error::Result;

/// A program that goes on, and where its transcript has come to.
pub(super) struct Found {
    running: Running,
    writer: Writer,
    status: StatusWriter,
    inbox: Inbox,
    watch: Watch,
}

/// Looks for the program of an iteration that nobody runs, and takes it over. `None` when there is none.
pub(super) async fn find(
    run: &Run,
    iteration: &Iteration,
    agent: &Agent,
    backend: &Arc<dyn Backend>,
) -> Result<Option<Found>> {
    let uid = iteration.uid().unwrap_or_default();
    let run_dir = run.ctx.config.runs_dir.join(&uid);
    let begun = iteration.status.clone().filter(|status| status.phase == Phase::Running);
    let (Some(begun), Ok(output)) = (begun, std::fs::metadata(run_dir.join("stdout"))) else {
        return Ok(None);
    };
    let process = match begun.process {
        Some(process) => Some(process),
        // It was killed between the start of the program and the record of it.
        None => {
            let uid = uid.clone();
            tokio::task::spawn_blocking(move || sweep::leader(&uid)).await.ok().flatten()
        }
    };
    if process.as_ref().is_some_and(|process| sweep::is_alive(process) && !sweep::is_of(process, &uid))
        || process.is_none() && output.len() == 0
    {
        return Ok(None);
    }
    let (records, writer) = Reader::new(run.ctx.client.clone(), iteration).reopen().await?;
    if !is_open(&records) {
        return Ok(None);
    }
    let (inbox, messages) = Inbox::adopted(run.post.clone(), iteration, &records).await;
    let args = agent.spec.backend.clone().unwrap_or_default().args;
    let adoption = Adoption {
        iteration_uid: uid,
        run_dir,
        args,
        process,
        recorded: records.iter().map(|record| record.entry.clone()).collect(),
        messages,
        mask: Mask::of(&environment::access(&run.ctx, agent)),
    };
    let running = match backend.adopt(adoption) {
        Some(Ok(running)) => running,
        Some(Err(error)) => {
            tracing::warn!(iteration = %iteration.name_any(), %error, "a running program cannot be taken over");
            return Ok(None);
        }
        None => return Ok(None),
    };
    let api = Api::namespaced(run.ctx.client.clone(), &iteration.namespace().unwrap_or_default());
    let mut status = StatusWriter::new(api, iteration);
    recount(&mut status.now, &records);
    let started = status.now.started_at.as_ref().map(|at| at.0);
    let watch = run.watch().resumed(started, &records, run.ctx.now());
    Ok(Some(Found { running, writer, status, inbox, watch }))
}

/// Whether a transcript was begun and has no end.
fn is_open(records: &[Record]) -> bool {
    let begun = matches!(records.first().map(|record| &record.entry), Some(Entry::Prompt { .. }));
    begun && !records.iter().any(|record| matches!(record.entry, Entry::End { .. }))
}

/// Follows a program that was taken over to its end.
pub(super) async fn go_on(mut run: Run, found: Found) {
    let result = follow(&mut run, found).await;
    report(&mut run, result).await;
}

async fn follow(run: &mut Run, found: Found) -> Result<()> {
    let Found { running, mut writer, mut status, mut inbox, watch } = found;
    let name = run.iteration.name_any();
    let pid = running.process.as_ref().map(|process: &ProcessRef| process.pid);
    tracing::info!(iteration = %name, pid, "taken over from an earlier master");
    // Those that run already are not held up; new ones wait until there is room again.
    let permit = run.pace.take_over(&run.iteration.uid().unwrap_or_default(), &run.ticket());
    let (ending, told) = run.follow(running, watch, &mut inbox, &mut writer, &mut status).await?;
    drop(permit);
    // What ended unseen, without a result, was cut off: not by anybody's wish, and by no fault of its own.
    let ending = match ending.reason.as_str() {
        "Interrupted" => Ending { reason: MASTER_RESTARTED.to_owned(), ..ending },
        _ => ending,
    };
    run.conclude(ending, told, &mut inbox, &mut writer, &mut status).await
}

/// Why an iteration that an earlier process began is ended.
pub(super) const MASTER_RESTARTED: &str = "MasterRestarted";
