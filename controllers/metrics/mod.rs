//! Metrics of tickets: one row of `metrics/tickets.csv` for each one that came to its end, and their sums for Prometheus.
//!
//! ```text
//! tickets (watch) ─▶ Merged, Failed, Cancelled after work ─▶ a row, once ─▶ sums ─▶ /metrics
//! ```
//!
//! The file is the memory: what it holds at the start is counted and never written again, so a row that a killed master
//! had written is not written twice, and one that it had not is written by the next. A finalizer keeps a ticket that is
//! deleted until then.

mod file;
#[cfg(test)]
mod tests;
mod totals;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use file::File;
use futures::StreamExt;
use gcluster_types::tickets::record::Record;
use gcluster_types::{Ticket, labels};
use kube::api::{Patch, PatchParams};
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event};
use kube::{Api, ResourceExt};
use serde_json::json;
use totals::Totals;

use crate::Context;
use crate::error::api_code;
use crate::report::Events;

/// How soon rows are tried again that could not be written.
const RETRY: Duration = Duration::from_secs(10);

/// What is known of tickets that came to their end. Clones share it.
#[derive(Debug, Clone)]
pub struct TicketMetrics {
    path: PathBuf,
    totals: Arc<Mutex<Totals>>,
}

impl TicketMetrics {
    /// With rows in the file `path`, which is made when there is something to write.
    pub fn new(path: PathBuf) -> Self {
        Self { path, totals: Arc::default() }
    }

    /// The file of the rows.
    pub fn path(&self) -> &std::path::Path {
        &self.path
    }

    /// The sums in Prometheus' text form.
    pub fn render(&self) -> String {
        self.totals().render()
    }

    fn totals(&self) -> MutexGuard<'_, Totals> {
        self.totals.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Runs until it is dropped.
pub async fn run(ctx: Context) {
    let metrics = ctx.ticket_metrics.clone();
    let events = Events::new(ctx.client.clone(), labels::MANAGER_METRICS);
    let mut book = Book { file: None, metrics, waiting: Vec::new() };
    let mut leaving: BTreeMap<String, Ticket> = BTreeMap::new();
    let watched = watcher::watcher(Api::<Ticket>::all(ctx.client.clone()), watcher::Config::default());
    let mut watched = std::pin::pin!(watched.default_backoff());
    // The sums of what was written before are there before any ticket ends.
    book.open().await;
    loop {
        let retry = tokio::time::sleep(RETRY);
        tokio::select! {
            event = watched.next() => match event {
                None => return,
                Some(Err(error)) => tracing::debug!(%error, "the watch of tickets was interrupted"),
                // One that is deleted is told as it was last.
                Some(Ok(Event::Apply(ticket) | Event::InitApply(ticket) | Event::Delete(ticket))) => {
                    let _beat = ctx.pulse.begin("metrics");
                    if let Some(record) = Record::of(&ticket) {
                        book.waiting.push(record);
                        book.write().await;
                    }
                    leaving.remove(&ticket.uid().unwrap_or_default());
                    if leaves(&ticket) && !let_go(&ctx, &book, &events, &ticket).await {
                        leaving.insert(ticket.uid().unwrap_or_default(), ticket);
                    }
                }
                Some(Ok(Event::Init)) => leaving.clear(),
                Some(Ok(Event::InitDone)) => {}
            },
            () = retry, if !(book.waiting.is_empty() && leaving.is_empty()) => {
                let _beat = ctx.pulse.begin("metrics");
                book.write().await;
                for (uid, ticket) in leaving.clone() {
                    if let_go(&ctx, &book, &events, &ticket).await {
                        leaving.remove(&uid);
                    }
                }
            }
        }
    }
}

/// It is deleted, has come to its end, and is kept from going by this loop.
fn leaves(ticket: &Ticket) -> bool {
    let is_over = ticket.status.as_ref().is_some_and(|status| status.phase.is_terminal());
    let is_kept = ticket.finalizers().iter().any(|name| name == labels::METRICS_FINALIZER);
    is_over && is_kept && ticket.metadata.deletion_timestamp.is_some()
}

/// Takes the finalizer off once the row is written. False: that has to be tried again.
async fn let_go(ctx: &Context, book: &Book, events: &Events, ticket: &Ticket) -> bool {
    if Record::of(ticket).is_some_and(|record| book.waiting.contains(&record)) {
        let path = book.metrics.path().display();
        let note =
            format!("its row cannot be written into {path} yet, so it is not removed yet; the log says why");
        events.warning(ticket, "MetricsNotWritten", "Remove", note).await;
        return false;
    }
    let left: Vec<&String> =
        ticket.finalizers().iter().filter(|name| *name != labels::METRICS_FINALIZER).collect();
    let patch = json!({"metadata": {"resourceVersion": ticket.resource_version(), "finalizers": left}});
    let params =
        PatchParams { field_manager: Some(labels::MANAGER_METRICS.to_owned()), ..PatchParams::default() };
    let api = Api::<Ticket>::namespaced(ctx.client.clone(), &ticket.namespace().unwrap_or_default());
    match api.patch(&ticket.name_any(), &params, &Patch::Merge(patch)).await {
        // Somebody else wrote it: the watch tells of it as it is now.
        Ok(_) => true,
        Err(error) if matches!(api_code(&error), Some(404 | 409)) => true,
        Err(error) => {
            tracing::warn!(ticket = ticket.name_any(), %error, "a ticket could not be let go");
            false
        }
    }
}

/// The file, and what is not in it yet.
struct Book {
    file: Option<File>,
    metrics: TicketMetrics,
    waiting: Vec<Record>,
}

impl Book {
    /// Opens the file and counts what it holds.
    async fn open(&mut self) {
        let path = self.metrics.path.clone();
        match tokio::task::spawn_blocking(move || File::open(path)).await {
            Ok(Ok((file, records))) => {
                let mut totals = self.metrics.totals();
                *totals = Totals::default();
                records.iter().for_each(|record| totals.add(record));
                drop(totals);
                self.file = Some(file);
            }
            Ok(Err(error)) => {
                let path = self.metrics.path.display();
                tracing::warn!(%path, %error, "the metrics of tickets cannot be read; they are tried again");
            }
            Err(error) => tracing::warn!(%error, "the metrics of tickets could not be opened"),
        }
    }

    /// Writes what waits, each once. What cannot be written waits on.
    async fn write(&mut self) {
        if self.file.is_none() {
            self.open().await;
        }
        let Some(mut file) = self.file.take() else { return };
        let mut waiting = std::mem::take(&mut self.waiting);
        waiting.retain(|record| !file.has(record));
        if waiting.is_empty() {
            self.file = Some(file);
            return;
        }
        let written = tokio::task::spawn_blocking(move || {
            let mut done = Vec::new();
            let mut refused = None;
            for record in &waiting {
                match file.append(record) {
                    Ok(true) => done.push(record.clone()),
                    Ok(false) => {}
                    Err(error) => {
                        refused = Some(error);
                        break;
                    }
                }
            }
            (file, waiting, done, refused)
        });
        let Ok((file, waiting, done, refused)) = written.await else { return };
        done.iter().for_each(|record| self.metrics.totals().add(record));
        if let Some(error) = refused {
            let path = self.metrics.path.display();
            tracing::warn!(%path, %error, "the metrics of a ticket could not be written; they are tried again");
        }
        self.waiting = waiting.into_iter().filter(|record| !file.has(record)).collect();
        self.file = Some(file);
    }
}
