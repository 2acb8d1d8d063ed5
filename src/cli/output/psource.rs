//! `-o p`: agents and revisions as P source, to take an edit over into a file.

use gcluster_lang::{Parts, unparse};
use gcluster_types::{Agent, AgentRevision, AgentSpec};
use serde_json::Value;

use super::super::objects::text;
use crate::exit::{Failure, Result};

/// The source, and what is no part of it and why: one line for each agent that P cannot say.
pub(crate) struct Source {
    /// A program, with comments for what is not in it.
    pub(crate) text: String,
    /// Agents that were asked for and are missing in it.
    pub(crate) missing: Vec<String>,
}

/// What an object holds of a definition.
struct Held {
    name: String,
    spec: AgentSpec,
}

/// Prints Agents and AgentRevisions as one program.
pub(crate) fn source(objects: &[Value]) -> Result<Source> {
    let held = objects.iter().map(held).collect::<Result<Vec<_>>>()?;
    let parts = |held: &'_ Held| -> (String, String) { (held.name.clone(), others(&held.spec)) };
    let given: Vec<Parts<'_>> = held
        .iter()
        .map(|one| Parts {
            definition: &one.spec.definition,
            methods: &one.spec.methods,
            arguments: &one.spec.arguments,
        })
        .collect();
    let printed = unparse(&given);
    let mut head = String::new();
    for (name, others) in held.iter().map(parts).filter(|(_, others)| !others.is_empty()) {
        head.push_str(&format!(
            "; {name}: {others} of the object is not part of P and stays when this file is applied\n"
        ));
    }
    if !head.is_empty() && !printed.text.is_empty() {
        head.push('\n');
    }
    let missing = printed.left_out.iter().filter_map(|(index, why)| {
        let name = &held.get(*index)?.name;
        Some(format!("{name} cannot be printed as P: {why}; `-o yaml` shows it"))
    });
    Ok(Source { missing: missing.collect(), text: head + &printed.text })
}

fn held(object: &Value) -> Result<Held> {
    let (kind, name) = (text(object, "/kind"), text(object, "/metadata/name").to_owned());
    let unreadable =
        |error: serde_json::Error| Failure::failed(format!("{kind} {name} cannot be read: {error}"));
    let spec = match kind {
        "Agent" => serde_json::from_value::<Agent>(object.clone()).map_err(unreadable)?.spec,
        "AgentRevision" => {
            let spec = serde_json::from_value::<AgentRevision>(object.clone()).map_err(unreadable)?.spec;
            AgentSpec {
                definition: spec.definition,
                methods: spec.methods,
                arguments: spec.arguments,
                ..AgentSpec::default()
            }
        }
        _ => {
            return Err(Failure::usage(format!(
                "only agents and their revisions have P source; use -o yaml for {}",
                if kind.is_empty() { "this" } else { kind }
            )));
        }
    };
    Ok(Held { name, spec })
}

/// Settings that P has no words for, by the names of their fields.
fn others(spec: &AgentSpec) -> String {
    let mut fields = Vec::new();
    if spec.backend.is_some() {
        fields.push("spec.backend");
    }
    if spec.limits.is_some() {
        fields.push("spec.limits");
    }
    fields.join(" and ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn agent(name: &str, prompt: &str) -> Value {
        json!({"apiVersion": "gcluster.dev/v1alpha1", "kind": "Agent", "metadata": {"name": name}, "spec": {
            "definition": format!("(defagent \"{name}\"\n  (pipeline\n    (step \"work\" (loop work))))"),
            "methods": {"work": format!("(defmethod work ()\n  \"{prompt}\")")}}})
    }

    #[test]
    fn agents_that_share_a_method_are_one_program_and_others_are_told() {
        let mut limited = agent("b", "Work.");
        limited["spec"]["limits"] = json!({"maxIterations": 3});
        let source = source(&[agent("a", "Work."), limited, agent("c", "Other.")]).unwrap();
        crate::testing::snapshot("get-agents-p", &format!("{}\n{}", source.text, source.missing.join("\n")));
    }

    #[test]
    fn a_revision_is_printed_like_its_agent_and_other_kinds_are_refused() {
        let revision = json!({"apiVersion": "gcluster.dev/v1alpha1", "kind": "AgentRevision",
            "metadata": {"name": "a-0"}, "spec": {"agent": "a", "revision": 1, "stableID": "0", "digest": "0",
            "definition": "(defagent \"a\"\n  \"Work on [it].\")", "arguments": {"it": "this"}}});
        let printed = source(&[revision]).unwrap();
        assert_eq!(
            (printed.text.as_str(), printed.missing.len()),
            ("agent-a(it):\n\tWork on [it].\n\n@agent-a(this)\n", 0)
        );
        let failure = source(&[json!({"kind": "Iteration"})]).err().unwrap();
        assert_eq!(failure.kind, crate::exit::Kind::Usage);
    }
}
