//! Bundles and transcripts.

use http::Method;
use serde_json::{Value, json};

use crate::support::{AGENTS, Server, agent, iteration};

const BUNDLES: &str = "/apis/gcluster.dev/v1alpha1/namespaces/default/bundles?fieldManager=gcluster";

fn bundle(items: &[Value]) -> Value {
    json!({"apiVersion": "gcluster.dev/v1alpha1", "kind": "Bundle", "items": items})
}

fn results(answer: &Value) -> Vec<&str> {
    answer["results"].as_array().unwrap().iter().filter_map(|r| r["result"].as_str()).collect()
}

#[tokio::test]
async fn a_bundle_is_one_transaction_and_says_what_changed() {
    let server = Server::start().await;
    let dry = server.post(&format!("{BUNDLES}&dryRun=All"), &bundle(&[agent("a")])).await;
    assert_eq!(results(&dry.json), ["created"], "{}", dry.text);
    assert_eq!(server.get(&format!("{AGENTS}/a")).await.code, 404);
    let first = server.post(BUNDLES, &bundle(&[agent("b"), agent("a")])).await;
    assert_eq!(results(&first.json), ["created", "created"]);
    for result in first.json["results"].as_array().unwrap() {
        assert_eq!(result["object"]["metadata"]["resourceVersion"], first.json["resourceVersion"]);
    }
    let revision = server.store.revision();
    let again = server.post(BUNDLES, &bundle(&[agent("b"), agent("a")])).await;
    assert_eq!(results(&again.json), ["unchanged", "unchanged"]);
    assert_eq!(server.store.revision(), revision, "nothing was written");
    let mut changed = agent("b");
    changed["spec"]["definition"] = "(defagent \"b\"\n  \"More.\")".into();
    let third = server.post(BUNDLES, &bundle(&[changed, agent("a"), agent("c")])).await;
    assert_eq!(results(&third.json), ["updated", "unchanged", "created"]);
}

#[tokio::test]
async fn one_bad_item_refuses_the_bundle_and_is_named() {
    let server = Server::start().await;
    let mut bad = agent("b");
    bad["spec"]["run"] = "Sometimes".into();
    let answer = server.post(BUNDLES, &bundle(&[agent("a"), bad])).await;
    assert_eq!(answer.code, 422);
    assert_eq!(answer.json["details"]["causes"][0]["field"], "items[1].spec.run", "{}", answer.text);
    let strict = json!({"apiVersion": "gcluster.dev/v1alpha1", "kind": "Agent", "metadata": {"name": "c"}, "spec": {"x": 1}});
    let answer =
        server.post(&format!("{BUNDLES}&fieldValidation=Strict"), &bundle(&[agent("a"), strict])).await;
    assert_eq!(answer.code, 400);
    assert!(answer.text.contains("items[1]") && answer.text.contains("spec.x"), "{}", answer.text);
    let unknown = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}});
    assert_eq!(server.post(BUNDLES, &bundle(&[unknown])).await.code, 400);
    assert!(server.get(AGENTS).await.json["items"].as_array().unwrap().is_empty());
}

#[tokio::test]
async fn a_transcript_grows_is_followed_sealed_and_goes_with_its_iteration() {
    let server = Server::start().await;
    let iterations = AGENTS.replace("agents", "iterations");
    server.post(&iterations, &iteration("i")).await;
    let path = format!("{iterations}/i/transcript");
    let append = |query: &'static str, lines: &'static str| {
        let path = format!("{path}?{query}");
        let server = &server;
        async move { server.call(Method::POST, &path, &[], lines).await }
    };
    let first = append("expect=0", "{\"n\":0}\n{\"n\":1}\n").await;
    assert_eq!(first.json, json!({"records": 2, "bytes": 16}), "{}", first.text);
    let doubled = append("expect=0", "{\"n\":0}\n").await;
    assert_eq!(doubled.code, 409);
    assert_eq!(
        doubled.json["details"]["causes"][0],
        json!({"field": "records", "message": "2", "reason": "TranscriptSize"})
    );
    assert_eq!(append("expect=2", "{\"n\":2}").await.code, 400);
    assert_eq!(server.get(&format!("{path}?since=1")).await.text, "{\"n\":1}\n");
    let follow_path = format!("{path}?follow=true");
    let (followed, sealed) =
        tokio::join!(server.get(&follow_path), append("expect=2&seal=true", "{\"n\":2}\n"));
    assert_eq!(sealed.json["records"], 3);
    assert_eq!(followed.text.lines().count(), 3);
    let uid =
        server.get(&format!("{iterations}/i")).await.json["metadata"]["uid"].as_str().unwrap().to_owned();
    let file = server.dir.path().join("transcripts").join(format!("{uid}.ndjson"));
    assert!(file.exists());
    server.call(Method::DELETE, &format!("{iterations}/i"), &[], "").await;
    assert!(!file.exists());
    assert_eq!(server.get(&path).await.code, 404);
}
