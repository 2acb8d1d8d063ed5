//! What enter opens on the page of a ticket: an agent's conversation, the diff, a check, a review, a merge, the workspace.

use crate::tui::fleet::{AgentRow, Fleet, Key};

use super::story::Story;

/// Agents of a ticket that are listed.
pub(crate) const LISTED: usize = 4;

/// One thing on the page of a ticket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mark {
    /// An agent: its conversation.
    Agent(Key),
    /// What was made: the diff of all repositories.
    Changes,
    /// A check, by name: everything that its script printed.
    Check(String),
    /// A review, by name.
    Review(String),
    /// A merge, by name.
    Merge(String),
    /// A workspace, by name.
    Workspace(String),
}

impl Story {
    /// Everything that can be marked, from the top of the page to its end.
    pub fn marks(&self, fleet: &Fleet) -> Vec<Mark> {
        let agents = self.agents(fleet);
        let mut marks: Vec<Mark> = agents.iter().map(|row| Mark::Agent(row.key.clone())).collect();
        if self
            .ticket
            .as_ref()
            .and_then(|ticket| ticket.status.as_ref())
            .is_some_and(|s| !s.changes.is_empty())
        {
            marks.push(Mark::Changes);
        }
        let name = |name: &Option<String>| name.clone().unwrap_or_default();
        marks.extend(self.checks_in_order().map(|check| Mark::Check(name(&check.metadata.name))));
        marks.extend(self.reviews_in_order().map(|review| Mark::Review(name(&review.metadata.name))));
        marks.extend(self.merges_in_order().map(|merge| Mark::Merge(name(&merge.metadata.name))));
        marks.extend(self.workspaces.keys().cloned().map(Mark::Workspace));
        marks
    }

    /// What is marked: what a person chose as long as it is there, else the newest agent, else the first thing.
    pub fn marked(&self, fleet: &Fleet) -> Option<Mark> {
        let marks = self.marks(fleet);
        let chosen = self.chosen.clone().filter(|chosen| marks.contains(chosen));
        chosen.or_else(|| marks.into_iter().next())
    }

    /// The agent that is marked, else the newest.
    pub fn agent<'a>(&self, fleet: &'a Fleet) -> Option<&'a AgentRow> {
        let agents = self.agents(fleet);
        let chosen = agents.iter().find(|row| self.chosen.as_ref() == Some(&Mark::Agent(row.key.clone())));
        chosen.or(agents.first()).copied()
    }

    /// Marks the next thing, or the one before. False at the end.
    pub fn mark(&mut self, fleet: &Fleet, next: bool) -> bool {
        let marks = self.marks(fleet);
        let now = self.marked(fleet);
        let at = marks.iter().position(|mark| Some(mark) == now.as_ref()).unwrap_or(0);
        let to = if next { Some(at + 1) } else { at.checked_sub(1) };
        let found = to.and_then(|to| marks.get(to)).cloned();
        let moved = found.is_some();
        self.chosen = found.or(now);
        moved
    }
}
