//! What a connection is busy with: requests that began, answers that are under way, since when it is idle.

use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use tokio::time::Instant;

/// One connection's activity, shared by its socket and its requests.
#[derive(Debug)]
pub(crate) struct Activity {
    begun: AtomicU64,
    open: AtomicU64,
    last: Mutex<Instant>,
    /// Requests in a row that came after a pause.
    pauses: AtomicU64,
}

/// A connection without a request for this long paused: a client that floods never does.
const PAUSE: Duration = Duration::from_millis(10);

/// A request, from its head to the last byte of its answer.
#[derive(Debug)]
pub(crate) struct Busy(Arc<Activity>);

impl Activity {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            begun: AtomicU64::new(0),
            open: AtomicU64::new(0),
            last: Mutex::new(Instant::now()),
            pauses: AtomicU64::new(0),
        })
    }

    pub(crate) fn begin(self: &Arc<Self>) -> Busy {
        match self.idle_since() {
            Some(since) if since.elapsed() >= PAUSE => self.pauses.fetch_add(1, Ordering::Relaxed),
            _ => self.pauses.swap(0, Ordering::Relaxed),
        };
        self.begun.fetch_add(1, Ordering::Relaxed);
        self.open.fetch_add(1, Ordering::Relaxed);
        Busy(Arc::clone(self))
    }

    /// True when the last requests all came after a pause. One or two may be chance, where a client that floods is
    /// short of a processor itself.
    pub(crate) fn is_quiet(&self) -> bool {
        self.pauses.load(Ordering::Relaxed) >= 4
    }

    /// Requests that began so far.
    pub(super) fn begun(&self) -> u64 {
        self.begun.load(Ordering::Relaxed)
    }

    /// Since when nothing is under way; none while something is.
    pub(super) fn idle_since(&self) -> Option<Instant> {
        (self.open.load(Ordering::Relaxed) == 0)
            .then(|| *self.last.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        *self.0.last.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A body that holds something until it has ended or is given up.
pub(crate) struct Holding<T> {
    body: Body,
    held: Option<T>,
}

impl<T: Send + Unpin + 'static> Holding<T> {
    pub(crate) fn wrap(body: Body, held: T) -> Body {
        Body::new(Self { body, held: Some(held) })
    }
}

impl<T: Unpin> HttpBody for Holding<T> {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = Pin::new(&mut self.body).poll_frame(cx);
        if let Poll::Ready(None | Some(Err(_))) = frame {
            self.held = None;
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
