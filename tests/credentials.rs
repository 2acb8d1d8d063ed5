//! Agents that share an account share its limits; agents that share a master share its room.

use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};

use crate::support::agents::{list, shell_loop};
use crate::support::cli::Sandbox;
use crate::support::master::{Master, object, objects, wait_object};
use crate::support::wait::wait;

/// A rehearsal on an account, of one iteration that plays the account's file at the time at which it begins.
fn on_account(name: &str, account: &str, priority: i32) -> Value {
    json!({
        "apiVersion": "gcluster.dev/v1alpha1", "kind": "Agent", "metadata": {"name": name},
        "spec": {
            "definition": format!("(defagent \"{name}\"\n  \"Work.\")"),
            "priority": priority,
            "backend": {
                "name": "rehearsal",
                "args": [format!("--script={account}.script")],
                "env": [{"name": "GCLUSTER_REHEARSAL_ACCOUNT", "value": account}],
            },
        },
    })
}

fn apply(sandbox: &Sandbox, agents: &[Value]) {
    sandbox.write("agents.json", &list(agents));
    sandbox.run(["apply", "-f", "agents.json"]).ok();
}

fn condition(agent: &Value, kind: &str) -> Option<Value> {
    let conditions = agent["status"]["conditions"].as_array()?;
    conditions.iter().find(|condition| condition["type"] == kind).cloned()
}

fn wait_condition(sandbox: &Sandbox, agent: &str, kind: &str, is: &str) -> Value {
    let holds = |agent: &Value| condition(agent, kind).is_some_and(|condition| condition["status"] == is);
    let agent = wait_object(sandbox, "agent", agent, &format!("{kind} {is}"), holds);
    condition(&agent, kind).unwrap()
}

fn began(sandbox: &Sandbox, iteration: &str) -> Timestamp {
    let done = wait_object(sandbox, "iteration", iteration, "done", |o| o["status"]["phase"] == "Succeeded");
    done["status"]["startedAt"].as_str().unwrap().parse().unwrap()
}

fn why(sandbox: &Sandbox, agent: &str) -> String {
    let described = sandbox.run(["describe", "agent", agent]).ok().stdout;
    let line = described.lines().find_map(|line| line.strip_prefix("Why:"));
    line.unwrap_or_else(|| panic!("no reason in {described}")).trim().to_owned()
}

#[test]
fn a_usage_limit_parks_everybody_on_the_account_over_a_killed_master_and_priority_decides_who_resumes() {
    let sandbox = Sandbox::new();
    let directory = sandbox.work();
    let here = |mut agent: Value| {
        agent["spec"]["workingDirectory"] = json!(directory);
        agent
    };
    let lifted = Timestamp::now().checked_add(std::time::Duration::from_secs(20)).unwrap();
    let works = "tool Bash make\nresult fine\noutput done\n";
    sandbox.write("ann.script", &format!("throttle-until {lifted}\n"));
    sandbox.write("bob.script", works);
    let mut master = Master::start(&sandbox);
    apply(&sandbox, &[here(on_account("first", "ann", 1)), here(on_account("other", "bob", 0))]);
    wait_condition(&sandbox, "first", "Throttled", "True");
    apply(&sandbox, &[here(on_account("low", "ann", 0)), here(on_account("high", "ann", 9))]);
    for name in ["low", "high"] {
        let said = wait_condition(&sandbox, name, "Throttled", "True");
        assert!(said["message"].as_str().unwrap().contains("default/first.prompt.0 was told"), "{said}");
        let why = why(&sandbox, name);
        assert!(
            why.starts_with(
                "Throttled: the usage limit of GCLUSTER_REHEARSAL_ACCOUNT of spec.backend.env (rehearsal-"
            ),
            "{why}"
        );
    }
    began(&sandbox, "other.prompt.0");
    let secret = sandbox.run(["get", "agents", "-o", "yaml"]).ok().stdout;
    assert!(!secret.contains("credential: ann"), "{secret}");

    // A master that is killed forgets nothing of it.
    master.kill();
    let _master = Master::start(&sandbox);
    for name in ["first", "low", "high"] {
        wait_condition(&sandbox, name, "Throttled", "True");
    }
    sandbox.write("ann.script", works);
    let order = ["high.prompt.0", "first.prompt.1", "low.prompt.0"].map(|name| began(&sandbox, name));
    assert!(order[0] >= lifted, "{order:?}, lifted at {lifted}");
    assert!(order.is_sorted(), "{order:?}");
    for name in ["first", "low", "high"] {
        wait_condition(&sandbox, name, "Throttled", "False");
        let agent = object(&sandbox, "agent", name).unwrap();
        assert_eq!(agent["status"]["iterations"]["failed"], 0, "{agent}");
        let events = sandbox.run(["events", "--for", &format!("agent/{name}")]).ok().stdout;
        assert_eq!(events.matches("Throttled").count(), 1, "{events}");
    }
    assert_eq!(objects(&sandbox, "iterations").len(), 5, "nothing was tried in vain");
}

#[test]
fn a_refused_login_is_said_once_with_what_to_do_and_a_changed_secret_goes_on_at_once() {
    let sandbox = Sandbox::new();
    let directory = sandbox.work();
    sandbox.write("team.script", "fail-login OAuth token has expired\n");
    let _master = Master::start(&sandbox);
    let secret = |value: &str| {
        let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "login"},
            "stringData": {"token": value}});
        sandbox.write("secret.json", &secret.to_string());
        sandbox.run(["apply", "-f", "secret.json"]).ok();
    };
    secret("expired");
    let agent = |name: &str| {
        let mut agent = on_account(name, "team", 0);
        agent["spec"]["workingDirectory"] = json!(directory);
        agent["spec"]["backend"]["env"] = json!([{"name": "GCLUSTER_REHEARSAL_ACCOUNT",
            "valueFrom": {"secretKeyRef": {"name": "login", "key": "token"}}}]);
        agent
    };
    apply(&sandbox, &[agent("one")]);
    wait_condition(&sandbox, "one", "CredentialValid", "False");
    apply(&sandbox, &[agent("two"), agent("three")]);
    for name in ["one", "two", "three"] {
        let said = wait_condition(&sandbox, name, "CredentialValid", "False");
        let said = said["message"].as_str().unwrap();
        assert!(said.contains("from the key token of the Secret default/login"), "{said}");
        assert!(said.contains("OAuth token has expired"), "{said}");
    }
    assert_eq!(objects(&sandbox, "iterations").len(), 1, "the others did not have to find out");
    sandbox.write("team.script", "tool Bash make\nresult fine\noutput done\n");
    secret("renewed");
    began(&sandbox, "one.prompt.1");
    for name in ["two", "three"] {
        began(&sandbox, &format!("{name}.prompt.0"));
    }
}

#[test]
fn room_goes_by_priority_and_what_was_taken_over_counts() {
    let sandbox = Sandbox::new();
    let start = |sandbox: &Sandbox| {
        Master::start_with(sandbox, &["--backend", "command", "--max-running", "1"], |_| {})
    };
    let mut master = start(&sandbox);
    let running = |name: &str| {
        let name = format!("{name}.work.0");
        wait_object(&sandbox, "iteration", &name, "its process", |o| o["status"]["process"]["pid"].is_i64());
    };
    let sleeper = |name: &str, priority: i32| {
        let mut agent = shell_loop(name, "sleep 600");
        agent["spec"]["priority"] = json!(priority);
        agent
    };
    apply(&sandbox, &[sleeper("now", 0)]);
    running("now");
    apply(&sandbox, &[sleeper("later", 1), sleeper("soon", 2)]);
    for (name, place) in [("soon", 1), ("later", 2)] {
        wait_object(&sandbox, "agent", name, "its place", |o| {
            let message = o["status"]["message"].as_str().unwrap_or_default();
            o["status"]["reason"] == "WaitingForRoom" && message.contains(&format!("number {place} of 2"))
        });
        let why = why(&sandbox, name);
        assert!(why.contains("now.work.0") && why.contains("--max-running"), "{why}");
    }
    // Priorities can change while agents wait.
    apply(&sandbox, &[sleeper("later", 3)]);
    wait_object(&sandbox, "agent", "later", "the first place", |o| {
        o["status"]["message"].as_str().unwrap_or_default().contains("number 1 of 2")
    });
    master.kill();
    let _master = start(&sandbox);
    wait("the run to be taken over", || {
        let events = sandbox.run(["events"]).ok().stdout;
        events.contains("Adopted").then_some(())
    });
    for name in ["later", "soon"] {
        wait_object(&sandbox, "agent", name, "to wait", |o| o["status"]["reason"] == "WaitingForRoom");
    }
    sandbox.run(["stop", "now"]).ok();
    running("later");
    let soon = object(&sandbox, "iteration", "soon.work.0").unwrap();
    assert_eq!(soon["status"]["phase"].as_str().unwrap_or("Pending"), "Pending", "{soon}");
    sandbox.run(["stop", "later", "soon"]).ok();
}
