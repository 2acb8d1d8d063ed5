//! Carrying a plan out. Everything here may be done twice, and may be cut off anywhere.

use std::fmt::Debug;

use gcluster_types::kinds::iteration::Phase;
use gcluster_types::kinds::ticket::TicketStatus;
use gcluster_types::transcript::{Entry, Record};
use gcluster_types::{Agent, Iteration, Ticket, Workspace, labels};
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::coordination::v1::Lease;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams, Preconditions};
use kube::{Api, Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::locks;
use super::plan::Turn;
use super::reconcile::named;
use super::wants::Action;
use super::watch::{Cache, Caches};
use crate::Context;
use crate::error::{Error, Result, api_code};
use crate::report::{Events, write_status};

/// The status fields of a ticket: all of them.
const FIELDS: &[&str] = &[
    "observedGeneration",
    "phase",
    "reason",
    "message",
    "since",
    "pool",
    "worker",
    "workspace",
    "branch",
    "agent",
    "round",
    "attempts",
    "reviewRounds",
    "conflicts",
    "feedback",
    "changes",
    "summary",
    "review",
    "merge",
    "observedDecision",
    "transitions",
    "seconds",
    "usage",
    "finishedAt",
    "conditions",
];

/// With what a plan for one namespace is carried out.
pub(super) struct Hands<'a> {
    pub(super) ctx: &'a Context,
    pub(super) events: &'a Events,
    pub(super) caches: &'a Caches,
    pub(super) namespace: &'a str,
}

impl Hands<'_> {
    /// Does what is planned for one ticket: locks, status, Events, objects, in this order. Where one is refused, the
    /// rest waits for the next look.
    pub(super) async fn turn(&self, name: &str, turn: &Turn) -> Result<()> {
        let Some(ticket) = self.caches.tickets.get(self.namespace, name) else { return Ok(()) };
        if !self.take_all(name, &turn.take).await? {
            return Ok(());
        }
        if ticket.status.as_ref() != Some(&turn.status) && !self.write(&ticket, &turn.status).await? {
            return Ok(());
        }
        for note in &turn.notes {
            // The same reason in a later round is news.
            let action = format!("{}{}", note.reason, turn.status.round);
            match note.warning {
                true => self.events.warning(&*ticket, &note.reason, &action, note.message.clone()).await,
                false => self.events.normal(&*ticket, &note.reason, &action, note.message.clone()).await,
            }
        }
        for action in &turn.actions {
            self.act(Some(&ticket), action).await?;
        }
        Ok(())
    }

    /// Writes a status. False: the ticket is gone.
    async fn write(&self, ticket: &Ticket, status: &TicketStatus) -> Result<bool> {
        let old = match &ticket.status {
            Some(status) => json!(status),
            // A phase that was never written has to be, even if it is the default.
            None => json!({}),
        };
        match write_status(&self.api(), ticket, labels::MANAGER_TICKETS, FIELDS, &old, &json!(status)).await {
            Ok(written) => written.into_iter().for_each(|written| self.caches.tickets.observe(written)),
            Err(error) if error.code() == Some(404) => {
                self.caches.tickets.forget(ticket);
                return Ok(false);
            }
            Err(error) => return Err(error),
        }
        Ok(true)
    }

    fn api<K>(&self) -> Api<K>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    {
        Api::namespaced(self.ctx.client.clone(), self.namespace)
    }

    /// Takes locks in order, all or none.
    async fn take_all(&self, ticket: &str, leases: &[Lease]) -> Result<bool> {
        let mut taken: Vec<Lease> = Vec::new();
        for lease in leases {
            let got = self.api::<Lease>().create(&creating(), lease).await;
            match got {
                Ok(got) => {
                    self.caches.leases.observe(got.clone());
                    taken.push(got);
                }
                Err(error) => {
                    let there = self.api::<Lease>().get_opt(&lease.name_any()).await;
                    let there = there.map_err(Error::api(format!("read {}", named(lease))))?;
                    there.iter().for_each(|there| self.caches.leases.observe(there.clone()));
                    let is_own = there.is_some_and(|there| locks::holder_of(&there) == ticket);
                    if api_code(&error) == Some(409) && is_own {
                        continue;
                    }
                    for taken in taken.iter().rev() {
                        self.remove(&self.caches.leases, taken, true).await?;
                    }
                    return match api_code(&error) {
                        Some(409) => Ok(false),
                        _ => Err(Error::api(format!("take {}", named(lease)))(error)),
                    };
                }
            }
        }
        Ok(true)
    }

    /// Does one thing.
    pub(super) async fn act(&self, ticket: Option<&Ticket>, action: &Action) -> Result<()> {
        let caches = self.caches;
        match action {
            Action::Finalize => match ticket {
                Some(ticket) => self.finalize(&ticket.name_any()).await,
                None => Ok(()),
            },
            Action::MakeWorkspace(workspace) => self.make(&caches.workspaces, &**workspace).await,
            Action::MakeAgent(agent) => self.make(&caches.agents, &**agent).await,
            Action::MakeCheck(check) => self.make(&caches.checks, &**check).await,
            Action::MakeReview(review) => self.make(&caches.reviews, &**review).await,
            Action::MakeMerge(merge) => self.make(&caches.merges, &**merge).await,
            Action::TakeLock(lease) => self.make(&caches.leases, &**lease).await,
            Action::Observe { workspace, value } => {
                let patch = json!({"metadata": {"annotations": {labels::OBSERVE: value}}});
                self.patch::<Workspace>(&caches.workspaces, workspace, patch).await
            }
            Action::SetRun { agent, run, held } => {
                let held = held.then_some("true");
                let patch = json!({"metadata": {"annotations": {labels::HELD: held}}, "spec": {"run": run}});
                self.patch::<Agent>(&caches.agents, agent, patch).await
            }
            Action::RemoveWorkspace(workspace) => self.remove(&caches.workspaces, &**workspace, false).await,
            Action::RemoveReview(review) => self.remove(&caches.reviews, &**review, false).await,
            Action::WithdrawMerge(merge) => self.remove(&caches.merges, &**merge, true).await,
            Action::RenewLock(lease) => {
                let patch = json!({
                    "metadata": {"resourceVersion": lease.resource_version()},
                    "spec": {"renewTime": lease.spec.as_ref().and_then(|spec| spec.renew_time.clone())},
                });
                self.patch::<Lease>(&caches.leases, &lease.name_any(), patch).await
            }
            Action::ReleaseLock(lease) => self.remove(&caches.leases, &**lease, true).await,
            Action::ExpireLock(lease) => {
                self.remove(&caches.leases, &**lease, true).await?;
                let (lock, holder) = (locks::lock_of(lease), locks::holder_of(lease));
                let note = format!("{holder} did not renew the lock {lock} in time and lost it");
                self.events.warning(&**lease, "LockExpired", "LockExpired", note).await;
                Ok(())
            }
        }
    }

    async fn finalize(&self, ticket: &str) -> Result<()> {
        let Some(ticket) = self.caches.tickets.get(self.namespace, ticket) else { return Ok(()) };
        let mut finalizers = ticket.finalizers().to_vec();
        if finalizers.iter().any(|name| name == labels::TICKET_FINALIZER) {
            return Ok(());
        }
        finalizers.retain(|name| name != labels::METRICS_FINALIZER);
        finalizers.extend([labels::TICKET_FINALIZER, labels::METRICS_FINALIZER].map(str::to_owned));
        let meta = json!({"resourceVersion": ticket.resource_version(), "finalizers": finalizers});
        self.patch::<Ticket>(&self.caches.tickets, &ticket.name_any(), json!({ "metadata": meta })).await
    }

    /// Makes an object unless one of its name is there.
    async fn make<K>(&self, cache: &Cache<K>, object: &K) -> Result<()>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
        K: Clone + Debug + Serialize + DeserializeOwned + Send + Sync + 'static,
    {
        let name = object.name_any();
        if cache.get(self.namespace, &name).is_some() {
            return Ok(());
        }
        match self.api::<K>().create(&creating(), object).await {
            Ok(made) => cache.observe(made),
            Err(error) if api_code(&error) == Some(409) => {
                let there = self.api::<K>().get_opt(&name).await;
                let there = there.map_err(Error::api(format!("read {}", named(object))))?;
                there.into_iter().for_each(|there| cache.observe(there));
            }
            Err(error) => return Err(Error::api(format!("make {}", named(object)))(error)),
        }
        Ok(())
    }

    /// Changes an object. One that is gone, or that somebody wrote meanwhile, is looked at again.
    async fn patch<K>(&self, cache: &Cache<K>, name: &str, patch: Value) -> Result<()>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
        K: Clone + Debug + DeserializeOwned + Send + Sync + 'static,
    {
        let params =
            PatchParams { field_manager: Some(labels::MANAGER_TICKETS.to_owned()), ..PatchParams::default() };
        match self.api::<K>().patch(name, &params, &Patch::Merge(patch)).await {
            Ok(changed) => cache.observe(changed),
            Err(error) if api_code(&error) == Some(404) => {
                cache.get(self.namespace, name).iter().for_each(|gone| cache.forget(gone));
            }
            Err(error) => return Err(Error::api(format!("change {} {name}", K::kind(&())))(error)),
        }
        Ok(())
    }

    /// Deletes exactly this object; with `exactly`, only as long as it is as it was seen.
    async fn remove<K>(&self, cache: &Cache<K>, object: &K, exactly: bool) -> Result<()>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
        K: Clone + Debug + DeserializeOwned + Send + Sync + 'static,
    {
        let resource_version = object.resource_version().filter(|_| exactly);
        let preconditions = Some(Preconditions { uid: object.uid(), resource_version });
        let params = DeleteParams { preconditions, ..DeleteParams::background() };
        match self.api::<K>().delete(&object.name_any(), &params).await {
            Ok(gone) => match gone.left().filter(|going| !going.finalizers().is_empty()) {
                Some(going) => cache.observe(going),
                None => cache.forget(object),
            },
            Err(error) if api_code(&error) == Some(404) => cache.forget(object),
            Err(error) => return Err(Error::api(format!("remove {}", named(object)))(error)),
        }
        Ok(())
    }

    /// The last answer of an agent, or why it has none: the error of its last iteration. Empty when nobody knows any more.
    pub(super) async fn answer(&self, agent: &str) -> Result<String> {
        let of_agent = ListParams::default().labels(&format!("{}={agent}", labels::AGENT));
        let listed = self.api::<Iteration>().list(&of_agent).await;
        let listed = listed.map_err(Error::api(format!("list the iterations of {agent}")))?;
        let newest = |phase: Phase| {
            let own = listed.items.iter().filter(|iteration| iteration.spec.agent == agent);
            let ended =
                own.filter(|iteration| iteration.status.as_ref().is_some_and(|status| status.phase == phase));
            ended.max_by_key(|iteration| iteration.spec.number)
        };
        let Some(newest) = newest(Phase::Succeeded) else {
            let failed =
                newest(Phase::Failed).and_then(|iteration| iteration.status.clone()).unwrap_or_default();
            return Ok(failed.error.or(failed.reason).unwrap_or_default());
        };
        let status = newest.status.clone().unwrap_or_default();
        // The output and the end are the last two records.
        let since = status.transcript.map_or(0, |size| size.records.saturating_sub(2).max(0));
        let path = format!(
            "/apis/gcluster.dev/v1alpha1/namespaces/{}/iterations/{}/transcript?since={since}",
            self.namespace,
            newest.name_any()
        );
        let excerpt = status.output_excerpt.unwrap_or_default();
        let Ok(request) = http::Request::get(path).body(Vec::new()) else { return Ok(excerpt) };
        let text = match self.ctx.client.request_text(request).await {
            Ok(text) => text,
            Err(error) if matches!(api_code(&error), Some(404 | 416)) => return Ok(excerpt),
            Err(error) => return Err(Error::api(format!("read what {agent} answered"))(error)),
        };
        let records = text.lines().filter_map(|line| serde_json::from_str::<Record>(line).ok());
        let mut outputs = records.filter_map(|record| match record.entry {
            Entry::Output { text } => Some(text),
            _ => None,
        });
        Ok(outputs.next_back().unwrap_or(excerpt))
    }
}

fn creating() -> PostParams {
    PostParams { field_manager: Some(labels::MANAGER_TICKETS.to_owned()), ..PostParams::default() }
}
