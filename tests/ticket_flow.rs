//! Tickets on their whole way with the real binary, real git and workers that are shell scripts.

use serde_json::{Value, json};

use crate::support::cli::Sandbox;
use crate::support::git::Checkout;
use crate::support::master::{Master, object, objects, wait_object};
use crate::support::wait::{wait, wait_within};

use std::time::Duration;

/// Longer than any ticket needs on a busy machine.
const LONG: Duration = Duration::from_secs(240);

/// What the workers of these tests do unless a test says otherwise: one file, one commit, one sentence.
const WORK: &str = "cat > .git-prompt; mv .git-prompt \"$TMPDIR/prompt-$GCLUSTER_TICKET\" 2>/dev/null || rm -f .git-prompt
echo \"$GCLUSTER_TICKET\" > \"$GCLUSTER_TICKET.txt\"; git add -A; git commit -qm \"Do $GCLUSTER_TICKET\"; echo \"made $GCLUSTER_TICKET\"";

struct Team {
    sandbox: Sandbox,
    checkout: Checkout,
}

impl Team {
    /// A repository and a pool, applied; `pool` is merged into the pool's spec.
    fn new(work: &str, pool: Value) -> Self {
        let team = Team { sandbox: Sandbox::new(), checkout: Checkout::new() };
        std::fs::create_dir_all(team.notes()).expect("notes");
        let mut spec = json!({
            "replicas": 2, "repositories": ["app"], "review": {"by": "Nobody"},
            "backend": {"name": "command", "args": ["sh", "-c", work], "env": team.env()},
        });
        for (key, value) in pool.as_object().expect("fields") {
            spec[key] = value.clone();
        }
        let kind = |kind: &str, name: &str, spec: Value| {
            json!({"apiVersion": "gcluster.dev/v1alpha1", "kind": kind,
            "metadata": {"name": name}, "spec": spec})
        };
        let items = [
            kind("Repository", "app", json!({"path": team.checkout.path(), "base": "main"})),
            kind("WorkerPool", "team", spec),
        ];
        team.sandbox
            .write("team.json", &json!({"apiVersion": "v1", "kind": "List", "items": items}).to_string());
        team
    }

    fn notes(&self) -> std::path::PathBuf {
        self.sandbox.work().join("notes")
    }

    fn env(&self) -> Value {
        let notes = self.notes();
        let of = |name: &str, value: &str| json!({"name": name, "value": value});
        json!([
            of("GIT_AUTHOR_NAME", "w"),
            of("GIT_AUTHOR_EMAIL", "w@localhost"),
            of("GIT_COMMITTER_NAME", "w"),
            of("GIT_COMMITTER_EMAIL", "w@localhost"),
            of("TMPDIR", notes.to_str().expect("path")),
        ])
    }

    fn start(&self) -> Master {
        let master = Master::start(&self.sandbox);
        self.sandbox.run(["apply", "-f", "team.json"]).ok();
        master
    }

    fn add(&self, args: &[&str]) {
        self.sandbox.run([&["ticket", "add"], args].concat()).ok();
    }

    #[track_caller]
    fn until(&self, ticket: &str, what: &str, check: impl Fn(&Value) -> bool) -> Value {
        wait_within(LONG, &format!("{ticket}: {what}"), || {
            let found = object(&self.sandbox, "ticket", ticket)?["status"].clone();
            check(&found).then_some(found)
        })
    }

    #[track_caller]
    fn reaches(&self, ticket: &str, phase: &str) -> Value {
        self.until(ticket, phase, |status| {
            let ends = ["Failed", "Cancelled"];
            let now = status["phase"].as_str().unwrap_or_default();
            assert!(now == phase || !ends.contains(&now), "{ticket} is {now}: {status:#}");
            now == phase
        })
    }

    /// Subjects of the base branch in the hub, newest first.
    fn log(&self) -> Vec<String> {
        let repository = object(&self.sandbox, "repository", "app").expect("repository");
        let hub = repository["status"]["hub"].as_str().expect("hub").to_owned();
        let out = std::process::Command::new("git").args(["-C", &hub, "log", "--format=%s", "main"]).output();
        String::from_utf8_lossy(&out.expect("git").stdout).lines().map(str::to_owned).collect()
    }
}

#[test]
fn tickets_go_from_the_backlog_into_the_base_branch() {
    let team = Team::new(WORK, json!({"prompt": "Be brief."}));
    let _master = team.start();
    team.add(&["First [title] with brackets", "--id", "t-1", "-p", "high", "-D", "Make it [so]."]);
    team.add(&["Second", "--id", "t-2", "--depends-on", "t-1"]);
    team.add(&["Third", "--id", "t-3", "--lock", "ui"]);
    team.add(&["Fourth", "--id", "t-4", "--lock", "ui"]);
    for ticket in ["t-1", "t-2", "t-3", "t-4"] {
        let status = team.reaches(ticket, "Merged");
        assert_eq!(status["summary"], format!("made {ticket}"), "{status:#}");
        assert_eq!((&status["round"], &status["attempts"]), (&1.into(), &0.into()));
        let way: Vec<&str> =
            status["transitions"].as_array().unwrap().iter().filter_map(|t| t["phase"].as_str()).collect();
        let way: Vec<&str> = way.into_iter().filter(|phase| !["Waiting", "Ready"].contains(phase)).collect();
        assert_eq!(way, ["Working", "Checking", "Approved", "Merging", "Merged"], "{status:#}");
        assert_eq!(status["usage"]["iterations"], 1);
    }
    let mut log = team.log();
    let position = |what: &str, log: &[String]| log.iter().position(|line| line == what);
    assert!(position("Do t-2", &log) < position("Do t-1", &log), "{log:?}");
    log.sort();
    assert_eq!(log[..4], ["Do t-1", "Do t-2", "Do t-3", "Do t-4"], "{log:?}");
    // What the workers were told.
    let told = std::fs::read_to_string(team.notes().join("prompt-t-1")).expect("prompt");
    for part in ["First [title] with brackets", "Make it [so].", "Be brief.", "agent-"] {
        assert!(told.contains(part), "{part}\n{told}");
    }
    let told = std::fs::read_to_string(team.notes().join("prompt-t-2")).expect("prompt");
    assert!(told.contains("t-1: First [title]") && told.contains("made t-1"), "{told}");
    // Whoever shared a lock was never at work at the same time.
    let spans: Vec<(String, String)> = ["t-3", "t-4"]
        .iter()
        .map(|name| {
            let status = object(&team.sandbox, "ticket", name).expect("ticket")["status"].clone();
            let all = status["transitions"].as_array().unwrap().clone();
            let at = |phase: &str| {
                let found = all.iter().find(|t| t["phase"] == phase);
                found.and_then(|t| t["at"].as_str()).unwrap_or_default().to_owned()
            };
            (at("Working"), at("Merged"))
        })
        .collect();
    assert!(spans[0].1 <= spans[1].0 || spans[1].1 <= spans[0].0, "{spans:?}");
    wait("the locks to be let go", || {
        (team.sandbox.run(["get", "locks"]).ok().stdout.is_empty()).then_some(())
    });
    let pool = wait_object(&team.sandbox, "workerpool", "team", "counts", |o| o["status"]["merged"] == 4);
    assert_eq!((&pool["status"]["busy"], &pool["status"]["failed"]), (&0.into(), &0.into()));
    let told = team.sandbox.run(["describe", "ticket", "t-2"]).ok().stdout;
    for part in ["Phase:", "Merged", "t-2-work-1", "made t-2", "t-2-merge-1"] {
        assert!(told.contains(part), "{part}\n{told}");
    }
}

#[test]
fn what_a_worker_leaves_undone_goes_back_to_it_until_its_attempts_are_used_up() {
    // The first round commits nothing, the second leaves a file, the third does it.
    let work = "cat > \"$TMPDIR/prompt-$GCLUSTER_TICKET-$(ls \"$TMPDIR\" | wc -l)\"
case $(ls \"$TMPDIR\" | wc -l) in
1) echo 'nothing to do' ;;
2) echo x > x.txt ;;
*) git add -A; git commit -qm done; echo ready ;;
esac";
    let team = Team::new(work, json!({"replicas": 1}));
    let _master = team.start();
    team.add(&["Do it", "--id", "t-1"]);
    let status = team.reaches("t-1", "Merged");
    assert_eq!((&status["round"], &status["attempts"]), (&3.into(), &2.into()), "{status:#}");
    let reasons: Vec<&str> = status["transitions"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|t| t["phase"] == "Working")
        .filter_map(|t| t["reason"].as_str())
        .collect();
    assert_eq!(reasons, ["Taken", "NoCommit", "NotCommitted"]);
    let told = std::fs::read_to_string(team.notes().join("prompt-t-1-2")).expect("the third prompt");
    assert!(told.contains("not committed") && told.contains("1 file in app"), "{told}");
}

#[test]
fn a_worker_that_never_delivers_fails_its_ticket_and_a_person_can_send_it_back() {
    let work = "cat > /dev/null; if [ -e \"$TMPDIR/now\" ]; then echo x > x; git add x; git commit -qm x; fi; echo so";
    let team = Team::new(work, json!({"replicas": 1, "maxAttempts": 1}));
    let _master = team.start();
    team.add(&["Do it", "--id", "t-1"]);
    team.add(&["Needs it", "--id", "t-2", "--depends-on", "t-1"]);
    let status = team.until("t-1", "to fail", |status| status["phase"] == "Failed");
    assert_eq!((&status["reason"], &status["round"]), (&"NoCommit".into(), &2.into()), "{status:#}");
    assert!(status["message"].as_str().unwrap().contains("ticket send-back t-1"), "{status:#}");
    team.until("t-2", "to say why it waits", |status| status["reason"] == "DependencyFailed");
    std::fs::write(team.notes().join("now"), "").expect("note");
    assert_eq!(team.sandbox.run(["ticket", "send-back", "t-1", ""]).code, 2);
    team.sandbox.run(["ticket", "send-back", "t-1", "This time for real."]).ok();
    let status = team.until("t-1", "to be merged", |status| status["phase"] == "Merged");
    assert_eq!(status["round"], 3, "{status:#}");
    let again = team.sandbox.run(["ticket", "stop", "t-1"]);
    assert_eq!(again.code, 5, "{}", again.stderr);
    let agents: Vec<String> = objects(&team.sandbox, "agents")
        .iter()
        .filter_map(|agent| agent["metadata"]["name"].as_str().map(str::to_owned))
        .filter(|name| name.starts_with("t-1-"))
        .collect();
    assert_eq!(agents, ["t-1-work-1", "t-1-work-2", "t-1-work-3"]);
}

#[test]
fn a_person_approves_holds_stops_and_cancels() {
    let work = "cat > /dev/null; while [ ! -e \"$TMPDIR/go-$GCLUSTER_TICKET\" ]; do sleep 0.1; done
echo \"$GCLUSTER_TICKET\" > \"$GCLUSTER_TICKET.txt\"; git add -A; git commit -qm \"Do $GCLUSTER_TICKET\"; echo so";
    let team = Team::new(work, json!({"review": {"by": "Human"}, "replicas": 3}));
    let _master = team.start();
    for ticket in ["t-1", "t-2", "t-3"] {
        team.add(&[ticket, "--id", ticket]);
    }
    for ticket in ["t-1", "t-2", "t-3"] {
        team.until(ticket, "to be at work", |status| status["reason"] == "AtWork");
    }
    let early = team.sandbox.run(["approve", "nobody"]);
    assert_eq!(early.code, 4, "{}", early.stderr);
    team.sandbox.run(["ticket", "stop", "t-2", "-m", "not needed"]).ok();
    let status = team.until("t-2", "to be stopped", |status| status["phase"] == "Failed");
    assert_eq!(status["reason"], "Stopped");
    assert!(status["message"].as_str().unwrap().contains("not needed"), "{status:#}");
    team.sandbox.run(["ticket", "cancel", "t-3"]).ok();
    team.until("t-3", "to be cancelled", |status| status["phase"] == "Cancelled");
    for agent in ["t-2-work-1", "t-3-work-1"] {
        wait_object(&team.sandbox, "agent", agent, "to be at rest", |o| {
            o["spec"]["run"] == "Stopped"
                && o["status"]["runState"] == "stopped"
                && o["status"]["activeIterations"].is_null()
        });
    }
    team.sandbox.run(["ticket", "hold", "t-1"]).ok();
    team.until("t-1", "to be held", |status| status["reason"] == "Held");
    wait_object(&team.sandbox, "agent", "t-1-work-1", "to be paused", |o| o["spec"]["run"] == "Paused");
    team.sandbox.run(["ticket", "open", "t-1"]).ok();
    std::fs::write(team.notes().join("go-t-1"), "").expect("note");
    let status = team.until("t-1", "to ask", |status| status["reason"] == "NeedsHuman");
    assert_eq!(status["phase"], "Reviewing", "{status:#}");
    let listed = team.sandbox.run(["ticket", "list"]).ok().stdout;
    assert!(listed.contains("gcluster approve t-1") && listed.contains("team"), "{listed}");
    team.sandbox.run(["approve", "t-1"]).ok();
    team.reaches("t-1", "Merged");
}

#[test]
fn locks_are_taken_by_hand_imported_and_exported() {
    let team = Team::new(WORK, json!({}));
    let _master = team.start();
    assert!(team.sandbox.run(["locks", "import", "none.json"]).ok().stderr.contains("holds no lock"));
    team.sandbox.write("locks.json", "{\"UI state\": \"anna\"}");
    team.sandbox.run(["locks", "import", "locks.json"]).ok();
    team.add(&["Paint", "--id", "t-1", "--lock", "ui-state", "--lock", "api"]);
    let status = team.until("t-1", "to be locked out", |status| status["reason"] == "Locked");
    assert!(status["message"].as_str().unwrap().contains("held by anna"), "{status:#}");
    let table = team.sandbox.run(["get", "locks"]).ok().stdout;
    let rows: Vec<&str> = table.lines().collect();
    assert!(rows[0].starts_with("LOCK") && rows[1].contains("anna") && rows[1].ends_with("t-1"), "{table}");
    assert_eq!(rows.len(), 2, "all locks are taken or none: {table}");
    assert_eq!(
        team.sandbox.run(["get", "locks", "-o", "name"]).ok().stdout.trim(),
        "lease.coordination.k8s.io/lock-ui-state"
    );
    let holder = ["get", "lock", "UI state", "-o", "jsonpath={.spec.holderIdentity}"];
    assert_eq!(team.sandbox.run(holder).ok().stdout.trim(), "anna");
    team.sandbox.run(["locks", "take", "other", "--holder", "bob"]).ok();
    team.sandbox.run(["locks", "import", "--replace", "locks.json"]).ok();
    team.sandbox.run(["locks", "export", "out.json"]).ok();
    let out = std::fs::read_to_string(team.sandbox.work().join("out.json")).expect("file");
    assert_eq!(serde_json::from_str::<Value>(&out).unwrap(), json!({"UI state": "anna"}));
    assert_eq!(team.sandbox.run(["locks", "release", "nothing"]).code, 4);
    team.sandbox.run(["locks", "release", "ui state"]).ok();
    team.reaches("t-1", "Merged");
    // One that is not renewed is lost.
    team.sandbox.run(["locks", "take", "db", "--holder", "script", "--seconds", "1"]).ok();
    team.add(&["Migrate", "--id", "t-2", "--lock", "db"]);
    team.reaches("t-2", "Merged");
    let told = team.sandbox.run(["events"]).ok().stdout;
    assert!(told.contains("LockExpired"), "{told}");
}

#[test]
fn a_master_that_is_killed_at_any_moment_goes_on_where_it_was() {
    let team = Team::new(WORK, json!({}));
    let mut master = team.start();
    for ticket in ["t-1", "t-2", "t-3", "t-4"] {
        team.add(&[ticket, "--id", ticket, "--lock", if ticket < "t-3" { "one" } else { "two" }]);
    }
    // Wherever it happens to be: in the middle of a workspace, a worker, a check, a merge.
    for round in 0..8_u64 {
        std::thread::sleep(Duration::from_millis(150 + (round * 7919) % 2_000));
        master.kill();
        master = Master::start(&team.sandbox);
    }
    for ticket in ["t-1", "t-2", "t-3", "t-4"] {
        let status = team.reaches(ticket, "Merged");
        assert_eq!(status["attempts"], 0, "a killed master is no failure of the worker: {status:#}");
    }
    let mut log = team.log();
    log.retain(|line| line.starts_with("Do "));
    log.sort();
    assert_eq!(log, ["Do t-1", "Do t-2", "Do t-3", "Do t-4"]);
    let agents = objects(&team.sandbox, "agents");
    assert_eq!(agents.len(), 4, "one worker each: {agents:#?}");
    drop(master);
}
