//! Steer in a real terminal (tmux) against a real master: what people see and what their keys do.

use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::{Value, json};

use crate::support::cli::{Sandbox, ran};
use crate::support::http::{request, token};
use crate::support::master::{Master, object, signal, wait_object};
use crate::support::skip::program_or_skip;
use crate::support::wait::wait;

/// Two agents; an iteration of the rehearsal takes a few seconds.
const TEAM: &str = "agent-builder:\n\tloop(build)\n\nagent-fixer:\n\tloop(fix)\n\nbuild:\n\tBuild one thing.\n\nfix:\n\tFix one thing.\n";

/// A tmux server of its own; ended when dropped.
struct Tmux {
    program: PathBuf,
    socket: String,
    sandbox_path: PathBuf,
}

impl Tmux {
    /// Starts a shell of a size in it, or says why not.
    fn start(sandbox: &Sandbox, test: &str) -> Option<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let program = program_or_skip("tmux", test)?;
        let socket = format!("gcluster-test-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let tmux = Self { program, socket, sandbox_path: sandbox.work() };
        let mut command =
            tmux.command(&["-f", "/dev/null", "new-session", "-d", "-x", "120", "-y", "40", "-s", "s", "sh"]);
        sandbox.seal(&mut command);
        command.env("PS1", "$ ").env("TERM", "xterm-256color").env("LANG", "C.UTF-8").env("USER", "ada");
        ran(&mut command).ok();
        Some(tmux)
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.args(["-L", &self.socket, "-u"]).args(args).current_dir(&self.sandbox_path);
        command
    }

    /// Presses keys by tmux's names.
    fn keys(&self, names: &[&str]) {
        let mut args = vec!["send-keys", "-t", "s"];
        args.extend(names);
        ran(&mut self.command(&args)).ok();
    }

    /// Types a text.
    fn text(&self, text: &str) {
        ran(&mut self.command(&["send-keys", "-t", "s", "-l", text])).ok();
    }

    /// What is on the screen.
    fn screen(&self) -> String {
        ran(&mut self.command(&["capture-pane", "-p", "-t", "s"])).ok().stdout
    }

    /// Waits until the screen holds a text.
    #[track_caller]
    fn sees(&self, text: &str) -> String {
        let mut last = String::new();
        let begin = std::time::Instant::now();
        loop {
            last.clone_from(&self.screen());
            if last.contains(text) {
                return last;
            }
            assert!(begin.elapsed().as_secs() < 60, "waited in vain for {text:?} on:\n{last}");
            std::thread::sleep(std::time::Duration::from_millis(40));
        }
    }

    /// Starts steer in the shell.
    fn steer(&self, arguments: &str) {
        let program = env!("CARGO_BIN_EXE_gcluster");
        self.text(&format!("'{program}' steer {arguments}"));
        self.keys(&["Enter"]);
    }

    /// Waits until steer has given the terminal back, and for its exit code.
    #[track_caller]
    fn ended(&self, code: i32) -> String {
        wait("steer to give the terminal back", || (!self.screen().contains("Agents 2")).then_some(()));
        self.text("echo ended with $?");
        self.keys(&["Enter"]);
        self.sees(&format!("ended with {code}"))
    }
}

impl Drop for Tmux {
    fn drop(&mut self) {
        let _ = self.command(&["kill-server"]).output();
    }
}

fn team() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.write("team.p", TEAM);
    sandbox
}

#[test]
fn steer_shows_agents_takes_messages_and_edits_and_outlives_the_master() {
    let sandbox = team();
    let Some(tmux) =
        Tmux::start(&sandbox, "steer_shows_agents_takes_messages_and_edits_and_outlives_the_master")
    else {
        return;
    };
    let mut master = Master::start(&sandbox);
    sandbox.run(["apply", "-f", "team.p"]).ok();
    tmux.steer("");
    tmux.sees("WORKING 2");
    tmux.sees("running");

    // A live iteration, and one after the other.
    tmux.keys(&["/"]);
    tmux.text("builder");
    tmux.keys(&["Enter", "j", "j", "Enter", "f"]);
    tmux.sees("follows each iteration");
    tmux.sees("This is a rehearsal");

    // A message goes into the transcript of the iteration that runs.
    tmux.keys(&["i"]);
    tmux.sees("to builder");
    tmux.text("Use metres, q.");
    tmux.keys(&["Enter"]);
    wait("the message to be acknowledged", || {
        let list = sandbox.run(["get", "messages", "-o", "json"]).stdout;
        let list: serde_json::Value = serde_json::from_str(&list).ok()?;
        let one = list["items"].as_array()?.iter().find(|one| one["spec"]["text"] == "Use metres, q.")?;
        (one["status"]["phase"] == "Acknowledged" && one["spec"]["from"] == "ada").then_some(())
    });

    // An edit is a new revision, made from what was edited.
    tmux.keys(&["Escape"]);
    tmux.sees("Agents 1 of 2");
    tmux.keys(&["k", "e"]);
    tmux.sees("ctrl-s");
    tmux.text("Gently. ");
    tmux.keys(&["C-s"]);
    wait("the second revision", || {
        let agent = object(&sandbox, "agent", "builder")?;
        let text = agent["spec"]["methods"]["build"].as_str()?.to_owned();
        (text.contains("Gently. Build one thing.") && agent["status"]["currentRevision"] == 2).then_some(())
    });

    // The master is killed: everything stays, and comes back by itself.
    let address = master.address().to_owned();
    master.kill();
    let screen = tmux.sees("The connection broke");
    assert!(screen.contains("builder"), "{screen}");
    let mut master = Master::start_at(&sandbox, &address, &["--backend", "rehearsal"], |_| {});
    wait("the banner to go", || (!tmux.screen().contains("The connection broke")).then_some(()));
    tmux.sees("running");

    // Stopping it reads differently.
    master.stop();
    tmux.sees("The master was stopped.");

    // Leaving gives the terminal back.
    tmux.keys(&["C-c"]);
    let screen = tmux.ended(0);
    assert!(screen.contains("Agents keep running") && !screen.contains("WORKING"), "{screen}");
}

#[test]
fn two_people_steer_one_agent_and_both_see_both() {
    let sandbox = team();
    let test = "two_people_steer_one_agent_and_both_see_both";
    let (Some(ada), Some(bob)) = (Tmux::start(&sandbox, test), Tmux::start(&sandbox, test)) else { return };
    let _master = Master::start(&sandbox);
    sandbox.run(["apply", "-f", "team.p"]).ok();
    for (tmux, text) in [(&ada, "Mind the gap."), (&bob, "Mind the step.")] {
        tmux.steer("");
        tmux.sees("WORKING 2");
        tmux.keys(&["j", "j", "Enter", "f"]);
        tmux.sees("follows each iteration");
        tmux.keys(&["i"]);
        tmux.sees("to builder");
        tmux.text(text);
    }
    // Both have written; the window of one is resized while text streams and both send.
    ada.keys(&["Enter"]);
    bob.keys(&["Enter"]);
    ran(&mut bob.command(&["resize-window", "-t", "s", "-x", "90", "-y", "30"])).ok();
    let iterations: Vec<String> = wait("both messages to be acknowledged", || {
        let list = sandbox.run(["get", "messages", "-o", "json"]).stdout;
        let list: serde_json::Value = serde_json::from_str(&list).ok()?;
        let items = list["items"].as_array()?;
        let done = items.iter().filter(|one| one["status"]["phase"] == "Acknowledged").count();
        (done == 2).then(|| {
            items.iter().filter_map(|one| one["status"]["iteration"].as_str().map(str::to_owned)).collect()
        })
    });
    assert_eq!(iterations.len(), 2);
    // Each sees what the other said, in the conversation that it went to.
    for tmux in [&ada, &bob] {
        tmux.keys(&["M"]);
        let screen = tmux.sees("Messages of builder");
        assert!(screen.contains("Mind the gap.") && screen.contains("Mind the step."), "{screen}");
        tmux.keys(&["C-c"]);
    }
    // And the agent was told both.
    let said: String = iterations.iter().map(|name| sandbox.run(["logs", name]).ok().stdout).collect();
    assert!(said.contains("Mind the gap.") && said.contains("Mind the step."), "{said}");
}

#[test]
fn leaving_steer_touches_nothing_and_the_terminal_is_restored_after_kill_and_suspend() {
    let sandbox = team();
    let Some(tmux) = Tmux::start(&sandbox, "leaving_steer_touches_nothing") else { return };
    let mut master = Master::start(&sandbox);
    sandbox.run(["apply", "-f", "team.p"]).ok();
    tmux.steer("--readonly");
    tmux.sees("WORKING 2");
    // Sizes come and go.
    for (x, y) in [("60", "15"), ("40", "10"), ("200", "50"), ("120", "40")] {
        ran(&mut tmux.command(&["resize-window", "-t", "s", "-x", x, "-y", y])).ok();
        if x == "40" {
            tmux.sees("needs 60x15");
        } else {
            tmux.sees("WORKING 2");
        }
    }
    tmux.keys(&["C-z"]);
    let screen = tmux.sees("Stopped");
    assert!(!screen.contains("WORKING"), "{screen}");
    tmux.text("fg");
    tmux.keys(&["Enter"]);
    tmux.sees("WORKING 2");
    // A kill from outside restores it too.
    let pid = wait("the process", || {
        let list = ran(Command::new("pgrep")
            .args(["-f", &format!("{} steer --readonly", env!("CARGO_BIN_EXE_gcluster"))]));
        let own = sandbox.data();
        list.stdout.lines().filter_map(|line| line.parse::<u32>().ok()).find(|pid| {
            std::fs::read(format!("/proc/{pid}/environ"))
                .is_ok_and(|environ| String::from_utf8_lossy(&environ).contains(&*own.to_string_lossy()))
                && std::fs::read_to_string(format!("/proc/{pid}/comm"))
                    .is_ok_and(|comm| comm.trim() == "gcluster")
        })
    });
    signal(pid, "TERM");
    let screen = tmux.ended(130);
    assert!(!screen.contains("WORKING"), "{screen}");
    // Agents work on.
    let agent = object(&sandbox, "agent", "builder").expect("the agent");
    assert_eq!(agent["status"]["runState"], "running");
    assert!(agent["spec"]["run"] == "Running" || agent["spec"]["run"].is_null());
    assert!(master.ended().is_none());
}

#[test]
fn steer_refuses_before_it_touches_the_terminal() {
    let sandbox = Sandbox::new();
    let refused = sandbox.run(["steer"]);
    assert_eq!(refused.code, 3, "{}", refused.stderr);
    assert!(refused.stderr.contains("cannot connect to master at 127.0.0.1:43252"), "{}", refused.stderr);
    sandbox.write("recording", "");
    let refused = sandbox.run(["steer", "--replay", "recording"]);
    assert_eq!(refused.code, 2, "{}", refused.stderr);
    assert!(
        refused.stderr.contains("needs a terminal") && !refused.stderr.contains('\u{1b}'),
        "{}",
        refused.stderr
    );
    assert_eq!(refused.stdout, "");
}

#[test]
fn what_was_recorded_is_played_without_a_master() {
    let sandbox = team();
    let Some(tmux) = Tmux::start(&sandbox, "what_was_recorded_is_played_without_a_master") else { return };
    let mut master = Master::start(&sandbox);
    sandbox.run(["apply", "-f", "team.p"]).ok();
    tmux.steer("--record session.ndjson");
    tmux.sees("WORKING 2");
    tmux.keys(&["j", "j"]);
    tmux.sees("i writes to builder");
    tmux.keys(&["C-c"]);
    tmux.ended(0);
    master.stop();
    let recording = std::fs::read_to_string(sandbox.work().join("session.ndjson")).expect("the recording");
    let token = std::fs::read_to_string(sandbox.data().join("admin.token")).expect("the token");
    assert!(!token.trim().is_empty() && !recording.contains(token.trim()), "a recording holds no secret");
    tmux.text("clear");
    tmux.keys(&["Enter"]);
    tmux.steer("--replay session.ndjson --speed 10");
    let screen = tmux.sees("builder › loop(build) › #0");
    assert!(screen.contains("(replay) · read-only"), "{screen}");
    tmux.keys(&["C-c"]);
    tmux.ended(0);
}

/// Writes an object with its status as a controller of its own would.
fn write_status(sandbox: &Sandbox, master: &Master, plural: &str, name: &str, status: &Value) {
    let path = format!("/apis/gcluster.dev/v1alpha1/namespaces/default/{plural}/{name}/status");
    let auth = format!("Bearer {}", token(sandbox));
    let headers = [("Authorization", auth.as_str()), ("Content-Type", "application/merge-patch+json")];
    let body = json!({ "status": status }).to_string();
    let answer = request(master.address(), "PATCH", &path, &headers, body.as_bytes()).expect("an answer");
    assert_eq!(answer.status, 200, "{}", answer.body);
}

#[test]
fn tickets_are_seen_decided_about_and_their_conversations_opened() {
    let sandbox = Sandbox::new();
    let test = "tickets_are_seen_decided_about_and_their_conversations_opened";
    let Some(tmux) = Tmux::start(&sandbox, test) else { return };
    let mut master = Master::start(&sandbox);
    sandbox.run(["ticket", "add", "Add avatars", "--id", "T-1", "-D", "Make them **round**."]).ok();
    tmux.steer("");
    tmux.sees("p tickets");
    tmux.keys(&["p"]);
    tmux.sees("Tickets 1");
    // What is added elsewhere appears by itself.
    sandbox.run(["ticket", "add", "Show avatars", "--id", "T-2", "-p", "high"]).ok();
    tmux.sees("Tickets 2");

    // Desired state, as the command line would write it.
    tmux.text(":ticket t-2");
    tmux.keys(&["Enter", "z"]);
    wait_object(&sandbox, "ticket", "t-2", "to be held", |o| o["spec"]["state"] == "Held");
    tmux.sees("held");
    tmux.keys(&["X"]);
    tmux.sees("Cancel T-2?");
    tmux.keys(&["y"]);
    wait_object(&sandbox, "ticket", "t-2", "to be cancelled", |o| o["spec"]["state"] == "Cancelled");
    tmux.sees("cancelled");

    // A ticket with a story: one round of work, one reading.
    let worker = json!({
        "apiVersion": "gcluster.dev/v1alpha1", "kind": "Agent", "metadata": {"name": "t-1-work-1"},
        "spec": {"definition": "(defagent \"t-1-work-1\"\n  (pipeline\n    (step \"work\" (loop work))))",
            "methods": {"work": "(defmethod work ()\n  \"Make avatars.\")"}}});
    sandbox.write("worker.json", &worker.to_string());
    sandbox.run(["apply", "-f", "worker.json"]).ok();
    let commit = "0123456789".repeat(4);
    write_status(
        &sandbox,
        &master,
        "tickets",
        "t-1",
        &json!({"phase": "Failed", "reason": "Attempts", "message": "it was tried three times", "round": 1,
            "agent": "t-1-work-1", "reviewRounds": 1, "since": "2026-01-02T03:04:05.000000Z",
            "changes": [{"repository": "app", "start": commit, "commit": commit, "commits": 1, "files": 2,
                "insertions": 7, "deletions": 1}]}),
    );
    tmux.sees("need you");
    tmux.text(":ticket t-1");
    tmux.keys(&["Enter", "Enter"]);
    // Each for itself: a screen may be looked at while a frame is still being written.
    for text in ["1 commit, 2 files  +7 -1", "it was tried three times", "Make them round.", "t-1-work-1"] {
        tmux.sees(text);
    }
    tmux.keys(&["Enter"]);
    tmux.sees("This is a rehearsal");
    tmux.keys(&["q"]);
    tmux.sees("1 commit, 2 files  +7 -1");

    // What the page names is opened from it: here the diff, whose repository is not there.
    tmux.keys(&["]"]);
    tmux.sees("enter diff");
    tmux.keys(&["Enter"]);
    tmux.sees("app: the repository is gone");
    tmux.keys(&["q", "d"]);
    tmux.sees("Description:");
    tmux.keys(&["q"]);

    // Sent back with a text; the decision is an object's field with who and when.
    tmux.keys(&["b"]);
    tmux.sees("send T-1 back");
    tmux.text("Round, not square, q.");
    tmux.keys(&["Enter"]);
    let ticket = wait_object(&sandbox, "ticket", "t-1", "a decision", |o| o["spec"]["decision"].is_object());
    let decision = &ticket["spec"]["decision"];
    assert_eq!((&decision["verdict"], &decision["by"]), (&"SendBack".into(), &"ada".into()));
    assert_eq!(decision["text"], "Round, not square, q.");
    tmux.sees("sent back by ada");

    // A narrow window has a list; a killed master takes nothing from the screen.
    tmux.keys(&["Escape"]);
    ran(&mut tmux.command(&["resize-window", "-t", "s", "-x", "80", "-y", "24"])).ok();
    tmux.sees("DONE");
    let address = master.address().to_owned();
    master.kill();
    tmux.sees("The connection broke");
    for text in ["T-1", "T-2"] {
        tmux.sees(text);
    }
    let _master = Master::start_at(&sandbox, &address, &["--backend", "rehearsal"], |_| {});
    wait("the banner to go", || (!tmux.screen().contains("The connection broke")).then_some(()));

    // A file in the backlog folder is a ticket on the screen: promised within a second on a machine that has time.
    let backlog = sandbox.work().join("app/.gcluster/backlog");
    std::fs::create_dir_all(&backlog).expect("a folder");
    let repository = json!({
        "apiVersion": "gcluster.dev/v1alpha1", "kind": "Repository", "metadata": {"name": "app"},
        "spec": {"path": sandbox.work().join("app")}});
    sandbox.write("repository.json", &repository.to_string());
    sandbox.run(["apply", "-f", "repository.json"]).ok();
    std::fs::write(backlog.join("t-0.yaml"), "id: T-0\ntitle: Name avatars\n").expect("a file");
    tmux.sees("Tickets 3");
    let dropped = std::time::Instant::now();
    std::fs::write(backlog.join("t-3.yaml"), "id: T-3\ntitle: Draw avatars\n").expect("a file");
    tmux.sees("Tickets 4");
    let took = dropped.elapsed();
    println!("on the screen after {took:?}");
    assert!(took.as_secs() < 10, "{took:?}");

    // The next time tickets are shown at once.
    tmux.keys(&["C-c"]);
    tmux.sees("Agents keep running");
    tmux.steer("");
    tmux.sees("Tickets 4");
    tmux.keys(&["C-c"]);
}
