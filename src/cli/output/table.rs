//! Tables: the server's columns, aligned as kubectl aligns them.

use std::cmp::Ordering;
use std::collections::HashMap;

use gcluster_types::natural::natural;
use serde_json::Value;

use crate::render::{fields, visible};

/// What to show of a table, and how.
#[derive(Clone, Debug, Default)]
pub(crate) struct Show {
    /// Columns of lower priority too.
    pub(crate) wide: bool,
    /// No heading.
    pub(crate) no_headers: bool,
    /// A first column with the namespace.
    pub(crate) namespace: bool,
    /// A last column with the labels.
    pub(crate) labels: bool,
    /// Put before each name, such as `agent.gcluster.dev/`.
    pub(crate) prefix: String,
}

/// Prints tables one after another with common widths, so that rows of a watch line up.
#[derive(Debug, Default)]
pub(crate) struct Printer {
    show: Show,
    columns: Vec<Value>,
    widths: Vec<usize>,
    headed: bool,
    /// The cells of each object as a watch printed them last, but its age.
    last: HashMap<String, Vec<String>>,
}

impl Printer {
    /// A printer that has printed nothing.
    pub(crate) fn new(show: Show) -> Self {
        Self { show, ..Self::default() }
    }

    /// The text of a `meta.k8s.io/v1` Table; the heading comes with the first one that has rows.
    /// Tables of a watch after the first may come without column definitions.
    pub(crate) fn render(&mut self, table: &Value) -> String {
        if let Some(columns) = table["columnDefinitions"].as_array().filter(|columns| !columns.is_empty()) {
            self.columns.clone_from(columns);
        }
        let rows = rows(table);
        let mut lines: Vec<Vec<String>> = Vec::new();
        if !self.headed && !self.show.no_headers && !rows.is_empty() {
            lines.push(self.heading());
        }
        self.headed |= !rows.is_empty();
        lines.extend(rows.iter().map(|row| self.row(row)));
        fields::align(&lines, &mut self.widths)
    }

    /// The same for an event of a watch. Rows that look as they did when they were printed last, but for the age, are left
    /// out, unless their object is gone.
    pub(crate) fn render_changed(&mut self, mut table: Value, is_gone: bool) -> String {
        if let Some(columns) = table["columnDefinitions"].as_array().filter(|columns| !columns.is_empty()) {
            self.columns.clone_from(columns);
        }
        if let Some(rows) = table["rows"].as_array_mut() {
            rows.retain(|row| self.remember(row, is_gone));
        }
        self.render(&table)
    }

    /// Whether a row looks otherwise than the last one of its object, or is the last one.
    fn remember(&mut self, row: &Value, is_gone: bool) -> bool {
        let text = |path| row.pointer(path).and_then(Value::as_str).unwrap_or_default();
        let object = format!("{}/{}", text("/object/metadata/namespace"), text("/object/metadata/name"));
        if is_gone {
            self.last.remove(&object);
            return true;
        }
        let ages = self.shown().map(|(_, c)| c["type"] == "date" || c["name"] == "Age");
        let first = usize::from(self.show.namespace);
        let ages: Vec<usize> =
            ages.enumerate().filter_map(|(place, is)| is.then_some(place + first)).collect();
        let cells = self.row(row).into_iter().enumerate().filter(|(place, _)| !ages.contains(place));
        let cells: Vec<String> = cells.map(|(_, cell)| cell).collect();
        match self.last.get(&object) {
            Some(last) if *last == cells => false,
            _ => {
                self.last.insert(object, cells);
                true
            }
        }
    }

    fn shown(&self) -> impl Iterator<Item = (usize, &Value)> {
        let wide = self.show.wide;
        self.columns.iter().enumerate().filter(move |(_, c)| wide || c["priority"].as_i64().unwrap_or(0) == 0)
    }

    fn heading(&self) -> Vec<String> {
        let mut cells = Vec::new();
        if self.show.namespace {
            cells.push("NAMESPACE".to_owned());
        }
        cells.extend(self.shown().map(|(_, c)| c["name"].as_str().unwrap_or_default().to_uppercase()));
        if self.show.labels {
            cells.push("LABELS".to_owned());
        }
        cells
    }

    fn row(&self, row: &Value) -> Vec<String> {
        let mut cells = Vec::new();
        if self.show.namespace {
            cells.push(
                row.pointer("/object/metadata/namespace").and_then(Value::as_str).unwrap_or("").to_owned(),
            );
        }
        for (place, (index, _)) in self.shown().enumerate() {
            let text = cell(row["cells"].get(index).unwrap_or(&Value::Null));
            cells.push(if place == 0 { format!("{}{text}", self.show.prefix) } else { text });
        }
        if self.show.labels {
            let labels = row.pointer("/object/metadata/labels").and_then(Value::as_object);
            let pairs: Vec<String> = labels
                .into_iter()
                .flatten()
                .map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default()))
                .collect();
            cells.push(if pairs.is_empty() { "<none>".into() } else { pairs.join(",") });
        }
        cells
    }
}

/// The rows of a table.
pub(crate) fn rows(table: &Value) -> &[Value] {
    table["rows"].as_array().map(Vec::as_slice).unwrap_or_default()
}

/// A cell's text: one line, no control characters.
fn cell(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => {
            let mut lines = text.lines();
            let first = visible(lines.next().unwrap_or_default()).replace('\t', " ");
            if lines.next().is_some() { format!("{first}…") } else { first }
        }
        other => other.to_string(),
    }
}

/// Sorts the rows of a table by name, numbers in names by value.
pub(crate) fn sort_naturally(table: &mut Value) {
    let by_revision = column(table, "Agent").zip(column(table, "Revision"));
    let Some(rows) = table.get_mut("rows").and_then(Value::as_array_mut) else { return };
    rows.sort_by_cached_key(|row| {
        let text = |path: &str| row.pointer(path).and_then(Value::as_str).unwrap_or_default().to_owned();
        let namespace = text("/object/metadata/namespace");
        match by_revision {
            // Revisions are named after digests: their order is that of their numbers.
            Some((agent, number)) => {
                let number = row["cells"][number].as_i64().unwrap_or(0);
                (
                    Natural(namespace),
                    Natural(text(&format!("/cells/{agent}"))),
                    number,
                    Natural(text("/cells/0")),
                )
            }
            None => {
                (Natural(namespace), Natural(text("/object/metadata/name")), 0, Natural(text("/cells/0")))
            }
        }
    });
}

fn column(table: &Value, name: &str) -> Option<usize> {
    table["columnDefinitions"].as_array()?.iter().position(|c| c["name"] == name)
}

/// Text ordered by [`natural`].
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Natural(pub(crate) String);

impl Ord for Natural {
    fn cmp(&self, other: &Self) -> Ordering {
        natural(&self.0, &other.0)
    }
}

impl PartialOrd for Natural {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn iterations() -> Value {
        let row = |name: &str, phase: &str, output: Value| {
            json!({"cells": [name, phase, output], "object": {"metadata": {"name": name, "namespace": "default",
                "labels": {"step": "build"}}}})
        };
        json!({
            "columnDefinitions": [{"name": "Name"}, {"name": "Phase"}, {"name": "Output", "priority": 1}],
            "rows": [row("b.build.10", "Running", Value::Null), row("b.build.2", "Succeeded", json!("one\ntwo\u{1b}"))],
        })
    }

    #[test]
    fn tables_are_aligned_and_sorted_naturally() {
        let mut table = iterations();
        sort_naturally(&mut table);
        let plain = Printer::new(Show::default()).render(&table);
        let all = Show { wide: true, namespace: true, labels: true, prefix: "it/".into(), ..Show::default() };
        let wide = Printer::new(all).render(&table);
        crate::testing::snapshot("table", &format!("{plain}\n{wide}"));
    }

    #[test]
    fn later_rows_of_a_watch_line_up_and_carry_no_second_heading() {
        let mut printer = Printer::new(Show::default());
        let first = printer.render(&iterations());
        let later = printer.render(&json!({"rows": [{"cells": ["b.x", "Failed", null]}]}));
        assert_eq!(later, "b.x          Failed\n");
        assert_eq!(first.lines().next(), Some("NAME         PHASE"));
    }

    #[test]
    fn an_event_of_a_watch_is_printed_when_it_shows() {
        let mut printer = Printer::new(Show { namespace: true, ..Show::default() });
        let mut event = |name: &str, phase: &str, age: &str, why: &str, is_gone| {
            let columns = json!([{"name": "Name"}, {"name": "Age", "type": "date"}, {"name": "Phase"},
                {"name": "Why", "priority": 1}]);
            let row = json!({"cells": [name, age, phase, why], "object": {"metadata": {"name": name, "namespace": "n"}}});
            let printed =
                printer.render_changed(json!({"columnDefinitions": columns, "rows": [row]}), is_gone);
            printed.lines().filter(|line| !line.starts_with("NAMESPACE")).count()
        };
        assert_eq!(event("a", "Ready", "1s", "x", false), 1);
        assert_eq!(event("a", "Ready", "2s", "y", false), 0, "only the age, and what is not shown");
        assert_eq!(event("b", "Ready", "2s", "", false), 1);
        assert_eq!(event("a", "Working", "3s", "", false), 1);
        assert_eq!(event("a", "Working", "4s", "", true), 1, "it is gone");
        assert_eq!(event("a", "Working", "0s", "", false), 1, "another one of that name");
    }

    #[test]
    fn revisions_are_sorted_by_agent_and_number() {
        let row = |name: &str, agent: &str, n: i64| json!({"cells": [name, agent, n], "object": {}});
        let mut table = json!({"columnDefinitions": [{"name": "Name"}, {"name": "Agent"}, {"name": "Revision"}],
            "rows": [row("b-1", "b", 1), row("a-aa", "a", 10), row("a-ff", "a", 9)]});
        sort_naturally(&mut table);
        let names: Vec<_> = rows(&table).iter().map(|r| r["cells"][0].as_str().unwrap()).collect();
        assert_eq!(names, ["a-ff", "a-aa", "b-1"]);
    }

    #[test]
    fn an_empty_table_prints_nothing() {
        assert_eq!(Printer::new(Show::default()).render(&json!({"rows": []})), "");
    }

    proptest! {
        #[test]
        fn natural_order_is_a_total_order(mut texts in proptest::collection::vec("[a0.9]{0,6}", 0..8)) {
            texts.sort_by(|a, b| natural(a, b));
            for pair in texts.windows(2) {
                prop_assert_ne!(natural(&pair[0], &pair[1]), Ordering::Greater);
                prop_assert_eq!(natural(&pair[0], &pair[1]).reverse(), natural(&pair[1], &pair[0]));
            }
        }
    }
}
