//! From a `.p` file to Agent objects: the one place where the command line meets the language.

use std::path::{Path, PathBuf};

use gcluster_lang::{Compiled, FsLoader, MapLoader};
use gcluster_types::kinds::{GROUP, VERSION};
use gcluster_types::labels;
use serde_json::{Value, json};

/// Compiles a file's bytes. Problems are in the result, not an error.
pub(crate) fn compile(path: &Path, source: &[u8]) -> Compiled {
    gcluster_lang::compile(path, source, &FsLoader)
}

/// Compiles a text that belongs to no file and has no directory: it can import nothing.
pub(crate) fn compile_alone(name: &Path, source: &[u8]) -> Compiled {
    gcluster_lang::compile(name, source, &MapLoader::default())
}

/// The desired state of every agent of a compiled file, in its order, with the name as written.
/// `directory` is where the agents work, if that is known; `source` the file they come from, if it is one.
pub(crate) fn agents(
    compiled: &Compiled,
    directory: Option<&Path>,
    source: Option<PathBuf>,
) -> Vec<(String, Value)> {
    compiled
        .agents
        .iter()
        .map(|agent| {
            let mut object = json!({
                "apiVersion": format!("{GROUP}/{VERSION}"),
                "kind": "Agent",
                "metadata": {"name": agent.object_name},
                "spec": {
                    "agentName": agent.name,
                    "definition": agent.definition,
                },
            });
            if let Some(directory) = directory {
                object["spec"]["workingDirectory"] = json!(directory);
            }
            if let Some(source) = &source {
                object["metadata"]["annotations"] = json!({labels::SOURCE: source});
            }
            if !agent.methods.is_empty() {
                object["spec"]["methods"] = json!(agent.methods);
            }
            if !agent.arguments.is_empty() {
                object["spec"]["arguments"] = json!(agent.arguments);
            }
            (agent.name.clone(), object)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_agent_object_holds_desired_state_only() {
        let source = b"work:\n\tWork.\n\nagent-Big_One(topic):\n\tloop(work)\n\n@agent-Big_One(tests)\n";
        let compiled = compile(Path::new("team.p"), source);
        assert!(compiled.errors.is_empty());
        let agents = agents(&compiled, Some(Path::new("/project")), Some("/project/team.p".into()));
        let text = format!("{}\n{}", agents[0].0, serde_yaml::to_string(&agents[0].1).unwrap());
        crate::testing::snapshot("apply-object", &text);
    }
}
