//! Follows the API: one task for each thing that is looked at, started and ended as the model wants.
//!
//! ```text
//! Wanted ──▶ Informer ──▶ tasks ──▶ Hub (objects), channel (records) ──▶ Msg
//!                           │
//!                           └── an error ──▶ Line: is the master there? ──▶ all tasks list again
//! ```
//!
//! A task whose watch fails waits until the master answers and then lists again; until that list is complete, what
//! was known stays. Nothing is asked for in intervals while the connection stands.

mod line;
mod tickets;
mod transcript;
mod watch;

use std::collections::HashMap;
use std::sync::Arc;

use tokio::sync::mpsc;
use tokio::task::AbortHandle;

use self::line::Line;
use super::fleet::Key;
use super::hub::Hub;
use super::msg::{Msg, Wanted};
use crate::client::Connection;

/// A task that ends when nobody wants it any more.
#[derive(Debug)]
struct Task(AbortHandle);

impl Task {
    fn spawn(work: impl Future<Output = ()> + Send + 'static) -> Self {
        Self(tokio::spawn(work).abort_handle())
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// What every task has.
#[derive(Clone)]
struct Ground {
    connection: Connection,
    client: kube::Client,
    hub: Arc<Hub>,
    line: Arc<Line>,
}

/// Keeps the tasks in step with what is wanted.
pub(crate) struct Informer {
    ground: Ground,
    records: mpsc::Sender<Msg>,
    now: Option<Wanted>,
    fleet: Vec<Task>,
    agent: Vec<Task>,
    history: HashMap<Key, Task>,
    transcript: Option<Task>,
    ticket: Option<Task>,
    checks: HashMap<Key, Task>,
    pools: Option<Task>,
    /// Watch the connection for as long as the informer lives.
    _line: [Task; 2],
}

impl Informer {
    /// Follows nothing yet.
    pub(crate) fn new(connection: Connection, hub: Arc<Hub>, records: mpsc::Sender<Msg>) -> Self {
        let line = Arc::new(Line::default());
        let keeper = Task::spawn(line::keep(connection.clone(), line.clone(), hub.clone()));
        let pulse = Task::spawn(line::pulse(connection.clone(), line.clone()));
        let client = connection.client();
        let ground = Ground { connection, client, hub, line };
        Self {
            ground,
            records,
            now: None,
            fleet: Vec::new(),
            agent: Vec::new(),
            history: HashMap::new(),
            transcript: None,
            ticket: None,
            checks: HashMap::new(),
            pools: None,
            _line: [keeper, pulse],
        }
    }

    /// What is followed now.
    pub(crate) fn followed(&self) -> Option<&Wanted> {
        self.now.as_ref()
    }

    /// Starts what is newly wanted and ends what is not wanted any more. `known` is the number of records of the
    /// wanted transcript that are there already.
    pub(crate) fn follow(&mut self, wanted: &Wanted, known: u64) {
        if self.now.as_ref() == Some(wanted) {
            return;
        }
        let before = self.now.replace(wanted.clone());
        let same =
            |part: fn(&Wanted) -> &Option<String>| before.as_ref().is_some_and(|b| part(b) == part(wanted));
        if !same(|wanted| &wanted.namespace) {
            let namespace = wanted.namespace.clone();
            self.fleet = vec![
                Task::spawn(watch::agents(self.ground.clone(), namespace.clone())),
                Task::spawn(watch::running(self.ground.clone(), namespace.clone())),
                Task::spawn(tickets::all(self.ground.clone(), namespace)),
            ];
            self.pools = None;
        }
        self.follow_tickets(before.as_ref(), wanted);
        if before.as_ref().is_none_or(|before| before.agent != wanted.agent) {
            self.agent.clear();
            if let Some(key) = &wanted.agent {
                self.agent = vec![Task::spawn(watch::one(self.ground.clone(), key.clone()))];
            }
        }
        self.history.retain(|key, _| wanted.history.contains(key));
        for key in &wanted.history {
            if !self.history.contains_key(key) {
                let task = Task::spawn(watch::history(self.ground.clone(), key.clone()));
                self.history.insert(key.clone(), task);
            }
        }
        if before.is_none_or(|before| before.transcript != wanted.transcript) {
            self.transcript = wanted.transcript.clone().map(|(key, iteration)| {
                let records = self.records.clone();
                Task::spawn(transcript::follow(self.ground.clone(), key, iteration, known, records))
            });
        }
    }

    /// What is shown of the selected ticket, and of those who work.
    fn follow_tickets(&mut self, before: Option<&Wanted>, wanted: &Wanted) {
        if !wanted.pools {
            self.pools = None;
        } else if self.pools.is_none() {
            let pools = tickets::pools(self.ground.clone(), wanted.namespace.clone());
            self.pools = Some(Task::spawn(pools));
        }
        if before.is_none_or(|before| before.ticket != wanted.ticket) {
            let ticket = wanted.ticket.clone();
            self.ticket = ticket.map(|key| Task::spawn(tickets::one(self.ground.clone(), key)));
        }
        self.checks.retain(|key, _| wanted.checks.contains(key));
        for key in &wanted.checks {
            if !self.checks.contains_key(key) {
                let task = Task::spawn(tickets::check(self.ground.clone(), key.clone()));
                self.checks.insert(key.clone(), task);
            }
        }
    }
}
