use std::collections::BTreeSet;

use super::*;

fn registry() -> Registry {
    Registry::new(gcluster_types::kinds::crds())
}

/// All that an OpenAPI document refers to.
fn references(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(map) => {
            if let Some(Value::String(target)) = map.get("$ref") {
                found.insert(target.clone());
            }
            map.values().for_each(|value| references(value, found));
        }
        Value::Array(items) => items.iter().for_each(|value| references(value, found)),
        _ => {}
    }
}

#[test]
fn every_reference_has_a_definition() {
    let registry = registry();
    let mut documents = vec![v2(&registry, "v1")];
    for (group, versions) in registry.groups() {
        documents
            .extend(versions.iter().map(|version| v3_document(&registry, group, version, "v1").unwrap()));
    }
    for document in documents {
        let mut found = BTreeSet::new();
        references(&document, &mut found);
        assert!(!found.is_empty());
        for target in found {
            assert!(document.pointer(target.trim_start_matches('#')).is_some(), "{target}");
        }
    }
}

#[test]
fn the_index_names_each_group_version_by_a_hash() {
    let index = v3_index(&registry());
    let paths: Vec<&String> = index["paths"].as_object().unwrap().keys().collect();
    assert_eq!(
        paths,
        [
            "api/v1",
            "apis/apiextensions.k8s.io/v1",
            "apis/coordination.k8s.io/v1",
            "apis/events.k8s.io/v1",
            "apis/gcluster.dev/v1alpha1"
        ]
    );
    let url = index["paths"]["api/v1"]["serverRelativeURL"].as_str().unwrap();
    assert!(url.starts_with("/openapi/v3/api/v1?hash=") && url.len() == 56, "{url}");
    assert_ne!(v3_index(&Registry::new(Vec::new())), index);
}

#[test]
fn a_kind_is_described_with_its_fields() {
    let document = v3_document(&registry(), "gcluster.dev", "v1alpha1", "v0.1.0").unwrap();
    let agent = &document["components"]["schemas"]["dev.gcluster.v1alpha1.Agent"];
    assert_eq!(agent["x-kubernetes-group-version-kind"][0]["kind"], "Agent");
    assert_eq!(
        agent["properties"]["metadata"]["allOf"][0]["$ref"],
        "#/components/schemas/io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"
    );
    insta::with_settings!({
        snapshot_path => concat!(env!("CARGO_MANIFEST_DIR"), "/../../snapshots/api"),
        prepend_module_to_snapshot => false,
    }, {
        let limits = &agent["properties"]["spec"]["properties"]["limits"];
        insta::assert_snapshot!("openapi_agent_limits", serde_json::to_string_pretty(limits).unwrap());
        let paths: Vec<String> = document["paths"].as_object().unwrap().iter()
            .map(|(path, item)| format!("{path}: {}", item.as_object().unwrap().keys().filter(|k| *k != "parameters").cloned().collect::<Vec<_>>().join(" ")))
            .collect();
        insta::assert_snapshot!("openapi_paths", paths.join("\n"));
    });
}

/// kubectl looks for these before it sends them.
#[test]
fn a_patch_knows_dry_run_and_field_validation() {
    let document = v3_document(&registry(), "gcluster.dev", "v1alpha1", "").unwrap();
    let patch =
        &document["paths"]["/apis/gcluster.dev/v1alpha1/namespaces/{namespace}/agents/{name}"]["patch"];
    let names: Vec<_> = patch["parameters"].as_array().unwrap().iter().map(|p| p["name"].clone()).collect();
    assert_eq!(names, ["dryRun", "fieldManager", "fieldValidation", "force"]);
    assert_eq!(patch["x-kubernetes-group-version-kind"]["kind"], "Agent");
}

#[test]
fn operation_ids_are_unique() {
    let document = v2(&registry(), "");
    let mut ids = BTreeSet::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap().iter().filter(|(key, _)| *key != "parameters") {
            assert!(ids.insert(operation["operationId"].as_str().unwrap().to_owned()), "{method} {path}");
        }
    }
}

#[test]
fn unknown_versions_have_no_document() {
    assert!(v3_document(&registry(), "gcluster.dev", "v9", "").is_none());
}
