//! From `kubectl apply` to `kubectl apply --server-side` without conflicts, as in Kubernetes: what kubectl applied
//! on its own side last is its own, where nobody changed it since.

use serde_json::Value;

use crate::patch::compare::compare;
use crate::patch::fieldset::FieldSet;
use crate::schema::node::Node;

/// Where kubectl keeps what it applied.
const ANNOTATION: &str = "/metadata/annotations/kubectl.kubernetes.io~1last-applied-configuration";
/// Manager of a server-side apply by kubectl, unless its user names another.
const KUBECTL: &str = "kubectl";

/// The fields that this manager may take from others: those that kubectl applied and that are still as it
/// applied them.
pub(super) fn own(live: &Value, manager: &str, api_version: &str, root: &Node) -> FieldSet {
    let text = live.pointer(ANNOTATION).and_then(Value::as_str).filter(|_| manager == KUBECTL);
    let Some(last) = text.and_then(|text| serde_json::from_str::<Value>(text).ok()) else {
        return FieldSet::default();
    };
    if last.get("apiVersion").and_then(Value::as_str) != Some(api_version) {
        return FieldSet::default();
    }
    let mut fields = FieldSet::of(&last, Some(root));
    let since = compare(Some(&last), Some(live), root);
    fields.subtract(&since.set);
    fields.subtract(&since.removed);
    fields
}
