//! The tickets: a board by state where there is room for it, else a list in groups, and the story of one ticket.
//!
//! ```text
//! WORKING 2          │ REVIEWING 1
//! ▌▸ T-12         P1 │  ! T-7          P2
//!   Add avatars to…  │   Show avatars
//!   w2           12m │   📝3 needs you 4m
//! ```

pub mod backlog;
pub mod board;
pub mod desk;
pub mod mark;
pub mod offer;
pub mod page;
mod sections;
pub mod story;

#[cfg(test)]
pub(crate) mod fixture;
#[cfg(test)]
mod screens;
#[cfg(test)]
mod tests;

pub use backlog::{Backlog, Lane, TicketRow};
pub use desk::{Desk, View};
pub use mark::Mark;
pub use story::{News, PoolRow, Story};

use super::fleet::Key;
use super::layout::Pane;
use super::model::Model;

/// What fills the screen below the header.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Panel {
    /// Agents with their steps and iterations.
    #[default]
    Agents,
    /// Tickets.
    Tickets,
}

impl Panel {
    /// Its name, as it is remembered.
    pub fn name(self) -> &'static str {
        match self {
            Panel::Agents => "agents",
            Panel::Tickets => "tickets",
        }
    }
}

impl Model {
    /// How the tickets are shown.
    pub(crate) fn ticket_view(&self) -> View {
        let rows = self.areas().rows;
        match self.board() && self.pane == Pane::Tree {
            true => View::Board(board::cards_in(rows)),
            false => View::List(usize::from(rows.height)),
        }
    }

    /// True where there is room for columns by state.
    pub(crate) fn board(&self) -> bool {
        self.panel == Panel::Tickets && self.size.0 >= board::WIDEST_LIST
    }

    /// The selected ticket.
    pub fn ticket(&self) -> Option<&TicketRow> {
        self.backlog.get(self.desk.selected()?)
    }

    /// True where tickets are a part of what is shown: without any, nothing speaks of them.
    pub fn has_tickets(&self) -> bool {
        self.panel == Panel::Tickets || !self.backlog.is_empty()
    }

    /// Moves on the board, and what hangs on it.
    pub(crate) fn on_desk(&mut self, change: impl FnOnce(&mut Desk, &Backlog, View)) {
        let view = self.ticket_view();
        change(&mut self.desk, &self.backlog, view);
        let Some(key) = self.desk.selected() else { return };
        if self.story.key != *key {
            self.story = Story { key: key.clone(), ..Story::default() };
        }
    }

    /// Shows another panel; each keeps what was selected and which pane had the keys.
    pub(crate) fn show_panel(&mut self, panel: Panel) {
        if self.panel != panel {
            self.panel = panel;
            std::mem::swap(&mut self.pane, &mut self.other_pane);
            self.return_to = None;
        }
        if panel == Panel::Tickets {
            self.on_desk(|desk, backlog, view| desk.settle(backlog, view));
        }
    }

    /// Shows the newest iteration of an agent whose conversation was asked for, when it is known.
    pub(crate) fn open_conversation(&mut self) {
        use super::tree::RowId;
        let Some(key) = self.opening.clone() else { return };
        if self.tree.selected() != Some(&RowId::Agent(key.clone())) {
            self.opening = None;
            return;
        }
        let runs = self.runs.get(&key);
        let newest = runs.and_then(|runs| runs.all().max_by_key(|row| (row.started.is_none(), row.started)));
        let Some(row) = newest else { return };
        let id = RowId::Iteration(key, row.step.clone(), row.name.clone());
        self.opening = None;
        self.in_tree(|tree, source, height| tree.select(source, id, height));
        self.chase = true;
    }

    /// The checks that the ticket view shows.
    pub(crate) fn wanted_checks(&self) -> Vec<Key> {
        let namespace = self.story.key.namespace();
        self.story.check_names().iter().map(|name| Key::new(namespace, name)).collect()
    }
}
