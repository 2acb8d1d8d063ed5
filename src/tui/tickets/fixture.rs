//! A small backlog in every state, for the tests of what is drawn and of what keys do.

use gcluster_types::{Agent, Check, Ticket};
use serde_json::{Value, json};

use super::{News, PoolRow, TicketRow};
use crate::tui::fixture::{Steer, agent, agents, changed, history, iteration, key, listing};
use crate::tui::fleet::Key;
use crate::tui::msg::{Changes, Link, Msg};

/// A ticket: id, priority, phase and reason; further fields by JSON pointer.
pub(crate) fn ticket(id: &str, priority: i32, phase: &str, reason: &str, more: &[(&str, Value)]) -> Ticket {
    let titles = [
        "Add avatars to the list of users",
        "Fix the login on slow networks",
        "Search in names that hold wide signs: 世界",
        "Speed up the first page",
        "Write the manual",
    ];
    let number: usize = id.trim_start_matches("T-").parse().unwrap_or(0);
    let mut ticket = json!({
        "apiVersion": "gcluster.dev/v1alpha1", "kind": "Ticket",
        "metadata": {"name": id.to_lowercase(), "namespace": "default", "uid": format!("uid-{id}"),
            "creationTimestamp": format!("2026-01-02T03:{:02}:00Z", number % 60), "labels": {"team": "core"}},
        "spec": {"title": titles[number % titles.len()], "priority": priority, "ticketID": id},
        "status": {"phase": phase, "reason": reason, "since": "2026-01-02T03:48:00.000000Z",
            "message": match reason { "Dependencies" => "it waits for t-3 (working)", _ => "" }},
    });
    for (pointer, value) in more {
        let (parent, field) = pointer.rsplit_once('/').unwrap();
        ticket.pointer_mut(parent).unwrap()[field] = value.clone();
    }
    serde_json::from_value(ticket).unwrap()
}

/// One of every phase, and of everything that has a sign of its own.
pub(crate) fn backlog() -> Vec<Ticket> {
    let worker = |n: i64| ("/status/worker", json!(n));
    let pool = || ("/status/pool", json!("builders"));
    let reviews = |n: i64| ("/status/reviewRounds", json!(n));
    let conflict = json!([{"type": "ConflictPredicted", "status": "True", "reason": "Conflict",
        "message": "a conflict is to be expected with ticket t-5 in src/list.rs (repository app)", "lastTransitionTime": "2026-01-02T03:50:00Z"}]);
    vec![
        ticket("T-1", 2, "Waiting", "Dependencies", &[]),
        ticket("T-2", 1, "Waiting", "Lock", &[]),
        ticket("T-10", 3, "Waiting", "Held", &[("/spec/state", json!("Held"))]),
        ticket("T-11", 3, "Ready", "Ready", &[]),
        ticket("T-4", 1, "Ready", "Ready", &[]),
        ticket(
            "T-3",
            1,
            "Working",
            "Working",
            &[worker(1), pool(), ("/status/conditions", conflict.clone())],
        ),
        ticket(
            "T-5",
            3,
            "Working",
            "Working",
            &[worker(2), pool(), reviews(2), ("/status/conditions", conflict)],
        ),
        ticket("T-6", 3, "Checking", "Checking", &[worker(3), pool()]),
        ticket("T-7", 2, "Reviewing", "NeedsHuman", &[worker(4), pool(), reviews(3)]),
        ticket("T-8", 3, "Reviewing", "Reviewing", &[worker(5), pool(), reviews(1)]),
        ticket("T-9", 3, "Approved", "Approved", &[pool()]),
        ticket("T-12", 3, "Merging", "Merging", &[pool()]),
        ticket("T-13", 3, "Merged", "Merged", &[pool(), reviews(1)]),
        ticket("T-14", 3, "Failed", "Attempts", &[pool()]),
        ticket("T-15", 3, "Cancelled", "Cancelled", &[]),
    ]
}

/// Tickets as their watch says them first.
pub(crate) fn tickets(all: &[Ticket]) -> Msg {
    let row = |ticket: &Ticket| {
        let row = TicketRow::of(ticket);
        (format!("default/{}", row.key.name()), row)
    };
    Msg::Tickets(Changes { all: true, put: all.iter().map(row).collect(), gone: Vec::new() })
}

/// One ticket as a change.
pub(crate) fn changed_ticket(ticket: &Ticket) -> Msg {
    let Msg::Tickets(changes) = tickets(std::slice::from_ref(ticket)) else { unreachable!() };
    Msg::Tickets(Changes { all: false, ..changes })
}

/// The ticket of the story, in its second round: red checks once, findings, a rejected merge.
pub(crate) fn told() -> Ticket {
    ticket(
        "T-5",
        3,
        "Working",
        "Working",
        &[
            (
                "/spec/description",
                json!(
                    "Show a **round** picture beside every name.\n\n- 32 points wide\n- a letter where there is none"
                ),
            ),
            ("/spec/dependsOn", json!(["t-13"])),
            ("/spec/locks", json!(["ui"])),
            ("/status/message", json!("worker 2 of builders works on it: the review asked for changes")),
            ("/status/worker", json!(2)),
            ("/status/pool", json!("builders")),
            ("/status/branch", json!("agent-2/feat-t-5")),
            ("/status/agent", json!("t-5-work-2")),
            ("/status/round", json!(2)),
            ("/status/reviewRounds", json!(1)),
            ("/status/conflicts", json!(1)),
            (
                "/status/feedback",
                json!("The review asked for changes:\n\n- `src/list.rs:12` the picture is square"),
            ),
            (
                "/status/changes",
                json!([
                {"repository": "app", "start": "a".repeat(40), "commit": "b".repeat(40), "commits": 2, "files": 3, "insertions": 120, "deletions": 33},
                {"repository": "docs", "start": "c".repeat(40), "commit": "d".repeat(40), "commits": 1, "files": 1, "insertions": 4, "deletions": 0}]),
            ),
            ("/status/usage", json!({"iterations": 3, "tokens": 184_000, "costUSD": 1.25})),
            (
                "/status/conditions",
                json!([{"type": "ConflictPredicted", "status": "True", "reason": "Conflict",
                "message": "a conflict is to be expected with ticket t-3 in src/list.rs (repository app)", "lastTransitionTime": "2026-01-02T03:50:00Z"}]),
            ),
        ],
    )
}

fn of<T: serde::de::DeserializeOwned>(kind: &str, name: &str, spec: Value, status: Value) -> (String, T) {
    let object = json!({"apiVersion": "gcluster.dev/v1alpha1", "kind": kind,
        "metadata": {"name": name, "namespace": "default", "creationTimestamp": "2026-01-02T03:30:00Z"},
        "spec": spec, "status": status});
    (name.to_owned(), serde_json::from_value(object).unwrap())
}

fn whole<T>(put: Vec<(String, T)>) -> Changes<T> {
    Changes { all: true, put, gone: Vec::new() }
}

/// Everything that is known of the told ticket.
pub(crate) fn story() -> Vec<Msg> {
    let about = |news| Msg::Story(key("t-5"), news);
    let check = |commit: &str, phase: &str, output: &str| -> Msg {
        let name = format!("app-{}", commit.repeat(12));
        let (_, check) = of::<Check>(
            "Check",
            &name,
            json!({"repository": "app", "commit": commit.repeat(40)}),
            json!({"phase": phase, "reason": "ExitCode", "message": if phase == "Failed" { "./ci.sh ended with 1" } else { "" },
                "output": output, "log": "/data/repositories/default/app/checks/1.log",
                "startedAt": "2026-01-02T03:40:00.000000Z", "finishedAt": "2026-01-02T03:40:12.000000Z"}),
        );
        Msg::Check(key(&name), Some(Box::new(check)))
    };
    let findings = json!([
        {"file": "src/list.rs", "line": 40, "severity": "low", "text": "A name would help here."},
        {"file": "src/list.rs", "line": 12, "severity": "high", "text": "The picture is square: the ticket asks for a round one."}]);
    vec![
        about(News::Ticket(Some(Box::new(told())))),
        about(News::Workspaces(whole(vec![of(
            "Workspace",
            "t-5",
            json!({"ticket": "t-5", "branch": "agent-2/feat-t-5", "repositories": [{"name": "app"}, {"name": "docs"}]}),
            json!({"phase": "Ready", "path": "/data/workspaces/default/t-5", "size": "14 MiB", "kept": "the ticket is at work",
                "repositories": [{"name": "app", "path": "/data/workspaces/default/t-5/app", "dirty": 2}]}),
        )]))),
        about(News::Reviews(whole(vec![of(
            "Review",
            "t-5-review-1",
            json!({"ticket": "t-5", "round": 1, "workspace": "t-5", "changes": [{"repository": "app", "base": "a", "commit": "b"}]}),
            json!({"phase": "Done", "verdict": "ChangesRequested", "count": 1, "attempts": 1, "agent": "t-5-review-1-1", "findings": findings}),
        )]))),
        about(News::Merges(whole(vec![of(
            "Merge",
            "t-5-merge-1",
            json!({"ticket": "t-5", "repositories": [{"name": "app", "branch": "x", "commit": "b", "base": "main"}]}),
            json!({"phase": "Rejected", "reason": "Conflict", "message": "2 files collide with main", "repositories": [
                {"name": "app", "conflicts": ["src/list.rs", "src/user.rs"]}], "brief": "`main` has renamed **User** meanwhile."}),
        )]))),
        check("b", "Failed", "running 12 tests\ntest picture_is_round ... FAILED\n\n1 failed"),
        about(News::Events(whole(vec![(
            "e".to_owned(),
            json!({"type": "Normal", "reason": "FindingsReturned", "message": "1 finding goes back to the worker",
                "lastTimestamp": "2026-01-02T03:45:00Z", "firstTimestamp": "2026-01-02T03:45:00Z", "count": 1}),
        )]))),
    ]
}

/// The agents of the told ticket.
pub(crate) fn workers() -> Vec<Agent> {
    let executing = || {
        vec![json!({"type": "Progressing", "status": "True", "reason": "Executing", "message": "x",
            "lastTransitionTime": "2026-01-02T03:48:00Z"})]
    };
    let done = || {
        vec![json!({"type": "Progressing", "status": "False", "reason": "Completed",
            "message": "the definition has come to its end", "lastTransitionTime": "2026-01-02T03:48:00Z"})]
    };
    let mut all = vec![
        agent("t-5-work-1", "Running", "stopped", &[], done()),
        agent("t-5-review-1-1", "Running", "stopped", &[], done()),
        agent("t-5-work-2", "Running", "running", &["t-5-work-2.work.0"], executing()),
    ];
    for (agent, minute) in all.iter_mut().zip([10, 20, 30]) {
        let at = format!("2026-01-02T03:{minute}:00Z").parse().unwrap();
        agent.metadata.creation_timestamp = Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(at));
    }
    all
}

impl Steer {
    /// The fleet with the workers, and the backlog, which is shown.
    pub(crate) fn tickets(width: u16, height: u16) -> Self {
        let mut steer = Self::empty(width, height);
        steer.send(listing(&agents()));
        for worker in workers() {
            steer.send(changed(&worker));
        }
        steer.send(Msg::Link(Link::Up));
        steer.send(tickets(&backlog()));
        steer.press("p");
        let pool = |name: &str, busy, message: Option<&str>| {
            let row = PoolRow { key: key(name), workers: 5, busy, message: message.map(str::to_owned) };
            (format!("default/{name}"), row)
        };
        steer.send(Msg::Pools(whole(vec![pool("builders", 5, None)])));
        steer
    }

    /// The told ticket is open.
    pub(crate) fn ticket(width: u16, height: u16) -> Self {
        let mut steer = Self::tickets(width, height);
        steer.command("ticket t-5");
        steer.send(changed_ticket(&told()));
        for msg in story() {
            steer.send(msg);
        }
        steer.press("enter");
        steer
    }

    /// The iterations of its worker become known.
    pub(crate) fn worked(&mut self) {
        self.send(history("t-5-work-2", vec![iteration("t-5-work-2", 0, "Running")]));
    }

    /// The selected ticket.
    pub(crate) fn chosen(&self) -> &str {
        self.model.desk.selected().map_or("", Key::name)
    }
}
