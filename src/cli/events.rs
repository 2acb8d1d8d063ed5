//! `gcluster events`: what the controllers decided, oldest first.

use clap::Args;
use k8s_openapi::jiff::Timestamp;

use super::Globals;
use super::objects;
use super::output::{note, print};
use crate::client::{JSON, escape, query};
use crate::exit::Result;
use crate::render::{event, fields};

/// Show events, oldest first
#[derive(Args, Debug)]
pub(crate) struct EventsArgs {
    /// Only events about this object, as KIND/NAME
    #[arg(long = "for", value_name = "KIND/NAME")]
    about: Option<String>,
    /// Of all namespaces
    #[arg(short = 'A', long)]
    all_namespaces: bool,
    /// Only warnings
    #[arg(long)]
    warnings: bool,
}

/// Does `gcluster events`.
pub(crate) async fn run(globals: &Globals, args: EventsArgs) -> Result {
    let connection = globals.connect().await?;
    let mut selectors: Vec<String> = Vec::new();
    if let Some(about) = &args.about {
        let catalog = super::kinds::Catalog::fetch(&connection).await?;
        if let objects::Selection::Objects(named) = objects::select(&catalog, std::slice::from_ref(about))? {
            for one in &named {
                selectors.push(format!("involvedObject.kind={}", one.resource.kind));
                selectors.push(format!("involvedObject.name={}", one.name));
            }
        } else {
            return Err(crate::exit::Failure::usage(format!("--for {about:?} should be KIND/NAME")));
        }
    }
    if args.warnings {
        selectors.push("type=Warning".into());
    }
    let base = match args.all_namespaces {
        true => "/api/v1/events".to_owned(),
        false => format!("/api/v1/namespaces/{}/events", escape(&connection.namespace)),
    };
    let joined = selectors.join(",");
    let pairs = [("fieldSelector", joined.as_str())];
    let path = format!("{base}{}", query(if selectors.is_empty() { &[] } else { &pairs }));
    let rows = event::sorted(&objects::items(connection.get(&path, JSON).await?));
    if rows.is_empty() {
        note("No events found.");
        return Ok(());
    }
    let now = Timestamp::now();
    let cells = rows
        .iter()
        .map(|row| {
            vec![row.age(now), row.kind.clone(), row.reason.clone(), row.object.clone(), row.message.clone()]
        })
        .collect();
    print(&fields::table(&["LAST SEEN", "TYPE", "REASON", "OBJECT", "MESSAGE"], cells, 0))
}
