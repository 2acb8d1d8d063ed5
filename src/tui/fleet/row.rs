//! What is kept of an agent: one slim row.

use std::collections::{BTreeMap, HashMap};

use gcluster_types::Agent;
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt as _;
use serde::{Deserialize, Serialize};

use crate::render::agent::outline;
use crate::tui::need::{Standing, standing};

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

/// A text that sorts as people count: `b9` before `b10`.
pub(crate) fn natural(text: &str) -> String {
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
