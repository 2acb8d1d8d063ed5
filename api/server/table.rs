//! `meta.k8s.io/v1` Table: rows as `kubectl get` prints them.

mod age;
mod event;
mod path;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinitionVersion;
use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};

pub use age::human_duration;
pub use path::JsonPath;

use crate::events_view;
use crate::kinds::Kind;

/// Renders objects as a table. `list_meta` becomes its `metadata`; `definitions` says whether the
/// column definitions are sent (a watch sends them with its first event only); `now` is what ages
/// count from.
pub fn render(
    kind: &Kind,
    objects: &[&Value],
    list_meta: Value,
    include: IncludeObject,
    definitions: bool,
    now: Timestamp,
) -> Value {
    let columns: Value =
        if definitions { kind.columns.iter().map(Column::definition).collect() } else { json!([]) };
    let rows: Vec<Value> = objects
        .iter()
        .map(|object| json!({"cells": cells(kind, object, now), "object": include.part_of(object)}))
        .collect();
    json!({
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": list_meta,
        "columnDefinitions": columns,
        "rows": rows,
    })
}

/// How much of each object a row carries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum IncludeObject {
    /// Nothing.
    None,
    /// `PartialObjectMetadata`; the default.
    #[default]
    Metadata,
    /// The object.
    Object,
}

impl IncludeObject {
    /// Reads the query parameter `includeObject`; an empty one is the default.
    pub fn parse(value: &str) -> Option<IncludeObject> {
        match value {
            "" | "Metadata" => Some(IncludeObject::Metadata),
            "None" => Some(IncludeObject::None),
            "Object" => Some(IncludeObject::Object),
            _ => None,
        }
    }

    fn part_of(self, object: &Value) -> Value {
        match self {
            IncludeObject::None => Value::Null,
            IncludeObject::Metadata => partial_metadata(object),
            IncludeObject::Object => object.clone(),
        }
    }
}

/// `PartialObjectMetadata` of an object.
pub fn partial_metadata(object: &Value) -> Value {
    let metadata = object.get("metadata").cloned().unwrap_or_else(|| json!({}));
    json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": metadata})
}

fn cells(kind: &Kind, object: &Value, now: Timestamp) -> Vec<Value> {
    // Both views of an event print alike; its cells are computed from the core view.
    let core = kind.columns.iter().any(|column| matches!(column.source, Source::Event(_)));
    let core = core.then(|| events_view::to_core(object));
    let object = core.as_ref().unwrap_or(object);
    kind.columns.iter().map(|column| column.cell(object, now)).collect()
}

/// One column of a table.
#[derive(Clone, Debug)]
pub struct Column {
    /// Heading.
    pub name: String,
    /// `string`, `integer`, `number`, `boolean` or `date`.
    pub kind: String,
    /// `name` for the column that names the object, else as the definition says.
    pub format: String,
    /// What it shows.
    pub description: String,
    /// 0 is always shown, above that in wide output.
    pub priority: i32,
    source: Source,
}

/// Where a cell comes from.
#[derive(Clone, Debug)]
enum Source {
    Path(JsonPath),
    /// How many entries these maps of the object have together.
    Entries(&'static [&'static str]),
    Event(event::Cell),
}

impl Column {
    /// The column that names the object; always the first but for events.
    pub(crate) fn name() -> Column {
        let description = "Name must be unique within a namespace.";
        Column { format: "name".into(), ..Column::new("Name", "string", ".metadata.name", 0, description) }
    }

    /// Time since the object was created.
    pub(crate) fn age() -> Column {
        Column::new("Age", "date", ".metadata.creationTimestamp", 0, "Time since the object was created.")
    }

    pub(crate) fn new(name: &str, kind: &str, path: &str, priority: i32, description: &str) -> Column {
        Column {
            name: name.into(),
            kind: kind.into(),
            format: String::new(),
            description: description.into(),
            priority,
            source: Source::Path(JsonPath::parse(path)),
        }
    }

    /// Counts the entries of maps at the top of the object.
    pub(crate) fn entries(name: &str, maps: &'static [&'static str], description: &str) -> Column {
        Column { source: Source::Entries(maps), ..Column::new(name, "integer", "", 0, description) }
    }

    /// The columns of both event kinds.
    pub(crate) fn events() -> Vec<Column> {
        let of = |(name, kind, priority, description, cell): (&str, &str, i32, &str, event::Cell)| Column {
            source: Source::Event(cell),
            ..Column::new(name, kind, "", priority, description)
        };
        event::COLUMNS.map(of).into()
    }

    /// The columns that a CustomResourceDefinition names, after the object's name.
    pub(crate) fn of_crd(version: &CustomResourceDefinitionVersion) -> Vec<Column> {
        let mut columns = vec![Column::name()];
        match &version.additional_printer_columns {
            Some(all) => columns.extend(all.iter().map(|column| {
                Column {
                    format: column.format.clone().unwrap_or_default(),
                    ..Column::new(
                        &column.name,
                        &column.type_,
                        &column.json_path,
                        column.priority.unwrap_or_default(),
                        column
                            .description
                            .as_deref()
                            .unwrap_or("Custom resource definition column (in JSONPath format)"),
                    )
                }
            })),
            None => columns.push(Column::age()),
        }
        columns
    }

    fn definition(&self) -> Value {
        json!({
            "name": self.name,
            "type": self.kind,
            "format": self.format,
            "description": self.description,
            "priority": self.priority,
        })
    }

    /// The cell of an object; null where it has no value, which kubectl prints as nothing.
    fn cell(&self, object: &Value, now: Timestamp) -> Value {
        let path = match &self.source {
            Source::Event(cell) => return cell.value(object, now),
            Source::Entries(maps) => {
                let count = |name: &&str| object[*name].as_object().map_or(0, serde_json::Map::len);
                return maps.iter().map(count).sum::<usize>().into();
            }
            Source::Path(path) => path,
        };
        match self.kind.as_str() {
            "string" => text(&path.all(object)),
            "date" => path
                .get(object)
                .and_then(Value::as_str)
                .map_or(Value::Null, |time| age::since(time, now).into()),
            "integer" => match path.get(object) {
                Some(Value::Number(number)) => integer(number),
                _ => Value::Null,
            },
            "number" => path.get(object).filter(|value| value.is_number()).cloned().unwrap_or_default(),
            "boolean" => path.get(object).filter(|value| value.is_boolean()).cloned().unwrap_or_default(),
            _ => Value::Null,
        }
    }
}

fn integer(number: &serde_json::Number) -> Value {
    match number.as_f64() {
        Some(float) if number.is_f64() => json!(float.trunc() as i64),
        _ => Value::Number(number.clone()),
    }
}

/// All values as one text, with spaces between them.
fn text(values: &[&Value]) -> Value {
    let shown = |value: &&Value| match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    };
    if values.is_empty() {
        return Value::Null;
    }
    values.iter().map(shown).collect::<Vec<_>>().join(" ").into()
}

#[cfg(test)]
mod tests;
