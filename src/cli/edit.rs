//! `gcluster edit`: an object in your editor, as YAML or, for an agent, as P source.
//!
//! ```text
//! object ─▶ text ─▶ editor ─▶ text ─▶ object ─▶ master
//!             ▲                 │        │
//!             └── errors on top ┴────────┘   until it is accepted, or comes back as it was
//! ```

use std::path::{Path, PathBuf};
use std::process::Command;

use clap::{Args, ValueEnum};
use gcluster_types::labels::MANAGER_EDIT;
use http::Method;
use serde_json::{Value, json};

use super::apply::Applied;
use super::kinds::Catalog;
use super::objects::{self, Named, Selection, text};
use super::output::{note, print, psource, structured};
use super::{Globals, compile, complete, replace};
use crate::client::{Connection, JSON, query};
use crate::config;
use crate::exit::{Failure, Kind, Result};

/// How often a text with errors is opened again. An editor that is a script may make another change each time.
const ATTEMPTS: usize = 50;
/// Content type of a JSON patch.
const JSON_PATCH: &str = "application/json-patch+json";
/// What the lines begin with that this verb puts on top, after the sign of a comment.
const MARK: &str = " gcluster edit: ";

/// Change an object in your editor ($VISUAL, $EDITOR, else vi)
#[derive(Args, Debug)]
pub(crate) struct EditArgs {
    /// KIND NAME or KIND/NAME
    #[arg(required = true, value_name = "KIND")]
    #[arg(add = complete::objects())]
    words: Vec<String>,
    /// As what the object is edited: p is the P source of an agent
    #[arg(short, long, value_enum, default_value = "yaml", value_name = "FORMAT")]
    output: Form,
    /// End iterations of older revisions of the agent instead of letting them finish
    #[arg(long)]
    now: bool,
}

/// As what an object is edited.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Form {
    /// The whole object.
    Yaml,
    /// The definition of an agent.
    P,
}

/// Does `gcluster edit`. What was written meanwhile by others is a conflict, not overwritten.
pub(crate) async fn run(globals: &Globals, args: EditArgs) -> Result {
    let connection = globals.connect().await?;
    let catalog = Catalog::fetch(&connection).await?;
    let named = match objects::select(&catalog, &args.words)? {
        Selection::Objects(named) if named.len() == 1 => named.into_iter().next(),
        Selection::Objects(_) | Selection::Kinds(_) => None,
    };
    let named =
        named.ok_or_else(|| Failure::usage("name one object, as in `gcluster edit agent builder`"))?;
    if !named.resource.is("Agent") && (args.now || args.output == Form::P) {
        let what = if args.now { "--now" } else { "-o p" };
        return Err(Failure::usage(format!("{what} concerns agents")));
    }
    let path = named.path(&connection.namespace);
    let mut object = connection
        .get(&path, JSON)
        .await
        .map_err(|failure| objects::not_found_hint(failure, named.resource))?;
    structured::hide_managed_fields(&mut object);
    let Some(written) = edit(&connection, &named, &path, &object, args.output).await? else {
        return print("edit cancelled, nothing changed\n");
    };
    print(&format!("{} edited\n", named.display()))?;
    if args.now {
        let edited = Applied { shown: named.display(), result: "updated".into(), object: written };
        for name in replace::replace(&connection, &[edited]).await? {
            note(&format!("{name}: iterations of older revisions are ended now"));
        }
    }
    Ok(())
}

/// Opens the object until it is accepted; nothing when it was left as it was.
async fn edit(
    connection: &Connection,
    named: &Named<'_>,
    path: &str,
    object: &Value,
    form: Form,
) -> Result<Option<Value>> {
    let before = form.text(object)?;
    let manager = config::manager(MANAGER_EDIT);
    let write = format!("{path}{}", query(&[("fieldManager", &manager), ("fieldValidation", "Strict")]));
    let (mut body, mut head) = (before.clone(), String::new());
    for _ in 0..ATTEMPTS {
        let file = private_file(&format!("{head}{body}"), form)?;
        let kept = |failure: Failure| failure.hint(format!("your text is kept in {}", file.display()));
        let edited = form.without_head(&edited(&file).await.map_err(kept)?);
        if edited == before {
            let _ = std::fs::remove_file(&file);
            return Ok(None);
        }
        if !head.is_empty() && edited == body {
            let told = head.lines().skip(1).map(|line| line.trim_start_matches(form.sign()));
            let told = told.map(|line| line.trim_start_matches(MARK).to_owned());
            let failure =
                told.fold(Failure::failed("its errors are still there: nothing was sent"), Failure::cause);
            return Err(kept(failure));
        }
        let problems = match form.read(object, &edited, named.name.as_str()) {
            Ok(changed) => {
                let patch = patch(object, &changed);
                if patch.is_empty() {
                    let _ = std::fs::remove_file(&file);
                    return Ok(None);
                }
                match connection.send(Method::PATCH, &write, JSON_PATCH, &Value::from(patch.clone())).await {
                    Ok(written) => {
                        let _ = std::fs::remove_file(&file);
                        return Ok(Some(written));
                    }
                    // The way to the master, or an object that is gone: no other text would help.
                    Err(failure) if failure.kind != Kind::Failed => return Err(kept(failure)),
                    Err(failure) => match changed_by_others(connection, path, &patch).await? {
                        Some(conflict) => return Err(kept(conflict)),
                        None => std::iter::once(failure.message).chain(failure.causes).collect(),
                    },
                }
            }
            Err(problems) => problems,
        };
        let _ = std::fs::remove_file(&file);
        head = form.head(&problems);
        // The lines that are named are those of the file as it is opened now.
        if let Err(moved) = form.read(object, &format!("{head}{edited}"), named.name.as_str()) {
            head = form.head(&moved);
        }
        body = edited;
    }
    Err(Failure::failed(format!("given up after {ATTEMPTS} attempts: is the editor a script?")))
}

/// What was changed, as a JSON patch that first tests that everything it changes still is as it was opened. What the
/// server writes is left out: the status of an object may change while it is edited.
fn patch(before: &Value, after: &Value) -> Vec<Value> {
    let mut patch = Vec::new();
    difference("", before, after, &mut patch);
    patch
}

/// Fields that only the server writes.
const SERVERS: &[&str] = &[
    "/status",
    "/metadata/managedFields",
    "/metadata/resourceVersion",
    "/metadata/uid",
    "/metadata/creationTimestamp",
    "/metadata/generation",
];

fn difference(path: &str, before: &Value, after: &Value, patch: &mut Vec<Value>) {
    if before == after || SERVERS.contains(&path) {
        return;
    }
    let (Some(old), Some(new)) = (before.as_object(), after.as_object()) else {
        patch.push(json!({"op": "test", "path": path, "value": before}));
        patch.push(json!({"op": "replace", "path": path, "value": after}));
        return;
    };
    let under = |key: &str| format!("{path}/{}", key.replace('~', "~0").replace('/', "~1"));
    for (key, before) in old {
        let path = under(key);
        match new.get(key) {
            Some(after) => difference(&path, before, after, patch),
            None if SERVERS.contains(&path.as_str()) => {}
            None => {
                patch.push(json!({"op": "test", "path": path, "value": before}));
                patch.push(json!({"op": "remove", "path": path}));
            }
        }
    }
    for (key, value) in new.iter().filter(|(key, _)| !old.contains_key(*key)) {
        let path = under(key);
        if !SERVERS.contains(&path.as_str()) {
            // A test of null holds where there is nothing.
            patch.push(json!({"op": "test", "path": path, "value": null}));
            patch.push(json!({"op": "add", "path": path, "value": value}));
        }
    }
}

/// The conflict, when a field that was edited is another one by now.
async fn changed_by_others(connection: &Connection, path: &str, patch: &[Value]) -> Result<Option<Failure>> {
    let now = connection.get(path, JSON).await?;
    let tests = patch.iter().filter(|step| step["op"] == "test");
    let other =
        tests.filter(|step| now.pointer(text(step, "/path")).unwrap_or(&Value::Null) != &step["value"]);
    let fields: Vec<String> =
        other.map(|step| text(step, "/path").trim_start_matches('/').replace('/', ".")).collect();
    Ok((!fields.is_empty()).then(|| {
        let message = format!("somebody else has changed {} meanwhile: nothing was sent", fields.join(", "));
        Failure::new(Kind::Conflict, message).hint("edit it again")
    }))
}

impl Form {
    /// What begins a comment.
    fn sign(self) -> &'static str {
        match self {
            Form::Yaml => "#",
            Form::P => ";",
        }
    }

    fn text(self, object: &Value) -> Result<String> {
        if self == Form::Yaml {
            return structured::yaml(object);
        }
        let source = psource::source(std::slice::from_ref(object))?;
        match source.missing.into_iter().next() {
            Some(missing) => Err(Failure::failed(missing)),
            None => Ok(source.text),
        }
    }

    /// Errors as comments; none for none.
    fn head(self, problems: &[String]) -> String {
        let lines = std::iter::once("this was not accepted; mend it, or leave it as it is to give up");
        let lines = lines.chain(problems.iter().flat_map(|problem| problem.lines()));
        lines.map(|line| format!("{}{MARK}{line}\n", self.sign())).collect()
    }

    fn without_head(self, text: &str) -> String {
        let mark = format!("{}{MARK}", self.sign());
        text.split_inclusive('\n').skip_while(|line| line.starts_with(&mark)).collect()
    }

    /// The object that a text means, or everything that is wrong with it.
    fn read(self, object: &Value, text: &str, name: &str) -> std::result::Result<Value, Vec<String>> {
        match self {
            Form::Yaml => {
                let changed: Value = serde_yaml::from_str(text)
                    .map_err(|error| vec![format!("the edited text is not YAML: {error}")])?;
                match objects::text(&changed, "/metadata/name") == name {
                    true => Ok(changed),
                    false => Err(vec!["the name of an object cannot be changed".to_owned()]),
                }
            }
            Form::P => program(object, text, name),
        }
    }
}

/// The agent with the definition that a program gives it.
fn program(object: &Value, text: &str, name: &str) -> std::result::Result<Value, Vec<String>> {
    let compiled = compile::compile_alone(&PathBuf::from(format!("{name}.p")), text.as_bytes());
    if !compiled.errors.is_empty() {
        let told = compiled.errors.iter().map(|error| {
            let help = error.help.as_deref().map(|help| format!(" ({help})")).unwrap_or_default();
            format!("line {}, column {}: {}{help}", error.line, error.column, error.message)
        });
        return Err(told.collect());
    }
    let agents = compile::agents(&compiled, None, None);
    let [(_, agent)] = agents.as_slice() else {
        let names: Vec<&str> =
            agents.iter().map(|(_, agent)| objects::text(agent, "/metadata/name")).collect();
        let held = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
        return Err(vec![format!("the text has to hold the agent {name} alone; it holds {held}")]);
    };
    if objects::text(agent, "/metadata/name") != name {
        return Err(vec!["the name of an agent cannot be changed".to_owned()]);
    }
    let mut changed = object.clone();
    let Some(spec) = changed.get_mut("spec").and_then(Value::as_object_mut) else {
        return Err(vec!["the object has no spec".to_owned()]);
    };
    for field in ["definition", "methods", "arguments"] {
        match agent.pointer(&format!("/spec/{field}")) {
            Some(value) => drop(spec.insert(field.to_owned(), value.clone())),
            None => drop(spec.remove(field)),
        }
    }
    Ok(changed)
}

/// A new file that only the user may read.
fn private_file(content: &str, form: Form) -> Result<PathBuf> {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;
    let stamp = k8s_openapi::jiff::Timestamp::now().as_nanosecond();
    let end = if form == Form::P { "p" } else { "yaml" };
    let path = std::env::temp_dir().join(format!("gcluster-edit-{}-{stamp}.{end}", std::process::id()));
    let written = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&path)
        .and_then(|mut file| file.write_all(content.as_bytes()));
    written.map_err(|error| Failure::failed(format!("cannot write {}: {error}", path.display())))?;
    Ok(path)
}

async fn edited(file: &Path) -> Result<String> {
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.trim().is_empty());
    let editor = variable("VISUAL").or_else(|| variable("EDITOR")).unwrap_or_else(|| "vi".into());
    // An editor may carry arguments, as in `code --wait`; the shell takes them apart.
    let mut command = Command::new("sh");
    command.args(["-c", &format!("{editor} \"$1\""), "sh"]).arg(file);
    let status = tokio::task::spawn_blocking(move || command.status()).await;
    match status {
        Ok(Ok(status)) if status.success() => {}
        Ok(Ok(status)) => return Err(Failure::failed(format!("the editor {editor:?} ended with {status}"))),
        Ok(Err(error)) => {
            return Err(Failure::failed(format!("cannot start the editor {editor:?}: {error}")));
        }
        Err(error) => {
            return Err(Failure::failed(format!("the editor {editor:?} could not be awaited: {error}")));
        }
    }
    std::fs::read_to_string(file)
        .map_err(|error| Failure::failed(format!("cannot read {}: {error}", file.display())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn agent() -> Value {
        json!({"apiVersion": "gcluster.dev/v1alpha1", "kind": "Agent",
            "metadata": {"name": "builder", "resourceVersion": "7"}, "spec": {
            "definition": "(defagent \"builder\"\n  (pipeline\n    (step \"work\" (loop work))))",
            "methods": {"work": "(defmethod work ()\n  \"Work.\")"}, "limits": {"maxIterations": 3}}})
    }

    #[test]
    fn a_program_changes_the_definition_alone() {
        let text = Form::P.text(&agent()).unwrap();
        assert!(text.contains("agent-builder:\n\tloop(work)\n"), "{text}");
        let changed = Form::P.read(&agent(), &text.replace("Work.", "Work hard."), "builder").unwrap();
        assert_eq!(changed["spec"]["methods"]["work"], "(defmethod work ()\n  \"Work hard.\")");
        assert_eq!(changed["spec"]["limits"], agent()["spec"]["limits"]);
        assert_eq!(changed["metadata"], agent()["metadata"]);
        let one = Form::P.read(&agent(), "agent-builder:\n\tOnly this.\n", "builder").unwrap();
        assert!(one["spec"].get("methods").is_none());
    }

    #[test]
    fn only_what_was_changed_is_written_and_only_over_what_was_opened() {
        let mut after = agent();
        after["spec"]["limits"]["maxIterations"] = json!(4);
        after["spec"]["methods"] = json!({"a/b~c": "x"});
        after["metadata"]["labels"] = json!({"team": "core"});
        after["metadata"]["resourceVersion"] = json!("8");
        after["status"] = json!({"x": 1});
        let steps: Vec<String> = patch(&agent(), &after)
            .iter()
            .map(|step| format!("{} {} {}", text(step, "/op"), text(step, "/path"), step["value"]))
            .collect();
        let work = "\"(defmethod work ()\\n  \\\"Work.\\\")\"";
        assert_eq!(
            steps,
            [
                "test /metadata/labels null".to_owned(),
                "add /metadata/labels {\"team\":\"core\"}".to_owned(),
                "test /spec/limits/maxIterations 3".to_owned(),
                "replace /spec/limits/maxIterations 4".to_owned(),
                format!("test /spec/methods/work {work}"),
                "remove /spec/methods/work null".to_owned(),
                "test /spec/methods/a~1b~0c null".to_owned(),
                "add /spec/methods/a~1b~0c \"x\"".to_owned(),
            ]
        );
        assert!(patch(&agent(), &agent()).is_empty());
    }

    #[test]
    fn another_agent_and_another_name_are_refused() {
        let two = "agent-a:\n\tx\n\nagent-builder:\n\ty\n";
        let told = Form::P.read(&agent(), two, "builder").unwrap_err();
        assert_eq!(told, ["the text has to hold the agent builder alone; it holds a, builder"]);
        assert_eq!(Form::P.read(&agent(), "agent-b:\n\tx\n", "builder").unwrap_err().len(), 1);
        assert!(Form::P.read(&agent(), "", "builder").unwrap_err()[0].ends_with("it holds none"));
        let yaml = Form::Yaml.text(&agent()).unwrap().replace("name: builder", "name: other");
        assert!(Form::Yaml.read(&agent(), &yaml, "builder").is_err());
    }

    #[test]
    fn errors_stand_on_top_name_the_lines_of_the_file_and_go_again() {
        for (form, text) in [(Form::P, "agent-builder:\n\tloop(gone)\n"), (Form::Yaml, "a: [1\nb: 2\n")] {
            let problems = form.read(&agent(), text, "builder").unwrap_err();
            let head = form.head(&problems);
            assert!(
                head.lines().count() > 1 && head.lines().all(|line| line.starts_with(form.sign())),
                "{head}"
            );
            let opened = format!("{head}{text}");
            assert_eq!(form.without_head(&opened), text);
            let moved = form.read(&agent(), &opened, "builder").unwrap_err();
            assert_eq!(moved.len(), problems.len());
            assert_ne!(moved, problems, "the lines are further down now");
        }
        let none = "; a comment of one's own\nagent-builder:\n\tx\n";
        assert_eq!(Form::P.without_head(none), none);
    }
}
