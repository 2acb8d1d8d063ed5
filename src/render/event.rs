//! Events: the list under `describe`, and the rows of `gcluster events`.

use k8s_openapi::jiff::Timestamp;
use serde_json::Value;

use super::{age, fields};

/// One event, read from either of the two views of it (core/v1 or events.k8s.io/v1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventRow {
    /// Last time it happened; absent when the event holds no time at all.
    pub last: Option<Timestamp>,
    /// How often it happened.
    pub count: i64,
    /// `Normal` or `Warning`.
    pub kind: String,
    /// One CamelCase word.
    pub reason: String,
    /// `agent/builder`.
    pub object: String,
    /// Who reported it.
    pub from: String,
    /// One sentence.
    pub message: String,
}

impl EventRow {
    /// Reads an event object. Unknown shapes give empty texts rather than errors.
    pub fn read(event: &Value) -> Self {
        let text = |paths: &[&str]| {
            paths.iter().find_map(|path| event.pointer(path)?.as_str()).unwrap_or_default().to_owned()
        };
        let time = |paths: &[&str]| paths.iter().find_map(|path| event.pointer(path)?.as_str()?.parse().ok());
        let kind = text(&["/involvedObject/kind", "/regarding/kind"]).to_lowercase();
        let name = text(&["/involvedObject/name", "/regarding/name"]);
        let count = ["/series/count", "/count", "/deprecatedCount"]
            .iter()
            .find_map(|path| event.pointer(path)?.as_i64())
            .unwrap_or(1);
        Self {
            last: time(&[
                "/series/lastObservedTime",
                "/lastTimestamp",
                "/deprecatedLastTimestamp",
                "/eventTime",
                "/metadata/creationTimestamp",
            ]),
            count: count.max(1),
            kind: text(&["/type"]),
            reason: text(&["/reason"]),
            object: format!("{kind}/{name}"),
            from: text(&["/source/component", "/reportingComponent", "/reportingController"]),
            message: text(&["/message", "/note"]).trim().to_owned(),
        }
    }

    /// `5s`, or `5s (x12)` when it happened more than once.
    pub fn age(&self, now: Timestamp) -> String {
        let age = self.last.map_or_else(|| "<unknown>".into(), |last| age::since(last, now));
        if self.count > 1 { format!("{age} (x{})", self.count) } else { age }
    }
}

/// Sorts by time, oldest first; equal times keep their order.
pub fn sorted(events: &[Value]) -> Vec<EventRow> {
    let mut rows: Vec<EventRow> = events.iter().map(EventRow::read).collect();
    rows.sort_by_key(|row| row.last);
    rows
}

/// The `Events:` section of `describe`: the newest `limit` events, oldest of them first.
pub fn section(events: &[Value], now: Timestamp, limit: usize) -> String {
    let rows = sorted(events);
    if rows.is_empty() {
        return "Events:  <none>\n".into();
    }
    let shown = &rows[rows.len().saturating_sub(limit)..];
    let cells = shown
        .iter()
        .map(|row| {
            vec![row.kind.clone(), row.reason.clone(), row.age(now), row.from.clone(), row.message.clone()]
        })
        .collect();
    format!("Events:\n{}", fields::table(&["TYPE", "REASON", "AGE", "FROM", "MESSAGE"], cells, 2))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn both_views_of_an_event_give_the_same_row() {
        let core = json!({"involvedObject": {"kind": "Agent", "name": "builder"}, "type": "Normal", "reason": "R",
            "message": "m\n", "count": 3, "lastTimestamp": "2026-01-02T03:04:05Z",
            "source": {"component": "executor"}});
        let newer = json!({"regarding": {"kind": "Agent", "name": "builder"}, "type": "Normal", "reason": "R",
            "note": "m", "series": {"count": 3, "lastObservedTime": "2026-01-02T03:04:05.000000Z"},
            "reportingController": "executor", "eventTime": "2026-01-02T03:00:00.000000Z"});
        assert_eq!(EventRow::read(&core), EventRow::read(&newer));
        let now = "2026-01-02T03:05:05Z".parse().unwrap();
        assert_eq!(EventRow::read(&core).age(now), "60s (x3)");
    }

    #[test]
    fn the_newest_events_are_kept_and_oldest_comes_first() {
        let event = |reason: &str, second: u32| {
            json!({"reason": reason, "type": "Normal", "message": "m",
                "lastTimestamp": format!("2026-01-02T03:04:{second:02}Z")})
        };
        let text = section(
            &[event("C", 3), event("A", 1), event("B", 2)],
            "2026-01-02T03:04:05Z".parse().unwrap(),
            2,
        );
        let reasons: Vec<_> = text.lines().skip(2).filter_map(|l| l.split_whitespace().nth(1)).collect();
        assert_eq!(reasons, ["B", "C"]);
        assert_eq!(section(&[], Timestamp::UNIX_EPOCH, 5), "Events:  <none>\n");
    }
}
