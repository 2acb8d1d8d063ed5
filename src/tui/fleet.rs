//! What steer keeps of the cluster: one slim row per agent in the order of the tree, and the iterations of those
//! that are looked at.
//!
//! A change costs a search in an ordered set, never a sort, so that a large fleet may change all the time.

mod row;
mod runs;

use std::collections::{BTreeSet, HashMap};

use serde::{Deserialize, Serialize};

use super::filter::Filter;
use super::need::Need;

pub(crate) use row::natural;
pub use row::{AgentRow, Key, Outlines, StepRow};
pub use runs::{IterationRow, Runs};

/// By what agents are sorted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Sort {
    /// By need, then by name.
    #[default]
    Need,
    /// By name.
    Name,
    /// The youngest first.
    Age,
    /// The most expensive first.
    Cost,
    /// The most tokens first.
    Tokens,
}

impl Sort {
    /// What it is called in commands.
    pub fn name(self) -> &'static str {
        match self {
            Sort::Need => "state",
            Sort::Name => "name",
            Sort::Age => "age",
            Sort::Cost => "cost",
            Sort::Tokens => "tokens",
        }
    }

    /// Every one.
    pub const ALL: [Sort; 5] = [Sort::Need, Sort::Name, Sort::Age, Sort::Cost, Sort::Tokens];
}

/// Where an agent stands in the list.
type Rank = (u8, i64, String, Key);

/// All agents.
#[derive(Clone, Debug, Default)]
pub struct Fleet {
    agents: HashMap<Key, (AgentRow, Rank)>,
    shown: BTreeSet<Rank>,
    counts: [usize; 6],
    active: usize,
    cost: f64,
    tokens: i64,
    sort: Sort,
    reverse: bool,
    filter: Filter,
}

impl Fleet {
    /// How many agents there are.
    pub fn len(&self) -> usize {
        self.agents.len()
    }

    /// True without any agent.
    pub fn is_empty(&self) -> bool {
        self.agents.is_empty()
    }

    /// How many of them the filter shows.
    pub fn shown(&self) -> usize {
        self.shown.len()
    }

    /// How many stand in a group, hidden ones too.
    pub fn count(&self, need: Need) -> usize {
        self.counts.get(need.index()).copied().unwrap_or(0)
    }

    /// Iterations that run now, US dollars and tokens of all agents.
    pub fn totals(&self) -> (usize, f64, i64) {
        (self.active, self.cost, self.tokens)
    }

    /// One agent.
    pub fn get(&self, key: &Key) -> Option<&AgentRow> {
        self.agents.get(key).map(|(row, _)| row)
    }

    /// True when the filter shows an agent.
    pub fn is_shown(&self, key: &Key) -> bool {
        self.agents.get(key).is_some_and(|(_, rank)| self.shown.contains(rank))
    }

    /// Every agent, in no order.
    pub fn all(&self) -> impl Iterator<Item = &AgentRow> {
        self.agents.values().map(|(row, _)| row)
    }

    /// The shown agents in order.
    pub fn in_order(&self) -> impl Iterator<Item = &AgentRow> {
        self.shown.iter().filter_map(|rank| self.get(&rank.3))
    }

    /// Takes in an agent. Answers what it needed before.
    pub fn put(&mut self, row: AgentRow) -> Option<Need> {
        self.count_in(&row, 1);
        let place = self.place(&row);
        if let Some((known, rank)) = self.agents.get_mut(&row.key) {
            let shows = self.filter.matches(&row);
            if (rank.0, rank.1) != place {
                // The name, which is most of a rank, stays: only the place changes.
                let mut placed = self.shown.take(rank);
                (rank.0, rank.1) = place;
                if shows {
                    let mut moved = placed.take().unwrap_or_else(|| rank.clone());
                    (moved.0, moved.1) = place;
                    self.shown.insert(moved);
                }
            } else if !shows {
                self.shown.remove(rank);
            } else if !self.filter.is_empty() && !self.shown.contains(rank) {
                self.shown.insert(rank.clone());
            }
            let old = std::mem::replace(known, row);
            self.count_in(&old, -1);
            return Some(old.standing.need);
        }
        let rank = self.rank(&row);
        if self.filter.matches(&row) {
            self.shown.insert(rank.clone());
        }
        self.agents.insert(row.key.clone(), (row, rank));
        None
    }

    /// How many shown agents stand before one that is shown.
    pub(crate) fn before(&self, key: &Key) -> usize {
        self.agents.get(key).map_or(0, |(_, rank)| self.shown.range(..rank).count())
    }

    /// True when the first agent stands before the second.
    pub(crate) fn precedes(&self, first: &Key, second: &Key) -> bool {
        match (self.agents.get(first), self.agents.get(second)) {
            (Some((_, first)), Some((_, second))) => first < second,
            _ => false,
        }
    }

    /// How many groups have a shown agent, up to the one of an agent when one is given.
    pub(crate) fn groups(&self, up_to: Option<&Key>) -> usize {
        if self.sort != Sort::Need {
            return 0;
        }
        let last = up_to.and_then(|key| self.agents.get(key)).map_or(u8::MAX, |(_, rank)| rank.0);
        let stands = |group: u8| {
            let from: Rank = (group, i64::MIN, String::new(), Key::default());
            self.shown.range(from..).next().is_some_and(|rank| rank.0 == group)
        };
        (0..Need::ALL.len() as u8).filter(|group| *group <= last && stands(*group)).count()
    }

    /// Forgets an agent.
    pub fn remove(&mut self, key: &Key) -> Option<AgentRow> {
        self.take_out(key)
    }

    /// Takes over a whole listing.
    pub fn replace(&mut self, rows: Vec<AgentRow>) {
        self.agents.clear();
        self.shown.clear();
        (self.counts, self.active, self.cost, self.tokens) = ([0; 6], 0, 0.0, 0);
        for row in rows {
            self.put(row);
        }
    }

    /// How the list is sorted, and whether the other way round.
    pub fn sorting(&self) -> (Sort, bool) {
        (self.sort, self.reverse)
    }

    /// Sorts in another way.
    pub fn sort_by(&mut self, sort: Sort, reverse: bool) {
        (self.sort, self.reverse) = (sort, reverse);
        self.arrange();
    }

    /// The filter in use.
    pub fn filter(&self) -> &Filter {
        &self.filter
    }

    /// Shows only what matches.
    pub fn filter_by(&mut self, filter: Filter) {
        if self.filter != filter {
            self.filter = filter;
            self.arrange();
        }
    }

    fn arrange(&mut self) {
        let mut agents = std::mem::take(&mut self.agents);
        self.shown.clear();
        for (row, rank) in agents.values_mut() {
            *rank = self.rank(row);
            if self.filter.matches(row) {
                self.shown.insert(rank.clone());
            }
        }
        self.agents = agents;
    }

    fn take_out(&mut self, key: &Key) -> Option<AgentRow> {
        let (row, rank) = self.agents.remove(key)?;
        self.shown.remove(&rank);
        self.count_in(&row, -1);
        Some(row)
    }

    fn count_in(&mut self, row: &AgentRow, sign: i64) {
        if let Some(count) = self.counts.get_mut(row.standing.need.index()) {
            *count = count.saturating_add_signed(sign as isize);
        }
        self.active = self.active.saturating_add_signed(sign as isize * row.active as isize);
        self.cost += row.cost * sign as f64;
        self.tokens += row.tokens * sign;
    }

    /// The part of a rank that changes while an agent lives.
    fn place(&self, row: &AgentRow) -> (u8, i64) {
        let group = if self.sort == Sort::Need { row.standing.need.index() as u8 } else { 0 };
        let number = match self.sort {
            Sort::Need | Sort::Name => 0,
            Sort::Age => row.created.map_or(i64::MAX, |at| -at.as_millisecond()),
            Sort::Cost => -((row.cost * 1e6) as i64),
            Sort::Tokens => -row.tokens,
        };
        (group, if self.reverse { -number } else { number })
    }

    fn rank(&self, row: &AgentRow) -> Rank {
        let (group, number) = self.place(row);
        let mut name = natural(row.key.name());
        if self.reverse && matches!(self.sort, Sort::Name) {
            // Inverted characters sort the other way round; the end of a name sorts after everything.
            name = name.chars().map(|c| char::from_u32(0xffff - u32::from(c)).unwrap_or(c)).collect();
            name.push('\u{10ffff}');
        }
        (group, number, name, row.key.clone())
    }
}

#[cfg(test)]
mod tests;
