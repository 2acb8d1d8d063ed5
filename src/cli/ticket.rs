//! `gcluster ticket`: the backlog from the command line.

use clap::{Args, Subcommand, ValueEnum};
use gcluster_types::kinds::ticket::{NORMAL_PRIORITY, TicketPhase};
use gcluster_types::labels::MANAGER_APPLY;
use gcluster_types::names::object_name;
use gcluster_types::{Ticket, TicketSpec, tickets};
use http::Method;
use serde_json::{Value, json};

use super::Globals;
use super::objects::{self, text};
use super::output::{note, print};
use super::plain_tickets;
use crate::client::{Connection, JSON, MERGE, escape, query};
use crate::exit::{Failure, Kind, Result};
use crate::render::fields;
use crate::render::visible;

/// The backlog: add tickets, list them in the order in which they are taken, hold, cancel and clear
#[derive(Args, Debug)]
pub(crate) struct TicketArgs {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Add a ticket
    Add(AddArgs),
    /// List tickets in the order in which they are taken
    List(ListArgs),
    /// Keep tickets from being taken
    Hold(NamesArgs),
    /// Let tickets that were held or cancelled be taken
    Open(NamesArgs),
    /// Give tickets up
    Cancel(NamesArgs),
    /// Approve what was made: no further review; checks and merge still have to pass
    Approve(super::decide::ApproveArgs),
    /// End the work on tickets now: they fail, and what was made stays
    Stop(super::decide::ApproveArgs),
    /// Let a worker go on with a ticket, with a text; one that failed begins again
    SendBack(super::decide::SendBackArgs),
    /// Show what was made: the diff of its branches, and what is not committed yet
    Diff(super::ticket_diff::DiffArgs),
    /// Delete the tickets that came to their end: merged, failed and cancelled ones
    Clear(ClearArgs),
}

#[derive(Args, Debug)]
struct AddArgs {
    /// What it is about, in one line
    title: String,
    /// Which ticket is taken first
    #[arg(short, long, value_enum, default_value = "normal")]
    priority: Priority,
    /// A ticket that has to be merged before; may be repeated
    #[arg(long, value_name = "ID")]
    depends_on: Vec<String>,
    /// What is wanted, in as many words as it takes
    #[arg(short = 'D', long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    description: String,
    /// What no two tickets may work on at once; may be repeated
    #[arg(long = "lock", value_name = "NAME")]
    locks: Vec<String>,
    /// A word to find it by; may be repeated
    #[arg(long = "tag", value_name = "WORD")]
    tags: Vec<String>,
    /// Its id [default: made of the title]
    #[arg(long, value_name = "ID")]
    id: Option<String>,
}

/// Priorities as people name them.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
enum Priority {
    Critical,
    High,
    Normal,
    Low,
}

impl Priority {
    fn number(self) -> i32 {
        match self {
            Priority::Critical => 1,
            Priority::High => 2,
            Priority::Normal => NORMAL_PRIORITY,
            Priority::Low => NORMAL_PRIORITY + 1,
        }
    }
}

#[derive(Args, Debug)]
#[group(multiple = false)]
struct ListArgs {
    /// Only those that a worker may take
    #[arg(long)]
    ready: bool,
    /// Only those that somebody works on
    #[arg(long)]
    in_progress: bool,
    /// Only those that wait for something
    #[arg(long)]
    blocked: bool,
    /// Only those that came to their end
    #[arg(long)]
    done: bool,
}

impl ListArgs {
    fn shows(&self, phase: TicketPhase) -> bool {
        if self.ready {
            phase == TicketPhase::Ready
        } else if self.blocked {
            phase == TicketPhase::Waiting
        } else if self.done {
            phase.is_terminal()
        } else if self.in_progress {
            !phase.is_terminal() && !matches!(phase, TicketPhase::Ready | TicketPhase::Waiting)
        } else {
            true
        }
    }
}

#[derive(Args, Debug)]
struct NamesArgs {
    /// Tickets, by id or name
    #[arg(required = true, value_name = "TICKET")]
    tickets: Vec<String>,
}

#[derive(Args, Debug)]
struct ClearArgs {
    /// Say what would be deleted, and delete nothing
    #[arg(long)]
    dry_run: bool,
}

/// Does `gcluster ticket`.
pub(crate) async fn run(globals: &Globals, args: TicketArgs) -> Result {
    match args.verb {
        Verb::Add(args) => add(globals, args).await,
        Verb::List(args) => list(globals, &args).await,
        Verb::Hold(args) => set_state(globals, &args, "Held", "held").await,
        Verb::Open(args) => set_state(globals, &args, "Open", "open").await,
        Verb::Cancel(args) => set_state(globals, &args, "Cancelled", "cancelled").await,
        Verb::Approve(args) => super::decide::approve(globals, args).await,
        Verb::Stop(args) => super::decide::stop(globals, args).await,
        Verb::SendBack(args) => super::decide::send_back(globals, args).await,
        Verb::Diff(args) => super::ticket_diff::run(globals, args).await,
        Verb::Clear(args) => clear(globals, &args).await,
    }
}

async fn add(globals: &Globals, args: AddArgs) -> Result {
    let ticket = ticket(args)?;
    let connection = globals.connect().await?;
    let object = serde_json::to_value(&ticket)
        .map_err(|error| Failure::failed(format!("cannot write the ticket: {error}")))?;
    let there = all(&connection).await?;
    let known = |name: &str| there.iter().any(|ticket| text(ticket, "/metadata/name") == name);
    plain_tickets::check_cycles_of(&object, &there)?;
    let path = format!("{}{}", collection(&connection), query(&[("fieldManager", MANAGER_APPLY)]));
    let created =
        connection.send(Method::POST, &path, JSON, &object).await.map_err(|failure| match failure.kind {
            Kind::Conflict => failure.hint("give it an id of its own with --id"),
            _ => failure,
        })?;
    print(&format!("ticket {} added\n", text(&created, "/metadata/name")))?;
    for name in ticket.spec.depends_on.iter().filter(|name| !known(name)) {
        note(&format!("note: there is no ticket {name} yet; this one waits until it is there and merged"));
    }
    Ok(())
}

/// The ticket that the options say.
fn ticket(args: AddArgs) -> Result<Ticket> {
    let plain = json!({
        "title": args.title, "description": args.description, "priority": args.priority.number(),
        "dependencies": args.depends_on, "locks": args.locks, "tags": args.tags,
    });
    let mut plain = plain;
    if let Some(id) = args.id {
        plain["id"] = id.into();
    }
    // The same rules as in a file, and the same words for what is wrong.
    let read = tickets::read(&plain.to_string()).map_err(|problems| {
        let problems = problems.iter().map(|problem| format!("{}: {}", problem.field, problem.message));
        problems.fold(Failure::usage("this is no ticket"), Failure::cause)
    })?;
    read.into_iter().next().ok_or_else(|| Failure::usage("this is no ticket"))
}

async fn list(globals: &Globals, args: &ListArgs) -> Result {
    let connection = globals.connect().await?;
    let mut tickets: Vec<Ticket> = Vec::new();
    for object in all(&connection).await? {
        tickets.push(serde_json::from_value(object).map_err(|error| {
            Failure::failed(format!("the master answered with a ticket of an unknown shape: {error}"))
        })?);
    }
    let phase = |ticket: &Ticket| ticket.status.as_ref().map(|status| status.phase).unwrap_or_default();
    let there = tickets.len();
    tickets.retain(|ticket| args.shows(phase(ticket)));
    if tickets.is_empty() {
        note(&match there {
            0 => format!(
                "no ticket in namespace {}; `gcluster ticket add \"title\"` adds one",
                connection.namespace
            ),
            n => format!("none of the {n} tickets"),
        });
        return Ok(());
    }
    // Those at work first, then in the order in which they are taken, then those that came to their end.
    let rank = |phase: TicketPhase| match phase {
        TicketPhase::Ready => 1,
        TicketPhase::Waiting => 2,
        phase if phase.is_terminal() => 3,
        _ => 0,
    };
    tickets.sort_by(|a, b| (rank(phase(a)), a.order()).cmp(&(rank(phase(b)), b.order())));
    let mut rows = vec![
        ["TICKET", "PRIORITY", "PHASE", "REVIEWS", "POOL", "BRANCH", "TITLE", "WHY"]
            .map(str::to_owned)
            .to_vec(),
    ];
    rows.extend(tickets.iter().map(|ticket| row(ticket, phase(ticket))));
    print(&fields::align(&rows, &mut Vec::new()))
}

fn row(ticket: &Ticket, phase: TicketPhase) -> Vec<String> {
    let status = ticket.status.clone().unwrap_or_default();
    let message = status.message.unwrap_or_default();
    vec![
        ticket.metadata.name.clone().unwrap_or_default(),
        ticket.spec.priority.to_string(),
        format!("{phase:?}"),
        if status.review_rounds > 0 { format!("📝 {}", status.review_rounds) } else { "-".to_owned() },
        status.pool.map_or_else(|| "-".to_owned(), |pool| worker(pool, status.worker, phase)),
        status.branch.unwrap_or_else(|| "-".to_owned()),
        visible(&ticket.spec.title).into_owned(),
        visible(&message).into_owned(),
    ]
}

/// The pool, and the worker's number while one has the ticket.
fn worker(pool: String, worker: Option<i32>, phase: TicketPhase) -> String {
    match worker.filter(|_| phase.is_in_flight()) {
        Some(worker) => format!("{pool}/{worker}"),
        None => pool,
    }
}

async fn set_state(globals: &Globals, args: &NamesArgs, state: &str, done: &str) -> Result {
    let connection = globals.connect().await?;
    for typed in &args.tickets {
        let name = name(typed);
        let path = format!(
            "{}/{}{}",
            collection(&connection),
            escape(&name),
            query(&[("fieldManager", MANAGER_APPLY)])
        );
        let patch = json!({"spec": {"state": state}});
        connection.send(Method::PATCH, &path, MERGE, &patch).await.map_err(|failure| match failure.kind {
            Kind::NotFound => failure.hint("`gcluster ticket list` lists the tickets of this namespace"),
            _ => failure,
        })?;
        print(&format!("ticket {name} {done}\n"))?;
    }
    Ok(())
}

async fn clear(globals: &Globals, args: &ClearArgs) -> Result {
    let connection = globals.connect().await?;
    let mut cleared = 0_usize;
    for object in all(&connection).await? {
        let ticket: Ticket =
            serde_json::from_value(object.clone()).unwrap_or_else(|_| Ticket::new("", TicketSpec::default()));
        if !ticket.status.as_ref().is_some_and(|status| status.phase.is_terminal()) {
            continue;
        }
        let name = text(&object, "/metadata/name");
        if !args.dry_run {
            let path = format!("{}/{}", collection(&connection), escape(name));
            // Exactly the one that was looked at: it may have been opened again.
            let only = json!({"kind": "DeleteOptions", "apiVersion": "v1", "preconditions": {
                "uid": text(&object, "/metadata/uid"), "resourceVersion": text(&object, "/metadata/resourceVersion")}});
            match connection.send(Method::DELETE, &path, JSON, &only).await {
                Err(failure) if matches!(failure.kind, Kind::NotFound | Kind::Conflict) => continue,
                answer => answer?,
            };
        }
        cleared += 1;
        print(&format!("ticket {name} deleted{}\n", if args.dry_run { " (dry run)" } else { "" }))?;
    }
    if cleared == 0 {
        note("no ticket came to its end");
    }
    Ok(())
}

/// The object name of what was typed: an id or a name.
pub(super) fn name(typed: &str) -> String {
    object_name(&typed.replace(['.', ' ', '#'], "-")).unwrap_or_else(|_| typed.to_owned())
}

pub(super) fn collection(connection: &Connection) -> String {
    format!("/apis/gcluster.dev/v1alpha1/namespaces/{}/tickets", escape(&connection.namespace))
}

async fn all(connection: &Connection) -> Result<Vec<Value>> {
    Ok(objects::items(connection.get(&collection(connection), JSON).await?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser as _;

    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        args: TicketArgs,
    }

    fn parsed(words: &[&str]) -> Verb {
        Line::try_parse_from([&["ticket"], words].concat()).unwrap().args.verb
    }

    #[test]
    fn options_become_a_ticket() {
        let Verb::Add(args) = parsed(&[
            "add",
            "Add avatars",
            "-p",
            "high",
            "--depends-on",
            "T-7",
            "-D",
            "Round.",
            "--lock",
            "ui",
            "--id",
            "T-8",
        ]) else {
            panic!()
        };
        let ticket = ticket(args).unwrap();
        assert_eq!(ticket.metadata.name.as_deref(), Some("t-8"));
        assert_eq!((ticket.spec.priority, &ticket.spec.depends_on[..]), (2, &["t-7".to_owned()][..]));
        assert_eq!(
            (ticket.spec.description.as_str(), &ticket.spec.locks[..]),
            ("Round.", &["ui".to_owned()][..])
        );
        let Verb::Add(args) = parsed(&["add", "  "]) else { panic!() };
        assert!(super::ticket(args).unwrap_err().causes[0].starts_with("title: "));
    }

    #[test]
    fn the_four_lists_part_the_backlog() {
        let list = |flag: &str| match parsed(&["list", flag]) {
            Verb::List(args) => args,
            _ => panic!(),
        };
        let lists = ["--ready", "--in-progress", "--blocked", "--done"].map(list);
        use TicketPhase::*;
        for phase in
            [Waiting, Ready, Working, Checking, Reviewing, Approved, Merging, Merged, Failed, Cancelled]
        {
            assert_eq!(lists.iter().filter(|list| list.shows(phase)).count(), 1, "{phase:?}");
        }
        assert!(Line::try_parse_from(["ticket", "list", "--ready", "--done"]).is_err());
    }
}
