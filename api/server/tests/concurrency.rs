//! Writers at the same time: no change is lost, none is seen half, every conflict is told.

use http::StatusCode;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::support::{AGENTS, Server, agent};

const WRITERS: usize = 8;
const ROUNDS: usize = 25;

fn count(object: &Value) -> usize {
    object["metadata"]["annotations"]["count"].as_str().unwrap_or("0").parse().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn counters_that_many_increment_lose_nothing() {
    let server = std::sync::Arc::new(Server::start().await);
    server.create("a").await;
    let path = format!("{AGENTS}/a");
    let mut tasks = JoinSet::new();
    for writer in 0..WRITERS {
        let (server, path) = (server.clone(), path.clone());
        tasks.spawn(async move {
            let mut conflicts = 0;
            for _ in 0..ROUNDS {
                loop {
                    let mut object = server.get(&path).await.json;
                    let next = (count(&object) + 1).to_string();
                    // Half of them by PUT, half by a patch that names the version.
                    let answer = if writer % 2 == 0 {
                        object["metadata"]["annotations"]["count"] = next.into();
                        server.call(http::Method::PUT, &path, &[], &object.to_string()).await
                    } else {
                        let version = &object["metadata"]["resourceVersion"];
                        let patch =
                            json!({"metadata": {"resourceVersion": version, "annotations": {"count": next}}});
                        server.patch(&path, "application/merge-patch+json", &patch).await
                    };
                    match answer.code {
                        StatusCode::OK => break,
                        code => assert_eq!(code, StatusCode::CONFLICT, "{}", answer.text),
                    }
                    conflicts += 1;
                }
            }
            conflicts
        });
    }
    let conflicts: usize = tasks.join_all().await.into_iter().sum();
    let object = server.get(&path).await.json;
    assert_eq!(count(&object), WRITERS * ROUNDS, "after {conflicts} conflicts");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn patches_without_a_version_and_applies_of_several_managers_all_count() {
    let server = std::sync::Arc::new(Server::start().await);
    server.create("a").await;
    let path = format!("{AGENTS}/a");
    let mut tasks = JoinSet::new();
    for writer in 0..WRITERS {
        let (server, path) = (server.clone(), path.clone());
        tasks.spawn(async move {
            for round in 0..ROUNDS {
                let own = format!("w{writer}");
                let (path, media, body) = if writer % 2 == 0 {
                    let body = json!({"metadata": {"annotations": {own: round.to_string()}}});
                    (path.clone(), "application/merge-patch+json", body)
                } else {
                    let mut body = json!({"apiVersion": "gcluster.dev/v1alpha1", "kind": "Agent"});
                    body["metadata"] = json!({"name": "a", "annotations": {&own: round.to_string()}});
                    (format!("{path}?fieldManager={own}"), "application/apply-patch+yaml", body)
                };
                let answer = server.patch(&path, media, &body).await;
                assert_eq!(answer.code, StatusCode::OK, "{}", answer.text);
                let shown = &answer.json["metadata"]["annotations"][format!("w{writer}")];
                assert_eq!(*shown, json!(round.to_string()), "the own write is in the answer");
            }
        });
    }
    tasks.join_all().await;
    let object = server.get(&path).await.json;
    let last = json!((ROUNDS - 1).to_string());
    for writer in 0..WRITERS {
        assert_eq!(object["metadata"]["annotations"][format!("w{writer}")], last, "writer {writer}");
    }
    let managers = object["metadata"]["managedFields"].as_array().unwrap();
    for writer in (1..WRITERS).step_by(2) {
        let own = managers.iter().filter(|m| m["manager"] == format!("w{writer}")).count();
        assert_eq!(own, 1, "{managers:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_creates_of_one_name_one_succeeds() {
    let server = std::sync::Arc::new(Server::start().await);
    let mut tasks = JoinSet::new();
    for _ in 0..16 {
        let server = server.clone();
        tasks.spawn(async move { server.post(AGENTS, &agent("one")).await.code });
    }
    let codes = tasks.join_all().await;
    assert_eq!(codes.iter().filter(|code| **code == StatusCode::CREATED).count(), 1, "{codes:?}");
    assert_eq!(codes.iter().filter(|code| **code == StatusCode::CONFLICT).count(), 15, "{codes:?}");
}
