//! What kubectl reads: every form of `get`, selectors, watches, `describe`, `explain`, discovery, events, who am I.

use crate::support::kubectl::Kubectl;
use crate::support::skip::say_skipped;

const RAW: &str = "/apis/gcluster.dev/v1alpha1/namespaces/default/agents";

#[test]
fn get_prints_every_form() {
    let Some(k) = Kubectl::start("get_prints_every_form") else { return };
    k.settled_agent("a", "blue");
    k.settled_agent("b", "red");
    let head = |line: &str| -> Vec<String> {
        k.ok(line).lines().next().unwrap_or_default().split_whitespace().map(str::to_owned).collect()
    };
    let columns = ["NAME", "STATE", "REVISION", "ITERATIONS", "LAST", "AGE"];
    assert_eq!(head("get agents"), columns);
    assert_eq!(head("get agents -A")[0], "NAMESPACE");
    assert!(head("get agents -o wide").len() > columns.len());
    assert!(k.ok("get agents --no-headers").starts_with("a "));
    k.says("get agents --show-labels", &["LABELS", "team=red"]);
    k.says("get agents -L team", &["TEAM", "blue"]);
    k.says("get agents --show-kind", &["agent.gcluster.dev/a"]);
    k.is("get ag -o name", "agent.gcluster.dev/a\nagent.gcluster.dev/b");
    k.says("get agents.v1alpha1.gcluster.dev a", &["stopped"]);
    k.says("get agent/a ns/default", &["agent.gcluster.dev/a", "namespace/default"]);
    k.says("get agents,namespaces", &["agent.gcluster.dev/a", "namespace/default"]);
    k.says("get -f a.yaml", &["stopped"]);

    assert_eq!(k.json("get ag a -o json")["spec"]["run"], "Stopped");
    let list = k.json("get ag -o json");
    assert_eq!((&list["kind"], list["items"].as_array().unwrap().len()), (&"List".into(), 2));
    let yaml = k.says("get ag a -o yaml", &["kind: Agent", "run: Stopped"]);
    assert!(!yaml.contains("managedFields"), "{yaml}");
    k.says(
        "get ag a -o yaml --show-managed-fields",
        &["managedFields", "manager: kubectl-client-side-apply"],
    );
    k.is("get ag -o jsonpath='{.items[*].metadata.name}'", "a b");
    k.is("get ag -o jsonpath='{range .items[?(@.metadata.labels.team==\"red\")]}{.metadata.name}{end}'", "b");
    k.is("get ag a -o jsonpath-as-json='{.spec.run}'", "[\n    \"Stopped\"\n]");
    k.file("path", "{.metadata.name} is {.spec.run}");
    k.is("get ag a -o jsonpath-file=path", "a is Stopped");
    k.is(
        "get ag -o custom-columns=N:.metadata.name,T:.metadata.labels.team",
        "N     T\na     blue\nb     red",
    );
    k.file("columns", "N             R\nmetadata.name spec.run\n");
    k.is("get ag -o custom-columns-file=columns", "N     R\na     Stopped\nb     Stopped");
    k.is("get ag -o go-template='{{range .items}}{{.metadata.name}};{{end}}'", "a;b;");
    k.file("template", "{{.metadata.name}}");
    k.is("get ag a -o go-template-file=template", "a");
    assert_eq!(head("get ag --server-print=false"), ["NAME", "AGE"]);
    k.is("get ag a --subresource=status -o jsonpath='{.status.runState}'", "stopped");
    k.says(&format!("get --raw {RAW}?limit=1"), &["AgentList", "continue"]);
    k.is("get --raw /readyz", "ok");

    k.is("get ag --sort-by=.metadata.labels.team -o name", "agent.gcluster.dev/a\nagent.gcluster.dev/b");
    let sorted = k.ok("get ag --sort-by='{.metadata.labels.team}' --no-headers");
    assert!(sorted.starts_with("a "), "{sorted}");
    k.is("get ag --chunk-size=1 -o name", "agent.gcluster.dev/a\nagent.gcluster.dev/b");
    assert_eq!(k.ok("get ag --chunk-size=1").lines().count(), 3);

    k.is("get ag nope --ignore-not-found", "");
    k.fails("get ag nope", &["NotFound", "agents.gcluster.dev \"nope\" not found"]);
    k.fails("get ag a nope", &["\"nope\" not found"]);
    k.fails("get nonsense", &["doesn't have a resource type \"nonsense\""]);
    k.fails("get ag -n nope a", &["NotFound"]);
}

#[test]
fn selectors_choose() {
    let Some(k) = Kubectl::start("selectors_choose") else { return };
    for (name, team) in [("a", "blue"), ("b", "red"), ("c", "blue")] {
        k.settled_agent(name, team);
    }
    k.ok("create namespace other");
    k.ok("-n other apply -f a.yaml");
    for (selector, expected) in [
        ("-l team=blue", "a c"),
        ("-l team==red", "b"),
        ("-l team!=blue", "b"),
        ("-l 'team in (red, green)'", "b"),
        ("-l 'team notin (red)'", "a c"),
        ("-l team", "a b c"),
        ("-l '!team'", ""),
        ("-l team=blue,team!=red", "a c"),
        ("--field-selector metadata.name=b", "b"),
        ("--field-selector metadata.name!=b", "a c"),
        ("--field-selector metadata.namespace=default,metadata.name=a", "a"),
        ("--field-selector status.runState=stopped", "a b c"),
        ("--field-selector status.runState=running", ""),
        ("-l team=blue --field-selector metadata.name!=a", "c"),
    ] {
        k.is(&format!("get ag {selector} -o jsonpath='{{.items[*].metadata.name}}'"), expected);
    }
    let namespaces = "-o jsonpath='{.items[*].metadata.namespace}'";
    k.is(&format!("get ag -A --field-selector metadata.name=a {namespaces}"), "default other");
    k.is(&format!("get ag -A --field-selector metadata.namespace=other {namespaces}"), "other");
    k.fails("get ag --field-selector spec.nope=1", &["BadRequest", "field label not supported"]);
    k.fails("get ag -l 'team in blue'", &["unable to parse requirement"]);
}

#[test]
fn watches_follow() {
    let Some(k) = Kubectl::start("watches_follow") else { return };
    k.settled_agent("a", "blue");
    let table = k.follow("get ag -w");
    let only = k.follow("get ag --watch-only -o name");
    let events = k.follow("get ag -w --output-watch-events -l team=blue");
    let one = k.follow("get ag b -w --ignore-not-found");
    let json = k.follow("get ag -w -o jsonpath='{.metadata.name}={.spec.run}{\"\\n\"}'");
    table.line_with("a ");
    events.line_with("ADDED");
    json.line_with("a=Stopped");
    drop(one);
    // `--watch-only` says nothing of what was there, so that nothing tells when it has begun.
    crate::support::wait::wait("a change to reach the watch-only", || {
        k.settled_agent("b", "red");
        k.ok("annotate ag b at=x --overwrite");
        k.ok("annotate ag b at-");
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| only.line_with("/b"))).ok()
    });
    table.line_with("b ");
    k.ok("label ag a team=red --overwrite");
    events.line_with("DELETED");
    k.ok("patch ag a --type=merge -p '{\"spec\":{\"run\":\"Paused\"}}'");
    json.line_with("a=Paused");
    k.ok("get ag -w --request-timeout=1s");
}

#[test]
fn describe_shows_an_object_with_its_events() {
    let Some(k) = Kubectl::start("describe_shows_an_object_with_its_events") else { return };
    k.settled_agent("a", "blue");
    k.says(
        "describe agent a",
        &["Name:         a", "team=blue", "Run State", "RevisionRecorded", "Events:", "gcluster-revision"],
    );
    k.says("describe -l team=blue agents", &["Name:         a"]);
    k.says("describe namespace default", &["Status:       Active"]);
    k.says("get events", &["LAST SEEN", "TYPE", "REASON", "agent/a", "RevisionRecorded"]);
    k.says("get events.events.k8s.io", &["agent/a", "RevisionRecorded"]);
    k.says("get events -o wide", &["FIRST SEEN", "COUNT", "SOURCE", "gcluster-revision"]);
    k.says("get events --field-selector involvedObject.name=a,reason=RevisionRecorded", &["agent/a"]);
    k.is("get events --field-selector involvedObject.name=b -o name", "");
    k.says("get events --sort-by=.metadata.creationTimestamp", &["agent/a"]);
    k.says("get events --sort-by=.lastTimestamp", &["agent/a"]);
    k.says("events", &["RevisionRecorded", "Agent/a"]);
    k.says("events --for agent/a --types=Normal", &["RevisionRecorded"]);
    k.says("events -A -o json", &["\"involvedObject\""]);
}

#[test]
fn explain_knows_every_field() {
    let Some(k) = Kubectl::start("explain_knows_every_field") else { return };
    k.says("explain agent", &["GROUP:      gcluster.dev", "KIND:       Agent", "One autonomous agent"]);
    k.says("explain agents.spec.limits.maxBudgetUSD", &["FIELD: maxBudgetUSD <number>", "US dollars"]);
    k.says("explain ag --recursive", &["maxIterations\t<integer>", "definition\t<string> -required-"]);
    k.says("explain agent.metadata.labels", &["map[string]string"]);
    for kind in ["iteration", "revision", "message", "namespace", "event", "lease.spec"] {
        k.says(&format!("explain {kind} --recursive"), &["KIND:", "VERSION:"]);
    }
    k.says("explain events --api-version=events.k8s.io/v1", &["GROUP:      events.k8s.io"]);
    k.says("explain agent --output=plaintext-openapiv2", &["KIND:     Agent"]);
    k.fails("explain agent.spec.nope", &["field \"nope\" does not exist"]);
    k.fails("explain nope", &["doesn't have a resource type"]);
}

#[test]
fn discovery_health_and_identity_are_told() {
    let Some(k) = Kubectl::start("discovery_health_and_identity_are_told") else { return };
    k.settled_agent("a", "blue");
    k.says("version", &["Server Version", "v1.33.0+gcluster"]);
    k.says("cluster-info", &["control plane", "is running at", "https://127.0.0.1:"]);
    k.says("api-versions", &["v1\n", "gcluster.dev/v1alpha1", "events.k8s.io/v1", "coordination.k8s.io/v1"]);
    k.says("api-resources", &["agents", "agentrevisions", "iterations", "messages", "namespaces", "leases"]);
    k.says("api-resources --namespaced=false -o name", &["namespaces"]);
    k.says("api-resources --api-group=gcluster.dev --sort-by=kind", &["ag ", "Agent"]);
    k.says(
        "api-resources --categories=gcluster --verbs=watch,patch -o wide",
        &["deletecollection", "gcluster"],
    );

    k.is("auth can-i delete agents", "yes");
    k.is("auth can-i '*' '*'", "yes");
    k.says("auth can-i --list", &["Resources", "*.*", "[*]"]);
    let old = k.run("auth whoami");
    if old.stderr.contains("v1beta1 API") {
        say_skipped("discovery_health_and_identity_are_told", "`auth whoami` wants kubectl 1.28");
    } else {
        k.says("auth whoami", &["gcluster-admin", "system:masters"]);
        assert_eq!(k.json("auth whoami -o json")["status"]["userInfo"]["username"], "gcluster-admin");
    }

    k.says("__complete get agents ''", &["a\n"]);
    k.says("__complete get ''", &["agents.gcluster.dev", "namespaces"]);
    k.says("__complete -n def", &["default"]);
    k.says("__complete describe agents a", &["a\n"]);
}
