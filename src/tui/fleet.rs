//! What steer keeps of the cluster: one slim row per agent in the order of the tree, and the iterations of those
//! that are looked at.
//!
//! A change costs a search in an ordered set, never a sort, so that a large fleet may change all the time.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use gcluster_types::Agent;
use gcluster_types::kinds::agent::TokenTotals;
use gcluster_types::kinds::iteration::{Iteration, Phase, StepKind};
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt as _;
use serde::{Deserialize, Serialize};

use super::filter::Filter;
use super::need::{Need, Standing, standing};
use crate::render::age;
use crate::render::agent::outline;

/// Namespace and name of an agent, as `namespace/name`.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Key(String);

impl Key {
    /// The key of an agent.
    pub fn new(namespace: &str, name: &str) -> Self {
        Self(format!("{namespace}/{name}"))
    }

    /// Its namespace.
    pub fn namespace(&self) -> &str {
        self.0.split_once('/').map_or("", |(namespace, _)| namespace)
    }

    /// Its name.
    pub fn name(&self) -> &str {
        self.0.split_once('/').map_or(self.0.as_str(), |(_, name)| name)
    }
}

/// One step of an agent, as the tree shows it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepRow {
    /// Its label, as iterations carry it.
    pub label: String,
    /// `loop(build)`, `map(chapters, write)`, `plan`.
    pub shown: String,
    /// True for a loop.
    pub looped: bool,
    /// Iterations that ended.
    pub runs: i64,
    /// Of these, how many failed.
    pub failed: i64,
}

/// What is kept of every agent.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct AgentRow {
    /// Who.
    pub key: Key,
    /// Its uid: another agent of the same name is another agent.
    pub uid: String,
    /// What it needs.
    pub standing: Standing,
    /// When it was created.
    pub created: Option<Timestamp>,
    /// When its newest iteration began or ended.
    pub last: Option<Timestamp>,
    /// The revision in use.
    pub revision: i64,
    /// Iterations that ended.
    pub iterations: i64,
    /// Of these, how many failed.
    pub failed: i64,
    /// Iterations that run now.
    pub active: usize,
    /// Tokens of all iterations.
    pub tokens: i64,
    /// US dollars of all iterations.
    pub cost: f64,
    /// Not everything has a known price.
    pub unpriced: bool,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its steps in order.
    pub steps: Vec<StepRow>,
    /// True while it should be at work.
    pub wanted: bool,
}

/// What an agent's steps are is read off its definition once per generation.
#[derive(Debug, Default)]
pub struct Outlines(HashMap<Key, (Option<i64>, Vec<StepRow>)>);

impl Outlines {
    /// The row of an agent.
    pub fn row(&mut self, agent: &Agent) -> AgentRow {
        let key = Key::new(&agent.namespace().unwrap_or_default(), &agent.name_any());
        let known = self.0.entry(key.clone()).or_default();
        if known.0.is_none() || known.0 != agent.metadata.generation {
            *known = (agent.metadata.generation, steps(agent));
        }
        let mut steps = known.1.clone();
        let status = agent.status.clone().unwrap_or_default();
        for stats in &status.stats {
            match steps.iter_mut().find(|step| step.label == stats.step) {
                Some(step) => (step.runs, step.failed) = (stats.iterations, stats.failed),
                // A step that the definition no longer has still has iterations to look at.
                None => steps.push(StepRow {
                    label: stats.step.clone(),
                    shown: format!("{} (gone)", stats.step),
                    looped: false,
                    runs: stats.iterations,
                    failed: stats.failed,
                }),
            }
        }
        let counts = status.iterations.unwrap_or_default();
        AgentRow {
            standing: standing(agent),
            uid: agent.uid().unwrap_or_default(),
            created: agent.metadata.creation_timestamp.as_ref().map(|at| at.0),
            last: status.last_iteration_time.as_ref().map(|at| at.0),
            revision: status.current_revision.unwrap_or(0),
            iterations: counts.total,
            failed: counts.failed,
            active: status.active_iterations.len(),
            tokens: status.tokens.map_or(0, |tokens| tokens.total),
            cost: status.cost_usd.unwrap_or(0.0),
            unpriced: status.unpriced_tokens.is_some(),
            labels: agent.metadata.labels.clone().unwrap_or_default(),
            wanted: agent.spec.run == Default::default(),
            key,
            steps,
        }
    }

    /// Forgets an agent.
    pub fn forget(&mut self, key: &Key) {
        self.0.remove(key);
    }
}

fn steps(agent: &Agent) -> Vec<StepRow> {
    outline(agent)
        .into_iter()
        .map(|(label, does)| {
            let mut words = does.split(' ');
            let shown = match (words.next(), words.next(), words.next()) {
                (Some("loop"), Some(method), _) => format!("loop({method})"),
                (Some("map"), Some(items), Some(method)) => format!("map({items}, {method})"),
                (Some("call"), Some(method), _) => method.to_owned(),
                _ => "prompt".to_owned(),
            };
            StepRow { looped: does.starts_with("loop "), label, shown, runs: 0, failed: 0 }
        })
        .collect()
}

/// What is kept of an iteration.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct IterationRow {
    /// Its name.
    pub name: String,
    /// Its agent.
    pub agent: Key,
    /// Label of its step.
    pub step: String,
    /// How the step runs.
    pub kind: StepKind,
    /// Its number.
    pub number: i64,
    /// Which item of a map.
    pub item: Option<i64>,
    /// Where it stands.
    pub phase: Phase,
    /// Why, in one word.
    pub reason: String,
    /// When it began.
    pub started: Option<Timestamp>,
    /// When it ended.
    pub finished: Option<Timestamp>,
    /// Tools used.
    pub tools: i64,
    /// Tokens used.
    pub tokens: TokenTotals,
    /// The cost in words, where there is one.
    pub cost: Option<String>,
    /// What went wrong.
    pub error: String,
    /// Name of the revision that it executes.
    pub revision: String,
    /// Backend and model.
    pub model: String,
    /// The backend's session.
    pub session: String,
    /// Its living processes.
    #[serde(default)]
    pub processes: i64,
    /// `metadata.resourceVersion` as a number.
    pub version: u64,
}

impl IterationRow {
    /// The row of an iteration.
    pub fn of(iteration: &Iteration) -> Self {
        let status = iteration.status.clone().unwrap_or_default();
        let spec = &iteration.spec;
        Self {
            name: iteration.name_any(),
            agent: Key::new(&iteration.namespace().unwrap_or_default(), &spec.agent),
            step: spec.step.clone(),
            kind: spec.kind,
            number: spec.number,
            item: spec.item,
            phase: status.phase,
            reason: status.reason.unwrap_or_default(),
            started: status.started_at.map(|at| at.0),
            finished: status.finished_at.map(|at| at.0),
            tools: status.tool_uses,
            tokens: status.tokens.unwrap_or_default(),
            cost: age::price(status.cost_usd, status.unpriced_tokens),
            error: status.error.unwrap_or_default(),
            revision: spec.revision.clone(),
            model: [status.backend, status.model].into_iter().flatten().collect::<Vec<_>>().join(" "),
            session: status.session_id.unwrap_or_default(),
            processes: status.processes.map_or(0, |processes| processes.count),
            version: iteration.resource_version().and_then(|text| text.parse().ok()).unwrap_or(0),
        }
    }

    /// `#12`, or `#12.3` for the item of a map.
    pub fn label(&self) -> String {
        match self.item {
            Some(item) => format!("#{}.{item}", self.number),
            None => format!("#{}", self.number),
        }
    }
}

/// Newest first; items of one map in their own order.
type Place = (std::cmp::Reverse<i64>, Option<i64>, String);

/// The known iterations of one agent.
#[derive(Clone, Debug, Default)]
pub struct Runs {
    steps: BTreeMap<String, BTreeMap<Place, IterationRow>>,
}

fn place(row: &IterationRow) -> Place {
    (std::cmp::Reverse(row.number), row.item, row.name.clone())
}

impl Runs {
    /// Takes in an iteration unless a newer state of it is known.
    pub fn put(&mut self, row: IterationRow) {
        let known = self.steps.entry(row.step.clone()).or_default();
        match known.get_mut(&place(&row)) {
            Some(old) if old.version > row.version => {}
            Some(old) => *old = row,
            None => {
                known.insert(place(&row), row);
            }
        }
    }

    /// Forgets an iteration.
    pub fn remove(&mut self, name: &str) {
        for rows in self.steps.values_mut() {
            rows.retain(|_, row| row.name != name);
        }
    }

    /// Iterations of a step, newest first.
    pub fn of_step(&self, step: &str) -> impl Iterator<Item = &IterationRow> {
        self.steps.get(step).into_iter().flat_map(BTreeMap::values)
    }

    /// How many iterations of a step are known.
    pub fn count(&self, step: &str) -> usize {
        self.steps.get(step).map_or(0, BTreeMap::len)
    }

    /// All of them.
    pub fn all(&self) -> impl Iterator<Item = &IterationRow> {
        self.steps.values().flat_map(BTreeMap::values)
    }

    /// One of them.
    pub fn get(&self, step: &str, name: &str) -> Option<&IterationRow> {
        self.of_step(step).find(|row| row.name == name)
    }
}

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

/// A text that sorts as people count: `b9` before `b10`.
pub(super) fn natural(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 4);
    let mut digits = String::new();
    let flush = |digits: &mut String, out: &mut String| {
        if !digits.is_empty() {
            let number = digits.trim_start_matches('0');
            // The length of a number goes before it: longer ones are larger.
            out.push(char::from_u32(0x30 + u32::try_from(number.len()).unwrap_or(0)).unwrap_or('~'));
            out.push_str(number);
            digits.clear();
        }
    };
    for c in text.chars() {
        if c.is_ascii_digit() {
            digits.push(c);
        } else {
            flush(&mut digits, &mut out);
            out.push(c);
        }
    }
    flush(&mut digits, &mut out);
    out
}

#[cfg(test)]
mod tests;
