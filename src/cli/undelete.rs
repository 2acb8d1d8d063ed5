//! `gcluster undelete`: workspaces and tickets that are gone, made again from what was kept of them.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use gcluster_types::kinds::ticket::{TicketPhase, TicketState};
use gcluster_types::kinds::workspace::WorkspacePhase;
use gcluster_types::labels::{ENDED, MANAGER_APPLY};
use gcluster_types::{Salvage, Ticket, Workspace};
use http::Method;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::Globals;
use super::objects::{self, parse_timeout, poll};
use super::output::{note, print};
use super::saves;
use crate::client::{Connection, JSON, MERGE, escape, query};
use crate::exit::{Failure, Kind, Result};
use crate::render::{fields, visible};

/// Bring back a workspace or ticket that is gone; without a name, list what can be
#[derive(Args, Debug)]
pub(crate) struct UndeleteArgs {
    /// What it was
    #[arg(value_enum)]
    kind: Option<What>,
    /// Its name; of several of that name, the one that went last. The name of a Salvage is taken, too
    #[arg(value_name = "NAME")]
    name: Option<String>,
    /// Put the workspace on a branch of another name, where the old one has gone on
    #[arg(long, value_name = "BRANCH")]
    branch: Option<String>,
    /// List what was saved of a workspace's files while they were worked on, also of one that is there
    #[arg(long, conflicts_with = "branch")]
    saves: bool,
    /// Put the files of one of those into a new folder; nothing else changes
    #[arg(long, value_name = "NUMBER", requires = "to", conflicts_with_all = ["branch", "saves"])]
    save: Option<usize>,
    /// The new folder
    #[arg(long, value_name = "FOLDER", requires = "save")]
    to: Option<PathBuf>,
    /// Longest time to wait until the workspace is ready
    #[arg(long, value_name = "TIME", default_value = "5m", value_parser = parse_timeout)]
    timeout: Duration,
}

/// What can be brought back.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    /// The checkouts of a ticket
    #[value(alias = "workspaces", alias = "ws")]
    Workspace,
    /// A ticket, with its workspace
    #[value(alias = "tickets", alias = "tk")]
    Ticket,
}

impl What {
    fn kind(self) -> &'static str {
        match self {
            What::Workspace => "Workspace",
            What::Ticket => "Ticket",
        }
    }
}

/// Does `gcluster undelete`.
pub(crate) async fn run(globals: &Globals, args: UndeleteArgs) -> Result {
    let connection = globals.connect().await?;
    let all = salvages(&connection).await?;
    let (Some(kind), Some(name)) = (args.kind, args.name.as_deref()) else {
        if args.saves || args.save.is_some() {
            return Err(Failure::usage("name a workspace: gcluster undelete workspace NAME --saves"));
        }
        return list(&all, args.kind);
    };
    if args.saves || args.save.is_some() {
        if kind != What::Workspace {
            return Err(Failure::usage(
                "only files of workspaces are saved: gcluster undelete workspace NAME --saves",
            ));
        }
        let salvage = find(&all, kind, name).ok();
        return match (args.save, &args.to) {
            (Some(number), Some(to)) => saves::copy_out(&connection, name, salvage, number, to).await,
            _ => saves::list(&connection, name, salvage).await,
        };
    }
    let salvage = find(&all, kind, name)?;
    match kind {
        What::Workspace => {
            let salvaged: Workspace = manifest(salvage)?;
            let owner = match &salvaged.spec.ticket {
                Some(ticket) => get::<Ticket>(&connection, "tickets", ticket).await?,
                None => None,
            };
            restore_workspace(&connection, salvage, salvaged, owner.as_ref(), &args).await
        }
        What::Ticket => restore_ticket(&connection, salvage, &all, &args).await,
    }
}

/// All Salvages of the namespace, the one that was made last first.
async fn salvages(connection: &Connection) -> Result<Vec<Salvage>> {
    let list = connection.get(&path(connection, "salvages", ""), JSON).await?;
    let mut all: Vec<Salvage> =
        objects::items(list).into_iter().filter_map(|item| serde_json::from_value(item).ok()).collect();
    all.sort_by_key(|one| std::cmp::Reverse(one.metadata.creation_timestamp.as_ref().map(|at| at.0)));
    Ok(all)
}

fn list(all: &[Salvage], kind: Option<What>) -> Result {
    let rows: Vec<Vec<String>> = all
        .iter()
        .filter(|one| kind.is_none_or(|kind| one.spec.kind == kind.kind()))
        .map(|one| {
            let spec = &one.spec;
            let or_dash = |text: Option<&str>| visible(text.unwrap_or("-")).into_owned();
            vec![
                spec.kind.to_lowercase(),
                visible(&spec.name).into_owned(),
                or_dash(spec.ticket.as_deref()),
                or_dash(spec.holds.as_deref()),
                or_dash(spec.expires_at.as_deref()),
                or_dash(one.metadata.name.as_deref()),
            ]
        })
        .collect();
    if rows.is_empty() {
        note("Nothing can be brought back: nothing was removed, or what was kept has expired.");
        return Ok(());
    }
    let header = ["KIND", "NAME", "TICKET", "HOLDS", "UNTIL", "SALVAGE"];
    print(&fields::table(&header, rows, 0))?;
    note("`gcluster undelete workspace|ticket NAME` brings one back.");
    Ok(())
}

fn find<'a>(all: &'a [Salvage], kind: What, name: &str) -> Result<&'a Salvage> {
    let named = |one: &&Salvage| one.metadata.name.as_deref() == Some(name) || one.spec.name == name;
    let wanted = gcluster_types::names::object_name(name).unwrap_or_else(|_| name.to_owned());
    let of_kind = || all.iter().filter(|one| one.spec.kind == kind.kind());
    of_kind().find(named).or_else(|| of_kind().find(|one| one.spec.name == wanted)).ok_or_else(|| {
        let what = kind.kind().to_lowercase();
        Failure::new(Kind::NotFound, format!("nothing is kept of a {what} {name:?}"))
            .hint("`gcluster undelete` lists what can be brought back")
    })
}

fn manifest<K: DeserializeOwned>(salvage: &Salvage) -> Result<K> {
    serde_json::from_str(&salvage.spec.manifest).map_err(|error| {
        let name = salvage.metadata.name.as_deref().unwrap_or_default();
        Failure::failed(format!("the manifest in the Salvage {name} cannot be read: {error}"))
    })
}

/// Creates the workspace again and waits until it is ready.
async fn restore_workspace(
    connection: &Connection,
    salvage: &Salvage,
    salvaged: Workspace,
    owner: Option<&Ticket>,
    args: &UndeleteArgs,
) -> Result {
    let name = salvage.spec.name.clone();
    // One that is being removed makes room for the next.
    poll(args.timeout, &format!("the workspace {name} to be removed"), async || {
        let there: Option<Workspace> = get(connection, "workspaces", &name).await?;
        match there {
            None => Ok(Some(())),
            Some(there) if there.metadata.deletion_timestamp.is_some() => Ok(None),
            Some(_) => Err(Failure::new(Kind::Conflict, format!("there is a workspace {name} already"))
                .hint(format!(
                    "`gcluster delete workspace {name}` keeps what is in it and makes room; `--saves` lists earlier states of its files"
                ))),
        }
    })
    .await?;
    let mut spec = salvaged.spec;
    spec.restore_from = salvage.metadata.name.clone();
    if let Some(branch) = &args.branch {
        spec.branch.clone_from(branch);
    }
    let owners: Vec<Value> = owner
        .iter()
        .filter_map(|ticket| {
            let (name, uid) = (ticket.metadata.name.as_ref()?, ticket.metadata.uid.as_ref()?);
            Some(json!({"apiVersion": "gcluster.dev/v1alpha1", "kind": "Ticket", "name": name, "uid": uid, "controller": true}))
        })
        .collect();
    let body = json!({
        "apiVersion": "gcluster.dev/v1alpha1", "kind": "Workspace",
        "metadata": {"name": name, "labels": salvaged.metadata.labels, "ownerReferences": owners},
        "spec": spec,
    });
    create(connection, "workspaces", &body).await?;
    let what = format!("the workspace {name} to be ready");
    let ready = poll(args.timeout, &what, async || {
        let there: Option<Workspace> = get(connection, "workspaces", &name).await?;
        let status = there.and_then(|there| there.status).unwrap_or_default();
        let message = status.message.clone().unwrap_or_default();
        match (status.phase, status.reason.as_deref()) {
            (WorkspacePhase::Ready, _) => Ok(Some(status)),
            (WorkspacePhase::Failed, _)
            | (_, Some("BranchElsewhere" | "SalvageMissing" | "FolderOccupied")) => {
                Err(Failure::failed(format!("the workspace {name} is not brought back: {message}"))
                    .hint(format!("what was kept stays; `gcluster delete workspace {name}` begins anew")))
            }
            _ => Ok(None),
        }
    });
    let ready = ready.await?;
    let holds = salvage.spec.holds.as_deref().unwrap_or("nothing");
    print(&format!("workspace {name} is back with {holds}: {}\n", ready.path.unwrap_or_default()))
}

/// Creates the ticket again: first held, so that nobody takes it before it is as it was.
async fn restore_ticket(
    connection: &Connection,
    salvage: &Salvage,
    all: &[Salvage],
    args: &UndeleteArgs,
) -> Result {
    let salvaged: Ticket = manifest(salvage)?;
    let name = salvage.spec.name.clone();
    let mut spec = salvaged.spec.clone();
    spec.state = TicketState::Held;
    let mut annotations = salvaged.metadata.annotations.clone().unwrap_or_default();
    let ended = salvaged.status.as_ref().and_then(|status| status.finished_at.as_ref());
    // Its row is in the metrics.
    annotations.extend(ended.map(|at| (ENDED.to_owned(), at.0.to_string())));
    let body = json!({
        "apiVersion": "gcluster.dev/v1alpha1", "kind": "Ticket",
        "metadata": {"name": name, "labels": salvaged.metadata.labels, "annotations": annotations},
        "spec": spec,
    });
    poll(args.timeout, &format!("the ticket {name} to be removed"), async || {
        let there: Option<Ticket> = get(connection, "tickets", &name).await?;
        Ok(there.is_none_or(|there| there.metadata.deletion_timestamp.is_none()).then_some(()))
    })
    .await?;
    let created = create(connection, "tickets", &body).await.map_err(|failure| match failure.kind {
        Kind::Conflict => {
            failure.hint(format!("`gcluster describe ticket {name}` shows the one that is there"))
        }
        _ => failure,
    })?;
    let created: Ticket = serde_json::from_value(created)
        .map_err(|error| Failure::failed(format!("the new ticket cannot be read: {error}")))?;
    let phase = salvaged.status.as_ref().map(|status| status.phase).unwrap_or_default();
    let patch = json!({ "status": status(&salvaged) });
    let one = path(connection, "tickets", &name);
    let manager = query(&[("fieldManager", MANAGER_APPLY)]);
    connection.send(Method::PATCH, &format!("{one}/status{manager}"), MERGE, &patch).await?;
    let of_ticket = |other: &&Salvage| {
        other.spec.kind == "Workspace" && other.spec.ticket.as_ref() == Some(&name) && other.spec.name == name
    };
    // It may have been removed after the ticket was, a moment ago.
    let fresh = salvages(connection).await?;
    let workspace = fresh.iter().find(of_ticket).or_else(|| all.iter().find(of_ticket));
    if let Some(kept) = workspace.filter(|_| phase != TicketPhase::Merged) {
        restore_workspace(connection, kept, manifest(kept)?, Some(&created), args).await?;
    }
    let state = json!({"spec": {"state": salvaged.spec.state}});
    connection.send(Method::PATCH, &format!("{one}{manager}"), MERGE, &state).await?;
    print(&format!("ticket {name} is back; it was {}\n", format!("{phase:?}").to_lowercase()))
}

/// What is said of a ticket again: all of one that had come to its end; of others what was counted, since their agents
/// are gone and somebody has to take them anew.
fn status(salvaged: &Ticket) -> Value {
    let status = salvaged.status.clone().unwrap_or_default();
    let mut value = serde_json::to_value(&status).unwrap_or_default();
    if let Some(fields) = value.as_object_mut().filter(|_| !status.phase.is_terminal()) {
        for gone in
            ["agent", "review", "merge", "worker", "pool", "since", "reason", "message", "observedGeneration"]
        {
            fields.remove(gone);
        }
        fields.insert("phase".to_owned(), json!("Waiting"));
    }
    value
}

pub(super) fn path(connection: &Connection, plural: &str, name: &str) -> String {
    let namespace = escape(&connection.namespace);
    let collection = format!("/apis/gcluster.dev/v1alpha1/namespaces/{namespace}/{plural}");
    if name.is_empty() { collection } else { format!("{collection}/{}", escape(name)) }
}

pub(super) async fn get<K: DeserializeOwned>(
    connection: &Connection,
    plural: &str,
    name: &str,
) -> Result<Option<K>> {
    match connection.get(&path(connection, plural, name), JSON).await {
        Ok(object) => serde_json::from_value(object)
            .map(Some)
            .map_err(|error| Failure::failed(format!("{plural}/{name} cannot be read: {error}"))),
        Err(failure) if failure.kind == Kind::NotFound => Ok(None),
        Err(failure) => Err(failure),
    }
}

async fn create(connection: &Connection, plural: &str, body: &Value) -> Result<Value> {
    let path = format!("{}{}", path(connection, plural, ""), query(&[("fieldManager", MANAGER_APPLY)]));
    connection.send(Method::POST, &path, JSON, body).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use gcluster_types::{SalvageSpec, TicketSpec, TicketStatus};

    #[test]
    fn a_ticket_at_work_is_taken_anew_and_one_at_its_end_stays_there() {
        let mut ticket = Ticket::new("t", TicketSpec::default());
        let of = |phase| TicketStatus {
            phase,
            round: 3,
            agent: Some("t-work-3".into()),
            branch: Some("agent-1/feat-t".into()),
            ..TicketStatus::default()
        };
        ticket.status = Some(of(TicketPhase::Merged));
        assert_eq!(
            (&status(&ticket)["phase"], &status(&ticket)["agent"]),
            (&json!("Merged"), &json!("t-work-3"))
        );
        ticket.status = Some(of(TicketPhase::Reviewing));
        let again = status(&ticket);
        assert_eq!(
            (&again["phase"], &again["round"], &again["branch"]),
            (&json!("Waiting"), &json!(3), &json!("agent-1/feat-t"))
        );
        assert!(again.get("agent").is_none(), "{again}");
    }

    #[test]
    fn the_newest_of_a_name_is_found_by_it_and_each_by_its_own() {
        let salvage = |name: &str, of: &str, kind: &str| {
            Salvage::new(name, SalvageSpec { kind: kind.into(), name: of.into(), ..SalvageSpec::default() })
        };
        let all = [
            salvage("t-2", "t", "Workspace"),
            salvage("t-1", "t", "Workspace"),
            salvage("ticket-t-1", "t", "Ticket"),
        ];
        let name = |kind, name| {
            find(&all, kind, name).map(|one| one.metadata.name.clone().unwrap()).map_err(|f| f.kind)
        };
        assert_eq!(name(What::Workspace, "t"), Ok("t-2".into()));
        assert_eq!(name(What::Workspace, "t-1"), Ok("t-1".into()));
        assert_eq!(name(What::Ticket, "T"), Ok("ticket-t-1".into()));
        assert_eq!(name(What::Ticket, "t-1"), Err(Kind::NotFound));
    }
}
