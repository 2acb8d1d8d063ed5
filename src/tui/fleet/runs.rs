//! The iterations of an agent that is looked at, the newest first.

use std::collections::BTreeMap;

use gcluster_types::kinds::agent::TokenTotals;
use gcluster_types::kinds::iteration::{Iteration, Phase, StepKind};
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt as _;
use serde::{Deserialize, Serialize};

use super::Key;
use crate::render::age;

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
