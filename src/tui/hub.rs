//! Where watches leave what they saw until the screen has time for it.
//!
//! Of each object only the newest state waits, so that however fast a fleet changes, what waits is never more than
//! the fleet, and the reader is never behind by more than one look.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use gcluster_types::kinds::message::Message;
use gcluster_types::{Agent, AgentRevision, Check, Merge, Review, Ticket, Workspace};
use serde_json::Value;
use tokio::sync::Notify;

use super::fleet::{AgentRow, IterationRow, Key};
use super::msg::{Changes, Link, Msg};
use super::tickets::{News, PoolRow, TicketRow};

/// Changes by name, the newest of each.
#[derive(Debug)]
pub(crate) struct Newest<T> {
    all: bool,
    objects: HashMap<String, Option<T>>,
}

impl<T> Default for Newest<T> {
    fn default() -> Self {
        Self { all: false, objects: HashMap::new() }
    }
}

impl<T> Newest<T> {
    pub(crate) fn put(&mut self, name: String, object: T) {
        self.objects.insert(name, Some(object));
    }

    pub(crate) fn gone(&mut self, name: String) {
        self.objects.insert(name, None);
    }

    /// Everything that there is: whatever waited is old.
    pub(crate) fn replace(&mut self, objects: impl IntoIterator<Item = (String, T)>) {
        self.all = true;
        self.objects = objects.into_iter().map(|(name, object)| (name, Some(object))).collect();
    }

    fn take(&mut self) -> Option<Changes<T>> {
        if !self.all && self.objects.is_empty() {
            return None;
        }
        let mut changes = Changes { all: std::mem::take(&mut self.all), ..Changes::default() };
        for (name, object) in self.objects.drain() {
            match object {
                Some(object) => changes.put.push((name, object)),
                None => changes.gone.push(name),
            }
        }
        Some(changes)
    }
}

/// What waits.
#[derive(Debug, Default)]
pub(crate) struct Waiting {
    pub(crate) agents: Newest<AgentRow>,
    pub(crate) running: Newest<IterationRow>,
    pub(crate) history: HashMap<Key, Newest<IterationRow>>,
    pub(crate) agent: Option<(Key, Option<Box<Agent>>)>,
    pub(crate) messages: Option<(Key, Newest<Message>)>,
    pub(crate) revisions: Option<(Key, Newest<AgentRevision>)>,
    pub(crate) events: Option<(Key, Newest<Value>)>,
    pub(crate) tickets: Newest<TicketRow>,
    pub(crate) pools: Newest<PoolRow>,
    pub(crate) ticket: Option<(Key, Option<Box<Ticket>>)>,
    pub(crate) workspaces: Option<(Key, Newest<Workspace>)>,
    pub(crate) reviews: Option<(Key, Newest<Review>)>,
    pub(crate) merges: Option<(Key, Newest<Merge>)>,
    pub(crate) ticket_events: Option<(Key, Newest<Value>)>,
    pub(crate) checks: HashMap<Key, Option<Box<Check>>>,
    pub(crate) link: Option<Link>,
}

/// Shared by all watches and the one reader.
#[derive(Debug, Default)]
pub(crate) struct Hub {
    waiting: Mutex<Waiting>,
    arrived: Notify,
}

impl Hub {
    /// Leaves something.
    pub(crate) fn leave(&self, change: impl FnOnce(&mut Waiting)) {
        change(&mut self.waiting());
        self.arrived.notify_one();
    }

    /// Returns when something waits.
    pub(crate) async fn arrived(&self) {
        self.arrived.notified().await;
    }

    /// Takes everything, agents first: what belongs to an agent comes after it.
    pub(crate) fn take(&self) -> Vec<Msg> {
        let mut waiting = std::mem::take(&mut *self.waiting());
        let mut messages = Vec::new();
        messages.extend(pieces(&mut waiting.agents).map(Msg::Agents));
        messages.extend(pieces(&mut waiting.running).map(Msg::Running));
        for (key, mut rows) in waiting.history {
            messages.extend(rows.take().map(|rows| Msg::History(key, rows)));
        }
        messages.extend(waiting.agent.map(|(key, agent)| Msg::Agent(key, agent)));
        messages.extend(of(waiting.messages, Msg::Messages));
        messages.extend(of(waiting.revisions, Msg::Revisions));
        messages.extend(of(waiting.events, Msg::Events));
        messages.extend(pieces(&mut waiting.tickets).map(Msg::Tickets));
        messages.extend(waiting.pools.take().map(Msg::Pools));
        messages.extend(waiting.ticket.map(|(key, ticket)| Msg::Story(key, News::Ticket(ticket))));
        messages.extend(of(waiting.workspaces, |key, changes| Msg::Story(key, News::Workspaces(changes))));
        messages.extend(of(waiting.reviews, |key, changes| Msg::Story(key, News::Reviews(changes))));
        messages.extend(of(waiting.merges, |key, changes| Msg::Story(key, News::Merges(changes))));
        messages.extend(of(waiting.ticket_events, |key, changes| Msg::Story(key, News::Events(changes))));
        messages.extend(waiting.checks.into_iter().map(|(key, check)| Msg::Check(key, check)));
        messages.extend(waiting.link.map(Msg::Link));
        messages
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn pieces<T>(newest: &mut Newest<T>) -> impl Iterator<Item = Changes<T>> {
    newest.take().into_iter().flat_map(Changes::pieces)
}

fn of<T>(slot: Option<(Key, Newest<T>)>, make: fn(Key, Changes<T>) -> Msg) -> Option<Msg> {
    let (key, mut newest) = slot?;
    newest.take().map(|changes| make(key, changes))
}

/// What waits for one agent; changes for another agent that nobody looks at any more are dropped.
pub(crate) fn slot<'a, T>(slot: &'a mut Option<(Key, Newest<T>)>, key: &Key) -> &'a mut Newest<T> {
    if slot.as_ref().is_none_or(|(known, _)| known != key) {
        *slot = None;
    }
    &mut slot.get_or_insert_with(|| (key.clone(), Newest::default())).1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(name: &str, iterations: i64) -> AgentRow {
        AgentRow { key: Key::new("d", name), iterations, ..AgentRow::default() }
    }

    #[tokio::test]
    async fn of_each_object_the_newest_state_waits_and_a_listing_replaces_all() {
        let hub = Hub::default();
        for n in 0..1000 {
            hub.leave(|waiting| waiting.agents.put("a".into(), row("a", n)));
        }
        hub.leave(|waiting| waiting.agents.gone("b".into()));
        hub.arrived().await;
        let [Msg::Agents(changes)] = &hub.take()[..] else { panic!("one message") };
        assert_eq!((changes.all, changes.put.len(), changes.put[0].1.iterations), (false, 1, 999));
        assert_eq!(changes.gone, ["b"]);
        assert!(hub.take().is_empty());
        hub.leave(|waiting| waiting.agents.put("x".into(), row("x", 1)));
        hub.leave(|waiting| waiting.agents.replace([("y".to_owned(), row("y", 1))]));
        hub.leave(|waiting| waiting.agents.gone("y".into()));
        let [Msg::Agents(changes)] = &hub.take()[..] else { panic!("one message") };
        assert!(changes.all && changes.put.is_empty() && changes.gone == ["y"]);
    }

    #[test]
    fn many_changes_come_in_pieces_and_a_listing_in_one() {
        let hub = Hub::default();
        let name = |n: i64| format!("d/{n}");
        for n in 0..1000 {
            hub.leave(|waiting| waiting.agents.put(name(n), row(&n.to_string(), n)));
            hub.leave(|waiting| waiting.agents.gone(name(1000 + n)));
        }
        let (mut put, mut gone) = (std::collections::BTreeSet::new(), std::collections::BTreeSet::new());
        let messages = hub.take();
        assert!(messages.len() > 20, "{}", messages.len());
        for msg in messages {
            let Msg::Agents(changes) = msg else { panic!("only agents") };
            assert!(!changes.all && changes.put.len() + changes.gone.len() <= 64);
            put.extend(changes.put.into_iter().map(|(name, _)| name));
            gone.extend(changes.gone);
        }
        assert_eq!((put.len(), gone.len()), (1000, 1000));
        hub.leave(|waiting| waiting.agents.replace((0..1000).map(|n| (name(n), row("a", n)))));
        assert_eq!(hub.take().len(), 1);
    }

    #[test]
    fn changes_of_an_agent_that_nobody_looks_at_any_more_are_dropped() {
        let hub = Hub::default();
        hub.leave(|w| slot(&mut w.events, &Key::new("d", "a")).put("e".into(), Value::Null));
        hub.leave(|w| slot(&mut w.events, &Key::new("d", "b")).put("f".into(), Value::Null));
        let [Msg::Events(key, changes)] = &hub.take()[..] else { panic!("one message") };
        assert_eq!((key.name(), changes.put[0].0.as_str()), ("b", "f"));
    }
}
