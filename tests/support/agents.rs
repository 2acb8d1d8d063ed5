//! Agents for tests, as text and as manifests.

use serde_json::{Value, json};

/// Three agents; each is a loop over a method of its own and all share one more by a pipeline.
pub(crate) const TEAM: &str = "\
build(notes):
\tRead BACKLOG.md, pick one item, build it, commit.

fix():
\tFind one bug and fix it.

agent-builder(notes):
\tnotes -> build -> loop(build)

agent-bugfixer:
\tloop(fix)

agent-release-manager:
\tloop(release)

release:
\tMake a release when there is something new.
";

/// An agent that loops over a shell command, as a manifest.
pub(crate) fn shell_loop(name: &str, script: &str) -> Value {
    shell(name, script, &format!("(defagent \"{name}\"\n  (pipeline\n    (step \"work\" (loop work))))"))
}

/// An agent that runs a shell command once, as a manifest.
pub(crate) fn shell_once(name: &str, script: &str) -> Value {
    let mut agent = shell(name, script, &format!("(defagent \"{name}\"\n  \"Work.\")"));
    agent["spec"].as_object_mut().expect("spec").remove("methods");
    agent
}

fn shell(name: &str, script: &str, definition: &str) -> Value {
    json!({
        "apiVersion": "gcluster.dev/v1alpha1",
        "kind": "Agent",
        "metadata": {"name": name},
        "spec": {
            "definition": definition,
            "methods": {"work": "(defmethod work ()\n  \"Work.\")"},
            "backend": {"name": "command", "args": ["sh", "-c", script]},
        },
    })
}

/// Several manifests as one List.
pub(crate) fn list(items: &[Value]) -> String {
    json!({"apiVersion": "v1", "kind": "List", "items": items}).to_string()
}
