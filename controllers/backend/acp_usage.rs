//! Tokens and cost of an ACP agent.
//!
//! The cost is the session's so far (`usage_update`). Tokens are an unstable part of the answer to a prompt: totals of
//! the session, by `schema/v1/schema.unstable.json`; whether caches are within the input and thinking within the
//! output is open there (`docs/rfds/end-turn-token-usage.mdx`), and is told by which of them add up to `totalTokens`.

use gcluster_types::kinds::agent::TokenTotals;
use serde_json::Value;

use super::claude_usage::totals;

/// What was told, and what was reported of it.
#[derive(Default)]
pub(crate) struct Meter {
    tokens: TokenTotals,
    /// US dollars of the session so far.
    cost: Option<f64>,
    reported: f64,
}

impl Meter {
    /// Takes a `usage_update`. Only US dollars are a cost; credits and other money have no known price.
    pub(crate) fn update(&mut self, update: &Value) {
        let cost = &update["cost"];
        if let Some(amount) =
            cost["amount"].as_f64().filter(|amount| cost["currency"] == "USD" && *amount >= 0.0)
        {
            self.cost = Some(amount);
        }
    }

    /// What was used since the last turn, at the end of one. `None` when nothing is known.
    pub(crate) fn turn(&mut self, usage: &Value) -> Option<(TokenTotals, Option<f64>)> {
        let cost = self.cost.filter(|cost| *cost > self.reported).map(|cost| cost - self.reported);
        self.reported += cost.unwrap_or_default();
        let tokens = self.tokens(usage);
        (tokens.is_some() || cost.is_some()).then(|| (tokens.unwrap_or_default(), cost))
    }

    fn tokens(&mut self, usage: &Value) -> Option<TokenTotals> {
        usage.as_object()?;
        let count = |key: &str| usage[key].as_i64().unwrap_or_default().max(0);
        let (mut input, mut output) = (count("inputTokens"), count("outputTokens"));
        let (read, written) = (count("cachedReadTokens"), count("cachedWriteTokens"));
        let (cached, thought) = (read.saturating_add(written), count("thoughtTokens"));
        let all = count("totalTokens");
        let plain = input.saturating_add(output);
        let with = |parts: [i64; 2]| parts.iter().fold(plain, |sum, part| sum.saturating_add(*part)) == all;
        // Where nothing adds up, what is named apart is taken to be apart.
        let (cache_within, thought_within) = if with([cached, thought]) {
            (false, false)
        } else if with([cached, 0]) {
            (false, true)
        } else if with([0, thought]) {
            (true, false)
        } else if with([0, 0]) {
            (true, true)
        } else {
            (false, false)
        };
        if cache_within {
            input = input.saturating_sub(cached);
        }
        if !thought_within {
            output = output.saturating_add(thought);
        }
        let now = totals(input, output, read, written);
        let before = std::mem::replace(&mut self.tokens, now.clone());
        let grown = now.input >= before.input
            && now.output >= before.output
            && now.cache_read >= before.cache_read
            && now.cache_creation >= before.cache_creation;
        // An agent whose totals shrink counts each turn by itself.
        Some(if grown {
            totals(
                now.input - before.input,
                now.output - before.output,
                now.cache_read - before.cache_read,
                now.cache_creation - before.cache_creation,
            )
        } else {
            now
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn usage(numbers: [i64; 6]) -> Value {
        let [all, input, output, thought, read, written] = numbers;
        json!({"totalTokens": all, "inputTokens": input, "outputTokens": output, "thoughtTokens": thought,
               "cachedReadTokens": read, "cachedWriteTokens": written})
    }

    #[test]
    fn caches_and_thinking_are_counted_once_wherever_the_agent_puts_them() {
        let tokens = |numbers| Meter::default().turn(&usage(numbers)).unwrap().0;
        assert_eq!(tokens([100, 40, 20, 10, 25, 5]), totals(40, 30, 25, 5), "all apart");
        assert_eq!(tokens([90, 40, 20, 10, 25, 5]), totals(40, 20, 25, 5), "thinking within the output");
        assert_eq!(tokens([70, 40, 20, 10, 25, 5]), totals(10, 30, 25, 5), "caches within the input");
        assert_eq!(tokens([60, 40, 20, 10, 25, 5]), totals(10, 20, 25, 5), "both within");
        assert_eq!(Meter::default().turn(&Value::Null), None, "nothing told is nothing known");
    }

    #[test]
    fn totals_of_the_session_are_reported_as_differences() {
        let mut meter = Meter::default();
        let cost = |amount: f64, currency: &str| json!({"cost": {"amount": amount, "currency": currency}});
        meter.update(&cost(0.5, "USD"));
        assert_eq!(meter.turn(&usage([15, 10, 5, 0, 0, 0])), Some((totals(10, 5, 0, 0), Some(0.5))));
        meter.update(&cost(0.75, "USD"));
        assert_eq!(meter.turn(&usage([40, 30, 10, 0, 0, 0])), Some((totals(20, 5, 0, 0), Some(0.25))));
        assert_eq!(meter.turn(&usage([3, 2, 1, 0, 0, 0])), Some((totals(2, 1, 0, 0), None)), "of one turn");
        meter.update(&cost(99.0, "credits"));
        assert_eq!(meter.turn(&Value::Null), None);
    }
}
