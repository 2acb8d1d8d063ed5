//! OpenAPI documents: v3 per group version with its index, and v2 as one.
//!
//! `kubectl explain` finds a kind by the path of its resource and reads its schema; `kubectl apply`
//! and `create` look whether a PATCH knows `dryRun` and `fieldValidation`. All documents follow from
//! the registry; a caller may keep them until it changes.

mod definitions;
mod paths;
mod protobuf;

use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use crate::kinds::{Kind, Registry};

pub(crate) use protobuf::{MEDIA_TYPE as PROTOBUF, accepted as accepts_protobuf};

/// Which version of OpenAPI a document is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Dialect {
    V2,
    V3,
}

impl Dialect {
    /// A reference to a definition of that name.
    fn reference(self, name: &str) -> Value {
        match self {
            Dialect::V2 => json!({"$ref": format!("#/definitions/{name}")}),
            Dialect::V3 => json!({"$ref": format!("#/components/schemas/{name}")}),
        }
    }
}

/// `GET /openapi/v3`: where the document of each group version is. The hash in each address changes
/// with the document, so that clients may cache it for ever.
pub fn v3_index(registry: &Registry) -> Value {
    let mut index = Map::new();
    for (group, versions) in registry.groups() {
        for version in versions {
            let path =
                if group.is_empty() { format!("api/{version}") } else { format!("apis/{group}/{version}") };
            let document = v3_document(registry, group, version, "").unwrap_or_default();
            let hash: String = Sha256::digest(document.to_string())
                .iter()
                .take(16)
                .map(|byte| format!("{byte:02X}"))
                .collect();
            index.insert(
                path.clone(),
                json!({"serverRelativeURL": format!("/openapi/v3/{path}?hash={hash}")}),
            );
        }
    }
    json!({"paths": index})
}

/// `GET /openapi/v3/apis/GROUP/VERSION` (core group: empty name, `/openapi/v3/api/v1`); none when
/// there is no such version. `server_version` becomes `info.version`.
pub fn v3_document(registry: &Registry, group: &str, version: &str, server_version: &str) -> Option<Value> {
    let kinds: Vec<&Kind> = registry
        .iter()
        .map(AsRef::as_ref)
        .filter(|kind| kind.group == group && kind.version == version)
        .collect();
    if kinds.is_empty() {
        return None;
    }
    Some(json!({
        "openapi": "3.0.0",
        "info": {"title": "gcluster", "version": server_version},
        "paths": paths::of(&kinds, Dialect::V3),
        "components": {"schemas": definitions::of(&kinds, Dialect::V3)},
    }))
}

/// `GET /openapi/v2`: everything in one Swagger document.
pub fn v2(registry: &Registry, server_version: &str) -> Value {
    let kinds: Vec<&Kind> = registry.iter().map(AsRef::as_ref).collect();
    json!({
        "swagger": "2.0",
        "info": {"title": "gcluster", "version": server_version},
        "paths": paths::of(&kinds, Dialect::V2),
        "definitions": definitions::of(&kinds, Dialect::V2),
    })
}

/// [`v2`] in protobuf, without the paths, for clients that accept nothing else.
pub fn v2_protobuf(registry: &Registry, server_version: &str) -> Vec<u8> {
    protobuf::encode(&v2(registry, server_version))
}

/// Name of a kind's definition, such as `dev.gcluster.v1alpha1.Agent`.
fn definition_name(kind: &Kind) -> String {
    let group = match kind.group.as_str() {
        "" => "io.k8s.api.core".to_owned(),
        "events.k8s.io" => "io.k8s.api.events".to_owned(),
        "coordination.k8s.io" => "io.k8s.api.coordination".to_owned(),
        other => other.split('.').rev().collect::<Vec<_>>().join("."),
    };
    format!("{group}.{}.{}", kind.version, kind.kind)
}

/// `x-kubernetes-group-version-kind` of a kind.
fn group_version_kind(kind: &Kind, name: &str) -> Value {
    json!({"group": kind.group, "version": kind.version, "kind": name})
}

#[cfg(test)]
mod tests;
