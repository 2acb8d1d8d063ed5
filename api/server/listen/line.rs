//! The line protocol's way in: on the port, told apart by the first byte that is no white space, and on the
//! Unix socket.
//!
//! No HTTP request begins with `{`, and what a connection begins with decides for all of it: so nothing that a
//! browser can be made to send is ever read as an envelope.

use std::io::{IoSlice, Result};
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::Extension;
use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf};
use tokio::net::UnixStream;
use tokio::time::timeout;

use super::{Activity, Peer, Server};
use crate::Closing;
use crate::limits::Seat;
use crate::line::{Door, Socket, serve};

/// Most white space before the first byte that counts.
const MAX_BLANK: usize = 64;

impl Server {
    /// Serves whatever is spoken on a connection.
    pub(super) async fn spoken(
        &self,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        peer: Peer,
    ) {
        let mut stream = Rewound { first: Bytes::new(), stream };
        let mut stopping = Closing(self.stopping.subscribe());
        let begun = tokio::select! {
            begun = timeout(self.limits.head_time, stream.peek()) => begun,
            () = stopping.wait() => return,
        };
        match begun {
            Ok(Ok(Some(b'{'))) => {
                let trusted = self.line.insecure && self.plain && peer.remote.ip().is_loopback();
                self.envelopes(stream, peer, trusted).await;
            }
            Ok(Ok(Some(_))) => self.http(stream, peer).await,
            Ok(Ok(None) | Err(_)) | Err(_) => {}
        }
    }

    /// Serves a connection to the Unix socket.
    pub(super) async fn local(&self, stream: UnixStream, seat: Arc<Seat>) {
        let here = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let peer = Peer { local: here, remote: here, seat, activity: Activity::new() };
        self.envelopes(stream, peer, true).await;
    }

    async fn envelopes(&self, stream: impl AsyncRead + AsyncWrite, peer: Peer, trusted: bool) {
        let door = Door {
            router: self.router.clone().layer(Extension(peer)),
            token: trusted.then(|| self.admin.to_string()),
            compile: self.line.compile.clone(),
        };
        serve(stream, door, Closing(self.stopping.subscribe())).await;
    }
}

/// The next connection to the Unix socket; never, when there is none.
pub(super) async fn accept(socket: Option<&Socket>) -> Result<UnixStream> {
    match socket {
        Some(socket) => socket.accept().await,
        None => std::future::pending().await,
    }
}

/// A stream whose first bytes were looked at and come again.
#[derive(Debug)]
struct Rewound<S> {
    first: Bytes,
    stream: S,
}

impl<S: AsyncRead + Unpin> Rewound<S> {
    /// The first byte that is no white space, or the first when there is too much of that; none at the end.
    async fn peek(&mut self) -> Result<Option<u8>> {
        let mut seen = BytesMut::with_capacity(MAX_BLANK);
        loop {
            let byte = seen.iter().find(|byte| !byte.is_ascii_whitespace()).copied();
            let room = MAX_BLANK - seen.len();
            if byte.is_some() || room == 0 || self.stream.read_buf(&mut (&mut seen).limit(room)).await? == 0 {
                let byte = byte.or(seen.first().copied());
                self.first = seen.freeze();
                return Ok(byte);
            }
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Rewound<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<Result<()>> {
        if self.first.is_empty() {
            return Pin::new(&mut self.stream).poll_read(cx, buffer);
        }
        let n = self.first.len().min(buffer.remaining());
        buffer.put_slice(&self.first[..n]);
        self.first.advance(n);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Rewound<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_was_looked_at_comes_again() {
        for (text, byte) in
            [(" \r\n{\"a\"", Some(b'{')), ("GET", Some(b'G')), ("\r\n\r\nGET /", Some(b'G')), ("", None)]
        {
            let mut stream = Rewound { first: Bytes::new(), stream: text.as_bytes() };
            assert_eq!(stream.peek().await.unwrap(), byte, "{text:?}");
            let mut all = String::new();
            stream.read_to_string(&mut all).await.unwrap();
            assert_eq!(all, text);
        }
        let blanks = " ".repeat(MAX_BLANK) + "{";
        let mut stream = Rewound { first: Bytes::new(), stream: blanks.as_bytes() };
        assert_eq!(stream.peek().await.unwrap(), Some(b' '), "so much is not tolerated");
    }
}
