//! Two views on one event: core/v1, which kubectl reads, and events.k8s.io/v1, which is stored.
//!
//! The two say the same under different names, so that each converts into the other without loss:
//!
//! | core/v1 | events.k8s.io/v1 |
//! | --- | --- |
//! | `involvedObject` | `regarding` |
//! | `message` | `note` |
//! | `source`, `count` | `deprecatedSource`, `deprecatedCount` |
//! | `firstTimestamp`, `lastTimestamp` | `deprecatedFirstTimestamp`, `deprecatedLastTimestamp` |
//! | `reportingComponent` | `reportingController` |

use serde_json::{Map, Value};

/// API version of the core view.
pub const CORE: &str = "v1";
/// API version of the other view, in which events are stored.
pub const EVENTS: &str = "events.k8s.io/v1";

/// Names in core/v1 and in events.k8s.io/v1.
const NAMES: [(&str, &str); 7] = [
    ("involvedObject", "regarding"),
    ("message", "note"),
    ("source", "deprecatedSource"),
    ("firstTimestamp", "deprecatedFirstTimestamp"),
    ("lastTimestamp", "deprecatedLastTimestamp"),
    ("count", "deprecatedCount"),
    ("reportingComponent", "reportingController"),
];

/// An event of either form as core/v1.
pub fn to_core(event: &Value) -> Value {
    convert(event, CORE, |name| NAMES.iter().find(|(_, new)| *new == name).map(|(core, _)| *core))
}

/// Adds the times and the count of a core event that says them only in `eventTime` and `series`, as those of
/// the newer API do: people sort events by `lastTimestamp`.
pub(crate) fn add_times(event: &mut Value) {
    let text = |path: &str| event.pointer(path).and_then(Value::as_str);
    let Some(first) = text("/eventTime").map(to_seconds) else { return };
    let last = text("/series/lastObservedTime").map_or_else(|| first.clone(), to_seconds);
    let count = event.pointer("/series/count").and_then(Value::as_i64).unwrap_or(1);
    let Some(event) = event.as_object_mut() else { return };
    for (name, value) in
        [("firstTimestamp", first.into()), ("lastTimestamp", last.into()), ("count", count.into())]
    {
        let stated: &mut Value = event.entry(name).or_insert(Value::Null);
        if stated.is_null() {
            *stated = value;
        }
    }
}

/// A time without its fraction of a second.
fn to_seconds(time: &str) -> String {
    match time.split_once('.') {
        Some((seconds, _)) => format!("{seconds}Z"),
        None => time.to_owned(),
    }
}

/// An event of either form as events.k8s.io/v1.
pub fn to_events(event: &Value) -> Value {
    convert(event, EVENTS, |name| NAMES.iter().find(|(core, _)| *core == name).map(|(_, new)| *new))
}

fn convert(event: &Value, version: &str, rename: impl Fn(&str) -> Option<&'static str>) -> Value {
    let Value::Object(map) = event else { return event.clone() };
    let mut out: Map<String, Value> =
        map.iter().map(|(name, value)| (rename(name).unwrap_or(name).to_owned(), value.clone())).collect();
    out.insert("apiVersion".into(), version.into());
    if let Some(Value::Array(entries)) = out.get_mut("metadata").and_then(|m| m.get_mut("managedFields")) {
        for entry in entries {
            convert_managed(entry, version, &rename);
        }
    }
    Value::Object(out)
}

/// Field owners follow their fields, so that both views agree on who owns what.
fn convert_managed(entry: &mut Value, version: &str, rename: impl Fn(&str) -> Option<&'static str>) {
    let Value::Object(entry) = entry else { return };
    if entry.contains_key("apiVersion") {
        entry.insert("apiVersion".into(), version.into());
    }
    let Some(Value::Object(fields)) = entry.get_mut("fieldsV1") else { return };
    *fields = std::mem::take(fields)
        .into_iter()
        .map(|(element, value)| match element.strip_prefix("f:").and_then(&rename) {
            Some(name) => (format!("f:{name}"), value),
            None => (element, value),
        })
        .collect();
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn core() -> Value {
        json!({
            "apiVersion": "v1", "kind": "Event",
            "metadata": {"name": "e", "namespace": "default", "managedFields": [{
                "manager": "m", "operation": "Update", "apiVersion": "v1", "fieldsType": "FieldsV1",
                "fieldsV1": {"f:involvedObject": {}, "f:message": {}, "f:reason": {}},
            }]},
            "involvedObject": {"kind": "Agent", "name": "a", "namespace": "default"},
            "reason": "Started", "message": "text", "source": {"component": "executor"},
            "firstTimestamp": "2026-01-01T00:00:00Z", "lastTimestamp": "2026-01-01T00:00:01Z", "count": 2,
            "type": "Normal", "eventTime": "2026-01-01T00:00:00.000001Z", "action": "Start",
            "series": {"count": 3, "lastObservedTime": "2026-01-01T00:00:00.000001Z"},
            "related": {"kind": "Iteration"}, "reportingComponent": "c", "reportingInstance": "i",
        })
    }

    #[test]
    fn each_field_has_its_name_in_the_other_view() {
        let event = to_events(&core());
        assert_eq!(event["apiVersion"], EVENTS);
        assert_eq!(event["regarding"]["name"], "a");
        assert_eq!((&event["note"], &event["deprecatedCount"]), (&json!("text"), &json!(2)));
        assert_eq!(event["deprecatedSource"]["component"], "executor");
        assert_eq!(event["reportingController"], "c");
        assert!(event.get("involvedObject").is_none());
        assert_eq!(
            event["metadata"]["managedFields"][0]["fieldsV1"],
            json!({"f:regarding": {}, "f:note": {}, "f:reason": {}})
        );
    }

    #[test]
    fn nothing_is_lost_either_way() {
        let events = to_events(&core());
        assert_eq!(to_core(&events), core());
        assert_eq!(to_events(&to_core(&events)), events);
        assert_eq!(to_core(&core()), core());
        assert_eq!(to_events(&events), events);
    }

    #[test]
    fn an_event_of_the_newer_api_has_the_times_of_the_older() {
        let series = json!({"count": 3, "lastObservedTime": "2026-01-01T00:01:00.000001Z"});
        let mut event = json!({"eventTime": "2026-01-01T00:00:00.000001Z"});
        add_times(&mut event);
        assert_eq!(event["lastTimestamp"], "2026-01-01T00:00:00Z");
        let mut event = json!({"eventTime": "2026-01-01T00:00:00.000001Z", "series": series});
        add_times(&mut event);
        assert_eq!(event["firstTimestamp"], "2026-01-01T00:00:00Z");
        assert_eq!((&event["lastTimestamp"], &event["count"]), (&json!("2026-01-01T00:01:00Z"), &json!(3)));
        let mut stated = core();
        add_times(&mut stated);
        assert_eq!(stated, core(), "what an event says itself stays");
    }

    #[test]
    fn both_views_fit_their_schemas() {
        let registry = crate::kinds::Registry::new(Vec::new());
        for (group, event) in [("", core()), ("events.k8s.io", to_events(&core()))] {
            let schema = &registry.by_resource(group, "v1", "events").unwrap().schema;
            let mut pruned = event.clone();
            assert!(schema.prune(&mut pruned).is_empty());
            assert_eq!(pruned, event);
            assert_eq!(schema.validate(&event), []);
        }
    }
}
