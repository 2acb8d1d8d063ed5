//! The report on tickets: what came out of them, how long they took, what they cost, and what held them up.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use gcluster_types::tickets::record::{PHASES, Record, column};
use k8s_openapi::jiff::Timestamp;
use serde::Serialize;

use super::{age, fields};

/// Most lines of the chart of throughput.
const LINES: i64 = 12;
/// Columns of the text.
const WIDTH: usize = 80;
/// Widest bar, in characters.
const BAR: usize = 30;
/// Lengths of a line of the chart, in seconds.
const STEPS: [i64; 9] = [60, 300, 900, 3_600, 10_800, 21_600, 86_400, 604_800, 2_592_000];

/// The figures of a time.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// When the time begins.
    pub from: Option<Timestamp>,
    /// When it ends.
    pub to: Timestamp,
    /// Tickets that came to their end, by result.
    pub results: BTreeMap<String, usize>,
    /// Merged tickets per hour.
    pub merged_per_hour: f64,
    /// Merged tickets over the time.
    pub throughput: Vec<Slice>,
    /// Seconds from being made to being merged.
    pub lead_seconds: Option<Spread>,
    /// Seconds in each phase, over all tickets that came to their end, and the share of all of them.
    pub phases: Vec<Phase>,
    /// Cost of all in US dollars.
    #[serde(rename = "costUSD")]
    pub cost_usd: f64,
    /// The same for each merged ticket, those that failed included.
    #[serde(rename = "costPerMergedUSD")]
    pub cost_per_merged_usd: Option<f64>,
    /// Tokens of all.
    pub tokens: i64,
    /// Of these, those whose price is not known.
    pub unpriced_tokens: i64,
    /// Iterations of all.
    pub iterations: i64,
    /// Readings by a reviewer.
    pub review_rounds: i64,
    /// Merges that were rejected.
    pub conflicts: i64,
    /// How often work began again for another reason than a review.
    pub attempts: i64,
    /// Why tickets did not get merged, the most frequent first.
    pub failures: Vec<Failure>,
}

/// One line of the chart of throughput.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Slice {
    /// When it begins.
    pub from: Timestamp,
    /// Tickets that were merged in it.
    pub merged: usize,
}

/// Half of all are at or below `p50`, nine of ten at or below `p90`. Seconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Spread {
    /// The median.
    pub p50: f64,
    /// The ninth decile.
    pub p90: f64,
}

/// The time in one phase.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Phase {
    /// Its name in lower case.
    pub phase: String,
    /// How the tickets differ.
    pub seconds: Spread,
    /// The part of the time of all tickets that it took, from 0 to 1.
    pub share: f64,
}

/// Why tickets did not get merged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Failure {
    /// One word.
    pub reason: String,
    /// How many.
    pub tickets: usize,
    /// Which, the newest first.
    pub names: Vec<String>,
}

impl Report {
    /// Over the tickets that came to their end from `since` on, or over all.
    pub fn of(records: &[Record], since: Option<Timestamp>, now: Timestamp) -> Report {
        let within =
            |record: &&Record| record.finished.is_some_and(|at| since.is_none_or(|since| at >= since));
        let records: Vec<&Record> = records.iter().filter(within).collect();
        let merged: Vec<&Record> =
            records.iter().copied().filter(|record| record.result == "Merged").collect();
        let mut results = BTreeMap::new();
        for record in &records {
            *results.entry(record.result.clone()).or_default() += 1;
        }
        let first =
            records.iter().filter_map(|record| record.created.or(record.started).or(record.finished)).min();
        let from = since.or(first);
        let to = match since {
            Some(_) => now,
            None => records.iter().filter_map(|record| record.finished).max().unwrap_or(now),
        };
        let hours = from.map_or(0.0, |from| (to.as_second() - from.as_second()) as f64 / 3_600.0);
        let sum = |of: fn(&Record) -> i64| records.iter().map(|record| of(record)).sum();
        // The sum of nothing is -0.0.
        let cost_usd = records.iter().map(|record| record.cost_usd).sum::<f64>() + 0.0;
        let lead = |record: &&Record| {
            let (made, merged) = (record.created?, record.finished?);
            Some((merged.as_millisecond() - made.as_millisecond()) as f64 / 1e3)
        };
        Report {
            from,
            to,
            merged_per_hour: if hours > 0.0 { merged.len() as f64 / hours } else { 0.0 },
            throughput: from.map(|from| throughput(&merged, from, to)).unwrap_or_default(),
            lead_seconds: spread(merged.iter().filter_map(lead).collect()),
            phases: phases(&records),
            cost_usd,
            cost_per_merged_usd: (!merged.is_empty()).then(|| cost_usd / merged.len() as f64),
            tokens: sum(|record| record.tokens),
            unpriced_tokens: sum(|record| record.unpriced_tokens),
            iterations: sum(|record| record.iterations),
            review_rounds: sum(|record| record.review_rounds),
            conflicts: sum(|record| record.conflicts),
            attempts: sum(|record| record.attempts),
            failures: failures(&records),
            results,
        }
    }

    /// As text of at most 80 columns, without colours.
    pub fn text(&self) -> String {
        let mut out = String::new();
        let count = |result: &str| self.results.get(result).copied().unwrap_or_default();
        let (merged, failed, cancelled) = (count("Merged"), count("Failed"), count("Cancelled"));
        let all = merged + failed + cancelled;
        let from = self.from.map(|from| format!(" since {} UTC", minute(from))).unwrap_or_default();
        let (what, whose) = if all == 1 { ("ticket", "its") } else { ("tickets", "their") };
        let _ = writeln!(out, "{all} {what} came to {whose} end{from}");
        let _ = writeln!(out, "{merged} merged, {failed} failed, {cancelled} cancelled");
        let seconds = self.from.map_or(0.0, |from| (self.to.as_second() - from.as_second()) as f64);
        let (hour, day) = (self.merged_per_hour, self.merged_per_hour * 24.0);
        // Of less than an hour nothing can be said about a day.
        let pace = match seconds < 3_600.0 {
            true => format!("{merged} merged in {}", age::seconds(seconds)),
            false => format!("{hour:.1} merged an hour, {day:.0} a day at this pace"),
        };
        let _ = writeln!(out, "\nThroughput: {pace}");
        let most = self.throughput.iter().map(|slice| slice.merged).max().unwrap_or(0);
        for slice in self.throughput.iter().filter(|_| most > 0) {
            let line = format!(
                "  {}  {:<BAR$}  {}",
                minute(slice.from),
                bar(slice.merged as f64, most as f64),
                slice.merged
            );
            let _ = writeln!(out, "{}", line.trim_end());
        }
        if let Some(lead) = self.lead_seconds {
            let (p50, p90) = (age::seconds(lead.p50), age::seconds(lead.p90));
            let _ = writeln!(out, "\nFrom made to merged: {p50} for half of them, {p90} for nine of ten");
        }
        if !self.phases.is_empty() {
            let rows = self.phases.iter().map(|phase| {
                let (p50, p90) = (age::seconds(phase.seconds.p50), age::seconds(phase.seconds.p90));
                let share = match phase.share * 100.0 {
                    part if part > 0.0 && part < 0.5 => "<1%".to_owned(),
                    part => format!("{part:.0}%"),
                };
                vec![phase.phase.clone(), p50, p90, share, bar(phase.share, 1.0)]
            });
            let table = fields::table(&["STATE", "P50", "P90", "SHARE", ""], rows.collect(), 2);
            let _ = write!(out, "\nTime in each state\n{}", lines_trimmed(&table));
        }
        let price = age::price(Some(self.cost_usd), self.unpriced_tokens).unwrap_or_default();
        let each =
            self.cost_per_merged_usd.map(|each| format!(", {} for each merged ticket", age::cost(each)));
        let _ = writeln!(out, "\nCost: {price}{}", each.unwrap_or_default());
        let (tokens, iterations) = (age::count(self.tokens), self.iterations);
        let _ = writeln!(out, "  {tokens} tokens in {iterations} iterations");
        let _ = writeln!(
            out,
            "Reviews: {}   rejected merges: {}   began again: {}",
            self.review_rounds, self.conflicts, self.attempts
        );
        if !self.failures.is_empty() {
            let widest =
                self.failures.iter().map(|failure| failure.reason.chars().count()).max().unwrap_or(0);
            let room = WIDTH.saturating_sub(widest.max("REASON".len()) + "     TICKETS   ".len());
            let rows = self.failures.iter().map(|failure| {
                let names = age::excerpt(&failure.names.join(", "), room);
                vec![failure.reason.clone(), failure.tickets.to_string(), names]
            });
            let table = fields::table(&["REASON", "TICKETS", "NEWEST"], rows.collect(), 2);
            let _ = write!(out, "\nNot merged\n{}", lines_trimmed(&table));
        }
        out
    }
}

fn lines_trimmed(text: &str) -> String {
    text.lines().map(|line| format!("{}\n", line.trim_end())).collect()
}

fn minute(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M").to_string()
}

fn bar(value: f64, most: f64) -> String {
    if value <= 0.0 || most <= 0.0 {
        return String::new();
    }
    "█".repeat(((value / most * BAR as f64).round() as usize).clamp(1, BAR))
}

fn throughput(merged: &[&Record], from: Timestamp, to: Timestamp) -> Vec<Slice> {
    let (first, last) = (from.as_second(), to.as_second());
    let fits = |step: &&i64| last.div_euclid(**step) - first.div_euclid(**step) < LINES;
    let longest = STEPS.last().copied().unwrap_or(1);
    // Beyond all of them a whole number of the longest.
    let longer = || ((last - first) / (LINES - 1) / longest + 1) * longest;
    let step = STEPS.iter().find(fits).copied().unwrap_or_else(longer);
    let count = |begin: i64| {
        let within = |record: &&&Record| {
            record.finished.is_some_and(|at| (begin..begin + step).contains(&at.as_second()))
        };
        merged.iter().filter(within).count()
    };
    let newest = last.div_euclid(step);
    let begins = (first.div_euclid(step).max(newest - LINES + 1)..=newest).map(|n| n * step);
    let slice = |begin| Some(Slice { from: Timestamp::from_second(begin).ok()?, merged: count(begin) });
    begins.filter_map(slice).collect()
}

fn phases(records: &[&Record]) -> Vec<Phase> {
    let all: f64 = records.iter().flat_map(|record| record.seconds.values()).sum();
    let phase = |name: String| {
        let spent: Vec<f64> =
            records.iter().filter_map(|record| record.seconds.get(&name)).copied().collect();
        let share = if all > 0.0 { spent.iter().sum::<f64>() / all } else { 0.0 };
        Some(Phase { phase: name, share, seconds: spread(spent)? })
    };
    PHASES.into_iter().map(column).filter_map(phase).collect()
}

fn failures(records: &[&Record]) -> Vec<Failure> {
    let mut reasons: BTreeMap<&str, Vec<&Record>> = BTreeMap::new();
    for record in records.iter().filter(|record| record.result != "Merged") {
        reasons.entry(&record.reason).or_default().push(record);
    }
    let failure = |(reason, mut records): (&str, Vec<&Record>)| {
        records.sort_by_key(|record| std::cmp::Reverse(record.finished));
        let names = records.iter().map(|record| record.name.clone()).collect();
        Failure { reason: reason.to_owned(), tickets: records.len(), names }
    };
    let mut failures: Vec<Failure> = reasons.into_iter().map(failure).collect();
    failures.sort_by(|one, other| other.tickets.cmp(&one.tickets).then(one.reason.cmp(&other.reason)));
    failures
}

/// By the nearest rank.
fn spread(mut values: Vec<f64>) -> Option<Spread> {
    values.sort_by(f64::total_cmp);
    let at = |part: f64| {
        let rank = (part * values.len() as f64).ceil() as usize;
        values.get(rank.saturating_sub(1)).copied()
    };
    Some(Spread { p50: at(0.5)?, p90: at(0.9)? })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::snapshot;

    fn at(minute: i64) -> Timestamp {
        Timestamp::from_second(1_767_261_600 + minute * 60).unwrap()
    }

    fn record(minute: i64, result: &str, reason: &str) -> Record {
        let working = 60.0 * minute as f64;
        Record {
            created: Some(at(0)),
            finished: Some(at(minute)),
            name: format!("t-{minute}"),
            result: result.into(),
            reason: reason.into(),
            cost_usd: 0.25,
            tokens: 120_000,
            iterations: 2,
            rounds: 1,
            review_rounds: 1,
            conflicts: i64::from(minute > 100),
            seconds: [
                ("waiting".to_owned(), 5.0),
                ("working".to_owned(), working),
                ("merging".to_owned(), 0.4),
            ]
            .into(),
            ..Record::default()
        }
    }

    fn records() -> Vec<Record> {
        let merged = [5, 9, 12, 40, 41, 42, 43, 130, 170].map(|minute| record(minute, "Merged", "Merged"));
        let others =
            [(20, "Failed", "ChecksFailed"), (30, "Failed", "ChecksFailed"), (50, "Cancelled", "Cancelled")];
        let others = others.map(|(minute, result, reason)| record(minute, result, reason));
        merged.into_iter().chain(others).collect()
    }

    #[test]
    fn the_report_fits_into_eighty_columns_and_says_what_it_is_about() {
        let text = Report::of(&records(), None, at(999)).text();
        assert!(text.lines().all(|line| line.chars().count() <= WIDTH), "{text}");
        assert!(
            text.starts_with(
                "12 tickets came to their end since 2026-01-01 10:00 UTC\n9 merged, 2 failed, 1 cancelled\n"
            ),
            "{text}"
        );
        let part = Report::of(&records(), Some(at(100)), at(220)).text();
        assert!(part.starts_with("2 tickets came to their end since 2026-01-01 11:40 UTC\n"), "{part}");
        assert!(part.contains("Throughput: 1.0 merged an hour"), "{part}");
    }

    #[test]
    fn what_is_read_in_a_terminal() {
        snapshot("report", &Report::of(&records(), None, at(999)).text());
        // A time with a single end, which is no merge, and a name that is too long for its line.
        let mut one = record(20, "Failed", "DependencyMissing");
        one.name = "a-very-long-name-".repeat(8);
        let text = Report::of(&[one], Some(at(0)), at(30)).text();
        assert!(text.lines().all(|line| line.chars().count() <= WIDTH), "{text}");
        snapshot("report-one-failed", &text);
        snapshot("report-empty", &Report::of(&[], Some(at(0)), at(60)).text());
    }

    #[test]
    fn every_merged_ticket_is_in_one_line_of_the_chart() {
        for end in [1, 13, 59, 300, 5_000, 100_000, 4_000_000] {
            let records = [record(0, "Merged", ""), record(end / 2, "Merged", ""), record(end, "Merged", "")];
            let report = Report::of(&records, None, at(end));
            assert_eq!(report.throughput.iter().map(|slice| slice.merged).sum::<usize>(), 3, "{end}");
            assert!(report.throughput.len() <= LINES as usize);
        }
    }
}
