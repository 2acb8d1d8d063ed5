use super::*;

fn registry() -> Registry {
    Registry::new(gcluster_types::kinds::crds())
}

#[test]
fn resources_and_kinds_are_found_by_their_names() {
    let registry = registry();
    let agents = registry.by_resource("gcluster.dev", "v1alpha1", "agents").unwrap();
    assert_eq!(agents.store_resource, "gcluster.dev/agents");
    assert_eq!(agents.api_version(), "gcluster.dev/v1alpha1");
    assert_eq!(agents.qualified(), "agents.gcluster.dev");
    assert!(agents.status && agents.namespaced && !agents.builtin);
    assert_eq!(agents.list_kind, "AgentList");
    assert_eq!(registry.by_kind("gcluster.dev/v1alpha1", "Agent").unwrap().plural, "agents");
    assert_eq!(registry.by_kind("v1", "Namespace").unwrap().store_resource, "/namespaces");
    assert!(registry.by_resource("gcluster.dev", "v1", "agents").is_none());
}

#[test]
fn both_event_kinds_share_one_store_resource() {
    let registry = registry();
    let core = registry.by_resource("", "v1", "events").unwrap();
    let events = registry.by_resource("events.k8s.io", "v1", "events").unwrap();
    assert_eq!(core.store_resource, events.store_resource);
    assert_eq!((core.view, events.view), (View::CoreEvent, View::Stored));
}

#[test]
fn a_bundle_can_only_be_created() {
    let registry = registry();
    let bundles = registry.by_resource("gcluster.dev", "v1alpha1", "bundles").unwrap();
    assert_eq!(bundles.verbs, ["create"]);
    assert!(bundles.allows("create") && !bundles.allows("list"));
}

#[test]
fn an_iteration_has_a_transcript() {
    let registry = registry();
    let iterations = registry.by_resource("gcluster.dev", "v1alpha1", "iterations").unwrap();
    assert!(iterations.subresource("transcript").is_some());
    let selectable: Vec<_> = iterations.selectable.iter().map(|f| f.name.as_str()).collect();
    assert_eq!(selectable, ["spec.agent", "spec.step", "status.phase"]);
}
