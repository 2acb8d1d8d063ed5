//! The loop: after any change of a ticket, workspace or repository, all branches are looked at together.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use gcluster_types::conditions::{self, CONFLICT_PREDICTED, Observed};
use gcluster_types::{Repository, Ticket, Workspace, labels};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::{Api, Resource, ResourceExt};

use super::merges::Memory;
use super::plan::{Clash, clashes, groups, sentence};
use crate::Context;
use crate::control_loop::jittered;
use crate::due::Due;
use crate::error::Result;
use crate::mirror::{Key, Mirror};
use crate::report::{Events, write_status};

/// Branches that move in one breath are looked at once.
const SETTLE: Duration = Duration::from_millis(100);
/// How soon what failed is tried again.
const RETRY: Duration = Duration::from_secs(2);

/// Two tickets, or one and a base branch, of which people have been told.
type Told = BTreeSet<(Key, String, String)>;

/// Runs until it is dropped.
pub async fn run(ctx: Context) {
    let (mut tickets, mut watched_tickets) = Mirror::<Ticket>::new(ctx.client.clone());
    let (mut workspaces, mut watched_workspaces) = Mirror::<Workspace>::new(ctx.client.clone());
    let (mut repositories, mut watched_repositories) = Mirror::<Repository>::new(ctx.client.clone());
    let events = Events::new(ctx.client.clone(), labels::MANAGER_FORECAST);
    let mut memory = Memory::default();
    let mut told: Option<Told> = None;
    let mut due = Due::default();
    loop {
        tokio::select! {
            event = watched_tickets.next() => {
                tickets.take(event);
            }
            event = watched_workspaces.next() => {
                workspaces.take(event);
            }
            event = watched_repositories.next() => {
                repositories.take(event);
            }
            () = due.come() => {
                let _beat = ctx.pulse.begin("forecast");
                if !(tickets.is_ready() && workspaces.is_ready() && repositories.is_ready()) {
                    continue;
                }
                let groups = groups(&all(&tickets), &all(&workspaces), &all(&repositories));
                let learned = memory.learn(&groups).await;
                if learned.more {
                    // Half of the picture would take back what the other half predicts.
                    due.within(SETTLE);
                    continue;
                }
                let clashes = clashes(&groups, &memory.known);
                let told = told.get_or_insert_with(|| earlier(&all(&tickets), &clashes));
                tell(&events, &tickets, &clashes, told).await;
                let is_written = write(&ctx, &mut tickets, &clashes).await;
                if learned.failed || !is_written {
                    due.within(jittered(RETRY));
                }
                continue;
            }
        }
        due.within(SETTLE);
    }
}

fn all<K>(mirror: &Mirror<K>) -> BTreeMap<Key, &K>
where
    K: Resource<DynamicType = ()>
        + Clone
        + std::fmt::Debug
        + serde::de::DeserializeOwned
        + Send
        + Sync
        + 'static,
{
    mirror.objects().iter().map(|(key, object)| (key.clone(), &**object)).collect()
}

/// Brings the condition of every ticket up to date. False when that has to be tried again.
async fn write(ctx: &Context, tickets: &mut Mirror<Ticket>, clashes: &BTreeMap<Key, Vec<Clash>>) -> bool {
    let mut done = true;
    let mut written = Vec::new();
    for (key, ticket) in tickets.objects() {
        match set(ctx, ticket, clashes.get(key).map(Vec::as_slice).unwrap_or_default()).await {
            Ok(ticket) => written.extend(ticket),
            Err(error) => {
                if !error.is_race() {
                    tracing::warn!(ticket = key.1, %error, "a predicted conflict cannot be written down");
                }
                done = false;
            }
        }
    }
    written.into_iter().for_each(|ticket| tickets.observe(ticket));
    done
}

async fn set(ctx: &Context, ticket: &Ticket, clashes: &[Clash]) -> Result<Option<Ticket>> {
    // A ticket without a status has been looked at by nobody yet.
    let Some(old) = ticket.status.as_ref() else { return Ok(None) };
    if clashes.is_empty() && !old.conditions.iter().any(|one| one.type_ == CONFLICT_PREDICTED) {
        return Ok(None);
    }
    let mut new = old.clone();
    let changed = match clashes.is_empty() {
        true => conditions::clear(&mut new.conditions, CONFLICT_PREDICTED),
        false => {
            let observed = Observed {
                kind: CONFLICT_PREDICTED,
                status: Some(true),
                reason: "Conflict",
                message: sentence(clashes),
                generation: ticket.metadata.generation,
            };
            conditions::set(&mut new.conditions, observed, &Time(ctx.now()))
        }
    };
    if !changed {
        return Ok(None);
    }
    let api = Api::<Ticket>::namespaced(ctx.client.clone(), &ticket.namespace().unwrap_or_default());
    write_status(&api, ticket, labels::MANAGER_FORECAST, &["conditions"], old, &new).await
}

/// What people were told of before this master: it stands in the conditions.
fn earlier(tickets: &BTreeMap<Key, &Ticket>, clashes: &BTreeMap<Key, Vec<Clash>>) -> Told {
    let is_told = |key: &Key, clash: &Clash| {
        let conditions = tickets.get(key).and_then(|ticket| Some(&ticket.status.as_ref()?.conditions));
        let found = conditions.and_then(|all| all.iter().find(|one| one.type_ == CONFLICT_PREDICTED));
        found.is_some_and(|found| found.message.contains(&format!("with {} in ", side(clash))))
    };
    let all = clashes.iter().flat_map(|(key, clashes)| clashes.iter().map(move |clash| (key, clash)));
    all.filter(|(key, clash)| is_told(key, clash)).map(|(key, clash)| pair(key, clash)).collect()
}

/// Tells of each pair once, on both sides.
async fn tell(
    events: &Events,
    tickets: &Mirror<Ticket>,
    clashes: &BTreeMap<Key, Vec<Clash>>,
    told: &mut Told,
) {
    let mut now = Told::new();
    for (key, clashes) in clashes {
        for clash in clashes {
            let pair = pair(key, clash);
            if !told.contains(&pair)
                && let Some(ticket) = tickets.get(key)
            {
                let note = sentence(std::slice::from_ref(clash));
                // Events of one reason and action are one: each other side is an action of its own.
                events.warning(&**ticket, CONFLICT_PREDICTED, &side(clash), note).await;
            }
            now.insert(pair);
        }
    }
    *told = now;
}

fn pair(key: &Key, clash: &Clash) -> (Key, String, String) {
    (key.clone(), clash.repository.clone(), side(clash))
}

fn side(clash: &Clash) -> String {
    match &clash.with {
        Some(ticket) => format!("ticket {ticket}"),
        None => format!("{} as it is now", clash.base),
    }
}
