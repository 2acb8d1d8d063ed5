//! JSON patch (RFC 6902).

use json_patch::jsonptr::{Pointer, PointerBuf};
use json_patch::{Patch, PatchOperation};
use serde_json::Value;

use crate::schema;

/// Most operations of one patch, as in Kubernetes.
const MAX_OPERATIONS: usize = 10_000;
/// Most bytes that the `copy` operations of one patch may add; they could double an object each time.
const MAX_COPIED_BYTES: usize = 3 << 20;

/// Applies a list of operations, all or none.
///
/// A `test` of null passes where the path is absent, as in Kubernetes; kube's finalizer helper
/// relies on it.
///
/// # Errors
/// What is wrong with the patch, or which operation could not be applied and why. The object is
/// unchanged then.
pub fn apply(object: &mut Value, patch: &Value) -> Result<(), String> {
    let operations = patch.as_array().ok_or("a JSON patch must be an array of operations")?;
    if operations.len() > MAX_OPERATIONS {
        return Err(format!(
            "the patch has {} operations; at most {MAX_OPERATIONS} are allowed",
            operations.len()
        ));
    }
    let Patch(operations) =
        serde_json::from_value(patch.clone()).map_err(|e| format!("invalid JSON patch: {e}"))?;
    let mut copied = 0;
    let mut result = object.clone();
    for (index, operation) in operations.iter().enumerate() {
        if tests_absence(operation, &result) {
            continue;
        }
        check_growth(operation, &result, &mut copied).map_err(|e| format!("operation {index}: {e}"))?;
        json_patch::patch(&mut result, std::slice::from_ref(operation)).map_err(|e| {
            format!("operation {index} of the patch cannot be applied at {:?}: {}", e.path.as_str(), e.kind)
        })?;
    }
    *object = result;
    Ok(())
}

fn tests_absence(operation: &PatchOperation, object: &Value) -> bool {
    matches!(operation, PatchOperation::Test(test) if test.value.is_null() && test.path.resolve(object).is_err())
}

/// Keeps copies small and the object no deeper than a parser would have let in.
fn check_growth(operation: &PatchOperation, object: &Value, copied: &mut usize) -> Result<(), String> {
    let found = |from: &PointerBuf| from.resolve(object).ok();
    let (path, value): (&Pointer, &Value) = match operation {
        PatchOperation::Add(add) => (&add.path, &add.value),
        PatchOperation::Replace(replace) => (&replace.path, &replace.value),
        PatchOperation::Move(from) => match found(&from.from) {
            Some(value) => (&from.path, value),
            None => return Ok(()),
        },
        PatchOperation::Copy(from) => match found(&from.from) {
            Some(value) => {
                *copied += value.to_string().len();
                (&from.path, value)
            }
            None => return Ok(()),
        },
        PatchOperation::Remove(_) | PatchOperation::Test(_) => return Ok(()),
    };
    if *copied > MAX_COPIED_BYTES {
        return Err(format!("copies add more than {MAX_COPIED_BYTES} bytes"));
    }
    let left = schema::MAX_DEPTH.saturating_sub(path.tokens().count());
    if schema::depth_exceeds(value, left) {
        return Err(format!("the object would nest deeper than {}", schema::MAX_DEPTH));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn patched(object: Value, patch: Value) -> Result<Value, String> {
        let mut object = object;
        apply(&mut object, &patch).map(|()| object)
    }

    #[test]
    fn operations_apply_in_order() {
        let patch = json!([
            {"op": "add", "path": "/a/-", "value": 3},
            {"op": "remove", "path": "/a/0"},
            {"op": "copy", "from": "/a/0", "path": "/b"},
            {"op": "test", "path": "/b", "value": 2},
        ]);
        assert_eq!(patched(json!({"a": [1, 2]}), patch).unwrap(), json!({"a": [2, 3], "b": 2}));
    }

    #[test]
    fn a_test_of_null_passes_where_the_path_is_absent() {
        let patch = json!([
            {"op": "test", "path": "/metadata/finalizers", "value": null},
            {"op": "add", "path": "/metadata/finalizers", "value": ["x"]},
        ]);
        let object = json!({"metadata": {"name": "a"}});
        assert_eq!(patched(object.clone(), patch).unwrap()["metadata"]["finalizers"], json!(["x"]));
        let patch = json!([{"op": "test", "path": "/metadata/finalizers", "value": "y"}]);
        assert!(patched(object, patch).is_err());
    }

    #[test]
    fn a_failing_operation_changes_nothing_and_is_named() {
        let mut object = json!({"a": 1});
        let patch =
            json!([{"op": "add", "path": "/b", "value": 2}, {"op": "test", "path": "/a", "value": 2}]);
        let error = apply(&mut object, &patch).unwrap_err();
        assert!(error.starts_with("operation 1 of the patch cannot be applied at \"/a\""), "{error}");
        assert_eq!(object, json!({"a": 1}));
        assert!(apply(&mut object, &json!({})).is_err());
        assert!(apply(&mut object, &json!([{"op": "explode", "path": "/a"}])).is_err());
    }

    #[test]
    fn copies_cannot_blow_an_object_up() {
        let mut wide = vec![json!({"op": "add", "path": "/a", "value": ["x".repeat(1000)]})];
        let mut deep = vec![json!({"op": "add", "path": "/a", "value": {}})];
        for _ in 0..64 {
            wide.push(json!({"op": "copy", "from": "/a", "path": "/a/-"}));
            deep.push(
                json!({"op": "copy", "from": "/a", "path": format!("/a/b{}", "/b".repeat(deep.len() - 1))}),
            );
        }
        assert!(patched(json!({}), json!(wide)).unwrap_err().contains("bytes"));
        let nested = (0..200).fold(json!(1), |inner, _| json!([inner]));
        let error = patched(json!({}), json!([{"op": "add", "path": "/a", "value": nested}])).unwrap_err();
        assert!(error.contains("deeper"), "{error}");
        assert!(patched(json!({}), json!(deep)).is_err());
    }
}
