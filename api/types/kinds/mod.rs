//! The kinds that gcluster adds to Kubernetes, one file each, and the one table that lists them.

pub mod agent;
pub mod iteration;
pub mod message;
pub mod revision;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;

/// API group of every kind defined here.
pub const GROUP: &str = "gcluster.dev";
/// The one version that is served.
pub const VERSION: &str = "v1alpha1";

/// The definition of every kind, in the order in which discovery lists them.
pub fn crds() -> Vec<CustomResourceDefinition> {
    vec![agent::Agent::crd(), revision::AgentRevision::crd(), iteration::Iteration::crd(), message::Message::crd()]
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
            assert!(version.subresources.is_some(), "{}", crd.spec.names.kind);
            assert!(version.additional_printer_columns.is_some(), "{}", crd.spec.names.kind);
        }
    }
}
