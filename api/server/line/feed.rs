//! A watch of one kind as a stream of changes. It goes on by itself when the watch ends, and says so when it has to
//! begin again from the whole state.

use std::collections::VecDeque;
use std::time::Duration;

use axum::body::{Body, BodyDataStream};
use futures::stream::{BoxStream, StreamExt as _, unfold};
use serde_json::Value;

use super::caller::{Caller, Refused, objects};
use super::codec::{Decoder, Frame};
use super::scope::Kind;

/// Time before a watch that was refused is tried again.
const RETRY: Duration = Duration::from_secs(1);
/// Longest line of a watch: an object and its frame.
const MAX_EVENT: usize = 8 << 20;

/// One step of a feed.
#[derive(Debug)]
pub(super) enum Step {
    /// An object as it is now.
    Put(Kind, Value),
    /// An object that is gone, as it was.
    Gone(Kind, Value),
    /// Everything that there was at the beginning has come.
    Synced,
    /// Changes were missed: the whole state has to come again.
    Missed,
    /// The watch is refused, for the reason of this Status.
    Refused(Refused),
}

struct Feed {
    caller: Caller,
    kind: Kind,
    base: String,
    /// Up to where everything came; empty before the whole state has.
    version: String,
    body: Option<BodyDataStream>,
    decoder: Decoder,
    ready: VecDeque<Step>,
    ended: bool,
}

/// Follows a kind in a namespace, or in all: first what there is, then [`Step::Synced`], then every change.
pub(super) fn feed(caller: Caller, kind: Kind, namespace: Option<&str>) -> BoxStream<'static, Step> {
    let base = match namespace {
        Some(namespace) => objects(namespace, kind.plural()),
        None => format!("/apis/gcluster.dev/v1alpha1/{}", kind.plural()),
    };
    let feed = Feed {
        caller,
        kind,
        base,
        version: String::new(),
        body: None,
        decoder: Decoder::new(MAX_EVENT),
        ready: VecDeque::new(),
        ended: false,
    };
    unfold(feed, |mut feed| async move { feed.next().await.map(|step| (step, feed)) }).boxed()
}

impl Feed {
    async fn next(&mut self) -> Option<Step> {
        loop {
            if let Some(step) = self.ready.pop_front() {
                return Some(step);
            }
            if self.ended {
                return None;
            }
            match self.body.as_mut() {
                None => match self.caller.stream(&self.path()).await {
                    Ok(body) => {
                        self.body = Some(Body::into_data_stream(body));
                        self.decoder = Decoder::new(MAX_EVENT);
                    }
                    Err(status) if self.version.is_empty() => {
                        self.ended = true;
                        return Some(Step::Refused(status));
                    }
                    // The master is busy, or it stops: then the connection is told.
                    Err(_) => tokio::time::sleep(RETRY).await,
                },
                Some(body) => match body.next().await {
                    Some(Ok(bytes)) => self.take(&bytes),
                    Some(Err(_)) | None => {
                        self.body = None;
                        // An end that came at once must not become a spin.
                        tokio::time::sleep(Duration::from_millis(20)).await;
                    }
                },
            }
        }
    }

    fn path(&self) -> String {
        let from = match self.version.as_str() {
            "" => "sendInitialEvents=true&resourceVersionMatch=NotOlderThan".to_owned(),
            version => format!("resourceVersion={version}"),
        };
        format!("{}?watch=true&allowWatchBookmarks=true&{from}", self.base)
    }

    fn take(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        while !rest.is_empty() {
            rest = &rest[self.decoder.push(rest)..];
        }
        while let Some(frame) = self.decoder.next_frame() {
            let event: Option<Value> = match frame {
                Frame::Line(line) => serde_json::from_slice(&line).ok(),
                Frame::TooLong { .. } => None,
            };
            let Some(mut event) = event else { continue };
            let object = event["object"].take();
            let version = object["metadata"]["resourceVersion"].as_str().unwrap_or_default().to_owned();
            match event["type"].as_str().unwrap_or_default() {
                "ADDED" | "MODIFIED" => self.ready.push_back(Step::Put(self.kind, object)),
                "DELETED" => self.ready.push_back(Step::Gone(self.kind, object)),
                "BOOKMARK" => {
                    if self.version.is_empty() {
                        self.ready.push_back(Step::Synced);
                        self.version = version;
                        continue;
                    }
                }
                _ => {
                    self.ready.push_back(Step::Missed);
                    self.ended = true;
                    return;
                }
            }
            // Before the whole state has come the versions of its objects are no place to go on from.
            if !self.version.is_empty() && !version.is_empty() {
                self.version = version;
            }
        }
    }
}
