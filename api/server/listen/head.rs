//! Answers for heads of HTTP/1 requests that no request was made of.
//!
//! hyper closes a connection whose head does not come in time, and refuses a head that is too large or no
//! HTTP with a bare status line. This layer between it and the socket answers both with a `Status`.

use std::future::Future as _;
use std::io::{Error, ErrorKind, IoSlice, Result};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf as _, Bytes};
use http::StatusCode;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

use super::activity::Activity;
use crate::status::ApiError;

/// Begins HTTP/2 with prior knowledge; no method of HTTP/1 does.
const HTTP2: &[u8] = b"PRI";
/// Longest time for which what a client sends after its answer is read and forgotten.
const LINGER: Duration = Duration::from_secs(1);

/// A connection that speaks HTTP.
#[derive(Debug)]
pub(super) struct Heads<S> {
    stream: S,
    activity: Arc<Activity>,
    limit: Duration,
    /// The first bytes: they tell the version.
    first: Vec<u8>,
    /// Runs while a head is on its way, with the number of requests before it.
    head: Option<(u64, Pin<Box<Sleep>>)>,
    /// Own words that are still to be sent; nothing else is sent after them.
    words: Option<Bytes>,
    over: bool,
    /// Runs while what the client still sends is thrown away.
    linger: Option<Pin<Box<Sleep>>>,
}

/// A whole answer in HTTP/1, after which the connection closes.
pub(super) fn plain_answer(error: &ApiError) -> Bytes {
    let (code, body) = (error.code(), error.to_json().to_string());
    format!(
        "HTTP/1.1 {} {}\r\ncontent-type: application/json\r\nx-content-type-options: nosniff\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        code.as_u16(),
        code.canonical_reason().unwrap_or_default(),
        body.len()
    )
    .into()
}

impl<S> Heads<S> {
    pub(super) fn new(stream: S, activity: Arc<Activity>, limit: Duration) -> Self {
        Self {
            stream,
            activity,
            limit,
            first: Vec::new(),
            head: None,
            words: None,
            over: false,
            linger: None,
        }
    }

    fn arrived(&mut self, bytes: &[u8]) {
        if self.first.len() < HTTP2.len() {
            self.first.extend_from_slice(&bytes[..bytes.len().min(HTTP2.len() - self.first.len())]);
        }
        if self.first == HTTP2 || self.head.is_some() || self.activity.idle_since().is_none() {
            return;
        }
        self.head = Some((self.activity.begun(), Box::pin(tokio::time::sleep(self.limit))));
    }

    /// Is a head on its way for too long?
    fn late(&mut self, cx: &mut Context<'_>) -> bool {
        let Some((before, sleep)) = &mut self.head else { return false };
        if *before != self.activity.begun() || self.first == HTTP2 {
            self.head = None;
            return false;
        }
        sleep.as_mut().poll(cx).is_ready()
    }

    fn say(&mut self, error: &ApiError) {
        self.words = Some(plain_answer(error));
        self.over = true;
    }
}

/// The refusal behind a bare status line of hyper's; none for anything else that is written.
fn bare(bytes: &[u8]) -> Option<ApiError> {
    let whole = bytes.len() < 256 && bytes.ends_with(b"\r\n\r\n");
    let text = std::str::from_utf8(bytes).ok().filter(|text| whole && !text.contains("nosniff"))?;
    let code = text.strip_prefix("HTTP/1.1 ").or_else(|| text.strip_prefix("HTTP/1.0 "))?.get(..3)?;
    match code {
        "431" => Some(ApiError::head_too_large("its headers are too many or too large")),
        "414" => {
            Some(ApiError::of_code(StatusCode::URI_TOO_LONG, "RequestURITooLong", "the path is too long"))
        }
        "400" => Some(ApiError::bad_request("this is no HTTP request")),
        _ => None,
    }
}

impl<S: AsyncWrite + Unpin> Heads<S> {
    fn poll_words(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        while let Some(words) = &mut self.words {
            let sent = ready!(Pin::new(&mut self.stream).poll_write(cx, words))?;
            if sent == 0 {
                return Poll::Ready(Err(ErrorKind::WriteZero.into()));
            }
            words.advance(sent);
            if words.is_empty() {
                self.words = None;
            }
        }
        Pin::new(&mut self.stream).poll_flush(cx)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Heads<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<Result<()>> {
        let this = &mut *self;
        if !this.over {
            let before = buffer.filled().len();
            match Pin::new(&mut this.stream).poll_read(cx, buffer) {
                Poll::Ready(Ok(())) => {
                    this.arrived(&buffer.filled()[before..]);
                    return Poll::Ready(Ok(()));
                }
                Poll::Pending if !this.late(cx) => return Poll::Pending,
                Poll::Pending => this.say(&ApiError::head_timeout(this.limit)),
                failed => return failed,
            }
        }
        ready!(this.poll_words(cx))?;
        Poll::Ready(Err(Error::new(ErrorKind::TimedOut, "the head of a request did not come")))
    }
}

impl<S: AsyncRead + Unpin> Heads<S> {
    /// To close a socket with unread bytes takes the answer from the client. They are read and forgotten
    /// for a moment.
    fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        let mut buffer = [0; 16 << 10];
        loop {
            let mut rest = ReadBuf::new(&mut buffer);
            match Pin::new(&mut self.stream).poll_read(cx, &mut rest) {
                Poll::Ready(Ok(())) if !rest.filled().is_empty() => {
                    let linger = self.linger.get_or_insert_with(|| Box::pin(tokio::time::sleep(LINGER)));
                    if linger.as_mut().poll(cx).is_ready() {
                        return Poll::Ready(Ok(()));
                    }
                }
                Poll::Pending => {
                    return self
                        .linger
                        .as_mut()
                        .map_or(Poll::Ready(()), |linger| linger.as_mut().poll(cx))
                        .map(Ok);
                }
                Poll::Ready(_) => return Poll::Ready(Ok(())),
            }
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Heads<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<Result<usize>> {
        let this = &mut *self;
        if this.first != HTTP2
            && !this.over
            && let Some(error) = bare(bytes)
        {
            this.say(&error);
        }
        match this.over {
            // What hyper says of it is swallowed.
            true => this.poll_words(cx).map_ok(|()| bytes.len()),
            false => Pin::new(&mut this.stream).poll_write(cx, bytes),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<Result<usize>> {
        let first = parts.iter().find(|part| !part.is_empty());
        match first {
            Some(part) if self.over || (parts.len() == 1 && bare(part).is_some()) => {
                self.poll_write(cx, part)
            }
            _ => Pin::new(&mut self.stream).poll_write_vectored(cx, parts),
        }
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        self.poll_words(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        ready!(self.poll_words(cx))?;
        if self.linger.is_none() {
            ready!(Pin::new(&mut self.stream).poll_shutdown(cx))?;
        }
        self.poll_drain(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_bare_refusals_are_put_into_words() {
        let head = "HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-length: 0\r\n\r\n";
        assert_eq!(bare(head.as_bytes()).unwrap().code(), 431);
        let own = plain_answer(&ApiError::bad_request("x"));
        for other in
            [&own[..], b"HTTP/1.1 200 OK\r\n\r\n", b"5\r\nhello", b"HTTP/1.1 431 x", b"\xff\r\n\r\n", b""]
        {
            assert!(bare(other).is_none(), "{other:?}");
        }
    }
}
