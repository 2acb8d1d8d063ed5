//! Tidying a hub: git packs what has grown loose. Only while nobody works, at most once an hour, for at most ten minutes.

use std::time::Duration;

use gcluster_git::Hub;
use gcluster_types::{Repository, Ticket};
use kube::api::ListParams;
use kube::{Api, Client, ResourceExt};

use crate::error::{Error, Result};

/// How soon it is asked again whether there is something to tidy.
pub(super) const AGAIN: Duration = Duration::from_secs(600);
/// How long it may take; git leaves everything as it was when it is ended early.
const LIMIT: Duration = Duration::from_secs(600);
/// Loose objects, or packs, from which it is worth it.
const WORTH: (i64, i64) = (500, 10);

/// Whether no ticket is being worked on that may use the hub.
pub(super) async fn is_idle(client: &Client, repository: &Repository) -> Result<bool> {
    let api: Api<Ticket> = Api::namespaced(client.clone(), &repository.namespace().unwrap_or_default());
    let tickets = api.list(&ListParams::default()).await.map_err(Error::api("list tickets"))?;
    Ok(!tickets.iter().any(|ticket| ticket.status.as_ref().is_some_and(|status| status.phase.is_in_flight())))
}

/// Packs the hub if it is worth it. True when that was done.
pub(super) async fn tidy(hub: Hub) -> bool {
    let Ok(counts) = hub.git().text(["count-objects", "-v"]).await else { return false };
    let count = |name: &str| {
        let lines = counts.lines().filter_map(|line| line.split_once(": "));
        lines.filter(|(key, _)| *key == name).find_map(|(_, count)| count.parse::<i64>().ok()).unwrap_or(0)
    };
    if count("count") < WORTH.0 && count("packs") < WORTH.1 {
        return false;
    }
    // What nobody refers to stays for two weeks, git's own time.
    match hub.git().limit(LIMIT).text(["gc", "--quiet"]).await {
        Ok(_) => true,
        Err(error) => {
            tracing::warn!(hub = %hub.path().display(), %error, "a hub could not be tidied");
            false
        }
    }
}
