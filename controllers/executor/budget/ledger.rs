//! Counting what agents used into a budget: each dollar once, whatever is restarted or deleted.
//!
//! An agent's own totals only grow. The ledger keeps how much of them is counted, and changes together with the sums.

use gcluster_types::AgentStatus;
use gcluster_types::conditions::{self, Observed, WITHIN_LIMITS};
use gcluster_types::kinds::budget::{BudgetStatus, DayTotals, LedgerEntry};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;

use super::desk::SELECTOR_INVALID;
use crate::executor::limits::{Amounts, Caps, Meter, day, dollar, room};

/// What is known of one agent under a budget.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Books {
    /// Namespace and name.
    pub(super) agent: String,
    /// Its `status.costUSD`.
    pub(super) cost_usd: f64,
    /// Its iterations that succeeded or failed.
    pub(super) iterations: i64,
    /// Its `status.today`.
    pub(super) today: Option<DayTotals>,
}

impl Books {
    pub(super) fn of(agent: String, status: &AgentStatus) -> Self {
        let counts = status.iterations.as_ref();
        let iterations = counts.map_or(0, |counts| counts.succeeded.saturating_add(counts.failed));
        Self { agent, cost_usd: status.cost_usd.unwrap_or(0.0), iterations, today: status.today.clone() }
    }

    fn entry(&self) -> LedgerEntry {
        LedgerEntry {
            agent: self.agent.clone(),
            cost_usd: self.cost_usd,
            iterations: Some(self.iterations),
            today: self.today.clone(),
        }
    }

    /// What of it is not counted in `entry`.
    pub(super) fn since(&self, entry: &LedgerEntry, day: &str) -> Amounts {
        let usd = (self.cost_usd - entry.cost_usd).max(0.0);
        let iterations = entry.iterations.map_or(0, |before| (self.iterations - before).max(0));
        let Some(now) = self.today.as_ref().filter(|today| today.day == day) else {
            return Amounts { usd, iterations, ..Amounts::default() };
        };
        let before = entry.today.as_ref().filter(|before| before.day == day).cloned().unwrap_or_default();
        Amounts {
            usd,
            today_usd: (now.cost_usd - before.cost_usd).max(0.0),
            today_iterations: (now.iterations - before.iterations).max(0),
            iterations,
        }
    }
}

/// A budget, whichever kind it is of.
pub(super) struct Sheet<'a> {
    pub(super) title: &'a str,
    pub(super) command: &'a str,
    pub(super) caps: Caps,
    pub(super) generation: Option<i64>,
    /// Why nothing may begin, whatever was spent.
    pub(super) broken: Option<String>,
}

/// The status that a budget should have. An agent that is seen for the first time is counted from here on; one that
/// is not under the budget any more is forgotten.
pub(super) fn advance<'a>(
    old: &BudgetStatus,
    sheet: &Sheet<'_>,
    agents: impl Iterator<Item = (&'a String, &'a Books)>,
    reserved_usd: f64,
    now: Timestamp,
) -> BudgetStatus {
    let today = day(now);
    let mut new = BudgetStatus { reserved_usd, ledger: Default::default(), ..old.clone() };
    if new.day.as_deref() != Some(&today) {
        (new.spent_today_usd, new.iterations_today) = (0.0, 0);
        new.day = Some(today.clone());
    }
    for (uid, books) in agents {
        if let Some(entry) = old.ledger.get(uid) {
            let used = books.since(entry, &today);
            new.spent_usd += used.usd;
            new.spent_today_usd += used.today_usd;
            new.iterations = new.iterations.saturating_add(used.iterations);
            new.iterations_today = new.iterations_today.saturating_add(used.today_iterations);
        }
        new.ledger.insert(uid.clone(), books.entry());
    }
    let of = |used: String, limit: Option<String>| {
        limit.map_or(used.clone(), |limit| format!("{used} of {limit}"))
    };
    let spent = of(dollar(new.spent_usd), sheet.caps.usd.map(dollar));
    let ended = sheet.caps.iterations.map(|most| format!(", {} of {most} iterations", new.iterations));
    new.spent = Some(spent + &ended.unwrap_or_default());
    let iterations =
        of(new.iterations_today.to_string(), sheet.caps.iterations_per_day.map(|n| n.to_string()));
    let dollars = of(dollar(new.spent_today_usd), sheet.caps.usd_per_day.map(dollar));
    new.today = Some(format!("{dollars}, {iterations} iterations"));
    let meter = Meter {
        whose: sheet.title.to_owned(),
        fields: "spec.",
        command: sheet.command.to_owned(),
        caps: sheet.caps,
        spent: self::spent(&new, now),
        reserved: Amounts::default(),
    };
    let (status, reason, message) = match room(&meter, 0.0, now).refusal {
        _ if sheet.broken.is_some() => (false, SELECTOR_INVALID, sheet.broken.clone().unwrap_or_default()),
        Some(refusal) => (false, refusal.reason, refusal.message),
        None => (true, "WithinLimits", "no limit is reached".to_owned()),
    };
    let said =
        Observed { kind: WITHIN_LIMITS, status: Some(status), reason, message, generation: sheet.generation };
    conditions::set(&mut new.conditions, said, &Time(now));
    new
}

/// What a budget's status says was used.
pub(super) fn spent(status: &BudgetStatus, now: Timestamp) -> Amounts {
    let is_today = status.day.as_deref() == Some(&day(now));
    Amounts {
        usd: status.spent_usd,
        today_usd: if is_today { status.spent_today_usd } else { 0.0 },
        iterations: status.iterations,
        today_iterations: if is_today { status.iterations_today } else { 0 },
    }
}
