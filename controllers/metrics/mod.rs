//! Metrics of tickets: one row of `metrics/tickets.csv` for each one that came to its end, and their sums for Prometheus.
//!
//! ```text
//! tickets (watch) ─▶ Merged, Failed, Cancelled after work ─▶ a row, once ─▶ sums ─▶ /metrics
//! ```
//!
//! The file is the memory: what it holds at the start is counted and never written again, so a row that a killed master
//! had written is not written twice, and one that it had not is written by the next.

mod file;
#[cfg(test)]
mod tests;
mod totals;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use file::File;
use futures::StreamExt;
use gcluster_types::Ticket;
use gcluster_types::tickets::record::Record;
use kube::Api;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event};
use totals::Totals;

use crate::Context;

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
    let mut book = Book { file: None, metrics, waiting: Vec::new() };
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
                    if let Some(record) = Record::of(&ticket) {
                        book.waiting.push(record);
                        book.write().await;
                    }
                }
                Some(Ok(Event::Init | Event::InitDone)) => {}
            },
            () = retry, if !book.waiting.is_empty() => book.write().await,
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
