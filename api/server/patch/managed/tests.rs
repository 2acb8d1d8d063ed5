use super::*;
use crate::kinds::Registry;

fn schema() -> &'static Schema {
    static SCHEMA: std::sync::LazyLock<Schema> = std::sync::LazyLock::new(|| {
        let registry = Registry::new(gcluster_types::kinds::crds());
        registry.by_resource("gcluster.dev", "v1alpha1", "agents").unwrap().schema.clone()
    });
    &SCHEMA
}

fn ctx<'a>(manager: &'a str, now: &'a str) -> ManagerCtx<'a> {
    ManagerCtx { manager, subresource: None, now, api_version: "gcluster.dev/v1alpha1", has_status: true }
}

const T1: &str = "2026-01-01T00:00:01Z";
const T2: &str = "2026-01-01T00:00:02Z";

fn created() -> Value {
    let mut agent = json!({
        "apiVersion": "gcluster.dev/v1alpha1", "kind": "Agent",
        "metadata": {"name": "a", "namespace": "default", "uid": "u", "labels": {"x": "1"}, "finalizers": ["f"]},
        "spec": {"definition": "d", "limits": {"maxIterations": 1}},
    });
    track_update(None, &mut agent, &ctx("creator", T1), schema());
    agent
}

fn managed(object: &Value) -> &Vec<Value> {
    object["metadata"]["managedFields"].as_array().unwrap()
}

#[test]
fn a_create_is_recorded_as_kubernetes_records_it() {
    assert_eq!(
        managed(&created()),
        &vec![json!({
            "apiVersion": "gcluster.dev/v1alpha1", "manager": "creator", "operation": "Update", "time": T1,
            "fieldsType": "FieldsV1",
            "fieldsV1": {
                "f:metadata": {
                    "f:finalizers": {".": {}, "v:\"f\"": {}},
                    "f:labels": {".": {}, "f:x": {}},
                },
                "f:spec": {".": {}, "f:definition": {}, "f:limits": {".": {}, "f:maxIterations": {}}},
            },
        })]
    );
}

#[test]
fn an_update_takes_the_fields_that_it_changes_and_nothing_else() {
    let old = created();
    let mut new = old.clone();
    new["spec"]["limits"]["maxIterations"] = json!(2);
    track_update(Some(&old), &mut new, &ctx("editor", T2), schema());
    let entries = managed(&new);
    assert_eq!(entries.len(), 2);
    assert_eq!(entries[1]["fieldsV1"], json!({"f:spec": {"f:limits": {"f:maxIterations": {}}}}));
    assert_eq!(entries[1]["time"], T2);
    assert_eq!(entries[0]["time"], T1);
    assert_eq!(entries[0]["fieldsV1"]["f:spec"], json!({".": {}, "f:definition": {}, "f:limits": {}}));
}

#[test]
fn an_update_without_change_leaves_every_record() {
    let old = created();
    let mut new = old.clone();
    new["metadata"]["resourceVersion"] = json!("17");
    track_update(Some(&old), &mut new, &ctx("creator", T2), schema());
    assert_eq!(managed(&new), managed(&old));
    new["metadata"]["managedFields"] = json!([]);
    track_update(Some(&old), &mut new, &ctx("creator", T2), schema());
    assert_eq!(managed(&new), managed(&old));
}

#[test]
fn removed_fields_have_no_owner() {
    let old = created();
    let mut new = old.clone();
    new["spec"].as_object_mut().unwrap().remove("limits");
    track_update(Some(&old), &mut new, &ctx("editor", T2), schema());
    assert_eq!(managed(&new).len(), 1);
    assert_eq!(managed(&new)[0]["fieldsV1"]["f:spec"], json!({".": {}, "f:definition": {}}));
}

#[test]
fn conditions_are_told_apart_by_type_and_subresources_by_name() {
    let old = created();
    let mut new = old.clone();
    new["status"] = json!({"runState": "running", "conditions": [{"type": "Ready", "status": "True"}]});
    let ctx = ManagerCtx { subresource: Some("status"), ..ctx("creator", T2) };
    track_update(Some(&old), &mut new, &ctx, schema());
    assert_eq!(managed(&new).len(), 2);
    assert_eq!(managed(&new)[1]["subresource"], "status");
    assert_eq!(
        managed(&new)[1]["fieldsV1"],
        json!({"f:status": {
            ".": {},
            "f:conditions": {".": {}, "k:{\"type\":\"Ready\"}": {".": {}, "f:status": {}, "f:type": {}}},
            "f:runState": {},
        }})
    );
}

#[test]
fn a_list_with_one_empty_record_resets_them() {
    let old = created();
    let mut new = old.clone();
    new["metadata"]["managedFields"] = json!([{}]);
    track_update(Some(&old), &mut new, &ctx("creator", T2), schema());
    assert!(new["metadata"].get("managedFields").is_none());
}

#[test]
fn the_oldest_of_many_managers_become_one() {
    let mut object = created();
    for n in 0..30 {
        let old = object.clone();
        object["metadata"]["labels"][format!("l{n}")] = json!("v");
        let (manager, now) = (format!("m{n}"), format!("2026-01-02T00:00:{n:02}Z"));
        track_update(Some(&old), &mut object, &ctx(&manager, &now), schema());
    }
    let entries = managed(&object);
    assert_eq!(entries.len(), 10);
    assert!(entries.iter().any(|entry| entry["manager"] == "ancient-changes"));
    assert!(entries.iter().any(|entry| entry["manager"] == "m29"));
}

#[test]
fn records_read_back_as_they_were_written() {
    let object = created();
    let entries = Entries::of(Some(&object));
    let mut again = object.clone();
    entries.store(&mut again);
    assert_eq!(again, object);
    assert!(Entries::parse(&json!([{"operation": "Other"}])).is_none());
    assert!(Entries::parse(&json!([{"operation": "Apply", "fieldsV1": {"x": {}}}])).is_none());
}
