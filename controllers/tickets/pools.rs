//! Pools: which of them may take a ticket, who of their workers is free, and what is said of them.

use std::collections::BTreeMap;
use std::sync::Arc;

use gcluster_types::conditions::{self, Observed};
use gcluster_types::kinds::ticket::TicketPhase;
use gcluster_types::{Ticket, TicketStatus, WorkerPool, WorkerPoolStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt;

use super::make::repositories;
use super::snapshot::{Snapshot, is_of};

/// Condition: the repositories of the pool are ready and have space.
const AVAILABLE: &str = "Available";

/// Workers that have a ticket, by pool and number.
#[derive(Clone, Debug, Default)]
pub(super) struct Slots {
    taken: BTreeMap<String, BTreeMap<i32, String>>,
    /// How many tickets of each pool wait for a person.
    asking: BTreeMap<String, usize>,
}

impl Slots {
    /// Notes that a ticket has a worker.
    pub(super) fn take(&mut self, status: &TicketStatus, ticket: &str) {
        if let (Some(pool), Some(worker)) = (&status.pool, status.worker) {
            self.taken.entry(pool.clone()).or_default().entry(worker).or_insert_with(|| ticket.to_owned());
        }
    }

    /// Notes that a ticket waits for a person.
    pub(super) fn ask(&mut self, status: &TicketStatus) {
        if let Some(pool) = &status.pool {
            *self.asking.entry(pool.clone()).or_default() += 1;
        }
    }

    /// Why the pool begins no new ticket although it has a free worker: what nobody looks at only gets older.
    fn full(&self, pool: &WorkerPool) -> Option<String> {
        let (name, asking) = (pool.name_any(), self.asking.get(&pool.name_any()).copied().unwrap_or(0));
        let most = pool.spec.max_waiting.unwrap_or_else(|| pool.spec.replicas.saturating_mul(2));
        let wait = if asking == 1 { "1 ticket waits".to_owned() } else { format!("{asking} tickets wait") };
        let is_full = asking > 0 && asking >= usize::try_from(most).unwrap_or(0);
        is_full.then(|| format!("{wait} for a person, and {name} begins no new one before (spec.maxWaiting)"))
    }

    fn of(&self, pool: &str) -> usize {
        self.taken.get(pool).map_or(0, BTreeMap::len)
    }

    /// A worker without a ticket: the one that is preferred, else the lowest.
    fn free(&self, pool: &WorkerPool, preferred: Option<i32>) -> Option<i32> {
        let taken = self.taken.get(&pool.name_any());
        let is_free = |number: &i32| taken.is_none_or(|taken| !taken.contains_key(number));
        // Scaled down, whoever has a ticket finishes it, and counts until he has.
        if taken.map_or(0, BTreeMap::len) >= usize::try_from(pool.spec.replicas).unwrap_or(0) {
            return None;
        }
        let all = 1..=pool.spec.replicas;
        preferred
            .filter(|number| all.contains(number) && is_free(number))
            .or_else(|| all.clone().find(is_free))
    }
}

/// What becomes of a ticket that nothing else keeps.
pub(super) enum Offer<'a> {
    /// No pool may take it: reason and sentence.
    Waits(&'static str, String),
    /// A pool may take it and has no free worker, or there is no pool at all: in words.
    Queued(String),
    /// This worker of this pool takes it.
    Taken(&'a WorkerPool, i32),
}

/// Looks for a worker. `preferred` is the pool and worker that had the ticket before.
pub(super) fn offer<'a>(
    seen: &'a Snapshot,
    slots: &Slots,
    ticket: &Ticket,
    preferred: (Option<&str>, Option<i32>),
) -> Offer<'a> {
    let open = |pool: &&Arc<WorkerPool>| pool.metadata.deletion_timestamp.is_none();
    let asked = |name: &&str| ticket.spec.pool.as_deref().is_none_or(|asked| asked == *name);
    let before = preferred.0.filter(asked).and_then(|name| seen.pools.get(name)).filter(open);
    let fitting: Vec<&Arc<WorkerPool>> = match (before, &ticket.spec.pool) {
        (Some(pool), _) => vec![pool],
        (None, Some(name)) => match seen.pools.get(name).filter(open) {
            Some(pool) => vec![pool],
            None => {
                return Offer::Waits(
                    "NoPool",
                    format!("it asks for the pool {name}, and there is none of that name"),
                );
            }
        },
        (None, None) => seen.pools.values().filter(open).collect(),
    };
    if fitting.is_empty() {
        return Offer::Queued(
            "nothing keeps it: a worker may take it, but there is no worker pool yet".to_owned(),
        );
    }
    let begun = seen.workspaces.get(&ticket.name_any()).filter(|begun| is_of(&begun.metadata, ticket));
    let begun = begun.into_iter().flat_map(|begun| begun.spec.repositories.iter().map(|one| &one.name));
    let needs: Vec<&String> = ticket.spec.repositories.iter().chain(begun).collect();
    let lacks = |pool: &WorkerPool| needs.iter().find(|name| !pool.spec.repositories.contains(name)).copied();
    let is_new = ticket.status.as_ref().is_none_or(|status| status.round == 0);
    let mut refusal = None;
    let mut busy = Vec::new();
    for pool in fitting {
        let name = pool.name_any();
        if let Some(missing) = lacks(pool) {
            refusal
                .get_or_insert(("NoPool", format!("the pool {name} does not have its repository {missing}")));
        } else if let Some(trouble) = trouble(seen, &repositories(&pool.spec, ticket)) {
            refusal.get_or_insert(trouble);
        } else if let Some(worker) = slots.free(pool, preferred.1) {
            match slots.full(pool).filter(|_| is_new) {
                None => return Offer::Taken(pool, worker),
                Some(why) => busy.push(why),
            }
        } else {
            busy.push(match (pool.spec.replicas, slots.of(&name)) {
                (0, 0) => format!("the pool {name} has no workers (spec.replicas is 0)"),
                (_, 1) => format!("the one worker of {name} has a ticket"),
                (_, taken) => format!("all {taken} workers of {name} have a ticket"),
            });
        }
    }
    match (busy.is_empty(), refusal) {
        (true, Some((reason, message))) => Offer::Waits(reason, message),
        _ => Offer::Queued(format!("it is taken when its turn comes: {}", busy.join(", "))),
    }
}

/// Why no work can begin on these repositories: reason and sentence.
fn trouble(seen: &Snapshot, names: &[String]) -> Option<(&'static str, String)> {
    names.iter().find_map(|name| {
        let Some(repository) = seen.repositories.get(name) else {
            return Some(("RepositoryMissing", format!("there is no repository {name}")));
        };
        let conditions =
            repository.status.as_ref().map(|status| status.conditions.clone()).unwrap_or_default();
        let said = |kind: &str| conditions.iter().find(|c| c.type_ == kind);
        match (said("Ready"), said("DiskSpace")) {
            (None, _) => Some(("RepositoryNotReady", format!("the repository {name} is being made ready"))),
            (Some(ready), _) if ready.status != "True" => {
                Some(("RepositoryNotReady", format!("the repository {name} is not ready: {}", ready.message)))
            }
            (_, Some(space)) if space.status == "False" => {
                Some(("DiskSpace", format!("no new work begins in {name}: {}", space.message)))
            }
            _ => None,
        }
    })
}

/// What is said of a pool, when the tickets stand like this.
pub(super) fn status(
    seen: &Snapshot,
    slots: &Slots,
    pool: &WorkerPool,
    tickets: &[(&Ticket, &TicketStatus)],
) -> WorkerPoolStatus {
    let name = pool.name_any();
    let mut status = pool.status.clone().unwrap_or_default();
    let busy = i32::try_from(slots.of(&name)).unwrap_or(i32::MAX);
    let had = |phase: TicketPhase| {
        let own = |(_, status): &&(&Ticket, &TicketStatus)| {
            status.phase == phase && status.pool.as_deref() == Some(name.as_str())
        };
        i32::try_from(tickets.iter().filter(own).count()).unwrap_or(i32::MAX)
    };
    let may_take = |(ticket, status): &&(&Ticket, &TicketStatus)| {
        let asks = status.pool.as_ref().or(ticket.spec.pool.as_ref());
        status.phase == TicketPhase::Ready
            && asks.is_none_or(|asked| *asked == name)
            && ticket.spec.repositories.iter().all(|repository| pool.spec.repositories.contains(repository))
    };
    let ready = i32::try_from(tickets.iter().filter(may_take).count()).unwrap_or(i32::MAX);
    let trouble = trouble(seen, &pool.spec.repositories);
    status.observed_generation = pool.metadata.generation;
    status.replicas = busy.max(pool.spec.replicas);
    status.busy = busy;
    status.ready = ready;
    status.merged = had(TicketPhase::Merged);
    status.failed = had(TicketPhase::Failed);
    status.message = match &trouble {
        Some((_, message)) => Some(message.clone()),
        None if ready > 0 && pool.spec.replicas == 0 => {
            Some("it has no workers: spec.replicas is 0".to_owned())
        }
        None if ready > 0 && busy >= pool.spec.replicas => Some("all its workers have a ticket".to_owned()),
        None => slots.full(pool).filter(|_| ready > 0),
    };
    let (is, reason, message) = match trouble {
        None => (true, "Ready", "its repositories are ready and have space".to_owned()),
        Some((reason, message)) => (false, reason, message),
    };
    let generation = pool.metadata.generation;
    let said = Observed { kind: AVAILABLE, status: Some(is), reason, message, generation };
    conditions::set(&mut status.conditions, said, &Time(seen.now));
    status
}
