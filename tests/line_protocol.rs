//! The line protocol with a real master: plain sockets and lines of JSON, as `nc` and short scripts send them.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::agents::shell_once;
use crate::support::cli::Sandbox;
use crate::support::http;
use crate::support::master::{Master, object, objects};
use crate::support::processes::resident_mib;
use crate::support::wait::wait;

/// A connection that speaks envelopes.
struct Line<S: Read + Write> {
    stream: BufReader<S>,
}

fn patient() -> Option<Duration> {
    Some(Duration::from_secs(60))
}

/// To the port; nothing is sent yet.
fn stranger(master: &Master) -> Line<TcpStream> {
    let stream = TcpStream::connect(master.address()).unwrap();
    stream.set_read_timeout(patient()).unwrap();
    Line { stream: BufReader::new(stream) }
}

/// To the port, with a token.
fn known(master: &Master, token: &str) -> Line<TcpStream> {
    let mut line = stranger(master);
    let answer = line.ask("auth", json!({"token": token}));
    assert_eq!(answer["type"], "auth_response", "{answer}");
    line
}

/// To the Unix socket.
fn local(sandbox: &Sandbox) -> Line<UnixStream> {
    let stream = UnixStream::connect(sandbox.data().join("gcluster.sock")).unwrap();
    stream.set_read_timeout(patient()).unwrap();
    Line { stream: BufReader::new(stream) }
}

fn viewer(sandbox: &Sandbox) -> String {
    std::fs::read_to_string(sandbox.data().join("viewer.token")).unwrap().trim().to_owned()
}

impl<S: Read + Write> Line<S> {
    fn raw(&mut self, bytes: &[u8]) {
        self.stream.get_mut().write_all(bytes).unwrap();
    }

    fn send(&mut self, kind: &str, payload: Value) {
        self.raw(format!("{}\n", json!({"type": kind, "payload": payload})).as_bytes());
    }

    /// The next envelope; none at the end.
    fn next(&mut self) -> Option<Value> {
        let mut text = String::new();
        match self.stream.read_line(&mut text) {
            Ok(0) => None,
            Ok(_) => Some(serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))),
            Err(error) => panic!("{error}"),
        }
    }

    fn ask(&mut self, kind: &str, payload: Value) -> Value {
        self.send(kind, payload);
        self.next().expect("an answer")
    }

    /// The reason of the refusal that is answered.
    fn refusal(&mut self, kind: &str, payload: Value) -> String {
        let answer = self.ask(kind, payload);
        assert_eq!(answer["type"], "error", "{answer}");
        assert_eq!(answer["request"], kind, "{answer}");
        answer["payload"]["reason"].as_str().unwrap().to_owned()
    }

    /// Reads pushes until one changed object satisfies a condition.
    fn until(&mut self, what: &str, check: impl Fn(&Value) -> bool) -> Value {
        loop {
            let push = self.next().unwrap_or_else(|| panic!("the connection ended before: {what}"));
            assert_ne!(push["type"], "error", "{push}");
            let changed = push["payload"]["changed"].as_array().cloned().unwrap_or_default();
            if let Some(found) = changed.into_iter().find(|object| check(object)) {
                return found;
            }
        }
    }

    fn pings(&mut self) {
        let answer = self.ask("ping", json!({}));
        assert_eq!(answer["type"], "pong", "{answer}");
    }
}

const TEAM: &str = "agent-Big_One:\n\tloop(work)\n\nwork:\n\tDo the work.\n\nagent-two:\n\tloop(work)\n";

#[test]
fn a_program_is_applied_as_the_command_applies_it_all_of_it_or_nothing() {
    let sandbox = Sandbox::new();
    let master = Master::start(&sandbox);
    let mut line = known(&master, &http::token(&sandbox));
    let file = sandbox.write("team.p", TEAM);
    let payload = json!({"source": TEAM, "path": file});
    let dry = line.ask("apply_request", json!({"source": TEAM, "path": file, "dryRun": true}));
    assert_eq!(dry["payload"]["created"], json!(["big-one", "two"]), "{dry}");
    assert_eq!(object(&sandbox, "agent", "two"), None);
    let done = line.ask("apply_request", payload.clone());
    assert_eq!(done["type"], "apply_response", "{done}");
    assert_eq!(done["payload"]["created"], json!(["big-one", "two"]));
    assert!(done["payload"]["resourceVersion"].as_str().unwrap().parse::<u64>().unwrap() > 0);
    let again = line.ask("apply_request", payload);
    assert_eq!(again["payload"]["unchanged"], json!(["big-one", "two"]), "{again}");
    // The command finds nothing to change either: both write the same objects as the same manager.
    let applied = sandbox.run(["apply", "-f", "team.p"]).ok();
    assert!(applied.stdout.contains("0 created, 0 updated, 2 unchanged"), "{}", applied.stdout);

    let broken =
        line.ask("apply_request", json!({"source": "agent-x:\n\tloop(nothing)\n", "path": "/t/x.p"}));
    assert_eq!(broken["payload"]["reason"], "Invalid", "{broken}");
    assert_eq!(broken["payload"]["details"]["causes"][0]["field"], "/t/x.p:2:7", "{broken}");
    let mut bad = shell_once("bad", "true");
    bad["spec"]["definition"] = "(defagent".into();
    let both = json!({"objects": [shell_once("good", "true"), bad]});
    assert_eq!(line.refusal("apply_request", both), "Invalid");
    assert_eq!(object(&sandbox, "agent", "good"), None, "nothing of a refused bundle is there");
    let made =
        line.ask("apply_request", json!({"objects": [shell_once("good", "true")], "namespace": "default"}));
    assert_eq!(made["payload"]["created"], json!(["good"]), "{made}");
}

#[test]
fn nobody_gets_in_without_a_token_and_a_viewer_only_watches() {
    let sandbox = Sandbox::new();
    let master = Master::start(&sandbox);
    let long = vec![b'x'; 8 << 20];
    let first: [(&str, &[u8]); 7] = [
        ("a ping", b"{\"type\":\"ping\"}\n"),
        ("an apply", b"{\"type\":\"apply_request\",\"payload\":{\"source\":\"\"}}\n"),
        ("a wrong token", b" \r\n{\"type\":\"auth\",\"payload\":{\"token\":\"guess\"}}\n"),
        ("no token", b"{\"type\":\"auth\"}\n"),
        ("an empty token", b"{\"type\":\"auth\",\"payload\":{\"token\":\"\"}}\n"),
        ("no envelope", b"{\"type\n"),
        ("no end", &[b"{", &long[..]].concat()),
    ];
    for (what, bytes) in first {
        let mut line = stranger(&master);
        // The refusal may come while there is still something to send.
        let _ = line.stream.get_mut().write_all(bytes);
        let answer = line.next().unwrap_or_else(|| panic!("{what}: no answer"));
        assert_eq!(answer["type"], "error", "{what}: {answer}");
        let reason = &answer["payload"]["reason"];
        let expected = if what == "no token" { "BadRequest" } else { "Unauthorized" };
        assert_eq!(reason, expected, "{what}: {answer}");
        assert_eq!(line.next(), None, "{what}: the connection is closed");
    }
    let mut line = known(&master, &viewer(&sandbox));
    let state = line.ask("steer_subscribe", json!({}));
    assert_eq!((&state["type"], &state["payload"]["full"]), (&json!("steer_state"), &json!(true)), "{state}");
    assert_eq!(line.refusal("apply_request", json!({"objects": [shell_once("a", "true")]})), "Forbidden");
    assert_eq!(line.refusal("apply_request", json!({"source": TEAM})), "Forbidden");
    assert!(sandbox.run(["apply", "-f", sandbox.write("t.p", TEAM).to_str().unwrap()]).code == 0);
    let mut line = known(&master, &viewer(&sandbox));
    assert_eq!(line.refusal("steer_inject", json!({"agent": "two", "text": "x"})), "Forbidden");
    assert_eq!(line.refusal("steer_edit_prompt", json!({"agent": "two", "text": "x"})), "Forbidden");
}

#[test]
fn a_web_page_cannot_reach_it_through_the_body_of_a_request() {
    let sandbox = Sandbox::new();
    let master =
        Master::start_with(&sandbox, &["--backend", "rehearsal", "--insecure-line-protocol"], |_| {});
    let apply = json!({"type": "apply_request", "payload": {"objects": [shell_once("smuggled", "true")]}});
    let body = format!("\n{apply}\n{apply}\n");
    for path in ["/", "/apis/gcluster.dev/v1alpha1/namespaces/default/agents", "/version"] {
        for media in ["text/plain", "application/json"] {
            let headers = [("content-type", media)];
            let answer = http::request(master.address(), "POST", path, &headers, body.as_bytes()).unwrap();
            assert!(answer.status >= 400, "{path}: {} {}", answer.status, answer.body);
        }
    }
    // What is no HTTP, after what began as HTTP, is no envelope either.
    let mut stream = TcpStream::connect(master.address()).unwrap();
    stream.set_read_timeout(patient()).unwrap();
    let head = format!("GET /version HTTP/1.1\r\nhost: {}\r\n\r\n", master.address());
    stream.write_all(format!("{head}{body}").as_bytes()).unwrap();
    let mut all = String::new();
    let _ = stream.read_to_string(&mut all);
    assert!(all.starts_with("HTTP/1.1 200") && !all.contains("apply_response"), "{all}");
    assert_eq!(objects(&sandbox, "agents"), [] as [Value; 0]);
    // While on the same port and without a token a connection that begins with an envelope is one.
    let mut line = stranger(&master);
    line.pings();
    let made = line.ask("apply_request", apply["payload"].clone());
    assert_eq!(made["payload"]["created"], json!(["smuggled"]), "{made}");
    drop(master);
    let refused = sandbox.run(["master", "--addr", "0.0.0.0:0", "--insecure-line-protocol"]);
    assert_eq!(refused.code, 2, "{}", refused.stderr);
    assert!(refused.stderr.contains("loopback"), "{}", refused.stderr);
}

#[test]
fn hostile_input_is_answered_and_the_connection_stays_usable() {
    let sandbox = Sandbox::new();
    let mut master = Master::start(&sandbox);
    let mut line = known(&master, &http::token(&sandbox));
    let deep = format!("{{\"type\":\"ping\",\"payload\":{}\n", "[".repeat(200_000));
    let bad: [&[u8]; 13] = [
        b"nonsense\n",
        b"{\"type\":\"ping\"\n",
        b"{}\n",
        b"[]\n",
        b"null\n",
        b"{\"type\":\"no_such_thing\"}\n",
        b"{\"type\":7}\n",
        b"{\"type\":\"ping\",\"id\":[1]}\n",
        b"{\"type\":\"steer_inject\",\"payload\":\"text\"}\n",
        b"{\"type\":\"apply_request\",\"payload\":{\"objects\":{}}}\n",
        b"{\"type\":\"apply_request\",\"payload\":{\"unknown\":1}}\n",
        b"\0\0\0\xff\xfe{\n",
        deep.as_bytes(),
    ];
    for bytes in bad {
        line.raw(bytes);
        let answer = line.next().unwrap();
        let shown = String::from_utf8_lossy(&bytes[..bytes.len().min(80)]).into_owned();
        assert_eq!(answer["type"], "error", "{shown}: {answer}");
        assert_eq!(answer["payload"]["reason"], "BadRequest", "{shown}: {answer}");
        line.pings();
    }
    // Answers come in the order of the requests, each under its id.
    let many: String =
        (0..200).map(|id| format!("{{\"id\":{id},\"type\":\"{}\"}}\n", ["ping", "x"][id % 2])).collect();
    line.raw(many.as_bytes());
    for id in 0..200 {
        assert_eq!(line.next().unwrap()["id"], id);
    }
    let before = resident_mib(master.pid());
    let megabyte = vec![b'a'; 1 << 20];
    line.raw(b"{\"type\":\"apply_request\",\"payload\":{\"source\":\"");
    for _ in 0..100 {
        line.raw(&megabyte);
    }
    let peak = resident_mib(master.pid());
    line.raw(b"\"}}\n");
    assert_eq!(line.next().unwrap()["payload"]["reason"], "RequestEntityTooLarge");
    assert!(peak < before + 90, "a line of 100 MB took {before} to {peak} MiB");
    line.pings();
    let big = shell_once("big", &"x".repeat(4 << 20));
    assert_eq!(line.refusal("apply_request", json!({"objects": [big]})), "RequestEntityTooLarge");

    // Half a line and gone; a connection that is cut while it is answered.
    let apply =
        json!({"type": "apply_request", "payload": {"objects": [shell_once("half", "true")]}}).to_string();
    for _ in 0..20 {
        let mut half = known(&master, &http::token(&sandbox));
        half.raw(apply.as_bytes());
        drop(half);
        let mut cut = local(&sandbox);
        cut.raw(b"{\"type\":\"steer_subscribe\"}\n{\"type\":\"ping\"}\n");
        drop(cut);
    }
    line.pings();
    assert_eq!(object(&sandbox, "agent", "half"), None, "a line without its end is no request");
    assert!(!master.log().contains("panicked"), "{}", master.log());
    assert!(master.stop().success());
}

#[test]
fn the_socket_needs_no_token_and_serves_a_client_that_closed_its_side() {
    let sandbox = Sandbox::new();
    let mut master = Master::start(&sandbox);
    let path = sandbox.data().join("gcluster.sock");
    assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    // As `printf … | nc -NU gcluster.sock` does it.
    let mut line = local(&sandbox);
    let apply = json!({"id": "a", "type": "apply_request", "payload": {"source": TEAM}});
    line.raw(format!("{apply}\n{{\"type\":\"ping\"}}\n{{\"type\":\"pi").as_bytes());
    line.stream.get_ref().shutdown(Shutdown::Write).unwrap();
    let done = line.next().unwrap();
    assert_eq!(
        (&done["id"], &done["payload"]["created"]),
        (&json!("a"), &json!(["big-one", "two"])),
        "{done}"
    );
    assert_eq!(line.next().unwrap()["type"], "pong");
    assert_eq!(line.next().unwrap()["type"], "error");
    assert_eq!(line.next(), None);
    // The socket of a master that was killed is in nobody's way.
    master.kill();
    assert!(path.exists());
    let mut master = Master::start(&sandbox);
    let (mut one, mut two) = (local(&sandbox), known(&master, &http::token(&sandbox)));
    one.send("steer_subscribe", json!({}));
    one.until("the state", |object| object["metadata"]["name"] == "two");
    two.pings();
    assert!(master.stop().success());
    loop {
        let push = one.next().expect("a notice before the end");
        if push["type"] == "shutdown_notice" {
            assert!(push["payload"]["reason"].is_string(), "{push}");
            break;
        }
        assert_eq!(push["type"], "steer_state", "{push}");
    }
    assert_eq!(one.next(), None);
    assert_eq!(two.next().unwrap()["type"], "shutdown_notice");
    assert_eq!(two.next(), None);
    assert!(!path.exists());
}

#[test]
fn subscribers_see_each_others_messages_and_edits() {
    let sandbox = Sandbox::new();
    let master = Master::start(&sandbox);
    let (mut one, mut two) = (local(&sandbox), known(&master, &http::token(&sandbox)));
    for line in [&mut one.stream as &mut dyn Subscriber, &mut two.stream] {
        line.subscribe();
    }
    let mut writer = local(&sandbox);
    assert_eq!(writer.ask("apply_request", json!({"source": TEAM}))["type"], "apply_response");
    let sent = writer.ask(
        "steer_inject",
        json!({"agent": "Big_One", "text": "look here", "delivery": "queue", "from": "me"}),
    );
    assert_eq!(sent["type"], "steer_inject_response", "{sent}");
    let name = sent["payload"]["message"].clone();
    let is_message = |object: &Value| object["kind"] == "Message" && object["metadata"]["name"] == name;
    let seen = one.until("the message", is_message);
    assert_eq!(
        seen["spec"],
        json!({"agent": "big-one", "text": "look here", "delivery": "Queue", "from": "me"})
    );
    two.until("the message", is_message);
    assert_eq!(writer.refusal("steer_inject", json!({"agent": "nobody", "text": "x"})), "NotFound");
    assert_eq!(writer.refusal("steer_inject", json!({"agent": "two", "text": " "})), "BadRequest");
    assert_eq!(
        writer.refusal("steer_inject", json!({"agent": "two", "text": "x", "delivery": "mail"})),
        "BadRequest"
    );

    let edit = |text: &str, base: Option<&Value>| json!({"agent": "big-one", "text": text, "digest": base});
    let done = writer.ask("steer_edit_prompt", edit("Do \"more\".\n", None));
    assert_eq!(
        (&done["payload"]["method"], &done["payload"]["changed"]),
        (&json!("work"), &json!(true)),
        "{done}"
    );
    let base = done["payload"]["digest"].clone();
    let agent = object(&sandbox, "agent", "big-one").unwrap();
    assert_eq!(agent["spec"]["methods"]["work"], "(defmethod work ()\n  \"Do \\\"more\\\".\")");
    two.until("the new revision", |object| object["status"]["digest"] == base);
    let other = writer.ask("steer_edit_prompt", edit("Do less.", Some(&base)));
    assert_eq!(other["payload"]["changed"], true, "{other}");
    let late = writer.ask("steer_edit_prompt", edit("Do nothing.", Some(&base)));
    assert_eq!(late["payload"]["reason"], "Conflict", "{late}");
    assert_eq!(late["payload"]["newest"]["text"], "Do less.");
    assert_eq!(late["payload"]["newest"]["digest"], other["payload"]["digest"]);
    assert_eq!(
        writer.refusal("steer_edit_prompt", json!({"agent": "two", "method": "z", "text": "x"})),
        "BadRequest"
    );
    drop(master);
}

/// One of the two kinds of connection.
trait Subscriber {
    fn subscribe(&mut self);
}

impl<S: Read + Write> Subscriber for BufReader<S> {
    fn subscribe(&mut self) {
        self.get_mut().write_all(b"{\"type\":\"steer_subscribe\",\"id\":1}\n").unwrap();
        let mut text = String::new();
        self.read_line(&mut text).unwrap();
        let first: Value = serde_json::from_str(&text).unwrap();
        assert_eq!((&first["id"], &first["payload"]["full"]), (&json!(1), &json!(true)), "{first}");
    }
}

#[test]
fn a_subscriber_that_stops_reading_delays_nobody_and_then_gets_the_newest_state() {
    let sandbox = Sandbox::new();
    let master = Master::start(&sandbox);
    let mut stuck = local(&sandbox);
    stuck.stream.subscribe();
    let mut reading = local(&sandbox);
    reading.stream.subscribe();
    let mut writer = local(&sandbox);
    // Each change is large, so that what waits for the stuck one is far more than any buffer.
    let padding = "x".repeat(100_000);
    let agent = |round: usize| {
        let mut agent = shell_once("changing", "true");
        agent["spec"]["run"] = "Stopped".into();
        agent["metadata"]["labels"] = json!({"round": round.to_string()});
        agent["spec"]["backend"]["args"] = json!(["true", padding]);
        agent
    };
    const ROUNDS: usize = 150;
    for round in 1..=ROUNDS {
        let done = writer.ask("apply_request", json!({"objects": [agent(round)]}));
        assert_eq!(done["type"], "apply_response", "{}", done["payload"]["message"]);
    }
    let last = ROUNDS.to_string();
    let newest = |object: &Value| object["metadata"]["labels"]["round"].as_str() == Some(last.as_str());
    reading.until("the last round", newest);
    // Of 15 MB of changes the stuck one is owed what the sockets held, and then the newest.
    let mut pushes = 0;
    loop {
        let push = stuck.next().expect("a push");
        pushes += 1;
        if push["payload"]["changed"].as_array().unwrap().iter().any(newest) {
            break;
        }
    }
    assert!(pushes < ROUNDS, "{pushes} pushes: nothing was merged");
    drop(master);
}

#[test]
fn records_of_running_iterations_come_as_they_are_written() {
    let sandbox = Sandbox::new();
    let master = Master::start(&sandbox);
    let mut line = local(&sandbox);
    line.send("steer_subscribe", json!({"transcript": true, "agents": ["two"]}));
    let mut writer = local(&sandbox);
    assert_eq!(writer.ask("apply_request", json!({"source": TEAM}))["type"], "apply_response");
    let record = loop {
        let push = line.next().expect("a record");
        for object in push["payload"]["changed"].as_array().into_iter().flatten() {
            assert!(object["metadata"]["name"] == "two" || object["spec"]["agent"] == "two", "{object}");
        }
        if push["type"] == "steer_record" {
            break push["payload"].clone();
        }
    };
    assert_eq!((&record["agent"], &record["index"]), (&json!("two"), &json!(0)), "{record}");
    assert_eq!(record["record"]["type"], "prompt", "{record}");
    assert!(record["iteration"].as_str().unwrap().starts_with("two."), "{record}");
    wait("the iteration in the API", || object(&sandbox, "iteration", record["iteration"].as_str().unwrap()));
    drop(master);
}
