use super::*;
use crate::tui::conversation::Conversation;
use crate::tui::editor::Editor;
use crate::tui::testing::{rows, screen, snapshot, styled_rows};
use crate::tui::theme::Mode;
use gcluster_types::AgentRevision;
use gcluster_types::kinds::agent::{Agent, StepStats};
use gcluster_types::kinds::iteration::Iteration;
use k8s_openapi::jiff::Timestamp;
use proptest::prelude::*;
use serde_json::{Value, json};

const SIZES: [(u16, u16); 4] = [(60, 15), (80, 24), (120, 40), (200, 60)];

fn now() -> Timestamp {
    "2026-01-02T04:00:00Z".parse().unwrap()
}

fn pipeline() -> &'static str {
    "(defagent \"builder\"\n  (pipeline\n    (step \"plan\" (call plan))\n    (step \"build\" (loop build))))"
}

fn builder(changes: Value) -> Agent {
    let hash = "0123456789abcdef".repeat(4);
    let mut agent = json!({
        "apiVersion": "gcluster.dev/v1alpha1", "kind": "Agent",
        "metadata": {"name": "builder", "namespace": "default", "creationTimestamp": "2026-01-02T03:00:00Z"},
        "spec": {
            "agentName": "builder", "workingDirectory": "/project", "backend": {"name": "claude", "model": "opus"},
            "limits": {"maxIterations": 10, "maxBudgetUSD": 5.0, "iterationTimeout": "45m"},
            "definition": pipeline(),
            "methods": {"plan": "(defmethod plan ()\n  \"Plan.\")", "build": "(defmethod build ()\n  \"Build.\")"},
        },
        "status": {
            "runState": "running", "currentRevision": 2, "backend": "claude", "cost": "$1.20", "costUSD": 1.2,
            "lastIterationTime": "2026-01-02T03:59:30.000000Z", "activeIterations": ["builder.build.7"],
            "iterations": {"total": 7, "succeeded": 5, "failed": 2},
            "tokens": {"input": 1000, "output": 234, "cacheRead": 50000, "cacheCreation": 0, "total": 51234},
            "revisions": [
                {"revision": 1, "name": "builder-aaaa", "stableID": hash, "digest": hash, "createdAt": "2026-01-02T03:00:00.000000Z"},
                {"revision": 2, "name": "builder-bbbb", "stableID": hash.replace('0', "f"), "digest": hash,
                    "createdAt": "2026-01-02T03:30:00.000000Z"}],
            "stats": [
                {"step": "plan", "nextNumber": 1, "iterations": 1, "succeeded": 1, "meanDurationSeconds": 12.5, "meanTokens": 900.0, "costUSD": 0.2},
                {"step": "build", "nextNumber": 7, "iterations": 6, "succeeded": 4, "failed": 2, "meanDurationSeconds": 61.0,
                    "stddevDurationSeconds": 4.25, "meanTokens": 8400.0, "stddevTokens": 120.0, "costUSD": 1.0}],
            "conditions": [
                {"type": "Ready", "status": "True", "reason": "RevisionRecorded", "message": "revision 2",
                    "lastTransitionTime": "2026-01-02T03:00:00Z"},
                {"type": "WithinLimits", "status": "True", "reason": "WithinLimits", "message": "",
                    "lastTransitionTime": "2026-01-02T03:00:00Z"},
                {"type": "Progressing", "status": "True", "reason": "Running", "message": "step build",
                    "lastTransitionTime": "2026-01-02T03:48:00Z"}],
        },
    });
    merge(&mut agent, &changes);
    serde_json::from_value(agent).unwrap()
}

fn merge(into: &mut Value, changes: &Value) {
    match (into, changes) {
        (Value::Object(into), Value::Object(changes)) => {
            for (key, value) in changes {
                merge(into.entry(key.clone()).or_insert(Value::Null), value);
            }
        }
        (into, changes) => *into = changes.clone(),
    }
}

fn failing() -> Agent {
    builder(json!({"status": {"activeIterations": [], "cost": "$4.75", "costUSD": 4.75, "conditions": [
        {"type": "Ready", "status": "True", "reason": "RevisionRecorded", "message": "revision 2", "lastTransitionTime": "2026-01-02T03:00:00Z"},
        {"type": "BackingOff", "status": "True", "reason": "BackendFailed",
            "message": "3 iterations failed in a row; the next begins in 30s", "lastTransitionTime": "2026-01-02T03:59:40Z"},
        {"type": "Throttled", "status": "Unknown", "reason": "Unknown", "message": "", "lastTransitionTime": "2026-01-02T03:59:40Z"},
        {"type": "Custom", "status": "False", "reason": "Because", "message": "of this", "lastTransitionTime": "2026-01-02T03:59:40Z"}]}}))
}

fn revision(number: i64, build: &str, methods: Value) -> AgentRevision {
    let mut revision = json!({
        "apiVersion": "gcluster.dev/v1alpha1", "kind": "AgentRevision", "metadata": {"name": format!("builder-{number}")},
        "spec": {"agent": "builder", "revision": number, "stableID": "01ab", "digest": "0123", "definition": pipeline(),
            "methods": {"build": format!("(defmethod build ()\n  {})", serde_json::to_string(build).unwrap())}}});
    merge(&mut revision["spec"]["methods"], &methods);
    serde_json::from_value(revision).unwrap()
}

fn revisions() -> [AgentRevision; 2] {
    let lines = |changed: &str| {
        (1..=12)
            .map(|n| if n == 6 { changed.to_owned() } else { format!("Rule {n} of the prompt.") })
            .collect::<Vec<_>>()
            .join("\n")
    };
    [
        revision(1, &lines("Rule 6 says: be quick."), json!({"old": "(defmethod old ()\n  \"Gone.\")"})),
        revision(
            2,
            &lines("Rule 6 says: be careful, and say what you did."),
            json!({"plan": "(defmethod plan ()\n  \"Plan.\")"}),
        ),
    ]
}

fn events() -> Vec<Value> {
    vec![
        json!({"type": "Normal", "reason": "IterationStarted", "message": "builder.build.6", "lastTimestamp": "2026-01-02T03:58:00Z"}),
        json!({"type": "Warning", "reason": "BackendFailed", "message": "exit status 1", "count": 3, "lastTimestamp": "2026-01-02T03:59:30Z"}),
    ]
}

fn page(agent_object: &Agent, chosen: Option<i64>, width: u16, theme: &Theme) -> Page {
    let (revisions, events) = (revisions(), events());
    let revisions: Vec<&AgentRevision> = revisions.iter().collect();
    let events: Vec<&Value> = events.iter().collect();
    agent(
        AgentData {
            agent: agent_object,
            revisions: &revisions,
            events: &events,
            running: &[],
            chosen,
            now: now(),
        },
        width,
        theme,
    )
}

#[test]
fn an_agent_says_first_what_it_does_and_then_everything_known() {
    let theme = Theme::default();
    for (width, height) in SIZES {
        let page = page(&builder(json!({})), None, width, &theme);
        let first = screen(width, height, |area, buffer| page.draw(0, area, buffer, &theme));
        let last = screen(width, height, |area, buffer| page.draw(usize::MAX, area, buffer, &theme));
        snapshot(&format!("agent-{width}x{height}"), &format!("{}\n{}", rows(&first), rows(&last)));
        assert!(page.lines.iter().all(|line| width_of(line) < usize::from(width)));
    }
}

fn width_of(line: &ratatui::text::Line<'_>) -> usize {
    crate::tui::text::width(&crate::tui::text::line_text(line))
}

#[test]
fn an_agent_in_trouble_says_so_with_signs_and_colours() {
    let theme = Theme::default();
    let page_of = |agent: &Agent, theme: &Theme, rows: u16| {
        let page = page(agent, Some(1), 100, theme);
        screen(100, rows, |area, buffer| page.draw(0, area, buffer, theme))
    };
    snapshot("agent-failing", &styled_rows(&page_of(&failing(), &theme, 48), &theme));
    let plain = Theme::new(Mode::Plain, true);
    let mut states = String::new();
    for changes in [
        json!({"status": {"runState": "stopped", "conditions": []}, "spec": {"run": "Paused"}}),
        json!({"status": {"runState": "stopped", "conditions": []}, "spec": {"run": "Stopped"}}),
        json!({"status": {"runState": "stopped", "conditions": []}}),
        json!({"status": {"runState": "running", "activeIterations": []}}),
        json!({"status": null}),
        json!({"metadata": {"deletionTimestamp": "2026-01-02T03:59:00Z", "finalizers": ["gcluster.dev/executor"]}}),
    ] {
        let buffer = page_of(&builder(changes), &plain, 1);
        states.push_str(&rows(&buffer));
    }
    snapshot("agent-states", &states);
}

#[test]
fn a_revision_is_compared_in_the_words_of_its_prompts() {
    let theme = Theme::default();
    let [old, new] = revisions();
    let lines = revision_diff(Some(&old), &new, 59, &theme);
    let first = revision_diff(None, &old, 59, &theme);
    let same = revision_diff(Some(&old), &old, 59, &theme);
    let shown =
        [lines, first, same].map(|lines| crate::tui::testing::styled_lines(&lines, 60, &theme)).join("\n");
    snapshot("revision-diff", &shown);
    let steps = "(defpipeline p (topic)\n  (pipeline topic\n    (step \"a\" (call a))\n    (step \"items\" (map items fix))\n    (step \"x\" (loop y))))";
    assert_eq!(form_text(steps), "begins with [topic]\na\nitems: map(items, fix)\nx: loop(y)");
    assert_eq!(form_text("(not a definition"), "(not a definition");
}

fn stats() -> StepStats {
    builder(json!({})).status.unwrap().stats[1].clone()
}

const PROMPT: &str = "You build what the backlog asks for.\n\n1. Take the first open task.\n2. Write a test that fails, then make it pass, and keep every other test green while you are at it.\n\nSay in one sentence what you did.";

#[test]
fn a_step_shows_its_prompt_beside_what_was_measured() {
    let theme = Theme::default();
    let stats = stats();
    let data = StepData { does: "loop build", stats: Some(&stats), active: 1, revision: Some(2) };
    for (width, height) in SIZES {
        let read = Prompt::Read { text: PROMPT, scroll: 0 };
        let buffer = screen(width, height, |area, buffer| {
            assert!(loop_step(data, read, area, buffer, &theme).is_none())
        });
        snapshot(&format!("step-{width}x{height}"), &rows(&buffer));
    }
    let new = StepData { does: "call plan", ..StepData::default() };
    let none = Prompt::None("This step runs a pipeline: its own steps have the prompts.");
    let buffer = screen(80, 15, |area, buffer| assert!(loop_step(new, none, area, buffer, &theme).is_none()));
    snapshot("step-without-prompt", &rows(&buffer));
}

#[test]
fn a_prompt_is_edited_in_place_and_a_conflict_shows_both() {
    let theme = Theme::default();
    let stats = stats();
    let data = StepData { does: "loop build", stats: Some(&stats), active: 0, revision: Some(2) };
    let mut editor = Editor::new(PROMPT);
    editor.insert(" And why.");
    let note = "ctrl-s saves a new revision, esc leaves";
    let mut shown = String::new();
    for (width, height) in [(60, 15), (100, 15)] {
        let mut at = None;
        let edit = Prompt::Edit { editor: &editor, note };
        let buffer = screen(width, height, |area, buffer| at = loop_step(data, edit, area, buffer, &theme));
        shown.push_str(&format!("{at:?}\n{}\n", rows(&buffer)));
        let words = "somebody else changed this prompt: ctrl-s saves yours over theirs, ctrl-t takes theirs";
        let conflict = Prompt::Conflict { editor: &editor, theirs: "You build.\nSlowly.", note: words };
        let buffer =
            screen(width, height, |area, buffer| at = loop_step(data, conflict, area, buffer, &theme));
        shown.push_str(&format!("{at:?}\n{}\n", styled_rows(&buffer, &theme)));
    }
    snapshot("step-editing", &shown);
}

fn iteration_object(changes: Value) -> Iteration {
    let mut iteration = json!({
        "apiVersion": "gcluster.dev/v1alpha1", "kind": "Iteration", "metadata": {"name": "builder.build.7", "namespace": "default"},
        "spec": {"agent": "builder", "revision": "builder-bbbb", "step": "build", "kind": "Loop", "number": 7},
        "status": {"phase": "Running", "backend": "claude", "model": "opus", "startedAt": "2026-01-02T03:59:00.000000Z",
            "toolUses": 3, "turns": 4, "sessionID": "5f0c-11aa", "costUSD": 0.051,
            "tokens": {"input": 1000, "output": 234, "cacheRead": 50000, "cacheCreation": 7, "total": 51241}},
    });
    merge(&mut iteration, &changes);
    serde_json::from_value(iteration).unwrap()
}

#[test]
fn an_iteration_has_its_facts_above_its_conversation() {
    let theme = Theme::default();
    let mut conversation = Conversation::new();
    for (number, text) in ["I will look at the backlog.", "Then I build."].iter().enumerate() {
        let line = json!({"at": "2026-01-02T03:59:10.000000Z", "type": "text", "text": text});
        conversation.push(number as u64, &serde_json::from_value(line).unwrap());
    }
    let mut shown = String::new();
    let failed = json!({"status": {"phase": "Failed", "reason": "BackendExited", "error": "exit status 1\nno credit",
        "finishedAt": "2026-01-02T03:59:30.000000Z"}});
    for (changes, size) in [
        (json!({}), (60, 15)),
        (json!({}), (120, 16)),
        (failed, (80, 24)),
        (json!({"status": null}), (60, 8)),
    ] {
        let facts = Facts::of(&iteration_object(changes));
        let area = Rect::new(0, 0, size.0, size.1);
        let inner = conversation_area(&facts, now(), area, &theme);
        conversation.layout(inner.width, inner.height, &theme);
        let buffer = screen(size.0, size.1, |area, buffer| {
            iteration(&facts, now(), &conversation, area, buffer, &theme)
        });
        shown.push_str(&format!("{}x{}\n{}\n", size.0, size.1, styled_rows(&buffer, &theme)));
    }
    snapshot("iteration", &shown);
}

#[test]
fn no_room_is_no_reason_to_fail() {
    let theme = Theme::new(Mode::HighContrast, true);
    let stats = stats();
    let data = StepData { does: "loop build", stats: Some(&stats), active: 1, revision: Some(2) };
    let editor = Editor::new(PROMPT);
    let conversation = Conversation::new();
    let facts = Facts::of(&iteration_object(json!({})));
    for width in [0, 1, 2, 3, 7, 12, 24, 30, 72, 73] {
        for height in [0, 1, 2, 3, 9] {
            screen(width, height, |area, buffer| {
                page(&failing(), None, width, &theme).draw(3, area, buffer, &theme);
                empty("nothing here yet", area, buffer, &theme);
                for prompt in [
                    Prompt::None("x"),
                    Prompt::Read { text: PROMPT, scroll: 99 },
                    Prompt::Edit { editor: &editor, note: "n" },
                    Prompt::Conflict { editor: &editor, theirs: "t", note: "n" },
                ] {
                    let at = loop_step(data, prompt, area, buffer, &theme);
                    assert!(at.is_none_or(|at| area.contains(at)), "{at:?} in {area:?}");
                }
                iteration(&facts, now(), &conversation, area, buffer, &theme);
            });
        }
    }
}

#[test]
fn nothing_to_show_is_said_in_the_middle() {
    let theme = Theme::default();
    let words = "No agent yet. `gcluster apply -f team.p` starts some; they appear here at once.";
    let buffer = screen(60, 7, |area, buffer| empty(words, area, buffer, &theme));
    snapshot("empty", &rows(&buffer));
}

proptest! {
    #[test]
    fn hostile_words_stay_in_their_place(words in "\\PC{0,40}|(\u{1b}\\[[0-9]{1,2}m|\u{202e}|\n|\t|a){0,20}", width in 1_u16..90) {
        let theme = Theme::default();
        let agent = builder(json!({"spec": {"workingDirectory": words, "definition": words}, "status": {"conditions": [
            {"type": words, "status": "False", "reason": words, "message": words, "lastTransitionTime": "2026-01-02T03:00:00Z"}]}}));
        let page = page(&agent, Some(2), width, &theme);
        for line in &page.lines {
            let text = crate::tui::text::line_text(line);
            prop_assert!(!text.chars().any(|c| c.is_control() || c == '\u{202e}'), "{:?}", text);
            prop_assert!(width < 8 || width_of(line) < usize::from(width), "{:?} in {}", text, width);
        }
    }
}
