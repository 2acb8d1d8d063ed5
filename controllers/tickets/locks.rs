//! Locks: Leases that tickets take all together before work begins and hold until it is over.
//!
//! ```text
//! ticket in flight ⇔ its leases are held and renewed        foreign holder: held until released, or not renewed in time
//! ```

use std::collections::BTreeMap;
use std::time::Duration;

use gcluster_types::tickets::lease_name;
use gcluster_types::{Ticket, labels};
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;

use super::snapshot::{Snapshot, annotation, label};
use super::wants::Action;

/// How long a lock is held without being renewed.
const DURATION: i32 = 60;
/// How old a renewal gets before the next one.
const RENEW: Duration = Duration::from_secs(20);

/// Who has which lock, by the name of its lease.
#[derive(Clone, Debug, Default)]
pub(super) struct Holders {
    held: BTreeMap<String, Holder>,
}

#[derive(Clone, Debug)]
struct Holder {
    /// The ticket, when it is one.
    ticket: Option<String>,
    /// In words: `t-7 (working)`.
    words: String,
}

/// The locks of a ticket with the names of their leases, in the order in which they are taken: the same for everybody.
pub(super) fn of(ticket: &Ticket) -> BTreeMap<String, String> {
    ticket.spec.locks.iter().map(|lock| (lease_name(lock), lock.clone())).collect()
}

/// Whose a lease is, when it is a ticket's.
fn ticket_of(lease: &Lease) -> Option<&str> {
    label(&lease.metadata, labels::TICKET)
}

/// The lock that a lease stands for, as its author wrote it.
pub(super) fn lock_of(lease: &Lease) -> String {
    let written = annotation(&lease.metadata, labels::LOCK).map(str::to_owned);
    written.unwrap_or_else(|| lease.name_any().trim_start_matches("lock-").to_owned())
}

/// Who holds a lease, as it says itself.
pub(super) fn holder_of(lease: &Lease) -> String {
    let holder = lease.spec.as_ref().and_then(|spec| spec.holder_identity.clone());
    holder.filter(|holder| !holder.is_empty()).unwrap_or_else(|| "nobody".to_owned())
}

/// When a holder that is no ticket loses the lock; never where it named no time.
fn expires(lease: &Lease) -> Option<Timestamp> {
    let spec = lease.spec.as_ref()?;
    let renewed = spec.renew_time.as_ref().or(spec.acquire_time.as_ref()).map(|at| at.0);
    let renewed = renewed.or(lease.metadata.creation_timestamp.as_ref().map(|at| at.0))?;
    renewed.checked_add(SignedDuration::from_secs(i64::from(spec.lease_duration_seconds?))).ok()
}

impl Holders {
    /// Notes that a ticket has its locks.
    pub(super) fn hold(&mut self, ticket: &Ticket, words: &str) {
        let name = ticket.name_any();
        for lease in of(ticket).into_keys() {
            let holder = Holder { ticket: Some(name.clone()), words: format!("{name} ({words})") };
            self.held.entry(lease).or_insert(holder);
        }
    }

    /// Notes who else holds a lock: whoever took it by hand or with another program.
    pub(super) fn foreign(&mut self, seen: &Snapshot) {
        for (name, lease) in seen.leases.iter().filter(|(_, lease)| ticket_of(lease).is_none()) {
            if expires(lease).is_none_or(|until| until > seen.now) {
                let holder = Holder { ticket: None, words: holder_of(lease) };
                self.held.entry(name.clone()).or_insert(holder);
            }
        }
    }

    /// Who keeps a ticket from working, in words; none when nobody does.
    pub(super) fn in_the_way(&self, ticket: &Ticket) -> Option<String> {
        let name = ticket.name_any();
        let theirs = |lease: &String| {
            self.held.get(lease).filter(|holder| holder.ticket.as_deref() != Some(name.as_str()))
        };
        let locks = of(ticket);
        let held = locks.iter().filter_map(|(lease, lock)| theirs(lease).map(|holder| (lock, holder)));
        let told: Vec<String> =
            held.map(|(lock, holder)| format!("{lock}, held by {}", holder.words)).collect();
        match &told[..] {
            [] => None,
            [one] => Some(format!("it waits for the lock {one}")),
            several => Some(format!("it waits for the locks {}", several.join("; "))),
        }
    }

    fn holds(&self, lease: &str, ticket: &str) -> bool {
        self.held.get(lease).is_some_and(|holder| holder.ticket.as_deref() == Some(ticket))
    }
}

/// The lease with which a ticket takes a lock.
pub(super) fn lease(name: &str, lock: &str, ticket: &str, now: Timestamp) -> Lease {
    let mut lease = Lease::default();
    lease.metadata.name = Some(name.to_owned());
    let pairs = [(labels::LOCK, "true"), (labels::TICKET, ticket)];
    lease.metadata.labels = Some(pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).into());
    lease.metadata.annotations = Some([(labels::LOCK.to_owned(), lock.to_owned())].into());
    lease.spec = Some(LeaseSpec {
        holder_identity: Some(ticket.to_owned()),
        lease_duration_seconds: Some(DURATION),
        acquire_time: Some(MicroTime(now)),
        renew_time: Some(MicroTime(now)),
        ..LeaseSpec::default()
    });
    lease
}

/// The leases that a ticket does not have yet, in order.
pub(super) fn missing(seen: &Snapshot, ticket: &Ticket) -> Vec<Lease> {
    let name = ticket.name_any();
    let locks = of(ticket);
    // One that another ticket has left behind is refused until it is let go.
    let is_own = |lease: &str| seen.leases.get(lease).is_some_and(|there| ticket_of(there) == Some(&name));
    locks
        .iter()
        .filter(|(lease, _)| !is_own(lease))
        .map(|(lease_name, lock)| lease(lease_name, lock, &name, seen.now))
        .collect()
}

/// Locks that were lost to somebody else while the ticket needs them.
pub(super) fn lost(seen: &Snapshot, ticket: &Ticket) -> Option<String> {
    let name = ticket.name_any();
    let locks = of(ticket);
    let mut lost = locks.iter().filter_map(|(lease, lock)| {
        let there = seen.leases.get(lease).filter(|there| ticket_of(there) != Some(name.as_str()))?;
        Some(format!("{} has the lock {lock}, which it needs", holder_of(there)))
    });
    lost.next()
}

/// What keeps the leases as the tickets need them. `has` tells whether a ticket of that name may still be at work.
pub(super) fn upkeep(seen: &Snapshot, holders: &Holders, has: impl Fn(&str) -> bool) -> Vec<Action> {
    let mut actions = Vec::new();
    for (name, lease) in &seen.leases {
        match ticket_of(lease) {
            Some(ticket) if holders.holds(name, ticket) => {
                let renewed = lease.spec.as_ref().and_then(|spec| spec.renew_time.as_ref()).map(|at| at.0);
                if renewed.is_none_or(|at| is_due(at, seen.now)) {
                    let mut renewed = (**lease).clone();
                    let spec = renewed.spec.get_or_insert_default();
                    spec.renew_time = Some(MicroTime(seen.now));
                    spec.lease_duration_seconds = Some(DURATION);
                    actions.push(Action::RenewLock(Box::new(renewed)));
                }
            }
            Some(ticket) if has(ticket) => {}
            Some(_) => actions.push(Action::ReleaseLock(Box::new((**lease).clone()))),
            None if expires(lease).is_some_and(|until| until <= seen.now) => {
                actions.push(Action::ExpireLock(Box::new((**lease).clone())));
            }
            None => {}
        }
    }
    actions
}

/// A renewal of this time is followed by the next one. One of a time to come was written before the clock was set back,
/// or by hand.
fn is_due(renewed: Timestamp, now: Timestamp) -> bool {
    renewed > now || renewed.checked_add(RENEW).is_ok_and(|due| due <= now)
}

/// When to look at the leases again.
pub(super) fn next_look(seen: &Snapshot) -> Option<Duration> {
    let due = seen.leases.values().filter_map(|lease| match ticket_of(lease) {
        Some(_) => Some(RENEW),
        None => Some(Duration::try_from(expires(lease)?.duration_since(seen.now)).unwrap_or_default()),
    });
    due.min().map(|pause| pause + Duration::from_millis(10))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn no_time_that_somebody_writes_into_a_lease_ends_the_loop(
            renewed in prop_oneof![Just(Timestamp::MAX), Just(Timestamp::MIN), (0_i64..4_000).prop_map(|s| Timestamp::from_second(s).unwrap())],
            seconds in prop_oneof![any::<i32>(), -5..90_i32],
            of_ticket in any::<bool>(),
        ) {
            let mut lease = lease("lock-a", "a", "t-1", renewed);
            if let Some(spec) = &mut lease.spec {
                spec.lease_duration_seconds = Some(seconds);
            }
            if !of_ticket {
                lease.metadata.labels = None;
            }
            let mut seen = Snapshot { now: Timestamp::from_second(2_000).unwrap(), ..Snapshot::default() };
            seen.leases.insert("lock-a".into(), std::sync::Arc::new(lease));
            let mut ticket = Ticket::new("t-1", Default::default());
            ticket.spec.locks = vec!["a".into()];
            let mut holders = Holders::default();
            holders.hold(&ticket, "working");
            let told = upkeep(&seen, &holders, |_| true);
            let _ = (next_look(&seen), holders.in_the_way(&ticket));
            holders.foreign(&seen);
            if of_ticket {
                let is_due = renewed > seen.now || seen.now.duration_since(renewed) >= SignedDuration::from_secs(20);
                prop_assert_eq!(matches!(&told[..], [Action::RenewLock(_)]), is_due);
            }
        }
    }
}
