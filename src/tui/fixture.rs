//! A small fleet in every state, for the tests of what is drawn and of what keys do.

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use gcluster_types::kinds::message::Message;
use gcluster_types::transcript::Record;
use gcluster_types::{Agent, AgentRevision, Iteration};
use k8s_openapi::jiff::Timestamp;
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use serde_json::{Value, json};

use super::fleet::{AgentRow, IterationRow, Key, Outlines};
use super::model::{Model, Setting};
use super::msg::{Changes, Effect, Link, Msg};
use super::theme::Mode;
use super::update::update;
use super::view;

/// The time of every test.
pub(crate) fn now() -> Timestamp {
    "2026-01-02T04:00:00Z".parse().unwrap()
}

/// The key of an agent of the fleet.
pub(crate) fn key(name: &str) -> Key {
    Key::new("default", name)
}

fn condition(kind: &str, status: &str, reason: &str, message: &str) -> Value {
    json!({"type": kind, "status": status, "reason": reason, "message": message,
        "lastTransitionTime": "2026-01-02T03:48:00Z"})
}

/// An agent that loops over one prompt.
pub(crate) fn agent(name: &str, run: &str, state: &str, active: &[&str], conditions: Vec<Value>) -> Agent {
    let ended = 7 + name.len() as i64;
    serde_json::from_value(json!({
        "apiVersion": "gcluster.dev/v1alpha1", "kind": "Agent",
        "metadata": {"name": name, "namespace": "default", "uid": format!("uid-{name}"), "generation": 1,
            "resourceVersion": "5", "creationTimestamp": "2026-01-02T03:00:00Z", "labels": {"team": "core"}},
        "spec": {"run": run, "workingDirectory": "/project",
            "definition": format!("(defagent \"{name}\"\n  (pipeline\n    (step \"work\" (loop work))))"),
            "methods": {"work": "(defmethod work ()\n  \"Take the first open task.\\n\\nBuild it, test it, commit it.\")"}},
        "status": {"observedGeneration": 1, "currentRevision": 2, "runState": state, "backend": "claude",
            "activeIterations": active, "revisions": [
                {"revision": 1, "name": format!("{name}-1"), "stableID": "0123456789abcdef", "digest": "1123456789abcdef", "createdAt": "2026-01-02T03:00:00.000000Z"},
                {"revision": 2, "name": format!("{name}-2"), "stableID": "0123456789abcdef", "digest": "2123456789abcdef", "createdAt": "2026-01-02T03:30:00.000000Z"}],
             "lastIterationTime": "2026-01-02T03:59:18.000000Z",
            "iterations": {"total": ended, "succeeded": ended - 1, "failed": 1}, "costUSD": 0.11 * ended as f64,
            "tokens": {"input": 1000, "output": 4000, "cacheRead": 90000, "cacheCreation": 500, "total": 95500},
            "stats": [{"step": "work", "nextNumber": ended, "iterations": ended, "succeeded": ended - 1, "failed": 1,
                "meanDurationSeconds": 41.0, "stddevDurationSeconds": 6.5, "meanTokens": 9500.0, "costUSD": 1.2}],
            "conditions": conditions},
    }))
    .unwrap()
}

/// Six agents, each with another need.
pub(crate) fn agents() -> Vec<Agent> {
    let executing = || condition("Progressing", "True", "Executing", "the definition is being executed");
    vec![
        agent("builder", "Running", "running", &["builder.work.13"], vec![executing()]),
        agent(
            "bugfixer",
            "Running",
            "running",
            &[],
            vec![condition(
                "BackingOff",
                "True",
                "Fruitless",
                "3 iterations in a row failed; the next begins in 2m",
            )],
        ),
        agent(
            "release-manager",
            "Paused",
            "stopped",
            &[],
            vec![condition("Progressing", "False", "Paused", "it is paused")],
        ),
        agent(
            "researcher",
            "Running",
            "running",
            &[],
            vec![condition(
                "Throttled",
                "True",
                "UsageLimitReached",
                "the provider's usage limit holds the agent until 05:00 UTC",
            )],
        ),
        agent(
            "translator",
            "Running",
            "stopped",
            &[],
            vec![condition("Progressing", "False", "Completed", "the definition has come to its end")],
        ),
        agent(
            "writer",
            "Running",
            "running",
            &[],
            vec![condition(
                "BackendAvailable",
                "False",
                "NotFound",
                "the program claude is not in PATH: install it",
            )],
        ),
    ]
}

/// What the agents' watch says first.
pub(crate) fn listing(agents: &[Agent]) -> Msg {
    let mut outlines = Outlines::default();
    let rows: Vec<AgentRow> = agents.iter().map(|agent| outlines.row(agent)).collect();
    let put = rows.into_iter().map(|row| (format!("default/{}", row.key.name()), row)).collect();
    Msg::Agents(Changes { all: true, put, gone: Vec::new() })
}

/// One agent as a change.
pub(crate) fn changed(agent: &Agent) -> Msg {
    let Msg::Agents(changes) = listing(std::slice::from_ref(agent)) else { unreachable!() };
    Msg::Agents(Changes { all: false, ..changes })
}

/// An iteration of the step `work`.
pub(crate) fn iteration(agent: &str, number: i64, phase: &str) -> IterationRow {
    let ended = ["Succeeded", "Failed", "Interrupted"].contains(&phase);
    let finished = ended.then(|| format!("2026-01-02T03:{:02}:41.000000Z", number + 30));
    let started = if ended {
        format!("2026-01-02T03:{:02}:00.000000Z", number + 30)
    } else {
        "2026-01-02T03:59:18.000000Z".into()
    };
    let reason = if phase == "Failed" { "BackendFailed" } else { "" };
    let iteration: Iteration = serde_json::from_value(json!({
        "apiVersion": "gcluster.dev/v1alpha1", "kind": "Iteration",
        "metadata": {"name": format!("{agent}.work.{number}"), "namespace": "default", "resourceVersion": (100 + number).to_string()},
        "spec": {"agent": agent, "revision": format!("{agent}-0123456789"), "step": "work", "kind": "Loop", "number": number},
        "status": {"phase": phase, "reason": reason, "startedAt": started, "finishedAt": finished, "toolUses": 3,
            "backend": "claude", "model": "opus", "tokens": {"input": 100, "output": 900, "cacheRead": 8500, "total": 9500}},
    }))
    .unwrap();
    IterationRow::of(&iteration)
}

/// Iterations as the watch of one agent says them first.
pub(crate) fn history(agent: &str, rows: Vec<IterationRow>) -> Msg {
    let put = rows.into_iter().map(|row| (format!("default/{}", row.name), row)).collect();
    Msg::History(key(agent), Changes { all: true, put, gone: Vec::new() })
}

/// Iterations 0 to 13 of the builder, the last one running.
pub(crate) fn builders() -> Msg {
    let phase = |n| {
        if n == 13 {
            "Running"
        } else if n == 10 {
            "Failed"
        } else {
            "Succeeded"
        }
    };
    history("builder", (0..14).map(|n| iteration("builder", n, phase(n))).collect())
}

/// Records of a conversation.
pub(crate) fn records() -> Vec<(u64, Record)> {
    let line = |second: u32, entry: Value| {
        let mut record = json!({"at": format!("2026-01-02T03:59:{second:02}.000000Z")});
        record.as_object_mut().unwrap().extend(entry.as_object().unwrap().clone());
        serde_json::from_value(record).unwrap()
    };
    let all: Vec<Record> = vec![
        line(
            18,
            json!({"type": "prompt", "text": "Take the first open task.\n\nBuild it, test it, commit it."}),
        ),
        line(20, json!({"type": "text", "text": "I look at the **backlog** first."})),
        line(21, json!({"type": "toolUse", "id": "1", "name": "Bash", "detail": "head BACKLOG.md"})),
        line(22, json!({"type": "toolResult", "id": "1", "text": "- [ ] search\n- [ ] login"})),
        line(30, json!({"type": "text", "text": "The first open task is *search*. I write its test."})),
    ];
    (0..).zip(all).collect()
}

/// A message of a person to the builder.
pub(crate) fn message(name: &str, text: &str, phase: &str) -> Message {
    serde_json::from_value(json!({
        "apiVersion": "gcluster.dev/v1alpha1", "kind": "Message",
        "metadata": {"name": name, "namespace": "default", "creationTimestamp": "2026-01-02T03:59:50Z"},
        "spec": {"agent": "builder", "text": text, "from": "ada"},
        "status": {"phase": phase, "iteration": if phase == "Pending" { Value::Null } else { json!("builder.work.13") }},
    }))
    .unwrap()
}

/// Two revisions of the builder.
pub(crate) fn revisions() -> Msg {
    let one = |n: i64, text: &str| -> AgentRevision {
        serde_json::from_value(json!({
            "apiVersion": "gcluster.dev/v1alpha1", "kind": "AgentRevision",
            "metadata": {"name": format!("builder-{n}"), "namespace": "default", "creationTimestamp": "2026-01-02T03:00:00Z"},
            "spec": {"agent": "builder", "revision": n, "stableID": "0123456789abcdef", "digest": format!("{n}123456789abcdef"),
                "definition": "(defagent \"builder\"\n  (pipeline\n    (step \"work\" (loop work))))",
                "methods": {"work": format!("(defmethod work ()\n  \"{text}\")")}},
        }))
        .unwrap()
    };
    let put = vec![
        ("builder-1".to_owned(), one(1, "Take any task.")),
        ("builder-2".to_owned(), one(2, "Take the first open task.\\n\\nBuild it, test it, commit it.")),
    ];
    Msg::Revisions(key("builder"), Changes { all: true, put, gone: Vec::new() })
}

/// A steer in a test.
pub(crate) struct Steer {
    /// Its state.
    pub(crate) model: Model,
}

impl Steer {
    /// Nothing is read yet.
    pub(crate) fn empty(width: u16, height: u16) -> Self {
        let setting = Setting {
            address: "127.0.0.1:43252".into(),
            namespace: Some("default".into()),
            ..Setting::default()
        };
        Self { model: Model::new(setting, Mode::Dark, (width, height), now()) }
    }

    /// The fleet, connected, with the iterations of the builder; the builder is selected.
    pub(crate) fn new(width: u16, height: u16) -> Self {
        let mut steer = Self::empty(width, height);
        steer.send(listing(&agents()));
        steer.send(Msg::Link(Link::Up));
        steer.send(builders());
        steer.command("go builder");
        steer.send(Msg::Agent(key("builder"), Some(Box::new(agents().remove(0)))));
        steer.send(revisions());
        steer
    }

    /// Takes in a message.
    pub(crate) fn send(&mut self, msg: Msg) -> Vec<Effect> {
        update(&mut self.model, msg)
    }

    /// Presses one key by the name that the table of keys gives it.
    pub(crate) fn press(&mut self, name: &str) -> Vec<Effect> {
        let (modifiers, name) = match name.split_once('-') {
            Some(("ctrl", key)) => (KeyModifiers::CONTROL, key),
            Some(("alt", key)) => (KeyModifiers::ALT, key),
            _ => (KeyModifiers::NONE, name),
        };
        let code = match name {
            "enter" => KeyCode::Enter,
            "esc" => KeyCode::Esc,
            "tab" => KeyCode::Tab,
            "up" => KeyCode::Up,
            "down" => KeyCode::Down,
            "left" => KeyCode::Left,
            "right" => KeyCode::Right,
            "pgup" => KeyCode::PageUp,
            "pgdn" => KeyCode::PageDown,
            "home" => KeyCode::Home,
            "end" => KeyCode::End,
            "space" => KeyCode::Char(' '),
            "backspace" => KeyCode::Backspace,
            letter => KeyCode::Char(letter.chars().next().unwrap()),
        };
        self.send(Msg::Key(KeyEvent::new(code, modifiers)))
    }

    /// Presses several keys, blanks between their names.
    pub(crate) fn keys(&mut self, names: &str) -> Vec<Effect> {
        names.split(' ').flat_map(|name| self.press(name)).collect()
    }

    /// Types a text.
    pub(crate) fn type_text(&mut self, text: &str) {
        for c in text.chars() {
            self.send(Msg::Key(KeyEvent::new(KeyCode::Char(c), KeyModifiers::NONE)));
        }
    }

    /// Gives a command.
    pub(crate) fn command(&mut self, line: &str) -> Vec<Effect> {
        self.press(":");
        self.type_text(line);
        self.press("enter")
    }

    /// What is on the screen.
    pub(crate) fn screen(&self) -> String {
        let (width, height) = self.model.size;
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        terminal.draw(|frame| view::draw(&self.model, frame)).unwrap();
        super::testing::rows(terminal.backend().buffer())
    }

    /// The same with the styles of each row below it.
    pub(crate) fn styled(&self) -> String {
        let (width, height) = self.model.size;
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        terminal.draw(|frame| view::draw(&self.model, frame)).unwrap();
        super::testing::styled_rows(terminal.backend().buffer(), &self.model.theme)
    }

    /// The last line of the screen.
    pub(crate) fn footer(&self) -> String {
        self.screen().lines().last().unwrap_or_default().to_owned()
    }

    /// The selected agent.
    pub(crate) fn selected(&self) -> &str {
        self.model.tree.selected().unwrap().agent().name()
    }
}
