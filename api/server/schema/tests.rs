use super::*;

fn agents() -> Schema {
    let crd = gcluster_types::kinds::crds().remove(0);
    Schema::from_props(crd.spec.versions[0].schema.as_ref().unwrap().open_api_v3_schema.as_ref().unwrap())
}

fn agent(spec: Value) -> Value {
    json!({"apiVersion": "gcluster.dev/v1alpha1", "kind": "Agent", "metadata": {"name": "a"}, "spec": spec})
}

fn errors(schema: &Schema, value: &Value) -> Vec<String> {
    schema.validate(value).iter().map(ToString::to_string).collect()
}

#[test]
fn a_valid_agent_has_no_errors() {
    let mut agent = agent(
        json!({"definition": "(defagent a)", "limits": {"maxIterations": 3, "iterationTimeout": "1h30m"}}),
    );
    assert_eq!(agents().prune(&mut agent), Vec::<String>::new());
    agents().default(&mut agent);
    assert_eq!(errors(&agents(), &agent), Vec::<String>::new());
    assert_eq!(agent["spec"]["run"], "Running");
    assert_eq!(agent["spec"]["iterationHistoryLimit"], 100);
    assert_eq!(agent.get("status"), None);
}

#[test]
fn all_errors_come_at_once_in_the_words_of_kubernetes() {
    let agent = agent(json!({
        "definition": "",
        "run": "Foo",
        "iterationHistoryLimit": 0,
        "revisionHistoryLimit": "x",
        "backend": {"env": [{"value": "v"}, {"name": ""}]},
        "limits": {"iterationTimeout": "soon", "maxIterations": 1.5},
    }));
    let all = errors(&agents(), &agent);
    insta::with_settings!({
        snapshot_path => concat!(env!("CARGO_MANIFEST_DIR"), "/../../snapshots/api"),
        prepend_module_to_snapshot => false,
    }, { insta::assert_snapshot!("validation_errors", all.join("\n")) });
}

#[test]
fn a_missing_spec_is_required() {
    let errors = agents().validate(&json!({"apiVersion": "gcluster.dev/v1alpha1", "kind": "Agent"}));
    assert_eq!(errors.len(), 1);
    assert_eq!(errors[0].to_string(), "spec: Required value");
    assert_eq!(errors[0].reason.as_str(), "FieldValueRequired");
}

#[test]
fn unknown_fields_are_named_and_removed() {
    let mut agent = agent(json!({
        "definition": "d", "foo": 1, "methods": {"any": "kept"},
        "backend": {"env": [{"name": "A", "valu": "x"}]},
    }));
    agent["metadata"]["labls"] = json!({});
    agent["top"] = json!(1);
    assert_eq!(agents().prune(&mut agent), ["metadata.labls", "spec.backend.env[0].valu", "spec.foo", "top"]);
    assert_eq!(agent["spec"]["methods"]["any"], "kept");
    assert!(agent["spec"].get("foo").is_none() && agent.get("top").is_none());
}

#[test]
fn null_is_kept_where_nullable_and_absent_in_metadata() {
    let mut agent = agent(json!({"definition": "d", "limits": null, "run": null}));
    agent["metadata"]["creationTimestamp"] = json!(null);
    assert!(agents().prune(&mut agent).is_empty());
    agents().default(&mut agent);
    assert_eq!(agent["spec"]["run"], "Running");
    assert!(agent["spec"]["limits"].is_null());
    assert!(agent["metadata"].get("creationTimestamp").is_none());
    assert!(errors(&agents(), &agent).is_empty());
}

/// One row per rule: schema, value, the error it gives.
#[test]
fn each_rule_refuses_what_it_should() {
    let rows = [
        (
            json!({"type": "integer", "minimum": 1}),
            json!(0),
            "x: Invalid value: 0: x in body should be greater than or equal to 1",
        ),
        (
            json!({"type": "number", "maximum": 1.5}),
            json!(2),
            "x: Invalid value: 2: x in body should be less than or equal to 1.5",
        ),
        (
            json!({"type": "number", "minimum": 1, "exclusiveMinimum": true}),
            json!(1),
            "x: Invalid value: 1: x in body should be greater than 1",
        ),
        (
            json!({"type": "integer", "multipleOf": 5}),
            json!(7),
            "x: Invalid value: 7: x in body should be a multiple of 5",
        ),
        (
            json!({"type": "integer", "format": "int32"}),
            json!(3_000_000_000_i64),
            "x: Invalid value: 3000000000: x in body must be of type int32: \"3000000000\"",
        ),
        (
            json!({"type": "integer"}),
            json!(1.0),
            "x: Invalid value: \"number\": x in body must be of type integer: \"number\"",
        ),
        (
            json!({"type": "string", "maxLength": 2}),
            json!("abc"),
            "x: Too long: may not be more than 2 bytes",
        ),
        (
            json!({"type": "string", "pattern": "^a+$"}),
            json!("b"),
            "x: Invalid value: \"b\": x in body should match '^a+$'",
        ),
        (
            json!({"type": "string", "format": "date-time"}),
            json!("today"),
            "x: Invalid value: \"today\": x in body must be of type date-time: \"today\"",
        ),
        (
            json!({"type": "array", "maxItems": 1, "items": {"type": "string"}}),
            json!(["a", "b"]),
            "x: Too many: 2: must have at most 1 items",
        ),
        (
            json!({"type": "array", "minItems": 1}),
            json!([]),
            "x: Invalid value: 0: x in body should have at least 1 items",
        ),
        (
            json!({"type": "array", "x-kubernetes-list-type": "set"}),
            json!(["a", "a"]),
            "x[1]: Duplicate value: \"a\"",
        ),
        (
            json!({"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k"]}),
            json!([{"k": 1}, {"k": 1}]),
            "x[1]: Duplicate value: {\"k\":1}",
        ),
        (
            json!({"type": "object", "additionalProperties": {"type": "string"}}),
            json!({"k": 1}),
            "x.k: Invalid value: \"integer\": x.k in body must be of type string: \"integer\"",
        ),
        (
            json!({"x-kubernetes-int-or-string": true}),
            json!(true),
            "x: Invalid value: \"boolean\": x in body must be of type integer or string: \"boolean\"",
        ),
        (
            json!({"type": "string"}),
            json!(null),
            "x: Invalid value: \"null\": x in body must be of type string: \"null\"",
        ),
        (
            json!({"anyOf": [{"type": "string"}, {"type": "boolean"}]}),
            json!(1),
            "x: Invalid value: 1: \"x\" must validate at least one schema (anyOf)",
        ),
        (
            json!({"not": {"type": "string"}}),
            json!("s"),
            "x: Invalid value: \"s\": \"x\" must not validate the schema (not)",
        ),
    ];
    for (schema, value, expected) in rows {
        let schema = Schema::from_json(&json!({"type": "object", "properties": {"x": schema}}));
        assert_eq!(errors(&schema, &json!({"x": value})), [expected]);
    }
}

#[test]
fn every_value_that_each_rule_allows_passes() {
    let rows = [
        (json!({"type": "integer", "minimum": 1}), json!(1)),
        (json!({"type": "string", "maxLength": 2}), json!("äö")),
        (json!({"type": "string", "format": "date-time"}), json!("2026-01-02T03:04:05.123456Z")),
        (json!({"type": "string", "format": "date-time"}), json!("2026-01-02T03:04:05+02:00")),
        (json!({"x-kubernetes-int-or-string": true}), json!("50%")),
        (json!({"x-kubernetes-preserve-unknown-fields": true}), json!({"a": [{"b": null}]})),
        (json!({"oneOf": [{"type": "string"}, {"type": "boolean"}]}), json!("s")),
        (json!({"type": "string", "nullable": true}), json!(null)),
    ];
    for (schema, value) in rows {
        let schema = Schema::from_json(&json!({"type": "object", "properties": {"x": schema}}));
        let mut object = json!({"x": value});
        assert!(schema.prune(&mut object).is_empty());
        assert_eq!(errors(&schema, &object), Vec::<String>::new(), "{object}");
    }
}

#[test]
fn built_in_kinds_take_what_go_clients_send() {
    let registry = crate::kinds::Registry::new(Vec::new());
    let event = &registry.by_resource("", "v1", "events").unwrap().schema;
    let mut sent = json!({
        "apiVersion": "v1", "kind": "Event", "metadata": {"name": "e", "namespace": "default", "creationTimestamp": null},
        "involvedObject": {"kind": "Agent", "name": "a"}, "reason": "R", "message": "m", "source": {"component": "c"},
        "firstTimestamp": "2026-01-02T03:04:05Z", "lastTimestamp": null, "eventTime": null, "count": 1, "type": "Normal",
        "reportingComponent": "", "reportingInstance": "",
    });
    assert!(event.prune(&mut sent).is_empty());
    event.default(&mut sent);
    assert_eq!(errors(event, &sent), Vec::<String>::new());
    assert!(sent.get("eventTime").is_none());
}

#[test]
fn depth_is_measured_without_recursion() {
    let mut deep = json!({});
    for _ in 0..MAX_DEPTH {
        deep = json!({"a": deep});
    }
    assert!(too_deep(&deep));
    assert!(!too_deep(&deep["a"]));
}

#[test]
fn a_schema_that_refers_to_itself_ends() {
    let schema = json!({"$defs": {"T": {"type": "object", "properties": {"t": {"$ref": "#/$defs/T"}}}}, "$ref": "#/$defs/T"});
    let schema = Schema::from_builtin(&schema);
    let mut object = json!({"t": {"t": {"anything": 1}}});
    assert!(schema.prune(&mut object).is_empty());
    assert!(errors(&schema, &object).is_empty());
}
