//! How the agents of each credential stand: who was refused what, who got an answer, and whose turn it is.
//!
//! Everything here is read off objects, again after every start. It is kept so that a look at one agent does not
//! have to read all others, and so that a change of one wakes those whom it concerns.

use std::collections::hash_map::DefaultHasher;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::hash::{Hash, Hasher};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use gcluster_types::kinds::provider::{FaultKind, ProviderFault};
use gcluster_types::{Agent, Iteration};
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use kube::runtime::reflector::ObjectRef;
use tokio::sync::mpsc;

use super::flow::phase;
use super::plan::Plan;
use super::provider::{Answers, Turn, View, answers, governing, is_asked_for};
use crate::informer::AgentKey;

/// After the reset time of a limit 1, 2, 4, 8 … agents begin in steps of this length.
const RAMP: Duration = Duration::from_secs(15);
/// The same once the provider was seen to answer.
const QUICK_RAMP: Duration = Duration::from_secs(2);
/// How long the others wait for the one that tries after an outage or a refused credential.
const PROBE: Duration = Duration::from_secs(300);
/// One whose turn has come and that does nothing is passed over after this time.
const STUCK: Duration = Duration::from_secs(60);

/// One agent on a credential.
#[derive(Debug, Clone, Default)]
pub(super) struct Member {
    pub(super) priority: i32,
    /// Something of it would begin if nothing was refused.
    pub(super) ready: bool,
    /// Beginning of an iteration of it that runs; of one that only waits for room, now.
    pub(super) running: Option<Timestamp>,
    /// Its copy of the refusal.
    pub(super) fault: Option<ProviderFault>,
    pub(super) answers: Answers,
    /// What it was told when it was looked at.
    pub(super) told: Option<Turn>,
}

impl Member {
    /// How an agent stands, as it is planned now.
    pub(super) fn of(
        agent: &Agent,
        iterations: &[Arc<Iteration>],
        live: &HashSet<String>,
        plan: &Plan,
        view: &View,
        now: Timestamp,
    ) -> Member {
        let begun = |iteration: &Iteration| {
            let status = iteration.status.as_ref();
            status.and_then(|status| status.started_at.as_ref()).map_or(now, |at| at.0)
        };
        let mine = iterations.iter().filter(|i| live.contains(&i.uid().unwrap_or_default()));
        let running = mine.filter(|i| !phase(i).is_terminal()).map(|i| begun(i));
        let starting = (!plan.starts.is_empty()).then_some(now);
        let credential = view.credential.as_ref().map(|credential| credential.name.as_str());
        Member {
            priority: agent.spec.priority,
            ready: plan.ready,
            running: running.chain(starting).max(),
            fault: plan.status.provider_fault.clone(),
            answers: answers(iterations.iter().map(|i| &**i), credential),
            told: view.turn.clone().filter(|_| plan.ready),
        }
    }
}

/// Namespace and name.
pub(super) fn key(agent: &Agent) -> AgentKey {
    (agent.namespace().unwrap_or_default(), agent.name_any())
}

/// The table. Clones share it.
#[derive(Clone, Default)]
pub(super) struct Standings {
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    groups: HashMap<String, Group>,
    /// Group of each agent.
    of: HashMap<AgentKey, String>,
    wake: Option<mpsc::UnboundedSender<ObjectRef<Agent>>>,
}

#[derive(Default)]
struct Group {
    members: BTreeMap<AgentKey, Member>,
    /// The refusal that governed it last: when it was met, and when it was seen to be over.
    known: Option<(Timestamp, Option<Timestamp>)>,
}

/// The group of an agent: its credential, or itself where it has none.
pub(super) fn group_of(credential: Option<&str>, key: &AgentKey) -> String {
    credential.map_or_else(|| format!("{}/{}", key.0, key.1), str::to_owned)
}

impl Standings {
    /// Agents to look at because of what became of another one, from now on.
    pub(super) fn woken(&self) -> mpsc::UnboundedReceiver<ObjectRef<Agent>> {
        let (sender, receiver) = mpsc::unbounded_channel();
        self.state().wake = Some(sender);
        receiver
    }

    /// Takes over what an agent's object says, before anything is decided.
    pub(super) fn seed(&self, agent: &Agent) {
        let Some(status) = agent.status.as_ref().filter(|status| status.provider_fault.is_some()) else {
            return;
        };
        let key = (agent.namespace().unwrap_or_default(), agent.name_any());
        let member = Member {
            priority: agent.spec.priority,
            fault: status.provider_fault.clone(),
            ..Member::default()
        };
        let group = group_of(status.credential.as_deref(), &key);
        let mut state = self.state();
        state.of.insert(key.clone(), group.clone());
        state.groups.entry(group).or_default().members.entry(key).or_insert(member);
    }

    /// What governs a group, the turn that an agent of it has when it is ready, and the answers.
    pub(super) fn view(
        &self,
        group: &str,
        key: &AgentKey,
        priority: i32,
        now: Timestamp,
    ) -> (Option<ProviderFault>, Option<Turn>, Answers) {
        let state = self.state();
        let Some(group) = state.groups.get(group) else { return (None, None, Answers::default()) };
        let answers = group.answers();
        let Some(fault) = group.governing(answers).cloned() else { return (None, None, answers) };
        let turn = group.turns(&fault, Some((key, priority)), now).remove(key);
        (Some(fault), turn, answers)
    }

    /// Whether an agent that was about to begin has to wait after all.
    pub(super) fn holds(
        &self,
        group: &str,
        key: &AgentKey,
        priority: i32,
        restarted_at: Option<&str>,
        now: Timestamp,
    ) -> bool {
        let (fault, turn, _) = self.view(group, key, priority, now);
        match (fault, turn) {
            (Some(fault), Some(turn)) => !turn.is_over(now) && !is_asked_for(restarted_at, &fault),
            _ => false,
        }
    }

    /// Notes how an agent stands now, and wakes those whose turn comes earlier for it.
    pub(super) fn report(&self, group: &str, key: &AgentKey, member: Member, now: Timestamp) {
        let mut state = self.state();
        if state.of.get(key).is_some_and(|before| before != group) {
            state.leave(key, now);
        }
        state.of.insert(key.clone(), group.to_owned());
        state.groups.entry(group.to_owned()).or_default().members.insert(key.clone(), member);
        state.settle(group, key, now);
    }

    /// The same for an agent that was planned.
    pub(super) fn take(&self, agent: &Agent, view: &View, member: Member, now: Timestamp) {
        let key = key(agent);
        if agent.metadata.deletion_timestamp.is_some() {
            return self.forget(&key, now);
        }
        let credential = view.credential.as_ref().map(|credential| credential.name.as_str());
        self.report(&group_of(credential, &key), &key, member, now);
    }

    /// Forgets an agent that is gone.
    pub(super) fn forget(&self, key: &AgentKey, now: Timestamp) {
        self.state().leave(key, now);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn leave(&mut self, key: &AgentKey, now: Timestamp) {
        let Some(group) = self.of.remove(key) else { return };
        if let Some(left) = self.groups.get_mut(&group) {
            left.members.remove(key);
            if left.members.is_empty() {
                self.groups.remove(&group);
                return;
            }
        }
        self.settle(&group, key, now);
    }

    fn settle(&mut self, group: &str, by: &AgentKey, now: Timestamp) {
        let Some(group) = self.groups.get_mut(group) else { return };
        let woken = group.settle(by, now);
        let Some(wake) = &self.wake else { return };
        for (namespace, name) in woken {
            // Nobody listens when the controller has ended.
            let _ = wake.send(ObjectRef::new(&name).within(&namespace));
        }
    }
}

impl Group {
    fn answers(&self) -> Answers {
        self.members.values().fold(Answers::default(), |all, member| all.or(member.answers))
    }

    fn governing(&self, answers: Answers) -> Option<&ProviderFault> {
        governing(self.members.values().filter_map(|member| member.fault.as_ref()), answers)
    }

    /// After a change of `by`: who has to be looked at for it.
    fn settle(&mut self, by: &AgentKey, now: Timestamp) -> Vec<AgentKey> {
        let answers = self.answers();
        let Some(fault) = self.governing(answers).cloned() else {
            self.known = None;
            return Vec::new();
        };
        let lifted = answers.lift(&fault);
        let before = self.known;
        let since = match before {
            Some((at, Some(since))) if at == fault.at.0 && lifted => Some(since),
            _ => lifted.then_some(now),
        };
        self.known = Some((fault.at.0, since));
        let is_new = before.is_none_or(|(at, was)| at != fault.at.0 || was.is_some() != lifted);
        let turns = self.turns(&fault, None, now);
        let mut woken = Vec::new();
        for (key, member) in self.members.iter_mut().filter(|(key, _)| *key != by) {
            let turn = turns.get(key);
            let knows = member.fault.as_ref().is_some_and(|own| own.at == fault.at);
            let earlier = match (&member.told, turn) {
                (Some(told), Some(turn)) => is_earlier(turn, told),
                _ => false,
            };
            if is_new && (lifted || !knows) || earlier {
                if let Some(turn) = turn.filter(|_| earlier) {
                    member.told = Some(turn.clone());
                }
                woken.push(key.clone());
            }
        }
        woken
    }

    /// When each agent that wants to begin may do so. `asking` is taken for one of them.
    fn turns(
        &self,
        fault: &ProviderFault,
        asking: Option<(&AgentKey, i32)>,
        now: Timestamp,
    ) -> HashMap<AgentKey, Turn> {
        let tries = |member: &Member| member.running.filter(|began| *began >= fault.at.0);
        let mut row: Vec<(i32, u64, &AgentKey, Option<&Member>)> = self
            .members
            .iter()
            .filter(|(key, member)| {
                (member.ready || tries(member).is_some()) && asking.is_none_or(|(asking, _)| asking != *key)
            })
            .map(|(key, member)| (member.priority, lot(key, fault), key, Some(member)))
            .collect();
        if let Some((key, priority)) = asking {
            row.push((priority, lot(key, fault), key, self.members.get(key)));
        }
        row.sort_by_key(|(priority, lot, key, _)| (std::cmp::Reverse(*priority), *lot, *key));
        let lifted = self.known.filter(|(at, _)| *at == fault.at.0).and_then(|(_, since)| since);
        let lifted = lifted.or_else(|| self.answers().lift(fault).then_some(now));
        let opens = fault.opens_at.0;
        if lifted.is_some() || fault.kind == FaultKind::UsageLimit {
            let ramp = row.iter().enumerate().map(|(rank, (_, _, key, _))| {
                let slow = climb(opens, RAMP, rank);
                let at = match lifted {
                    Some(since) => climb(since, QUICK_RAMP, rank),
                    None => slow,
                };
                let at = if fault.kind == FaultKind::UsageLimit { at.min(slow) } else { at };
                ((*key).clone(), Turn::At(at))
            });
            return ramp.collect();
        }
        self.one_by_one(&row, opens, tries, now)
    }

    /// One tries at a time, the others wait for what becomes of it.
    fn one_by_one(
        &self,
        row: &[(i32, u64, &AgentKey, Option<&Member>)],
        opens: Timestamp,
        tries: impl Fn(&Member) -> Option<Timestamp>,
        now: Timestamp,
    ) -> HashMap<AgentKey, Turn> {
        let since = |began: Timestamp| now.duration_since(began).unsigned_abs();
        let trying = |member: Option<&Member>| member.and_then(&tries);
        let stuck = |member: Option<&Member>| match member.and_then(|member| member.told.as_ref()) {
            Some(Turn::At(at)) => *at < now && since(*at) > STUCK,
            _ => false,
        };
        let at_it = row.iter().find(|(.., member)| trying(*member).is_some_and(|began| since(began) < PROBE));
        let next = || {
            let waiting = || row.iter().filter(|(.., member)| trying(*member).is_none());
            waiting().find(|(.., member)| !stuck(*member)).or_else(|| waiting().next())
        };
        let first = at_it.or_else(next).map(|(.., key, _)| *key);
        let turn = |key: &AgentKey, member: Option<&Member>| match first {
            Some(first) if first != key && trying(member).is_none() => {
                Turn::After(format!("{}/{}", first.0, first.1))
            }
            _ => Turn::At(opens),
        };
        row.iter().map(|(.., key, member)| ((*key).clone(), turn(key, *member))).collect()
    }
}

/// One at `from`, and then ever more in each step: the later in the row, the later.
fn climb(from: Timestamp, step: Duration, rank: usize) -> Timestamp {
    let level = (rank + 1).ilog2();
    if level == 0 {
        return from;
    }
    let in_level = (rank + 1 - (1 << level)) as f64 / f64::from(level).exp2();
    let pause = step.mul_f64(f64::from(level - 1) + 0.2 + in_level);
    from.checked_add(pause).unwrap_or(from)
}

/// Who comes first among equals: another one after each refusal.
fn lot(key: &AgentKey, fault: &ProviderFault) -> u64 {
    let mut hasher = DefaultHasher::new();
    (key, fault.at.0.as_nanosecond()).hash(&mut hasher);
    hasher.finish()
}

fn is_earlier(turn: &Turn, told: &Turn) -> bool {
    match (turn, told) {
        (Turn::At(_), Turn::After(_)) => true,
        (Turn::At(turn), Turn::At(told)) => turn < told,
        _ => false,
    }
}
