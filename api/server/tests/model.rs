//! Many clients at once against a sequential model: what the whole history is, one watch tells; every answer, list
//! and other watch must agree with it. Each guarantee is a check with a name; what breaks one prints its seed and
//! the history of the object.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::Body;
use http::{Method, Request};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tower::ServiceExt as _;

use crate::support::Server;

const MAPS: &str = "/api/v1/namespaces/default/configmaps";
const BUNDLES: &str = "/apis/gcluster.dev/v1alpha1/namespaces/default/bundles";
const MERGE: &str = "application/merge-patch+json";
const LAST: &str = "zz-last";
const WRITERS: u64 = 8;
const WRITES: usize = 60;
const READERS: u64 = 4;

/// One event of the history.
#[derive(Clone, Debug, PartialEq)]
struct Happened {
    kind: String,
    name: String,
    version: u64,
    object: Value,
}

/// What clients were told.
#[derive(Default)]
struct Told {
    /// Objects, as answered to a write or a get.
    objects: Vec<Value>,
    /// Objects that were replaced at a version, and the version that they were made of.
    replaced: Vec<(String, u64, u64)>,
    deleted: BTreeSet<String>,
    /// Version and items of a list.
    lists: Vec<(u64, Vec<Value>)>,
    /// Names and versions of what one bundle wrote.
    bundles: Vec<Vec<(String, u64)>>,
    /// Where a watch began, and all that it showed, over all its connections.
    watches: Vec<(u64, Vec<Happened>)>,
    /// Where a watch began, the version of a bookmark in it, and how many events came before that.
    bookmarks: Vec<(u64, u64, usize)>,
}

/// What one connection of a watch showed.
struct Watched {
    /// The version to go on from.
    at: u64,
    seen: Vec<Happened>,
    bookmarks: Vec<(u64, u64, usize)>,
}

fn version(object: &Value) -> u64 {
    object["metadata"]["resourceVersion"].as_str().and_then(|v| v.parse().ok()).unwrap_or(0)
}

fn name(object: &Value) -> String {
    object["metadata"]["name"].as_str().unwrap_or_default().to_owned()
}

fn map(name: &str, value: u64) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"value": value.to_string()}})
}

/// Reads a watch from a version on until the check or the server ends it; a bookmark moves the version on.
async fn watch(server: &Server, from: u64, limit: &str, mut more: impl FnMut(&Happened) -> bool) -> Watched {
    let uri = format!("{MAPS}?watch=true&allowWatchBookmarks=true&resourceVersion={from}{limit}");
    let request = Request::get(uri).body(Body::empty()).unwrap();
    let mut body = server.api.router().oneshot(request).await.unwrap().into_body();
    let mut rest = Vec::new();
    let mut watched = Watched { at: from, seen: Vec::new(), bookmarks: Vec::new() };
    loop {
        let frame = timeout(Duration::from_secs(30), body.frame()).await.expect("an event in time");
        let Some(frame) = frame else {
            assert!(!limit.is_empty(), "a watch without a limit of time goes on");
            return watched;
        };
        rest.extend_from_slice(&frame.unwrap().into_data().unwrap());
        while let Some(end) = rest.iter().position(|b| *b == b'\n') {
            let line: Vec<u8> = rest.drain(..=end).collect();
            let event: Value = serde_json::from_slice(&line).unwrap();
            let object = event["object"].clone();
            assert_ne!(event["type"], "ERROR", "{event}");
            assert!(version(&object) >= watched.at, "ordered, bookmarks too: {} before {event}", watched.at);
            watched.at = version(&object);
            if event["type"] == "BOOKMARK" {
                watched.bookmarks.push((from, watched.at, watched.seen.len()));
                continue;
            }
            let kind = event["type"].as_str().unwrap().to_owned();
            watched.seen.push(Happened { kind, name: name(&object), version: watched.at, object });
            if !more(&watched.seen[watched.seen.len() - 1]) {
                return watched;
            }
        }
    }
}

async fn write(server: &Server, told: &Mutex<Told>, random: &mut fastrand::Rng) {
    let name = format!("m{}", random.u8(..5));
    let path = format!("{MAPS}/{name}");
    let value = random.u64(..);
    let body = map(&name, value);
    let answer = match random.u8(..10) {
        0..2 => server.post(MAPS, &body).await,
        2..4 => {
            let data = json!({"data": {"value": value.to_string()}});
            server.patch(&path, MERGE, &data).await
        }
        4 => {
            let query = format!("{path}?fieldManager=w{}&force=true", random.u8(..3));
            server.patch(&query, "application/apply-patch+yaml", &body).await
        }
        5 => {
            let old = server.get(&path).await;
            if old.code != 200 {
                return;
            }
            told.lock().unwrap().objects.push(old.json.clone());
            let mut new = old.json.clone();
            new["data"] = body["data"].clone();
            let answer = server.call(Method::PUT, &path, &[], &new.to_string()).await;
            if answer.code == 200 {
                let replaced = (name, version(&answer.json), version(&old.json));
                told.lock().unwrap().replaced.push(replaced);
            }
            answer
        }
        6 => {
            let held = random.bool().then(|| json!(["example.com/hold"]));
            server.patch(&path, MERGE, &json!({"metadata": {"finalizers": held}})).await
        }
        7 => {
            let items = [map("pair-a", value), map("pair-b", value)];
            let bundle = json!({"apiVersion": "gcluster.dev/v1alpha1", "kind": "Bundle", "items": items});
            let answer = server.post(&format!("{BUNDLES}?fieldManager=bundle&force=true"), &bundle).await;
            assert!(answer.code.is_success(), "{}", answer.text);
            let of = |pair: &str| (pair.to_owned(), value);
            told.lock().unwrap().bundles.push(vec![of("pair-a"), of("pair-b")]);
            return;
        }
        _ => {
            let answer = server.call(Method::DELETE, &path, &[], "").await;
            if answer.code == 200 && answer.json["kind"] == "Status" {
                let uid = answer.json["details"]["uid"].as_str().unwrap_or_default().to_owned();
                told.lock().unwrap().deleted.insert(uid);
                return;
            }
            answer
        }
    };
    let code = answer.code.as_u16();
    assert!([200, 201, 404, 409].contains(&code), "{}", answer.text);
    if code < 300 {
        told.lock().unwrap().objects.push(answer.json);
    }
}

/// Lists by pages of any size, and watches from there with any number of cuts, until the last object appears.
async fn read(server: &Server, told: &Mutex<Told>, random: &mut fastrand::Rng) {
    loop {
        let limit = random.u8(1..5);
        let (mut items, mut token) = (Vec::new(), String::new());
        let mut at: u64 = loop {
            let page = server.get(&format!("{MAPS}?limit={limit}&continue={token}")).await;
            assert_eq!(page.code, 200, "{}", page.text);
            items.extend(page.json["items"].as_array().unwrap().clone());
            let at = page.json["metadata"]["resourceVersion"].as_str().unwrap().parse().unwrap();
            token = page.json["metadata"]["continue"].as_str().unwrap_or_default().to_owned();
            if token.is_empty() {
                break at;
            }
        };
        let done = items.iter().any(|item| name(item) == LAST);
        told.lock().unwrap().lists.push((at, items));
        if done {
            return;
        }
        let (from, mut all) = (at, Vec::new());
        for _ in 0..random.u8(1..6) {
            let mut left: u8 = random.u8(1..40);
            // A cut in the middle of a transaction loses its rest: clients resume after whole versions.
            let limit = if random.bool() { "&timeoutSeconds=1" } else { "" };
            let mut watched = watch(server, at, limit, |event| {
                left = left.saturating_sub(1);
                left > 0 && event.name != LAST || event.name.starts_with("pair-a")
            })
            .await;
            at = watched.at;
            all.append(&mut watched.seen);
            told.lock().unwrap().bookmarks.append(&mut watched.bookmarks);
            if all.iter().any(|event| event.name == LAST) {
                break;
            }
        }
        told.lock().unwrap().watches.push((from, all));
    }
}

fn state_at(history: &[Happened], at: u64) -> BTreeMap<String, Value> {
    let mut state = BTreeMap::new();
    for event in history.iter().take_while(|event| event.version <= at) {
        match event.kind.as_str() {
            "DELETED" => drop(state.remove(&event.name)),
            _ => drop(state.insert(event.name.clone(), event.object.clone())),
        }
    }
    state
}

/// Checks everything that was told against the history. The first thing that is wrong.
fn check(history: &[Happened], told: &Told) -> Result<(), String> {
    let of = |name: &str| -> String {
        let events = history.iter().filter(|event| event.name == name).rev().take(8);
        events.map(|e| format!("\n  {} {} {}", e.version, e.kind, e.object["data"])).collect()
    };
    let bad = |what: &str, name: &str, why: String| Err(format!("{what}: {name}: {why}{}", of(name)));
    let mut state: BTreeMap<&str, &Happened> = BTreeMap::new();
    let mut seen = BTreeSet::new();
    for event in history {
        if !seen.insert((event.version, &event.name)) {
            return bad("unique", &event.name, format!("twice at {}", event.version));
        }
        let before = state.get(event.name.as_str()).copied();
        if (event.kind == "ADDED") != before.is_none() {
            return bad("legal", &event.name, format!("{} at {}", event.kind, event.version));
        }
        match event.kind.as_str() {
            "DELETED" => drop(state.remove(event.name.as_str())),
            _ => drop(state.insert(&event.name, event)),
        }
    }
    if history.windows(2).any(|pair| pair[0].version > pair[1].version) {
        return Err("ordered: the history goes back".into());
    }
    for object in &told.objects {
        let (at, name) = (version(object), name(object));
        // What removed the last finalizer is answered with the object as it went.
        if !history
            .iter()
            .any(|e| e.version == at && e.name == name && (e.kind == "DELETED" || e.object == *object))
        {
            return bad("complete", &name, format!("answered, not in the history: {object}"));
        }
    }
    for uid in &told.deleted {
        if !history.iter().any(|e| e.kind == "DELETED" && e.object["metadata"]["uid"] == **uid) {
            return Err(format!("complete: no end of {uid}"));
        }
    }
    for (name, at, made_of) in &told.replaced {
        let before = history.iter().rev().find(|e| e.name == *name && e.version < *at);
        if at != made_of && before.is_none_or(|before| before.version != *made_of) {
            return bad("locked", name, format!("replaced at {at}, made of {made_of}"));
        }
    }
    let pairs: Vec<&Happened> = history.iter().filter(|e| e.name.starts_with("pair-")).collect();
    for event in &pairs {
        if pairs.iter().filter(|other| other.version == event.version).count() != 2 {
            return bad("atomic", &event.name, format!("alone at {}", event.version));
        }
    }
    for (name, value) in told.bundles.iter().flatten() {
        let text = value.to_string();
        if !pairs.iter().any(|e| e.name == *name && e.object["data"]["value"] == text) {
            return bad("complete", name, format!("the bundle of {value} is not in the history"));
        }
    }
    for (at, items) in &told.lists {
        let listed: BTreeMap<String, Value> = items.iter().map(|item| (name(item), item.clone())).collect();
        let state = state_at(history, *at);
        if let Some(name) = state.keys().chain(listed.keys()).find(|name| {
            let bare = |object: Option<&Value>| object.map(|o| (version(o), o["data"].clone()));
            bare(state.get(*name)) != bare(listed.get(*name))
        }) {
            return bad("one state", name, format!("listed at {at}: {:?}", listed.get(name)));
        }
    }
    for (from, at, count) in &told.bookmarks {
        let before = history.iter().filter(|event| event.version > *from && event.version <= *at).count();
        if before != *count {
            return Err(format!(
                "bookmarkable: {count} events of {before} from {from} before the bookmark at {at}"
            ));
        }
    }
    for (from, seen) in &told.watches {
        let last = seen.last().map_or(*from, |event| event.version);
        let expected: Vec<&Happened> =
            history.iter().filter(|event| event.version > *from && event.version <= last).collect();
        let differs = expected.iter().zip(seen).find(|(expected, seen)| **expected != *seen);
        if let Some((_, seen)) = differs {
            return bad("resumable", &seen.name, format!("from {from}: {} at {}", seen.kind, seen.version));
        }
        if expected.len() != seen.len() {
            return Err(format!(
                "resumable: {} events of {} from {from} to {last}",
                seen.len(),
                expected.len()
            ));
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn whatever_clients_do_at_once_they_all_see_one_history() {
    for seed in 0..3 {
        let server = Arc::new(Server::start().await);
        let told = Arc::new(Mutex::new(Told::default()));
        let begin = server.store.revision();
        let (observer, whole) = (Arc::clone(&server), |event: &Happened| event.name != LAST);
        let history = tokio::spawn(async move { watch(&observer, begin, "", whole).await.seen });
        let mut readers = JoinSet::new();
        for reader in 0..READERS {
            let (server, told) = (Arc::clone(&server), Arc::clone(&told));
            let mut random = fastrand::Rng::with_seed(seed * 1000 + 500 + reader);
            readers.spawn(async move { read(&server, &told, &mut random).await });
        }
        let mut writers = JoinSet::new();
        for writer in 0..WRITERS {
            let (server, told) = (Arc::clone(&server), Arc::clone(&told));
            let mut random = fastrand::Rng::with_seed(seed * 1000 + writer);
            writers.spawn(async move {
                for _ in 0..WRITES {
                    write(&server, &told, &mut random).await;
                }
            });
        }
        writers.join_all().await;
        assert_eq!(server.post(MAPS, &map(LAST, 0)).await.code, 201);
        readers.join_all().await;
        let history = history.await.unwrap();
        // Nothing happens any more: all of it, and a bookmark before the end.
        let mut quiet = watch(&server, begin, "&timeoutSeconds=1", |_| true).await;
        let mut told = told.lock().unwrap();
        assert!(!quiet.bookmarks.is_empty(), "bookmarkable: none came");
        told.bookmarks.append(&mut quiet.bookmarks);
        told.watches.push((begin, quiet.seen));
        assert!(history.len() > 100 && !told.watches.is_empty() && !told.lists.is_empty());
        if let Err(wrong) = check(&history, &told) {
            panic!("seed {seed}: {wrong}");
        }
        // The checks see what is amiss: an event lost by a watch, a bookmark ahead of its events, an object lost by a list, half a bundle.
        let seen = told.watches.iter_mut().find(|(_, seen)| seen.len() > 1).expect("a watch");
        let lost = seen.1.remove(0);
        assert!(check(&history, &told).is_err_and(|wrong| wrong.starts_with("resumable")), "{lost:?}");
        told.watches.clear();
        told.bookmarks[0].2 += 1;
        assert!(check(&history, &told).is_err_and(|wrong| wrong.starts_with("bookmarkable")));
        told.bookmarks.clear();
        let lost = told.lists.iter_mut().find_map(|(_, items)| items.pop());
        assert!(check(&history, &told).is_err_and(|wrong| wrong.starts_with("one state")), "{lost:?}");
        told.lists.clear();
        let mut halved = history.clone();
        let half = halved.iter().rposition(|event| event.name == "pair-b").expect("a bundle");
        halved.remove(half);
        assert!(check(&halved, &told).is_err_and(|wrong| wrong.starts_with("atomic")));
    }
}
