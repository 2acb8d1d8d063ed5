//! `gcluster approve` and the decisions of `gcluster ticket`: what a person has to say about work.

use clap::Args;
use gcluster_types::Ticket;
use gcluster_types::kinds::ticket::{HumanVerdict, TicketPhase};
use gcluster_types::labels::MANAGER_RUN;
use http::Method;
use k8s_openapi::jiff::Timestamp;
use serde_json::json;

use super::output::{note, print};
use super::ticket::{collection, name};
use super::{Globals, complete};
use crate::client::{Connection, JSON, MERGE, escape, query};
use crate::exit::{Failure, Kind, Result};

/// Approve what was made for tickets: no further review; checks and merge still have to pass
#[derive(Args, Debug)]
pub(crate) struct ApproveArgs {
    /// Tickets, by id or name
    #[arg(required = true, value_name = "TICKET")]
    #[arg(add = complete::objects())]
    tickets: Vec<String>,
    /// Why, for whoever reads it later
    #[arg(short, long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    message: String,
}

/// A ticket and a text.
#[derive(Args, Debug)]
pub(crate) struct SendBackArgs {
    /// The ticket, by id or name
    #[arg(value_name = "TICKET")]
    ticket: String,
    /// What the worker is told
    #[arg(value_name = "TEXT")]
    text: String,
}

/// Does `gcluster approve` and `gcluster ticket approve`.
pub(crate) async fn approve(globals: &Globals, args: ApproveArgs) -> Result {
    decide(globals, &args.tickets, HumanVerdict::Approve, &args.message).await
}

/// Does `gcluster ticket stop`.
pub(crate) async fn stop(globals: &Globals, args: ApproveArgs) -> Result {
    decide(globals, &args.tickets, HumanVerdict::Stop, &args.message).await
}

/// Does `gcluster ticket send-back`.
pub(crate) async fn send_back(globals: &Globals, args: SendBackArgs) -> Result {
    if args.text.trim().is_empty() {
        return Err(Failure::usage("a worker that is sent back has to be told why: the text is empty"));
    }
    decide(globals, &[args.ticket], HumanVerdict::SendBack, &args.text).await
}

async fn decide(globals: &Globals, tickets: &[String], verdict: HumanVerdict, text: &str) -> Result {
    let connection = globals.connect().await?;
    for typed in tickets {
        let ticket = find(&connection, typed).await?;
        let name = ticket.metadata.name.clone().unwrap_or_default();
        let phase = ticket.status.as_ref().map(|status| status.phase).unwrap_or_default();
        if let Some(why) = changes_nothing(verdict, phase) {
            let message = format!("ticket {name} is {}: {why}", format!("{phase:?}").to_lowercase());
            return Err(Failure::new(Kind::Conflict, message)
                .hint(format!("`gcluster describe ticket {name}` says how it came there")));
        }
        let by = std::env::var("USER").ok().filter(|user| !user.is_empty());
        // Replaced as a whole: nothing of an older decision stays. The time tells two decisions apart.
        let decision =
            json!({"verdict": verdict, "text": text, "by": by, "at": Timestamp::now().to_string()});
        let path = format!(
            "{}/{}{}",
            collection(&connection),
            escape(&name),
            query(&[("fieldManager", MANAGER_RUN)])
        );
        connection.send(Method::PATCH, &path, MERGE, &json!({"spec": {"decision": decision}})).await?;
        let done = match verdict {
            HumanVerdict::Approve => "approved",
            HumanVerdict::SendBack => "sent back",
            HumanVerdict::Stop => "stopped",
        };
        print(&format!("ticket {name} {done}\n"))?;
        if phase == TicketPhase::Merging {
            note(&format!(
                "note: {name} is being merged; the decision is carried out if that does not succeed"
            ));
        }
    }
    Ok(())
}

/// Why a decision would change nothing.
fn changes_nothing(verdict: HumanVerdict, phase: TicketPhase) -> Option<&'static str> {
    use TicketPhase::{
        Approved, Cancelled, Checking, Failed, Merged, Merging, Ready, Reviewing, Waiting, Working,
    };
    match (verdict, phase) {
        (HumanVerdict::Approve, Waiting | Ready) => Some("there is nothing to approve yet"),
        (HumanVerdict::Approve, Approved | Merging) => Some("it is approved already"),
        (HumanVerdict::Approve, Failed | Cancelled) => {
            Some("send it back, or open it again, and approve what comes of it")
        }
        (HumanVerdict::Stop, Failed | Cancelled) => Some("it is over already"),
        (HumanVerdict::SendBack, Cancelled) => Some("`gcluster ticket open` lets it go on"),
        (_, Merged) => Some("it is in the base branch; what is still wrong is a new ticket"),
        (HumanVerdict::Approve, Working | Checking | Reviewing) => None,
        (HumanVerdict::Stop | HumanVerdict::SendBack, _) => None,
    }
}

/// Finds a ticket by its id or name.
pub(super) async fn find(connection: &Connection, typed: &str) -> Result<Ticket> {
    let typed =
        ["ticket/", "tickets/", "tk/"].iter().find_map(|kind| typed.strip_prefix(kind)).unwrap_or(typed);
    let path = format!("{}/{}", collection(connection), escape(&name(typed)));
    let object = connection.get(&path, JSON).await.map_err(|failure| match failure.kind {
        Kind::NotFound => failure.hint("`gcluster ticket list` lists the tickets of this namespace"),
        _ => failure,
    })?;
    serde_json::from_value(object).map_err(|error| {
        Failure::failed(format!("the master answered with a ticket of an unknown shape: {error}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_decision_is_taken_exactly_where_it_changes_something() {
        use TicketPhase::*;
        let all =
            [Waiting, Ready, Working, Checking, Reviewing, Approved, Merging, Merged, Failed, Cancelled];
        let taken = |verdict| {
            let taken = all.iter().filter(|phase| changes_nothing(verdict, **phase).is_none());
            taken.map(|phase| format!("{phase:?}")).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(taken(HumanVerdict::Approve), "Working Checking Reviewing");
        assert_eq!(taken(HumanVerdict::Stop), "Waiting Ready Working Checking Reviewing Approved Merging");
        let back = "Waiting Ready Working Checking Reviewing Approved Merging Failed";
        assert_eq!(taken(HumanVerdict::SendBack), back);
    }
}
