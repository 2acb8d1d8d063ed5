//! Follows one transcript by record number: after a lost connection it goes on with the next record, so none comes
//! twice and none is missing.

use std::time::Duration;

use futures::StreamExt as _;
use gcluster_types::transcript::{Entry, Record};
use tokio::sync::mpsc;

use super::Ground;
use crate::client::{Lines, escape, query};
use crate::exit::Kind;
use crate::tui::fleet::Key;
use crate::tui::msg::Msg;

const NDJSON: &str = "application/x-ndjson, application/json";
/// Most records that come in one piece.
const BATCH: usize = 400;
/// How long a piece is collected after its first record.
const GATHER: Duration = Duration::from_millis(8);
/// Pause before a transcript that ended without its last record is asked for again.
const AGAIN: Duration = Duration::from_millis(250);
/// Longest pause before one that is not there is asked for again.
const LONGEST: Duration = Duration::from_secs(5);

/// Reads from record `next` on until the transcript is sealed.
pub(super) async fn follow(
    ground: Ground,
    key: Key,
    iteration: String,
    mut next: u64,
    to: mpsc::Sender<Msg>,
) {
    let base = format!(
        "/apis/gcluster.dev/v1alpha1/namespaces/{}/iterations/{}/transcript",
        escape(key.namespace()),
        escape(&iteration)
    );
    let mut missing = AGAIN;
    loop {
        ground.line.up().await;
        let since = next.to_string();
        let path = format!("{base}{}", query(&[("since", &since), ("follow", "true")]));
        let torn = match ground.connection.lines(&path, NDJSON).await {
            Ok(lines) => {
                let mut ended = false;
                let end = pump(lines, &mut next, &mut ended, |records| {
                    to.send(Msg::Records(key.clone(), iteration.clone(), records))
                })
                .await;
                match end {
                    Pumped::Whole if ended => return,
                    Pumped::Whole => false,
                    Pumped::Torn => true,
                    // Nobody reads any more.
                    Pumped::Unwanted => return,
                }
            }
            // An iteration that has not begun has no transcript yet; one that was removed never again.
            Err(failure) if failure.kind == Kind::NotFound => {
                tokio::time::sleep(missing).await;
                missing = (missing * 2).min(LONGEST);
                continue;
            }
            Err(failure) => failure.kind == Kind::Unreachable,
        };
        if torn {
            ground.line.lost(None, String::new());
        }
        tokio::time::sleep(AGAIN).await;
    }
}

enum Pumped {
    /// The answer was complete.
    Whole,
    /// The connection broke.
    Torn,
    /// The receiver is gone.
    Unwanted,
}

/// Hands lines on in pieces: what arrives together goes together.
async fn pump<F>(
    lines: Lines,
    next: &mut u64,
    ended: &mut bool,
    mut send: impl FnMut(Vec<(u64, Record)>) -> F,
) -> Pumped
where
    F: Future<Output = Result<(), mpsc::error::SendError<Msg>>>,
{
    // A line that is half read must outlive the end of a wait: the stream keeps it.
    let mut lines = Box::pin(futures::stream::unfold(Some(lines), |lines| async {
        let mut lines = lines?;
        match lines.next().await {
            Ok(Some(line)) => Some((Ok(line), Some(lines))),
            Ok(None) => None,
            Err(error) => Some((Err(error), None)),
        }
    }));
    let mut batch: Vec<(u64, Record)> = Vec::new();
    loop {
        let line = if batch.is_empty() {
            lines.next().await
        } else {
            let wait = if batch.len() >= BATCH { Duration::ZERO } else { GATHER };
            match tokio::time::timeout(wait, lines.next()).await {
                Ok(line) => line,
                Err(_) => {
                    if send(std::mem::take(&mut batch)).await.is_err() {
                        return Pumped::Unwanted;
                    }
                    continue;
                }
            }
        };
        match line {
            Some(Ok(line)) if line.is_empty() => {}
            Some(Ok(line)) => {
                let record = read(&line);
                *ended |= matches!(record.entry, Entry::End { .. });
                batch.push((*next, record));
                *next += 1;
            }
            end => {
                if !batch.is_empty() && send(batch).await.is_err() {
                    return Pumped::Unwanted;
                }
                return if end.is_none() { Pumped::Whole } else { Pumped::Torn };
            }
        }
    }
}

/// A record that this version cannot read still counts: the next one has the next number.
fn read(line: &str) -> Record {
    serde_json::from_str(line).unwrap_or_else(|_| Record {
        at: k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime(k8s_openapi::jiff::Timestamp::now()),
        entry: Entry::Notice { text: "a record that this version cannot read".into() },
    })
}
