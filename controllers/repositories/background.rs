//! Work on a hub that takes its time, beside the looks: one of each sort at once for each repository.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::task::JoinSet;

/// Tasks by key, and what became of the last one of each. All end when it is dropped.
pub(super) struct Background<K, T> {
    shared: Arc<Mutex<HashMap<K, State<T>>>>,
    tasks: Mutex<JoinSet<()>>,
}

enum State<T> {
    Running,
    Ended(T),
}

impl<K: Eq + Hash + Clone + Send + 'static, T: Clone + Send + 'static> Background<K, T> {
    pub(super) fn new() -> Self {
        Self { shared: Arc::default(), tasks: Mutex::default() }
    }

    /// Begins one, unless one of this key runs. `then` is called when it has ended.
    pub(super) fn begin(
        &self,
        key: K,
        work: impl Future<Output = T> + Send + 'static,
        then: impl FnOnce() + Send + 'static,
    ) {
        if self.is_running(&key) {
            return;
        }
        self.states().insert(key.clone(), State::Running);
        let shared = self.shared.clone();
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        while tasks.try_join_next().is_some() {}
        tasks.spawn(async move {
            let became = work.await;
            shared.lock().unwrap_or_else(PoisonError::into_inner).insert(key, State::Ended(became));
            then();
        });
    }

    pub(super) fn is_running(&self, key: &K) -> bool {
        matches!(self.states().get(key), Some(State::Running))
    }

    /// What became of the last one; none while one runs or when there was none.
    pub(super) fn last(&self, key: &K) -> Option<T> {
        match self.states().get(key) {
            Some(State::Ended(became)) => Some(became.clone()),
            _ => None,
        }
    }

    /// The same, once.
    pub(super) fn take(&self, key: &K) -> Option<T> {
        let became = self.last(key)?;
        self.states().remove(key);
        Some(became)
    }

    fn states(&self) -> MutexGuard<'_, HashMap<K, State<T>>> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
