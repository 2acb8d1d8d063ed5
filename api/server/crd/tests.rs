use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::kinds::Registry;
use crate::schema::Schema;

fn kind() -> std::sync::Arc<Kind> {
    Registry::new(Vec::new()).by_resource(GROUP, "v1", PLURAL).cloned().unwrap()
}

/// What `gcluster crds` prints, a Kubernetes API server takes.
#[test]
fn the_own_definitions_keep_the_rules_of_all_definitions() {
    let kind = kind();
    for crd in kinds::crds() {
        let mut object = serde_json::to_value(&crd).unwrap();
        default(&kind, &mut object);
        assert_eq!(kind.schema.prune(&mut object), Vec::<String>::new());
        assert_eq!(kind.schema.validate(&object), []);
        assert_eq!(check(&kind, None, &object, false), []);
    }
}

#[test]
fn names_follow_from_the_kind() {
    let mut object = json!({"spec": {"names": {"kind": "Widget", "plural": "widgets"}}});
    default(&kind(), &mut object);
    assert_eq!(
        object["spec"],
        json!({"conversion": {"strategy": "None"}, "names": {
            "kind": "Widget", "plural": "widgets", "singular": "widget", "listKind": "WidgetList",
        }})
    );
}

/// A structural schema with every sort of place.
fn schema() -> Value {
    json!({"type": "object", "properties": {
        "spec": {"type": "object", "default": {}, "properties": {
            "a": {"type": "string", "default": "x"},
            "b": {"type": "object", "nullable": true, "properties": {"c": {"type": "integer", "default": 1}}},
            "list": {"type": "array", "items": {"type": "object", "properties": {
                "d": {"type": "boolean", "default": true}, "e": {"x-kubernetes-int-or-string": true},
            }}},
            "map": {"type": "object", "additionalProperties": {"type": "object", "properties": {
                "f": {"type": "string", "default": "y"},
            }}},
            "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": true, "properties": {
                "g": {"type": "number", "default": 0.5},
            }},
        }},
    }})
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        "[a-z]{0,3}".prop_map(Value::from),
    ];
    let names = prop_oneof!["a", "b", "c", "d", "e", "f", "g", "list", "map", "free", "spec", "zz"];
    leaf.prop_recursive(5, 40, 4, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            prop::collection::btree_map(names.clone(), inner, 0..5)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn pruning_and_defaulting_come_to_rest(spec in any_json()) {
        let schema = Schema::from_json(&schema());
        let mut once = json!({"apiVersion": "example.com/v1", "kind": "K", "metadata": {"name": "n"}, "spec": spec});
        schema.prune(&mut once);
        schema.default(&mut once);
        let mut twice = once.clone();
        prop_assert_eq!(schema.prune(&mut twice), Vec::<String>::new());
        schema.default(&mut twice);
        prop_assert_eq!(&twice, &once);
    }

    #[test]
    fn what_is_valid_stays_valid(spec in any_json()) {
        let schema = Schema::from_json(&schema());
        let mut object = json!({"apiVersion": "example.com/v1", "kind": "K", "metadata": {"name": "n"}, "spec": spec});
        schema.prune(&mut object);
        if schema.validate(&object).is_empty() {
            schema.default(&mut object);
            prop_assert_eq!(schema.validate(&object), []);
        }
    }

    #[test]
    fn no_schema_makes_the_checks_panic(source in any_json()) {
        let mut causes = Vec::new();
        structural::check(&source, "s", &mut causes);
        let mut typed = json!({"type": "object", "properties": {"spec": source}});
        typed["x-kubernetes-validations"] = json!([{"rule": "self.spec == 1"}]);
        structural::check(&typed, "s", &mut causes);
    }
}
