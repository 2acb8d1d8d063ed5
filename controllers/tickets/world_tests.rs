//! A world that the plan is let loose on: whatever happens in it, in whatever order, and wherever a master is killed,
//! tickets never collide and each comes to an end or says what it waits for.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use gcluster_types::conditions::{self, Observed};
use gcluster_types::kinds::agent::{AgentStatus, IterationCounts, RunPolicy, RunState};
use gcluster_types::kinds::check::{CheckPhase, CheckStatus};
use gcluster_types::kinds::merge::{MergePhase, MergeStatus};
use gcluster_types::kinds::review::{ReviewPhase, ReviewStatus, Verdict};
use gcluster_types::kinds::ticket::{Decision, HumanVerdict, TicketPhase, TicketState};
use gcluster_types::kinds::workspace::{Checkout, WorkspacePhase, WorkspaceStatus};
use gcluster_types::{Agent, Repository, Ticket, TicketSpec, WorkerPool, WorkerPoolSpec, labels};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;
use proptest::prelude::*;

use super::locks;
use super::snapshot::{Standing, phase, standing};
use super::worker::has_worker;
use super::{Action, Plan, Snapshot, plan};

/// One thing that the world may do next.
type Step = Box<dyn FnOnce(&mut Snapshot)>;

/// Something that happens.
#[derive(Clone, Copy, Debug)]
pub(super) enum Happens {
    /// The world goes on somewhere; well or badly.
    Step(u8, bool),
    /// A person decides about a ticket.
    Decide(u8, HumanVerdict),
    /// A ticket is opened, held, cancelled.
    State(u8, TicketState),
    /// The pool is scaled.
    Scale(i32),
    /// The pool goes, or comes back.
    TogglePool,
    /// A workspace is deleted.
    LoseWorkspace(u8),
    /// Somebody takes the first lock by hand, for a while.
    TakeLock,
    /// Time passes.
    Wait(i64),
    /// The master is killed before it does what it has written down, or before it has written all.
    Kill(usize),
}

fn happens() -> impl Strategy<Value = Happens> {
    use HumanVerdict::{Approve, SendBack, Stop};
    use TicketState::{Cancelled, Held, Open};
    prop_oneof![
        12 => (any::<u8>(), prop::bool::weighted(0.75)).prop_map(|(n, well)| Happens::Step(n, well)),
        2 => (0_u8..6, prop::sample::select(vec![Approve, SendBack, Stop])).prop_map(|(n, v)| Happens::Decide(n, v)),
        2 => (0_u8..6, prop::sample::select(vec![Open, Open, Held, Cancelled])).prop_map(|(n, s)| Happens::State(n, s)),
        1 => (0..4_i32).prop_map(Happens::Scale),
        1 => Just(Happens::TogglePool),
        1 => (0_u8..6).prop_map(Happens::LoseWorkspace),
        1 => Just(Happens::TakeLock),
        2 => (1_i64..90).prop_map(Happens::Wait),
        3 => (0_usize..4).prop_map(Happens::Kill),
    ]
}

pub(super) struct World {
    pub(super) seen: Snapshot,
    uids: usize,
    /// Writes so far.
    writes: usize,
    decisions: usize,
    pub(super) pool: WorkerPool,
}

pub(super) fn put<K: ResourceExt + Clone>(all: &mut BTreeMap<String, Arc<K>>, object: K) {
    all.insert(object.name_any(), Arc::new(object));
}

impl World {
    pub(super) fn new(edges: &[(usize, usize)], locks: &[usize], replicas: i32) -> Self {
        let mut pool = WorkerPool::new("team", WorkerPoolSpec { replicas, ..WorkerPoolSpec::default() });
        pool.spec.repositories = vec!["app".into()];
        let mut world = World { seen: Snapshot::default(), uids: 0, writes: 0, decisions: 0, pool };
        world.seen.now = Timestamp::from_second(1_000_000).unwrap();
        let mut app = Repository::new("app", Default::default());
        let ready = Observed {
            kind: "Ready",
            status: Some(true),
            reason: "Ready",
            message: String::new(),
            generation: None,
        };
        conditions::set(&mut app.status.get_or_insert_default().conditions, ready, &Time(world.seen.now));
        put(&mut world.seen.repositories, app);
        put(&mut world.seen.pools, world.pool.clone());
        for n in 0..6 {
            let on =
                edges.iter().filter(|(from, to)| *from == n && to < from).map(|(_, to)| format!("t{to}"));
            let lock = locks.get(n).copied().unwrap_or(0);
            let spec = TicketSpec {
                title: format!("ticket {n}"),
                priority: 1 + i32::try_from(n % 3).unwrap(),
                depends_on: on.collect(),
                locks: if lock == 0 {
                    Vec::new()
                } else {
                    vec![format!("l{}", lock % 3), format!("l{}", lock % 2)]
                },
                ..TicketSpec::default()
            };
            let mut ticket = Ticket::new(&format!("t{n}"), spec);
            ticket.metadata.uid = Some(format!("u{n}"));
            ticket.metadata.creation_timestamp = Timestamp::from_second(n as i64).ok().map(Time);
            put(&mut world.seen.tickets, ticket);
        }
        world
    }

    /// Plans and acts, unless it is killed after so many writes.
    fn look(&mut self, killed_after: Option<usize>) -> Plan {
        let mut plan = plan(&self.seen);
        for agent in std::mem::take(&mut plan.answers) {
            self.seen.answers.insert(agent, "done".into());
        }
        check_order(&self.seen, &plan);
        let mut left = killed_after.unwrap_or(usize::MAX);
        for (name, turn) in &plan.tickets {
            let ticket = self.seen.tickets[name].clone();
            check_step(&self.seen, &ticket, &turn.status);
            if left == 0 {
                return plan;
            }
            left -= 1;
            let free = turn.take.iter().all(|lease| !self.seen.leases.contains_key(&lease.name_any()));
            if !free {
                continue;
            }
            turn.take.iter().for_each(|lease| put(&mut self.seen.leases, lease.clone()));
            if ticket.status.as_ref() != Some(&turn.status) {
                let mut written = (*ticket).clone();
                written.status = Some(turn.status.clone());
                put(&mut self.seen.tickets, written);
                self.writes += 1;
            }
            for action in &turn.actions {
                if left == 0 {
                    return plan;
                }
                left -= 1;
                self.act(Some(name), action);
            }
        }
        for action in &plan.locks {
            self.act(None, action);
        }
        plan
    }

    fn act(&mut self, ticket: Option<&str>, action: &Action) {
        self.uids += 1;
        self.writes += 1;
        let uid = Some(format!("o{}", self.uids));
        let seen = &mut self.seen;
        match action.clone() {
            Action::Finalize => {
                let mut changed = (*seen.tickets[ticket.unwrap()]).clone();
                changed.finalizers_mut().push(labels::TICKET_FINALIZER.into());
                put(&mut seen.tickets, changed);
            }
            Action::MakeWorkspace(made) => put(&mut seen.workspaces, *made),
            Action::MakeAgent(mut made) => {
                made.metadata.uid = uid;
                put(&mut seen.agents, *made);
            }
            Action::MakeCheck(made) => put(&mut seen.checks, *made),
            Action::MakeReview(made) => put(&mut seen.reviews, *made),
            Action::MakeMerge(made) => put(&mut seen.merges, *made),
            Action::TakeLock(made) => put(&mut seen.leases, *made),
            Action::RenewLock(made) => put(&mut seen.leases, *made),
            Action::Observe { workspace, value } => {
                let mut changed = (*seen.workspaces[&workspace]).clone();
                changed.annotations_mut().insert(labels::OBSERVE.into(), value);
                put(&mut seen.workspaces, changed);
            }
            Action::SetRun { agent, run, held } => {
                let mut changed = (*seen.agents[&agent]).clone();
                changed.spec.run = run;
                changed.annotations_mut().retain(|key, _| key != labels::HELD);
                if held {
                    changed.annotations_mut().insert(labels::HELD.into(), "true".into());
                }
                put(&mut seen.agents, changed);
            }
            Action::RemoveWorkspace(gone) => drop(seen.workspaces.remove(&gone.name_any())),
            Action::RemoveReview(gone) => drop(seen.reviews.remove(&gone.name_any())),
            Action::WithdrawMerge(gone) => drop(seen.merges.remove(&gone.name_any())),
            Action::ReleaseLock(gone) | Action::ExpireLock(gone) => {
                drop(seen.leases.remove(&gone.name_any()))
            }
        }
    }

    /// Looks until there is nothing to do any more, and checks that there is an end to it.
    pub(super) fn settle(&mut self) {
        for _ in 0..60 {
            let (writes, answers) = (self.writes, self.seen.answers.len());
            self.look(None);
            if (writes, answers) == (self.writes, self.seen.answers.len()) {
                return self.check_rest();
            }
            self.check();
        }
        panic!("it never comes to rest: {:#?}", statuses(&self.seen));
    }

    fn check(&self) {
        let mut held: BTreeMap<String, String> = BTreeMap::new();
        let mut workers: BTreeSet<(String, i32)> = BTreeSet::new();
        for (name, ticket) in &self.seen.tickets {
            let status = ticket.status.clone().unwrap_or_default();
            assert!(
                status.since.is_none() || status.message.as_ref().is_some_and(|message| !message.is_empty()),
                "{name}"
            );
            assert!(status.attempts <= 3, "{name}: {}", status.attempts);
            if status.phase.is_in_flight() {
                for lease in locks::of(ticket).into_keys() {
                    let other = held.insert(lease.clone(), name.clone());
                    assert!(other.is_none(), "{lease}: {name} and {other:?}: {:#?}", statuses(&self.seen));
                }
            }
            if has_worker(&status) {
                let worker = (status.pool.unwrap(), status.worker.unwrap());
                assert!(workers.insert(worker.clone()), "{worker:?} twice: {:#?}", statuses(&self.seen));
            }
            let seen = self.seen.indexed();
            let at_work = seen.busy_workers(name).filter(|agent| agent.spec.run == RunPolicy::Running);
            assert!(at_work.count() <= 1, "{name} has two workers");
        }
    }

    /// What is true when there is nothing to do at present.
    fn check_rest(&self) {
        let seen = self.seen.indexed();
        for (name, ticket) in &seen.tickets {
            let status = ticket.status.clone().unwrap_or_default();
            let waits = ticket.spec.state == TicketState::Held
                || conditions::is_true(&status.conditions, "NeedsHuman");
            let runs = seen.busy_workers(name).next().is_some();
            assert!(runs || !waits || !has_worker(&status), "{name} keeps a worker that others could have");
            let told = seen.agents_of(name).filter(|agent| agent.spec.run == RunPolicy::Running);
            let told = told.filter(|agent| standing(agent) != Standing::Done).count();
            assert!(told == 0 || has_worker(&status), "{name} is worked on without a worker");
        }
    }

    /// Lets the world go on at one of its places.
    pub(super) fn step(&mut self, place: usize, well: bool) {
        let seen = &mut self.seen;
        let mut steps: Vec<Step> = Vec::new();
        for workspace in seen.workspaces.values() {
            let mut next = (**workspace).clone();
            let status = next.status.get_or_insert_default();
            let asked =
                workspace.metadata.annotations.as_ref().and_then(|all| all.get(labels::OBSERVE)).cloned();
            if matches!(status.phase, WorkspacePhase::Pending) {
                let phase = if well { WorkspacePhase::Ready } else { WorkspacePhase::Failed };
                *status = WorkspaceStatus { phase, ..WorkspaceStatus::default() };
            } else if asked.is_some() && asked != status.observed_request {
                let commit = format!("{:040x}", self.uids + place);
                let (ahead, dirty) = if well { (1, 0) } else { (0, i64::from(place.is_multiple_of(2))) };
                let checkout = Checkout { name: "app".into(), commit, ahead, dirty, ..Checkout::default() };
                status.repositories = vec![checkout];
                status.observed_request = asked;
            } else {
                continue;
            }
            steps.push(Box::new(move |seen| put(&mut seen.workspaces, next)));
        }
        for agent in seen.agents.values() {
            if let Some(next) = executed(agent, well, seen.now) {
                steps.push(Box::new(move |seen| put(&mut seen.agents, next)));
            }
        }
        for check in seen.checks.values().filter(|check| check.status.is_none()) {
            let mut next = (**check).clone();
            let phase = if well { CheckPhase::Passed } else { CheckPhase::Failed };
            next.status = Some(CheckStatus { phase, ..CheckStatus::default() });
            steps.push(Box::new(move |seen| put(&mut seen.checks, next)));
        }
        for review in seen.reviews.values().filter(|review| review.status.is_none()) {
            let mut next = (**review).clone();
            let verdict = if well { Verdict::Approved } else { Verdict::ChangesRequested };
            let phase =
                if place.is_multiple_of(7) && !well { ReviewPhase::Failed } else { ReviewPhase::Done };
            next.status = Some(ReviewStatus { phase, verdict: Some(verdict), ..ReviewStatus::default() });
            steps.push(Box::new(move |seen| put(&mut seen.reviews, next)));
        }
        for merge in seen.merges.values() {
            let mut next = (**merge).clone();
            let now = next.status.get_or_insert_default();
            let phase = match now.phase {
                MergePhase::Queued => MergePhase::Landing,
                MergePhase::Landing if well => MergePhase::Merged,
                MergePhase::Landing => MergePhase::Rejected,
                _ => continue,
            };
            *now = MergeStatus { phase, ..MergeStatus::default() };
            steps.push(Box::new(move |seen| put(&mut seen.merges, next)));
        }
        if !steps.is_empty() {
            self.uids += 1;
            let at = place % steps.len();
            steps.swap_remove(at)(&mut self.seen);
        }
    }

    pub(super) fn happen(&mut self, what: Happens) {
        match what {
            Happens::Step(place, well) => self.step(place.into(), well),
            Happens::Decide(n, verdict) => {
                self.decisions += 1;
                let at = format!("{}", self.decisions);
                self.change(n, |ticket| {
                    ticket.spec.decision = Some(Decision { verdict, text: "so".into(), by: None, at });
                });
            }
            Happens::State(n, state) => self.change(n, |ticket| ticket.spec.state = state),
            Happens::Scale(replicas) => {
                self.pool.spec.replicas = replicas;
                if self.seen.pools.contains_key("team") {
                    put(&mut self.seen.pools, self.pool.clone());
                }
            }
            Happens::TogglePool => {
                if self.seen.pools.remove("team").is_none() {
                    put(&mut self.seen.pools, self.pool.clone());
                }
            }
            Happens::LoseWorkspace(n) => drop(self.seen.workspaces.remove(&format!("t{n}"))),
            Happens::TakeLock => {
                let mut lease =
                    locks::lease(&gcluster_types::tickets::lease_name("l1"), "l1", "somebody", self.seen.now);
                lease.labels_mut().remove(labels::TICKET);
                self.seen.leases.entry(lease.name_any()).or_insert(Arc::new(lease));
            }
            Happens::Wait(seconds) => self.seen.now += SignedDuration::from_secs(seconds),
            Happens::Kill(after) => drop(self.look(Some(after))),
        }
    }

    pub(super) fn change(&mut self, n: u8, change: impl FnOnce(&mut Ticket)) {
        let mut ticket = (*self.seen.tickets[&format!("t{n}")]).clone();
        change(&mut ticket);
        put(&mut self.seen.tickets, ticket);
    }
}

/// What the executor does about an agent next.
fn executed(agent: &Agent, well: bool, now: Timestamp) -> Option<Agent> {
    let mut next = agent.clone();
    let status = next.status.get_or_insert_default();
    let reason = status.reason.clone().unwrap_or_default();
    if reason == "Completed" {
        return None;
    }
    let rest = |status: &mut AgentStatus, reason: &str| {
        status.run_state = Some(RunState::Stopped);
        status.active_iterations.clear();
        status.reason = Some(reason.into());
    };
    match agent.spec.run {
        RunPolicy::Running if status.active_iterations.is_empty() && reason != "BackingOff" => {
            status.run_state = Some(RunState::Running);
            status.active_iterations = vec!["one".into()];
            status.reason = Some("Executing".into());
        }
        RunPolicy::Running if well => {
            status.iterations =
                Some(IterationCounts { total: 1, succeeded: 1, ..IterationCounts::default() });
            rest(status, "Completed");
        }
        RunPolicy::Running => {
            status.iterations = Some(IterationCounts { total: 1, failed: 1, ..IterationCounts::default() });
            status.active_iterations.clear();
            status.reason = Some("BackingOff".into());
            let said = Observed {
                kind: conditions::BACKING_OFF,
                status: Some(true),
                reason: "Fruitless",
                message: "it failed".into(),
                generation: None,
            };
            conditions::set(&mut status.conditions, said, &Time(now));
        }
        RunPolicy::Paused if reason != "Paused" => rest(status, "Paused"),
        RunPolicy::Stopped if reason != "Stopped" => rest(status, "Stopped"),
        _ => return None,
    }
    Some(next)
}

/// A step of a ticket is one that the specification knows, and its reasons hold at that moment.
fn check_step(seen: &Snapshot, ticket: &Ticket, next: &gcluster_types::TicketStatus) {
    use TicketPhase::{
        Approved, Cancelled, Checking, Failed, Merged, Merging, Ready, Reviewing, Waiting, Working,
    };
    let (from, to) = (phase(ticket), next.phase);
    let legal = from == to
        || match from {
            Waiting | Ready => matches!(to, Waiting | Ready | Working | Failed | Cancelled),
            Working => matches!(to, Ready | Checking | Failed | Cancelled),
            Checking => matches!(to, Working | Reviewing | Approved | Failed | Cancelled),
            Reviewing => matches!(to, Working | Approved | Failed | Cancelled),
            Approved => matches!(to, Working | Merging | Failed | Cancelled),
            Merging => matches!(to, Ready | Merged | Failed | Cancelled),
            Merged => false,
            Failed => matches!(to, Ready),
            Cancelled => matches!(to, Waiting | Ready | Working),
        };
    assert!(legal, "{}: {from:?} → {to:?}", ticket.name_any());
    let had = |ticket: &Ticket| ticket.status.as_ref().is_some_and(has_worker);
    if !had(ticket) && has_worker(next) {
        let pool = &seen.pools[next.pool.as_ref().unwrap()];
        assert!(next.worker.unwrap() <= pool.spec.replicas, "a worker that there is");
        let of_pool =
            |other: &&Arc<Ticket>| other.status.as_ref().is_some_and(|status| status.pool == next.pool);
        let kept = seen.tickets.values().filter(of_pool).filter(|other| had(other)).count();
        assert!(kept < usize::try_from(pool.spec.replicas).unwrap(), "more than the replicas");
        for name in ticket.spec.depends_on.iter().filter(|_| from != Working) {
            assert_eq!(phase(&seen.tickets[name]), Merged, "{} depends on {name}", ticket.name_any());
        }
    }
}

/// Nobody who comes later is taken before one who only waits for a worker.
fn check_order(seen: &Snapshot, plan: &Plan) {
    let key = |name: &str| {
        let ticket = &seen.tickets[name];
        (ticket.status.as_ref().is_none_or(|status| status.round == 0), ticket.order())
    };
    let busy =
        |name: &str| plan.tickets[name].status.message.as_deref().unwrap_or_default().contains("turn comes");
    let waiting =
        plan.tickets.iter().filter(|(name, turn)| turn.status.phase == TicketPhase::Ready && busy(name));
    for (late, _) in waiting {
        for (taken, turn) in &plan.tickets {
            let had = seen.tickets[taken].status.as_ref().is_some_and(has_worker);
            if has_worker(&turn.status) && !had {
                assert!(key(taken) < key(late), "{taken} before {late}");
            }
        }
    }
}

pub(super) fn statuses(seen: &Snapshot) -> Vec<String> {
    let told = |(name, ticket): (&String, &Arc<Ticket>)| {
        let status = ticket.status.clone().unwrap_or_default();
        format!("{name}: {:?} {:?} {:?} {:?}", status.phase, status.reason, status.message, status.worker)
    };
    seen.tickets.iter().map(told).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]
    #[test]
    fn tickets_never_collide_and_come_to_an_end(
        edges in prop::collection::vec((0_usize..6, 0_usize..6), 0..5),
        locks in prop::collection::vec(0_usize..4, 6),
        replicas in 1..4_i32,
        story in prop::collection::vec(happens(), 0..70),
    ) {
        let mut world = World::new(&edges, &locks, replicas);
        world.settle();
        for what in story {
            world.happen(what);
            world.check();
            if !matches!(what, Happens::Kill(_)) {
                world.settle();
            }
        }
        // From here on all goes well, and nobody keeps anything back.
        world.pool.spec.replicas = replicas;
        put(&mut world.seen.pools, world.pool.clone());
        for n in 0..6 {
            world.happen(Happens::State(n, TicketState::Open));
        }
        for round in 0..600_usize {
            world.settle();
            let asks = |ticket: &&Arc<Ticket>| {
                ticket.status.as_ref().is_some_and(|status| status.reason.as_deref() == Some("NeedsHuman"))
            };
            let is_over = |ticket: &Arc<Ticket>| ticket.status.as_ref().is_some_and(|status| status.phase.is_terminal());
            if world.seen.tickets.values().all(is_over) && world.seen.leases.is_empty() {
                break;
            }
            let asking = world.seen.tickets.values().find(asks).map(|ticket| ticket.name_any());
            match asking {
                Some(name) => world.happen(Happens::Decide(name[1..].parse().unwrap(), HumanVerdict::Approve)),
                None => world.step(round * 7 + 1, true),
            }
            world.seen.now += SignedDuration::from_secs(30);
        }
        for (name, ticket) in &world.seen.tickets {
            let status = ticket.status.clone().unwrap();
            let reason = status.reason.clone().unwrap_or_default();
            let ok = status.phase.is_terminal() || reason == "DependencyFailed" || reason == "Dependencies";
            prop_assert!(ok, "{name}: {:#?}", statuses(&world.seen));
        }
        prop_assert!(world.seen.leases.is_empty(), "{:?}", world.seen.leases);
    }
}
