use proptest::prelude::*;
use serde_json::json;

use super::{StrategicError, apply};
use serde_json::Value;

fn patched(object: Value, patch: Value) -> Result<Value, StrategicError> {
    let mut object = object;
    apply("Namespace", &mut object, &patch).map(|()| object)
}

fn metadata(value: Value) -> Value {
    json!({"metadata": value})
}

#[test]
fn maps_merge_and_null_removes() {
    let object = json!({"data": {"a": "1", "b": "2"}, "list": [1, 2]});
    let patch = json!({"data": {"a": null, "c": "3", "d": null}, "list": [3], "new": {"x": null, "y": {"$patch": "delete"}}});
    assert_eq!(
        patched(object, patch).unwrap(),
        json!({"data": {"b": "2", "c": "3"}, "list": [3], "new": {}})
    );
}

#[test]
fn directives_replace_delete_and_retain_maps() {
    let object = json!({"data": {"a": "1", "b": "2"}, "metadata": {"labels": {"x": "y"}}});
    let of = |patch: Value| patched(object.clone(), json!({"data": patch})).map(|o| o["data"].clone());
    assert_eq!(of(json!({"$patch": "replace", "c": "3"})).unwrap(), json!({"c": "3"}));
    assert_eq!(of(json!({"$patch": "delete"})).unwrap(), json!({}));
    assert_eq!(of(json!({"$retainKeys": ["a", "c"], "c": "3"})).unwrap(), json!({"a": "1", "c": "3"}));
    for bad in [
        json!({"$retainKeys": ["a"], "c": "3"}),
        json!({"$retainKeys": "a"}),
        json!({"$patch": "merge"}),
        json!({"$patch": 1}),
        json!({"$deleteFromPrimitiveList/x": "y"}),
        json!({"$setElementOrder/x": 1}),
    ] {
        assert!(matches!(of(bad.clone()), Err(StrategicError::Malformed(_))), "{bad}");
    }
}

#[test]
fn finalizers_are_a_set() {
    let object = metadata(json!({"finalizers": ["a/1", "a/2", "a/3"]}));
    let of =
        |patch: Value| patched(object.clone(), metadata(patch)).unwrap()["metadata"]["finalizers"].clone();
    assert_eq!(of(json!({"finalizers": ["a/4", "a/2"]})), json!(["a/4", "a/1", "a/2", "a/3"]));
    assert_eq!(of(json!({"$deleteFromPrimitiveList/finalizers": ["a/2", "x"]})), json!(["a/1", "a/3"]));
    assert_eq!(
        of(json!({"$setElementOrder/finalizers": ["a/3", "a/1"]})),
        json!(["a/2", "a/3", "a/1"]),
        "what is not named stays before what it preceded"
    );
    assert_eq!(
        of(json!({"finalizers": ["a/0"], "$setElementOrder/finalizers": ["a/0", "a/3"],
            "$deleteFromPrimitiveList/finalizers": ["a/1", "a/2"]})),
        json!(["a/0", "a/3"])
    );
    assert_eq!(
        patched(json!({}), metadata(json!({"finalizers": ["x"]}))).unwrap()["metadata"]["finalizers"],
        json!(["x"])
    );
}

#[test]
fn owners_merge_by_their_uid() {
    let object = metadata(json!({"ownerReferences": [{"uid": "1", "name": "a"}, {"uid": "2", "name": "b"}]}));
    let of = |patch: Value| {
        patched(object.clone(), metadata(patch)).map(|o| o["metadata"]["ownerReferences"].clone())
    };
    assert_eq!(
        of(json!({"ownerReferences": [{"uid": "2", "controller": true}, {"uid": "3", "name": "c"}]}))
            .unwrap(),
        json!([{"uid": "1", "name": "a"}, {"uid": "2", "name": "b", "controller": true}, {"uid": "3", "name": "c"}])
    );
    assert_eq!(
        of(json!({"ownerReferences": [{"uid": "1", "$patch": "delete"}]})).unwrap(),
        json!([{"uid": "2", "name": "b"}])
    );
    assert_eq!(
        of(json!({"ownerReferences": [{"$patch": "replace"}, {"uid": "4", "name": "d"}]})).unwrap(),
        json!([{"uid": "4", "name": "d"}])
    );
    assert_eq!(
        of(json!({"$setElementOrder/ownerReferences": [{"uid": "2"}, {"uid": "1"}], "ownerReferences": [{"uid": "1", "name": "z"}]}))
            .unwrap(),
        json!([{"uid": "2", "name": "b"}, {"uid": "1", "name": "z"}])
    );
    assert!(matches!(of(json!({"ownerReferences": [{"name": "x"}]})), Err(StrategicError::Unfit(_))));
    assert!(matches!(of(json!({"ownerReferences": ["x"]})), Err(StrategicError::Unfit(_))));
    for bad in [
        json!({"ownerReferences": [{"uid": "1", "$patch": "merge"}]}),
        json!({"ownerReferences": [{"uid": "9"}], "$setElementOrder/ownerReferences": [{"uid": "1"}]}),
    ] {
        assert!(matches!(of(bad.clone()), Err(StrategicError::Malformed(_))), "{bad}");
    }
    let conditions = json!({"status": {"conditions": [{"type": "A", "status": "False"}, {"type": "B"}]}});
    let patch = json!({"status": {"conditions": [{"type": "A", "status": "True"}]}});
    assert_eq!(
        patched(conditions, patch).unwrap()["status"]["conditions"],
        json!([{"type": "A", "status": "True"}, {"type": "B"}])
    );
}

/// Distinct finalizers.
fn names() -> impl proptest::strategy::Strategy<Value = Vec<String>> {
    proptest::collection::hash_set(0_u8..8, 0..8)
        .prop_map(|set| set.into_iter().map(|n| format!("a/{n}")).collect())
}

proptest! {
    #[test]
    fn a_set_holds_both_sides_once_and_a_second_time_changes_nothing(live in names(), patch in names()) {
        let object = metadata(json!({"finalizers": live}));
        let patch = metadata(json!({"finalizers": patch}));
        let once = patched(object.clone(), patch.clone()).unwrap();
        prop_assert_eq!(patched(once.clone(), patch.clone()).unwrap(), once.clone());
        let mut expected: Vec<String> = serde_json::from_value(object["metadata"]["finalizers"].clone()).unwrap();
        let added: Vec<String> = serde_json::from_value(patch["metadata"]["finalizers"].clone()).unwrap();
        expected.extend(added);
        expected.sort();
        expected.dedup();
        let mut found: Vec<String> = serde_json::from_value(once["metadata"]["finalizers"].clone()).unwrap();
        found.sort();
        prop_assert_eq!(found, expected);
    }

    #[test]
    fn without_directives_and_merging_lists_it_is_a_merge_patch(
        object in plain_maps(), patch in plain_maps(),
    ) {
        let mut merged = object.clone();
        crate::patch::merge::apply(&mut merged, &patch);
        prop_assert_eq!(patched(object, patch).unwrap(), merged);
    }
}

fn plain_maps() -> impl proptest::strategy::Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(json!(null)),
        any::<u8>().prop_map(|n| json!(n)),
        Just(json!([1, 2])),
        Just(json!("x"))
    ];
    let inner = leaf.prop_recursive(3, 24, 4, |inner| {
        proptest::collection::btree_map("[a-c]", inner, 0..4).prop_map(|map| json!(map))
    });
    proptest::collection::btree_map("[a-c]", inner, 0..4).prop_map(|map| json!(map))
}
