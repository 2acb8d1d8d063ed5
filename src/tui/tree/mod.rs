//! The tree at the left: agents by need, their steps, the newest iterations of each.
//!
//! ```text
//! WORKING 2
//! ▾ ⠙ builder            working  r3  #12
//!     ⟳ loop(build)
//!       ⠙ #12  34s
//!       ✓ #11  41s
//!       … 8 more
//! ```
//!
//! What is selected is known by name; rows may come and go around it. The rows are never all made: a walk over
//! the agents stops where the screen ends.

pub mod draw;
mod walk;

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use super::fleet::{AgentRow, Fleet, IterationRow, Key, Runs, StepRow};
use super::need::Need;

/// Iterations of a step that are shown unasked.
pub const FIRST_SHOWN: usize = 4;
/// How many more are shown when more are asked for.
const MORE: usize = 20;
/// Up to so many agents, all are shown with their steps.
const OPEN_UP_TO: usize = 12;

/// One selectable row, by name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum RowId {
    /// An agent.
    Agent(Key),
    /// A step, by its label.
    Step(Key, String),
    /// An iteration, by its step and name.
    Iteration(Key, String, String),
    /// The line that shows more iterations of a step.
    More(Key, String),
}

impl RowId {
    /// The agent that the row belongs to.
    pub fn agent(&self) -> &Key {
        match self {
            RowId::Agent(key) | RowId::Step(key, _) | RowId::Iteration(key, ..) | RowId::More(key, _) => key,
        }
    }

    /// The row that this one hangs below.
    fn parent(&self) -> Option<RowId> {
        match self {
            RowId::Agent(_) => None,
            RowId::Step(key, _) => Some(RowId::Agent(key.clone())),
            RowId::Iteration(key, step, _) | RowId::More(key, step) => {
                Some(RowId::Step(key.clone(), step.clone()))
            }
        }
    }
}

/// One row as it is drawn.
#[derive(Clone, Copy, Debug)]
pub enum Row<'a> {
    /// Heading of a group.
    Group(Need),
    /// An agent, and whether its steps are shown.
    Agent(&'a AgentRow, bool),
    /// A step, and whether its iterations are shown.
    Step(&'a AgentRow, &'a StepRow, bool),
    /// An iteration.
    Iteration(&'a AgentRow, &'a IterationRow),
    /// So many more iterations.
    More(&'a AgentRow, &'a StepRow, usize),
}

impl Row<'_> {
    /// Its name; headings have none.
    pub fn id(&self) -> Option<RowId> {
        Some(match self {
            Row::Group(_) => return None,
            Row::Agent(agent, _) => RowId::Agent(agent.key.clone()),
            Row::Step(agent, step, _) => RowId::Step(agent.key.clone(), step.label.clone()),
            Row::Iteration(agent, iteration) => {
                RowId::Iteration(agent.key.clone(), iteration.step.clone(), iteration.name.clone())
            }
            Row::More(agent, step, _) => RowId::More(agent.key.clone(), step.label.clone()),
        })
    }

    fn is(&self, id: &RowId) -> bool {
        match (self, id) {
            (Row::Agent(agent, _), RowId::Agent(key)) => agent.key == *key,
            (Row::Step(agent, step, _), RowId::Step(key, label))
            | (Row::More(agent, step, _), RowId::More(key, label)) => {
                agent.key == *key && step.label == *label
            }
            (Row::Iteration(agent, iteration), RowId::Iteration(key, step, name)) => {
                agent.key == *key && iteration.step == *step && iteration.name == *name
            }
            _ => false,
        }
    }
}

/// What the tree is made from.
#[derive(Clone, Copy, Debug)]
pub struct Source<'a> {
    /// The agents.
    pub fleet: &'a Fleet,
    /// Known iterations.
    pub runs: &'a HashMap<Key, Runs>,
}

/// What is selected, open and in view.
#[derive(Clone, Debug, Default)]
pub struct Tree {
    selected: Option<RowId>,
    /// Row of the screen on which the selection stands.
    line: usize,
    /// Where it stood among all rows, for when it goes away.
    index: usize,
    /// Rows of the screen when the line was chosen.
    height: usize,
    agents_open: bool,
    folds: HashMap<(Key, Option<String>), bool>,
    more: HashMap<(Key, String), usize>,
    opened: Vec<Key>,
}

/// A movement of the selection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Move {
    /// So many rows down, or up when negative.
    By(isize),
    /// To the first row.
    First,
    /// To the last row.
    Last,
}

impl Tree {
    /// The selected row.
    pub fn selected(&self) -> Option<&RowId> {
        self.selected.as_ref()
    }

    /// Agents whose iterations are wanted, the last opened first.
    pub fn opened(&self) -> impl Iterator<Item = &Key> {
        self.opened.iter().rev()
    }

    /// Called with the first listing: a small fleet is shown open, and something is selected.
    pub fn begin(&mut self, source: Source<'_>) {
        self.agents_open = source.fleet.len() <= OPEN_UP_TO;
        if self.agents_open {
            self.opened = source.fleet.in_order().map(|row| row.key.clone()).collect();
            self.opened.reverse();
        }
        self.settle(source, 1);
    }

    /// An agent came newly into the fleet, which has so many now. Beyond a small one, it is shown closed.
    pub fn arrived(&mut self, key: &Key, fleet: usize) {
        if fleet > OPEN_UP_TO && !self.folds.contains_key(&(key.clone(), None)) {
            self.folds.insert((key.clone(), None), false);
        }
        if self.is_open(key, None) && !self.opened.contains(key) {
            self.opened.push(key.clone());
        }
    }

    /// Makes sure that the selected row is there: else its parent is taken, else what stands in its place.
    pub fn settle(&mut self, source: Source<'_>, height: usize) {
        while let Some(id) = &self.selected {
            if self.exists(source, id) {
                self.keep_in_view(source, height);
                return;
            }
            self.selected = id.parent();
        }
        let index = self.index;
        self.selected = self.selectable_at(source, index, -1).or_else(|| self.selectable_at(source, 0, 1));
        self.keep_in_view(source, height);
    }

    /// Selects a row and opens what hides it.
    pub fn select(&mut self, source: Source<'_>, id: RowId, height: usize) {
        if let Some(parent) = id.parent() {
            self.fold(id.agent(), None, true);
            if let RowId::Step(key, step) = parent {
                self.fold(&key, Some(&step), true);
            }
        }
        self.take(source, id);
        self.settle(source, height);
    }

    /// Selects another row; the rows around it stay where they are on the screen.
    fn take(&mut self, source: Source<'_>, id: RowId) {
        let before = self.index;
        self.selected = Some(id);
        let now = self.index_of(source).unwrap_or(before);
        let offset = self.offset();
        self.index = now;
        self.line = now.saturating_sub(offset);
    }

    /// Moves the selection.
    pub fn go(&mut self, source: Source<'_>, to: Move, height: usize) {
        let found = match to {
            Move::First => self.selectable_at(source, 0, 1),
            Move::Last => self.selectable_at(source, self.count(source).saturating_sub(1), -1),
            Move::By(delta) => {
                let target =
                    self.index.saturating_add_signed(delta).min(self.count(source).saturating_sub(1));
                let step = if delta < 0 { -1 } else { 1 };
                self.selectable_at(source, target, step).or_else(|| self.selectable_at(source, target, -step))
            }
        };
        if let Some(id) = found {
            self.take(source, id);
        }
        self.keep_in_view(source, height);
    }

    /// Opens or closes the selected row. Closing what is closed goes to the parent, opening what is open into it.
    pub fn open(&mut self, source: Source<'_>, open: bool, height: usize) {
        let Some(id) = self.selected.clone() else { return };
        match &id {
            RowId::More(key, step) if open => self.show_more(source, key.clone(), step.clone()),
            RowId::Agent(key) if self.is_open(key, None) != open => self.fold(key, None, open),
            RowId::Step(key, step) if self.is_open(key, Some(step)) != open => {
                self.fold(key, Some(step), open);
            }
            RowId::Agent(_) | RowId::Step(..) if open => self.go(source, Move::By(1), height),
            _ if !open => {
                if let Some(parent) = id.parent() {
                    self.take(source, parent);
                }
            }
            _ => {}
        }
        self.settle(source, height);
    }

    /// Opens or closes every agent.
    pub fn open_all(&mut self, source: Source<'_>, open: bool, height: usize) {
        self.agents_open = open;
        self.folds.retain(|(_, step), _| step.is_some());
        self.opened =
            if open { source.fleet.in_order().map(|row| row.key.clone()).collect() } else { Vec::new() };
        self.opened.reverse();
        if !open && let Some(id) = &self.selected {
            self.selected = Some(RowId::Agent(id.agent().clone()));
        }
        self.settle(source, height);
    }

    fn show_more(&mut self, source: Source<'_>, key: Key, step: String) {
        let shown = self.limit(&key, &step);
        // The row that was asked goes away: the first new iteration takes its place.
        let next = source.runs.get(&key).and_then(|runs| runs.of_step(&step).nth(shown));
        self.selected = next.map(|row| RowId::Iteration(key.clone(), step.clone(), row.name.clone()));
        self.more.insert((key, step), shown + MORE);
    }

    fn limit(&self, key: &Key, step: &str) -> usize {
        if self.more.is_empty() {
            return FIRST_SHOWN;
        }
        self.more.get(&(key.clone(), step.to_owned())).copied().unwrap_or(FIRST_SHOWN)
    }

    fn fold(&mut self, key: &Key, step: Option<&str>, open: bool) {
        self.folds.insert((key.clone(), step.map(str::to_owned)), open);
        if step.is_none() {
            self.opened.retain(|known| known != key);
            if open {
                self.opened.push(key.clone());
            }
        }
    }

    fn is_open(&self, key: &Key, step: Option<&str>) -> bool {
        let default = step.is_some() || self.agents_open;
        if self.folds.is_empty() {
            return default;
        }
        self.folds.get(&(key.clone(), step.map(str::to_owned))).copied().unwrap_or(default)
    }

    fn keep_in_view(&mut self, source: Source<'_>, height: usize) {
        self.index = self.index_of(source).unwrap_or(0);
        self.height = height;
        // Neither a gap above the first row nor, where there are enough rows, one below the last.
        let below = self.count(source).saturating_sub(self.index);
        self.line = self.line.max(height.saturating_sub(below)).min(self.index).min(height.saturating_sub(1));
        // A heading directly above the first agent is worth its row.
        if self.index == 1 && height > 1 {
            self.line = 1;
        }
    }

    /// Rows of the screen that the selection is in view of.
    pub fn height(&self) -> usize {
        self.height
    }

    /// First row of the screen, counted from the first row of all.
    pub fn offset(&self) -> usize {
        self.index.saturating_sub(self.line)
    }
}

#[cfg(test)]
mod tests;
