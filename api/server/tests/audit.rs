//! The audit log: every write of a client, also a refused one, and nothing secret.

use gcluster_server::audit::{Audit, Rotation};
use gcluster_server::listen;
use http::Request;
use serde_json::{Value, json};
use tower::ServiceExt as _;

use crate::socket::Listening;
use crate::support::{AGENTS, Server, agent};

#[tokio::test]
async fn every_write_is_recorded_with_who_and_result_and_without_content() {
    let server = Server::start().await;
    let path = server.dir.path().join("audit.log");
    let audit = Audit::open(&path, Rotation::default()).unwrap();
    let options = listen::Options { audit: Some(audit.clone()), ..listen::Options::default() };
    let listening = Listening::of(server, options).await;
    let admin = format!("Bearer {}", listening.token("admin.token"));
    let viewer = format!("Bearer {}", listening.token("viewer.token"));
    let mut object = agent("a");
    object["metadata"]["annotations"] = json!({"note": "hidden-content"});
    let one = format!("{AGENTS}/a");
    let dry = format!("{AGENTS}?dryRun=All");
    let bundles = "/apis/gcluster.dev/v1alpha1/namespaces/default/bundles?fieldManager=m";
    let bundle = json!({"items": [agent("b")]}).to_string();
    let merge = json!({"metadata": {"labels": {"x": "y"}}}).to_string();
    let object = object.to_string();
    let calls = [
        ("GET", AGENTS, &admin, "", 200),
        ("POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", &admin, "{}", 201),
        ("POST", &dry, &admin, &object, 201),
        ("POST", AGENTS, &admin, &object, 201),
        ("POST", AGENTS, &admin, &object, 409),
        ("PATCH", &one, &admin, &merge, 200),
        ("POST", bundles, &admin, &bundle, 200),
        ("DELETE", &one, &viewer, "", 403),
        ("DELETE", &one, &"Bearer wrong-token".to_owned(), "", 401),
        ("DELETE", &one, &admin, "", 200),
        ("DELETE", AGENTS, &admin, "", 200),
        ("PUT", "/nowhere", &admin, "{}", 404),
    ];
    for (method, path, token, body, want) in calls {
        let media = if method == "PATCH" { "application/merge-patch+json" } else { "application/json" };
        let headers = [("authorization", token.as_str()), ("user-agent", "test/1"), ("content-type", media)];
        let (code, answer) = listening.http(method, path, &headers, body).await;
        assert_eq!(code, want, "{method} {path}: {answer}");
    }
    let metrics = listening.raw("GET", "/metrics", &[("authorization", &admin)], "").await;
    // Stopping flushes.
    let (token, dir) = (listening.token("admin.token"), listening.server.dir.path().to_owned());
    assert_eq!(dir.join("audit.log"), path);
    let server = listening.stop_and_keep().await;
    let text = std::fs::read_to_string(&path).unwrap();
    drop(server);
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let seen: Vec<String> = lines
        .iter()
        .map(|line| {
            let text = |key: &str| line[key].as_str().unwrap_or("-").to_owned();
            format!(
                "{} {} {} {} {}",
                text("user"),
                text("verb"),
                text("resource"),
                text("name"),
                line["code"]
            )
        })
        .collect();
    assert_eq!(
        seen,
        [
            "gcluster-admin create agents a 201",
            "gcluster-admin create agents a 201",
            "gcluster-admin create agents - 409",
            "gcluster-admin patch agents a 200",
            "gcluster-admin create bundles - 200",
            "gcluster-viewer delete agents a 403",
            "system:anonymous delete agents a 401",
            "gcluster-admin delete agents a 200",
            "gcluster-admin deletecollection agents - 200",
            "gcluster-admin put - - 404",
        ]
    );
    assert_eq!((&lines[0]["dryRun"], &lines[1]["dryRun"]), (&json!(true), &Value::Null));
    assert_eq!(lines[2]["reason"], "AlreadyExists");
    assert_eq!(lines[4]["items"], json!(["Agent b created"]));
    assert_eq!(lines[9]["path"], "/nowhere");
    let version = |at: usize| lines[at]["resourceVersion"].as_str().unwrap().parse::<u64>().unwrap();
    assert!(version(1) < version(3) && version(3) < version(4), "{text}");
    for line in &lines {
        assert_eq!(line["userAgent"], "test/1");
        assert!(line["peer"].as_str().unwrap().starts_with("127.0.0.1:"), "{line}");
        assert!(line["micros"].is_u64() && line["time"].is_string(), "{line}");
    }
    for secret in [token.as_str(), "wrong-token", "hidden-content", "Work."] {
        assert!(!text.contains(secret), "{secret} in {text}");
    }
    assert!(metrics.contains("gcluster_audit_lines_lost_total 0"), "{metrics}");
}

#[tokio::test]
async fn controllers_are_recorded_by_their_field_manager_where_that_is_asked_for() {
    let server = Server::start().await;
    let path = server.dir.path().join("audit.log");
    let audit = Audit::open(&path, Rotation::default()).unwrap();
    let request = Request::post(format!("{AGENTS}?fieldManager=executor"))
        .body(axum::body::Body::from(agent("a").to_string()))
        .unwrap();
    let response = audit.of_controllers(&server.api).oneshot(request).await.unwrap();
    assert_eq!(response.status(), 201);
    audit.flush().await;
    let line: Value = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
    assert_eq!((&line["user"], &line["code"]), (&json!("system:gcluster:executor"), &json!(201)));
}

#[tokio::test]
async fn a_request_that_is_given_up_is_recorded_all_the_same() {
    let server = Server::start().await;
    let path = server.dir.path().join("audit.log");
    let audit = Audit::open(&path, Rotation::default()).unwrap();
    let never = axum::body::Body::from_stream(futures::stream::pending::<std::io::Result<bytes::Bytes>>());
    let request = Request::post(AGENTS).body(never).unwrap();
    let mut call = Box::pin(audit.of_controllers(&server.api).oneshot(request));
    assert!(futures::poll!(&mut call).is_pending());
    drop(call);
    audit.flush().await;
    let line: Value = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
    assert_eq!((&line["reason"], &line["code"]), (&json!("ClientGone"), &Value::Null));
}
