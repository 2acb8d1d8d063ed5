//! Agents that watch and correct one another, with nothing configured: the real binary run by an agent's own program.

use serde_json::{Value, json};

use crate::support::agents::{list, shell_loop};
use crate::support::cli::{Sandbox, binary};
use crate::support::http::{request, token};
use crate::support::master::{Master, object, objects, wait_object};
use crate::support::wait::wait;

fn apply(sandbox: &Sandbox, agents: &[Value]) {
    sandbox.write("a.json", &list(agents));
    sandbox.run(["apply", "-f", "a.json"]).ok();
}

/// An agent that rehearses something said and then does nothing.
fn talker(name: &str, said: &str) -> Value {
    let mut agent = shell_loop(name, "");
    agent["spec"]["backend"] =
        json!({"name": "rehearsal", "args": [format!("say {said}"), "tool Bash ls", "hang"]});
    agent
}

/// An agent whose shell obeys one line at a time, written to the file `NAME.do`, and answers into `NAME.done`.
fn puppet(sandbox: &Sandbox, name: &str) -> Value {
    let script = format!(
        "while :; do if [ -e {name}.do ]; then mv {name}.do {name}.now; sh {name}.now >{name}.out 2>&1; \
         echo \"exit $?\" >>{name}.out; mv {name}.out {name}.done; fi; sleep 0.05; done"
    );
    let mut agent = shell_loop(name, &script);
    agent["spec"]["workingDirectory"] = json!(sandbox.work());
    agent
}

/// Lets a puppet run a line; what was printed, and the exit status behind it.
fn obey(sandbox: &Sandbox, name: &str, line: &str) -> String {
    let done = sandbox.work().join(format!("{name}.done"));
    let _ = std::fs::remove_file(&done);
    sandbox.write(&format!("{name}.part"), line);
    std::fs::rename(sandbox.work().join(format!("{name}.part")), sandbox.work().join(format!("{name}.do")))
        .unwrap();
    wait(&format!("{name} to run {line}"), || std::fs::read_to_string(&done).ok())
}

#[test]
fn an_agent_reads_another_one_and_corrects_it_with_nothing_configured() {
    let sandbox = Sandbox::new();
    let mut master = Master::start(&sandbox);
    apply(&sandbox, &[talker("builder", "I drop the tests"), puppet(&sandbox, "supervisor")]);
    let log = wait("what the builder says", || {
        let log = obey(&sandbox, "supervisor", "gcluster logs builder");
        log.contains("I drop the tests").then_some(log)
    });
    assert!(!log.contains('\u{1b}') && log.contains("exit 0"), "{log}");
    let tools = obey(&sandbox, "supervisor", "gcluster logs builder.work.0 --since 3 -o json");
    assert!(!tools.contains("I drop the tests") && tools.contains("toolUse"), "{tools}");
    let table = obey(&sandbox, "supervisor", "gcluster get agents; gcluster describe agent builder");
    assert!(table.contains("builder") && table.contains("running") && table.contains("exit 0"), "{table}");
    let top = obey(&sandbox, "supervisor", "gcluster top --sort-by memory; gcluster doctor");
    let first: Vec<&str> = top.lines().nth(1).unwrap_or_default().split_whitespace().collect();
    assert!(first.first() == Some(&"supervisor") && first.iter().any(|cell| cell.ends_with("Mi")), "{top}");
    assert!(top.contains("ok    master     127.0.0.1:"), "{top}");
    let told = obey(&sandbox, "supervisor", "gcluster send builder 'keep the tests' --from ann");
    assert!(told.contains("exit 0"), "{told}");
    let message = wait("the message to arrive", || {
        objects(&sandbox, "messages").into_iter().find(|o| o["status"]["phase"] == "Acknowledged")
    });
    assert_eq!(message["spec"]["from"], "supervisor", "whatever it says of itself: {message}");
    let given = sandbox.run(["logs", "builder.work.0"]).ok().stdout;
    assert!(given.contains("supervisor: keep the tests"), "{given}");
    // The program outlives the master, and so does its right.
    let address = master.address().to_owned();
    master.kill();
    let _master = Master::start_at(&sandbox, &address, &["--backend", "rehearsal"], |_| {});
    let again = wait("the program to reach the next master", || {
        let said = obey(&sandbox, "supervisor", "gcluster send builder 'and again' --queue");
        said.contains("exit 0").then_some(said)
    });
    assert!(again.contains("queued"), "{again}");
    assert_eq!(object(&sandbox, "iteration", "supervisor.work.0").unwrap()["status"]["phase"], "Running");
}

#[test]
fn an_agent_can_change_nothing_and_sees_no_secret_and_no_other_namespace() {
    let sandbox = Sandbox::new();
    let _master = Master::start(&sandbox);
    sandbox
        .write("s.yaml", "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\nstringData: {key: hunter2}\n");
    sandbox.write("n.yaml", "apiVersion: v1\nkind: Namespace\nmetadata: {name: elsewhere}\n");
    sandbox.run(["apply", "-f", "s.yaml", "-f", "n.yaml"]).ok();
    apply(&sandbox, &[puppet(&sandbox, "supervisor")]);
    sandbox.write("team.p", "agent-x:\n\tloop(y)\n\ny:\n\tWork.\n");
    let rights =
        "may get, list and watch everything but Secrets in its own namespace \"default\", and send messages";
    for line in [
        "gcluster get secrets",
        "gcluster get secret s -o yaml",
        "gcluster apply -f team.p",
        "gcluster up -f team.p",
        "gcluster stop supervisor",
        "gcluster delete agent supervisor --wait=false",
        "gcluster get agents -A",
        "gcluster get agents -n elsewhere",
        "gcluster send supervisor x -n elsewhere",
        "gcluster get namespaces",
    ] {
        let said = obey(&sandbox, "supervisor", line);
        assert!(said.contains("exit 1") && said.contains(rights), "{line}: {said}");
        assert!(said.contains("hint: this is a program of an agent"), "{line}: {said}");
        assert!(!said.contains("hunter2"), "{said}");
    }
    for line in ["gcluster down", "gcluster kubeconfig --raw"] {
        let said = obey(&sandbox, "supervisor", line);
        assert!(said.contains("exit 1") && !said.contains("token:"), "{line}: {said}");
    }
    for line in ["gcluster get namespace default", "gcluster get events", "gcluster get configmaps"] {
        let said = obey(&sandbox, "supervisor", line);
        assert!(said.contains("exit 0"), "{line}: {said}");
    }
    assert!(object(&sandbox, "agent", "x").is_none() && object(&sandbox, "agent", "supervisor").is_some());
}

#[test]
fn the_token_is_shown_nowhere_and_dies_with_its_agent() {
    let sandbox = Sandbox::new();
    let master = Master::start_with(&sandbox, &["--backend", "rehearsal"], |command| {
        command.env("GCLUSTER_LOG", "trace");
    });
    apply(&sandbox, &[puppet(&sandbox, "supervisor"), shell_loop("leaky", "env; env >&2; exit 3")]);
    obey(&sandbox, "supervisor", "printf %s \"$GCLUSTER_TOKEN\" >token; env >environment");
    let secret = std::fs::read_to_string(sandbox.work().join("token")).unwrap();
    assert!(secret.starts_with("gcluster-agent.") && secret.len() > 80, "{secret}");
    let environment = std::fs::read_to_string(sandbox.work().join("environment")).unwrap();
    let directory = binary().parent().unwrap().display().to_string();
    for line in [
        format!("GCLUSTER_SERVER=https://{}", master.address()),
        format!("GCLUSTER_CA={}", sandbox.data().join("ca.crt").display()),
        "GCLUSTER_NAMESPACE=default".into(),
        "GCLUSTER_AGENT=supervisor".into(),
        "GCLUSTER_ITERATION=supervisor.work.0".into(),
    ] {
        assert!(environment.lines().any(|one| one == line), "{line} in {environment}");
    }
    let path = environment.lines().find_map(|line| line.strip_prefix("PATH=")).unwrap();
    assert!(path.split(':').any(|one| one == directory), "{path}");
    wait_object(&sandbox, "iteration", "leaky.work.0", "over", |o| o["status"]["phase"] == "Failed");
    let mut shown = sandbox.run(["logs", "leaky.work.0"]).ok().stdout;
    assert!(shown.contains("GCLUSTER_TOKEN=[GCLUSTER_TOKEN]"), "{shown}");
    for args in [
        &["describe", "agent", "leaky"][..],
        &["describe", "iteration", "leaky.work.0"],
        &["get", "agents,iterations,agentrevisions,events", "-o", "yaml"],
    ] {
        shown += &sandbox.run(args).ok().stdout;
    }
    shown += &master.log();
    shown += &std::fs::read_to_string(sandbox.data().join("audit.log")).unwrap();
    assert!(!shown.contains("gcluster-agent."), "{shown}");
    // Over plain HTTP on loopback, as any other token: until the agent is gone.
    let bearer = format!("Bearer {secret}");
    let agents = "/apis/gcluster.dev/v1alpha1/namespaces/default/agents";
    let get =
        |path: &str| request(master.address(), "GET", path, &[("authorization", &bearer)], b"").unwrap();
    assert_eq!(get(agents).status, 200);
    assert_eq!(get("/api/v1/namespaces/default/secrets").status, 403);
    sandbox.run(["delete", "agent", "supervisor"]).ok();
    let refused = get(agents);
    assert!(refused.status == 401 && refused.body.contains("does not exist any more"), "{refused:?}");
    assert_ne!(token(&sandbox), secret);
}

#[test]
fn what_the_definition_says_of_the_environment_wins() {
    let sandbox = Sandbox::new();
    let _master = Master::start(&sandbox);
    let mut agent = puppet(&sandbox, "supervisor");
    agent["spec"]["backend"]["env"] = json!([{"name": "GCLUSTER_SERVER", "value": "https://elsewhere.invalid"}, {"name": "GCLUSTER_NAMESPACE", "value": "own"}]);
    apply(&sandbox, &[agent]);
    let environment = obey(&sandbox, "supervisor", "env");
    assert!(environment.contains("GCLUSTER_SERVER=https://elsewhere.invalid\n"), "{environment}");
    assert!(environment.contains("GCLUSTER_NAMESPACE=own\n"), "{environment}");
    assert!(!environment.contains("GCLUSTER_TOKEN"), "no token goes to another server: {environment}");
}

#[test]
fn the_supervised_team_of_the_examples_compiles_and_its_commands_exist() {
    let sandbox = Sandbox::new();
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/supervised.p");
    let checked = sandbox.run(["apply", "--dry-run=client", "-f", file]).ok();
    assert!(
        checked.stdout.contains("builder checked") && checked.stdout.contains("supervisor checked"),
        "{checked:?}"
    );
    assert!(checked.stderr.is_empty(), "no warnings: {}", checked.stderr);
    let text = std::fs::read_to_string(file).unwrap();
    for verb in ["get", "describe", "logs", "send"] {
        assert!(text.contains(&format!("`gcluster {verb} ")), "{verb}");
        sandbox.run([verb, "--help"]).ok();
    }
}
