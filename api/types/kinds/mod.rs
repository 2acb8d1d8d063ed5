//! The kinds that gcluster adds to Kubernetes, one file each, and the one table that lists them.

pub mod agent;
pub mod budget;
pub mod check;
pub mod iteration;
pub mod merge;
pub mod message;
pub mod provider;
pub mod repository;
pub mod review;
pub mod revision;
pub mod ticket;
pub mod worker_pool;
pub mod workspace;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;

/// API group of every kind defined here.
pub const GROUP: &str = "gcluster.dev";
/// The one version that is served.
pub const VERSION: &str = "v1alpha1";

/// The definition of every kind, in the order in which discovery lists them.
pub fn crds() -> Vec<CustomResourceDefinition> {
    let all = [
        agent::Agent::crd(),
        revision::AgentRevision::crd(),
        iteration::Iteration::crd(),
        message::Message::crd(),
        budget::Budget::crd(),
        budget::ClusterBudget::crd(),
        ticket::Ticket::crd(),
        worker_pool::WorkerPool::crd(),
        repository::Repository::crd(),
        workspace::Workspace::crd(),
        workspace::Salvage::crd(),
        check::Check::crd(),
        review::Review::crd(),
        merge::Merge::crd(),
    ];
    all.map(with_shared_conditions).into()
}

/// Several controllers write conditions of one object, each its own: the list is a map by `type`, which a derived
/// schema cannot say.
fn with_shared_conditions(mut crd: CustomResourceDefinition) -> CustomResourceDefinition {
    for version in &mut crd.spec.versions {
        let schema = version.schema.as_mut().and_then(|schema| schema.open_api_v3_schema.as_mut());
        let fields = schema.and_then(|schema| schema.properties.as_mut());
        let status = fields.and_then(|fields| fields.get_mut("status"));
        let conditions = status
            .and_then(|status| status.properties.as_mut())
            .and_then(|fields| fields.get_mut("conditions"));
        if let Some(conditions) = conditions {
            conditions.x_kubernetes_list_type = Some("map".into());
            conditions.x_kubernetes_list_map_keys = Some(vec!["type".into()]);
        }
    }
    crd
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_a_definition_with_a_status_and_printer_columns() {
        for crd in crds() {
            let version = &crd.spec.versions[0];
            assert_eq!(crd.spec.group, GROUP);
            assert_eq!(version.name, VERSION);
            // What is salvaged does not change.
            let has_status = crd.spec.names.kind != "Salvage";
            assert_eq!(version.subresources.is_some(), has_status, "{}", crd.spec.names.kind);
            assert!(version.additional_printer_columns.is_some(), "{}", crd.spec.names.kind);
        }
    }

    #[test]
    fn conditions_are_shared_by_their_type() {
        let agents = serde_json::to_value(&crds()[0]).unwrap();
        let path = "/spec/versions/0/schema/openAPIV3Schema/properties/status/properties/conditions";
        let conditions = agents.pointer(path).unwrap();
        assert_eq!(conditions["x-kubernetes-list-type"], "map");
        assert_eq!(conditions["x-kubernetes-list-map-keys"], serde_json::json!(["type"]));
    }
}
