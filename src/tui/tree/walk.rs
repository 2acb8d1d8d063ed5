//! The rows of the tree, one after the other, as far as somebody looks.

use std::ops::ControlFlow;

use super::{Row, RowId, Source, Tree};
use crate::tui::fleet::{AgentRow, Key, Sort};

impl Tree {
    /// Gives rows in order until `each` breaks.
    fn walk<'a>(&self, source: Source<'a>, mut each: impl FnMut(Row<'a>) -> ControlFlow<()>) {
        let grouped = source.fleet.sorting().0 == Sort::Need;
        let mut group = None;
        for agent in source.fleet.in_order() {
            if grouped && group != Some(agent.standing.need) {
                group = Some(agent.standing.need);
                if each(Row::Group(agent.standing.need)).is_break() {
                    return;
                }
            }
            if self.walk_agent(source, agent, &mut each).is_break() {
                return;
            }
        }
    }

    fn walk_agent<'a>(
        &self,
        source: Source<'a>,
        agent: &'a AgentRow,
        each: &mut impl FnMut(Row<'a>) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        let open = self.is_open(&agent.key, None);
        each(Row::Agent(agent, open))?;
        if !open {
            return ControlFlow::Continue(());
        }
        let runs = source.runs.get(&agent.key);
        for step in &agent.steps {
            let open = self.is_open(&agent.key, Some(&step.label));
            each(Row::Step(agent, step, open))?;
            let Some(runs) = runs.filter(|_| open) else { continue };
            let limit = self.limit(&agent.key, &step.label);
            for iteration in runs.of_step(&step.label).take(limit) {
                each(Row::Iteration(agent, iteration))?;
            }
            let hidden = runs.count(&step.label).saturating_sub(limit);
            if hidden > 0 {
                each(Row::More(agent, step, hidden))?;
            }
        }
        ControlFlow::Continue(())
    }

    /// The rows from `first` on, at most `count`.
    pub fn window<'a>(&self, source: Source<'a>, first: usize, count: usize) -> Vec<Row<'a>> {
        let mut rows = Vec::with_capacity(count.min(512));
        let mut at = 0;
        self.walk(source, |row| {
            if at >= first {
                if rows.len() >= count {
                    return ControlFlow::Break(());
                }
                rows.push(row);
            }
            at += 1;
            ControlFlow::Continue(())
        });
        rows
    }

    /// How many rows there are.
    pub fn count(&self, source: Source<'_>) -> usize {
        if !self.agents_open {
            return source.fleet.shown() + source.fleet.groups(None) + self.rows_of_open(source, None);
        }
        let mut count = 0;
        self.walk(source, |_| {
            count += 1;
            ControlFlow::Continue(())
        });
        count
    }

    /// Rows below the agents that are open while most are closed; of those that stand before one, when it is given.
    fn rows_of_open(&self, source: Source<'_>, before: Option<&Key>) -> usize {
        let open = self.folds.iter().filter(|((_, step), open)| step.is_none() && **open);
        open.filter(|((key, _), _)| source.fleet.is_shown(key))
            .filter(|((key, _), _)| before.is_none_or(|before| source.fleet.precedes(key, before)))
            .filter_map(|((key, _), _)| source.fleet.get(key))
            .map(|agent| {
                let mut rows = 0_usize;
                let _ = self.walk_agent(source, agent, &mut |_| {
                    rows += 1;
                    ControlFlow::Continue(())
                });
                rows.saturating_sub(1)
            })
            .sum()
    }

    /// Where the selected row stands.
    pub(super) fn index_of(&self, source: Source<'_>) -> Option<usize> {
        let id = self.selected.as_ref()?;
        if self.agents_open {
            return self.index_by_walking(source, id);
        }
        // In a large fleet nearly every agent is one row: those before are counted, not looked at.
        let key = id.agent();
        let agent = source.fleet.get(key).filter(|_| source.fleet.is_shown(key))?;
        let (mut within, mut found) = (0, false);
        let _ = self.walk_agent(source, agent, &mut |row| {
            found = row.is(id);
            if found {
                return ControlFlow::Break(());
            }
            within += 1;
            ControlFlow::Continue(())
        });
        let before = source.fleet.before(key) + source.fleet.groups(Some(key));
        found.then(|| before + self.rows_of_open(source, Some(key)) + within)
    }

    pub(super) fn index_by_walking(&self, source: Source<'_>, id: &RowId) -> Option<usize> {
        let (mut at, mut found) = (0, None);
        self.walk(source, |row| {
            if row.is(id) {
                found = Some(at);
                return ControlFlow::Break(());
            }
            at += 1;
            ControlFlow::Continue(())
        });
        found
    }

    /// The first selectable row at `index` or, from there, in the direction of `step`.
    pub(super) fn selectable_at(&self, source: Source<'_>, index: usize, step: isize) -> Option<RowId> {
        let (mut at, mut before, mut found) = (0, None, None);
        self.walk(source, |row| {
            let id =
                if at == index || (at + 1 == index) || (at > index && step > 0) { row.id() } else { None };
            match id {
                Some(id) if at >= index => found = Some(id),
                Some(id) => before = Some(id),
                None => {}
            }
            at += 1;
            let passed = at > index && (found.is_some() || step < 0);
            if passed { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        // A heading has rows on both sides but for the first, which has none above it.
        if step < 0 { found.or(before) } else { found }
    }

    /// True when a row is there: shown by the filter, and not folded away.
    pub(super) fn exists(&self, source: Source<'_>, id: &RowId) -> bool {
        let key = id.agent();
        let Some(agent) = source.fleet.get(key).filter(|_| source.fleet.is_shown(key)) else { return false };
        if matches!(id, RowId::Agent(_)) {
            return true;
        }
        let mut found = false;
        let _ = self.walk_agent(source, agent, &mut |row| {
            found = row.is(id);
            if found { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        found
    }

    /// The row at a row of the screen.
    pub fn at_line(&self, source: Source<'_>, line: usize) -> Option<RowId> {
        self.window(source, self.offset() + line, 1).first().and_then(Row::id)
    }
}
