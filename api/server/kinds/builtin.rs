//! The kinds that come with Kubernetes, and the create-only Bundle.

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{ConfigMap, Event as CoreEvent, Namespace, Secret, Service};
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use schemars::JsonSchema;
use serde_json::{Value, json};

use super::{Custom, Kind, STORED_VERBS, SelectableField, Subresource, VIEW_VERBS, View};
use crate::schema::Schema;
use crate::table::{Column, JsonPath};

/// Namespace, ConfigMap, Secret, Event in both groups, Lease, CustomResourceDefinition and the empty Service.
pub(super) fn kinds() -> Vec<Kind> {
    vec![namespace(), config_map(), secret(), core_event(), event(), lease(), definition(), service()]
}

fn kind(group: &str, version: &str, name: &str, plural: &str, schema: Schema) -> Kind {
    Kind {
        group: group.into(),
        version: version.into(),
        kind: name.into(),
        list_kind: format!("{name}List"),
        plural: plural.into(),
        singular: name.to_lowercase(),
        short_names: Vec::new(),
        categories: Vec::new(),
        namespaced: true,
        status: false,
        subresources: Vec::new(),
        verbs: STORED_VERBS.to_vec(),
        schema,
        columns: vec![Column::name(), Column::age()],
        selectable: Vec::new(),
        store_resource: format!("{group}/{plural}"),
        view: View::Stored,
        builtin: true,
        custom: Custom::default(),
    }
}

fn schema_of<T: JsonSchema>() -> Schema {
    let root = schemars::schema_for!(T);
    Schema::from_builtin(root.as_value())
}

fn namespace() -> Kind {
    let mut namespace = kind("", "v1", "Namespace", "namespaces", schema_of::<Namespace>());
    namespace.short_names = vec!["ns".into()];
    namespace.namespaced = false;
    namespace.status = true;
    namespace.subresources = vec![
        Subresource { name: "status", verbs: VIEW_VERBS },
        Subresource { name: "finalize", verbs: &["update"] },
    ];
    namespace.columns = vec![
        Column::name(),
        Column::new("Status", "string", ".status.phase", 0, "The status of the namespace"),
        Column::age(),
    ];
    namespace.selectable = selectable(&["status.phase"]);
    namespace
}

fn config_map() -> Kind {
    let mut map = kind("", "v1", "ConfigMap", "configmaps", schema_of::<ConfigMap>());
    map.short_names = vec!["cm".into()];
    let data =
        Column::entries("Data", &["data", "binaryData"], "Number of values that the config map holds.");
    map.columns = vec![Column::name(), data, Column::age()];
    map
}

fn secret() -> Kind {
    let mut secret = kind("", "v1", "Secret", "secrets", schema_of::<Secret>());
    secret.columns = vec![
        Column::name(),
        Column::new("Type", "string", ".type", 0, "Used to facilitate programmatic handling of secret data."),
        Column::entries("Data", &["data"], "Number of values that the secret holds."),
        Column::age(),
    ];
    secret.selectable = selectable(&["type"]);
    secret
}

/// There is never one: `kubectl cluster-info` lists those of the cluster before it says where the server is.
fn service() -> Kind {
    let mut service = kind("", "v1", "Service", "services", schema_of::<Service>());
    service.short_names = vec!["svc".into()];
    service.verbs = vec!["get", "list", "watch"];
    service
}

fn core_event() -> Kind {
    let mut event = kind("", "v1", "Event", "events", schema_of::<CoreEvent>());
    event.short_names = vec!["ev".into()];
    event.store_resource = "events.k8s.io/events".into();
    event.view = View::CoreEvent;
    event.columns = Column::events();
    event.selectable = selectable(&[
        "involvedObject.kind",
        "involvedObject.namespace",
        "involvedObject.name",
        "involvedObject.uid",
        "involvedObject.apiVersion",
        "involvedObject.resourceVersion",
        "involvedObject.fieldPath",
        "reason",
        "reportingComponent",
        "source",
        "type",
    ]);
    if let Some(source) = event.selectable.iter_mut().find(|field| field.name == "source") {
        source.path = JsonPath::parse(".source.component");
    }
    event
}

fn event() -> Kind {
    let mut event = kind("events.k8s.io", "v1", "Event", "events", schema_of::<Event>());
    event.short_names = vec!["ev".into()];
    event.columns = Column::events();
    event.selectable = selectable(&[
        "regarding.kind",
        "regarding.namespace",
        "regarding.name",
        "regarding.uid",
        "regarding.apiVersion",
        "regarding.resourceVersion",
        "regarding.fieldPath",
        "reason",
        "reportingController",
        "type",
    ]);
    event
}

fn lease() -> Kind {
    let mut lease = kind("coordination.k8s.io", "v1", "Lease", "leases", schema_of::<Lease>());
    lease.columns = vec![
        Column::name(),
        Column::new("Holder", "string", ".spec.holderIdentity", 0, "Identity of the holder of the lease"),
        Column::age(),
    ];
    lease
}

fn definition() -> Kind {
    let schema = schema_of::<CustomResourceDefinition>();
    let mut definition = kind(crate::crd::GROUP, "v1", crate::crd::KIND, crate::crd::PLURAL, schema);
    definition.short_names = vec!["crd".into(), "crds".into()];
    definition.categories = vec!["api-extensions".into()];
    definition.namespaced = false;
    definition.status = true;
    definition.subresources = vec![Subresource { name: "status", verbs: VIEW_VERBS }];
    let created = "CreationTimestamp is the time at which the definition was created.";
    definition.columns =
        vec![Column::name(), Column::new("Created At", "string", ".metadata.creationTimestamp", 0, created)];
    definition
}

/// A list of objects that is applied as one transaction and never stored.
pub(super) fn bundle() -> Kind {
    let schema = Schema::from_json(&bundle_schema());
    let mut bundle =
        kind(gcluster_types::kinds::GROUP, gcluster_types::kinds::VERSION, "Bundle", "bundles", schema);
    bundle.verbs = vec!["create"];
    bundle
}

fn bundle_schema() -> Value {
    json!({
        "type": "object",
        "description": "Objects that are applied as one transaction: all of them or none.",
        "required": ["items"],
        "properties": {"items": {
            "type": "array",
            "description": "The objects, each with apiVersion, kind and metadata.name.",
            "items": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
        }},
    })
}

fn selectable(names: &[&str]) -> Vec<SelectableField> {
    names
        .iter()
        .map(|name| SelectableField { name: (*name).into(), path: JsonPath::parse(&format!(".{name}")) })
        .collect()
}
