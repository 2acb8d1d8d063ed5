//! ConfigMap and Secret, as every Kubernetes client knows them.

use http::Method;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::api::{ListParams, Patch, PatchParams, PostParams};
use kube::{Api, ResourceExt as _};
use serde_json::{Value, json};

use crate::support::{AGENTS, Server, agent};

const MAPS: &str = "/api/v1/namespaces/default/configmaps";
const SECRETS: &str = "/api/v1/namespaces/default/secrets";
const TABLE: (&str, &str) = ("accept", "application/json;as=Table;v=v1;g=meta.k8s.io");

fn secret(name: &str, rest: Value) -> Value {
    let mut object = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}});
    object.as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
    object
}

#[tokio::test]
async fn a_config_map_is_written_and_read() {
    let server = Server::start().await;
    let maps: Api<ConfigMap> = Api::namespaced(server.client(), "default");
    let mut map = ConfigMap::default();
    map.metadata.name = Some("settings".into());
    map.data = Some([("mode".to_owned(), "fast".to_owned())].into());
    map.binary_data = Some([("blob".to_owned(), ByteString(vec![0, 255, 7]))].into());
    let made = maps.create(&PostParams::default(), &map).await.unwrap();
    assert_eq!(made.binary_data.unwrap()["blob"].0, [0, 255, 7]);
    let patch = Patch::Merge(json!({"data": {"mode": null, "level": "2"}}));
    let merged = maps.patch("settings", &PatchParams::default(), &patch).await.unwrap();
    assert_eq!(merged.data.unwrap(), [("level".to_owned(), "2".to_owned())].into());

    let table = server.call(Method::GET, MAPS, &[TABLE], "").await.json;
    let heads: Vec<&Value> =
        table["columnDefinitions"].as_array().unwrap().iter().map(|c| &c["name"]).collect();
    assert_eq!(heads, ["Name", "Data", "Age"]);
    assert_eq!(table["rows"][0]["cells"].as_array().unwrap()[..2], [json!("settings"), json!(2)]);

    let frozen = Patch::Merge(json!({"immutable": true}));
    maps.patch("settings", &PatchParams::default(), &frozen).await.unwrap();
    let refused = server
        .patch(&format!("{MAPS}/settings"), "application/merge-patch+json", &json!({"data": {"level": "3"}}))
        .await;
    assert_eq!(
        (refused.code.as_u16(), &refused.json["details"]["causes"][0]["field"]),
        (422, &json!("data"))
    );
}

#[tokio::test]
async fn a_secret_takes_plain_text_and_gives_base64() {
    let server = Server::start().await;
    let made = server.post(SECRETS, &secret("token", json!({"stringData": {"key": "hunter2"}}))).await;
    assert_eq!(made.code, 201, "{}", made.text);
    assert_eq!((&made.json["data"], &made.json["type"]), (&json!({"key": "aHVudGVyMg=="}), &json!("Opaque")));
    assert!(made.json.get("stringData").is_none());

    let secrets: Api<Secret> = Api::namespaced(server.client(), "default");
    let apply = json!({"apiVersion": "v1", "kind": "Secret", "stringData": {"user": "me"}});
    let applied = secrets.patch("token", &PatchParams::apply("tests"), &Patch::Apply(&apply)).await.unwrap();
    let data = applied.data.clone().unwrap();
    assert_eq!((&*data["user"].0, &*data["key"].0), (&b"me"[..], &b"hunter2"[..]));
    let owned = applied.managed_fields().iter().find(|m| m.manager.as_deref() == Some("tests")).unwrap();
    assert_eq!(owned.fields_v1.as_ref().unwrap().0, json!({"f:data": {"f:user": {}}}));
    let again = secrets.patch("token", &PatchParams::apply("tests"), &Patch::Apply(&apply)).await.unwrap();
    assert_eq!(again.resource_version(), applied.resource_version(), "the same text changes nothing");

    let table = server.call(Method::GET, SECRETS, &[TABLE], "").await.json;
    let heads: Vec<&Value> =
        table["columnDefinitions"].as_array().unwrap().iter().map(|c| &c["name"]).collect();
    assert_eq!(heads, ["Name", "Type", "Data", "Age"]);
    assert_eq!(
        table["rows"][0]["cells"].as_array().unwrap()[..3],
        [json!("token"), json!("Opaque"), json!(2)]
    );
    let typed = ListParams::default().fields("type=Opaque");
    assert_eq!(secrets.list(&typed).await.unwrap().items.len(), 1);
    let none = ListParams::default().fields("type=kubernetes.io/tls");
    assert_eq!(secrets.list(&none).await.unwrap().items.len(), 0);
}

#[tokio::test]
async fn no_refusal_repeats_a_secret() {
    let server = Server::start().await;
    server.post(SECRETS, &secret("token", json!({"stringData": {"key": "hunter2"}}))).await;
    let path = format!("{SECRETS}/token");
    let long = "hunter2".repeat(200_000);
    let refused = [
        ("no base64", server.post(SECRETS, &secret("a", json!({"data": {"key": "hunter2!"}}))).await),
        ("a wrong key", server.post(SECRETS, &secret("a", json!({"stringData": {"a b": "hunter2"}}))).await),
        ("no text", server.post(SECRETS, &secret("a", json!({"data": {"key": ["hunter2"]}}))).await),
        ("no map", server.post(SECRETS, &secret("a", json!({"data": "hunter2"}))).await),
        (
            "no text in stringData",
            server.post(SECRETS, &secret("a", json!({"stringData": {"k": ["hunter2"]}}))).await,
        ),
        ("too long", server.post(SECRETS, &secret("a", json!({"stringData": {"k": long}}))).await),
        (
            "docker",
            server
                .post(
                    SECRETS,
                    &secret(
                        "a",
                        json!({"type": "kubernetes.io/dockercfg", "stringData": {".dockercfg": "hunter2"}}),
                    ),
                )
                .await,
        ),
        (
            "a test",
            server
                .patch(
                    &path,
                    "application/json-patch+json",
                    &json!([{"op": "test", "path": "/data/key", "value": "aHVudGVyMQ=="}]),
                )
                .await,
        ),
        ("no patch", server.patch(&path, "application/json-patch+json", &json!(["hunter2"])).await),
        ("no object", server.patch(&path, "application/merge-patch+json", &json!("hunter2")).await),
        ("cut off", server.call(Method::POST, SECRETS, &[], r#"{"stringData":{"k":"hunter2"#).await),
        (
            "YAML",
            server
                .call(
                    Method::POST,
                    SECRETS,
                    &[("content-type", "application/yaml")],
                    "stringData:\n  k: hunter2: x\n",
                )
                .await,
        ),
    ];
    for (what, answer) in refused {
        assert!(matches!(answer.code.as_u16(), 400 | 422), "{what}: {} {}", answer.code, answer.text);
        for value in ["hunter2", "aHVudGVy"] {
            assert!(!answer.text.contains(value), "{what}: {}", answer.text);
        }
    }
    let other = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "token"}, "stringData": {"key": "other"}});
    let conflict =
        server.patch(&format!("{path}?fieldManager=second"), "application/apply-patch+yaml", &other).await;
    assert_eq!(conflict.code, 409);
    assert_eq!(conflict.json["details"]["causes"][0]["field"], ".data.key");
    assert!(!conflict.text.contains("aHVu") && !conflict.text.contains("other"), "{}", conflict.text);
}

#[tokio::test]
async fn a_variable_of_an_agent_has_one_source() {
    let server = Server::start().await;
    let key = json!({"name": "token", "key": "k"});
    for (variable, field) in [
        (json!({"name": "A", "value": "x", "valueFrom": {"secretKeyRef": key}}), "valueFrom"),
        (json!({"name": "A", "valueFrom": {}}), "valueFrom"),
        (json!({"name": "A", "valueFrom": {"secretKeyRef": key, "configMapKeyRef": key}}), "valueFrom"),
        (
            json!({"name": "A", "valueFrom": {"secretKeyRef": {"name": "No!", "key": "k"}}}),
            "valueFrom.secretKeyRef.name",
        ),
        (
            json!({"name": "A", "valueFrom": {"secretKeyRef": {"name": "n", "key": "a b"}}}),
            "valueFrom.secretKeyRef.key",
        ),
    ] {
        let mut object = agent("a");
        object["spec"]["backend"] = json!({"env": [variable]});
        let refused = server.post(AGENTS, &object).await;
        let expected = format!("spec.backend.env[0].{field}");
        assert_eq!(refused.code, 422, "{}", refused.text);
        assert_eq!(refused.json["details"]["causes"][0]["field"], expected, "{}", refused.text);
    }
    let mut object = agent("a");
    object["spec"]["backend"] = json!({"env": [{"name": "A", "valueFrom": {"secretKeyRef": key}}]});
    assert_eq!(server.post(AGENTS, &object).await.code, 201);
}

#[tokio::test]
async fn the_type_of_a_secret_is_for_ever() {
    let server = Server::start().await;
    let tls = json!({"type": "kubernetes.io/tls", "stringData": {"tls.crt": "c"}});
    let missing = server.post(SECRETS, &secret("cert", tls)).await;
    assert_eq!(missing.json["details"]["causes"][0]["field"], "data[tls.key]", "{}", missing.text);
    server.post(SECRETS, &secret("cert", json!({"stringData": {"a": "b"}}))).await;
    let changed = server
        .patch(
            &format!("{SECRETS}/cert"),
            "application/merge-patch+json",
            &json!({"type": "example.com/other"}),
        )
        .await;
    assert_eq!(
        (changed.code.as_u16(), &changed.json["details"]["causes"][0]["field"]),
        (422, &json!("type"))
    );
}
