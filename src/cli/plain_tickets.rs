//! Tickets as teams write them, among the files of `apply` and `validate`.

use std::path::Path;

use gcluster_types::tickets;
use serde::Deserialize as _;
use serde_json::Value;

use super::manifest::Desired;
use super::output::note;
use crate::exit::{Failure, Result};

/// Whether a file holds plain tickets: no document of it is an object of Kubernetes, and one of them looks like a
/// ticket or like a list of them.
pub(crate) fn are_in(bytes: &[u8]) -> bool {
    let mut some = false;
    for document in serde_yaml::Deserializer::from_slice(bytes) {
        match Value::deserialize(document) {
            Ok(Value::Object(map)) if map.contains_key("apiVersion") || map.contains_key("kind") => {
                return false;
            }
            Ok(Value::Object(map)) => {
                some |= ["title", "id", "tickets"].iter().any(|field| map.contains_key(*field));
            }
            Ok(Value::Array(items)) => {
                some |= items.first().is_some_and(|first| first.get("title").or(first.get("id")).is_some());
            }
            Ok(_) => {}
            // What is no YAML is said by whoever reads it.
            Err(_) => return false,
        }
    }
    some
}

/// Reads them. Every problem is printed as `FILE:LINE:COLUMN: FIELD: …` before this fails.
pub(crate) fn read(file: &Path, bytes: &[u8]) -> Result<Vec<Desired>> {
    let text = String::from_utf8_lossy(bytes);
    let extension = file.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
    let tickets = tickets::read_file(extension, &text).map_err(|problems| {
        for problem in &problems {
            note(&format!("error: {}:{problem}", file.display()));
        }
        Failure::failed(match problems.len() {
            1 => format!("{} has an error, so nothing was sent", file.display()),
            n => format!("{} has {n} errors, so nothing was sent", file.display()),
        })
    })?;
    let object = |ticket| {
        serde_json::to_value(ticket)
            .map(|object| Desired { object, agent: None })
            .map_err(|error| Failure::failed(format!("cannot write a ticket of {}: {error}", file.display())))
    };
    tickets.iter().map(object).collect()
}

/// Fails when tickets of `desired`, with those that are there already, wait for each other in a circle.
pub(crate) fn check_cycles(desired: &[Desired], there: &[Value]) -> Result {
    acyclic(desired.iter().map(|desired| &desired.object), there)
}

/// The same for one ticket.
pub(crate) fn check_cycles_of(ticket: &Value, there: &[Value]) -> Result {
    acyclic(std::iter::once(ticket), there)
}

fn acyclic<'v>(new: impl Iterator<Item = &'v Value>, there: &'v [Value]) -> Result {
    let edges = |object: &Value| {
        let names = object["spec"]["dependsOn"].as_array().into_iter().flatten();
        let names = names.filter_map(Value::as_str).map(str::to_owned).collect();
        (object["metadata"]["name"].as_str().unwrap_or_default().to_owned(), names)
    };
    let new = new.filter(|object| is_ticket(object));
    // What a file says replaces what is there.
    let all = there.iter().chain(new).map(edges).collect();
    match tickets::cycle(&all) {
        None => Ok(()),
        Some(cycle) => Err(Failure::failed(format!("tickets wait for each other in a circle: {cycle}"))
            .hint("take one of these dependencies away; nothing was sent")),
    }
}

/// Whether an object is a ticket.
pub(crate) fn is_ticket(object: &Value) -> bool {
    object["kind"] == "Ticket"
        && object["apiVersion"].as_str().is_some_and(|v| v.starts_with("gcluster.dev/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_tickets_are_told_from_objects() {
        for (text, plain) in [
            ("title: x", true),
            ("- id: 1\n  titel: x", true),
            ("tickets: []", true),
            ("---\n---\nid: 1", true),
            ("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}", false),
            ("title: x\n---\napiVersion: v1\nkind: ConfigMap", false),
            ("data: {}", false),
            ("title: [", false),
            ("", false),
        ] {
            assert_eq!(are_in(text.as_bytes()), plain, "{text}");
        }
    }

    #[test]
    fn a_circle_through_what_is_there_is_refused() {
        let ticket = |name: &str, on: &[&str]| {
            serde_json::json!({"apiVersion": "gcluster.dev/v1alpha1", "kind": "Ticket",
                "metadata": {"name": name}, "spec": {"dependsOn": on}})
        };
        let desired = |name, on| [Desired { object: ticket(name, on), agent: None }];
        assert!(check_cycles(&desired("a", &["b"]), &[ticket("b", &[])]).is_ok());
        let refused = check_cycles(&desired("a", &["b"]), &[ticket("b", &["a"])]).unwrap_err();
        assert!(refused.message.ends_with("a → b → a"), "{refused:?}");
        assert!(check_cycles(&desired("a", &[]), &[ticket("a", &["b"]), ticket("b", &["a"])]).is_ok());
    }
}
