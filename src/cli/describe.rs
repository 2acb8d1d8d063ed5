//! `gcluster describe`: an object in words, with what belongs to it.

use clap::Args;
use serde_json::Value;

use super::kinds::Catalog;
use super::objects::{self, Named, Selection, Selectors};
use super::output::{note, print};
use super::{Globals, complete};
use crate::client::{Connection, JSON};
use crate::describe;
use crate::exit::Result;

/// Explain objects in words: state and why, steps, revisions, conditions, events
#[derive(Args, Debug)]
pub(crate) struct DescribeArgs {
    /// KIND [NAME…] or KIND/NAME…, such as `agent builder` or `iteration builder.build.3`
    #[arg(required = true, value_name = "KIND")]
    #[arg(add = complete::objects())]
    words: Vec<String>,
    /// Only objects with these labels
    #[arg(short = 'l', long, value_name = "LABELS")]
    selector: Option<String>,
}

/// Does `gcluster describe`.
pub(crate) async fn run(globals: &Globals, args: DescribeArgs) -> Result {
    let connection = globals.connect().await?;
    let catalog = Catalog::fetch(&connection).await?;
    let mut found: Vec<Value> = Vec::new();
    match objects::select(&catalog, &args.words)? {
        Selection::Objects(named) => {
            for one in named {
                found.push(get(&connection, &one).await?);
            }
        }
        Selection::Kinds(kinds) => {
            for resource in kinds {
                let namespace = resource.namespaced.then_some(connection.namespace.as_str());
                let selectors = Selectors { labels: args.selector.as_deref(), fields: None };
                let list = objects::list(&connection, resource, namespace, selectors).await?;
                found.extend(objects::items(list));
            }
        }
    }
    if found.is_empty() {
        note(&format!("No resources found in {} namespace.", connection.namespace));
    }
    let mut parts = Vec::new();
    for object in &found {
        parts.push(describe::describe(&connection, object).await?);
    }
    print(&parts.join("\n\n"))
}

async fn get(connection: &Connection, named: &Named<'_>) -> Result<Value> {
    connection
        .get(&named.path(&connection.namespace), JSON)
        .await
        .map_err(|failure| objects::not_found_hint(failure, named.resource))
}
