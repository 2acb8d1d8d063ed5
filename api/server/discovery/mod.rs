//! Discovery: which groups, versions and resources there are, in the plain and the aggregated form.

use serde_json::{Map, Value, json};

use crate::kinds::{Kind, Registry, Subresource};
use crate::scale;

/// Version of the aggregated document, `apidiscovery.k8s.io/v2` or `v2beta1`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Aggregated {
    /// `v2`, asked for by kubectl 1.30 and newer.
    V2,
    /// `v2beta1`, asked for by older ones.
    V2beta1,
}

impl Aggregated {
    /// Version of the group `apidiscovery.k8s.io`, as in the content type's parameter `v`.
    pub fn version(self) -> &'static str {
        match self {
            Aggregated::V2 => "v2",
            Aggregated::V2beta1 => "v2beta1",
        }
    }
}

/// `GET /api`: versions of the core group.
pub fn api(registry: &Registry) -> Value {
    let groups = registry.groups();
    let versions = groups.iter().find(|(group, _)| group.is_empty()).map(|(_, versions)| versions.clone());
    json!({
        "kind": "APIVersions",
        "versions": versions.unwrap_or_default(),
        "serverAddressByClientCIDRs": [],
    })
}

/// `GET /apis`: all named groups.
pub fn apis(registry: &Registry) -> Value {
    let groups: Vec<Value> = registry
        .groups()
        .into_iter()
        .filter(|(group, _)| !group.is_empty())
        .map(|(group, versions)| group_document(group, &versions))
        .collect();
    json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups})
}

/// `GET /apis/GROUP`; none when there is no such group.
pub fn group(registry: &Registry, group: &str) -> Option<Value> {
    let groups = registry.groups();
    let (name, versions) = groups.iter().find(|(name, _)| *name == group && !name.is_empty())?;
    let mut document = group_document(name, versions);
    document["kind"] = json!("APIGroup");
    document["apiVersion"] = json!("v1");
    Some(document)
}

fn group_document(group: &str, versions: &[&str]) -> Value {
    let versions: Vec<Value> =
        versions.iter().map(|v| json!({"groupVersion": format!("{group}/{v}"), "version": v})).collect();
    json!({"name": group, "preferredVersion": versions.first(), "versions": versions})
}

/// `GET /apis/GROUP/VERSION` (core group: empty name); none when there is no such version.
pub fn resources(registry: &Registry, group: &str, version: &str) -> Option<Value> {
    let mut resources = Vec::new();
    let mut group_version = None;
    for kind in registry.iter().filter(|kind| kind.group == group && kind.version == version) {
        group_version = Some(kind.api_version());
        resources.push(resource(kind));
        for subresource in &kind.subresources {
            let mut shown = json!({
                "name": format!("{}/{}", kind.plural, subresource.name),
                "singularName": "",
                "namespaced": kind.namespaced,
                "kind": kind.kind,
                "verbs": subresource.verbs,
            });
            if subresource.name == "scale" {
                shown["group"] = json!("autoscaling");
                shown["version"] = json!("v1");
                shown["kind"] = json!(scale::KIND);
            }
            resources.push(shown);
        }
    }
    let group_version = group_version?;
    Some(json!({
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": group_version,
        "resources": resources,
    }))
}

fn resource(kind: &Kind) -> Value {
    let mut resource = json!({
        "name": kind.plural,
        "singularName": kind.singular,
        "namespaced": kind.namespaced,
        "kind": kind.kind,
        "verbs": kind.verbs,
    });
    with_names(&mut resource, kind);
    resource
}

/// Short names and categories, where there are any.
fn with_names(resource: &mut Value, kind: &Kind) {
    for (key, names) in [("shortNames", &kind.short_names), ("categories", &kind.categories)] {
        if !names.is_empty() {
            resource[key] = json!(names);
        }
    }
}

/// The aggregated document of `GET /api` (`core`) or `GET /apis`.
pub fn aggregated(registry: &Registry, form: Aggregated, core: bool) -> Value {
    let items: Vec<Value> = registry
        .groups()
        .into_iter()
        .filter(|(group, _)| group.is_empty() == core)
        .map(|(group, versions)| {
            let mut metadata = Map::new();
            metadata.insert("creationTimestamp".into(), Value::Null);
            if !group.is_empty() {
                metadata.insert("name".into(), json!(group));
            }
            let versions: Vec<Value> =
                versions.iter().map(|version| aggregated_version(registry, group, version)).collect();
            json!({"metadata": metadata, "versions": versions})
        })
        .collect();
    json!({
        "kind": "APIGroupDiscoveryList",
        "apiVersion": format!("apidiscovery.k8s.io/{}", form.version()),
        "metadata": {},
        "items": items,
    })
}

fn aggregated_version(registry: &Registry, group: &str, version: &str) -> Value {
    let kinds = registry.iter().filter(|kind| kind.group == group && kind.version == version);
    let resources: Vec<Value> = kinds.map(|kind| aggregated_resource(kind)).collect();
    json!({"version": version, "freshness": "Current", "resources": resources})
}

fn aggregated_resource(kind: &Kind) -> Value {
    let response_kind = json!({"group": kind.group, "version": kind.version, "kind": kind.kind});
    let mut resource = json!({
        "resource": kind.plural,
        "responseKind": response_kind,
        "scope": if kind.namespaced { "Namespaced" } else { "Cluster" },
        "singularResource": kind.singular,
        "verbs": kind.verbs,
    });
    with_names(&mut resource, kind);
    if !kind.subresources.is_empty() {
        let scale = json!({"group": "autoscaling", "version": "v1", "kind": scale::KIND});
        let subresource = |s: &Subresource| {
            let of = if s.name == "scale" { &scale } else { &response_kind };
            json!({"subresource": s.name, "responseKind": of, "verbs": s.verbs})
        };
        resource["subresources"] = kind.subresources.iter().map(subresource).collect();
    }
    resource
}

#[cfg(test)]
mod tests {
    use super::*;

    macro_rules! snapshot {
        ($name:expr, $value:expr) => {
            insta::with_settings!({
                snapshot_path => concat!(env!("CARGO_MANIFEST_DIR"), "/../../snapshots/api"),
                prepend_module_to_snapshot => false,
            }, { insta::assert_snapshot!($name, serde_json::to_string_pretty($value).unwrap()) })
        };
    }

    fn registry() -> Registry {
        Registry::new(gcluster_types::kinds::crds())
    }

    #[test]
    fn groups_are_listed_with_their_versions() {
        snapshot!("discovery_apis", &apis(&registry()));
        assert_eq!(api(&registry())["versions"], json!(["v1"]));
        assert_eq!(group(&registry(), "gcluster.dev").unwrap()["preferredVersion"]["version"], "v1alpha1");
        assert!(group(&registry(), "").is_none() && group(&registry(), "apps").is_none());
    }

    #[test]
    fn resources_are_listed_with_verbs_and_subresources() {
        snapshot!("discovery_resources", &resources(&registry(), "gcluster.dev", "v1alpha1").unwrap());
        snapshot!("discovery_core", &resources(&registry(), "", "v1").unwrap());
        assert!(resources(&registry(), "gcluster.dev", "v9").is_none());
    }

    /// Real clients read the plain documents into these types.
    #[test]
    fn the_plain_documents_are_those_of_kubernetes() {
        use k8s_openapi::apimachinery::pkg::apis::meta::v1::{APIGroupList, APIResourceList, APIVersions};
        serde_json::from_value::<APIVersions>(api(&registry())).unwrap();
        serde_json::from_value::<APIGroupList>(apis(&registry())).unwrap();
        for kind in registry().iter() {
            let list = resources(&registry(), &kind.group, &kind.version).unwrap();
            let list: APIResourceList = serde_json::from_value(list).unwrap();
            assert!(list.resources.iter().any(|resource| resource.name == kind.plural));
        }
    }

    #[test]
    fn the_aggregated_form_says_the_same() {
        let registry = registry();
        snapshot!("discovery_aggregated_core", &aggregated(&registry, Aggregated::V2, true));
        let all = aggregated(&registry, Aggregated::V2beta1, false);
        assert_eq!(all["apiVersion"], "apidiscovery.k8s.io/v2beta1");
        let names: Vec<_> =
            all["items"].as_array().unwrap().iter().map(|item| item["metadata"]["name"].clone()).collect();
        assert_eq!(names, ["events.k8s.io", "coordination.k8s.io", "apiextensions.k8s.io", "gcluster.dev"]);
        let resources = all["items"][3]["versions"][0]["resources"].as_array().unwrap();
        let iterations = resources.iter().find(|r| r["resource"] == "iterations").unwrap();
        assert_eq!(iterations["subresources"][1]["subresource"], "transcript");
    }
}
