//! Watches, raw and through kube's watcher.

use std::time::Duration;

use axum::body::Body;
use futures::{StreamExt as _, TryStreamExt as _};
use gcluster_store::StoreConfig;
use gcluster_types::Agent;
use http::{Method, Request};
use http_body_util::BodyExt as _;
use kube::runtime::{WatchStreamExt as _, reflector, watcher};
use serde_json::{Value, json};
use tokio::time::timeout;
use tower::ServiceExt as _;

use crate::support::{AGENTS, Server};

const LIMIT: Duration = Duration::from_secs(20);
const MERGE: &str = "application/merge-patch+json";

/// An open watch, line by line.
struct Lines {
    body: Body,
    rest: Vec<u8>,
}

impl Lines {
    async fn open(server: &Server, query: &str, accept: &str) -> Self {
        let request = Request::get(format!("{AGENTS}?watch=true&{query}")).header("accept", accept);
        let response = server.api.router().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
        assert_eq!(response.status(), 200);
        Self { body: response.into_body(), rest: Vec::new() }
    }

    /// The next event; none at the end of the stream.
    async fn next(&mut self) -> Option<Value> {
        loop {
            if let Some(end) = self.rest.iter().position(|b| *b == b'\n') {
                let line: Vec<u8> = self.rest.drain(..=end).collect();
                return Some(serde_json::from_slice(&line).unwrap());
            }
            let frame = timeout(LIMIT, self.body.frame()).await.expect("an event in time")?;
            self.rest.extend_from_slice(&frame.unwrap().into_data().unwrap());
        }
    }

    async fn expect(&mut self, kind: &str, name: &str) -> Value {
        let event = self.next().await.expect("an event");
        assert_eq!(
            (event["type"].as_str(), event["object"]["metadata"]["name"].as_str()),
            (Some(kind), Some(name)),
            "{event}"
        );
        event
    }
}

#[tokio::test]
async fn a_watch_shows_every_change_once_from_a_version_on() {
    let server = Server::start().await;
    server.create("a").await;
    let version = server.store.revision();
    server.create("b").await;
    let mut watch = Lines::open(&server, &format!("resourceVersion={version}"), "*/*").await;
    watch.expect("ADDED", "b").await;
    server.patch(&format!("{AGENTS}/a"), MERGE, &json!({"spec": {"run": "Paused"}})).await;
    let changed = watch.expect("MODIFIED", "a").await;
    assert_eq!(changed["object"]["spec"]["run"], "Paused");
    server.call(Method::DELETE, &format!("{AGENTS}/b"), &[], "").await;
    let gone = watch.expect("DELETED", "b").await;
    assert_eq!(gone["object"]["metadata"]["resourceVersion"], server.store.revision().to_string());
    server.store.close();
    assert_eq!(watch.next().await, None, "the end of the store is the end of the stream");
}

#[tokio::test]
async fn initial_events_end_with_a_marked_bookmark() {
    let server = Server::start().await;
    server.create("a").await;
    let query = "sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true";
    let mut watch = Lines::open(&server, query, "*/*").await;
    watch.expect("ADDED", "a").await;
    let end = watch.next().await.unwrap();
    assert_eq!(end["type"], "BOOKMARK");
    assert_eq!(end["object"]["metadata"]["annotations"]["k8s.io/initial-events-end"], "true");
    server.create("b").await;
    watch.expect("ADDED", "b").await;
    assert_eq!(server.get(&format!("{AGENTS}?watch=true&sendInitialEvents=true")).await.code, 422);
}

#[tokio::test]
async fn an_object_that_stops_matching_is_deleted_for_the_watch() {
    let server = Server::start().await;
    server.create("a").await;
    let query = format!("labelSelector=team%3Dblue&resourceVersion={}", server.store.revision());
    let mut watch = Lines::open(&server, &query, "*/*").await;
    let path = format!("{AGENTS}/a");
    for team in [json!("red"), json!("blue"), json!("blue"), json!(null)] {
        let patch = json!({"metadata": {"labels": {"team": team}, "annotations": {"n": server.store.revision().to_string()}}});
        assert_eq!(server.patch(&path, MERGE, &patch).await.code, 200);
    }
    watch.expect("ADDED", "a").await;
    watch.expect("MODIFIED", "a").await;
    let left = watch.expect("DELETED", "a").await;
    assert_eq!(left["object"]["metadata"]["labels"]["team"], "blue", "its last state that matched");
}

#[tokio::test]
async fn a_watch_ends_in_time_with_a_bookmark_when_something_happened() {
    let server = Server::start().await;
    let query = format!(
        "timeoutSeconds=1&allowWatchBookmarks=true&resourceVersion={}&fieldSelector=metadata.name%3Dzz",
        server.store.revision()
    );
    let mut watch = Lines::open(&server, &query, "*/*").await;
    server.create("a").await;
    let bookmark = watch.next().await.unwrap();
    assert_eq!(bookmark["type"], "BOOKMARK");
    assert_eq!(bookmark["object"]["metadata"]["resourceVersion"], server.store.revision().to_string());
    assert_eq!(watch.next().await, None);
}

#[tokio::test]
async fn what_is_too_old_or_unknown_is_expired() {
    let server = Server::with(StoreConfig { window_events: 4, ..StoreConfig::default() }).await;
    for n in 0..20 {
        server.create(&format!("a{n}")).await;
    }
    for version in [1, 999_999] {
        let mut watch = Lines::open(&server, &format!("resourceVersion={version}"), "*/*").await;
        let event = watch.next().await.unwrap();
        assert_eq!((&event["type"], &event["object"]["code"]), (&json!("ERROR"), &json!(410)));
        assert_eq!(watch.next().await, None);
    }
    let list = server.get(&format!("{AGENTS}?resourceVersion=2&resourceVersionMatch=Exact")).await;
    assert_eq!((list.code.as_u16(), &list.json["reason"]), (410, &json!("Expired")));
}

#[tokio::test]
async fn a_table_is_watched_row_by_row() {
    let server = Server::start().await;
    server.create("a").await;
    let mut watch = Lines::open(&server, "", "application/json;as=Table;v=v1;g=meta.k8s.io").await;
    let first = watch.next().await.unwrap();
    assert_eq!(first["object"]["kind"], "Table");
    assert_eq!(first["object"]["rows"][0]["object"]["metadata"]["name"], "a", "{first}");
    assert!(first["object"]["columnDefinitions"].is_array());
    server.create("b").await;
    let second = watch.next().await.unwrap();
    assert_eq!(second["object"]["rows"][0]["cells"][0], "b");
}

#[tokio::test]
async fn kubes_watcher_and_reflector_follow() {
    for config in [watcher::Config::default(), watcher::Config::default().streaming_lists()] {
        let server = Server::start().await;
        server.create("a").await;
        let (reader, writer) = reflector::store::<Agent>();
        let stream = watcher(server.agents(), config).reflect(writer).applied_objects().boxed();
        tokio::spawn(stream.try_for_each(|_| async { Ok(()) }));
        timeout(LIMIT, reader.wait_until_ready()).await.unwrap().unwrap();
        assert_eq!(reader.len(), 1);
        server.create("b").await;
        let both = async {
            while reader.len() < 2 {
                tokio::task::yield_now().await;
            }
        };
        timeout(LIMIT, both).await.unwrap();
    }
}
