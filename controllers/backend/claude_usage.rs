//! Tokens and cost of `claude`, counted once: by the difference from one `result` line to the next.
//!
//! The totals of a session go on over resumed runs, and `assistant` lines repeat a preliminary count; adding up
//! either would be wrong. A run that was killed before its `result` is estimated from the last count of each
//! message.

use std::collections::BTreeMap;

use gcluster_types::kinds::agent::TokenTotals;
use serde_json::Value;

/// Counts one run.
#[derive(Default)]
pub(crate) struct UsageMeter {
    /// Messages since the last result: id, count, whether the count is more than preliminary.
    messages: BTreeMap<String, TokenTotals>,
    /// Id of the message that is being written.
    open: Option<String>,
    /// Totals of the last result by model, for results that carry no difference.
    previous: BTreeMap<String, ModelUse>,
}

impl UsageMeter {
    /// A count of a message that replaces the earlier ones.
    pub(crate) fn message(&mut self, id: &Value, usage: &Value) {
        let Some(id) = id.as_str().or(self.open.as_deref()).map(str::to_owned) else { return };
        let counted = api_usage(usage);
        let entry = self.messages.entry(id.clone()).or_default();
        // A later count may name the output alone.
        let keep = |new: i64, old: i64| if new == 0 { old } else { new };
        *entry = totals(
            keep(counted.input, entry.input),
            keep(counted.output, entry.output),
            keep(counted.cache_read, entry.cache_read),
            keep(counted.cache_creation, entry.cache_creation),
        );
        self.open = Some(id);
    }

    /// A count that only stands where there is no better one.
    pub(crate) fn preliminary(&mut self, id: &Value, usage: &Value) {
        if let Some(id) = id.as_str() {
            self.messages.entry(id.to_owned()).or_insert_with(|| api_usage(usage));
        }
    }

    /// The message that was being written is thrown away and asked for again.
    pub(crate) fn discard_open(&mut self) {
        self.open = None;
    }

    /// What was used since the result before this one: what has a price, and what has none.
    pub(crate) fn result(&mut self, result: &Value) -> Vec<(TokenTotals, Option<f64>)> {
        self.messages.clear();
        self.open = None;
        let whole = models(&result["modelUsage"]);
        let used = if result["model_usage_since_last_result"].is_object() {
            models(&result["model_usage_since_last_result"])
        } else if result["modelUsage"].is_object() {
            let difference = |(name, now): (&String, &ModelUse)| {
                let before = self.previous.get(name).cloned().unwrap_or_default();
                (name.clone(), now.since(&before))
            };
            whole.iter().map(difference).collect()
        } else {
            BTreeMap::from([(String::new(), ModelUse { tokens: api_usage(&result["usage"]), cost: None })])
        };
        self.previous = whole;
        let (mut priced, mut unpriced) = ((TokenTotals::default(), 0.0), TokenTotals::default());
        for model in used.values() {
            match model.cost {
                Some(cost) => {
                    priced.0.add(&model.tokens);
                    priced.1 += cost;
                }
                None => unpriced.add(&model.tokens),
            }
        }
        let priced = (priced.0.total > 0 || priced.1 > 0.0).then_some((priced.0, Some(priced.1)));
        let unpriced = (unpriced.total > 0).then_some((unpriced, None));
        priced.into_iter().chain(unpriced).collect()
    }

    /// What no result has told: the run was cut off.
    pub(crate) fn unreported(&mut self) -> Option<TokenTotals> {
        let mut sum = TokenTotals::default();
        std::mem::take(&mut self.messages).values().for_each(|tokens| sum.add(tokens));
        (sum.total > 0).then_some(sum)
    }
}

/// What one model was used for.
#[derive(Default, Clone)]
struct ModelUse {
    tokens: TokenTotals,
    /// US dollars; `None`: the CLI does not know the model's price, and what it says is invented.
    cost: Option<f64>,
}

impl ModelUse {
    fn since(&self, before: &ModelUse) -> ModelUse {
        let (now, old) = (&self.tokens, &before.tokens);
        ModelUse {
            tokens: totals(
                now.input - old.input,
                now.output - old.output,
                now.cache_read - old.cache_read,
                now.cache_creation - old.cache_creation,
            ),
            cost: self.cost.map(|cost| (cost - before.cost.unwrap_or(0.0)).max(0.0)),
        }
    }
}

/// The models of a `modelUsage`, sub-agents' included.
fn models(models: &Value) -> BTreeMap<String, ModelUse> {
    let read = |(name, model): (&String, &Value)| {
        let count = |key: &str| model[key].as_i64().unwrap_or_default();
        let tokens = totals(
            count("inputTokens"),
            count("outputTokens"),
            count("cacheReadInputTokens"),
            count("cacheCreationInputTokens"),
        );
        let cost = model["costUSD"].as_f64().filter(|_| model["costBasis"] != "unknown");
        (name.clone(), ModelUse { tokens, cost })
    };
    models.as_object().into_iter().flatten().map(read).collect()
}

/// A `usage` object of the model's API.
fn api_usage(usage: &Value) -> TokenTotals {
    let count = |key: &str| usage[key].as_i64().unwrap_or_default();
    totals(
        count("input_tokens"),
        count("output_tokens"),
        count("cache_read_input_tokens"),
        count("cache_creation_input_tokens"),
    )
}

/// Counts that are not below zero, with their sum.
pub(crate) fn totals(input: i64, output: i64, cache_read: i64, cache_creation: i64) -> TokenTotals {
    let mut sum = TokenTotals::default();
    sum.add(&TokenTotals {
        input: input.max(0),
        output: output.max(0),
        cache_read: cache_read.max(0),
        cache_creation: cache_creation.max(0),
        total: 0,
    });
    sum
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn models(input: i64, cost: f64, basis: &str) -> Value {
        json!({"m": {"inputTokens": input, "outputTokens": 1, "cacheReadInputTokens": 2,
                     "cacheCreationInputTokens": 3, "costUSD": cost, "costBasis": basis}})
    }

    #[test]
    fn a_difference_is_taken_as_told_even_when_the_totals_are_those_of_a_resumed_session() {
        let mut meter = UsageMeter::default();
        let result = json!({"modelUsage": models(1000, 9.0, "list"),
                            "model_usage_since_last_result": models(10, 0.5, "list")});
        let (tokens, cost) = meter.result(&result).remove(0);
        assert_eq!((tokens.input, tokens.total, cost), (10, 16, Some(0.5)));
    }

    #[test]
    fn without_a_difference_it_is_computed_from_the_totals() {
        let mut meter = UsageMeter::default();
        meter.result(&json!({"modelUsage": models(10, 0.5, "list")}));
        let (tokens, cost) = meter.result(&json!({"modelUsage": models(30, 1.5, "list")})).remove(0);
        assert_eq!((tokens.input, tokens.output, cost), (20, 0, Some(1.0)));
    }

    #[test]
    fn an_invented_price_is_no_price() {
        let result = json!({"model_usage_since_last_result": models(10, 0.5, "unknown")});
        let used = UsageMeter::default().result(&result);
        assert_eq!((used.len(), used[0].0.total, used[0].1), (1, 16, None));
        let mut mixed = models(10, 0.5, "unknown");
        mixed["known"] = models(20, 0.25, "list")["m"].clone();
        let used = UsageMeter::default().result(&json!({"model_usage_since_last_result": mixed}));
        let told: Vec<_> = used.iter().map(|(tokens, cost)| (tokens.input, *cost)).collect();
        assert_eq!(
            told,
            [(20, Some(0.25)), (10, None)],
            "what is known is not lost, what is unknown not free"
        );
    }

    #[test]
    fn a_run_that_was_cut_off_is_estimated_from_the_last_count_of_each_message() {
        let mut meter = UsageMeter::default();
        let usage = |output: i64| json!({"input_tokens": 10, "output_tokens": output});
        meter.message(&json!("a"), &usage(1));
        meter.preliminary(&json!("a"), &usage(1));
        meter.message(&json!("a"), &json!({"output_tokens": 7}));
        meter.preliminary(&json!("b"), &usage(1));
        let tokens = meter.unreported().unwrap();
        assert_eq!((tokens.input, tokens.output), (20, 8));
        assert_eq!(meter.unreported(), None);
        meter.message(&json!("c"), &usage(5));
        meter.result(&json!({"model_usage_since_last_result": models(1, 1.0, "list")}));
        assert_eq!(meter.unreported(), None);
    }
}
