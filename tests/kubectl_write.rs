//! What kubectl writes: `apply` in both ways, `diff`, `create`, `replace`, `patch`, `edit`, `label`, `annotate`.

use crate::support::kubectl::{Kubectl, idle};

const RUN: &str = "get ag a -o jsonpath='{.spec.run}'";

#[test]
fn apply_on_the_client_side_remembers_and_prunes() {
    let Some(k) = Kubectl::start("apply_on_the_client_side_remembers_and_prunes") else { return };
    k.file("a.yaml", &idle("a", "blue"));
    k.is("apply -f a.yaml --dry-run=server", "agent.gcluster.dev/a created (server dry run)");
    k.fails("get ag a", &["NotFound"]);
    k.is("apply -f a.yaml", "agent.gcluster.dev/a created");
    k.settle("a");
    k.is("apply -f a.yaml", "agent.gcluster.dev/a unchanged");
    k.says("apply view-last-applied ag a", &["team: blue", "run: Stopped"]);
    // A field that was applied and is left out goes; one that others set stays.
    k.ok("label ag a other=x");
    k.file("a.yaml", &idle("a", "blue").replace("labels: {team: blue}", "labels: {}"));
    k.is("apply -f a.yaml --dry-run=client", "agent.gcluster.dev/a configured (dry run)");
    k.is("apply -f a.yaml --dry-run=server", "agent.gcluster.dev/a configured (server dry run)");
    k.is("get ag a -o jsonpath='{.metadata.labels}'", r#"{"other":"x","team":"blue"}"#);
    k.is("apply -f a.yaml", "agent.gcluster.dev/a configured");
    k.is("get ag a -o jsonpath='{.metadata.labels}'", r#"{"other":"x"}"#);

    // What was created otherwise is taken over with a warning.
    k.file("b.yaml", &idle("b", "blue"));
    k.is("create -f b.yaml", "agent.gcluster.dev/b created");
    let warned = k.run("apply -f b.yaml").ok();
    assert!(warned.stderr.contains("missing the kubectl.kubernetes.io/last-applied"), "{}", warned.stderr);
    k.ok("apply set-last-applied -f b.yaml");
    k.set("KUBE_EDITOR", "sed -i s/blue/green/");
    k.says("apply edit-last-applied ag b", &["edited"]);
    k.says("apply view-last-applied ag b", &["team: green"]);

    // A misspelt field is refused, or reported, as asked.
    k.file("typo.yaml", &idle("t", "blue").replace("run:", "rn:"));
    k.fails("apply -f typo.yaml", &["strict decoding error: unknown field \"spec.rn\""]);
    let warned = k.run("apply -f typo.yaml --validate=warn").ok();
    assert!(warned.stderr.contains("Warning: unknown field \"spec.rn\""), "{}", warned.stderr);
    k.fails("-n nowhere apply -f b.yaml", &["namespaces \"nowhere\" not found"]);

    // Prune removes what is no longer among the files.
    for name in ["p1", "p2"] {
        k.file(&format!("set/{name}.yaml"), &idle(name, "pruned"));
    }
    let prune = "apply -f set --prune -l team=pruned --prune-allowlist=gcluster.dev/v1alpha1/Agent";
    k.says(prune, &["p1 created", "p2 created"]);
    k.remove("set/p2.yaml");
    k.says(&format!("{prune} --dry-run=server"), &["p2 pruned (server dry run)"]);
    k.says(prune, &["p1 unchanged", "p2 pruned"]);
    k.ok("wait --for=delete ag/p2 --timeout=60s");
    k.says("get ag p1", &["p1"]);
}

#[test]
fn apply_on_the_server_side_tells_conflicts_by_field_and_manager() {
    let Some(k) = Kubectl::start("apply_on_the_server_side_tells_conflicts_by_field_and_manager") else {
        return;
    };
    let paused = idle("a", "blue").replace("Stopped", "Paused");
    k.file("stopped.yaml", &idle("a", "blue"));
    k.file("paused.yaml", &paused);
    let apply = "apply --server-side --field-manager";
    k.is(&format!("{apply}=alice -f stopped.yaml"), "agent.gcluster.dev/a serverside-applied");
    k.settle("a");
    // The same value is owned together, another value is a conflict.
    k.ok(&format!("{apply}=bob -f stopped.yaml"));
    k.fails(
        &format!("{apply}=carol -f paused.yaml"),
        &["2 conflicts", "conflicts with \"alice\"", "conflicts with \"bob\"", ".spec.run"],
    );
    k.fails(&format!("{apply}=carol -f paused.yaml --dry-run=server"), &[".spec.run"]);
    k.is(RUN, "Stopped");
    k.is(
        &format!("{apply}=carol -f paused.yaml --force-conflicts --dry-run=server"),
        "agent.gcluster.dev/a serverside-applied (server dry run)",
    );
    k.is(RUN, "Stopped");
    k.ok(&format!("{apply}=carol -f paused.yaml --force-conflicts"));
    k.is(RUN, "Paused");
    k.fails(
        &format!("{apply}=alice -f stopped.yaml"),
        &["1 conflict", "conflict with \"carol\"", ".spec.run"],
    );
    let managers = k.ok("get ag a --show-managed-fields -o jsonpath='{.metadata.managedFields[*].manager}'");
    for manager in ["alice", "bob", "carol"] {
        assert!(managers.contains(manager), "{managers}");
    }
    // Who applies without a field gives it up; with the last owner it goes.
    k.file("bare.yaml", &paused.replace("  labels: {team: blue}\n", ""));
    k.ok(&format!("{apply}=alice -f bare.yaml"));
    k.ok(&format!("{apply}=bob -f bare.yaml"));
    k.is("get ag a -o jsonpath='{.metadata.labels.team}'", "blue");
    k.ok(&format!("{apply}=carol -f bare.yaml"));
    k.is("get ag a -o jsonpath='{.metadata.labels.team}'", "");

    // From the client side to the server side and on, without conflicts.
    k.file("b.yaml", &idle("b", "blue"));
    k.ok("apply -f b.yaml");
    k.settle("b");
    k.file("b.yaml", &idle("b", "red"));
    k.ok("apply --server-side -f b.yaml");
    k.is("get ag b -o jsonpath='{.metadata.labels.team}'", "red");
    k.ok("apply -f b.yaml");
}

#[test]
fn diff_tells_by_its_exit_code() {
    let Some(k) = Kubectl::start("diff_tells_by_its_exit_code") else { return };
    k.settled_agent("a", "blue");
    k.is("diff -f a.yaml", "");
    k.file("a2.yaml", &idle("a", "green"));
    let differs = k.run("diff -f a2.yaml");
    assert_eq!(differs.code, 1, "{}", differs.stderr);
    assert!(differs.stdout.contains("-    team: blue") && differs.stdout.contains("+    team: green"));
    let differs = k.run("diff --server-side --force-conflicts -f a2.yaml");
    assert_eq!(differs.code, 1, "{}", differs.stderr);
    assert!(differs.stdout.contains("+    team: green"), "{}", differs.stdout);
    k.file("new.yaml", &idle("new", "green"));
    let created = k.run("diff -f new.yaml");
    assert!(created.code == 1 && created.stdout.contains("+kind: Agent"), "{}", created.stdout);
    k.file("bad.yaml", &idle("a", "blue").replace("Stopped", "Sometimes"));
    let refused = k.run("diff -f bad.yaml");
    assert!(refused.code > 1 && refused.stderr.contains("spec.run"), "{}", refused.stderr);
    k.is("get ag a -o jsonpath='{.metadata.labels.team}'", "blue");
    k.fails("get ag new", &["NotFound"]);
}

#[test]
fn create_and_replace() {
    let Some(k) = Kubectl::start("create_and_replace") else { return };
    k.file("a.yaml", &idle("a", "blue"));
    k.is("create -f a.yaml --dry-run=server -o name", "agent.gcluster.dev/a");
    k.is("create -f a.yaml --save-config", "agent.gcluster.dev/a created");
    k.says("apply view-last-applied ag a", &["team: blue"]);
    k.fails("create -f a.yaml", &["AlreadyExists", "agents.gcluster.dev \"a\" already exists"]);
    k.file("generated.yaml", "apiVersion: v1\nkind: Namespace\nmetadata: {generateName: some-}\n");
    k.says("create -f generated.yaml", &["namespace/some-", " created"]);
    k.is("create namespace team", "namespace/team created");
    k.says(
        "create namespace dry --dry-run=server -o yaml",
        &["phase: Active", "kubernetes.io/metadata.name: dry"],
    );
    k.fails("create namespace team", &["AlreadyExists"]);
    k.fails("create namespace Not_A_Name", &["is invalid", "metadata.name", "RFC 1123"]);
    k.file("two.yaml", &format!("{}---\n{}", idle("one", "blue"), idle("two", "blue")));
    k.says("create -f two.yaml", &["one created", "two created"]);

    k.file("a.yaml", &idle("a", "red"));
    k.is("replace -f a.yaml", "agent.gcluster.dev/a replaced");
    k.is("get ag a -o jsonpath='{.metadata.labels.team}'", "red");
    k.is("replace -f a.yaml --dry-run=server", "agent.gcluster.dev/a replaced (server dry run)");
    let before = k.ok("get ag a -o jsonpath='{.metadata.uid}'");
    k.says("replace --force -f a.yaml", &["\"a\" deleted", "a replaced"]);
    assert_ne!(k.ok("get ag a -o jsonpath='{.metadata.uid}'"), before);
    k.file("none.yaml", &idle("none", "red"));
    k.fails("replace -f none.yaml", &["NotFound"]);
    // Optimistic locking: what was read before somebody else wrote is refused.
    k.settle("a");
    let old = k.ok("get ag a -o yaml");
    k.ok("label ag a by=other");
    k.file("old.yaml", &old);
    k.fails("replace -f old.yaml", &["Conflict", "the object has been modified"]);
}

#[test]
fn patches_of_every_type() {
    let Some(k) = Kubectl::start("patches_of_every_type") else { return };
    k.settled_agent("a", "blue");
    let merge = "patch ag a --type=merge -p";
    k.is(&format!(r#"{merge} '{{"spec":{{"run":"Paused"}}}}'"#), "agent.gcluster.dev/a patched");
    k.is(&format!(r#"{merge} '{{"spec":{{"run":"Paused"}}}}'"#), "agent.gcluster.dev/a patched (no change)");
    k.is(RUN, "Paused");
    k.ok(r#"patch ag a --type=json -p '[{"op":"replace","path":"/spec/run","value":"Stopped"}]'"#);
    k.is(RUN, "Stopped");
    k.file("patch.yaml", "spec:\n  run: Paused\n");
    k.ok("patch -f a.yaml --type=merge --patch-file patch.yaml --dry-run=server");
    k.is(RUN, "Stopped");
    k.ok("patch -f a.yaml --type=merge --patch-file patch.yaml");
    k.is(RUN, "Paused");
    k.settle("a");
    let status = r#"{"status":{"activeIteration":"none"}}"#;
    k.ok(&format!("patch ag a --subresource=status --type=merge -p '{status}'"));
    k.is(&format!("{merge} '{status}'"), "agent.gcluster.dev/a patched (no change)");

    k.fails(
        &format!(r#"{merge} '{{"spec":{{"run":"Sometimes"}}}}'"#),
        &["is invalid", "spec.run", "\"Sometimes\""],
    );
    k.fails(
        r#"patch ag a --type=json -p '[{"op":"test","path":"/spec/run","value":"Nope"}]'"#,
        &["is invalid", "operation 0", "/spec/run"],
    );
    k.fails(
        &format!(r#"{merge} '{{"metadata":{{"resourceVersion":"1"}}}}'"#),
        &["Conflict", "has been modified"],
    );
    k.fails(&format!("{merge} '{{'"), &["not valid JSON"]);
    k.fails(r#"patch ag nope --type=merge -p '{"spec":{"run":"Paused"}}'"#, &["NotFound"]);
    // Strategic: not for custom resources, as in Kubernetes; for what Kubernetes has built in.
    k.fails(
        r#"patch ag a -p '{"spec":{"run":"Paused"}}'"#,
        &["application/strategic-merge-patch+json is not supported", "accepted media types"],
    );
    k.is(r#"patch ns default -p '{"metadata":{"labels":{"x":"y"}}}'"#, "namespace/default patched");
    k.says("get ns default --show-labels", &["x=y"]);
    let warned = k.run(&format!(r#"{merge} '{{"spec":{{"nope":1}}}}'"#)).ok();
    assert!(warned.stderr.contains("Warning: unknown field \"spec.nope\""), "{}", warned.stderr);
    k.fails("scale ag a --replicas=3", &["could not find the requested resource"]);
    k.fails("autoscale ag a --max=3", &["could not find scale subresource"]);
}

#[test]
fn edit_runs_the_editor() {
    let Some(k) = Kubectl::start("edit_runs_the_editor") else { return };
    k.settled_agent("a", "blue");
    k.set("KUBE_EDITOR", "sed -i s/Stopped/Paused/");
    k.is("edit ag a", "agent.gcluster.dev/a edited");
    k.is(RUN, "Paused");
    k.settle("a");
    k.set("KUBE_EDITOR", "true");
    let same = k.run("edit ag a").ok();
    assert!(same.stderr.contains("no changes made"), "{}", same.stderr);
    k.set("KUBE_EDITOR", "sed -i s/blue/red/");
    k.says("edit ag a -o json", &["\"team\": \"red\""]);
    k.is("get ag a -o jsonpath='{.metadata.labels.team}'", "red");
    k.set("KUBE_EDITOR", "sed -i s/run:/rn:/");
    k.fails("edit ag a", &["unknown field \"spec.rn\""]);
    k.set("KUBE_EDITOR", "sed -i s/Paused/Pausd/");
    k.fails("edit ag a", &["is invalid", "no valid changes were saved"]);
    k.set("KUBE_EDITOR", "sed -i 's/runState: .*/runState: pending/'");
    k.is("edit ag a --subresource=status", "agent.gcluster.dev/a edited");
    k.is(RUN, "Paused");
}

#[test]
fn label_and_annotate() {
    let Some(k) = Kubectl::start("label_and_annotate") else { return };
    k.settled_agent("a", "blue");
    k.settled_agent("b", "blue");
    for (verb, done, undone) in [("label", "labeled", "unlabeled"), ("annotate", "annotate", "annotate")] {
        k.says(&format!("{verb} ag a x=1"), &[&format!("agent.gcluster.dev/a {done}")]);
        k.fails(&format!("{verb} ag a x=2"), &["--overwrite is false", "already has a value (1)"]);
        k.ok(&format!("{verb} ag a x=2 --overwrite"));
        k.says(&format!("{verb} ag a --list"), &["x=2"]);
        k.says(&format!("{verb} ag a x-"), &[&format!("agent.gcluster.dev/a {undone}")]);
        k.ok(&format!("{verb} ag -l team=blue y=1"));
        k.says(&format!("{verb} ag --all z=1 --dry-run=server"), &["(server dry run)"]);
        k.ok(&format!("{verb} -f b.yaml w=1"));
        k.fails(&format!("{verb} ag a x=1 --resource-version=1"), &["Conflict"]);
        k.fails(&format!("{verb} ag nope x=1"), &["NotFound"]);
    }
    k.is("get ag -l y=1,w=1 -o name", "agent.gcluster.dev/b");
    k.is("get ag -l z -o name", "");
    k.fails("label ag a 'not a name=1'", &["metadata.labels", "qualified name"]);
}
