//! The desk: budgets and what every agent under them has used and is about to, behind one lock.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use gcluster_types::kinds::budget::{BudgetStatus, LedgerEntry};
use gcluster_types::kinds::iteration::Phase;
use gcluster_types::{Agent, Budget, ClusterBudget, Iteration};
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use kube::core::{Selector, SelectorExt};
use kube::runtime::reflector::ObjectRef;
use tokio::sync::{Notify, mpsc, watch};

use super::ledger::{self, Books};
use crate::executor::flow::phase;
use crate::executor::limits::{Amounts, Caps, Meter, Refusal, day};
use crate::executor::plan::Plan;
use crate::executor::purse::Exposure;
use crate::informer::{AgentKey, Index};

/// Reason of a budget whose selector cannot be read.
pub(super) const SELECTOR_INVALID: &str = "SelectorInvalid";

/// The desk. Clones share it.
#[derive(Clone)]
pub(crate) struct Desk {
    state: Arc<Mutex<State>>,
    iterations: Index<Iteration>,
    /// Told when a ledger may have to move on.
    pub(super) changed: Arc<Notify>,
    /// Whether the budgets are known.
    pub(super) ready: Arc<watch::Sender<bool>>,
}

#[derive(Default)]
pub(super) struct State {
    /// By namespace, which is empty for a ClusterBudget, and name.
    pub(super) budgets: BTreeMap<(String, String), Held>,
    /// Agents as their objects are, by uid.
    pub(super) agents: HashMap<String, Account>,
    pub(super) agents_known: bool,
    /// What the executor last planned for each agent, by uid.
    exposures: HashMap<String, Exposure>,
    /// Agents that wait for a larger limit, and those that wait for others to end.
    waiting: [HashSet<AgentKey>; 2],
    wake: Option<mpsc::UnboundedSender<ObjectRef<Agent>>>,
}

/// One agent as its object is.
pub(super) struct Account {
    pub(super) books: Books,
    agent: Arc<Agent>,
}

/// One budget.
pub(super) struct Held {
    pub(super) object: Object,
    pub(super) title: String,
    pub(super) command: String,
    pub(super) caps: Caps,
    pub(super) status: BudgetStatus,
    selector: Result<Selector, String>,
}

/// The object of a budget.
#[derive(Clone)]
pub(super) enum Object {
    Namespaced(Arc<Budget>),
    Cluster(Arc<ClusterBudget>),
}

impl Held {
    pub(super) fn namespaced(budget: Budget) -> ((String, String), Self) {
        let (namespace, name) = (budget.namespace().unwrap_or_default(), budget.name_any());
        let spec = &budget.spec;
        let caps = Caps {
            usd: spec.max_budget_usd,
            usd_per_day: spec.max_budget_usd_per_day,
            iterations: spec.max_iterations,
            iterations_per_day: spec.max_iterations_per_day,
        };
        // Nobody knows whom a selector means that cannot be read: a budget that holds everybody until it is mended
        // is safer than one that holds nobody.
        let selector = spec.selector.clone().map_or_else(
            || Ok(Selector::default()),
            |selector| Selector::try_from(selector).map_err(|error| error.to_string()),
        );
        let held = Self {
            title: format!("Budget {namespace}/{name}"),
            command: format!("gcluster edit budget {name} -n {namespace}"),
            caps,
            status: budget.status.clone().unwrap_or_default(),
            selector,
            object: Object::Namespaced(Arc::new(budget)),
        };
        ((namespace, name), held)
    }

    pub(super) fn cluster(budget: ClusterBudget) -> ((String, String), Self) {
        let (name, spec) = (budget.name_any(), &budget.spec);
        let caps = Caps {
            usd: spec.max_budget_usd,
            usd_per_day: spec.max_budget_usd_per_day,
            iterations: spec.max_iterations,
            iterations_per_day: spec.max_iterations_per_day,
        };
        let held = Self {
            title: format!("ClusterBudget {name}"),
            command: format!("gcluster edit clusterbudget {name}"),
            caps,
            status: budget.status.clone().unwrap_or_default(),
            selector: Ok(Selector::default()),
            object: Object::Cluster(Arc::new(budget)),
        };
        ((String::new(), name), held)
    }

    /// Whether an agent is under it, or may be.
    fn holds(&self, agent: &Agent) -> bool {
        match (&self.object, &self.selector) {
            (Object::Cluster(_), _) => true,
            (Object::Namespaced(budget), selector) => {
                let fits = |selector: &Selector| selector.matches(agent.labels());
                budget.namespace() == agent.namespace() && selector.as_ref().map_or(true, fits)
            }
        }
    }

    /// Whether what an agent uses is counted. While nobody knows whom it means, whoever was counted is.
    pub(super) fn covers(&self, uid: &str, agent: &Agent) -> bool {
        self.holds(agent) && (self.selector.is_ok() || self.status.ledger.contains_key(uid))
    }

    /// Why nothing may begin under it, whatever was spent.
    pub(super) fn broken(&self) -> Option<String> {
        let error = self.selector.as_ref().err()?;
        Some(format!(
            "{}: spec.selector cannot be read ({error}), so no agent of the namespace begins an iteration; mend it: `{}`",
            self.title, self.command
        ))
    }

    fn identity(&self) -> (Option<String>, Option<i64>, u64) {
        let meta = match &self.object {
            Object::Namespaced(budget) => &budget.metadata,
            Object::Cluster(budget) => &budget.metadata,
        };
        let version = meta.resource_version.as_deref().and_then(|version| version.parse().ok());
        (meta.uid.clone(), meta.generation, version.unwrap_or(0))
    }

    fn is_being_deleted(&self) -> bool {
        match &self.object {
            Object::Namespaced(budget) => budget.metadata.deletion_timestamp.is_some(),
            Object::Cluster(budget) => budget.metadata.deletion_timestamp.is_some(),
        }
    }
}

/// A budget as one agent sees it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct View {
    /// Its kind and name.
    pub(crate) title: String,
    command: String,
    caps: Caps,
    /// What its status says, with what others have used since.
    spent: Amounts,
    /// What others have running.
    reserved: Amounts,
    /// How much of the agent is counted; `None`: it was not taken up yet.
    entry: Option<LedgerEntry>,
    day: String,
    /// Why nothing may begin under it, whatever was spent.
    broken: Option<String>,
}

impl View {
    /// Why nothing may begin under it, whatever was spent.
    pub(crate) fn refusal(&self) -> Option<Refusal> {
        let message = self.broken.clone()?;
        Some(Refusal { reason: SELECTOR_INVALID, message, reached: true, until: None })
    }

    /// The limit with what was used of it, this agent's share included. `None` before the agent was taken up.
    pub(crate) fn meter(&self, own: &Exposure) -> Option<Meter> {
        let mut spent = self.spent;
        spent.add(uncounted(own, self.entry.as_ref()?, &self.day));
        let mut reserved = self.reserved;
        reserved.add(own.reserved);
        Some(Meter {
            whose: self.title.clone(),
            fields: "spec.",
            command: self.command.clone(),
            caps: self.caps,
            spent,
            reserved,
        })
    }

    /// Whether all that an agent has used is counted.
    pub(crate) fn is_settled(&self, own: &Exposure) -> bool {
        self.entry.as_ref().is_none_or(|entry| uncounted(own, entry, &self.day) == Amounts::default())
    }
}

/// What an agent has used beyond what a ledger counts.
fn uncounted(own: &Exposure, entry: &LedgerEntry, day: &str) -> Amounts {
    let before = entry.today.as_ref().filter(|today| today.day == day);
    // What was planned yesterday says nothing about today.
    let today = if own.day.as_deref() == Some(day) { own.counted } else { Amounts::default() };
    let mut all = Amounts {
        usd: more(own.counted.usd - entry.cost_usd),
        today_usd: more(today.today_usd - before.map_or(0.0, |today| today.cost_usd)),
        iterations: entry.iterations.map_or(0, |before| (own.counted.iterations - before).max(0)),
        today_iterations: (today.today_iterations - before.map_or(0, |today| today.iterations)).max(0),
    };
    all.add(own.pending);
    all.iterations = 0;
    all
}

/// A difference of sums; what is too small to be money is an effect of their way through text.
fn more(usd: f64) -> f64 {
    if usd > 1e-9 { usd } else { 0.0 }
}

/// One look at the desk for one agent. While it is held nobody else decides.
pub(crate) struct Look<'a> {
    held: Option<MutexGuard<'a, State>>,
    changed: &'a Notify,
    uid: String,
    key: AgentKey,
    /// The budgets that the agent is under.
    pub(crate) views: Vec<View>,
}

impl Look<'_> {
    /// Leaves what was planned on the desk, for the others to see.
    pub(crate) fn leave(mut self, plan: &Plan) {
        let Some(state) = &mut self.held else { return };
        let old = state.exposures.insert(self.uid, plan.exposure.clone());
        let counted = old.as_ref().is_none_or(|old| old.counted != plan.exposure.counted);
        let reserved = plan.exposure.reserved;
        let less = old.is_some_and(|old| {
            old.reserved.usd > reserved.usd || old.reserved.iterations > reserved.iterations
        });
        if less {
            state.wake_all(1);
        }
        for (set, waits) in state.waiting.iter_mut().zip(plan.held_by) {
            if waits {
                set.insert(self.key.clone());
            } else {
                set.remove(&self.key);
            }
        }
        if counted || less {
            self.changed.notify_one();
        }
    }
}

impl State {
    /// Lets agents look again: those that wait for a limit (0), for others (1).
    pub(super) fn wake_all(&mut self, which: usize) {
        let Some(waiting) = self.waiting.get_mut(which) else { return };
        for (namespace, name) in std::mem::take(waiting) {
            if let Some(wake) = &self.wake {
                // Nobody listens when the controller has ended.
                let _ = wake.send(ObjectRef::new(&name).within(&namespace));
            }
        }
    }

    /// What an agent has used and is about to; of one that was not planned for yet, from its objects.
    pub(super) fn exposure(&self, uid: &str, iterations: &Index<Iteration>, now: Timestamp) -> Exposure {
        if let Some(known) = self.exposures.get(uid) {
            return known.clone();
        }
        let Some(account) = self.agents.get(uid) else { return Exposure::default() };
        let status = account.agent.status.clone().unwrap_or_default();
        // No task of this process can have recorded one that waits: it never looked at the agent.
        let unstarted = |iteration: &Iteration| phase(iteration) == Phase::Pending;
        Exposure::of(&status, &iterations.of(&account.agent), &unstarted, now)
    }
}

impl Desk {
    pub(crate) fn new(iterations: Index<Iteration>) -> Self {
        Self {
            state: Arc::default(),
            iterations,
            changed: Arc::default(),
            ready: Arc::new(watch::Sender::new(false)),
        }
    }

    /// Agents that a budget may let go on, from now on.
    pub(crate) fn woken(&self) -> mpsc::UnboundedReceiver<ObjectRef<Agent>> {
        let (sender, receiver) = mpsc::unbounded_channel();
        self.state().wake = Some(sender);
        receiver
    }

    /// Waits until the budgets are known.
    pub(crate) async fn ready(&self) {
        // The sender lives as long as the desk.
        let _ = self.ready.subscribe().wait_for(|ready| *ready).await;
    }

    /// The budgets of an agent, as they stand. Nobody else decides until the look is over.
    pub(crate) fn look(&self, agent: &Agent, now: Timestamp) -> Look<'_> {
        let state = self.state();
        let uid = agent.uid().unwrap_or_default();
        let key = (agent.namespace().unwrap_or_default(), agent.name_any());
        let views: Vec<View> = state
            .budgets
            .values()
            .filter(|budget| budget.holds(agent) && !budget.is_being_deleted())
            .map(|budget| self.view(&state, budget, &uid, now))
            .collect();
        let held = (!views.is_empty()).then_some(state);
        Look { held, changed: &self.changed, uid, key, views }
    }

    fn view(&self, state: &State, budget: &Held, own: &str, now: Timestamp) -> View {
        let (mut spent, mut reserved) = (ledger::spent(&budget.status, now), Amounts::default());
        let day = day(now);
        for (uid, account) in state.agents.iter().filter(|(uid, _)| *uid != own) {
            if !budget.covers(uid, &account.agent) {
                continue;
            }
            let exposure = state.exposure(uid, &self.iterations, now);
            if let Some(entry) = budget.status.ledger.get(uid) {
                spent.add(uncounted(&exposure, entry, &day));
            }
            reserved.add(exposure.reserved);
        }
        View {
            title: budget.title.clone(),
            command: budget.command.clone(),
            caps: budget.caps,
            spent,
            reserved,
            entry: budget.status.ledger.get(own).filter(|_| state.agents_known).cloned(),
            day,
            broken: budget.broken(),
        }
    }

    /// US dollars that are reserved under a budget.
    pub(super) fn reserved(&self, state: &State, budget: &Held, now: Timestamp) -> f64 {
        let covered = state.agents.iter().filter(|(uid, account)| budget.covers(uid, &account.agent));
        covered.map(|(uid, _)| state.exposure(uid, &self.iterations, now).reserved.usd).sum()
    }

    /// Takes in a budget, unless a newer state of it is there.
    pub(super) fn observe(&self, (key, held): ((String, String), Held)) {
        let mut state = self.state();
        let (uid, generation, version) = held.identity();
        let old = state.budgets.get(&key).map(Held::identity);
        if old.as_ref().is_some_and(|(old, _, before)| *old == uid && *before > version) {
            return;
        }
        let another = old.as_ref().is_none_or(|(before, old, _)| *before != uid || *old != generation);
        let deleted = held.is_being_deleted();
        state.budgets.insert(key, held);
        if another || deleted {
            state.wake_all(0);
        }
        state.wake_all(1);
        drop(state);
        if another {
            self.changed.notify_one();
        }
    }

    /// Forgets budgets that are gone: all for which `keep` does not hold.
    pub(super) fn retain(&self, keep: impl Fn(&(String, String)) -> bool) {
        let mut state = self.state();
        let before = state.budgets.len();
        state.budgets.retain(|key, _| keep(key));
        if state.budgets.len() != before {
            state.wake_all(0);
            state.wake_all(1);
        }
    }

    /// Takes in an agent as its object is.
    pub(super) fn account(&self, agent: Agent) {
        let name = format!("{}/{}", agent.namespace().unwrap_or_default(), agent.name_any());
        let status = agent.status.clone().unwrap_or_default();
        let books = Books::of(name, &status);
        let uid = agent.uid().unwrap_or_default();
        let mut state = self.state();
        let same = state
            .agents
            .get(&uid)
            .is_some_and(|old| old.books == books && old.agent.labels() == agent.labels());
        state.agents.insert(uid, Account { books, agent: Arc::new(slim(agent)) });
        drop(state);
        if !same {
            self.changed.notify_one();
        }
    }

    /// Forgets agents that are gone: all for which `keep` does not hold.
    pub(super) fn retain_accounts(&self, keep: impl Fn(&str) -> bool) {
        let mut state = self.state();
        state.agents.retain(|uid, _| keep(uid));
        state.exposures.retain(|uid, _| keep(uid));
        state.wake_all(1);
        drop(state);
        self.changed.notify_one();
    }

    pub(super) fn iterations(&self) -> &Index<Iteration> {
        &self.iterations
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Account {
    /// The agent, with what is needed of it.
    pub(super) fn agent(&self) -> &Arc<Agent> {
        &self.agent
    }
}

/// What is needed of an agent: with thousands of them its texts would be the larger part.
fn slim(mut agent: Agent) -> Agent {
    agent.spec = Default::default();
    agent.metadata.managed_fields = None;
    agent.metadata.annotations = None;
    if let Some(status) = &mut agent.status {
        status.conditions.clear();
        status.revisions.clear();
    }
    agent
}
