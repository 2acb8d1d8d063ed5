//! Where the checkout of a Repository manifest is: relative paths count from the file, no path means the checkout that
//! the command is given in.

use std::path::{Path, PathBuf};

use gcluster_git::Source;
use serde_json::Value;

use super::objects::text;
use crate::exit::{Failure, Result};

/// Makes `spec.path` of a Repository absolute. Any other object stays as it is.
///
/// # Errors
/// When what is meant is not in a git repository.
pub(crate) fn resolve(file: &Path, object: &mut Value) -> Result {
    let is_ours = object["kind"] == "Repository" && text(object, "/apiVersion").starts_with("gcluster.dev/");
    if !is_ours || !object["spec"].is_object() && !object["spec"].is_null() {
        return Ok(());
    }
    let here = std::env::current_dir()
        .map_err(|error| Failure::failed(format!("cannot find the current directory: {error}")))?;
    let (folder, name) = match (file == Path::new("-"), file.parent()) {
        (false, Some(parent)) => (here.join(parent), file.display().to_string()),
        _ => (here.clone(), "standard input".to_owned()),
    };
    let of = format!("the Repository {} in {name}", text(object, "/metadata/name"));
    let path = match object.pointer("/spec/path") {
        None | Some(Value::Null) => top_level(&here).ok_or_else(|| {
            Failure::failed(format!("{of} names no path, and {} is not in a git repository", here.display()))
                .hint("run this in the checkout, or name it in spec.path")
        })?,
        Some(Value::String(path)) if !path.is_empty() => {
            let Source::Local(written) = Source::of(path) else { return Ok(()) };
            if written.is_absolute() {
                return Ok(());
            }
            let home = std::env::var_os("HOME").filter(|home| !home.is_empty());
            let meant = match (written.strip_prefix("~"), home) {
                (Ok(rest), Some(home)) => Path::new(&home).join(rest),
                _ => folder.join(&written),
            };
            let meant = std::fs::canonicalize(&meant).map_err(|error| {
                Failure::failed(format!("{of} has the path {path}, and {}: {error}", meant.display()))
            })?;
            if top_level(&meant).is_none() && !is_bare(&meant) {
                let what =
                    format!("{of} has the path {path}, and {} is not in a git repository", meant.display());
                return Err(Failure::failed(what).hint(
                    "relative paths count from the folder of the file; `git init` makes a repository",
                ));
            }
            meant
        }
        // What is neither is for the master to refuse, with the field's name.
        Some(_) => return Ok(()),
    };
    object["spec"]["path"] = path.display().to_string().into();
    Ok(())
}

/// The top of the checkout that a folder is in.
pub(crate) fn top_level(folder: &Path) -> Option<PathBuf> {
    let folder = std::fs::canonicalize(folder).ok()?;
    // In a linked worktree and in a submodule it is a file.
    folder.ancestors().find(|path| path.join(".git").exists()).map(Path::to_owned)
}

/// Whether a folder is a repository without a checkout.
pub(crate) fn is_bare(folder: &Path) -> bool {
    folder.join("HEAD").is_file() && folder.join("objects").is_dir() && folder.join("refs").is_dir()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn resolved(file: &Path, path: Value) -> Result<Value> {
        let mut object = json!({"apiVersion": "gcluster.dev/v1alpha1", "kind": "Repository",
            "metadata": {"name": "app"}, "spec": {"path": path}});
        resolve(file, &mut object).map(|()| object["spec"]["path"].take())
    }

    #[test]
    fn relative_paths_count_from_the_file_and_addresses_stay() {
        let dir = tempfile::tempdir().unwrap();
        let root = std::fs::canonicalize(dir.path()).unwrap();
        std::fs::create_dir_all(root.join("app/.git")).unwrap();
        std::fs::create_dir_all(root.join("app/deep")).unwrap();
        let file = root.join("app/deep/gcluster.yaml");
        let app = Value::from(root.join("app").to_str().unwrap());
        assert_eq!(resolved(&file, json!("..")).unwrap(), app);
        assert_eq!(resolved(&root.join("x.yaml"), json!("app")).unwrap(), app);
        for same in [json!("/srv/app"), json!("https://x/y.git"), json!("git@x:y"), json!(""), json!(7)] {
            assert_eq!(resolved(&file, same.clone()).unwrap(), same);
        }
        let refused = resolved(&root.join("x.yaml"), json!(".")).unwrap_err();
        assert!(refused.message.contains("is not in a git repository"), "{refused:?}");
        let gone = resolved(&file, json!("nowhere")).unwrap_err();
        assert!(
            gone.message.contains("the Repository app in ") && gone.message.contains("nowhere"),
            "{gone:?}"
        );
        let mut other = json!({"apiVersion": "v1", "kind": "Repository", "spec": {}});
        resolve(&file, &mut other).unwrap();
        assert_eq!(other["spec"], json!({}));
    }
}
