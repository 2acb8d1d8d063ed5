//! Files that hold desired state: `.p` programs, YAML or JSON manifests and plain tickets, read into objects.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use serde::Deserialize as _;
use serde_json::Value;

use super::compile;
use super::output::note;
use super::plain_tickets;
use crate::exit::{Failure, Result};

/// One object to be applied.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Desired {
    /// The object, without anything that the server adds.
    pub(crate) object: Value,
    /// For an agent of a `.p` file its name as written.
    pub(crate) agent: Option<String>,
}

/// Reads every file, directory and `-` in the order given. All problems of all files are printed before this
/// fails, warnings too. Of two objects with one name the later wins.
pub(crate) fn load(inputs: &[PathBuf]) -> Result<Vec<Desired>> {
    let mut loaded = Vec::new();
    let mut failed = false;
    for input in inputs {
        let done = files(input).and_then(|files| {
            files.iter().try_for_each(|file| {
                loaded.extend(read(file)?);
                Ok(())
            })
        });
        // Files that follow are read all the same, so that every problem is seen at once.
        if let Err(failure) = done {
            failed = true;
            note(failure.render().trim_end());
        }
    }
    if failed { Err(Failure::reported()) } else { Ok(last_wins(loaded)) }
}

/// The files that an argument stands for: itself, or the readable ones of a directory, by name.
fn files(input: &Path) -> Result<Vec<PathBuf>> {
    if !input.is_dir() {
        return Ok(vec![input.to_path_buf()]);
    }
    let entries = std::fs::read_dir(input).map_err(|error| {
        Failure::failed(format!("cannot read the directory {}: {error}", input.display()))
    })?;
    let mut found: Vec<PathBuf> = entries
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .filter(|path| path.is_file() && matches!(extension(path), "p" | "yaml" | "yml" | "json"))
        .collect();
    found.sort();
    match found.is_empty() {
        true => Err(Failure::failed(format!("{} holds no .p, .yaml, .yml or .json file", input.display()))),
        false => Ok(found),
    }
}

fn extension(path: &Path) -> &str {
    path.extension().and_then(|extension| extension.to_str()).unwrap_or_default()
}

/// Reads one file, or standard input for `-`.
pub(crate) fn read_bytes(file: &Path) -> Result<Vec<u8>> {
    let bytes = if file == Path::new("-") {
        let mut bytes = Vec::new();
        std::io::stdin().read_to_end(&mut bytes).map(|_| bytes)
    } else {
        std::fs::read(file)
    };
    bytes.map_err(|error| Failure::failed(format!("cannot read {}: {error}", shown(file).display())))
}

fn shown(file: &Path) -> PathBuf {
    if file == Path::new("-") { "standard input".into() } else { file.to_path_buf() }
}

fn read(file: &Path) -> Result<Vec<Desired>> {
    let bytes = read_bytes(file)?;
    let manifest = match extension(file) {
        "md" | "markdown" => return plain_tickets::read(file, &bytes),
        "yaml" | "yml" | "json" => true,
        "p" => false,
        _ => looks_like_manifest(&bytes),
    };
    if manifest { documents(file, &bytes) } else { program(file, &bytes) }
}

/// Tells a manifest from a program where no file name does: a program has no line `apiVersion: …` or `title: …`.
fn looks_like_manifest(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes);
    text.trim_start().starts_with(['{', '['])
        || text.lines().map(|line| line.trim_start_matches("- ")).any(|line| {
            line.starts_with("apiVersion:") || line.starts_with("title:") || line.starts_with("tickets:")
        })
}

fn program(file: &Path, bytes: &[u8]) -> Result<Vec<Desired>> {
    let stdin = file == Path::new("-");
    let path = if stdin { PathBuf::from("standard input") } else { file.to_path_buf() };
    let compiled = compile::compile(&path, bytes);
    for diagnostic in compiled.warnings.iter().chain(&compiled.errors) {
        note(&diagnostic.to_string());
    }
    if !compiled.errors.is_empty() {
        return Err(Failure::failed(match compiled.errors.len() {
            1 => format!("{} has an error, so nothing was sent", path.display()),
            n => format!("{} has {n} errors, so nothing was sent", path.display()),
        }));
    }
    let absolute = std::path::absolute(if stdin { Path::new(".") } else { file }).map_err(|error| {
        Failure::failed(format!("cannot find the directory of {}: {error}", file.display()))
    })?;
    let directory = if stdin { absolute.as_path() } else { absolute.parent().unwrap_or(Path::new("/")) };
    let source = (!stdin).then(|| absolute.clone());
    let agents = compile::agents(&compiled, Some(directory), source);
    Ok(agents.into_iter().map(|(name, object)| Desired { object, agent: Some(name) }).collect())
}

fn documents(file: &Path, bytes: &[u8]) -> Result<Vec<Desired>> {
    if plain_tickets::are_in(bytes) {
        return plain_tickets::read(&shown(file), bytes);
    }
    let mut found = Vec::new();
    for document in serde_yaml::Deserializer::from_slice(bytes) {
        let value = Value::deserialize(document)
            .map_err(|error| Failure::failed(format!("cannot read {}: {error}", shown(file).display())))?;
        collect(file, value, &mut found)?;
    }
    Ok(found)
}

/// Takes a document apart: an object, a List of objects, or nothing between two `---`.
fn collect(file: &Path, mut value: Value, found: &mut Vec<Desired>) -> Result {
    if value.is_null() {
        return Ok(());
    }
    let kind = value["kind"].as_str().unwrap_or_default();
    if kind.ends_with("List") && value["items"].is_array() {
        for item in super::objects::items(value) {
            collect(file, item, found)?;
        }
        return Ok(());
    }
    for field in ["/apiVersion", "/kind", "/metadata/name"] {
        if super::objects::text(&value, field).is_empty() {
            let name = field.trim_start_matches('/').replace('/', ".");
            return Err(Failure::failed(format!("an object in {} has no {name}", shown(file).display())));
        }
    }
    strip(&mut value);
    super::repository_path::resolve(file, &mut value)?;
    found.push(Desired { object: value, agent: None });
    Ok(())
}

/// Removes what the server adds, so that the output of `get -o yaml` is desired state again.
pub(crate) fn strip(object: &mut Value) {
    if let Some(map) = object.as_object_mut() {
        map.remove("status");
    }
    let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) else { return };
    for field in [
        "managedFields",
        "resourceVersion",
        "uid",
        "creationTimestamp",
        "generation",
        "selfLink",
        "deletionTimestamp",
    ] {
        metadata.remove(field);
    }
    metadata.remove("deletionGracePeriodSeconds");
    // gcluster's own finalizers belong to its controllers.
    if let Some(finalizers) = metadata.get_mut("finalizers").and_then(Value::as_array_mut) {
        finalizers
            .retain(|finalizer| !finalizer.as_str().is_some_and(|name| name.starts_with("gcluster.dev/")));
        if finalizers.is_empty() {
            metadata.remove("finalizers");
        }
    }
}

fn last_wins(loaded: Vec<Desired>) -> Vec<Desired> {
    let key = |desired: &Desired| {
        ["/apiVersion", "/kind", "/metadata/namespace", "/metadata/name"]
            .map(|path| super::objects::text(&desired.object, path).to_owned())
    };
    let mut place = std::collections::HashMap::new();
    let mut kept: Vec<Desired> = Vec::new();
    for desired in loaded {
        match place.get(&key(&desired)) {
            Some(&index) => kept[index] = desired,
            None => {
                place.insert(key(&desired), kept.len());
                kept.push(desired);
            }
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn write(dir: &Path, name: &str, text: &str) -> PathBuf {
        let path = dir.join(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    fn names(loaded: &[Desired]) -> Vec<&str> {
        loaded.iter().map(|d| super::super::objects::text(&d.object, "/metadata/name")).collect()
    }

    #[test]
    fn several_documents_and_lists_are_taken_apart() {
        let dir = tempfile::tempdir().unwrap();
        let agent = |name: &str| {
            format!("apiVersion: gcluster.dev/v1alpha1\nkind: Agent\nmetadata:\n  name: {name}\n")
        };
        let text = format!("---\n{}---\n\n---\n{}", agent("a"), agent("b"));
        let yaml = write(dir.path(), "x.yaml", &text);
        let list = json!({"kind": "List", "apiVersion": "v1", "items": [
            {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "n"}}]});
        let json = write(dir.path(), "y.json", &list.to_string());
        assert_eq!(names(&load(&[yaml, json]).unwrap()), ["a", "b", "n"]);
    }

    #[test]
    fn the_later_of_two_objects_wins_in_the_place_of_the_first() {
        let dir = tempfile::tempdir().unwrap();
        let agent = |name: &str, text: &str| {
            format!("apiVersion: v1\nkind: A\nmetadata: {{name: {name}}}\nspec: {text}\n")
        };
        let text = format!("{}---\n{}---\n{}", agent("a", "1"), agent("b", "2"), agent("a", "3"));
        let loaded = load(&[write(dir.path(), "x.yaml", &text)]).unwrap();
        assert_eq!(names(&loaded), ["a", "b"]);
        assert_eq!(loaded[0].object["spec"], 3);
    }

    #[test]
    fn what_the_server_adds_is_stripped() {
        let mut object = json!({"metadata": {"name": "a", "uid": "u", "resourceVersion": "1", "generation": 2,
            "managedFields": [], "creationTimestamp": "t", "labels": {"x": "y"},
            "finalizers": ["gcluster.dev/executor"]}, "spec": {"run": "Running"}, "status": {"x": 1}});
        strip(&mut object);
        assert_eq!(
            object,
            json!({"metadata": {"name": "a", "labels": {"x": "y"}}, "spec": {"run": "Running"}})
        );
    }

    #[test]
    fn manifests_are_told_from_programs_without_a_file_name() {
        assert!(looks_like_manifest(b"# c\napiVersion: v1\nkind: X\n"));
        assert!(looks_like_manifest(b" {\"kind\": 1}"));
        assert!(!looks_like_manifest(b"agent-a:\n\tapiVersion: v1 is what I write.\n"));
    }

    #[test]
    fn unreadable_and_incomplete_input_fails_with_its_place() {
        let dir = tempfile::tempdir().unwrap();
        assert!(load(&[dir.path().join("gone.p")]).is_err());
        assert!(load(&[dir.path().to_path_buf()]).is_err(), "an empty directory");
        let nameless = write(dir.path(), "n.yaml", "apiVersion: v1\nkind: A\n");
        let failure = read(&nameless).unwrap_err();
        assert!(
            failure.message.contains("metadata.name") && failure.message.contains("n.yaml"),
            "{failure:?}"
        );
        let torn = write(dir.path(), "t.yaml", "a: [1\n");
        assert!(read(&torn).unwrap_err().message.contains("t.yaml"));
    }
}
