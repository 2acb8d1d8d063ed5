//! Watches: a stream of events, one JSON object per line.
//!
//! A watch is pulled by its reader: one that stops reading stops here, holds one chunk of memory, and
//! falls off the store's window of events sooner or later, which it is told as `410 Expired`.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::{BufMut, Bytes, BytesMut};
use futures::{FutureExt as _, stream};
use gcluster_store::{Entry, Event, EventKind, WatchEnd, Watcher};
use http::{HeaderValue, header};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{empty_table, plain, shaped};
use crate::identity::Identity;
use crate::kinds::Kind;
use crate::metrics::Watching;
use crate::negotiate::{Accepted, Form};
use crate::query::Query;
use crate::selector::Selector;
use crate::status::{ApiError, ApiResult, Cause};
use crate::{Api, Closing};

/// How often a bookmark is sent when something happened.
const BOOKMARK_EVERY: Duration = Duration::from_secs(10);
/// How long before the end of a watch its last bookmark is sent.
const LAST_BOOKMARK: Duration = Duration::from_millis(500);
/// Most watches that are open at once before further ones are refused; the master's own are not.
const MAX_WATCHES: i64 = 4096;
/// Chunks of the initial state.
const CHUNK: usize = 256 << 10;

/// Everything that a watch needs to go on.
struct Watch {
    kind: Arc<Kind>,
    selector: Selector,
    accepted: Accepted,
    bookmarks: bool,
    initial: std::vec::IntoIter<Arc<Entry>>,
    /// The bookmark that ends the initial state, with its revision.
    initial_end: Option<u64>,
    watcher: Watcher,
    /// Column definitions were sent.
    defined: bool,
    bookmarked: u64,
    next_bookmark: Instant,
    until: Instant,
    ended: bool,
    closing: Closing,
    _counted: Watching,
}

/// Opens a watch.
pub(crate) fn watch(
    api: &Api,
    kind: &Arc<Kind>,
    namespace: Option<&str>,
    query: &Query,
    accepted: Accepted,
    identity: &Identity,
) -> ApiResult<Response> {
    let counted = api.metrics().watching();
    if *identity != Identity::Master && counted.open() > MAX_WATCHES {
        return Err(ApiError::too_many(format!("{MAX_WATCHES} watches are open already: try again later")));
    }
    let selector = Selector::parse(kind, query.get("labelSelector"), query.get("fieldSelector"))?;
    let bookmarks = query.flag("allowWatchBookmarks");
    let version = query.number("resourceVersion")?;
    let how = query.get("resourceVersionMatch");
    let streaming = query.has("sendInitialEvents");
    let wants_initial = query.flag("sendInitialEvents");
    if streaming && how != "NotOlderThan" {
        let why = "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan";
        return Err(ApiError::invalid_options("ListOptions", Cause::forbidden("resourceVersionMatch", why)));
    }
    if !streaming && !how.is_empty() {
        let why = "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided";
        return Err(ApiError::invalid_options("ListOptions", Cause::forbidden("resourceVersionMatch", why)));
    }
    let store = api.store();
    let current = store.revision();
    let from = version.filter(|version| *version > 0);
    if let Some(asked) = from.filter(|asked| *asked > current && *asked > store.known_revision()) {
        // Nothing that this store ever answered: its client knows another store, or one that was lost.
        return Ok(expired(&format!("too large resource version: {asked} ({current})")));
    }
    let initial = if streaming { wants_initial } else { from.is_none() };
    let (entries, revision, watcher) = if initial {
        let (listing, watcher) = store.list_and_watch(&kind.store_resource, namespace);
        (listing.entries, listing.revision, watcher)
    } else {
        let after = from.unwrap_or(current);
        match store.watch(&kind.store_resource, namespace, after) {
            Ok(watcher) => (Vec::new(), after, watcher),
            Err(gone) => {
                return Ok(expired(&format!("too old resource version: {} ({})", gone.asked, gone.floor)));
            }
        }
    };
    let seconds = match query.number("timeoutSeconds")? {
        None | Some(0) => fastrand::u64(1800..3600),
        Some(seconds) => seconds.min(24 * 3600),
    };
    let now = Instant::now();
    let state = Watch {
        kind: Arc::clone(kind),
        selector,
        accepted,
        bookmarks,
        initial: entries.into_iter(),
        initial_end: (streaming && wants_initial && bookmarks).then_some(revision),
        watcher,
        defined: false,
        bookmarked: revision,
        next_bookmark: now + BOOKMARK_EVERY,
        until: now + Duration::from_secs(seconds),
        ended: false,
        closing: api.closing(),
        _counted: counted,
    };
    let body = stream::unfold(state, |mut state| async move {
        let chunk = state.next().await?;
        Some((Ok::<Bytes, std::convert::Infallible>(chunk), state))
    });
    Ok(response(Body::from_stream(body)))
}

fn response(body: Body) -> Response {
    let mut response = body.into_response();
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// A watch that cannot begin ends at once, as Kubernetes does it: with an event that says why.
fn expired(why: &str) -> Response {
    response(Body::from(error_line(&ApiError::expired(why))))
}

fn error_line(error: &ApiError) -> Bytes {
    line("ERROR", &error.to_json())
}

fn line(kind: &str, object: &Value) -> Bytes {
    format!("{{\"type\":\"{kind}\",\"object\":{object}}}\n").into()
}

impl Watch {
    /// The next bytes; none when the watch is over.
    async fn next(&mut self) -> Option<Bytes> {
        if self.ended {
            return None;
        }
        if let Some(chunk) = self.initial() {
            return Some(chunk);
        }
        if let Some(revision) = self.initial_end.take() {
            return Some(self.bookmark(revision, true));
        }
        let life = self.kind.custom.life.clone();
        let mortal = !self.kind.custom.definition.is_empty();
        loop {
            let last = self.until.checked_sub(LAST_BOOKMARK).unwrap_or(self.until);
            let wake =
                if self.bookmarks { self.next_bookmark.min(last.max(Instant::now())) } else { self.until };
            let wake = wake.min(self.until);
            tokio::select! {
                events = self.watcher.next() => match events {
                    Ok(events) => {
                        if let Some(chunk) = self.lines(&events) {
                            return Some(chunk);
                        }
                    }
                    Err(WatchEnd::Closed) => return None,
                    Err(WatchEnd::Gone(gone)) => {
                        self.ended = true;
                        let why = format!("too old resource version: {} ({})", gone.asked, gone.floor);
                        return Some(error_line(&ApiError::expired(why)));
                    }
                },
                () = self.closing.wait() => return None,
                () = life.ended(), if mortal => {
                    // What happened before is still owed.
                    self.ended = true;
                    return match self.watcher.next().now_or_never() {
                        Some(Ok(events)) => self.lines(&events),
                        _ => None,
                    };
                }
                () = tokio::time::sleep_until(wake) => {
                    let now = Instant::now();
                    let over = now >= last.min(self.until);
                    self.next_bookmark = now + BOOKMARK_EVERY;
                    let progress = self.watcher.progress();
                    if self.bookmarks && progress > self.bookmarked {
                        // What comes between this bookmark and the end is seen by the next watch.
                        self.ended = over;
                        return Some(self.bookmark(progress, false));
                    }
                    if over && (now >= self.until || self.bookmarks) {
                        tokio::time::sleep_until(self.until).await;
                        return None;
                    }
                }
            }
        }
    }

    fn initial(&mut self) -> Option<Bytes> {
        let mut out = BytesMut::new();
        while out.len() < CHUNK {
            let Some(entry) = self.initial.next() else { break };
            if self.selector.matches(&self.kind, &entry) {
                self.put(&mut out, "ADDED", &entry.value);
            }
        }
        (!out.is_empty()).then(|| out.freeze())
    }

    fn put(&mut self, out: &mut BytesMut, kind: &str, value: &[u8]) {
        out.put_slice(b"{\"type\":\"");
        out.put_slice(kind.as_bytes());
        out.put_slice(b"\",\"object\":");
        if plain(&self.kind, Accepted { yaml: false, ..self.accepted }) {
            out.put_slice(value);
        } else {
            let object = shaped(&self.kind, value, self.accepted.form, !self.defined);
            self.defined = true;
            match object
                .and_then(|object| serde_json::to_vec(&object).map_err(|e| ApiError::internal(e.to_string())))
            {
                Ok(bytes) => out.put_slice(&bytes),
                Err(error) => out.put_slice(error.to_json().to_string().as_bytes()),
            }
        }
        out.put_slice(b"}\n");
    }

    /// What the watch shows of some events; none when it shows nothing.
    fn lines(&mut self, events: &[Arc<Event>]) -> Option<Bytes> {
        let stored = plain(&self.kind, Accepted { yaml: false, ..self.accepted });
        if let ([event], true, true) = (events, stored, self.selector.is_empty()) {
            return Some(event.line());
        }
        let mut out = BytesMut::new();
        for event in events {
            if self.selector.is_empty() {
                match stored {
                    true => out.put_slice(&event.line()),
                    false => self.put(&mut out, event.kind.as_str(), &event.entry.value),
                }
                continue;
            }
            let before =
                event.previous.as_ref().is_some_and(|entry| self.selector.matches(&self.kind, entry));
            let after = event.current().is_some_and(|entry| self.selector.matches(&self.kind, entry));
            match (before, after) {
                (false, false) => {}
                (false, true) => self.put(&mut out, "ADDED", &event.entry.value),
                (true, true) => self.put(&mut out, "MODIFIED", &event.entry.value),
                (true, false) if event.kind == EventKind::Deleted => {
                    self.put(&mut out, "DELETED", &event.entry.value);
                }
                (true, false) => {
                    if let Some(last) = event.previous.as_ref().and_then(|entry| left(entry, event.revision))
                    {
                        self.put(&mut out, "DELETED", &last);
                    }
                }
            }
        }
        (!out.is_empty()).then(|| out.freeze())
    }

    fn bookmark(&mut self, revision: u64, initial_end: bool) -> Bytes {
        self.bookmarked = revision;
        let mut meta = json!({"resourceVersion": revision.to_string(), "creationTimestamp": null});
        if initial_end {
            meta["annotations"] = json!({"k8s.io/initial-events-end": "true"});
        }
        let object = match self.accepted.form {
            Form::Table(_) => empty_table(&self.kind, meta),
            Form::Metadata => {
                json!({"apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata", "metadata": meta})
            }
            Form::Object => {
                json!({"apiVersion": self.kind.api_version(), "kind": self.kind.kind, "metadata": meta})
            }
        };
        line("BOOKMARK", &object)
    }
}

/// The last state of an object that the selector matched, at the revision at which it ceased to.
fn left(entry: &Entry, revision: u64) -> Option<Vec<u8>> {
    let mut object: Value = serde_json::from_slice(&entry.value).ok()?;
    object["metadata"]["resourceVersion"] = revision.to_string().into();
    serde_json::to_vec(&object).ok()
}
