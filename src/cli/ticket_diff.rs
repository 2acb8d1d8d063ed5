//! `gcluster ticket diff`: what was made for a ticket.

use clap::Args;

use super::output::{color, print, print_lines};
use super::ticket::name;
use super::{Globals, complete};
use crate::changes;
use crate::exit::Result;
use crate::render::{Line, patch, visible};

/// The ticket.
#[derive(Args, Debug)]
pub(crate) struct DiffArgs {
    /// The ticket, by id or name
    #[arg(value_name = "TICKET")]
    #[arg(add = complete::objects())]
    ticket: String,
}

/// Does `gcluster ticket diff`.
pub(crate) async fn run(globals: &Globals, args: DiffArgs) -> Result {
    let connection = globals.connect().await?;
    let text = changes::of_ticket(&connection, &connection.namespace, &name(&args.ticket)).await?;
    if !color() {
        // As git wrote it: it can be applied.
        return print(&visible(&text));
    }
    let lines: Vec<Line> = text.lines().map(|line| Line::new(patch::tone(line), line)).collect();
    print_lines(&lines, "", true)
}
