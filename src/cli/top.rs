//! `gcluster top`: what agents use and spend, the dearest first.

mod usage;

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use clap::{Args, ValueEnum};
use gcluster_types::kinds::iteration::Phase;
use gcluster_types::{Agent, Iteration};
use k8s_openapi::jiff::Timestamp;
use serde::de::DeserializeOwned;

use super::Globals;
use super::objects;
use super::output::{note, print};
use crate::client::{Connection, JSON, escape};
use crate::exit::{Failure, Result};
use crate::render::{age, fields};
use usage::Usage;

/// How long processor time is measured.
const SAMPLE: Duration = Duration::from_millis(500);
/// Clock ticks per second, as Linux tells them to programs.
const TICKS: f64 = 100.0;

/// Show what agents use and spend, the dearest first
#[derive(Args, Debug)]
pub(crate) struct TopArgs {
    /// What is shown
    #[arg(value_enum, default_value = "agents")]
    kind: Kind,
    /// Of all namespaces
    #[arg(short = 'A', long)]
    all_namespaces: bool,
    /// What decides the order
    #[arg(long, value_enum, value_name = "COLUMN", default_value = "cost")]
    sort_by: Column,
}

/// What can be shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Kind {
    /// Agents.
    #[value(aliases = ["agent", "ag"])]
    Agents,
}

/// A column.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Column {
    /// Dollars in all.
    Cost,
    /// Dollars per hour.
    Rate,
    /// Tokens in all.
    Tokens,
    /// Processor.
    Cpu,
    /// Memory.
    Memory,
    /// Name.
    Name,
}

/// One agent.
#[derive(Clone, Debug, Default, PartialEq)]
struct Row {
    namespace: String,
    name: String,
    state: String,
    running: usize,
    tokens: i64,
    /// Dollars, those of running iterations too; none where no price is known.
    cost: Option<f64>,
    /// Dollars per hour since the first of the iterations that are kept.
    rate: Option<f64>,
    /// Per cent of one core; none where no process is seen.
    cpu: Option<f64>,
    memory: Option<u64>,
}

/// Does `gcluster top`.
pub(crate) async fn run(globals: &Globals, args: TopArgs) -> Result {
    let Kind::Agents = args.kind;
    let connection = globals.connect().await?;
    if let Err(failure) = connection.ready().await {
        note(&format!("The master is not ready: {}", failure.message));
    }
    let agents: Vec<Agent> = list(&connection, "agents", args.all_namespaces).await?;
    if agents.is_empty() {
        note("No agents found.");
        return Ok(());
    }
    let iterations: Vec<Iteration> = list(&connection, "iterations", args.all_namespaces).await?;
    let running: BTreeSet<String> =
        iterations.iter().filter(|it| is_running(it)).filter_map(|it| it.metadata.uid.clone()).collect();
    let before = usage::look(&running);
    let begun = std::time::Instant::now();
    if !before.is_empty() {
        tokio::time::sleep(SAMPLE).await;
    }
    let after = if before.is_empty() { BTreeMap::new() } else { usage::look(&running) };
    let sampled = begun.elapsed().as_secs_f64();
    let now = Timestamp::now();
    let mut rows: Vec<Row> = agents
        .iter()
        .map(|agent| {
            let own: Vec<&Iteration> = iterations
                .iter()
                .filter(|it| it.metadata.namespace == agent.metadata.namespace)
                .filter(|it| Some(&it.spec.agent) == agent.metadata.name.as_ref())
                .collect();
            let mut row = row(agent, &own, now);
            (row.cpu, row.memory) = taken(&own, &before, &after, sampled);
            row
        })
        .collect();
    rows.sort_by(|a, b| order(args.sort_by, a, b));
    print(&table(&rows, args.all_namespaces))
}

async fn list<K: DeserializeOwned>(connection: &Connection, plural: &str, all: bool) -> Result<Vec<K>> {
    let path = match all {
        true => format!("/apis/gcluster.dev/v1alpha1/{plural}"),
        false => format!("/apis/gcluster.dev/v1alpha1/namespaces/{}/{plural}", escape(&connection.namespace)),
    };
    let items = objects::items(connection.get(&path, JSON).await?);
    let read = items.into_iter().map(serde_json::from_value).collect::<serde_json::Result<Vec<K>>>();
    read.map_err(|error| {
        Failure::failed(format!("the master answered with {plural} of an unknown shape: {error}"))
    })
}

fn is_running(iteration: &Iteration) -> bool {
    iteration.status.as_ref().is_some_and(|status| status.phase == Phase::Running)
}

/// What the objects say.
fn row(agent: &Agent, iterations: &[&Iteration], now: Timestamp) -> Row {
    let status = agent.status.clone().unwrap_or_default();
    let ended = status.tokens.as_ref().map_or(0, |tokens| tokens.total);
    let at_work = || iterations.iter().filter(|it| is_running(it)).filter_map(|it| it.status.as_ref());
    let tokens = at_work().filter_map(|status| status.tokens.as_ref()).map(|tokens| tokens.total);
    let spent = sum(at_work().map(|status| status.cost_usd));
    let statuses = || iterations.iter().filter_map(|it| it.status.as_ref());
    let since = statuses().filter_map(|status| status.started_at.as_ref()).map(|at| at.0).min();
    let kept = sum(statuses().map(|status| status.cost_usd));
    let hours =
        since.map(|since| now.duration_since(since).as_secs_f64() / 3600.0).filter(|hours| *hours > 0.0);
    Row {
        namespace: agent.metadata.namespace.clone().unwrap_or_default(),
        name: agent.metadata.name.clone().unwrap_or_default(),
        state: serde_json::to_value(status.run_state.unwrap_or_default())
            .ok()
            .and_then(|state| state.as_str().map(str::to_owned))
            .unwrap_or_default(),
        running: at_work().count(),
        tokens: tokens.fold(ended, i64::saturating_add),
        cost: sum([status.cost_usd, spent].into_iter()),
        rate: kept.zip(hours).map(|(dollars, hours)| dollars / hours),
        ..Row::default()
    }
}

/// The sum of what is known; none when nothing is.
fn sum(costs: impl Iterator<Item = Option<f64>>) -> Option<f64> {
    costs.flatten().reduce(|a, b| a + b)
}

/// Processor in per cent and memory of the processes that are seen.
fn taken(
    iterations: &[&Iteration],
    before: &BTreeMap<String, Usage>,
    after: &BTreeMap<String, Usage>,
    seconds: f64,
) -> (Option<f64>, Option<u64>) {
    let seen: Vec<(Usage, Usage)> = iterations
        .iter()
        .filter_map(|it| it.metadata.uid.as_ref())
        .filter_map(|uid| Some((before.get(uid).copied().unwrap_or_default(), *after.get(uid)?)))
        .collect();
    if seen.is_empty() || seconds <= 0.0 {
        return (None, None);
    }
    // A process that ended between the two looks took its ticks with it.
    let ticks: u64 = seen.iter().map(|(old, new)| new.ticks.saturating_sub(old.ticks)).sum();
    let memory = seen.iter().map(|(_, new)| new.memory).sum();
    (Some(ticks as f64 / TICKS / seconds * 100.0), Some(memory))
}

fn order(by: Column, a: &Row, b: &Row) -> Ordering {
    let most = |a: Option<f64>, b: Option<f64>| {
        b.unwrap_or(-1.0).partial_cmp(&a.unwrap_or(-1.0)).unwrap_or(Ordering::Equal)
    };
    let first = match by {
        Column::Cost => most(a.cost, b.cost),
        Column::Rate => most(a.rate, b.rate),
        Column::Tokens => b.tokens.cmp(&a.tokens),
        Column::Cpu => most(a.cpu, b.cpu),
        Column::Memory => b.memory.cmp(&a.memory),
        Column::Name => Ordering::Equal,
    };
    let next = match by {
        Column::Name => Ordering::Equal,
        _ => b.tokens.cmp(&a.tokens).then(b.running.cmp(&a.running)),
    };
    first.then(next).then_with(|| (&a.namespace, &a.name).cmp(&(&b.namespace, &b.name)))
}

fn table(rows: &[Row], namespaces: bool) -> String {
    let dash = || "-".to_owned();
    let mut headers = vec!["NAME", "STATE", "RUNNING", "TOKENS", "COST", "COST/H", "CPU", "MEMORY"];
    if namespaces {
        headers.insert(0, "NAMESPACE");
    }
    let cells = rows.iter().map(|row| {
        let mut cells = vec![
            row.name.clone(),
            row.state.clone(),
            row.running.to_string(),
            age::count(row.tokens),
            match row.cost {
                Some(dollars) => age::cost(dollars),
                None if row.tokens > 0 => "unpriced".into(),
                None => dash(),
            },
            row.rate.map_or_else(dash, age::cost),
            row.cpu.map_or_else(dash, |cpu| format!("{cpu:.0}%")),
            row.memory.map_or_else(dash, |bytes| format!("{}Mi", bytes >> 20)),
        ];
        if namespaces {
            cells.insert(0, row.namespace.clone());
        }
        cells
    });
    fields::table(&headers, cells.collect(), 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn agent(name: &str, status: serde_json::Value) -> Agent {
        serde_json::from_value(json!({"apiVersion": "gcluster.dev/v1alpha1", "kind": "Agent",
            "metadata": {"name": name, "namespace": "default"}, "spec": {"definition": ""}, "status": status}))
        .unwrap()
    }

    fn iteration(uid: &str, status: serde_json::Value) -> Iteration {
        serde_json::from_value(json!({"apiVersion": "gcluster.dev/v1alpha1", "kind": "Iteration",
            "metadata": {"name": uid, "namespace": "default", "uid": uid},
            "spec": {"agent": "a", "revision": "a-1", "step": "work", "kind": "Loop", "number": 0, "execution": 1},
            "status": status}))
        .unwrap()
    }

    #[test]
    fn what_runs_is_counted_with_what_ended_and_unknown_is_not_zero() {
        let a = agent("a", json!({"runState": "running", "tokens": {"total": 1000}, "costUSD": 1.5}));
        let ended = iteration(
            "u0",
            json!({"phase": "Succeeded", "startedAt": "2026-01-01T00:00:00.000000Z", "costUSD": 1.5}),
        );
        let runs = iteration(
            "u1",
            json!({"phase": "Running", "startedAt": "2026-01-01T01:00:00.000000Z",
                "tokens": {"total": 500}, "costUSD": 0.5}),
        );
        let now: Timestamp = "2026-01-01T02:00:00Z".parse().unwrap();
        let own = [&ended, &runs];
        let mut busy = row(&a, &own, now);
        assert_eq!((busy.running, busy.tokens, busy.cost, busy.rate), (1, 1500, Some(2.0), Some(1.0)));
        let usage =
            |ticks, memory| BTreeMap::from([("u1".to_owned(), Usage { processes: 1, ticks, memory })]);
        (busy.cpu, busy.memory) = taken(&own, &usage(100, 1), &usage(150, 64 << 20), 0.5);
        assert_eq!((busy.cpu, busy.memory), (Some(100.0), Some(64 << 20)));
        assert_eq!(taken(&own, &BTreeMap::new(), &BTreeMap::new(), 0.5), (None, None));
        let unpriced = row(&agent("u", json!({"runState": "stopped", "tokens": {"total": 7}})), &[], now);
        let fresh = row(&agent("f", json!({})), &[], now);
        let mut rows = vec![fresh, unpriced, busy];
        rows.sort_by(|a, b| order(Column::Cost, a, b));
        crate::testing::snapshot("top-agents", &table(&rows, false));
        rows.sort_by(|a, b| order(Column::Memory, a, b));
        assert_eq!(rows[0].name, "a");
        assert!(table(&rows, true).starts_with("NAMESPACE"));
    }

    #[test]
    fn by_name_nothing_else_counts() {
        let named = |name: &str, tokens| Row { name: name.into(), tokens, ..Row::default() };
        let mut rows = [named("b", 9), named("a", 1), named("c", 5)];
        rows.sort_by(|a, b| order(Column::Name, a, b));
        assert_eq!(rows.map(|row| row.name), ["a", "b", "c"]);
    }
}
