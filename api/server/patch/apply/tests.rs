use super::*;
use crate::kinds::Registry;
use crate::patch::managed::track_update;

const T1: &str = "2026-01-01T00:00:01Z";
const T2: &str = "2026-01-01T00:00:02Z";

fn schema() -> &'static Schema {
    static SCHEMA: std::sync::LazyLock<Schema> = std::sync::LazyLock::new(|| {
        let registry = Registry::new(gcluster_types::kinds::crds());
        registry.by_resource("gcluster.dev", "v1alpha1", "agents").unwrap().schema.clone()
    });
    &SCHEMA
}

fn ctx<'a>(manager: &'a str, now: &'a str) -> ManagerCtx<'a> {
    ManagerCtx { manager, subresource: None, now, api_version: "gcluster.dev/v1alpha1", has_status: true }
}

fn agent(spec: Value) -> Value {
    json!({"apiVersion": "gcluster.dev/v1alpha1", "kind": "Agent", "metadata": {"name": "a"}, "spec": spec})
}

fn applied(live: Option<&Value>, manager: &str, now: &str, spec: Value) -> Value {
    apply(live, &agent(spec), &ctx(manager, now), false, schema()).unwrap()
}

fn entry<'v>(object: &'v Value, manager: &str) -> &'v Value {
    object["metadata"]["managedFields"].as_array().unwrap().iter().find(|e| e["manager"] == manager).unwrap()
}

#[test]
fn an_absent_object_is_created_with_what_was_applied() {
    let object = applied(None, "cli", T1, json!({"definition": "d", "methods": {"m": "x"}}));
    assert_eq!(object["spec"], json!({"definition": "d", "methods": {"m": "x"}}));
    assert_eq!(
        object["metadata"]["managedFields"],
        json!([{
            "apiVersion": "gcluster.dev/v1alpha1", "manager": "cli", "operation": "Apply", "time": T1,
            "fieldsType": "FieldsV1", "fieldsV1": {"f:spec": {"f:definition": {}, "f:methods": {"f:m": {}}}},
        }])
    );
}

#[test]
fn applying_again_changes_nothing() {
    let first = applied(None, "cli", T1, json!({"definition": "d"}));
    assert_eq!(applied(Some(&first), "cli", T2, json!({"definition": "d"})), first);
}

#[test]
fn another_managers_limit_survives_an_apply_of_the_definition() {
    let first = applied(None, "cli", T1, json!({"definition": "d"}));
    let limited = applied(Some(&first), "ops", T1, json!({"limits": {"maxIterations": 3}}));
    let again = applied(Some(&limited), "cli", T2, json!({"definition": "e"}));
    assert_eq!(again["spec"], json!({"definition": "e", "limits": {"maxIterations": 3}}));
}

#[test]
fn a_conflict_names_field_and_manager() {
    let mut live = applied(None, "cli", T1, json!({"definition": "d"}));
    let old = live.clone();
    live["spec"]["limits"] = json!({"maxIterations": 3});
    track_update(Some(&old), &mut live, &ctx("kubectl-edit", T1), schema());
    let spec = agent(json!({"limits": {"maxIterations": 4}}));
    let error = apply(Some(&live), &spec, &ctx("cli", T2), false, schema()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "Apply failed with 1 conflict: conflict with \"kubectl-edit\" using gcluster.dev/v1alpha1: .spec.limits.maxIterations"
    );
    let ApplyError::Conflicts(conflicts) = error else { panic!("{error}") };
    assert_eq!(conflicts[0].field, ".spec.limits.maxIterations");
    assert_eq!(conflicts[0].message, "conflict with \"kubectl-edit\" using gcluster.dev/v1alpha1");

    let forced = apply(Some(&live), &spec, &ctx("cli", T2), true, schema()).unwrap();
    assert_eq!(forced["spec"]["limits"]["maxIterations"], 4);
    assert_eq!(entry(&forced, "kubectl-edit")["fieldsV1"], json!({"f:spec": {"f:limits": {}}}));
}

#[test]
fn several_conflicts_are_listed_by_manager() {
    let live = applied(None, "one", T1, json!({"definition": "d", "agentName": "n", "run": "Paused"}));
    let spec = agent(json!({"definition": "e", "agentName": "m"}));
    let error = apply(Some(&live), &spec, &ctx("two", T2), false, schema()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "Apply failed with 2 conflicts: conflicts with \"one\":\n- .spec.agentName\n- .spec.definition"
    );
}

#[test]
fn equal_values_are_owned_together_and_stay_until_the_last_owner_goes() {
    let one = applied(None, "one", T1, json!({"definition": "d", "run": "Paused"}));
    let both = applied(Some(&one), "two", T1, json!({"run": "Paused"}));
    let left = applied(Some(&both), "one", T2, json!({"definition": "d"}));
    assert_eq!(left["spec"]["run"], "Paused");
    let gone = applied(Some(&left), "two", T2, json!({}));
    assert_eq!(gone["spec"], json!({"definition": "d"}));
}

#[test]
fn fields_that_are_no_longer_applied_go_with_their_empty_parents() {
    let first = applied(
        None,
        "cli",
        T1,
        json!({"definition": "d", "limits": {"maxIterations": 1}, "methods": {"a": "1", "b": "2"}}),
    );
    let second = applied(Some(&first), "cli", T2, json!({"definition": "d", "methods": {"b": "2"}}));
    assert_eq!(second["spec"], json!({"definition": "d", "methods": {"b": "2"}}));
    assert_eq!(entry(&second, "cli")["time"], T2);
}

#[test]
fn an_apply_of_the_object_leaves_status_alone_and_the_other_way_round() {
    let live = applied(None, "cli", T1, json!({"definition": "d"}));
    let mut config = agent(json!({"definition": "other"}));
    config["metadata"]["labels"] = json!({"x": "y"});
    config["status"] = json!({"conditions": [{"type": "Ready", "status": "True"}]});
    let status = ManagerCtx { subresource: Some("status"), ..ctx("executor", T1) };
    let live = apply(Some(&live), &config, &status, false, schema()).unwrap();
    assert_eq!(live["spec"]["definition"], "d");
    assert!(live["metadata"].get("labels").is_none());
    assert_eq!(entry(&live, "executor")["subresource"], "status");

    config["status"]["conditions"] = json!([{"type": "Throttled", "status": "False"}]);
    let other = ManagerCtx { manager: "other", ..status };
    let live = apply(Some(&live), &config, &other, false, schema()).unwrap();
    assert_eq!(live["status"]["conditions"].as_array().unwrap().len(), 2);

    let spec = apply(Some(&live), &config, &ctx("cli", T2), true, schema()).unwrap();
    assert_eq!(spec["spec"]["definition"], "other");
    assert_eq!(spec["status"], live["status"]);
}

#[test]
fn list_items_with_keys_have_owners_of_their_own() {
    let status = |manager| ManagerCtx { subresource: Some("status"), ..ctx(manager, T1) };
    let conditions = |names: &[&str]| {
        let all: Vec<Value> = names.iter().map(|n| json!({"type": n, "status": "True"})).collect();
        json!({"apiVersion": "gcluster.dev/v1alpha1", "kind": "Agent", "metadata": {"name": "a"}, "status": {"conditions": all}})
    };
    let live = applied(None, "cli", T1, json!({"definition": "d"}));
    let live = apply(Some(&live), &conditions(&["A", "B"]), &status("one"), false, schema()).unwrap();
    let live = apply(Some(&live), &conditions(&["C"]), &status("two"), false, schema()).unwrap();
    let live = apply(Some(&live), &conditions(&["B"]), &status("one"), false, schema()).unwrap();
    let types: Vec<_> =
        live["status"]["conditions"].as_array().unwrap().iter().map(|c| c["type"].clone()).collect();
    assert_eq!(types, ["B", "C"]);
}

#[test]
fn owner_references_and_finalizers_are_shared() {
    let with = |metadata: Value| {
        let mut object = agent(json!({}));
        object["metadata"] = metadata;
        object
    };
    let owner = |uid: &str| json!({"apiVersion": "v1", "kind": "K", "name": "n", "uid": uid});
    let first = with(json!({"name": "a", "finalizers": ["x"], "ownerReferences": [owner("1")]}));
    let live = apply(None, &first, &ctx("one", T1), false, schema()).unwrap();
    let second = with(json!({"name": "a", "finalizers": ["y"], "ownerReferences": [owner("2")]}));
    let live = apply(Some(&live), &second, &ctx("two", T1), false, schema()).unwrap();
    assert_eq!(live["metadata"]["finalizers"], json!(["x", "y"]));
    assert_eq!(live["metadata"]["ownerReferences"].as_array().unwrap().len(), 2);
    let live = apply(Some(&live), &agent(json!({})), &ctx("one", T2), false, schema()).unwrap();
    assert_eq!(live["metadata"]["finalizers"], json!(["y"]));
    assert_eq!(live["metadata"]["ownerReferences"], json!([owner("2")]));
}

#[test]
fn an_update_and_an_apply_of_one_manager_are_two_records() {
    let mut live = agent(json!({"definition": "d"}));
    track_update(None, &mut live, &ctx("cli", T1), schema());
    let spec = agent(json!({"definition": "e"}));
    assert!(matches!(
        apply(Some(&live), &spec, &ctx("cli", T2), false, schema()),
        Err(ApplyError::Conflicts(_))
    ));
    let forced = apply(Some(&live), &spec, &ctx("cli", T2), true, schema()).unwrap();
    let operations: Vec<_> = forced["metadata"]["managedFields"]
        .as_array()
        .unwrap()
        .iter()
        .map(|e| e["operation"].clone())
        .collect();
    assert_eq!(operations, ["Apply", "Update"]);
}

#[test]
fn an_object_without_records_belongs_to_before_first_apply() {
    let live = agent(json!({"definition": "d", "run": "Paused"}));
    let error =
        apply(Some(&live), &agent(json!({"run": "Running"})), &ctx("cli", T1), false, schema()).unwrap_err();
    assert!(error.to_string().contains("before-first-apply"), "{error}");
    let same =
        apply(Some(&live), &agent(json!({"run": "Paused"})), &ctx("cli", T1), false, schema()).unwrap();
    assert_eq!(same["metadata"]["managedFields"].as_array().unwrap().len(), 2);
}

#[test]
fn a_number_is_the_same_with_and_without_a_fraction() {
    let live = applied(None, "one", T1, json!({"limits": {"maxBudgetUSD": 5}}));
    assert_eq!(applied(Some(&live), "one", T2, json!({"limits": {"maxBudgetUSD": 5.0}})), live);
    let both = applied(Some(&live), "two", T2, json!({"limits": {"maxBudgetUSD": 5.0}}));
    assert_eq!(both["metadata"]["managedFields"].as_array().unwrap().len(), 2);
}

#[test]
fn what_the_server_sets_cannot_be_applied() {
    let mut config = agent(json!({"definition": "d"}));
    config["metadata"]["uid"] = json!("mine");
    config["metadata"]["generation"] = json!(7);
    config["metadata"]["creationTimestamp"] = json!(null);
    let object = apply(None, &config, &ctx("cli", T1), false, schema()).unwrap();
    let keys: Vec<&String> = object["metadata"].as_object().unwrap().keys().collect();
    assert_eq!(keys, ["managedFields", "name"]);
}

#[test]
fn what_cannot_be_applied_is_refused() {
    let mut object = agent(json!({}));
    object["metadata"]["managedFields"] = json!([{"manager": "x"}]);
    for bad in [json!([]), json!("x"), json!({"metadata": 1}), object] {
        let error = apply(None, &bad, &ctx("cli", T1), false, schema()).unwrap_err();
        assert!(matches!(error, ApplyError::Invalid(_)), "{bad}");
    }
}

mod properties {
    use proptest::prelude::*;

    use super::*;

    fn leaf() -> impl Strategy<Value = Value> {
        prop_oneof![
            Just(json!(null)),
            any::<bool>().prop_map(|b| json!(b)),
            (0..3).prop_map(|n| json!(n)),
            "[ab]{0,2}".prop_map(|s| json!(s))
        ]
    }

    fn any_value() -> impl Strategy<Value = Value> {
        leaf().prop_recursive(5, 40, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map(
                    "[a-d]|status|conditions|type|metadata|finalizers|managedFields|spec",
                    inner,
                    0..4
                )
                .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    /// Leaves by path, so that two managers share some of them.
    fn spec() -> impl Strategy<Value = Value> {
        prop::collection::btree_map("[a-e]", prop_oneof![Just("1"), Just("2")], 0..5).prop_flat_map(
            |methods| {
                (
                    Just(methods),
                    prop::option::of(0..3),
                    prop::option::of(prop_oneof![Just("Running"), Just("Paused")]),
                )
                    .prop_map(|(methods, limit, run)| {
                        let mut spec = json!({"methods": methods});
                        if let Some(limit) = limit {
                            spec["limits"] = json!({"maxIterations": limit});
                        }
                        if let Some(run) = run {
                            spec["run"] = json!(run);
                        }
                        spec
                    })
            },
        )
    }

    proptest! {
        #[test]
        fn apply_is_idempotent(a in spec(), b in spec()) {
            let live = applied(None, "one", T1, a);
            let once = apply(Some(&live), &agent(b.clone()), &ctx("two", T1), true, schema()).unwrap();
            let twice = apply(Some(&once), &agent(b), &ctx("two", T2), false, schema()).unwrap();
            prop_assert_eq!(once, twice);
        }

        #[test]
        fn without_force_no_field_of_another_manager_changes(a in spec(), b in spec(), c in spec()) {
            let live = applied(None, "one", T1, a.clone());
            let mut state = live;
            for next in [b, c] {
                if let Ok(new) = apply(Some(&state), &agent(next), &ctx("two", T2), false, schema()) {
                    state = new;
                }
            }
            let leaves = FieldSet::of(&a, schema().root().field("spec"));
            let diff = compare(Some(&a), Some(&state["spec"]), schema().root().field("spec").unwrap());
            prop_assert!(leaves.intersection(&diff.set).is_empty());
            prop_assert!(leaves.intersection(&diff.removed).is_empty());
        }

        #[test]
        fn a_manager_owns_exactly_what_it_applied(a in spec(), b in spec()) {
            let live = applied(None, "one", T1, a);
            let new = apply(Some(&live), &agent(b.clone()), &ctx("two", T2), true, schema()).unwrap();
            let fields = FieldSet::of(&json!({"spec": b}), Some(schema().root()));
            let entries = Entries::of(Some(&new));
            let own = entries.position(Operation::Apply, &ctx("two", T2)).map(|i| entries.0[i].fields.clone());
            prop_assert_eq!(own.unwrap_or_default(), fields);
        }

        #[test]
        fn applying_nothing_afterwards_restores_the_object_of_the_others(a in spec(), b in spec()) {
            let live = applied(None, "one", T1, a);
            if let Ok(both) = apply(Some(&live), &agent(b), &ctx("two", T2), false, schema()) {
                let without = json!({"apiVersion": "gcluster.dev/v1alpha1", "kind": "Agent", "metadata": {"name": "a"}});
                let back = apply(Some(&both), &without, &ctx("two", T2), false, schema()).unwrap();
                prop_assert_eq!(back, live);
            }
        }

        #[test]
        fn no_objects_make_it_panic(live in any_value(), config in any_value(), other in any_value(), force: bool) {
            let _ = apply(Some(&live), &config, &ctx("one", T1), force, schema());
            let mut new = other.clone();
            track_update(Some(&live), &mut new, &ctx("two", T1), schema());
            let _ = apply(Some(&new), &config, &ctx("one", T2), force, schema());
            let mut pruned = config.clone();
            schema().prune(&mut pruned);
            schema().default(&mut pruned);
            schema().validate(&pruned);
            schema().validate(&config);
            prop_assert!(schema().prune(&mut pruned).is_empty());
        }

        #[test]
        fn field_sets_read_back_as_written(value in any_value()) {
            let set = FieldSet::of(&value, Some(schema().root()));
            prop_assert_eq!(FieldSet::parse(&set.to_json()), Some(set));
        }
    }
}

#[test]
fn an_empty_list_keeps_the_fields_that_hold_it() {
    let schema = Schema::from_json(
        &json!({"type": "object", "properties": {"spec": {"type": "object", "properties": {
            "set": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}},
        }}}}),
    );
    let applied = |live: Option<&Value>, spec: Value| {
        apply(live, &agent(spec), &ctx("cli", T1), false, &schema).unwrap()
    };
    let empty = applied(None, json!({}));
    assert_eq!(applied(Some(&empty), json!({"set": []}))["spec"], json!({"set": []}));
    let filled = applied(None, json!({"set": ["x"]}));
    assert_eq!(applied(Some(&filled), json!({"set": []}))["spec"], json!({"set": []}));
}

/// An object that `kubectl apply` made on the client side: with its annotation, and a record of an update.
fn applied_by_the_client(spec: Value) -> Value {
    let mut object = agent(spec);
    let last = object.to_string();
    object["metadata"]["annotations"] = json!({"kubectl.kubernetes.io/last-applied-configuration": last});
    track_update(None, &mut object, &ctx("kubectl-client-side-apply", T1), schema());
    object
}

#[test]
fn kubectl_goes_from_the_client_side_to_the_server_side_without_conflicts() {
    let first = applied_by_the_client(json!({"definition": "d", "run": "Running"}));
    let next = applied(Some(&first), "kubectl", T2, json!({"definition": "e", "run": "Running"}));
    assert_eq!(next["spec"]["definition"], "e");
    let other = apply(Some(&first), &agent(json!({"definition": "e"})), &ctx("cli", T2), false, schema());
    assert!(matches!(other, Err(ApplyError::Conflicts(_))), "only kubectl applied it: {other:?}");
    let mut changed = first.clone();
    changed["spec"]["definition"] = json!("of another");
    track_update(Some(&first), &mut changed, &ctx("editor", T1), schema());
    let late =
        apply(Some(&changed), &agent(json!({"definition": "e"})), &ctx("kubectl", T2), false, schema());
    assert!(matches!(late, Err(ApplyError::Conflicts(_))), "somebody changed it since: {late:?}");
}

#[test]
fn an_item_that_stays_for_another_managers_field_keeps_its_key() {
    let schema = Schema::from_json(
        &json!({"type": "object", "properties": {"spec": {"type": "object", "properties": {
            "ports": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"],
                "items": {"type": "object", "required": ["name"],
                    "properties": {"name": {"type": "string"}, "port": {"type": "integer"}}}},
        }}}}),
    );
    let first = agent(json!({"ports": [{"name": "a"}]}));
    let first = apply(None, &first, &ctx("cli", T1), false, &schema).unwrap();
    let mut other = first.clone();
    other["spec"]["ports"][0]["port"] = json!(1);
    track_update(Some(&first), &mut other, &ctx("ops", T1), &schema);
    let without = agent(json!({"ports": []}));
    let last = apply(Some(&other), &without, &ctx("cli", T2), false, &schema).unwrap();
    assert_eq!(last["spec"], json!({"ports": [{"name": "a", "port": 1}]}));
}

/// A definition with methods, as `gcluster apply` sends it.
fn file(live: Option<&Value>, now: &str, methods: Value, force: bool) -> Result<Value, ApplyError> {
    let spec = json!({"definition": "d", "methods": methods});
    apply(live, &agent(spec), &ctx("gcluster", now), force, schema())
}

/// What an edit elsewhere makes of an object.
fn edited(live: &Value, methods: Value) -> Value {
    let mut new = live.clone();
    new["spec"]["methods"] = methods;
    track_update(Some(live), &mut new, &ctx("gcluster-steer:ada", T2), schema());
    new
}

fn fields(result: Result<Value, ApplyError>) -> Vec<(String, String)> {
    match result.unwrap_err() {
        ApplyError::Conflicts(conflicts) => conflicts.into_iter().map(|c| (c.field, c.manager)).collect(),
        ApplyError::Invalid(why) => panic!("{why}"),
    }
}

#[test]
fn an_edited_text_and_an_added_one_are_in_conflict_with_the_file_until_it_is_forced() {
    let first = file(None, T1, json!({"m": "x", "n": "y"}), false).unwrap();
    let live = edited(&first, json!({"m": "edited", "n": "y", "new": "z"}));
    let by = |field: &str| (field.to_owned(), "gcluster-steer:ada".to_owned());
    let refused = file(Some(&live), T2, json!({"m": "x", "n": "y"}), false);
    assert_eq!(fields(refused), [by(".spec.methods.m"), by(".spec.methods.new")]);
    let forced = file(Some(&live), T2, json!({"m": "x", "n": "y"}), true).unwrap();
    assert_eq!(forced["spec"]["methods"], json!({"m": "x", "n": "y"}));
    assert_eq!(
        forced["metadata"]["managedFields"].as_array().unwrap().len(),
        1,
        "apply owns all of it again"
    );
    let gone = file(Some(&live), T2, json!({"n": "y"}), false);
    assert_eq!(fields(gone), [by(".spec.methods.m"), by(".spec.methods.new")]);
}

#[test]
fn an_edit_that_was_taken_over_into_the_file_is_the_files_to_change() {
    let first = file(None, T1, json!({"m": "x"}), false).unwrap();
    let live = edited(&first, json!({"m": "edited"}));
    let same = file(Some(&live), T2, json!({"m": "edited"}), false).unwrap();
    let on = file(Some(&same), T2, json!({"m": "edited again"}), false).unwrap();
    assert_eq!(on["spec"]["methods"]["m"], "edited again");
    let without = file(Some(&same), T2, json!({"other": "x"}), false).unwrap();
    assert_eq!(without["spec"]["methods"], json!({"other": "x"}));
    let later = edited(&on, json!({"m": "theirs"}));
    assert_eq!(fields(file(Some(&later), T2, json!({"m": "edited again"}), false)).len(), 1);
}

#[test]
fn other_appliers_get_what_kubernetes_does() {
    let first = applied(None, "cli", T1, json!({"definition": "d", "methods": {"m": "x"}}));
    let live = edited(&first, json!({"m": "x", "new": "z"}));
    let again = applied(Some(&live), "cli", T2, json!({"definition": "d", "methods": {"m": "x"}}));
    assert_eq!(again["spec"]["methods"], json!({"m": "x", "new": "z"}));
}
