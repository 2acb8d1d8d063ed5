//! `gcluster delete`: removes objects and waits until they are gone.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use serde_json::{Value, json};

use super::kinds::Catalog;
use super::objects::{self, Named, Selection, Selectors, parse_timeout, poll, text};
use super::output::{note, print};
use super::{Globals, complete, manifest};
use crate::client::{Connection, JSON};
use crate::exit::{Failure, Kind, Result};

/// Delete objects; an agent is stopped first, and its revisions and iterations go with it
#[derive(Args, Debug)]
pub(crate) struct DeleteArgs {
    /// KIND NAME… or KIND/NAME…
    #[arg(value_name = "KIND")]
    #[arg(add = complete::objects())]
    words: Vec<String>,
    /// Delete what these files hold
    #[arg(short, long = "filename", value_name = "FILE", value_hint = clap::ValueHint::AnyPath, conflicts_with = "words")]
    files: Vec<PathBuf>,
    /// All objects of the kind with these labels
    #[arg(short = 'l', long, value_name = "LABELS")]
    selector: Option<String>,
    /// All objects of the kind in the namespace
    #[arg(long, conflicts_with = "selector")]
    all: bool,
    /// Return only when the objects are gone
    #[arg(long, default_value_t = true, action = clap::ArgAction::Set, num_args = 0..=1, require_equals = true)]
    #[arg(default_missing_value = "true", value_name = "BOOL")]
    wait: bool,
    /// Longest time to wait
    #[arg(long, value_name = "TIME", default_value = "2m", value_parser = parse_timeout)]
    timeout: Duration,
    /// Succeed when an object does not exist
    #[arg(long)]
    ignore_not_found: bool,
}

/// One object to delete.
struct Doomed<'a> {
    named: Named<'a>,
    namespace: String,
}

/// Does `gcluster delete`.
pub(crate) async fn run(globals: &Globals, args: DeleteArgs) -> Result {
    if args.words.is_empty() && args.files.is_empty() {
        return Err(Failure::usage("name what to delete, as in `gcluster delete agent builder`"));
    }
    // Files are read first: what is wrong with them needs no master to be said.
    let desired = if args.files.is_empty() { Vec::new() } else { manifest::load(&args.files)? };
    let connection = globals.connect().await?;
    let catalog = Catalog::fetch(&connection).await?;
    let doomed = match args.files.is_empty() {
        true => chosen(&connection, &catalog, &args).await?,
        false => {
            desired.iter().map(|d| of_file(&connection, &catalog, &d.object)).collect::<Result<Vec<_>>>()?
        }
    };
    if doomed.is_empty() {
        note("No resources found.");
    }
    let mut missing: Option<Failure> = None;
    let mut deleted = Vec::new();
    for one in &doomed {
        match delete(&connection, one).await {
            Ok(uid) => {
                print(&format!("{} {:?} deleted\n", one.named.resource.qualified(), one.named.name))?;
                deleted.push((one, uid));
            }
            Err(failure) if failure.kind == Kind::NotFound && args.ignore_not_found => {}
            // The others are deleted all the same, as kubectl does.
            Err(failure) if failure.kind == Kind::NotFound => {
                if let Some(earlier) = missing.take() {
                    note(earlier.render().trim_end());
                }
                missing = Some(objects::not_found_hint(failure, one.named.resource));
            }
            Err(failure) => return Err(failure),
        }
    }
    if args.wait {
        for (one, uid) in deleted {
            gone(&connection, one, &uid, args.timeout).await?;
        }
    }
    missing.map_or(Ok(()), Err)
}

async fn chosen<'a>(
    connection: &Connection,
    catalog: &'a Catalog,
    args: &DeleteArgs,
) -> Result<Vec<Doomed<'a>>> {
    let namespace = connection.namespace.clone();
    match objects::select(catalog, &args.words)? {
        Selection::Objects(_) if args.selector.is_some() || args.all => {
            Err(Failure::usage("a name cannot be combined with -l or --all"))
        }
        Selection::Objects(named) => {
            Ok(named.into_iter().map(|named| Doomed { named, namespace: namespace.clone() }).collect())
        }
        Selection::Kinds(_) if args.selector.is_none() && !args.all => {
            Err(Failure::usage("name the objects to delete, or choose them with -l LABELS or --all"))
        }
        Selection::Kinds(kinds) => {
            let mut doomed = Vec::new();
            for resource in kinds {
                let selectors = Selectors { labels: args.selector.as_deref(), fields: None };
                let scope = resource.namespaced.then_some(namespace.as_str());
                let list = objects::list(connection, resource, scope, selectors).await?;
                doomed.extend(objects::items(list).iter().map(|object| Doomed {
                    named: Named { resource, name: text(object, "/metadata/name").to_owned() },
                    namespace: namespace.clone(),
                }));
            }
            Ok(doomed)
        }
    }
}

fn of_file<'a>(connection: &Connection, catalog: &'a Catalog, object: &Value) -> Result<Doomed<'a>> {
    let resource = catalog.of(text(object, "/apiVersion"), text(object, "/kind"))?;
    let namespace = match text(object, "/metadata/namespace") {
        "" => connection.namespace.clone(),
        namespace => namespace.to_owned(),
    };
    Ok(Doomed { named: Named { resource, name: text(object, "/metadata/name").to_owned() }, namespace })
}

/// Asks for the deletion. Answers the uid of the object, so that one of the same name that is made
/// meanwhile is not waited for.
async fn delete(connection: &Connection, one: &Doomed<'_>) -> Result<String> {
    let path = one.named.path(&one.namespace);
    let options = json!({"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": "Background"});
    let answer = connection.delete(&path, &options).await?;
    let uid = match text(&answer, "/details/uid") {
        "" => text(&answer, "/metadata/uid"),
        uid => uid,
    };
    Ok(uid.to_owned())
}

async fn gone(connection: &Connection, one: &Doomed<'_>, uid: &str, limit: Duration) -> Result {
    let path = one.named.path(&one.namespace);
    poll(limit, &format!("{} to be gone", one.named.display()), async || {
        match connection.get(&path, JSON).await {
            Ok(object) => Ok((!uid.is_empty() && text(&object, "/metadata/uid") != uid).then_some(())),
            Err(failure) if failure.kind == Kind::NotFound => Ok(Some(())),
            Err(failure) => Err(failure),
        }
    })
    .await
}
