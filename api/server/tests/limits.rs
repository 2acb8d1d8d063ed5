//! Limits, forms of answers, and what only some callers may do.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use futures::stream;
use gcluster_server::more::More;
use http::{Method, Request, StatusCode};
use http_body_util::BodyExt as _;
use serde_json::json;
use tower::ServiceExt as _;

use crate::support::{AGENTS, Server, agent};

#[tokio::test]
async fn an_object_above_three_mebibytes_is_refused_and_stores_nothing() {
    let server = Server::start().await;
    let mut big = agent("big");
    big["spec"]["definition"] = "x".repeat(3 << 20).into();
    let answer = server.post(AGENTS, &big).await;
    assert_eq!(answer.code, StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(answer.json["reason"], "RequestEntityTooLarge");
    assert_eq!(server.get(&format!("{AGENTS}/big")).await.code, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_bundle_may_be_larger_and_has_a_limit_too() {
    let server = Server::start().await;
    let path = "/apis/gcluster.dev/v1alpha1/namespaces/default/bundles?fieldManager=m";
    let padded = |size: usize| {
        let bundle = json!({"apiVersion": "gcluster.dev/v1alpha1", "kind": "Bundle", "items": [agent("a")]});
        format!("{bundle}{}", " ".repeat(size))
    };
    let answer = server.call(Method::POST, path, &[], &padded(4 << 20)).await;
    assert_eq!(answer.code, StatusCode::OK, "{}", answer.text);
    let answer = server.call(Method::POST, path, &[], &padded(64 << 20)).await;
    assert_eq!(answer.code, StatusCode::PAYLOAD_TOO_LARGE);
}

#[tokio::test(start_paused = true)]
async fn a_body_that_does_not_come_is_answered_with_408() {
    let server = Server::start().await;
    let never = Body::from_stream(stream::pending::<Result<Bytes, std::io::Error>>());
    let request = Request::post(AGENTS).body(never).unwrap();
    let started = tokio::time::Instant::now();
    let response = server.api.router().oneshot(request).await.unwrap();
    assert_eq!(response.status(), StatusCode::REQUEST_TIMEOUT);
    assert!(started.elapsed() >= Duration::from_secs(60));
}

#[tokio::test]
async fn metadata_alone_is_answered_where_it_is_asked_for() {
    let server = Server::start().await;
    server.create("a").await;
    let accept = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1";
    let list = server.call(Method::GET, AGENTS, &[("accept", accept)], "").await.json;
    assert_eq!(list["kind"], "PartialObjectMetadataList");
    assert_eq!(list["items"][0]["metadata"]["name"], "a");
    assert!(list["items"][0].get("spec").is_none(), "{list}");
}

#[tokio::test]
async fn a_master_with_a_loop_that_is_stuck_is_alive_and_not_ready() {
    let server = Server::start().await;
    let stuck = Arc::new(Mutex::new(None));
    let says = stuck.clone();
    let more = More::new(String::new, "/nowhere".into()).with_stuck(move || says.lock().unwrap().clone());
    server.api.show(more);
    assert_eq!(server.get("/readyz").await.text, "ok");
    *stuck.lock().unwrap() = Some("the loop tickets has ended".to_owned());
    let answer = server.get("/readyz").await;
    assert_eq!((answer.code.as_u16(), &answer.json["message"]), (503, &json!("the loop tickets has ended")));
    assert_eq!(server.get("/livez").await.text, "ok");
}

#[tokio::test]
async fn metrics_count_requests_watches_and_objects() {
    let server = Server::start().await;
    server.create("a").await;
    let request = Request::get(format!("{AGENTS}?watch=true")).body(Body::empty()).unwrap();
    let mut watch = server.api.router().oneshot(request).await.unwrap().into_body();
    watch.frame().await.unwrap().unwrap();
    let text = server.get("/metrics").await.text;
    for line in [
        "gcluster_api_requests_total{verb=\"create\",resource=\"agents.gcluster.dev\",code=\"201\"} 1",
        "gcluster_api_watchers 1",
        "gcluster_store_objects{resource=\"gcluster.dev/agents\"} 1",
        "gcluster_store_healthy 1",
    ] {
        assert!(text.lines().any(|have| have == line), "no `{line}` in\n{text}");
    }
    drop(watch);
    assert!(server.get("/metrics").await.text.contains("gcluster_api_watchers 0\n"));
}

#[tokio::test]
async fn an_agent_revision_cannot_be_changed() {
    let server = Server::start().await;
    let path = "/apis/gcluster.dev/v1alpha1/namespaces/default/agentrevisions";
    let revision = json!({
        "apiVersion": "gcluster.dev/v1alpha1", "kind": "AgentRevision", "metadata": {"name": "a-1"},
        "spec": {
            "agent": "a", "revision": 1, "digest": "d".repeat(64), "stableID": "e".repeat(64),
            "definition": "(defagent \"a\"\n  \"Work.\")",
        },
    });
    let made = server.post(path, &revision).await;
    assert_eq!(made.code, StatusCode::CREATED, "{}", made.text);
    let patch = json!({"spec": {"definition": "(defagent \"a\"\n  \"Other.\")"}});
    let refused = server.patch(&format!("{path}/a-1"), "application/merge-patch+json", &patch).await;
    assert_eq!(refused.code, StatusCode::UNPROCESSABLE_ENTITY, "{}", refused.text);
    assert!(refused.text.contains("only spec.revision of a revision may change"), "{}", refused.text);
}

#[tokio::test]
async fn an_orphaning_deletion_waits_for_the_collector() {
    let server = Server::start().await;
    server.create("a").await;
    let owner = server.get(&format!("{AGENTS}/a")).await.json;
    let mut owned = agent("b");
    owned["metadata"]["ownerReferences"] = json!([{
        "apiVersion": "gcluster.dev/v1alpha1", "kind": "Agent", "name": "a", "uid": owner["metadata"]["uid"],
    }]);
    assert_eq!(server.post(AGENTS, &owned).await.code, StatusCode::CREATED);
    let options = json!({"propagationPolicy": "Orphan"}).to_string();
    let answer = server.call(Method::DELETE, &format!("{AGENTS}/a"), &[], &options).await;
    assert!(answer.code.is_success(), "{}", answer.text);
    // The collector of the controllers takes the references out, then this finalizer.
    let held = server.get(&format!("{AGENTS}/a")).await.json;
    assert_eq!(held["metadata"]["finalizers"], json!(["orphan"]));
    assert!(held["metadata"]["deletionTimestamp"].is_string(), "{held}");
    let patch = json!({"metadata": {"finalizers": null}});
    server.patch(&format!("{AGENTS}/a"), "application/merge-patch+json", &patch).await;
    assert_eq!(server.get(&format!("{AGENTS}/a")).await.code, StatusCode::NOT_FOUND);
    assert_eq!(server.get(&format!("{AGENTS}/b")).await.code, StatusCode::OK);
}
