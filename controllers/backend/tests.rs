//! Real processes: a stand-in for `claude`, programs that do not want to end, lines of any size.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use gcluster_types::transcript::Entry;
use tempfile::TempDir;

use super::claude::ClaudeBackend;
use super::command::CommandBackend;
use super::rehearsal::RehearsalBackend;
use super::*;

const LIMIT: Duration = Duration::from_secs(60);

struct Place {
    dir: TempDir,
    launch: Launch,
}

fn place(args: &[&str]) -> Place {
    let dir = tempfile::tempdir().unwrap();
    let launch = Launch {
        iteration_uid: uuid::Uuid::new_v4().to_string(),
        iteration_name: "builder.build.0".into(),
        agent: "builder".into(),
        namespace: "default".into(),
        run_dir: dir.path().join("run"),
        working_directory: dir.path().to_owned(),
        prompt: "Do it\nwell".into(),
        args: args.iter().map(|arg| (*arg).to_owned()).collect(),
        session_id: uuid::Uuid::new_v4().to_string(),
        ..Launch::default()
    };
    Place { dir, launch }
}

async fn to_the_end(running: &mut Running) -> (Vec<BackendEvent>, Finished) {
    let mut events = Vec::new();
    loop {
        let event = tokio::time::timeout(LIMIT, running.events.recv()).await.expect("an event in time");
        match event.expect("Done comes before the end") {
            BackendEvent::Done(finished) => {
                assert_eq!(running.events.recv().await, None, "Done is the last event");
                return (events, finished);
            }
            event => events.push(event),
        }
    }
}

async fn run(backend: &dyn Backend, place: &Place) -> (Vec<BackendEvent>, Finished) {
    to_the_end(&mut backend.start(place.launch.clone()).await.unwrap()).await
}

fn texts(events: &[BackendEvent]) -> String {
    events
        .iter()
        .filter_map(|event| match event {
            BackendEvent::Record(Entry::Text { text }) => Some(text.as_str()),
            _ => None,
        })
        .collect::<Vec<_>>()
        .join("\n")
}

async fn wait_for(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = tokio::time::Instant::now() + LIMIT;
    while !condition() {
        assert!(tokio::time::Instant::now() < deadline, "waited for: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

fn script(dir: &Path, name: &str, text: &str) -> PathBuf {
    let path = dir.join(name);
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path
}

#[tokio::test]
async fn a_command_is_given_the_prompt_and_its_answer_is_the_output() {
    let place = place(&["sh", "-c", "cat; echo; pwd; echo $GCLUSTER_AGENT; echo oops >&2"]);
    let (events, finished) = run(&CommandBackend, &place).await;
    let directory = place.launch.working_directory.canonicalize().unwrap();
    let output = format!("Do it\nwell\n{}\nbuilder", directory.display());
    assert_eq!(finished.outcome, Outcome::Succeeded { output: output.clone() });
    assert_eq!(texts(&events), output);
    let mode =
        |name: &str| fs::metadata(place.launch.run_dir.join(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(""), mode("stdin"), mode("stdout"), mode("stderr")), (0o700, 0o600, 0o600, 0o600));
}

#[tokio::test]
async fn a_command_that_fails_is_quoted() {
    let (_, finished) = run(&CommandBackend, &place(&["sh", "-c", "echo no disk >&2; exit 3"])).await;
    let Outcome::Failed { reason, error, retry } = finished.outcome else { panic!("it failed") };
    assert_eq!((reason.as_str(), retry), ("CommandFailed", RetryClass::Transient));
    assert!(error.contains("exit status: 3") && error.contains("no disk"), "{error}");
}

#[tokio::test]
async fn what_cannot_start_says_why_and_leaves_nothing() {
    let missing = CommandBackend.start(place(&["no-such-program"]).launch).await.unwrap_err();
    assert_eq!((missing.reason(), missing.retry()), ("ProgramNotFound", RetryClass::Fatal));
    let nothing = CommandBackend.start(place(&[]).launch).await.unwrap_err();
    assert!(nothing.to_string().contains("spec.backend.args"), "{nothing}");
    let mut nowhere = place(&["sh"]);
    nowhere.launch.working_directory = nowhere.dir.path().join("none");
    let nowhere = CommandBackend.start(nowhere.launch).await.unwrap_err();
    assert_eq!(nowhere.reason(), "WorkingDirectoryUnusable");
    let claude = ClaudeBackend::with_program("/no/claude".into()).start(place(&[]).launch).await.unwrap_err();
    assert!(claude.to_string().contains("npm install"), "{claude}");
}

#[tokio::test]
async fn a_line_of_many_megabytes_and_bytes_that_are_no_text_hang_nothing() {
    let program = r"head -c 70000000 /dev/zero | tr '\0' x; echo; printf 'a\377b\rc'";
    let (events, finished) = run(&CommandBackend, &place(&["sh", "-c", program])).await;
    assert_eq!(finished.outcome, Outcome::Succeeded { output: "a\u{fffd}b\rc".into() });
    let told = events.iter().any(
        |event| matches!(event, BackendEvent::Record(Entry::Notice { text }) if text.contains("70000000 bytes")),
    );
    assert!(told, "the long line is mentioned");
    let program = r"head -c 5000000 /dev/zero | tr '\0' x";
    let (_, finished) = run(&CommandBackend, &place(&["sh", "-c", program])).await;
    let Outcome::Succeeded { output } = finished.outcome else { panic!("it succeeds") };
    assert_eq!(output.len(), 5_000_000);
}

/// Ignores SIGINT and SIGTERM, and starts: a child that does too, one in its own session, a double fork, and one
/// that cleans its environment.
const STUBBORN: &str = r#"
trap '' INT TERM
sh -c "trap '' INT TERM; while :; do sleep 1000; done" &
setsid sh -c "trap '' INT TERM; while :; do sleep 1000; done" &
(setsid sh -c "trap '' INT TERM; while :; do sleep 1000; done" &) &
env -i "$(command -v setsid)" "$(command -v sleep)" 1000 &
sleep 0.2
echo ready
while :; do sleep 1000; done
"#;

#[tokio::test]
async fn after_a_stop_nothing_lives_that_ignored_signals_or_left_its_session_or_cleaned_its_environment() {
    let place = place(&["sh", "-c", STUBBORN]);
    let mut running = CommandBackend.start(place.launch.clone()).await.unwrap();
    let first = tokio::time::timeout(LIMIT, running.events.recv()).await.unwrap().unwrap();
    assert_eq!(first, BackendEvent::Record(Entry::Text { text: "ready".into() }));
    let leader = running.process.clone().unwrap();
    assert!(sweep::is_alive(&leader));
    let before = sweep::family(&place.launch.iteration_uid, std::slice::from_ref(&leader));
    assert!(before.len() >= 5, "{before:?}");

    tokio::time::timeout(LIMIT, running.control.stop(Duration::from_millis(600))).await.unwrap();
    assert_eq!(sweep::family(&place.launch.iteration_uid, &[]), []);
    assert!(before.iter().all(|process| !sweep::is_alive(process)), "{before:?}");
    let (_, finished) = to_the_end(&mut running).await;
    assert_eq!(finished.outcome, Outcome::Interrupted { reason: "it was stopped".into() });
}

#[tokio::test]
async fn what_a_program_leaves_behind_when_it_ends_is_ended_and_said() {
    let place = place(&["sh", "-c", "setsid sleep 1000 & sleep 0.2; echo done"]);
    let (events, finished) = run(&CommandBackend, &place).await;
    assert_eq!(finished.outcome, Outcome::Succeeded { output: "done".into() });
    assert_eq!(sweep::family(&place.launch.iteration_uid, &[]), []);
    let told = events.iter().any(
        |event| matches!(event, BackendEvent::Record(Entry::Notice { text }) if text.contains("left running were ended")),
    );
    assert!(told, "{events:?}");
}

#[tokio::test]
async fn a_run_that_nobody_listens_to_is_ended() {
    let place = place(&["sleep", "1000"]);
    let running = CommandBackend.start(place.launch.clone()).await.unwrap();
    let process = running.process.clone().unwrap();
    drop(running.events);
    wait_for("the process is gone", || !sweep::is_alive(&process)).await;
    tokio::time::timeout(LIMIT, running.control.ended()).await.unwrap();
}

#[tokio::test]
async fn a_stop_does_not_wait_for_a_receiver_that_does_not_read() {
    let place = place(&["sh", "-c", "while :; do echo line; done"]);
    let running = CommandBackend.start(place.launch.clone()).await.unwrap();
    wait_for("output", || fs::metadata(place.launch.run_dir.join("stdout")).is_ok_and(|m| m.len() > 1 << 20))
        .await;
    tokio::time::timeout(LIMIT, running.control.stop(Duration::from_secs(5))).await.unwrap();
    assert!(!sweep::is_alive(&running.process.unwrap()));
}

#[tokio::test]
async fn a_later_master_finds_the_leader_by_its_mark_reads_it_to_its_end_and_knows_how_it_ended() {
    let place = place(&[
        "sh",
        "-c",
        "setsid sleep 1000 & echo one; while [ ! -e go ]; do sleep 0.02; done; echo two; exit 4",
    ]);
    let mut running = CommandBackend.start(place.launch.clone()).await.unwrap();
    let process = running.process.clone().unwrap();
    let first = tokio::time::timeout(LIMIT, running.events.recv()).await.unwrap().unwrap();
    let BackendEvent::Record(entry) = first else { panic!("{first:?}") };
    let uid = &place.launch.iteration_uid;
    assert_eq!(sweep::leader(uid), Some(process.clone()));
    assert!(sweep::is_of(&process, uid) && !sweep::is_of(&process, "another"));
    let adoption = Adoption {
        iteration_uid: uid.clone(),
        run_dir: place.launch.run_dir.clone(),
        args: vec!["agent.sh".into()],
        process: Some(process),
        recorded: vec![Entry::Prompt { text: "Do it".into() }, entry],
        ..Adoption::default()
    };
    let mut later = CommandBackend.adopt(adoption).unwrap().unwrap();
    fs::write(place.launch.working_directory.join("go"), "").unwrap();
    let mut events = Vec::new();
    while let Some(event) = tokio::time::timeout(LIMIT, later.events.recv()).await.unwrap() {
        events.push(event);
    }
    assert_eq!(texts(&events), "two", "what was on record does not come again");
    let Some(BackendEvent::Done(finished)) = events.last() else { panic!("{events:?}") };
    let Outcome::Failed { error, .. } = &finished.outcome else { panic!("{finished:?}") };
    assert!(error.contains("agent.sh ended with exit status: 4"), "{error}");
    assert_eq!(sweep::leader(uid), None);
    assert_eq!(sweep::family(uid, &[]), [], "what it left behind is gone");
}

#[tokio::test]
async fn a_sweep_ends_what_an_earlier_master_left() {
    let uid = uuid::Uuid::new_v4().to_string();
    let child = std::process::Command::new("setsid")
        .args(["sh", "-c", "trap '' TERM INT; while :; do sleep 1000; done"])
        .env(gcluster_types::labels::PROCESS_MARK, &uid)
        .spawn();
    let mut child = child.unwrap();
    wait_for("the process is marked", || !sweep::family(&uid, &[]).is_empty()).await;
    let swept = uid.clone();
    let left = tokio::task::spawn_blocking(move || sweep::sweep(&swept)).await.unwrap();
    assert!(left.is_empty(), "{left:?}");
    assert_eq!(sweep::family(&uid, &[]), []);
    child.wait().unwrap();
}

/// A stand-in for the CLI: keeps its arguments and its input, answers the prompt with a recording, ends when its
/// input is closed.
fn fake_claude(dir: &Path, recording: &str, after: &str) -> ClaudeBackend {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/data/backend/claude");
    let recording = data.join(format!("{recording}.ndjson"));
    let text = format!(
        "#!/bin/sh\necho \"$@\" > args\nenv > environment\nIFS= read -r prompt\nprintf '%s\\n' \"$prompt\" > input\n\
         cat '{}'\n{after}\n",
        recording.display()
    );
    ClaudeBackend::with_program(script(dir, "claude", &text))
}

#[tokio::test]
async fn claude_is_given_the_prompt_on_an_open_input_that_is_closed_after_the_result() {
    let mut place = place(&[]);
    place.launch.prompt = "x".repeat(300_000);
    place.launch.model = Some("sonnet".into());
    let claude = fake_claude(place.dir.path(), "tool_bash_partial", "cat > /dev/null; echo closed > closed");
    let (events, finished) = run(&claude, &place).await;
    assert_eq!(finished.outcome, Outcome::Succeeded { output: "It worked.".into() });
    assert_eq!((finished.turns, finished.tool_uses), (2, 1));
    assert!(
        matches!(&events[0], BackendEvent::Session { model: Some(model), .. } if model == "claude-sonnet-4-5")
    );
    assert!(texts(&events).contains("It worked."));
    let read = |name: &str| fs::read_to_string(place.dir.path().join(name)).unwrap();
    assert_eq!(read("closed"), "closed\n");
    assert!(read("args").contains(&format!("--session-id {}", place.launch.session_id)));
    let input: serde_json::Value = serde_json::from_str(&read("input")).unwrap();
    assert_eq!(input["message"]["content"].as_str().map(str::len), Some(300_000));
    let environment = read("environment");
    assert!(environment.contains(&format!("GCLUSTER_ITERATION_UID={}", place.launch.iteration_uid)));
    assert!(
        environment.contains("CLAUDE_CODE_DISABLE_BACKGROUND_TASKS=1")
            && !environment.contains("CLAUDECODE=")
    );
}

#[tokio::test]
async fn claude_that_goes_away_without_a_result_is_a_failure_with_what_it_said() {
    let place = place(&[]);
    let claude = script(place.dir.path(), "claude", "#!/bin/sh\necho 'out of memory' >&2\nkill -9 $$\n");
    let (_, finished) = run(&ClaudeBackend::with_program(claude), &place).await;
    let Outcome::Failed { reason, error, retry } = finished.outcome else { panic!("it failed") };
    assert_eq!((reason.as_str(), retry), ("BackendExited", RetryClass::Transient));
    assert!(error.contains("signal: 9") && error.contains("out of memory"), "{error}");
}

#[tokio::test]
async fn a_stop_interrupts_claude_first_so_that_its_result_is_kept() {
    let place = place(&[]);
    let after = "IFS= read -r request\nprintf '%s' \"$request\" > request\n\
                 echo '{\"type\":\"result\",\"subtype\":\"error_during_execution\",\"is_error\":true,\
                 \"terminal_reason\":\"aborted_tools\",\"num_turns\":3,\"model_usage_since_last_result\":\
                 {\"m\":{\"inputTokens\":7,\"outputTokens\":1,\"costUSD\":0.5}}}'";
    let claude = fake_claude(place.dir.path(), "sigterm_during_tool", after);
    let mut running = claude.start(place.launch.clone()).await.unwrap();
    loop {
        let event = tokio::time::timeout(LIMIT, running.events.recv()).await.unwrap().unwrap();
        if matches!(event, BackendEvent::Record(Entry::ToolUse { .. })) {
            break;
        }
    }
    tokio::time::timeout(LIMIT, running.control.stop(Duration::from_secs(20))).await.unwrap();
    let (events, finished) = to_the_end(&mut running).await;
    assert_eq!(finished.outcome, Outcome::Interrupted { reason: "it was stopped".into() });
    assert_eq!(finished.turns, 3);
    assert!(
        events
            .iter()
            .any(|event| matches!(event, BackendEvent::Usage { cost_usd: Some(cost), .. } if *cost == 0.5))
    );
    assert!(fs::read_to_string(place.dir.path().join("request")).unwrap().contains("\"interrupt\""));
}

#[tokio::test]
async fn a_rehearsal_says_that_it_is_one_and_costs_nothing() {
    let place = place(&["--pace=0.01"]);
    let (events, finished) = run(&RehearsalBackend, &place).await;
    let BackendEvent::Record(Entry::Notice { text }) = &events[1] else { panic!("{events:?}") };
    assert!(text.contains("rehearsal: no model is asked and nothing is executed"));
    assert_eq!(finished.outcome, Outcome::Succeeded { output: "Rehearsed: Do it".into() });
    assert_eq!(finished.tool_uses, 2);
    let free = BackendEvent::Usage { tokens: Default::default(), cost_usd: Some(0.0) };
    assert!(events.contains(&free));
}

#[tokio::test]
async fn a_rehearsal_does_what_its_script_says() {
    let ending = async |args: &[&str]| run(&RehearsalBackend, &place(args)).await.1.outcome;
    assert_eq!(ending(&["echo"]).await, Outcome::Succeeded { output: "Do it\nwell".into() });
    assert_eq!(ending(&["say a", "output b"]).await, Outcome::Succeeded { output: "b".into() });
    let failed =
        Outcome::Failed { reason: "Rehearsed".into(), error: "no".into(), retry: RetryClass::Transient };
    assert_eq!(ending(&["fail no"]).await, failed);
    let limit = ending(&["throttle-until 2026-01-02T03:04:05Z"]).await;
    assert!(matches!(limit, Outcome::Throttled { until: Some(at), .. } if at.as_second() == 1_767_323_045));
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("s"), "output from a file\n").unwrap();
    let file = format!("--script={}", dir.path().join("s").display());
    assert_eq!(ending(&[&file]).await, Outcome::Succeeded { output: "from a file".into() });
    for wrong in ["dance", "--pace=fast", "--script=/no/such/file"] {
        let error = RehearsalBackend.start(place(&[wrong]).launch).await.unwrap_err();
        assert_eq!(error.retry(), RetryClass::Fatal, "{error}");
    }
}

#[tokio::test]
async fn a_rehearsal_that_hangs_can_be_told_something_and_stopped() {
    let mut running = RehearsalBackend.start(place(&["hang"]).launch).await.unwrap();
    let message = SteerMessage { id: "m".into(), text: "hello".into(), ..SteerMessage::default() };
    running.control.steer(message).unwrap();
    loop {
        let event = tokio::time::timeout(LIMIT, running.events.recv()).await.unwrap().unwrap();
        if event == (BackendEvent::Steered { id: "m".into(), state: SteerState::Completed }) {
            break;
        }
    }
    let control = running.control.clone();
    let stop = tokio::spawn(async move { control.stop(Duration::ZERO).await });
    let (_, finished) = to_the_end(&mut running).await;
    assert!(matches!(finished.outcome, Outcome::Interrupted { .. }));
    tokio::time::timeout(LIMIT, stop).await.unwrap().unwrap();
}

#[tokio::test]
async fn an_interruption_ends_what_a_rehearsal_waits_for_and_it_goes_on() {
    let mut running = RehearsalBackend.start(place(&["hang", "output after"]).launch).await.unwrap();
    let message = SteerMessage { text: "now".into(), interrupt: true, ..SteerMessage::default() };
    running.control.steer(message.clone()).unwrap();
    let (events, finished) = to_the_end(&mut running).await;
    assert!(events.contains(&BackendEvent::Record(message.record())), "{events:?}");
    assert_eq!(finished.outcome, Outcome::Succeeded { output: "after".into() });
}

#[tokio::test]
async fn a_program_that_takes_no_messages_refuses_them() {
    let mut running = CommandBackend.start(place(&["sh", "-c", "sleep 0.3"]).launch).await.unwrap();
    running.control.steer(SteerMessage { id: "m".into(), ..SteerMessage::default() }).unwrap();
    let (events, _) = to_the_end(&mut running).await;
    assert_eq!(events, [BackendEvent::Steered { id: "m".into(), state: SteerState::Refused }]);
}

#[tokio::test]
async fn a_program_that_never_reads_its_input_can_be_stopped() {
    let mut place = place(&[]);
    place.launch.prompt = "x".repeat(1_000_000);
    let claude =
        script(place.dir.path(), "claude", "#!/bin/sh\ntrap '' INT TERM\nwhile :; do sleep 1000; done\n");
    let mut running = ClaudeBackend::with_program(claude).start(place.launch.clone()).await.unwrap();
    tokio::time::timeout(LIMIT, running.control.stop(Duration::from_millis(200))).await.unwrap();
    let (_, finished) = to_the_end(&mut running).await;
    assert_eq!(finished.outcome, Outcome::Interrupted { reason: "it was stopped".into() });
    assert_eq!(sweep::family(&place.launch.iteration_uid, &[]), []);
}
