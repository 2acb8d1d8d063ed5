//! What an agent may use up, checked before each iteration.

use gcluster_types::kinds::agent::Limits;

/// What an agent has used up, with what is under way.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Used {
    /// Iterations that ended or run.
    pub iterations: i64,
    /// US dollars.
    pub cost_usd: f64,
}

/// What is left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Left {
    /// So many iterations may begin; `None`: any number.
    Iterations(Option<i64>),
    /// None may.
    Nothing {
        /// One CamelCase word.
        reason: &'static str,
        /// One sentence.
        message: String,
    },
}

/// Compares what was used with what is allowed. A limit is reached at its value, not beyond it.
pub fn left(limits: Option<&Limits>, used: Used) -> Left {
    let Some(limits) = limits else { return Left::Iterations(None) };
    if let Some(budget) = limits.max_budget_usd.filter(|budget| used.cost_usd >= *budget) {
        let message = format!(
            "${:.2} of the budget of ${budget:.2} are spent; raise spec.limits.maxBudgetUSD to go on",
            used.cost_usd
        );
        return Left::Nothing { reason: "BudgetSpent", message };
    }
    match limits.max_iterations {
        Some(most) if used.iterations >= most => Left::Nothing {
            reason: "IterationLimitReached",
            message: format!(
                "{} of {most} iterations are used up; raise spec.limits.maxIterations to go on",
                used.iterations
            ),
        },
        most => Left::Iterations(most.map(|most| most - used.iterations)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_reached_at_its_value() {
        let limits = |iterations, budget| Limits {
            max_iterations: iterations,
            max_budget_usd: budget,
            ..Limits::default()
        };
        let used = |iterations, cost_usd| Used { iterations, cost_usd };
        assert_eq!(left(None, used(1_000, 1e9)), Left::Iterations(None));
        assert_eq!(left(Some(&limits(Some(3), None)), used(2, 9.0)), Left::Iterations(Some(1)));
        let reason = |l: Left| match l {
            Left::Nothing { reason, .. } => reason,
            Left::Iterations(_) => "",
        };
        assert_eq!(reason(left(Some(&limits(Some(3), None)), used(3, 0.0))), "IterationLimitReached");
        assert_eq!(reason(left(Some(&limits(Some(0), None)), used(0, 0.0))), "IterationLimitReached");
        assert_eq!(reason(left(Some(&limits(None, Some(1.0))), used(0, 1.0))), "BudgetSpent");
        assert_eq!(left(Some(&limits(None, Some(1.0))), used(0, 0.99)), Left::Iterations(None));
    }
}
