//! What more workers bring: the same backlog with 1, 3 and 5 of them, as speed-up and conflicts, with and without locks.
//!
//! `cargo bench --bench tickets` starts `gcluster master` as users do, once for each line of the table, with a repository,
//! a pool and a loopback model server of its own, in a network namespace where the machine has them:
//!
//! ```text
//! 12 tickets ─▶ workers: the `claude` CLI ⇄ scripted model ─▶ ci.sh ─▶ merges ─▶ all merged: `gcluster report`
//! ```
//!
//! The script does a ticket in six or eight answers (read, write, edit, test, commit), each after the latency. Every third
//! ticket adds a line at the same place of one file, so workers collide: whoever comes second is sent back and
//! rebases. In the second table these tickets hold a lock, so that they are worked on one after the other. The seconds of a
//! ticket are medians: from its making to its merge, and of these at work, being tested, and being merged.
//!
//! ```text
//! cargo bench --bench tickets -- 1 8                    numbers of workers
//! cargo bench --bench tickets -- --latency=0.5          seconds before each answer of the model; 2 unless it is said
//! cargo bench --bench tickets -- --agent=stand-in       or claude; claude where npm can install it unless it is said
//! ```

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a bench that cannot go on ends")]

#[path = "tickets/backlog.rs"]
mod backlog;
#[allow(dead_code, reason = "shared with the integration tests")]
#[path = "../tests/support/mod.rs"]
mod support;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use support::agents::list;
use support::claude::{ModelServer, alone, claude_or_skip};
use support::cli::Sandbox;
use support::master::Master;
use support::repo::git;
use support::skip::program_or_skip;

const BENCH: &str = "the bench `tickets` with the real claude";
/// Longest time of one line of the table.
const LIMIT: Duration = Duration::from_secs(1_200);
/// How often the state is asked for.
const LOOK: Duration = Duration::from_millis(250);

/// What the arguments ask for.
struct Options {
    workers: Vec<usize>,
    latency: f64,
    /// The real CLI, or the program that stands in for it.
    claude: PathBuf,
    is_real: bool,
}

fn main() {
    let options = options();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let Some(passed) = alone(&arguments) {
        std::process::exit(i32::from(!passed));
    }
    let who = if options.is_real { "the real claude" } else { "a stand-in for claude" };
    println!("{} tickets, {who}, the model answers after {} s", backlog::TICKETS, options.latency);
    for locks in [false, true] {
        println!("\n{}", if locks { "locks keep apart what collides" } else { "no locks" });
        println!(
            "{:>7} {:>8} {:>8} {:>6} {:>6} {:>9} {:>6} {:>8} {:>9} {:>6} {:>7} {:>7} {:>7} {:>7}",
            "workers",
            "seconds",
            "speed-up",
            "merged",
            "failed",
            "conflicts",
            "rounds",
            "requests",
            "tokens",
            "USD",
            "lead s",
            "work s",
            "check s",
            "merge s"
        );
        let mut first = None;
        for workers in &options.workers {
            let line = run(&options, *workers, locks);
            let alone = *first.get_or_insert(line.seconds);
            line.print(*workers, alone);
        }
    }
}

fn options() -> Options {
    let mut options = Options { workers: Vec::new(), latency: 2.0, claude: PathBuf::new(), is_real: true };
    let mut agent = None;
    for argument in std::env::args().skip(1) {
        match argument.split_once('=') {
            Some(("--latency", seconds)) => options.latency = seconds.parse().expect("--latency=SECONDS"),
            Some(("--agent", name)) => agent = Some(name.to_owned()),
            // `cargo bench` passes flags of the standard harness.
            _ => options.workers.extend(argument.parse::<usize>().ok().filter(|workers| *workers > 0)),
        }
    }
    if options.workers.is_empty() {
        options.workers = vec![1, 3, 5];
    }
    let claude = match agent.as_deref() {
        None | Some("claude") => claude_or_skip(BENCH),
        Some("stand-in") => None,
        Some(other) => panic!("--agent={other}: it is claude or stand-in"),
    };
    assert!(claude.is_some() || agent.as_deref() != Some("claude"), "there is no claude");
    options.is_real = claude.is_some();
    let stand_in = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/tickets/stand_in.py");
    options.claude = claude.unwrap_or(stand_in);
    options
}

/// One line of the table.
struct Line {
    seconds: f64,
    requests: u64,
    report: Value,
}

/// Works the backlog off, and looks whether all of it arrived.
fn run(options: &Options, workers: usize, locks: bool) -> Line {
    let python = program_or_skip("python3", BENCH).expect("python3, for the model server");
    let model = ModelServer::start(&python, &backlog::scenarios(options.latency));
    let sandbox = Sandbox::new();
    let app = sandbox.work().join("app");
    for (name, text) in backlog::files() {
        sandbox.write(&format!("app/{name}"), text);
    }
    git(&app, &["init", "--quiet", "-b", "main"]);
    git(&app, &["add", "--all"]);
    git(&app, &["update-index", "--chmod=+x", "ci.sh"]);
    git(&app, &["commit", "--quiet", "-m", "Begin"]);
    let mut master = Master::start_with(&sandbox, &["--backend", "claude"], |command| {
        command.env("GCLUSTER_CLAUDE", &options.claude).env("IS_SANDBOX", "1");
    });
    let env = json!([
        {"name": "ANTHROPIC_BASE_URL", "value": format!("{}/default", model.url)},
        {"name": "ANTHROPIC_API_KEY", "value": "dummy"},
    ]);
    let backend = json!({"name": "claude", "model": "claude-sonnet-4-5", "env": env});
    sandbox.write("team.json", &list(&backlog::objects(&app, workers, locks, &backend)));
    let begun = Instant::now();
    sandbox.run(["apply", "-f", "team.json"]).ok();
    let report = loop {
        std::thread::sleep(LOOK);
        let report: Value =
            serde_json::from_str(&sandbox.run(["report", "-o", "json"]).ok().stdout).expect("a report");
        let ended = report["results"].as_object().into_iter().flatten();
        let ended: u64 = ended.filter_map(|(_, count)| count.as_u64()).sum();
        if ended as usize >= backlog::TICKETS {
            break report;
        }
        let tickets = sandbox.run(["get", "tickets", "-o", "wide"]).ok().stdout;
        let is_stuck = tickets.contains("NeedsHuman") || begun.elapsed() >= LIMIT;
        assert!(!is_stuck, "only {ended} tickets came to their end:\n{tickets}");
    };
    let seconds = begun.elapsed().as_secs_f64();
    let hub = sandbox.data().join("repositories/default/app/hub.git");
    let merged = report["results"]["Merged"].as_u64().unwrap_or_default();
    if merged as usize == backlog::TICKETS {
        let features = git(&hub, &["ls-tree", "--name-only", "main:features"]).lines().count();
        let handlers = git(&hub, &["cat-file", "blob", "main:handlers.txt"]).lines().count() - 1;
        assert_eq!((features, handlers), (backlog::TICKETS, backlog::handlers()), "work was lost");
    } else {
        eprintln!("{}", sandbox.run(["get", "tickets", "-o", "wide"]).stdout);
    }
    assert!(master.stop().success(), "{}", master.log());
    Line { seconds, requests: model.counted(), report }
}

impl Line {
    fn print(&self, workers: usize, alone: f64) {
        let report = &self.report;
        let count = |value: &Value| value.as_i64().unwrap_or_default();
        // The median of all tickets.
        let median = |phase: &str| {
            let phases = report["phases"].as_array().into_iter().flatten();
            let found =
                phases.filter(|one| one["phase"] == phase).find_map(|one| one["seconds"]["p50"].as_f64());
            found.unwrap_or_default()
        };
        println!(
            "{workers:>7} {:>8.1} {:>8.2} {:>6} {:>6} {:>9} {:>6} {:>8} {:>9} {:>6.2} {:>7.1} {:>7.1} {:>7.1} {:>7.1}",
            self.seconds,
            alone / self.seconds,
            count(&report["results"]["Merged"]),
            count(&report["results"]["Failed"]),
            count(&report["conflicts"]),
            count(&report["iterations"]),
            self.requests,
            count(&report["tokens"]),
            report["costUSD"].as_f64().unwrap_or_default(),
            report["leadSeconds"]["p50"].as_f64().unwrap_or_default(),
            median("working"),
            median("checking"),
            median("merging"),
        );
    }
}
