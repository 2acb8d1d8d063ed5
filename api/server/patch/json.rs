//! JSON patch (RFC 6902).

use serde_json::Value;

/// Applies a list of operations, all or none.
///
/// A `test` of null passes where the path is absent, as in Kubernetes; kube's finalizer helper
/// relies on it.
///
/// # Errors
/// What is wrong with the patch, or which operation could not be applied and why. The object is
/// unchanged then.
pub fn apply(object: &mut Value, patch: &Value) -> Result<(), String> {
    let _ = (object, patch);
    Err(String::new())
}
