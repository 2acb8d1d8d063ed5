//! Three workers and a backlog in one real repository, with a master that is killed again and again: at the end every
//! ticket is merged or failed for its stated reason, the base branch is linear and green, and nothing is lost.
//!
//! `GCLUSTER_CRASH_ROUNDS` asks for more kills, `GCLUSTER_CRASH_SEED` repeats their moments.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};

use crate::support::agents::list;
use crate::support::cli::Sandbox;
use crate::support::master::{Master, objects};
use crate::support::wait::wait_within;

/// Until every ticket came to its end, on a busy machine.
const LIMIT: Duration = Duration::from_secs(400);

/// What a worker does: its ticket's name says how it errs, and what it is told (on its input) whether it did before.
const WORKER: &str = r#"
prompt=$(cat)
t=$GCLUSTER_TICKET
echo "$t begins" >> "$TRACE"
again=; case "$prompt" in *"$MARK"*|*onflict*|*finding*|*broken*) again=yes ;; esac
sleep 0.4
case $t in
clash-*)
    if git log --format=%s main..HEAD | grep -q .; then
        if ! git rebase main > rebase.log 2>&1; then
            git checkout --ours shared 2>> rebase.log
            sed -i "s/^middle.*/& $t/" shared
            git add shared
            GIT_EDITOR=true git rebase --continue >> rebase.log 2>&1
        fi
        rm -f rebase.log
    else
        sed -i "s/^middle.*/& $t/" shared
        git commit -qam "Put $t into the middle"
    fi ;;
red)
    if [ -e broken ]; then git rm -q broken; else : > broken; echo "$t" > "feature-$t"; git add .; fi
    git commit -qm "Work on $t" ;;
poor)
    if [ -e "feature-$t" ]; then echo done > "feature-$t"; else echo TODO > "feature-$t"; fi
    git add .; git commit -qm "Work on $t" ;;
idle)
    echo "never committed" > "left-by-$t" ;;
*)
    echo "$t" > "feature-$t"; git add .; git commit -qm "Add feature-$t" ;;
esac
echo "$t commits $(git rev-parse HEAD)" >> "$TRACE"
echo "$t ends" >> "$TRACE"
echo "I have done $t."
"#;

/// What a reviewer does: it finds what is still to do.
const REVIEWER: &str = r#"
if grep -q '^+TODO'; then
    echo 'I found something.'
    echo '[{"file": "feature-poor", "line": 1, "severity": "high", "text": "This is still to do."}]'
else
    echo '[]'
fi
"#;

const CI: &str = "#!/bin/sh\n[ ! -e broken ] || { echo 'broken is there'; exit 1; }\n[ \"$(grep -c '^middle' shared)\" = 1 ]\n";

#[test]
fn a_team_delivers_a_backlog_while_its_master_is_killed() {
    let sandbox = Sandbox::new();
    let home = Checkout::new(&sandbox);
    let mut team = Team::start(&sandbox);
    sandbox.write("objects.json", &list(&team_objects(&sandbox, &home.path)));
    sandbox.run(["apply", "-f", "objects.json"]).ok();
    team.kill_while_they_work();
    let tickets = team.finished();

    let (merged, failed): (Vec<_>, Vec<_>) =
        tickets.iter().partition(|(_, t)| t["status"]["phase"] == "Merged");
    let failed: Vec<&str> = failed.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(failed, ["idle"], "{}", told(&tickets));
    let idle = &tickets["idle"]["status"];
    assert!(idle["message"].as_str().is_some_and(|m| !m.is_empty()), "{idle:#}");
    assert!(merged.iter().any(|(_, t)| t["status"]["conflicts"].as_i64() >= Some(1)), "{}", told(&tickets));
    assert!(tickets["poor"]["status"]["reviewRounds"].as_i64() >= Some(2), "{:#}", tickets["poor"]);
    assert!(tickets["red"]["status"]["round"].as_i64() >= Some(2), "{:#}", tickets["red"]);

    assert_base_is_linear_green_and_complete(&sandbox, &tickets);
    assert_locks_and_dependencies_were_kept(&tickets);
    let trace = std::fs::read_to_string(sandbox.work().join("trace")).expect("the trace");
    assert_holders_of_a_lock_took_turns(&trace);
    assert_nothing_is_left_over_and_nothing_lost(&sandbox, &trace);
    assert!(home.git(&["status", "--porcelain"]).is_empty(), "the user's own checkout was touched");
}

/// The user's own checkout.
struct Checkout {
    path: PathBuf,
}

impl Checkout {
    fn new(sandbox: &Sandbox) -> Checkout {
        let path = sandbox.work().join("app");
        std::fs::create_dir_all(&path).expect("a folder");
        let checkout = Checkout { path };
        checkout.git(&["init", "--quiet", "--initial-branch=main"]);
        let write = |name: &str, text: &str| std::fs::write(checkout.path.join(name), text).expect("a file");
        write("ci.sh", CI);
        write("shared", "top\nmiddle\nbottom\n");
        executable(&checkout.path.join("ci.sh"));
        checkout.git(&["add", "."]);
        checkout.git(&["commit", "--quiet", "-m", "Begin"]);
        checkout
    }

    fn git(&self, args: &[&str]) -> String {
        git(&self.path, args)
    }
}

/// The master, and when it dies.
struct Team<'a> {
    sandbox: &'a Sandbox,
    master: Master,
    random: fastrand::Rng,
    rounds: usize,
}

impl<'a> Team<'a> {
    fn start(sandbox: &'a Sandbox) -> Self {
        let number = |name: &str| std::env::var(name).ok().and_then(|n| n.parse::<u64>().ok());
        let clock = || SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("a clock").as_micros();
        let seed = number("GCLUSTER_CRASH_SEED").unwrap_or_else(|| u64::try_from(clock()).expect("a seed"));
        let rounds = number("GCLUSTER_CRASH_ROUNDS").unwrap_or(6);
        // Shown when the test fails.
        println!("GCLUSTER_CRASH_SEED={seed} GCLUSTER_CRASH_ROUNDS={rounds}");
        let master = Master::start_with(sandbox, &["--backend", "command"], |_| {});
        let random = fastrand::Rng::with_seed(seed);
        Team { sandbox, master, random, rounds: usize::try_from(rounds).expect("a number") }
    }

    fn kill_while_they_work(&mut self) {
        for _ in 0..self.rounds {
            std::thread::sleep(Duration::from_millis(self.random.u64(200..3_000)));
            self.master.kill();
            std::thread::sleep(Duration::from_millis(self.random.u64(0..600)));
            self.master = Master::start_with(self.sandbox, &["--backend", "command"], |_| {});
        }
    }

    /// All tickets by name, once each of them came to its end.
    fn finished(&self) -> BTreeMap<String, Value> {
        let mut last = BTreeMap::new();
        let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            wait_within(LIMIT, "every ticket to come to its end", || {
                last = objects(self.sandbox, "tickets")
                    .into_iter()
                    .map(|ticket| (ticket["metadata"]["name"].as_str().expect("a name").to_owned(), ticket))
                    .collect();
                let over =
                    |t: &Value| ["Merged", "Failed", "Cancelled"].iter().any(|p| t["status"]["phase"] == *p);
                (last.len() == 12 && last.values().all(over)).then_some(())
            });
        }));
        assert!(ended.is_ok(), "{}\n{}", told(&last), self.master.log());
        last
    }
}

fn team_objects(sandbox: &Sandbox, path: &Path) -> Vec<Value> {
    let meta = |name: &str| json!({"name": name});
    let object = |kind: &str, name: &str, spec: Value| json!({"apiVersion": "gcluster.dev/v1alpha1", "kind": kind, "metadata": meta(name), "spec": spec});
    let command = |script: &str| json!({"name": "command", "args": ["sh", "-c", script]});
    let env = |name: &str, value: &str| json!({"name": name, "value": value});
    let trace = sandbox.work().join("trace");
    let pool = json!({
        "replicas": 3,
        "repositories": ["app"],
        "backend": command(WORKER),
        "maxAttempts": 6,
        "env": [
            env("TRACE", &trace.to_string_lossy()),
            env("MARK", "again"),
            env("GIT_AUTHOR_NAME", "Worker"), env("GIT_AUTHOR_EMAIL", "worker@example.com"),
            env("GIT_COMMITTER_NAME", "Worker"), env("GIT_COMMITTER_EMAIL", "worker@example.com"),
        ],
        "review": {"by": "Agent", "backend": command(REVIEWER)},
    });
    let repository = json!({"path": path, "base": "main", "retention": {"merged": "1s", "failed": "1s"}});
    let mut all = vec![object("Repository", "app", repository), object("WorkerPool", "team", pool)];
    let ticket = |name: &str, more: Value| {
        let mut spec = json!({"title": format!("Do {name}"), "description": "As its name says."});
        spec.as_object_mut().expect("a spec").extend(more.as_object().expect("more").clone());
        object("Ticket", name, spec)
    };
    all.push(ticket("first", json!({"priority": 1})));
    all.push(ticket("second", json!({})));
    all.push(ticket("third", json!({})));
    all.push(ticket("after-first", json!({"dependsOn": ["first"]})));
    all.push(ticket("locked-1", json!({"locks": ["schema", "api"]})));
    all.push(ticket("locked-2", json!({"locks": ["api"]})));
    all.push(ticket("clash-1", json!({})));
    all.push(ticket("clash-2", json!({})));
    all.push(ticket("clash-3", json!({})));
    all.push(ticket("red", json!({})));
    all.push(ticket("poor", json!({})));
    all.push(ticket("idle", json!({"priority": 4})));
    all
}

fn assert_base_is_linear_green_and_complete(sandbox: &Sandbox, tickets: &BTreeMap<String, Value>) {
    let hub = sandbox.data().join("repositories/default/app/hub.git");
    assert_eq!(git(&hub, &["rev-list", "--merges", "main"]), "");
    git(&hub, &["fsck", "--no-dangling", "--no-progress"]);
    let clone = sandbox.work().join("clone");
    git(&sandbox.work(), &["clone", "--quiet", &hub.to_string_lossy(), &clone.to_string_lossy()]);
    for commit in git(&clone, &["rev-list", "main"]).lines() {
        git(&clone, &["checkout", "--quiet", commit]);
        let passed = Command::new("sh").arg("ci.sh").current_dir(&clone).output().expect("ci.sh");
        let log = git(&hub, &["log", "--oneline", "--name-status", "main"]);
        assert!(passed.status.success(), "{commit} of the base is red\n{log}");
    }
    git(&clone, &["checkout", "--quiet", "main"]);
    let shared = std::fs::read_to_string(clone.join("shared")).expect("shared");
    for (name, ticket) in tickets.iter().filter(|(_, t)| t["status"]["phase"] == "Merged") {
        let is_there = match name.starts_with("clash-") {
            true => shared.contains(name.as_str()),
            false => clone.join(format!("feature-{name}")).exists(),
        };
        assert!(is_there, "{name} is Merged and not in the base:\n{shared}\n{ticket:#}");
    }
    let poor = std::fs::read_to_string(clone.join("feature-poor")).expect("feature-poor");
    assert_eq!(poor, "done\n", "what the review found is in the base");
}

/// From the first to the last moment in which a ticket was in flight.
fn in_flight(ticket: &Value) -> (String, String) {
    let transitions = ticket["status"]["transitions"].as_array().cloned().unwrap_or_default();
    let at = |t: &Value| t["at"].as_str().unwrap_or_default().to_owned();
    let first = transitions.iter().find(|t| t["phase"] == "Working").map(at).unwrap_or_default();
    (first, transitions.last().map(at).unwrap_or_default())
}

fn assert_locks_and_dependencies_were_kept(tickets: &BTreeMap<String, Value>) {
    let (one, two) = (in_flight(&tickets["locked-1"]), in_flight(&tickets["locked-2"]));
    assert!(one.1 <= two.0 || two.1 <= one.0, "tickets with one lock ran together: {one:?} {two:?}");
    let (before, after) = (in_flight(&tickets["first"]), in_flight(&tickets["after-first"]));
    assert!(before.1 <= after.0, "a ticket began before what it depends on was merged: {before:?} {after:?}");
}

/// By what the workers themselves wrote down.
fn assert_holders_of_a_lock_took_turns(trace: &str) {
    let steps = trace.lines().filter(|line| line.starts_with("locked-") && !line.contains(" commits "));
    let mut at_work: BTreeSet<&str> = BTreeSet::new();
    for (name, step) in steps.filter_map(|line| line.split_once(' ')) {
        match step {
            "begins" => {
                assert!(at_work.insert(name) && at_work.len() == 1, "{at_work:?} have one lock\n{trace}")
            }
            _ => assert!(at_work.remove(name), "{name} ended twice\n{trace}"),
        }
    }
}

fn assert_nothing_is_left_over_and_nothing_lost(sandbox: &Sandbox, trace: &str) {
    let hub = sandbox.data().join("repositories/default/app/hub.git");
    wait_within(LIMIT, "all workspaces to go", || objects(sandbox, "workspaces").is_empty().then_some(()));
    let worktrees = git(&hub, &["worktree", "list", "--porcelain"]);
    assert_eq!(worktrees.matches("worktree ").count(), 1, "{worktrees}");
    let left: Vec<_> = std::fs::read_dir(sandbox.data().join("workspaces/default"))
        .map(|entries| entries.flatten().map(|entry| entry.path()).collect())
        .unwrap_or_default();
    assert!(left.is_empty(), "{left:?}");
    // What was never committed is in the hidden refs.
    let salvages = objects(sandbox, "salvages");
    let of = |ticket: &str| {
        salvages.iter().find(|s| s["spec"]["ticket"] == ticket).unwrap_or_else(|| panic!("{salvages:#?}"))
    };
    let kept = of("idle")["spec"]["snapshots"][0]["commit"].as_str().expect("a commit").to_owned();
    assert_eq!(git(&hub, &["show", &format!("{kept}:left-by-idle")]), "never committed");
    // Every commit that a worker made is in the base or below a hidden ref, and so is every tip that was kept.
    let reachable: BTreeSet<String> = git(&hub, &["rev-list", "--all"]).lines().map(str::to_owned).collect();
    for salvage in &salvages {
        for snapshot in salvage["spec"]["snapshots"].as_array().into_iter().flatten() {
            let tip = snapshot["tip"].as_str().expect("a tip");
            assert!(reachable.contains(tip), "{tip} of {} is gone", salvage["spec"]["name"]);
        }
    }
    for (who, commit) in trace.lines().filter_map(|line| line.split_once(" commits ")) {
        assert!(reachable.contains(commit), "the commit {commit} of {who} is gone\n{trace}");
    }
    let leases = objects(sandbox, "leases");
    let held: Vec<_> =
        leases.iter().filter(|l| l["metadata"]["labels"]["gcluster.dev/lock"] == "true").collect();
    assert!(
        held.iter().all(|l| l["spec"]["holderIdentity"].as_str().unwrap_or_default().is_empty()),
        "{held:#?}"
    );
}

fn told(tickets: &BTreeMap<String, Value>) -> String {
    let line = |(name, ticket): (&String, &Value)| {
        let status = &ticket["status"];
        format!(
            "{name}: {} {} {} (round {}, attempts {}, reviews {}, conflicts {})",
            status["phase"],
            status["reason"],
            status["message"],
            status["round"],
            status["attempts"],
            status["reviewRounds"],
            status["conflicts"]
        )
    };
    tickets.iter().map(line).collect::<Vec<_>>().join("\n")
}

fn executable(path: &Path) {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).expect("permissions");
}

/// What git printed. Panics with what it complained about.
fn git(dir: &Path, args: &[&str]) -> String {
    let identity = ["-c", "user.name=User", "-c", "user.email=user@example.com", "-c", "safe.directory=*"];
    let ran = Command::new("git").args(identity).args(args).current_dir(dir).output().expect("git");
    assert!(ran.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&ran.stderr));
    String::from_utf8_lossy(&ran.stdout).trim_end().to_owned()
}
