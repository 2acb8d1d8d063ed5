//! `gcluster locks` and `gcluster get locks`: who holds what no two tickets may work on at once.

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use gcluster_types::Ticket;
use gcluster_types::labels::{LOCK, MANAGER_APPLY, TICKET};
use gcluster_types::tickets::lease_name;
use http::Method;
use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};

use super::Globals;
use super::objects::{self, text};
use super::output::{note, print};
use super::ticket;
use crate::client::{Connection, JSON, escape, query};
use crate::exit::{Failure, Kind, Result};
use crate::render::{age, fields, visible};

/// Locks of tickets: list them, take and release one by hand, import and export a map of holders
#[derive(Args, Debug)]
pub(crate) struct LocksArgs {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// List who holds which lock, since when, and who waits for it
    List,
    /// Take a lock by hand, so that no ticket that needs it is taken
    Take(TakeArgs),
    /// Let a lock go that was taken by hand or imported
    Release(ReleaseArgs),
    /// Take the locks of a JSON file {"lock": "holder", …}; a file that is not there holds none
    Import(ImportArgs),
    /// Write who holds which lock as a JSON file {"lock": "holder", …}
    Export(FileArgs),
}

#[derive(Args, Debug)]
struct TakeArgs {
    /// Name of the lock
    lock: String,
    /// Who takes it [default: your user name]
    #[arg(long, value_name = "NAME")]
    holder: Option<String>,
    /// Lose it after this many seconds unless it is taken again [default: never]
    #[arg(long, value_name = "SECONDS")]
    seconds: Option<u32>,
}

#[derive(Args, Debug)]
struct ReleaseArgs {
    /// Names of locks
    #[arg(required = true, value_name = "LOCK")]
    locks: Vec<String>,
}

#[derive(Args, Debug)]
struct FileArgs {
    /// The file; `-` is standard output
    file: PathBuf,
}

#[derive(Args, Debug)]
struct ImportArgs {
    /// The file
    file: PathBuf,
    /// Make it as the file says: locks that were taken by hand and are not in it are let go, or change their holder
    #[arg(long)]
    replace: bool,
}

/// Does `gcluster locks`.
pub(crate) async fn run(globals: &Globals, args: LocksArgs) -> Result {
    match args.verb {
        Verb::List => list(globals).await,
        Verb::Take(args) => take(globals, &args).await,
        Verb::Release(args) => release(globals, &args).await,
        Verb::Import(args) => import(globals, &args).await,
        Verb::Export(args) => export(globals, &args).await,
    }
}

/// A lock that somebody holds.
#[derive(Debug, PartialEq)]
struct Held {
    lock: String,
    lease: String,
    holder: String,
    /// It is a ticket's.
    by_ticket: bool,
    since: Option<Timestamp>,
    object: Value,
}

impl Held {
    fn of(lease: Value) -> Self {
        let name = text(&lease, "/metadata/name").to_owned();
        let written = text(&lease["metadata"]["annotations"], &format!("/{}", LOCK.replace('/', "~1")));
        let lock = if written.is_empty() { name.trim_start_matches("lock-") } else { written };
        Self {
            lock: lock.to_owned(),
            holder: text(&lease, "/spec/holderIdentity").to_owned(),
            by_ticket: lease["metadata"]["labels"].get(TICKET).is_some(),
            since: text(&lease, "/spec/acquireTime").parse().ok(),
            lease: name,
            object: lease,
        }
    }
}

async fn held(connection: &Connection) -> Result<Vec<Held>> {
    let path = format!("{}{}", leases(connection), query(&[("labelSelector", LOCK)]));
    let mut all: Vec<Held> =
        objects::items(connection.get(&path, JSON).await?).into_iter().map(Held::of).collect();
    all.sort_by(|one, two| one.lock.cmp(&two.lock));
    Ok(all)
}

/// Prints the table of locks.
pub(super) async fn list(globals: &Globals) -> Result {
    let connection = globals.connect().await?;
    let locks = held(&connection).await?;
    if locks.is_empty() {
        note(&format!("no lock is held in namespace {}", connection.namespace));
        return Ok(());
    }
    let tickets = objects::items(connection.get(&ticket::collection(&connection), JSON).await?);
    let tickets: Vec<Ticket> =
        tickets.into_iter().filter_map(|object| serde_json::from_value(object).ok()).collect();
    print(&table(&locks, &tickets, Timestamp::now()))
}

fn table(locks: &[Held], tickets: &[Ticket], now: Timestamp) -> String {
    let mut rows = vec![["LOCK", "HOLDER", "SINCE", "WAITING"].map(str::to_owned).to_vec()];
    for lock in locks {
        let waits = |ticket: &&Ticket| {
            let locked =
                ticket.status.as_ref().is_some_and(|status| status.reason.as_deref() == Some("Locked"));
            locked && ticket.spec.locks.iter().any(|name| lease_name(name) == lock.lease)
        };
        let mut waiting: Vec<&Ticket> = tickets.iter().filter(waits).collect();
        waiting.sort_by_key(|ticket| ticket.order());
        let names: Vec<&str> = waiting.iter().filter_map(|ticket| ticket.metadata.name.as_deref()).collect();
        rows.push(vec![
            visible(&lock.lock).into_owned(),
            visible(&lock.holder).into_owned(),
            lock.since.map_or_else(|| "-".to_owned(), |since| age::since(since, now)),
            if names.is_empty() { "-".to_owned() } else { names.join(", ") },
        ]);
    }
    fields::align(&rows, &mut Vec::new())
}

fn lease(lock: &str, holder: &str, seconds: Option<u32>) -> Value {
    let now = Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S%.6fZ").to_string();
    json!({
        "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
        "metadata": {"name": lease_name(lock), "labels": {LOCK: "true"}, "annotations": {LOCK: lock}},
        "spec": {"holderIdentity": holder, "leaseDurationSeconds": seconds, "acquireTime": now, "renewTime": now},
    })
}

/// Takes a lock; the same holder takes it anew. The answer is false when somebody else has it: who.
async fn take_one(
    connection: &Connection,
    lock: &str,
    holder: &str,
    seconds: Option<u32>,
) -> Result<Option<String>> {
    let new = lease(lock, holder, seconds);
    let path = format!("{}{}", leases(connection), query(&[("fieldManager", MANAGER_APPLY)]));
    match connection.send(Method::POST, &path, JSON, &new).await {
        Err(failure) if failure.kind == Kind::Conflict => {}
        answer => return answer.map(|_| None),
    }
    let own = format!("{}/{}", leases(connection), escape(&lease_name(lock)));
    let there = Held::of(connection.get(&own, JSON).await?);
    if there.by_ticket || there.holder != holder {
        return Ok(Some(there.holder));
    }
    let mut renewed = there.object;
    renewed["spec"]["renewTime"] = new["spec"]["renewTime"].clone();
    renewed["spec"]["leaseDurationSeconds"] = new["spec"]["leaseDurationSeconds"].clone();
    let path = format!("{own}{}", query(&[("fieldManager", MANAGER_APPLY)]));
    connection.send(Method::PUT, &path, JSON, &renewed).await.map(|_| None)
}

async fn take(globals: &Globals, args: &TakeArgs) -> Result {
    if args.lock.trim().is_empty() {
        return Err(Failure::usage("a lock has a name"));
    }
    let connection = globals.connect().await?;
    let user = std::env::var("USER").ok().filter(|user| !user.is_empty());
    let holder = args.holder.clone().or(user).unwrap_or_else(|| "somebody".to_owned());
    match take_one(&connection, &args.lock, &holder, args.seconds).await? {
        None => print(&format!("lock {} taken by {holder}\n", args.lock)),
        Some(other) => {
            Err(Failure::new(Kind::Conflict, format!("the lock {} is held by {other}", args.lock))
                .hint("`gcluster locks list` says since when, and who waits"))
        }
    }
}

async fn release(globals: &Globals, args: &ReleaseArgs) -> Result {
    let connection = globals.connect().await?;
    for lock in &args.locks {
        let path = format!("{}/{}", leases(&connection), escape(&lease_name(lock)));
        let there = connection.get(&path, JSON).await.map_err(|failure| match failure.kind {
            Kind::NotFound => Failure::new(Kind::NotFound, format!("nobody holds the lock {lock}"))
                .hint("`gcluster locks list` lists those that are held"),
            _ => failure,
        })?;
        let there = Held::of(there);
        if there.by_ticket && is_at_work(&connection, &there.holder).await? {
            let message =
                format!("the lock {lock} is held by the ticket {0}, which is at work", there.holder);
            return Err(Failure::new(Kind::Conflict, message).hint(format!(
                "it lets go when it is over; `gcluster ticket stop {}` ends it",
                there.holder
            )));
        }
        let_go(&connection, lock, &there).await?;
    }
    Ok(())
}

/// Removes a lock as it was seen.
async fn let_go(connection: &Connection, lock: &str, there: &Held) -> Result {
    let path = format!("{}/{}", leases(connection), escape(&there.lease));
    let only = json!({"kind": "DeleteOptions", "apiVersion": "v1", "preconditions": {
        "uid": text(&there.object, "/metadata/uid"),
        "resourceVersion": text(&there.object, "/metadata/resourceVersion")}});
    connection.send(Method::DELETE, &path, JSON, &only).await?;
    print(&format!("lock {lock} released; {} had it\n", there.holder))
}

async fn is_at_work(connection: &Connection, name: &str) -> Result<bool> {
    let path = format!("{}/{}", ticket::collection(connection), escape(name));
    match connection.get(&path, JSON).await {
        Ok(object) => {
            let ticket: Option<Ticket> = serde_json::from_value(object).ok();
            Ok(ticket.and_then(|ticket| ticket.status).is_some_and(|status| status.phase.is_in_flight()))
        }
        Err(failure) if failure.kind == Kind::NotFound => Ok(false),
        Err(failure) => Err(failure),
    }
}

/// The map of a file. One that is not there holds nothing.
fn read(file: &std::path::Path) -> Result<BTreeMap<String, String>> {
    let text = match std::fs::read_to_string(file) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
        Err(error) => return Err(Failure::failed(format!("cannot read {}: {error}", file.display()))),
    };
    if text.trim().is_empty() {
        return Ok(BTreeMap::new());
    }
    serde_json::from_str(&text).map_err(|error| {
        Failure::failed(format!("{} is no map of locks to holders: {error}", file.display()))
            .hint("it looks like {\"ui\": \"anna\"}")
    })
}

async fn import(globals: &Globals, args: &ImportArgs) -> Result {
    let map = read(&args.file)?;
    let connection = globals.connect().await?;
    if args.replace {
        for there in superseded(held(&connection).await?, &map) {
            let_go(&connection, &there.lock, &there).await?;
        }
    }
    let mut refused = Vec::new();
    for (lock, holder) in &map {
        match take_one(&connection, lock, holder, None).await? {
            None => print(&format!("lock {lock} taken by {holder}\n"))?,
            // A ticket that has it already, as an export says.
            Some(other) if other == *holder => print(&format!("lock {lock} is held by {holder}\n"))?,
            Some(other) => refused.push(format!("{lock}: held by {other}, not by {holder}")),
        }
    }
    if map.is_empty() {
        note(&format!("{} holds no lock", args.file.display()));
    }
    if refused.is_empty() {
        return Ok(());
    }
    let failure = Failure::new(Kind::Conflict, "some locks are held by others");
    Err(refused.into_iter().fold(failure, Failure::cause))
}

/// Locks that were taken by hand and that the file gives to nobody, or to somebody else. Those of tickets stay: their work
/// is not in the base yet.
fn superseded(held: Vec<Held>, map: &BTreeMap<String, String>) -> Vec<Held> {
    let wanted: BTreeMap<String, &String> =
        map.iter().map(|(lock, holder)| (lease_name(lock), holder)).collect();
    let is_over = |there: &Held| wanted.get(&there.lease).is_none_or(|holder| **holder != there.holder);
    held.into_iter().filter(|there| !there.by_ticket && is_over(there)).collect()
}

async fn export(globals: &Globals, args: &FileArgs) -> Result {
    let connection = globals.connect().await?;
    let locks = held(&connection).await?;
    let map: BTreeMap<&str, &str> =
        locks.iter().map(|lock| (lock.lock.as_str(), lock.holder.as_str())).collect();
    let mut text = serde_json::to_string_pretty(&map)
        .map_err(|error| Failure::failed(format!("cannot write the locks: {error}")))?;
    text.push('\n');
    if args.file.as_os_str() == "-" {
        return print(&text);
    }
    std::fs::write(&args.file, text)
        .map_err(|error| Failure::failed(format!("cannot write {}: {error}", args.file.display())))?;
    print(&format!(
        "{} lock{} written to {}\n",
        map.len(),
        if map.len() == 1 { "" } else { "s" },
        args.file.display()
    ))
}

fn leases(connection: &Connection) -> String {
    format!("/apis/coordination.k8s.io/v1/namespaces/{}/leases", escape(&connection.namespace))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_replaces_lets_go_what_was_taken_by_hand_and_is_not_in_it() {
        let mut of_ticket = lease("api", "t-1", Some(60));
        of_ticket["metadata"]["labels"][TICKET] = "t-1".into();
        let held =
            [lease("UI", "anna", None), lease("db", "anna", None), lease("docs", "bob", None), of_ticket];
        let held: Vec<Held> = held.into_iter().map(Held::of).collect();
        let map = BTreeMap::from([("ui", "anna"), ("docs", "anna"), ("api", "anna")]);
        let map = map.into_iter().map(|(lock, holder)| (lock.to_owned(), holder.to_owned())).collect();
        let gone: Vec<String> = superseded(held, &map).into_iter().map(|there| there.lock).collect();
        assert_eq!(gone, ["db", "docs"]);
    }

    #[test]
    fn the_table_says_who_waits() {
        let mut lease = lease("UI", "t-1", Some(60));
        lease["spec"]["acquireTime"] = "2026-01-02T03:00:00.000000Z".into();
        lease["metadata"]["labels"][TICKET] = "t-1".into();
        let ticket = |name: &str, reason: &str| -> Ticket {
            serde_json::from_value(json!({"apiVersion": "gcluster.dev/v1alpha1", "kind": "Ticket",
                "metadata": {"name": name}, "spec": {"title": name, "locks": ["ui"]},
                "status": {"phase": "Waiting", "reason": reason}}))
            .unwrap()
        };
        let tickets = [ticket("t-3", "Locked"), ticket("t-2", "Locked"), ticket("t-4", "Held")];
        let now: Timestamp = "2026-01-02T03:05:00Z".parse().unwrap();
        let table = table(&[Held::of(lease)], &tickets, now);
        assert_eq!(table, "LOCK   HOLDER   SINCE   WAITING\nUI     t-1      5m      t-2, t-3\n");
    }

    #[test]
    fn a_file_that_is_not_there_holds_no_lock_and_another_one_is_refused_in_words() {
        let dir = tempfile::tempdir().unwrap();
        assert!(read(&dir.path().join("none.json")).unwrap().is_empty());
        let file = dir.path().join("locks.json");
        std::fs::write(&file, "{\"ui\": \"anna\"}").unwrap();
        assert_eq!(read(&file).unwrap()["ui"], "anna");
        std::fs::write(&file, "[1]").unwrap();
        assert!(read(&file).unwrap_err().message.contains("no map of locks"));
    }
}
