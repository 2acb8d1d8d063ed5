//! A small API in memory for tests: what the controllers use of Kubernetes, and ways to make it unpleasant.
//!
//! Watches end after a few events when `chaos` is set, some of them with 410 Gone, and some answers of writes
//! get lost after they took effect.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use futures::StreamExt;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, StreamBody};
use kube::Client;
use kube::client::Body;
use serde_json::{Value, json};
use tokio::sync::watch;

type Id = (String, String, String);
type AnswerBody = http_body_util::combinators::UnsyncBoxBody<bytes::Bytes, std::convert::Infallible>;
type Answer = Response<AnswerBody>;

#[derive(Clone)]
pub(crate) struct FakeApi {
    state: Arc<Mutex<State>>,
    revision: Arc<watch::Sender<u64>>,
    chaos: Arc<AtomicBool>,
}

#[derive(Default)]
struct State {
    /// Which of all such APIs.
    number: String,
    revision: u64,
    objects: BTreeMap<Id, Value>,
    log: Vec<(u64, &'static str, Id, Value)>,
    transcripts: HashMap<Id, (Vec<String>, bool)>,
    /// Requests so far: `PATCH iterations/status`, `GET agents`, `WATCH agents`.
    calls: BTreeMap<String, usize>,
}

/// How long a [`FakeApi::mortal_client`] lives.
#[derive(Clone, Default)]
pub(crate) struct Life {
    /// Says that it is over; set, it ends now.
    pub(crate) dead: Arc<AtomicBool>,
    left: Arc<Mutex<Option<(usize, bool)>>>,
}

impl Life {
    /// Ends it with the write of this number, counted from now on; whether that one takes effect is `last_counts`.
    pub(crate) fn end_with(&self, writes: usize, last_counts: bool) {
        *self.left.lock().unwrap() = Some((writes, last_counts));
    }

    /// Counts a write: `None` unless it is the last one, then whether it takes effect.
    fn is_last_write(&self) -> Option<bool> {
        let mut left = self.left.lock().unwrap();
        let (writes, last_counts) = left.as_mut()?;
        *writes = writes.saturating_sub(1);
        (*writes == 0).then_some(*last_counts)
    }
}

impl FakeApi {
    pub(crate) fn new() -> Self {
        // Processes are found by the uid of their object, those of all tests that run at the same time alike.
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let number = format!("{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        let state = Arc::new(Mutex::new(State { number, ..State::default() }));
        Self { state, revision: Arc::new(watch::Sender::new(0)), chaos: Arc::default() }
    }

    pub(crate) fn chaotic(self) -> Self {
        self.chaos.store(true, Ordering::Relaxed);
        self
    }

    pub(crate) fn client(&self) -> Client {
        let api = self.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let api = api.clone();
            async move { Ok::<_, std::convert::Infallible>(api.serve(request).await) }
        });
        Client::new(service, "default")
    }

    /// A client that goes silent, as if its process was killed, when its [`Life`] is over.
    pub(crate) fn mortal_client(&self) -> (Client, Life) {
        let (api, life) = (self.clone(), Life::default());
        let lives = life.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let (api, life) = (api.clone(), life.clone());
            async move {
                let silent = || futures::future::pending::<Answer>();
                let is_write = request.method() != Method::GET;
                let last = is_write.then(|| life.is_last_write()).flatten();
                let is_dead = life.dead.load(Ordering::SeqCst);
                if last.is_some() {
                    life.dead.store(true, Ordering::SeqCst);
                }
                if is_dead || last == Some(false) {
                    silent().await;
                }
                let answer = api.serve(request).await;
                if life.dead.load(Ordering::SeqCst) {
                    silent().await;
                }
                Ok::<_, std::convert::Infallible>(answer)
            }
        });
        (Client::new(service, "default"), lives)
    }

    pub(crate) fn get(&self, resource: &str, name: &str) -> Option<Value> {
        self.state().objects.get(&id(resource, "default", name)).cloned()
    }

    pub(crate) fn all(&self, resource: &str) -> Vec<Value> {
        self.state().objects.iter().filter(|(id, _)| id.0 == resource).map(|(_, o)| o.clone()).collect()
    }

    /// How many requests there were, by verb and resource.
    pub(crate) fn calls(&self) -> BTreeMap<String, usize> {
        self.state().calls.clone()
    }

    pub(crate) fn transcript(&self, name: &str) -> Vec<Value> {
        let state = self.state();
        let lines = state
            .transcripts
            .get(&id("iterations", "default", name))
            .map(|t| t.0.clone())
            .unwrap_or_default();
        lines.iter().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// Creates an object, or merges it into the one that is there.
    pub(crate) fn apply(&self, resource: &str, object: Value) {
        let name = object["metadata"]["name"].as_str().unwrap().to_owned();
        let id = id(resource, "default", &name);
        let mut state = self.state();
        match state.objects.get(&id).cloned() {
            Some(old) => {
                let mut new = old.clone();
                merge(&mut new, &object);
                state.update(id, &old, new);
            }
            None => {
                state.create(id, object);
            }
        }
        let revision = state.revision;
        drop(state);
        self.revision.send_replace(revision);
    }

    pub(crate) fn delete(&self, resource: &str, name: &str) {
        let mut state = self.state();
        state.delete(&id(resource, "default", name));
        let revision = state.revision;
        drop(state);
        self.revision.send_replace(revision);
    }

    /// Polls until `check` gives a value; panics with `what` and all objects after a minute.
    pub(crate) async fn wait<T>(&self, what: &str, mut check: impl FnMut(&Self) -> Option<T>) -> T {
        for _ in 0..6_000 {
            if let Some(value) = check(self) {
                return value;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let objects: Vec<String> = self.state().objects.values().map(Value::to_string).collect();
        panic!("waited in vain for {what}:\n{}", objects.join("\n"));
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    fn is_chaotic(&self, one_in: u32) -> bool {
        self.chaos.load(Ordering::Relaxed) && fastrand::u32(0..one_in) == 0
    }

    async fn serve(&self, request: Request<Body>) -> Answer {
        let (parts, body) = request.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let query: HashMap<String, String> = parts
            .uri
            .query()
            .unwrap_or_default()
            .split('&')
            .filter_map(|pair| pair.split_once('='))
            .map(|(k, v)| (k.to_owned(), v.to_owned()))
            .collect();
        let path: Vec<&str> = parts.uri.path().trim_matches('/').split('/').collect();
        if path.len() < 2 || path[0] != "api" && path.len() < 3 {
            // No discovery: the collector knows gcluster's kinds without it.
            return failure(404);
        }
        let rest = if path[0] == "api" { &path[2..] } else { &path[3..] };
        let (namespace, rest) = match rest {
            ["namespaces", namespace, rest @ ..] if !rest.is_empty() => (*namespace, rest),
            rest => ("", rest),
        };
        let watches = query.get("watch").map(String::as_str) == Some("true");
        let verb = if watches { "WATCH" } else { parts.method.as_str() };
        let subresource = rest.get(2).map(|part| format!("/{part}")).unwrap_or_default();
        *self.state().calls.entry(format!("{verb} {}{subresource}", rest[0])).or_default() += 1;
        if watches {
            return self.watch(rest[0], &query);
        }
        let value = || serde_json::from_slice::<Value>(&body).unwrap_or(Value::Null);
        let answer = match (&parts.method, rest) {
            (&Method::GET, [resource]) => Ok(self.list(resource)),
            (&Method::POST, [resource]) => self.write(|s| {
                let object = value();
                let name = object["metadata"]["name"].as_str().unwrap_or_default();
                let name = if name.is_empty() { format!("gen-{}", s.revision) } else { name.to_owned() };
                let id = id(resource, namespace, &name);
                if s.objects.contains_key(&id) { Err(409) } else { Ok(s.create(id, object)) }
            }),
            (&Method::GET, [resource, name]) => {
                self.state().objects.get(&id(resource, namespace, name)).cloned().ok_or(404)
            }
            (&Method::PATCH, [resource, name, sub @ ..]) => {
                let id = id(resource, namespace, name);
                self.write(|s| s.patch(id, sub.first().copied(), &value()))
            }
            (&Method::DELETE, [resource, name]) => {
                let id = id(resource, namespace, name);
                self.write(|s| s.delete(&id).ok_or(404))
            }
            (&Method::GET, ["iterations", name, "transcript"]) => {
                return self.read_transcript(&id("iterations", namespace, name), &query);
            }
            (&Method::POST, ["iterations", name, "transcript"]) => {
                self.append(&id("iterations", namespace, name), &query, &String::from_utf8_lossy(&body))
            }
            _ => Err(405),
        };
        match answer {
            // The write took effect; its writer does not learn of it.
            Ok(_) if parts.method != Method::GET && self.is_chaotic(15) => failure(500),
            Ok(value) => full(serde_json::to_vec(&value).unwrap()),
            Err(code) => failure(code),
        }
    }

    fn write(&self, act: impl FnOnce(&mut State) -> Result<Value, u16>) -> Result<Value, u16> {
        let mut state = self.state();
        let answer = act(&mut state);
        let revision = state.revision;
        drop(state);
        self.revision.send_replace(revision);
        answer
    }

    fn list(&self, resource: &str) -> Value {
        let state = self.state();
        let items: Vec<&Value> =
            state.objects.iter().filter(|(id, _)| id.0 == resource).map(|(_, o)| o).collect();
        json!({"metadata": {"resourceVersion": state.revision.to_string()}, "items": items})
    }

    fn watch(&self, resource: &str, query: &HashMap<String, String>) -> Answer {
        if self.is_chaotic(10) {
            return failure(410);
        }
        let from: u64 = query.get("resourceVersion").and_then(|v| v.parse().ok()).unwrap_or(0);
        let (api, resource) = (self.clone(), resource.to_owned());
        let events =
            futures::stream::unfold((from, self.revision.subscribe()), move |(from, mut changes)| {
                let (api, resource) = (api.clone(), resource.clone());
                async move {
                    loop {
                        if api.is_chaotic(20) {
                            return None;
                        }
                        let found = api.state().log.iter().find(|e| e.0 > from && e.2.0 == resource).cloned();
                        if let Some((revision, kind, _, object)) = found {
                            let line = json!({"type": kind, "object": object}).to_string() + "\n";
                            let frame = http_body::Frame::data(bytes::Bytes::from(line));
                            return Some((Ok::<_, std::convert::Infallible>(frame), (revision, changes)));
                        }
                        changes.changed().await.ok()?;
                    }
                }
            });
        Response::new(AnswerBody::new(StreamBody::new(events.boxed())))
    }

    fn read_transcript(&self, id: &Id, query: &HashMap<String, String>) -> Answer {
        let state = self.state();
        if !state.objects.contains_key(id) {
            return failure(404);
        }
        let since: usize = query.get("since").and_then(|v| v.parse().ok()).unwrap_or(0);
        let lines = state.transcripts.get(id).map(|t| t.0.as_slice()).unwrap_or_default();
        let text: String = lines.iter().skip(since).map(|line| format!("{line}\n")).collect();
        full(text.into_bytes())
    }

    fn append(&self, id: &Id, query: &HashMap<String, String>, text: &str) -> Result<Value, u16> {
        let mut state = self.state();
        if !state.objects.contains_key(id) {
            return Err(404);
        }
        let (lines, sealed) = state.transcripts.entry(id.clone()).or_default();
        if *sealed || query["expect"].parse() != Ok(lines.len()) {
            return Err(409);
        }
        lines.extend(text.lines().map(str::to_owned));
        *sealed = query.contains_key("seal");
        Ok(json!({"records": lines.len()}))
    }
}

impl State {
    fn create(&mut self, id: Id, mut object: Value) -> Value {
        object["metadata"]["name"] = json!(id.2);
        object["metadata"]["namespace"] = json!(id.1);
        object["metadata"]["uid"] = json!(format!("uid-{}-{}", self.number, self.revision + 1));
        object["metadata"]["generation"] = json!(1);
        object["metadata"]["creationTimestamp"] = json!("2026-01-01T00:00:00Z");
        self.put("ADDED", id, object)
    }

    fn update(&mut self, id: Id, old: &Value, mut new: Value) -> Value {
        if old == &new {
            return new;
        }
        if old["spec"] != new["spec"] {
            new["metadata"]["generation"] = json!(old["metadata"]["generation"].as_i64().unwrap_or(0) + 1);
        }
        let finalizers = new["metadata"]["finalizers"].as_array().is_some_and(|f| !f.is_empty());
        if new["metadata"]["deletionTimestamp"].is_string() && !finalizers {
            return self.put("DELETED", id, new);
        }
        self.put("MODIFIED", id, new)
    }

    fn patch(&mut self, id: Id, sub: Option<&str>, patch: &Value) -> Result<Value, u16> {
        let old = self.objects.get(&id).cloned().ok_or(404_u16)?;
        let version = &patch["metadata"]["resourceVersion"];
        if version.is_string() && *version != old["metadata"]["resourceVersion"] {
            return Err(409);
        }
        let mut new = old.clone();
        match sub {
            Some("status") => merge(&mut new, &json!({"status": patch["status"]})),
            _ => merge(&mut new, patch),
        }
        new["metadata"]["resourceVersion"] = old["metadata"]["resourceVersion"].clone();
        Ok(self.update(id, &old, new))
    }

    fn delete(&mut self, id: &Id) -> Option<Value> {
        let mut object = self.objects.get(id).cloned()?;
        if object["metadata"]["finalizers"].as_array().is_some_and(|f| !f.is_empty()) {
            let old = object.clone();
            object["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
            return Some(self.update(id.clone(), &old, object));
        }
        Some(self.put("DELETED", id.clone(), object))
    }

    fn put(&mut self, kind: &'static str, id: Id, mut object: Value) -> Value {
        self.revision += 1;
        object["metadata"]["resourceVersion"] = json!(self.revision.to_string());
        if kind == "DELETED" {
            self.objects.remove(&id);
            self.transcripts.remove(&id);
        } else {
            self.objects.insert(id.clone(), object.clone());
        }
        self.log.push((self.revision, kind, id, object.clone()));
        object
    }
}

fn id(resource: &str, namespace: &str, name: &str) -> Id {
    (resource.to_owned(), namespace.to_owned(), name.to_owned())
}

fn full(bytes: Vec<u8>) -> Answer {
    Response::new(AnswerBody::new(http_body_util::Full::new(bytes.into())))
}

fn failure(code: u16) -> Answer {
    let reason = match code {
        404 => "NotFound",
        409 => "Conflict",
        410 => "Expired",
        _ => "InternalError",
    };
    let status = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "reason": reason, "message": "refused"});
    let mut response = full(serde_json::to_vec(&status).unwrap());
    *response.status_mut() = StatusCode::from_u16(code).unwrap();
    response
}

fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = json!({});
    }
    for (key, value) in patch {
        if value.is_null() {
            target.as_object_mut().unwrap().remove(key);
        } else {
            merge(&mut target[key], value);
        }
    }
}
