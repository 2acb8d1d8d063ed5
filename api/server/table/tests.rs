use serde_json::json;

use super::*;
use crate::kinds::Registry;

macro_rules! snapshot {
    ($name:expr, $value:expr) => {
        insta::with_settings!({
            snapshot_path => concat!(env!("CARGO_MANIFEST_DIR"), "/../../snapshots/api"),
            prepend_module_to_snapshot => false,
        }, { insta::assert_snapshot!($name, $value) })
    };
}

fn registry() -> Registry {
    Registry::new(gcluster_types::kinds::crds())
}

fn now() -> Timestamp {
    "2026-01-01T03:12:30Z".parse().unwrap()
}

/// A table as kubectl prints it with `-o wide`.
fn printed(table: &Value) -> String {
    let heads = table["columnDefinitions"].as_array().unwrap().iter();
    let heads = heads.map(|c| c["name"].as_str().unwrap().to_uppercase()).collect::<Vec<_>>().join(" | ");
    let cell = |cell: &Value| cell.as_str().map_or_else(|| cell.to_string(), str::to_owned);
    let rows = table["rows"].as_array().unwrap().iter();
    let rows = rows.map(|r| r["cells"].as_array().unwrap().iter().map(cell).collect::<Vec<_>>().join(" | "));
    std::iter::once(heads).chain(rows).collect::<Vec<_>>().join("\n")
}

#[test]
fn agents_have_the_columns_of_their_definition() {
    let registry = registry();
    let agents = registry.by_resource("gcluster.dev", "v1alpha1", "agents").unwrap();
    let new = json!({"metadata": {"name": "new", "creationTimestamp": "2026-01-01T03:12:00Z"}, "spec": {}});
    let old = json!({
        "metadata": {"name": "old", "creationTimestamp": "2025-12-30T00:00:00Z"},
        "spec": {"workingDirectory": "/repo"},
        "status": {"runState": "running", "currentRevision": 2, "iterations": {"total": 7}, "backend": "claude",
            "lastIterationTime": "2026-01-01T00:00:00.123456Z", "tokens": {"total": 1234}, "cost": "$1.20"},
    });
    let meta = json!({"resourceVersion": "9"});
    let table = render(agents, &[&new, &old], meta, IncludeObject::Metadata, true, now());
    snapshot!("table_agents", printed(&table));
    assert_eq!(table["metadata"]["resourceVersion"], "9");
    assert_eq!(table["columnDefinitions"][0]["format"], "name");
    assert_eq!(table["rows"][0]["object"]["kind"], "PartialObjectMetadata");
    assert_eq!(table["rows"][0]["cells"][1], Value::Null);
    let table = render(agents, &[&new], json!({}), IncludeObject::Object, false, now());
    assert_eq!(table["rows"][0]["object"], new);
    assert_eq!(table["columnDefinitions"], json!([]));
    let table = render(agents, &[&new], json!({}), IncludeObject::None, false, now());
    assert_eq!(table["rows"][0]["object"], Value::Null);
}

#[test]
fn both_views_of_an_event_print_alike() {
    let registry = registry();
    let event = json!({
        "metadata": {"name": "a.1"}, "type": "Warning", "reason": "BackingOff", "message": "failed twice\n",
        "involvedObject": {"kind": "Agent", "name": "builder"}, "eventTime": "2026-01-01T03:10:00.5Z",
        "reportingComponent": "executor", "reportingInstance": "host",
        "series": {"count": 3, "lastObservedTime": "2026-01-01T03:12:20.5Z"},
    });
    let table = |group: &str, event: &Value| {
        let kind = registry.by_resource(group, "v1", "events").unwrap();
        render(kind, &[event], json!({}), IncludeObject::None, true, now())
    };
    let core = table("", &event);
    assert_eq!(core, table("events.k8s.io", &events_view::to_events(&event)));
    snapshot!("table_events", printed(&core));
}

#[test]
fn namespaces_and_leases_have_the_columns_that_kubectl_users_know() {
    let registry = registry();
    let created = "2026-01-01T03:02:30Z";
    let namespace =
        json!({"metadata": {"name": "default", "creationTimestamp": created}, "status": {"phase": "Active"}});
    let kind = registry.by_resource("", "v1", "namespaces").unwrap();
    let table = render(kind, &[&namespace], json!({}), IncludeObject::None, true, now());
    assert_eq!(printed(&table), "NAME | STATUS | AGE\ndefault | Active | 10m");
    let lease =
        json!({"metadata": {"name": "l", "creationTimestamp": created}, "spec": {"holderIdentity": "me"}});
    let kind = registry.by_resource("coordination.k8s.io", "v1", "leases").unwrap();
    let table = render(kind, &[&lease], json!({}), IncludeObject::None, true, now());
    assert_eq!(printed(&table), "NAME | HOLDER | AGE\nl | me | 10m");
}

#[test]
fn ages_read_as_in_kubectl() {
    const H: i64 = 3600;
    const D: i64 = 24 * H;
    let rows = [
        (-5, "<invalid>"),
        (-1, "0s"),
        (0, "0s"),
        (119, "119s"),
        (120, "2m"),
        (330, "5m30s"),
        (600, "10m"),
        (179 * 60, "179m"),
        (3 * H + 720, "3h12m"),
        (7 * H, "7h"),
        (8 * H + 60, "8h"),
        (47 * H, "47h"),
        (2 * D, "2d"),
        (3 * D + H, "3d1h"),
        (8 * D, "8d"),
        (729 * D, "729d"),
        (2 * 365 * D, "2y"),
        (3 * 365 * D + 40 * D, "3y40d"),
        (9 * 365 * D, "9y"),
    ];
    for (seconds, expected) in rows {
        assert_eq!(human_duration(seconds), expected, "{seconds}");
    }
    assert_eq!(age::since("soon", now()), "<invalid>");
    assert_eq!(age::since("", now()), "<unknown>");
}

#[test]
fn paths_find_what_kubectl_would() {
    let value = json!({
        "a": {"b": [1, 2, {"c": "d"}]}, "x.y": "dotted",
        "conditions": [{"type": "Ready", "status": "True", "n": 1}, {"type": "Other]", "status": "False", "n": 2}],
    });
    let rows = [
        (".a.b[0]", json!([1])),
        ("{.a.b[-1].c}", json!(["d"])),
        ("$.a.b[2]['c']", json!(["d"])),
        (".a.b[9]", json!([])),
        ("['x.y']", json!(["dotted"])),
        (".x\\.y", json!(["dotted"])),
        (".conditions[?(@.type==\"Ready\")].status", json!(["True"])),
        (".conditions[?(@.type == 'Other]')].status", json!(["False"])),
        (".conditions[?(@.n>1)].type", json!(["Other]"])),
        (".conditions[?(@.n!=1)].type", json!(["Other]"])),
        (".conditions[?(@.n)].n", json!([1, 2])),
        (".conditions[*].type", json!(["Ready", "Other]"])),
        (".a.b.c", json!([])),
        ("", json!([value.clone()])),
    ];
    for (path, expected) in rows {
        assert_eq!(json!(JsonPath::parse(path).all(&value)), expected, "{path}");
    }
    for broken in ["..a", ".a[", ".a[x]", ".a[?(type)]", ".a.", "[0]b"] {
        assert!(!JsonPath::parse(broken).is_valid(), "{broken}");
        assert!(JsonPath::parse(broken).all(&value).is_empty());
    }
}

proptest::proptest! {
    #[test]
    fn no_path_makes_it_panic(text in "[.a*\\[\\]?(@)='\"\\\\$0-9{}<-]{0,24}") {
        JsonPath::parse(&text).all(&json!({"a": [{"a": 1}]}));
    }
}

/// What a terminal shows without `-o wide`: columns three blanks apart.
fn aligned(table: &Value) -> String {
    let columns = table["columnDefinitions"].as_array().unwrap();
    let shown: Vec<usize> = (0..columns.len()).filter(|n| columns[*n]["priority"] == 0).collect();
    let head = shown.iter().map(|n| columns[*n]["name"].as_str().unwrap().to_uppercase()).collect::<Vec<_>>();
    let cell = |cell: &Value| match cell {
        Value::Null => String::new(),
        cell => cell.as_str().map_or_else(|| cell.to_string(), str::to_owned),
    };
    let rows = table["rows"].as_array().unwrap().iter();
    let rows = rows.map(|row| shown.iter().map(|n| cell(&row["cells"][n])).collect::<Vec<_>>());
    let rows: Vec<Vec<String>> = std::iter::once(head).chain(rows).collect();
    let widest = |n: usize| rows.iter().map(|row| row[n].chars().count()).max().unwrap_or(0);
    let line = |row: &Vec<String>| {
        let cells = row.iter().enumerate().map(|(n, cell)| format!("{cell:<width$}", width = widest(n)));
        cells.collect::<Vec<_>>().join("   ").trim_end().to_owned() + "\n"
    };
    rows.iter().map(line).collect()
}

#[test]
fn tickets_and_what_serves_them_are_read_in_a_hundred_columns() {
    let registry = registry();
    let of = |plural: &str, name: &str, spec: Value, status: Value| {
        let kind = registry.by_resource("gcluster.dev", "v1alpha1", plural).unwrap();
        let meta = json!({"name": name, "creationTimestamp": "2026-01-01T02:12:00Z"});
        let object = json!({"metadata": meta, "spec": spec, "status": status});
        let text = aligned(&render(kind, &[&object], json!({}), IncludeObject::None, true, now()));
        assert!(text.lines().all(|line| line.chars().count() <= 100), "{text}");
        format!("{plural}\n{text}")
    };
    let tables = [
        of(
            "tickets",
            "t-1034",
            json!({"title": "Show avatars in the list", "priority": 2}),
            json!({"phase": "Reviewing", "reason": "NeedsHuman", "reviewRounds": 3}),
        ),
        of(
            "workerpools",
            "builders",
            json!({"replicas": 12}),
            json!({"busy": 3, "ready": 7, "merged": 120, "failed": 1}),
        ),
        of(
            "workspaces",
            "t-1034",
            json!({"ticket": "t-1034", "branch": "agent-12/feat-t-1034"}),
            json!({"phase": "Ready", "size": "1.6 MiB", "kept": "ticket failed; removed after 24h"}),
        ),
        of(
            "checks",
            "app-0e83037255e9-quick",
            json!({"repository": "app", "ref": "refs/heads/agent-12/feat-t-1034"}),
            json!({"phase": "Failed", "reason": "ExitCode"}),
        ),
        of(
            "reviews",
            "t-1034-review-2",
            json!({"ticket": "t-1034", "round": 2}),
            json!({"phase": "Done", "verdict": "ChangesRequested", "count": 4}),
        ),
        of(
            "merges",
            "t-1034-merge-2",
            json!({"ticket": "t-1034"}),
            json!({"phase": "Rejected", "reason": "Conflict"}),
        ),
    ];
    snapshot!("table_ticket_kinds", tables.join("\n"));
}
