//! What more workers bring: the same backlog with 1, 3 and 5 of them, as speed-up and conflicts.
//!
//! `cargo bench --bench tickets` starts `gcluster master` as users do, once for each line of the table, with a repository
//! and a pool of its own:
//!
//! ```text
//! 12 tickets ─▶ workers (a shell script: two seconds, one commit) ─▶ checks ─▶ merges ─▶ all merged: `gcluster report`
//! ```
//!
//! Every third ticket changes the first line of one file that they share, so workers collide: the second one is sent back
//! and rebases. Arguments choose numbers of workers: `cargo bench --bench tickets -- 1 8`.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

type Failure = Box<dyn std::error::Error + Send + Sync>;

const TICKETS: usize = 12;
/// Longest time of one line of the table.
const LIMIT: Duration = Duration::from_secs(600);
/// How often the state is asked for.
const LOOK: Duration = Duration::from_millis(100);
/// One ticket: two seconds of work, a file of its own, and for every third one the file that they share. Whoever is
/// sent back puts its commits onto the base, its own text first.
const WORK: &str = r#"cat > /dev/null; sleep 2; n=${GCLUSTER_TICKET#t-}
git rebase -q -X theirs main
echo "$n" > "own-$n.txt"; date +%N >> "own-$n.txt"
if [ $((n % 3)) = 0 ]; then echo "by $n" > shared.txt; fi
git add -A; git commit -qm "Do $GCLUSTER_TICKET"; echo "made $GCLUSTER_TICKET""#;

fn main() -> Result<(), Failure> {
    // `cargo bench` passes flags of the standard harness; the other arguments are numbers of workers.
    let mut workers: Vec<usize> = std::env::args().skip(1).filter_map(|arg| arg.parse().ok()).collect();
    if workers.is_empty() {
        workers = vec![1, 3, 5];
    }
    println!(
        "{:>7} {:>9} {:>8} {:>7} {:>7} {:>9} {:>8} {:>9} {:>9}",
        "workers", "seconds", "speed-up", "merged", "failed", "conflicts", "p50 s", "working %", "merging %"
    );
    let mut first = None;
    for workers in workers {
        let (seconds, report) = run(workers)?;
        let alone = *first.get_or_insert(seconds);
        let share = |phase: &str| {
            let phases = report["phases"].as_array().into_iter().flatten();
            phases.filter(|one| one["phase"] == phase).filter_map(|one| one["share"].as_f64()).sum::<f64>()
                * 100.0
        };
        println!(
            "{workers:>7} {seconds:>9.1} {:>8.2} {:>7} {:>7} {:>9} {:>8.1} {:>9.0} {:>9.0}",
            alone / seconds,
            report["results"]["Merged"].as_u64().unwrap_or_default(),
            report["results"]["Failed"].as_u64().unwrap_or_default(),
            report["conflicts"],
            report["leadSeconds"]["p50"].as_f64().unwrap_or_default(),
            share("working"),
            share("merging"),
        );
    }
    Ok(())
}

/// Works the backlog off. Answers how long it took and the report on it.
fn run(workers: usize) -> Result<(f64, Value), Failure> {
    let dir = tempfile::tempdir()?;
    let (data, app) = (dir.path().join("data"), dir.path().join("app"));
    std::fs::create_dir(&app)?;
    let git = |args: &[&str]| call(Command::new("git").args(args).current_dir(&app));
    git(&["init", "--quiet", "-b", "main"])?;
    git(&["config", "user.name", "Ada"])?;
    git(&["config", "user.email", "ada@example.com"])?;
    std::fs::write(app.join("shared.txt"), "by nobody\n")?;
    std::fs::write(app.join("ci.sh"), "#!/bin/sh\ntest -s shared.txt\n")?;
    call(Command::new("chmod").arg("+x").arg(app.join("ci.sh")))?;
    git(&["add", "--all"])?;
    git(&["commit", "--quiet", "-m", "begin"])?;
    let _master = Master::start(&data)?;
    std::fs::write(dir.path().join("team.json"), backlog(workers, &app).to_string())?;
    let begun = Instant::now();
    gcluster(&data, &["apply", "-f", &dir.path().join("team.json").display().to_string()])?;
    loop {
        std::thread::sleep(LOOK);
        let report: Value = serde_json::from_str(&gcluster(&data, &["report", "-o", "json"])?)?;
        let ended: u64 =
            report["results"].as_object().into_iter().flatten().filter_map(|(_, count)| count.as_u64()).sum();
        if ended as usize >= TICKETS {
            return Ok((begun.elapsed().as_secs_f64(), report));
        }
        if begun.elapsed() > LIMIT {
            let tickets = gcluster(&data, &["get", "tickets", "-o", "wide"])?;
            return Err(format!("{ended} of {TICKETS} tickets came to their end in time:\n{tickets}").into());
        }
    }
}

fn backlog(workers: usize, app: &Path) -> Value {
    let env: Vec<Value> = [
        ("GIT_AUTHOR_NAME", "w"),
        ("GIT_AUTHOR_EMAIL", "w@localhost"),
        ("GIT_COMMITTER_NAME", "w"),
        ("GIT_COMMITTER_EMAIL", "w@localhost"),
    ]
    .map(|(name, value)| json!({"name": name, "value": value}))
    .into();
    let kind = |kind: &str, name: &str, spec: Value| json!({"apiVersion": "gcluster.dev/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec});
    let pool = json!({
        "replicas": workers, "repositories": ["app"], "maxAttempts": 20, "review": {"by": "Nobody"},
        "backend": {"name": "command", "args": ["sh", "-c", WORK], "env": env},
    });
    let mut items = vec![
        kind("Repository", "app", json!({"path": app, "base": "main"})),
        kind("WorkerPool", "team", pool),
    ];
    items.extend(
        (1..=TICKETS).map(|n| kind("Ticket", &format!("t-{n}"), json!({"title": format!("Do {n}")}))),
    );
    json!({"apiVersion": "v1", "kind": "List", "items": items})
}

fn gcluster(data: &Path, args: &[&str]) -> Result<String, Failure> {
    call(Command::new(env!("CARGO_BIN_EXE_gcluster")).arg("--data-dir").arg(data).args(args))
}

fn call(command: &mut Command) -> Result<String, Failure> {
    let output = command.output()?;
    if !output.status.success() {
        return Err(format!("{command:?}: {}", String::from_utf8_lossy(&output.stderr)).into());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// A running master, ended in order when dropped.
struct Master(Child);

impl Master {
    fn start(data: &Path) -> Result<Master, Failure> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_gcluster"));
        command.args(["master", "--addr", "127.0.0.1:0", "--data-dir"]).arg(data);
        let master = Master(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?);
        let begun = Instant::now();
        while gcluster(data, &["get", "tickets"]).is_err() {
            if begun.elapsed() > LIMIT {
                return Err("the master does not answer".into());
            }
            std::thread::sleep(LOOK);
        }
        Ok(master)
    }
}

impl Drop for Master {
    fn drop(&mut self) {
        let _ = Command::new("kill").args(["-INT", &self.0.id().to_string()]).status();
        let _ = self.0.wait();
    }
}
