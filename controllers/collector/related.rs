//! An object, read only as far as ownership and deletion go.
//!
//! The collector sees every write of every kind. Whole objects would cost it more than the write cost the server.

use std::borrow::Cow;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{OwnerReference, Time};
use kube::Resource;
use kube::core::{ApiResource, DynamicResourceScope, ObjectMeta};
use serde::{Deserialize, Deserializer};

/// An object of any kind. Of its metadata there is what names it, who owns it, and what its deletion waits for.
#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct Related {
    #[serde(deserialize_with = "some_metadata")]
    metadata: ObjectMeta,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SomeMetadata {
    name: Option<String>,
    namespace: Option<String>,
    uid: Option<String>,
    resource_version: Option<String>,
    deletion_timestamp: Option<Time>,
    owner_references: Option<Vec<OwnerReference>>,
    finalizers: Option<Vec<String>>,
}

fn some_metadata<'de, D: Deserializer<'de>>(from: D) -> Result<ObjectMeta, D::Error> {
    let read = SomeMetadata::deserialize(from)?;
    Ok(ObjectMeta {
        name: read.name,
        namespace: read.namespace,
        uid: read.uid,
        resource_version: read.resource_version,
        deletion_timestamp: read.deletion_timestamp,
        owner_references: read.owner_references,
        finalizers: read.finalizers,
        ..ObjectMeta::default()
    })
}

impl Resource for Related {
    type DynamicType = ApiResource;
    type Scope = DynamicResourceScope;

    fn kind(of: &ApiResource) -> Cow<'_, str> {
        of.kind.as_str().into()
    }

    fn group(of: &ApiResource) -> Cow<'_, str> {
        of.group.as_str().into()
    }

    fn version(of: &ApiResource) -> Cow<'_, str> {
        of.version.as_str().into()
    }

    fn api_version(of: &ApiResource) -> Cow<'_, str> {
        of.api_version.as_str().into()
    }

    fn plural(of: &ApiResource) -> Cow<'_, str> {
        of.plural.as_str().into()
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

#[cfg(test)]
mod tests {
    use kube::core::WatchEvent;

    use super::*;

    #[test]
    fn ownership_and_deletion_are_read_and_the_rest_is_passed_over() {
        let line = r#"{"type":"MODIFIED","object":{"apiVersion":"v1","kind":"ConfigMap","data":{"a":"b"},
            "metadata":{"name":"n","namespace":"ns","uid":"u","resourceVersion":"7","managedFields":[{"x":1}],
            "deletionTimestamp":"2026-01-01T00:00:00Z","finalizers":["orphan"],"labels":{"a":"b"},
            "ownerReferences":[{"apiVersion":"v1","kind":"ConfigMap","name":"o","uid":"p"}]}}}"#;
        let WatchEvent::Modified(object) = serde_json::from_str::<WatchEvent<Related>>(line).unwrap() else {
            panic!("another event");
        };
        let meta = object.meta();
        assert_eq!((meta.name.as_deref(), meta.namespace.as_deref()), (Some("n"), Some("ns")));
        assert_eq!((meta.uid.as_deref(), meta.resource_version.as_deref()), (Some("u"), Some("7")));
        assert!(meta.deletion_timestamp.is_some());
        assert_eq!(meta.finalizers.as_deref(), Some(&["orphan".to_owned()][..]));
        assert_eq!(meta.owner_references.as_ref().map(|owners| owners[0].uid.as_str()), Some("p"));
        assert_eq!((&meta.labels, &meta.managed_fields), (&None, &None));
    }
}
