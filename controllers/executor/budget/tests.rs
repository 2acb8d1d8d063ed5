//! Many agents under one budget, in any order, over restarts and deletions.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use gcluster_types::kinds::iteration::{IterationStatus, Phase};
use gcluster_types::{Agent, AgentRevision, Budget, Iteration, labels};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, Time};
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::desk::{Desk, Held};
use super::follow::Taken;
use crate::context::Config;
use crate::executor::plan::{Observed, Plan, plan};
use crate::executor::program::tests::revision;
use crate::informer::Index;

/// Costs are multiples of this many US dollars, so that sums are exact.
const UNIT: f64 = 1.0 / 64.0;

/// Objects, and one process that acts on them.
struct Master {
    agents: BTreeMap<String, Agent>,
    iterations: Index<Iteration>,
    budget: Budget,
    desk: Desk,
    live: HashSet<String>,
    now: i64,
    version: u64,
    spent: f64,
    ended: i64,
    started: usize,
}

impl Master {
    fn new(agents: usize, spec: Value) -> Self {
        let budget: Budget = serde_json::from_value(json!({
            "apiVersion": "gcluster.dev/v1alpha1", "kind": "Budget",
            "metadata": {"name": "team", "namespace": "default", "uid": "b", "resourceVersion": "1",
                "generation": 1}, "spec": spec}))
        .unwrap();
        let iterations = Index::default();
        let mut master = Self {
            agents: (0..agents).map(|n| (format!("u{n}"), agent(n))).collect(),
            desk: Desk::new(iterations.clone()),
            iterations,
            budget,
            live: HashSet::new(),
            now: 1_000_000,
            version: 1,
            spent: 0.0,
            ended: 0,
            started: 0,
        };
        master.restart();
        master
    }

    fn now(&self) -> Timestamp {
        Timestamp::from_second(self.now).unwrap()
    }

    /// A new process that knows the objects alone; the programs go on.
    fn restart(&mut self) {
        self.desk = Desk::new(self.iterations.clone());
        self.desk.observe(Held::namespaced(self.budget.clone()));
        self.desk.take_agent(Some(Taken::All(self.agents.values().cloned().collect())));
    }

    /// The ledger is written, or the process dies right before.
    fn settle(&mut self, counts: bool) {
        let key = ("default".to_owned(), "team".to_owned());
        let (_, _, new) = self.desk.draft(&key, self.now()).unwrap();
        if counts {
            self.version += 1;
            self.budget.status = Some(new);
            self.budget.metadata.resource_version = Some(self.version.to_string());
            self.desk.observe(Held::namespaced(self.budget.clone()));
        }
    }

    /// Looks at one agent. What was planned takes effect up to a point: 0 nothing, 1 the status, 2 all.
    fn reconcile(&mut self, uid: &str, effect: u8) {
        let Some(agent) = self.agents.get(uid).cloned() else { return };
        let now = self.now();
        let look = self.desk.look(&agent, now);
        let plan = planned(&agent, &self.iterations.of(&agent), &self.live, &look.views, now);
        look.leave(&plan);
        if effect == 0 {
            return;
        }
        if plan.finalizer == Some(false) {
            self.agents.remove(uid);
            self.desk.take_agent(Some(Taken::Gone(agent)));
            return;
        }
        let mut stopped = agent.clone();
        stopped.status = Some(plan.status.clone());
        self.agents.insert(uid.to_owned(), stopped.clone());
        self.desk.take_agent(Some(Taken::One(stopped)));
        if effect == 1 {
            return;
        }
        for start in plan.starts {
            self.started += 1;
            let one = format!("i{}", self.started);
            let owner = json!([{"apiVersion": "gcluster.dev/v1alpha1", "kind": "Agent", "name": agent.name_any(),
                "uid": uid}]);
            let iteration = json!({
                "apiVersion": "gcluster.dev/v1alpha1", "kind": "Iteration",
                "metadata": {"name": start.name(&agent.name_any()), "namespace": "default", "uid": one,
                    "labels": {labels::AGENT: agent.name_any()}, "ownerReferences": owner},
                "spec": {"agent": agent.name_any(), "revision": "r", "step": "work", "kind": "Loop",
                    "number": start.number, "execution": 1},
                "status": {"phase": "Running", "sessionID": "s"}});
            self.live.insert(one);
            self.iterations.observe(serde_json::from_value(iteration).unwrap());
        }
    }

    fn running(&self, uid: &str) -> Option<Arc<Iteration>> {
        let agent = self.agents.get(uid)?;
        let is_running = |i: &Arc<Iteration>| i.status.as_ref().is_some_and(|s| s.phase == Phase::Running);
        self.iterations.of(agent).into_iter().find(is_running)
    }

    /// The running iteration of an agent ends and has cost so many units.
    fn end(&mut self, uid: &str, units: u32, phase: Phase) {
        let Some(running) = self.running(uid) else { return };
        let cost = f64::from(units) * UNIT;
        self.spent += cost;
        self.ended += i64::from(phase != Phase::Interrupted);
        let mut ended = (*running).clone();
        ended.status = Some(IterationStatus {
            phase,
            cost_usd: Some(cost),
            tool_uses: 1,
            started_at: Some(MicroTime(self.now())),
            finished_at: Some(MicroTime(self.now())),
            ..IterationStatus::default()
        });
        self.live.remove(&running.uid().unwrap());
        self.iterations.observe(ended);
    }

    fn delete(&mut self, uid: &str) {
        let now = self.now();
        if let Some(agent) = self.agents.get_mut(uid) {
            agent.metadata.deletion_timestamp = Some(Time(now));
            let agent = agent.clone();
            self.desk.take_agent(Some(Taken::One(agent)));
        }
    }

    fn counted(&self) -> f64 {
        self.budget.status.as_ref().map_or(0.0, |status| status.spent_usd)
    }
}

fn agent(number: usize) -> Agent {
    serde_json::from_value(json!({
        "apiVersion": "gcluster.dev/v1alpha1", "kind": "Agent",
        "metadata": {"name": format!("a{number}"), "namespace": "default", "uid": format!("u{number}"),
            "generation": 1, "finalizers": [labels::EXECUTOR_FINALIZER]},
        "spec": {"definition": "d"},
        "status": {"digest": "D", "observedGeneration": 1, "execution": 1, "executionDigest": "D"},
    }))
    .unwrap()
}

fn planned(
    agent: &Agent,
    iterations: &[Arc<Iteration>],
    live: &HashSet<String>,
    budgets: &[super::View],
    now: Timestamp,
) -> Plan {
    let steps = "(defagent \"n\"\n  (pipeline\n    (step \"work\" (loop work))))";
    let mut spec = revision(steps, &[("work", "(defmethod work ()\n  \"Go.\")")]);
    spec.digest = "D".into();
    let revisions = [Arc::new(AgentRevision::new("r", spec))];
    let mut config = Config::new("rehearsal", "/r");
    config.failure_backoff = std::time::Duration::ZERO;
    plan(&Observed {
        agent,
        revisions: &revisions,
        iterations,
        live,
        floor: &|_| 0,
        outputs: &|_| Some("out".into()),
        backend: "rehearsal",
        available: Ok(()),
        provider: crate::executor::provider::View::default(),
        waits: None,
        budgets,
        config: &config,
        now,
        spread: 0.5,
    })
}

/// One thing that happens: to which agent, what, and a number for it.
type Step = (usize, u8, u32);

fn play(master: &mut Master, agents: usize, steps: &[Step]) {
    for (which, what, units) in steps {
        let uid = format!("u{}", which % agents);
        match what {
            0..=3 => master.reconcile(&uid, 2),
            4 => master.reconcile(&uid, u8::try_from(units % 2).unwrap()),
            5..=7 => master.end(&uid, *units, Phase::Succeeded),
            8 => master.end(&uid, *units, Phase::Interrupted),
            9 => master.end(&uid, *units, Phase::Failed),
            10..=12 => master.settle(true),
            13 => master.settle(false),
            14 => master.restart(),
            _ if units % 4 == 0 => master.delete(&uid),
            _ => master.now += 1,
        }
    }
}

/// Everything ends and is counted.
fn come_to_rest(master: &mut Master, agents: usize, units: u32) {
    for _ in 0..4 {
        for uid in (0..agents).map(|n| format!("u{n}")) {
            master.reconcile(&uid, 1);
            master.end(&uid, units, Phase::Succeeded);
            master.reconcile(&uid, 1);
            master.settle(true);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn agents_together_overshoot_by_one_iteration_each_and_every_dollar_is_counted_once(
        agents in 1_usize..6,
        limit in 0_u32..600,
        per_day in any::<bool>(),
        steps in prop::collection::vec((0_usize..6, 0_u8..16, 0_u32..64), 1..250),
    ) {
        let dollars = f64::from(limit) * UNIT;
        let field = if per_day { "maxBudgetUSDPerDay" } else { "maxBudgetUSD" };
        let mut master = Master::new(agents, json!({field: dollars}));
        play(&mut master, agents, &steps);
        let before_rest = master.spent;
        prop_assert!(before_rest <= dollars + agents as f64 * 64.0 * UNIT, "{before_rest} of {dollars}");
        come_to_rest(&mut master, agents, 1);
        prop_assert_eq!(master.counted(), master.spent);
        let status = master.budget.status.clone().unwrap();
        prop_assert_eq!(status.spent_today_usd, master.spent);
        prop_assert_eq!((status.iterations, status.iterations_today), (master.ended, master.ended));
        let left = master.agents.values().filter(|agent| agent.metadata.deletion_timestamp.is_some()).count();
        prop_assert_eq!(left, 0, "what was deleted goes once it is counted");
        master.restart();
        master.settle(true);
        prop_assert_eq!(master.counted(), master.spent);
    }

    #[test]
    fn what_costs_the_same_each_time_does_not_overshoot_once_it_is_known(
        agents in 1_usize..6,
        units in 1_u32..16,
        times in 1_u32..40,
        steps in prop::collection::vec((0_usize..6, 0_u8..15), 1..300),
    ) {
        let dollars = f64::from(units * times) * UNIT;
        let mut master = Master::new(agents, json!({}));
        master.settle(true);
        for uid in (0..agents).map(|n| format!("u{n}")) {
            master.reconcile(&uid, 2);
            master.end(&uid, units, Phase::Succeeded);
            master.reconcile(&uid, 1);
        }
        master.settle(true);
        let known = master.spent;
        master.version += 1;
        master.budget.spec.max_budget_usd = Some(known + dollars);
        master.budget.metadata.resource_version = Some(master.version.to_string());
        master.budget.metadata.generation = Some(2);
        master.desk.observe(Held::namespaced(master.budget.clone()));
        let steps: Vec<Step> = steps.into_iter().map(|(which, what)| (which, what, units)).collect();
        play(&mut master, agents, &steps);
        come_to_rest(&mut master, agents, units);
        prop_assert!(master.spent <= known + dollars, "{} of {}", master.spent, known + dollars);
        prop_assert_eq!(master.counted(), master.spent);
    }
}

#[test]
fn a_breach_names_the_budget_and_a_larger_limit_or_a_new_day_resumes() {
    let mut master = Master::new(1, json!({"maxBudgetUSDPerDay": 1.0}));
    let told = |master: &Master| {
        let agent = &master.agents["u0"];
        let conditions = agent.status.clone().unwrap_or_default().conditions;
        let within = conditions.into_iter().find(|c| c.type_ == "WithinLimits");
        within.map(|c| (c.status, c.reason, c.message)).unwrap_or_default()
    };
    master.reconcile("u0", 2);
    assert!(master.running("u0").is_none(), "nothing begins before the budget knows the agent");
    master.settle(true);
    master.reconcile("u0", 2);
    master.end("u0", 64, Phase::Succeeded);
    master.reconcile("u0", 2);
    let (status, reason, message) = told(&master);
    assert_eq!((status.as_str(), reason.as_str()), ("False", "DailyBudgetSpent"));
    assert!(
        message.contains(
            "spec.maxBudgetUSDPerDay of Budget default/team: `gcluster edit budget team -n default`"
        )
    );
    assert!(master.running("u0").is_none());
    master.settle(true);
    let said = &master.budget.status.as_ref().unwrap().conditions[0];
    assert_eq!((said.status.as_str(), said.reason.as_str()), ("False", "DailyBudgetSpent"));
    master.now += 86_400;
    master.reconcile("u0", 2);
    assert!(master.running("u0").is_some(), "a new day");
    master.end("u0", 64, Phase::Succeeded);
    master.reconcile("u0", 2);
    master.settle(true);
    let status = master.budget.status.clone().unwrap();
    assert_eq!((status.spent_usd, status.spent_today_usd, status.iterations_today), (2.0, 1.0, 1));
    assert_eq!(
        (status.spent.as_deref(), status.today.as_deref()),
        (Some("$2.00"), Some("$1.00 of $1.00, 1 iterations"))
    );
    master.budget.spec.max_budget_usd_per_day = Some(3.0);
    master.budget.metadata.generation = Some(2);
    master.version += 1;
    master.budget.metadata.resource_version = Some(master.version.to_string());
    let mut woken = master.desk.woken();
    master.reconcile("u0", 2);
    master.desk.observe(Held::namespaced(master.budget.clone()));
    assert_eq!(woken.try_recv().unwrap().name, "a0", "whoever was held looks again at once");
    master.reconcile("u0", 2);
    assert!(master.running("u0").is_some(), "a larger limit");
}

/// What the agent's condition says of its limits.
fn within(master: &Master, uid: &str) -> (String, String, String) {
    let conditions = master.agents[uid].status.clone().unwrap_or_default().conditions;
    let within = conditions.into_iter().find(|c| c.type_ == "WithinLimits");
    within.map(|c| (c.status, c.reason, c.message)).unwrap_or_default()
}

fn change(master: &mut Master, change: impl FnOnce(&mut Budget)) {
    master.version += 1;
    change(&mut master.budget);
    master.budget.metadata.resource_version = Some(master.version.to_string());
    master.budget.metadata.generation = master.budget.metadata.generation.map(|generation| generation + 1);
    master.desk.observe(Held::namespaced(master.budget.clone()));
}

#[test]
fn a_selector_that_cannot_be_read_lets_nobody_begin_and_says_so() {
    let mut master =
        Master::new(2, json!({"maxBudgetUSD": 100.0, "selector": {"matchLabels": {"team": "core"}}}));
    for agent in master.agents.values_mut().take(1) {
        agent.metadata.labels = Some([("team".to_owned(), "core".to_owned())].into());
    }
    master.restart();
    master.settle(true);
    for uid in ["u0", "u1"] {
        master.reconcile(uid, 2);
        master.end(uid, 64, Phase::Succeeded);
        master.reconcile(uid, 1);
    }
    master.settle(true);
    assert_eq!(master.counted(), 1.0, "one of them is under it");
    let wrong = json!({"matchExpressions": [{"key": "team", "operator": "Near", "values": ["core"]}]});
    let wrong = serde_json::from_value(wrong).unwrap();
    let right = master.budget.spec.selector.clone();
    change(&mut master, |budget| budget.spec.selector = Some(wrong));
    master.settle(true);
    let said = master.budget.status.clone().unwrap().conditions[0].clone();
    assert_eq!((said.status.as_str(), said.reason.as_str()), ("False", "SelectorInvalid"));
    assert!(said.message.contains("spec.selector cannot be read"), "{}", said.message);
    for uid in ["u0", "u1"] {
        master.reconcile(uid, 2);
        assert!(master.running(uid).is_none(), "whom it means is not known, so nobody begins: {uid}");
        let (status, reason, message) = within(&master, uid);
        assert_eq!((status.as_str(), reason.as_str()), ("False", "SelectorInvalid"));
        assert!(message.contains("`gcluster edit budget team -n default`"), "{message}");
    }
    let ledger =
        |master: &Master| master.budget.status.clone().unwrap().ledger.into_keys().collect::<Vec<_>>();
    assert_eq!((ledger(&master), master.counted()), (vec!["u0".to_owned()], 1.0), "nobody else is counted");
    // Who goes meanwhile is not kept by it.
    master.delete("u1");
    master.reconcile("u1", 2);
    master.reconcile("u1", 2);
    assert!(!master.agents.contains_key("u1"));
    change(&mut master, |budget| budget.spec.selector = right);
    master.settle(true);
    master.reconcile("u0", 2);
    assert!(master.running("u0").is_some());
}

#[test]
fn iterations_are_limited_over_all_days() {
    let mut master = Master::new(2, json!({"maxIterations": 3}));
    master.settle(true);
    for round in 0..6 {
        for uid in ["u0", "u1"] {
            master.reconcile(uid, 2);
            master.end(uid, 1, if round == 0 { Phase::Interrupted } else { Phase::Failed });
            master.reconcile(uid, 1);
        }
        master.settle(true);
        master.now += 86_400;
    }
    let status = master.budget.status.clone().unwrap();
    assert_eq!((master.ended, status.iterations), (3, 3));
    assert_eq!(status.spent.as_deref().map(|text| text.ends_with(", 3 of 3 iterations")), Some(true));
    assert_eq!(status.conditions[0].reason, "IterationLimitReached");
    change(&mut master, |budget| budget.spec.max_iterations = Some(4));
    master.settle(true);
    master.reconcile("u0", 2);
    assert!(master.running("u0").is_some(), "a larger limit resumes");
}
