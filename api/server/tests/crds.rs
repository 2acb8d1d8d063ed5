//! Kinds that users define: from the definition to the end of the last instance.

use std::time::Duration;

use futures::StreamExt as _;
use http::Method;
use serde_json::{Value, json};

use crate::support::Server;

const CRDS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
const WIDGETS: &str = "/apis/example.com/v1/namespaces/default/widgets";
const MERGE: &str = "application/merge-patch+json";

fn schema(spec: Value) -> Value {
    json!({"openAPIV3Schema": {"type": "object", "required": ["spec"], "properties": {
        "spec": spec,
        "status": {"type": "object", "properties": {
            "replicas": {"type": "integer"}, "selector": {"type": "string"}, "phase": {"type": "string"},
        }},
    }}})
}

fn spec() -> Value {
    json!({"type": "object", "required": ["size"], "properties": {
        "size": {"type": "integer", "minimum": 1},
        "color": {"type": "string", "default": "red", "enum": ["red", "green"]},
        "replicas": {"type": "integer"},
    }})
}

fn widgets() -> Value {
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "widgets.example.com"},
        "spec": {
            "group": "example.com", "scope": "Namespaced",
            "names": {"plural": "widgets", "kind": "Widget", "shortNames": ["wg"], "categories": ["all"]},
            "versions": [{
                "name": "v1", "served": true, "storage": true, "schema": schema(spec()),
                "subresources": {"status": {}, "scale": {
                    "specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.replicas",
                    "labelSelectorPath": ".status.selector",
                }},
                "additionalPrinterColumns": [{"name": "Size", "type": "integer", "jsonPath": ".spec.size"}],
                "selectableFields": [{"jsonPath": ".spec.color"}],
            }],
        },
    })
}

fn widget(name: &str) -> Value {
    json!({"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": name}, "spec": {"size": 3}})
}

fn condition<'v>(crd: &'v Value, name: &str) -> &'v Value {
    let conditions = crd["status"]["conditions"].as_array();
    let found = conditions.and_then(|all| all.iter().find(|c| c["type"] == name));
    found.map_or(&Value::Null, |condition| &condition["status"])
}

/// Waits until a path is answered with a code.
async fn until(server: &Server, path: &str, code: u16) {
    let reached = async {
        while server.get(path).await.code != code {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), reached).await.unwrap();
}

#[tokio::test]
async fn a_definition_is_a_kind_at_once() {
    let server = Server::start().await;
    assert_eq!(server.get(WIDGETS).await.code, 404);
    let made = server.post(CRDS, &widgets()).await;
    assert_eq!(made.code, 201, "{}", made.text);
    assert_eq!(condition(&made.json, "Established"), "True");
    assert_eq!(condition(&made.json, "NamesAccepted"), "True");
    assert_eq!(made.json["status"]["acceptedNames"]["listKind"], "WidgetList");
    assert_eq!(made.json["status"]["storedVersions"], json!(["v1"]));
    assert_eq!(made.json["metadata"]["generation"], 1);

    let new = server.post(WIDGETS, &widget("a")).await;
    assert_eq!(new.code, 201, "{}", new.text);
    assert_eq!(new.json["spec"], json!({"size": 3, "color": "red"}));
    assert_eq!(new.json["metadata"]["generation"], 1);
    let wrong = server.post(WIDGETS, &json!({"metadata": {"name": "b"}, "spec": {"color": "blue"}})).await;
    assert_eq!(wrong.code, 422);
    let causes = wrong.json["details"]["causes"].as_array().unwrap();
    assert_eq!(
        causes.iter().map(|c| c["field"].as_str().unwrap()).collect::<Vec<_>>(),
        ["spec.size", "spec.color"]
    );
    let unknown = json!({"metadata": {"name": "c"}, "spec": {"size": 1, "colour": "red"}});
    let strict = server.post(&format!("{WIDGETS}?fieldValidation=Strict"), &unknown).await;
    assert!(strict.code == 400 && strict.text.contains("spec.colour"), "{}", strict.text);
    let pruned = server.post(WIDGETS, &unknown).await;
    assert_eq!(pruned.json["spec"], json!({"size": 1, "color": "red"}));

    let found = server.get(&format!("{WIDGETS}?fieldSelector=spec.color%3Dgreen")).await;
    assert_eq!(found.json["items"], json!([]));
    let table = [("accept", "application/json;as=Table;v=v1;g=meta.k8s.io")];
    let table = server.call(Method::GET, WIDGETS, &table, "").await.json;
    assert_eq!(table["columnDefinitions"][1]["name"], "Size");
    assert_eq!(table["rows"][0]["cells"], json!(["a", 3]));
    let status = json!({"status": {"phase": "Ready"}, "spec": {"size": 9}});
    let status = server.patch(&format!("{WIDGETS}/a/status"), MERGE, &status).await.json;
    assert_eq!((&status["spec"]["size"], &status["metadata"]["generation"]), (&json!(3), &json!(1)));

    let resources = server.get("/apis/example.com/v1").await.json;
    let names: Vec<&str> =
        resources["resources"].as_array().unwrap().iter().map(|r| r["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["widgets", "widgets/status", "widgets/scale"]);
    assert_eq!(resources["resources"][0]["shortNames"], json!(["wg"]));
    let openapi = server.get("/openapi/v3/apis/example.com/v1").await.json;
    assert!(openapi["components"]["schemas"]["com.example.v1.Widget"]["properties"]["spec"].is_object());
    assert!(server.get("/openapi/v3").await.json["paths"]["apis/example.com/v1"].is_object());
}

#[tokio::test]
async fn a_definition_goes_after_its_instances_and_ends_their_watches() {
    let server = Server::start().await;
    server.post(CRDS, &widgets()).await;
    let mut held = widget("held");
    held["metadata"]["finalizers"] = json!(["example.com/hold"]);
    assert_eq!(server.post(WIDGETS, &held).await.code, 201);
    assert_eq!(server.post(WIDGETS, &widget("free")).await.code, 201);
    let resource = kube::core::ApiResource::from_gvk_with_plural(
        &kube::core::GroupVersionKind::gvk("example.com", "v1", "Widget"),
        "widgets",
    );
    let api = kube::Api::<kube::core::DynamicObject>::namespaced_with(server.client(), "default", &resource);
    let mut watch = api.watch(&kube::api::WatchParams::default(), "0").await.unwrap().boxed();

    let crd = format!("{CRDS}/widgets.example.com");
    let going = server.call(Method::DELETE, &crd, &[], "").await;
    assert_eq!((going.code.as_u16(), condition(&going.json, "Terminating")), (200, &json!("True")));
    until(&server, &format!("{WIDGETS}/free"), 404).await;
    let late = server.post(WIDGETS, &widget("late")).await;
    assert!(late.code == 405 && late.text.contains("terminating"), "{}", late.text);
    assert_eq!(server.get(&crd).await.code, 200, "an instance is held");
    assert!(!server.get(&format!("{WIDGETS}/held")).await.json["metadata"]["deletionTimestamp"].is_null());

    let free = json!({"metadata": {"finalizers": null}});
    server.patch(&format!("{WIDGETS}/held"), MERGE, &free).await;
    until(&server, &crd, 404).await;
    until(&server, WIDGETS, 404).await;
    assert_eq!(server.get("/apis/example.com").await.code, 404);
    let mut seen = Vec::new();
    let end = async {
        while let Some(Ok(event)) = watch.next().await {
            if let kube::core::WatchEvent::Deleted(object) = event {
                seen.push(object.metadata.name.unwrap_or_default());
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(20), end).await.unwrap();
    assert_eq!(seen, ["free", "held"], "the watch shows all and ends");

    let again = server.post(CRDS, &widgets()).await;
    assert_eq!(again.code, 201);
    assert_eq!(server.get(WIDGETS).await.json["items"], json!([]));
}

#[tokio::test]
async fn a_restart_serves_what_was_defined_and_goes_on_deleting() {
    let server = Server::start().await;
    server.post(CRDS, &widgets()).await;
    let mut held = widget("held");
    held["metadata"]["finalizers"] = json!(["example.com/hold"]);
    server.post(WIDGETS, &held).await;
    let again = server.restart().await;
    assert_eq!(again.get(&format!("{WIDGETS}/held")).await.code, 200);
    again.call(Method::DELETE, &format!("{CRDS}/widgets.example.com"), &[], "").await;
    let third = again.restart().await;
    assert_eq!(third.post(WIDGETS, &widget("late")).await.code, 405);
    third.patch(&format!("{WIDGETS}/held"), MERGE, &json!({"metadata": {"finalizers": null}})).await;
    until(&third, WIDGETS, 404).await;
    until(&third, &format!("{CRDS}/widgets.example.com"), 404).await;
}

#[tokio::test]
async fn names_that_are_taken_are_not_served_twice() {
    let server = Server::start().await;
    server.post(CRDS, &widgets()).await;
    let mut other = widgets();
    other["metadata"]["name"] = json!("gadgets.example.com");
    other["spec"]["names"] = json!({"plural": "gadgets", "kind": "Widget"});
    let refused = server.post(CRDS, &other).await;
    assert_eq!(refused.code, 201, "{}", refused.text);
    assert_eq!(condition(&refused.json, "NamesAccepted"), "False");
    assert_eq!(condition(&refused.json, "Established"), "False");
    let gadgets = "/apis/example.com/v1/namespaces/default/gadgets";
    assert_eq!(server.get(gadgets).await.code, 404);
    server.call(Method::DELETE, &format!("{CRDS}/widgets.example.com"), &[], "").await;
    until(&server, gadgets, 200).await;
    let accepted = server.get(&format!("{CRDS}/gadgets.example.com")).await.json;
    assert_eq!(condition(&accepted, "Established"), "True");
}

#[tokio::test]
async fn definitions_of_gcluster_are_there_and_stay() {
    let server = Server::start().await;
    let all = server.get(CRDS).await.json;
    let count = all["items"].as_array().unwrap().len();
    assert_eq!(count, gcluster_types::kinds::crds().len());
    let agents = format!("{CRDS}/agents.gcluster.dev");
    assert_eq!(condition(&server.get(&agents).await.json, "Established"), "True");
    let changes = [
        server.call(Method::DELETE, &agents, &[], "").await,
        server.patch(&agents, MERGE, &json!({"spec": {"scope": "Cluster"}})).await,
        server.patch(&agents, MERGE, &json!({"metadata": {"labels": {"a": "b"}}})).await,
        server.call(Method::DELETE, CRDS, &[], "").await,
    ];
    for refused in changes {
        assert_eq!(refused.code, 403, "{}", refused.text);
        assert!(refused.text.contains("come with gcluster"), "{}", refused.text);
    }
    let mut own = widgets();
    own["metadata"]["name"] = json!("widgets.gcluster.dev");
    own["spec"]["group"] = json!("gcluster.dev");
    assert_eq!(server.post(CRDS, &own).await.code, 403);
    assert_eq!(server.get(CRDS).await.json["items"].as_array().unwrap().len(), count);
}

#[tokio::test]
async fn a_scale_is_read_and_written() {
    let server = Server::start().await;
    server.post(CRDS, &widgets()).await;
    server.post(WIDGETS, &widget("a")).await;
    let path = format!("{WIDGETS}/a/scale");
    let without = server.get(&path).await;
    assert!(without.code == 500 && without.text.contains(".spec.replicas"), "{}", without.text);
    let set = server.patch(&path, MERGE, &json!({"spec": {"replicas": 2}})).await;
    assert_eq!(set.code, 500, "there is nothing to scale yet");
    server.patch(&format!("{WIDGETS}/a"), MERGE, &json!({"spec": {"replicas": 1}})).await;
    let set = server.patch(&path, MERGE, &json!({"spec": {"replicas": 2}})).await;
    assert_eq!((set.code.as_u16(), &set.json["spec"]["replicas"]), (200, &json!(2)), "{}", set.text);
    let status = json!({"status": {"replicas": 1, "selector": "a=b"}});
    server.patch(&format!("{WIDGETS}/a/status"), MERGE, &status).await;
    let mut scale = server.get(&path).await.json;
    assert_eq!((&scale["kind"], &scale["apiVersion"]), (&json!("Scale"), &json!("autoscaling/v1")));
    assert_eq!(scale["status"], json!({"replicas": 1, "selector": "a=b"}));
    scale["spec"]["replicas"] = json!(5);
    let put = server.call(Method::PUT, &path, &[], &scale.to_string()).await;
    assert_eq!((put.code.as_u16(), &put.json["spec"]["replicas"]), (200, &json!(5)), "{}", put.text);
    let widget = server.get(&format!("{WIDGETS}/a")).await.json;
    assert_eq!((&widget["spec"]["replicas"], &widget["metadata"]["generation"]), (&json!(5), &json!(4)));
    let stale = server.call(Method::PUT, &path, &[], &scale.to_string()).await;
    assert_eq!(stale.code, 409);
    let negative = server.patch(&path, MERGE, &json!({"spec": {"replicas": -1}})).await;
    assert_eq!(negative.code, 422);
    let agents = server.get(&format!("{}/x/scale", crate::support::AGENTS)).await;
    assert_eq!((agents.code.as_u16(), &agents.json["reason"]), (404, &json!("NotFound")));
}

#[tokio::test]
async fn an_object_is_served_in_every_version_and_gets_later_defaults() {
    let server = Server::start().await;
    server.post(CRDS, &widgets()).await;
    server.post(WIDGETS, &widget("old")).await;
    let crd = format!("{CRDS}/widgets.example.com");
    let mut changed = server.get(&crd).await.json;
    let mut v2 = changed["spec"]["versions"][0].clone();
    changed["spec"]["versions"][0]["storage"] = json!(false);
    v2["name"] = json!("v2");
    v2["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]["shape"] =
        json!({"type": "string", "default": "round"});
    changed["spec"]["versions"].as_array_mut().unwrap().push(v2);
    let put = server.call(Method::PUT, &crd, &[], &changed.to_string()).await;
    assert_eq!(put.code, 200, "{}", put.text);
    assert_eq!(put.json["metadata"]["generation"], 2);
    assert_eq!(put.json["status"]["storedVersions"], json!(["v1", "v2"]));
    let group = server.get("/apis/example.com").await.json;
    assert_eq!(group["preferredVersion"]["version"], "v2");

    let second = WIDGETS.replace("/v1/", "/v2/");
    let old = server.get(&format!("{second}/old")).await.json;
    assert_eq!((&old["apiVersion"], &old["spec"]["shape"]), (&json!("example.com/v2"), &json!("round")));
    let old = server.get(&format!("{WIDGETS}/old")).await.json;
    assert_eq!(
        (&old["apiVersion"], &old["spec"]),
        (&json!("example.com/v1"), &json!({"size": 3, "color": "red"}))
    );
    let new = json!({"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": "new"}, "spec": {"size": 1}});
    assert_eq!(server.post(WIDGETS, &new).await.json["apiVersion"], "example.com/v1");
    let list = server.get(&second).await.json;
    let items: Vec<(&Value, &Value)> = list["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| (&item["apiVersion"], &item["spec"]["shape"]))
        .collect();
    let expected = (json!("example.com/v2"), json!("round"));
    assert_eq!(items, [(&expected.0, &expected.1), (&expected.0, &expected.1)]);
    let patched = server.patch(&format!("{WIDGETS}/new"), MERGE, &json!({"spec": {"size": 7}})).await;
    assert_eq!((patched.code.as_u16(), &patched.json["apiVersion"]), (200, &json!("example.com/v1")));

    let again = server.restart().await;
    assert_eq!(again.get(&format!("{second}/new")).await.json["spec"]["size"], 7);
    let mut less = again.get(&crd).await.json;
    less["spec"]["versions"].as_array_mut().unwrap().remove(0);
    let refused = again.call(Method::PUT, &crd, &[], &less.to_string()).await;
    assert!(refused.code == 422 && refused.text.contains("must appear in spec.versions"), "{}", refused.text);
}

#[tokio::test]
async fn rules_of_the_schema_are_kept() {
    let server = Server::start().await;
    let mut crd = widgets();
    crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["x-kubernetes-validations"] = json!([
        {"rule": "self.size <= 10", "message": "too large"},
        {"rule": "self.size >= oldSelf.size", "messageExpression": "'from ' + string(oldSelf.size)", "reason": "FieldValueForbidden", "fieldPath": ".size"},
    ]);
    let made = server.post(CRDS, &crd).await;
    assert_eq!(made.code, 201, "{}", made.text);
    let mut large = widget("a");
    large["spec"]["size"] = json!(11);
    let refused = server.post(WIDGETS, &large).await;
    assert_eq!(refused.code, 422);
    assert_eq!(refused.json["details"]["causes"][0]["message"], "Invalid value: \"object\": too large");
    assert_eq!(refused.json["details"]["causes"][0]["field"], "spec");
    assert_eq!(server.post(WIDGETS, &widget("a")).await.code, 201);
    let less = server.patch(&format!("{WIDGETS}/a"), MERGE, &json!({"spec": {"size": 2}})).await;
    assert_eq!(
        less.json["details"]["causes"],
        json!([{"reason": "FieldValueForbidden", "message": "Forbidden: from 3", "field": "spec.size"}])
    );
    assert_eq!(server.patch(&format!("{WIDGETS}/a"), MERGE, &json!({"spec": {"size": 4}})).await.code, 200);
    crd["metadata"]["name"] = json!("others.example.com");
    crd["spec"]["names"] = json!({"plural": "others", "kind": "Other"});
    crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["x-kubernetes-validations"] =
        json!([{"rule": "isURL(self.spec.color)"}]);
    let unknown = server.post(CRDS, &crd).await;
    assert!(unknown.code == 422 && unknown.text.contains("does not have the function"), "{}", unknown.text);
}

#[tokio::test]
async fn what_is_wrong_with_a_definition_is_named() {
    let server = Server::start().await;
    let wrong = |path: &str, value: Value| {
        let mut crd = widgets();
        *crd.pointer_mut(path).unwrap_or(&mut json!(null)) = value.clone();
        if let Some((parent, field)) = path.rsplit_once('/')
            && let Some(Value::Object(map)) = crd.pointer_mut(parent)
        {
            map.insert(field.into(), value);
        }
        crd
    };
    let schema = "/spec/versions/0/schema/openAPIV3Schema";
    let spec = format!("{schema}/properties/spec");
    for (crd, field) in [
        (wrong("/metadata/name", json!("other.example.com")), "metadata.name"),
        (wrong("/spec/scope", json!("Everywhere")), "spec.scope"),
        (wrong("/spec/versions/0/storage", json!(false)), "spec.versions"),
        (wrong("/spec/preserveUnknownFields", json!(true)), "spec.preserveUnknownFields"),
        (wrong("/spec/conversion", json!({"strategy": "Webhook"})), "spec.conversion.strategy"),
        (wrong("/spec/names/kind", json!("not a kind")), "spec.names.kind"),
        (wrong("/spec/versions/0/schema", json!(null)), "spec.versions[0].schema.openAPIV3Schema"),
        (
            wrong("/spec/versions/0/selectableFields", json!([{"jsonPath": ".spec.no"}])),
            "spec.versions[0].selectableFields[0].jsonPath",
        ),
        (
            wrong("/spec/versions/0/subresources/scale/specReplicasPath", json!(".status.x")),
            "spec.versions[0].subresources.scale.specReplicasPath",
        ),
        (
            wrong("/spec/versions/0/additionalPrinterColumns/0/type", json!("map")),
            "spec.versions[0].additionalPrinterColumns[0].type",
        ),
        (wrong(&format!("{schema}/type"), json!("string")), "spec.versions[0].schema.openAPIV3Schema.type"),
        (
            wrong(&format!("{spec}/properties/size"), json!({})),
            "spec.versions[0].schema.openAPIV3Schema.properties[spec].properties[size].type",
        ),
        (
            wrong(&format!("{spec}/properties/color/default"), json!("blue")),
            "spec.versions[0].schema.openAPIV3Schema.properties[spec].properties[color].default",
        ),
        (
            wrong(&format!("{spec}/additionalProperties"), json!(false)),
            "spec.versions[0].schema.openAPIV3Schema.properties[spec].additionalProperties",
        ),
        (
            wrong(&format!("{spec}/anyOf"), json!([{"properties": {"none": {"minimum": 1}}}])),
            "spec.versions[0].schema.openAPIV3Schema.properties[spec].anyOf[0].properties[none]",
        ),
    ] {
        let refused = server.post(CRDS, &crd).await;
        let causes = refused.json["details"]["causes"].as_array().cloned().unwrap_or_default();
        assert_eq!(refused.code, 422, "{field}: {}", refused.text);
        assert!(causes.iter().any(|cause| cause["field"] == field), "{field}: {}", refused.text);
    }
    assert_eq!(server.post(CRDS, &widgets()).await.code, 201);
    let scope = json!({"spec": {"scope": "Cluster"}});
    let refused = server.patch(&format!("{CRDS}/widgets.example.com"), MERGE, &scope).await;
    assert!(refused.code == 422 && refused.text.contains("field is immutable"), "{}", refused.text);
}

#[tokio::test]
async fn many_managers_share_an_object_by_the_list_types_of_its_schema() {
    let server = Server::start().await;
    let mut crd = widgets();
    crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]["ports"] = json!({
        "type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"],
        "items": {"type": "object", "required": ["name"], "properties": {
            "name": {"type": "string"}, "port": {"x-kubernetes-int-or-string": true},
        }},
    });
    let made = server.post(CRDS, &crd).await;
    assert_eq!(made.code, 201, "{}", made.text);
    let apply = |port: &str, number: Value| {
        let mut object = widget("a");
        object["spec"]["ports"] = json!([{"name": port, "port": number}]);
        object
    };
    let media = "application/apply-patch+yaml";
    let path = |manager: &str| format!("{WIDGETS}/a?fieldManager={manager}");
    assert_eq!(server.patch(&path("one"), media, &apply("http", json!(80))).await.code, 201);
    let both = server.patch(&path("two"), media, &apply("https", json!("tls"))).await;
    assert_eq!(
        both.json["spec"]["ports"],
        json!([{"name": "http", "port": 80}, {"name": "https", "port": "tls"}])
    );
    let conflict = server.patch(&path("two"), media, &apply("http", json!(81))).await;
    assert_eq!(conflict.code, 409);
    assert_eq!(conflict.json["details"]["causes"][0]["field"], ".spec.ports[name=\"http\"].port");
}

#[tokio::test]
async fn a_rule_that_came_later_holds_back_no_other_change() {
    let server = Server::start().await;
    server.post(CRDS, &widgets()).await;
    server.post(WIDGETS, &widget("a")).await;
    let crd = format!("{CRDS}/widgets.example.com");
    let mut tighter = server.get(&crd).await.json;
    let spec = "/spec/versions/0/schema/openAPIV3Schema/properties/spec";
    tighter.pointer_mut(spec).unwrap()["properties"]["size"]["maximum"] = json!(2);
    tighter.pointer_mut(spec).unwrap()["x-kubernetes-validations"] = json!([{"rule": "self.size < 3"}]);
    assert_eq!(server.call(Method::PUT, &crd, &[], &tighter.to_string()).await.code, 200);
    let path = format!("{WIDGETS}/a");
    let label = server.patch(&path, MERGE, &json!({"metadata": {"labels": {"a": "b"}}})).await;
    assert_eq!(label.code, 200, "{}", label.text);
    assert_eq!(
        server.patch(&format!("{path}/status"), MERGE, &json!({"status": {"phase": "x"}})).await.code,
        200
    );
    assert_eq!(server.patch(&path, MERGE, &json!({"spec": {"size": 4}})).await.code, 422);
    assert_eq!(server.patch(&path, MERGE, &json!({"spec": {"size": 2}})).await.code, 200);
}

#[tokio::test]
async fn a_schema_may_restrict_names_and_a_version_may_be_deprecated() {
    let server = Server::start().await;
    let mut crd = widgets();
    let version = &mut crd["spec"]["versions"][0];
    version["deprecated"] = json!(true);
    version["schema"]["openAPIV3Schema"]["properties"]["metadata"] =
        json!({"type": "object", "properties": {"name": {"type": "string", "maxLength": 3}}});
    let made = server.post(CRDS, &crd).await;
    assert_eq!(made.code, 201, "{}", made.text);
    let short = server.post(WIDGETS, &widget("abc")).await;
    assert_eq!(short.code, 201, "{}", short.text);
    assert_eq!(short.headers["warning"], "299 - \"example.com/v1 Widget is deprecated\"");
    let long = server.post(WIDGETS, &widget("abcd")).await;
    assert_eq!(
        (long.code.as_u16(), &long.json["details"]["causes"][0]["field"]),
        (422, &json!("metadata.name"))
    );
    let mut more = widgets();
    more["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["metadata"] =
        json!({"type": "object", "properties": {"labels": {"type": "object"}}});
    let refused = server.call(Method::POST, &format!("{CRDS}?dryRun=All"), &[], &more.to_string()).await;
    assert!(refused.text.contains("must not specify anything other than name"), "{}", refused.text);
}

#[tokio::test]
async fn a_dry_run_of_a_definition_serves_nothing() {
    let server = Server::start().await;
    let tried = server.post(&format!("{CRDS}?dryRun=All"), &widgets()).await;
    assert_eq!(tried.code, 201, "{}", tried.text);
    assert_eq!(server.get(WIDGETS).await.code, 404);
    assert_eq!(server.get(&format!("{CRDS}/widgets.example.com")).await.code, 404);
}
