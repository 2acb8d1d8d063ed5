//! What the agents of a ticket have used up, those that are gone included.

use gcluster_types::kinds::ticket::{AgentUsage, TicketUsage};
use gcluster_types::{Agent, TicketStatus};
use kube::ResourceExt;

use super::snapshot::Snapshot;

/// Brings the sums up to date. What an agent has used never becomes less, so that one that is gone still counts.
pub(super) fn count(seen: &Snapshot, ticket: &str, status: &mut TicketStatus) {
    let mut agents =
        seen.agents_of(ticket).filter(|agent| agent.status.as_ref().is_some_and(has_used)).peekable();
    if agents.peek().is_none() {
        return;
    }
    let usage = status.usage.get_or_insert_default();
    for agent in agents {
        let known = usage.agents.entry(agent.name_any()).or_default();
        let now = of(agent);
        known.iterations = known.iterations.max(now.iterations);
        known.tokens = known.tokens.max(now.tokens);
        known.cost_usd = known.cost_usd.max(now.cost_usd);
        known.unpriced_tokens = known.unpriced_tokens.max(now.unpriced_tokens);
    }
    *usage = summed(std::mem::take(&mut usage.agents));
}

fn has_used(status: &gcluster_types::AgentStatus) -> bool {
    status.iterations.as_ref().is_some_and(|counts| counts.total > 0)
}

fn of(agent: &Agent) -> AgentUsage {
    let status = agent.status.clone().unwrap_or_default();
    AgentUsage {
        iterations: status.iterations.map_or(0, |counts| counts.total),
        tokens: status.tokens.map_or(0, |tokens| tokens.total),
        cost_usd: status.cost_usd.unwrap_or(0.0),
        unpriced_tokens: status.unpriced_tokens,
    }
}

fn summed(agents: std::collections::BTreeMap<String, AgentUsage>) -> TicketUsage {
    let unpriced: i64 = agents.values().filter_map(|agent| agent.unpriced_tokens).sum();
    TicketUsage {
        iterations: agents.values().map(|agent| agent.iterations).sum(),
        tokens: agents.values().map(|agent| agent.tokens).sum(),
        cost_usd: agents.values().map(|agent| agent.cost_usd).sum(),
        unpriced_tokens: (unpriced > 0).then_some(unpriced),
        agents,
    }
}
