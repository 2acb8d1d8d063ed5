//! Tables of graphs and of histories.

use std::sync::Arc;

use gcluster_types::kinds::agent::StepStats;
use gcluster_types::{Agent, AgentStatus, Iteration, Message};
use kube::ResourceExt;
use serde_json::json;

use super::graph::{Action, FOREGROUND, Graph, Node, ORPHAN, Owner};
use super::retention::{settled, superfluous};

fn node(uid: &str, owners: &[&str]) -> Node {
    let owner = |uid: &&str| Owner {
        uid: (*uid).into(),
        api_version: "v1".into(),
        kind: "K".into(),
        name: (*uid).into(),
        blocks: true,
    };
    Node {
        kind: 0,
        namespace: "default".into(),
        name: uid.into(),
        uid: uid.into(),
        owners: owners.iter().map(owner).collect(),
        finalizers: Vec::new(),
        deleting: false,
    }
}

fn graph(nodes: Vec<Node>) -> Graph {
    let mut graph = Graph::default();
    for node in nodes {
        graph.put(node);
    }
    graph
}

#[test]
fn what_is_owned_goes_when_its_last_owner_is_gone() {
    let mut graph = graph(vec![node("a", &[]), node("b", &[]), node("x", &["a", "b"])]);
    assert_eq!(graph.actions("x"), []);
    assert!(graph.remove("a").contains("x"));
    assert_eq!(graph.actions("x"), [], "one owner is left");
    assert!(graph.remove("b").contains("x"));
    assert_eq!(graph.actions("x"), [("x".to_owned(), Action::DeleteUnowned)]);
    graph.put(Node { deleting: true, ..node("x", &["a", "b"]) });
    assert_eq!(graph.actions("x"), [], "it goes already");
}

#[test]
fn a_foreground_deletion_waits_for_what_is_owned() {
    let deleting = Node { deleting: true, finalizers: vec![FOREGROUND.into()], ..node("a", &[]) };
    let mut graph = graph(vec![deleting, node("x", &["a"])]);
    assert_eq!(graph.actions("a"), [("x".to_owned(), Action::Delete)]);
    graph.put(Node { deleting: true, ..node("x", &["a"]) });
    assert_eq!(graph.actions("a"), []);
    assert!(graph.remove("x").contains("a"));
    assert_eq!(graph.actions("a"), [("a".to_owned(), Action::RemoveFinalizer(FOREGROUND))]);
}

#[test]
fn an_orphaning_deletion_leaves_what_is_owned() {
    let deleting = Node { deleting: true, finalizers: vec![ORPHAN.into()], ..node("a", &[]) };
    let mut graph = graph(vec![deleting, node("x", &["a"])]);
    assert_eq!(graph.actions("a"), [("x".to_owned(), Action::Disown("a".into()))]);
    assert!(graph.put(node("x", &[])).contains("a"));
    assert_eq!(graph.actions("a"), [("a".to_owned(), Action::RemoveFinalizer(ORPHAN))]);
    graph.remove("a");
    assert_eq!(graph.actions("x"), []);
}

fn iteration(step: &str, number: i64, phase: &str, execution: i64) -> Arc<Iteration> {
    Arc::new(
        serde_json::from_value(json!({
            "apiVersion": "gcluster.dev/v1alpha1", "kind": "Iteration",
            "metadata": {"name": format!("a.{step}.{number}"), "namespace": "default"},
            "spec": {"agent": "a", "revision": "r", "step": step, "kind": "Loop", "number": number,
                "execution": execution},
            "status": {"phase": phase},
        }))
        .unwrap(),
    )
}

#[test]
fn only_counted_iterations_beyond_the_limit_go_and_needed_outputs_stay() {
    let mut agent = Agent::new("a", Default::default());
    agent.spec.iteration_history_limit = 2;
    let stats =
        |step: &str, next_number| StepStats { step: step.into(), next_number, ..StepStats::default() };
    agent.status = Some(AgentStatus {
        execution: Some(1),
        stats: vec![stats("work", 5), stats("plan", 4)],
        ..AgentStatus::default()
    });
    let all = [
        iteration("work", 0, "Succeeded", 1),
        iteration("work", 1, "Succeeded", 1),
        iteration("work", 2, "Failed", 1),
        iteration("work", 3, "Failed", 1),
        iteration("work", 4, "Interrupted", 1),
        iteration("work", 5, "Failed", 1),
        iteration("work", 6, "Running", 1),
        // The one output of a step that is done, far beyond the limit.
        iteration("plan", 0, "Succeeded", 1),
        iteration("plan", 1, "Failed", 0),
        iteration("plan", 2, "Failed", 0),
        iteration("plan", 3, "Failed", 0),
    ];
    let gone: Vec<String> = superfluous(&agent, &all).iter().map(|i| i.name_any()).collect();
    assert_eq!(gone, ["a.plan.1", "a.work.2", "a.work.0"]);
    agent.status.as_mut().unwrap().stats.clear();
    assert!(superfluous(&agent, &all).is_empty(), "nothing is counted");
}

#[test]
fn of_the_messages_only_those_that_ended_first_go() {
    let message = |arrival: i64, phase: &str| {
        let message: Message = serde_json::from_value(json!({
            "metadata": {"name": format!("m{arrival}"), "namespace": "default"},
            "spec": {"agent": "a", "text": "x"}, "status": {"phase": phase, "arrival": arrival},
        }))
        .unwrap();
        Arc::new(message)
    };
    let all = vec![
        message(9, "Acknowledged"),
        message(1, "Pending"),
        message(2, "Delivered"),
        message(3, "Failed"),
        message(4, "Acknowledged"),
        message(10, "Expired"),
    ];
    let gone: Vec<String> = settled(all.clone(), 2).iter().map(|m| m.name_any()).collect();
    assert_eq!(gone, ["m4", "m3"]);
    assert!(settled(all, 4).is_empty());
}
