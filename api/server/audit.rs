//! The audit log: who changed what, when, and with which result.
//!
//! ```text
//! {"time":"…","user":"gcluster-admin","userAgent":"kubectl/v1.33.0","peer":"127.0.0.1:50312","verb":"create",
//!  "group":"gcluster.dev","resource":"agents","namespace":"default","name":"a","code":201,
//!  "resourceVersion":"17","micros":412}
//! ```
//! One line per request that could change something, also when it was refused. Never bodies, tokens or
//! values. Requests hand their lines to a writer over a bounded queue and never wait for it; lines that find
//! the queue full are counted, and the log says how many are missing where they are.

mod entry;
mod writer;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::body::Body;
use axum::extract::State;
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use http::{Request, header};
use tokio::sync::{mpsc, oneshot};

use crate::Api;
use crate::identity::{Identity, manager_of};
use crate::query::Query;
use crate::routes::{Parsed, Target};
pub(crate) use entry::{Entry, Wrote};
use writer::Writer;

/// Lines that wait for the writer at most.
const QUEUE: usize = 16 * 1024;

/// How large a log grows before it is put aside, and how many old ones are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rotation {
    /// Bytes of one file.
    pub bytes: u64,
    /// Old files: `audit.log.1` is the newest of them.
    pub kept: usize,
}

impl Default for Rotation {
    fn default() -> Self {
        Self { bytes: 64 << 20, kept: 4 }
    }
}

/// An open audit log. Clones are handles to the same one.
#[derive(Clone, Debug)]
pub struct Audit {
    queue: mpsc::Sender<Message>,
    counts: Arc<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    written: AtomicU64,
    /// Lost and not yet said so in the log.
    missing: AtomicU64,
    lost: AtomicU64,
}

enum Message {
    Line(String),
    /// Everything before it is to be in the file.
    Flush(oneshot::Sender<()>),
}

impl Audit {
    /// Opens a log for appending, made with mode 0600.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub fn open(path: &Path, rotation: Rotation) -> std::io::Result<Self> {
        let (queue, lines) = mpsc::channel(QUEUE);
        let counts = Arc::new(Counts::default());
        let writer = Writer::open(path, rotation, Arc::clone(&counts))?;
        std::thread::Builder::new().name("audit".into()).spawn(move || writer.run(lines))?;
        Ok(Self { queue, counts })
    }

    /// Completes when all that was handed over so far is in the file.
    pub async fn flush(&self) {
        let (done, written) = oneshot::channel();
        if self.queue.send(Message::Flush(done)).await.is_ok() {
            let _ = written.await;
        }
    }

    /// The API as a service for the master's own controllers, with their writes in the log. Each is named
    /// `system:gcluster:` and its field manager.
    pub fn of_controllers(&self, api: &Api) -> axum::Router {
        let state = (api.clone(), self.clone());
        api.router().layer(from_fn_with_state(state, controllers))
    }

    /// Written and lost lines so far.
    pub(crate) fn counts(&self) -> (u64, u64) {
        (self.counts.written.load(Ordering::Relaxed), self.counts.lost.load(Ordering::Relaxed))
    }

    fn put(&self, line: String) {
        if self.queue.try_send(Message::Line(line)).is_err() {
            self.counts.missing.fetch_add(1, Ordering::Relaxed);
            self.counts.lost.fetch_add(1, Ordering::Relaxed);
        }
    }
}

async fn controllers(
    State((api, audit)): State<(Api, Audit)>,
    mut request: Request<Body>,
    next: Next,
) -> Response {
    let query = Query::parse(request.uri().query().unwrap_or_default());
    let name = match query.get("fieldManager") {
        "" => manager_of(request.headers()),
        manager => manager.to_owned(),
    };
    let user = format!("{}:{name}", Identity::Master.user());
    let target = Target::parse(&api, request.uri().path());
    let entry = Entry::of(&audit, &request, &target, user, None);
    request.extensions_mut().insert(Parsed(target));
    let response = next.run(request).await;
    if let Some(entry) = entry {
        entry.finish(&response);
    }
    response
}

/// The `User-Agent` of a request, short enough for a log.
fn user_agent(request: &Request<Body>) -> String {
    let text = request.headers().get(header::USER_AGENT).and_then(|value| value.to_str().ok());
    text.unwrap_or_default().chars().take(256).collect()
}
