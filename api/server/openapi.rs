//! OpenAPI documents: v3 per group version with its index, and v2 as one.

use serde_json::{Value, json};

use crate::kinds::Registry;

/// `GET /openapi/v3`: where the document of each group version is.
pub fn v3_index(registry: &Registry) -> Value {
    let _ = registry;
    json!({})
}

/// `GET /openapi/v3/apis/GROUP/VERSION` (core group: empty name, `/openapi/v3/api/v1`); none when
/// there is no such version. `server_version` becomes `info.version`.
pub fn v3_document(registry: &Registry, group: &str, version: &str, server_version: &str) -> Option<Value> {
    let _ = (registry, group, version, server_version);
    None
}

/// `GET /openapi/v2`: everything in one Swagger document.
pub fn v2(registry: &Registry, server_version: &str) -> Value {
    let _ = (registry, server_version);
    json!({})
}
