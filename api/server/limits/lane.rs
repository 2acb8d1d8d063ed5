//! One lane of work: a few seats, and short queues from which the clients take turns.
//!
//! ```text
//! client A ─ connection 1 ▢▢▢ ┐            of all clients that wait: the one served least,
//!          └ connection 2 ▢   ├─▶ seats    of its connections: the one served least,
//! client B ─ connection 3 ▢ ──┘            of that connection: the oldest request
//! ```
//! "Served" is virtual time: who comes back after a pause starts at the time of the lane, so it has no debt
//! and no savings. A lane neither waits nor looks at a clock, so that all its orders can be tried in tests.

use std::collections::{BTreeMap, VecDeque};

/// How many requests a lane holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seats {
    /// At work at once.
    pub(crate) total: usize,
    /// At work at once for one client while others are active.
    pub(crate) contended: usize,
    /// Waiting at once for one client.
    pub(crate) queue: usize,
    /// Waiting at once, of all clients.
    pub(crate) queues: usize,
}

/// Who asks: a client and one of its connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Asker {
    pub(crate) client: u64,
    pub(crate) connection: u64,
}

/// What becomes of a request that arrives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Arrival {
    /// It has a seat.
    Seated,
    /// It waits under this number; its ticket is handed out later.
    Queued(u64),
    /// The queue is full.
    Refused,
}

/// A lane; `T` is what wakes a request that waits.
#[derive(Debug)]
pub(crate) struct Lane<T> {
    seats: Seats,
    running: usize,
    queued: usize,
    next: u64,
    /// Virtual time: what the client served last had been served before.
    clock: u64,
    clients: BTreeMap<u64, Client<T>>,
}

#[derive(Debug)]
struct Client<T> {
    running: usize,
    queued: usize,
    served: u64,
    clock: u64,
    connections: BTreeMap<u64, Line<T>>,
}

#[derive(Debug)]
struct Line<T> {
    served: u64,
    waiting: VecDeque<(u64, u64, T)>,
}

impl<T> Lane<T> {
    pub(crate) fn new(seats: Seats) -> Self {
        Self { seats, running: 0, queued: 0, next: 0, clock: 0, clients: BTreeMap::new() }
    }

    /// Requests at work.
    pub(crate) fn running(&self) -> usize {
        self.running
    }

    /// Requests that wait.
    pub(crate) fn queued(&self) -> usize {
        self.queued
    }

    /// Requests at work and waiting of one client.
    pub(crate) fn of(&self, client: u64) -> (usize, usize) {
        self.clients.get(&client).map_or((0, 0), |client| (client.running, client.queued))
    }

    /// A request of some cost arrives. `contended`: other clients are active, too.
    pub(crate) fn arrive(
        &mut self,
        asker: Asker,
        cost: u64,
        contended: bool,
        ticket: impl FnOnce() -> T,
    ) -> Arrival {
        let (seats, clock) = (self.seats, self.clock);
        let client = self.clients.entry(asker.client).or_insert_with(|| Client {
            running: 0,
            queued: 0,
            served: clock,
            clock: 0,
            connections: BTreeMap::new(),
        });
        if client.queued == 0 {
            client.served = client.served.max(clock);
        }
        let share = if contended { seats.contended } else { seats.total };
        // Nobody overtakes: where a client waits already, its next request waits behind.
        if self.running < seats.total && client.queued == 0 && client.running < share {
            self.running += 1;
            client.running += 1;
            self.clock = client.served;
            client.served += cost;
            return Arrival::Seated;
        }
        if client.queued >= seats.queue || self.queued >= seats.queues {
            return Arrival::Refused;
        }
        let clock = client.clock;
        let line = client
            .connections
            .entry(asker.connection)
            .or_insert_with(|| Line { served: clock, waiting: VecDeque::new() });
        if line.waiting.is_empty() {
            line.served = line.served.max(clock);
        }
        let number = self.next;
        self.next += 1;
        line.waiting.push_back((number, cost, ticket()));
        client.queued += 1;
        self.queued += 1;
        Arrival::Queued(number)
    }

    /// A request left its seat.
    pub(crate) fn leave(&mut self, client: u64) {
        self.running = self.running.saturating_sub(1);
        if let Some(entry) = self.clients.get_mut(&client) {
            entry.running = entry.running.saturating_sub(1);
        }
        self.forget(client);
    }

    /// A request stopped waiting. False when it does not wait: it has a seat already.
    pub(crate) fn cancel(&mut self, asker: Asker, number: u64) -> bool {
        let Some(client) = self.clients.get_mut(&asker.client) else { return false };
        let Some(line) = client.connections.get_mut(&asker.connection) else { return false };
        let Some(at) = line.waiting.iter().position(|(waiting, ..)| *waiting == number) else { return false };
        line.waiting.remove(at);
        client.queued -= 1;
        self.queued -= 1;
        self.forget(asker.client);
        true
    }

    /// Seats the next request that may be; to be called until none is left.
    pub(crate) fn seat(&mut self, contended: bool) -> Option<(u64, T)> {
        if self.running >= self.seats.total {
            return None;
        }
        let share = if contended { self.seats.contended } else { self.seats.total };
        let (key, client) = self
            .clients
            .iter_mut()
            .filter(|(_, client)| client.queued > 0 && client.running < share)
            .min_by_key(|(_, client)| client.served)?;
        let line = client
            .connections
            .values_mut()
            .filter(|line| !line.waiting.is_empty())
            .min_by_key(|line| (line.served, line.waiting.front().map(|(number, ..)| *number)))?;
        let (_, cost, ticket) = line.waiting.pop_front()?;
        client.clock = line.served;
        line.served += cost;
        client.queued -= 1;
        client.running += 1;
        self.queued -= 1;
        self.running += 1;
        self.clock = client.served;
        client.served += cost;
        let clock = client.clock;
        client.connections.retain(|_, line| !line.waiting.is_empty() || line.served > clock);
        Some((*key, ticket))
    }

    /// Drops what says no more than the clock does.
    fn forget(&mut self, key: u64) {
        let clock = self.clock;
        if self.clients.get(&key).is_some_and(|c| c.running == 0 && c.queued == 0 && c.served <= clock) {
            self.clients.remove(&key);
        }
        if self.clients.len() > MAX_REMEMBERED {
            self.clients.retain(|_, client| client.running > 0 || client.queued > 0);
        }
    }
}

/// Clients that a lane remembers although they do nothing.
const MAX_REMEMBERED: usize = 1024;

#[cfg(test)]
mod tests;
