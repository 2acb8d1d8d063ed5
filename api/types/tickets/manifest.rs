//! Tickets as objects: `apiVersion`, `kind`, `metadata`, `spec`, with every problem named by line and field.

use saphyr::{MarkedYaml, Marker, Scalar, YamlData, YamlLoader};
use saphyr_parser::Parser;
use schemars::{SchemaGenerator, generate::SchemaSettings};
use serde_json::{Map, Value, json};

use super::Problem;
use super::plain::problem;
use crate::kinds::ticket::{Ticket, TicketSpec};
use crate::names::is_dns_subdomain;

const API_VERSION: &str = "gcluster.dev/v1alpha1";

/// Whether a text holds objects and not plain tickets: a document of it names an `apiVersion` or a `kind`.
pub(super) fn are_in(text: &str) -> bool {
    documents(text).is_ok_and(|documents| {
        documents.iter().any(|document| get(document, "apiVersion").or(get(document, "kind")).is_some())
    })
}

/// Reads the Tickets of one file: documents, and Lists of them.
///
/// # Errors
/// All problems, in the order of the file; an object of another kind is one.
pub(super) fn read(text: &str) -> Result<Vec<Ticket>, Vec<Problem>> {
    let documents = documents(text).map_err(|problem| vec![problem])?;
    let mut reader = Reader { tickets: Vec::new(), problems: Vec::new(), fields: fields_of_spec() };
    for document in &documents {
        match (get(document, "kind").and_then(word), get(document, "items")) {
            (Some("List" | "TicketList"), Some((_, items))) => match &items.data {
                YamlData::Sequence(items) => items.iter().for_each(|item| reader.object(item)),
                _ => reader.say(items, "items", "must be a list of Tickets"),
            },
            _ if matches!(document.data, YamlData::Value(Scalar::Null)) => {}
            _ => reader.object(document),
        }
    }
    match reader.problems.is_empty() {
        true => Ok(reader.tickets),
        false => {
            reader.problems.sort();
            Err(reader.problems)
        }
    }
}

fn documents(text: &str) -> Result<Vec<MarkedYaml<'_>>, Problem> {
    let mut loader = YamlLoader::<MarkedYaml<'_>>::default();
    let loaded = Parser::new_from_str(text).load(&mut loader, true);
    match loaded.err().or_else(|| loader.error().cloned()) {
        Some(error) => Err(problem(error.marker(), "", format!("this is not YAML: {}", error.info()))),
        None => Ok(loader.into_documents()),
    }
}

struct Reader {
    tickets: Vec<Ticket>,
    problems: Vec<Problem>,
    fields: Vec<String>,
}

impl Reader {
    fn object(&mut self, node: &MarkedYaml<'_>) {
        let before = self.problems.len();
        for (field, wanted) in [("apiVersion", API_VERSION), ("kind", "Ticket")] {
            match get(node, field) {
                Some((_, value)) if word_of(value) == Some(wanted) => {}
                Some((_, value)) => self.say(value, field, &format!("must be {wanted}")),
                None => self.say(node, field, &format!("is missing; it must be {wanted}")),
            }
        }
        let metadata = get(node, "metadata").map(|(_, value)| value);
        let name = metadata.and_then(|metadata| get(metadata, "name"));
        let name = match name.map(|(_, value)| (value, word_of(value))) {
            Some((_, Some(name))) if is_dns_subdomain(name) => name.to_owned(),
            Some((value, _)) => {
                self.say(value, "metadata.name", "must be lower-case letters, digits, '-' and '.'");
                String::new()
            }
            None => {
                self.say(metadata.unwrap_or(node), "metadata.name", "is missing");
                String::new()
            }
        };
        let spec = get(node, "spec").map(|(_, value)| value);
        let spec = self.spec(spec.unwrap_or(node), spec.is_some());
        let Some(spec) = spec.filter(|_| self.problems.len() == before) else { return };
        let mut ticket = Ticket::new(&name, spec);
        let texts = |field| metadata.and_then(|metadata| texts(metadata, field));
        ticket.metadata.namespace =
            metadata.and_then(|metadata| get(metadata, "namespace")).and_then(word).map(str::to_owned);
        ticket.metadata.labels = texts("labels");
        ticket.metadata.annotations = texts("annotations");
        if self.tickets.iter().any(|other| other.metadata.name == ticket.metadata.name) {
            return self.say(node, "metadata.name", &format!("the ticket {name:?} is in this file twice"));
        }
        self.tickets.push(ticket);
    }

    fn spec(&mut self, node: &MarkedYaml<'_>, is_there: bool) -> Option<TicketSpec> {
        let YamlData::Mapping(fields) = &node.data else {
            self.say(node, "spec", "must be a mapping");
            return None;
        };
        if !is_there || get(node, "title").is_none() {
            self.say(node, "spec.title", "is missing: what the ticket is about, in one line");
            return None;
        }
        let mut whole = Map::new();
        for (key, value) in fields {
            let Some(field) = word_of(key) else { continue };
            let path = format!("spec.{field}");
            if !self.fields.iter().any(|known| known == field) {
                self.say(
                    key,
                    &path,
                    &format!("there is no such field; a ticket has {}", self.fields.join(", ")),
                );
                continue;
            }
            let Some(json) = json_of(value) else {
                self.say(
                    value,
                    &path,
                    "cannot be read: tags, aliases and keys that are no text are not taken",
                );
                continue;
            };
            // Each field by itself, so that every problem has its line.
            let mut alone = json!({"title": "x"});
            alone[field] = json.clone();
            match serde_json::from_value::<TicketSpec>(alone) {
                Ok(spec) if spec.title.trim().is_empty() => self.say(value, &path, "must not be empty"),
                Ok(spec) if spec.priority < 1 => self.say(value, &path, "must be at least 1, the highest"),
                Ok(_) => drop(whole.insert(field.to_owned(), json)),
                Err(error) => self.say(value, &path, &error.to_string()),
            }
        }
        serde_json::from_value(Value::Object(whole)).ok()
    }

    fn say(&mut self, at: &MarkedYaml<'_>, field: &str, message: &str) {
        let at: &Marker = &at.span.start;
        self.problems.push(problem(at, field, message.to_owned()));
    }
}

type Entry<'n, 'i> = (&'n MarkedYaml<'i>, &'n MarkedYaml<'i>);

fn get<'n, 'i>(node: &'n MarkedYaml<'i>, field: &str) -> Option<Entry<'n, 'i>> {
    match &node.data {
        YamlData::Mapping(fields) => fields.iter().find(|(key, _)| word_of(key) == Some(field)),
        _ => None,
    }
}

fn word<'n>((_, value): Entry<'n, '_>) -> Option<&'n str> {
    word_of(value)
}

fn word_of<'n>(node: &'n MarkedYaml<'_>) -> Option<&'n str> {
    match &node.data {
        YamlData::Value(Scalar::String(text)) => Some(text),
        _ => None,
    }
}

fn texts(metadata: &MarkedYaml<'_>, field: &str) -> Option<std::collections::BTreeMap<String, String>> {
    let (_, node) = get(metadata, field)?;
    let YamlData::Mapping(entries) = &node.data else { return None };
    let text = |node| word_of(node).map(str::to_owned);
    Some(entries.iter().filter_map(|(key, value)| Some((text(key)?, text(value)?))).collect())
}

fn json_of(node: &MarkedYaml<'_>) -> Option<Value> {
    Some(match &node.data {
        YamlData::Value(Scalar::Null) => Value::Null,
        YamlData::Value(Scalar::Boolean(is)) => json!(is),
        YamlData::Value(Scalar::Integer(number)) => json!(number),
        YamlData::Value(Scalar::FloatingPoint(number)) => json!(number.0),
        YamlData::Value(Scalar::String(text)) => json!(text),
        YamlData::Sequence(items) => Value::Array(items.iter().map(json_of).collect::<Option<_>>()?),
        YamlData::Mapping(entries) => Value::Object(
            entries
                .iter()
                .map(|(key, value)| Some((word_of(key)?.to_owned(), json_of(value)?)))
                .collect::<Option<_>>()?,
        ),
        _ => return None,
    })
}

/// Names of the fields that a spec may have.
fn fields_of_spec() -> Vec<String> {
    let schema = SchemaGenerator::new(SchemaSettings::openapi3()).into_root_schema_for::<TicketSpec>();
    let properties = schema.get("properties").and_then(Value::as_object);
    properties.into_iter().flat_map(Map::keys).cloned().collect()
}
