//! What one agent has used up and is about to, and what that leaves it under its own limits and its budgets.

use std::sync::Arc;

use gcluster_types::kinds::agent::AgentStatus;
use gcluster_types::kinds::iteration::Phase;
use gcluster_types::{Agent, Iteration};
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;

use super::budget::View;
use super::flow::{Start, phase};
use super::limits::{Amounts, Caps, Meter, Refusal, Room, day, room, today, typical};

/// What an agent has used up, and is about to.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Exposure {
    /// The UTC day of what is said of today.
    pub(super) day: Option<String>,
    /// What is counted in its status.
    pub(super) counted: Amounts,
    /// What ended and is not counted yet.
    pub(super) pending: Amounts,
    /// What runs is expected to cost, or has cost already when that is more.
    pub(super) reserved: Amounts,
}

impl Exposure {
    /// Of an agent with this status and these iterations; what `is_unstarted` was recorded and never began.
    pub(super) fn of(
        status: &AgentStatus,
        iterations: &[Arc<Iteration>],
        is_unstarted: &dyn Fn(&Iteration) -> bool,
        now: Timestamp,
    ) -> Self {
        let mut all = Self { counted: counted(status, now), day: Some(day(now)), ..Self::default() };
        let mark = |step: &str| {
            status.stats.iter().find(|stats| stats.step == step).map_or(0, |stats| stats.next_number)
        };
        for iteration in iterations.iter().filter(|i| i.spec.number >= mark(&i.spec.step) && !is_unstarted(i))
        {
            let cost = iteration.status.as_ref().and_then(|status| status.cost_usd).unwrap_or(0.0);
            match phase(iteration) {
                Phase::Pending | Phase::Running => {
                    let usd = cost.max(typical(&status.stats, &iteration.spec.step));
                    all.reserved.add(Amounts::expected(usd, 1));
                }
                // What was ended from outside is tried again: its cost counts, the try does not.
                Phase::Interrupted => all.pending.add(Amounts::expected(cost, 0)),
                Phase::Succeeded | Phase::Failed => all.pending.add(Amounts::expected(cost, 1)),
            }
        }
        all
    }

    /// With iterations that are about to begin.
    #[must_use]
    pub(super) fn with(mut self, status: &AgentStatus, starts: &[Start]) -> Self {
        for start in starts {
            self.reserved.add(Amounts::expected(typical(&status.stats, &start.step), 1));
        }
        self
    }
}

/// What is counted in an agent's status.
fn counted(status: &AgentStatus, now: Timestamp) -> Amounts {
    let counts = status.iterations.as_ref();
    let (today_usd, today_iterations) = today(status.today.as_ref(), now);
    Amounts {
        usd: status.cost_usd.unwrap_or(0.0),
        today_usd,
        iterations: counts.map_or(0, |counts| counts.succeeded.saturating_add(counts.failed)),
        today_iterations,
    }
}

/// What may begin of `starts`. Without any: whether a limit is reached by what has ended.
pub(super) fn left(
    agent: &Agent,
    budgets: &[View],
    status: &AgentStatus,
    exposure: &Exposure,
    starts: &[Start],
    now: Timestamp,
) -> Room {
    let expected = starts.iter().map(|start| typical(&status.stats, &start.step)).fold(0.0, f64::max);
    let mut spent = exposure.counted;
    spent.add(exposure.pending);
    let namespace = agent.namespace().unwrap_or_default();
    let own = Meter {
        whose: String::new(),
        fields: "spec.limits.",
        command: format!("gcluster edit agent {} -n {namespace}", agent.name_any()),
        caps: Caps::of(agent.spec.limits.as_ref()),
        spent,
        reserved: exposure.reserved,
    };
    let rooms = budgets.iter().map(|view| match (view.refusal(), view.meter(exposure)) {
        (Some(refusal), _) => Room::refused(refusal),
        (None, Some(meter)) => room(&meter, expected, now),
        (None, None) if starts.is_empty() => Room::default(),
        (None, None) => Room::refused(Refusal {
            reason: "BudgetPending",
            message: format!("{} has not taken the agent up yet", view.title),
            reached: false,
            until: None,
        }),
    });
    rooms.fold(room(&own, expected, now), Room::and)
}
