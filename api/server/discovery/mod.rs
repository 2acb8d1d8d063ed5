//! Discovery: which groups, versions and resources there are, in the plain and the aggregated form.

use serde_json::{Value, json};

use crate::kinds::Registry;

/// Version of the aggregated document, `apidiscovery.k8s.io/v2` or `v2beta1`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Aggregated {
    /// `v2`, asked for by kubectl 1.30 and newer.
    V2,
    /// `v2beta1`, asked for by older ones.
    V2beta1,
}

/// `GET /api`: versions of the core group.
pub fn api(registry: &Registry) -> Value {
    let _ = registry;
    json!({})
}

/// `GET /apis`: all named groups.
pub fn apis(registry: &Registry) -> Value {
    let _ = registry;
    json!({})
}

/// `GET /apis/GROUP`; none when there is no such group.
pub fn group(registry: &Registry, group: &str) -> Option<Value> {
    let _ = (registry, group);
    None
}

/// `GET /apis/GROUP/VERSION` (core group: empty name); none when there is no such version.
pub fn resources(registry: &Registry, group: &str, version: &str) -> Option<Value> {
    let _ = (registry, group, version);
    None
}

/// The aggregated document of `GET /api` (`core`) or `GET /apis`.
pub fn aggregated(registry: &Registry, form: Aggregated, core: bool) -> Value {
    let _ = (registry, form, core);
    json!({})
}
