//! What is selected on the board, and which cards are in view.
//!
//! What is selected is known by name: cards may come, go and change their column around it.

use super::backlog::{Backlog, Group, Lane, TicketRow};
use crate::tui::fleet::Key;
use crate::tui::tree::Move;

/// How the tickets are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum View {
    /// Columns by state, with so many cards in each.
    Board(usize),
    /// A list in groups, with so many rows.
    List(usize),
}

/// One row of the list.
#[derive(Clone, Copy, Debug)]
pub enum ListRow<'a> {
    /// Heading of a group.
    Group(Group),
    /// A ticket.
    Ticket(&'a TicketRow),
}

/// Selection and windows.
#[derive(Clone, Debug, Default)]
pub struct Desk {
    selected: Option<Key>,
    /// Where the selected one stood, for when it goes away.
    stood: (Lane, usize),
    /// First card in view of every column.
    tops: [usize; Lane::ALL.len()],
    /// First row in view of the list.
    top: usize,
}

impl Desk {
    /// The selected ticket.
    pub fn selected(&self) -> Option<&Key> {
        self.selected.as_ref()
    }

    /// First card in view of a column.
    pub fn top(&self, lane: Lane) -> usize {
        self.tops.get(lane.index()).copied().unwrap_or(0)
    }

    /// Selects a ticket.
    pub fn select(&mut self, backlog: &Backlog, key: Key, view: View) {
        self.selected = Some(key);
        self.settle(backlog, view);
    }

    /// Makes sure that what is selected is there, else what stands in its place, and that it is in view.
    pub fn settle(&mut self, backlog: &Backlog, view: View) {
        let found = self.selected.as_ref().and_then(|key| backlog.position(key));
        match found {
            Some(place) => self.stood = place,
            None => {
                let (lane, at) = self.stood;
                let first = || backlog.in_order().next().map(|(_, row)| row);
                // Whoever comes for the first time begins with what needs somebody, else with what is under way.
                let next = match &self.selected {
                    None => first(),
                    Some(_) => at_or_before(backlog, lane, at).or_else(first),
                };
                self.selected = next.map(|row| row.key.clone());
                let place = self.selected.as_ref().and_then(|key| backlog.position(key));
                self.stood = place.unwrap_or_default();
            }
        }
        self.keep_in_view(backlog, view);
    }

    /// Moves the selection up or down.
    pub fn go(&mut self, backlog: &Backlog, to: Move, view: View) {
        let Some(key) = &self.selected else { return self.settle(backlog, view) };
        let (within, at): (Vec<&Key>, usize) = match view {
            View::Board(_) => {
                let (lane, at) = self.stood;
                (backlog.lane(lane).map(|row| &row.key).collect(), at)
            }
            View::List(_) => {
                let keys: Vec<&Key> = backlog.in_order().map(|(_, row)| &row.key).collect();
                let at = keys.iter().position(|known| *known == key).unwrap_or(0);
                (keys, at)
            }
        };
        let last = within.len().saturating_sub(1);
        let next = match to {
            Move::First => 0,
            Move::Last => last,
            Move::By(delta) => at.saturating_add_signed(delta).min(last),
        };
        self.selected = within.get(next).map(|key| (*key).clone());
        self.settle(backlog, view);
    }

    /// Moves the selection to the next column, in a direction, that has a card: to the one on the same height.
    pub fn sideways(&mut self, backlog: &Backlog, right: bool, view: View) {
        let (lane, at) = self.stood;
        let line = at.saturating_sub(self.top(lane));
        let found = |lane: &&Lane| backlog.count(**lane) > 0;
        let next = match right {
            true => Lane::ALL.iter().skip(lane.index() + 1).find(found),
            false => Lane::ALL.iter().take(lane.index()).rev().find(found),
        };
        if let Some(next) = next {
            let row = at_or_before(backlog, *next, self.top(*next) + line);
            self.selected = row.map(|row| row.key.clone());
            self.settle(backlog, view);
        }
    }

    fn keep_in_view(&mut self, backlog: &Backlog, view: View) {
        match view {
            View::Board(cards) => {
                for lane in Lane::ALL {
                    let Some(top) = self.tops.get_mut(lane.index()) else { continue };
                    *top = (*top).min(backlog.count(lane).saturating_sub(cards));
                }
                let (lane, at) = self.stood;
                if let Some(top) = self.tops.get_mut(lane.index()) {
                    *top = (*top).min(at).max((at + 1).saturating_sub(cards));
                }
            }
            View::List(height) => {
                let (mut rows, mut at, mut heading) = (0, 0, 0);
                for (index, row) in list(backlog).enumerate() {
                    rows = index + 1;
                    match row {
                        ListRow::Group(_) if at == 0 => heading = index,
                        ListRow::Ticket(row) if Some(&row.key) == self.selected.as_ref() => at = index,
                        _ => {}
                    }
                }
                self.top = self.top.min(rows.saturating_sub(height));
                // The heading above the first ticket of a group is worth its row.
                let upper = if heading + 1 == at && height > 1 { heading } else { at };
                self.top = self.top.min(upper).max((at + 1).saturating_sub(height));
            }
        }
    }

    /// The rows of the list that are in view.
    pub fn window<'a>(&self, backlog: &'a Backlog, height: usize) -> Vec<ListRow<'a>> {
        list(backlog).skip(self.top).take(height).collect()
    }

    /// The cards of a column that are in view.
    pub fn cards<'a>(&self, backlog: &'a Backlog, lane: Lane, count: usize) -> Vec<&'a TicketRow> {
        backlog.lane(lane).skip(self.top(lane)).take(count).collect()
    }
}

/// The ticket at a place of a column, or the last one above it.
fn at_or_before(backlog: &Backlog, lane: Lane, at: usize) -> Option<&TicketRow> {
    backlog.lane(lane).take(at + 1).last()
}

/// Every row of the list.
fn list(backlog: &Backlog) -> impl Iterator<Item = ListRow<'_>> {
    let mut group = None;
    backlog.in_order().flat_map(move |(of, row)| {
        let heading = (group != Some(of)).then_some(ListRow::Group(of));
        group = Some(of);
        heading.into_iter().chain([ListRow::Ticket(row)])
    })
}
