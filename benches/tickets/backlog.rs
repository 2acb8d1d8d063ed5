//! The backlog of the experiment, and what the scripted model does about each ticket.

use std::path::Path;

use serde_json::{Value, json};

/// Tickets of the backlog.
pub(crate) const TICKETS: usize = 12;
/// Every one of so many changes the file that they share.
const SHARING: usize = 3;
/// The file that they share: each handler is a line below the mark.
const SHARED: &str = "handlers.txt";
const MARK: &str = "# one handler a line, the newest first\n";
/// What decides whether a change is taken: no conflict left in, nobody's handler lost. Takes as long as some tests.
const CHECK: &str = "#!/bin/sh\n\
     # With --quick only what a merge can break.\n\
     [ \"$1\" = --quick ] || sleep 1\n\
     ! grep -q '^[<=>]\\{7\\}' handlers.txt || { echo 'a conflict is left in handlers.txt'; exit 1; }\n\
     for file in features/*; do\n\
     \x20 [ ! -f \"$file\" ] || ! grep -q shared \"$file\" || grep -qx \"$(basename \"$file\")\" handlers.txt ||\n\
     \x20   { echo \"the handler of $file is missing\"; exit 1; }\n\
     done\n";
/// Takes in what others merged, and where they changed the same place keeps both.
const REBASE: &str = "git rebase main || { sed -i '/^[<=>]\\{7\\}/d' handlers.txt && git add handlers.txt && GIT_EDITOR=true git rebase --continue; }";

/// Files of the repository before the first ticket.
pub(crate) fn files() -> [(&'static str, &'static str); 2] {
    [(SHARED, MARK), ("ci.sh", CHECK)]
}

/// Whether a ticket changes the file that they share.
fn shares(n: usize) -> bool {
    n.is_multiple_of(SHARING)
}

/// Lines of the shared file when all is done.
pub(crate) fn handlers() -> usize {
    (1..=TICKETS).filter(|n| shares(*n)).count()
}

/// Repository, pool and tickets. With `locks`, tickets that change the shared file are kept apart.
pub(crate) fn objects(app: &Path, workers: usize, locks: bool, backend: &Value) -> Vec<Value> {
    let kind = |kind: &str, name: &str, spec: Value| json!({"apiVersion": "gcluster.dev/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec});
    let pool = json!({
        "replicas": workers, "repositories": ["app"], "maxAttempts": 20, "review": {"by": "Nobody"},
        "backend": backend,
    });
    let mut all = vec![
        kind("Repository", "app", json!({"path": app, "base": "main"})),
        kind("WorkerPool", "team", pool),
    ];
    all.extend((1..=TICKETS).map(|n| {
        let locks: Vec<&str> = if locks && shares(n) { vec!["handlers"] } else { Vec::new() };
        let title = format!("Add the feature {}", name(n));
        kind("Ticket", &format!("t-{n}"), json!({"title": title, "locks": locks}))
    }));
    all
}

/// What the model answers: looks around, writes a file, changes the shared one, tests and commits; of a change that was
/// sent back it takes in what the others merged. Every answer comes after `latency` seconds.
pub(crate) fn scenarios(latency: f64) -> Value {
    let usage = json!({
        "input_tokens": 12, "cache_creation_input_tokens": 1_800, "cache_read_input_tokens": 16_000,
        "output_tokens": 320,
    });
    let say = |text: &str| json!({"text": text, "usage": usage});
    let call = |text: &str, tool: &str, input: Value| json!({"text": text, "tool": tool, "input": input, "usage": usage});
    let bash =
        |text: &str, command: &str| call(text, "Bash", json!({"command": command, "description": text}));
    let mut all = serde_json::Map::new();
    let mut choose = Vec::new();
    for n in 1..=TICKETS {
        let name = name(n);
        let mut steps = vec![
            bash("I look where I am.", "pwd"),
            bash("I read what is there.", "git log --oneline -5; cat handlers.txt; ls"),
            call(
                "I write the feature.",
                "Write",
                json!({
                    "file_path": format!("{{first_result}}/features/{name}"),
                    "content": format!("{name}{}\n", if shares(n) { ", shared" } else { "" }),
                }),
            ),
        ];
        if shares(n) {
            let file = format!("{{first_result}}/{SHARED}");
            steps.push(call("I read the handlers.", "Read", json!({"file_path": file})));
            let edit = json!({
                "file_path": file, "old_string": MARK, "new_string": format!("{MARK}{name}\n"),
            });
            steps.push(call("I name the handler.", "Edit", edit));
        }
        steps.push(bash("I test it.", "./ci.sh --quick"));
        steps.push(bash("I commit it.", &format!("git add -A && git commit -qm 'Add {name}'")));
        let done = say(&format!("The feature {name} is there."));
        all.insert(name.clone(), json!({"wait": latency, "steps": steps, "then": done}));
        let again = [bash("I take in what was merged.", REBASE), bash("I test it.", "./ci.sh --quick")];
        let done = say(&format!("The feature {name} is on top of what was merged."));
        all.insert(format!("{name}-again"), json!({"wait": latency, "steps": again, "then": done}));
        let title = format!("Add the feature {name}\n");
        choose.push(json!({"contains": [title, "not the first round"], "scenario": format!("{name}-again")}));
        choose.push(json!({"contains": title, "scenario": name}));
    }
    all.insert("default".into(), json!({"choose": choose, "side": {"text": "Aside."}}));
    Value::Object(all)
}

/// Name of the feature that a ticket asks for.
fn name(n: usize) -> String {
    format!("feature-{n:02}")
}
