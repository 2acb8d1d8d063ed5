//! `gcluster edit`: an object in your editor.

use std::process::Command;

use clap::Args;
use gcluster_types::labels::MANAGER_EDIT;
use http::Method;
use serde_json::Value;

use super::kinds::Catalog;
use super::objects::{self, Selection, text};
use super::output::{print, structured};
use super::{Globals, complete};
use crate::client::{JSON, query};
use crate::config;
use crate::exit::{Failure, Kind, Result};

/// Change an object in your editor ($VISUAL, $EDITOR, else vi)
#[derive(Args, Debug)]
pub(crate) struct EditArgs {
    /// KIND NAME or KIND/NAME
    #[arg(required = true, value_name = "KIND")]
    #[arg(add = complete::objects())]
    words: Vec<String>,
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
    let path = named.path(&connection.namespace);
    let mut object = connection
        .get(&path, JSON)
        .await
        .map_err(|failure| objects::not_found_hint(failure, named.resource))?;
    structured::hide_managed_fields(&mut object);
    let before = structured::yaml(&object)?;
    let file = private_file(&before)?;
    let after = edited(&file).await;
    let after = after.map_err(|failure| failure.hint(format!("your text is kept in {}", file.display())))?;
    if after == before {
        let _ = std::fs::remove_file(&file);
        return print("edit cancelled, nothing changed\n");
    }
    let kept = |failure: Failure| failure.hint(format!("your text is kept in {}", file.display()));
    let changed: Value = serde_yaml::from_str(&after)
        .map_err(|error| kept(Failure::failed(format!("the edited text is not YAML: {error}"))))?;
    if text(&changed, "/metadata/name") != named.name {
        return Err(kept(Failure::failed("the name of an object cannot be changed")));
    }
    let path = format!(
        "{path}{}",
        query(&[("fieldManager", &config::manager(MANAGER_EDIT)), ("fieldValidation", "Strict")])
    );
    connection.send(Method::PUT, &path, JSON, &changed).await.map_err(|failure| match failure.kind {
        Kind::Conflict => kept(failure.hint("somebody has changed it meanwhile: edit it again")),
        _ => kept(failure),
    })?;
    let _ = std::fs::remove_file(&file);
    print(&format!("{} edited\n", named.display()))
}

/// A new file that only the user may read.
fn private_file(content: &str) -> Result<std::path::PathBuf> {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;
    let stamp = k8s_openapi::jiff::Timestamp::now().as_nanosecond();
    let path = std::env::temp_dir().join(format!("gcluster-edit-{}-{stamp}.yaml", std::process::id()));
    let written = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&path)
        .and_then(|mut file| file.write_all(content.as_bytes()));
    written.map_err(|error| Failure::failed(format!("cannot write {}: {error}", path.display())))?;
    Ok(path)
}

async fn edited(file: &std::path::Path) -> Result<String> {
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
