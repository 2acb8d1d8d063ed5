//! The unmodified kubectl against the master, with the kubeconfig that it wrote.

use std::process::Command;

use crate::support::agents::{list, shell_loop};
use crate::support::cli::{Ran, Sandbox, ran};
use crate::support::master::{Master, wait_object};
use crate::support::skip::kubectl_or_skip;

struct Kubectl<'a> {
    sandbox: &'a Sandbox,
    program: std::path::PathBuf,
}

impl Kubectl<'_> {
    fn run(&self, args: &[&str]) -> Ran {
        let mut command = Command::new(&self.program);
        self.sandbox.seal(&mut command);
        command
            .arg("--kubeconfig")
            .arg(self.sandbox.data().join("kubeconfig"))
            .args(args)
            .current_dir(self.sandbox.work());
        ran(&mut command)
    }
}

#[test]
fn kubectl_gets_describes_applies_patches_explains_waits_and_deletes() {
    let Some(program) = kubectl_or_skip("kubectl_gets_describes_applies_patches_explains_waits_and_deletes")
    else {
        return;
    };
    let sandbox = Sandbox::new();
    let _master = Master::start(&sandbox);
    let kubectl = Kubectl { sandbox: &sandbox, program };
    let run = |args: &[&str]| kubectl.run(args);

    let resources = run(&["api-resources", "--api-group=gcluster.dev"]).ok().stdout;
    for word in ["agents", "ag", "agentrevisions", "iterations", "Agent"] {
        assert!(resources.contains(word), "{resources}");
    }
    let mut agent = shell_loop("builder", "echo hello; sleep 0.3");
    sandbox.write("a.json", &list(std::slice::from_ref(&agent)));
    run(&["apply", "-f", "a.json"]).ok();
    wait_object(&sandbox, "agent", "builder", "an iteration", |o| {
        o["status"]["iterations"]["total"].as_i64() > Some(0)
    });
    let table = run(&["get", "agents"]).ok().stdout;
    let head: Vec<&str> = table.lines().next().unwrap().split_whitespace().collect();
    assert_eq!(head, ["NAME", "STATE", "REVISION", "ITERATIONS", "LAST", "AGE"]);
    assert!(run(&["get", "ag", "builder", "-o", "yaml"]).ok().stdout.contains("kind: Agent"));
    let described = run(&["describe", "agent", "builder"]).ok().stdout;
    assert!(described.contains("Events:") && described.contains("Run State"), "{described}");

    agent["spec"]["limits"] = serde_json::json!({"maxIterations": 100_000});
    sandbox.write("a.json", &list(&[agent]));
    run(&["apply", "--server-side", "--force-conflicts", "-f", "a.json"]).ok();
    assert_eq!(
        run(&["get", "ag", "builder", "-o", "jsonpath={.spec.limits.maxIterations}"]).ok().stdout,
        "100000"
    );
    run(&["diff", "-f", "a.json"]).ok();
    run(&["patch", "agent", "builder", "--type=merge", "-p", r#"{"spec":{"run":"Paused"}}"#]).ok();
    run(&[
        "patch",
        "agent",
        "builder",
        "--type=json",
        "-p",
        r#"[{"op":"replace","path":"/spec/run","value":"Running"}]"#,
    ])
    .ok();
    let refused =
        run(&["patch", "agent", "builder", "--type=merge", "-p", r#"{"spec":{"run":"Sometimes"}}"#]);
    assert!(refused.code != 0 && refused.stderr.contains("spec.run"), "{}", refused.stderr);
    let explained = run(&["explain", "agents.spec.limits"]).ok().stdout;
    assert!(explained.contains("maxIterations") && explained.contains("maxBudgetUSD"), "{explained}");
    run(&["wait", "--for=condition=Ready", "agent/builder", "--timeout=60s"]).ok();
    run(&["label", "agent", "builder", "team=blue"]).ok();
    assert!(run(&["get", "ag", "-l", "team=blue", "-o", "name"]).ok().stdout.contains("builder"));
    run(&["delete", "agent", "builder", "--timeout=60s"]).ok();
    let gone = run(&["get", "agent", "builder"]);
    assert!(gone.code != 0 && gone.stderr.contains("NotFound"), "{}", gone.stderr);
}

#[test]
fn kubectl_watches() {
    use std::io::{BufRead, BufReader};
    let Some(program) = kubectl_or_skip("kubectl_watches") else { return };
    let sandbox = Sandbox::new();
    let _master = Master::start(&sandbox);
    let mut command = Command::new(program);
    sandbox.seal(&mut command);
    command.arg("--kubeconfig").arg(sandbox.data().join("kubeconfig")).args(["get", "iterations", "-w"]);
    sandbox.write("a.json", &list(&[shell_loop("builder", "sleep 0.2")]));
    sandbox.run(["apply", "-f", "a.json"]).ok();
    let mut child = command.stdout(std::process::Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut seen = String::new();
    while !seen.contains("builder.work.2") {
        seen += &lines.next().expect("the watch goes on").unwrap();
        seen.push('\n');
    }
    child.kill().unwrap();
    child.wait().unwrap();
}
