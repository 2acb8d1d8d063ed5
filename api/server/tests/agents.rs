//! Tokens of agents: what they open, what they do not, and when they end.

use std::time::Duration;

use gcluster_server::audit::{Audit, Rotation};
use gcluster_server::listen;
use gcluster_server::security::Security;
use http::Method;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::socket::Listening;
use crate::support::{AGENTS, Server};

const MESSAGES: &str = "/apis/gcluster.dev/v1alpha1/namespaces/default/messages";
const LIMIT: Duration = Duration::from_secs(30);

/// The `Authorization` of the programs of an agent.
fn bearer(server: &Server, uid: &str) -> String {
    let security = Security::open(server.dir.path()).unwrap();
    format!("Bearer {}", security.agent_token("default", "a", uid))
}

/// A server with the namespaces `default` and `other`, and the agent `a` with its uid.
async fn served() -> (Server, String) {
    let server = Server::start().await;
    let uid = server.create("a").await.metadata.uid.unwrap();
    let other = json!({"metadata": {"name": "other"}});
    assert_eq!(server.post("/api/v1/namespaces", &other).await.code, 201);
    (server, uid)
}

/// The rule, said once more and in another way than the server does.
fn may(method: &str, resource: &str, subresource: &str, namespace: Option<&str>, name: Option<&str>) -> bool {
    let secret = resource == "/secrets";
    let at_home = namespace == Some("default");
    let reading = method == "GET" && at_home && !secret;
    let speaking = method == "POST"
        && (resource, subresource, namespace, name) == ("gcluster.dev/messages", "", Some("default"), None);
    let own_namespace = (method, resource, subresource, name) == ("GET", "/namespaces", "", Some("default"));
    reading || speaking || own_namespace
}

#[tokio::test]
async fn an_agent_may_look_around_in_its_namespace_and_speak_and_nothing_else() {
    let (server, uid) = served().await;
    let token = bearer(&server, &uid);
    let listening = Listening::of(server, listen::Options::default()).await;
    let mut resources = Vec::new();
    for (path, group) in [
        ("/api/v1", ""),
        ("/apis/gcluster.dev/v1alpha1", "gcluster.dev"),
        ("/apis/events.k8s.io/v1", "events.k8s.io"),
        ("/apis/coordination.k8s.io/v1", "coordination.k8s.io"),
        ("/apis/apiextensions.k8s.io/v1", "apiextensions.k8s.io"),
    ] {
        let (code, list) = listening.http("GET", path, &[("authorization", &token)], "").await;
        assert_eq!(code, 200, "discovery is open: {path} {list}");
        for resource in list["resources"].as_array().unwrap() {
            let (name, sub) = resource["name"]
                .as_str()
                .unwrap()
                .split_once('/')
                .unwrap_or((resource["name"].as_str().unwrap(), ""));
            resources.push((path, group, name.to_owned(), sub.to_owned(), resource["namespaced"] == true));
        }
    }
    assert!(resources.len() > 15, "{resources:?}");
    let (mut allowed, mut refused) = (0, 0);
    for (base, group, plural, sub, namespaced) in &resources {
        let namespaces: &[Option<&str>] =
            if *namespaced { &[Some("default"), Some("other"), None] } else { &[None] };
        for namespace in namespaces {
            for name in [None, Some("default"), Some("x")] {
                if name.is_none() && !sub.is_empty() || name.is_some() && *namespaced && namespace.is_none() {
                    continue;
                }
                for method in ["GET", "WATCH", "POST", "PUT", "PATCH", "DELETE"] {
                    if method == "POST" && name.is_some() && sub.is_empty()
                        || method == "WATCH" && name.is_some()
                    {
                        continue;
                    }
                    let mut path = (*base).to_owned();
                    path +=
                        &namespace.map(|namespace| format!("/namespaces/{namespace}")).unwrap_or_default();
                    path += &format!("/{plural}");
                    path += &name.map(|name| format!("/{name}")).unwrap_or_default();
                    path += &if sub.is_empty() { String::new() } else { format!("/{sub}") };
                    // The selector is wrong: what is allowed is answered at once.
                    let (verb, query) = match method {
                        "WATCH" => ("GET", "watch=true&labelSelector=!!"),
                        "GET" => ("GET", ""),
                        other => (other, "dryRun=All"),
                    };
                    let headers = [("authorization", token.as_str()), ("content-type", "application/json")];
                    let (code, said) = listening.http(verb, &format!("{path}?{query}"), &headers, "{}").await;
                    let want = may(verb, &format!("{group}/{plural}"), sub, *namespace, name);
                    let what = format!("{method} {path}: {code} {said}");
                    assert_eq!(code != 403, want, "{what}");
                    assert_ne!(code, 401, "{what}");
                    if want {
                        allowed += 1;
                    } else {
                        refused += 1;
                        let why = said["message"].as_str().unwrap_or_else(|| panic!("{what}"));
                        assert!(
                            why.contains("may get, list and watch everything but Secrets in its own"),
                            "{what}"
                        );
                        assert!(why.contains("system:serviceaccount:default:a"), "{what}");
                    }
                    // What it is told that it may do is what it may do.
                    let asked = match (verb, name) {
                        ("GET", None) if method == "WATCH" => "watch",
                        ("GET", None) => "list",
                        ("GET", Some(_)) => "get",
                        ("POST", _) => "create",
                        ("PUT", _) => "update",
                        ("PATCH", _) => "patch",
                        ("DELETE", None) => "deletecollection",
                        _ => "delete",
                    };
                    let review = json!({"spec": {"resourceAttributes": {"verb": asked, "group": group,
                        "resource": plural, "subresource": sub, "namespace": namespace.unwrap_or_default(),
                        "name": name.unwrap_or_default()}}});
                    let path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
                    let (_, answer) = listening.http("POST", path, &headers, &review.to_string()).await;
                    assert_eq!(answer["status"]["allowed"], want, "{what} {answer}");
                }
            }
        }
    }
    assert!(allowed > 30 && refused > 200, "{allowed} {refused}");
    for (path, code) in [("/metrics", 403), ("/openapi/v3", 200), ("/version", 200), ("/healthz", 200)] {
        let (got, _) = listening.http("GET", path, &[("authorization", &token)], "").await;
        assert_eq!(got, code, "{path}");
    }
    listening.stop().await;
}

#[tokio::test]
async fn it_is_told_who_it_is_and_what_it_may_do() {
    let (server, uid) = served().await;
    let token = bearer(&server, &uid);
    let listening = Listening::of(server, listen::Options::default()).await;
    let headers = [("authorization", token.as_str()), ("content-type", "application/json")];
    let path = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
    let (_, who) = listening.http("POST", path, &headers, "{}").await;
    let user = &who["status"]["userInfo"];
    assert_eq!((&user["username"], &user["uid"]), (&json!("system:serviceaccount:default:a"), &json!(uid)));
    assert!(user["groups"].as_array().unwrap().contains(&json!("system:serviceaccounts:default")), "{who}");
    let path = "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews";
    let rules = async |namespace: &str| {
        let review = json!({"spec": {"namespace": namespace}}).to_string();
        let (code, answer) = listening.http("POST", path, &headers, &review).await;
        assert_eq!((code, &answer["status"]["incomplete"]), (201, &json!(false)));
        answer["status"]["resourceRules"].as_array().unwrap().clone()
    };
    let own = rules("default").await;
    let text = json!(own).to_string();
    assert!(text.contains("iterations/transcript") && text.contains("configmaps"), "{text}");
    assert!(!text.contains("secrets") && !text.contains("customresourcedefinitions"), "{text}");
    let writes: Vec<&Value> =
        own.iter().filter(|rule| rule["verbs"].as_array().unwrap().contains(&json!("create"))).collect();
    assert_eq!(
        writes,
        [&json!({"verbs": ["create"], "apiGroups": ["gcluster.dev"], "resources": ["messages"]})]
    );
    let elsewhere = rules("other").await;
    assert_eq!((elsewhere.len(), &elsewhere[0]["resourceNames"]), (1, &json!(["default"])));
    // Rights that nobody has by asking for everything, or for what is not there.
    let path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
    for (attributes, want) in [
        (json!({"resourceAttributes": {"verb": "*", "group": "*", "resource": "*"}}), false),
        (json!({"resourceAttributes": {"verb": "get", "resource": "*", "namespace": "default"}}), false),
        (json!({"resourceAttributes": {"verb": "get", "resource": "secret", "namespace": "default"}}), false),
        (
            json!({"resourceAttributes": {"verb": "list", "group": "apiextensions.k8s.io",
                "resource": "customresourcedefinitions", "namespace": "default"}}),
            false,
        ),
        (json!({"nonResourceAttributes": {"verb": "get", "path": "/metrics"}}), false),
        (json!({"nonResourceAttributes": {"verb": "get", "path": "/apis"}}), true),
    ] {
        let (_, answer) =
            listening.http("POST", path, &headers, &json!({"spec": attributes}).to_string()).await;
        assert_eq!(answer["status"]["allowed"], want, "{answer}");
    }
    listening.stop().await;
}

#[tokio::test]
async fn a_message_is_from_whoever_sent_it_and_the_audit_log_says_so_without_the_token() {
    let (server, uid) = served().await;
    let token = bearer(&server, &uid);
    let secret = json!({"metadata": {"name": "s"}, "stringData": {"key": "hunter2-secret"}});
    let path = server.dir.path().join("audit.log");
    let audit = Audit::open(&path, Rotation::default()).unwrap();
    let options = listen::Options { audit: Some(audit), ..listen::Options::default() };
    let listening = Listening::of(server, options).await;
    let admin = format!("Bearer {}", listening.token("admin.token"));
    let headers = [("authorization", token.as_str()), ("content-type", "application/json")];
    let message =
        json!({"metadata": {"generateName": "b-"}, "spec": {"agent": "b", "text": "hi", "from": "ann"}});
    let raw = listening.raw("POST", MESSAGES, &headers, &message.to_string()).await;
    assert!(raw.starts_with("HTTP/1.1 201") && raw.contains("under its own name"), "{raw}");
    assert!(raw.contains(r#""from":"a""#) && !raw.contains(r#""from":"ann""#), "{raw}");
    let mut stuck = message.clone();
    stuck["metadata"]["finalizers"] = json!(["x/y"]);
    assert_eq!(listening.http("POST", MESSAGES, &headers, &stuck.to_string()).await.0, 422);
    let secrets = "/api/v1/namespaces/default/secrets";
    assert_eq!(listening.http("POST", secrets, &headers, &secret.to_string()).await.0, 403);
    let as_admin = [("authorization", admin.as_str()), ("content-type", "application/json")];
    assert_eq!(listening.http("POST", secrets, &as_admin, &secret.to_string()).await.0, 201);
    let merge = [("authorization", admin.as_str()), ("content-type", "application/merge-patch+json")];
    let change = json!({"stringData": {"key": "hunter3-secret"}}).to_string();
    assert_eq!(listening.http("PATCH", &format!("{secrets}/s"), &merge, &change).await.0, 200);
    assert_eq!(listening.http("DELETE", &format!("{AGENTS}/a"), &as_admin, "").await.0, 200);
    let (code, said) = listening.http("POST", MESSAGES, &headers, &message.to_string()).await;
    assert!(code == 401 && said["message"].as_str().unwrap().contains("does not exist any more"), "{said}");
    assert_eq!(listening.http("GET", "/version", &headers, "").await.0, 200);
    let server = listening.stop_and_keep().await;
    let text = std::fs::read_to_string(&path).unwrap();
    drop(server);
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let own: Vec<u64> = lines
        .iter()
        .filter(|line| line["user"] == "system:serviceaccount:default:a")
        .map(|line| line["code"].as_u64().unwrap())
        .collect();
    assert_eq!(own, [201, 422, 403, 401], "{text}");
    let token = token.trim_start_matches("Bearer ");
    let admin = admin.trim_start_matches("Bearer ");
    for hidden in [token, admin, "hunter2-secret", "hunter3-secret", "aHVudGVyMi1zZWNyZXQ"] {
        assert!(!text.contains(hidden), "{hidden} in {text}");
    }
}

#[tokio::test]
async fn a_sender_that_went_wild_waits_until_its_messages_were_given() {
    let (server, uid) = served().await;
    let token = bearer(&server, &uid);
    let listening = Listening::of(server, listen::Options::default()).await;
    let headers = [("authorization", token.as_str()), ("content-type", "application/json")];
    let message = |name: &str| json!({"metadata": {"name": name}, "spec": {"agent": "a", "text": "x"}});
    // Those of others do not count.
    for n in 0..3 {
        let mut other = message(&format!("other-{n}"));
        other["spec"]["from"] = json!("b");
        assert_eq!(listening.server.post(MESSAGES, &other).await.code, 201);
    }
    for n in 0..100 {
        let body = message(&format!("m-{n}")).to_string();
        assert_eq!(listening.http("POST", MESSAGES, &headers, &body).await.0, 201, "{n}");
    }
    let (code, said) = listening.http("POST", MESSAGES, &headers, &message("late").to_string()).await;
    assert!(
        code == 429 && said["message"].as_str().unwrap().contains("100 messages of the agent \"a\""),
        "{said}"
    );
    let given = json!({"status": {"phase": "Acknowledged"}});
    let status = format!("{MESSAGES}/m-7/status");
    assert_eq!(listening.server.patch(&status, "application/merge-patch+json", &given).await.code, 200);
    assert_eq!(listening.http("POST", MESSAGES, &headers, &message("late").to_string()).await.0, 201);
    listening.stop().await;
}

#[tokio::test]
async fn a_token_dies_with_its_agent_and_a_new_one_of_the_same_name_does_not_revive_it() {
    let (server, uid) = served().await;
    let token = bearer(&server, &uid);
    let listening = Listening::of(server, listen::Options::default()).await;
    let headers = [("authorization", token.as_str())];
    assert_eq!(listening.http("GET", AGENTS, &headers, "").await.0, 200);
    // A watch that is open tells nothing more.
    let mut watch = TcpStream::connect(listening.address).await.unwrap();
    let head = format!("GET {AGENTS}?watch=true HTTP/1.1\r\nhost: {}\r\n", listening.address);
    watch.write_all(format!("{head}authorization: {token}\r\n\r\n").as_bytes()).await.unwrap();
    let mut seen = String::new();
    while !seen.contains("\"ADDED\"") {
        let mut piece = [0; 4096];
        let n = timeout(LIMIT, watch.read(&mut piece)).await.unwrap().unwrap();
        assert!(n > 0, "{seen}");
        seen += &String::from_utf8_lossy(&piece[..n]);
    }
    let one = format!("{AGENTS}/a");
    assert_eq!(listening.server.call(Method::DELETE, &one, &[], "").await.code, 200);
    listening.server.create("later").await;
    let mut rest = String::new();
    // The end of the chunks; the connection itself may stay for another request.
    while !rest.ends_with("0\r\n\r\n") {
        let mut piece = [0; 4096];
        let n = timeout(LIMIT, watch.read(&mut piece)).await.unwrap().unwrap();
        if n == 0 {
            break;
        }
        rest += &String::from_utf8_lossy(&piece[..n]);
    }
    assert!(!rest.contains("later") && !rest.contains("DELETED"), "{rest}");
    assert_eq!(listening.http("GET", AGENTS, &headers, "").await.0, 401);
    let uid = listening.server.create("a").await.metadata.uid.unwrap();
    assert_eq!(listening.http("GET", AGENTS, &headers, "").await.0, 401);
    let token = bearer(&listening.server, &uid);
    assert_eq!(listening.http("GET", AGENTS, &[("authorization", &token)], "").await.0, 200);
    // One that is being deleted and held has said its last, too.
    let held = json!({"metadata": {"finalizers": ["x/y"]}});
    assert_eq!(listening.server.patch(&one, "application/merge-patch+json", &held).await.code, 200);
    assert_eq!(listening.server.call(Method::DELETE, &one, &[], "").await.code, 200);
    assert_eq!(listening.server.get(&one).await.code, 200);
    assert_eq!(listening.http("GET", AGENTS, &[("authorization", &token)], "").await.0, 401);

    listening.stop().await;
}
