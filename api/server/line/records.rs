//! Records of the transcripts of running iterations, as lines for the subscriber.

use axum::body::{Body, BodyDataStream};
use bytes::{BufMut as _, Bytes, BytesMut};
use futures::stream::{BoxStream, StreamExt as _, unfold};
use serde_json::json;

use super::caller::{Caller, objects, segment};
use super::codec::{Decoder, Frame};
use super::envelope::error;

/// Longest record.
const MAX_RECORD: usize = 64 << 20;

struct Following {
    caller: Caller,
    path: String,
    /// The envelope up to the record's number.
    head: String,
    body: Option<BodyDataStream>,
    decoder: Decoder,
    count: u64,
    refused: bool,
}

/// Follows a transcript from its first record to its end, pulled as the subscriber reads.
pub(super) fn records(
    caller: Caller,
    namespace: &str,
    agent: &str,
    iteration: &str,
) -> BoxStream<'static, Bytes> {
    let path =
        format!("{}/{}/transcript?follow=true&since=0", objects(namespace, "iterations"), segment(iteration));
    let whose = json!({"agent": agent, "iteration": iteration, "namespace": namespace}).to_string();
    let head = format!("{{\"type\":\"steer_record\",\"payload\":{},\"index\":", whose.trim_end_matches('}'));
    let following = Following {
        caller,
        path,
        head,
        body: None,
        decoder: Decoder::new(MAX_RECORD),
        count: 0,
        refused: false,
    };
    unfold(following, |mut following| async move { following.next().await.map(|lines| (lines, following)) })
        .boxed()
}

impl Following {
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            let Some(body) = self.body.as_mut() else {
                match self.caller.stream(&self.path).await {
                    Ok(body) => self.body = Some(Body::into_data_stream(body)),
                    // An iteration that is gone has no transcript.
                    Err(status) if self.refused || status["reason"] == "NotFound" => return None,
                    Err(status) => {
                        self.refused = true;
                        return Some(error(None, &status));
                    }
                }
                continue;
            };
            let bytes = body.next().await?.ok()?;
            let mut rest = &bytes[..];
            while !rest.is_empty() {
                rest = &rest[self.decoder.push(rest)..];
            }
            let mut out = BytesMut::new();
            while let Some(frame) = self.decoder.next_frame() {
                if let Frame::Line(record) = frame {
                    out.put_slice(self.head.as_bytes());
                    out.put_slice(format!("{},\"record\":", self.count).as_bytes());
                    out.put_slice(record.trim_ascii());
                    out.put_slice(b"}}\n");
                }
                self.count += 1;
            }
            if !out.is_empty() {
                return Some(out.freeze());
            }
        }
    }
}
