//! What may still be used up: a limit, what is spent of it, and what running iterations are expected to spend.
//!
//! An iteration begins only if spent + reserved + what a typical one costs stays within the limit. So any number of
//! agents that begin at the same time overshoot together by what their iterations cost more than was expected, and
//! by no iteration that begins after that.

use gcluster_types::kinds::agent::{Limits, StepStats};
use gcluster_types::kinds::budget::DayTotals;
use k8s_openapi::jiff::tz::TimeZone;
use k8s_openapi::jiff::{Timestamp, ToSpan};

/// Sums of US dollars that differ by less are the same: they are added up in different orders.
const CENT_FRACTION: f64 = 1e-9;

/// What may be used up.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Caps {
    /// US dollars.
    pub usd: Option<f64>,
    /// US dollars in one UTC day.
    pub usd_per_day: Option<f64>,
    /// Iterations.
    pub iterations: Option<i64>,
    /// Iterations in one UTC day.
    pub iterations_per_day: Option<i64>,
}

impl Caps {
    /// Those of one agent.
    pub fn of(limits: Option<&Limits>) -> Self {
        limits.map_or_else(Self::default, |limits| Self {
            usd: limits.max_budget_usd,
            usd_per_day: limits.max_budget_usd_per_day,
            iterations: limits.max_iterations,
            iterations_per_day: limits.max_iterations_per_day,
        })
    }
}

/// What was used.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Amounts {
    /// US dollars.
    pub usd: f64,
    /// Of these, those of this UTC day.
    pub today_usd: f64,
    /// Iterations that succeeded or failed.
    pub iterations: i64,
    /// Of these, those of this UTC day.
    pub today_iterations: i64,
}

impl Amounts {
    /// Adds.
    pub fn add(&mut self, other: Amounts) {
        self.usd += other.usd;
        self.today_usd += other.today_usd;
        self.iterations = self.iterations.saturating_add(other.iterations);
        self.today_iterations = self.today_iterations.saturating_add(other.today_iterations);
    }

    /// What iterations that have not ended are expected to add: they end today as far as anybody knows.
    pub fn expected(usd: f64, iterations: i64) -> Self {
        Self { usd, today_usd: usd, iterations, today_iterations: iterations }
    }
}

/// A limit with what was used of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Meter {
    /// What sets the limit, such as `Budget default/team`; empty for the agent itself.
    pub whose: String,
    /// Where the fields are, such as `spec.limits.`.
    pub fields: &'static str,
    /// The command that raises it.
    pub command: String,
    /// The limit.
    pub caps: Caps,
    /// What ended.
    pub spent: Amounts,
    /// What runs.
    pub reserved: Amounts,
}

/// Why nothing may begin.
#[derive(Debug, Clone, PartialEq)]
pub struct Refusal {
    /// One CamelCase word.
    pub reason: &'static str,
    /// One sentence.
    pub message: String,
    /// The limit is reached by what ended. Else only by what runs, which may turn out to cost less.
    pub reached: bool,
    /// When it is lifted by itself.
    pub until: Option<Timestamp>,
}

/// What is left.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Room {
    /// So many iterations may begin; `None`: any number.
    pub most: Option<i64>,
    /// Why none may.
    pub refusal: Option<Refusal>,
}

impl Room {
    /// Nothing may begin.
    pub fn refused(refusal: Refusal) -> Self {
        Self { most: Some(0), refusal: Some(refusal) }
    }

    /// Both have to agree; a limit that is reached is told before one that only looks so.
    #[must_use]
    pub fn and(self, other: Room) -> Room {
        let most = match (self.most, other.most) {
            (Some(one), Some(two)) => Some(one.min(two)),
            (one, two) => one.or(two),
        };
        let rank = |room: &Room| match &room.refusal {
            Some(refusal) if refusal.reached && refusal.until.is_none() => 3,
            Some(refusal) if refusal.reached => 2,
            Some(_) => 1,
            None => 0,
        };
        let refusal = if rank(&other) > rank(&self) { other.refusal } else { self.refusal };
        Room { most, refusal }
    }
}

/// How many iterations of about `typical` US dollars may begin. A limit is reached at its value, not beyond it.
pub fn room(meter: &Meter, typical: f64, now: Timestamp) -> Room {
    let Meter { caps, spent, reserved, .. } = meter;
    let midnight = next_day(now);
    let dollars = [
        (caps.usd, spent.usd, reserved.usd, "maxBudgetUSD", "BudgetSpent", None),
        (
            caps.usd_per_day,
            spent.today_usd,
            reserved.today_usd,
            "maxBudgetUSDPerDay",
            "DailyBudgetSpent",
            midnight,
        ),
    ];
    let counts = [
        (
            caps.iterations,
            spent.iterations,
            reserved.iterations,
            "maxIterations",
            "IterationLimitReached",
            None,
        ),
        (
            caps.iterations_per_day,
            spent.today_iterations,
            reserved.today_iterations,
            "maxIterationsPerDay",
            "DailyIterationLimitReached",
            midnight,
        ),
    ];
    let mut all = Room::default();
    for (limit, spent, reserved, field, reason, until) in dollars {
        let Some(limit) = limit else { continue };
        let over = |sum: f64| sum >= limit - CENT_FRACTION || sum + typical > limit + CENT_FRACTION;
        let day = if until.is_some() { " today" } else { "" };
        let more = if typical > 0.0 && spent < limit - CENT_FRACTION {
            format!(", and the next iteration is expected to cost {}", dollar(typical))
        } else {
            String::new()
        };
        let so_far = format!("{} of {} are spent{day}", dollar(spent), dollar(limit));
        let one = if over(spent) {
            Room::refused(meter.reached(reason, &format!("{so_far}{more}"), field, until))
        } else if over(spent + reserved) {
            let so_far = format!("{so_far} and {} are reserved for what runs{more}", dollar(reserved));
            Room::refused(meter.reserved(&so_far))
        } else if typical > CENT_FRACTION {
            let most = ((limit - spent - reserved) / typical + CENT_FRACTION).floor();
            Room { most: Some(most.min(1e15) as i64), refusal: None }
        } else {
            Room::default()
        };
        all = all.and(one);
    }
    for (limit, ended, running, field, reason, until) in counts {
        let Some(limit) = limit else { continue };
        let day = if until.is_some() { " today" } else { "" };
        let so_far = format!("{ended} of {limit} iterations are used up{day}");
        let left = limit.saturating_sub(ended).saturating_sub(running);
        let one = if ended >= limit {
            Room::refused(meter.reached(reason, &so_far, field, until))
        } else if left <= 0 {
            Room::refused(meter.reserved(&format!("{so_far}, and {running} run")))
        } else {
            Room { most: Some(left), refusal: None }
        };
        all = all.and(one);
    }
    all
}

impl Meter {
    fn reached(&self, reason: &'static str, so_far: &str, field: &str, until: Option<Timestamp>) -> Refusal {
        let Meter { whose, fields, command, .. } = self;
        let (of, who) = if whose.is_empty() {
            (String::new(), String::new())
        } else {
            (format!(" of {whose}"), format!("{whose}: "))
        };
        let wait = match until {
            Some(at) => format!("it goes on by itself at {}, or raise", at.strftime("%Y-%m-%dT%H:%M:%SZ")),
            None => "to go on raise".to_owned(),
        };
        let message = format!("{who}{so_far}; {wait} {fields}{field}{of}: `{command}`");
        Refusal { reason, message, reached: true, until }
    }

    fn reserved(&self, so_far: &str) -> Refusal {
        let who = if self.whose.is_empty() { String::new() } else { format!("{}: ", self.whose) };
        let message = format!("{who}{so_far}; what runs has to end first");
        Refusal { reason: "LimitReserved", message, reached: false, until: None }
    }
}

/// What an iteration of a step is expected to cost in US dollars: the mean of the step so far, of the agent's other
/// steps where it is new, nothing where nothing is known.
pub fn typical(stats: &[StepStats], step: &str) -> f64 {
    let mean = |all: &mut dyn Iterator<Item = &StepStats>| {
        let sums = all.fold((0.0, 0_i64), |(cost, count), stats| {
            (cost + stats.cost_usd, count.saturating_add(stats.succeeded).saturating_add(stats.failed))
        });
        (sums.1 > 0).then(|| sums.0 / sums.1 as f64)
    };
    mean(&mut stats.iter().filter(|stats| stats.step == step))
        .or_else(|| mean(&mut stats.iter()))
        .unwrap_or(0.0)
}

/// The UTC day of a time, such as `2026-01-02`.
pub fn day(time: Timestamp) -> String {
    time.strftime("%Y-%m-%d").to_string()
}

/// What was used on the day of `now`.
pub fn today(totals: Option<&DayTotals>, now: Timestamp) -> (f64, i64) {
    let totals = totals.filter(|totals| totals.day == day(now));
    totals.map_or((0.0, 0), |totals| (totals.cost_usd, totals.iterations))
}

/// When the next UTC day begins.
fn next_day(now: Timestamp) -> Option<Timestamp> {
    let tomorrow = now.to_zoned(TimeZone::UTC).date().checked_add(1.day()).ok()?;
    tomorrow.to_zoned(TimeZone::UTC).ok().map(|at| at.timestamp())
}

/// US dollars as people read them; small sums are not rounded to nothing.
pub fn dollar(usd: f64) -> String {
    if usd > 0.0 && usd < 0.01 { format!("${usd:.4}") } else { format!("${usd:.2}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meter(caps: Caps, spent: Amounts, reserved: Amounts) -> Meter {
        Meter {
            whose: "Budget default/team".into(),
            fields: "spec.",
            command: "gcluster edit budget team".into(),
            caps,
            spent,
            reserved,
        }
    }

    fn now() -> Timestamp {
        "2026-01-02T03:04:05Z".parse().unwrap()
    }

    fn told(caps: Caps, spent: Amounts, reserved: Amounts, typical: f64) -> (Option<i64>, &'static str) {
        let room = room(&meter(caps, spent, reserved), typical, now());
        (room.most, room.refusal.map_or("", |refusal| refusal.reason))
    }

    #[test]
    fn an_iteration_begins_only_if_what_it_is_expected_to_cost_is_left() {
        let dollars = |usd| Caps { usd: Some(usd), ..Caps::default() };
        let spent = |usd| Amounts { usd, ..Amounts::default() };
        let runs = |usd| Amounts::expected(usd, 1);
        let nothing = Amounts::default();
        assert_eq!(told(Caps::default(), spent(1e9), nothing, 1.0), (None, ""));
        assert_eq!(told(dollars(1.0), spent(0.99), nothing, 0.0), (None, ""), "nothing is known of the cost");
        assert_eq!(told(dollars(1.0), spent(1.0), nothing, 0.0), (Some(0), "BudgetSpent"));
        assert_eq!(told(dollars(1.0), spent(0.5), nothing, 0.5), (Some(1), ""));
        assert_eq!(told(dollars(1.0), spent(0.1 + 0.2), nothing, 0.1), (Some(7), ""));
        assert_eq!(told(dollars(1.0), spent(0.6), nothing, 0.5), (Some(0), "BudgetSpent"));
        assert_eq!(told(dollars(1.0), spent(0.3), runs(0.3), 0.5), (Some(0), "LimitReserved"));
        assert_eq!(told(dollars(0.0), nothing, nothing, 0.0), (Some(0), "BudgetSpent"));
    }

    #[test]
    fn iterations_that_run_are_held_against_the_limit() {
        let caps = Caps { iterations: Some(3), ..Caps::default() };
        let ended = |iterations| Amounts { iterations, ..Amounts::default() };
        assert_eq!(told(caps, ended(1), Amounts::default(), 9.0), (Some(2), ""));
        assert_eq!(told(caps, ended(1), Amounts::expected(0.0, 2), 0.0), (Some(0), "LimitReserved"));
        assert_eq!(told(caps, ended(3), Amounts::default(), 0.0), (Some(0), "IterationLimitReached"));
    }

    #[test]
    fn a_day_is_over_at_midnight_utc_and_the_sentence_says_what_to_do() {
        let caps = Caps { usd_per_day: Some(2.0), usd: Some(100.0), ..Caps::default() };
        let spent = Amounts { usd: 50.0, today_usd: 2.5, ..Amounts::default() };
        let refusal = room(&meter(caps, spent, Amounts::default()), 0.1, now()).refusal.unwrap();
        assert_eq!(refusal.until, "2026-01-03T00:00:00Z".parse().ok());
        assert_eq!(
            refusal.message,
            "Budget default/team: $2.50 of $2.00 are spent today; it goes on by itself at \
             2026-01-03T00:00:00Z, or raise spec.maxBudgetUSDPerDay of Budget default/team: `gcluster edit budget team`"
        );
        let both = Caps { usd: Some(1.0), ..caps };
        assert_eq!(told(both, spent, Amounts::default(), 0.1).1, "BudgetSpent", "the one that lasts is told");
    }

    #[test]
    fn a_new_step_is_expected_to_cost_what_the_others_do() {
        let stats = |step: &str, succeeded, cost_usd| StepStats {
            step: step.into(),
            succeeded,
            cost_usd,
            ..StepStats::default()
        };
        let known = [stats("a", 3, 6.0), stats("b", 1, 1.0), stats("c", 0, 0.0)];
        assert_eq!(typical(&known, "a"), 2.0);
        assert_eq!(typical(&known, "b"), 1.0);
        assert_eq!(typical(&known, "c"), 1.75);
        assert_eq!(typical(&known, "new"), 1.75);
        assert_eq!(typical(&[], "new"), 0.0);
    }
}
