//! JSON merge patch (RFC 7386).

use serde_json::Value;

/// Merges the patch into the object: null removes a key, objects merge, everything else replaces.
pub fn apply(object: &mut Value, patch: &Value) {
    json_patch::merge(object, patch);
}
