//! Sums of all tickets that came to their end, in Prometheus' text form.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use gcluster_types::tickets::record::{PHASES, Record, column};

/// Upper ends of the classes of durations, in seconds.
const BUCKETS: [f64; 10] = [1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 1_800.0, 3_600.0, 14_400.0, 86_400.0];

/// The sums.
#[derive(Debug, Default)]
pub(super) struct Totals {
    /// By pool and result.
    finished: BTreeMap<(String, String), u64>,
    /// By pool.
    pools: BTreeMap<String, Sums>,
    /// By phase.
    phases: BTreeMap<String, Histogram>,
}

#[derive(Debug, Default, Clone)]
struct Sums {
    cost_usd: f64,
    tokens: i64,
    unpriced_tokens: i64,
    rounds: i64,
    review_rounds: i64,
    conflicts: i64,
}

#[derive(Debug, Default)]
struct Histogram {
    counts: [u64; BUCKETS.len()],
    count: u64,
    sum: f64,
}

impl Totals {
    /// Counts one more.
    pub(super) fn add(&mut self, record: &Record) {
        *self.finished.entry((record.pool.clone(), record.result.clone())).or_default() += 1;
        let sums = self.pools.entry(record.pool.clone()).or_default();
        sums.cost_usd += record.cost_usd;
        sums.tokens = sums.tokens.saturating_add(record.tokens);
        sums.unpriced_tokens = sums.unpriced_tokens.saturating_add(record.unpriced_tokens);
        sums.rounds = sums.rounds.saturating_add(record.rounds);
        sums.review_rounds = sums.review_rounds.saturating_add(record.review_rounds);
        sums.conflicts = sums.conflicts.saturating_add(record.conflicts);
        for (phase, seconds) in &record.seconds {
            let histogram = self.phases.entry(phase.clone()).or_default();
            histogram.count += 1;
            histogram.sum += seconds;
            for (count, _) in histogram.counts.iter_mut().zip(BUCKETS).filter(|(_, end)| seconds <= end) {
                *count += 1;
            }
        }
    }

    /// All of them. Nothing before the first one.
    pub(super) fn render(&self) -> String {
        let mut out = String::new();
        if self.finished.is_empty() {
            return out;
        }
        head(&mut out, "gcluster_tickets_finished_total", "counter", "Tickets that came to their end.");
        for ((pool, result), count) in &self.finished {
            let _ = writeln!(
                out,
                "gcluster_tickets_finished_total{{pool=\"{}\",result=\"{}\"}} {count}",
                escape(pool),
                escape(result)
            );
        }
        type Sum = fn(&Sums) -> f64;
        let sums: [(&str, &str, Sum); 6] = [
            ("cost_usd", "US dollars spent on them.", |sums| sums.cost_usd),
            ("tokens", "Tokens used for them.", |sums| sums.tokens as f64),
            ("unpriced_tokens", "Of these, tokens whose price is not known.", |sums| {
                sums.unpriced_tokens as f64
            }),
            ("rounds", "How often a worker began on them.", |sums| sums.rounds as f64),
            ("review_rounds", "How often they were reviewed.", |sums| sums.review_rounds as f64),
            ("conflicts", "How often their merge was rejected.", |sums| sums.conflicts as f64),
        ];
        for (name, help, of) in sums {
            let name = format!("gcluster_tickets_{name}_total");
            head(&mut out, &name, "counter", help);
            for (pool, sums) in &self.pools {
                let _ = writeln!(out, "{name}{{pool=\"{}\"}} {}", escape(pool), of(sums));
            }
        }
        let name = "gcluster_ticket_phase_seconds";
        head(&mut out, name, "histogram", "Seconds that they spent in each phase.");
        for phase in PHASES.map(column) {
            let Some(histogram) = self.phases.get(&phase) else { continue };
            for (end, count) in BUCKETS.iter().zip(histogram.counts) {
                let _ = writeln!(out, "{name}_bucket{{phase=\"{phase}\",le=\"{end}\"}} {count}");
            }
            let (count, sum) = (histogram.count, histogram.sum);
            let _ = writeln!(out, "{name}_bucket{{phase=\"{phase}\",le=\"+Inf\"}} {count}");
            let _ = writeln!(out, "{name}_sum{{phase=\"{phase}\"}} {sum}");
            let _ = writeln!(out, "{name}_count{{phase=\"{phase}\"}} {count}");
        }
        out
    }
}

fn head(out: &mut String, name: &str, kind: &str, help: &str) {
    let _ = write!(out, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
}

fn escape(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_are_told_by_pool_result_and_phase() {
        let mut totals = Totals::default();
        assert_eq!(totals.render(), "");
        for (result, seconds) in [("Merged", 0.5), ("Merged", 200.0), ("Failed", 1e6)] {
            totals.add(&Record {
                pool: "a\"b".into(),
                result: result.into(),
                cost_usd: 0.25,
                tokens: 100,
                rounds: 2,
                seconds: [("working".to_owned(), seconds)].into(),
                ..Record::default()
            });
        }
        let told = totals.render();
        for line in [
            "gcluster_tickets_finished_total{pool=\"a\\\"b\",result=\"Merged\"} 2",
            "gcluster_tickets_cost_usd_total{pool=\"a\\\"b\"} 0.75",
            "gcluster_tickets_tokens_total{pool=\"a\\\"b\"} 300",
            "gcluster_ticket_phase_seconds_bucket{phase=\"working\",le=\"1\"} 1",
            "gcluster_ticket_phase_seconds_bucket{phase=\"working\",le=\"300\"} 2",
            "gcluster_ticket_phase_seconds_bucket{phase=\"working\",le=\"+Inf\"} 3",
            "gcluster_ticket_phase_seconds_count{phase=\"working\"} 3",
        ] {
            assert!(told.lines().any(|told| told == line), "{line} is not in\n{told}");
        }
    }
}
