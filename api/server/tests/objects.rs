//! One object and lists of them.

use gcluster_types::Agent;
use http::Method;
use k8s_openapi::api::core::v1::Namespace;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::{Api, ResourceExt as _};
use serde_json::{Value, json};

use crate::support::{AGENTS, Server, agent, iteration};

const MERGE: &str = "application/merge-patch+json";

/// The envelope of an agent, which is served as JSON only.
const PROTOBUF_AGENT: &str = "k8s\0\n\u{1e}\n\u{15}gcluster.dev/v1alpha1\u{12}\u{5}Agent";

#[tokio::test]
async fn an_object_is_created_read_changed_and_deleted() {
    let server = Server::start().await;
    let made = server.create("builder").await;
    assert!(made.uid().is_some() && made.metadata.creation_timestamp.is_some());
    assert_eq!(made.metadata.generation, Some(1));
    let agents = server.agents();
    let again =
        agents.create(&PostParams::default(), &serde_json::from_value(agent("builder")).unwrap()).await;
    assert!(
        matches!(again, Err(kube::Error::Api(status)) if status.code == 409 && status.reason == "AlreadyExists")
    );

    let mut changed = made.clone();
    changed.labels_mut().insert("team".into(), "blue".into());
    let labelled = agents.replace("builder", &PostParams::default(), &changed).await.unwrap();
    assert_eq!(labelled.metadata.generation, Some(1), "labels are no spec");
    let stale = agents.replace("builder", &PostParams::default(), &changed).await;
    assert!(matches!(stale, Err(kube::Error::Api(status)) if status.reason == "Conflict"));

    let patch = Patch::Merge(json!({"spec": {"run": "Paused"}, "status": {"runState": "running"}}));
    let paused = agents.patch("builder", &PatchParams::default(), &patch).await.unwrap();
    assert_eq!((paused.metadata.generation, paused.status), (Some(2), None), "status is a door of its own");
    let status = Patch::Merge(json!({"spec": {"run": "Stopped"}, "status": {"runState": "running"}}));
    let running = agents.patch_status("builder", &PatchParams::default(), &status).await.unwrap();
    assert_eq!((running.spec.run, running.metadata.generation), (paused.spec.run, Some(2)));
    assert!(running.status.is_some());

    let before = running.resource_version();
    let same = agents.patch("builder", &PatchParams::default(), &patch).await.unwrap();
    assert_eq!(same.resource_version(), before, "nothing changed, so nothing is written");
    agents.delete("builder", &DeleteParams::default()).await.unwrap();
    assert!(agents.get_opt("builder").await.unwrap().is_none());
    let missing = server.get(&format!("{AGENTS}/builder")).await;
    assert_eq!(missing.code, 404);
    assert_eq!(
        missing.json["details"],
        json!({"name": "builder", "group": "gcluster.dev", "kind": "agents"})
    );
}

#[tokio::test]
async fn what_is_wrong_is_named() {
    let server = Server::start().await;
    let invalid = [
        ("a name", "/metadata/name", json!("No"), "metadata.name"),
        ("a value", "/spec/run", json!("Sometimes"), "spec.run"),
        (
            "a text that is not canonical",
            "/spec/definition",
            json!("(defagent  \"a\" \"x\")"),
            "spec.definition",
        ),
        ("another agent", "/spec/definition", json!("(defagent \"b\"\n  \"x\")"), "spec.definition"),
        ("another name", "/spec/agentName", json!("b"), "spec.agentName"),
    ];
    for (what, path, value, field) in invalid {
        let mut object = agent("a");
        object["spec"]["run"] = "Running".into();
        object["spec"]["agentName"] = "a".into();
        *object.pointer_mut(path).unwrap() = value;
        let answer = server.post(AGENTS, &object).await;
        assert_eq!(
            (answer.code.as_u16(), &answer.json["reason"]),
            (422, &json!("Invalid")),
            "{what}: {}",
            answer.text
        );
        assert_eq!(answer.json["details"]["causes"][0]["field"], field, "{what}: {}", answer.text);
    }
    let mut typo = agent("a");
    typo["spec"]["limitz"] = json!({});
    let strict = server.post(&format!("{AGENTS}?fieldValidation=Strict"), &typo).await;
    assert_eq!(strict.code, 400);
    assert!(strict.text.contains("spec.limitz"), "{}", strict.text);
    let warned = server.post(&format!("{AGENTS}?dryRun=All"), &typo).await;
    assert_eq!(warned.code, 201);
    assert!(warned.headers["warning"].to_str().unwrap().contains("spec.limitz"));
    assert!(server.post(&format!("{AGENTS}?dryRun=Some"), &typo).await.code == 400);
    assert_eq!(server.get(&format!("{AGENTS}/a")).await.code, 404, "a dry run stores nothing");

    let elsewhere = AGENTS.replace("default", "nowhere");
    let mut object = agent("a");
    object["metadata"]["namespace"] = "nowhere".into();
    let answer = server.post(&elsewhere, &object).await;
    assert_eq!((answer.code.as_u16(), &answer.json["details"]["kind"]), (404, &json!("namespaces")));
    let proto = server
        .call(
            Method::POST,
            AGENTS,
            &[("content-type", "application/vnd.kubernetes.protobuf")],
            PROTOBUF_AGENT,
        )
        .await;
    assert_eq!(proto.code, 415);
    let accept = [("accept", "application/vnd.kubernetes.protobuf")];
    assert_eq!(server.call(Method::GET, AGENTS, &accept, "").await.code, 406);
    let large = server.post(AGENTS, &json!({"x": "y".repeat(4 << 20)})).await;
    assert_eq!((large.code.as_u16(), &large.json["reason"]), (413, &json!("RequestEntityTooLarge")));
    assert_eq!(server.call(Method::POST, AGENTS, &[], "{").await.code, 400);
    assert_eq!(server.call(Method::PUT, AGENTS, &[], "{}").await.code, 405);
    assert_eq!(server.get("/apis/nothing.dev/v1/things").await.code, 404);
}

#[tokio::test]
async fn names_are_generated_and_yaml_is_read() {
    let server = Server::start().await;
    let path = "/apis/coordination.k8s.io/v1/namespaces/default/leases";
    let yaml = "metadata:\n  generateName: lease-\nspec:\n  holderIdentity: me\n";
    let mut names = std::collections::HashSet::new();
    for _ in 0..20 {
        let made = server.call(Method::POST, path, &[("content-type", "application/yaml")], yaml).await;
        assert_eq!(made.code, 201, "{}", made.text);
        names.insert(made.json["metadata"]["name"].as_str().unwrap().to_owned());
    }
    assert_eq!(names.len(), 20);
    let list = server.call(Method::GET, path, &[("accept", "application/yaml")], "").await;
    assert!(list.text.contains("holderIdentity: me"));
}

#[tokio::test]
async fn a_finalizer_holds_an_object_until_it_is_taken_away() {
    let server = Server::start().await;
    server.create("a").await;
    let path = format!("{AGENTS}/a");
    let add = json!([
        {"op": "test", "path": "/metadata/finalizers", "value": null},
        {"op": "add", "path": "/metadata/finalizers", "value": ["gcluster.dev/stop"]},
    ]);
    assert_eq!(server.patch(&path, "application/json-patch+json", &add).await.code, 200);
    let marked = server.call(Method::DELETE, &path, &[], "").await;
    assert_eq!(marked.code, 200);
    assert!(marked.json["metadata"]["deletionTimestamp"].is_string());
    let version = marked.json["metadata"]["resourceVersion"].clone();
    let again = server.call(Method::DELETE, &path, &[], "").await;
    assert_eq!(again.json["metadata"]["resourceVersion"], version);
    let more = json!({"metadata": {"finalizers": ["gcluster.dev/stop", "x.dev/y"]}});
    assert_eq!(server.patch(&path, MERGE, &more).await.code, 422);
    assert_eq!(server.patch(&path, MERGE, &json!({"metadata": {"finalizers": []}})).await.code, 200);
    assert_eq!(server.get(&path).await.code, 404);

    server.create("b").await;
    let path = format!("{AGENTS}/b");
    let wrong = json!({"preconditions": {"uid": "other"}}).to_string();
    assert_eq!(server.call(Method::DELETE, &path, &[], &wrong).await.code, 409);
    let dry = json!({"dryRun": ["All"]}).to_string();
    assert_eq!(server.call(Method::DELETE, &path, &[], &dry).await.code, 200);
    let foreground = json!({"propagationPolicy": "Foreground"}).to_string();
    let held = server.call(Method::DELETE, &path, &[], &foreground).await;
    assert_eq!(held.json["metadata"]["finalizers"], json!(["foregroundDeletion"]));
}

#[tokio::test]
async fn pages_show_one_state_while_objects_change() {
    let server = Server::start().await;
    for n in 0..25 {
        server.create(&format!("a{n:02}")).await;
    }
    let agents = server.agents();
    let mut params = ListParams::default().limit(10);
    let first = agents.list(&params).await.unwrap();
    assert_eq!((first.items.len(), first.metadata.remaining_item_count), (10, Some(15)));
    agents.delete("a12", &DeleteParams::default()).await.unwrap();
    server.create("a05x").await;
    server.create("a99").await;
    let mut names: Vec<String> = first.items.iter().map(|a| a.name_any()).collect();
    let (version, mut token) = (first.metadata.resource_version.clone(), first.metadata.continue_);
    while let Some(next) = token.filter(|token| !token.is_empty()) {
        params = params.continue_token(&next);
        let page = agents.list(&params).await.unwrap();
        assert_eq!(page.metadata.resource_version, version);
        names.extend(page.items.iter().map(|a| a.name_any()));
        token = page.metadata.continue_;
    }
    assert_eq!(names, (0..25).map(|n| format!("a{n:02}")).collect::<Vec<_>>());
    let old = version.unwrap();
    let exact = server.get(&format!("{AGENTS}?resourceVersion={old}&resourceVersionMatch=Exact")).await;
    assert_eq!(exact.json["items"].as_array().unwrap().len(), 25);
    assert_eq!(server.get(&format!("{AGENTS}?resourceVersion=999999")).await.code, 504);
    assert_eq!(server.get(&format!("{AGENTS}?continue=nonsense")).await.code, 400);
}

#[tokio::test]
async fn selectors_choose_by_label_and_by_field() {
    let server = Server::start().await;
    for (name, team, run) in [("a", "blue", "Running"), ("b", "red", "Paused"), ("c", "blue", "Paused")] {
        let mut object = agent(name);
        object["metadata"]["labels"] = json!({"team": team});
        object["spec"]["run"] = run.into();
        assert_eq!(server.post(AGENTS, &object).await.code, 201);
    }
    for (query, expected) in [
        ("labelSelector=team%3Dblue", vec!["a", "c"]),
        ("labelSelector=team%20in%20(red,green)", vec!["b"]),
        ("fieldSelector=metadata.name%3Da", vec!["a"]),
        ("fieldSelector=spec.run%3DPaused&labelSelector=team%3Dblue", vec!["c"]),
        ("fieldSelector=metadata.namespace!%3Ddefault", vec![]),
        ("labelSelector=team%3Dblue&limit=1", vec!["a"]),
    ] {
        let list = server.get(&format!("{AGENTS}?{query}")).await;
        let names: Vec<&str> = list.json["items"]
            .as_array()
            .unwrap()
            .iter()
            .filter_map(|o| o["metadata"]["name"].as_str())
            .collect();
        assert_eq!(names, expected, "{query}");
    }
    assert_eq!(server.get(&format!("{AGENTS}?fieldSelector=spec.definition%3Dx")).await.code, 400);
    let gone = server.call(Method::DELETE, &format!("{AGENTS}?labelSelector=team%3Dblue"), &[], "").await;
    assert_eq!(gone.code, 200);
    assert_eq!(server.get(AGENTS).await.json["items"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn an_apply_keeps_what_another_manager_set_and_reports_conflicts() {
    let server = Server::start().await;
    let agents = server.agents();
    let definition = agent("a");
    let by = |manager: &str| PatchParams::apply(manager);
    agents.patch("a", &by("author"), &Patch::Apply(&definition)).await.unwrap();
    let limit = json!({
        "apiVersion": "gcluster.dev/v1alpha1", "kind": "Agent", "spec": {"limits": {"maxIterations": 5}},
    });
    agents.patch("a", &by("operator"), &Patch::Apply(&limit)).await.unwrap();
    let mut changed = definition.clone();
    changed["spec"]["definition"] = "(defagent \"a\"\n  \"Work more.\")".into();
    let applied = agents.patch("a", &by("author"), &Patch::Apply(&changed)).await.unwrap();
    assert_eq!(applied.spec.limits.unwrap().max_iterations, Some(5));
    assert_eq!(applied.metadata.generation, Some(3));
    let conflict = agents.patch("a", &by("other"), &Patch::Apply(&definition)).await;
    let Err(kube::Error::Api(status)) = conflict else { panic!("a conflict") };
    assert_eq!((status.code, status.reason.as_str()), (409, "Conflict"));
    assert!(
        status.message.contains("author") && status.message.contains(".spec.definition"),
        "{}",
        status.message
    );
    agents.patch("a", &by("other").force(), &Patch::Apply(&definition)).await.unwrap();
    let unnamed = server.patch(&format!("{AGENTS}/a"), "application/apply-patch+yaml", &definition).await;
    assert_eq!(unnamed.code, 400);
    let strategic =
        server.patch(&format!("{AGENTS}/a"), "application/strategic-merge-patch+json", &json!({})).await;
    assert_eq!(strategic.code, 415);
}

#[tokio::test]
async fn a_phase_only_moves_forward_and_a_spec_stays() {
    let server = Server::start().await;
    let path = AGENTS.replace("agents", "iterations");
    assert_eq!(server.post(&path, &iteration("i")).await.code, 201);
    let (object, status) = (format!("{path}/i"), format!("{path}/i/status"));
    let phase = |phase: &str| json!({"status": {"phase": phase}});
    assert_eq!(server.patch(&status, MERGE, &phase("Running")).await.code, 200);
    assert_eq!(server.patch(&status, MERGE, &phase("Pending")).await.code, 422);
    assert_eq!(server.patch(&status, MERGE, &phase("Failed")).await.code, 200);
    assert_eq!(server.patch(&status, MERGE, &phase("Succeeded")).await.code, 422);
    assert_eq!(server.patch(&object, MERGE, &json!({"spec": {"number": 7}})).await.code, 422);
}

#[tokio::test]
async fn a_namespace_is_emptied_before_it_goes_and_takes_nothing_new() {
    let server = Server::start().await;
    let namespaces: Api<Namespace> = Api::all(server.client());
    let team = serde_json::from_value(json!({"metadata": {"name": "team"}})).unwrap();
    let made = namespaces.create(&PostParams::default(), &team).await.unwrap();
    assert_eq!(made.status.unwrap().phase.as_deref(), Some("Active"));
    let agents: Api<Agent> = Api::namespaced(server.client(), "team");
    let mut object = agent("a");
    object["metadata"]["namespace"] = "team".into();
    agents.create(&PostParams::default(), &serde_json::from_value(object.clone()).unwrap()).await.unwrap();
    namespaces.delete("team", &DeleteParams::default()).await.unwrap();
    let going = namespaces.get("team").await.unwrap();
    assert_eq!(going.status.as_ref().unwrap().phase.as_deref(), Some("Terminating"));
    object["metadata"]["name"] = "b".into();
    object["spec"]["definition"] = "(defagent \"b\"\n  \"Work.\")".into();
    let refused = server.post(&AGENTS.replace("default", "team"), &object).await;
    assert_eq!(refused.code, 403);
    let mut done: Value = serde_json::to_value(&going).unwrap();
    done["spec"]["finalizers"] = json!([]);
    let finalize = server.call(Method::PUT, "/api/v1/namespaces/team/finalize", &[], &done.to_string()).await;
    assert_eq!(finalize.code, 200, "{}", finalize.text);
    assert!(namespaces.get_opt("team").await.unwrap().is_none());
    assert_eq!(server.call(Method::DELETE, "/api/v1/namespaces/default", &[], "").await.code, 403);
}

#[tokio::test]
async fn both_views_of_an_event_show_the_same_event() {
    let server = Server::start().await;
    let event = json!({
        "metadata": {"name": "e", "namespace": "default"}, "eventTime": "2026-01-02T03:04:05.000000Z",
        "action": "Start", "reason": "Started", "type": "Normal", "note": "it runs",
        "reportingController": "gcluster.dev/executor", "reportingInstance": "m",
        "regarding": {"kind": "Agent", "name": "a", "namespace": "default"},
    });
    let made = server.post("/apis/events.k8s.io/v1/namespaces/default/events", &event).await;
    assert_eq!(made.code, 201, "{}", made.text);
    let core = server.get("/api/v1/namespaces/default/events?fieldSelector=involvedObject.name%3Da").await;
    assert_eq!(core.json["items"][0]["message"], "it runs", "{}", core.text);
    assert_eq!(core.json["items"][0]["apiVersion"], "v1");
}
