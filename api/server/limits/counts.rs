//! How many of something are open, in all and per client.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::Caller;

/// Counts up to two limits. Clones are handles to the same counts.
#[derive(Clone, Debug)]
pub(crate) struct Counts(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    total: usize,
    per_client: usize,
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    total: usize,
    clients: HashMap<u64, usize>,
    refused: u64,
}

/// Counts as one for as long as it lives.
#[derive(Debug)]
pub(crate) struct Counted {
    counts: Counts,
    client: u64,
}

impl Drop for Counted {
    fn drop(&mut self) {
        let mut open = self.counts.lock();
        open.total = open.total.saturating_sub(1);
        if let Some(own) = open.clients.get_mut(&self.client) {
            *own -= 1;
            if *own == 0 {
                open.clients.remove(&self.client);
            }
        }
    }
}

impl Counts {
    pub(crate) fn new(total: usize, per_client: usize) -> Self {
        Self(Arc::new(Shared { total, per_client, open: Mutex::default() }))
    }

    /// Counts one more.
    ///
    /// # Errors
    /// The limit that is reached, in words.
    pub(crate) fn add(&self, caller: &Caller) -> Result<Counted, String> {
        let mut open = self.lock();
        let own = open.clients.get(&caller.key()).copied().unwrap_or_default();
        if own >= self.0.per_client {
            open.refused += 1;
            return Err(format!("{own} of {} are open already", caller.name()));
        }
        if open.total >= self.0.total {
            open.refused += 1;
            return Err(format!("{} are open already", open.total));
        }
        open.total += 1;
        *open.clients.entry(caller.key()).or_default() += 1;
        Ok(Counted { counts: self.clone(), client: caller.key() })
    }

    /// How many were refused so far.
    pub(crate) fn refused(&self) -> u64 {
        self.lock().refused
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.0.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::Identity;

    #[test]
    fn both_limits_hold_and_what_ends_makes_room() {
        let counts = Counts::new(3, 2);
        let caller = |name| Caller::new(&Identity::Admin, None, name);
        let (a, b) = (caller("a"), caller("b"));
        let first = counts.add(&a).unwrap();
        let _second = counts.add(&a).unwrap();
        assert!(counts.add(&a).unwrap_err().contains("gcluster-admin/a"));
        let _third = counts.add(&b).unwrap();
        assert_eq!(counts.add(&b).unwrap_err(), "3 are open already");
        drop(first);
        counts.add(&b).unwrap();
        assert_eq!(counts.refused(), 2);
    }
}
