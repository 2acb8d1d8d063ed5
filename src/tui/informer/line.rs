//! Whether the master is there: asked only when a watch has failed, and then until it answers.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use tokio::sync::watch;

use crate::client::{Connection, JSON};
use crate::exit::Kind;
use crate::tui::hub::Hub;
use crate::tui::msg::{Cause, Link, Lost};

/// First pause between two attempts; it doubles up to the longest.
const FIRST: Duration = Duration::from_millis(200);
/// Longest pause.
const LONGEST: Duration = Duration::from_secs(5);
/// How long the pulse may take to say how it ended.
const VERDICT: Duration = Duration::from_millis(400);
/// Pause between two looks at it.
const LOOK: Duration = Duration::from_millis(20);
/// Pause before a pulse that ended is taken again.
const AGAIN: Duration = Duration::from_millis(250);
/// A watch of nothing, kept open: how it ends tells a master that stops from one that crashes. The watches of objects
/// cannot tell, for their library takes both for an end.
const PULSE: &str =
    "/apis/gcluster.dev/v1alpha1/namespaces/default/agents?watch=true&fieldSelector=metadata.name%3D-";

/// The state of the connection, shared by all tasks.
#[derive(Debug)]
pub(super) struct Line {
    /// Grows with each time that the master answers again.
    epoch: watch::Sender<u64>,
    down: watch::Sender<bool>,
    cause: Mutex<(Option<Cause>, String)>,
}

impl Default for Line {
    fn default() -> Self {
        Self {
            epoch: watch::Sender::new(0),
            down: watch::Sender::new(false),
            cause: Mutex::new((None, String::new())),
        }
    }
}

impl Line {
    /// Something has failed. Who knows why says so; of several the first is believed.
    pub(super) fn lost(&self, cause: Option<Cause>, detail: String) {
        let mut known = self.cause.lock().unwrap_or_else(PoisonError::into_inner);
        if known.0.is_none() && (cause.is_some() || known.1.is_empty()) {
            *known = (cause, detail);
        }
        drop(known);
        self.down.send_replace(true);
    }

    fn why(&self) -> (Option<Cause>, String) {
        self.cause.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Returns when the master answers.
    pub(super) async fn up(&self) {
        // The sender lives as long as this.
        let _ = self.down.subscribe().wait_for(|down| !down).await;
    }

    /// Which connection this is; for [`Line::renewed`].
    pub(super) fn epoch(&self) -> u64 {
        *self.epoch.borrow()
    }

    /// Returns when the connection of that epoch was lost and another one stands.
    pub(super) async fn renewed(&self, epoch: u64) {
        let _ = self.epoch.subscribe().wait_for(|now| *now != epoch).await;
    }

    fn back(&self) {
        *self.cause.lock().unwrap_or_else(PoisonError::into_inner) = (None, String::new());
        self.epoch.send_modify(|epoch| *epoch += 1);
        self.down.send_replace(false);
    }
}

/// Asks whether the master is there, whenever a watch has failed, with growing pauses.
pub(super) async fn keep(connection: Connection, line: Arc<Line>, hub: Arc<Hub>) {
    loop {
        if line.down.subscribe().wait_for(|down| *down).await.is_err() {
            return;
        }
        let since = Timestamp::now();
        let mut pause = FIRST;
        let mut attempts = 0;
        loop {
            let answer = connection.get("/version", JSON).await;
            let detail = match answer {
                Ok(_) => break,
                Err(failure) if failure.kind != Kind::Unreachable => {
                    line.lost(Some(Cause::Refused), failure.message.clone());
                    failure.message
                }
                Err(failure) => failure.causes.first().cloned().unwrap_or_default(),
            };
            attempts += 1;
            // The pulse ends in the same moment as everything else, and knows how.
            let mut patience = VERDICT;
            while line.why().0.is_none() && !patience.is_zero() {
                tokio::time::sleep(LOOK).await;
                patience = patience.saturating_sub(LOOK);
            }
            // Many clients that lost one master must not come back all at once.
            let wait = pause.mul_f64(0.75 + fastrand::f64() / 2.0);
            let next = Timestamp::now()
                .checked_add(k8s_openapi::jiff::SignedDuration::try_from(wait).unwrap_or_default());
            let (cause, first) = line.why();
            let detail = if detail.is_empty() { first } else { detail };
            let cause = cause.unwrap_or(Cause::Cut);
            let lost = Lost { cause, detail, since, attempts, next: next.unwrap_or(since) };
            hub.leave(|waiting| waiting.link = Some(Link::Down(lost)));
            tokio::time::sleep(wait).await;
            pause = (pause * 2).min(LONGEST);
        }
        line.back();
    }
}

/// Keeps a stream open and reports how it ends.
pub(super) async fn pulse(connection: Connection, line: Arc<Line>) {
    let mut whole = false;
    loop {
        // After a whole end whoever else has lost the master already waits to be told what that means.
        if !whole {
            line.up().await;
        }
        match connection.lines(PULSE, JSON).await {
            Ok(mut lines) => loop {
                match lines.next().await {
                    Ok(Some(_)) => {}
                    // A master that stops completes its answers; so does one that ends a long watch, and is there still.
                    Ok(None) => {
                        whole = true;
                        break;
                    }
                    Err(error) => {
                        whole = false;
                        line.lost(Some(Cause::Cut), error.to_string());
                        break;
                    }
                }
            },
            Err(failure) if failure.kind == Kind::Unreachable => {
                line.lost(whole.then_some(Cause::Stopped), String::new());
                whole = false;
            }
            // A server without this kind has no pulse to take.
            Err(_) => {
                whole = false;
                tokio::time::sleep(LONGEST).await;
            }
        }
        if !whole {
            tokio::time::sleep(AGAIN).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_first_of_several_failures_tells_why_and_all_wait_for_the_return() {
        let line = Arc::new(Line::default());
        line.up().await;
        let epoch = line.epoch();
        line.lost(None, "refused".into());
        line.lost(Some(Cause::Stopped), String::new());
        line.lost(Some(Cause::Cut), "x".into());
        assert_eq!(line.why().0, Some(Cause::Stopped));
        let waiting = tokio::spawn({
            let line = line.clone();
            async move {
                line.up().await;
                line.renewed(epoch).await;
            }
        });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        line.back();
        waiting.await.unwrap();
        assert_ne!(line.epoch(), epoch);
    }
}
