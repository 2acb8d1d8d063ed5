//! What the API does per second, durably, over plain HTTP, with its own process as the load generator.
//!
//! `cargo bench --bench api` starts `gcluster master` as users do, on a new directory, and prints one table.
//! Load generator and master share the machine's cores. Beside the rates stands the processor time that the
//! master took per request, which says more than a rate where something else runs, and the disk's own limit
//! (one-kilobyte appends with `fdatasync`), measured in the same run.

#[path = "api/client.rs"]
mod client;
#[path = "api/process.rs"]
mod process;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use client::{Connection, Target};
use process::{Master, raw_syncs};

type Failure = Box<dyn std::error::Error + Send + Sync>;

const SECONDS: f64 = 4.0;
/// Objects that stand in the list and in memory while nothing else does.
const OBJECTS: u64 = 10_000;
/// Objects of a user's kind whose status is patched.
const WIDGETS: u64 = 1_000;
const CLIENTS: [usize; 3] = [1, 16, 64];
const MAPS: &str = "/api/v1/namespaces/default/configmaps";
const GADGETS: &str = "/apis/bench.example.com/v1/namespaces/default/widgets";
const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";

fn main() -> Result<(), Failure> {
    // `cargo bench` passes flags of the standard harness; none of them matters here.
    let dir = tempfile::tempdir()?;
    let syncs = raw_syncs(dir.path())?;
    let master = Master::start(&dir.path().join("data"))?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let bench = Bench { target: Arc::new(master.target.clone()), master, syncs };
    runtime.block_on(bench.run())?;
    bench.master.stop()
}

struct Bench {
    target: Arc<Target>,
    master: Master,
    syncs: f64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Work {
    Create,
    Patch,
    Get,
}

impl Work {
    fn name(self) -> &'static str {
        match self {
            Work::Create => "creates",
            Work::Patch => "status merge-patches",
            Work::Get => "gets",
        }
    }
}

impl Bench {
    async fn run(&self) -> Result<(), Failure> {
        row("fdatasync of 1 KB appends, per second", &[format!("{:.0}", self.syncs)]);
        row("ready on an empty directory, ms", &[self.master.ready.as_millis().to_string()]);
        self.memory("resident when empty, MiB");
        let next = Arc::new(AtomicU64::new(0));
        self.fill().await?;
        next.store(OBJECTS, Ordering::Relaxed);
        self.memory("resident with 10,000 objects, MiB");
        self.list().await?;
        println!("{:<46} {:>10} {:>12} {:>12}", "", "per second", "of fdatasync", "CPU µs each");
        for work in [Work::Create, Work::Patch, Work::Get] {
            if work == Work::Patch {
                self.define().await?;
            }
            for clients in CLIENTS {
                self.rate(clients, work, &["bench"], &next).await?;
            }
        }
        self.rate(64, Work::Create, &["bench", "other"], &next).await?;
        for watchers in [1, 100, 1_000] {
            let (p50, p99) = self.watch_latency(watchers, &next).await?;
            let label = format!("acknowledgement to event, {watchers} watchers, ms");
            row(&label, &[format!("p50 {p50:.2}"), format!("p99 {p99:.2}")]);
        }
        let (threads, files) = self.master.handles();
        row("threads and open files after load", &[threads.to_string(), files.to_string()]);
        self.memory(&format!("resident after load, {} objects, MiB", next.load(Ordering::Relaxed)));
        Ok(())
    }

    fn memory(&self, label: &str) {
        row(label, &[format!("{:.1}", self.master.resident_mib())]);
    }

    async fn fill(&self) -> Result<(), Failure> {
        let next = Arc::new(AtomicU64::new(0));
        let mut tasks = JoinSet::new();
        for _ in 0..16 {
            let (target, next) = (Arc::clone(&self.target), Arc::clone(&next));
            tasks.spawn(async move {
                let mut connection = Connection::open(&target, "bench").await?;
                loop {
                    let n = next.fetch_add(1, Ordering::Relaxed);
                    if n >= OBJECTS {
                        return Ok::<(), Failure>(());
                    }
                    expect(201, connection.call("POST", MAPS, &map(n)).await?.0)?;
                }
            });
        }
        while let Some(done) = tasks.join_next().await {
            done??;
        }
        Ok(())
    }

    async fn list(&self) -> Result<(), Failure> {
        let mut connection = Connection::open(&self.target, "bench").await?;
        let (mut times, mut size) = (Vec::new(), 0);
        for _ in 0..21 {
            let start = Instant::now();
            size = connection.call("GET", MAPS, "").await?.1;
            times.push(start.elapsed().as_secs_f64() * 1e3);
        }
        times.sort_by(f64::total_cmp);
        let label = format!("list of 10,000 objects, {} MB, ms", size / 1_000_000);
        row(&label, &[format!("p50 {:.1}", times[times.len() / 2])]);
        self.memory("resident after 21 such lists, MiB");
        Ok(())
    }

    /// A user's kind with a status, and objects of it.
    async fn define(&self) -> Result<(), Failure> {
        let mut connection = Connection::open(&self.target, "bench").await?;
        expect(201, connection.call("POST", DEFINITIONS, DEFINITION).await?.0)?;
        for n in 0..WIDGETS {
            expect(201, connection.call("POST", GADGETS, &widget(n)).await?.0)?;
        }
        Ok(())
    }

    /// Requests per second that `clients` connections get answered, each waiting for its answer.
    async fn rate(
        &self,
        clients: usize,
        work: Work,
        programs: &'static [&'static str],
        next: &Arc<AtomicU64>,
    ) -> Result<(), Failure> {
        let mut tasks = JoinSet::new();
        let (start, cpu) = (Instant::now(), self.master.cpu());
        for client in 0..clients {
            let (target, next) = (Arc::clone(&self.target), Arc::clone(next));
            tasks.spawn(async move {
                let mut connection = Connection::open(&target, programs[client % programs.len()]).await?;
                let mut done = 0_u64;
                while start.elapsed().as_secs_f64() < SECONDS {
                    // Each client patches objects of its own.
                    let own = client as u64 + clients as u64 * (done % (WIDGETS / clients as u64));
                    let (status, _) = match work {
                        Work::Create => {
                            let body = map(next.fetch_add(1, Ordering::Relaxed));
                            connection.call("POST", MAPS, &body).await?
                        }
                        Work::Patch => {
                            let path = format!("{GADGETS}/w{own}/status");
                            let body = format!(r#"{{"status":{{"phase":"Running","observed":{done}}}}}"#);
                            connection.call("PATCH", &path, &body).await?
                        }
                        Work::Get => {
                            let name = (done * 7919 + client as u64) % OBJECTS;
                            connection.call("GET", &format!("{MAPS}/m{name}"), "").await?
                        }
                    };
                    expect(if work == Work::Create { 201 } else { 200 }, status)?;
                    done += 1;
                }
                Ok::<u64, Failure>(done)
            });
        }
        let mut total = 0;
        while let Some(done) = tasks.join_next().await {
            total += done??;
        }
        let per_second = total as f64 / start.elapsed().as_secs_f64();
        let each = (self.master.cpu() - cpu) * 1e6 / total as f64;
        let ratio = match work {
            Work::Get => String::new(),
            Work::Create | Work::Patch => format!("{:.2}x", per_second / self.syncs),
        };
        let of = if programs.len() > 1 { " of two programs" } else { "" };
        let label = format!("{}, {clients} clients{of}", work.name());
        row(&label, &[format!("{per_second:.0}"), ratio, format!("{each:.0}")]);
        Ok(())
    }

    /// Milliseconds from the acknowledgement of a create until watchers have read its event, at p50 and p99.
    async fn watch_latency(&self, watchers: usize, next: &Arc<AtomicU64>) -> Result<(f64, f64), Failure> {
        let (sender, mut seen) = tokio::sync::mpsc::unbounded_channel::<Instant>();
        let mut tasks = JoinSet::new();
        let ready = Arc::new(tokio::sync::Barrier::new(watchers + 1));
        let mut connection = Connection::open(&self.target, "bench").await?;
        let list: serde_json::Value =
            serde_json::from_slice(&connection.get(&format!("{MAPS}?limit=1")).await?)?;
        let version =
            list["metadata"]["resourceVersion"].as_str().ok_or("a list without version")?.to_owned();
        for _ in 0..watchers {
            let (target, sender, ready) = (Arc::clone(&self.target), sender.clone(), Arc::clone(&ready));
            let path = format!("{MAPS}?watch=true&resourceVersion={version}");
            tasks.spawn(async move {
                let mut connection = Connection::open(&target, "watcher").await?;
                connection.send("GET", &path, "").await?;
                connection.begun().await?;
                ready.wait().await;
                loop {
                    for _ in 0..connection.events().await? {
                        if sender.send(Instant::now()).is_err() {
                            return Ok::<(), Failure>(());
                        }
                    }
                }
            });
        }
        ready.wait().await;
        let mut latencies = Vec::new();
        for _ in 0..100 {
            let body = map(next.fetch_add(1, Ordering::Relaxed));
            expect(201, connection.call("POST", MAPS, &body).await?.0)?;
            let acknowledged = Instant::now();
            for _ in 0..watchers {
                let at = tokio::time::timeout(Duration::from_secs(20), seen.recv())
                    .await?
                    .ok_or("no watcher is left")?;
                latencies.push(at.saturating_duration_since(acknowledged).as_secs_f64() * 1e3);
            }
        }
        tasks.abort_all();
        latencies.sort_by(f64::total_cmp);
        Ok((latencies[latencies.len() / 2], latencies[latencies.len() * 99 / 100]))
    }
}

fn row(label: &str, cells: &[String]) {
    let mut line = format!("{label:<46}");
    for (cell, width) in cells.iter().zip([10, 12, 12]) {
        line.push_str(&format!(" {cell:>width$}"));
    }
    println!("{}", line.trim_end());
}

fn expect(status: u16, found: u16) -> Result<(), Failure> {
    if found == status { Ok(()) } else { Err(format!("answered with {found} instead of {status}").into()) }
}

/// A config map of about one kilobyte.
fn map(n: u64) -> String {
    let filler = "x".repeat(850);
    format!(
        r#"{{"apiVersion":"v1","kind":"ConfigMap","metadata":{{"name":"m{n}","labels":{{"app":"bench"}}}},"data":{{"filler":"{filler}"}}}}"#
    )
}

/// An object of a user's kind, of about one kilobyte.
fn widget(n: u64) -> String {
    let filler = "x".repeat(850);
    format!(
        r#"{{"apiVersion":"bench.example.com/v1","kind":"Widget","metadata":{{"name":"w{n}"}},"spec":{{"filler":"{filler}"}}}}"#
    )
}

const DEFINITION: &str = r#"{
  "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
  "metadata": {"name": "widgets.bench.example.com"},
  "spec": {
    "group": "bench.example.com", "scope": "Namespaced",
    "names": {"plural": "widgets", "singular": "widget", "kind": "Widget"},
    "versions": [{
      "name": "v1", "served": true, "storage": true, "subresources": {"status": {}},
      "schema": {"openAPIV3Schema": {"type": "object", "properties": {
        "spec": {"type": "object", "properties": {"filler": {"type": "string"}}},
        "status": {"type": "object", "properties": {
          "phase": {"type": "string"}, "observed": {"type": "integer"}
        }}
      }}}
    }]
  }
}"#;
