//! What Kubernetes answers, to the word where clients look at it.

use std::io::{Read as _, Write as _};

use axum::body::Body;
use http::{Method, Request};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use tower::ServiceExt as _;

use crate::support::{AGENTS, Server, agent};

const MAPS: &str = "/api/v1/namespaces/default/configmaps";
const APPLY: &str = "application/apply-patch+yaml";

fn map(name: &str, data: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data})
}

#[tokio::test]
async fn a_key_that_comes_twice_is_refused_or_warned_of() {
    let server = Server::start().await;
    let twice = r#"{"metadata": {"name": "m"}, "data": {"a": "1", "a": "2"}, "x": 1}"#;
    let post = async |query: &str, media: &str, text: &str| {
        server.call(Method::POST, &format!("{MAPS}?{query}"), &[("content-type", media)], text).await
    };
    let strict = post("fieldValidation=Strict", "application/json", twice).await;
    assert_eq!(strict.code, 400);
    assert_eq!(
        strict.json["message"],
        "ConfigMap in version \"v1\" cannot be handled as a ConfigMap: strict decoding error: duplicate field \"data.a\", unknown field \"x\""
    );
    let yaml = "metadata:\n  name: m\n  name: m\n";
    let strict = post("fieldValidation=Strict", "application/yaml", yaml).await;
    assert!(strict.text.contains("duplicate field \\\"metadata.name\\\""), "{}", strict.text);
    let warned = post("dryRun=All", "application/json", twice).await;
    assert_eq!((warned.code.as_u16(), &warned.json["data"]["a"]), (201, &json!("2")));
    let warnings: Vec<_> = warned.headers.get_all("warning").iter().map(|w| w.to_str().unwrap()).collect();
    assert_eq!(warnings, [r#"299 - "duplicate field \"data.a\"""#, r#"299 - "unknown field \"x\"""#]);
    let ignored = post("fieldValidation=Ignore", "application/json", twice).await;
    assert_eq!(ignored.code, 201);
    assert!(ignored.headers.get("warning").is_none());
    for media in ["application/merge-patch+json", "application/strategic-merge-patch+json", APPLY] {
        let path = format!("{MAPS}/m?fieldValidation=Strict&fieldManager=t");
        let body = r#"{"apiVersion": "v1", "kind": "ConfigMap", "data": {"b": "1", "b": "2"}}"#;
        let patched = server.call(Method::PATCH, &path, &[("content-type", media)], body).await;
        assert_eq!(patched.code, 400, "{media}: {}", patched.text);
        assert!(patched.text.contains("duplicate field \\\"data.b\\\""), "{media}: {}", patched.text);
    }
    let bundle = r#"{"items": [{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "b"}, "data": {}, "data": {}}]}"#;
    let path = "/apis/gcluster.dev/v1alpha1/namespaces/default/bundles?fieldManager=t&fieldValidation=Strict";
    let refused = server.call(Method::POST, path, &[], bundle).await;
    assert_eq!(refused.code, 400, "{}", refused.text);
    assert!(refused.text.contains("items[0].data"), "{}", refused.text);
}

#[tokio::test]
async fn an_apply_of_an_old_version_is_a_conflict() {
    let server = Server::start().await;
    let made = server.post(MAPS, &map("m", json!({"a": "1"}))).await.json;
    let old = made["metadata"]["resourceVersion"].clone();
    let path = format!("{MAPS}/m?fieldManager=t&force=true");
    let apply = async |version: &Value, value: &str| {
        let mut object = map("m", json!({"a": value}));
        object["metadata"]["resourceVersion"] = version.clone();
        server.patch(&path, APPLY, &object).await
    };
    assert_eq!(apply(&old, "2").await.code, 200, "the newest version may be named");
    let stale = apply(&old, "3").await;
    assert_eq!((stale.code.as_u16(), &stale.json["reason"]), (409, &json!("Conflict")));
    assert!(stale.text.contains("the object has been modified"), "{}", stale.text);
    // What was exported once applies again in a bundle, which is what `gcluster apply` sends.
    let mut item = map("m", json!({"a": "4"}));
    item["metadata"]["resourceVersion"] = old;
    let bundles = "/apis/gcluster.dev/v1alpha1/namespaces/default/bundles?fieldManager=t&force=true";
    let applied = server.post(bundles, &json!({"items": [item]})).await;
    assert_eq!(applied.json["results"][0]["result"], "updated", "{}", applied.text);
}

#[tokio::test]
async fn a_deletion_counts_as_a_generation_and_a_collection_answers_its_objects() {
    let server = Server::start().await;
    let mut held = agent("held");
    held["metadata"]["finalizers"] = json!(["example.com/hold"]);
    server.post(AGENTS, &held).await;
    let marked = server.call(Method::DELETE, &format!("{AGENTS}/held"), &[], "").await;
    assert_eq!((marked.code.as_u16(), &marked.json["metadata"]["generation"]), (200, &json!(2)));
    let again = server.call(Method::DELETE, &format!("{AGENTS}/held"), &[], "").await;
    assert_eq!(again.json["metadata"]["generation"], 2, "once");

    for name in ["a", "b"] {
        server.post(MAPS, &map(name, json!({"x": name}))).await;
    }
    let gone = server.call(Method::DELETE, &format!("{MAPS}?fieldSelector=metadata.name!=c"), &[], "").await;
    assert_eq!((&gone.json["kind"], &gone.json["apiVersion"]), (&json!("ConfigMapList"), &json!("v1")));
    let names: Vec<&Value> =
        gone.json["items"].as_array().unwrap().iter().map(|item| &item["metadata"]["name"]).collect();
    assert_eq!(names, ["a", "b"]);
    assert_eq!(server.get(MAPS).await.json["items"], json!([]));
}

#[tokio::test]
async fn options_that_contradict_each_other_are_invalid() {
    let server = Server::start().await;
    server.post(MAPS, &map("m", json!({}))).await;
    let both = r#"{"orphanDependents": true, "propagationPolicy": "Background"}"#;
    let refused = server.call(Method::DELETE, &format!("{MAPS}/m"), &[], both).await;
    assert_eq!(
        (refused.code.as_u16(), &refused.json["message"]),
        (
            422,
            &json!(
                "DeleteOptions.meta.k8s.io \"\" is invalid: propagationPolicy: Invalid value: \"Background\": orphanDependents and deletionPropagation cannot be both set"
            )
        )
    );
    for (query, text) in [
        ("resourceVersionMatch=Exact", "forbidden unless resourceVersion is provided"),
        ("resourceVersion=0&resourceVersionMatch=Exact", "is forbidden for resourceVersion \\\"0\\\""),
        ("resourceVersion=1&resourceVersionMatch=Odd", "Unsupported value: \\\"Odd\\\""),
        ("sendInitialEvents=true", "sendInitialEvents is forbidden for list"),
        ("watch=1&resourceVersionMatch=NotOlderThan", "forbidden for watch unless sendInitialEvents"),
        ("watch=1&sendInitialEvents=true", "requires setting resourceVersionMatch to NotOlderThan"),
    ] {
        let answer = server.get(&format!("{MAPS}?{query}")).await;
        assert_eq!(
            (answer.code.as_u16(), &answer.json["details"]["kind"]),
            (422, &json!("ListOptions")),
            "{query}"
        );
        assert!(answer.text.contains(text), "{query}: {}", answer.text);
    }
    for (selector, text) in [
        ("metadata.name%20in%20(a)", "can't understand"),
        ("spec.nodeName=x", "field label not supported: spec.nodeName"),
    ] {
        let answer = server.get(&format!("{MAPS}?fieldSelector={selector}")).await;
        assert_eq!(answer.code, 400, "{selector}");
        assert!(answer.text.contains(text), "{selector}: {}", answer.text);
    }
    let path = format!("{MAPS}?fieldSelector=metadata.name!%3Dm,metadata.namespace=default&pretty=1&x=y");
    assert_eq!(server.get(&path).await.json["items"], json!([]), "unknown parameters do nothing");
}

#[tokio::test]
async fn methods_paths_and_media_types_that_are_not_served_say_so() {
    let server = Server::start().await;
    server.post(MAPS, &map("m", json!({}))).await;
    for method in [Method::HEAD, Method::OPTIONS, Method::POST] {
        let answer = server.call(method.clone(), &format!("{MAPS}/m"), &[], "{}").await;
        assert_eq!(answer.code, 405, "{method}");
        let message = "the server does not allow this method on the requested resource";
        assert!(method == Method::HEAD || answer.json["message"] == message, "{method}: {}", answer.text);
    }
    let scale = server.get(&format!("{MAPS}/m/scale")).await;
    assert_eq!(
        (scale.code.as_u16(), &scale.json["message"]),
        (404, &json!("the server could not find the requested resource"))
    );
    let text = [("content-type", "text/plain")];
    let media = server.call(Method::POST, MAPS, &text, "x").await;
    assert_eq!((media.code.as_u16(), &media.json["reason"]), (415, &json!("UnsupportedMediaType")));
    let strategic = "application/strategic-merge-patch+json";
    server.create("a").await;
    let custom = server.patch(&format!("{AGENTS}/a"), strategic, &json!({})).await;
    assert_eq!(
        (custom.code.as_u16(), &custom.json["message"]),
        (
            415,
            &json!(
                "the body of the request was in an unknown format - accepted media types include: application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml"
            )
        )
    );
    let status = server.call(Method::PUT, &format!("{AGENTS}/a/status"), &[], &agent("a").to_string()).await;
    assert_eq!(status.code, 200, "{}", status.text);
}

fn gzipped(text: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}

async fn raw(server: &Server, request: Request<Body>) -> (http::response::Parts, Vec<u8>) {
    let (parts, body) = server.api.router().oneshot(request).await.unwrap().into_parts();
    (parts, body.collect().await.unwrap().to_bytes().to_vec())
}

#[tokio::test]
async fn large_answers_are_compressed_and_bodies_may_be() {
    let server = Server::start().await;
    let post = |body: Vec<u8>, coding: &str| {
        Request::post(MAPS).header("content-encoding", coding).body(Body::from(body)).unwrap()
    };
    let large = map("large", json!({"text": "gcluster ".repeat(20_000)})).to_string();
    let (parts, _) = raw(&server, post(gzipped(large.as_bytes()), "gzip")).await;
    assert_eq!(parts.status, 201);
    let bomb = gzipped(&vec![b' '; 64 << 20]);
    assert!(bomb.len() < 100_000);
    assert_eq!(raw(&server, post(bomb, "gzip")).await.0.status, 413, "the limit counts after inflation");
    assert_eq!(raw(&server, post(b"{}".to_vec(), "gzip")).await.0.status, 400);
    assert_eq!(raw(&server, post(b"{}".to_vec(), "br")).await.0.status, 415);

    let get = |path: &str| Request::get(path).header("accept-encoding", "gzip").body(Body::empty()).unwrap();
    let (parts, body) = raw(&server, get(MAPS)).await;
    assert_eq!(parts.headers["content-encoding"], "gzip");
    assert!(body.len() < 20_000, "{}", body.len());
    let mut text = String::new();
    flate2::read::GzDecoder::new(&*body).read_to_string(&mut text).unwrap();
    assert_eq!(text, server.get(MAPS).await.text);
    let (parts, _) = raw(&server, get(&format!("{MAPS}?limit=500&fieldSelector=metadata.name=x"))).await;
    assert!(parts.headers.get("content-encoding").is_none(), "small answers are not");
    // A watch gives its first event at once and as it is.
    let watch = get(&format!("{MAPS}?watch=1&resourceVersion=0"));
    let response = server.api.router().oneshot(watch).await.unwrap();
    assert!(response.headers().get("content-encoding").is_none());
    let mut body = response.into_body();
    let limit = std::time::Duration::from_secs(30);
    let first = tokio::time::timeout(limit, body.frame()).await.unwrap().unwrap().unwrap();
    assert!(first.into_data().unwrap().starts_with(b"{"));
}
