//! Transcripts over the API: append exactly once, seal, read back.
//!
//! Every append says how many records it expects to find. One that is repeated because its answer got lost finds
//! more, looks at what is there, and sees that it was its own.

use std::time::Duration;

use gcluster_types::Iteration;
use gcluster_types::kinds::iteration::TranscriptSize;
use gcluster_types::transcript::{Entry, Record};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::jiff::Timestamp;
use kube::{Client, ResourceExt};

use crate::error::{Error, Result, api_code};

/// A batch is sent when it is as large as this, or older than the flush interval.
const BATCH_BYTES: usize = 256 << 10;
/// How often a refused append is tried again; the pauses between add up to about a minute.
const ATTEMPTS: u32 = 20;

/// The end of a transcript, as seen by its one writer.
pub(super) struct Writer {
    reader: Reader,
    records: u64,
    bytes: u64,
    batch: Vec<u8>,
    batched: u64,
}

impl Writer {
    /// A writer at the end of `size`.
    pub(super) fn at(reader: Reader, size: &TranscriptSize) -> Self {
        let number = |n: i64| u64::try_from(n).unwrap_or(0);
        Self {
            reader,
            records: number(size.records),
            bytes: number(size.bytes),
            batch: Vec::new(),
            batched: 0,
        }
    }

    /// Adds a record to the batch.
    pub(super) fn push(&mut self, at: Timestamp, entry: Entry) {
        // A record is plain data; should it ever not be serialisable it is left out rather than torn.
        if let Ok(line) = serde_json::to_vec(&Record { at: MicroTime(at), entry }) {
            self.batch.extend_from_slice(&line);
            self.batch.push(b'\n');
            self.batched += 1;
        }
    }

    /// Whether the batch should be sent without waiting for more.
    pub(super) fn is_full(&self) -> bool {
        self.batch.len() >= BATCH_BYTES
    }

    /// Whether there is anything to send.
    pub(super) fn is_empty(&self) -> bool {
        self.batched == 0
    }

    /// How far the transcript has come, what is not sent left out.
    pub(super) fn size(&self) -> TranscriptSize {
        let number = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
        TranscriptSize { records: number(self.records), bytes: number(self.bytes) }
    }

    /// Sends the batch. An iteration that is gone is an error with code 404.
    pub(super) async fn flush(&mut self) -> Result<()> {
        if self.is_empty() { Ok(()) } else { self.send(false).await }
    }

    /// Sends the batch and seals the transcript: nothing can be added any more.
    pub(super) async fn seal(&mut self) -> Result<()> {
        self.send(true).await
    }

    async fn send(&mut self, seal: bool) -> Result<()> {
        let mut attempt = 0;
        loop {
            let error = match self.reader.post(self.records, seal, &self.batch).await {
                Ok(()) => break,
                Err(error) => error,
            };
            let code = error.code();
            if code == Some(409) && self.is_there().await? {
                break;
            }
            attempt += 1;
            if matches!(code, Some(400..=499)) && code != Some(409) && code != Some(429)
                || attempt >= ATTEMPTS
            {
                return Err(error);
            }
            tokio::time::sleep(Duration::from_millis(50 << attempt.min(6))).await;
        }
        self.records += self.batched;
        self.bytes += self.batch.len() as u64;
        self.batch.clear();
        self.batched = 0;
        Ok(())
    }

    /// Whether the batch was appended already, and only its answer got lost.
    async fn is_there(&self) -> Result<bool> {
        let there = self.reader.text(self.records).await?;
        Ok(self.batched > 0 && there.as_bytes().starts_with(&self.batch))
    }
}

/// Reads one iteration's transcript.
#[derive(Clone)]
pub(super) struct Reader {
    client: Client,
    iteration: String,
    path: String,
}

impl Reader {
    pub(super) fn new(client: Client, iteration: &Iteration) -> Self {
        let (namespace, name) = (iteration.namespace().unwrap_or_default(), iteration.name_any());
        let path = format!("/apis/gcluster.dev/v1alpha1/namespaces/{namespace}/iterations/{name}/transcript");
        Self { client, iteration: name, path }
    }

    /// All records from a number on. A record that cannot be read is skipped.
    pub(super) async fn records(&self, since: u64) -> Result<Vec<Record>> {
        let text = self.text(since).await?;
        Ok(text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect())
    }

    /// All records from the beginning, and a writer behind them.
    pub(super) async fn reopen(&self) -> Result<(Vec<Record>, Writer)> {
        let text = self.text(0).await?;
        let count = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
        let size = TranscriptSize { records: count(text.lines().count()), bytes: count(text.len()) };
        let records = text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        Ok((records, Writer::at(self.clone(), &size)))
    }

    /// The output of an iteration that succeeded; empty when its transcript is gone.
    pub(super) async fn output(&self, size: Option<&TranscriptSize>) -> Result<String> {
        // The output and the end are the last two records.
        let tail = size.map_or(0, |size| u64::try_from(size.records.saturating_sub(2)).unwrap_or(0));
        for since in [tail, 0] {
            let records = match self.records(since).await {
                Err(error) if error.code() == Some(404) => return Ok(String::new()),
                other => other?,
            };
            let output = records.into_iter().rev().find_map(|record| match record.entry {
                Entry::Output { text } => Some(text),
                _ => None,
            });
            if let Some(output) = output {
                return Ok(output);
            }
        }
        Ok(String::new())
    }

    async fn text(&self, since: u64) -> Result<String> {
        let request = http::Request::get(format!("{}?since={since}", self.path)).body(Vec::new());
        let request = request.map_err(|error| self.unusable(error.to_string()))?;
        match self.client.request_text(request).await {
            Err(error) if api_code(&error) == Some(416) => Ok(String::new()),
            other => other.map_err(Error::api(format!("read the transcript of {}", self.iteration))),
        }
    }

    async fn post(&self, expect: u64, seal: bool, batch: &[u8]) -> Result<()> {
        let seal = if seal { "&seal=true" } else { "" };
        let request = http::Request::post(format!("{}?expect={expect}{seal}", self.path))
            .header(http::header::CONTENT_TYPE, "application/x-ndjson")
            .body(batch.to_vec())
            .map_err(|error| self.unusable(error.to_string()))?;
        let sent = self.client.request_text(request).await;
        sent.map(drop).map_err(Error::api(format!("append to the transcript of {}", self.iteration)))
    }

    fn unusable(&self, why: String) -> Error {
        Error::Transcript { iteration: self.iteration.clone(), why }
    }
}
