//! What kubectl ends and waits for: `delete` in all its ways, namespaces with all that is in them, `wait`.

use crate::support::kubectl::{Kubectl, idle};
use crate::support::wait::wait;

#[test]
fn delete_takes_every_flag() {
    let Some(k) = Kubectl::start("delete_takes_every_flag") else { return };
    for name in ["a", "b", "c", "d", "e", "f", "g", "h"] {
        k.settled_agent(name, if name < "f" { "blue" } else { "red" });
    }
    let gone = |name: &str| k.fails(&format!("get ag {name}"), &["NotFound"]);
    k.is("delete ag a --dry-run=server", "agent.gcluster.dev \"a\" deleted (server dry run)");
    k.ok("get ag a");
    k.is("delete ag a", "agent.gcluster.dev \"a\" deleted");
    gone("a");
    k.is("delete ag b --wait=false", "agent.gcluster.dev \"b\" deleted");
    k.ok("wait --for=delete ag/b --timeout=60s");
    k.is("delete ag c --grace-period=0 -o name", "agent.gcluster.dev/c");
    gone("c");
    k.ok("delete ag d --now");
    gone("d");
    k.ok("delete ag e --force");
    gone("e");
    k.fails("delete ag e", &["NotFound", "agents.gcluster.dev \"e\" not found"]);
    k.is("delete ag e --ignore-not-found", "");
    k.is("delete -f f.yaml", "agent.gcluster.dev \"f\" deleted");
    k.ok("delete ag --field-selector metadata.name=g");
    gone("g");
    k.settled_agent("a", "blue");
    k.ok("delete ag -l team=blue");
    gone("a");
    k.ok("get ag h");
    k.ok("delete ag --all");
    k.is("get ag -o name", "");
    k.fails("delete ag", &["resource(s) were provided, but no name was specified"]);
    k.fails("delete --raw /apis/gcluster.dev/v1alpha1/namespaces/default/agents/x", &["NotFound"]);
}

#[test]
fn delete_cascades_as_it_is_told() {
    let Some(k) = Kubectl::start("delete_cascades_as_it_is_told") else { return };
    let revisions = |name: &str| {
        let all = k.ok("get rev -o jsonpath='{range .items[*]}{.spec.agent}{\" \"}{end}'");
        all.split_whitespace().filter(|agent| *agent == name).count()
    };
    for name in ["a", "b", "c"] {
        k.settled_agent(name, "blue");
        assert_eq!(revisions(name), 1);
    }
    k.ok("delete ag a --cascade=background");
    wait("what agent a owned to go", || (revisions("a") == 0).then_some(()));
    k.ok("delete ag b --cascade=foreground");
    assert_eq!(revisions("b"), 0, "foreground: what is owned goes first");
    k.ok("delete ag c --cascade=orphan");
    assert_eq!(revisions("c"), 1, "orphans stay");
    k.is("get rev -o jsonpath='{.items[*].metadata.ownerReferences[*].name}'", "");
}

#[test]
fn a_namespace_goes_with_all_that_is_in_it() {
    let Some(k) = Kubectl::start("a_namespace_goes_with_all_that_is_in_it") else { return };
    k.file("a.yaml", &idle("a", "blue"));
    k.ok("create namespace team");
    k.ok("-n team apply -f a.yaml");
    k.says("get ag -A", &["team"]);
    k.is("delete namespace team --timeout=60s", "namespace \"team\" deleted");
    k.fails("get namespace team", &["NotFound"]);
    k.is("get ag,rev -n team -o name", "");
    k.fails("-n team apply -f a.yaml", &["namespaces \"team\" not found"]);
    k.fails("delete namespace default", &["Forbidden"]);
    // What holds a finalizer holds its namespace, and nothing new comes into it.
    k.ok("create namespace held");
    k.file(
        "held.yaml",
        &idle("h", "blue").replace("  name: h\n", "  name: h\n  finalizers: [example.com/hold]\n"),
    );
    k.ok("-n held apply -f held.yaml");
    k.ok("delete namespace held --wait=false");
    k.is("get namespace held -o jsonpath='{.status.phase}'", "Terminating");
    k.fails("-n held apply -f a.yaml", &["Forbidden", "being terminated"]);
    k.ok(r#"-n held patch ag h --type=merge -p '{"metadata":{"finalizers":null}}'"#);
    k.ok("wait --for=delete namespace/held --timeout=60s");
}

#[test]
fn wait_waits() {
    let Some(k) = Kubectl::start("wait_waits") else { return };
    k.settled_agent("a", "blue");
    k.is("wait --for=condition=Ready agent/a --timeout=60s", "agent.gcluster.dev/a condition met");
    k.ok("wait --for=condition=Progressing=False agents --all --timeout=60s");
    k.ok("wait --for=jsonpath='{.status.runState}'=stopped ag -l team=blue --timeout=60s");
    k.ok("wait --for=jsonpath='{.status.currentRevision}'=1 ag/a --timeout=60s");
    k.fails("wait --for=condition=Never agent/a --timeout=1s", &["timed out waiting for the condition"]);
    k.fails("wait --for=condition=Ready agent/nope --timeout=1s", &["NotFound"]);
    // Those that must see a change.
    let gone = k.follow("wait --for=delete agent/a --timeout=60s");
    let changed = k.follow("wait --for=jsonpath='{.spec.run}'=Paused agent/a --timeout=60s");
    k.ok(r#"patch ag a --type=merge -p '{"spec":{"run":"Paused"}}'"#);
    changed.line_with("condition met");
    k.ok("delete ag a");
    gone.line_with("condition met");
}
