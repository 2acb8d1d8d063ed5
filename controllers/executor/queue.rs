//! Who runs next when not all can: a queue without clock and tasks.
//!
//! ```text
//! order: priority, higher first ─▶ fewest running of its agent ─▶ least recently started ─▶ first come
//! bounds: room for `max` runs, and a distance between starts of one backend
//! ```

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use tokio::time::Instant;

use crate::informer::AgentKey;

/// Who asks for a turn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Ticket {
    pub(super) agent: AgentKey,
    /// Name of the iteration.
    pub(super) iteration: String,
    pub(super) backend: String,
    pub(super) priority: i32,
    /// When the newest iteration of the agent began or ended, as far as objects tell.
    pub(super) last_started: Option<Timestamp>,
}

/// How an agent waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waits {
    /// Its place, from 1.
    pub(super) place: usize,
    /// How many wait.
    pub(super) waiting: usize,
    /// Iterations that run, as `namespace/name`, at most [`NAMED`] of them.
    pub(super) runs: Vec<String>,
    /// How many run.
    pub(super) running: usize,
    /// How many may run.
    pub(super) max: usize,
}

/// Most iterations that are named as running.
pub(super) const NAMED: usize = 3;

/// What waits for less is not told that it does.
const LONG: Duration = Duration::from_secs(1);

fn named(agent: &AgentKey, iteration: &str) -> String {
    format!("{}/{iteration}", agent.0)
}

/// What happens next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    /// The one with this number begins.
    Begin(u64),
    /// Nobody before this time: starts of a backend keep their distance.
    Later(Instant),
    /// Nobody before something ends or comes.
    Rest,
}

/// The queue.
#[derive(Debug, Default)]
pub(super) struct Queue {
    max: usize,
    waiting: BTreeMap<u64, Ticket>,
    /// Since when each of them waits.
    since: BTreeMap<u64, Instant>,
    running: HashMap<AgentKey, usize>,
    /// The same by name, with the namespace.
    names: BTreeSet<String>,
    /// Runs of an earlier master that are not taken over yet, by uid. They have their room.
    expected: BTreeMap<String, Ticket>,
    last: HashMap<AgentKey, Timestamp>,
    next_start: HashMap<String, Instant>,
    told: HashMap<AgentKey, Waits>,
    number: u64,
}

impl Queue {
    pub(super) fn new(max: usize) -> Self {
        Self { max, ..Self::default() }
    }

    /// Lets one wait. Answers its number.
    pub(super) fn join(&mut self, ticket: Ticket, now: Instant) -> u64 {
        self.number += 1;
        self.since.insert(self.number, now);
        if let Some(at) = ticket.last_started {
            let last = self.last.entry(ticket.agent.clone()).or_insert(at);
            *last = (*last).max(at);
        }
        self.waiting.insert(self.number, ticket);
        self.number
    }

    /// Takes one out that waits. False when it had begun.
    pub(super) fn leave(&mut self, number: u64) -> bool {
        self.since.remove(&number);
        self.waiting.remove(&number).is_some()
    }

    /// Says who is next, and counts it as running from then on.
    pub(super) fn next(&mut self, now: Instant, time: Timestamp, spacing: impl Fn(&str) -> Duration) -> Step {
        if self.occupied() >= self.max || self.waiting.is_empty() {
            return Step::Rest;
        }
        let starts = |ticket: &Ticket| self.next_start.get(&ticket.backend).copied().unwrap_or(now);
        let due = self.waiting.iter().filter(|(_, ticket)| starts(ticket) <= now);
        let Some(number) = due.min_by_key(|(number, ticket)| self.rank(**number, ticket)).map(|(n, _)| *n)
        else {
            return self.waiting.values().map(starts).min().map_or(Step::Rest, Step::Later);
        };
        let Some(ticket) = self.waiting.remove(&number) else { return Step::Rest };
        self.since.remove(&number);
        self.next_start.insert(ticket.backend.clone(), now + spacing(&ticket.backend));
        self.last.insert(ticket.agent.clone(), time);
        self.enter(&ticket);
        Step::Begin(number)
    }

    /// Counts one as running that did not wait.
    pub(super) fn enter(&mut self, ticket: &Ticket) {
        if self.names.insert(named(&ticket.agent, &ticket.iteration)) {
            *self.running.entry(ticket.agent.clone()).or_default() += 1;
        }
    }

    /// Gives room back.
    pub(super) fn end(&mut self, agent: &AgentKey, iteration: &str) {
        if !self.names.remove(&named(agent, iteration)) {
            return;
        }
        if let Some(runs) = self.running.get_mut(agent) {
            *runs -= 1;
            if *runs == 0 {
                self.running.remove(agent);
            }
        }
    }

    /// Keeps room for a run of an earlier master.
    pub(super) fn expect(&mut self, uid: String, ticket: Ticket) {
        self.expected.insert(uid, ticket);
    }

    /// The run is taken over, or is not there any more.
    pub(super) fn settle(&mut self, uid: &str) {
        self.expected.remove(uid);
    }

    /// Forgets an agent that is gone.
    pub(super) fn forget(&mut self, agent: &AgentKey) {
        self.last.remove(agent);
        self.told.remove(agent);
    }

    /// Gives what waits of an agent another priority.
    pub(super) fn set_priority(&mut self, agent: &AgentKey, priority: i32) -> bool {
        let mut changed = false;
        for ticket in self.waiting.values_mut().filter(|ticket| ticket.agent == *agent) {
            changed |= ticket.priority != priority;
            ticket.priority = priority;
        }
        changed
    }

    /// How an agent waits, and that it was told so. `None` when nothing of it does, or not for long.
    pub(super) fn tell(&mut self, agent: &AgentKey, now: Instant) -> Option<Waits> {
        let own = self.waiting.iter().filter(|(_, ticket)| ticket.agent == *agent);
        let first = own.map(|(number, ticket)| (self.rank(*number, ticket), *number)).min();
        let waits = first.filter(|(_, number)| self.is_long(*number, now)).map(|(rank, _)| {
            let before = self.waiting.iter().filter(|(number, ticket)| self.rank(**number, ticket) < rank);
            self.waits(before.count() + 1)
        });
        match &waits {
            Some(waits) => self.told.insert(agent.clone(), waits.clone()),
            None => self.told.remove(agent),
        };
        waits
    }

    /// At most `most` agents that wait in another way than they were told, those in front first; and whether one has to
    /// look again soon.
    pub(super) fn restless(&self, most: usize, now: Instant) -> (Vec<AgentKey>, bool) {
        let mut row: Vec<_> =
            self.waiting.iter().map(|(number, ticket)| (self.rank(*number, ticket), &ticket.agent)).collect();
        row.sort();
        let (mut seen, mut found, mut more) = (BTreeSet::new(), Vec::new(), false);
        for (at, ((.., number), agent)) in row.into_iter().enumerate() {
            if !seen.insert(agent) {
                continue;
            }
            if !self.is_long(number, now) {
                more = true;
            } else if self.told.get(agent) != Some(&self.waits(at + 1)) {
                more |= found.len() == most;
                found.extend((found.len() < most).then(|| agent.clone()));
            }
        }
        (found, more)
    }

    /// How many run or are about to be taken over.
    pub(super) fn occupied(&self) -> usize {
        self.names.len() + self.expected.len()
    }

    /// What waits for a moment only is no news.
    fn is_long(&self, number: u64, now: Instant) -> bool {
        self.since.get(&number).is_some_and(|since| now.saturating_duration_since(*since) >= LONG)
    }

    fn waits(&self, place: usize) -> Waits {
        let expected = self.expected.values().map(|ticket| named(&ticket.agent, &ticket.iteration));
        let runs = self.names.iter().cloned().chain(expected).take(NAMED).collect();
        Waits { place, waiting: self.waiting.len(), runs, running: self.occupied(), max: self.max }
    }

    fn rank(&self, number: u64, ticket: &Ticket) -> (Reverse<i32>, usize, Option<Timestamp>, u64) {
        let running = self.running.get(&ticket.agent).copied().unwrap_or(0);
        (Reverse(ticket.priority), running, self.last.get(&ticket.agent).copied(), number)
    }
}

impl Waits {
    /// One sentence, without a dot.
    pub(super) fn sentence(&self) -> String {
        let place = format!(
            "it is number {} of {} that wait, by priority and then in turns",
            self.place, self.waiting
        );
        if self.running < self.max {
            return format!("it waits for its turn to start, one program after the other; {place}");
        }
        let more = self.running.saturating_sub(self.runs.len());
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        format!(
            "it waits for room: {} iterations run, and `gcluster master --max-running` lets {} run at once ({}{more}); \
             {place}",
            self.running,
            self.max,
            self.runs.join(", "),
        )
    }

    /// The same in one CamelCase word.
    pub(super) fn reason(&self) -> &'static str {
        if self.running < self.max { "WaitingForTurn" } else { "WaitingForRoom" }
    }
}
