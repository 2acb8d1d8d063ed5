//! What an earlier implementation of the same tool got wrong, measured; each is a test here. The numbers are
//! those of `specs/defects.md`. Those that other files test are named there.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::agents::{list, shell_loop, shell_once};
use crate::support::cli::Sandbox;
use crate::support::http::{request, send, token};
use crate::support::master::{Master, object, objects, wait_object};
use crate::support::processes::resident_mib;
use crate::support::wait::wait;

const AGENTS: &str = "/apis/gcluster.dev/v1alpha1/namespaces/default/agents";

fn many(count: usize, prompt: &str) -> String {
    (0..count).map(|n| format!("agent-a{n}:\n\t{prompt}\n\n")).collect()
}

#[test]
fn d01_applies_that_overlap_do_not_lock_up_the_master() {
    let sandbox = Sandbox::new();
    let mut master = Master::start(&sandbox);
    for round in 0..3 {
        sandbox.write("one.p", &many(100, &format!("One {round}.")));
        sandbox.write("two.p", &many(100, &format!("Two {round}.")));
        let mut running: Vec<_> =
            ["one.p", "two.p"].map(|file| sandbox.command(["apply", "-f", file]).spawn().unwrap()).into();
        for child in &mut running {
            assert!(child.wait().unwrap().success());
        }
    }
    assert_eq!(objects(&sandbox, "agents").len(), 100);
    assert!(master.stop().success());
}

#[test]
fn d02_a_subscriber_that_stops_reading_freezes_nobody() {
    let sandbox = Sandbox::new();
    let master = Master::start(&sandbox);
    let auth = format!("Bearer {}", token(&sandbox));
    let headers = [("Authorization", auth.as_str())];
    let path = format!("{AGENTS}?watch=true");
    let _deaf: Vec<_> =
        (0..5).map(|_| send(master.address(), "GET", &path, &headers, b"").expect("a watch")).collect();
    // Far more than the sockets' buffers hold.
    let prompt = "x".repeat(100_000);
    for round in 0..8 {
        sandbox.write("big.p", &many(20, &format!("{round} {prompt}")));
        sandbox.run(["apply", "-f", "big.p"]).ok();
    }
    sandbox.write("next.p", "agent-next:\n\tWork.\n");
    sandbox.run(["apply", "-f", "next.p"]).ok();
    wait_object(&sandbox, "agent", "next", "at work", |o| o["status"]["runState"] != Value::Null);
}

#[test]
fn d04_nobody_without_the_token_and_no_web_page_can_write() {
    let sandbox = Sandbox::new();
    let master = Master::start(&sandbox);
    let body = shell_once("intruder", "true").to_string();
    let kind = ("Content-Type", "application/json");
    let auth = format!("Bearer {}", token(&sandbox));
    let admin = ("Authorization", auth.as_str());
    type Headers<'a> = Vec<(&'a str, &'a str)>;
    let cases: [(&str, Headers<'_>, u16); 4] = [
        ("no token", vec![kind], 401),
        ("a wrong token", vec![kind, ("Authorization", "Bearer guess")], 401),
        ("a page of another origin", vec![kind, admin, ("Origin", "https://evil.example")], 403),
        ("a name that was rebound to this address", vec![kind, admin, ("Host", "evil.example:43252")], 403),
    ];
    for (what, headers, want) in cases {
        let answer = request(master.address(), "POST", AGENTS, &headers, body.as_bytes()).unwrap();
        assert_eq!(answer.status, want, "{what}: {}", answer.body);
        assert!(answer.body.contains("\"Status\""), "{what}: {}", answer.body);
    }
    // A body line that is a valid envelope of the line protocol is a body, nothing more.
    let envelope = b"{\"type\":\"apply_request\",\"payload\":{}}\n";
    assert_eq!(
        request(master.address(), "POST", "/", &[("Content-Type", "text/plain")], envelope).unwrap().status,
        401
    );
    assert!(objects(&sandbox, "agents").is_empty());
    assert_eq!(request(master.address(), "GET", "/healthz", &[], b"").unwrap().status, 200);
}

#[test]
fn d06_a_changed_method_takes_effect_at_the_next_iteration_and_not_before() {
    let sandbox = Sandbox::new();
    let _master = Master::start(&sandbox);
    let gate = sandbox.work().join("go");
    let script = format!("while [ ! -e '{}' ]; do sleep 0.05; done; cat", gate.display());
    let mut agent = shell_loop("builder", &script);
    sandbox.write("a.json", &list(std::slice::from_ref(&agent)));
    sandbox.run(["apply", "-f", "a.json"]).ok();
    wait_object(&sandbox, "iteration", "builder.work.0", "running", |o| o["status"]["phase"] == "Running");
    agent["spec"]["methods"]["work"] = "(defmethod work ()\n  \"Work differently.\")".into();
    sandbox.write("a.json", &list(&[agent]));
    let applied = sandbox.run(["apply", "-f", "a.json"]).ok();
    assert!(applied.stdout.contains("1 updated"), "{}", applied.stdout);
    wait_object(&sandbox, "agent", "builder", "revision 2", |o| o["status"]["currentRevision"] == 2);
    std::fs::write(&gate, "").unwrap();
    wait_object(&sandbox, "iteration", "builder.work.1", "ended", |o| o["status"]["phase"] == "Succeeded");
    let (old, new) = (
        object(&sandbox, "iteration", "builder.work.0").unwrap(),
        object(&sandbox, "iteration", "builder.work.1").unwrap(),
    );
    assert_ne!(old["spec"]["revision"], new["spec"]["revision"]);
    assert!(!sandbox.run(["logs", "builder.work.0"]).ok().stdout.contains("differently"));
    assert!(sandbox.run(["logs", "builder.work.1"]).ok().stdout.contains("differently"));
}

#[test]
fn d08_an_output_line_of_many_megabytes_is_taken_whole() {
    let sandbox = Sandbox::new();
    let _master = Master::start(&sandbox);
    let script = "head -c 8000000 /dev/zero | tr '\\0' x; echo; echo after";
    sandbox.write("a.json", &list(&[shell_once("long", script)]));
    sandbox.run(["apply", "-f", "a.json"]).ok();
    wait_object(&sandbox, "iteration", "long.prompt.0", "succeeded", |o| o["status"]["phase"] == "Succeeded");
    let raw = sandbox.run(["logs", "long.prompt.0", "-o", "json"]).ok().stdout;
    assert!(raw.len() > 8_000_000 && raw.contains("after"), "{} bytes", raw.len());
}

#[test]
fn d09_a_failing_program_is_not_run_again_and_again_at_once() {
    let sandbox = Sandbox::new();
    let _master = Master::start(&sandbox);
    sandbox.write("a.json", &list(&[shell_loop("failing", "exit 1"), shell_loop("idle", "true")]));
    sandbox.run(["apply", "-f", "a.json"]).ok();
    for agent in ["failing", "idle"] {
        wait_object(&sandbox, "agent", agent, "backing off", |o| {
            let conditions = o["status"]["conditions"].as_array().cloned().unwrap_or_default();
            conditions.iter().any(|c| c["type"] == "BackingOff" && c["status"] == "True")
        });
    }
    std::thread::sleep(Duration::from_secs(3));
    for agent in ["failing", "idle"] {
        let o = object(&sandbox, "agent", agent).unwrap();
        let total = o["status"]["iterations"]["total"].as_i64().unwrap();
        assert!((1..20).contains(&total), "{agent}: {total} iterations");
    }
}

#[test]
fn d09_a_missing_program_burns_no_iteration_and_says_how_to_install_it() {
    let sandbox = Sandbox::new();
    let empty = sandbox.work().join("empty");
    std::fs::create_dir(&empty).unwrap();
    let _master = Master::start_with(&sandbox, &["--backend", "claude"], |c| {
        c.env("PATH", &empty);
    });
    sandbox.write("a.p", "agent-a:\n\tWork.\n");
    sandbox.run(["apply", "-f", "a.p"]).ok();
    let a = wait_object(&sandbox, "agent", "a", "the backend is missing", |o| {
        let conditions = o["status"]["conditions"].as_array().cloned().unwrap_or_default();
        conditions.iter().any(|c| c["type"] == "BackendAvailable" && c["status"] == "False")
    });
    assert!(a["status"]["conditions"].to_string().contains("npm install"), "{a}");
    assert!(objects(&sandbox, "iterations").is_empty());
}

#[test]
fn d10_large_messages_pass_larger_ones_are_refused_and_broken_ones_answered() {
    let sandbox = Sandbox::new();
    let master = Master::start(&sandbox);
    sandbox.write("big.p", &format!("agent-big:\n\t{}\n", "x".repeat(2_000_000)));
    sandbox.run(["apply", "-f", "big.p"]).ok();
    let big = object(&sandbox, "agent", "big").unwrap();
    assert!(big["spec"]["definition"].as_str().unwrap().len() > 2_000_000);

    let auth = format!("Bearer {}", token(&sandbox));
    let headers = [("Authorization", auth.as_str()), ("Content-Type", "application/json")];
    let post = |body: &[u8]| request(master.address(), "POST", AGENTS, &headers, body).unwrap();
    let mut huge = shell_once("huge", "true");
    huge["spec"]["definition"] = "x".repeat(4 << 20).into();
    assert_eq!(post(huge.to_string().as_bytes()).status, 413);
    assert_eq!(post(b"{\"apiVersion\": ").status, 400);
    let mut nameless = shell_once("a", "true");
    nameless["metadata"]["name"] = "".into();
    let answer = post(nameless.to_string().as_bytes());
    assert!([400, 422].contains(&answer.status), "{}", answer.body);
    let mut forged = shell_once("forged", "true");
    forged["spec"]["definition"] =
        "(defagent \"forged\"   \"spaces that the printer does not print\")".into();
    let answer = post(forged.to_string().as_bytes());
    assert_eq!(answer.status, 422, "{}", answer.body);
    assert!(answer.body.contains("spec.definition"), "{}", answer.body);
    assert_eq!(objects(&sandbox, "agents").len(), 1);
}

#[test]
fn d11_an_undefined_method_is_refused_and_a_finished_agent_is_stopped() {
    let sandbox = Sandbox::new();
    let _master = Master::start(&sandbox);
    sandbox.write("a.p", "agent-a:\n\tloop(nowhere)\n");
    assert_eq!(sandbox.run(["apply", "-f", "a.p"]).code, 1);
    sandbox.write("b.json", &list(&[shell_once("once", "echo done")]));
    sandbox.run(["apply", "-f", "b.json"]).ok();
    let once = wait_object(&sandbox, "agent", "once", "stopped", |o| o["status"]["runState"] == "stopped");
    assert_eq!(once["status"]["iterations"]["succeeded"], 1, "{once}");
    assert_eq!(objects(&sandbox, "iterations").len(), 1);
}

#[test]
fn d12_iteration_text_stays_out_of_memory_and_out_of_pushes() {
    let sandbox = Sandbox::new();
    let master = Master::start(&sandbox);
    let script = "head -c 500000 /dev/zero | tr '\\0' x; echo; sleep 0.01";
    let mut agents: Vec<Value> = (0..4).map(|n| shell_loop(&format!("a{n}"), script)).collect();
    for agent in &mut agents {
        // What the next iteration is told would grow with it.
        agent["spec"]["loopContext"] = "None".into();
        agent["spec"]["iterationHistoryLimit"] = 3.into();
    }
    sandbox.write("a.json", &list(&agents));
    sandbox.run(["apply", "-f", "a.json"]).ok();
    wait("some iterations", || {
        let all = objects(&sandbox, "agents");
        let total: i64 = all.iter().filter_map(|o| o["status"]["iterations"]["total"].as_i64()).sum();
        (total >= 12).then_some(())
    });
    let resident = resident_mib(master.pid());
    assert!(resident < 200, "{resident} MiB");
    for iteration in objects(&sandbox, "iterations") {
        let size = iteration.to_string().len();
        assert!(size < 8_000, "an iteration object of {size} bytes");
    }
}

#[test]
fn d15_a_thousand_agents_are_applied_and_started() {
    let sandbox = Sandbox::new();
    let master = Master::start(&sandbox);
    sandbox.write("many.p", &many(1_000, "Work."));
    let start = Instant::now();
    let applied = sandbox.run(["apply", "-f", "many.p"]).ok();
    assert!(applied.stdout.contains("1000 created"));
    assert!(start.elapsed() < Duration::from_secs(30), "{:?}", start.elapsed());
    crate::support::wait::wait_within(Duration::from_secs(480), "all to have run", || {
        // Looking costs as much as an agent's work: a list of a thousand of them.
        std::thread::sleep(Duration::from_secs(1));
        let done = objects(&sandbox, "agents")
            .iter()
            .filter(|o| o["status"]["iterations"]["succeeded"] == 1)
            .count();
        (done == 1_000).then_some(())
    });
    let resident = resident_mib(master.pid());
    assert!(resident < 600, "{resident} MiB");
}
