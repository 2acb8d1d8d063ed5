//! What a schema cannot say about gcluster's kinds: names, canonical texts, what must not change.

mod config;

use std::collections::BTreeMap;

use gcluster_types::names::{is_dns_label, is_dns_subdomain, object_name};
use gcluster_types::sexpr::program::{ProgramError, check_agent};
use serde_json::Value;

pub(crate) use config::is_secret;

use crate::kinds::Kind;
use crate::status::{ApiResult, Cause};

const LABEL: &str = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name', or '123-abc'), 63 characters at most";
const SUBDOMAIN: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com'), 253 characters at most";

/// Is this a name for an object of the kind? Empty: yes.
pub(crate) fn check_name(kind: &Kind, name: &str) -> Vec<Cause> {
    let label =
        matches!((kind.group.as_str(), kind.kind.as_str()), ("gcluster.dev", "Agent") | ("", "Namespace"));
    let (fits, why) = if label { (is_dns_label(name), LABEL) } else { (is_dns_subdomain(name), SUBDOMAIN) };
    if fits { Vec::new() } else { vec![Cause::invalid("metadata.name", name, why)] }
}

/// Brings what a client sent, a whole object or an applied part of one, into the form that is stored.
pub(crate) fn normalise(kind: &Kind, object: &mut Value) -> ApiResult<()> {
    config::normalise(kind, object)
}

/// Fills in what every stored object of the kind has and its schema does not say.
pub(crate) fn complete(kind: &Kind, object: &mut Value) {
    config::complete(kind, object);
}

/// All that is wrong with an object that its schema accepts. `subresource`: the object itself is not changed.
pub(crate) fn check(kind: &Kind, before: Option<&Value>, object: &Value, subresource: bool) -> Vec<Cause> {
    match (kind.group.as_str(), kind.kind.as_str()) {
        ("gcluster.dev", "Agent") if !subresource => agent(before, object),
        ("gcluster.dev", "AgentRevision") => before.map_or_else(Vec::new, |before| {
            let apart = |object: &Value| {
                let mut spec = object["spec"].clone();
                if let Some(map) = spec.as_object_mut() {
                    map.remove("revision");
                }
                spec
            };
            immutable(apart(before) == apart(object), "only spec.revision of a revision may change")
        }),
        ("gcluster.dev", "Iteration") => before.map_or_else(Vec::new, |before| {
            let mut causes =
                immutable(before["spec"] == object["spec"], "the spec of an iteration does not change");
            causes.extend(phase(before, object));
            causes
        }),
        ("gcluster.dev", "Message") => before.map_or_else(Vec::new, |before| {
            immutable(
                before["spec"] == object["spec"],
                "what was said cannot be changed: send another message",
            )
        }),
        ("", _) if !subresource => config::check(kind, before, object),
        _ => Vec::new(),
    }
}

fn immutable(same: bool, why: &str) -> Vec<Cause> {
    if same { Vec::new() } else { vec![Cause::forbidden("spec", why)] }
}

/// Pending, Running, and one of the three ends: never back.
fn phase(before: &Value, object: &Value) -> Option<Cause> {
    let rank = |object: &Value| match object.pointer("/status/phase").and_then(Value::as_str) {
        None | Some("Pending") => 0,
        Some("Running") => 1,
        Some(_) => 2,
    };
    let name = |object: &Value| {
        object.pointer("/status/phase").and_then(Value::as_str).unwrap_or("Pending").to_owned()
    };
    let (old, new) = (name(before), name(object));
    let backwards = rank(object) < rank(before) || rank(before) == 2 && old != new;
    backwards.then(|| {
        Cause::invalid(
            "status.phase",
            &new,
            &format!("a phase only moves forward, and {old} has been reached"),
        )
    })
}

fn agent(before: Option<&Value>, object: &Value) -> Vec<Cause> {
    let spec = &object["spec"];
    let same = |field: &str| before.is_some_and(|before| before["spec"][field] == spec[field]);
    let mut causes = Vec::new();
    let name = object.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default();
    if let Some(written) = spec["agentName"].as_str() {
        match object_name(written) {
            Ok(mapped) if mapped == name => {}
            Ok(mapped) => causes.push(Cause::invalid(
                "spec.agentName",
                written,
                &format!("the object of this agent is named {mapped:?}, not {name:?}"),
            )),
            Err(error) => causes.push(Cause::invalid("spec.agentName", written, &error.to_string())),
        }
    }
    causes.extend(environment(spec));
    // An update of something else does not pay for reading megabytes of text again.
    if same("definition") && same("methods") {
        return causes;
    }
    let methods: BTreeMap<String, String> = spec["methods"]
        .as_object()
        .into_iter()
        .flatten()
        .map(|(name, text)| (name.clone(), text.as_str().unwrap_or_default().to_owned()))
        .collect();
    let definition = spec["definition"].as_str().unwrap_or_default();
    match check_agent(definition, &methods) {
        Ok(definition) => {
            let defined = definition.agent_name.unwrap_or_default();
            match object_name(&defined) {
                Ok(mapped) if mapped == name => {}
                Ok(mapped) => causes.push(Cause::invalid(
                    "spec.definition",
                    &defined,
                    &format!("defines an agent whose object is named {mapped:?}, not {name:?}"),
                )),
                Err(error) => causes.push(Cause::invalid("spec.definition", &defined, &error.to_string())),
            }
        }
        Err(error) => causes.push(definition_cause(definition, &methods, &error)),
    }
    causes
}

/// A variable has a value or takes it from one place, as in a container of Kubernetes.
fn environment(spec: &Value) -> Vec<Cause> {
    let mut causes = Vec::new();
    for (index, variable) in spec["backend"]["env"].as_array().into_iter().flatten().enumerate() {
        let Some(from) = variable["valueFrom"].as_object() else { continue };
        let field = format!("spec.backend.env[{index}].valueFrom");
        if variable["value"].as_str().is_some_and(|value| !value.is_empty()) {
            causes.push(Cause::invalid(&field, "", "may not be specified when `value` is not empty"));
        }
        match from.values().filter(|source| source.is_object()).count() {
            0 => causes.push(Cause::invalid(
                &field,
                "",
                "must specify one of: `configMapKeyRef` or `secretKeyRef`",
            )),
            1 => {}
            _ => causes.push(Cause::invalid(
                &field,
                "",
                "may not have more than one field specified at a time",
            )),
        }
        for (source, key) in from {
            if let Some(name) = key["name"].as_str().filter(|name| !is_dns_subdomain(name)) {
                causes.push(Cause::invalid(format!("{field}.{source}.name"), name, SUBDOMAIN));
            }
        }
    }
    causes
}

/// Which text the error is about.
fn definition_cause(definition: &str, methods: &BTreeMap<String, String>, error: &ProgramError) -> Cause {
    use gcluster_types::sexpr::print::print;
    use gcluster_types::sexpr::program::parse_definition;
    let field = match parse_definition(definition) {
        Err(_) => "spec.definition".to_owned(),
        Ok(found) if print(&found.form()) != definition => "spec.definition".to_owned(),
        Ok(_) => methods
            .iter()
            .find(|(name, text)| {
                parse_definition(text)
                    .map_or(true, |found| found.name != **name || print(&found.form()) != **text)
            })
            .map_or_else(|| "spec.methods".to_owned(), |(name, _)| format!("spec.methods.{name}")),
    };
    let shown: String = definition.chars().take(40).collect();
    Cause::invalid(field, &shown, &error.to_string())
}
