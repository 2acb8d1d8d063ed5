//! `steer_subscribe`: the state, and then what changed, for as long as the connection lives.
//!
//! ```text
//! three watches ─▶ waiting: object ─▶ its newest form ─▶ one push when all before was written
//! ```
//! What changes again before it was pushed is pushed once, in its newest form. When much waits, the watches are not
//! read on; they are cursors of the store, hold nothing up, and one that falls out of the store's window begins
//! again with the whole state. So the memory of a connection is bounded, and who reads slowly misses only what is old.

use std::collections::{BTreeMap, HashSet};

use bytes::Bytes;
use futures::stream::{BoxStream, SelectAll, StreamExt as _};
use serde_json::{Value, json};

use super::caller::{Caller, Refused};
use super::envelope::error;
use super::feed::{Step, feed};
use super::records::records;
use super::scope::{Kind, Latest, Scope, agent_of};

/// Bytes of changes that wait before the watches are not read on.
const MAX_WAITING: usize = 4 << 20;
/// Bytes of one push, roughly.
const MAX_PUSH: usize = 1 << 20;
/// Most transcripts that are followed at once.
const MAX_TRANSCRIPTS: usize = 1024;

/// Which object: kind, namespace, name.
type Key = (Kind, String, String);

/// A state that is followed.
pub(super) struct Subscription {
    caller: Caller,
    scope: Scope,
    /// Of the request; goes with the first push.
    id: Option<Value>,
    feeds: SelectAll<BoxStream<'static, Step>>,
    unsynced: usize,
    /// The next push begins a whole state.
    full: bool,
    /// Newest form of what changed; none: it is gone.
    waiting: BTreeMap<Key, Option<String>>,
    bytes: usize,
    version: u64,
    iterations: Latest,
    messages: Latest,
    /// Iterations and messages that the subscriber knows.
    known: HashSet<Key>,
    transcripts: SelectAll<BoxStream<'static, Bytes>>,
    followed: HashSet<(String, String)>,
    refused: Option<Refused>,
    refused_said: bool,
}

impl Subscription {
    /// Begins to follow. Answers the first push, which carries the request's id.
    pub(super) async fn open(
        caller: Caller,
        scope: Scope,
        id: Option<Value>,
    ) -> Result<(Self, Bytes), Refused> {
        scope.check()?;
        let mut subscription = Self {
            caller,
            scope,
            id,
            feeds: SelectAll::new(),
            unsynced: 0,
            full: true,
            waiting: BTreeMap::new(),
            bytes: 0,
            version: 0,
            iterations: Latest::default(),
            messages: Latest::default(),
            known: HashSet::new(),
            transcripts: SelectAll::new(),
            followed: HashSet::new(),
            refused: None,
            refused_said: false,
        };
        subscription.begin();
        let first = subscription.next(true).await;
        match subscription.refused.take() {
            Some(status) => Err(status),
            None => Ok((subscription, first)),
        }
    }

    /// (Again) from the whole state.
    fn begin(&mut self) {
        let namespace = self.scope.namespace();
        self.feeds = Kind::ALL.map(|kind| feed(self.caller.clone(), kind, namespace)).into_iter().collect();
        self.unsynced = Kind::ALL.len();
        self.full = true;
        self.waiting.clear();
        self.bytes = 0;
        self.iterations = Latest::default();
        self.messages = Latest::default();
        self.known.clear();
    }

    /// The next lines for the subscriber; only when `ready`, as what waits is merged till then. Cancel safe.
    pub(super) async fn next(&mut self, ready: bool) -> Bytes {
        loop {
            if ready && let Some(push) = self.push() {
                return push;
            }
            let room = self.bytes < MAX_WAITING && !self.feeds.is_empty();
            let records = ready && self.unsynced == 0 && !self.transcripts.is_empty();
            tokio::select! {
                biased;
                Some(step) = self.feeds.next(), if room => {
                    self.take(step);
                    // What is there already belongs into the same push.
                    while self.bytes < MAX_PUSH
                        && let Some(Some(step)) = futures::FutureExt::now_or_never(self.feeds.next())
                    {
                        self.take(step);
                    }
                }
                Some(lines) = self.transcripts.next(), if records => return lines,
                else => std::future::pending().await,
            }
        }
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Synced => self.unsynced = self.unsynced.saturating_sub(1),
            Step::Missed => self.begin(),
            Step::Refused(status) => self.refused = Some(status),
            Step::Put(kind, object) => self.put(kind, object),
            Step::Gone(kind, object) => {
                let Some(key) = self.key(kind, &object) else { return };
                match kind {
                    Kind::Agent => {}
                    Kind::Iteration => self.iterations.remove(&key.1, &key.2, agent_of(kind, &object)),
                    Kind::Message => self.messages.remove(&key.1, &key.2, agent_of(kind, &object)),
                }
                self.gone(key);
            }
        }
    }

    /// The key of an object that is shown, and the version of the state with it.
    fn key(&mut self, kind: Kind, object: &Value) -> Option<Key> {
        let text = |field: &str| object["metadata"][field].as_str().unwrap_or_default();
        self.version = self.version.max(text("resourceVersion").parse().unwrap_or(0));
        let shown = self.scope.shows(agent_of(kind, object));
        shown.then(|| (kind, text("namespace").to_owned(), text("name").to_owned()))
    }

    fn put(&mut self, kind: Kind, object: Value) {
        let Some(key) = self.key(kind, &object) else { return };
        let latest = match kind {
            Kind::Agent => None,
            Kind::Iteration => Some(&mut self.iterations),
            Kind::Message => Some(&mut self.messages),
        };
        if let Some(latest) = latest {
            let turned = latest.put(&key.1, &key.2, &object, agent_of(kind, &object));
            for name in turned.gone {
                self.gone((kind, key.1.clone(), name));
            }
            if !turned.shown {
                return self.gone(key);
            }
        }
        let running = object["status"]["phase"] == "Running";
        if kind == Kind::Iteration && self.scope.transcript && running {
            self.follow(&key.1, &key.2, agent_of(kind, &object));
        }
        let shown = self.scope.shown(kind, object).to_string();
        self.wait(key, Some(shown));
    }

    /// An object is shown no longer.
    fn gone(&mut self, key: Key) {
        if key.0 == Kind::Iteration {
            self.followed.remove(&(key.1.clone(), key.2.clone()));
        }
        if key.0 == Kind::Agent || self.known.contains(&key) {
            return self.wait(key, None);
        }
        // Nobody was told of it.
        if let Some(Some(text)) = self.waiting.remove(&key) {
            self.bytes -= text.len();
        }
    }

    fn wait(&mut self, key: Key, text: Option<String>) {
        let size = |text: &Option<String>| text.as_ref().map_or(0, String::len);
        self.bytes += size(&text);
        if let Some(before) = self.waiting.insert(key, text) {
            self.bytes -= size(&before);
        }
    }

    fn follow(&mut self, namespace: &str, name: &str, agent: &str) {
        let whole = self.transcripts.len() >= MAX_TRANSCRIPTS;
        if !whole && self.followed.insert((namespace.to_owned(), name.to_owned())) {
            self.transcripts.push(records(self.caller.clone(), namespace, agent, name));
        }
    }

    /// Takes what is to be said now, if anything.
    fn push(&mut self) -> Option<Bytes> {
        if let Some(status) = &self.refused {
            return (!std::mem::replace(&mut self.refused_said, true)).then(|| error(None, status));
        }
        let synced = self.unsynced == 0;
        if !(self.bytes >= MAX_PUSH || (synced && (self.full || !self.waiting.is_empty()))) {
            return None;
        }
        let (mut changed, mut removed) = (String::new(), Vec::new());
        while changed.len() < MAX_PUSH
            && let Some((key, text)) = self.waiting.pop_first()
        {
            match text {
                Some(text) => {
                    self.bytes -= text.len();
                    if !changed.is_empty() {
                        changed.push(',');
                    }
                    changed.push_str(&text);
                    if key.0 != Kind::Agent {
                        self.known.insert(key);
                    }
                }
                None => {
                    self.known.remove(&key);
                    removed.push(json!({"kind": key.0.name(), "namespace": key.1, "name": key.2}));
                }
            }
        }
        let id = self.id.take().map(|id| format!("\"id\":{id},")).unwrap_or_default();
        let full = std::mem::take(&mut self.full);
        let more = !synced || !self.waiting.is_empty();
        let (version, removed) = (self.version, Value::from(removed));
        let head = format!("{{\"type\":\"steer_state\",{id}\"payload\":{{\"full\":{full},\"more\":{more}");
        Some(
            format!(
                "{head},\"resourceVersion\":\"{version}\",\"changed\":[{changed}],\"removed\":{removed}}}}}\n"
            )
            .into(),
        )
    }
}
