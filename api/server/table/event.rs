//! Cells of events, which are computed from several fields.

use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};

use super::age;

/// A column of events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cell {
    LastSeen,
    Type,
    Reason,
    Object,
    Subobject,
    Source,
    Message,
    FirstSeen,
    Count,
    Name,
}

/// Heading, type, priority and description of each column.
pub(super) const COLUMNS: [(&str, &str, i32, &str, Cell); 10] = [
    ("Last Seen", "string", 0, "When it occurred last.", Cell::LastSeen),
    ("Type", "string", 0, "Normal or Warning.", Cell::Type),
    ("Reason", "string", 0, "Why, in one CamelCase word.", Cell::Reason),
    ("Object", "string", 0, "The object that it is about.", Cell::Object),
    ("Subobject", "string", 1, "The part of the object that it is about.", Cell::Subobject),
    ("Source", "string", 1, "The component that reported it.", Cell::Source),
    ("Message", "string", 0, "What happened, for people.", Cell::Message),
    ("First Seen", "string", 1, "When it occurred first.", Cell::FirstSeen),
    ("Count", "integer", 1, "How often it occurred.", Cell::Count),
    ("Name", "string", 1, "Name of the event.", Cell::Name),
];

impl Cell {
    /// The cell of an event in its core view.
    pub(super) fn value(self, event: &Value, now: Timestamp) -> Value {
        match self {
            Cell::LastSeen => last_seen(event, now).into(),
            Cell::Type => text(event, "/type").into(),
            Cell::Reason => text(event, "/reason").into(),
            Cell::Object => {
                let kind = text(event, "/involvedObject/kind").to_lowercase();
                match text(event, "/involvedObject/name") {
                    "" => kind.into(),
                    name => format!("{kind}/{name}").into(),
                }
            }
            Cell::Subobject => text(event, "/involvedObject/fieldPath").into(),
            Cell::Source => source(event).into(),
            Cell::Message => text(event, "/message").trim().into(),
            Cell::FirstSeen => first_seen(event, now).into(),
            Cell::Count => {
                let number = |path| event.pointer(path).and_then(Value::as_i64).filter(|count| *count > 0);
                json!(number("/series/count").or_else(|| number("/count")).unwrap_or(1))
            }
            Cell::Name => text(event, "/metadata/name").into(),
        }
    }
}

fn text<'v>(event: &'v Value, path: &str) -> &'v str {
    event.pointer(path).and_then(Value::as_str).unwrap_or_default()
}

fn first_of<'v>(event: &'v Value, paths: &[&str]) -> &'v str {
    paths.iter().map(|path| text(event, path)).find(|text| !text.is_empty()).unwrap_or_default()
}

fn first_seen(event: &Value, now: Timestamp) -> String {
    age::since(first_of(event, &["/firstTimestamp", "/eventTime"]), now)
}

fn last_seen(event: &Value, now: Timestamp) -> String {
    let paths = ["/series/lastObservedTime", "/lastTimestamp", "/firstTimestamp", "/eventTime"];
    age::since(first_of(event, &paths), now)
}

fn source(event: &Value) -> String {
    let component = first_of(event, &["/source/component", "/reportingComponent"]);
    match first_of(event, &["/source/host", "/reportingInstance"]) {
        "" => component.into(),
        host => format!("{component}, {host}"),
    }
}
