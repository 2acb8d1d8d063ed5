//! What steer keeps of the tickets: one slim row each, in the order of the board.
//!
//! A change costs a search in an ordered set, so that a long backlog may change all the time.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use gcluster_types::Ticket;
use gcluster_types::kinds::ticket::{TicketPhase, TicketState};
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt as _;
use serde::{Deserialize, Serialize};

use crate::tui::filter::Filter;
use crate::tui::fleet::{Key, natural};

/// Condition of a ticket whose branch would collide with that of another one.
pub const CONFLICT_PREDICTED: &str = "ConflictPredicted";

/// The columns of the board.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Lane {
    /// Something has to happen before.
    #[default]
    Waiting,
    /// A worker may take it.
    Ready,
    /// A worker has it.
    Working,
    /// What was made is being tested.
    Checking,
    /// What was made is being reviewed.
    Reviewing,
    /// It is approved, or being merged.
    Merging,
    /// It came to its end: merged, failed or cancelled.
    Done,
}

impl Lane {
    /// Every column, from left to right.
    pub const ALL: [Lane; 7] = [
        Lane::Waiting,
        Lane::Ready,
        Lane::Working,
        Lane::Checking,
        Lane::Reviewing,
        Lane::Merging,
        Lane::Done,
    ];

    /// The column of a phase.
    pub fn of(phase: TicketPhase) -> Self {
        match phase {
            TicketPhase::Waiting => Lane::Waiting,
            TicketPhase::Ready => Lane::Ready,
            TicketPhase::Working => Lane::Working,
            TicketPhase::Checking => Lane::Checking,
            TicketPhase::Reviewing => Lane::Reviewing,
            TicketPhase::Approved | TicketPhase::Merging => Lane::Merging,
            TicketPhase::Merged | TicketPhase::Failed | TicketPhase::Cancelled => Lane::Done,
        }
    }

    /// Its heading.
    pub fn title(self) -> &'static str {
        match self {
            Lane::Waiting => "Waiting",
            Lane::Ready => "Ready",
            Lane::Working => "Working",
            Lane::Checking => "Checking",
            Lane::Reviewing => "Reviewing",
            Lane::Merging => "Merging",
            Lane::Done => "Done",
        }
    }

    /// Its place, from 0 at the left.
    pub fn index(self) -> usize {
        self as usize
    }
}

/// The groups of the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    /// Nothing goes on before a person acts.
    NeedsYou,
    /// The others of a column.
    Lane(Lane),
}

impl Group {
    /// Every group, from top to bottom: who waits for a person, what is under way, what waits, what is over.
    const ALL: [Group; 8] = [
        Group::NeedsYou,
        Group::Lane(Lane::Merging),
        Group::Lane(Lane::Reviewing),
        Group::Lane(Lane::Checking),
        Group::Lane(Lane::Working),
        Group::Lane(Lane::Ready),
        Group::Lane(Lane::Waiting),
        Group::Lane(Lane::Done),
    ];

    /// Its heading.
    pub fn title(self) -> &'static str {
        match self {
            Group::NeedsYou => "Needs you",
            Group::Lane(lane) => lane.title(),
        }
    }
}

/// What is kept of every ticket.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TicketRow {
    /// Which.
    pub key: Key,
    /// As its author wrote it, else its name.
    pub id: String,
    /// What it is about.
    pub title: String,
    /// 1 is the highest.
    pub priority: i32,
    /// Whether it should be worked on.
    pub state: TicketState,
    /// Where it stands.
    pub phase: TicketPhase,
    /// Why, in one word.
    pub reason: String,
    /// Why, in one sentence.
    pub message: String,
    /// Since when.
    pub since: Option<Timestamp>,
    /// When it was made.
    pub created: Option<Timestamp>,
    /// Who has it.
    pub pool: String,
    /// Number of the worker in the pool.
    pub worker: Option<i32>,
    /// Rounds of review.
    pub reviews: i32,
    /// Its branch.
    pub branch: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its tags.
    pub tags: Vec<String>,
    /// With what it would collide, in one sentence.
    pub conflict: Option<String>,
    /// A decision that was not carried out yet.
    pub decided: bool,
    /// Names of the tickets that have to be merged before.
    #[serde(default)]
    pub depends_on: Vec<String>,
    /// How often a worker began.
    #[serde(default)]
    pub round: i32,
}

impl TicketRow {
    /// The row of a ticket.
    pub fn of(ticket: &Ticket) -> Self {
        let (spec, status) = (&ticket.spec, ticket.status.clone().unwrap_or_default());
        let name = ticket.name_any();
        let conflict = status.conditions.iter().find(|c| c.type_ == CONFLICT_PREDICTED && c.status == "True");
        let decision = spec.decision.as_ref().map(|decision| &decision.at);
        Self {
            key: Key::new(&ticket.namespace().unwrap_or_default(), &name),
            id: spec.ticket_id.clone().unwrap_or(name),
            title: spec.title.clone(),
            priority: spec.priority,
            state: spec.state,
            phase: status.phase,
            reason: status.reason.unwrap_or_default(),
            message: status.message.unwrap_or_default(),
            since: status.since.map(|at| at.0),
            created: ticket.metadata.creation_timestamp.as_ref().map(|at| at.0),
            pool: status.pool.or_else(|| spec.pool.clone()).unwrap_or_default(),
            worker: status.worker,
            reviews: status.review_rounds,
            branch: status.branch.unwrap_or_default(),
            labels: ticket.labels().clone(),
            tags: spec.tags.clone(),
            conflict: conflict.map(|condition| condition.message.clone()),
            decided: decision.is_some() && decision != status.observed_decision.as_ref(),
            depends_on: spec.depends_on.clone(),
            round: status.round,
        }
    }

    /// The column that it stands in.
    pub fn lane(&self) -> Lane {
        Lane::of(self.phase)
    }

    /// True when nothing goes on before a person acts, and no person has yet.
    pub fn needs(&self) -> bool {
        if self.decided || self.state == TicketState::Cancelled {
            return false;
        }
        match self.phase {
            // Whoever stopped it knows.
            TicketPhase::Failed => self.reason != "Stopped",
            phase => phase.is_in_flight() && self.reason == "NeedsHuman",
        }
    }
}

/// Where a ticket stands: column, those that need somebody first, order within, name.
type Rank = (Lane, bool, i64, i64, String, Key);

fn rank(row: &TicketRow) -> Rank {
    let lane = row.lane();
    let millis = |at: Option<Timestamp>| at.map_or(i64::MAX, Timestamp::as_millisecond);
    let (first, second) = match lane {
        // What ended last is looked for first.
        Lane::Done => (0, row.since.map_or(i64::MAX, |at| -at.as_millisecond())),
        _ => (i64::from(row.priority), millis(row.created)),
    };
    (lane, !row.needs(), first, second, natural(row.key.name()), row.key.clone())
}

/// All tickets.
#[derive(Clone, Debug, Default)]
pub struct Backlog {
    rows: HashMap<Key, (TicketRow, Rank)>,
    shown: BTreeSet<Rank>,
    filter: Filter,
    needs: usize,
    conflicts: usize,
}

impl Backlog {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// True without any.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// How many the filter lets through.
    pub fn shown(&self) -> usize {
        self.shown.len()
    }

    /// One of them.
    pub fn get(&self, key: &Key) -> Option<&TicketRow> {
        self.rows.get(key).map(|(row, _)| row)
    }

    /// One of them by its name or id, of a namespace first.
    pub fn find(&self, namespace: &str, word: &str) -> Option<&TicketRow> {
        let fits = |row: &&TicketRow| row.key.name() == word || row.id.eq_ignore_ascii_case(word);
        let mut all: Vec<&TicketRow> = self.rows.values().map(|(row, _)| row).filter(fits).collect();
        all.sort_by_key(|row| (row.key.namespace() != namespace, &row.key));
        all.first().copied()
    }

    /// True when the filter lets it through.
    pub fn is_shown(&self, key: &Key) -> bool {
        self.rows.get(key).is_some_and(|(_, rank)| self.shown.contains(rank))
    }

    /// How many need a person.
    pub fn needing(&self) -> usize {
        self.needs
    }

    /// Of how many a conflict is predicted.
    pub fn conflicting(&self) -> usize {
        self.conflicts
    }

    /// Those that are shown, group by group.
    pub fn in_order(&self) -> impl Iterator<Item = (Group, &TicketRow)> {
        Group::ALL.into_iter().flat_map(move |group| self.group(group).map(move |row| (group, row)))
    }

    /// Those of a group that are shown. Those that need somebody stand first in their column.
    fn group(&self, group: Group) -> impl Iterator<Item = &TicketRow> {
        let lanes = match group {
            Group::NeedsYou => Lane::ALL.as_slice(),
            Group::Lane(lane) => Lane::ALL.get(lane.index()..=lane.index()).unwrap_or_default(),
        };
        let restful = group != Group::NeedsYou;
        let ranks = lanes
            .iter()
            .flat_map(move |lane| self.ranks_from(*lane, restful).take_while(move |rank| rank.1 == restful));
        ranks.filter_map(|rank| self.get(&rank.5))
    }

    /// How many of a group are shown.
    pub fn count_group(&self, group: Group) -> usize {
        self.group(group).count()
    }

    /// Those that wait for a ticket to be merged.
    pub fn waiting_for(&self, key: &Key) -> Vec<&TicketRow> {
        let waits = |row: &&TicketRow| {
            row.key.namespace() == key.namespace()
                && !row.phase.is_terminal()
                && row.depends_on.iter().any(|name| name == key.name())
        };
        let mut rows: Vec<&TicketRow> = self.rows.values().map(|(row, _)| row).filter(waits).collect();
        rows.sort_by(|a, b| a.key.cmp(&b.key));
        rows
    }

    /// Those of a column that are shown.
    pub fn lane(&self, lane: Lane) -> impl Iterator<Item = &TicketRow> {
        self.ranks(lane).filter_map(|rank| self.get(&rank.5))
    }

    /// How many of a column are shown.
    pub fn count(&self, lane: Lane) -> usize {
        self.ranks(lane).count()
    }

    fn ranks(&self, lane: Lane) -> impl Iterator<Item = &Rank> {
        self.ranks_from(lane, false)
    }

    /// The same without those that need somebody, where only the restful ones are asked for.
    fn ranks_from(&self, lane: Lane, restful: bool) -> impl Iterator<Item = &Rank> {
        let from: Rank = (lane, restful, i64::MIN, i64::MIN, String::new(), Key::default());
        self.shown.range(from..).take_while(move |rank| rank.0 == lane)
    }

    /// Column of one that is shown, and its place there from 0.
    pub fn position(&self, key: &Key) -> Option<(Lane, usize)> {
        let (_, rank) = self.rows.get(key)?;
        let at = self.ranks(rank.0).position(|known| known == rank)?;
        Some((rank.0, at))
    }

    /// Takes in a ticket. Answers whether it needed somebody before; nothing for a new one.
    pub fn put(&mut self, row: TicketRow) -> Option<bool> {
        let before = self.remove(&row.key);
        let rank = rank(&row);
        if self.filter.matches_ticket(&row) {
            self.shown.insert(rank.clone());
        }
        self.needs += usize::from(row.needs());
        self.conflicts += usize::from(row.conflict.is_some());
        self.rows.insert(row.key.clone(), (row, rank));
        before.map(|row| row.needs())
    }

    /// Forgets a ticket.
    pub fn remove(&mut self, key: &Key) -> Option<TicketRow> {
        let (row, rank) = self.rows.remove(key)?;
        self.shown.remove(&rank);
        self.needs -= usize::from(row.needs());
        self.conflicts -= usize::from(row.conflict.is_some());
        Some(row)
    }

    /// Takes over a whole listing.
    pub fn replace(&mut self, rows: Vec<TicketRow>) {
        *self = Self { filter: std::mem::take(&mut self.filter), ..Self::default() };
        for row in rows {
            self.put(row);
        }
    }

    /// The filter in use.
    pub fn filter(&self) -> &Filter {
        &self.filter
    }

    /// Shows only what matches.
    pub fn filter_by(&mut self, filter: Filter) {
        self.filter = filter;
        let matching = self.rows.values().filter(|(row, _)| self.filter.matches_ticket(row));
        self.shown = matching.map(|(_, rank)| rank.clone()).collect();
    }
}
