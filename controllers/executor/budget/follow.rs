//! Keeping the desk up to date, and writing the ledgers: the one writer of every budget's status.

use std::collections::{BTreeSet, HashSet};
use std::fmt::Debug;
use std::time::Duration;

use futures::StreamExt;
use gcluster_types::kinds::budget::BudgetStatus;
use gcluster_types::{Agent, Budget, ClusterBudget, labels};
use k8s_openapi::jiff::Timestamp;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event};
use kube::{Api, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use tokio::sync::Notify;

use super::desk::{Desk, Held, Object, SELECTOR_INVALID};
use super::ledger::{Sheet, advance};
use crate::Context;
use crate::error::Result;
use crate::report::{Events, write_status};

/// The status fields of a budget, all of them the executor's.
const FIELDS: &[&str] = &[
    "spentUSD",
    "day",
    "spentTodayUSD",
    "iterationsToday",
    "iterations",
    "reservedUSD",
    "spent",
    "today",
    "ledger",
    "conditions",
];
/// Least time between two writes of the ledgers; what comes in between is counted together.
const PACE: Duration = Duration::from_millis(200);
/// How often the ledgers are looked at when nothing happens: a new day may have begun.
const IDLE: Duration = Duration::from_secs(60);
/// Pause after a write that failed.
const RETRY: Duration = Duration::from_secs(1);

impl Desk {
    /// Follows budgets and agents and writes the ledgers, until it is dropped.
    pub(crate) async fn run(&self, ctx: &Context) {
        let used = Notify::new();
        let known = [Notify::new(), Notify::new()];
        let budgets = follow(Api::<Budget>::all(ctx.client.clone()), |event| {
            self.take(event, &known[0], &used, Held::namespaced, |key| !key.0.is_empty());
        });
        let clusters = follow(Api::<ClusterBudget>::all(ctx.client.clone()), |event| {
            self.take(event, &known[1], &used, Held::cluster, |key| key.0.is_empty());
        });
        let ready = async {
            known[0].notified().await;
            known[1].notified().await;
            self.ready.send_replace(true);
        };
        // Nothing is known of agents, and nothing read, before there is a budget.
        let agents = async {
            used.notified().await;
            follow(Api::<Agent>::all(ctx.client.clone()), |event| self.take_agent(event)).await;
        };
        tokio::join!(budgets, clusters, ready, agents, self.settle(ctx));
    }

    fn take<K: ResourceExt>(
        &self,
        event: Option<Taken<K>>,
        known: &Notify,
        used: &Notify,
        held: fn(K) -> ((String, String), Held),
        is_kind: fn(&(String, String)) -> bool,
    ) {
        match event {
            Some(Taken::All(all)) => {
                let all: Vec<_> = all.into_iter().map(held).collect();
                let keys: BTreeSet<_> = all.iter().map(|(key, _)| key.clone()).collect();
                self.retain(|key| !is_kind(key) || keys.contains(key));
                if !all.is_empty() {
                    used.notify_one();
                }
                all.into_iter().for_each(|one| self.observe(one));
                known.notify_one();
            }
            Some(Taken::One(object)) => {
                self.observe(held(object));
                used.notify_one();
            }
            Some(Taken::Gone(object)) => {
                let gone = held(object).0;
                self.retain(|key| *key != gone);
            }
            // An API without the kind has no budgets.
            None => known.notify_one(),
        }
    }

    pub(super) fn take_agent(&self, event: Option<Taken<Agent>>) {
        match event {
            Some(Taken::All(all)) => {
                let uids: HashSet<_> = all.iter().filter_map(ResourceExt::uid).collect();
                all.into_iter().for_each(|agent| self.account(agent));
                self.state().agents_known = true;
                self.retain_accounts(|uid| uids.contains(uid));
            }
            Some(Taken::One(agent)) => self.account(agent),
            Some(Taken::Gone(agent)) => {
                let gone = agent.uid().unwrap_or_default();
                self.retain_accounts(|uid| uid != gone);
            }
            None => {}
        }
    }

    /// Moves the ledgers on whenever something was used.
    async fn settle(&self, ctx: &Context) {
        self.iterations().ready().await;
        let events = Events::new(ctx.client.clone(), labels::MANAGER_EXECUTOR);
        loop {
            // Both ways of ending the wait lead to the same look.
            let _ = tokio::time::timeout(IDLE, self.changed.notified()).await;
            let keys: Vec<_> = self.state().budgets.keys().cloned().collect();
            for key in keys {
                if let Err(error) = self.write(ctx, &events, &key).await {
                    if !error.is_race() {
                        tracing::warn!(budget = %key.1, %error, "a budget cannot be written");
                    }
                    tokio::time::sleep(if error.is_race() { PACE } else { RETRY }).await;
                    self.changed.notify_one();
                }
            }
            tokio::time::sleep(PACE).await;
        }
    }

    async fn write(&self, ctx: &Context, events: &Events, key: &(String, String)) -> Result<()> {
        let Some((object, old, new)) = self.draft(key, ctx.now()) else { return Ok(()) };
        match object {
            Object::Namespaced(budget) => {
                let api = Api::<Budget>::namespaced(ctx.client.clone(), &key.0);
                let written = save(&api, &*budget, &old, &new).await?;
                self.tell(events, &*budget, &old, &new, written.is_some()).await;
                written.into_iter().for_each(|written| self.observe(Held::namespaced(written)));
            }
            Object::Cluster(budget) => {
                let api = Api::<ClusterBudget>::all(ctx.client.clone());
                let written = save(&api, &*budget, &old, &new).await?;
                self.tell(events, &*budget, &old, &new, written.is_some()).await;
                written.into_iter().for_each(|written| self.observe(Held::cluster(written)));
            }
        }
        Ok(())
    }

    /// A budget, its status as it is, and as it should be.
    pub(super) fn draft(
        &self,
        key: &(String, String),
        now: Timestamp,
    ) -> Option<(Object, BudgetStatus, BudgetStatus)> {
        let state = self.state();
        let held = state.budgets.get(key).filter(|_| state.agents_known)?;
        let generation = match &held.object {
            Object::Namespaced(budget) => budget.metadata.generation,
            Object::Cluster(budget) => budget.metadata.generation,
        };
        let (broken, caps) = (held.broken(), held.caps);
        let sheet = Sheet { title: &held.title, command: &held.command, caps, generation, broken };
        let covered = state.agents.iter().filter(|(uid, account)| held.covers(uid, account.agent()));
        let books = covered.map(|(uid, account)| (uid, &account.books));
        let new = advance(&held.status, &sheet, books, self.reserved(&state, held, now), now);
        Some((held.object.clone(), held.status.clone(), new))
    }

    async fn tell<K: Resource<DynamicType = ()>>(
        &self,
        events: &Events,
        budget: &K,
        old: &BudgetStatus,
        new: &BudgetStatus,
        written: bool,
    ) {
        let of =
            |status: &BudgetStatus| status.conditions.first().map(|c| (c.status == "True", c.reason.clone()));
        if !written || of(old) == of(new) {
            return;
        }
        let message = new.conditions.first().map(|c| c.message.clone()).unwrap_or_default();
        match (of(old), of(new)) {
            (_, Some((false, reason))) if reason == SELECTOR_INVALID => {
                events.warning(budget, SELECTOR_INVALID, "Hold", message).await;
            }
            (_, Some((false, reason))) => events.warning(budget, "LimitReached", &reason, message).await,
            (Some((false, _)), Some((true, _))) => {
                events.normal(budget, "LimitRaised", "Resume", message).await;
            }
            _ => {}
        }
    }
}

async fn save<K>(api: &Api<K>, object: &K, old: &BudgetStatus, new: &BudgetStatus) -> Result<Option<K>>
where
    K: Resource + Clone + Debug + DeserializeOwned,
{
    match write_status(api, object, labels::MANAGER_EXECUTOR, FIELDS, old, new).await {
        // Deleted meanwhile: there is nothing left to count into.
        Err(error) if error.code() == Some(404) => Ok(None),
        other => other,
    }
}

/// What a watch has told.
pub(super) enum Taken<K> {
    All(Vec<K>),
    One(K),
    Gone(K),
}

/// Follows a kind for ever. `None` when the API does not serve it.
async fn follow<K>(api: Api<K>, take: impl Fn(Option<Taken<K>>))
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + 'static,
{
    let mut events = std::pin::pin!(watcher::watcher(api, watcher::Config::default()).default_backoff());
    let mut initial = Vec::new();
    while let Some(event) = events.next().await {
        match event {
            Ok(Event::Init) => initial.clear(),
            Ok(Event::InitApply(object)) => initial.push(object),
            Ok(Event::InitDone) => take(Some(Taken::All(std::mem::take(&mut initial)))),
            Ok(Event::Apply(object)) => take(Some(Taken::One(object))),
            Ok(Event::Delete(object)) => take(Some(Taken::Gone(object))),
            Err(watcher::Error::InitialListFailed(kube::Error::Api(status))) if status.code == 404 => {
                take(None)
            }
            Err(error) => tracing::debug!(%error, kind = %K::kind(&()), "a watch was interrupted"),
        }
    }
}
