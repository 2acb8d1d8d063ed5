//! What a fleet of agents costs the master: its processor time, its memory, and how long starts take.
//!
//! `cargo bench --bench fleet` starts `gcluster master` as users do, once for each line of the table:
//!
//! ```text
//! agents created, stopped ─▶ all asked to run ─▶ all Running ─▶ measured at work ─▶ all stopped ─▶ measured idle
//! ```
//!
//! `stream` agents are a stand-in for `claude` that plays a recording of the real one over and over: 20 lines and
//! some 3 records a second, in iterations of half a minute. `busy` ones write 20 records a second, more than any
//! program is known to; `calm` ones a record every five seconds. Arguments choose lines: `cargo bench --bench fleet -- busy 1000`. The programs
//! of the agents share the cores with the master; what is shown is the master's own.

#[path = "fleet/agents.rs"]
mod agents;
#[allow(dead_code, reason = "shared with the bench `api`")]
#[path = "api/client.rs"]
mod client;
#[allow(dead_code, reason = "shared with the bench `api`")]
#[path = "api/process.rs"]
mod process;

use std::time::{Duration, Instant};

use agents::{Fleet, Profile};
use process::Master;

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// How long agents at work are looked at, and idle ones.
const WORK: Duration = Duration::from_secs(60);
const IDLE: Duration = Duration::from_secs(20);
/// After the last start and the last end, before anything is measured.
const SETTLE: Duration = Duration::from_secs(3);

/// One line of the table.
struct Case {
    agents: usize,
    backend: &'static str,
    profile: Profile,
}

const CASES: [Case; 6] = [
    Case { agents: 10, backend: "claude", profile: Profile::Stream },
    Case { agents: 10, backend: "rehearsal", profile: Profile::Busy },
    Case { agents: 10, backend: "command", profile: Profile::Busy },
    Case { agents: 10, backend: "rehearsal", profile: Profile::Short },
    Case { agents: 1_000, backend: "rehearsal", profile: Profile::Calm },
    Case { agents: 1_000, backend: "command", profile: Profile::Calm },
];

fn main() -> Result<(), Failure> {
    // `cargo bench` passes flags of the standard harness; the other arguments choose lines.
    let wanted: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with("--")).collect();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    println!(
        "{:<28} {:>8} {:>8} {:>8} {:>8} {:>8} {:>9} {:>8} {:>8} {:>8} {:>8}",
        "agents",
        "p50 ms",
        "p99 ms",
        "all ms",
        "CPU %",
        "per s",
        "ms each",
        "RSS MiB",
        "threads",
        "files",
        "idle %"
    );
    for case in CASES {
        let label = format!("{} {} {}", case.agents, case.backend, case.profile.name());
        if wanted.iter().all(|word| label.split(' ').any(|part| part == word)) {
            runtime.block_on(run(&case, &label))?;
        }
    }
    Ok(())
}

async fn run(case: &Case, label: &str) -> Result<(), Failure> {
    let dir = tempfile::tempdir()?;
    let path = agents::programs(dir.path())?;
    let master = Master::start_where(&dir.path().join("data"), &[], &path)?;
    let fleet = Fleet::create(&master.target, dir.path(), case.agents, case.backend, case.profile).await?;
    let starts = fleet.run().await?;
    tokio::time::sleep(SETTLE).await;
    let (before, begun, work) = (fleet.ended().await?, master.cpu(), Instant::now());
    tokio::time::sleep(WORK).await;
    let used = master.cpu() - begun;
    let seconds = work.elapsed().as_secs_f64();
    let iterations = fleet.ended().await? - before;
    let resident = master.resident_mib();
    let (threads, files) = master.handles();
    fleet.stop().await?;
    tokio::time::sleep(SETTLE).await;
    let (begun, rest) = (master.cpu(), Instant::now());
    tokio::time::sleep(IDLE).await;
    let idle = (master.cpu() - begun) / rest.elapsed().as_secs_f64() * 100.0;
    println!(
        "{label:<28} {:>8.0} {:>8.0} {:>8.0} {:>8.2} {:>8.2} {:>9.2} {resident:>8.1} {threads:>8} {files:>8} {idle:>8.2}",
        starts.p50,
        starts.p99,
        starts.all,
        used / seconds * 100.0,
        iterations as f64 / seconds,
        used * 1e3 / iterations.max(1) as f64,
    );
    master.stop()
}
