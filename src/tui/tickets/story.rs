//! Particulars of one ticket: what was made for it, and what came of it.

use std::collections::BTreeMap;

use gcluster_types::kinds::check::Check;
use gcluster_types::{Merge, Review, Ticket, Workspace};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::mark::Mark;
use crate::tui::fleet::{AgentRow, Fleet, Key};
use crate::tui::msg::Changes;

/// Checks that are followed at once.
const MOST_CHECKS: usize = 16;
/// Agents that are looked for.
const MOST_ROUNDS: i32 = 100;

/// News about the ticket that is looked at.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum News {
    /// The ticket changed; `None` when it is gone.
    Ticket(Option<Box<Ticket>>),
    /// Its workspaces changed.
    Workspaces(Changes<Workspace>),
    /// Its reviews changed.
    Reviews(Changes<Review>),
    /// Its merges changed.
    Merges(Changes<Merge>),
    /// Its events changed.
    Events(Changes<Value>),
}

/// What a worker pool says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PoolRow {
    /// Which.
    pub key: Key,
    /// Workers that are there.
    pub workers: i32,
    /// Workers that have a ticket.
    pub busy: i32,
    /// Why no further ticket is taken.
    pub message: Option<String>,
}

/// What is known of the selected ticket.
#[derive(Clone, Debug, Default)]
pub struct Story {
    /// Which.
    pub key: Key,
    /// The whole object.
    pub ticket: Option<Box<Ticket>>,
    /// Its workspaces by name.
    pub workspaces: BTreeMap<String, Workspace>,
    /// Its reviews by name.
    pub reviews: BTreeMap<String, Review>,
    /// Its merges by name.
    pub merges: BTreeMap<String, Merge>,
    /// Events about it by name.
    pub events: BTreeMap<String, Value>,
    /// Checks of what was made, by name.
    pub checks: BTreeMap<String, Check>,
    /// What was marked.
    pub chosen: Option<Mark>,
    /// First line in view.
    pub scroll: usize,
}

impl Story {
    /// Takes in news.
    pub fn take(&mut self, news: News) {
        match news {
            News::Ticket(ticket) => self.ticket = ticket,
            News::Workspaces(changes) => apply(&mut self.workspaces, changes),
            News::Reviews(changes) => apply(&mut self.reviews, changes),
            News::Merges(changes) => apply(&mut self.merges, changes),
            News::Events(changes) => apply(&mut self.events, changes),
        }
    }

    /// Names of the checks that concern it: of the tips of its branches, and of what its merges test.
    pub fn check_names(&self) -> Vec<String> {
        let mut names = Vec::new();
        let status = self.ticket.as_ref().and_then(|ticket| ticket.status.as_ref());
        // Without a commit of its own, its tip is that of somebody else.
        for change in status.iter().flat_map(|status| &status.changes).filter(|c| c.commits > 0) {
            for quick in [false, true] {
                names.push(Check::name_of(&change.repository, &change.commit, quick));
            }
        }
        let merges = self.merges.values().filter_map(|merge| merge.status.as_ref());
        names.extend(merges.flat_map(|status| &status.repositories).filter_map(|step| step.check.clone()));
        names.sort();
        names.dedup();
        names.truncate(MOST_CHECKS);
        names
    }

    /// Its agents that are there, the newest first: who works on it or did, who reviews it or did.
    pub fn agents<'a>(&self, fleet: &'a Fleet) -> Vec<&'a AgentRow> {
        let name = self.key.name();
        let status = self.ticket.as_ref().and_then(|ticket| ticket.status.clone()).unwrap_or_default();
        let mut names: Vec<String> =
            (1..=status.round.min(MOST_ROUNDS)).map(|round| format!("{name}-work-{round}")).collect();
        for review in self.reviews.values() {
            let attempts = review.status.as_ref().map_or(0, |status| status.attempts).min(MOST_ROUNDS);
            names.extend((1..=attempts).map(|n| format!("{name}-review-{}-{n}", review.spec.round)));
            names.extend(review.status.as_ref().and_then(|status| status.agent.clone()));
        }
        names.extend(status.agent);
        names.sort();
        names.dedup();
        let namespace = self.key.namespace();
        let mut rows: Vec<&AgentRow> =
            names.iter().filter_map(|name| fleet.get(&Key::new(namespace, name))).collect();
        rows.sort_by(|a, b| (b.created, &b.key).cmp(&(a.created, &a.key)));
        rows
    }

    /// Its checks, the newest first.
    pub fn checks_in_order(&self) -> impl Iterator<Item = &Check> {
        let began = |check: &Check| check.status.as_ref().and_then(|status| status.started_at.clone());
        let mut all: Vec<&Check> = self.checks.values().collect();
        all.sort_by_key(|check| std::cmp::Reverse(began(check)));
        all.into_iter()
    }

    /// Its reviews, the newest first.
    pub fn reviews_in_order(&self) -> impl Iterator<Item = &Review> {
        let mut all: Vec<&Review> = self.reviews.values().collect();
        all.sort_by_key(|review| std::cmp::Reverse(review.spec.round));
        all.into_iter()
    }

    /// Its merges, the newest first.
    pub fn merges_in_order(&self) -> impl Iterator<Item = &Merge> {
        let mut all: Vec<&Merge> = self.merges.values().collect();
        all.sort_by_key(|merge| std::cmp::Reverse(merge.metadata.creation_timestamp.clone()));
        all.into_iter()
    }
}

pub(crate) fn apply<T>(known: &mut BTreeMap<String, T>, changes: Changes<T>) {
    if changes.all {
        known.clear();
    }
    known.extend(changes.put);
    for name in changes.gone {
        known.remove(&name);
    }
}
