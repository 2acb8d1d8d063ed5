//! The connections that are open.
//!
//! One that has shown no token yet can be had by anybody, so only some of these stay: the oldest makes room
//! for the newest. Thousands of half-open connections thereby never keep out a client that says who it is,
//! as that takes it milliseconds.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use tokio::sync::Notify;

use super::counts::{Counted, Counts};
use super::{Caller, Limits};

/// Connections above the limit that are still told so.
const TOLD: usize = 64;

/// Lets connections in. Clones are handles to the same one.
#[derive(Clone, Debug)]
pub(crate) struct Gate(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    limits: Limits,
    clients: Counts,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    next: u64,
    open: usize,
    unproved: BTreeMap<u64, Arc<Notify>>,
    refused: u64,
    evicted: u64,
}

/// One connection; counts for as long as it lives.
#[derive(Debug)]
pub(crate) struct Seat {
    gate: Gate,
    number: u64,
    /// Told to go.
    evicted: Arc<Notify>,
    /// The server is full: all that it is told is that.
    full: bool,
    /// The client that it was first used by, or why that one has too many.
    client: OnceLock<Result<Counted, String>>,
}

impl Gate {
    pub(crate) fn new(limits: Limits) -> Self {
        let clients = Counts::new(usize::MAX, limits.connections_per_client);
        Self(Arc::new(Shared { limits, clients, state: Mutex::default() }))
    }

    /// A connection comes; none when it must go at once.
    pub(crate) fn admit(&self) -> Option<Seat> {
        let limits = &self.0.limits;
        let mut state = self.lock();
        if state.unproved.len() >= limits.unproved {
            if let Some((_, oldest)) = state.unproved.pop_first() {
                oldest.notify_one();
            }
            state.evicted += 1;
        }
        let full = state.open >= limits.connections;
        if full {
            state.refused += 1;
        }
        if state.open >= limits.connections + TOLD {
            return None;
        }
        let number = state.next;
        let evicted = Arc::new(Notify::new());
        state.next += 1;
        state.open += 1;
        state.unproved.insert(number, Arc::clone(&evicted));
        drop(state);
        Some(Seat { gate: self.clone(), number, evicted, full, client: OnceLock::new() })
    }

    /// Open, refused so far, closed so far for newer ones.
    pub(crate) fn counts(&self) -> (usize, u64, u64) {
        let state = self.lock();
        (state.open, state.refused + self.0.clients.refused(), state.evicted)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seat {
    /// Tells connections apart.
    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    /// Completes when the connection has to make room.
    pub(crate) async fn evicted(&self) {
        self.evicted.notified().await;
    }

    /// The connection showed a token. It counts for that client from now on.
    ///
    /// # Errors
    /// Why it may not be used: the server or this client has too many.
    pub(crate) fn prove(&self, caller: &Caller) -> Result<(), String> {
        if self.full {
            return Err(format!("{} connections are open already", self.gate.0.limits.connections));
        }
        let counted = self.client.get_or_init(|| {
            self.gate.lock().unproved.remove(&self.number);
            self.gate.0.clients.add(caller).map_err(|why| format!("connections: {why}"))
        });
        counted.as_ref().map(drop).map_err(Clone::clone)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut state = self.gate.lock();
        state.open = state.open.saturating_sub(1);
        state.unproved.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::Identity;

    #[tokio::test]
    async fn those_without_a_token_make_room_and_the_others_stay() {
        let limits = Limits { connections: 6, unproved: 2, connections_per_client: 2, ..Limits::default() };
        let gate = Gate::new(limits);
        let a = Caller::new(&Identity::Admin, None, "a");
        let proved = gate.admit().unwrap();
        proved.prove(&a).unwrap();
        let (oldest, second) = (gate.admit().unwrap(), gate.admit().unwrap());
        let third = gate.admit().unwrap();
        oldest.evicted().await;
        assert!(futures::poll!(Box::pin(proved.evicted())).is_pending());
        assert!(futures::poll!(Box::pin(third.evicted())).is_pending());
        second.prove(&a).unwrap();
        assert!(third.prove(&a).unwrap_err().contains("2 of gcluster-admin/a"));
        assert_eq!(gate.counts(), (4, 1, 1));
        drop((oldest, second, third, proved));
        assert_eq!(gate.counts().0, 0);
    }

    #[test]
    fn above_the_limit_some_are_told_and_the_rest_is_turned_away() {
        let gate = Gate::new(Limits { connections: 1, ..Limits::default() });
        let a = Caller::new(&Identity::Admin, None, "a");
        let _open = gate.admit().unwrap();
        let told: Vec<Seat> = (0..TOLD).map(|_| gate.admit().unwrap()).collect();
        assert!(told[0].prove(&a).is_err());
        assert!(gate.admit().is_none());
    }
}
