//! Reading plain tickets.

use std::collections::BTreeMap;

use saphyr::{MarkedYaml, Marker, ScalarStyle, YamlData, YamlLoader};
use saphyr_parser::Parser;

use super::Problem;
use crate::kinds::ticket::{NORMAL_PRIORITY, Ticket, TicketSpec};
use crate::names::object_name;

/// Every field of a plain ticket, in the order in which people are told of them.
const FIELDS: [&str; 10] = [
    "id",
    "title",
    "description",
    "priority",
    "locks",
    "dependencies",
    "estimate_min",
    "tags",
    "pool",
    "state",
];
/// Words for priorities, beside numbers.
const PRIORITIES: [(&str, i32); 4] = [("critical", 1), ("high", 2), ("normal", NORMAL_PRIORITY), ("low", 4)];

/// Reads the tickets of one file.
///
/// # Errors
/// All problems of all tickets, in the order of the file; then none of them was taken.
pub fn read(text: &str) -> Result<Vec<Ticket>, Vec<Problem>> {
    let mut loader = YamlLoader::<MarkedYaml<'_>>::default();
    // Scalars as they are written: an id of 1.10 is not 1.1.
    loader.early_parse(false);
    let loaded = Parser::new_from_str(text).load(&mut loader, true);
    if let Some(error) = loaded.err().or_else(|| loader.error().cloned()) {
        return Err(vec![problem(error.marker(), "", format!("this is not YAML: {}", error.info()))]);
    }
    let mut reader = Reader::default();
    for document in &loader.into_documents() {
        reader.document(document);
    }
    if reader.tickets.is_empty() && reader.problems.is_empty() {
        reader.say(Marker::new(0, 1, 0), "", "no ticket is here; one needs at least `title: …`".into());
    }
    match reader.problems.is_empty() {
        true => Ok(reader.tickets),
        false => {
            reader.problems.sort();
            Err(reader.problems)
        }
    }
}

#[derive(Default)]
struct Reader {
    tickets: Vec<Ticket>,
    problems: Vec<Problem>,
    /// Object names so far, and the lines that they are on.
    names: BTreeMap<String, usize>,
}

impl Reader {
    fn document(&mut self, node: &MarkedYaml<'_>) {
        match &node.data {
            YamlData::Sequence(items) => items.iter().for_each(|item| self.ticket(item)),
            YamlData::Mapping(fields) if fields.len() == 1 => {
                let (key, value) = match fields.iter().next() {
                    Some((key, value)) if text(key) == Some("tickets") => (key, value),
                    _ => return self.ticket(node),
                };
                match &value.data {
                    YamlData::Sequence(items) => items.iter().for_each(|item| self.ticket(item)),
                    _ => self.say(key.span.start, "tickets", expected("a list of tickets", value)),
                }
            }
            _ if is_null(node) => {}
            _ => self.ticket(node),
        }
    }

    fn ticket(&mut self, node: &MarkedYaml<'_>) {
        let YamlData::Mapping(fields) = &node.data else {
            return self.say(node.span.start, "", expected("a ticket: fields such as `title: …`", node));
        };
        let before = self.problems.len();
        let mut spec = TicketSpec { priority: NORMAL_PRIORITY, ..TicketSpec::default() };
        let (mut id, mut title) = (None, None);
        for (key, value) in fields {
            let Some(field) = text(key) else {
                self.say(key.span.start, "", expected("the name of a field", key));
                continue;
            };
            match field {
                "id" => id = self.line(field, value).map(|id| (id, value.span.start)),
                "title" => title = self.line(field, value),
                "description" => spec.description = self.text(field, value).unwrap_or_default(),
                "priority" => spec.priority = self.priority(field, value),
                "locks" => spec.locks = self.list(field, value),
                "dependencies" | "depends_on" | "dependsOn" => spec.depends_on = self.names(field, value),
                "estimate_min" => spec.estimate_minutes = self.minutes(field, value),
                "tags" => spec.tags = self.list(field, value),
                "pool" => spec.pool = self.line(field, value),
                "state" => self.state(field, value, &mut spec),
                other => {
                    let known = FIELDS.join(", ");
                    self.say(key.span.start, other, format!("there is no such field; a ticket has {known}"));
                }
            }
        }
        let has = |name: &str| fields.keys().any(|key| text(key) == Some(name));
        if title.is_none() && !has("title") {
            self.say(node.span.start, "title", "is missing: what the ticket is about, in one line".into());
        }
        spec.title = title.unwrap_or_default();
        // An id that makes no name is told beside the other problems; a title that failed is told already.
        let name = match id.is_some() || self.problems.len() == before {
            true => self.name(id.as_ref(), &spec.title, node.span.start),
            false => None,
        };
        let Some(name) = name.filter(|_| self.problems.len() == before) else { return };
        if let Some(line) = self.names.insert(name.clone(), node.span.start.line()) {
            let at = id.as_ref().map_or(node.span.start, |(_, at)| *at);
            self.say(at, "id", format!("the ticket {name:?} is there already, in line {line}"));
            return;
        }
        spec.ticket_id = id.map(|(id, _)| id).filter(|id| *id != name);
        self.tickets.push(Ticket::new(&name, spec));
    }

    /// The object name: from the id, else from the title.
    fn name(&mut self, id: Option<&(String, Marker)>, title: &str, start: Marker) -> Option<String> {
        match id {
            Some((id, at)) => object_name(&id.replace(['.', ' ', '#'], "-"))
                .map_err(|error| self.say(*at, "id", error.to_string()))
                .ok(),
            None => name_of_title(title).or_else(|| {
                let why =
                    "is missing, and no name can be made of the title: give the ticket an id, such as T-12";
                self.say(start, "id", why.into());
                None
            }),
        }
    }

    /// One line of text that is not empty.
    fn line(&mut self, field: &str, value: &MarkedYaml<'_>) -> Option<String> {
        let line = self.text(field, value)?.trim().to_owned();
        match line.is_empty() || line.contains('\n') {
            false => Some(line),
            true => {
                self.say(value.span.start, field, "must be one line of text".into());
                None
            }
        }
    }

    fn text(&mut self, field: &str, value: &MarkedYaml<'_>) -> Option<String> {
        let found = text(value).map(str::to_owned);
        if found.is_none() {
            self.say(value.span.start, field, expected("text", value));
        }
        found
    }

    fn priority(&mut self, field: &str, value: &MarkedYaml<'_>) -> i32 {
        let word = text(value).unwrap_or_default();
        let named = PRIORITIES.iter().find(|(known, _)| known.eq_ignore_ascii_case(word));
        let number = named.map(|(_, number)| *number);
        let number = number.or_else(|| word.parse().ok().filter(|number| *number >= 1));
        number.unwrap_or_else(|| {
            let wanted = "a whole number from 1, the highest, or critical, high, normal or low";
            self.say(value.span.start, field, expected(wanted, value));
            NORMAL_PRIORITY
        })
    }

    fn minutes(&mut self, field: &str, value: &MarkedYaml<'_>) -> Option<f64> {
        if is_null(value) {
            return None;
        }
        let number = text(value).and_then(|text| text.parse::<f64>().ok());
        let number = number.filter(|number| number.is_finite() && *number >= 0.0);
        if number.is_none() {
            self.say(value.span.start, field, expected("a number of minutes", value));
        }
        number
    }

    fn state(&mut self, field: &str, value: &MarkedYaml<'_>, spec: &mut TicketSpec) {
        use crate::kinds::ticket::TicketState::{Cancelled, Held, Open};
        match text(value).map(str::to_lowercase).as_deref() {
            Some("open") => spec.state = Open,
            Some("held") => spec.state = Held,
            Some("cancelled") => spec.state = Cancelled,
            _ => self.say(value.span.start, field, expected("open, held or cancelled", value)),
        }
    }

    /// A list of texts; one text stands for a list of one.
    fn list(&mut self, field: &str, value: &MarkedYaml<'_>) -> Vec<String> {
        let mut found: Vec<String> = Vec::new();
        let one = std::slice::from_ref(value);
        let items = match &value.data {
            YamlData::Sequence(items) => items.as_slice(),
            _ if is_null(value) => &[],
            _ => one,
        };
        for item in items {
            match text(item).map(|text| text.trim().to_owned()).filter(|text| !text.is_empty()) {
                Some(text) if found.contains(&text) => {}
                Some(text) => found.push(text),
                None => self.say(item.span.start, field, expected("a list of texts", item)),
            }
        }
        found
    }

    /// Ids of other tickets as the names of their objects.
    fn names(&mut self, field: &str, value: &MarkedYaml<'_>) -> Vec<String> {
        let ids = self.list(field, value);
        let name = |id: &String| object_name(&id.replace(['.', ' ', '#'], "-"));
        ids.iter()
            .filter_map(|id| name(id).map_err(|e| self.say(value.span.start, field, e.to_string())).ok())
            .collect()
    }

    fn say(&mut self, at: Marker, field: &str, message: String) {
        self.problems.push(problem(&at, field, message));
    }
}

pub(super) fn problem(at: &Marker, field: &str, message: String) -> Problem {
    Problem { line: at.line(), column: at.col() + 1, field: field.to_owned(), message }
}

/// A scalar as it is written: `12` and `yes` are text where text is wanted.
fn text<'v>(node: &'v MarkedYaml<'_>) -> Option<&'v str> {
    match &node.data {
        YamlData::Representation(text, _, _) if !is_null(node) => Some(text),
        _ => None,
    }
}

fn is_null(node: &MarkedYaml<'_>) -> bool {
    match &node.data {
        YamlData::Representation(text, ScalarStyle::Plain, None) => matches!(&**text, "" | "~" | "null"),
        _ => false,
    }
}

fn expected(what: &str, found: &MarkedYaml<'_>) -> String {
    let found = match &found.data {
        YamlData::Sequence(_) => "a list".to_owned(),
        YamlData::Mapping(_) => "a mapping".to_owned(),
        _ if is_null(found) => "nothing".to_owned(),
        _ => text(found).map_or_else(|| "something else".into(), |text| format!("{text:?}")),
    };
    format!("must be {what}, and is {found}")
}

/// A name made of the words of a title.
fn name_of_title(title: &str) -> Option<String> {
    let mapped: String =
        title.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' }).collect();
    let mut name = String::new();
    for word in mapped.split('-').filter(|word| !word.is_empty()) {
        if name.len() + word.len() > 50 {
            break;
        }
        if !name.is_empty() {
            name.push('-');
        }
        name.push_str(word);
    }
    object_name(&name).ok()
}
