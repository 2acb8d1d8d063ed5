//! The unmodified kubectl, when it is there.

use std::process::{Command, Stdio};

use gcluster_server::security::Security;

use crate::socket::Listening;

/// Runs kubectl; the text of both streams and whether it succeeded.
async fn kubectl(listening: &Listening, args: &[&str], stdin: &str) -> (bool, String) {
    let (config, args) =
        (listening.kubeconfig.clone(), args.iter().map(|a| (*a).to_owned()).collect::<Vec<_>>());
    let home = listening.server.dir.path().to_owned();
    let stdin = stdin.to_owned();
    tokio::task::spawn_blocking(move || {
        let mut child = Command::new("kubectl")
            .arg("--kubeconfig")
            .arg(config)
            .args(&args)
            .env("HOME", home)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        std::io::Write::write_all(&mut child.stdin.take().unwrap(), stdin.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        let text = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8_lossy(&text).into_owned())
    })
    .await
    .unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kubectl_works_unmodified() {
    if Command::new("kubectl").arg("version").arg("--client").output().is_err() {
        eprintln!("SKIPPED kubectl_works_unmodified: kubectl is not installed");
        return;
    }
    let listening = Listening::start().await;
    let agent = crate::support::agent("a");
    let text = agent.to_string();
    let mut limited = agent.clone();
    limited["spec"]["limits"] = serde_json::json!({"maxIterations": 3});
    let limited = limited.to_string();
    let list_of = |item: &serde_json::Value| {
        serde_json::json!({"apiVersion": "v1", "kind": "List", "items": [item]}).to_string()
    };
    let list = list_of(&agent);
    let mut misspelt = agent.clone();
    misspelt["spec"]["limit"] = serde_json::json!({});
    let misspelt = list_of(&misspelt);
    for (args, stdin, expected) in [
        (vec!["version"], "", "v1.33.0+gcluster"),
        (vec!["api-resources"], "", "agents"),
        (vec!["apply", "-f", "-"], text.as_str(), "created"),
        (vec!["get", "agents"], "", "NAME"),
        (vec!["get", "ag", "a", "-o", "yaml"], "", "kind: Agent"),
        (
            vec!["apply", "--server-side", "--force-conflicts", "-f", "-"],
            limited.as_str(),
            "serverside-applied",
        ),
        (vec!["apply", "-f", "-"], limited.as_str(), "configured"),
        (vec!["label", "agent", "a", "team=blue"], "", "labeled"),
        (vec!["get", "agents", "-l", "team=blue", "-A"], "", "default"),
        (vec!["patch", "agent", "a", "--type=merge", "-p", r#"{"spec":{"run":"Paused"}}"#], "", "patched"),
        (
            vec![
                "patch",
                "agent",
                "a",
                "--subresource=status",
                "--type=merge",
                "-p",
                r#"{"status":{"runState":"stopped"}}"#,
            ],
            "",
            "patched",
        ),
        (
            vec!["wait", "--for=jsonpath={.status.runState}=stopped", "agent/a", "--timeout=20s"],
            "",
            "condition met",
        ),
        (vec!["explain", "agent.spec.limits"], "", "maxIterations"),
        (vec!["describe", "agent", "a"], "", "Events:"),
        (
            vec!["apply", "-f", "-"],
            r#"{"apiVersion":"v1","kind":"Namespace","metadata":{"name":"team"}}"#,
            "created",
        ),
        // Bodies in protobuf.
        (vec!["create", "namespace", "blue"], "", "namespace/blue created"),
        (vec!["auth", "can-i", "delete", "agents"], "", "yes"),
        (vec!["auth", "whoami"], "", "gcluster-admin"),
        (vec!["delete", "namespace", "blue", "--wait=false"], "", "deleted"),
        // A List is validated against OpenAPI v2 in protobuf.
        (vec!["apply", "-f", "-"], list.as_str(), "configured"),
        (vec!["apply", "-f", "-"], misspelt.as_str(), "unknown field \"limit\""),
        (vec!["get", "agents", "-w", "--request-timeout=2s"], "", "stopped"),
        (vec!["delete", "agent", "a", "--timeout=20s"], "", "deleted"),
    ] {
        let (_, output) = kubectl(&listening, &args, stdin).await;
        assert!(output.contains(expected), "kubectl {args:?}: {output}");
    }
    let (done, output) = kubectl(&listening, &["get", "agent", "a"], "").await;
    assert!(!done && output.contains("NotFound"), "{output}");
    listening.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kubectl_tells_an_agent_who_it_is_and_what_it_may_do() {
    if Command::new("kubectl").arg("version").arg("--client").output().is_err() {
        eprintln!("SKIPPED kubectl_tells_an_agent_who_it_is_and_what_it_may_do: kubectl is not installed");
        return;
    }
    let listening = Listening::start().await;
    let uid = listening.server.create("a").await.metadata.uid.unwrap();
    let security = Security::open(listening.server.dir.path()).unwrap();
    let token = format!("--token={}", security.agent_token("default", "a", &uid));
    for (args, succeeds, expected) in [
        (&["auth", "whoami"][..], true, "system:serviceaccount:default:a"),
        (&["auth", "can-i", "create", "messages.gcluster.dev"], true, "yes"),
        (&["auth", "can-i", "get", "iterations.gcluster.dev", "--subresource=transcript"], true, "yes"),
        (
            &["auth", "can-i", "create", "messages.gcluster.dev", "-n", "other"],
            false,
            "no - the agent \"a\" may",
        ),
        (&["auth", "can-i", "get", "secrets"], false, "no"),
        (&["auth", "can-i", "patch", "agents.gcluster.dev"], false, "no"),
        (&["auth", "can-i", "list", "agents.gcluster.dev", "-A"], false, "no"),
        (&["auth", "can-i", "--list"], true, "messages.gcluster.dev"),
        (&["get", "ag,it,msg,cm"], true, "a "),
        (&["get", "secrets"], false, "may get, list and watch everything but Secrets"),
        (&["delete", "ag", "a"], false, "Forbidden"),
    ] {
        let (done, text) = kubectl(&listening, &[args, &[&token]].concat(), "").await;
        assert!(done == succeeds && text.contains(expected), "{args:?}: {text}");
    }
    listening.stop().await;
}
